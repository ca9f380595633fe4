"""How good models are: ``haltung evaluate``, ``dyads``, ``compare``; ``promote`` compares too."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from rich.console import Console
from rich.text import Text

from haltung import tracking
from haltung.cli import hint
from haltung.cli.build import Language, Seed, command, corpus_of, make
from haltung.cli.config import Request
from haltung.errors import UserError
from haltung.evaluation import comparison
from haltung.evaluation.report import comparison as report
from haltung.evaluation.report import tables
from haltung.experiments import dyads as experiment
from haltung.experiments.compare import carry_out, consider, read, save
from haltung.experiments.evaluate import ModelEvaluation, TrainedModel, evaluate, models_of
from haltung.models import compact


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
    group = None
    if bundle is not None:
        if own_corpus:
            raise UserError("bundle=… needs a corpus to be evaluated on: corpus=NAME")
        models = [TrainedModel(Path(bundle).name, compact.find(bundle))]
    else:
        record = tracking.find(make(settings["tracking"], "tracking"), str(run))
        # The mean over seeds is logged to their parent run; for a sweep that is another run.
        models, group = models_of(record), tracking.group(record)
        settings = {**settings, "corpus": record.config["corpus"]} if own_corpus else settings
        if settings["corpus"].get("labels", "") is None:  # a sheet uses the run's label scheme
            settings = {**settings, "corpus": {**settings["corpus"], "labels": record.config["corpus"]["labels"]}}
    corpus, console = corpus_of(settings, request.config_dir, drafts=False), Console()
    for note in () if own_corpus else corpus.manifest.notes:
        console.print(note, style="dim", highlight=False, markup=False, soft_wrap=True)

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
def dyads(request: Request, *, bundle: str | None, split: str, actors: str | None, output: str | None, language: Language) -> None:
    """Score dyads on a split."""
    if bundle is None:
        raise UserError("name the model: bundle=DIR, a folder that haltung train or haltung export has written")
    if not request.settings.get("corpus"):
        raise UserError("name segments with gold dyads: corpus=NAME, for example corpus=gnad10_stance")
    corpus, model = corpus_of(request.settings, request.config_dir), compact.find(bundle)
    scores = experiment.score(model, corpus, split, Path(actors) if actors else None)
    for grid in tables.dyad_scores(scores.settings, language):
        Console().print(grid.rich())
    folder = model.resolve()  # a run's bundle is in the run's folder
    name = folder.parent.name if folder.name == "bundle" else folder.name
    folder = Path(output or f"experiments/reports/dyads-{name}-{corpus.name}-{split}")
    source = {"command": " ".join(["haltung", *request.command]), "corpus": corpus.name, "split": split, "bundle": bundle}
    experiment.write(scores, folder, f"{corpus.name}, {split}", source, language)
    print(f"metrics, plot and dyads: {folder}")


# Only the corpus's name is needed, so its files need not be given (corpus.reader.path).
@command("compare", lists=("runs",), optional=("corpus",))
def compare(
    request: Request, *, runs: list[str], split: Literal["dev", "test", "folds"], task: str | None, correction: Literal["holm", "none"],
    draws: Annotated[int, Field(ge=200, le=100_000)], seed: Seed, language: Language, output: str | None, track: bool,
) -> None:  # fmt: skip
    """Compare runs; print leaderboard, pairs and verdicts, track them, write them to ``output``."""
    store = make(request.settings["tracking"], "tracking")
    corpus = request.settings["corpus"]["name"] if request.settings.get("corpus") else None
    console = Console()
    systems = read(store, runs, split, corpus)
    scheme = systems[0].runs[0].scheme
    result = comparison.compare(systems, [task] if task else [], correction, draws, seed)
    for task, pairs in result.tasks.items():
        console.print(report.leaderboard(result, task, scheme, language).rich())
        for pair in pairs.pairs:
            sentence = report.sentence(pair, result, language)
            console.print(Text(sentence, "" if pair.verdict == comparison.OPEN else "bold"), soft_wrap=True)
        console.print()
        console.print(report.pairs(result, task, scheme, language, verdicts=False).rich())
    for note in report.notes(result, language):
        console.print(Text(note, "dim"))
    folder = Path(output) if output else None
    page, run_id = save(result, systems, request.command, language=language, folder=folder, store=store if track else None)
    if run_id:
        console.print(f"run [bold]{run_id}[/] (compare)", highlight=False)
    if page is not None:
        hint("page", str(page))


@command("promote")
def promote(request: Request, *, run: str | None, alias: str, force: bool, dry: bool, language: Language) -> int:
    """Move the alias to the run's exported version; return 1 if a worse run is refused."""
    if not run:
        raise UserError("name the run whose exported model should be promoted, as in run=ID; haltung runs lists them")
    corpus = request.settings["corpus"]["name"] if request.settings.get("corpus") else None
    console = Console(soft_wrap=True)
    plan = consider(make(request.settings["tracking"], "tracking"), run, alias, corpus, force)
    for sentence in plan.verdicts(language):
        console.print(Text(sentence, "bold"))
    for note in report.notes(plan.comparison, language) if plan.comparison else [plan.note]:
        console.print(Text(note, "dim" if plan.comparison else ""))
    before, worse = str(plan.old) if plan.old else "none", ", ".join(plan.worse)
    if not plan.allowed:
        refusal = f"{alias}: {before} stays; {plan.record.name} is worse in {worse} (force=true promotes it anyway)"
        console.print(Text(refusal, "bold red"))
        return 1
    if not plan.changes:
        console.print(Text(f"{alias}: {before}, nothing changed"))
        return 0
    if not dry:
        carry_out(plan, request.command)
    although = f", although worse in {worse}" if worse else ""
    as_if = " (dry=true, so nothing was changed)" if dry else ""
    console.print(Text(f"{alias}: {before} -> {plan.new} ({plan.record.name}){although}{as_if}"))
    return 0
