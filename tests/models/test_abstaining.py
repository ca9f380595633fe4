"""Abstention uses calibrated probabilities, in thresholds fitted on dev and in predictions."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tiny
from haltung.evaluation.metrics.calibration import thresholds
from haltung.evaluation.predictions import score
from haltung.models import bundle
from haltung.models.ensemble import EnsembleModel, Member
from haltung.models.linear import LinearModel, fit
from haltung.models.predictor import Calibration, Model, abstained
from haltung.models.spec import LinearSpec
from haltung.records import Segment
from haltung.training.calibration import calibrate


def _noisy(count: int, seed: int) -> list[Segment]:
    """Return sentences of which 30 % have a random stance, so that a model that trusts its words is
    overconfident.
    """
    rng = random.Random(seed)
    return [
        replace(row, labels={**row.labels, "stance": rng.choice(["warning", "support", "neutral"])}) if rng.random() < 0.3 else row
        for row in tiny.segments(count, seed)
    ]


def _linear() -> LinearModel:
    return fit(_noisy(80, 1), tiny.scheme(), LinearSpec(min_count=1, C=1000.0), seed=1)


def test_thresholds_are_fitted_to_calibrated_probabilities() -> None:
    """They differ from those of uncalibrated probabilities, and reach the precision on later
    predictions.
    """
    model, dev = _linear(), _noisy(200, 2)
    raw = score(dev, model.predict(dev), model.scheme)
    calibrate(model, raw, precisions=(0.7, 0.75))
    assert model.calibration.temperature("stance") > 1.1
    calibrated = score(dev, model.predict(dev), model.scheme)
    assert model.calibration.thresholds == thresholds(calibrated, (0.7, 0.75))
    assert model.calibration.thresholds["stance"][0.7] != thresholds(raw, (0.7, 0.75))["stance"][0.7]
    limits = model.calibration.abstaining(0.7)
    confident = [row for row, one in zip(dev, model.predict(dev), strict=True) if "stance" not in abstained(one, limits)]
    right = [one.labels["stance"] == row.labels["stance"] for row, one in zip(confident, model.predict(confident), strict=True)]
    assert len(confident) > 0
    assert np.mean(right) >= 0.7


@pytest.mark.parametrize("kind", ["network", "linear", "ensemble"])
def test_a_prediction_abstains_by_its_calibrated_probability(bert: Path, tmp_path: Path, kind: str) -> None:
    """A threshold between the uncalibrated and the calibrated probability makes it abstain."""
    model: Model = tiny.network(bert) if kind == "network" else _linear()
    if kind == "ensemble":
        model = EnsembleModel([Member("a", model), Member("b", model)], {"topic": [1, 1], "stance": [1, 1]}, tiny.scheme())
    (segment,) = tiny.segments(1, seed=3)
    before = model.probabilities([segment])["stance"].max()
    model.calibration = Calibration({"stance": 3.0})
    after = model.probabilities([segment])["stance"].max()
    assert before - after > 0.05
    model.calibration = Calibration({"stance": 3.0}, {"stance": {0.9: float(before + after) / 2}})
    loaded = bundle.load(bundle.save(model, tmp_path / "bundle"))
    (prediction,) = loaded.predict([segment])
    assert abstained(prediction, loaded.calibration.abstaining(0.9)) == {"stance": True}
