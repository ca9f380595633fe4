"""``haltung evaluate run=RUN split=test``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rich.console import Console

from haltung.cli.build import Language, command, corpus_of, make
from haltung.cli.config import Request
from haltung.errors import UserError


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
