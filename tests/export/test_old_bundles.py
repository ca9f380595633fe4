"""A bundle that version 0.1.0 exported before the rebuild: it loads, predicts, abstains and
verifies as it did.

It was written by that version's own code: a linear model of ``tiny`` with few features, its fp32
graph, and eight golden inputs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny
from haltung.export import golden
from haltung.export.formats import largest_difference
from haltung.export.verify import verify
from haltung.inference.client import Classifier
from haltung.models import bundle
from haltung.models.linear import LinearModel
from haltung.models.predictor import Calibration, Predictor, tables


@pytest.fixture
def old(root: Path) -> Path:
    """The bundle's folder."""
    return root / "tests/data/bundle_0.1.0"


def test_an_old_bundle_verifies(old: Path) -> None:
    """Every file by its digest, and the golden answers by graph and weights."""
    verification = verify(old)
    assert verification.broken == ()
    assert [(check.format, check.fault) for check in verification.checks] == [
        *[("fp32", "")] * (len(verification.checks) - 1), ("weights", ""),
    ]  # fmt: skip


def test_an_old_bundle_predicts_as_it_did(old: Path) -> None:
    """By its graph, by its weights, and by the client."""
    exported, trained = bundle.load(old, graph=True), bundle.load(old)
    assert isinstance(exported, bundle.ExportedModel)
    assert isinstance(trained, LinearModel)
    answers = golden.read(old, tiny.scheme())
    segments, expected = [answer.segment for answer in answers], tables([one.probabilities for one in answers], tiny.scheme())
    models: list[tuple[Predictor, float]] = [(exported, 1e-6), (trained, 1e-12)]
    for model, tolerance in models:
        assert model.scheme == tiny.scheme()
        assert model.calibration == Calibration({"stance": 1.5}, {"stance": {0.8: 0.5, 0.9: 0.999, 0.95: None}})
        assert largest_difference(model.probabilities(segments), expected) < tolerance
    rows, largest, differing = Classifier(old).verify()
    assert (rows, differing) == (8, 0)
    assert largest < 1e-6
