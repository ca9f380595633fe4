"""The application: endpoints, page, documentation, and the layers that each request passes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from haltung import __version__
from haltung.serving import documentation, inference_protocol
from haltung.serving import responses as schemas
from haltung.serving import routes as endpoints
from haltung.serving.answers import Refused, failure
from haltung.serving.middleware import Entrance
from haltung.serving.security import Key, SecurityHeaders
from haltung.serving.service import Service
from haltung.serving.tensors import LENGTH

PAGE = Path(__file__).with_name("page")

_ABOUT = (
    "Topics and stances of German political news. An error is one sentence, as the value of 'error'. "
    "No text that is sent here is kept, or written to a log."
)


def application(service: Service) -> FastAPI:
    """Return the application of a service; it starts and stops the service with itself."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    settings = service.settings
    layers = [
        Middleware(SecurityHeaders),
        Middleware(
            Entrance, gate=service.gate, metrics=service.metrics, key=Key(settings.key) if settings.key else None,
            most=settings.bytes, timeout=settings.timeout,
        ),
    ]  # fmt: skip
    if settings.origins:
        layers.insert(0, Middleware(
            CORSMiddleware, allow_origins=list(settings.origins), allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-api-key", LENGTH], expose_headers=["retry-after", LENGTH],
        ))  # fmt: skip
    # Its own pages would load their scripts from another host.
    app = FastAPI(
        title="Haltung", version=__version__, description=_ABOUT, lifespan=life, middleware=layers, docs_url=None, redoc_url=None,
        exception_handlers={HTTPException: _missing, Refused: _refused, Exception: _failed},
    )  # fmt: skip
    app.include_router(endpoints.router(service))
    app.include_router(inference_protocol.router(service))
    _describe(app, service)
    _pages(app)
    return app


def _pages(app: FastAPI) -> None:
    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(documentation.page(app.openapi()), media_type="text/html")

    @app.get("/docs.css", include_in_schema=False)
    async def style() -> Response:
        return Response(documentation.STYLE, media_type="text/css")

    if (PAGE / "index.html").is_file():

        @app.get("/", include_in_schema=False)
        async def index() -> Response:
            return FileResponse(PAGE / "index.html")

        app.mount("/page", StaticFiles(directory=PAGE))


def _describe(app: FastAPI, service: Service) -> None:
    """Let OpenAPI tell our own forms, with the model's own labels."""
    made = app.openapi
    classifier = service.engine.classifier
    tasks = classifier.description["scheme"]["tasks"]
    multi = [task for task, has in tasks.items() if has.get("kind") == "multi"]
    forms = schemas.components(classifier.tasks, multi, service.settings.texts)

    def openapi() -> dict[str, Any]:
        document = made()
        document["components"] = {"schemas": forms}
        if service.settings.key:
            document["components"]["securitySchemes"] = {"key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}
            document["security"] = [{"key": []}]
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation has it


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return failure(error.status, error.sentence, error.headers)


async def _missing(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {
        404: "there is nothing at this address; GET /docs lists what there is",
        405: "this address does not take that method; GET /docs lists what it takes",
    }
    return failure(error.status_code, told.get(error.status_code, str(error.detail)), error.headers)


async def _failed(_: Request, __: Exception) -> Response:
    return failure(500, "the server has failed at this request; its log says where")
