"""``haltung dyads``: dyads by a trained model and by rules, against gold, with intervals and a test of their difference."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haltung.cli.build import Language, corpus_of, typed
from haltung.cli.config import each
from haltung.errors import UserError, listed

if TYPE_CHECKING:
    from haltung.events.dyads.model import DyadModel
    from haltung.events.dyads.scoring import LabelledArticles

SPLITS = ("dev", "test")


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


def run(arguments: Sequence[str]) -> int:
    """Score dyads on a split, or tune the thresholds on dev."""
    for request in each("dyads", arguments):
        _dyads(request.settings, request.command, request.config_dir)
    return 0


def _dyads(settings: Mapping[str, Any], command: Sequence[str], config_dir: Path | None) -> None:
    options = typed(DyadsOptions, settings)
    if options.split not in SPLITS:
        raise UserError(f"split is '{options.split}', allowed are {listed(SPLITS)}")
    if options.bundle is None:
        raise UserError("name the model of stances: bundle=DIR, a folder that haltung train or haltung export has written")
    if not settings.get("corpus"):
        raise UserError("name segments with gold dyads: corpus=NAME, for example corpus=gnad10_stance")
    if options.tune and (options.split == "test" or options.dyads is None):
        raise UserError("tune=true wants a model, dyads=DIR, and split=dev: nothing is ever chosen on the test split")

    from haltung.actors.finder import Actors
    from haltung.events.dyads import model as dyad_model
    from haltung.events.dyads import scoring
    from haltung.events.pipeline import load_predictor

    corpus = corpus_of(settings, config_dir)
    segments = corpus.segments(options.split)
    if not segments:
        raise UserError(f"the {options.split} split of the corpus '{corpus.name}' is empty, so there is nothing to hold dyads against")
    predictor = load_predictor(Path(options.bundle))
    model = dyad_model.load(Path(options.dyads)) if options.dyads else None
    labelled = scoring.read(segments, predictor, Actors.load(extra=Path(options.actors) if options.actors else None))
    if options.tune and model is not None:
        _tune(options, model, labelled, corpus.name, command)
    else:
        _score(options, model, labelled, corpus.name, command)


def _tune(options: DyadsOptions, model: DyadModel, labelled: LabelledArticles, corpus: str, command: Sequence[str]) -> None:
    from rich.console import Console

    from haltung.events.dyads import scoring, thresholds

    folder = Path(str(options.dyads))
    console = Console(stderr=True)
    with console.status(f"asking about {len(labelled.segments)} segments"):
        answers = scoring.answers(labelled, model)
    with console.status("trying thresholds"):
        best, aim = scoring.tune(labelled, answers)
    thresholds.write(folder, best, {"corpus": corpus, "split": options.split, "aim": aim, "command": " ".join(["haltung", *command])})
    told = ", ".join(f"{name} {value:g}" for name, value in asdict(best).items())
    print(f"on the {options.split} split of {corpus} best is {told}: a mean F1 of {aim:.3f} over {listed(scoring.AIMS)}")
    print(f"written to {thresholds.path(folder)}")


def _score(options: DyadsOptions, model: DyadModel | None, labelled: LabelledArticles, corpus: str, command: Sequence[str]) -> None:
    from rich.console import Console

    from haltung.evaluation.metrics import dyads as metrics
    from haltung.evaluation.report import dyads as dyads_report
    from haltung.evaluation.report import plots
    from haltung.events.dyads import scoring
    from haltung.events.dyads.rules import WordOrder

    found = {"rules": scoring.found_by(WordOrder(), labelled)}
    codes = None
    precisions: tuple[metrics.Precision, ...] = ()
    if model is not None:
        answers = scoring.answers(labelled, model)
        scored = scoring.chosen(labelled, answers, model.thresholds)
        found = {"model": [[one.dyad for one in row] for row in scored], **found}
        codes = [one.codes for one in answers]
        precisions = metrics.precisions(labelled.gold, [[(one.probability, one.dyad) for one in row] for row in scored])
    systems = {
        name: metrics.evaluate_dyads(labelled.gold, rows, labelled.names, codes if name == "model" else None)
        for name, rows in found.items()
    }
    differences = {
        part: metrics.f1_difference(labelled.gold, found["model"], found["rules"], labelled.names, part)
        for part in metrics.PARTS
        if "model" in found
    }
    swaps = {name: scoring.role_swaps(labelled.segments, rows) for name, rows in found.items()}
    console = Console()
    for grid in dyads_report.tables(systems, differences, swaps, precisions, options.language):
        console.print(grid.rich())
    name = Path(options.dyads).resolve().parent.name if options.dyads else "rules"
    place = Path(options.output or f"experiments/reports/dyads-{name}-{corpus}-{options.split}")
    place.mkdir(parents=True, exist_ok=True)
    figure = dyads_report.plot(systems, f"{corpus}, {options.split}", options.language)
    plots.save(figure, place / "dyads.png")
    told = {
        "command": " ".join(["haltung", *command]),
        "corpus": corpus,
        "split": options.split,
        "bundle": options.bundle,
        "dyads": options.dyads,
    }
    data = {**told, **dyads_report.plain(systems, differences, swaps, precisions)}
    (place / "dyads.json").write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    with (place / "found.jsonl").open("w", encoding="utf-8") as file:
        for number, segment in enumerate(labelled.segments):
            row = {"id": segment.id, "article": segment.article, "gold": [one.to_dict() for one in segment.dyads]}
            row |= {system: [one.to_dict() for one in rows[number]] for system, rows in found.items()}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(f"figures, plot and what was found: {place}")
