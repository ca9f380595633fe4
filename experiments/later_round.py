"""Compare models on the articles added by a later round of labels: `python experiments/later_round.py ALL EARLY OUT NAME=BUNDLE,… …`.

ALL and EARLY are folders of the same corpus, prepared with all rounds of the stand-off annotations and with those that the models were trained on,
such as `haltung prepare corpus=real_news prepared=all` and `haltung prepare corpus=real_news 'corpus.rounds=[1,2]' prepared=early`. Models are scored
on all segments of ALL outside test whose article and text are not in EARLY: ten thousand segments instead of the one thousand of a dev split, so that
smaller differences of recipes can be detected. A NAME with several BUNDLEs is the mean over seeds. Predictions are stored in OUT.

With `undone=CORPUS`, the prepared corpus on which all models were trained with `training.class_weight=root`, each system is also scored with the class
weights undone as by `training.logit_adjustment`, by the share chosen on the dev split of CORPUS. This is for models trained without logit adjustment.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import softmax

from haltung.corpus import store
from haltung.evaluation.comparison import System, compare
from haltung.evaluation.metrics.classification import evaluate
from haltung.evaluation.predictions import ScoredSplit, read_predictions, score, write_predictions
from haltung.models import bundle
from haltung.models.predictor import Calibration, calibrated, fitted, tempered
from haltung.records import Segment
from haltung.training.adjustment import share_to_undo
from haltung.training.losses import class_weights, targets

# By prefix of a segment's id.
PARTS = {"all": ("g", "w", "b"), "news": ("g", "w"), "gnad10": ("g",), "wikinews": ("w",), "bundestag": ("b",)}


def later(every: Path, early: Path) -> list[Segment]:
    """Return the segments whose article and text occur in the later rounds only."""
    known = [segment for split in ("train", "dev", "test") for segment in store.load(early).segments(split)]
    articles, texts = {segment.article for segment in known}, {segment.text for segment in known}
    found = [segment for split in ("train", "dev") for segment in store.load(every).segments(split)]
    return [segment for segment in found if segment.article not in articles and segment.text not in texts]


def predicted(name: str, folder: Path, segments: list[Segment], out: Path) -> ScoredSplit:
    """Return a model's predictions, which are computed once."""
    path = out / f"{name}.parquet"
    if not path.is_file():
        model = bundle.load(folder)
        write_predictions(path, score(segments, model.predict(segments, progress=True), model.scheme, "later round", "train"))
    return read_predictions(path)


def undone(name: str, folder: Path, run: ScoredSplit, corpus: store.Prepared, out: Path) -> ScoredSplit:
    """Return the predictions with class weights undone; print the shares."""
    calibration = Calibration(**json.loads((folder / "haltung.json").read_text(encoding="utf-8"))["calibration"])
    dev, train = predicted(f"{name}-dev", folder, corpus.segments("dev"), out), corpus.segments("train")
    inverse = Calibration({task: 1 / temperature for task, temperature in calibration.temperatures.items()})
    before, after = (calibrated(split.probabilities, run.scheme, inverse) for split in (dev, run))
    articles = np.array([segment.article or segment.id for segment in corpus.segments("dev")])
    for task in run.scheme:
        weights, rows = class_weights(targets(train, task), task, "root"), dev.labelled(task.name)
        assert weights is not None
        share = share_to_undo(before[task.name][rows], dev.gold[task.name][rows], articles[rows], weights.numpy())
        chosen, shifted = (softmax(np.log(part[task.name]) - share * np.log(weights.numpy()), axis=1) for part in (before, after))
        after[task.name] = tempered(shifted, fitted(chosen[rows], dev.gold[task.name][rows], "single"), "single")
        print(f"{name}: {share:.0%} of the weights of {task.name} undone")
    return replace(run, probabilities=after)


def main(every: Path, early: Path, out: Path, systems: dict[str, list[Path]], corpus: Path | None) -> None:
    """Print the mean metrics of each system on each part, and the difference of each pair with its interval."""
    segments = later(every, early)
    out.mkdir(parents=True, exist_ok=True)
    runs = {name: [predicted(f"{name}-{n}", one, segments, out) for n, one in enumerate(of, start=1)] for name, of in systems.items()}
    if corpus is not None:
        learned = store.load(corpus)
        runs |= {
            f"{name}, weights undone": [undone(f"{name}-{n}", systems[name][n - 1], run, learned, out) for n, run in enumerate(of, start=1)]
            for name, of in list(runs.items())
        }
    console = Console()
    for part, beginnings in PARTS.items():
        chosen = np.array([segment.id.startswith(beginnings) for segment in segments])
        found = compare([System(name, tuple(run.subset(chosen) for run in of)) for name, of in runs.items()])
        for task in found.tasks.values():
            table = Table(
                "", "macro-F1", "accuracy", "log loss", title=f"{part}, {task.task}: {task.n} segments of {task.articles} articles"
            )
            for one in task.standings:
                losses = [evaluate(run.subset(chosen)).tasks[task.task].log_loss for run in runs[one.system]]
                table.add_row(one.system, f"{one.macro_f1.value:.3f}", f"{one.accuracy.value:.3f}", f"{np.mean(losses):.3f}")
            for pair in task.pairs:
                ends = f"{pair.macro_f1.value:+.3f} [{pair.macro_f1.low:+.3f}, {pair.macro_f1.high:+.3f}]"
                p = f"p {pair.macro_f1.p:.3f}, {pair.corrected:.3f} after Holm"
                table.add_row(f"{pair.first} − {pair.second}", ends, f"{pair.accuracy.value:+.3f}; {p}")
            console.print(table)


if __name__ == "__main__":
    given = {name: [Path(one) for one in of.split(",")] for name, _, of in (word.partition("=") for word in sys.argv[4:])}
    main(*map(Path, sys.argv[1:4]), given, *given.pop("undone", [None]))
