"""What counts for a model of articles: a sentence's own words, its headline, and its neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor, nn

from haltung.inference.client import places
from haltung.models.article import ArticleModel, ArticleNetwork
from haltung.models.explain import SURROUNDINGS, Attribution, SpanShare
from haltung.models.explain.neural import STEPS, evaluating, integrated
from haltung.models.neural import Batch, hidden_states, merged, pool
from haltung.models.units import Unit, units
from haltung.records import Segment

# Stands for the explained sentence in its surroundings.
_ITSELF = "[…]"


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


def attribute(
    model: ArticleModel, segments: Sequence[Segment], rows: Sequence[int], task: str, labels: Sequence[str], steps: int = STEPS,
    exact: bool = False,
) -> list[Attribution]:  # fmt: skip
    """Return what own words and other sentences add to the logits of the given labels.

    ``segments`` are whole articles, ``rows`` the numbers of those to explain, and ``labels`` has a
    label for each. Words get the integrated gradients of ``neural.attribute``, whose other
    arguments and errors these are. Of other sentences it is what the logit loses without them, as
    if the article had never had them.
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
