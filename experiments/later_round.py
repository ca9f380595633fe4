"""Compare models on the articles that came with a later round of labels: `python experiments/later_round.py ALL EARLY OUT NAME=BUNDLE,… …`.

ALL and EARLY are folders of the same corpus prepared with all rounds of the stand-off annotations and with those that the models have learned
from, such as `haltung prepare corpus=real_news prepared=all` and `haltung prepare corpus=real_news 'corpus.rounds=[1,2]' prepared=early`. What is
scored is every segment of ALL outside test whose article and text EARLY has not: ten thousand segments where a dev split has one thousand, so
that a recipe can be told from chance. A NAME with several BUNDLEs is the mean of its seeds. Predictions are kept in OUT.

A training with `class_weight: root` counts a label in proportion to 1 / sqrt(rows), so that its probabilities are too high for rare labels. What
macro-F1 and accuracy would be with a share of that undone (probabilities times rows to the power of half that share) stands below each task.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from haltung.corpus import store
from haltung.evaluation.comparison import System, compare
from haltung.evaluation.metrics.classification import evaluate
from haltung.evaluation.predictions import ScoredSplit, read_predictions, score, write_predictions
from haltung.models import bundle
from haltung.records import Segment

# By the beginning of a segment's id.
PARTS = {"news": ("g", "w"), "gnad10": ("g",), "wikinews": ("w",), "bundestag": ("b",)}


def later(every: Path, early: Path) -> list[Segment]:
    """Return the segments of articles that only the later rounds have."""
    known = [segment for split in ("train", "dev", "test") for segment in store.load(early).segments(split)]
    articles, texts = {segment.article for segment in known}, {segment.text for segment in known}
    found = [segment for split in ("train", "dev") for segment in store.load(every).segments(split)]
    return [segment for segment in found if segment.article not in articles and segment.text not in texts]


def predicted(name: str, folder: Path, segments: list[Segment], out: Path) -> ScoredSplit:
    """Return a model's predictions, which are made once."""
    path = out / f"{name}.parquet"
    if not path.is_file():
        model = bundle.load(folder)
        write_predictions(path, score(segments, model.predict(segments, progress=True), model.scheme, "later round", "train"))
    return read_predictions(path)


def undone(split: ScoredSplit, task: str, counts: Counter[object], share: float) -> ScoredSplit:
    """Return the predictions with a share of the weights of classes undone."""
    rows = np.array([max(1, counts[label]) for label in split.scheme[task].ids], float)
    shifted = split.probabilities[task] * rows ** (share / 2)
    return replace(split, probabilities={**split.probabilities, task: shifted / shifted.sum(axis=1, keepdims=True)})


def main(every: Path, early: Path, out: Path, systems: dict[str, list[Path]]) -> None:
    """Print mean metrics of each system on each part, and the difference of each pair with its interval."""
    segments = later(every, early)
    out.mkdir(parents=True, exist_ok=True)
    runs = {name: [predicted(f"{name}-{n}", one, segments, out) for n, one in enumerate(of, start=1)] for name, of in systems.items()}
    console = Console()
    for part, beginnings in PARTS.items():
        chosen = np.array([segment.id.startswith(beginnings) for segment in segments])
        found = compare([System(name, tuple(run.subset(chosen) for run in of)) for name, of in runs.items()])
        for task in found.tasks.values():
            table = Table("", "macro-F1", "accuracy", title=f"{part}, {task.task}: {task.n} segments of {task.articles} articles")
            for one in task.standings:
                table.add_row(one.system, f"{one.macro_f1.value:.3f}", f"{one.accuracy.value:.3f}")
            counts = Counter(segment.labels[task.task] for segment in store.load(early).segments("train"))
            for one in task.standings:
                for share in (0.5, 1.0):
                    scored = [evaluate(undone(run.subset(chosen), task.task, counts, share)).tasks[task.task] for run in runs[one.system]]
                    means = (np.mean([getattr(of, name) for of in scored]) for name in ("macro_f1", "accuracy"))
                    table.add_row(f"{one.system}, {share:.0%} undone", *(f"{mean:.3f}" for mean in means))
            for pair in task.pairs:
                ends = f"{pair.macro_f1.value:+.3f} [{pair.macro_f1.low:+.3f}, {pair.macro_f1.high:+.3f}]"
                p = f"p {pair.macro_f1.p:.3f}, {pair.corrected:.3f} after Holm"
                table.add_row(f"{pair.first} − {pair.second}", ends, f"{pair.accuracy.value:+.3f}; {p}")
            console.print(table)


if __name__ == "__main__":
    given = (word.partition("=") for word in sys.argv[4:])
    main(*map(Path, sys.argv[1:4]), {name: [Path(one) for one in of.split(",")] for name, _, of in given})
