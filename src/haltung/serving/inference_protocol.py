"""The Open Inference Protocol, version 2, over HTTP: what KServe, Triton's clients and others speak with any model."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from haltung import __version__
from haltung.serving import responses as schemas
from haltung.serving.answers import Refused, answer
from haltung.serving.requests import FIELDS
from haltung.serving.service import Service
from haltung.serving.tensors import LENGTH, Tensor, Wanted, read, written

# The one model of a server, and its one version.
MODEL, VERSION = "haltung", "1"


def router(service: Service) -> APIRouter:
    """Return the routes under ``/v2``."""
    routes = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])

    @routes.get("", summary="The server", responses=schemas.told("ServerMetadata"))
    async def server() -> Response:
        return answer({"name": "haltung", "version": __version__, "extensions": ["binary_tensor_data"]})

    @routes.get("/health/live", summary="Whether the server runs", responses=schemas.told("Live"))
    async def live() -> Response:
        return answer({"live": True})

    @routes.get("/health/ready", summary="Whether requests are taken", responses=schemas.told("Ready", 503))
    async def ready() -> Response:
        return answer({"ready": service.ready}, 200 if service.ready else 503)

    for path in ("/models/{model}", "/models/{model}/versions/{version}"):

        @routes.get(path, summary="The model's inputs and outputs", responses=schemas.told("ModelMetadata", 404))
        async def metadata(model: str, version: str = VERSION) -> Response:
            _known(model, version)
            return answer(_metadata(service))

        @routes.get(f"{path}/ready", summary="Whether the model answers", responses=schemas.told("ModelReady", 404, 503))
        async def model_ready(model: str, version: str = VERSION) -> Response:
            _known(model, version)
            return answer({"name": MODEL, "ready": service.ready}, 200 if service.ready else 503)

        @routes.post(
            f"{path}/infer",
            summary="Labels and probabilities of texts",
            responses=schemas.told("InferenceResponse", *schemas.REFUSALS, 400, 404),
            openapi_extra=schemas.body("InferenceRequest"),
        )
        async def infer(request: Request, model: str, version: str = VERSION) -> Response:
            _known(model, version)
            return await _infer(service, await request.body(), request.headers.get(LENGTH))

    return routes


def _known(model: str, version: str) -> None:
    if (model, version) != (MODEL, VERSION):
        raise Refused(404, f"there is no such model or version; this server has the model '{MODEL}' in version {VERSION}")


def _metadata(service: Service) -> dict[str, Any]:
    outputs: list[dict[str, Any]] = []
    for task, labels in service.engine.classifier.tasks.items():
        outputs.append({"name": task, "datatype": "BYTES", "shape": [-1]})
        # The order of the columns; the protocol's parameters hold text, numbers and truth values only.
        told = {"labels": json.dumps(labels, ensure_ascii=False)}
        outputs.append({"name": _probabilities(task), "datatype": "FP32", "shape": [-1, len(labels)], "parameters": told})
    return {
        "name": MODEL,
        "versions": [VERSION],
        "platform": f"onnx_{service.engine.choice.graph.runtime}",
        "inputs": [{"name": name, "datatype": "BYTES", "shape": [-1], "parameters": {"optional": name != "text"}} for name in FIELDS],
        "outputs": outputs,
    }


def _probabilities(task: str) -> str:
    """Return the name of a task's probabilities; a task's own name has no dot."""
    return f"{task}.probabilities"


async def _infer(service: Service, body: bytes, length: str | None) -> Response:
    tasks = service.engine.classifier.tasks
    names = [name for task in tasks for name in (task, _probabilities(task))]
    asked = read(body, length, FIELDS, names)
    service.reader.counted(len(asked.inputs["text"]))
    parts = [dict(zip(asked.inputs, values, strict=True)) for values in zip(*asked.inputs.values(), strict=True)]
    for place, part in enumerate(parts):
        for name in part:
            part[name] = service.reader.text(part[name], f"{name} {place}", needed=name == "text")
    found = await service.probabilities(parts)
    tensors = {tensor.name: tensor for tensor in _outputs(service, parts, found)}
    wanted = asked.wanted if asked.wanted is not None else [Wanted(name, asked.binary) for name in names]
    head = {"model_name": MODEL, "model_version": VERSION, **({} if asked.id is None else {"id": asked.id})}
    content, json_length = written(head, [(tensors[one.name], one.binary) for one in wanted])
    if json_length is None:
        return Response(content, media_type="application/json")
    return Response(content, headers={LENGTH: str(json_length)}, media_type="application/octet-stream")


def _outputs(service: Service, parts: list[dict[str, str]], found: dict[str, np.ndarray]) -> list[Tensor]:
    said = service.engine.classifier.predictions(parts, found)
    out = []
    for task, values in found.items():
        # Several labels of one text are a JSON list.
        labels = [row[task] if isinstance(row[task], str) else json.dumps(row[task], ensure_ascii=False) for row in said]
        out += [Tensor(task, (len(parts),), labels), Tensor(_probabilities(task), values.shape, values)]
    return out
