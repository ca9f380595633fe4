"""Split a text into sentences, each with its position in the given text, and remove boilerplate:
advertising, links, credits, agency marks, buttons.
"""

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby, pairwise, repeat
from typing import Any

from haltung.errors import UserError
from haltung.files import table

# A line break in any notation.
_BREAK = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Zero-width characters, except joiners and variation selectors, which hold emojis together.
_CONTROLS = (*range(0x09), *range(0x0E, 0x1C), *range(0x7F, 0x85), *range(0x86, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_WIDTHLESS = "\u00ad\u061c\u180e\u200b\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff\ufff9\ufffa\ufffb"
_INVISIBLE = frozenset(_WIDTHLESS) | set(map(chr, _CONTROLS))
_UNSEEN = rf"\s{re.escape(''.join(sorted(_INVISIBLE)))}"
_TRIMMED = re.compile(rf"[{_UNSEEN}]*+(.*[^{_UNSEEN}])", re.DOTALL)
_ENDED = re.compile(r"[.!?…:;][\"'“”‘’«»‹›)\]]*$")  # the end of a sentence at the end of a line, with quotes
_WRAPPED = range(40, 101)  # widths of lines with hard breaks; longer lines are paragraphs, shorter ones lists
# A full stop after an unabbreviated word and before a capital: where most sentences end. The
# splitter is called only once for each such word, which makes splitting more than twice as fast.
_PLAIN_END = re.compile(r"(?<!\S)([^\W\d_]{3,})[.!?] (?=[A-ZÄÖÜ][a-zäöüß])")
_DOUBTFUL = re.compile(r"[.!?…][^.!?…]*\s\S")  # a possible end, which the splitter has to decide
_LONGEST_PIECE = 4000  # characters to split at once: the time grows faster than the length
_LONGEST_BOILERPLATE = 300  # characters of a line of boilerplate


@dataclass(frozen=True)
class Sentence:
    """A sentence or heading: ``text`` is ``given[start:end]``, without white space at its edges."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Removed(Sentence):
    """A removed sentence, or the end of one; ``kind`` is one of ``boilerplate.tsv``."""

    kind: str


def split(text: str) -> list[Sentence]:
    """Return the sentences of a German text, in order.

    An empty line ends a sentence. So does any other line break, unless it wraps lines of a fixed
    width or precedes a lowercase letter; thus a heading without a full stop is a sentence. Each
    character that is not white space belongs to exactly one sentence, except invisible ones (soft
    hyphens, zero-width spaces, direction marks) between sentences.

    Sentence ends come from SoMaJo (Proisl and Uhrig 2016, "SoMaJo: State-of-the-art tokenization
    for German web and social media texts", 10th Web as Corpus Workshop), which keeps the positions
    of tokens, even of those it changes. Raises ``UserError`` if it is not installed.
    """
    stretches = (stretch for unit in _units(text) for piece in _pieces(text, *unit) for stretch in _split_piece(text, *piece))
    return [Sentence(*edges, text[slice(*edges)]) for stretch in stretches if (edges := _trimmed(text, *stretch))]


def _units(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans that the layout does not break."""
    edges = [0, *(edge for match in _BREAK.finditer(text) for edge in match.span()), len(text)]
    for has_text, lines in groupby(map(_trimmed, repeat(text), edges[::2], edges[1::2]), key=bool):
        if has_text:
            yield from _unwrapped(text, [line for line in lines if line])


def _unwrapped(text: str, block: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the units of a block of lines that are not empty."""
    width = max(end - start for start, end in block)
    begun = block[0][0]
    for (start, end), (following, stop) in pairwise(block):
        line, coming = text[start:end], text[following:stop]
        # A hard line break: the first word of the next line would not have fitted.
        full = width in _WRAPPED and len(line) + len(coming.split(maxsplit=1)[0]) >= width and not _ENDED.search(line)
        if not (full or coming[0].islower()):
            yield begun, end
            begun = following
    yield begun, block[-1][1]


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a unit, cut where a sentence certainly ends."""
    for stop in [*(match.end() for match in _PLAIN_END.finditer(text, start, end) if _is_end(match[1])), end]:
        while stop - start > _LONGEST_PIECE:
            # In a text without ends or spaces (a table, noise) any position will do.
            space = text.rfind(" ", start + 1, start + _LONGEST_PIECE)
            cut = space + 1 if space > 0 else start + _LONGEST_PIECE
            yield start, cut
            start = cut
        yield start, stop
        start = stop


def _split_piece(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    stops = _ends(text[start:end])[:-1] if _DOUBTFUL.search(text, start, end) else []
    yield from pairwise([start, *(start + stop for stop in stops), end])


def _trimmed(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Return the span without invisible characters at its edges; None if nothing is left."""
    match = _TRIMMED.match(text, start, end)
    return match.span(1) if match else None


def _ends(text: str) -> list[int]:
    """Return where each sentence ends."""
    splitter, lock = _splitter()
    try:
        with lock:
            return [sentence[-1].character_offset[1] for sentence in splitter.tokenize_text([text]) if sentence]
    except AssertionError:  # SoMaJo loses its place in scripts such as decomposed Hangul
        return [len(text)]


@lru_cache(maxsize=50_000)
def _is_end(word: str) -> bool:
    """Return whether a full stop after the word ends a sentence rather than abbreviating it."""
    return len(_ends(f"Der {word}. Der")) > 1


@cache
def _splitter() -> tuple[Any, threading.Lock]:
    """Return the splitter, loaded once per process, and its lock, as it is not thread-safe."""
    try:
        from somajo import SoMaJo  # type: ignore[import-untyped]
    except ImportError:
        raise UserError("splitting a text into sentences needs SoMaJo, which is not installed; pip install 'haltung[events]'") from None
    return SoMaJo("de_CMC", split_camel_case=False, split_sentences=True, character_offsets=True), threading.Lock()


def clean(sentences: Iterable[Sentence]) -> tuple[tuple[Sentence, ...], tuple[Removed, ...]]:
    """Return the article's own sentences, with positions unchanged, and the boilerplate."""
    remaining: list[Sentence] = []
    removed: list[Removed] = []
    for sentence in sentences:
        plain = " ".join(sentence.text.split()) if len(sentence.text) <= _LONGEST_BOILERPLATE else ""
        if whole := next((kind for kind, pattern in patterns("all") if pattern.fullmatch(plain)), ""):
            removed.append(Removed(sentence.start, sentence.end, sentence.text, whole))
            continue
        for kind, pattern in patterns("end"):
            if match := pattern.search(sentence.text):
                text = sentence.text[: match.start()].rstrip()
                start = sentence.start + match.start() + len(match[0]) - len(match[0].lstrip())
                removed.append(Removed(start, sentence.end, sentence.text[start - sentence.start :], kind))
                sentence = Sentence(sentence.start, sentence.start + len(text), text)
        if sentence.text:
            remaining.append(sentence)
    return tuple(remaining), tuple(removed)


@cache
def patterns(where: str) -> Sequence[tuple[str, re.Pattern[str]]]:
    """Return kinds and patterns of boilerplate: whole sentences (``all``) or ends (``end``)."""
    rows = table("haltung.events.text", "boilerplate.tsv")
    return tuple((kind, re.compile(f"(?:{pattern})$", re.IGNORECASE)) for kind, of, pattern in rows if of == where)
