"""Temperature scaling: one number for each task that makes probabilities as sure as they are right, and changes no label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from haltung.errors import UserError, listed
from haltung.labels import Scheme
from haltung.records import MULTI_THRESHOLD

# A temperature outside says that dev can't tell (below) or that the probabilities tell nothing (above).
BOUNDS = (0.1, 10.0)

# A smaller gain in log loss (nats) is no reason to leave 1.
_GAIN = 1e-9


@dataclass(frozen=True)
class Calibration:
    """What is fitted on dev after a training, and kept in the bundle's ``haltung.json``.

    ``temperatures`` has a number above 0 for each task, by which its logits are divided. ``thresholds`` has for each single-label task
    and each wished-for precision the highest probability from which on a prediction is as often right as wished on dev; None where dev
    never reaches that precision. A bundle that was written without them has neither: every temperature is 1.
    """

    temperatures: Mapping[str, float] = field(default_factory=dict)
    thresholds: Mapping[str, Mapping[float, float | None]] = field(default_factory=dict)

    def temperature(self, task: str) -> float:
        """Return the task's temperature, 1 where none was fitted."""
        return self.temperatures.get(task, 1.0)

    def abstaining(self, precision: float) -> dict[str, float | None]:
        """Return each single-label task's threshold for a wished-for precision; None where dev never reaches it.

        Raises:
            UserError: no task has a threshold for it.
        """
        found = {task: values[precision] for task, values in self.thresholds.items() if precision in values}
        if any(value is not None for value in found.values()):
            return found
        has = sorted({wished for values in self.thresholds.values() for wished, value in values.items() if value is not None})
        if not has:
            raise UserError("the bundle has no thresholds to abstain by; train it again, and look at what precision it reaches on dev")
        raise UserError(
            f"the bundle has no threshold for the precision {precision:g}; it has those for {listed(f'{one:g}' for one in has)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, the inverse of ``from_dict``."""
        thresholds = {task: {str(wished): value for wished, value in values.items()} for task, values in self.thresholds.items()}
        return {"temperatures": dict(self.temperatures), "thresholds": thresholds}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """Make the record of plain data; of none, that of a bundle without calibration.

        Raises:
            ValueError: a temperature is not above 0, or something is no number.
        """
        temperatures = {task: float(value) for task, value in data.get("temperatures", {}).items()}
        for task, value in temperatures.items():
            if not 0 < value < float("inf"):
                raise ValueError(f"the temperature of {task} is {value}")
        thresholds = {
            task: {float(wished): None if value is None else float(value) for wished, value in values.items()}
            for task, values in data.get("thresholds", {}).items()
        }
        return cls(temperatures, thresholds)


def calibrated(probabilities: Mapping[str, np.ndarray], scheme: Scheme, calibration: Calibration) -> dict[str, np.ndarray]:
    """Return the probabilities of each task, ``[n, labels]``, with its temperature applied."""
    return {task.name: tempered(probabilities[task.name], calibration.temperature(task.name), task.kind) for task in scheme}


def uncalibrated(probabilities: Mapping[str, np.ndarray], scheme: Scheme, calibration: Calibration) -> dict[str, np.ndarray]:
    """Return the probabilities before the temperature, to compare with: the inverse of ``calibrated`` up to rounding."""
    return {task.name: tempered(probabilities[task.name], 1 / calibration.temperature(task.name), task.kind) for task in scheme}


def tempered(probabilities: np.ndarray, temperature: float, kind: str) -> np.ndarray:
    """Return what the probabilities become when their logits are divided by ``temperature`` (above 1: less sure).

    For a single-label task softmax(log p / T), which is softmax(logits / T), since a softmax does not see what is added to all its
    logits; for a multi-label task the sigmoid of the log odds by T. A probability of 0 stays 0. What is decided (the most probable label,
    or the labels from 0.5 on) stays to the last bit, also where rounding would make two probabilities equal.

    Source: Guo et al. (2017), "On Calibration of Modern Neural Networks", section 4.2.

    Args:
        probabilities: ``[n, labels]``.
        temperature: above 0; 1 returns the probabilities themselves.
        kind: of the task, ``single`` or ``multi``.
    """
    if temperature == 1:
        return probabilities
    with np.errstate(divide="ignore"):  # log 0 is minus infinity, as it has to be
        if kind == "single":
            logs = np.log(probabilities) / temperature
            values = np.exp(logs - logs.max(axis=1, keepdims=True))
            return _same_first(values / values.sum(axis=1, keepdims=True), probabilities)
        from scipy.special import expit

        odds = expit((np.log(probabilities) - np.log1p(-probabilities)) / temperature)
    below = np.nextafter(MULTI_THRESHOLD, 0)
    kept: np.ndarray = np.where(probabilities >= MULTI_THRESHOLD, np.maximum(odds, MULTI_THRESHOLD), np.minimum(odds, below))
    return kept


def fitted(probabilities: np.ndarray, gold: np.ndarray, kind: str) -> float:
    """Return the temperature with the smallest log loss, by a bounded search.

    The log loss is convex in 1/T, so there is one minimum. Where it lies at the lower bound, every answer was right and the loss falls
    without end: dev can't tell, and the temperature is 1; so it is where there is no row, or no other temperature is better. A gold label
    of probability 0 (one that a linear model never saw) takes no part, since no temperature changes it.

    Args:
        probabilities: uncalibrated, ``[n, labels]``.
        gold: ``[n]`` label indices, or ``[n, labels]`` of 0 and 1 for a multi-label task; no row unlabelled.
        kind: of the task, ``single`` or ``multi``.
    """
    from scipy.optimize import minimize_scalar

    # Both kinds as a softmax: a label of a multi-label task is the choice between having and lacking it.
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
        scaled = above * np.exp(-logarithm)
        most = scaled.max(axis=1)
        return float((most + np.log(np.exp(scaled - most[:, None]).sum(axis=1))).mean())

    low, high = np.log(BOUNDS)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    undecided = found.x < low + 0.01 or loss(0.0) - found.fun < _GAIN
    return 1.0 if undecided else float(np.exp(found.x))


def _same_first(values: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return the values with the same place of the highest in each row as ``before``."""
    first = before.argmax(axis=1)
    rows = np.flatnonzero(values.argmax(axis=1) != first)
    values[rows, first[rows]] = np.nextafter(values[rows].max(axis=1), 2)
    return values
