"""From segments to token ids: text alone, or text behind its context or its target as a true pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from haltung.errors import UserError, listed, nearest
from haltung.records import Segment

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What stands before the text, as the first half of a pair; "target+context" is both, in this order.
READS = ("text", "context", "target", "target+context")

# Fewer tokens of context than this say nothing.
_LEAST_PAIR = 4


@dataclass(frozen=True)
class Tokens:
    """One input of the encoder. ``own`` is 1 at the tokens of the segment's own text (special tokens and the pair's are 0)."""

    ids: list[int]
    types: list[int]
    own: list[int]

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.ids)


def checked_reads(reads: str) -> str:
    """Return ``reads`` if it is one of ``READS``.

    Raises:
        UserError: it is not.
    """
    if reads not in READS:
        raise UserError(f"unknown input '{reads}'{nearest(reads, READS)}; a task reads one of {listed(READS)}")
    return reads


def encode(
    segments: Sequence[Segment], tokenizer: PreTrainedTokenizerBase, reads: str = "text", max_length: int = 128, prefix: str = ""
) -> list[Tokens]:
    """Return the token ids of each segment, at most ``max_length`` of them.

    The segment's own text is cut only if it alone is too long (on its right). A context gives way first, on its left, so that the
    sentences next to the text stay; a target is kept whole as far as half of ``max_length``, before text and context. Half a character (a
    lone surrogate) is read as U+FFFD.
    """
    segments = [
        replace(one, text=well_formed(one.text), context=well_formed(one.context), target=well_formed(one.target)) for one in segments
    ]
    around = template(tokenizer)
    backend = tokenizer.backend_tokenizer

    def ids_of(texts: Sequence[str]) -> list[list[int]]:
        return [one.ids for one in backend.encode_batch(texts, add_special_tokens=False)]

    targets = ids_of([_before(segment.target, "target" in reads, prefix) for segment in segments])
    contexts = ids_of([_before(segment.context, "context" in reads, prefix) for segment in segments])
    texts = ids_of([segment.text for segment in segments])
    prefixed = ids_of([prefix + segment.text for segment in segments]) if prefix else texts
    # The tokenizer's own template decides how many special tokens there are: `<s> A </s>` has two, `[CLS] A [SEP] B [SEP]` three.
    alone, paired = sum(map(len, around.single)), sum(map(len, around.pair))
    out = []
    for text, target, context, whole in zip(texts, targets, contexts, prefixed, strict=True):
        room = max_length - paired
        # A text that fills the input by itself is read without its context: a few scraps of it would cost the text its end.
        if not target and (not context or room - len(text) < _LEAST_PAIR):
            out.append(around.alone(whole[: max_length - alone]))
            continue
        text = text[: max(1, room - min(len(target), max_length // 2))]
        target = target[: room - len(text)]
        context = context[max(0, len(context) - (room - len(text) - len(target))) :]
        out.append(around.behind([*target, *context], text))
    return out


@dataclass(frozen=True)
class Template:
    """The special ids before, between and behind one text (``single``) and two (``pair``), and the token type of each piece.

    The texts themselves are pieces too: of one text there are three types, of two five.
    """

    single: tuple[list[int], list[int]]
    single_types: list[int]
    pair: tuple[list[int], list[int], list[int]]
    pair_types: list[int]

    def alone(self, text: list[int]) -> Tokens:
        """Return the input of one text."""
        return _joined([self.single[0], text, self.single[1]], self.single_types, own=1)

    def behind(self, before: list[int], text: list[int]) -> Tokens:
        """Return the input of a text and what stands before it."""
        return _joined([self.pair[0], before, self.pair[1], text, self.pair[2]], self.pair_types, own=3)


def template(tokenizer: PreTrainedTokenizerBase) -> Template:
    """Return how the tokenizer puts its special tokens around one text and around two.

    Ids are put together by it rather than by the library, whose ``truncate`` keeps what it cuts off and whose ``post_process`` pairs all of
    that: memory that grows with the square of a long text.

    Raises:
        UserError: it does so in another way than by special ids around the texts.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    one, other = (backend.encode(text, add_special_tokens=False) for text in ("Zoll", "Bank"))
    ids = [list(one.ids), list(other.ids)]
    single, single_types = _around(backend.post_process(one), ids[:1])
    # post_process changes what it is given.
    one, other = (backend.encode(text, add_special_tokens=False) for text in ("Zoll", "Bank"))
    pair, pair_types = _around(backend.post_process(one, other), ids)
    return Template((single[0], single[1]), single_types, (pair[0], pair[1], pair[2]), pair_types)


def well_formed(text: str) -> str:
    """Return the text with each lone surrogate, which no tokenizer reads, as U+FFFD; two that make up a character become that character.

    JSON escapes and shells can bring halves of a character in, and JavaScript's strings hold them; ``toWellFormed`` does the same there.
    """
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _before(part: str, is_read: bool, prefix: str) -> str:
    return prefix + part if is_read and part.strip() else ""


def _joined(pieces: Sequence[list[int]], types: Sequence[int], own: int) -> Tokens:
    return Tokens(
        [one for piece in pieces for one in piece],
        [kind for piece, kind in zip(pieces, types, strict=True) for _ in piece],
        [int(place == own) for place, piece in enumerate(pieces) for _ in piece],
    )


def _around(encoding: Any, texts: Sequence[Sequence[int]]) -> tuple[list[list[int]], list[int]]:
    """Return the special ids before, between and behind the texts, and the token type of each piece.

    The texts are found by their ids: of a pair's first text the library does not say which tokens are its own.
    """
    ids, kinds = list(encoding.ids), list(encoding.type_ids)
    pieces: list[list[int]] = []
    types: list[set[int]] = []
    start = 0
    for text in texts:
        at = next((place for place in range(start, len(ids)) if ids[place : place + len(text)] == list(text)), len(ids))
        pieces.append(ids[start:at])
        types += [set(kinds[start:at]), set(kinds[at : at + len(text)])]
        start = at + len(text)
    pieces.append(ids[start:])
    types.append(set(kinds[start:]))
    if start > len(ids) or any(len(has) > 1 for has in types):
        raise UserError("the tokenizer puts its special tokens in a way that can't be described by ids around a text; use another encoder")
    # A piece with no special token has no type either; 0 says nothing there.
    return pieces, [min(has, default=0) for has in types]
