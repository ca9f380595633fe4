"""The server's own endpoints: texts, articles, the model, health, metrics."""

import asyncio
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any

from fastapi import APIRouter, HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from haltung import __version__
from haltung.actors.finder import Actors
from haltung.events import pipeline
from haltung.events.text.read import Article
from haltung.inference import schemas
from haltung.models.predictor import abstained
from haltung.serving import bodies
from haltung.serving.metrics import CONTENT_TYPE
from haltung.serving.service import Service


def router(service: Service) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(route_class=bodies.JsonRoute)
    classifier = service.engine.classifier
    classify_answer, article_answer, events_answer = schemas.label_answers(service.engine.scheme)

    def checked(body: schemas.ArticleRequest) -> Article:
        service.check_parts([{"text": body.text, "headline": body.headline or ""}], "{field}")
        service.check_abstain(body.abstain)
        return Article("a", body.text, (body.headline or "").strip(), body.date or "")

    @routes.post(
        "/classify", tags=["Labels"], summary="Label one text, or many",
        response_model=classify_answer, responses=bodies.errors(*bodies.REFUSALS),
    )  # fmt: skip
    async def classify(body: schemas.ClassifyRequest) -> Response:
        texts = body.root
        many = isinstance(texts, schemas.ManyTexts)
        segments = texts.segments if isinstance(texts, schemas.ManyTexts) else [texts]
        parts = [{field: getattr(segment, field) or "" for field in bodies.FIELDS} for segment in segments]
        service.check_parts(parts, "segments[{number}].{field}" if many else "{field}")
        service.check_abstain(texts.abstain)
        predictions = await service.predict(bodies.as_segments(parts), [segment.id for segment in segments], texts.abstain)
        return JSONResponse({"predictions": predictions} if many else predictions[0])

    @routes.post(
        "/article", tags=["Labels"], summary="Label every sentence of an article, each read with what stands around it",
        response_model=article_answer, responses=bodies.errors(*bodies.REFUSALS, 501),
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
        "/events", tags=["Labels"], summary="Who takes which stance towards whom in an article, and the PLOVER events of it",
        response_model=events_answer, responses=bodies.errors(*bodies.REFUSALS, 501),
    )  # fmt: skip
    async def events(body: schemas.ArticleRequest) -> Response:
        given = checked(body)
        if found := pipeline.lacks_stances(service.engine.scheme):
            raise HTTPException(501, f"this model has {found}, of which no events are made; POST /article labels the sentences")
        prepared = await asyncio.to_thread(lambda: pipeline.prepare(given, Actors.load()))
        service.check_count(len(prepared.segments))
        article_events = await service.events(prepared)
        answer = article_events.to_dict()
        for segment, labelled in zip(answer["segments"], article_events.segments, strict=True):
            segment["context"] = labelled.segment.context
            if body.abstain is not None:
                segment["abstained"] = abstained(labelled.prediction, classifier.thresholds(body.abstain))
        return JSONResponse({name: answer[name] for name in ("segments", "events", "removed", "language", "notes")})

    @routes.get("/model", tags=["Server"], summary="What is served", response_model=bodies.ModelAnswer, responses=bodies.errors(401))
    async def model() -> Response:
        return JSONResponse(described(service))

    @routes.get("/health/live", tags=["Server"], summary="Whether the server runs")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @routes.get("/health/ready", tags=["Server"], summary="Whether requests are taken", responses=bodies.errors(503))
    async def ready() -> dict[str, str]:
        if not service.ready:
            raise HTTPException(503, "the server is starting or stopping")
        return {"status": "ready"}

    @routes.get(
        "/metrics", tags=["Server"], summary="Metrics for Prometheus", response_class=PlainTextResponse, responses=bodies.errors(401)
    )
    async def prometheus() -> Response:
        return Response(service.metrics.page(), headers={"content-type": CONTENT_TYPE})

    return routes


def described(service: Service) -> dict[str, Any]:
    """Return what callers may want to know of the model: tasks, labels, limits, provenance, …."""
    description, graph, settings = service.engine.classifier.description, service.engine.choice.graph, service.settings
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
        "milliseconds": dict(service.engine.choice.milliseconds),
        "limits": {"texts": settings.texts, "characters": settings.characters, "bytes": settings.bytes, "seconds": settings.timeout},
    }  # fmt: skip
