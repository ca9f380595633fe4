"""From a bundle to a server that runs until it is told to stop, and then answers all that it has taken."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from types import FrameType

import uvicorn

from haltung.errors import UserError
from haltung.serving.app import application
from haltung.serving.engine import open_engine
from haltung.serving.service import Service
from haltung.serving.settings import Settings

# After the listening socket is closed, the requests on connections that were just made have so long to arrive.
_LAST_CALL = 0.1


class Server(uvicorn.Server):
    """uvicorn's server, but for the way it ends.

    On the first SIGTERM or SIGINT it says no to new requests while it still listens, for ``drain`` seconds, so that nobody is cut off
    whose request is on its way; then uvicorn closes what is idle and waits for what was taken. A second signal ends the waiting.
    """

    def __init__(self, config: uvicorn.Config, service: Service, greeting: str) -> None:
        super().__init__(config)
        self._service, self._greeting = service, greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take requests, and say so only then."""
        await super().startup(sockets)
        print(self._greeting, flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; the signal is not raised again afterwards, so that the process ends with 0."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True
        self._service.gate.stopping = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse, close the door, then wait for what was taken."""
        self._service.gate.stopping = True
        await asyncio.sleep(self._service.settings.drain)
        for server in self.servers:
            server.close()
        await asyncio.sleep(_LAST_CALL)
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Load the bundle, say where the server is, and serve until a signal comes.

    Raises:
        UserError: the bundle can't be served, or the port is taken.
    """
    began = time.perf_counter()
    # Before the model is loaded: whoever has the port already is told at once.
    listener = _listener(settings.host, settings.port)
    _log()
    engine = open_engine(settings)
    service = Service(settings, engine)
    if settings.dyads is not None:
        _ = service.finder  # a wrong folder is told now and not to the first caller
    config = uvicorn.Config(
        application(service), log_config=None, access_log=False, server_header=False, lifespan="on", ws="none",
        limit_concurrency=settings.connections, timeout_keep_alive=20, timeout_graceful_shutdown=int(settings.timeout) + 5,
    )  # fmt: skip
    host, port = listener.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    print(f"runtime: {engine.choice}", flush=True)
    took = time.perf_counter() - began
    greeting = f"{settings.bundle} at {address} after {took:.1f} s; {address}/docs lists the endpoints (Ctrl-C stops it)"
    Server(config, service, greeting).run([listener])


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, number)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise UserError(
            f"nothing can listen at host={host} port={port} ({error.strerror}); name another port, or the machine's own host"
        ) from None
    listener.set_inheritable(True)
    return listener


def _log() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for name, level in (("haltung.serving", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
