"""PostgreSQL and MLflow servers for tests, with their data in separate folders."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from system_packages import program


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def database_server() -> Iterator[str]:
    """Start PostgreSQL with the databases ``sweeps`` and ``mlflow``; yield its address. As root,
    start it as the user postgres, since it refuses to run as root.
    """
    as_user, port = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else [], str(_free_port())

    # Not pytest's folder, which other users can't read.
    with tempfile.TemporaryDirectory(prefix="haltung-postgres-") as folder:
        if as_user:
            shutil.chown(folder, "postgres")

        def run(name: str, *words: str) -> None:
            with Path(folder, "said").open("w") as said:  # not a pipe: the server would keep it open
                done = subprocess.run([*as_user, program(name) or name, *words], cwd=folder, stdout=said, stderr=said, check=False)
            assert done.returncode == 0, Path(folder, "said").read_text()

        run("initdb", "-D", "data", "-U", "tester", "-A", "trust", "-N", "-E", "UTF8", "--no-locale")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        run("pg_ctl", "-D", "data", "-o", options, "-l", "log", "-w", "start")
        try:
            for name in ("sweeps", "mlflow"):
                run("createdb", "-h", "127.0.0.1", "-p", port, "-U", "tester", name)
            yield f"postgresql://tester@127.0.0.1:{port}"
        finally:
            run("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")


@contextmanager
def mlflow_server(database: str, folder: Path, port: int = 0) -> Iterator[str]:
    """Start an MLflow server that uses this database and serves artifacts; yield its address."""
    folder.mkdir(exist_ok=True)
    address = f"http://127.0.0.1:{(port := port or _free_port())}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database, "--workers", "1", "--port", str(port)]
    command += ["--serve-artifacts", "--artifacts-destination", str(folder / "files"), "--host", "127.0.0.1"]
    # In a new session, so that its workers are stopped with it. Job runners, which are not used
    # here, would double its startup time.
    own = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=own, start_new_session=True)
    try:
        for _ in range(6000):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=60)
