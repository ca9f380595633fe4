"""Compare throughput and latency of `haltung serve`, `mlflow models serve` and a pipeline.

.venv/bin/python benchmarks/serving/throughput.py BUNDLE      # 3 rounds of 10 s for each --clients
.venv/bin/python benchmarks/serving/throughput.py BUNDLE --rounds 1 --seconds 3 --clients 1 32

The pipeline is that of transformers behind FastAPI. All servers run the whole time and get requests
in turns, so that other load of the machine affects all of them. The processor time of a request
counts all threads of the server; on a busy machine it is more reliable than the clock. The last
line is the same as JSON. BUNDLE is a folder written by `haltung export` of a `network` model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sides import NAMES, Side, memory, processor, running

_GENERATOR = Path(__file__).with_name("generator.py")


def measured(side: Side, clients: int, seconds: float) -> dict[str, float]:
    """Return the generator's results for a server, and processor milliseconds a request."""
    command = [sys.executable, str(_GENERATOR), side.url, side.form, str(clients), str(seconds)]
    before = processor(side)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    result["processor"] = 1000 * (processor(side) - before) / result["requests"]
    if result["failed"]:
        raise SystemExit(f"{side.name} has failed at {result['failed']:g} of {result['requests']:g} requests")
    return result


def main() -> None:
    """Measure, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--sides", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--serve", nargs="+", default=[], help="keys for haltung serve, such as format=bf16")
    options = parser.parse_args()
    results: dict[tuple[int, str], list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch, running(options.sides, options.bundle, Path(scratch), options.serve) as sides:
        for side in sides:
            measured(side, 4, 2.0)  # warm
        for _ in range(options.rounds):
            for clients in options.clients:
                for side in sides:
                    results[clients, side.name].append(measured(side, clients, options.seconds))
        started = {side.name: side.seconds for side in sides}
        megabytes = {side.name: memory(side.process) for side in sides if side.form != "mlflow"}
    table = Table("clients", "server", "requests/s", "p50 ms", "p99 ms", "processor ms a request", "requests/s of haltung to this")
    out = []
    for (clients, name), rounds in results.items():
        rate, p50, p99, work = (statistics.median(one[key] for one in rounds) for key in ("rate", "p50", "p99", "processor"))
        pairs = zip(results[clients, "haltung"], rounds, strict=True) if "haltung" in options.sides else ()
        ratio = statistics.median([ours["rate"] / theirs["rate"] for ours, theirs in pairs] or [float("nan")])
        table.add_row(str(clients), name, f"{rate:.1f}", f"{p50:.1f}", f"{p99:.1f}", f"{work:.1f}", f"{ratio:.2f} : 1")
        out.append({"clients": clients, "server": name, "rate": rate, "p50": p50, "p99": p99, "processor": work, "ratio": ratio})
    Console().print(table)
    print(
        "memory in MB (now, highest):", megabytes, " seconds to the first answer:", {name: round(took, 1) for name, took in started.items()}
    )
    print(json.dumps(out))


if __name__ == "__main__":
    main()
