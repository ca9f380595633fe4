"""``ScoredSplit``: a model's probabilities beside the gold labels, for one split of one corpus. Everything in this room starts from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from haltung.errors import UserError, listed, nearest
from haltung.labels import Scheme, Task
from haltung.records import MULTI_THRESHOLD, Answer, Prediction, Segment

# Stands in gold where a row was not labelled for the task.
UNLABELLED = -1


Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ScoredSplit:
    """Probabilities and gold labels of ``n`` segments.

    ``ids`` and ``groups`` (articles; a segment without one is a group of its own) have ``n`` entries. ``probabilities[task]`` is
    ``[n, labels]``. ``gold[task]`` is ``[n]`` of label indices for a single-label task and ``[n, labels]`` of 0 and 1 for a multi-label
    task; ``UNLABELLED`` (a whole row of it for a multi-label task) where the segment was not labelled for the task. ``corpus`` and
    ``split`` say what this is, for titles.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    scheme: Scheme
    probabilities: Mapping[str, Floats]
    gold: Mapping[str, Ints]
    corpus: str = ""
    split: str = ""

    def __len__(self) -> int:
        """Return the number of segments."""
        return len(self.ids)

    def labelled(self, task: str) -> Bools:
        """Return which segments are labelled for the task, ``[n]``."""
        gold = self.gold[task]
        given: Bools = (gold if gold.ndim == 1 else gold.min(axis=1, initial=1)) != UNLABELLED
        return given

    def decided(self, task: str) -> Ints:
        """Return what is predicted: the most probable label's index, ``[n]``, or for a multi-label task 0 and 1, ``[n, labels]``."""
        values = self.probabilities[task]
        single = self.scheme[task].kind == "single"
        chosen: Ints = (values.argmax(axis=1) if single else values >= MULTI_THRESHOLD).astype(np.int64)
        return chosen

    def only(self, tasks: Sequence[str]) -> ScoredSplit:
        """Return these tasks alone.

        Raises:
            UserError: there is no such task.
        """
        scheme = self.scheme.only(tasks)
        return replace(
            self,
            scheme=scheme,
            probabilities={name: self.probabilities[name] for name in scheme.names},
            gold={name: self.gold[name] for name in scheme.names},
        )

    def subset(self, rows: Ints | Bools) -> ScoredSplit:
        """Return the segments that ``rows`` picks (a mask or indices; an index may come several times, as a bootstrap has it)."""
        picked = np.arange(len(self))[rows]
        return ScoredSplit(
            tuple(self.ids[row] for row in picked),
            tuple(self.groups[row] for row in picked),
            self.scheme,
            {task: values[picked] for task, values in self.probabilities.items()},
            {task: gold[picked] for task, gold in self.gold.items()},
            self.corpus,
            self.split,
        )


def score(segments: Sequence[Segment], predictions: Sequence[Prediction], scheme: Scheme, corpus: str = "", split: str = "") -> ScoredSplit:
    """Put predictions beside the gold labels of the same segments.

    Args:
        segments: the split, in order.
        predictions: one for each segment, in the same order.
        scheme: names the tasks and the order of their labels.
        corpus: the corpus's name, for titles.
        split: the split's name, for titles.

    Raises:
        UserError: predictions and segments don't belong together, a label or probability is missing, or a probability is no number
            between 0 and 1.
    """
    if len(segments) != len(predictions):
        raise UserError(f"{len(predictions)} predictions for {len(segments)} segments; predict the same split that is evaluated")
    for row, (segment, prediction) in enumerate(zip(segments, predictions, strict=True)):
        if segment.id != prediction.id:
            found = f"prediction {row + 1} is for '{prediction.id}', but segment {row + 1} is '{segment.id}'"
            raise UserError(f"{found}; predict the same split, in the same order")
    return ScoredSplit(
        ids=tuple(segment.id for segment in segments),
        # An id could look like an article's name; the NUL keeps the two apart.
        groups=tuple(segment.article or f"\0{row}" for row, segment in enumerate(segments)),
        scheme=scheme,
        probabilities={task.name: _probabilities(predictions, task) for task in scheme},
        gold={task.name: gold(segments, task) for task in scheme},
        corpus=corpus,
        split=split,
    )


def gold(segments: Sequence[Segment], task: Task) -> Ints:
    """Return the gold labels of one task, as ``ScoredSplit`` has them.

    Raises:
        UserError: a segment has a label that the task lacks, or the answer is not of the task's kind.
    """
    return encoded([segment.labels.get(task.name) for segment in segments], task, [segment.where or segment.id for segment in segments])


def encoded(answers: Sequence[Answer], task: Task, where: Sequence[str]) -> Ints:
    """Return answers as indices ``[n]`` (single) or 0 and 1 ``[n, labels]`` (multi); ``where`` names each answer's row in messages.

    Raises:
        UserError: see ``gold``.
    """
    shape = (len(answers),) if task.kind == "single" else (len(answers), len(task))
    out = np.full(shape, UNLABELLED, dtype=np.int64)
    places = {label: place for place, label in enumerate(task.ids)}
    for row, answer in enumerate(answers):
        if answer is None:
            continue
        if isinstance(answer, str) != (task.kind == "single"):
            expected = "one label" if task.kind == "single" else "a tuple of labels"
            raise UserError(f"{where[row]}: {task.name} is {answer!r}, expected {expected}, since the task is {task.kind}-label")
        chosen = (answer,) if isinstance(answer, str) else answer
        for label in chosen:
            if label not in places:
                raise UserError(f"{where[row]}: unknown {task.name} '{label}'{nearest(label, task.ids)}; allowed are {listed(task.ids)}")
        if isinstance(answer, str):
            out[row] = places[answer]
        else:
            out[row] = 0
            out[row, [places[label] for label in answer]] = 1
    return out


def _probabilities(predictions: Sequence[Prediction], task: Task) -> Floats:
    out = np.zeros((len(predictions), len(task)), dtype=np.float64)
    for row, prediction in enumerate(predictions):
        values = prediction.probabilities.get(task.name, {})
        missing = [label for label in task.ids if label not in values]
        if missing:
            found = f"the prediction for '{prediction.id}' has no probability for {task.name} {listed(missing)}"
            raise UserError(f"{found}; was the model trained with this scheme?")
        out[row] = [values[label] for label in task.ids]
    # A float32 softmax may end a rounding error outside; NaN fails both comparisons.
    good = (out >= -1e-6) & (out <= 1 + 1e-6)
    if not good.all():
        row, column = (int(place) for place in np.argwhere(~good)[0])
        found = f"the prediction for '{predictions[row].id}' has {task.name} '{task.ids[column]}' at {out[row, column]}"
        raise UserError(f"{found}, which is no probability; if it is nan, the training has diverged: lower its learning rates")
    return out
