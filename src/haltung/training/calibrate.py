"""After a training: fit on dev what makes the model's probabilities as sure as they are right, and where it had better abstain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from haltung.evaluation.metrics.abstention import PRECISIONS, thresholds
from haltung.evaluation.predictions import ScoredSplit
from haltung.evaluation.report.calibration_report import CalibrationReport, measure
from haltung.models.calibration import Calibration, calibrated, fitted, uncalibrated
from haltung.models.predictor import Model, Predictor


def calibrate(model: Model, scored: ScoredSplit, precisions: Sequence[float] = PRECISIONS) -> ScoredSplit:
    """Fit the model's temperatures and thresholds on dev, give them to it, and return dev as the model predicts it from now on.

    No label changes: the epoch and the hyperparameters that dev has chosen would have been chosen all the same.

    Args:
        model: as it comes from its training, with no temperature yet.
        scored: the model's predictions for dev.
        precisions: for which to look for a threshold of each single-label task.
    """
    temperatures = {}
    for task in scored.scheme:
        rows = scored.labelled(task.name)
        if rows.any():
            temperatures[task.name] = fitted(scored.probabilities[task.name][rows], scored.gold[task.name][rows], task.kind)
    now = replace(scored, probabilities=calibrated(scored.probabilities, scored.scheme, Calibration(temperatures)))
    model.calibration = Calibration(temperatures, thresholds(now, precisions))
    return now


def calibration_of(model: Predictor, scored: ScoredSplit) -> CalibrationReport:
    """Return the calibration figures of a model's predictions on a split, beside those without its temperatures."""
    held = model.calibration
    before = replace(scored, probabilities=uncalibrated(scored.probabilities, scored.scheme, held))
    return measure(scored, held.temperatures, held.thresholds, before)
