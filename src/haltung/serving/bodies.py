"""The bodies of requests, read as JSON; a mistake in one is one sentence that repeats no text."""

import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from fastapi import HTTPException, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic_core import ErrorDetails
from starlette.responses import Response

from haltung.errors import kind
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


class ErrorAnswer(BaseModel):
    """A request that was not answered, and why."""

    error: str


class ModelAnswer(BaseModel, extra="allow"):
    """What is served; GET /model has more than these."""

    name: str
    tasks: dict[str, Any]


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


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of an operation's errors."""
    out: dict[int | str, dict[str, Any]] = {status: {"description": _STATUS[status], "model": ErrorAnswer} for status in statuses}
    if 429 in out:
        out[429]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds"}}
    return out
