"""Measure `haltung serve` up to its first answer: wall and processor seconds, and memory.

.venv/bin/python benchmarks/serving/start.py BUNDLE                # 3 starts
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path

from sides import memory, processor, running


def _started(bundle: Path, arguments: list[str]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        with running(["haltung"], bundle, Path(scratch), arguments) as (side,):
            body = json.dumps({"text": "Die USA haben Russland gewarnt.", "context": "Streit um Nordkorea"}).encode()
            urllib.request.urlopen(side.url, body, timeout=300).read()
            elapsed = time.perf_counter() - start
            now, highest = memory(side.process)
            return {"seconds": elapsed, "processor": processor(side), "megabytes": now, "highest": highest}


def main() -> None:
    """Start, send one request and stop, repeatedly; print the medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--serve", nargs="+", default=[], help="keys for haltung serve")
    options = parser.parse_args()
    runs = [_started(options.bundle, options.serve) for _ in range(options.starts)]
    print({key: round(statistics.median(one[key] for one in runs), 2) for key in runs[0]})


if __name__ == "__main__":
    main()
