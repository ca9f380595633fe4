"""Segments to token ids: text alone, or as a pair with its context or target before it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from haltung.errors import UserError
from haltung.records import Segment, well_formed

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

# What precedes the text as the first half of a pair; "target+context" is both, in this order.
READS = ("text", "context", "target", "target+context")

# Fewer tokens of context than this carry no information.
_MIN_CONTEXT = 4


@dataclass(frozen=True)
class Tokens:
    """One input of the encoder; ``own`` is 1 at the tokens of the segment's text, else 0.

    ``ends`` are where the tokens of the text end in it, one of them for each 1 in ``own``.
    """

    ids: list[int]
    types: list[int]
    own: list[int]
    ends: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.ids)

    def within(self, start: int, end: int) -> range:
        """Return which tokens stand for the text's characters ``[start, end)``."""
        first = self.own.index(1) if 1 in self.own else 0
        return range(first + bisect_right(self.ends, start), first + min(bisect_left(self.ends, end) + 1, len(self.ends)))


def encode(
    segments: Sequence[Segment], tokenizer: PreTrainedTokenizerBase | Tokenizer, reads: str = "text", max_length: int = 128,
    prefix: str = "",
) -> list[Tokens]:  # fmt: skip
    """Return the token ids of each segment, at most ``max_length`` of them.

    The segment's text is cut, on its right, only if it alone is too long. The context is cut first,
    on its left, so that the sentences next to the text stay; a target stays whole up to half of
    ``max_length``, before text and context. Lone surrogates are read as U+FFFD. ``reads`` is one of
    ``READS``; ``prefix`` begins every input, as some encoders require; the tokenizer is a fast one,
    or the one of the library tokenizers that such a one is made of.
    """
    around = template(tokenizer)
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)

    def ids_of(texts: Sequence[str]) -> list[list[int]]:
        return [one.ids for one in backend.encode_batch([well_formed(text) for text in texts], add_special_tokens=False)]

    targets = ids_of([_before(segment.target, "target" in reads, prefix) for segment in segments])
    contexts = ids_of([_before(segment.context, "context" in reads, prefix) for segment in segments])
    encodings = backend.encode_batch([well_formed(segment.text) for segment in segments], add_special_tokens=False)
    texts = [one.ids for one in encodings]
    prefixed = ids_of([prefix + segment.text for segment in segments]) if prefix else texts
    # The number of special tokens differs: `<s> A </s>` has two, `[CLS] A [SEP] B [SEP]` three.
    alone, paired = sum(map(len, around.single)), sum(map(len, around.pair))
    out = []
    for text, target, context, whole, encoding in zip(texts, targets, contexts, prefixed, encodings, strict=True):
        ends = [end for _, end in encoding.offsets]
        room = max_length - paired
        # A text that fills the input is read without context: a few tokens of it are not worth
        # the end of the text.
        if not target and (not context or room - len(text) < _MIN_CONTEXT):
            out.append(around.alone(whole[: max_length - alone], [0] * (len(whole) - len(text)) + ends))
            continue
        text = text[: max(1, room - min(len(target), max_length // 2))]
        target = target[: room - len(text)]
        context = context[max(0, len(context) - (room - len(text) - len(target))) :]
        out.append(around.behind([*target, *context], text, ends))
    return out


@dataclass(frozen=True)
class Template:
    """The special ids around one text (``single``) and two (``pair``), and token types.

    There are three types around and of one text, five around and of two, in the order of the input.
    """

    single: tuple[list[int], list[int]]
    single_types: list[int]
    pair: tuple[list[int], list[int], list[int]]
    pair_types: list[int]

    def alone(self, text: list[int], ends: Sequence[int] = ()) -> Tokens:
        """Return the input of one text, given where its tokens end."""
        return _joined([self.single[0], text, self.single[1]], self.single_types, 1, ends)

    def behind(self, before: list[int], text: list[int], ends: Sequence[int] = ()) -> Tokens:
        """Return the input of a text and what precedes it, given where the text's tokens end."""
        return _joined([self.pair[0], before, self.pair[1], text, self.pair[2]], self.pair_types, 3, ends)


def template(tokenizer: PreTrainedTokenizerBase | Tokenizer) -> Template:
    """Return how the tokenizer puts special tokens around one text and around two.

    Ids are joined by this template and not by the library, whose ``truncate`` returns what it cuts
    off and whose ``post_process`` pairs all of that: memory that grows with the square of a text.
    Raises ``UserError`` if the tokenizer does more than putting special ids around the texts.
    """
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    backend.no_truncation()
    backend.no_padding()
    one, other = (backend.encode(text, add_special_tokens=False) for text in ("Zoll", "Bank"))
    ids = [list(one.ids), list(other.ids)]
    single, single_types = _around(backend.post_process(one), ids[:1])
    # post_process changes its argument.
    one, other = (backend.encode(text, add_special_tokens=False) for text in ("Zoll", "Bank"))
    pair, pair_types = _around(backend.post_process(one, other), ids)
    return Template((single[0], single[1]), single_types, (pair[0], pair[1], pair[2]), pair_types)


def _before(part: str, is_read: bool, prefix: str) -> str:
    return prefix + part if is_read and part.strip() else ""


def _joined(pieces: Sequence[list[int]], types: Sequence[int], own: int, ends: Sequence[int]) -> Tokens:
    return Tokens(
        [one for piece in pieces for one in piece],
        [kind for piece, kind in zip(pieces, types, strict=True) for _ in piece],
        [int(index == own) for index, piece in enumerate(pieces) for _ in piece],
        list(ends[: len(pieces[own])]),
    )


def _around(encoding: Any, texts: Sequence[Sequence[int]]) -> tuple[list[list[int]], list[int]]:
    """Return the special ids before, between and after the texts, and the type of each piece.

    The texts are found by their ids: the library does not tell which tokens are the first text.
    """
    ids, kinds = list(encoding.ids), list(encoding.type_ids)
    pieces: list[list[int]] = []
    types: list[set[int]] = []
    start = 0
    for text in texts:
        at = next((index for index in range(start, len(ids)) if ids[index : index + len(text)] == list(text)), len(ids))
        pieces.append(ids[start:at])
        types += [set(kinds[start:at]), set(kinds[at : at + len(text)])]
        start = at + len(text)
    pieces.append(ids[start:])
    types.append(set(kinds[start:]))
    if start > len(ids) or any(len(has) > 1 for has in types):
        raise UserError("the tokenizer puts its special tokens in a way that can't be described by ids around a text; use another encoder")
    # The type of a piece without special tokens does not matter.
    return pieces, [min(has, default=0) for has in types]
