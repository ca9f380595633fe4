"""The server process: it runs until a signal stops it, then answers all accepted requests."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from types import FrameType

import uvicorn

from haltung.errors import UserError
from haltung.serving.app import application
from haltung.serving.engine import Settings
from haltung.serving.service import Service

# Seconds for the requests on connections made just before the listening socket was closed.
_LAST_CALL = 0.1


class Server(uvicorn.Server):
    """uvicorn's server with an orderly end.

    After the first SIGTERM or SIGINT it refuses new requests while it still listens, for ``drain``
    seconds, so that no request on its way is cut off; then uvicorn closes what is idle and waits
    for what was taken. A second signal ends the waiting.
    """

    def __init__(self, config: uvicorn.Config, service: Service, greeting: str) -> None:
        super().__init__(config)
        self._service, self._greeting = service, greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take requests, and print where."""
        await super().startup(sockets)
        print(self._greeting, flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; the signal isn't raised again afterwards, so the process ends with 0."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._service.stopping = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening after ``drain`` seconds, then wait for what was taken."""
        await asyncio.sleep(self._service.settings.drain)
        for server in self.servers:
            server.close()
        await asyncio.sleep(_LAST_CALL)
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Serve until a signal comes; ``UserError`` if the bundle or the port can't be used."""
    start = time.perf_counter()
    # Before the model is loaded, so that a port in use is reported at once.
    with _listener(settings.host, settings.port) as listener:
        logging.basicConfig(format="%(asctime)s %(message)s")
        logging.getLogger("haltung.serving").setLevel(logging.INFO)
        service = Service(settings)
        config = uvicorn.Config(
            application(service), log_config=None, access_log=False, server_header=False, lifespan="on", ws="none",
            limit_concurrency=settings.connections, timeout_keep_alive=20, timeout_graceful_shutdown=int(settings.timeout) + 5,
        )  # fmt: skip
        host, port = listener.getsockname()[:2]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        print(f"runtime: {service.engine.choice}", flush=True)
        seconds = time.perf_counter() - start
        greeting = f"{settings.bundle} at {address} after {seconds:.1f} s; {address}/docs lists the endpoints (Ctrl-C stops it)"
        Server(config, service, greeting).run([listener])


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        sentence = f"nothing can listen at host={host} port={port} ({error.strerror}); name another port, or the machine's own host"
        raise UserError(sentence) from None
    return listener
