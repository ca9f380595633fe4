"""Tracking with the real MLflow: local databases, a real server, and models that load anywhere."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import tiny
from haltung import tracking
from haltung.errors import UserError
from haltung.models import bundle
from haltung.models.linear import fit
from haltung.models.spec import LinearSpec
from haltung.tracking import Store
from haltung.tracking.store import Connection

_THREE_AT_ONCE = """
import sys, time, pathlib
from haltung import tracking
store = tracking.Store(uri=sys.argv[1], artifacts=sys.argv[2])
import mlflow
pathlib.Path(sys.argv[3]).touch()
while len(list(pathlib.Path(sys.argv[3]).parent.glob("ready-*"))) < 3:
    time.sleep(0.01)
with tracking.run(store, name=sys.argv[4]) as run:
    run.params({"seed": int(sys.argv[4])})
    for step in range(20):
        run.history([{"step": step, "loss": 1.0 / (step + 1)}])
"""

_FROM_ELSEWHERE = """
import sys, json, mlflow
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
import pandas as pd
print(model.predict(pd.DataFrame({"text": ["Peru lobt den Zoll ."]})).to_json(orient="records"))
"""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database created by three processes at once, each of which logs a run."""
    folder = tmp_path_factory.mktemp("mlflow mit Umläuten")
    arguments = [f"sqlite:///{folder}/experiments/mlflow.db", str(folder / "experiments/artifacts")]
    code = [sys.executable, "-c", _THREE_AT_ONCE]
    started = [
        subprocess.Popen(
            [*code, *arguments, str(folder / f"ready-{n}"), str(n)], cwd=folder, stdout=-1, stderr=subprocess.STDOUT, text=True
        )
        for n in range(3)
    ]
    output = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], output
    assert output == ["", "", ""]
    return folder


@pytest.fixture
def store(new_store: Callable[[Path], Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store used by this test alone, in the working directory."""
    monkeypatch.chdir(tmp_path)
    new_store(tmp_path)
    return Store(experiment="test")


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear bundle in a folder with an arbitrary name."""
    model = fit(tiny.segments(60), tiny.scheme(), LinearSpec(min_count=1), seed=1)
    return bundle.save(model, tmp_path_factory.mktemp("tracking") / "mein-modell-42")


@pytest.fixture(scope="module")
def server(mlflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MLflow server with its own database and artifacts."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(mlflow_database, folder / "server.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/server.db", "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "files"), "--host", "127.0.0.1", "--port", str(port)]
    # Starts in half the time without the job runners, which we don't use. In a session of its own,
    # so that its workers are stopped with it.
    own = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=own, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=20)


@pytest.mark.slow
def test_three_trainings_at_the_same_moment_share_a_fresh_database(fresh: Path) -> None:
    """None is refused, and no point of any curve is missing."""
    store = Store(f"sqlite:///{fresh}/experiments/mlflow.db")
    found = [tracking.find(store, str(number)) for number in range(3)]
    assert [(run.status, run.params, run.metrics) for run in found] == [("FINISHED", {"seed": str(n)}, {"loss": 0.05}) for n in range(3)]
    points = [found[0].connection.client.get_metric_history(run.id, "loss") for run in found]
    assert [len(curve) for curve in points] == [20, 20, 20]


def test_nothing_lies_beside_the_database(fresh: Path) -> None:
    """No half-made database, and no mlruns folder in the working directory."""
    assert {path.name for path in fresh.iterdir() if not path.name.startswith("ready")} == {"experiments"}
    assert {path.name for path in (fresh / "experiments").iterdir()} <= {"mlflow.db", "mlflow.db.lock", "artifacts"}


def test_what_is_logged_comes_back(store: Store, tmp_path: Path) -> None:
    """Parameters with dotted keys, metrics, tags, files and the complete config."""
    config = {
        "seed": 1,
        "model": {"reads": {"default": "text", "topic": "context"}, "lora": None},
        "wörter": ["ä", 2],
        "leer": {},
        "lang": "x" * 9000,
    }
    (tmp_path / "plot.png").write_bytes(b"png")
    with tracking.run(store, "hin", tags={"haltung.kind": "train", "haltung.corpus": "diplomacy"}) as run:
        run.params(config)
        run.metrics({"dev": {"stance": {"macro_f1": 0.5}}, "minutes": 2})
        run.artifact(tmp_path / "plot.png", "plots")
    record = tracking.find(store, "hin")
    assert record.config == config
    assert record.params["model.reads.topic"] == "context"
    assert (record.params["wörter"], record.params["leer"], record.params["model.lora"]) == ('["ä", 2]', "{}", "null")
    assert len(record.params["lang"]) == 6000
    assert record.metrics == {"dev/stance/macro_f1": 0.5, "minutes": 2.0}
    assert record.tags["haltung.kind"] == "train"
    assert tracking.artifact(record, "plots/plot.png").read_bytes() == b"png"
    assert (record.id, record.status, record.parent) == (run.id, "FINISHED", "")


def test_files_lie_in_the_folder_that_the_store_names(store: Store, tmp_path: Path) -> None:
    """MLflow's default would be the current working directory."""
    with tracking.run(store, "x") as run:
        run.text("grüße", "a/b.txt")
    assert (tmp_path / "experiments/artifacts" / run.id / "artifacts/a/b.txt").read_text(encoding="utf-8") == "grüße"


def test_a_missing_file_is_refused(store: Store, tmp_path: Path) -> None:
    """When it is logged and when it is read."""
    with tracking.run(store, "x") as run, pytest.raises(UserError, match=r"gone\.png: no such file or folder"):
        run.artifact(tmp_path / "gone.png")
    with pytest.raises(UserError, match=r"the run x \(.*\) in experiments/mlflow.db has no plots/gone\.png"):
        tracking.artifact(tracking.find(store, "x"), "plots/gone.png")


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), ConnectionError("reset by peer"), OSError(5, "no answer of the disk")])
def test_a_file_that_can_not_be_read_is_not_called_missing(store: Store, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    """The actual error is reported, for a run's file and for its bundle."""

    def download(**_: str) -> str:
        raise error

    with tracking.run(store, "x", tags={"haltung.bundle": "models:/m"}):
        pass
    record = tracking.find(store, "x")
    monkeypatch.setattr("mlflow.artifacts.download_artifacts", download)
    monkeypatch.setattr(type(record.connection.client), "get_logged_model", lambda *_: SimpleNamespace(artifact_location="there"))
    for read in (lambda: tracking.artifact(record, "config.yaml"), lambda: tracking.bundle_folder(record)):
        with pytest.raises(UserError, match=rf"can't read or write: .*{error.args[-1]}; correct that, then try again"):
            read()


def test_a_failing_training_is_marked_and_keeps_what_it_logged(store: Store) -> None:
    """The exception propagates, and its text becomes a tag of the run."""
    with pytest.raises(ZeroDivisionError), tracking.run(store, "x") as run:  # noqa: PT012 -- what is logged before counts
        run.metrics({"loss": 0.5})
        _ = 1 / 0
    record = tracking.find(store, run.id)
    assert (record.status, record.metrics) == ("FAILED", {"loss": 0.5})
    assert record.tags["haltung.error"] == "ZeroDivisionError: division by zero"


def test_a_stopped_training_is_marked_as_killed(store: Store) -> None:
    """Ctrl-C does not count as a failure."""
    with pytest.raises(KeyboardInterrupt), tracking.run(store, "x") as run:
        raise KeyboardInterrupt
    assert tracking.find(store, run.id).status == "KILLED"


def test_a_resumed_run_goes_on_where_it_was(store: Store) -> None:
    """The same run: no duplicate point, its first parameters, and a tag with the differences."""
    points = [{"epoch": 1.0, "step": 10, "loss": 0.5}, {"epoch": 2.0, "step": 20, "loss": 0.25}]
    with pytest.raises(RuntimeError), tracking.run(store, "x") as first:  # noqa: PT012 -- what is logged before counts
        first.params({"epochs": 2, "resume": False})
        first.history(points[:1])
        raise RuntimeError("power cut")
    with tracking.run(store, "another name", resume=first.id) as second:
        second.params({"epochs": 2, "resume": True})
        second.history(points)
        assert tracking.find(store, first.id).status == "RUNNING"
    record = tracking.find(store, "x")
    assert (second.id, record.status, record.params) == (first.id, "FINISHED", {"epochs": "2", "resume": "false"})
    assert record.tags["haltung.resumed_with"] == "resume=true"
    curve = record.connection.client.get_metric_history(record.id, "loss")
    assert [(point.step, point.value) for point in curve] == [(10, 0.5), (20, 0.25)]


def test_a_missing_run_can_not_be_resumed(store: Store) -> None:
    """No run is started."""
    absent = "0" * 32
    with pytest.raises(UserError, match=f"there is no run {absent} in .* to resume"), tracking.run(store, "x", resume=absent):
        pass


def test_seeds_are_parts_of_their_parent(store: Store) -> None:
    """Sorted by age, oldest first, each with its parent."""
    with tracking.run(store, "all") as parent:
        for seed in (1, 2):
            with tracking.run(store, f"seed {seed}", parent=parent) as part:
                part.metrics({"f1": seed / 2})
    record = tracking.find(store, "all")
    assert [(part.name, part.parent, part.metrics) for part in tracking.children(record)] == [
        ("seed 1", record.id, {"f1": 0.5}),
        ("seed 2", record.id, {"f1": 1.0}),
    ]


def test_all_children_of_a_run_are_found(store: Store) -> None:
    """Those of a large sweep too, oldest first."""
    import mlflow

    with tracking.run(store, "large") as parent:
        client = mlflow.MlflowClient(store.address)
        experiment = client.get_run(parent.id).info.experiment_id
        for number in range(1, 502):
            client.create_run(experiment, start_time=number, run_name=str(number), tags={"mlflow.parentRunId": parent.id})
    assert [part.name for part in tracking.children(tracking.find(store, "large"))] == [str(number) for number in range(1, 502)]


def test_a_report_is_written_into_a_run_that_has_ended(store: Store) -> None:
    """Metrics of the test split are added; the status stays."""
    with pytest.raises(RuntimeError), tracking.run(store, "x") as run:
        raise RuntimeError
    tracking.attach(tracking.find(store, run.id)).metrics({"test": {"f1": 0.5}})
    record = tracking.find(store, run.id)
    assert (record.status, record.metrics) == ("FAILED", {"test/f1": 0.5})


def test_a_run_is_found_by_the_beginning_of_its_id(store: Store) -> None:
    """As in git."""
    with tracking.run(store, "x") as run:
        pass
    assert tracking.find(store, run.id[:8]).id == run.id


def test_a_name_or_prefix_that_several_runs_share_is_refused(store: Store) -> None:
    """The message names all of them."""
    with tracking.run(store, "x") as first, tracking.run(store, "x") as second:
        pass
    with pytest.raises(UserError, match=r"'x' names 2 runs in experiments/mlflow.db: .*; name one by its id") as error:
        tracking.find(store, "x")
    assert first.id[:8] in str(error.value)
    assert second.id[:8] in str(error.value)
    database = sqlite3.connect("experiments/mlflow.db")
    for number, run in enumerate((first, second)):
        for table in ("tags", "runs"):
            database.execute(f"UPDATE {table} SET run_uuid = ? WHERE run_uuid = ?", (f"abcd{number}{run.id[5:]}", run.id))
    database.commit()
    database.close()
    with pytest.raises(UserError, match="'abcd' names 2 runs"):
        tracking.find(store, "abcd")


def test_an_unknown_run_is_refused_with_the_nearest(store: Store) -> None:
    """The message also names the newest runs."""
    with tracking.run(store, "diplomacy-linear-42"):
        pass
    with pytest.raises(UserError, match=r"there is no run 'diplomacy-liner-42' .*, did you mean 'diplomacy-linear-42'\?; the newest are "):
        tracking.find(store, "diplomacy-liner-42")


def test_reading_creates_no_database(tmp_path: Path) -> None:
    """The message says that nothing has been tracked."""
    with pytest.raises(UserError, match="so no run has been tracked here; run haltung train first"):
        tracking.find(Store(f"sqlite:///{tmp_path}/mlflow.db"), "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"uri": "postgres://x"}, r"tracking.uri is 'postgres://x'; expected sqlite:///PATH"),
        ({"uri": "sqlite:///"}, "without a path"),
        ({"artifacts": None}, "tracking.artifacts is empty"),
        ({"experiment": ""}, "tracking.experiment is empty"),
    ],
)
def test_a_store_that_can_not_be_is_refused(values: dict[str, str], message: str) -> None:
    """Before anything is trained."""
    with pytest.raises(UserError, match=message):
        Store(**values)


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    """It is neither changed nor replaced."""
    (tmp_path / "notes.txt").write_text("nicht für MLflow")
    store = Store(f"sqlite:///{tmp_path}/notes.txt")
    with pytest.raises(UserError, match=r"notes\.txt is not an SQLite database"), tracking.run(store, "x"):
        pass
    assert (tmp_path / "notes.txt").read_text() == "nicht für MLflow"


def test_a_database_of_another_mlflow_is_refused_with_the_remedy(store: Store) -> None:
    """It is not migrated without asking the user."""
    database = sqlite3.connect("experiments/mlflow.db")
    database.execute("UPDATE alembic_version SET version_num = '2b4d017a5e9b'")
    database.commit()
    database.close()
    with pytest.raises(
        UserError, match="was written by another version of MLflow; make a copy of it, then run: mlflow db upgrade 'sqlite:////"
    ):
        tracking.open_store(store)


def test_a_deleted_experiment_is_refused(store: Store) -> None:
    """MLflow does not free its name."""
    connection: Connection = tracking.open_store(store)
    connection.client.delete_experiment(connection.experiment)
    with pytest.raises(UserError, match=r"the experiment 'test' in experiments/mlflow.db has been deleted; restore it"):
        tracking.open_store(store)


def test_a_metric_that_is_no_number_is_refused(store: Store) -> None:
    """It is not silently omitted."""
    with tracking.run(store, "x") as run, pytest.raises(UserError, match="the metric 'f1' is None, expected a number"):
        run.metrics({"f1": None})


def test_an_absent_server_is_reported_at_once() -> None:
    """Before anything is trained, and without MLflow's minutes of retries."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    expected = rf"the MLflow server {address} can't be reached \(.*Connection refused\)"
    with pytest.raises(UserError, match=expected), tracking.run(Store(address), "x"):
        pass
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "5"


def test_a_server_that_never_answers_is_reported_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts connections; one request is made, with the timeout MLFLOW_HTTP_REQUEST_TIMEOUT."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        expected = rf"the MLflow server {address} can't be reached \(Read timed out\); start it "
        with pytest.raises(UserError, match=expected), tracking.run(Store(address), "x"):
            pass
        silent.accept()[0].close()
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):  # no second request
            silent.accept()


@pytest.mark.slow
def test_a_model_loads_from_another_directory(store: Store, linear: Path, tmp_path: Path) -> None:
    """From the database, with MLflow's own functions, in another process and without a checkout."""
    rows = tiny.segments(3)
    with tracking.run(store, "x") as run:
        uri = run.bundle(linear, rows)
    (tmp_path / "elsewhere").mkdir()
    command = [sys.executable, "-c", _FROM_ELSEWHERE, f"sqlite:///{tmp_path}/experiments/mlflow.db", f"runs:/{run.id}/bundle"]
    done = subprocess.run(command, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=True)
    (answer,) = json.loads(done.stdout.splitlines()[-1])
    assert (answer["topic"], answer["stance"]) == ("economy", "support")
    assert json.loads(answer["probabilities"])["topic"].keys() == {"security", "economy"}
    record = tracking.newest(store)
    assert (record.id, record.tags["haltung.bundle"]) == (run.id, uri)
    assert not run.connection.client.search_model_versions(), "a training has registered a version that nobody asked for"
    expected = bundle.load(linear).predict(rows)
    assert bundle.load(tracking.bundle_folder(record)).predict(rows) == expected


def test_a_model_is_described_for_those_who_serve_it(store: Store, linear: Path) -> None:
    """Signature, example and requirements, without pickle; MLflow's settings are unchanged."""
    with tracking.run(Store(experiment="test", model=None), "x") as run:
        run.bundle(linear, tiny.segments(3))
    folder = tracking.bundle_folder(tracking.find(store, run.id)).parents[1]
    assert not run.connection.client.search_model_versions()
    described = (folder / "MLmodel").read_text(encoding="utf-8")
    assert '"name": "target", "required": false' in described.replace("\\", "")
    assert (folder / "input_example.json").is_file()
    assert (folder / "pyfunc.py").is_file()
    assert "haltung==" in (folder / "requirements.txt").read_text()
    assert not list(folder.rglob("*.pkl"))
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_a_run_without_a_bundle_is_refused(store: Store) -> None:
    """Whether that run is named or the newest one is requested."""
    with tracking.run(store, "x"):
        pass
    with pytest.raises(UserError, match=r"the run x \(.*, FINISHED\) in experiments/mlflow.db has no bundle"):
        tracking.bundle_folder(tracking.find(store, "x"))
    with pytest.raises(UserError, match=r"no finished run in experiments/mlflow.db .* has a bundle"):
        tracking.newest(store)


def test_a_server_holds_runs_and_bundles(server: str, linear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a local database does; a bundle is downloaded once and completely."""
    monkeypatch.setenv("HALTUNG_CACHE", str(tmp_path / "cache"))
    store = Store(server, artifacts=None, experiment="server")
    with tracking.run(store, "fern", tags={"haltung.kind": "train"}) as run:
        run.params({"seed": 1, "leer": ""})
        run.history([{"epoch": float(step), "step": step, "loss": 0.5} for step in range(510)])
        run.text("grüße", "report/a.txt")
        model = run.bundle(linear, tiny.segments(3)).removeprefix("models:/")
    record = tracking.find(store, run.id[:8])
    assert (record.status, record.config, record.metrics) == ("FINISHED", {"seed": 1, "leer": ""}, {"epoch": 509.0, "loss": 0.5})
    assert tracking.artifact(record, "report/a.txt").read_text(encoding="utf-8") == "grüße"
    folder = tracking.bundle_folder(record)
    rows = tiny.segments(5)
    assert folder == tmp_path / "cache/bundles" / model / "mein-modell-42"
    assert bundle.load(folder).predict(rows) == bundle.load(linear).predict(rows)
    assert tracking.bundle_folder(record) == folder
    assert [path.name for path in (tmp_path / "cache/bundles").iterdir()] == [model]
    assert run.where == f"{server}/#/experiments/{record.connection.experiment}/runs/{run.id}"
    with pytest.raises(UserError, match=r"has no report/b\.txt"):
        tracking.artifact(record, "report/b.txt")
