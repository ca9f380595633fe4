"""Compare documents per second of the chosen runtime and transformers' pipeline (batch 1 and 32).

.venv/bin/python benchmarks/serving/bulk.py BUNDLE               # 3 rounds of 256 documents
.venv/bin/python benchmarks/serving/bulk.py BUNDLE --rounds 1 --documents 64 --format bf16

They take turns in one process and read the same sentences after their contexts; the pipeline
predicts one task, Haltung all of them. The last line is the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from pipeline_app import built, pair
from rich.console import Console
from rich.table import Table
from texts import segments

from haltung.serving.bodies import as_segments
from haltung.serving.engine import Settings, open_engine


def main() -> None:
    """Measure, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=256)
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--format", default="auto")
    options = parser.parse_args()
    engine = open_engine(Settings(options.bundle, runtime=options.runtime, format=options.format))
    pipe = built(options.bundle)
    documents = segments(options.documents)
    pairs = [pair(document) for document in documents]
    sides: dict[str, Callable[[], object]] = {
        f"haltung, {engine.choice.graph}": lambda: list(engine.groups(engine.units(as_segments(documents)))),
        "pipeline, batch 1": lambda: pipe(pairs, truncation=True, max_length=128, batch_size=1),
        "pipeline, batch 32": lambda: pipe(pairs, truncation=True, max_length=128, batch_size=32),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    work: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, side in sides.items():
            start, start_work = time.perf_counter(), time.process_time()
            side()
            rates[name].append(len(documents) / (time.perf_counter() - start))
            work[name].append(1000 * (time.process_time() - start_work) / len(documents))
    ours, *others = rates
    table = Table("side", "documents/s", "processor ms a document")
    for name in rates:
        table.add_row(name, f"{statistics.median(rates[name]):.1f}", f"{statistics.median(work[name]):.1f}")
    Console().print(table)
    best = max(others, key=lambda name: statistics.median(rates[name]))
    ratio = statistics.median(one / other for one, other in zip(rates[ours], rates[best], strict=True))
    print(f"against the better of the two ({best}): {ratio:.2f} times as many")
    print(json.dumps({"rates": rates, "processor": work, "ratio": ratio, "choice": str(engine.choice)}))


if __name__ == "__main__":
    main()
