"""The application: endpoints, page, documentation, and the layers that each request passes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from html import escape
from http import HTTPStatus
from pathlib import Path
from typing import Any

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
from haltung.serving import inference_protocol, routes
from haltung.serving.middleware import FAILED, Entrance, SecurityHeaders, failure
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
    layers = [Middleware(SecurityHeaders), Middleware(Entrance, service=service)]
    if settings.origins:
        length = inference_protocol.LENGTH
        layers.insert(0, Middleware(
            CORSMiddleware, allow_origins=list(settings.origins), allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-api-key", length], expose_headers=["retry-after", length],
        ))  # fmt: skip
    # FastAPI's documentation pages would load their scripts from another host.
    app = FastAPI(
        title="Haltung", version=__version__, description=_ABOUT, lifespan=lifespan, middleware=layers, docs_url=None, redoc_url=None,
        exception_handlers={
            RequestValidationError: _invalid, HTTPException: _refused, UserError: _not_installed, Exception: _failed,
        },
        dependencies=[Security(APIKeyHeader(name="X-API-Key", auto_error=False))] if settings.key else [],
    )  # fmt: skip
    app.include_router(routes.router(service))
    app.include_router(inference_protocol.router(service))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse("\n".join(_documentation(app.openapi())))

    @app.get("/docs.css", include_in_schema=False)
    async def style() -> Response:
        return FileResponse(PAGE / "docs.css")

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


async def _failed(_: Request, __: Exception) -> Response:
    return failure(500, FAILED)


def _documentation(openapi: Mapping[str, Any]) -> Iterator[str]:
    """Yield an OpenAPI document as plain HTML, without a script or anything from another host."""
    info = openapi["info"]
    title = escape(info["title"])
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f'<title>{title}</title>\n<link rel="stylesheet" href="docs.css">\n</head>\n<body>\n<main>'
    yield f"<h1>{title} <small>{escape(info['version'])}</small></h1>\n<p>{escape(info.get('description', ''))}</p>"
    yield '<p>The same for programs: <a href="openapi.json">openapi.json</a>.</p>'
    group = ""
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            name = (operation.get("tags") or ["Other"])[0]
            if name != group:
                yield f"<h2>{escape(name)}</h2>"
                group = name
            yield f'<details><summary><span class="method">{escape(method.upper())}</span> <code>{escape(path)}</code> '
            yield f"{escape(operation.get('summary', ''))}</summary>"
            for media, content in operation.get("requestBody", {}).get("content", {}).items():
                yield f"<p>Takes {_link(content['schema'])} as <code>{escape(media)}</code>.</p>"
            yield "<dl>"
            for status, response in operation["responses"].items():
                forms = ", ".join(_link(content["schema"]) for content in response.get("content", {}).values() if content.get("schema"))
                yield f"<dt>{escape(status)}</dt><dd>{escape(response['description'])}{': ' if forms else ''}{forms}</dd>"
            yield "</dl></details>"
    yield "<h2>Forms</h2>"
    for name, schema in openapi["components"]["schemas"].items():
        text = escape(json.dumps(schema, ensure_ascii=False, indent=2))
        yield f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary><pre>{text}</pre></details>'
    yield "</main>\n</body>\n</html>\n"


def _link(schema: Mapping[str, Any]) -> str:
    name = escape(str(schema.get("$ref", "")).rpartition("/")[2])
    return f'<a href="#{name}">{name}</a>' if name else "a value"
