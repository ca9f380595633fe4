"""Whether the shipped corpora read like prose: German typography, and no repeated phrases."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import pytest

from shipped_corpora import countries, segments_of

_LINES = (Path(__file__).with_name("typography.tsv")).read_text(encoding="utf-8").splitlines()
_NEVER = [(re.compile(pattern), fault) for pattern, fault in (line.split("\t") for line in _LINES if not line.startswith("#"))]
_QUOTES = {"„": "“", "«": "»", "‚": "‘", "‹": "›"}


def typography_faults(texts: Sequence[str], country: str = "DE") -> Iterator[tuple[int, str]]:
    """Yield the typographical faults of an article, each with the index of its sentence.

    Quotation marks (to be closed within the article), dashes, ellipses, spaces and the Swiss
    spelling without ß are checked. ``country`` is ``DE``, ``AT`` or ``CH``.
    """
    opened: list[tuple[str, int]] = []
    for index, text in enumerate(texts):
        for pattern, fault in _NEVER:
            if pattern.search(text):
                yield index, fault
        if country == "CH" and "ß" in text:
            yield index, "an ß in a Swiss text; it is ss"
        if country != "CH" and ("«" in text or "»" in text):
            yield index, "Swiss quotation marks in a text that is not Swiss; it has „…“"
        for at, sign in enumerate(text):
            if sign in _QUOTES:
                opened.append((sign, index))
            elif sign in _QUOTES.values() and not (sign == "‘" and text[at + 1 : at + 2].isalnum()):  # an apostrophe
                if not opened or _QUOTES[opened[-1][0]] != sign:
                    yield index, f"a closing {sign} without an opening one"
                else:
                    opened.pop()
    for sign, index in opened:
        yield index, f"a quotation opened by {sign} that is never closed"


@pytest.mark.parametrize(
    ("texts", "country", "found"),
    [
        (['Er sagte "nein".'], "DE", "straight or English"),
        (["Er sagte „nein”."], "DE", "straight or English"),
        (["Peters' Haus, Klaus's Auto."], "DE", "straight apostrophe"),
        (["Er kam - endlich."], "DE", "hyphen for a dash"),
        (["Er kam — endlich."], "DE", "English dash"),
        (["Er kam..."], "DE", "three dots"),
        (["Er  kam."], "DE", "two spaces"),
        (["Er kam ."], "DE", "space before"),
        (["Der EU–weite Plan"], "DE", "dash inside a word"),
        (["Er sagte „nein."], "DE", "never closed"),
        (["Er sagte nein“."], "DE", "without an opening"),
        (["Er sagte „‚nein“‘."], "DE", "without an opening"),
        (["Der Strom fließt."], "CH", "an ß in a Swiss text"),
        (["Er sagte «nein»."], "AT", "not Swiss"),
    ],
)
def test_each_fault_of_typography_is_found(texts: list[str], country: str, found: str) -> None:
    """At the right sentence."""
    assert any(index == 0 and found in fault for index, fault in typography_faults(texts, country))


@pytest.mark.parametrize(
    ("texts", "country"),
    [
        (["Er sagte: „Das heißt ‚nein‘ – endgültig.“ Punkt …"], "DE"),
        (["„Wir gehen.", "Wir kommen nicht zurück“, sagte sie."], "DE"),
        (["Er sagte «nein», sie sagte ‹ja›: Das heisst vielleicht."], "CH"),
        (["Die Strecke Wien–Triest kostet 3,5 Millionen, ein Drittel der 50-Prozent-Quote."], "AT"),
        (["Hans’ Haus, so ’n Ding."], "DE"),
    ],
)
def test_good_typography_has_no_fault(texts: list[str], country: str) -> None:
    """A quotation may span sentences, routes have dashes, and apostrophes are no
    quotation marks.
    """
    assert list(typography_faults(texts, country)) == []


@pytest.mark.parametrize("name", ["diplomacy", "challenge", "contrast"])
def test_the_shipped_corpora_have_good_typography(root: Path, name: str) -> None:
    """Each article follows the conventions of its country."""
    country_of, faults = countries(root / "data" / name), list[str]()
    for article, members in groupby(segments_of(root, name), key=lambda segment: segment.article):
        rows = list(members)
        for index, fault in typography_faults([row.text for row in rows], country_of.get(article, "DE")):
            faults.append(f"{rows[index].id}: {fault}")
    assert faults == []


@pytest.mark.parametrize(("name", "most"), [("diplomacy", 6), ("contrast", 5)])
def test_no_phrase_recurs_in_the_shipped_corpora(root: Path, name: str, most: int) -> None:
    """Few segments share six consecutive words or their first three words, and each label has at
    least 100 segments.
    """
    segments = segments_of(root, name)
    words = [re.findall(r"\w+(?:[-’']\w+)*", segment.text.lower()) for segment in segments]
    sequences = Counter(gram for row in words for gram in {tuple(row[start : start + 6]) for start in range(len(row) - 5)})
    openings = Counter(tuple(row[:3]) for row in words if len(row) >= 3)
    assert sequences.most_common(1)[0][1] <= most
    assert openings.most_common(1)[0][1] <= 0.01 * len(segments)
    for task in ("topic", "stance"):
        assert min(Counter(segment.labels[task] for segment in segments).values()) >= 100
