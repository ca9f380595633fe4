"""Dyads by a trained model: which pairs are kept, and with which stance."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from haltung.records import Prediction, Segment

pytest.importorskip("ahocorasick")

from haltung.events.actors import Actors
from haltung.events.dyads import Trained

STANCES = ("none", "warning", "criticism", "cooperation")


def sentence(stance: str, sure: float = 0.8) -> Prediction:
    """What the classifier says of a sentence."""
    rest = (1 - sure) / 3
    labels = ("neutral", *STANCES[1:])
    return Prediction("s", {"stance": stance}, {"stance": {label: sure if label == stance else rest for label in labels}})


class Said:
    """A model that says of each pair what it is told, and otherwise that there is no stance; it keeps what it was asked."""

    def __init__(self, **likely: tuple[str, float]) -> None:
        self.likely = likely
        self.asked: list[Segment] = []

    def __call__(self, rows: Sequence[Segment]) -> list[Prediction]:
        """Answer, in order."""
        self.asked += rows
        out = []
        for row in rows:
            stance, sure = self.likely.get(row.id.split(":")[1].replace(">", "_"), ("warning", 0.01))
            left = 0.0 if sure >= 1 else (1 - sure) * 0.01
            values = dict.fromkeys(STANCES, left / 2) | {"none": 1 - sure - left, stance: sure}
            out.append(Prediction(row.id, {"stance": max(values, key=values.__getitem__)}, {"stance": values}))
        return out


def read(model: Said, *texts: str, stance: str = "warning", **keys: float) -> list[list[tuple[str, str, str]]]:
    """The dyads of an article's sentences, all of which have the same stance."""
    segments = [Segment(f"s{number}", text) for number, text in enumerate(texts)]
    mentions = Actors.load().article(texts)
    found = Trained(model, **keys).pairs(segments, mentions, [sentence(stance)] * len(texts))
    return [[(one.source, one.target, one.stance) for one in row] for row in found]


WARNS = "Die USA haben Russland vor Nordkorea gewarnt."


def test_the_likeliest_pair_is_kept():
    """Though it is less likely than not, since a sentence that is not neutral has a dyad."""
    assert read(Said(USA_RUS=("warning", 0.4), RUS_USA=("warning", 0.1)), WARNS) == [[("USA", "RUS", "warning")]]


def test_further_pairs_need_to_be_likely():
    """From `least` on; both directions of talks, say."""
    both = Said(USA_RUS=("cooperation", 0.9), RUS_USA=("cooperation", 0.7))
    assert len(read(both, WARNS, stance="cooperation")[0]) == 2
    assert len(read(both, WARNS, stance="cooperation", least=0.8)[0]) == 1


def test_a_neutral_sentence_is_not_even_asked_about():
    """It costs no time."""
    model = Said(USA_RUS=("warning", 0.9))
    assert read(model, WARNS, stance="neutral") == [[]]
    assert model.asked == []


def test_a_dyad_with_both_sides_stands_for_those_with_one():
    """The USA's warning to Russia says that the USA warn."""
    said = Said(USA_RUS=("warning", 0.9), USA_=("warning", 0.8), _RUS=("warning", 0.7))
    assert read(said, WARNS) == [[("USA", "RUS", "warning")]]


def test_the_sentence_decides_between_stances_that_the_pair_leaves_open():
    """With its probability to the power of `sentence`; 0 leaves the pair alone."""
    said = Said(USA_RUS=("criticism", 0.6))
    said_row = said([Segment("x:USA>RUS", "")])[0].probabilities["stance"]
    assert said_row["criticism"] > said_row["warning"]
    assert read(said, WARNS, stance="criticism")[0][0][2] == "criticism"
    assert read(said, WARNS, stance="warning", sentence=0.0)[0][0][2] == "criticism"


def test_an_actor_of_the_sentence_before_may_act():
    """In this sentence it is a mere pronoun."""
    model = Said(USA_CHN=("warning", 0.9))
    found = read(model, "Die USA berieten am Montag.", "Später warnten sie auch China.")
    assert found[1] == [("USA", "CHN", "warning")]
    assert any(row.text == "Später warnten sie auch # China #." and row.target == "USA → China" for row in model.asked)


def test_the_words_of_both_sides_are_told():
    """As places in the sentence; None for who is not named in it."""
    segments = [Segment("s", WARNS)]
    (dyad,) = Trained(Said(USA_RUS=("warning", 0.9))).pairs(segments, Actors.load().article([WARNS]), [sentence("warning")])[0]
    assert dyad.source_span is not None
    assert dyad.target_span is not None
    assert (WARNS[slice(*dyad.source_span)], WARNS[slice(*dyad.target_span)]) == ("USA", "Russland")


def test_a_sentence_without_an_actor_has_no_dyad():
    """And the model is not asked."""
    assert read(Said(), "Es wurde gewarnt.") == [[]]
