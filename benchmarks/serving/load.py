"""A load test: 64 clients for a minute, each with texts of its own; every answer is held against
the client that has the bundle itself.

.venv/bin/python benchmarks/serving/load.py BUNDLE                                # 60 s, 64 clients
.venv/bin/python benchmarks/serving/load.py BUNDLE --seconds 10 --clients 16

It fails where a request is lost or fails, an answer is another's, or memory grows by more than a
tenth after the first third.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from generator import post
from sides import Side, memory, running
from texts import segments

from haltung.inference.client import Classifier

# One pass over so many different texts; what is expected of them is computed before the load.
_TEXTS = 192

# How far a probability may be from that of the client: rounding, and what the export allows a
# reduced format.
_APART, _APART_REDUCED = 1e-3, 0.1


async def _load(
    side: Side, clients: int, seconds: float, expected: list[dict[str, dict[str, float]]], apart: float
) -> tuple[int, list[int]]:
    """Return how many requests were answered, and the memory in MB once a second."""
    parts = urlsplit(side.url)
    texts = segments(_TEXTS)
    begin = time.perf_counter()
    answered = 0
    megabytes: list[int] = []

    async def client(number: int) -> None:
        nonlocal answered
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        turn = number
        while time.perf_counter() < begin + seconds:
            places = [(turn * clients + number * 7 + place) % _TEXTS for place in range(1 + turn % 3)]
            body = json.dumps({"segments": [{**texts[place], "id": f"{number}-{turn}-{place}"} for place in places]}).encode()
            status, content = await post(reader, writer, str(parts.hostname), parts.path, body)
            assert status == 200, content
            for place, found in zip(places, json.loads(content)["predictions"], strict=True):
                assert found["id"] == f"{number}-{turn}-{place}", "an answer is another's"
                for task, values in expected[place].items():
                    furthest = max(abs(found["probabilities"][task][label] - value) for label, value in values.items())
                    assert furthest <= apart, f"an answer is {furthest:.3f} away from what the client with the bundle says"
            answered += 1
            turn += 1
        writer.close()

    async def watch() -> None:
        while time.perf_counter() < begin + seconds:
            megabytes.append(memory(side.process)[0])
            await asyncio.sleep(1)

    await asyncio.gather(watch(), *(client(number) for number in range(clients)))
    return answered, megabytes


def main() -> None:
    """Load, check, and print what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--serve", nargs="+", default=[], help="keys for haltung serve, such as format=bf16")
    given = parser.parse_args()
    expected = [one["probabilities"] for one in Classifier(given.bundle).classify(segments(_TEXTS))]
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(["haltung"], given.bundle, Path(scratch), ["timeout=300", *given.serve]) as sides,
    ):
        told = (Path(scratch) / "haltung.log").read_text()
        reduced = "runtime: openvino bf16" in told or " int8" in told.partition("(")[0]
        answered, megabytes = asyncio.run(_load(sides[0], given.clients, given.seconds, expected, _APART_REDUCED if reduced else _APART))
        process = sides[0].process
        process.terminate()
        assert process.wait(60) == 0
    settled = megabytes[len(megabytes) // 3]
    print(told.splitlines()[0])
    print(f"{answered} requests of {given.clients} clients in {given.seconds:g} s, all answered, each with its own answers")
    print(f"memory in MB: {megabytes[0]} at the start, {settled} after a third, {megabytes[-1]} at the end, at most {max(megabytes)}")
    assert max(megabytes) <= 1.1 * settled, "memory has grown"


if __name__ == "__main__":
    main()
