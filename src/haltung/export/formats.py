"""The formats of a bundle: how each is made, and on which machine it can be measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from haltung.errors import UserError, listed
from haltung.files import sha256
from haltung.inference.sessions import has_bf16, is_installed
from haltung.models.predictor import Model


def write_graph(model: Model, path: Path) -> dict[str, Any]:
    """Write the model's graph in fp32.

    Returns:
        What ``haltung.json`` says of it: ``views``, what its passes read, and ``input``, how a text becomes what it takes.
    """
    from haltung.models.linear import LinearModel

    path.parent.mkdir(exist_ok=True)
    if isinstance(model, LinearModel):
        from haltung.export.graphs import linear

        linear.write(model, path)
        return {"views": list(model.features), "input": linear.described(model)}
    from haltung.export.graphs import neural
    from haltung.models.neural import NeuralModel

    assert isinstance(model, NeuralModel)
    neural.write(model, path)
    return {"views": list(model.views), "input": neural.described(model)}


def unable(name: str) -> str:
    """Return why a format can't be made and measured on this machine; empty where it can."""
    if name != "bf16":
        return ""
    if not is_installed("openvino"):
        return "bf16 is run by OpenVINO, which is not installed; install it with: pip install openvino"
    return "" if has_bf16() else "this processor does not compute in bf16, so it can't be measured here"


def made(name: str, folder: Path) -> dict[str, Any]:
    """Write a format's file, if it needs one of its own, and return its entry.

    Raises:
        UserError: there is no such format.
    """
    from haltung.export.graphs import reduced

    source = file(folder, "fp32")
    if name == "bf16":
        return {**entry(source, folder), "runtime": "openvino", "hint": "bf16"}
    makers = {"fp16": reduced.halved, "int8": reduced.quantised}
    if name not in makers:
        raise UserError(f"unknown format '{name}'; allowed are fp32, {listed(makers)}, bf16")
    makers[name](source, file(folder, name))
    return entry(file(folder, name), folder)


def file(folder: Path, name: str) -> Path:
    """Return where the graph of a format lies."""
    return folder / "onnx" / f"model.{name}.onnx"


def entry(path: Path, folder: Path) -> dict[str, Any]:
    """Return what ``haltung.json`` says of a graph's file."""
    return {"file": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "sha256": sha256(path)}
