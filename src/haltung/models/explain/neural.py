"""Which words a network's answer rests on: integrated gradients from the embedding layer, summed per word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from haltung.encoders.tokens import Tokens
from haltung.errors import UserError
from haltung.inference.client import batches
from haltung.models.explain.words import PARTS, Attribution, Piece, summed
from haltung.models.network import Batch, MultiTaskNetwork, collate, pool
from haltung.models.neural import NeuralModel, autocast, merged
from haltung.records import Segment

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Points of the path, by Gauss and Legendre; more change no word's place, fewer leave a gap (see ``Attribution.gap``).
STEPS = 16


@dataclass(frozen=True)
class _Span:
    """The characters of a segment's part that a token stands for; an empty part for special tokens and a prefix."""

    part: str = ""
    start: int = 0
    end: int = 0


class _Logits(nn.Module):
    """The logits of one task as a function of its own view's token ids, which is what captum differentiates."""

    def __init__(self, network: MultiTaskNetwork, task: str) -> None:
        """``network`` keeps its weights."""
        super().__init__()
        self.encoder, self.head, self.pooling = network.encoder, network.heads[task], network.poolings[task]

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor | None, own: Tensor) -> Tensor:
        """Return ``[batch, labels]`` of ids, masks and types ``[batch, tokens]``."""
        arguments = {"input_ids": ids, "attention_mask": mask} | ({} if types is None else {"token_type_ids": types})
        states = self.encoder(**arguments).last_hidden_state
        logits: Tensor = self.head(pool(states, Batch(ids, mask, types, own), self.pooling)).float()
        return logits


def attribute(
    model: NeuralModel, segments: Sequence[Segment], task: str, labels: Sequence[str], steps: int = STEPS, exact: bool = False
) -> list[Attribution]:
    """Return what each word adds to the logit of the given label.

    Integrated gradients (Sundararajan, Taly and Yan 2017, "Axiomatic Attribution for Deep Networks", ICML) of the word embeddings, through
    captum; the baseline is the same input with padding in the place of every word, special tokens kept.
    Without dropout, and with the gradients in the precision of predictions.

    Args:
        model: a network; LoRA's updates are merged first.
        segments: to be explained.
        task: whose head is asked.
        labels: for each segment, the label whose logit is explained.
        steps: points of the path.
        exact: take float32 for the gradients, for twice the time.

    Raises:
        UserError: captum is not installed, or the scheme has no such task or label.
    """
    try:
        from captum.attr import LayerIntegratedGradients
    except ImportError:
        raise UserError(
            "word importances are made by captum, which is not installed; pip install captum, or say error_analysis=false"
        ) from None
    places = [model.scheme[task].index(label) for label in labels]
    network = merged(model.network)
    view = network.views[task]
    encoded = model.encode(segments)[view]
    spans = _spans(model, segments, encoded, model.views[view])
    pad = int(model.tokenizer.pad_token_id)
    with _still(network):
        logits = _Logits(network, task)
        gradients = LayerIntegratedGradients(logits, network.encoder.get_input_embeddings())  # type: ignore[operator]
        out: dict[int, Attribution] = {}
        for rows in batches([steps * len(tokens) for tokens in encoded]):
            batch = _batch(model, [encoded[row] for row in rows])
            baseline = torch.where(_is_word([spans[row] for row in rows], batch.ids), pad, batch.ids)
            others = (batch.mask, batch.types, batch.own)
            target = torch.tensor([places[row] for row in rows], device=batch.ids.device)
            with nullcontext() if exact else autocast(batch.ids.device):
                values = gradients.attribute(batch.ids, baseline, target, others, steps).sum(dim=-1).double().cpu()
            with torch.no_grad():
                ends = [logits(ids, *others).gather(1, target[:, None])[:, 0].double().tolist() for ids in (batch.ids, baseline)]
            for place, row in enumerate(rows):
                # Behind the row's own tokens is padding, in the input as in its baseline.
                own = values[place, : len(spans[row])].tolist()
                pieces = [Piece(span.part, span.start, span.end, value) for span, value in zip(spans[row], own, strict=True)]
                shares, rest = summed(pieces, {part: getattr(segments[row], part) for part in PARTS})
                out[row] = Attribution(task, labels[row], shares, rest, ends[0][place], ends[1][place])
    return [out[row] for row in range(len(segments))]


@contextmanager
def _still(network: MultiTaskNetwork) -> Iterator[None]:
    """Without dropout, and without gradients for the weights, which nobody needs here and which cost a third of the time."""
    was_training, wanted = network.training, [parameter.requires_grad for parameter in network.parameters()]
    network.eval()
    network.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, need in zip(network.parameters(), wanted, strict=True):
            parameter.requires_grad_(need)
        network.train(was_training)


def _is_word(spans: Sequence[Sequence[_Span]], like: Tensor) -> Tensor:
    """Return where words are, ``[batch, tokens]``, of the shape and on the device of ``like``."""
    out = torch.zeros_like(like, dtype=torch.bool)
    for row, own in enumerate(spans):
        out[row, : len(own)] = torch.tensor([bool(span.part) for span in own])
    return out


def _batch(model: NeuralModel, rows: Sequence[Tokens]) -> Batch:
    with_types = "token_type_ids" in model.tokenizer.model_input_names
    batch = collate(rows, int(model.tokenizer.pad_token_id), with_types)
    device = next(model.network.parameters()).device
    types = None if batch.types is None else batch.types.to(device)
    return Batch(batch.ids.to(device), batch.mask.to(device), types, batch.own.to(device))


def _spans(model: NeuralModel, segments: Sequence[Segment], encoded: Sequence[Tokens], reads: str) -> list[list[_Span]]:
    """Return what each token stands for, ``[segments][tokens]``: the reverse of ``haltung.encoders.tokens.encode``."""
    backend: Any = model.tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    prefix = model.encoder.prefix
    alone, paired = (_specials(model.tokenizer, is_pair) for is_pair in (False, True))
    out = []
    for segment, tokens in zip(segments, encoded, strict=True):
        own = sum(tokens.own)
        # A pair has tokens before its text, beside the special ones.
        before = len(tokens) - own - sum(paired)
        spans = [_Span()] * len(tokens)
        if len(tokens) - own == sum(alone):
            _place(spans, alone[0], _pieces(backend, "text", segment.text, prefix)[:own])
        else:
            targets = _pieces(backend, "target", segment.target, prefix) if "target" in reads else []
            contexts = _pieces(backend, "context", segment.context, prefix) if "context" in reads else []
            kept = targets[:before]
            # A context is cut on its left.
            _place(spans, paired[0], kept + contexts[len(contexts) - (before - len(kept)) :])
            _place(spans, tokens.own.index(1) if own else 0, _pieces(backend, "text", segment.text, "")[:own])
        out.append(spans)
    return out


def _place(spans: list[_Span], start: int, found: Sequence[_Span]) -> None:
    spans[start : start + len(found)] = found


def _pieces(backend: Any, part: str, text: str, prefix: str) -> list[_Span]:
    if part != "text" and not text.strip():
        return []
    shift = len(prefix)
    offsets = backend.encode(prefix + text, add_special_tokens=False).offsets
    return [_Span(part, max(0, start - shift), end - shift) if end > shift else _Span() for start, end in offsets]


def _specials(tokenizer: PreTrainedTokenizerBase, is_pair: bool) -> tuple[int, int]:
    """Return how many special tokens an input begins with, and how many it has besides."""
    backend: Any = tokenizer.backend_tokenizer
    parts = [backend.encode("a", add_special_tokens=False) for _ in range(2 if is_pair else 1)]
    whole = backend.post_process(*parts)
    # Not by sequence_ids: of a pair that is put together afterwards, they name the second half alone.
    first = whole.special_tokens_mask.index(0)
    return first, int(backend.num_special_tokens_to_add(is_pair)) - first
