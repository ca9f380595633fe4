"""Whole articles: sentences per second of two bundles, such as one of model=article and one of
model=network, with `haltung predict` and with POST /events.

.venv/bin/python benchmarks/serving/articles.py ARTICLE NETWORK             # 3 rounds
.venv/bin/python benchmarks/serving/articles.py ARTICLE NETWORK --code SRC  # NETWORK on older code

The sides take turns. `predict` reads segments of whole articles of the embedded corpus; its startup
time, measured with a file of one segment, is subtracted. Bundles that read articles receive
article, position and headline, others the context. /events receives 64 requests with an article of
about 13 sentences each, 32 concurrently. The last line is the same as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from generator import post
from rich.console import Console
from rich.table import Table
from sides import memory, running

from haltung import labels
from haltung.corpus.readers.articles import Articles
from haltung.files import shipped
from haltung.records import Segment, in_context

_CALLS, _AT_ONCE, _SENTENCES = 64, 32, 13


def _read() -> list[Segment]:
    return in_context(Articles(str(shipped("data/diplomacy"))).read(labels.load(shipped("configs/labels/diplomacy.yaml"))).segments)


def _rows(segments: Sequence[Segment], articles: bool) -> str:
    names = ("id", "text", "article", "position", "headline") if articles else ("id", "text", "context")
    return "".join(json.dumps({name: getattr(one, name) for name in names}) + "\n" for one in segments)


def _predict(bundle: Path, rows: str, scratch: Path, environment: dict[str, str]) -> float:
    """Return the seconds to predict a file."""
    file = scratch / "rows.jsonl"
    file.write_text(rows, encoding="utf-8")
    words = [sys.executable, "-m", "haltung", "predict", f"bundle={bundle}", f"input={file}", f"output={scratch / 'out.jsonl'}"]
    start = time.perf_counter()
    subprocess.run(words, check=True, env=environment, cwd=scratch, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (scratch / "out.jsonl").unlink()
    return time.perf_counter() - start


async def _events(url: str, texts: Sequence[str]) -> float:
    """Return sentences per second over all requests."""
    parts = urlsplit(url)
    left, sentences = list(texts), 0

    async def client() -> None:
        nonlocal sentences
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        while left:
            status, content = await post(reader, writer, str(parts.hostname), "/events", json.dumps({"text": left.pop()}).encode())
            assert status == 200, content
            sentences += len(json.loads(content)["segments"])
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(_AT_ONCE)))
    return sentences / (time.perf_counter() - start)


def main() -> None:
    """Measure, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundles", type=Path, nargs=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--segments", type=int, default=2000)
    parser.add_argument("--code", type=Path, help="source folder of the haltung that runs the second bundle, such as an older one")
    options = parser.parse_args()
    read = _read()
    # Consecutive sentences of articles, so that all requests have the same size but differ.
    texts = [" ".join(one.text for one in read[number * _SENTENCES : (number + 1) * _SENTENCES]) for number in range(_CALLS)]
    # Both sides may use the same bundle.
    names = (f"1: {options.bundles[0]}", f"2: {options.bundles[1]}")
    rates: dict[str, dict[str, list[float]]] = {"predict": {}, "/events": {}}
    peaks: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for _ in range(options.rounds):
            for name, bundle, code in zip(names, options.bundles, (None, options.code), strict=True):
                environment = {**os.environ, **({"PYTHONPATH": str(code.resolve())} if code else {})}
                kind = json.loads((bundle / "haltung.json").read_text(encoding="utf-8")).get("kind", "")
                chosen = [_rows(read[:size], kind == "article") for size in (1, options.segments)]
                first, all_ = (_predict(bundle.resolve(), rows, scratch, environment) for rows in chosen)
                rates["predict"].setdefault(name, []).append((options.segments - 1) / (all_ - first))
                keys = ["timeout=300", *([] if code else ["cache=0"])]  # older code has no cache
                with running(["haltung"], bundle.resolve(), scratch, keys, environment) as (side,):
                    asyncio.run(_events(side.url, texts[:8]))
                    rates["/events"].setdefault(name, []).append(asyncio.run(_events(side.url, texts)))
                    peaks[name] = max(peaks.get(name, 0), memory(side.process)[1])
    table = Table("", *names, "ratio")
    ratios = {}
    for what, sides in rates.items():
        one, other = sides.values()
        ratios[what] = statistics.median(ours / theirs for ours, theirs in zip(one, other, strict=True))
        table.add_row(f"{what}, sentences/s", *(f"{statistics.median(rate):.1f}" for rate in sides.values()), f"{ratios[what]:.2f}")
    table.add_row("/events, peak MB", *(str(peak) for peak in peaks.values()), "")
    Console().print(table)
    print(json.dumps({"rates": rates, "peaks": peaks, "ratios": ratios}))


if __name__ == "__main__":
    main()
