"""Attack a server for SECONDS with hostile clients; print how their connections ended as JSON.

.venv/bin/python benchmarks/serving/hostile.py URL SECONDS

There are EACH clients of each kind, which start again one second after their connection has ended.
Connections that are still open when the time is over count as held.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from generator import post

EACH = 4
_PAUSE, _BETWEEN_BYTES, _BEFORE_LEAVING = 1.0, 0.5, 0.05
_HEAD = b"POST /classify HTTP/1.1\r\nHost: x\r\n"
# Above the limits of a body (2 MB) and of a text (100,000 characters); and more texts than a good
# client sends, which should delay others by no more than the running batch.
_LARGE_BODY = b'{"text": "' + b"x" * 4_000_000 + b'"}'
_LARGE_TEXT = b'{"text": "' + b"x" * 1_900_000 + b'"}'
_CANCELLED = json.dumps({"segments": [{"text": "Die Regierung lehnt den Vorschlag ab."}] * 8}).encode()

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def _open(host: str, port: int) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def _drip(head: bytes, rest: bytes) -> Callable[[str, int], Awaitable[str]]:
    """Return a client that sends ``head`` at once, and ``rest`` byte by byte until an answer."""

    async def client(host: str, port: int) -> str:
        async with _open(host, port) as (reader, writer):
            writer.write(head)
            for byte in rest:
                with suppress(TimeoutError):
                    answer = await asyncio.wait_for(reader.read(64), _BETWEEN_BYTES)
                    return answer.split()[1].decode() if answer else "hung up"
                writer.write(bytes([byte]))
        return "all taken"

    return client


def _post(path: str, body: bytes) -> Callable[[str, int], Awaitable[str]]:
    """Return a client that sends a request and reads the answer."""

    async def client(host: str, port: int) -> str:
        async with _open(host, port) as (reader, writer):
            return str((await post(reader, writer, host, path, body))[0])

    return client


async def _many_headers(host: str, port: int) -> str:
    async with _open(host, port) as (reader, writer):
        writer.write(_HEAD + b"".join(b"X-%d: y\r\n" % number for number in range(100_000)))
        answer = await reader.read(64)
        return answer.split()[1].decode() if answer else "hung up"


async def _silent(host: str, port: int) -> str:
    async with _open(host, port) as (reader, _):
        return "hung up" if not await reader.read(1) else "answered"


async def _cancelled(host: str, port: int) -> str:
    async with _open(host, port) as (_, writer):
        writer.write(_HEAD + b"Content-Length: %d\r\n\r\n" % len(_CANCELLED) + _CANCELLED)
        await asyncio.sleep(_BEFORE_LEAVING)
    return "left"


async def _never_reads(host: str, port: int) -> str:
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.setblocking(False)
        await loop.sock_connect(connection, (host, port))
        await loop.sock_sendall(connection, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        while True:  # without reading, only sending reveals that the connection is closed
            await asyncio.sleep(_BETWEEN_BYTES)
            await loop.sock_sendall(connection, b"G")


KINDS: dict[str, Callable[[str, int], Awaitable[str]]] = {
    "slow headers": _drip(_HEAD, b"X: y\r\n" * 1000),
    "slow body": _drip(_HEAD + b"Content-Length: 5000\r\n\r\n", b"x" * 5000),
    "many headers": _many_headers,
    "silent": _silent,
    "large body": _post("/classify", _LARGE_BODY),
    "large text": _post("/article", _LARGE_TEXT),
    "deep JSON": _post("/events", b"[" * 100_000),
    "cancelled": _cancelled,
    "wrong address": _post("/nothing/of/this", b"{}"),
    "never reads": _never_reads,
}


async def hold_up(url: str, seconds: float) -> dict[str, dict[str, int]]:
    """Return the counts of each ending by kind of client; SIGTERM stops it early."""
    parts = urlsplit(url)
    host, port = str(parts.hostname), int(parts.port or 80)
    ends: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}

    async def again_and_again(kind: str) -> None:
        while True:
            try:
                end = await KINDS[kind](host, port)
            except (OSError, asyncio.IncompleteReadError):
                end = "hung up"
            except asyncio.CancelledError:
                ends[kind]["held"] += 1
                raise
            ends[kind][end] += 1
            await asyncio.sleep(_PAUSE)

    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(again_and_again(kind)) for kind in KINDS for _ in range(EACH)]
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    tasks.append(asyncio.create_task(stopped.wait()))
    ended, held = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    for task in ended:  # these tasks never end, except for the last one or by an error of this program
        task.result()
    return {kind: dict(counts) for kind, counts in ends.items()}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(hold_up(sys.argv[1], float(sys.argv[2])))))
