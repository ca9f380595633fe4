"""The Open Inference Protocol's tensors, as JSON or as bytes behind it (the extension "binary tensor data")."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from haltung.serving.answers import Refused
from haltung.serving.requests import mapping

# How many bytes of a body are JSON; the tensors' bytes stand behind them.
LENGTH = "inference-header-content-length"

_EXAMPLE = '{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["…"]}]}'

_SIZE = "binary_data_size"


@dataclass(frozen=True)
class Wanted:
    """An output that was asked for, and whether as bytes."""

    name: str
    binary: bool


@dataclass(frozen=True)
class Inference:
    """A request: its id or None, the texts of each input, the outputs asked for (None: all), and whether all as bytes by default."""

    id: str | None
    inputs: Mapping[str, list[str]]
    wanted: tuple[Wanted, ...] | None
    binary: bool


@dataclass(frozen=True)
class Tensor:
    """An output: ``values`` are float32 (``FP32``) or a list of texts (``BYTES``)."""

    name: str
    shape: tuple[int, ...]
    values: np.ndarray | list[str]

    @property
    def datatype(self) -> str:
        """What the protocol calls its type."""
        return "BYTES" if isinstance(self.values, list) else "FP32"

    def data(self) -> list[Any]:
        """Return the values as flat JSON."""
        return self.values if isinstance(self.values, list) else self.values.ravel().tolist()

    def raw(self) -> bytes:
        """Return the values as bytes, little-endian; before each text its length in four bytes."""
        if isinstance(self.values, list):
            parts = [value.encode() for value in self.values]
            return b"".join(len(part).to_bytes(4, "little") + part for part in parts)
        return self.values.astype("<f4").tobytes()


def read(body: bytes, length: str | None, names: Sequence[str], outputs: Sequence[str]) -> Inference:
    """Read a request.

    Args:
        body: all of it.
        length: what the header says of the JSON's length; None where all of it is JSON.
        names: of the inputs that there are, all ``BYTES``.
        outputs: that there are.

    Raises:
        Refused: 400, as the protocol has it, where it is of another form.
    """
    if length is not None and (not (length.isascii() and length.isdigit()) or len(length) > 12 or int(length) > len(body)):
        raise Refused(400, f"the header {LENGTH} is no length that fits the body")
    head, rest = (body, b"") if length is None else (body[: int(length)], body[int(length) :])
    data = mapping(head, _EXAMPLE, status=400)
    id = data.get("id")
    if id is not None and not isinstance(id, str):
        raise Refused(400, "id is no text")
    given = data.get("inputs")
    if not isinstance(given, list):
        raise Refused(400, f"the body has no list 'inputs'; send such as {_EXAMPLE}")
    inputs: dict[str, list[str]] = {}
    for place, tensor in enumerate(given):
        name, values, rest = _input(tensor, f"inputs[{place}]", rest, names)
        if name in inputs:
            raise Refused(400, f"inputs[{place}] is a second '{name}'; send each input once")
        inputs[name] = values
    if rest:
        raise Refused(400, f"behind the tensors stand {len(rest)} bytes that belong to none")
    if "text" not in inputs:
        raise Refused(400, f"there is no input 'text'; send such as {_EXAMPLE}")
    for name, values in inputs.items():
        if len(values) != len(inputs["text"]):
            raise Refused(400, f"'{name}' has {len(values)} texts and 'text' has {len(inputs['text'])}; send one for each")
    return Inference(id, inputs, _wanted(data, outputs), _flag(_parameters(data, "the body"), "binary_data_output", False))


def written(head: Mapping[str, Any], tensors: Sequence[tuple[Tensor, bool]]) -> tuple[bytes, int | None]:
    """Return a response's body, and the length of the JSON in it where bytes stand behind that.

    Args:
        head: what stands beside the outputs.
        tensors: each with whether it goes as bytes.
    """
    outputs: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for tensor, binary in tensors:
        output: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        if binary:
            raw.append(tensor.raw())
            output["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            output["data"] = tensor.data()
        outputs.append(output)
    text = json.dumps({**head, "outputs": outputs}, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return (text + b"".join(raw), len(text)) if raw else (text, None)


def _input(tensor: object, where: str, rest: bytes, names: Sequence[str]) -> tuple[str, list[str], bytes]:
    """Return an input's name and texts, and the bytes that are left for the next."""
    if not isinstance(tensor, dict):
        raise Refused(400, f"{where} is no object; send such as {_EXAMPLE}")
    name = tensor.get("name")
    if not isinstance(name, str) or name not in names:
        raise Refused(400, f"{where} has no name that is known; allowed are {', '.join(names)}")
    if tensor.get("datatype") != "BYTES":
        raise Refused(400, f"{where} ('{name}') has another datatype than BYTES")
    count = _count(tensor.get("shape"), where)
    size = _parameters(tensor, where).get(_SIZE)
    if size is None:
        values = list(_flat(tensor.get("data"), where))
    else:
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(rest):
            raise Refused(400, f"{where} ('{name}') has a binary_data_size that does not fit the body")
        values, rest = list(_texts(rest[:size], where)), rest[size:]
    if len(values) != count:
        raise Refused(400, f"{where} ('{name}') has {len(values)} texts, its shape says {count}")
    return name, values, rest


def _count(shape: object, where: str) -> int:
    """Return how many texts a shape says: ``[n]`` or ``[n, 1]``."""
    sizes = shape if isinstance(shape, list) else []
    whole = all(isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**31 for size in sizes)
    if whole and (len(sizes) == 1 or (len(sizes) == 2 and sizes[1] == 1)):
        return math.prod(sizes)
    raise Refused(400, f"{where} has another shape than [n] or [n, 1]")


def _flat(data: object, where: str) -> list[str]:
    if not isinstance(data, list):
        raise Refused(400, f"{where} has neither a list 'data' nor a binary_data_size")
    flat = [one for row in data for one in (row if isinstance(row, list) else [row])]
    if not all(isinstance(one, str) for one in flat):
        raise Refused(400, f"the data of {where} have something that is no text")
    return flat


def _texts(raw: bytes, where: str) -> list[str]:
    out, place = [], 0
    while place < len(raw):
        size = int.from_bytes(raw[place : place + 4], "little")
        part = raw[place + 4 : place + 4 + size]
        if place + 4 + size > len(raw):
            raise Refused(400, f"the bytes of {where} end within a text; each has its length before it, in four bytes")
        try:
            out.append(part.decode("utf-8"))
        except UnicodeDecodeError:
            raise Refused(400, f"text {len(out)} of {where} is not UTF-8") from None
        place += 4 + size
    return out


def _wanted(data: Mapping[str, Any], outputs: Sequence[str]) -> tuple[Wanted, ...] | None:
    given = data.get("outputs")
    if given is None or given == []:
        return None
    if not isinstance(given, list):
        raise Refused(400, "outputs is no list of objects with a 'name'")
    default = _flag(_parameters(data, "the body"), "binary_data_output", False)
    wanted = []
    for place, output in enumerate(given):
        name = output.get("name") if isinstance(output, dict) else None
        if not isinstance(name, str) or name not in outputs:
            raise Refused(400, f"outputs[{place}] has no name that is known; allowed are {', '.join(outputs)}")
        parameters = _parameters(output, f"outputs[{place}]")
        if parameters.get("classification"):
            raise Refused(400, f"outputs[{place}] asks for the extension classification, which this server has not")
        wanted.append(Wanted(name, _flag(parameters, "binary_data", default)))
    return tuple(wanted)


def _parameters(owner: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    found = owner.get("parameters") or {}
    if not isinstance(found, dict):
        raise Refused(400, f"the parameters of {where} are no object")
    return found


def _flag(parameters: Mapping[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise Refused(400, f"the parameter {name} is neither true nor false")
    return value
