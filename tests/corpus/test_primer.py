"""The primer: simple sentences, equally many for each stance, that no model has been trained on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from haltung import labels
from haltung.corpus.readers.tables import Jsonl


@pytest.fixture(scope="module")
def sentences(root: Path) -> dict[str, str]:
    """Return texts with their stances, read as ``corpus=primer`` reads them."""
    scheme = labels.load(root / "configs/labels/diplomacy.yaml").only(("stance",))
    path = root / "data/primer/sentences.jsonl"
    reading = Jsonl(str(path), columns={"id": "id", "text": "text", "stance": "stance"}).read(scheme)
    assert not reading.dropped
    return {segment.text: str(segment.labels["stance"]) for segment in reading.segments}


def test_each_stance_has_twenty_different_sentences(sentences: dict[str, str], root: Path) -> None:
    """Accuracy then equals the mean recall of the ten stances."""
    scheme = labels.load(root / "configs/labels/diplomacy.yaml")
    assert Counter(sentences.values()) == dict.fromkeys(scheme["stance"].ids, 20)


def test_no_sentence_is_in_a_corpus_that_models_are_trained_on(sentences: dict[str, str], root: Path) -> None:
    """The embedded corpus is what ``make train`` learns from."""
    articles = [json.loads(line) for path in (root / "data/diplomacy").glob("*.jsonl") for line in path.read_text("utf-8").splitlines()]
    learned = {segment["text"] for article in articles for segment in article["segments"]}
    assert len(learned) > 4000
    assert not learned & sentences.keys()
