"""A trained model of articles as ONNX graphs: packed sentences in, calibrated probabilities out.

A second graph scores actors, given what the first one says of the sentences that name them.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from haltung.export.graphs import neural
from haltung.inference.client import PACKED_WIDTH
from haltung.labels import Scheme
from haltung.models.article import ActorHead, ArticleModel, ArticleNetwork, Packed, means
from haltung.models.bundle import ACTORS, VECTORS
from haltung.models.calibration import Calibration
from haltung.models.neural import first_position

INPUTS = ("input_ids", "positions", "sentence", "place", "kind", "token_type_ids")

# The inputs of the graph of actors, in order.
_OF_ACTORS = ("mentions", "sentences", "stances", "cues", "sentence", "slot")


class CalibratedArticles(nn.Module):
    """A network of articles with temperatures and softmax (or sigmoid), one tensor per input."""

    def __init__(self, network: ArticleNetwork, scheme: Scheme, calibration: Calibration) -> None:
        super().__init__()
        self.network, self.scheme, self.calibration = network, scheme, calibration

    def forward(
        self, ids: Tensor, positions: Tensor, sentence: Tensor, place: Tensor, kind: Tensor, types: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Return the probabilities of each task, and what the graph of actors reads, if any."""
        states = self.network.states(Packed(ids, types, positions, sentence, place))
        vectors = self.network.vectors(means(states, sentence, place.shape[0]), place, kind)
        logits = self.network.logits(vectors)
        out = neural.calibrated(logits, self.scheme, self.calibration)
        return (*out, states, vectors, self.network.likely(logits)) if self.network.actors is not None else tuple(out)


def write(model: ArticleModel, path: Path) -> dict[str, Any]:
    """Write the calibrated graph in float32, all sizes dynamic; return views and input.

    Beside it goes the graph of actors, ``actors.onnx``, if the model finds dyads.
    """
    network = neural.plain(model)
    rows, width, sentences, articles, longest = (torch.export.Dim(name) for name in ("rows", "width", "sentences", "articles", "longest"))
    ids = torch.full((3, 7), 5)
    sentence = torch.tensor([[0] * 4 + [1] * 3, [2] * 5 + [-1] * 2, [3] * 2 + [4] * 4 + [-1]])
    kind = torch.tensor([[0, 1, 1, -1], [1, 1, -1, -1]])
    examples = [ids, torch.ones_like(ids), sentence, torch.tensor([0, 1, 2, 4, 5]), kind, torch.zeros_like(ids)]
    shapes: list[dict[int, Any]] = [*[{0: rows, 1: width}] * 3, {0: sentences}, {0: articles, 1: longest}, {0: rows, 1: width}]
    size = 6 if model.with_types else 5
    outputs = [*model.scheme.names, *(VECTORS if network.actors is not None else ())]
    wrapper = CalibratedArticles(network, model.scheme, model.calibration)
    neural.save(wrapper, examples[:size], shapes[:size], INPUTS[:size], outputs, path)
    if network.actors is not None:
        _write_actors(network.actors, path.with_name(Path(ACTORS).name))
    return {"views": [model.spec.read], "input": described(model)}


def described(model: ArticleModel) -> dict[str, Any]:
    """Return the bundle's ``input`` (``docs/bundle.md``); ``UserError`` as ``neural.described``."""
    return {
        **neural.described(model), "kind": "articles", "target": "target" in model.spec.read, "window": model.spec.window,
        "first_position": first_position(model.network.encoder.config), "packed_width": PACKED_WIDTH,
    }  # fmt: skip


def _write_actors(head: ActorHead, path: Path) -> None:
    candidates, cues, sentences = (torch.export.Dim(name) for name in ("candidates", "cues", "sentences"))
    width, stances = head.vectors.in_features // 2, head.shift.in_features
    sentence, slot = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 1, 2, 0, 1])
    examples = [torch.ones(5, width), torch.ones(2, width), torch.ones(2, stances), torch.ones(5, 4, dtype=torch.long), sentence, slot]
    of_candidates = {0: candidates}
    shapes = [of_candidates, {0: sentences}, {0: sentences}, {0: candidates, 1: cues}, of_candidates, of_candidates]
    neural.save(head, examples, shapes, _OF_ACTORS, ["sides"], path)
