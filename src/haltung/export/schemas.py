"""JSON Schemas (draft 2020-12) of ``POST /classify``, with the labels of one bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from haltung.labels import Scheme, Task
from haltung.models.calibration import Calibration

REQUEST, RESPONSE = "request.schema.json", "response.schema.json"

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def write(folder: Path, scheme: Scheme, calibration: Calibration) -> None:
    """Write both schemas into the folder."""
    for name, schema in ((REQUEST, request(calibration)), (RESPONSE, response(scheme))):
        (folder / name).write_text(json.dumps(schema, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def request(calibration: Calibration) -> dict[str, Any]:
    """Return the schema of a request: one segment, or a list of them under ``segments``."""
    precisions = sorted({one for values in calibration.thresholds.values() for one, threshold in values.items() if threshold is not None})
    # If dev reaches no precision, none can be requested.
    abstain = {"type": "number", "enum": precisions, "description": "The required precision; a task that is too uncertain abstains."}
    options = {"abstain": abstain} if precisions else {}
    return {
        "$schema": _DRAFT,
        "title": "Request",
        "description": "A German news text to label, or several.",
        "oneOf": [
            {**_object({**_segment()["properties"], **options}, ["text"]), "title": "One segment"},
            {**_object({"segments": _list_of("segment"), **options}, ["segments"]), "title": "Several segments"},
        ],
        "$defs": {"segment": _segment()},
    }


def response(scheme: Scheme) -> dict[str, Any]:
    """Return the schema of a response: one prediction, or a list under ``predictions``."""
    several = _object({"predictions": _list_of("prediction")}, ["predictions"])
    return {
        "$schema": _DRAFT,
        "title": "Response",
        "oneOf": [{"$ref": "#/$defs/prediction"}, {**several, "title": "Several predictions"}],
        "$defs": {"prediction": _prediction(scheme)},
    }


def _segment() -> dict[str, Any]:
    text = {"type": "string", "pattern": r"\S", "description": "The segment: a sentence, or a few."}
    context = {"type": ["string", "null"], "description": "What stands before it in its article, the headline first."}
    target = {"type": ["string", "null"], "description": "The question or entity that the stance is towards."}
    name = {"type": ["string", "null"], "description": "Comes back with the prediction."}
    return _object({"text": text, "context": context, "target": target, "id": name}, ["text"])


def _prediction(scheme: Scheme) -> dict[str, Any]:
    answers = {task.name: _answer(task) for task in scheme}
    single = [task.name for task in scheme if task.kind == "single"]
    abstained = {
        "type": "object",
        "description": "The tasks that are too uncertain for the required precision.",
        "properties": {task: {"const": True} for task in single},
        "additionalProperties": False,
    }
    probabilities = _object({task.name: _probabilities(task) for task in scheme}, list(scheme.names))
    return _object(
        {"id": {"type": "string"}, **answers, "probabilities": probabilities, "abstained": abstained}, [*scheme.names, "probabilities"]
    )


def _answer(task: Task) -> dict[str, Any]:
    one = {"enum": list(task.ids)}
    title = f"{task.en} / {task.de}"
    return {"title": title, **one} if task.kind == "single" else {"title": title, "type": "array", "items": one, "uniqueItems": True}


def _probabilities(task: Task) -> dict[str, Any]:
    # Rounding may take a probability slightly above 1.
    values = {label.id: {"type": "number", "minimum": 0, "maximum": 1.000001, "title": f"{label.en} / {label.de}"} for label in task.labels}
    return _object(values, list(task.ids))


def _list_of(name: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": f"#/$defs/{name}"}}


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
