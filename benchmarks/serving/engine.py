"""Engine of the server without HTTP: memory and sentences per second of processor time, over
batches of varying sizes.

.venv/bin/python benchmarks/serving/engine.py                          # news_de, 150 batches
.venv/bin/python benchmarks/serving/engine.py BUNDLE --runtime onnxruntime --batches 60 --seed 1
PYTHONPATH=OLDER/src .venv/bin/python benchmarks/serving/engine.py     # the same on older code

A batch mixes whole articles and single sentences at random, with actors for dyads. The last line
is the same as JSON. The final memory is also printed after `malloc_trim`, which releases unused
memory held by the C library; the difference shows how much of the growth is due to that.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import random
import time
from dataclasses import replace
from pathlib import Path

from texts import articles

from haltung.actors.finder import Actors
from haltung.inference.client import Classifier
from haltung.inference.sessions import Graph
from haltung.models import compact
from haltung.models.units import Unit
from haltung.serving.engine import Engine, Settings


def _resident() -> float:
    """Return the resident memory in MB (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def main() -> None:
    """Measure, and print a line for each tenth of the batches."""
    parser = argparse.ArgumentParser(description="Run the engine of a server alone, and watch its memory.")
    parser.add_argument("bundle", type=Path, nargs="?", help="an exported bundle; without it news_de")
    parser.add_argument("--runtime", default="openvino", choices=["openvino", "onnxruntime"])
    parser.add_argument("--batches", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    bundle = compact.find(options.bundle)
    limits = Settings(bundle)
    engine = Engine(Classifier(bundle, format=None), Graph(options.runtime, "fp32", bundle / "onnx/model.fp32.onnx", 1), limits.tokens)
    drawn, read = random.Random(options.seed), articles("diplomacy", 1500)
    whole = [engine.units(one, Actors.load() if engine.finds_dyads else None) for one in read]
    single = [engine.units([replace(segment, article="", position=None)]) for one in read for segment in one]
    rows, sentences, processor = [(0, _resident(), 0.0)], 0, 0.0
    for number in range(1, options.batches + 1):
        units = list[Unit]()
        while sum(engine.size(one)[0] for one in units) < limits.batch and sum(engine.size(one)[1] for one in units) < limits.tokens:
            units += drawn.choice(whole if drawn.random() < 0.5 else single)
            if drawn.random() < 0.1:  # no further requests are waiting
                break
        start = time.process_time()
        for _ in engine.groups(units):
            pass
        processor += time.process_time() - start
        sentences += sum(one.labelled for one in units)
        if number % max(1, options.batches // 10) == 0:
            rows.append((number, _resident(), sentences / processor))
            print(f"{number} batches: {rows[-1][1]:.0f} MB, {rows[-1][2]:.1f} sentences/s of processor time", flush=True)
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    trimmed = _resident()
    print(f"{rows[0][1]:.0f} MB at the start, {rows[-1][1]:.0f} at the end, {trimmed:.0f} after malloc_trim")
    print(json.dumps({"runtime": options.runtime, "seed": options.seed, "rows": rows, "trimmed": trimmed}))


if __name__ == "__main__":
    main()
