"""The application, with its page and documentation, and the process that serves it."""

import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
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
from haltung.serving import routes
from haltung.serving.engine import Settings
from haltung.serving.middleware import Entrance, failure
from haltung.serving.service import Service

PAGE = Path(__file__).with_name("page")
_ABOUT = (
    "Topics and stances of German political news. An error is one sentence, as the value of 'error'. "
    "No text that is sent here is stored, or written to a log."
)
# These replace Starlette's phrases for an address without a route.
_NO_ROUTE = {
    404: "there is nothing at this address; GET /docs lists what there is",
    405: "this address does not accept that method; GET /docs lists what it accepts",
}
# Seconds until an inactive connection is closed. uvicorn itself only closes those idle for 20 s
# after a request; it waits indefinitely for incomplete headers and for clients that do not read.
_IDLE_SECONDS = 30.0
# Seconds for requests on connections that were made just before the listening socket was closed.
_LAST_CALL = 0.1


def application(service: Service) -> FastAPI:
    """Return the application of a service; its startup and shutdown start and stop the service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    settings = service.settings
    layers = [Middleware(Entrance, service.metrics, partial(getattr, service, "stopping"), settings.key, settings.timeout, settings.bytes)]
    if settings.origins:
        layers.insert(0, Middleware(
            CORSMiddleware, allow_origins=list(settings.origins), allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-api-key"], expose_headers=["retry-after"],
        ))  # fmt: skip
    # FastAPI's documentation pages would load their scripts from another host.
    app = FastAPI(
        title="Haltung", version=__version__, description=_ABOUT, lifespan=lifespan, middleware=layers, docs_url=None, redoc_url=None,
        exception_handlers=refusals(lambda _, error: failure(501, str(error))),
        dependencies=[Security(APIKeyHeader(name="X-API-Key", auto_error=False))] if settings.key else [],
    )  # fmt: skip
    app.include_router(routes.router(service))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        pretty = partial(json.dumps, ensure_ascii=False, indent=2)
        return HTMLResponse(rendered("haltung.serving", "documentation.html.j2", pretty=pretty, **app.openapi()))

    app.add_api_route("/", lambda: FileResponse(PAGE / "index.html"), response_model=None, include_in_schema=False)
    app.mount("/page", StaticFiles(directory=PAGE))
    return app


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    return failure(422, routes.sentence(error.errors()))


async def _refused(_: Request, error: HTTPException) -> Response:
    status, detail = error.status_code, str(error.detail)
    if status in _NO_ROUTE and detail == HTTPStatus(status).phrase:
        detail = _NO_ROUTE[status]
    return failure(status, detail, error.headers)


def refusals(mistake: Callable[[Request, Exception], Response]) -> dict[Any, Callable[[Request, Any], Any]]:
    """Return the handlers that answer errors in one sentence; ``mistake`` handles ``UserError``."""
    return {RequestValidationError: _invalid, HTTPException: _refused, UserError: mistake}


class Server(uvicorn.Server):
    """uvicorn's server with a graceful shutdown.

    After the first SIGTERM or SIGINT it refuses new requests while it still listens for ``drain``
    seconds, so that no request in flight is cut off. Then uvicorn closes idle connections and waits
    for accepted requests. A second signal ends the wait.
    """

    def __init__(self, config: uvicorn.Config, service: Service, greeting: str) -> None:
        super().__init__(config)
        self._service, self._greeting = service, greeting
        # Since when a connection, its last request and its unsent bytes have been unchanged.
        self._idle: dict[tuple[Any, Any, int], float] = {}

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept requests, and print the address."""
        await super().startup(sockets)
        print(self._greeting, flush=True)

    async def on_tick(self, counter: int) -> bool:
        """Abort the connections of clients that neither send requests nor read answers."""
        now, before, self._idle = time.monotonic(), self._idle, {}
        for one in list[Any](self.server_state.connections):
            if one.transport.is_closing() or one.cycle is None or one.cycle.response_complete or one.flow.write_paused:
                state = one, one.cycle, one.transport.get_write_buffer_size()  # a slow reader shrinks it
                since = self._idle[state] = before.get(state, now)
                if now - since > _IDLE_SECONDS:
                    one.transport.abort()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the shutdown; the signal isn't raised again afterwards, so the exit status is 0."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._service.stopping = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening after ``drain`` seconds, then wait for accepted requests."""
        await asyncio.sleep(self._service.settings.drain)
        for server in self.servers:
            server.close()
        await asyncio.sleep(_LAST_CALL)
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Serve until a signal arrives; ``UserError`` if the bundle or the port can't be used."""
    start = time.perf_counter()
    # Before the model is loaded, so that a port in use is reported at once.
    with listening(settings.host, settings.port) as listener:
        logging.basicConfig(format="%(asctime)s %(message)s")
        logging.getLogger("haltung.serving").setLevel(logging.INFO)
        service = Service(settings)
        config = uvicorn.Config(
            application(service), log_config=None, access_log=False, server_header=False, lifespan="on", ws="none",
            limit_concurrency=settings.connections, timeout_keep_alive=20, timeout_graceful_shutdown=int(settings.timeout) + 5,
        )  # fmt: skip
        host, port = listener.getsockname()[:2]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        print(f"runtime: {service.engine.graph}", flush=True)
        seconds = time.perf_counter() - start
        greeting = f"{settings.bundle} at {address} after {seconds:.1f} s; {address}/docs lists the endpoints (Ctrl-C stops it)"
        Server(config, service, greeting).run([listener])


def listening(host: str, port: int) -> socket.socket:
    """Return a bound socket; ``UserError`` if nothing can listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        problem = f"the server can't listen on host={host} port={port} ({error.strerror}); name another port, or the machine's own host"
        raise UserError(problem) from None
    return listener
