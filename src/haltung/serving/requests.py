"""Requests as pydantic models, and their mistakes as one sentence that never repeats a text."""

import datetime
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import HTTPException, Request
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, Discriminator, Field, RootModel, Tag, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from starlette.responses import Response

from haltung.errors import kind, listed, nearest
from haltung.records import Segment, well_formed

# A text, and what the encoder may read before it; "" where there is none.
FIELDS = ("text", "context", "target")

EXAMPLE = '{"text": "…"}'

_EXPECTED = {
    "string_type": "text", "list_type": "a list", "dict_type": "an object",
    "model_type": "an object", "model_attributes_type": "an object",
    "float_type": "a number", "int_type": "a whole number", "bool_type": "true or false",
}  # fmt: skip


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
