"""What stands around an actor's words."""

from __future__ import annotations

import pytest

from haltung.events.dyads.surroundings import of_name, of_sentence


def around(text: str, name: str) -> set[str]:
    """What is told of the first place where ``name`` stands."""
    start = text.index(name)
    return set(of_name(text, (start, start + len(name))))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Sanktionen gegen Russland drohen.", {"hinter_gegen", "artikel_nichts", "hinter_gegen_nichts", "davor_gegen", "danach_drohen"}),
        ("Ein Abkommen mit der neuen Türkei steht.", {"hinter_mit", "artikel_der", "hinter_mit_der", "davor_neuen"}),
        ("Die USA warnen.", {"hinter_nichts", "artikel_die", "am_anfang"}),
        ("Gegen den Rat von vielen klugen alten Leuten zog Peru ab.", {"hinter_nichts"}),
    ],
)
def test_preposition_article_and_neighbours_are_told(text: str, told: set[str]) -> None:
    """Those of the three words before the name, and the one on each side."""
    name = next(word for word in ("Russland", "Türkei", "USA", "Peru") if word in text)
    assert told <= around(text, name)


def test_who_is_spoken_of_in_a_quotation_is_known() -> None:
    """Whoever speaks stands outside of it."""
    text = "„Wir trauen Russland nicht mehr“, sagte der Minister in Kiew."
    assert "im_zitat" in around(text, "Russland")
    assert "im_zitat" not in around(text, "Kiew")
    assert "am_anfang" not in around(text, "Kiew")


def test_a_name_at_the_very_edge_has_no_neighbour() -> None:
    """Nothing is told of what is not there."""
    assert around("Peru", "Peru") == {"hinter_nichts", "artikel_nichts", "hinter_nichts_nichts", "am_anfang"}


def test_how_a_sentence_goes_on_is_told() -> None:
    """A pronoun stands for somebody who was named before."""
    assert of_sentence("Er warnte: „Genug.“") == ["beginnt_Er", "zitiert"]
    assert of_sentence("„Ihre Pläne nützen niemandem.") == ["beginnt_Ihre"]
    assert of_sentence("Erst im Mai tagt der Rat.") == []
