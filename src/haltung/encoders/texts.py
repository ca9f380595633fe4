"""From segments to token ids: text alone, or text behind its context or its target as a true pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    sentences next to the text stay; a target is kept whole as far as half of ``max_length``.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    # The tokenizer's own template decides how many special tokens there are: `<s> A </s>` has two, `[CLS] A [SEP] B [SEP]` three.
    alone = backend.num_special_tokens_to_add(False)
    paired = backend.num_special_tokens_to_add(True)
    pairs = [_before(segment, reads) for segment in segments]
    texts = backend.encode_batch([segment.text if pair else prefix + segment.text for segment, pair in zip(segments, pairs, strict=True)],
                                 add_special_tokens=False)  # fmt: skip
    befores = backend.encode_batch([prefix + pair if pair else "" for pair in pairs], add_special_tokens=False)
    out = []
    for text, before, pair in zip(texts, befores, pairs, strict=True):
        # A text that fills the input by itself is read alone: a few scraps of context would cost it its end.
        if not pair or (reads == "context" and max_length - paired - len(text.ids) < _LEAST_PAIR):
            text.truncate(max_length - alone)
            out.append(_tokens(backend.post_process(text), single=True))
            continue
        kept_whole = min(len(before.ids), max_length // 2) if reads != "context" else 0
        text.truncate(max(1, max_length - paired - kept_whole))
        room = max_length - paired - len(text.ids)
        before.truncate(room, direction="right" if reads == "target" else "left")
        out.append(_tokens(backend.post_process(before, text), single=False))
    return out


def _before(segment: Segment, reads: str) -> str:
    if reads == "text":
        return ""
    if reads == "context":
        return segment.context
    if reads == "target":
        return segment.target
    return " ".join(part for part in (segment.target, segment.context) if part)


def _tokens(encoding: object, single: bool) -> Tokens:
    sequences = encoding.sequence_ids  # type: ignore[attr-defined]  # a tokenizers.Encoding, which has no stubs
    own = [int(sequence == (0 if single else 1)) for sequence in sequences]
    return Tokens(list(encoding.ids), list(encoding.type_ids), own)  # type: ignore[attr-defined]
