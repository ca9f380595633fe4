"""What stands before a segment: headline, lead, and the pieces right before it."""

from __future__ import annotations

import pytest

from haltung.records import context

TOLD = ("Eins.", "Zwei.", "Drei.")


@pytest.mark.parametrize(
    ("told", "before", "lead", "expected"),
    [
        ((), 1, True, "Titel"),
        (TOLD[:1], 1, True, "Titel Eins."),
        (TOLD, 1, False, "Titel Drei."),
        (TOLD, 1, True, "Titel Eins. Drei."),
        (TOLD, 2, True, "Titel Eins. Zwei. Drei."),
        (TOLD, 3, True, "Titel Eins. Zwei. Drei."),
        (TOLD, 0, True, "Titel Eins."),
        (TOLD, 0, False, "Titel"),
    ],
)
def test_the_context_has_headline_lead_and_window_and_nothing_twice(told: tuple[str, ...], before: int, lead: bool, expected: str) -> None:
    """In the order of the article."""
    assert context("Titel", told, before, lead) == expected


def test_an_article_without_a_headline_has_no_space_for_it() -> None:
    """The lead comes first then."""
    assert context("", TOLD, 1, lead=True) == "Eins. Drei."
