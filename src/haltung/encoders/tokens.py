"""Segments to token ids: text alone, or as a pair with its context or target before it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from haltung.errors import UserError
from haltung.records import Segment, Span, well_formed

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

# What precedes the text as the first half of a pair; "target+context" is both, in this order.
Reads = Literal["text", "context", "target", "target+context"]
_MIN_CONTEXT = 4  # fewer tokens of context carry no information


@dataclass(frozen=True)
class Tokens:
    """One input of the encoder.

    ``spans`` has for each part of it (``target``, ``context``, ``text``) its first token, and where
    each of its tokens stands in the part's own text; a token of the prefix stands at (0, 0).
    """

    ids: list[int]
    types: list[int]
    spans: Mapping[str, tuple[int, Sequence[Span]]]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def own(self) -> list[int]:
        """1 at the tokens of the segment's text, else 0."""
        first, spans = self.spans["text"]
        return [0] * first + [1] * len(spans) + [0] * (len(self) - first - len(spans))

    def within(self, start: int, end: int) -> range:
        """Return which tokens stand for the text's characters ``[start, end)``."""
        first, spans = self.spans["text"]
        # Several tokens may stand for one character, and one for several.
        begin, stop = bisect_right(spans, start, key=itemgetter(1)), bisect_left(spans, end, key=itemgetter(0))
        return range(first + begin, first + stop)


def encode(
    segments: Sequence[Segment], tokenizer: PreTrainedTokenizerBase | Tokenizer, reads: str = "text", max_length: int = 128,
    prefix: str = "",
) -> list[Tokens]:  # fmt: skip
    """Return the token ids of each segment, at most ``max_length`` of them.

    The segment's text is cut, on its right, only if it alone is too long. The context is cut first,
    on its left, so that the sentences next to the text stay; a target stays whole up to half of
    ``max_length``, before text and context. Lone surrogates are read as U+FFFD. ``reads`` is one of
    ``Reads``; ``prefix`` begins every input, as some encoders require; the tokenizer is a fast one,
    or the one of the library tokenizers that such a one is made of.
    """
    around = template(tokenizer)
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)

    def pieces(name: str, prefix: str = prefix) -> list[_Piece]:
        texts = [well_formed(getattr(segment, name)) for segment in segments]
        texts = [prefix + text if name == "text" or (name in reads and text.strip()) else "" for text in texts]
        encodings, by = backend.encode_batch(texts, add_special_tokens=False), len(prefix)
        return [_Piece(name, one.ids, [(max(0, start - by), max(0, end - by)) for start, end in one.offsets]) for one in encodings]

    texts, targets, contexts = pieces("text", prefix=""), pieces("target"), pieces("context")
    single, pair = ([_Piece("", ids) for ids in special] for special in (around.single, around.pair))
    # The number of special tokens differs: `<s> A </s>` has two, `[CLS] A [SEP] B [SEP]` three.
    alone, room = max_length - sum(map(len, around.single)), max_length - sum(map(len, around.pair))
    out = []
    for text, target, context, whole in zip(texts, targets, contexts, pieces("text") if prefix else texts, strict=True):
        # A text that fills the input is read alone: its end is worth more than a scrap of context.
        if not target.ids and (not context.ids or room - len(text.ids) < _MIN_CONTEXT):
            out.append(_joined([single[0], whole.cut(0, alone), single[1]], around.single_types))
            continue
        own = text.cut(0, max(1, room - min(len(target.ids), max_length // 2)))
        before = target.cut(0, room - len(own.ids))
        beside = context.cut(max(0, len(context.ids) - (room - len(own.ids) - len(before.ids))), None)
        first, preceding, *rest = around.pair_types
        out.append(_joined([pair[0], before, beside, pair[1], own, pair[2]], [first, preceding, preceding, *rest]))
    return out


class _Piece(NamedTuple):
    """Tokens of one part, or special ones, and where they stand."""

    name: str
    ids: list[int]
    spans: Sequence[Span] = ()

    def cut(self, start: int, end: int | None) -> _Piece:
        return _Piece(self.name, self.ids[start:end], self.spans[start:end])


@dataclass(frozen=True)
class Template:
    """The special ids around one text (``single``) and two (``pair``), and token types.

    There are three types around and of one text, five around and of two, in the order of the input.
    """

    single: list[list[int]]
    single_types: list[int]
    pair: list[list[int]]
    pair_types: list[int]


def template(tokenizer: PreTrainedTokenizerBase | Tokenizer) -> Template:
    """Return how the tokenizer puts special tokens around one text and around two.

    Ids are joined by this template and not by the library, whose ``truncate`` returns what it cuts
    off and whose ``post_process`` pairs all of that: memory that grows with the square of a text.
    Raises ``UserError`` if the tokenizer does more than putting special ids around the texts.
    """
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    backend.no_truncation()
    backend.no_padding()
    return Template(*_around(backend, "Zoll"), *_around(backend, "Zoll", "Bank"))


def _joined(pieces: Sequence[_Piece], types: Sequence[int]) -> Tokens:
    firsts = accumulate((len(piece.ids) for piece in pieces), initial=0)
    return Tokens(
        [one for piece in pieces for one in piece.ids],
        [kind for piece, kind in zip(pieces, types, strict=True) for _ in piece.ids],
        {piece.name: (first, piece.spans) for piece, first in zip(pieces, firsts, strict=False) if piece.name},
    )


def _around(backend: Any, *words: str) -> tuple[list[list[int]], list[int]]:
    """Return the special ids before, between and after texts, and the type of each piece.

    The texts are found by their ids: the library does not tell which tokens are the first text.
    """
    encodings = [backend.encode(word, add_special_tokens=False) for word in words]
    # Taken before post_process, which changes its argument.
    texts = [list(encoding.ids) for encoding in encodings]
    joined = backend.post_process(*encodings)
    ids, kinds = list(joined.ids), list(joined.type_ids)
    pieces: list[list[int]] = []
    types: list[set[int]] = []
    start = 0
    for text in texts:
        at = next((index for index in range(start, len(ids)) if ids[index : index + len(text)] == text), len(ids))
        pieces.append(ids[start:at])
        types += [set(kinds[start:at]), set(kinds[at : at + len(text)])]
        start = at + len(text)
    pieces.append(ids[start:])
    types.append(set(kinds[start:]))
    if start > len(ids) or any(len(has) > 1 for has in types):
        raise UserError("the tokenizer puts its special tokens in a way that can't be described by ids around a text; use another encoder")
    # The type of a piece without special tokens does not matter.
    return pieces, [min(has, default=0) for has in types]
