"""The Open Inference Protocol, version 2, over HTTP, as KServe and Triton's clients use it.

Tensors are JSON, or bytes behind the JSON (the protocol's extension "binary tensor data").
"""

import io
import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

import numpy as np
from fastapi import APIRouter, Depends, HTTPException, Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from pydantic_core import PydanticCustomError
from starlette.responses import JSONResponse, Response

from haltung import __version__
from haltung.serving.routes import FIELDS, REFUSALS, JsonRequest, JsonRoute, as_segments, errors, parse
from haltung.serving.service import Service

# The one model of a server, and its one version.
MODEL, VERSION = "haltung", "1"

# The name of a task's probabilities; a task's name has no dot.
_PROBABILITIES = "{}.probabilities"

# How many bytes of a body are JSON; the tensors' bytes stand behind them.
LENGTH = "inference-header-content-length"

EXAMPLE = '{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["…"]}]}'


def _flat(data: Any) -> Any:
    """Return the rows of a column ``[n, 1]`` as one list."""
    return [one for row in data for one in (row if isinstance(row, list) else [row])] if isinstance(data, list) else data


def _column(shape: list[int]) -> list[int]:
    if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
        return shape
    raise PydanticCustomError("sentence", "is neither [n] nor [n, 1]")


class _ProtocolBody(BaseModel, strict=True):
    """A JSON object whose unknown keys are ignored, as the protocol wants it."""


class Parameters(_ProtocolBody):
    """Requests of extensions for a tensor or all outputs; ``classification`` is refused."""

    binary_data_size: Annotated[int, Field(ge=0)] | None = None
    binary_data: bool | None = None
    binary_data_output: bool = False
    classification: Any = None


class InputTensor(_ProtocolBody):
    """The texts of an input; ``data`` is left out where they stand behind the JSON as bytes."""

    name: Literal["text", "context", "target"]
    datatype: Literal["BYTES"]
    shape: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], AfterValidator(_column)]
    data: Annotated[list[str], BeforeValidator(_flat)] | None = None
    parameters: Parameters | None = None


class RequestedOutput(_ProtocolBody):
    """An output by its name."""

    name: str
    parameters: Parameters | None = None


class InferenceRequest(_ProtocolBody):
    """Texts to label, and the outputs that are wanted; all where none is named."""

    id: str | None = None
    inputs: list[InputTensor]
    outputs: list[RequestedOutput] | None = None
    parameters: Parameters | None = None


class OutputTensor(BaseModel):
    """An output; ``data`` is left out where it stands behind the JSON as bytes."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] = []
    parameters: dict[str, Any] = {}


class InferenceResponse(BaseModel):
    """Labels and probabilities."""

    model_name: str
    model_version: str
    id: str = ""
    outputs: list[OutputTensor]


class _InferenceJson(JsonRequest):
    """A request whose first bytes are JSON; ``rest`` are those behind it."""

    rest = b""

    async def json(self) -> Any:
        body, length = await self.body(), self.headers.get(LENGTH)
        if length is not None:
            if not (length.isascii() and length.isdigit()) or len(length) > 12 or int(length) > len(body):
                raise HTTPException(400, f"the header {LENGTH} is no length that fits the body")
            body, self.rest = body[: int(length)], body[int(length) :]
        return parse(body, EXAMPLE, status=400)


class _InferenceRoute(JsonRoute):
    request_class = _InferenceJson


def router(service: Service) -> APIRouter:
    """Return the routes under ``/v2``."""
    routes = APIRouter(prefix="/v2", tags=["Open Inference Protocol"], route_class=_InferenceRoute)

    @routes.get("", summary="The server")
    async def server() -> dict[str, str | list[str]]:
        return {"name": "haltung", "version": __version__, "extensions": ["binary_tensor_data"]}

    @routes.get("/health/live", summary="Whether the server runs")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @routes.get(
        "/health/ready", summary="Whether requests are taken",
        response_model=dict[str, bool], responses={503: {"model": dict[str, bool]}},
    )  # fmt: skip
    async def ready() -> Response:
        return JSONResponse({"ready": service.ready}, 200 if service.ready else 503)

    for path, check in (("/models/{model}", Depends(_check_model)), ("/models/{model}/versions/{version}", Depends(_check_version))):

        @routes.get(path, summary="The model's inputs and outputs", responses=errors(404), dependencies=[check])
        async def metadata() -> dict[str, Any]:
            return _metadata(service)

        @routes.get(
            f"{path}/ready", summary="Whether the model answers", dependencies=[check],
            response_model=dict[str, str | bool], responses={**errors(404), 503: {"model": dict[str, str | bool]}},
        )  # fmt: skip
        async def model_ready() -> Response:
            return JSONResponse({"name": MODEL, "ready": service.ready}, 200 if service.ready else 503)

        @routes.post(
            f"{path}/infer", summary="Labels and probabilities of texts", dependencies=[check],
            response_model=InferenceResponse, responses=errors(*REFUSALS, 400, 404),
        )  # fmt: skip
        async def infer(request: Request, body: InferenceRequest) -> Response:
            return await _infer(service, body, cast(_InferenceJson, request).rest)

    return routes


async def _check_model(model: str) -> None:
    await _check_version(model, VERSION)


async def _check_version(model: str, version: str) -> None:
    if (model, version) != (MODEL, VERSION):
        raise HTTPException(404, f"there is no such model or version; this server has the model '{MODEL}' in version {VERSION}")


def _metadata(service: Service) -> dict[str, Any]:
    inputs = [{"name": name, "datatype": "BYTES", "shape": [-1], "parameters": {"optional": name != "text"}} for name in FIELDS]
    outputs: list[dict[str, Any]] = []
    for task, labels in service.engine.classifier.tasks.items():
        # The order of the columns; the protocol's parameters hold no lists.
        columns = {"labels": json.dumps(labels, ensure_ascii=False)}
        outputs.append({"name": task, "datatype": "BYTES", "shape": [-1]})
        outputs.append({"name": _PROBABILITIES.format(task), "datatype": "FP32", "shape": [-1, len(labels)], "parameters": columns})
    platform = f"onnx_{service.engine.choice.graph.runtime}"
    return {"name": MODEL, "versions": [VERSION], "platform": platform, "inputs": inputs, "outputs": outputs}


async def _infer(service: Service, body: InferenceRequest, rest: bytes) -> Response:
    names = [name for task in service.engine.classifier.tasks for name in (task, _PROBABILITIES.format(task))]
    inputs, wanted = _texts(body, rest), _wanted(body, names)
    parts = [dict(zip(inputs, values, strict=True)) for values in zip(*inputs.values(), strict=True)]
    service.check_parts(parts, "{field} {number}")
    for number, part in enumerate(parts):
        if not part["text"].strip():
            raise HTTPException(422, f"text {number} is empty; leave it out")
    probabilities = (await service.answers(as_segments(parts))).probabilities
    rows = service.engine.classifier.predictions(parts, probabilities)
    outputs: dict[str, np.ndarray | list[str]] = {}
    for task, values in probabilities.items():
        # Several labels of one text are a JSON list.
        outputs[task] = [row[task] if isinstance(row[task], str) else json.dumps(row[task], ensure_ascii=False) for row in rows]
        outputs[_PROBABILITIES.format(task)] = values
    described, raw = zip(*(_encoded(name, outputs[name], binary) for name, binary in wanted), strict=True)
    head = {"model_name": MODEL, "model_version": VERSION, **({} if body.id is None else {"id": body.id}), "outputs": described}
    answer = JSONResponse(head)
    if not any(binary for _, binary in wanted):
        return answer
    content = b"".join([bytes(answer.body), *raw])
    return Response(content, headers={LENGTH: str(len(answer.body))}, media_type="application/octet-stream")


def _texts(body: InferenceRequest, rest: bytes) -> dict[str, list[str]]:
    """Return the texts of each input, equally many; ``rest`` are the bytes behind the JSON."""
    inputs: dict[str, list[str]] = {}
    for number, tensor in enumerate(body.inputs):
        where = f"inputs[{number}]"
        size, values = tensor.parameters.binary_data_size if tensor.parameters else None, tensor.data
        if tensor.name in inputs:
            raise HTTPException(400, f"{where} is a second '{tensor.name}'; send each input once")
        if size is not None:
            if size > len(rest):
                raise HTTPException(400, f"{where} has a binary_data_size that does not fit the body")
            values, rest = _decoded(rest[:size], where), rest[size:]
        if values is None:
            raise HTTPException(400, f"{where} has neither 'data' nor a binary_data_size")
        if len(values) != tensor.shape[0]:
            raise HTTPException(400, f"{where} has {len(values)} texts, its shape says {tensor.shape[0]}")
        inputs[tensor.name] = values
    if rest:
        raise HTTPException(400, f"the last {len(rest)} bytes belong to no tensor")
    if "text" not in inputs:
        raise HTTPException(400, f"there is no input 'text'; send an object such as {EXAMPLE}")
    for name, values in inputs.items():
        if len(values) != len(inputs["text"]):
            raise HTTPException(400, f"'{name}' has {len(values)} texts and 'text' has {len(inputs['text'])}; send one for each")
    return inputs


def _decoded(raw: bytes, where: str) -> list[str]:
    out, stream = list[str](), io.BytesIO(raw)
    while head := stream.read(4):
        size = int.from_bytes(head, "little")
        text = stream.read(size)
        if len(head) < 4 or len(text) < size:
            raise HTTPException(400, f"the bytes of {where} end within a text; each has its length before it, in four bytes")
        try:
            out.append(text.decode("utf-8"))
        except UnicodeDecodeError:
            raise HTTPException(400, f"text {len(out)} of {where} is not UTF-8") from None
    return out


def _wanted(body: InferenceRequest, names: Sequence[str]) -> list[tuple[str, bool]]:
    """Return the outputs to send, and whether each goes as bytes."""
    default = body.parameters is not None and body.parameters.binary_data_output
    wanted = []
    for number, output in enumerate(body.outputs or []):
        parameters = output.parameters or Parameters()
        if output.name not in names:
            raise HTTPException(400, f"outputs[{number}] has an unknown name; allowed are {', '.join(names)}")
        if parameters.classification:
            raise HTTPException(400, f"outputs[{number}] asks for the extension classification, which this server lacks")
        wanted.append((output.name, default if parameters.binary_data is None else parameters.binary_data))
    return wanted or [(name, default) for name in names]


def _encoded(name: str, values: np.ndarray | list[str], binary: bool) -> tuple[dict[str, Any], bytes]:
    """Return an output as JSON, or (``binary``) as little-endian bytes, texts behind 4 of size."""
    if isinstance(values, list):
        tensor = {"name": name, "datatype": "BYTES", "shape": [len(values)]}
        data: list[Any] = values
        raw = b"".join(len(text).to_bytes(4, "little") + text for text in map(str.encode, values))
    else:
        tensor = {"name": name, "datatype": "FP32", "shape": list(values.shape)}
        data, raw = values.ravel().tolist(), values.astype("<f4").tobytes()
    return ({**tensor, "parameters": {"binary_data_size": len(raw)}}, raw) if binary else ({**tensor, "data": data}, b"")
