"""``haltung evaluate run=RUN split=test``, and ``haltung dyads`` for who is towards whom."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from rich.console import Console

from haltung.cli.build import Language, command, corpus_of, make
from haltung.cli.config import Request
from haltung.errors import UserError, listed


@command("evaluate")
def run(
    request: Request, *, run: str | None, bundle: str | None, split: Literal["dev", "test"], language: Language, output: str | None,
    error_analysis: bool, seen: Literal["refuse", "allow"],
) -> None:  # fmt: skip
    """Score a run's model, or each seed's, on a split; print the tables and write the reports."""
    settings = request.settings
    if (run is None) == (bundle is None):
        raise UserError("name what to evaluate: run=ID (of haltung train), or bundle=FOLDER with corpus=NAME; one of the two")
    own_corpus = not settings.get("corpus")

    from haltung import tracking
    from haltung.evaluation.report import tables
    from haltung.experiments.evaluate import ModelEvaluation, TrainedModel, evaluate, models_of
    from haltung.models import compact

    group = None
    if bundle is not None:
        if own_corpus:
            raise UserError("bundle=… says what to evaluate; corpus=NAME has to say on what")
        models = [TrainedModel(Path(bundle).name, compact.find(bundle))]
    else:
        record = tracking.find(make(settings["tracking"], "tracking"), str(run))
        # The mean over seeds goes to the run that holds them; of a sweep that is another run.
        models, group = models_of(record), tracking.group(record)
        settings = {**settings, "corpus": record.config["corpus"]} if own_corpus else settings
    corpus, console = corpus_of(settings, request.config_dir), Console()

    def show(model: ModelEvaluation) -> None:
        title = f"[bold]{model.name}[/] on {corpus.name} {split}; report: {model.report / 'report.html'}"
        console.print(title, highlight=False, soft_wrap=True)
        tables.show(model.result, corpus.scheme, console, language)
        if model.primer:
            console.print(model.primer.sentence(corpus.scheme["stance"], language), highlight=False)

    _, summary = evaluate(
        models, corpus, split, own_corpus=own_corpus, group=group, folder=Path(output or "experiments/reports"),
        command=request.command, language=language, errors=error_analysis, allow_seen=seen == "allow",
        callback=show,
    )  # fmt: skip
    if summary is not None:
        console.print(tables.seeds(summary, corpus.scheme, language).rich())


@command("dyads")
def dyads(
    request: Request, *, bundle: str | None, split: str, tune: bool, actors: str | None, output: str | None, language: Language
) -> None:
    """Score dyads on a split, or tune the thresholds on dev."""
    if bundle is None:
        raise UserError("name the model: bundle=DIR, a folder that haltung train or haltung export has written")
    if not request.settings.get("corpus"):
        raise UserError("name segments with gold dyads: corpus=NAME, for example corpus=gnad10_stance")

    from haltung.evaluation.report.tables import dyad_scores
    from haltung.events.dyads import model as dyad_model
    from haltung.events.dyads.scoring import AIMS
    from haltung.experiments import dyads as experiment
    from haltung.models import compact

    corpus, model = corpus_of(request.settings, request.config_dir), compact.find(bundle)
    own_actors, line = Path(actors) if actors else None, " ".join(["haltung", *request.command])
    if tune:
        if model != Path(bundle).expanduser():
            raise UserError(f"{bundle} is a compact model, which stays as it is; tune the trained bundle, and export it again")
        best, f1 = experiment.tune(model, corpus, split, line, own_actors)
        values = ", ".join(f"{name} {value:g}" for name, value in asdict(best).items())
        print(f"on the {split} split of {corpus.name} best is {values}: a mean F1 of {f1:.3f} over {listed(AIMS)}")
        print(f"written to {model / dyad_model.THRESHOLDS}")
        return
    scores = experiment.score(model, corpus, split, own_actors)
    for grid in dyad_scores(scores.settings, scores.swaps, scores.precisions, language):
        Console().print(grid.rich())
    # The bundle of a run is in the run's folder.
    folder = model.resolve()
    name = folder.parent.name if folder.name == "bundle" else folder.name
    folder = Path(output or f"experiments/reports/dyads-{name}-{corpus.name}-{split}")
    source = {"command": line, "corpus": corpus.name, "split": split, "bundle": bundle}
    experiment.write(scores, folder, f"{corpus.name}, {split}", source, language)
    print(f"metrics, plot and dyads: {folder}")
