"""Sentences of a German text, with their positions in it."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from haltung.events.text.sentences import Sentence, split

_PARTS = st.one_of(
    st.sampled_from(
        [
            "Der Kanzler warnte.", "Dr. Meier kam am 3. Mai", "z. B.", "usw.", "„Nein!“, sagte er.", "Wirklich?", "\n", "\n\n", "\r\n", " ",
            "\u00a0", "\u202f", "\u2028", "\t",
            "Ba\u00addenwürttem\u00adberg", "fu\u0308r O\u0308sterreich.", "👍🏽", "👩‍👩‍👧", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "❤️",
            "\u200b", "\ufeff",
            "<b>fett</b>",
            ":-)", "a@b.de", "a [at] b [dot] de", "https://example.org/a?b=1.", "\ud83d", "...", "…", "«Gut»", "\x00", "\x07",
        ]
    ),
    st.text(max_size=12),
)  # fmt: skip


def texts(text: str) -> list[str]:
    return [sentence.text for sentence in split(text)]


@settings(max_examples=150, deadline=None)
@given(st.lists(_PARTS, max_size=14).map("".join))
@example("x" * 9000)
@example("Nein. " * 900)
def test_every_visible_character_belongs_to_exactly_one_sentence(text: str) -> None:
    """Positions increase, never overlap, and refer to the text as it was given."""
    position = 0
    for sentence in split(text):
        assert position <= sentence.start < sentence.end <= len(text)
        left_out = text[position : sentence.start]
        assert all(character.isspace() or _unseen(character) for character in left_out)
        assert sentence.text == text[sentence.start : sentence.end] == sentence.text.strip()
        position = sentence.end
    assert all(character.isspace() or _unseen(character) for character in text[position:])


def _unseen(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf")


def test_abbreviations_and_ordinals_end_no_sentence() -> None:
    """A splitter at full stops gets these wrong."""
    assert texts("Dr. Meier kam am 3. Oktober z. B. nach Bonn. Er blieb.") == ["Dr. Meier kam am 3. Oktober z. B. nach Bonn.", "Er blieb."]


def test_a_quotation_stays_with_its_speaker() -> None:
    """The quotation's own full stop or question mark does not end a sentence that continues."""
    assert texts("„Was soll das?“, fragte Macron. „Nichts.“ Er ging.") == ["„Was soll das?“, fragte Macron.", "„Nichts.“", "Er ging."]


def test_a_heading_is_a_unit_of_its_own() -> None:
    """Even without a full stop and with a single line break after it."""
    assert texts("Streit um Stahlzölle\nDie EU warnte die USA davor, neue Zölle auf Stahl und Aluminium zu erheben. China schwieg.") == [
        "Streit um Stahlzölle",
        "Die EU warnte die USA davor, neue Zölle auf Stahl und Aluminium zu erheben.",
        "China schwieg.",
    ]


def test_a_text_broken_to_a_width_is_read_across_its_lines() -> None:
    """As in e-mail and agency wires."""
    text = (
        "Die Europäische Union hat die Vereinigten Staaten am Freitag in\n"
        "Brüssel davor gewarnt, neue Zölle auf Stahl zu erheben. Das sagte\n"
        "ein Sprecher."
    )
    assert [sentence.replace("\n", " ") for sentence in texts(text)] == [
        "Die Europäische Union hat die Vereinigten Staaten am Freitag in Brüssel davor gewarnt, neue Zölle auf Stahl zu erheben.",
        "Das sagte ein Sprecher.",
    ]


def test_soft_hyphens_and_combining_accents_move_no_position() -> None:
    """The splitter composes or drops them; positions still refer to the given text."""
    text = "\ufeffDie U\u0308ber\u00adga\u00adbe an O\u0308sterreich z. B. gelang. Bern zo\u0308gerte."
    first, second = split(text)
    assert first == Sentence(1, text.index(" Bern"), text[1 : text.index(" Bern")])
    assert second.text == "Bern zo\u0308gerte."


def test_a_script_that_the_splitter_loses_its_place_in_stays_whole() -> None:
    """Such as decomposed Hangul, in which macOS writes file names."""
    text = unicodedata.normalize("NFD", "Kim (김정은) kam am 8. Mai nach Moskau.")
    assert split(text) == [Sentence(0, len(text), text)]


@pytest.mark.parametrize("text", ["", "  \n\n ", "\u200b\ufeff"])
def test_a_text_of_nothing_has_no_sentences(text: str) -> None:
    """Rather than an empty one."""
    assert split(text) == []


def test_the_acceptance_article_is_split_as_it_was_labelled(shared: Path) -> None:
    """All 13 segments match to the character, and the advertisement is a sentence of its own."""
    gold = [json.loads(line) for line in (shared / "seed/gold.jsonl").read_text(encoding="utf-8").splitlines()]
    spans = {(sentence.start, sentence.end) for sentence in split((shared / "seed/article.txt").read_text(encoding="utf-8"))}
    assert {(row["start"], row["end"]) for row in gold} <= spans
    assert len(spans) == len(gold) + 1
