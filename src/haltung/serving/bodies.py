"""Requests and responses as pydantic models; a mistake is one sentence that repeats no text.

By the responses OpenAPI describes the labels of the model that is served. The routes answer with
plain data, which these models don't check again; a test compares them.
"""

import datetime
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import GenericAlias
from typing import Annotated, Any, Literal

from fastapi import HTTPException, Request
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, Discriminator, Field, RootModel, Tag, create_model, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from starlette.responses import Response

from haltung.errors import kind, listed, nearest
from haltung.labels import Scheme
from haltung.records import Segment, well_formed

# A text, and what the encoder may read before it; "" where there is none.
FIELDS = ("text", "context", "target")

EXAMPLE = '{"text": "…"}'

_EXPECTED = {
    "string_type": "text", "list_type": "a list", "dict_type": "an object",
    "model_type": "an object", "model_attributes_type": "an object",
    "float_type": "a number", "int_type": "a whole number", "bool_type": "true or false",
}  # fmt: skip

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


class Body(BaseModel, strict=True, extra="forbid"):
    """A JSON object with the keys that its fields name, and no other."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        """Name the allowed keys, which pydantic's own error does not; the unknown one is input."""
        allowed = cls.model_fields
        unknown = [key for key in data if key not in allowed] if isinstance(data, dict) else []
        if unknown:
            about = {"hint": nearest(unknown[0], allowed), "allowed": listed(allowed)}
            raise PydanticCustomError("sentence", "has an unknown key{hint}; allowed are {allowed}", about)
        return data


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("sentence", "is empty; leave it out")
    return text


def _iso_date(date: str) -> str:
    try:
        return datetime.date.fromisoformat(date).isoformat() if date else ""
    except ValueError:
        raise PydanticCustomError("sentence", "is no date; expected YYYY-MM-DD") from None


_TEXT = Field(examples=["Die USA warnen Russland."], json_schema_extra={"minLength": 1, "pattern": r"\S"})
Text = Annotated[str, AfterValidator(_not_blank), _TEXT]
_ABSTAIN = "The precision wished for, one of those in GET /model; 'abstained' then names the tasks that are too uncertain"
Abstain = Annotated[float | None, Field(gt=0, lt=1, description=_ABSTAIN)]


class SegmentBody(Body):
    """One text, with what the model reads before it."""

    text: Text
    context: str | None = Field(None, description="What stands before it in its article: headline, lead, the previous sentence")
    target: str | None = Field(None, description="The question or entity that a stance is towards")
    id: str | None = Field(None, description="Comes back with the prediction")


class OneText(SegmentBody):
    """One text to label."""

    abstain: Abstain = None


class ManyTexts(Body):
    """Texts to label, in order."""

    segments: list[SegmentBody]
    abstain: Abstain = None


def _one_or_many(data: Any) -> Literal["one", "many"]:
    return "many" if isinstance(data, dict) and "segments" in data else "one"


class ClassifyRequest(RootModel[
    Annotated[Annotated[OneText, Tag("one")] | Annotated[ManyTexts, Tag("many")], Discriminator(_one_or_many)]
]):  # fmt: skip
    """One text, or many."""


class ArticleRequest(Body):
    """An article, to be cut into sentences."""

    text: Text
    headline: str | None = None
    date: Annotated[str, AfterValidator(_iso_date)] | None = Field(
        None, description="YYYY-MM-DD; says who was in office", json_schema_extra={"format": "date"}
    )
    abstain: Abstain = None


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


def as_segments(parts: Sequence[Mapping[str, str]]) -> list[Segment]:
    """Return the texts that a caller sent as segments of no article."""
    return [Segment("", part["text"], context=part.get("context", ""), target=part.get("target", "")) for part in parts]


class JsonRequest(Request):
    """A request whose body is read by ``parse``."""

    async def json(self) -> Any:
        """Return the body as plain data."""
        return parse(await self.body())


class JsonRoute(APIRoute):
    """A route that reads every body as JSON in UTF-8, whatever its Content-Type says."""

    request_class: type[Request] = JsonRequest

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler for a request of ``request_class``."""
        # FastAPI reads a body without a Content-Type as JSON; newer versions must not be strict.
        self.strict_content_type = False
        handle = super().get_route_handler()

        async def read(request: Request) -> Response:
            headers = [(name, value) for name, value in request.scope["headers"] if name != b"content-type"]
            return await handle(self.request_class({**request.scope, "headers": headers}, request.receive))

        return read


def parse(body: bytes, example: str = EXAMPLE, status: int = 422) -> Any:
    """Return what a body says in JSON, with U+FFFD for each lone half of a surrogate pair.

    Raises HTTPException of ``status`` where it is no JSON, or not in UTF-8.
    """
    try:
        data = json.loads(body.decode("utf-8-sig"))
        # Only an escape can hold half a character.
        return json.loads(well_formed(json.dumps(data, ensure_ascii=False))) if b"\\ud" in body.lower() else data
    except UnicodeDecodeError as error:
        raise HTTPException(status, f"the body is not UTF-8 (byte {error.start}); send JSON in UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise HTTPException(status, f"the body is no JSON ({where}); send an object such as {example}") from None
    except (ValueError, RecursionError):
        raise HTTPException(status, f"the body is nested too deeply or has too long a number; send an object such as {example}") from None


def sentence(errors: Sequence[ErrorDetails], example: str = EXAMPLE) -> str:
    """Return pydantic's first error as one sentence: the field and what is allowed there."""
    error = errors[0]
    path = [part for part in error["loc"] if part not in ("body", "one", "many")]
    where = _path(path)
    match error["type"]:
        case "missing":
            problem = f"{_path(path[:-1])} has no '{path[-1]}'" if path else "the body is empty"
            return f"{problem}; send an object such as {example}"
        case expected if expected in _EXPECTED:
            return f"{where} is {kind(error['input'])}; expected {_EXPECTED[expected]}" + ("" if path else f" such as {example}")
        case "sentence":
            return f"{where} {error['msg']}"
        case _:
            # Of these messages ("Input should be less than 1") only the limits vary.
            return error["msg"].replace("Input", where, 1)


def _path(parts: Sequence[int | str]) -> str:
    """Return a position in a body, such as ``segments[0].text``."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return path.removeprefix(".") or "the body"


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
