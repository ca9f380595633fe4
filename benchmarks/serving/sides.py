"""Start the compared servers on one bundle, each in its own process group."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_PATIENCE = 300.0


@dataclass(frozen=True)
class Side:
    """A running server: its name, its URLs for single texts and for articles, its process."""

    name: str
    url: str
    articles: str
    process: subprocess.Popen[bytes]


# The first is ours.
NAMES = ("haltung", "mlflow", "mlflow-torch", "mlflow-pipeline")


@contextmanager
def running(
    names: Sequence[str], bundle: Path | None, scratch: Path, arguments: Sequence[str] = (), environment: Mapping[str, str] = os.environ,
    prefix: Sequence[str] = (),
) -> Iterator[list[Side]]:  # fmt: skip
    """Start the named servers one by one, and stop them at the end of the block.

    There are three models for `mlflow models serve`: ``mlflow`` is the exported bundle as
    `haltung export` registers it (its fp32 graph, without torch), ``mlflow-torch`` its weights as
    `haltung train` logs them, and ``mlflow-pipeline`` transformers' pipeline (see ``pipe.py``) in
    MLflow's flavour for it. ``arguments`` and ``prefix`` apply to `haltung serve` only, which is
    also the only one that works without a bundle.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(_side(name, bundle, scratch, arguments, environment, prefix)) for name in names]


@contextmanager
def _side(
    name: str, bundle: Path | None, scratch: Path, arguments: Sequence[str], given: Mapping[str, str], prefix: Sequence[str]
) -> Iterator[Side]:
    port = _free()
    environment = dict(given)
    if name == "haltung":
        command = [*prefix, sys.executable, "-m", "haltung", "serve", f"bundle={bundle or 'null'}", f"port={port}", *arguments]
        path, articles, health = "/classify", "/article", "/health/ready"
    else:
        assert bundle is not None
        program, model = Path(sys.executable).parent, _model(name, bundle, scratch / name)
        command = [str(program / "mlflow"), "models", "serve", "-m", str(model), "--env-manager", "local", "-p", str(port)]
        # mlflow starts uvicorn by its bare name.
        environment |= {"PATH": f"{program}:{environment['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true"}
        path, articles, health = "/invocations", "/invocations", "/ping"
    with (scratch / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(f"{address}{health}", process)
        yield Side(name, f"{address}{path}", f"{address}{articles}", process)
    finally:
        # mlflow starts child processes, all of them in its session.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _model(name: str, bundle: Path, path: Path) -> Path:
    """Write a bundle as an MLflow model, and return its folder."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    if name == "mlflow-pipeline":
        import pipe

        settings = {"truncation": True, "max_length": pipe.MAX_LENGTH, "top_k": None}
        mlflow.transformers.save_model(pipe.built(bundle), path, model_config=settings, pip_requirements=["mlflow"])
        return path
    import haltung.inference.client
    from haltung.export import pyfunc
    from haltung.models.bundle import describe, reads_articles
    from haltung.records import Segment
    from haltung.tracking.models import columns, signature

    client = {"client": haltung.inference.client.__file__} if name == "mlflow" else {}
    reads = reads_articles(bundle)
    mlflow.pyfunc.save_model(
        path=path, python_model=pyfunc.__file__, artifacts={"bundle": str(bundle), **client}, pip_requirements=["mlflow"],
        signature=signature(describe(bundle)["scheme"]["tasks"], reads), input_example=columns([Segment("1", "Chile warnt Peru.")], reads),
    )  # fmt: skip
    return path


def memory(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Return the current and peak resident memory of a process, in MB (Linux)."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    values = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return int(values["VmRSS"]) // 1024, int(values["VmHWM"]) // 1024


def processor(side: Side) -> float:
    """Return the processor seconds of a server and its child processes so far (Linux)."""
    return sum(int(fields[11]) + int(fields[12]) for fields in _processes(side)) / os.sysconf("SC_CLK_TCK")


def resident(side: Side) -> float:
    """Return the resident memory of a server and its child processes together, in MB (Linux)."""
    return sum(int(fields[21]) for fields in _processes(side)) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _processes(side: Side) -> Iterator[list[str]]:
    """Yield the fields of /proc/PID/stat for each process in the session of a side."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                # Fields after the name, which may contain spaces: state, parent, group, session, …;
                # the 12th and 13th are user and system time, the 22nd is resident pages.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # the process has ended meanwhile
            if int(fields[3]) == side.process.pid:
                yield fields


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.perf_counter() + _PATIENCE
    while time.perf_counter() < end:
        if process.poll() is not None:
            raise SystemExit(f"a server has ended with {process.returncode} before it was ready; see its log in the scratch folder")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise SystemExit(f"{url} has not answered within {_PATIENCE:g} s")


def _free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
