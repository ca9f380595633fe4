"""The primer, in addition to a model's other metrics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import tiny
from haltung import labels
from haltung.experiments.evaluate import primer_of
from haltung.labels import Scheme
from haltung.records import Prediction, Segment


class Fixed:
    """A predictor that labels sentences with "warn" as warning, all others as neutral."""

    def __init__(self, scheme: Scheme) -> None:
        self.scheme = scheme

    def predict(self, segments: Sequence[Segment], progress: bool = False) -> list[Prediction]:
        """Return one prediction for each segment."""
        stances = ["warning" if "warn" in segment.text.lower() else "neutral" for segment in segments]
        rows = [{label: float(label == stance) for label in self.scheme["stance"].ids} for stance in stances]
        named = zip(segments, stances, rows, strict=True)
        return [Prediction(segment.id, {"stance": stance}, {"stance": row}) for segment, stance, row in named]


@pytest.fixture(scope="module")
def scheme(root: Path) -> Scheme:
    """The scheme of the shipped corpora."""
    return labels.load(root / "configs/labels/diplomacy.yaml")


def test_right_sentences_are_counted_by_stance(scheme: Scheme) -> None:
    """All neutral sentences and at least half of the warnings are right, no others."""
    result = primer_of(Fixed(scheme))  # type: ignore[arg-type]
    assert result is not None
    right = {one.label: one.correct for one in result.stance.labels}
    assert {one.support for one in result.stance.labels} == {20}
    assert right["neutral"] == 20
    assert 10 <= right["warning"] < 20
    assert sum(right.values()) == 20 + right["warning"]
    assert result.metrics()["accuracy"] == sum(right.values()) / 200
    assert result.metrics()["recall_neutral"] == 1
    assert list(result.metrics())[1:] == [f"recall_{stance}" for stance in scheme["stance"].ids]


def test_the_sentence_names_the_stances_found_least(scheme: Scheme) -> None:
    """Counts, and accuracy with interval, in both languages."""
    result = primer_of(Fixed(scheme))  # type: ignore[arg-type]
    assert result is not None
    english, german = (result.sentence(scheme["stance"], language) for language in ("en", "de"))
    assert f"{sum(one.correct for one in result.stance.labels)} of 200" in english
    assert "Support 0/20" in english
    assert "Unterstützung 0/20" in german
    assert f"{result.stance.accuracy:.3f}".replace(".", ",") in german


def test_a_model_of_other_stances_has_no_result() -> None:
    """Its labels are not those of the sentences."""
    assert primer_of(Fixed(tiny.scheme())) is None  # type: ignore[arg-type]
