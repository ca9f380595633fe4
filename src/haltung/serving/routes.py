"""The server's own endpoints: texts, articles, the model, health, metrics; how bodies are read.

Bodies are JSON; an error in a body is reported in one sentence that repeats no text.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.routing import APIRoute
from prometheus_client import generate_latest
from pydantic import BaseModel
from pydantic_core import ErrorDetails
from starlette.responses import JSONResponse, PlainTextResponse, Response

from haltung import __version__
from haltung.actors.finder import Actors
from haltung.errors import kind
from haltung.events import pipeline
from haltung.events.text.read import Article
from haltung.inference import schemas
from haltung.models.predictor import abstained
from haltung.records import Segment, well_formed
from haltung.serving.metrics import CONTENT_TYPE
from haltung.serving.service import Service

_FIELDS = ("text", "context", "target")  # of a text; missing ones are ""
_EXAMPLE = '{"text": "…"}'
_EXPECTED = {
    "string_type": "text", "list_type": "a list", "dict_type": "an object",
    "model_type": "an object", "model_attributes_type": "an object", "float_type": "a number",
}  # fmt: skip
# What a status means; the body is {"error": "one sentence"}.
_STATUS = {
    401: "The key is missing or wrong",
    408: "The body arrived too slowly",
    413: "The body, a text or the number of texts is too large",
    415: "The body is compressed",
    422: "The body is not as described; the sentence names the field",
    429: "Too many texts are waiting; Retry-After says when to try again",
    500: "The server has failed",
    501: "A library for this is not installed, or the model does not fit",
    503: "The server is starting or stopping",
    504: "The answer took too long",
}
_REFUSALS = (401, 408, 413, 415, 422, 429, 500, 503, 504)  # of every request with texts


class ErrorAnswer(BaseModel):
    """A request that was not answered, and why."""

    error: str


class ModelAnswer(BaseModel, extra="allow"):
    """What is served; GET /model has more than these."""

    name: str
    tasks: dict[str, Any]


class JsonRequest(Request):
    """A request whose body is read by ``parse``."""

    async def json(self) -> Any:
        """Return the body as plain data."""
        return parse(await self.body())


class JsonRoute(APIRoute):
    """A route that reads every body as JSON in UTF-8, whatever its Content-Type says."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler for a ``JsonRequest``."""
        # Newer versions of FastAPI read a body without a Content-Type as JSON only if not strict.
        self.strict_content_type = False
        handle = super().get_route_handler()

        async def read(request: Request) -> Response:
            headers = [(name, value) for name, value in request.scope["headers"] if name != b"content-type"]
            return await handle(JsonRequest({**request.scope, "headers": headers}, request.receive))

        return read


def parse(body: bytes) -> Any:
    """Return a body's data with U+FFFD for lone surrogates; HTTPException 422 if it is not JSON."""
    try:
        data = json.loads(body.decode("utf-8-sig"))
        # Only an escape sequence can contain a lone surrogate.
        return json.loads(well_formed(json.dumps(data, ensure_ascii=False))) if b"\\ud" in body.lower() else data
    except UnicodeDecodeError as error:
        raise HTTPException(422, f"the body is not UTF-8 (byte {error.start}); send JSON in UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise HTTPException(422, f"the body is not JSON ({where}); send an object such as {_EXAMPLE}") from None
    except (ValueError, RecursionError):
        raise HTTPException(422, f"the body is nested too deeply or has too long a number; send an object such as {_EXAMPLE}") from None


def sentence(errors: Sequence[ErrorDetails]) -> str:
    """Return pydantic's first error as one sentence: the field and what is allowed there."""
    error = errors[0]
    path = [part for part in error["loc"] if part not in ("body", "one", "many")]
    where = _path(path)
    match error["type"]:
        case "missing":
            problem = f"{_path(path[:-1])} has no '{path[-1]}'" if path else "the body is empty"
            return f"{problem}; send an object such as {_EXAMPLE}"
        case expected if expected in _EXPECTED:
            return f"{where} is {kind(error['input'])}; expected {_EXPECTED[expected]}" + ("" if path else f" such as {_EXAMPLE}")
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
    """Return the OpenAPI description of an operation's errors."""
    out: dict[int | str, dict[str, Any]] = {status: {"description": _STATUS[status], "model": ErrorAnswer} for status in statuses}
    if 429 in out:
        out[429]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds"}}
    return out


def router(service: Service) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(route_class=JsonRoute)
    classifier = service.engine.classifier
    classify_answer, article_answer, events_answer = schemas.label_answers(service.engine.scheme)

    def checked(body: schemas.ArticleRequest) -> Article:
        service.check_parts([{"text": body.text, "headline": body.headline or ""}], "{field}")
        service.check_abstain(body.abstain)
        return Article("a", body.text, (body.headline or "").strip(), body.date or "")

    @routes.post(
        "/classify", tags=["Labels"], summary="Label one text, or many",
        response_model=classify_answer, responses=errors(*_REFUSALS),
    )  # fmt: skip
    async def classify(body: schemas.ClassifyRequest) -> Response:
        texts = body.root
        many = isinstance(texts, schemas.ManyTexts)
        segments = texts.segments if isinstance(texts, schemas.ManyTexts) else [texts]
        parts = [{field: getattr(segment, field) or "" for field in _FIELDS} for segment in segments]
        service.check_parts(parts, "segments[{number}].{field}" if many else "{field}")
        service.check_abstain(texts.abstain)
        given = [Segment("", part["text"], context=part["context"], target=part["target"]) for part in parts]
        predictions = await service.predict(given, [segment.id for segment in segments], texts.abstain)
        return JSONResponse({"predictions": predictions} if many else predictions[0])

    @routes.post(
        "/article", tags=["Labels"], summary="Label every sentence of an article, each read with the text around it",
        response_model=article_answer, responses=errors(*_REFUSALS, 501),
    )  # fmt: skip
    async def article(body: schemas.ArticleRequest) -> Response:
        parts = await asyncio.to_thread(pipeline.segments_of, checked(body))
        service.check_count(len(parts.segments))
        rows = await service.predict(parts.segments, [None] * len(parts.segments), body.abstain)
        segments = [
            {"start": sentence.start, "end": sentence.end, "text": segment.text, "context": segment.context, **row}
            for segment, sentence, row in zip(parts.segments, parts.sentences, rows, strict=True)
        ]
        return JSONResponse({"segments": segments, "removed": [asdict(one) for one in parts.removed]})

    @routes.post(
        "/events", tags=["Labels"], summary="Who takes which stance towards whom in an article, and its PLOVER events",
        response_model=events_answer, responses=errors(*_REFUSALS, 501),
    )  # fmt: skip
    async def events(body: schemas.ArticleRequest) -> Response:
        given = checked(body)
        if found := pipeline.lacks_stances(service.engine.scheme):
            raise HTTPException(501, f"this model has {found}, which can't be turned into events; POST /article labels the sentences")
        prepared = await asyncio.to_thread(lambda: pipeline.prepare(given, Actors.load()))
        service.check_count(len(prepared.segments))
        article_events = await service.events(prepared)
        answer = article_events.to_dict()
        for segment, labelled in zip(answer["segments"], article_events.segments, strict=True):
            segment["context"] = labelled.segment.context
            if body.abstain is not None:
                segment["abstained"] = abstained(labelled.prediction, classifier.thresholds(body.abstain))
        return JSONResponse({name: answer[name] for name in ("segments", "events", "removed", "language", "notes")})

    @routes.get("/model", tags=["Server"], summary="What is served", response_model=ModelAnswer, responses=errors(401))
    async def model() -> Response:
        return JSONResponse(described(service))

    @routes.get("/health/live", tags=["Server"], summary="Whether the server runs")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @routes.get("/health/ready", tags=["Server"], summary="Whether requests are accepted", responses=errors(503))
    async def ready() -> dict[str, str]:
        return {"status": "ready"}  # while it stops, ``Entrance`` refuses this

    @routes.get("/metrics", tags=["Server"], summary="Metrics for Prometheus", response_class=PlainTextResponse, responses=errors(401))
    async def prometheus() -> Response:
        return Response(generate_latest(service.metrics.registry), headers={"content-type": CONTENT_TYPE})

    return routes


def described(service: Service) -> dict[str, Any]:
    """Return a description of the model for callers: tasks, labels, limits, provenance, …."""
    description, graph, settings = service.engine.classifier.description, service.engine.graph, service.settings
    thresholds = description.get("calibration", {}).get("thresholds", {}).values()
    can_read = all(find_spec(name) for name in ("ahocorasick", "py3langid", "somajo"))
    return {
        "name": description["scheme"]["name"], "kind": description["kind"], "tasks": description["scheme"]["tasks"],
        "scheme_digest": description.get("scheme_digest"),
        "reads": ["article"] if service.engine.reads_articles else service.engine.classifier.views,
        "events": can_read and not pipeline.lacks_stances(service.engine.scheme), "max_length": description["input"].get("max_length"),
        "precisions": sorted({float(precision) for task in thresholds for precision, least in task.items() if least is not None}),
        "reference": description.get("reference"), "provenance": description.get("provenance"),
        "haltung": __version__, "exported_by": description["haltung"], "runtime": graph.runtime, "format": graph.format,
        "limits": {"texts": settings.texts, "characters": settings.characters, "bytes": settings.bytes, "seconds": settings.timeout},
    }  # fmt: skip
