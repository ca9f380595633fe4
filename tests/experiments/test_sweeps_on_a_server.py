"""Sweeps whose trials are in PostgreSQL: locks, workers of several machines, one of them killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import CORPUS, run_here, write_corpus
from haltung import tracking
from haltung.errors import UserError
from haltung.experiments.sweep.spaces import ChoiceSpace, RangeSpace
from haltung.experiments.sweep.trials import Trials, ended
from haltung.tracking import Store
from postgres import database_server, mlflow_server

SPACES = {"training.rate": RangeSpace(0.001, 1.0, log=True), "training.batch": ChoiceSpace((8, 16))}
NEEDED = pytest.mark.system("initdb", "pg_ctl")


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server; it lacks the name of a database."""
    with database_server() as address:
        yield address


def _trials(folder: Path, server: str, count: int = 4) -> Trials:
    return Trials(folder, SPACES, count, seed=1, startup=1, warmup=1, server=server)


@pytest.mark.parametrize(
    "server", ["mysql://me@localhost/x", "postgresql://me:secret@localhost/x", "/data/trials.db", "postgresql+psycopg2://localhost/x"]
)
def test_an_address_that_holds_no_trials_is_refused(tmp_path: Path, server: str) -> None:
    """Another database, and a password, which every run would show; the message does not."""
    with pytest.raises(UserError, match=r"postgresql://USER@HOST/DATABASE.*PGPASSWORD") as refused:
        _trials(tmp_path / "s", server).open()
    assert "secret" not in str(refused.value)


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With what to correct."""
    with pytest.raises(UserError, match=r"postgresql://me@127.0.0.1:9/x can.t be read .*correct storage"):
        _trials(tmp_path / "s", "postgresql://me@127.0.0.1:9/x").open()


_DIES = """
    import os, signal, sys
    from pathlib import Path
    sys.path[:0] = [{tests!r}, {tests!r} + "/experiments"]
    from test_sweeps_on_a_server import _trials

    trials = _trials(Path({folder!r}), {server!r})
    with trials.next(trials.open(1), 1, print) as begun:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@NEEDED
@pytest.mark.slow
def test_a_trial_of_a_killed_process_is_queued_again_on_another_machine(postgres: str, tmp_path: Path) -> None:
    """With the same values; one that is still running is left alone, and sweeps of other names see
    nothing of it.
    """
    server, tests = f"{postgres}/sweeps", str(Path(__file__).parents[1])
    code = textwrap.dedent(_DIES).format(tests=tests, folder=str(tmp_path / "a/locks"), server=server)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    # Another folder, as another machine has it; its name is that of the sweep.
    trials, requeued = _trials(tmp_path / "b/locks", server), list[int]()
    study = trials.open()
    with trials.next(study, 0, requeued.append) as again, trials.next(trials.open(2), 2, requeued.append) as other:
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


def _sweep(bert: Path, server: str, address: str, *more: str) -> list[str]:
    return [
        "sweep", *CORPUS, "encoder=local", f"encoder.path={bert}", "encoder.head_rate=1e-2", "model=network", "model.max_length=32",
        "training.epochs=2", "training.precision=fp32", "search=small", "name=both", "startup=1", "--config-dir", "mine",
        "final_seeds=[1]", f"storage={server}", "tracking=server", f"tracking.uri={address}", *more,
    ]  # fmt: skip


@NEEDED
@pytest.mark.slow
def test_a_killed_worker_loses_no_result_of_a_sweep_on_two_machines(postgres: str, bert: Path, tmp_path: Path) -> None:
    """Two folders stand for two machines; the one that began the sweep is killed in a trial of its
    own. The other one has joined it, and does that trial again; runs and files are in one MLflow
    server on PostgreSQL.
    """
    machines = [tmp_path / "first", tmp_path / "second"]
    for machine in machines:
        (machine / "mine/search").mkdir(parents=True)
        write_corpus(machine, 80)
        (machine / "mine/search/small.yaml").write_text("# own\ntraining.encoder_rate: {low: 1.0e-3, high: 5.0e-3, log: true}\n")
    server = f"{postgres}/sweeps"
    with mlflow_server(f"{postgres}/mlflow".replace("postgresql:", "postgresql+psycopg:"), tmp_path / "mlflow") as address:
        command = _sweep(bert, server, address, "trials=4")
        with (tmp_path / "said").open("w") as said:
            first = subprocess.Popen([sys.executable, "-m", "haltung", *command], cwd=machines[0], stdout=said, stderr=said)
        killed = ""
        while not killed:
            assert first.poll() is None, (tmp_path / "said").read_text()
            # A trial of its own after the first one, which has ended by then.
            killed = next((path.parent.name for path in machines[0].glob("experiments/sweeps/both/both-001-*/checkpoints")), "")
            time.sleep(0.05)
        refused = run_here(*command, cwd=machines[1])
        assert (refused.returncode, "resume=true joins it" in refused.stderr) == (2, True), refused.stderr
        first.send_signal(signal.SIGKILL)
        first.wait()
        done = run_here(*command, "resume=true", cwd=machines[1])
        assert done.returncode == 0, done.stderr
        trials = ended(Trials(machines[1] / "both", {}, 4, 42, 1, 1, server=server).open())
        assert [trial.state for trial in trials[:2]] == ["finished", "lost"]
        assert trials[2].values == trials[1].values
        assert sum(trial.state in ("finished", "pruned") for trial in trials) == 4
        store = Store(address, artifacts=None)
        parent = tracking.find(store, "both")
        children = tracking.children(parent)
        by_trial = {child.tags["haltung.trial"]: child.status for child in children if "haltung.trial" in child.tags}
        assert (parent.status, by_trial["0"], by_trial["1"]) == ("FINISHED", "FINISHED", "FAILED")
        best = next(child for child in children if child.name == "both-best-1")
        assert best.metrics["dev/stance_macro_f1"] > 0
        assert (tracking.bundle_folder(best) / "model.safetensors").is_file()
        assert list((tmp_path / "mlflow/files").rglob("model.safetensors"))


@NEEDED
@pytest.mark.slow
def test_a_second_machine_takes_part_until_all_trials_have_ended(postgres: str, bert: Path, tmp_path: Path) -> None:
    """Each trial is run once; the machine that began the sweep shows its result, the other one says
    so.
    """
    write_corpus(tmp_path, 80)
    (tmp_path / "mine/search").mkdir(parents=True)
    (tmp_path / "mine/search/small.yaml").write_text("# own\ntraining.encoder_rate: {low: 1.0e-3, high: 5.0e-3, log: true}\n")
    own = f"{tmp_path}/experiments/mlflow.db"
    words = [word for word in _sweep(bert, f"{postgres}/sweeps", "", "trials=4", "name=shared") if not word.startswith("tracking")]
    command = [sys.executable, "-m", "haltung", *words, f"tracking.uri=sqlite:///{own}"]
    with (tmp_path / "said").open("w") as said:
        first = subprocess.Popen(command, cwd=tmp_path, stdout=said, stderr=said)
    try:
        while not list(tmp_path.glob("experiments/sweeps/shared/shared-000-*/checkpoints")):
            assert first.poll() is None, (tmp_path / "said").read_text()
            time.sleep(0.05)
        joined = run_here(*command[3:], "resume=true", cwd=tmp_path)
        assert joined.returncode == 0, joined.stderr
        assert first.wait() == 0, (tmp_path / "said").read_text()
    finally:
        first.kill()
    assert "shows the result" in joined.stdout
    assert "run " in (tmp_path / "said").read_text()
    trials = ended(Trials(tmp_path / "shared", {}, 4, 42, 1, 1, server=f"{postgres}/sweeps").open())
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    assert joined.stdout.count("trial ") + (tmp_path / "said").read_text().count("\ntrial ") >= 4
