"""How a trained model labels the article that the project began with: `python experiments/seed_article.py RUN FOLDER`.

FOLDER holds ``article.txt`` and ``gold.jsonl`` (id, start, end, topic, stance for each segment). The article is copyrighted news and is no
part of the project; no model of ours is trained on it. A segment's context is the one before it, as in training; the article has no headline.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from haltung import tracking
from haltung.evaluation.metrics import evaluate
from haltung.evaluation.scored import score
from haltung.model import bundle
from haltung.records import Segment


def segments(folder: Path) -> list[Segment]:
    """Read the gold segments with their texts."""
    text = (folder / "article.txt").read_text(encoding="utf-8")
    gold = [json.loads(line) for line in (folder / "gold.jsonl").read_text(encoding="utf-8").splitlines()]
    pieces = [text[row["start"] : row["end"]] for row in gold]
    lead = pieces[0]
    before = ["", lead, *(f"{lead} {piece}" for piece in pieces[1:-1])]
    return [
        Segment(row["id"], piece, {"topic": row["topic"], "stance": row["stance"]}, context=context, article="seed")
        for row, piece, context in zip(gold, pieces, before, strict=True)
    ]


def main(run: str, folder: Path) -> None:
    """Print each segment's labels beside the gold ones, and how many are right."""
    model = bundle.load(tracking.bundle_folder(tracking.find(tracking.Store(), run)))
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
    for name, figures in evaluate(score(rows, predictions, model.scheme, "seed", "all")).tasks.items():
        print(f"{name}: {round(figures.accuracy * figures.n)} of {figures.n} right, macro-F1 {figures.macro_f1:.3f}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
