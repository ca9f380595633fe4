"""The primer beside a model's other metrics."""

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
    """Gives every sentence with "warn" a warning, and all others no stance."""

    def __init__(self, scheme: Scheme) -> None:
        self.scheme = scheme

    def predict(self, segments: Sequence[Segment], progress: bool = False) -> list[Prediction]:
        """Return one prediction for each segment."""
        stances = ["warning" if "warn" in segment.text.lower() else "neutral" for segment in segments]
        return [Prediction(segment.id, {"stance": stance}, {}) for segment, stance in zip(segments, stances, strict=True)]


@pytest.fixture(scope="module")
def scheme(root: Path) -> Scheme:
    """The scheme of the shipped corpora."""
    return labels.load(root / "configs/labels/diplomacy.yaml")


def test_right_sentences_are_counted_by_stance(scheme: Scheme) -> None:
    """All neutral sentences are right, most warnings, and nothing else."""
    result = primer_of(Fixed(scheme))  # type: ignore[arg-type]
    assert result is not None
    assert set(result.total.values()) == {20}
    assert result.right["neutral"] == 20
    assert 10 <= result.right["warning"] < 20
    assert sum(result.right.values()) == 20 + result.right["warning"]
    assert result.metrics()["accuracy"] == sum(result.right.values()) / 200
    assert result.metrics()["recall_neutral"] == 1


def test_the_sentence_names_the_stances_found_least(scheme: Scheme) -> None:
    """Counts, share with interval, in both languages."""
    result = primer_of(Fixed(scheme))  # type: ignore[arg-type]
    assert result is not None
    english, german = (result.sentence(scheme["stance"], language) for language in ("en", "de"))
    assert f"{sum(result.right.values())} of 200" in english
    assert "Support 0/20" in english
    assert "Unterstützung 0/20" in german
    assert f"{result.accuracy:.3f}".replace(".", ",") in german


def test_a_model_of_other_stances_has_no_result() -> None:
    """Its labels are not those of the sentences."""
    assert primer_of(Fixed(tiny.scheme())) is None  # type: ignore[arg-type]
