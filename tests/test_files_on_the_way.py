"""The number of files in the package that a reader has to open to follow a use case: those in which
a function is called.

Use cases begin after the command line is parsed. Before the package was rebuilt (commit c9bc5e9),
the numbers were 37 for a bundle, 54 for a tracked training with its report, 10 for a prediction, 24
for the dyads of an article, 12 for a request, 34 for a report, and 49 for an evaluation from
finding the run to its tracked report.
"""

from __future__ import annotations

import inspect
import json
import shutil
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
from haltung.evaluation.predictions import read_predictions, score, write_predictions
from haltung.experiments.train import Plan, train
from haltung.models import bundle
from haltung.models.spec import LinearSpec, NetworkSpec
from haltung.records import Segment
from haltung.tracking import Store
from haltung.training.calibration import calibrate, calibration_of
from haltung.training.recipe import Training

pytestmark = pytest.mark.slow

PACKAGE = f"{Path(haltung.__file__).parent}/"

# The maximum number of files for each use case.
BUNDLE, TRAINING, PREDICTION, DYADS, REQUEST, REPORT, EVALUATION = 35, 47, 14, 22, 10, 30, 44


class FileCounter:
    """Records the package's files in which a function is called, in this thread and in those
    started later.
    """

    def __init__(self) -> None:
        self.files: set[str] = set()
        self._counting = False
        threading.setprofile(self._note)

    @contextmanager
    def counting(self) -> Iterator[set[str]]:
        """Record calls within the block; yield the files."""
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
    """Return whether the code is a function of the package, not the body of a module or class."""
    return code.co_filename.startswith(PACKAGE) and bool(code.co_flags & inspect.CO_OPTIMIZED)


def _is_importing(frame: FrameType) -> bool:
    """Return whether the call is part of importing a module of the package."""
    outer: FrameType | None = frame
    while outer is not None:
        if outer.f_code.co_name == "<module>" and outer.f_code.co_filename.startswith(PACKAGE):
            return True
        outer = outer.f_back
    return False


@pytest.fixture
def counter() -> Iterator[FileCounter]:
    """A counter that no longer affects new threads after the test."""
    yield FileCounter()
    threading.setprofile(None)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Trained:
    """A tiny BERT trained on a tiny corpus, its run, and the files that its training used."""

    corpus: Prepared
    store: Store
    run: str
    bundle: Path
    files: frozenset[str]


def _plan(corpus: Prepared, bert: Path, folder: Path) -> Plan:
    training = Training(epochs=1, precision="fp32")
    return Plan("tiny", corpus, tiny.encoder(bert), NetworkSpec(max_length=32), training, 1, {}, ["train"], folder)


def _prepared(home: Path) -> Prepared:
    rows = [
        {"id": one.id, "text": f"{one.text[:-2]} am {number}. Mai .", "context": one.context, "article": one.article, **one.labels}
        for number, one in enumerate(tiny.segments(120, articles=30))
    ]
    (home / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    reader = Jsonl(str(home / "texts.jsonl"))
    return prepare("tiny", reader, tiny.scheme(), CleaningRules(near=0.0), Stratified(), home / "prepared")


@pytest.fixture(scope="module")
def trained(bert: Path, mlflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A corpus prepared from its file, and a model trained in a tracked run."""
    home = tmp_path_factory.mktemp("way")
    shutil.copy(mlflow_database, home / "mlflow.db")
    store = Store(uri=f"sqlite:///{home}/mlflow.db", artifacts=str(home / "artifacts"))
    counter = FileCounter()
    with counter.counting() as files:
        corpus = _prepared(home)
        outcome = train(_plan(corpus, bert, home / "runs"), store)
    threading.setprofile(None)  # type: ignore[arg-type]
    return Trained(corpus, store, outcome.run, outcome.bundle, frozenset(files))


def _at_most(files: set[str] | frozenset[str], most: int) -> None:
    assert len(files) <= most, f"{len(files)} files: {' '.join(sorted(files))}"


def test_a_text_becomes_a_bundle(bert: Path, counter: FileCounter, tmp_path: Path) -> None:
    """Reading, cleaning, splitting, storing, training, calibration, saving."""
    from haltung.training.finetune import finetune

    with counter.counting() as files:
        corpus = _prepared(tmp_path)
        plan = _plan(corpus, bert, tmp_path)
        train_split, dev_split = corpus.segments("train"), corpus.segments("dev")
        encoder, spec, training = plan.encoder, plan.model, plan.training
        model = finetune(train_split, dev_split, corpus.scheme, encoder, spec, training, 1, tmp_path / "checkpoints", False).model
        calibrate(model, score(dev_split, model.predict(dev_split), corpus.scheme, "tiny", "dev"))
        saved = bundle.save(model, tmp_path / "bundle", {}, [*train_split, *dev_split])
    assert saved.is_dir()
    _at_most(files, BUNDLE)


def test_a_text_becomes_a_tracked_run(trained: Trained) -> None:
    """Also with metrics and report on dev, in MLflow."""
    assert {"training/finetune.py", "tracking/write.py", "evaluation/report/page.py"} <= trained.files
    _at_most(trained.files, TRAINING)


def test_a_text_is_predicted_from_a_bundle(trained: Trained, counter: FileCounter) -> None:
    """Loading, tokenisation, prediction, calibration."""
    with counter.counting() as files:
        (prediction,) = bundle.load(trained.bundle).predict([Segment("1", "Chile warnt die Marine .")])
    assert prediction.labels
    _at_most(files, PREDICTION)


def test_an_article_becomes_dyads(counter: FileCounter, tmp_path: Path) -> None:
    """Splitting into sentences, finding actors, labelling by a linear model, and assigning sources
    and targets.
    """
    from haltung.actors.finder import Actors
    from haltung.events.pipeline import dyad_finder, events_of, load_predictor
    from haltung.events.text.read import find, read
    from haltung.models.linear import fit

    bundle.save(fit(tiny.segments(300), tiny.scheme(), LinearSpec(), seed=1), tmp_path / "bundle")
    (tmp_path / "a.txt").write_text("Chile warnt Peru\n\nChile warnt Peru vor dem Zoll . Peru lobt den Zoll in Laos .", encoding="utf-8")

    def events() -> list[object]:
        articles = read(find(str(tmp_path / "a.txt"))[0], 100_000)
        predictor, actors = load_predictor(tmp_path / "bundle"), Actors.load()
        return list(events_of(articles, predictor, actors, dyad_finder(predictor, tmp_path / "bundle", actors)))

    events()  # tables are read once per process
    with counter.counting() as files:
        (found,) = events()
    assert ("CHL", "PER") in [(event.source, event.target) for event in found.events]  # type: ignore[attr-defined]
    _at_most(files, DYADS)


def test_a_request_is_answered(counter: FileCounter, tmp_path: Path) -> None:
    """``POST /classify``, from the application's entry point to its answer, on a warm server."""
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


def test_predictions_become_a_report(trained: Trained, counter: FileCounter, tmp_path: Path) -> None:
    """Metrics with intervals, calibration, error analysis, and the page."""
    from haltung.evaluation.metrics.classification import evaluate, with_intervals
    from haltung.evaluation.report import page
    from haltung.experiments.evaluate import analyse_errors

    model, segments = bundle.load(trained.bundle), trained.corpus.segments("test")
    write_predictions(tmp_path / "test.parquet", score(segments, model.predict(segments), trained.corpus.scheme, "tiny", "test"))

    def report() -> None:
        scored = read_predictions(tmp_path / "test.parquet")
        result, calibration = with_intervals(evaluate(scored), scored), calibration_of(model, scored)
        page.write(tmp_path / "report", result, scored, calibration=calibration, analysis=analyse_errors(model, segments, scored))

    # Modules are imported and tables read once per process, by whichever test runs first.
    report()
    with counter.counting() as files:
        report()
    assert (tmp_path / "report/report.html").is_file()
    _at_most(files, REPORT)


def test_a_run_is_evaluated(trained: Trained, counter: FileCounter, tmp_path: Path) -> None:
    """As ``haltung evaluate``: finding, loading, predicting the test split, reporting, tracking."""
    from haltung import tracking
    from haltung.experiments.evaluate import evaluate, models_of

    with counter.counting() as files:
        models = models_of(tracking.find(trained.store, trained.run))
        (done,), _ = evaluate(models, trained.corpus, own_corpus=True, folder=tmp_path)
    assert (done.report / "report.html").is_file()
    _at_most(files, EVALUATION)
