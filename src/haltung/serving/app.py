"""The application: endpoints, page, documentation, and the layers that each request passes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import APIKeyHeader
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from haltung import __version__
from haltung.errors import UserError
from haltung.files import rendered
from haltung.serving import inference_protocol, routes
from haltung.serving.middleware import Entrance, failure
from haltung.serving.requests import sentence
from haltung.serving.service import Service

PAGE = Path(__file__).with_name("page")

_ABOUT = (
    "Topics and stances of German political news. An error is one sentence, as the value of 'error'. "
    "No text that is sent here is stored, or written to a log."
)

# In place of Starlette's phrases for an address without a route.
_NO_ROUTE = {
    404: "there is nothing at this address; GET /docs lists what there is",
    405: "this address does not take that method; GET /docs lists what it takes",
}


def application(service: Service) -> FastAPI:
    """Return the application of a service; it starts and stops the service with itself."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    settings = service.settings
    layers = [Middleware(Entrance, service=service)]
    if settings.origins:
        length = inference_protocol.LENGTH
        layers.insert(0, Middleware(
            CORSMiddleware, allow_origins=list(settings.origins), allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-api-key", length], expose_headers=["retry-after", length],
        ))  # fmt: skip
    # FastAPI's documentation pages would load their scripts from another host.
    app = FastAPI(
        title="Haltung", version=__version__, description=_ABOUT, lifespan=lifespan, middleware=layers, docs_url=None, redoc_url=None,
        exception_handlers={RequestValidationError: _invalid, HTTPException: _refused, UserError: _not_installed},
        dependencies=[Security(APIKeyHeader(name="X-API-Key", auto_error=False))] if settings.key else [],
    )  # fmt: skip
    app.include_router(routes.router(service))
    app.include_router(inference_protocol.router(service))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        pretty = partial(json.dumps, ensure_ascii=False, indent=2)
        return HTMLResponse(rendered("haltung.serving", "documentation.html.j2", pretty=pretty, **app.openapi()))

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return FileResponse(PAGE / "index.html")

    app.mount("/page", StaticFiles(directory=PAGE))
    return app


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if request.url.path.startswith("/v2/"):
        return failure(400, sentence(error.errors(), inference_protocol.EXAMPLE))
    return failure(422, sentence(error.errors()))


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status, detail = error.status_code, str(error.detail)
    if status in _NO_ROUTE and detail == HTTPStatus(status).phrase:
        detail = _NO_ROUTE[status]
    return failure(status, detail, error.headers)


async def _not_installed(_: Request, error: Exception) -> Response:
    return failure(501, str(error))
