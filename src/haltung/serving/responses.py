"""What requests and answers look like, as OpenAPI tells it; what reads them is ``reading`` and ``tensors``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Every error of ours: what happened, by status. All are {"error": "one sentence"}.
_STATUS = {
    400: "The request is of another form",
    401: "The key is missing or wrong",
    404: "There is no such thing",
    408: "The body came too slowly",
    413: "The body, a text or the number of texts is too large",
    415: "The body is compressed",
    422: "The body is of another form; the sentence names the field",
    429: "Too many texts are waiting; Retry-After says when to ask again",
    500: "The server has failed",
    501: "A library for this is not installed, or the model does not fit",
    503: "The server is starting or stopping",
    504: "The answer took too long",
}

# What may happen to every request with texts.
REFUSALS = (401, 408, 413, 415, 422, 429, 500, 503, 504)

_TEXT = {"type": "string", "minLength": 1, "pattern": r"\S", "examples": ["Die USA warnen Russland."]}
_BEFORE = {"type": ["string", "null"], "description": "What stands before it in its article: headline, lead, the sentence before"}
_TARGET = {"type": ["string", "null"], "description": "The question or entity that a stance is towards"}
_ID = {"type": ["string", "null"], "description": "Comes back with the prediction"}
_ABSTAIN = {
    "type": ["number", "null"], "exclusiveMinimum": 0, "exclusiveMaximum": 1,
    "description": "A precision wished for, of those in GET /model; what is not sure enough is named in 'abstained'",
}  # fmt: skip


def told(schema: str, *errors: int, media: str = "application/json") -> dict[int | str, dict[str, Any]]:
    """Return an operation's responses: the answer, and the errors that it may give."""
    responses: dict[int | str, dict[str, Any]] = {200: {"description": "The answer", "content": {media: {"schema": _ref(schema)}}}}
    for status in errors:
        responses[status] = {"description": _STATUS[status], "content": {"application/json": {"schema": _ref("Error")}}}
    if 429 in errors:
        responses[429]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds"}}
    return responses


def body(schema: str) -> dict[str, Any]:
    """Return what OpenAPI is told of an operation that reads JSON."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": _ref(schema)}}}}


_PLACE = {"type": "integer", "minimum": 0}
_ACTOR = {
    "type": "object",
    "properties": {"start": _PLACE, "end": _PLACE, "text": {"type": "string"}, "code": {"type": "string"}, "kind": {"type": "string"}},
    "required": ["start", "end", "text", "code", "kind"],
}
_DYAD = {
    "type": "object",
    "properties": {
        "source": {"type": "string"}, "target": {"type": "string"}, "stance": {"type": "string"},
        "probability": {"type": "number", "minimum": 0, "maximum": 1.000001},
    },
    "required": ["source", "target", "stance", "probability"],
}  # fmt: skip


def components(tasks: Mapping[str, Sequence[str]], multi: Sequence[str], texts: int) -> dict[str, Any]:
    """Return the schemas.

    Args:
        tasks: the labels of each task.
        multi: the tasks with several labels for a text.
        texts: that a request may have.
    """
    segment = {"text": _TEXT, "context": _BEFORE, "target": _TARGET, "id": _ID}
    label = {task: _labels(labels, task in multi) for task, labels in tasks.items()}
    probabilities = {task: _object(dict.fromkeys(labels, _share()), labels) for task, labels in tasks.items()}
    prediction = {
        "id": {"type": "string"}, **label, "probabilities": _object(probabilities, list(tasks)),
        "abstained": _object({task: {"type": "boolean"} for task in tasks}),
    }  # fmt: skip
    needed = [*tasks, "probabilities"]
    place = {"type": "integer", "minimum": 0, "description": "In the given text, in characters (Unicode code points)"}
    found = {"start": place, "end": place, "text": {"type": "string"}, "context": {"type": "string"}}
    one = _object({**segment, "abstain": _ABSTAIN}, ["text"], closed=True)
    many = _object(
        {"segments": {"type": "array", "maxItems": texts, "items": _ref("Segment")}, "abstain": _ABSTAIN}, ["segments"], closed=True
    )
    day = {"type": ["string", "null"], "format": "date", "description": "YYYY-MM-DD; tells who was in office"}
    article = {"text": _TEXT, "headline": {"type": ["string", "null"]}, "date": day, "abstain": _ABSTAIN}
    labelled = _object({**found, **prediction, "actors": _list(_ACTOR), "dyads": _list(_DYAD)}, [*found, *needed, "actors", "dyads"])
    return {
        "Error": _object({"error": {"type": "string"}}, ["error"]),
        "Segment": _object(segment, ["text"], closed=True),
        "ClassifyRequest": {"anyOf": [one, many]},
        "Prediction": _object(prediction, needed),
        "ClassifyResponse": {"anyOf": [_ref("Prediction"), _object({"predictions": _list(_ref("Prediction"))}, ["predictions"])]},
        "ArticleRequest": _object(article, ["text"], closed=True),
        "ArticleResponse": _object({"segments": _list(_object({**found, **prediction}, [*found, *needed]))}, ["segments"]),
        "EventsResponse": _object(
            {
                "segments": _list(labelled),
                "events": _list({"type": "object"}),
                "removed": _list({"type": "object"}),
                "language": {"type": "string"},
                "notes": _list({"type": "string"}),
            },
            ["segments", "events", "removed"],
        ),
        "Model": _object({"name": {"type": "string"}, "tasks": {"type": "object"}}, ["name", "tasks"]),
        "Health": _object({"status": {"type": "string"}}, ["status"]),
        "Metrics": {"type": "string"},
        **_protocol(),
    }


def _protocol() -> dict[str, Any]:
    text, truth = {"type": "string"}, {"type": "boolean"}
    shape = {"type": "array", "items": {"type": "integer"}}
    parameters = {"type": "object"}
    described = _object({"name": text, "datatype": text, "shape": shape, "parameters": parameters}, ["name", "datatype", "shape"])
    data = {"type": "array", "description": "Left out where the tensor stands behind the JSON as bytes"}
    size = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
    tensor = {
        "name": {"enum": ["text", "context", "target"]}, "datatype": {"enum": ["BYTES"]}, "parameters": parameters,
        "shape": {"type": "array", "items": size, "minItems": 1, "maxItems": 2}, "data": {**data, "items": text},
    }  # fmt: skip
    output = _object({"name": text, "parameters": parameters}, ["name"])
    answered = _object(
        {"name": text, "datatype": text, "shape": shape, "data": data, "parameters": parameters}, ["name", "datatype", "shape"]
    )
    return {
        "ServerMetadata": _object({"name": text, "version": text, "extensions": _list(text)}, ["name", "version", "extensions"]),
        "Live": _object({"live": truth}, ["live"]),
        "Ready": _object({"ready": truth}, ["ready"]),
        "ModelReady": _object({"name": text, "ready": truth}, ["name", "ready"]),
        "ModelMetadata": _object(
            {"name": text, "versions": _list(text), "platform": text, "inputs": _list(described), "outputs": _list(described)},
            ["name", "platform", "inputs", "outputs"],
        ),
        "InferenceRequest": _object(
            {
                "id": text,
                "parameters": parameters,
                "outputs": _list(output),
                "inputs": _list(_object(tensor, ["name", "shape", "datatype", "data"])),
            },
            ["inputs"],
        ),
        "InferenceResponse": _object(
            {"model_name": text, "model_version": text, "id": text, "outputs": _list(answered)}, ["model_name", "outputs"]
        ),
    }


def _labels(labels: Sequence[str], several: bool) -> dict[str, Any]:
    one = {"enum": list(labels)}
    return _list(one) if several else one


def _share() -> dict[str, Any]:
    return {"type": "number", "minimum": 0, "maximum": 1.000001}  # rounding may put it a hair above 1


def _list(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": dict(items)}


def _object(properties: Mapping[str, Any], required: Sequence[str] = (), closed: bool = False) -> dict[str, Any]:
    out: dict[str, Any] = {"type": "object", "properties": dict(properties)}
    if required:
        out["required"] = list(required)
    return {**out, "additionalProperties": False} if closed else out


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
