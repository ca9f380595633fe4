"""``haltung dyads``: dyads by a trained model and by word order, against gold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from haltung.cli.build import Language, corpus_of, typed
from haltung.cli.config import Request, command
from haltung.errors import UserError, listed


@dataclass(frozen=True)
class DyadsOptions:
    """The keys of the command."""

    bundle: str | None
    split: str
    tune: bool
    actors: str | None
    output: str | None
    language: Language


@command("dyads")
def run(request: Request) -> None:
    """Score dyads on a split, or tune the thresholds on dev."""
    options = typed(DyadsOptions, request.settings)
    if options.bundle is None:
        raise UserError("name the model: bundle=DIR, a folder that haltung train or haltung export has written")
    if not request.settings.get("corpus"):
        raise UserError("name segments with gold dyads: corpus=NAME, for example corpus=gnad10_stance")

    from haltung.evaluation.report import dyads as report
    from haltung.events.dyads import thresholds
    from haltung.events.dyads.scoring import AIMS
    from haltung.experiments.dyads import score, tune, write

    corpus, bundle = corpus_of(request.settings, request.config_dir), Path(options.bundle)
    actors, command = Path(options.actors) if options.actors else None, " ".join(["haltung", *request.command])
    if options.tune:
        best = tune(bundle, corpus, options.split, command, actors)
        values = ", ".join(f"{name} {value:g}" for name, value in asdict(best.thresholds).items())
        print(f"on the {options.split} split of {corpus.name} best is {values}: a mean F1 of {best.f1:.3f} over {listed(AIMS)}")
        print(f"written to {thresholds.path(bundle)}")
        return
    scores = score(bundle, corpus, options.split, actors)
    for grid in report.tables(scores.settings, scores.swaps, scores.precisions, options.language):
        Console().print(grid.rich())
    # The bundle of a run is in the run's folder.
    folder = bundle.resolve()
    name = folder.parent.name if folder.name == "bundle" else folder.name
    folder = Path(options.output or f"experiments/reports/dyads-{name}-{corpus.name}-{options.split}")
    source = {"command": command, "corpus": corpus.name, "split": options.split, "bundle": options.bundle}
    write(scores, folder, f"{corpus.name}, {options.split}", source, options.language)
    print(f"metrics, plot and dyads: {folder}")
