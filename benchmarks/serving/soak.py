"""Keep a server fully busy for minutes, partly beside hostile clients; compare each answer with the
known one, and record memory.

.venv/bin/python benchmarks/serving/soak.py                            # news_de, 10 minutes
.venv/bin/python benchmarks/serving/soak.py BUNDLE --minutes 1 --clients 8 --json FILE
.venv/bin/python benchmarks/serving/soak.py LINEAR --requests 1000000 --minutes 60 --paths /classify

Good clients send requests of one to three texts or an article, one at a time: alone for a quarter
of the time (or of the requests), beside the clients of ``hostile.py`` for half of it, and alone
again for a quarter. FILE is written every minute, so that an aborted run leaves its figures. The
exit code is 1 if an answer was lost, if it differed from that of the same server when idle, or if
a hostile client received a 500. Refusals (429, 503, 504) are counted, but are not losses.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from generator import post
from known import PATHS, Known, difference, requests
from rich.console import Console
from rich.table import Table
from sides import Side, resident, running

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from measuring import Figure, machine, write

_BESIDE = "beside hostile ones"
PHASES = {"alone": 0.25, _BESIDE: 0.5, "alone again": 0.25}  # and their share of the time
# Tolerated difference of probabilities, whose last digits depend on the rest of the batch: that
# of any two runtimes (haltung verify); and for weights with 8 bits of precision or fewer.
_TOLERANCE, _TOLERANCE_REDUCED = 1e-3, 0.03
_REFUSALS = (429, 503, 504)
_PATIENCE = 60.0  # seconds until a request without an answer counts as lost
_SAMPLED, _SAVED = 2.0, 60.0  # seconds between two samples of memory, and between two writes of the file
_VARIANTS = 64  # maximum number of correct answers per request, equal up to rounding, that are cached as bytes
_SETTLED = 0.2  # share of the time after which memory should be flat
AIM_P99, AIM_GROWTH = 3.0, 0.02


@dataclass
class Phase:
    """Observations of good clients: seconds by path, refusals by status, the largest tolerated
    difference of a number; and the server's memory at the end in MB.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    begun: int = 0
    lost: int = 0
    mixed: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    furthest: float = 0.0
    megabytes: float = 0.0

    def counts(self) -> dict[str, int]:
        """Return the number of requests by outcome."""
        answered = sum(map(len, self.seconds.values())) - self.mixed
        refused = {f"refused, {status}": count for status, count in sorted(self.refused.items()) if count}
        return {"answered": answered, "lost": self.lost, "mixed": self.mixed, **refused}


@dataclass
class Found:
    """Observations so far: phases, endings of hostile clients, (seconds, MB) samples of memory."""

    phases: dict[str, Phase] = field(default_factory=dict)
    ends: dict[str, dict[str, int]] = field(default_factory=dict)
    samples: list[tuple[float, float]] = field(default_factory=list)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of requests by phase and outcome."""
        return {name: phase.counts() for name, phase in self.phases.items()}


def percentile(seconds: Sequence[float], share: float) -> float:
    """Return a percentile in ms, for a share between 0 and 1; NaN for an empty sequence."""
    ordered = sorted(seconds)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


async def _good(side: Side, known: Sequence[Known], clients: int, seconds: float, most: float, tolerance: float, phase: Phase) -> None:
    """Send from all clients until ``seconds`` or ``most`` requests are reached; check answers."""
    parts, end, right = urlsplit(side.url), time.perf_counter() + seconds, defaultdict[int, set[bytes]](set)

    async def client(turn: int) -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while (sent := time.perf_counter()) < end and phase.begun < most:
            one, turn, phase.begun = known[turn % len(known)], turn + 1, phase.begun + 1
            try:
                async with asyncio.timeout(_PATIENCE):
                    streams = streams or await asyncio.open_connection(parts.hostname, parts.port)
                    status, content = await post(*streams, str(parts.hostname), one.path, one.body)
            except (OSError, asyncio.IncompleteReadError):  # TimeoutError is an OSError
                status, content, streams = 0, b"", None
            if status == 200:
                phase.seconds[one.path].append(time.perf_counter() - sent)
                if content in right[id(one)]:  # an answer with the same bytes was checked before
                    continue
                differs = difference(one.answer, json.loads(content))
                phase.mixed += differs > tolerance
                phase.furthest = max(phase.furthest, differs if differs <= tolerance else 0.0)
                if differs <= tolerance and len(right[id(one)]) < _VARIANTS:
                    right[id(one)].add(content)
                continue
            phase.refused[status] += status in _REFUSALS
            phase.lost += status not in _REFUSALS
            await asyncio.sleep(1)
        if streams:
            streams[1].close()

    await asyncio.gather(*(client(number * 37) for number in range(clients)))
    phase.megabytes = resident(side)


async def _soak(
    side: Side,
    known: Sequence[Known],
    clients: int,
    seconds: float,
    most: float,
    tolerance: float,
    found: Found,
    save: Callable[[], object],
) -> None:
    """Run all phases; call ``save`` once a minute."""
    start = time.perf_counter()

    async def watch() -> None:
        saved = 0.0
        while True:
            now = time.perf_counter() - start
            found.samples.append((round(now, 1), round(resident(side), 1)))
            if now - saved > _SAVED:
                saved = now
                save()
            await asyncio.sleep(_SAMPLED)

    watching = asyncio.create_task(watch())
    for name, share in PHASES.items():
        words = [sys.executable, str(Path(__file__).with_name("hostile.py")), side.url, str(share * seconds)]
        # In a separate process, so that it does not slow down the good clients.
        hostile = subprocess.Popen(words, stdout=subprocess.PIPE, text=True) if name == _BESIDE else None
        phase = found.phases[name] = Phase()
        await _good(side, known, clients, share * seconds, share * most, tolerance, phase)
        if hostile:
            if phase.begun >= share * most:  # before the time is over
                hostile.terminate()
            found.ends = json.loads((await asyncio.to_thread(hostile.communicate))[0])
    watching.cancel()


def _figures(phases: dict[str, Phase]) -> dict[str, Figure]:
    """Return p50 and p99 of each phase, and their ratio beside hostile clients to alone."""
    figures: dict[str, Figure] = {}
    asked = [path for path in PATHS if all(phase.seconds[path] for phase in phases.values())]
    for title, paths in {"all": asked, **{path: [path] for path in asked}}.items():
        times = {name: [one for path in paths for one in phase.seconds[path]] for name, phase in phases.items()}
        alone = [one for name, some in times.items() if name != _BESIDE for one in some]
        for name, share in ((f"{title}, p50", 0.5), (f"{title}, p99", 0.99)):
            figures |= {f"{name}, {phase}": Figure((percentile(some, share),), "ms", "lower") for phase, some in times.items()}
            figures[f"{name}, ratio"] = Figure((percentile(times[_BESIDE], share) / percentile(alone, share),), "", "lower")
    return figures | {f"memory, {name}": Figure((phase.megabytes,), "MB", "lower") for name, phase in phases.items()}


def _show(phases: dict[str, Phase], figures: dict[str, Figure], ends: dict[str, dict[str, int]]) -> None:
    """Print the observations of good clients, and the endings of hostile ones."""
    table, columns = Table("good clients", *phases, "ratio"), (*phases, "ratio")
    for title in dict.fromkeys(name.rpartition(", ")[0] for name in figures):
        some = [figures.get(f"{title}, {column}") for column in columns]
        table.add_row(f"{title}, {some[0].unit if some[0] else ''}", *(str(one or "") for one in some))
    counts = [phase.counts() for phase in phases.values()]
    for name in dict.fromkeys(name for one in counts for name in one):
        table.add_row(name, *(f"{one.get(name, 0):,}" for one in counts))
    Console().print(table)
    table = Table("hostile clients", "how often which end")
    for kind, found in ends.items():
        table.add_row(kind, ", ".join(f"{end}: {count:,}" for end, count in sorted(found.items())))
    Console().print(table)


def main() -> None:
    """Run all phases; print tables and a line of JSON."""
    parser = argparse.ArgumentParser(description="Keep a server busy, and check its answers and its memory.")
    parser.add_argument("bundle", type=Path, nargs="?", help="an exported bundle; without it news_de")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--requests", type=float, default=math.inf, help="end after so many, if the minutes are not over before")
    parser.add_argument("--paths", nargs="+", default=PATHS, choices=PATHS, help="what is asked")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--serve", nargs="+", default=[], help="keys for haltung serve, such as threads=1")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    described, found = machine(), Found()
    # The cache of answers would hide the model.
    keys = ["cache=0", *options.serve]
    with tempfile.TemporaryDirectory() as folder, running(["haltung"], options.bundle, Path(folder), keys) as (side,):
        runtime = (Path(folder) / "haltung.log").read_text(encoding="utf-8").splitlines()[0]
        tolerance = _TOLERANCE_REDUCED if "bf16" in runtime or "int8" in runtime else _TOLERANCE
        known = [one for one in asyncio.run(requests(side, tolerance)) if one.path in options.paths]

        def save(figures: dict[str, Figure] | None = None) -> str:
            more = {"runtime": runtime, "clients": options.clients, "requests": len(known), "phases": found.counts(), "hostile": found.ends}
            return write(options.json, "soak", described, figures or {}, **more, furthest=furthest(), memory=found.samples)

        def furthest() -> float:
            return max((phase.furthest for phase in found.phases.values()), default=0.0)

        asyncio.run(_soak(side, known, options.clients, 60 * options.minutes, options.requests, tolerance, found, save))
    figures, samples = _figures(found.phases), found.samples
    _show(found.phases, figures, found.ends)
    settled = [one for one in samples if one[0] >= _SETTLED * samples[-1][0]]
    slope = statistics.linear_regression(*zip(*settled, strict=True)).slope
    (begun, begin), (ended, end) = settled[0], settled[-1]
    growth, ratio = slope * (ended - begun), figures["all, p99, ratio"].median
    figures["memory, slope"] = Figure((60 * slope,), "MB/minute", "lower")
    print(f"{runtime}; {options.clients} clients, {len(known)} requests; numbers differ by up to {furthest():.1g} (allowed: {tolerance:g})")
    print(f"memory: {samples[0][1]:.0f} MB at the start, {begin:.0f} after {begun:.0f} s, {end:.0f} after {ended:.0f} s, ", end="")
    print(f"which is {60 * slope:+.2f} MB a minute by the line through all between")
    print(f"aims: p99 at most {AIM_P99:g} times: {'met' if ratio <= AIM_P99 else 'missed'}; ", end="")
    print(f"memory grows by at most {AIM_GROWTH:.0%}: {'met' if growth <= AIM_GROWTH * begin else 'missed'} ({growth:+.1f} MB)")
    print(save(figures))
    failed = any(one.lost or one.mixed for one in found.phases.values()) or any("500" in ends for ends in found.ends.values())
    raise SystemExit(int(failed))


if __name__ == "__main__":
    main()
