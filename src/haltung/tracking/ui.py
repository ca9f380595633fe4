"""MLflow's own pages on a store, served by a process that is stopped afterwards."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from haltung.errors import UserError
from haltung.tracking.store import Store, open_store

# Seconds until MLflow has to answer: it takes ten to import, on a busy machine minutes.
_TIMEOUT = 180.0


@contextmanager
def page(store: Store, host: str, port: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serve MLflow's pages on a local store; yield address and process once they answer. Raises
    ``UserError`` if there is no such store, the port is taken or not allowed, or MLflow does not
    start.
    """
    open_store(store, create=False)
    _check_port(host, port)
    # MLflow reads the local artifacts itself; its proxy would create a folder mlartifacts here.
    options = ["--backend-store-uri", store.address, "--no-serve-artifacts", "--host", host, "--port", str(port), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "server", *options]
    # A process group, since MLflow starts further processes, and all of them have to be stopped.
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    try:
        address = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
        _wait_for(address, process)
        yield address, process
    finally:
        _stop(process)


def _check_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            raise UserError(f"port {port} may not be used by everybody; choose one from 1024 on, as in port=5001") from None
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                raise UserError(f"host is '{host}', which is no address of this machine; expected 127.0.0.1, or 0.0.0.0 for all") from None
            raise UserError(f"port {port} is taken by another program; choose another one, as in port={port + 1}") from None


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + _TIMEOUT
    # The environment's proxies can't reach this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < ends:
        if process.poll() is not None:
            lines = process.stderr.read().decode(errors="replace").strip().splitlines() if process.stderr else []
            raise UserError(f"MLflow has ended with exit code {process.returncode}: {lines[-1] if lines else 'without a message'}")
        with suppress(OSError), opener.open(f"{address}/health", timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.2)
    raise UserError(f"MLflow has not answered at {address} within {_TIMEOUT:.0f} seconds; try it again, or run mlflow server yourself")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
    if process.stderr:
        process.stderr.close()
