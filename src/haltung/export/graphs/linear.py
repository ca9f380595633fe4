"""A linear model as an ONNX graph: numbers and counts of n-grams in, calibrated probabilities out.

Texts are cut into n-grams outside of the graph, by a page of code in any language
(``docs/bundle.md``): ONNX's operators for text know neither scikit-learn's ``char_wb`` nor Unicode
(``experiments/2026-11-25-export.md`` has what was tried).
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from haltung.labels import Task
from haltung.models.linear import VOCABULARY, LinearModel, LinearWeights

OPSET = 18
_NEVER = -1e30  # the logit of a label that does not occur in training, without infinities


def described(model: LinearModel) -> dict[str, Any]:
    """Return the bundle's ``input``: how a text becomes the inputs of the graph."""
    parts: dict[str, list[dict[str, Any]]] = {}
    for view, features in model.features.items():
        first = 0
        parts[view] = []
        for name, vectorizer in features.parts.items():
            source, _, unit = name.partition(".")
            kind = "word" if unit == "words" else "character"
            parts[view].append({"name": name, "of": source, "unit": kind, "sizes": list(vectorizer.ngram_range), "first": first})
            first += len(vectorizer.idf_)
    return {"kind": "ngrams", "vocabulary": VOCABULARY, "parts": parts}


def write(model: LinearModel, path: Path) -> dict[str, Any]:
    """Write the graph in float32, batch and number of n-grams dynamic; return views and input."""
    graph = _GraphBuilder()
    prefixes = {view: f"{view}." if len(model.features) > 1 else "" for view in model.features}
    for view, prefix in prefixes.items():
        graph.view(model, view, prefix)
    for task in model.scheme:
        prefix = prefixes[model.spec.reads_of(task.name)]
        graph.task(task, model.weights[task.name], prefix, model.calibration.temperature(task.name))
    made = helper.make_graph(graph.nodes, "haltung", graph.inputs, graph.outputs, graph.initializers)
    whole = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9, producer_name="haltung")
    onnx.checker.check_model(whole, full_check=True)
    onnx.save(whole, path)
    return {"views": list(model.features), "input": described(model)}


class _GraphBuilder:
    """The nodes so far, with the dimensions ``batch`` and ``n`` (the n-grams of a row).

    Internal names begin with a slash, which no task and no input does.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def view(self, model: LinearModel, view: str, prefix: str) -> None:
        """Add the weights of a view's n-grams, ``(1 + ln count) · idf``, ``[batch, n]``.

        Each part has an L2 norm of 1.
        """
        for name, kind in (("numbers", TensorProto.INT64), ("counts", TensorProto.FLOAT)):
            self.inputs.append(helper.make_tensor_value_info(f"{prefix}{name}", kind, ["batch", f"{prefix}n"]))
        parts = [part.idf_ for part in model.features[view].parts.values()]
        idf = self.constant(f"/{prefix}idf", np.concatenate(parts).astype(np.float32))
        # [n-grams]: the part that an n-gram belongs to
        part = np.repeat(np.arange(len(parts)), [len(values) for values in parts])
        belongs = self.constant(f"/{prefix}part", part.astype(np.int64))
        numbers, counts = f"{prefix}numbers", f"{prefix}counts"
        one, zero = self.constant(f"/{prefix}one", np.float32(1)), self.constant(f"/{prefix}zero", np.float32(0))
        # ln max(count, 1), since padding has count 0
        tf = self.node("Add", self.node("Log", self.node("Max", counts, one)), one)
        weight = self.node("Mul", tf, self.node("Gather", idf, numbers))
        weight = self.node("Where", self.node("Greater", counts, zero), weight, zero)
        square = self.node("Mul", weight, weight)
        own = self.node("Gather", belongs, numbers)
        norm = None
        for number in range(len(parts)):
            here = self.node("Equal", own, self.constant(f"/{prefix}place{number}", np.int64(number)))
            total = self.node("ReduceSum", self.node("Where", here, square, zero), self.constant(f"/{prefix}axis{number}", np.array([1])))
            length = self.node("Where", here, self.node("Sqrt", total), zero)
            norm = length if norm is None else self.node("Add", norm, length)
        assert norm is not None
        # A row without n-grams has norm 0; its weights stay 0.
        tiny = self.constant(f"/{prefix}tiny", np.float32(1e-30))
        self.node("Unsqueeze", self.node("Div", weight, self.node("Max", norm, tiny)), self.constant(f"/{prefix}first", np.array([1])),
                  out=f"/{prefix}weights")  # fmt: skip

    def task(self, task: Task, weights: LinearWeights, prefix: str, temperature: float) -> None:
        """Add a task: margins, log odds, and calibrated probabilities.

        In a single-label task the probabilities of labels (sigmoids) are divided by their sum and
        tempered: softmax(ln sigmoid / T), which needs no division and can't underflow.
        """
        name = task.name
        # [n-grams, labels], so that the coefficients of an n-gram are contiguous
        coefficients = self.constant(f"/{name}.coefficients", np.ascontiguousarray(weights.coefficients.T.astype(np.float32)))
        picked = self.node("Gather", coefficients, f"{prefix}numbers")
        # [batch, 1, n] · [batch, n, labels]
        margin = self.node("MatMul", f"/{prefix}weights", picked)
        margin = self.node("Squeeze", margin, self.constant(f"/{name}.first", np.array([1])))
        # scale · (x · coefficients + intercept) + shift, with constants added in double precision
        scale = self.constant(f"/{name}.scale", weights.scale.astype(np.float32))
        shift = self.constant(f"/{name}.shift", (weights.scale * weights.intercept + weights.shift).astype(np.float32))
        odds = self.node("Add", self.node("Mul", margin, scale), shift)
        heat = self.constant(f"/{name}.temperature", np.float32(temperature))
        if task.kind == "single":
            logs = self.node("Neg", self.node("Softplus", self.node("Neg", odds)))
            never = self.constant(f"/{name}.never", np.where(weights.seen > 0, 0, _NEVER).astype(np.float32))
            self.node("Softmax", self.node("Div", self.node("Add", logs, never), heat), out=name, axis=-1)
        else:
            seen = self.constant(f"/{name}.seen", weights.seen.astype(np.float32))
            self.node("Mul", self.node("Sigmoid", self.node("Div", odds, heat)), seen, out=name)
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", len(task)]))

    def constant(self, name: str, value: Any) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, kind: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        name = out or f"/{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name
