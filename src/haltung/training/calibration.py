"""Fit temperatures and thresholds on predictions for held-out segments."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from haltung.evaluation.metrics.calibration import MIN_SEGMENTS, PRECISIONS, CalibrationReport, measure, thresholds
from haltung.evaluation.predictions import ScoredSplit
from haltung.models.predictor import Calibration, Model, Predictor, calibrated, fitted


@dataclass(frozen=True)
class OutOfFold:
    """Results of a cross-validation, for a model trained on all rows with the same recipe.

    ``scored`` has the calibrated out-of-fold predictions. ``digest`` is that of the split of all
    rows. ``shares`` are the shares of class weights undone, by task (``training.adjustment``).
    """

    folds: int
    scored: ScoredSplit
    calibration: Calibration
    report: CalibrationReport
    digest: str
    shares: Mapping[str, float]


def calibrate(model: Model, scored: ScoredSplit, precisions: Sequence[float] = PRECISIONS) -> ScoredSplit:
    """Fit temperatures and thresholds on dev, set them in the model, return calibrated predictions.

    The model is uncalibrated, and ``scored`` holds its predictions for dev. No predicted label
    changes, so dev would choose the same epoch and hyperparameters.
    """
    model.calibration = calibration_for(scored, precisions)
    return recalibrated(scored, Calibration(), model.calibration)


def calibration_for(scored: ScoredSplit, precisions: Sequence[float] = PRECISIONS, tasks: Collection[str] | None = None) -> Calibration:
    """Return temperatures and thresholds fitted on uncalibrated predictions.

    Each single-label task gets a threshold for each of ``precisions``. A task with fewer than
    ``MIN_SEGMENTS`` labelled segments gets neither; ``tasks`` names the tasks to fit instead.
    """
    temperatures = {}
    for task in scored.tasks:
        rows = scored.labelled(task.name)
        if rows.sum() >= MIN_SEGMENTS if tasks is None else task.name in tasks:
            temperatures[task.name] = fitted(scored.probabilities[task.name][rows], scored.gold[task.name][rows], task.kind)
    found = thresholds(recalibrated(scored, Calibration(), Calibration(temperatures)), precisions)
    return Calibration(temperatures, {task: values for task, values in found.items() if task in temperatures})


def recalibrated(scored: ScoredSplit, old: Calibration, new: Calibration) -> ScoredSplit:
    """Return predictions with the temperatures of ``old`` replaced by those of ``new``."""
    factors = {task.name: new.temperature(task.name) / old.temperature(task.name) for task in scored.scheme}
    return replace(scored, probabilities=calibrated(scored.probabilities, scored.scheme, Calibration(factors)))


def calibration_of(model: Predictor, scored: ScoredSplit) -> CalibrationReport:
    """Return the calibration metrics of a model on a split, with and without its temperatures."""
    calibration = model.calibration
    return measure(scored, calibration.temperatures, calibration.thresholds, recalibrated(scored, calibration, Calibration()))
