"""Calibration of a new model on dev: temperatures, and thresholds for abstaining."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from haltung.evaluation.metrics.abstention import PRECISIONS, thresholds
from haltung.evaluation.metrics.calibration import CalibrationReport, measure
from haltung.evaluation.predictions import ScoredSplit
from haltung.models.calibration import Calibration, calibrated, fitted, uncalibrated
from haltung.models.predictor import Model, Predictor


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


def calibration_of(model: Predictor, scored: ScoredSplit) -> CalibrationReport:
    """Return the calibration metrics of a model on a split, with and without its temperatures."""
    calibration = model.calibration
    before = replace(scored, probabilities=uncalibrated(scored.probabilities, scored.scheme, calibration))
    return measure(scored, calibration.temperatures, calibration.thresholds, before)
