"""Load a server with 64 clients for a minute; compare each answer with that of the Python client.

.venv/bin/python benchmarks/serving/load.py BUNDLE                         # 60 s, 64 clients
.venv/bin/python benchmarks/serving/load.py BUNDLE --seconds 10 --clients 16

It fails if a request is lost or fails, if a client receives another client's answer, or if peak
memory exceeds that after the first third by more than a tenth.
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

# Number of distinct texts, whose expected answers are computed beforehand.
_TEXTS = 192

# Tolerated difference of probabilities: for rounding, and for a format of reduced precision.
_TOLERANCE, _TOLERANCE_REDUCED = 1e-3, 0.1


async def _load(
    side: Side, clients: int, seconds: float, expected: list[dict[str, dict[str, float]]], tolerance: float
) -> tuple[int, list[int]]:
    """Return the number of requests answered, and the memory in MB at each second."""
    parts = urlsplit(side.url)
    texts = segments(_TEXTS)
    start = time.perf_counter()
    answered = 0
    megabytes: list[int] = []

    async def client(number: int) -> None:
        nonlocal answered
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        turn = number
        while time.perf_counter() < start + seconds:
            indices = [(turn * clients + number * 7 + offset) % _TEXTS for offset in range(1 + turn % 3)]
            body = json.dumps({"segments": [{**texts[index], "id": f"{number}-{turn}-{index}"} for index in indices]}).encode()
            status, content = await post(reader, writer, str(parts.hostname), parts.path, body)
            assert status == 200, content
            for index, answer in zip(indices, json.loads(content)["predictions"], strict=True):
                assert answer["id"] == f"{number}-{turn}-{index}", "a client has got another client's answer"
                for task, values in expected[index].items():
                    furthest = max(abs(answer["probabilities"][task][label] - value) for label, value in values.items())
                    assert furthest <= tolerance, f"an answer differs by {furthest:.3f} from that of the client with the bundle"
            answered += 1
            turn += 1
        writer.close()

    async def watch() -> None:
        while time.perf_counter() < start + seconds:
            megabytes.append(memory(side.process)[0])
            await asyncio.sleep(1)

    await asyncio.gather(watch(), *(client(number) for number in range(clients)))
    return answered, megabytes


def main() -> None:
    """Run the load, check the answers, and print a summary."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--serve", nargs="+", default=[], help="keys for haltung serve, such as format=bf16")
    options = parser.parse_args()
    expected = [one["probabilities"] for one in Classifier(options.bundle).classify(segments(_TEXTS))]
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(["haltung"], options.bundle, Path(scratch), ["timeout=300", "cache=0", *options.serve]) as sides,
    ):
        log = (Path(scratch) / "haltung.log").read_text()
        reduced = "runtime: openvino bf16" in log or " int8" in log.partition("(")[0]
        answered, megabytes = asyncio.run(
            _load(sides[0], options.clients, options.seconds, expected, _TOLERANCE_REDUCED if reduced else _TOLERANCE)
        )
        process = sides[0].process
        process.terminate()
        assert process.wait(60) == 0
    settled = megabytes[len(megabytes) // 3]
    print(log.splitlines()[0])
    print(f"{answered} requests of {options.clients} clients in {options.seconds:g} s, all answered, each with its own answers")
    print(f"memory in MB: {megabytes[0]} at the start, {settled} after a third, {megabytes[-1]} at the end, at most {max(megabytes)}")
    assert max(megabytes) <= 1.1 * settled, "memory has grown"


if __name__ == "__main__":
    main()
