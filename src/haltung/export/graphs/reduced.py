"""Smaller graphs of the same model: weights in half precision, or in 8 bits."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Smaller weights would save next to nothing.
_MIN_SIZE = 1024

# How many weights share a scale; fewer take more space and are no better, and every width of an
# encoder is a multiple of it.
_BLOCK = 32

# The largest number in half precision; a larger weight would become infinite.
_MAX_HALF = 65504.0


def halved(source: Path, path: Path) -> None:
    """Write the graph with weights in half precision, cast to fp32 when it is loaded.

    It takes half the space, for browsers. Computing in fp16 is slower on processors, and attention
    overflows.
    """
    model = onnx.load(source)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < _MIN_SIZE:
            continue
        value = numpy_helper.to_array(tensor)
        if np.abs(value).max(initial=0.0) > _MAX_HALF:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), f"{name}/half"))
        casts.append(helper.make_node("Cast", [f"{name}/half"], [name], name=f"{name}/cast", to=TensorProto.FLOAT))
    _forget_shapes(model, {cast.output[0] for cast in casts})
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _forget_shapes(model: onnx.ModelProto, names: set[str]) -> None:
    """Remove the shapes of values that other nodes compute now."""
    others = [value for value in model.graph.value_info if value.name not in names]
    del model.graph.value_info[:]
    model.graph.value_info.extend(others)


def quantised(source: Path, path: Path) -> None:
    """Write the graph with tables and matrices in 8 bits.

    A table (embeddings, coefficients) has a scale for each row, and a row is converted back once it
    is picked. A matrix has a scale for each block of 32 weights (``MatMulNBits``, known to ONNX
    Runtime and OpenVINO); products are computed in 8 bits, with inputs rounded block by block too.
    All else that was tried flips too many labels: ``experiments/2026-11-25-export.md``.
    """
    model = onnx.load(source)
    _tables(model)
    if any(node.op_type == "MatMul" for node in model.graph.node):
        model = _matrices(model)
    onnx.save(model, path)


def _matrices(model: onnx.ModelProto) -> onnx.ModelProto:
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


def _tables(model: onnx.ModelProto) -> None:
    """Store tables in 8 bits, in place, with operators that every runtime knows."""
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    done: set[str] = set()
    # A table with other uses has to stay as it is.
    elsewhere = {name for node in model.graph.node for number, name in enumerate(node.input) if (node.op_type, number) != ("Gather", 0)}
    for node in model.graph.node:
        tensor = initializers.get(node.input[0]) if node.op_type == "Gather" else None
        if (
            tensor is None
            or tensor.data_type != TensorProto.FLOAT
            or len(tensor.dims) != 2
            or np.prod(tensor.dims) < _MIN_SIZE
            or tensor.name in elsewhere
        ):
            nodes.append(node)
            continue
        name, out = tensor.name, node.output[0]
        if name not in done:
            done.add(name)
            value = numpy_helper.to_array(tensor)
            scale = np.abs(value).max(axis=1, keepdims=True) / 127
            scale[scale == 0] = 1
            model.graph.initializer.append(numpy_helper.from_array(np.rint(value / scale).astype(np.int8), f"{name}/eighth"))
            model.graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}/scale"))
        nodes.append(helper.make_node("Gather", [f"{name}/eighth", node.input[1]], [f"{out}/picked"], axis=0))
        nodes.append(helper.make_node("Gather", [f"{name}/scale", node.input[1]], [f"{out}/scale"], axis=0))
        nodes.append(helper.make_node("Cast", [f"{out}/picked"], [f"{out}/cast"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [f"{out}/cast", f"{out}/scale"], [out]))
    others = [tensor for tensor in model.graph.initializer if tensor.name not in done]
    del model.graph.initializer[:]
    model.graph.initializer.extend(others)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
