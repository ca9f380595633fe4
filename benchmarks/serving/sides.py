"""Start the compared servers on one bundle, each in a process group."""

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

_HERE = Path(__file__).resolve().parent
_PATIENCE = 300.0


@dataclass(frozen=True)
class Side:
    """A running server: name, address, form of requests, process, seconds to the first answer."""

    name: str
    url: str
    form: str
    process: subprocess.Popen[bytes]
    seconds: float


NAMES = ("haltung", "mlflow", "mlflow-torch", "pipeline")


@contextmanager
def running(
    names: Sequence[str], bundle: Path | None, scratch: Path, arguments: Sequence[str] = (), environment: Mapping[str, str] = os.environ,
    prefix: Sequence[str] = (),
) -> Iterator[list[Side]]:  # fmt: skip
    """Start the named servers one after the other, and stop them in the end.

    ``mlflow`` is `mlflow models serve` on the pyfunc of the exported bundle, ``mlflow-torch`` on
    that of the trained one, ``pipeline`` is ``pipeline_app.py``. `haltung serve` gets arguments,
    environment, and the words before its command; it alone can do without a bundle.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(_side(name, bundle, scratch, arguments, environment, prefix)) for name in names]


@contextmanager
def _side(
    name: str, bundle: Path | None, scratch: Path, arguments: Sequence[str], given: Mapping[str, str], prefix: Sequence[str]
) -> Iterator[Side]:
    port = _free()
    program, environment, path, health = Path(sys.executable).parent, dict(given), "/classify", "/health/ready"
    if name == "haltung":
        served = f"bundle={bundle or 'null'}"
        command = [*prefix, sys.executable, "-m", "haltung", "serve", served, f"port={port}", *arguments]
    elif name == "pipeline":
        command = [sys.executable, "-m", "uvicorn", "--app-dir", str(_HERE), "--port", str(port), "--no-access-log", "pipeline_app:app"]
        environment["BUNDLE"], health = str(bundle), "/openapi.json"
    else:
        assert bundle is not None
        model = _pyfunc(bundle, scratch / name, trained=name == "mlflow-torch")
        command = [str(program / "mlflow"), "models", "serve", "-m", str(model), "--env-manager", "local", "-p", str(port)]
        # mlflow starts uvicorn by its bare name.
        environment["PATH"], path, health = f"{program}:{environment['PATH']}", "/invocations", "/ping"
    start = time.perf_counter()
    with (scratch / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(f"http://127.0.0.1:{port}{health}", process)
        form = name.partition("-")[0]
        yield Side(name, f"http://127.0.0.1:{port}{path}", form, process, time.perf_counter() - start)
    finally:
        # mlflow starts children, which are all in the session that was started for it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _pyfunc(bundle: Path, path: Path, trained: bool) -> Path:
    import mlflow

    import haltung.inference.client
    from haltung.export import pyfunc

    artifacts = {"bundle": str(bundle)} if trained else {"bundle": str(bundle), "client": haltung.inference.client.__file__}
    example = {"text": "Chile warnt Peru.", "context": ""}
    mlflow.pyfunc.save_model(
        path=path, python_model=pyfunc.__file__, artifacts=artifacts, input_example=[example], pip_requirements=["mlflow"]
    )
    return path


def memory(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Return the current and the highest resident memory of a process, in MB (Linux)."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    values = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return int(values["VmRSS"]) // 1024, int(values["VmHWM"]) // 1024


def processor(side: Side) -> float:
    """Return the processor seconds of a server and its child processes so far (Linux)."""
    total = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                # After the name, which can contain blanks: state, parent, group, session, …,
                # user time, system time.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # the process has ended meanwhile
            if int(fields[3]) == side.process.pid:
                total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


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
