"""Conversion of segments to token ids: text alone, or a pair with context or target before it."""

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

    ``spans`` maps each part (``target``, ``context``, ``text``) to the index of its first token and
    the character span of each of its tokens in that part; tokens of the prefix have (0, 0).
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
        """Return the indices of the tokens of the text's characters ``[start, end)``."""
        first, spans = self.spans["text"]
        # A character may have several tokens, and a token several characters.
        begin, stop = bisect_right(spans, start, key=itemgetter(1)), bisect_left(spans, end, key=itemgetter(0))
        return range(first + begin, first + stop)


def encode(
    segments: Sequence[Segment], tokenizer: PreTrainedTokenizerBase | Tokenizer, reads: str = "text", max_length: int = 128,
    prefix: str = "",
) -> list[Tokens]:  # fmt: skip
    """Return the tokens of each segment, at most ``max_length`` of them.

    The context is truncated first, on its left, to keep the sentences next to the text. The text is
    truncated on its right if it alone, or with its target, is too long; up to half of
    ``max_length`` the target takes precedence. Lone surrogates are read as U+FFFD. ``reads`` is one
    of ``Reads``; ``prefix`` begins every input, as some encoders require; the tokenizer is a fast
    one, or its backend from the library tokenizers.
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
        # A text that fills the input is read alone: its end is worth more than a bit of context.
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
    """Tokens of one part, or special ones, and their character spans."""

    name: str
    ids: list[int]
    spans: Sequence[Span] = ()

    def cut(self, start: int, end: int | None) -> _Piece:
        return _Piece(self.name, self.ids[start:end], self.spans[start:end])


@dataclass(frozen=True)
class Template:
    """The special ids around one text (``single``) and two (``pair``), and token types.

    Types are in the order of the input, special ids included: three for one text, five for two.
    """

    single: list[list[int]]
    single_types: list[int]
    pair: list[list[int]]
    pair_types: list[int]


def template(tokenizer: PreTrainedTokenizerBase | Tokenizer) -> Template:
    """Return the special tokens that the tokenizer puts around one text and around two.

    Ids are joined by this template instead of the library, whose ``truncate`` returns the overflow,
    all of which ``post_process`` pairs: memory that grows with the square of the text's length.
    Raises ``UserError`` if the tokenizer does more than put special ids around the texts.
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

    The texts are found by their ids, as the library does not say which tokens are the first text.
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
        raise UserError("the tokenizer adds its special tokens in a way that can't be described by ids around a text; use another encoder")
    # The type of a piece without special tokens does not matter.
    return pieces, [min(has, default=0) for has in types]
