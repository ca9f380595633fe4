"""Smaller graphs of a model: weights in half precision, or in 8 bits."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_BLOCK = 32  # weights that share a scale; fewer are no better, and it divides every width
_MAX_HALF = 65504.0  # a larger weight would become infinite in half precision


def halved(source: Path, path: Path) -> None:
    """Write the graph with weights in half precision, cast to fp32 when it is loaded.

    This halves the size, for browsers. Computing in fp16 is slower on CPUs; attention overflows.
    """
    model = onnx.load(source)
    casts = []
    for tensor in filter(_is_large, model.graph.initializer):
        value = numpy_helper.to_array(tensor)
        if np.abs(value).max(initial=0.0) > _MAX_HALF:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), f"{name}/half"))
        casts.append(helper.make_node("Cast", [f"{name}/half"], [name], name=f"{name}/cast", to=TensorProto.FLOAT))
    # These values are computed by nodes now, so their recorded shapes have to be removed.
    computed = {cast.output[0] for cast in casts}
    _replace(model.graph.value_info, [value for value in model.graph.value_info if value.name not in computed])
    _replace(model.graph.node, [*casts, *model.graph.node])
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _is_large(tensor: onnx.TensorProto) -> bool:
    """Return whether a tensor has float32 weights, and enough for smaller ones to save space."""
    return bool(tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= 1024)


def _replace(field: Any, values: Sequence[Any]) -> None:
    """Set a repeated field, to which protobuf allows no assignment."""
    del field[:]
    field.extend(values)


def quantised(source: Path, path: Path) -> None:
    """Write the graph with tables and matrices in 8 bits.

    A table (embeddings, coefficients) has a scale for each row, and rows are converted back after
    the lookup. A matrix has a scale for each block of 32 weights (``MatMulNBits``, which ONNX
    Runtime and OpenVINO support); products are computed in 8 bits, with inputs rounded by block
    too. All alternatives tried flip too many labels: ``experiments/2026-11-25-export.md``.
    """
    model = onnx.load(source)
    _quantise_tables(model)
    if any(node.op_type == "MatMul" for node in model.graph.node):
        model = _with_quantised_matrices(model)
    onnx.save(model, path)


def _with_quantised_matrices(model: onnx.ModelProto) -> onnx.ModelProto:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # When imported, the module configures the root logger, and it logs each matrix.
    from onnxruntime.quantization.matmul_nbits_quantizer import (  # type: ignore[import-untyped]  # it has no stubs
        DefaultWeightOnlyQuantConfig,
        MatMulNBitsQuantizer,
    )

    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer").setLevel(logging.WARNING)
    # Accuracy level 4 computes products in 8 bits.
    config = DefaultWeightOnlyQuantConfig(block_size=_BLOCK, is_symmetric=True, accuracy_level=4, bits=8)
    quantizer = MatMulNBitsQuantizer(model, algo_config=config)
    quantizer.process()
    made: onnx.ModelProto = getattr(quantizer.model, "model", quantizer.model)
    return made


def _quantise_tables(model: onnx.ModelProto) -> None:
    """Store tables in 8 bits, in place, with operators that every runtime supports."""
    # A table with other uses has to stay as it is.
    elsewhere = {name for node in model.graph.node for number, name in enumerate(node.input) if (node.op_type, number) != ("Gather", 0)}
    tables = {tensor.name: tensor for tensor in model.graph.initializer if _is_large(tensor) and len(tensor.dims) == 2}
    nodes: list[onnx.NodeProto] = []
    done: set[str] = set()
    for node in model.graph.node:
        if node.op_type != "Gather" or node.input[0] not in tables or node.input[0] in elsewhere:
            nodes.append(node)
            continue
        name, out = node.input[0], node.output[0]
        if name not in done:
            done.add(name)
            value = numpy_helper.to_array(tables[name])
            scale = np.abs(value).max(axis=1, keepdims=True) / 127
            scale[scale == 0] = 1
            model.graph.initializer.append(numpy_helper.from_array(np.rint(value / scale).astype(np.int8), f"{name}/eighth"))
            model.graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}/scale"))
        nodes.append(helper.make_node("Gather", [f"{name}/eighth", node.input[1]], [f"{out}/picked"], axis=0))
        nodes.append(helper.make_node("Gather", [f"{name}/scale", node.input[1]], [f"{out}/scale"], axis=0))
        nodes.append(helper.make_node("Cast", [f"{out}/picked"], [f"{out}/cast"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [f"{out}/cast", f"{out}/scale"], [out]))
    _replace(model.graph.initializer, [tensor for tensor in model.graph.initializer if tensor.name not in done])
    _replace(model.graph.node, nodes)
