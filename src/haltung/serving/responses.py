"""Responses as pydantic models: with them OpenAPI describes the labels of the model that is served.

The routes answer with plain data, which these models don't check again; a test compares them.
"""

from collections.abc import Mapping
from types import GenericAlias
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, create_model

from haltung.labels import Scheme

# What a status means; the body is {"error": "one sentence"}.
_STATUS = {
    400: "The request does not follow the protocol",
    401: "The key is missing or wrong",
    404: "There is no such thing",
    408: "The body came too slowly",
    413: "The body, a text or the number of texts is too large",
    415: "The body is compressed",
    422: "The body is not as described; the sentence names the field",
    429: "Too many texts are waiting; Retry-After says when to ask again",
    500: "The server has failed",
    501: "A library for this is not installed, or the model does not fit",
    503: "The server is starting or stopping",
    504: "The answer took too long",
}

# What can happen to every request with texts.
REFUSALS = (401, 408, 413, 415, 422, 429, 500, 503, 504)

_Index = Annotated[int, Field(ge=0, description="In the given text, in characters (Unicode code points)")]
# Rounding can put a probability slightly above 1.
_Share = Annotated[float, Field(ge=0, le=1.000001)]


class ErrorAnswer(BaseModel):
    """A request that was not answered, and why."""

    error: str


class ModelAnswer(BaseModel, extra="allow"):
    """What is served; GET /model has more than these."""

    name: str
    tasks: dict[str, Any]


class MentionAnswer(BaseModel):
    """Who is named in a sentence; the offsets are those of the sentence."""

    start: int = Field(ge=0)
    end: int = Field(ge=0)
    text: str
    code: str
    kind: str


class DyadAnswer(BaseModel):
    """Who takes which stance towards whom."""

    source: str
    target: str
    stance: str
    probability: _Share


def label_answers(scheme: Scheme) -> tuple[Any, Any, Any]:
    """Return pydantic models of answers about texts, articles and events, with the labels."""
    labels = {task.name: Literal[task.ids] if task.kind == "single" else _list(Literal[task.ids]) for task in scheme}
    shares = {task.name: _model(f"Probabilities_{task.name}", dict.fromkeys(task.ids, _Share)) for task in scheme}
    unsure = _model("Abstained", {}, dict.fromkeys(scheme.names, bool))
    given = {**labels, "probabilities": _model("Probabilities", shares)}
    prediction = _model("Prediction", given, {"id": str, "abstained": unsure})
    given |= {"start": _Index, "end": _Index, "text": str, "context": str}
    sentence = _model("LabelledSentence", given, {"abstained": unsure})
    with_dyads = {**given, "id": str, "actors": list[MentionAnswer], "dyads": list[DyadAnswer]}
    acting = _model("SentenceWithDyads", with_dyads, {"abstained": unsure})
    rows = list[dict[str, Any]]
    found = {"segments": _list(acting), "events": rows, "removed": rows, "language": str, "notes": list[str]}
    classify = prediction | _model("Predictions", {"predictions": _list(prediction)})
    return classify, _model("ArticleResponse", {"segments": _list(sentence), "removed": rows}), _model("EventsResponse", found)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of an operation's errors."""
    out: dict[int | str, dict[str, Any]] = {status: {"description": _STATUS[status], "model": ErrorAnswer} for status in statuses}
    if 429 in out:
        out[429]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds"}}
    return out


def _list(kind: Any) -> Any:
    """Return ``list[kind]``, which mypy takes for a type that it should know."""
    return GenericAlias(list, (kind,))


def _model(name: str, required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> Any:
    """Return a pydantic model whose keys, such as labels, need not be names that Python allows."""
    keys = {key: (kind, Field(alias=key)) for key, kind in required.items()}
    keys |= {key: (kind, Field(None, alias=key)) for key, kind in (optional or {}).items()}
    fields: dict[str, Any] = {f"key_{number}": field for number, field in enumerate(keys.values())}
    return create_model(name, **fields)
