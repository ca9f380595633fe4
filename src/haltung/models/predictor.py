"""The interface of all models, and the conversion of probabilities to predictions.

Probabilities are calibrated first, by a temperature for each task, which changes no label.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from haltung.actors.finder import Actors
from haltung.errors import UserError, listed
from haltung.labels import Scheme, Task
from haltung.records import MULTI_THRESHOLD, ActorAnswer, Prediction, Segment, label_ids

BOUNDS = (0.1, 10.0)  # at the lower one dev does not determine it; at the upper one probabilities are uninformative
_GAIN = 1e-9  # minimum gain in log loss (nats) for a temperature other than 1
Stances = Sequence[str] | None  # the true ones of segments, if known, whose actors are sought


@dataclass(frozen=True)
class Calibration:
    """Parameters fitted on dev after training, and written to the bundle's ``haltung.json``.

    The logits of a task are divided by its temperature, 1 if it has none. A single-label task has a
    threshold for each precision: the lowest probability such that predictions with at least that
    reach the precision on dev, or None if none does. ``ValueError`` for a temperature not above 0.
    """

    temperatures: Mapping[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = field(default_factory=dict)
    thresholds: Mapping[str, Mapping[float, float | None]] = field(default_factory=dict)

    def temperature(self, task: str) -> float:
        """Return the task's temperature, 1 if none was fitted."""
        return self.temperatures.get(task, 1.0)

    def abstaining(self, precision: float) -> dict[str, float | None]:
        """Return each task's threshold for a precision (or None); ``UserError`` if all lack it."""
        thresholds = {task: values[precision] for task, values in self.thresholds.items() if precision in values}
        if any(value is not None for value in thresholds.values()):
            return thresholds
        known = sorted({one for values in self.thresholds.values() for one, value in values.items() if value is not None})
        if not known:
            raise UserError("the bundle has no thresholds for abstaining: dev reached no precision, or had too few labels (see its report)")
        has = listed(f"{one:g}" for one in known)
        raise UserError(f"the bundle has no threshold for the precision {precision:g}; it has those for {has}")


class Answers(NamedTuple):
    """A model's answers: each task's ``[segments, labels]``, and the actors of each segment."""

    probabilities: dict[str, np.ndarray]
    actors: Sequence[tuple[ActorAnswer, ...]]


class Predictor(Protocol):
    """A model of any kind: network, linear, ensemble, or the graph of an exported bundle.

    Models without actors define ``probabilities``, others ``answers``. ``precision`` is ``fp32``,
    the reference for exports, or ``auto``, which uses bfloat16 if that is faster; an exported graph
    has its own. With ``progress`` a bar is shown after two seconds.
    """

    scheme: Scheme
    calibration: Calibration
    finds_dyads: bool = False  # whether predictions have actors
    reads_articles: bool = False  # whether a prediction depends on the other segments of its article

    @cached_property
    def actors(self) -> Actors | None:
        """The tables of actors, which can be replaced; None if the model finds no dyads."""
        return Actors.load() if self.finds_dyads else None

    def probabilities(self, segments: Sequence[Segment], progress: bool = False, precision: str = "auto") -> dict[str, np.ndarray]:
        """Return the calibrated probabilities of each task, float64 ``[segments, labels]``."""
        return self.answers(segments, progress, precision, seek=False).probabilities

    def answers(
        self, segments: Sequence[Segment], progress: bool = False, precision: str = "auto", stances: Stances = None, seek: bool = True
    ) -> Answers:
        """Return the probabilities, and actors if ``seek``; ``stances`` are as in ``predict``."""
        return Answers(self.probabilities(segments, progress, precision), [()] * len(segments))

    def predict(
        self, segments: Sequence[Segment], progress: bool = False, stances: Stances = None, *, precision: str = "auto"
    ) -> list[Prediction]:
        """Return predictions in order; ``stances`` are true ones, if known, to find actors for."""
        answers = self.answers(segments, progress, precision, stances)
        return predictions([segment.id for segment in segments], answers.probabilities, self.scheme, answers.actors)


class Model(Predictor, Protocol):
    """A model with its weights, which can be saved and exported."""

    kind: str

    def write(self, folder: Path) -> dict[str, Any]:
        """Write all files except the description; return the model's part of the description."""


def predictions(
    ids: Sequence[str], probabilities: Mapping[str, np.ndarray], scheme: Scheme, actors: Sequence[tuple[ActorAnswer, ...]] = ()
) -> list[Prediction]:
    """Return a prediction for each id, given each task's ``[segments, labels]`` and ``actors``."""
    out = []
    for row, (name, of) in enumerate(zip(ids, actors or [()] * len(ids), strict=True)):
        labels: dict[str, str | tuple[str, ...]] = {}
        values = {task.name: dict(zip(task.ids, map(float, probabilities[task.name][row]), strict=True)) for task in scheme}
        for task in scheme:
            if task.kind == "single":
                labels[task.name] = task.ids[int(np.argmax(probabilities[task.name][row]))]
            else:
                labels[task.name] = tuple(label for label, value in values[task.name].items() if value >= MULTI_THRESHOLD)
        out.append(Prediction(name, labels, values, of))
    return out


def tables(answers: Sequence[Mapping[str, Mapping[str, float]]], scheme: Scheme) -> dict[str, np.ndarray]:
    """Return each task's ``[segments, labels]``, given the probabilities of predictions."""
    rows = {task.name: [[one[task.name][label] for label in task.ids] for one in answers] for task in scheme}
    return {task.name: np.array(rows[task.name]).reshape(-1, len(task)) for task in scheme}


def shares(task: Task, segments: Sequence[Segment]) -> np.ndarray:
    """Return the share of annotators who gave each label, ``[segments, labels]``, NaN if none."""
    table = np.full((len(segments), len(task)), np.nan)
    for row, segment in zip(table, segments, strict=True):
        if (answer := segment.soft.get(task.name, segment.labels.get(task.name))) is not None:
            row[:] = [answer.get(label, 0.0) if isinstance(answer, Mapping) else label in label_ids(answer) for label in task.ids]
    return table


def abstained(prediction: Prediction, thresholds: Mapping[str, float | None]) -> dict[str, bool]:
    """Return the tasks whose prediction is too uncertain, as ``{"stance": True}``.

    ``thresholds`` has the lowest sufficient probability for each single-label task, None if no
    probability suffices (see ``Calibration.abstaining``).
    """
    return {task: True for task, least in thresholds.items() if least is None or max(prediction.probabilities[task].values()) < least}


def calibrated(probabilities: Mapping[str, np.ndarray], scheme: Scheme, calibration: Calibration) -> dict[str, np.ndarray]:
    """Apply each task's temperature to its probabilities, ``[n, labels]``."""
    return {task.name: tempered(probabilities[task.name], calibration.temperature(task.name), task.kind) for task in scheme}


def tempered(probabilities: np.ndarray, temperature: float, kind: str) -> np.ndarray:
    """Return probabilities ``[n, labels]`` with logits divided by ``temperature`` (above 0).

    For a single-label task this is softmax(log p / T), which is softmax(logits / T), since a
    softmax ignores what is added to all of its logits; for a multi-label task it is the sigmoid of
    the log odds / T. A probability of 0 stays 0. The decision (the most probable label, or the
    labels of at least 0.5) never changes, even if rounding would make two probabilities equal.

    Source: Guo et al. (2017), "On Calibration of Modern Neural Networks", section 4.2.
    """
    if temperature == 1:
        return probabilities
    from scipy.special import expit, softmax

    with np.errstate(divide="ignore"):  # log 0 is minus infinity, as intended
        if kind == "single":
            values = softmax(np.log(probabilities) / temperature, axis=1)
            first = probabilities.argmax(axis=1)
            rows = np.flatnonzero(values.argmax(axis=1) != first)
            values[rows, first[rows]] = np.nextafter(values[rows].max(axis=1), 2)
            return np.asarray(values)
        odds = expit((np.log(probabilities) - np.log1p(-probabilities)) / temperature)
    below = np.nextafter(MULTI_THRESHOLD, 0)
    return np.asarray(np.where(probabilities >= MULTI_THRESHOLD, np.maximum(odds, MULTI_THRESHOLD), np.minimum(odds, below)))


def fitted(probabilities: np.ndarray, gold: np.ndarray, kind: str) -> float:
    """Return the temperature with the smallest log loss, by a bounded search.

    ``probabilities`` are uncalibrated, ``[n, labels]``; ``gold`` has label indices, ``[n]``, or for
    a multi-label task 0 and 1, ``[n, labels]``.

    The log loss is convex in 1/T, so it has one minimum. If that is at the lower bound, every
    prediction was right and the loss decreases without bound; dev does not determine the
    temperature, which is then 1. It is also 1 if there are no rows, or no other one is better. Gold
    labels of probability 0 (unseen by a linear model) are omitted; no temperature changes them.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    # Each label of a multi-label task is a binary choice.
    if kind == "multi":
        gold, probabilities = 1 - gold.ravel(), np.stack([probabilities.ravel(), 1 - probabilities.ravel()], axis=1)
    possible = probabilities[np.arange(len(gold)), gold] > 0
    if not possible.any():
        return 1.0
    with np.errstate(divide="ignore"):
        logs = np.log(probabilities[possible])
    # [rows, labels]: how far each label is above the gold one, in logits
    above = logs - logs[np.arange(len(logs)), gold[possible]][:, None]

    def loss(logarithm: float) -> float:
        return float(logsumexp(above * np.exp(-logarithm), axis=1).mean())

    low, high = np.log(BOUNDS)
    minimum = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    undecided = minimum.x < low + 0.01 or loss(0.0) - minimum.fun < _GAIN
    return 1.0 if undecided else float(np.exp(minimum.x))
