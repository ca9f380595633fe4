"""The formats of a bundle: how each is made, and on which machine it can be measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from haltung.errors import UserError, listed
from haltung.files import sha256
from haltung.inference import running
from haltung.models.bundle import Model


def graph(model: Model, path: Path) -> None:
    """Write the model's graph in fp32."""
    from haltung.models.linear import LinearModel

    if isinstance(model, LinearModel):
        from haltung.export.graphs import linear as ngrams

        ngrams.write(model, path)
        return
    from haltung.export.graphs import neural as network
    from haltung.models.neural import NetworkModel

    assert isinstance(model, NetworkModel)
    network.write(model, path)


def views(model: Model) -> Sequence[str]:
    """Return what the model's passes read, in order."""
    from haltung.models.linear import LinearModel

    return list(model.features) if isinstance(model, LinearModel) else model.views  # type: ignore[attr-defined]


def described(model: Model) -> dict[str, Any]:
    """Return the bundle's ``input``: how a text becomes what the graph takes."""
    from haltung.models.linear import LinearModel

    if isinstance(model, LinearModel):
        from haltung.export.graphs import linear as ngrams

        return ngrams.described(model)
    from haltung.export import tokens
    from haltung.models.neural import NetworkModel

    assert isinstance(model, NetworkModel)
    return tokens.described(model)


def unable(name: str) -> str:
    """Return why a format can't be made and measured on this machine; empty where it can."""
    if name != "bf16":
        return ""
    if not running.has("openvino"):
        return "bf16 is run by OpenVINO, which is not installed; install it with: pip install openvino"
    import torch

    from haltung.models.neural import has_bf16

    return "" if has_bf16(torch.device("cpu")) else "this processor does not compute in bf16, so it can't be measured here"


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
