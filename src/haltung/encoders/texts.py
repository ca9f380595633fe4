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
    sentences next to the text stay; a target is kept whole as far as half of ``max_length``, before text and context.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    # The tokenizer's own template decides how many special tokens there are: `<s> A </s>` has two, `[CLS] A [SEP] B [SEP]` three.
    alone = backend.num_special_tokens_to_add(False)
    paired = backend.num_special_tokens_to_add(True)
    targets = backend.encode_batch([_before(segment.target, "target" in reads, prefix) for segment in segments], add_special_tokens=False)
    contexts = backend.encode_batch(
        [_before(segment.context, "context" in reads, prefix) for segment in segments], add_special_tokens=False
    )
    texts = backend.encode_batch([segment.text for segment in segments], add_special_tokens=False)
    prefixed = backend.encode_batch([prefix + segment.text for segment in segments], add_special_tokens=False) if prefix else texts
    out = []
    for text, target, context, whole in zip(texts, targets, contexts, prefixed, strict=True):
        room = max_length - paired - len(text.ids)
        # A text that fills the input by itself is read without its context: a few scraps of it would cost the text its end.
        if not target.ids and (not context.ids or room < _LEAST_PAIR):
            whole.truncate(max_length - alone)
            out.append(_tokens(backend.post_process(whole), single=True))
            continue
        text.truncate(max(1, max_length - paired - min(len(target.ids), max_length // 2)))
        room = max_length - paired - len(text.ids)
        target.truncate(room)
        context.truncate(room - len(target.ids), direction="left")
        before = type(target).merge([target, context]) if target.ids and context.ids else target if target.ids else context
        out.append(_tokens(backend.post_process(before, text), single=False))
    return out


def _before(part: str, is_read: bool, prefix: str) -> str:
    return prefix + part if is_read and part.strip() else ""


def _tokens(encoding: object, single: bool) -> Tokens:
    sequences = encoding.sequence_ids  # type: ignore[attr-defined]  # a tokenizers.Encoding, which has no stubs
    own = [int(sequence == (0 if single else 1)) for sequence in sequences]
    return Tokens(list(encoding.ids), list(encoding.type_ids), own)  # type: ignore[attr-defined]
