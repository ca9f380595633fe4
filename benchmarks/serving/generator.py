"""Send requests over CLIENTS connections for SECONDS, one at a time on each; print JSON.

.venv/bin/python benchmarks/serving/generator.py URL BODIES CLIENTS SECONDS

BODIES is a file written by ``write``; each client starts at a different body and wraps around after
the last. HTTP is sent over plain asyncio streams, since a full client would take more processor
time than some of the servers.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

_HEAD = b"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def write(path: Path, bodies: Iterable[tuple[int, object]]) -> Path:
    """Write the bodies of requests, each with its number of sentences."""
    path.write_text("".join(f"{json.dumps(one)}\n" for one in bodies), encoding="utf-8")
    return path


async def post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, path: str, body: bytes) -> tuple[int, bytes]:
    """Send a request on an open connection; return status and body of the answer."""
    writer.write(_HEAD % (path.encode(), host.encode(), len(body)) + body)
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
    return int(lines[0].split()[1]), await reader.readexactly(length)


async def load(url: str, path: Path, clients: int, seconds: float) -> dict[str, float]:
    """Return counts of requests and failures, both rates per second, p50 and p99 in ms."""
    parts = urlsplit(url)
    host, port = str(parts.hostname), int(parts.port or 80)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    bodies = [(int(sentences), json.dumps(body).encode()) for sentences, body in rows]
    times: list[float] = []
    failed = sentences = 0
    start = time.perf_counter()

    async def client(number: int) -> None:
        nonlocal failed, sentences
        reader, writer = await asyncio.open_connection(host, port)
        index = number * 37
        while time.perf_counter() < start + seconds:
            sent = time.perf_counter()
            more, body = bodies[index % len(bodies)]
            status, _ = await post(reader, writer, host, parts.path, body)
            times.append(time.perf_counter() - sent)
            failed += status != 200
            sentences += more
            index += 1
        writer.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    elapsed = time.perf_counter() - start
    times.sort()
    return {
        "requests": len(times), "failed": failed, "rate": len(times) / elapsed, "sentences": sentences / elapsed,
        "p50": 1000 * times[len(times) // 2], "p99": 1000 * times[min(len(times) - 1, int(0.99 * len(times)))],
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(asyncio.run(load(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))))
