"""Measure the first and second start of `haltung predict`, `events` and `serve` with `news_de`.

.venv/bin/python benchmarks/serving/first_start.py                 # 3 times each, after a warm-up

The first start has an empty cache, so it builds the embedded encoder and rebuilds the model. A
start ends with the first answer; processor seconds include child processes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sides import processor, running

TEXT = "Die USA haben Russland gewarnt."
COMMANDS = {
    "predict": ["predict", f"text={TEXT}"],
    "events": ["events", "input=article.txt", "output=events.jsonl"],
    "serve": [],
}


class Start(NamedTuple):
    """Wall and processor seconds until the first answer."""

    wall: float
    processor: float


def _started(command: str, folder: Path, environment: Mapping[str, str]) -> Start:
    began = time.perf_counter()
    if command == "serve":
        with running(["haltung"], None, folder, environment=environment) as (side,):
            urllib.request.urlopen(side.url, json.dumps({"text": TEXT}).encode(), timeout=300).read()
            return Start(time.perf_counter() - began, processor(side))
    (folder / "article.txt").write_text(TEXT, encoding="utf-8")
    (folder / "events.jsonl").unlink(missing_ok=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [sys.executable, "-m", "haltung", *COMMANDS[command]]
    subprocess.run(words, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Start(time.perf_counter() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> None:
    """Start each command twice in a new folder with an empty cache; print all seconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    found: dict[str, list[Start]] = {}
    for number in range(rounds + 1):
        for command in COMMANDS:
            with tempfile.TemporaryDirectory() as scratch:
                environment = {**os.environ, "HALTUNG_CACHE": str(Path(scratch, "cache"))}
                # Not counted, since it reads from disk and compiles what later ones find cached.
                for which in ("first", "next") if number else ("uncounted",):
                    start = _started(command, Path(scratch), environment)
                    print(f"{command}, {which}: {start.wall:.1f} s, {start.processor:.1f} s", file=sys.stderr)
                    found.setdefault(f"{command}, {which}", []).append(start)
    for name, of_name in ((name, starts) for name, starts in found.items() if "uncounted" not in name):
        wall, used = (" ".join(f"{value:.1f}" for value in sorted(values)) for values in zip(*of_name, strict=True))
        print(f"{name}: {wall} s, of the processor {used} s")


if __name__ == "__main__":
    main()
