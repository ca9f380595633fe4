"""Real HTTP servers for bundles of tests: ``haltung serve`` in a process, or one in a thread."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn

from haltung.serving.app import application
from haltung.serving.engine import Settings
from haltung.serving.service import Service

# In seconds; a busy machine may take long to start a process.
PATIENCE = 120


@dataclass
class Served:
    """A running server; ``output`` is what it printed before it was ready."""

    address: str
    process: subprocess.Popen[str]
    log: Path
    output: str

    def client(self, **settings: object) -> httpx.Client:
        """Return a client of this server."""
        return httpx.Client(base_url=self.address, timeout=PATIENCE, trust_env=False, **settings)  # type: ignore[arg-type]

    def terminate(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def served(
    bundle: Path | str, scratch: Path, *words: str, key: str | None = None, runtime: str = "onnxruntime", before: Sequence[str] = (),
    program: Sequence[str] = ("-m", "haltung"),
) -> Iterator[Served]:  # fmt: skip
    """Start ``haltung serve`` and yield it when it is ready; stop it afterwards.

    ``before`` is a command that runs it; ``program`` replaces ``-m haltung`` for Python.
    """
    environment = {name: value for name, value in os.environ.items() if name != "HALTUNG_API_KEY"} | {
        "HALTUNG_CACHE": str(scratch / "cache")
    }
    if key is not None:
        environment["HALTUNG_API_KEY"] = key
    # By default, tests don't wait for a stopping server.
    drain = () if any(word.startswith("drain=") for word in words) else ("drain=0",)
    command = [*before, sys.executable, *program, "serve", f"bundle={bundle}", "port=0", f"runtime={runtime}", *drain, *words]
    log = scratch / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        try:
            yield _started(process, log)
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)


@contextmanager
def served_in_thread(settings: Settings) -> Iterator[str]:
    """Serve in a thread, which starts sooner; yield the address, which ends with a slash."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(application(Service(settings)), log_config=None, access_log=False, ws="none"))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        end = time.monotonic() + PATIENCE
        while not server.started and time.monotonic() < end:
            time.sleep(0.01)
        assert server.started
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()


def _started(process: subprocess.Popen[str], log: Path) -> Served:
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if " at http://" in line:
            address = line.partition(" at ")[2].split()[0]
            httpx.get(f"{address}/health/ready", timeout=PATIENCE, trust_env=False).raise_for_status()
            return Served(address, process, log, "".join(lines))
    raise AssertionError("the server has not started: " + "".join(lines) + log.read_text())
