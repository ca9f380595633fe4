"""Our own endpoints: texts, articles, the model, health, figures."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from haltung import __version__
from haltung.errors import UserError
from haltung.events.pipeline import BEFORE, LEAD
from haltung.events.text.sentences import split
from haltung.records import context
from haltung.serving import metrics
from haltung.serving import responses as schemas
from haltung.serving.answers import Refused, answer
from haltung.serving.requests import Article
from haltung.serving.service import Service


def router(service: Service) -> APIRouter:
    """Return the routes."""
    routes = APIRouter()

    @routes.post(
        "/classify", tags=["Labels"], summary="Label one text, or many",
        responses=schemas.told("ClassifyResponse", *schemas.REFUSALS), openapi_extra=schemas.body("ClassifyRequest"),
    )  # fmt: skip
    async def classify(request: Request) -> Response:
        asked = service.reader.classify(await request.body())
        parts = [{**part, **({} if id is None else {"id": id})} for part, id in zip(asked.parts, asked.ids, strict=True)]
        predictions = await service.predictions(parts, asked.abstain)
        return answer({"predictions": predictions} if asked.many else predictions[0])

    @routes.post(
        "/article", tags=["Labels"], summary="Label every sentence of an article, each read behind headline, lead and the one before",
        responses=schemas.told("ArticleResponse", *schemas.REFUSALS, 501), openapi_extra=schemas.body("ArticleRequest"),
    )  # fmt: skip
    async def article(request: Request) -> Response:
        asked = service.reader.article(await request.body())
        service.check(asked.abstain)
        segments = await asyncio.to_thread(_segments, asked)
        service.reader.counted(len(segments))
        predictions = await service.predictions(segments, asked.abstain)
        return answer({"segments": [{**segment, **prediction} for segment, prediction in zip(segments, predictions, strict=True)]})

    @routes.post(
        "/events", tags=["Labels"], summary="Who takes which stance towards whom in an article, and the PLOVER events of it",
        responses=schemas.told("EventsResponse", *schemas.REFUSALS, 501), openapi_extra=schemas.body("ArticleRequest"),
    )  # fmt: skip
    async def events(request: Request) -> Response:
        asked = service.reader.article(await request.body())
        service.check(asked.abstain)
        prepared = await asyncio.to_thread(service.finder.prepare, asked)
        service.reader.counted(len(prepared.segments))
        parts = [{"text": one.text, "context": one.context, "target": ""} for one in prepared.segments]
        predictions = await service.predictions(parts, asked.abstain)
        return answer(await asyncio.to_thread(service.finder.finish, prepared, predictions))

    @routes.get("/model", tags=["Server"], summary="What is served", responses=schemas.told("Model", 401))
    async def model() -> Response:
        return answer(described(service))

    @routes.get("/health/live", tags=["Server"], summary="Whether the server runs", responses=schemas.told("Health"))
    async def live() -> Response:
        return answer({"status": "live"})

    @routes.get("/health/ready", tags=["Server"], summary="Whether requests are taken", responses=schemas.told("Health", 503))
    async def ready() -> Response:
        if not service.ready:
            raise Refused(503, "the server is starting or stopping")
        return answer({"status": "ready"})

    @routes.get("/metrics", tags=["Server"], summary="Figures for Prometheus", responses=schemas.told("Metrics", 401, media="text/plain"))
    async def figures() -> Response:
        return Response(service.metrics.page(), headers={"content-type": metrics.TYPE})

    return routes


def described(service: Service) -> dict[str, Any]:
    """Return what a caller may want to know of the model: tasks and labels with their names, limits, figures, where it is from."""
    description, settings = service.engine.classifier.description, service.settings
    return {
        "name": description["scheme"]["name"],
        "kind": description["kind"],
        "tasks": description["scheme"]["tasks"],
        "scheme_digest": description.get("scheme_digest"),
        "reads": service.engine.classifier.views,
        "events": service.finder.able,
        "max_length": description["input"].get("max_length"),
        "precisions": sorted({
            float(wished) for has in description.get("calibration", {}).get("thresholds", {}).values()
            for wished, least in has.items() if least is not None
        }),
        "reference": description.get("reference"),
        "provenance": description.get("provenance"),
        "haltung": __version__,
        "exported_by": description["haltung"],
        "runtime": service.engine.choice.graph.runtime,
        "format": service.engine.choice.graph.format,
        "milliseconds": dict(service.engine.choice.milliseconds),
        "limits": {"texts": settings.texts, "characters": settings.characters, "bytes": settings.bytes, "seconds": settings.timeout},
    }  # fmt: skip


def _segments(asked: Article) -> list[dict[str, Any]]:
    """Return the article's sentences with their places and what stands before each."""
    try:
        sentences = split(asked.text)
    except UserError as error:
        raise Refused(501, str(error)) from None
    out: list[dict[str, Any]] = []
    told: list[str] = []
    for sentence in sentences:
        before = context(asked.headline.strip(), told, BEFORE, LEAD)
        out.append({"start": sentence.start, "end": sentence.end, "text": sentence.text, "context": before})
        told.append(sentence.text)
    return out
