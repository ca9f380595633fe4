"""``haltung dyads``: dyads by a trained model and by rules, against gold, with intervals and a test of their difference."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omegaconf import OmegaConf

from haltung.cli.build import plain, typed
from haltung.cli.config import compose, parse
from haltung.cli.prepare import corpus_of
from haltung.errors import UserError, listed

if TYPE_CHECKING:
    from haltung.events.dyads.model import Trained
    from haltung.events.dyads.scoring import Read

SPLITS = ("dev", "test")


@dataclass(frozen=True)
class Keys:
    """The command's own keys."""

    bundle: str | None
    dyads: str | None
    split: str
    tune: bool
    actors: str | None
    sources: str
    prepared: str
    output: str | None
    language: Literal["en", "de"]


def run(words: Sequence[str]) -> int:
    """Score dyads on a split, or choose on dev how they are chosen."""
    parsed = parse(words)
    for overrides in parsed.combinations:
        config = compose("dyads", overrides, parsed.config_dir)
        if parsed.show:
            print(OmegaConf.to_yaml(config))
        else:
            _dyads(plain(config), ["dyads", *words], parsed.config_dir)
    return 0


def _dyads(settings: Mapping[str, Any], command: Sequence[str], config_dir: Path | None) -> None:
    keys = typed(Keys, settings)
    if keys.split not in SPLITS:
        raise UserError(f"split is '{keys.split}', allowed are {listed(SPLITS)}")
    if keys.bundle is None:
        raise UserError("name the model of stances: bundle=DIR, a folder that haltung train or haltung export has written")
    if not settings.get("corpus"):
        raise UserError("name segments with gold dyads: corpus=NAME, for example corpus=gnad10_stance")
    if keys.tune and (keys.split == "test" or keys.dyads is None):
        raise UserError("tune=true wants a model, dyads=DIR, and split=dev: nothing is ever chosen on the test split")

    from haltung.actors.finder import Actors
    from haltung.events import labelling
    from haltung.events.dyads import scoring

    corpus = corpus_of(settings, config_dir)
    segments = corpus.segments(keys.split)
    if not segments:
        raise UserError(f"the {keys.split} split of the corpus '{corpus.name}' is empty, so there is nothing to hold dyads against")
    labeller = labelling.load(Path(keys.bundle))
    model = labelling.dyads(Path(keys.dyads)) if keys.dyads else None
    read = scoring.read(segments, labeller.classify, Actors.load(extra=Path(keys.actors) if keys.actors else None))
    if keys.tune and model is not None:
        _tune(keys, model, read, corpus.name, command)
    else:
        _score(keys, model, read, corpus.name, command)


def _tune(keys: Keys, model: Trained, read: Read, corpus: str, command: Sequence[str]) -> None:
    from rich.console import Console

    from haltung.events.dyads import scoring
    from haltung.events.dyads import thresholds as choices

    folder = Path(str(keys.dyads))
    console = Console(stderr=True)
    with console.status(f"asking about {len(read.segments)} segments"):
        asked = scoring.ask(read, model)
    with console.status("trying choices"):
        choice, aim = scoring.tune(read, asked)
    choices.keep(folder, choice, {"corpus": corpus, "split": keys.split, "aim": aim, "command": " ".join(["haltung", *command])})
    told = ", ".join(f"{name} {value:g}" for name, value in asdict(choice).items())
    print(f"on the {keys.split} split of {corpus} best is {told}: a mean F1 of {aim:.3f} over {listed(scoring.AIMS)}")
    print(f"kept in {choices.file(folder)}")


def _score(keys: Keys, model: Trained | None, read: Read, corpus: str, command: Sequence[str]) -> None:
    from rich.console import Console

    from haltung.evaluation.metrics import dyads as figures
    from haltung.evaluation.report import dyads as dyads_report
    from haltung.evaluation.report import plots
    from haltung.events.dyads import scoring
    from haltung.events.dyads.rules import Rules

    found = {"rules": scoring.by(read, Rules())}
    codes = None
    precisions: tuple[figures.Precision, ...] = ()
    if model is not None:
        asked = scoring.ask(read, model)
        scored = scoring.scored(read, asked, model.choice)
        found = {"model": [[one.dyad for one in row] for row in scored], **found}
        codes = [one.codes for one in asked]
        precisions = figures.precisions(read.gold, [[(one.probability, one.dyad) for one in row] for row in scored])
    systems = {name: figures.figures(read.gold, rows, read.names, codes if name == "model" else None) for name, rows in found.items()}
    differences = {
        part: figures.difference(read.gold, found["model"], found["rules"], read.names, part) for part in figures.PARTS if "model" in found
    }
    swaps = {name: scoring.swapped(read.segments, rows) for name, rows in found.items()}
    console = Console()
    for grid in dyads_report.tables(systems, differences, swaps, precisions, keys.language):
        console.print(grid.rich())
    name = Path(keys.dyads).resolve().parent.name if keys.dyads else "rules"
    place = Path(keys.output or f"experiments/reports/dyads-{name}-{corpus}-{keys.split}")
    place.mkdir(parents=True, exist_ok=True)
    figure = dyads_report.plot(systems, f"{corpus}, {keys.split}", keys.language)
    plots.save(figure, place / "dyads.png")
    told = {"command": " ".join(["haltung", *command]), "corpus": corpus, "split": keys.split, "bundle": keys.bundle, "dyads": keys.dyads}
    data = {**told, **dyads_report.plain(systems, differences, swaps, precisions)}
    (place / "dyads.json").write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    with (place / "found.jsonl").open("w", encoding="utf-8") as file:
        for number, segment in enumerate(read.segments):
            row = {"id": segment.id, "article": segment.article, "gold": [one.to_dict() for one in segment.dyads]}
            row |= {system: [one.to_dict() for one in rows[number]] for system, rows in found.items()}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(f"figures, plot and what was found: {place}")
