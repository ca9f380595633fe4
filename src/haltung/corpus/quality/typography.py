"""German typography: quotation marks, dashes, ellipses, spaces, and the Swiss spelling without ß."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

# What never stands in a well-set German text, with what stands there instead.
_NEVER = (
    (re.compile(r'["”]'), "a straight or English quotation mark; German has „…“"),
    (re.compile(r"(?<=\w)'|'(?=\w)"), "a straight apostrophe; the typographic one is ’"),
    (re.compile(r" - "), "a hyphen for a dash; a dash is –"),
    (re.compile(r"—"), "an English dash; the German one is – with spaces"),
    (re.compile(r"\.\.\."), "three dots for an ellipsis; it is …"),
    (re.compile(r"  "), "two spaces in a row"),
    (re.compile(r" [,.;:!?](?!\w)"), "a space before a punctuation mark"),
    (re.compile(r"\w–[a-zäöüß]"), "a dash inside a word; compounds have a hyphen"),
)

_PAIRS = {"„": "“", "«": "»", "‚": "‘", "‹": "›"}
_CLOSERS = {closer: opener for opener, closer in _PAIRS.items()}


def faults(texts: Sequence[str], country: str = "DE") -> Iterator[tuple[int, str]]:
    """Go through an article's sentences and return each fault with its sentence's number.

    A quotation may run on over several sentences; it has to be closed within the article. ``country`` is ``DE``, ``AT`` or ``CH``.
    """
    opened: list[tuple[str, int]] = []
    for place, text in enumerate(texts):
        for pattern, fault in _NEVER:
            if pattern.search(text):
                yield place, fault
        if country == "CH" and "ß" in text:
            yield place, "an ß in a Swiss text; it is ss"
        if country != "CH" and ("«" in text or "»" in text):
            yield place, "Swiss quotation marks in a text that is not Swiss; it has „…“"
        for at, sign in enumerate(text):
            if sign in _PAIRS:
                opened.append((sign, place))
            elif sign in _CLOSERS and not (sign == "‘" and _is_apostrophe(text, at)):
                if not opened or _PAIRS[opened[-1][0]] != sign:
                    yield place, f"a closing {sign} that nothing has opened"
                else:
                    opened.pop()
    for sign, place in opened:
        yield place, f"a quotation opened by {sign} that is never closed"


def _is_apostrophe(text: str, at: int) -> bool:
    return at + 1 < len(text) and text[at + 1].isalnum()
