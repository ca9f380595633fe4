"""Predictions of a trained model on the project's first article: `python experiments/seed_article.py RUN FOLDER`.

RUN is a run of ``haltung train``, a bundle's folder or an installed model such as ``news_de``; if its model finds no dyads, rules of word order do.
FOLDER holds ``article.txt`` and ``gold.jsonl`` (id, start, end, topic, stance, dyads for each segment). The article is copyrighted news and not part
of the project; no model of ours is trained on it. A segment's context is the first segment and the previous one, as in training. A model of
articles reads all segments together. The article has no headline.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from haltung import tracking
from haltung.evaluation.metrics.classification import evaluate
from haltung.evaluation.predictions import score
from haltung.actors.finder import Actors
from haltung.experiments.dyads import gold_articles
from haltung.events.pipeline import dyad_finder
from haltung.models import bundle, compact
from haltung.records import Dyad, Segment


def segments(folder: Path) -> list[Segment]:
    """Return the gold segments with their texts."""
    text = (folder / "article.txt").read_text(encoding="utf-8")
    gold = [json.loads(line) for line in (folder / "gold.jsonl").read_text(encoding="utf-8").splitlines()]
    pieces = [text[row["start"] : row["end"]] for row in gold]
    lead = pieces[0]
    before = ["", lead, *(f"{lead} {piece}" for piece in pieces[1:-1])]
    return [
        Segment(
            row["id"], piece, {"topic": row["topic"], "stance": row["stance"]}, context=context, article="seed", position=number,
            dyads=tuple(Dyad(**dyad) for dyad in row["dyads"]),
        )
        for number, (row, piece, context) in enumerate(zip(gold, pieces, before, strict=True))
    ]  # fmt: skip


def main(run: str, folder: Path) -> None:
    """Print predicted and gold labels and dyads of each segment, and the number that are right."""
    known = Path(run).is_dir() or run in compact.installed()
    place = compact.find(run) if known else tracking.bundle_folder(tracking.find(tracking.Store(), run))
    model = bundle.load(place)
    rows = segments(folder)
    predictions = model.predict(rows)
    table = Table("segment", "topic, gold", "topic", "stance, gold", "stance", "probability")
    for row, prediction in zip(rows, predictions, strict=True):
        cells = [row.id]
        for task in ("topic", "stance"):
            right = prediction.labels[task] == row.labels[task]
            cells += [str(row.labels[task]), f"{prediction.labels[task]}{'' if right else ' ✗'}"]
        table.add_row(*cells, f"{max(prediction.probabilities['stance'].values()):.2f}")
    Console().print(table)
    actors = Actors.load()
    finder = dyad_finder(model, place, actors)
    found = [[one.dyad for one in dyads] for dyads in gold_articles(rows, model, actors).found_by(finder)]
    for row, own in zip(rows, found, strict=True):
        print(f"{row.id}: {_told(row.dyads)}; found {_told(own)}")
    gold = sum(len(row.dyads) for row in rows)
    hits = sum(len({*row.dyads} & {*own}) for row, own in zip(rows, found, strict=True))
    print(f"dyads: {hits} of {gold} found, with {sum(map(len, found))} told")
    for name, figures in evaluate(score(rows, predictions, model.scheme, "seed", "all")).tasks.items():
        print(f"{name}: {round(figures.accuracy * figures.n)} of {figures.n} right, macro-F1 {figures.macro_f1:.3f}")


def _told(dyads: Iterable[Dyad]) -> str:
    return ", ".join(f"{one.source or '–'} → {one.target or '–'} {one.stance}" for one in dyads) or "none"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
