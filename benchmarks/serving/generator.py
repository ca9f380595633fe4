"""Generate load over CLIENTS connections, each with one request at a time; print JSON.

.venv/bin/python benchmarks/serving/generator.py URL FORM CLIENTS SECONDS
FORM: haltung, mlflow or pipeline

It uses HTTP on bare asyncio streams, since a full client would take more processor time than some
of the servers do.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from texts import segments

FORMS: Mapping[str, Callable[[Mapping[str, str]], object]] = {
    "haltung": lambda segment: segment,
    "mlflow": lambda segment: {"dataframe_records": [segment]},
    "pipeline": lambda segment: segment,
}

_HEAD = b"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


async def post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, path: str, body: bytes) -> tuple[int, bytes]:
    """Send a request on an open connection and return status and body of the answer."""
    writer.write(_HEAD % (path.encode(), host.encode(), len(body)) + body)
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length:"))
    return int(lines[0].split()[1]), await reader.readexactly(length)


async def _load(url: str, form: str, clients: int, seconds: float) -> dict[str, float]:
    parts = urlsplit(url)
    host, port = str(parts.hostname), int(parts.port or 80)
    bodies = [json.dumps(FORMS[form](segment)).encode() for segment in segments(2000)]
    times: list[float] = []
    failed = 0
    start = time.perf_counter()

    async def client(number: int) -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection(host, port)
        index = number * 37
        while time.perf_counter() < start + seconds:
            sent = time.perf_counter()
            status, _ = await post(reader, writer, host, parts.path, bodies[index % len(bodies)])
            times.append(time.perf_counter() - sent)
            failed += status != 200
            index += 1
        writer.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    elapsed = time.perf_counter() - start
    times.sort()
    return {
        "requests": len(times), "failed": failed, "rate": len(times) / elapsed,
        "p50": 1000 * times[len(times) // 2], "p99": 1000 * times[min(len(times) - 1, int(0.99 * len(times)))],
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_load(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))))
