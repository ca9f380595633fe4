"""How a server starts: which runtime it selects, and what it refuses."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

import exported
from haltung.errors import UserError
from haltung.inference import sessions
from haltung.inference.client import Classifier
from haltung.models.bundle import ExportedModel, load
from haltung.records import Segment
from haltung.serving.engine import Engine, Settings, open_engine, secret
from served import served

pytestmark = pytest.mark.slow

SEGMENT = {"text": "Peru lobt den Zoll in Malta .", "context": "Nepal"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported bundle."""
    return exported.write(tmp_path_factory.mktemp("start") / "bundle")


def _answers(engine: Engine, texts: list[dict[str, str]]) -> dict[int, Any]:
    units = engine.units([Segment("", one["text"], context=one["context"]) for one in texts])
    return {place: one.probabilities for places, found in engine.groups(units) for place, one in zip(places, found, strict=True)}


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_each_runtime_answers_as_the_client_does(bundle: Path, runtime: str) -> None:
    """For texts of all lengths, alone and in groups."""
    texts = [{"text": "Peru lobt den Zoll . " * (number % 7 + 1), "context": "Nepal " * (number % 3)} for number in range(30)]
    found = _answers(open_engine(Settings(bundle, runtime=runtime, threads=1)), texts)
    expected = Classifier(bundle).probabilities(texts)
    for task, values in expected.items():
        for row, line in enumerate(values):
            assert found[row][task][0] == pytest.approx(line, abs=1e-5)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_each_runtime_reads_articles_as_the_client_does(article_bundle: Path, runtime: str) -> None:
    """Of one sentence to more than a window, alone and together."""
    engine = open_engine(Settings(article_bundle, runtime=runtime, threads=1, tokens=300))
    sizes = (1, 32, 5, 3, 33, 8, 2)
    segments = [
        Segment("", "Peru lobt den Zoll . " * (n % 5 + 1), article=f"a{size}", position=n, headline="Nepal")
        for size in sizes
        for n in range(size)
    ]
    units = engine.units(segments)
    found = {number: one for numbers, answers in engine.groups(units) for number, one in zip(numbers, answers, strict=True)}
    places = [{"text": one.text, "article": one.article, "position": one.position, "headline": one.headline} for one in segments]
    expected = Classifier(article_bundle).probabilities(places)
    for number, unit in enumerate(units):
        rows = [row for row in unit.rows if row is not None]
        for task, values in expected.items():
            assert found[number].probabilities[task] == pytest.approx(values[rows], abs=1e-5)


@pytest.mark.parametrize(("processor", "first"), [("x86_64", "openvino"), ("AMD64", "openvino"), ("aarch64", "onnxruntime")])
def test_the_processor_says_which_runtime_is_taken(
    bundle: Path, root: Path, monkeypatch: pytest.MonkeyPatch, processor: str, first: str
) -> None:
    """On x86-64 it is OpenVINO if that is installed, except for linear models."""
    monkeypatch.setattr("platform.machine", lambda: processor)
    assert open_engine(Settings(root / "tests/data/bundle_0.1.0", threads=1)).graph.runtime == "onnxruntime"
    assert str(open_engine(Settings(bundle, threads=1)).graph) == f"{first} fp32"
    monkeypatch.setattr(sessions, "is_installed", lambda name: name != "openvino")
    assert open_engine(Settings(bundle, threads=1)).graph.runtime == "onnxruntime"


@pytest.mark.parametrize("fails", ["to load", "to run"])
def test_onnx_runtime_takes_over_what_openvino_fails_to_do(bundle: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    """Unless OpenVINO was named: then its error is raised. ``predict`` does the same."""

    def broken(*_: object) -> Any:
        raise UserError("openvino can't load it") if fails == "to load" else RuntimeError("it can't be run")

    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(sessions, "_openvino", broken if fails == "to load" else lambda graph: broken)
    assert open_engine(Settings(bundle)).graph.runtime == "onnxruntime"
    with pytest.raises(UserError, match="it"):
        open_engine(Settings(bundle, runtime="openvino"))
    model = load(bundle, graph=True, many=True)
    assert isinstance(model, ExportedModel)
    assert model.runtime == "onnxruntime"


def test_a_format_goes_to_the_runtime_that_can_run_it(tmp_path: Path) -> None:
    """Only OpenVINO runs bf16; if it is named, it is used even if the processor is slow with it."""
    copy = exported.write(tmp_path / "own")
    description = json.loads((copy / "haltung.json").read_text(encoding="utf-8"))
    description["formats"]["bf16"] = {"runtime": "openvino", "file": "onnx/model.fp32.onnx", "hint": "bf16"}
    (copy / "haltung.json").write_text(json.dumps(description), encoding="utf-8")
    assert str(open_engine(Settings(copy, format="bf16")).graph) == "openvino bf16"
    with pytest.raises(UserError, match="has no format 'bf16' for onnxruntime; it has fp32, bf16"):
        open_engine(Settings(copy, runtime="onnxruntime", format="bf16"))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"format": "int8"}, "has no format 'int8' for openvino, onnxruntime; it has fp32"),
        ({"runtime": "onxruntime"}, "runtime is 'onxruntime', did you mean 'onnxruntime'"),
        ({"texts": 50, "queue": 20}, "texts is 50 and queue is 20, so the largest allowed request never fits"),
        ({"origins": ("example.org",)}, "origins has 'example.org'; an origin is a scheme and a host"),
        ({"origins": ("https://example.org/",)}, "origins has 'https://example.org/'"),
    ],
)
def test_what_can_not_be_served_is_refused(bundle: Path, given: dict[str, Any], sentence: str) -> None:
    """Before the server listens."""
    with pytest.raises(UserError, match=sentence.replace("(", r"\(")):
        open_engine(Settings(bundle, **given))


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    """The message says how to get one."""
    with pytest.raises(UserError, match=r"has no haltung\.json, so it is not a bundle; name a folder that `haltung export` has written"):
        open_engine(Settings(tmp_path))


def test_a_graph_that_is_missing_or_broken_is_refused(tmp_path: Path) -> None:
    """Whatever the runtime raises, the message is one sentence."""
    bundle = exported.write(tmp_path / "bundle")
    graph = bundle / "onnx/model.fp32.onnx"
    graph.write_bytes(b"no graph")
    for runtime in ("onnxruntime", "openvino"):
        with pytest.raises(UserError, match=f"{runtime} can't load .*model.fp32.onnx .*export the bundle again"):
            open_engine(Settings(bundle, runtime=runtime))
    graph.unlink()
    with pytest.raises(UserError, match=r"model.fp32.onnx is missing, so the bundle is incomplete"):
        open_engine(Settings(bundle))


def test_a_port_that_is_taken_is_refused(bundle: Path, tmp_path: Path) -> None:
    """One sentence and exit code 2, before the model is loaded."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(AssertionError, match=f"the server can't listen on host=127.0.0.1 port={port}"),
            served(bundle, tmp_path, f"port={port}"),
        ):
            pass


def test_the_key_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file takes precedence; without either there is no key."""
    monkeypatch.delenv("HALTUNG_API_KEY", raising=False)
    assert secret(None) is None
    monkeypatch.setenv("HALTUNG_API_KEY", "from-the-environment")
    file = tmp_path / "key"
    file.write_text("from-the-file \n")
    assert (secret(None), secret(str(file))) == ("from-the-environment", "from-the-file")


@pytest.mark.parametrize("found", ["", " \n", "schlüssel", "a\tb"])
def test_a_key_that_no_header_can_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str) -> None:
    """An empty key would protect nothing."""
    (tmp_path / "key").write_text(found, encoding="utf-8")
    with pytest.raises(UserError, match="is empty or has characters other"):
        secret(str(tmp_path / "key"))
    monkeypatch.setenv("HALTUNG_API_KEY", found)
    with pytest.raises(UserError, match="the key in HALTUNG_API_KEY is empty"):
        secret(None)


def test_a_served_bundle_needs_no_writable_place(bundle: Path, tmp_path: Path) -> None:
    """As in a container with a read-only file system: nothing is written to the bundle, and no
    cache is needed.
    """
    before = sorted(path.name for path in bundle.rglob("*"))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "cache").mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    with served(bundle, scratch, runtime="auto") as server, server.client() as client:
        assert client.post("/classify", json=SEGMENT).status_code == 200
    assert sorted(path.name for path in bundle.rglob("*")) == before
