"""A bundle with MLflow's interface: inputs, predictions, and loading on any machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException

import bare_environment
import exported
import tiny
from haltung import tracking
from haltung.errors import UserError
from haltung.export.pyfunc import BundleModel
from haltung.inference.client import Classifier
from haltung.labels import parse
from haltung.models import bundle
from haltung.models.linear import fit
from haltung.models.neural import build
from haltung.models.spec import LinearSpec, NetworkSpec
from haltung.records import Segment
from haltung.tracking.models import ModelVersion, columns, log_exported, requirements, signature


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear bundle."""
    model = fit(tiny.segments(60), tiny.scheme(), LinearSpec(min_count=1), seed=1)
    return bundle.save(model, tmp_path_factory.mktemp("pyfunc") / "linear")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported bundle."""
    return exported.write(tmp_path_factory.mktemp("pyfunc") / "exported")


@pytest.fixture(params=["trained", "exported"])
def loaded(request: pytest.FixtureRequest, folder: Path, shipped: Path, tmp_path: Path) -> BundleModel:
    """A model as MLflow loads it: a trained bundle within this project, and an exported one with
    its own client.
    """
    if request.param == "trained":
        return _loaded(folder)
    return _loaded(shipped, shutil.copy(Path(__file__).resolve().parents[2] / "src/haltung/inference/client.py", tmp_path / "client.py"))


def _loaded(folder: Path, client: Path | None = None) -> BundleModel:
    model = BundleModel()
    artifacts = {"bundle": str(folder)} | ({"client": str(client)} if client else {})
    model.load_context(SimpleNamespace(artifacts=artifacts))
    return model


def test_it_answers_as_the_bundle_does(folder: Path) -> None:
    """Both interfaces give the same predictions."""
    rows = tiny.segments(8, seed=3)
    expected = [prediction.to_dict() for prediction in bundle.load(folder).predict(rows)]
    answers = _loaded(folder).predict(None, columns(rows)).to_dict("records")
    assert [answer | {"probabilities": json.loads(answer["probabilities"])} for answer in answers] == expected


def test_the_context_reaches_a_network(bert: Path, tmp_path: Path) -> None:
    """A network that reads the context gives another answer for another context."""
    torch.manual_seed(1)
    model = build(tiny.encoder(bert), NetworkSpec(max_length=32, reads={"default": "context"}), tiny.scheme())
    loaded = _loaded(bundle.save(model, tmp_path / "network"))
    frame = pd.DataFrame({"text": ["Chile warnt die Marine ."] * 2, "context": ["Peru lobt den Zoll .", "Ghana Ghana Ghana"]})
    first, second = loaded.predict(None, frame)["probabilities"]
    assert first != second


@pytest.mark.parametrize(
    "given",
    [
        "Peru lobt den Zoll .",
        ["Peru lobt den Zoll ."],
        {"text": "Peru lobt den Zoll ."},
        [{"text": "Peru lobt den Zoll ."}],
        pd.DataFrame({"text": ["Peru lobt den Zoll ."], "context": [None], "target": [np.nan], "id": [pd.NA]}),
    ],
)
def test_text_may_come_as_a_table_or_a_list(loaded: BundleModel, given: Any) -> None:
    """Optional values may be omitted, or be a missing value of pandas."""
    (answer,) = loaded.predict(None, given).to_dict("records")
    values = {task: max(has, key=has.get) for task, has in json.loads(answer.pop("probabilities")).items()}
    assert (answer, values["topic"]) == ({"id": "0", **values}, "economy")


def test_a_model_of_single_texts_passes_over_the_columns_of_articles(loaded: BundleModel) -> None:
    """One table can be used for models of both kinds."""
    frame = pd.DataFrame({"text": ["Peru lobt den Zoll .", "Chile warnt die Marine ."], "id": ["x", "y"]})
    placed = frame.assign(article="a", headline="Ghana", position=[1.0, np.nan])
    pd.testing.assert_frame_equal(loaded.predict(None, placed), loaded.predict(None, frame))


def test_half_a_character_is_read_all_the_same(loaded: BundleModel) -> None:
    """JSON escapes can contain it, and strings of pandas can't."""
    assert len(loaded.predict(None, ["Peru lobt \ud83d den Zoll .", {"text": "Chile .", "context": "\ude00"}])) == 2


def test_an_answer_keeps_the_rows_index_and_id(loaded: BundleModel) -> None:
    """Spark and pandas align answers and rows by index."""
    frame = pd.DataFrame({"text": ["Peru lobt den Zoll ."] * 2, "id": ["x", "y"]}, index=[7, 3])
    answers = loaded.predict(None, frame)
    assert (list(answers.index), list(answers["id"])) == ([7, 3], ["x", "y"])


def test_no_rows_give_no_answers(loaded: BundleModel) -> None:
    """An empty input is no error, and the result still has its columns."""
    answers = loaded.predict(None, [])
    assert (len(answers), list(answers.columns)) == (0, ["id", "topic", "stance", "probabilities"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pd.DataFrame({"satz": ["x"]}), "no column text; found satz"),
        (["Peru lobt .", "  "], "row 1 of the input has no text"),
        (pd.DataFrame({"text": ["x", None]}), "row 1 of the input has no text"),
        (5, "the input is int; expected a table"),
    ],
)
def test_input_without_text_is_an_error(loaded: BundleModel, given: Any, message: str) -> None:
    """No answer is guessed; the error makes MLflow's server answer 400."""
    with pytest.raises(MlflowException, match=message) as refused:
        loaded.predict(None, given)
    assert refused.value.get_http_status_code() == 400


def test_a_multi_label_task_answers_with_a_list(tmp_path: Path) -> None:
    """Its column is a list of strings, as the signature says."""
    scheme = parse({"name": "m", "tasks": {"themes": {"kind": "multi", "labels": ["a", "b"]}}})
    rows = [Segment(str(i), ("alpha " if i % 2 else "") + ("beta" if i % 3 else "gamma"),
                    {"themes": tuple(t for t, on in (("a", i % 2), ("b", i % 3)) if on)}) for i in range(60)]  # fmt: skip
    loaded = _loaded(bundle.save(fit(rows, scheme, LinearSpec(min_count=1), seed=1), tmp_path / "multi"))
    declared = signature(scheme.to_dict()["tasks"]).outputs
    assert list(loaded.predict(None, ["alpha beta"])["themes"]) == [["a", "b"]]
    assert [str(spec) for spec in declared] == [
        "'id': string (required)",
        "'themes': Array(string) (required)",
        "'probabilities': string (required)",
    ]


def test_the_requirements_name_this_project_and_no_local_build() -> None:
    """A version with a suffix such as +cpu can't be installed elsewhere."""
    found = requirements("network")
    assert found[0].startswith("haltung==")
    assert any(line.startswith("torch==") for line in found)
    assert not any("+" in line for line in found)


# Runs in a process without this project; prints which of it, torch and transformers can be
# imported, and the answers for each form of input.
_ELSEWHERE = """
import importlib.util, json, sys
import mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
texts = json.loads(sys.argv[3])
answers = [
    model.predict(pd.DataFrame({"text": texts})),
    model.predict([{"text": text} for text in texts]),
    model.predict(pd.Series(texts, name="text")),
    model.unwrap_python_model().predict(None, texts),
]
there = [name for name in ("haltung", "torch", "transformers") if importlib.util.find_spec(name)]
print(json.dumps({"there": there, "answers": [answer.to_dict("records") for answer in answers]}))
"""

TEXTS = ["Peru lobt den Zoll .", "Chile warnt die Marine .", "Größe 😀 ?"]


@pytest.fixture(scope="module")
def registered(shipped: Path, mlflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[tracking.Store, ModelVersion]:
    """A store, and the version registered in it for an exported bundle."""
    home = tmp_path_factory.mktemp("registered")
    shutil.copy(mlflow_database, home / "mlflow.db")
    store = tracking.Store(f"sqlite:///{home}/mlflow.db", str(home / "artifacts"))
    with tracking.run(store, "one") as run:
        pass
    return store, log_exported(run.connection, run.id, shipped, tiny.segments(3))


def _expected(shipped: Path) -> list[dict[str, Any]]:
    found = Classifier(shipped).classify(TEXTS)
    near = [{task: pytest.approx(values) for task, values in one["probabilities"].items()} for one in found]
    return [{"id": str(number), **one, "probabilities": near[number]} for number, one in enumerate(found)]


def test_the_registered_version_tells_what_it_is(registered: tuple[tracking.Store, ModelVersion]) -> None:
    """It has form, scheme, corpus and run, and needs no torch and no Haltung; the run names it."""
    store, logged = registered
    record = tracking.find(store, "one")
    version = record.connection.client.get_model_version(logged.name, logged.version)
    wanted = {"haltung.form": "exported", "haltung.scheme": "tiny", "haltung.corpus": "tiny", "haltung.run": record.id}
    assert wanted.items() <= version.tags.items()
    assert (record.tags["haltung.exported"], record.tags["haltung.exported_version"]) == (version.source, f"{logged.name}/{logged.version}")
    assert "haltung.bundle" not in record.tags
    model = record.connection.client.get_logged_model(version.source.removeprefix("models:/"))
    folder = Path(model.artifact_location.removeprefix("file://"))
    lines = (folder / "requirements.txt").read_text(encoding="utf-8").split()
    assert [line.partition("==")[0] for line in lines] == ["mlflow", "numpy", "pandas", "onnxruntime", "tokenizers"]
    assert all(line.partition("==")[2] for line in lines)


def test_only_an_exported_bundle_can_be_logged_so(registered: tuple[tracking.Store, ModelVersion], folder: Path) -> None:
    """A trained one is refused with the command that exports it."""
    record = tracking.find(registered[0], "one")
    with pytest.raises(UserError, match="a trained bundle that was not exported; write one with haltung export run="):
        log_exported(record.connection, record.id, folder, tiny.segments(3))


@pytest.mark.slow
def test_it_loads_where_nothing_of_this_project_is(registered: tuple[tracking.Store, ModelVersion], shipped: Path, tmp_path: Path) -> None:
    """A fresh environment with only the model's requirements, without torch and Haltung, gives the
    same answers for each form of input.
    """
    store, logged = registered
    client = tracking.open_store(store).client
    source = client.get_model_version(logged.name, logged.version).source
    location = client.get_logged_model(source.removeprefix("models:/")).artifact_location.removeprefix("file://")
    python = bare_environment.make(tmp_path / "venv", Path(location, "requirements.txt").read_text(encoding="utf-8").split())
    command = [str(python), "-c", _ELSEWHERE, store.address, f"models:/{logged.name}/{logged.version}", json.dumps(TEXTS)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=_bare())
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["there"] == []
    for answers in result["answers"]:
        assert [{**one, "probabilities": json.loads(one["probabilities"])} for one in answers] == _expected(shipped)


def _bare() -> dict[str, str]:
    """Return the environment without the variables that would expose this checkout."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}


@pytest.mark.slow
def test_mlflow_serves_it_over_http(registered: tuple[tracking.Store, ModelVersion], shipped: Path, tmp_path: Path) -> None:
    """It takes each request form with named columns; invalid input is answered with 400 and one
    sentence.
    """
    store, logged = registered
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", f"models:/{logged.name}/{logged.version}"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    # Its workers run `python`, which has to be this one.
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": store.address,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        _until_it_answers(f"http://127.0.0.1:{port}/health", process, tmp_path / "log")
        rows = [{"text": text} for text in TEXTS]
        for given in (
            {"dataframe_split": {"columns": ["text"], "data": [[text] for text in TEXTS]}},
            {"dataframe_records": rows},
            {"inputs": rows},
        ):
            code, answer = _asked(port, given)
            assert code == 200, answer
            found = json.loads(answer)["predictions"]
            assert [{**one, "probabilities": json.loads(one["probabilities"])} for one in found] == _expected(shipped)
        code, answer = _asked(port, {"dataframe_records": [{"text": "Peru lobt ."}, {"text": " "}]})
        assert (code, "row 1 of the input has no text" in answer) == (400, True)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def _until_it_answers(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(1800):
        try:
            urllib.request.urlopen(address, timeout=1).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        else:
            return
    raise AssertionError(log.read_text())


def _asked(port: int, given: dict[str, Any]) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", json.dumps(given).encode(), {"Content-Type": "application/json"})  # fmt: skip  # noqa: E501
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_spark_can_hold_the_answers() -> None:
    """Inputs are strings, outputs strings and lists of strings, which ``spark_udf`` can convert to
    types of Spark.
    """
    from mlflow.types import DataType
    from mlflow.types.schema import Array

    scheme = parse({"name": "m", "tasks": {"stance": {"labels": ["a", "b"]}, "themes": {"kind": "multi", "labels": ["a", "b"]}}})
    declared = signature(scheme.to_dict()["tasks"])
    assert {spec.type for spec in declared.inputs} == {DataType.string}
    assert [spec.type for spec in declared.outputs] == [DataType.string, DataType.string, Array(DataType.string), DataType.string]
    assert [spec.name for spec in declared.inputs if spec.required] == ["text"]
