"""Sweeps with trials in PostgreSQL: locks, workers on several machines, one of them killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from command_line import CORPUS, run_here, write_corpus
from haltung import tracking
from haltung.errors import UserError
from haltung.experiments.sweep.trials import Trials, ended
from haltung.tracking import Store
from postgres import database_server, mlflow_server

SPACES = {"training.rate": FloatDistribution(0.001, 1.0, log=True), "training.batch": CategoricalDistribution((8, 16))}
NEEDED = pytest.mark.system("initdb", "pg_ctl")


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server, without the name of a database."""
    with database_server() as address:
        yield address


def _trials(folder: Path, server: str, count: int = 4) -> Trials:
    return Trials(folder, SPACES, count, seed=1, startup=1, warmup=1, server=server)


@pytest.mark.parametrize(
    "server",
    [
        "mysql://me@localhost/x", "postgresql://me:secret@localhost/x", "/data/trials.db", "postgresql+psycopg2://localhost/x",
        "postgresql://me@localhost/x?password=secret", "postgresql://me@localhost/x?sslmode=require&sslpassword=secret",
        "postgresql://me@localhost:port/x", "postgresql://me:secret@localhost:port/x", "postgresql://me@[::1/x",
    ],
)  # fmt: skip
def test_an_address_that_holds_no_trials_is_refused(tmp_path: Path, server: str) -> None:
    """Other databases, and passwords, which every run would show; the message hides them."""
    with pytest.raises(UserError, match=r"postgresql://USER@HOST/DATABASE.*PGPASSWORD") as refused:
        _trials(tmp_path / "s", server).open()
    assert "secret" not in str(refused.value)


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The message says which key to correct."""
    with pytest.raises(UserError, match=r"postgresql://me@127.0.0.1:9/x can.t be read .*correct storage"):
        _trials(tmp_path / "s", "postgresql://me@127.0.0.1:9/x").open()
    url = _trials(tmp_path / "s", "postgresql://me@127.0.0.1:9/x?passfile=/a/b").url
    assert url.query == {"passfile": "/a/b"}


_DIES = """
    import os, signal, sys
    from pathlib import Path
    sys.path[:0] = [{tests!r}, {tests!r} + "/experiments"]
    from test_sweeps_on_a_server import _trials

    trials = _trials(Path({folder!r}), {server!r})
    with trials.next(trials.open(), print) as begun:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@NEEDED
@pytest.mark.slow
def test_a_trial_of_a_killed_process_is_queued_again_on_another_machine(postgres: str, tmp_path: Path) -> None:
    """It has the same values; running trials are skipped, and sweeps with other names are not
    affected.
    """
    server, tests = f"{postgres}/sweeps", str(Path(__file__).parents[1])
    code = textwrap.dedent(_DIES).format(tests=tests, folder=str(tmp_path / "a/locks"), server=server)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    # Another folder, as on another machine; its name is that of the sweep.
    trials, requeued = _trials(tmp_path / "b/locks", server), list[int]()
    study = trials.open()
    with trials.next(study, requeued.append) as again, trials.next(trials.open(), requeued.append) as other:
        assert again is not None
        assert other is not None
        assert requeued == [0]
        assert (again.number, other.number) == (1, 2)
        assert again.params == study.trials[0].params != other.params
    assert [(trial.number, trial.state) for trial in ended(study)] == [(0, "lost")]
    assert ended(_trials(tmp_path / "b/others", server).open()) == []
    with trials.lock("sweep") as first, _trials(tmp_path / "a/locks", server).lock("sweep") as second:
        assert (first, second) == (True, False)
    with trials.lock("sweep") as free:
        assert free


def _begun(said: Path, *words: str, cwd: Path) -> subprocess.Popen[bytes]:
    with said.open("w") as out:
        return subprocess.Popen([sys.executable, "-m", "haltung", *words], cwd=cwd, stdout=out, stderr=out)


def _wait(process: subprocess.Popen[bytes], said: Path, until: Callable[[], object]) -> None:
    while not until():
        assert process.poll() is None, said.read_text()
        time.sleep(0.05)


@NEEDED
@pytest.mark.slow
def test_two_machines_share_a_sweep_and_one_of_them_dies(postgres: str, bert: Path, tmp_path: Path) -> None:
    """Two folders simulate two machines. The one that began the sweep hangs in its second trial,
    which the other one skips while it runs others; then the first is killed, and the trial is
    repeated. No result is lost; runs and files are in one MLflow server on PostgreSQL.
    """
    machines, said = [tmp_path / "first", tmp_path / "second"], [tmp_path / "first.txt", tmp_path / "second.txt"]
    for machine in machines:
        (machine / "mine/search").mkdir(parents=True)
        write_corpus(machine, 80)
        (machine / "mine/search/small.yaml").write_text("# own\ntraining.encoder_rate: {low: 1.0e-3, high: 5.0e-3, log: true}\n")
    server = f"{postgres}/sweeps"
    with mlflow_server(f"{postgres}/mlflow".replace("postgresql:", "postgresql+psycopg:"), tmp_path / "mlflow") as address:
        command = (
            "sweep", *CORPUS, "encoder=local", f"encoder.path={bert}", "encoder.head_rate=1e-2", "model=network", "model.max_length=32",
            "training.epochs=2", "training.precision=fp32", "search=small", "name=both", "startup=1", "--config-dir", "mine", "trials=4",
            "final_seeds=[1]", f"storage={server}", "tracking=server", f"tracking.uri={address}",
        )  # fmt: skip
        first = _begun(said[0], *command, cwd=machines[0])
        _wait(first, said[0], lambda: list(machines[0].glob("experiments/sweeps/both/both-001-*/checkpoints")))
        first.send_signal(signal.SIGSTOP)
        refused = run_here(*command, cwd=machines[1])
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
        assert "resume=true joins" in refused.stderr
        second = _begun(said[1], *command, "resume=true", cwd=machines[1])
        _wait(second, said[1], lambda: "trial 2: " in said[1].read_text())
        first.kill()
        first.wait()
        assert second.wait() == 0, said[1].read_text()
        assert "shows the result" in " ".join(said[1].read_text().split())
        trials = ended(Trials(machines[1] / "both", {}, 4, 42, 1, 1, server=server).open())
        assert [trial.state == "lost" for trial in trials] == [False, True, False, False, False]
        assert trials[1].values in [trial.values for trial in trials[2:]]
        # The worker that led the sweep is gone, so the sweep is resumed.
        done = run_here(*command, "resume=true", cwd=machines[1])
        assert done.returncode == 0, done.stderr
        store = Store(address, artifacts=None)
        parent = tracking.find(store, "both")
        children = tracking.children(parent)
        by_trial = {child.tags["haltung.trial"]: child.status for child in children if "haltung.trial" in child.tags}
        states = {str(trial.number): {"lost": "FAILED", "pruned": "KILLED"}.get(trial.state, "FINISHED") for trial in trials}
        assert (parent.status, by_trial) == ("FINISHED", states)
        best = next(child for child in children if child.name == "both-best-1")
        assert best.metrics["dev/stance_macro_f1"] > 0
        assert (tracking.bundle_folder(best) / "model.safetensors").is_file()
        # The files were sent over HTTP to the server, which stores them in its folder.
        assert best.connection.client.get_run(best.id).info.artifact_uri.startswith("mlflow-artifacts:/")
        assert list((tmp_path / "mlflow/files").rglob("model.safetensors"))
