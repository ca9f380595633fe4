"""``haltung dyads``: dyads by a trained model and by rules, against gold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from haltung.cli.build import Language, corpus_of, typed
from haltung.cli.config import Request, command
from haltung.errors import UserError, listed


@dataclass(frozen=True)
class DyadsOptions:
    """The keys of the command."""

    bundle: str | None
    dyads: str | None
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
        raise UserError("name the model of stances: bundle=DIR, a folder that haltung train or haltung export has written")
    if not request.settings.get("corpus"):
        raise UserError("name segments with gold dyads: corpus=NAME, for example corpus=gnad10_stance")
    if options.tune and (options.split == "test" or options.dyads is None):
        raise UserError("tune=true needs a model, dyads=DIR, and split=dev: nothing is ever tuned on the test split")

    from rich.console import Console

    from haltung.evaluation.report import dyads as report
    from haltung.experiments.dyads import label_split, score, tune, write

    corpus, dyads = corpus_of(request.settings, request.config_dir), Path(options.dyads) if options.dyads else None
    labelled = label_split(Path(options.bundle), corpus, options.split, Path(options.actors) if options.actors else None)
    source = {"command": " ".join(["haltung", *request.command]), "corpus": corpus.name, "split": options.split}
    if options.tune and dyads is not None:
        with Console(stderr=True).status(f"trying thresholds on {len(labelled.segments)} segments"):
            best = tune(labelled, dyads, source)
        values = ", ".join(f"{name} {value:g}" for name, value in asdict(best.thresholds).items())
        print(f"on the {options.split} split of {corpus.name} best is {values}: a mean F1 of {best.f1:.3f} over {listed(best.aims)}")
        print(f"written to {best.path}")
        return
    scores = score(labelled, dyads)
    for grid in report.tables(scores.systems, scores.differences, scores.swaps, scores.precisions, options.language):
        Console().print(grid.rich())
    name = dyads.resolve().parent.name if dyads else "rules"
    folder = Path(options.output or f"experiments/reports/dyads-{name}-{corpus.name}-{options.split}")
    sources = {**source, "bundle": options.bundle, "dyads": options.dyads}
    write(scores, folder, f"{corpus.name}, {options.split}", sources, options.language)
    print(f"metrics, plot and dyads: {folder}")
