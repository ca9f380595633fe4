"""Word attributions of a network: integrated gradients of the embeddings, summed per word."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from haltung.encoders.tokens import Tokens, encode
from haltung.errors import UserError
from haltung.inference.client import batches
from haltung.models.explain import PARTS, Attribution, SpanShare, by_word
from haltung.models.neural import Batch, EncoderModel, NeuralModel, autocast, hidden_states, merged, pool
from haltung.records import Segment

# Points on the path, by Gauss and Legendre; more change no word's rank, fewer leave a gap.
STEPS = 16


def attribute(
    model: NeuralModel, segments: Sequence[Segment], task: str, labels: Sequence[str], steps: int = STEPS, exact: bool = False
) -> list[Attribution]:
    """Return what each word adds to the logit of the given label.

    Integrated gradients of the word embeddings (Sundararajan, Taly and Yan 2017, "Axiomatic
    Attribution for Deep Networks", ICML), by captum. The baseline has padding instead of words and
    the same special tokens. Dropout is off, and gradients have the precision of predictions.

    ``labels`` has the label to explain for each segment, ``steps`` is the number of points on the
    path. LoRA's updates are merged first. ``exact`` gradients are in float32, in twice the time.
    ``UserError`` is raised if captum is not installed, or the scheme has no such task or label.
    """
    network = merged(model.network)

    def logits(ids: Tensor, mask: Tensor, types: Tensor | None, own: Tensor) -> Tensor:
        view = Batch(ids, mask, types, own)
        pooled = pool(hidden_states(network.encoder, view), view, network.poolings[task])
        return network.heads[task](pooled).float()  # type: ignore[no-any-return]

    with evaluating(network):
        return integrated(model, network.encoder, logits, segments, model.spec.reads_of(task), task, labels, steps, exact)


def integrated(
    model: EncoderModel, encoder: nn.Module, logits: Callable[..., Tensor], segments: Sequence[Segment], reads: str, task: str,
    labels: Sequence[str], steps: int, exact: bool, more: Callable[[Sequence[int]], tuple[Tensor, ...]] = lambda rows: (),
) -> list[Attribution]:  # fmt: skip
    """Return the integrated gradients of ``logits`` in the word embeddings of ``encoder``.

    ``logits`` gives ``[batch, labels]`` for ids, mask, types and own tokens ``[batch, tokens]``.
    ``reads`` is what stands before each text; ``more`` are further arguments for some segments, by
    their numbers. See ``attribute``.
    """
    try:
        from captum.attr import LayerIntegratedGradients
    except ImportError:
        missing = "word importances are made by captum, which is not installed; pip install captum, or say error_analysis=false"
        raise UserError(missing) from None
    numbers = [model.scheme[task].index(label) for label in labels]
    encoded = encode(segments, model.tokenizer, reads, model.spec.max_length, model.encoder.prefix)
    places = list(map(_places, encoded))
    gradients = LayerIntegratedGradients(logits, encoder.get_input_embeddings())  # type: ignore[operator]
    out: dict[int, Attribution] = {}
    for rows in batches([steps * len(tokens) for tokens in encoded]):
        batch = model.collate([encoded[row] for row in rows])
        is_word = torch.zeros_like(batch.ids, dtype=torch.bool)
        for position, row in enumerate(rows):
            is_word[position, : len(places[row])] = torch.tensor([bool(part) for part, _, _ in places[row]])
        baseline = torch.where(is_word, model.pad, batch.ids)
        others = (batch.mask, batch.types, batch.own, *more(rows))
        target = torch.tensor([numbers[row] for row in rows], device=batch.ids.device)
        with nullcontext() if exact else autocast(batch.ids.device):
            values = gradients.attribute(batch.ids, baseline, target, others, steps).sum(dim=-1).double().cpu()
        with torch.no_grad():
            ends = [logits(ids, *others).gather(1, target[:, None])[:, 0].double().tolist() for ids in (batch.ids, baseline)]
        for position, row in enumerate(rows):
            # After the row's tokens is padding, in the input as in its baseline.
            pieces = [SpanShare(*place, value) for place, value in zip(places[row], values[position].tolist(), strict=False)]
            words, rest = by_word(pieces, {part: getattr(segments[row], part) for part in PARTS})
            out[row] = Attribution(task, labels[row], words, rest, ends[0][position], ends[1][position])
    return [out[row] for row in range(len(segments))]


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Turn off dropout and the gradients of weights, which would take a third of the time."""
    was_training, learned = network.training, [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.eval().requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_()
        network.train(was_training)


def _places(tokens: Tokens) -> list[tuple[str, int, int]]:
    """Return part, start and end of what each token covers; the part of special tokens is ""."""
    out = [("", 0, 0)] * len(tokens)
    for part, (first, spans) in tokens.spans.items():
        # The tokens of a prefix end at 0.
        out[first : first + len(spans)] = [(part, start, end) if end else ("", 0, 0) for start, end in spans]
    return out
