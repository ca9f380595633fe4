"""The context of a segment: headline, lead, and the texts right before it."""

from __future__ import annotations

import pytest

from haltung.records import context

EARLIER = ("Eins.", "Zwei.", "Drei.")


@pytest.mark.parametrize(
    ("earlier", "before", "lead", "expected"),
    [
        ((), 1, True, "Titel"),
        (EARLIER[:1], 1, True, "Titel Eins."),
        (EARLIER, 1, False, "Titel Drei."),
        (EARLIER, 1, True, "Titel Eins. Drei."),
        (EARLIER, 2, True, "Titel Eins. Zwei. Drei."),
        (EARLIER, 3, True, "Titel Eins. Zwei. Drei."),
        (EARLIER, 0, True, "Titel Eins."),
        (EARLIER, 0, False, "Titel"),
    ],
)
def test_the_context_has_headline_lead_and_window_and_nothing_twice(
    earlier: tuple[str, ...], before: int, lead: bool, expected: str
) -> None:
    """In the order of the article."""
    assert context("Titel", earlier, before, lead) == expected


def test_an_article_without_a_headline_has_no_space_for_it() -> None:
    """The lead comes first then."""
    assert context("", EARLIER, 1, lead=True) == "Eins. Drei."
