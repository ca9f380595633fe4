"""How many files of the package a reader has to open to follow a text on its way: those in which a function runs.

Each way begins after the command line has parsed. Before the package was rebuilt (commit c9bc5e9) these numbers were: training 54,
prediction 14, events 28, a request 12, evaluation 49.
"""

from __future__ import annotations

import inspect
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType

import pytest

import exported
import haltung
import tiny
from haltung.corpus.clean import CleaningRules
from haltung.corpus.prepare import prepare
from haltung.corpus.readers.tables import Jsonl
from haltung.corpus.split import Stratified
from haltung.corpus.store import Prepared
from haltung.experiments.train import Plan, train
from haltung.models.spec import NetworkSpec
from haltung.tracking import Store
from haltung.training.recipe import Training

PACKAGE = f"{Path(haltung.__file__).parent}/"

# How many files are on each way, at most.
TRAINING, PREDICTION, EVENTS, REQUEST, EVALUATION = 54, 17, 29, 12, 49


class FileCounter:
    """Notes the package's files in which a function runs, in all threads that are started after it was made."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self._counting = False
        threading.setprofile(self._note)

    @contextmanager
    def counting(self) -> Iterator[set[str]]:
        """Count within the block."""
        self.files.clear()
        self._counting = True
        sys.setprofile(self._note)
        try:
            yield self.files
        finally:
            sys.setprofile(None)
            self._counting = False

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        if not self._counting or event != "call" or not _is_function(frame.f_code):
            return
        name = frame.f_code.co_filename.removeprefix(PACKAGE)
        if name not in self.files and not _is_importing(frame):
            self.files.add(name)


def _is_function(code: CodeType) -> bool:
    """Return whether the code is a function of the package, and no body of a module or class."""
    return code.co_filename.startswith(PACKAGE) and bool(code.co_flags & inspect.CO_OPTIMIZED)


def _is_importing(frame: FrameType) -> bool:
    """Return whether a module of the package is being imported, which may call functions too."""
    outer: FrameType | None = frame
    while outer is not None:
        if outer.f_code.co_name == "<module>" and outer.f_code.co_filename.startswith(PACKAGE):
            return True
        outer = outer.f_back
    return False


@pytest.fixture
def counter() -> Iterator[FileCounter]:
    """A counter that is removed from new threads afterwards."""
    yield FileCounter()
    threading.setprofile(None)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Trained:
    """A tiny BERT trained on a tiny corpus, its run, and the files on its way."""

    corpus: Prepared
    store: Store
    run: str
    files: frozenset[str]


@pytest.fixture(scope="module")
def trained(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The corpus prepared from its file, and the model trained into a bundle of a tracked run."""
    home = tmp_path_factory.mktemp("way")
    rows = [
        {"id": one.id, "text": f"{one.text[:-2]} am {number}. Mai .", "context": one.context, "article": one.article, **one.labels}
        for number, one in enumerate(tiny.segments(120, articles=30))
    ]
    (home / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    store = Store(uri=f"sqlite:///{home}/mlflow.db", artifacts=str(home / "artifacts"))
    encoder, model, training = tiny.encoder(bert), NetworkSpec(max_length=32), Training(epochs=1, precision="fp32")
    counter = FileCounter()
    with counter.counting() as files:
        reader = Jsonl(str(home / "texts.jsonl"))
        corpus = prepare("tiny", reader, tiny.scheme(), CleaningRules(near=0.0), Stratified(), home / "prepared")
        outcome = train(Plan("tiny", corpus, encoder, model, training, 1, {}, ["train"], home / "runs"), store)
    threading.setprofile(None)  # type: ignore[arg-type]
    return Trained(corpus, store, outcome.run, frozenset(files))


def _at_most(files: set[str] | frozenset[str], most: int) -> None:
    assert len(files) <= most, f"{len(files)} files: {' '.join(sorted(files))}"


def test_a_text_becomes_a_trained_bundle(trained: Trained) -> None:
    """Read, cleaned, split, learned from, calibrated, tracked, with a report on dev."""
    assert "training/finetune.py" in trained.files
    _at_most(trained.files, TRAINING)


def test_a_text_is_predicted_by_a_runs_model(trained: Trained, counter: FileCounter) -> None:
    """As ``haltung predict run=… text=…`` does."""
    from haltung.experiments.predict import load_model, single_text

    with counter.counting() as files:
        (prediction,) = load_model(trained.store, trained.run).predict([single_text("Chile warnt die Marine .")])
    assert prediction.labels
    _at_most(files, PREDICTION)


def test_an_article_becomes_dyads(trained: Trained, counter: FileCounter, tmp_path: Path) -> None:
    """Cut into sentences, its actors found, labelled, and each stance given its source and target."""
    from haltung import tracking
    from haltung.actors.finder import Actors
    from haltung.events.dyads.rules import WordOrder
    from haltung.events.pipeline import events_of, load_predictor
    from haltung.events.text.read import find, read

    bundle = tracking.bundle_folder(tracking.find(trained.store, trained.run))
    (tmp_path / "a.txt").write_text("Chile warnt Peru\n\nChile warnt Peru vor dem Zoll . Peru lobt den Zoll in Laos .", encoding="utf-8")
    with counter.counting() as files:
        articles = read(find(str(tmp_path / "a.txt")), 100_000)
        (found,) = events_of(articles, load_predictor(bundle), Actors.load(), WordOrder())
    assert found.segments  # type: ignore[union-attr]
    _at_most(files, EVENTS)


def test_a_request_is_answered(counter: FileCounter, tmp_path: Path) -> None:
    """``POST /classify``, from the application's entrance to its answer, on a server that is warm."""
    from starlette.testclient import TestClient

    from haltung.serving.app import application
    from haltung.serving.engine import Settings
    from haltung.serving.service import Service

    settings = Settings(bundle=exported.write(tmp_path / "bundle"), runtime="onnxruntime", format="fp32")
    with TestClient(application(Service(settings))) as client:
        client.post("/classify", json={"text": "Chile lobt Peru ."}).raise_for_status()
        with counter.counting() as files:
            answer = client.post("/classify", json={"text": "Chile warnt Peru ."})
    assert answer.json()["stance"] in ("warning", "support", "neutral")
    _at_most(files, REQUEST)


def test_an_evaluated_run_becomes_a_page(trained: Trained, counter: FileCounter, tmp_path: Path) -> None:
    """Its test split predicted, scored, analysed, and reported."""
    from haltung import tracking
    from haltung.experiments.evaluate import evaluate, models_of

    with counter.counting() as files:
        models = models_of(tracking.find(trained.store, trained.run))
        done = evaluate(models, trained.corpus, own_corpus=True, folder=tmp_path)
    assert (done.models[0].report / "report.html").is_file()
    _at_most(files, EVALUATION)
