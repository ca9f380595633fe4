"""A lone surrogate is read as U+FFFD, as the bundle's contract says, and nothing else changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haltung.records import well_formed

# All of Unicode, including lone surrogates.
ANYTHING = st.text(st.one_of(st.characters(), st.characters(categories=["Cs"])))


@given(ANYTHING)
def test_any_text_can_be_written_in_utf8_afterwards(text: str) -> None:
    """No tokenizer rejects it."""
    well_formed(text).encode("utf-8")


@given(st.text())
def test_a_text_without_halves_stays_as_it_is(text: str) -> None:
    """A text without lone surrogates is returned unchanged."""
    assert well_formed(text) == text


@given(ANYTHING)
def test_mending_twice_changes_nothing_more(text: str) -> None:
    """The result is well-formed."""
    assert well_formed(well_formed(text)) == well_formed(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\ud83d", "a�"),
        ("\ude00b", "�b"),
        ("\ud83d\ude00", "😀"),
        ("\ude00\ud83d", "��"),
        ("\ud83d\ud83d\ude00", "�😀"),
    ],
)
def test_halves_become_what_javascript_makes_of_them(text: str, expected: str) -> None:
    """One U+FFFD for each lone surrogate; a pair becomes its character
    (``String.prototype.toWellFormed``).
    """
    assert well_formed(text) == expected
