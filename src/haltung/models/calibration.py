"""Temperature scaling: one number for each task that makes probabilities as sure as they are right, and changes no label."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from haltung.labels import Scheme
from haltung.models.spec import Calibration
from haltung.records import MULTI_THRESHOLD

# A temperature outside says that dev can't tell (below) or that the probabilities tell nothing (above).
BOUNDS = (0.1, 10.0)

# A smaller gain in log loss (nats) is no reason to leave 1.
_GAIN = 1e-9


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
