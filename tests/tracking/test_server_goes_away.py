"""An MLflow server that stops during a training."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from command_line import recipe, run_here, write_corpus
from haltung.tracking import Store
from haltung.tracking.read import find, list_runs
from haltung.tracking.store import asking_once, mlflow
from postgres import mlflow_server

pytestmark = pytest.mark.slow


def test_a_training_ends_with_one_sentence_and_goes_on_when_the_server_is_back(
    bert: Path, mlflow_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stops after the first checkpoint. The same run is resumed without lost or
    duplicate points, and its weights equal those of an uninterrupted repetition.
    """
    # Otherwise the test would wait for a minute.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    write_corpus(tmp_path)
    database = f"sqlite:///{shutil.copy(mlflow_database, tmp_path / 'server.db')}"
    running = ExitStack()
    address = running.enter_context(mlflow_server(database, tmp_path / "server"))

    ended = threading.Event()

    def stop_server() -> None:
        while not ended.wait(0.01) and not list(tmp_path.glob("experiments/runs/*/checkpoints/checkpoint-*/trainer_state.json")):
            pass
        running.close()

    def train(*more: str) -> subprocess.CompletedProcess[str]:
        return run_here(*recipe(bert, "tracking=server", f"tracking.uri={address}", "tracking.model=null", *more), cwd=tmp_path)

    stopping = threading.Thread(target=stop_server)
    stopping.start()
    try:
        stopped = train()
    finally:
        ended.set()
        stopping.join()
    assert (stopped.returncode, stopped.stderr.count(f"the MLflow server {address} can't be reached")) == (2, 1), stopped.stderr
    assert "start it (mlflow server --port 5000), after which a training continues with resume=true" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    with mlflow_server(database, tmp_path / "server", int(address.rpartition(":")[2])):
        resumed = train("resume=true")
        assert resumed.returncode == 0, resumed.stderr
        (record,) = list_runs(Store(address, artifacts=None))
        points = record.connection.client.get_metric_history(record.id, "epoch")
        done = run_here("reproduce", f"run={record.id}", "tracking=server", f"tracking.uri={address}", cwd=tmp_path)
        anew = find(Store(address, artifacts=None), "tiny-again-42")
        assert done.returncode == 0, done.stderr + done.stdout
        assert "weights equal to the bit" in done.stdout
        assert anew.tags["haltung.reproduces"] == record.id
    assert record.status == "FINISHED"
    assert sorted({point.value for point in points if point.value.is_integer()}) == [1, 2, 3, 4]
    assert len({point.step for point in points}) == len(points)


def test_a_server_is_asked_for_a_minute_unless_somebody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """By MLflow's own variable; only one request at the start, and to mark a run as failed."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    for own, meanwhile in ((None, ("5", "0", "5")), ("2", ("2", "2", "2"))):
        monkeypatch.delenv(name, raising=False)
        if own:
            monkeypatch.setenv(name, own)
        mlflow()
        before = os.environ[name]
        with asking_once():
            within = os.environ[name]
        assert (before, within, os.environ[name]) == meanwhile
