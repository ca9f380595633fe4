"""From nothing to the first answer: seconds, processor seconds and memory of `haltung serve`, with
the trial and with its kept verdict.

.venv/bin/python benchmarks/serving/start.py BUNDLE                # 3 starts of each kind
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path

from sides import memory, processor, running


def _started(bundle: Path, cache: Path, words: list[str]) -> dict[str, float]:
    os.environ["HALTUNG_CACHE"] = str(cache)
    with tempfile.TemporaryDirectory() as scratch:
        began = time.perf_counter()
        with running(["haltung"], bundle, Path(scratch), words) as (side,):
            body = json.dumps({"text": "Die USA haben Russland gewarnt.", "context": "Streit um Nordkorea"}).encode()
            urllib.request.urlopen(side.url, body, timeout=300).read()
            took = time.perf_counter() - began
            now, most = memory(side.process)
            return {"seconds": took, "processor": processor(side), "megabytes": now, "most": most}


def main() -> None:
    """Start, ask once, stop; print the medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--serve", nargs="+", default=[], help="keys for haltung serve")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as kept:
        for name in ("with the trial", "with the kept verdict"):
            found = []
            for number in range(given.starts):
                cache = Path(kept) / (str(number) if name == "with the trial" else "0")
                found.append(_started(given.bundle, cache, given.serve))
            told = {key: round(statistics.median(one[key] for one in found), 2) for key in found[0]}
            print(f"{name}: {told}")


if __name__ == "__main__":
    main()
