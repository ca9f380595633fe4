"""Share of their speed that training, prediction and serving keep beside one busy process.

    # all tasks and variants, 5 rounds of 10 s alone and 10 s beside the busy process
    .venv/bin/python benchmarks/neighbour.py --json neighbour.json
    # one task, Haltung's defaults against threads that spin
    .venv/bin/python benchmarks/neighbour.py --works training --variants haltung spinning --rounds 3

The busy process counts in pure Python and is not pinned to a core. Each variant runs in its own
process, which is measured alone and beside the busy one in turn, round by round, so that other load
on the machine affects all variants. "Kept" is the speed beside divided by the speed alone; "of the
fastest" divides by the speed of the variant that was fastest alone in the round. The aim is 60 %.

Training is `model=article` on the written corpus, prediction the shipped model in torch, and
serving `haltung serve` without its cache for 4 clients, which run on the same cores and are part
of both measurements.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "serving"))

import generator
from measuring import VARIABLES, Figure, machine, openmp, table, worker, write
from sides import running

_HERE = Path(__file__).resolve().parent
WORKS = ("training", "prediction", "serving")
AIM = 0.6
# Quota of the container in processors, and its period in microseconds.
QUOTA, _PERIOD = 1.5, 100_000
_CLIENTS, _BODIES = 4, 2000
# Number of sentences in a training pass, and of texts in a prediction.
_PASS = {"training": 96, "prediction": 64}

# Seconds until the scheduler has balanced a newly busy process across the cores.
_SETTLE = 0.5
# Joins the control group whose folder is the first argument, then executes the rest as a command.
_JOIN = ("sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"')

# Exits by itself if this program is killed.
_BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"

# Runs the task for the given seconds, and returns units per second.
Measure = Callable[[float], float]


class NotPossible(Exception):
    """Raised with the reason if a variant can't be measured here."""


@dataclass(frozen=True)
class Variant:
    """Settings of threads; ``contained`` names the processes that run under the quota."""

    settings: dict[str, str] = field(default_factory=dict)
    contained: tuple[str, ...] = ()


def variants() -> dict[str, Variant]:
    """Return all variants by name, the project's own default first."""
    from haltung import resources

    return {
        "haltung": Variant(),
        # The default of libgomp: spin for about 3 ms, then sleep.
        "spinning": Variant({"GOMP_SPINCOUNT": "300000"}),
        "passive": Variant({"OMP_WAIT_POLICY": "PASSIVE"}),
        "short": Variant({"GOMP_SPINCOUNT": "1000"}),
        "medium": Variant({"GOMP_SPINCOUNT": "10000"}),
        "blocktime": Variant({"KMP_BLOCKTIME": "1"}),
        "one-less": Variant({"OMP_NUM_THREADS": str(max(1, resources.cores() - 1))}),
        "quota": Variant(contained=("work",)),
        "quota-spinning": Variant({"GOMP_SPINCOUNT": "300000"}, contained=("work",)),
        "quota-both": Variant(contained=("work", "busy")),
    }


@contextmanager
def container(processors: float, root: Path = Path("/sys/fs/cgroup")) -> Iterator[list[str]]:
    """Create a control group with a quota; yield the prefix that runs a command inside it.

    Raises:
        NotPossible: this user is not permitted to.
    """
    folder = root / f"haltung-benchmark-{os.getpid()}-{time.monotonic_ns()}"
    try:
        (root / "cgroup.controllers").read_text()  # only version 2 has it
        folder.mkdir()
        (folder / "cpu.max").write_text(f"{round(processors * _PERIOD)} {_PERIOD}")
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()
        advice = "as root, or the whole program inside a container with a quota (docker run --cpus, systemd-run --scope -p CPUQuota=150%)"
        raise NotPossible(f"no control group can be made ({error.strerror}: {folder}); run it {advice}") from None
    try:
        yield [*_JOIN, str(folder)]
    finally:
        for _ in range(50):  # the last process may not have exited yet
            with suppress(OSError):
                folder.rmdir()
                break
            time.sleep(0.1)


@contextmanager
def busy(prefix: Sequence[str], apart: bool) -> Iterator[None]:
    """Run a busy process until the block ends, in its own session if ``apart``."""
    words = [*prefix, sys.executable, "-c", _BUSY]
    process = subprocess.Popen(words, start_new_session=apart)
    try:
        time.sleep(_SETTLE)
        if process.poll() is not None:
            raise SystemExit(f"the busy process has ended with {process.returncode}")
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def started(work: str, variant: Variant, prefix: Sequence[str], scratch: Path, bundle: Path | None) -> Iterator[Measure]:
    """Start a process that does the task on request; yield the function that requests it."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES} | variant.settings
    if work == "serving":
        from texts import segments

        bodies = generator.write(scratch / "bodies.jsonl", [(1, one) for one in segments(_BODIES)])
        with running(["haltung"], bundle, scratch, ["cache=0"], environment, prefix) as (side,):
            yield lambda seconds: _requests(side.url, bodies, seconds)
        return
    words = [*prefix, sys.executable, str(_HERE / "neighbour.py"), "--scratch", str(scratch.parent), "--work", work]
    with worker(words, scratch / "log.txt", environment) as ask:
        ask("0")  # ready, and warm
        yield lambda seconds: float(ask(str(seconds)))


def _requests(url: str, bodies: Path, seconds: float) -> float:
    words = [sys.executable, str(_HERE / "serving/generator.py"), url, str(bodies), str(_CLIENTS), str(seconds)]
    told = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    if told["failed"]:
        raise SystemExit(f"{told['failed']:g} of {told['requests']:g} requests to {url} have failed")
    return float(told["rate"])


def work(name: str, scratch: Path) -> None:
    """For each number of seconds on standard input, do the task that long and print its speed."""
    out, sys.stdout = sys.stdout, sys.stderr  # libraries may print
    from haltung import resources

    os.environ.update(resources.thread_settings())
    once = _training(scratch) if name == "training" else _prediction()
    once()  # warm-up: first calls choose kernels and allocate memory
    for line in sys.stdin:
        units, taken = 0, 0.0
        while not units or taken < float(line):
            done, seconds = once()
            units, taken = units + done, taken + seconds
        print(units / taken, file=out, flush=True)


def _training(scratch: Path) -> Callable[[], tuple[int, float]]:
    from transformers.utils import logging

    from training import ours, setting

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    train = ours(setting([], _PASS["training"], scratch / "prepared"), "article", scratch / "training")

    def once() -> tuple[int, float]:
        done = train()
        return done.sentences, done.seconds

    return once


def _prediction() -> Callable[[], tuple[int, float]]:
    from texts import segments

    from haltung.models import bundle, compact
    from haltung.records import Segment

    model = bundle.load(compact.find(None))
    rows = [Segment(str(number), **row) for number, row in enumerate(segments(_PASS["prediction"]))]

    def once() -> tuple[int, float]:
        began = time.perf_counter()
        model.predict(rows)
        return len(rows), time.perf_counter() - began

    return once


def measured(works: Sequence[str], names: Sequence[str], options: argparse.Namespace) -> Iterator[tuple[str, str, float, float]]:
    """Yield task, variant, and its speed alone and beside, round by round."""
    offered = variants()
    for name in works:
        with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
            asked: dict[str, tuple[Measure, list[str]]] = {}
            for variant in names:
                chosen, scratch = offered[variant], Path(folder) / variant
                scratch.mkdir()
                prefix = stack.enter_context(container(QUOTA)) if chosen.contained else []
                ask = stack.enter_context(started(name, chosen, prefix, scratch, options.bundle))
                asked[variant] = ask, prefix if "busy" in chosen.contained else []
                print(f"{name}, {variant}: ready", file=sys.stderr, flush=True)
            for turn in range(options.rounds):
                order = list(asked)[turn % len(asked) :] + list(asked)[: turn % len(asked)]
                for variant in order:
                    ask, prefix = asked[variant]
                    alone = ask(options.seconds)
                    with busy(prefix, options.apart):
                        beside = ask(options.seconds)
                    print(
                        f"{name}, {variant}, round {turn + 1} of {options.rounds}: {alone:.1f} alone, {beside:.1f} beside, "
                        f"{beside / alone:.2f} kept", file=sys.stderr, flush=True,
                    )  # fmt: skip
                    yield name, variant, alone, beside


def possible(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the variants that can be measured here, and the reason for each of the others."""
    kept, refused = [], []
    for name in names:
        try:
            if name == "blocktime" and not any("iomp" in library or "libomp" in library for library in openmp()):
                raise NotPossible(f"torch's OpenMP is {', '.join(openmp()) or 'not beside it'}, which does not know KMP_BLOCKTIME")
            if variants()[name].contained:
                with container(QUOTA):
                    pass
        except NotPossible as error:
            refused.append(f"{name} is not possible here: {error}")
        else:
            kept.append(name)
    return kept, refused


def figures(speeds: dict[tuple[str, str], list[tuple[float, float]]]) -> dict[str, Figure]:
    """Return figures by name: speeds, and shares kept of a variant's own and the fastest speed."""
    fastest: dict[str, list[float]] = {}
    for (name, _), rounds in speeds.items():
        alone = [one for one, _ in rounds]
        fastest[name] = list(map(max, zip(fastest.get(name, alone), alone, strict=True)))
    out = {}
    for (name, variant), rounds in speeds.items():
        unit = {"training": "sentences/s", "prediction": "texts/s", "serving": "requests/s"}[name]
        out[f"{name}, {variant}: alone"] = Figure(tuple(alone for alone, _ in rounds), unit)
        out[f"{name}, {variant}: beside"] = Figure(tuple(beside for _, beside in rounds), unit)
        out[f"{name}, {variant}: kept"] = Figure(tuple(beside / alone for alone, beside in rounds), "ratio")
        of_fastest = tuple(beside / best for (_, beside), best in zip(rounds, fastest[name], strict=True))
        out[f"{name}, {variant}: kept of the fastest"] = Figure(of_fastest, "ratio")
    return out


def main() -> int:
    """Measure; print a table and, as the last line, the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--variants", nargs="+", choices=list(variants()), default=list(variants()))
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: 5)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement (default: 10)")
    parser.add_argument("--apart", action="store_true", help="give the busy process a session of its own, as another login has")
    parser.add_argument("--bundle", type=Path, help="that is served (default: the model that comes with Haltung)")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument("--work", choices=("training", "prediction"), help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.scratch)
        return 0
    # On SIGTERM, exit through the context managers, which stop all child processes.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    names, refused = possible(options.variants)
    print(*refused, sep="\n", end="\n" if refused else "", file=sys.stderr)
    speeds: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    described = machine()
    for name, variant, alone, beside in measured(options.works, names, options):
        speeds[name, variant].append((alone, beside))
    found = figures(speeds)
    rows = []
    for name, variant in speeds:
        shown = [found[f"{name}, {variant}: {part}"] for part in ("alone", "beside", "kept", "kept of the fastest")]
        rows.append([f"{name}, {variant}", shown[0].unit, *map(str, shown), "yes" if shown[2].median >= AIM else "no"])
    print(table(["work, variant", "unit", "alone", "beside", "kept", "of the fastest", f"at least {AIM:g}"], rows))
    more = {"rounds": options.rounds, "seconds": options.seconds, "apart": options.apart, "not_possible": refused}
    print(write(options.json, "neighbour", described, found, **more))
    return 0


if __name__ == "__main__":
    sys.exit(main())
