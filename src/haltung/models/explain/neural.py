"""Word attributions of a network: integrated gradients of the embeddings, summed per word.

Of a model of articles it also says what a sentence's headline and neighbours count for.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor, nn

from haltung.encoders.tokens import Tokens, encode
from haltung.errors import UserError
from haltung.inference.client import batches, places
from haltung.models.article import ArticleModel, ArticleNetwork
from haltung.models.explain import PARTS, SURROUNDINGS, Attribution, SpanShare, by_word
from haltung.models.neural import Batch, EncoderModel, NeuralModel, autocast, hidden_states, merged, pool
from haltung.models.units import Unit, units
from haltung.records import Segment

# Points on the path, by Gauss and Legendre; more change no word's rank, fewer leave a gap.
STEPS = 16
# Stands for the explained sentence in its surroundings.
_ITSELF = "[…]"


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
    covered = list(map(_covered, encoded))
    gradients = LayerIntegratedGradients(logits, encoder.get_input_embeddings())  # type: ignore[operator]
    out: dict[int, Attribution] = {}
    for rows in batches([steps * len(tokens) for tokens in encoded]):
        batch = model.collate([encoded[row] for row in rows])
        is_word = torch.zeros_like(batch.ids, dtype=torch.bool)
        for position, row in enumerate(rows):
            is_word[position, : len(covered[row])] = torch.tensor([bool(part) for part, _, _ in covered[row]])
        baseline = torch.where(is_word, model.pad, batch.ids)
        others = (batch.mask, batch.types, batch.own, *more(rows))
        target = torch.tensor([numbers[row] for row in rows], device=batch.ids.device)
        with nullcontext() if exact else autocast(batch.ids.device):
            values = gradients.attribute(batch.ids, baseline, target, others, steps).sum(dim=-1).double().cpu()
        with torch.no_grad():
            ends = [logits(ids, *others).gather(1, target[:, None])[:, 0].double().tolist() for ids in (batch.ids, baseline)]
        for position, row in enumerate(rows):
            # After the row's tokens is padding, in the input as in its baseline.
            pieces = [SpanShare(*part, value) for part, value in zip(covered[row], values[position].tolist(), strict=False)]
            words, rest = by_word(pieces, {part: getattr(segments[row], part) for part in PARTS})
            out[row] = Attribution(task, labels[row], words, rest, ends[0][position], ends[1][position])
    return [out[row] for row in range(len(segments))]


@dataclass(frozen=True)
class _Neighbours:
    """The logits of one task, given the tokens of a sentence and the vectors of its neighbours."""

    network: ArticleNetwork
    task: str

    def __call__(
        self, ids: Tensor, mask: Tensor, types: Tensor | None, own: Tensor, vectors: Tensor, kind: Tensor, place: Tensor
    ) -> Tensor:
        """Return ``[batch, labels]`` of ids, masks and types ``[batch, tokens]``; see ``among``."""
        at = torch.arange(len(place), device=place.device), place
        return self.among(vectors.index_put(at, self.vectors(Batch(ids, mask, types, own))), kind, place)

    def vectors(self, view: Batch) -> Tensor:
        """Return the vector of each sentence, ``[batch, width]``."""
        return pool(hidden_states(self.network.encoder, view), view, "mean").float()

    def among(self, vectors: Tensor, kind: Tensor, place: Tensor) -> Tensor:
        """Return ``[batch, labels]`` of the sentences in ``place`` ``[batch]`` of their articles.

        ``vectors`` are those of articles, ``[batch, sentences, width]``, ``kind`` as in
        ``ArticleBatch``.
        """
        count, longest = kind.shape
        with torch.autocast(vectors.device.type, enabled=False):
            every = self.network.vectors(vectors.flatten(0, 1), torch.arange(count * longest, device=place.device), kind)
            asked = torch.arange(count, device=place.device) * longest + place
            return self.network.logits(every[asked])[self.task]


def attribute_in_articles(
    model: ArticleModel, segments: Sequence[Segment], rows: Sequence[int], task: str, labels: Sequence[str], steps: int = STEPS,
    exact: bool = False,
) -> list[Attribution]:  # fmt: skip
    """Return what own words and other sentences add to the logits of the given labels.

    ``segments`` are whole articles, ``rows`` the numbers of those to explain, and ``labels`` has a
    label for each. Words get the integrated gradients of ``attribute``, whose other arguments and
    errors these are. Of other sentences it is what the logit loses without them, as if the article
    had never had them.
    """
    read = {row: (unit, place) for unit in units(segments, model.spec.window) for place, row in enumerate(unit.rows)}
    whole = {row: unit for unit in units(segments, len(segments)) for row in unit.rows}
    network = merged(model.network)
    logits, number_of = _Neighbours(network, task), model.scheme[task].index
    # cuDNN has no gradients of an LSTM that is not being trained.
    with evaluating(network), torch.backends.cudnn.flags(enabled=False):
        with torch.no_grad():
            vectors = [logits.vectors(model.collate(model.encode(read[row][0].sentences))) for row in rows]

        def neighbours(chosen: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
            of = nn.utils.rnn.pad_sequence([vectors[one] for one in chosen], batch_first=True)
            found = [read[rows[one]] for one in chosen]
            kind = torch.from_numpy(places([unit.rows for unit, _ in found])["kind"])
            return of, kind.to(model.device), torch.tensor([place for _, place in found], device=model.device)

        own = [segments[row] for row in rows]
        found = integrated(model, network.encoder, logits, own, model.spec.read, task, labels, steps, exact, neighbours)
        out = []
        for row, one, of in zip(rows, found, vectors, strict=True):
            unit, place = read[row]
            left_out = _left_out(logits, of, unit, place)[:, number_of(one.label)].double().tolist() if len(of) > 1 else []
            sentences, text = _shares(whole[row], unit, place, [one.logit - value for value in left_out])
            out.append(replace(one, sentences=sentences, surroundings=text))
    return out


@torch.no_grad()
def _left_out(logits: _Neighbours, vectors: Tensor, unit: Unit, place: int) -> Tensor:
    """Return the logits without each other sentence in turn, ``[sentences - 1, labels]``."""
    every = range(len(vectors))
    kept = torch.tensor([[one for one in every if one != absent] for absent in every if absent != place])
    kind = torch.from_numpy(places([unit.rows])["kind"][0])[kept]
    at = torch.tensor([rows.index(place) for rows in kept.tolist()])
    return logits.among(vectors[kept], kind.to(vectors.device), at.to(vectors.device))


def _shares(whole: Unit, unit: Unit, place: int, values: Sequence[float]) -> tuple[tuple[SpanShare, ...], str]:
    """Return the values of the other sentences of a unit in their text, and that text."""
    segment, own = unit.sentences[place], unit.rows[place]
    if not segment.article or segment.position is None:
        return tuple(SpanShare("context", 0, len(segment.context), value) for value in values), ""
    texts = [_ITSELF if row == own else sentence.text for row, sentence in zip(whole.rows, whole.sentences, strict=True)]
    starts = accumulate((len(text) + 1 for text in texts), initial=0)
    spans = {row: (start, start + len(text)) for row, text, start in zip(whole.rows, texts, starts, strict=False)}
    others = [row for row in unit.rows if row != own]
    shares = tuple(SpanShare(SURROUNDINGS, *spans[row], value) for row, value in zip(others, values, strict=True))
    return shares, " ".join(texts) if len(texts) > 1 else ""


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


def _covered(tokens: Tokens) -> list[tuple[str, int, int]]:
    """Return part, start and end of what each token covers; the part of special tokens is ""."""
    out = [("", 0, 0)] * len(tokens)
    for part, (first, spans) in tokens.spans.items():
        # The tokens of a prefix end at 0.
        out[first : first + len(spans)] = [(part, start, end) if end else ("", 0, 0) for start, end in spans]
    return out
