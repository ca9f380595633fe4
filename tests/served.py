"""``haltung serve`` in a process of its own, on a bundle that is made in the test, and asked over real HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

# A loaded machine may take long to start a process; a test that hangs for longer is broken.
PATIENCE = 120


@dataclass
class Served:
    """A running server."""

    address: str
    process: subprocess.Popen[str]
    log: Path
    told: str

    def client(self, **settings: object) -> httpx.Client:
        """Return a client of this server."""
        return httpx.Client(base_url=self.address, timeout=PATIENCE, trust_env=False, **settings)  # type: ignore[arg-type]

    def terminate(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def served(bundle: Path, scratch: Path, *words: str, key: str | None = None, runtime: str = "onnxruntime") -> Iterator[Served]:
    """Start the server and give it when it is ready; stop it afterwards."""
    environment = {name: value for name, value in os.environ.items() if name != "HALTUNG_API_KEY"} | {
        "HALTUNG_CACHE": str(scratch / "cache")
    }
    if key is not None:
        environment["HALTUNG_API_KEY"] = key
    command = [sys.executable, "-m", "haltung", "serve", f"bundle={bundle}", "port=0", f"runtime={runtime}", *words]
    log = scratch / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        try:
            yield _started(process, log)
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)


def _started(process: subprocess.Popen[str], log: Path) -> Served:
    assert process.stdout
    told = []
    for line in process.stdout:
        told.append(line)
        if " at http://" in line:
            address = line.partition(" at ")[2].split()[0]
            httpx.get(f"{address}/health/ready", timeout=PATIENCE, trust_env=False).raise_for_status()
            return Served(address, process, log, "".join(told))
    raise AssertionError("the server has not started: " + "".join(told) + log.read_text())
