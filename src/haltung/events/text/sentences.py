"""A text's sentences, each with its place in the text as it was given."""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

from haltung.errors import UserError

# What ends a line, in every notation there is.
_BREAK = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")

# Characters that have no width and no meaning for where a sentence ends. Joiners and variation selectors, which hold an emoji together,
# are not among them.
_CONTROLS = (*range(0x09), *range(0x0E, 0x1C), *range(0x7F, 0x85), *range(0x86, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_WIDTHLESS = "\u00ad\u061c\u180e\u200b\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff\ufff9\ufffa\ufffb"
_INVISIBLE = frozenset(_WIDTHLESS) | set(map(chr, _CONTROLS))

# What a line ends with that is a sentence's end, with the quotes and brackets after it.
_ENDED = re.compile(r"[.!?…:;][\"'“”‘’«»‹›)\]]*$")

# A text broken by hand has lines of about 70 characters; longer ones are paragraphs, shorter ones a list.
_WRAPPED = range(40, 101)

# A full stop after a word that is written in full, before one with a capital: where most sentences end. The splitter is asked about such
# a word only once, which makes the whole more than twice as fast.
_PLAIN_END = re.compile(r"(?<!\S)([^\W\d_]{3,})[.!?] (?=[A-ZÄÖÜ][a-zäöüß])")

# What a sentence may end with, and what the splitter has to be asked about where it stands inside a piece.
_DOUBTFUL = re.compile(r"[.!?…][^.!?…]*\s\S")

# The splitter's time grows faster than a piece's length, so a longer one is cut at a space.
_LONGEST_PIECE = 4000

# How far a character of a token is looked for, before it is taken for one that the splitter has made up.
_FAR = 40


@dataclass(frozen=True)
class Sentence:
    """A sentence, or a heading: ``text`` is ``given[start:end]``, with no white space at its edges."""

    start: int
    end: int
    text: str


def split(text: str) -> list[Sentence]:
    """Return the sentences of a German text, in order.

    An empty line ends a sentence, and so does every other end of a line, except in a text whose lines were broken to a width: there a
    sentence runs on. So a heading, which has no full stop, is a unit of its own. Every character that is not white space belongs to
    exactly one sentence, but for invisible ones (soft hyphens, zero-width spaces, direction marks) between sentences.

    Where a sentence ends is told by SoMaJo (Proisl and Uhrig 2016, "SoMaJo: State-of-the-art tokenization for German web and social media
    texts", 10th Web as Corpus Workshop), whose tokens are led back to the given text, whatever it did to their spelling.

    Raises:
        UserError: SoMaJo is not installed.
    """
    return [sentence for unit in _units(text) for piece in _pieces(text, *unit) for sentence in _split_piece(text, *piece)]


def _units(text: str) -> Iterator[tuple[int, int]]:
    """Yield the stretches in which no sentence is ended by the layout."""
    lines: list[tuple[int, int]] = []
    place = 0
    for found in [*(match.span() for match in _BREAK.finditer(text)), (len(text), len(text))]:
        lines.append((place, found[0]))
        place = found[1]
    block: list[tuple[int, int]] = []
    for line in [*lines, (len(text), len(text))]:
        edges = _trimmed(text, *line)
        if edges is not None:
            block.append(edges)
        elif block:
            yield from _unwrapped(text, block)
            block = []


def _unwrapped(text: str, block: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the units of lines without an empty one between them."""
    width = max(end - start for start, end in block)
    begun = block[0][0]
    for (start, end), (following, stop) in pairwise(block):
        line, coming = text[start:end], text[following:stop]
        # Broken by hand where the next line's first word had no room any more.
        full = width in _WRAPPED and len(line) + len(coming.split(maxsplit=1)[0]) >= width and not _ENDED.search(line)
        if not (full or coming[0].islower()):
            yield begun, end
            begun = following
    yield begun, block[-1][1]


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a unit, cut where a sentence surely ends."""
    for stop in [*(found.end() for found in _PLAIN_END.finditer(text, start, end) if _is_end(found[1])), end]:
        while stop - start > _LONGEST_PIECE:
            # Of a text without ends or spaces (a table, noise) any place is as good as another.
            space = text.rfind(" ", start + 1, start + _LONGEST_PIECE)
            cut = space + 1 if space > 0 else start + _LONGEST_PIECE
            yield start, cut
            start = cut
        yield start, stop
        start = stop


def _split_piece(text: str, start: int, end: int) -> Iterator[Sentence]:
    if not _DOUBTFUL.search(text, start, end):
        if (edges := _trimmed(text, start, end)) is not None:
            yield Sentence(*edges, text[edges[0] : edges[1]])
        return
    plain, places = _plain(text, start, end)
    begun, cursor = start, 0
    told = _tokens(plain) or [[]]
    for number, tokens in enumerate(told):
        for character in "".join(tokens):
            # What is not found near by was made up by the splitter, and the place does not move for it.
            found = plain.find(character, cursor, cursor + _FAR)
            cursor = found + 1 if found >= 0 else cursor
        over = end if number == len(told) - 1 or cursor >= len(plain) else places[cursor]
        if over > begun and (edges := _trimmed(text, begun, over)) is not None:
            yield Sentence(*edges, text[edges[0] : edges[1]])
        begun = max(begun, over)


def _plain(text: str, start: int, end: int) -> tuple[str, list[int]]:
    """Return the stretch in composed characters without invisible ones, and the place in ``text`` that each of its characters is from."""
    characters: list[str] = []
    places: list[int] = []
    place = start
    while place < end:
        stop = place + 1
        while stop < end and unicodedata.combining(text[stop]):
            stop += 1
        for character in unicodedata.normalize("NFC", text[place:stop]) if stop > place + 1 else text[place]:
            if character not in _INVISIBLE:
                # Half of a UTF-16 pair is no character, and a replacement keeps its place.
                characters.append(" " if character.isspace() else "\ufffd" if "\ud800" <= character <= "\udfff" else character)
                places.append(place)
        place = stop
    return "".join(characters), places


def _trimmed(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Return the stretch without what can't be seen at its edges; None where nothing remains."""
    while start < end and (text[start].isspace() or text[start] in _INVISIBLE):
        start += 1
    while end > start and (text[end - 1].isspace() or text[end - 1] in _INVISIBLE):
        end -= 1
    return (start, end) if start < end else None


def _tokens(plain: str) -> list[list[str]]:
    """Return the tokens of each sentence, without white space in them."""
    splitter, lock = _splitter()
    with lock:
        told = list(splitter.tokenize_text([plain]))
    return [["".join((token.original_spelling or token.text).split()) for token in sentence] for sentence in told if sentence]


@lru_cache(maxsize=50_000)
def _is_end(word: str) -> bool:
    """Tell whether a full stop after the word ends a sentence, rather than abbreviates the word."""
    return len(_tokens(f"Der {word}. Der")) > 1


@cache
def _splitter() -> tuple[Any, threading.Lock]:
    """Return the splitter, read once in a process, and its lock: it keeps state while it works."""
    try:
        from somajo import SoMaJo  # type: ignore[import-untyped]
    except ImportError:
        raise UserError("splitting a text into sentences needs SoMaJo, which is not installed; pip install 'haltung[events]'") from None
    return SoMaJo("de_CMC", split_camel_case=False, split_sentences=True), threading.Lock()
