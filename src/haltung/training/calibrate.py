"""Calibration of a new model on dev: temperatures, and thresholds for abstaining."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from haltung.evaluation.metrics.calibration import PRECISIONS, thresholds
from haltung.evaluation.predictions import ScoredSplit
from haltung.models.calibration import Calibration, calibrated, fitted
from haltung.models.predictor import Model


def calibrate(model: Model, scored: ScoredSplit, precisions: Sequence[float] = PRECISIONS) -> ScoredSplit:
    """Fit temperatures and thresholds on dev, set them in the model, return calibrated predictions.

    No predicted label changes, so dev would choose the same epoch and hyperparameters.

    Args:
        model: as it comes from its training, uncalibrated.
        scored: the model's predictions for dev.
        precisions: to find a threshold for, in each single-label task.
    """
    temperatures = {}
    for task in scored.scheme:
        rows = scored.labelled(task.name)
        if rows.any():
            temperatures[task.name] = fitted(scored.probabilities[task.name][rows], scored.gold[task.name][rows], task.kind)
    after = replace(scored, probabilities=calibrated(scored.probabilities, scored.scheme, Calibration(temperatures)))
    model.calibration = Calibration(temperatures, thresholds(after, precisions))
    return after
