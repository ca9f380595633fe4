"""Mentions of states in a text, and their grammatical forms."""

from __future__ import annotations

from collections import Counter

import pytest

from haltung.actors.states import StateForm, state_mentions, states


def test_every_form_of_every_state_is_found_as_a_whole() -> None:
    """Name, adjective and capital of each state are one mention of that state."""
    wrong = []
    for state in states().values():
        for written in filter(None, (state.name, state.capital, state.adjective and f"{state.adjective}en")):
            mentions = state_mentions(f"für {written}, so")
            if [(mention.start, mention.end) for mention in mentions] != [(4, 4 + len(written))]:
                wrong.append(written)
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("Die Bundesrepublik", [StateForm("DEU", "name", "f")]),
        ("Deutschlands Rolle", [StateForm("DEU", "genitive", "n")]),
        ("US-Präsident in den Vereinigten Staaten", [StateForm("USA", "name", "p"), StateForm("USA", "name", "p")]),
        ("Amerikas Flotte", [StateForm("USA", "genitive", "n")]),
        ("Russische Truppen", [StateForm("RUS", "adjective", ending="e")]),
        ("Kiews Warnung", [StateForm("UKR", "capital_genitive")]),
        ("Schweizer und Moskauer Banken", [StateForm("CHE", "resident"), StateForm("RUS", "resident")]),
        ("Brüssel und die Europäische Union", [StateForm("BEL", "capital"), StateForm("EU", "name", "f")]),
        ("Der Kongo", [StateForm("COD", "name", "m")]),
        ("Paris Hilton und ein Wiener Schnitzel im Ukrainekrieg", []),
    ],
)
def test_a_mention_has_its_form(text: str, forms: list[StateForm]) -> None:
    """A swap needs the same form of another state; a name whose gender differs from its state's has
    its own gender.
    """
    assert [mention.form for mention in state_mentions(text)] == forms


def test_states_that_can_replace_another_are_many_in_each_class() -> None:
    """A state is swapped for one of the same gender, so each class has several."""
    assert min(Counter(state.gender for state in states().values() if state.is_regular).values()) > 3
