"""A trained network as an ONNX graph: token ids in, calibrated probabilities out.

A model of articles reads packed sentences. If it finds dyads, a second graph scores actors, given
the first one's outputs for the sentences that have candidates.
"""

import copy
import logging
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from haltung.encoders.tokens import template
from haltung.inference.client import PACKED_WIDTH
from haltung.labels import Scheme
from haltung.models.article import ActorHead, ArticleModel, ArticleNetwork, Packed, means
from haltung.models.bundle import ACTORS, VECTORS
from haltung.models.neural import Batch, EncoderModel, MultiTaskNetwork, NeuralModel, first_position, merged
from haltung.models.predictor import Calibration

OPSET = 18  # which all recent runtimes read; from 17 on LayerNormalization is one operator
# The graph's inputs of each view, in order; the types only if the tokenizer has them.
PARTS = ("input_ids", "attention_mask", "own_mask", "token_type_ids")
# The inputs of a graph of articles, and of its graph of actors.
_OF_ARTICLES = ("input_ids", "positions", "sentence", "place", "kind", "token_type_ids")
_OF_ACTORS = ("mentions", "sentences", "stances", "cues", "sentence", "slot")


class Calibrated(nn.Module):
    """A network with temperatures and softmax (or sigmoid): tensors in, probabilities out."""

    def __init__(self, network: MultiTaskNetwork, scheme: Scheme, calibration: Calibration, views: int) -> None:
        """Wrap a network that reads this number of ``views``, with equally many tensors each."""
        super().__init__()
        self.network, self.views, self.scheme, self.calibration = network, views, scheme, calibration

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the probabilities of each task of the scheme, float32 ``[batch, labels]``."""
        batches, size = [], len(tensors) // self.views
        for first in range(0, len(tensors), size):
            ids, mask, own, *types = tensors[first : first + size]
            batches.append(Batch(ids, mask, types[0] if types else None, own))
        return tuple(calibrated(self.network(batches), self.scheme, self.calibration))


class CalibratedArticles(nn.Module):
    """A network of articles with temperatures and softmax (or sigmoid), one tensor per input."""

    def __init__(self, network: ArticleNetwork, scheme: Scheme, calibration: Calibration) -> None:
        super().__init__()
        self.network, self.scheme, self.calibration = network, scheme, calibration

    def forward(
        self, ids: Tensor, positions: Tensor, sentence: Tensor, place: Tensor, kind: Tensor, types: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Return each task's probabilities, and the inputs for the graph of actors, if any."""
        states = self.network.states(Packed(ids, positions, sentence, place, types))
        vectors = self.network.vectors(means(states, sentence, place.shape[0]), place, kind)
        logits = self.network.logits(vectors)
        out = calibrated(logits, self.scheme, self.calibration)
        return (*out, states, vectors, self.network.likely(logits)) if self.network.actors is not None else tuple(out)


def calibrated(logits: Mapping[str, Tensor], scheme: Scheme, calibration: Calibration) -> list[Tensor]:
    """Return the probabilities of each task of the scheme, given its logits."""
    tempered = {task: logits[task.name] / calibration.temperature(task.name) for task in scheme}
    return [values.softmax(dim=-1) if task.kind == "single" else values.sigmoid() for task, values in tempered.items()]


def write(model: NeuralModel, path: Path) -> dict[str, Any]:
    """Write the calibrated graph in float32, batch and tokens dynamic; return views and input."""
    wrapper = Calibrated(plain(model), model.scheme, model.calibration, len(model.views))
    parts = PARTS if model.with_types else PARTS[:3]
    # With several views each name begins with its view.
    inputs = [f"{view}.{part}" if len(model.views) > 1 else part for view in model.views for part in parts]
    # Rows and views differ in length, so that no size is taken for a constant.
    examples: list[Tensor] = []
    shapes: list[dict[int, object]] = []
    batch = torch.export.Dim("batch")
    for number, view in enumerate(model.views):
        ids = torch.full((2, 8 + number), 5)
        mask = torch.ones_like(ids)
        mask[1, 5:] = 0
        examples += [ids, mask, mask.clone(), torch.zeros_like(ids)][: len(parts)]
        tokens = torch.export.Dim("tokens" if len(model.views) == 1 else f"{view.replace('+', '_')}_tokens", max=model.spec.max_length)
        shapes += [{0: batch, 1: tokens}] * len(parts)
    save(wrapper, examples, (tuple(shapes),), inputs, model.scheme.names, path)
    return {"views": list(model.views), "input": described(model)}


def write_articles(model: ArticleModel, path: Path) -> dict[str, Any]:
    """Write the graph, all sizes dynamic, and that of actors, if any; return views and input."""
    network = plain(model)
    rows, width, sentences, articles, longest = (torch.export.Dim(name) for name in ("rows", "width", "sentences", "articles", "longest"))
    ids = torch.full((3, 7), 5)
    sentence = torch.tensor([[0] * 4 + [1] * 3, [2] * 5 + [-1] * 2, [3] * 2 + [4] * 4 + [-1]])
    kind = torch.tensor([[0, 1, 1, -1], [1, 1, -1, -1]])
    examples = [ids, torch.ones_like(ids), sentence, torch.tensor([0, 1, 2, 4, 5]), kind, torch.zeros_like(ids)]
    shapes: list[dict[int, Any]] = [*[{0: rows, 1: width}] * 3, {0: sentences}, {0: articles, 1: longest}, {0: rows, 1: width}]
    size = 6 if model.with_types else 5
    outputs = [*model.scheme.names, *(VECTORS if network.actors is not None else ())]
    wrapper = CalibratedArticles(network, model.scheme, model.calibration)
    save(wrapper, examples[:size], shapes[:size], _OF_ARTICLES[:size], outputs, path)
    if network.actors is not None:
        _write_actors(network.actors, path.with_name(Path(ACTORS).name))
    settings = {
        **described(model), "kind": "articles", "target": "target" in model.spec.read, "window": model.spec.window,
        "first_position": first_position(model.network.encoder.config), "packed_width": PACKED_WIDTH,
    }  # fmt: skip
    return {"views": [model.spec.read], "input": settings}


def _write_actors(head: ActorHead, path: Path) -> None:
    candidates, cues, sentences = (torch.export.Dim(name) for name in ("candidates", "cues", "sentences"))
    width, stances = head.vectors.in_features // 2, head.shift.in_features
    sentence, slot = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 1, 2, 0, 1])
    examples = [torch.ones(5, width), torch.ones(2, width), torch.ones(2, stances), torch.ones(5, 4, dtype=torch.long), sentence, slot]
    of_candidates = {0: candidates}
    shapes = [of_candidates, {0: sentences}, {0: sentences}, {0: candidates, 1: cues}, of_candidates, of_candidates]
    save(head, examples, shapes, _OF_ACTORS, ["sides"], path)


def save(module: nn.Module, examples: Sequence[Tensor], shapes: Any, inputs: Sequence[str], outputs: Sequence[str], path: Path) -> None:
    """Write a module's graph, traced with examples whose dynamic sizes ``shapes`` names."""
    module.eval()
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):  # which log every node that they leave unchanged
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"):  # about future changes of the exporter
        program = torch.onnx.export(
            module, tuple(examples), dynamo=True, input_names=inputs, output_names=outputs, opset_version=OPSET,
            dynamic_shapes=tuple(shapes), external_data=False, verbose=False,
        )  # fmt: skip
    assert program is not None
    module.eval()  # the exporter turns training mode, and with it dropout, on again
    whole = program.model_proto
    _order_gelu(whole.graph)
    for node in (*whole.graph.node, *(node for function in whole.functions for node in function.node)):
        del node.metadata_props[:]  # they name files and lines of this machine, which are private
    onnx.save(whole, path)


def _order_gelu(graph: Any) -> None:
    """Write ``x * (0.5 * (1 + erf(…)))`` as ``(x * (1 + erf(…))) * 0.5``.

    ONNX Runtime fuses only the second form into one operator, which saves 4 to 8 % of the time.
    """
    made = {output: node for node in graph.node for output in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    constants = {one.name for one in graph.initializer} | {output for output, node in made.items() if node.op_type == "Constant"}
    for outer in graph.node:
        for inner in [made.get(name) for name in outer.input]:
            if inner is None or not outer.op_type == inner.op_type == "Mul" or uses[inner.output[0]] > 1:
                continue
            for half, sums in enumerate(made.get(name) for name in reversed(inner.input)):
                after_erf = sums is not None and any(made[name].op_type == "Erf" for name in sums.input if name in made)
                if after_erf and inner.input[half] in constants:
                    x = list(outer.input).index(inner.output[0]) ^ 1
                    inner.input[half], outer.input[x] = outer.input[x], inner.input[half]


def described(model: EncoderModel) -> dict[str, Any]:
    """Return the bundle's ``input`` (``docs/bundle.md``); ``UserError`` as ``template``."""
    around = template(model.tokenizer)
    types = {"single": around.single_types, "pair": around.pair_types} if model.with_types else None
    return {
        "kind": "tokens", "tokenizer": "tokenizer.json", "prefix": model.encoder.prefix, "max_length": model.spec.max_length,
        "pad": model.pad, "single": list(around.single), "pair": list(around.pair), "types": types,
    }  # fmt: skip


def plain(model: EncoderModel) -> Any:
    """Return a copy of the network to trace: on the CPU, with LoRA's updates merged.

    Attention is ``eager``, which ONNX Runtime fuses again; the fused kernel has no ONNX operator.
    """
    network: Any = copy.deepcopy(merged(model.network)).cpu().float().eval()
    network.encoder.config._attn_implementation = "eager"
    return network
