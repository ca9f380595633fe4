"""A trained network as an ONNX graph: token ids in, calibrated probabilities out."""

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from haltung.encoders.tokens import template
from haltung.labels import Scheme
from haltung.models.calibration import Calibration
from haltung.models.neural import Batch, EncoderModel, MultiTaskNetwork, NeuralModel, merged

# All recent runtimes read it, those in browsers too; from 17 on LayerNormalization is one operator.
OPSET = 18

# The graph's inputs of each view, in order; the types only if the tokenizer has them.
PARTS = ("input_ids", "attention_mask", "own_mask", "token_type_ids")


class Calibrated(nn.Module):
    """A network with temperatures and softmax (or sigmoid): tensors in, probabilities out."""

    def __init__(self, network: MultiTaskNetwork, scheme: Scheme, calibration: Calibration, views: int) -> None:
        """Wrap a network with so many ``views``, which have equally many tensors each."""
        super().__init__()
        self.network, self.views, self.scheme, self.calibration = network, views, scheme, calibration

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the probabilities of each task of the scheme, float32 ``[batch, labels]``."""
        batches, size = [], len(tensors) // self.views
        for first in range(0, len(tensors), size):
            ids, mask, own, *types = tensors[first : first + size]
            batches.append(Batch(ids, mask, types[0] if types else None, own))
        return tuple(calibrated(self.network(batches), self.scheme, self.calibration))


def calibrated(logits: Mapping[str, Tensor], scheme: Scheme, calibration: Calibration) -> list[Tensor]:
    """Return the probabilities of each task of the scheme, given its logits."""
    tempered = {task: logits[task.name] / calibration.temperature(task.name) for task in scheme}
    return [values.softmax(dim=-1) if task.kind == "single" else values.sigmoid() for task, values in tempered.items()]


def names(views: Sequence[str], with_types: bool) -> list[str]:
    """Return the names of the graph's inputs; with several views each begins with its view."""
    parts = PARTS if with_types else PARTS[:3]
    return [f"{view}.{part}" if len(views) > 1 else part for view in views for part in parts]


def write(model: NeuralModel, path: Path) -> dict[str, Any]:
    """Write the calibrated graph in float32, batch and tokens dynamic; return views and input."""
    wrapper = Calibrated(plain(model), model.scheme, model.calibration, len(model.views))
    inputs = names(model.views, model.with_types)
    # Rows and views of different lengths, so that no size is taken for a constant.
    examples: list[Tensor] = []
    shapes: list[dict[int, object]] = []
    batch = torch.export.Dim("batch")
    for number, view in enumerate(model.views):
        example = _example(8 + number, model.with_types)
        examples += example
        tokens = torch.export.Dim("tokens" if len(model.views) == 1 else f"{view.replace('+', '_')}_tokens", max=model.spec.max_length)
        shapes += [{0: batch, 1: tokens} for _ in example]
    save(wrapper, examples, (tuple(shapes),), inputs, model.scheme.names, path)
    return {"views": list(model.views), "input": described(model)}


def save(
    module: nn.Module, examples: Sequence[Tensor], shapes: Sequence[Any], inputs: Sequence[str], outputs: Sequence[str], path: Path
) -> None:
    """Trace a module by examples of its inputs, whose dynamic sizes are named in ``shapes``."""
    module.eval()
    with _quiet():
        program = torch.onnx.export(
            module, tuple(examples), dynamo=True, input_names=inputs, output_names=outputs, opset_version=OPSET,
            dynamic_shapes=tuple(shapes), external_data=False, verbose=False,
        )  # fmt: skip
    assert program is not None
    # The exporter turns training mode, and with it dropout, on again.
    module.eval()
    whole = program.model_proto
    for node in (*whole.graph.node, *(node for function in whole.functions for node in function.node)):
        # Where in whose files it was traced is nobody's business.
        del node.metadata_props[:]
    onnx.save(whole, path)


def described(model: EncoderModel) -> dict[str, Any]:
    """Return the bundle's ``input``: how a text becomes token ids (``docs/bundle.md``).

    ``UserError`` is raised if the tokenizer does more than to put special ids around texts.
    """
    around = template(model.tokenizer)
    types = {"single": around.single_types, "pair": around.pair_types} if model.with_types else None
    return {
        "kind": "tokens", "tokenizer": "tokenizer.json", "prefix": model.encoder.prefix, "max_length": model.spec.max_length,
        "pad": model.pad, "single": list(around.single), "pair": list(around.pair), "types": types,
    }  # fmt: skip


def plain(model: EncoderModel) -> Any:
    """Return a copy of the network to trace: on the processor, with LoRA's updates merged.

    Its attention is ``eager``, a few matrix products that ONNX Runtime fuses again; the fused
    kernel has no ONNX operator.
    """
    network: Any = copy.deepcopy(merged(model.network)).cpu().float().eval()
    network.encoder.config._attn_implementation = "eager"
    return network


def _example(tokens: int, with_types: bool) -> list[Tensor]:
    ids = torch.full((2, tokens), 5, dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    own = mask.clone()
    own[:, 0] = 0
    return [ids, mask, own, torch.zeros_like(ids)][: 4 if with_types else 3]


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the exporter's warnings about its future and about nodes that it left unchanged."""
    levels = {logger: logger.level for logger in map(logging.getLogger, ("torch.onnx", "onnxscript", "onnx_ir"))}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
