"""Shared parts of the benchmarks: description of the machine, cost of a process, figures with their
spread, and placeholders in pages.

Uses the standard library only at import: Linux counts the memory of the process that starts a child
towards the child's peak.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# Instruction sets that determine the speed of matrix products.
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "bf16")
PACKAGES = ("haltung", "torch", "transformers", "onnxruntime", "openvino", "numpy")
# Variables by which a user changes how threads compute.
VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@dataclass(frozen=True)
class Cost:
    """Cost of a process and its children; ``peak_bytes`` is the largest resident set of any one."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Figure:
    """A figure that was measured several times; ``better`` is ``higher`` or ``lower``."""

    values: tuple[float, ...]
    unit: str
    better: str = "higher"

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        """Return the median with the lowest and the highest value: ``0.62 [0.60, 0.63]``."""
        middle, *ends = (_written(value) for value in (self.median, min(self.values), max(self.values)))
        return middle if len(self.values) == 1 else f"{middle} [{', '.join(ends)}]"


def _written(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def processor() -> str:
    """Return the name of this machine's processor."""
    return next((value for name, value in _cpuinfo() if name == "model name"), platform.machine())


def _cpuinfo() -> list[tuple[str, str]]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]


def machine() -> dict[str, Any]:
    """Describe the machine: processor, cores, quota, flags, versions, settings, GPU."""
    from haltung import resources

    flags = next((value.split() for name, value in _cpuinfo() if name in ("flags", "Features")), [])
    return {
        "processor": processor(), "cores": os.cpu_count(), "usable_cores": resources.cores(), "quota": resources.quota(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "system": platform.platform(), "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "openmp": openmp(), "gpu": _gpu(), "settings": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "load": os.getloadavg()[0], "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def openmp() -> list[str]:
    """Return the OpenMP libraries that torch's wheel carries, such as ``libgomp.so.1``."""
    from importlib.util import find_spec

    spec = find_spec("torch")
    folder = Path(spec.origin).parent / "lib" if spec and spec.origin else Path("absent")
    return sorted(path.name for path in folder.glob("lib*omp*"))


def _gpu() -> str | None:
    # In a child process, since torch would make this one large.
    program = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def run(words: Sequence[str | Path], cwd: Path, log: Path, environment: Mapping[str, str] = os.environ) -> tuple[int, Cost]:
    """Run a command; return its exit code and cost. Its output is written to ``log``."""
    began = time.perf_counter()
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(words, cwd=cwd, stdout=out, stderr=subprocess.STDOUT, env=dict(environment))
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # ru_maxrss is in KiB on Linux and in bytes on macOS.
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return process.returncode, Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, peak)


@contextmanager
def worker(words: Sequence[str | Path], log: Path, environment: Mapping[str, str] = os.environ) -> Iterator[Callable[[str], str]]:
    """Start a process that answers each line with a line; yield a function that asks it.

    The process is killed at the end of the block. Its standard error is written to ``log``.
    """
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(words, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)

    def ask(line: str) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise SystemExit(f"{words[-1]} has ended with {process.wait()}: {log.read_text(encoding='utf-8')[-2000:]}")
        return answer

    try:
        yield ask
    finally:
        process.kill()
        process.communicate()


def write(path: Path | None, benchmark: str, described: Mapping[str, Any], figures: Mapping[str, Figure], **more: Any) -> str:
    """Return the measurements as one line of JSON, and write them to ``path`` atomically."""
    document = {"benchmark": benchmark, "machine": described, "figures": {name: asdict(one) for name, one in figures.items()}, **more}
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}")
        scratch.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        scratch.replace(path)
    return json.dumps(document, ensure_ascii=False)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Figure]]:
    """Return a document written by ``write``, and its figures.

    Raises:
        ValueError: the file is missing, or was not written by ``write``.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        figures = {name: Figure(**{**one, "values": tuple(map(float, one["values"]))}) for name, one in document["figures"].items()}
        if not all(isinstance(document[name], kind) for name, kind in (("benchmark", str), ("machine", dict))):
            raise TypeError("benchmark or machine")
        if not all(one.values for one in figures.values()):
            raise ValueError("a figure without values")
    except OSError as error:
        raise ValueError(f"{path} can't be read ({error.strerror}); make it with make bench") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is no file of a benchmark ({reason}); make one with make bench, or a program's --json") from None
    return document, figures


def between(page: str, begin: str, end: str, text: str) -> str:
    """Return the page with ``text`` between two marks.

    Raises:
        ValueError: the page lacks a mark.
    """
    before, first, rest = page.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise ValueError(f"the page has no place for the tables; write {begin} and {end} where they shall stand")
    return f"{before}{begin}\n\n{text}\n{end}{after}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
