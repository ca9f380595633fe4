"""Runs of a model of articles, on the command line: from training, evaluation and prediction to the
promotion of the exported bundle.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

import tiny
from command_line import SCHEME, find_run, recipe, run_here
from haltung.evaluation.predictions import score
from haltung.experiments.evaluate import analyse_errors
from haltung.models import bundle
from haltung.models.article import ArticleModel
from haltung.records import Segment
from haltung.tracking import Store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(bert: Path, tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], Store]) -> Path:
    """A folder with a run of a model of articles."""
    folder = tmp_path_factory.mktemp("articles")
    (folder / "scheme.yaml").write_text(SCHEME, encoding="utf-8")
    rows = []
    for segment in tiny.articles(120):
        split = ("train", "train", "dev", "test")[int(segment.article.rpartition("-")[2]) % 4]
        rows.append({**_row(segment), "text": f"{segment.text[:-2]} am {len(rows)}. Mai .", "split": split, **segment.labels})
    _write(folder / "texts.jsonl", rows)
    new_store(folder)
    words = ("model=article", "model.alone=0.2", "training.epochs=12", "seed=1", "encoder.encoder_rate=1e-3", "encoder.head_rate=3e-3")
    done = run_here(*recipe(bert, *words), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def _row(segment: Segment) -> dict[str, Any]:
    return {name: getattr(segment, name) for name in ("id", "text", "article", "headline", "position")}


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _folder(home: Path) -> Path:
    return next((home / "experiments/runs").glob("tiny-1-*/bundle"))


def _model(home: Path) -> ArticleModel:
    model = bundle.load(_folder(home))
    assert isinstance(model, ArticleModel)
    return model


def test_a_run_of_articles_has_learned_and_is_tracked(home: Path) -> None:
    """Its bundle and config are those of a model of articles; the prepared corpus has headlines and
    positions.
    """
    record = find_run(home, "tiny-1")
    assert record.metrics["dev/stance_macro_f1"] > 0.8  # type: ignore[attr-defined]
    assert record.config["model"]["_target_"].endswith("ArticleSpec")  # type: ignore[attr-defined]
    model = _model(home)
    assert (model.spec.sequence, model.spec.layers, model.spec.window, model.spec.max_length) == ("transformer", 2, 32, 32)


def _asked(home: Path, rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the probabilities that ``haltung predict`` writes, by id."""
    _write(home / "in.jsonl", rows)
    done = run_here("predict", "run=tiny-1", "input=in.jsonl", "output=out.jsonl", cwd=home)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in (home / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [answer["id"] for answer in answers] == [row["id"] for row in rows]
    return {answer["id"]: answer["probabilities"] for answer in answers}


def test_predict_reads_the_texts_of_an_article_together(home: Path) -> None:
    """Rows have article, headline and position and may be in any order; without these columns, each
    text is read alone.
    """
    segments = tiny.articles(3, seed=5)
    placed = _asked(home, [_row(segment) for segment in reversed(segments)])
    for prediction in _model(home).predict(segments):
        for task, expected in prediction.probabilities.items():
            assert placed[prediction.id][task] == pytest.approx(expected, abs=2e-2)  # bfloat16, in another order
    words = [{**_row(segment), "position": str(segment.position)} for segment in segments]
    assert _asked(home, words).keys() == placed.keys()
    alone = _asked(home, [{"id": segment.id, "text": segment.text} for segment in segments])
    bare = [replace(segment, article="", headline="", position=None) for segment in segments]
    for prediction in _model(home).predict(bare):
        for task, expected in prediction.probabilities.items():
            assert alone[prediction.id][task] == pytest.approx(expected, abs=2e-2)
    assert max(abs(placed[s.id]["topic"]["security"] - alone[s.id]["topic"]["security"]) for s in segments) > 0.1


@pytest.mark.parametrize("position", [-1, 0.5, "eins", True])
def test_predict_refuses_a_bad_position(home: Path, position: object) -> None:
    """Before the model is loaded; the message names file and line."""
    _write(home / "bad.jsonl", [{"text": "Ja ."}, {"text": "Nein .", "article": "a", "position": position}])
    done = run_here("predict", "run=tiny-1", "input=bad.jsonl", cwd=home)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "bad.jsonl, line 2: 'position' is" in done.stderr
    assert "whole number" in done.stderr


def test_a_single_text_is_enough(home: Path) -> None:
    """As for other models."""
    done = run_here("predict", "run=tiny-1", "text=Chile warnt Peru .", "context=Peru und das Heer", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "Security" in done.stdout


def test_a_run_of_articles_is_evaluated_with_report(home: Path) -> None:
    """On the test split, with error analysis."""
    done = run_here("evaluate", "run=tiny-1", "split=test", cwd=home)
    assert done.returncode == 0, done.stderr
    assert find_run(home, "tiny-1").metrics["test/stance_macro_f1"] > 0.8  # type: ignore[attr-defined]


def test_masked_names_are_read_among_their_neighbours(home: Path) -> None:
    """Names are masked, then swapped, in the whole article, which is read once for each."""
    model = _model(home)
    (first, *_), texts = tiny.articles(1, seed=8), ("Chile warnt Peru .", "Er warnt .", "Peru lobt sie .")
    rows = [
        replace(first, id=str(n), text=text, headline="Peru und der Zoll", position=n, labels={"topic": "economy", "stance": "warning"})
        for n, text in enumerate(texts)
    ]
    read: list[list[tuple[str, str]]] = []
    scored, predict = score(rows, model.predict(rows), model.scheme), model.predict
    model.predict = lambda segments: (read.append([(s.headline, s.text) for s in segments]), predict(segments))[1]  # type: ignore[method-assign, assignment, misc]
    analyse_errors(model, rows, scored, explain=0, draws=20)
    masked, swapped = read
    assert masked == [("Staat A und der Zoll", text) for text in ("Staat B warnt Staat A .", "Er warnt .", "Staat A lobt sie .")]
    other = swapped[0][0].removesuffix(" und der Zoll")
    assert other != "Peru"
    assert [text for _, text in swapped[1:]] == ["Er warnt .", f"{other} lobt sie ."]
    assert swapped[0][1].endswith(f" warnt {other} .")


@pytest.fixture(scope="module")
def exported(home: Path) -> Path:
    """The run's exported and registered bundle, with all formats."""
    done = run_here("export", "run=tiny-1", "to=bundle", "int8=true", "register=true", cwd=home)
    # int8 may be refused, since a tiny model loses more accuracy than a large one.
    assert done.returncode in (0, 1), done.stderr
    assert "registered as haltung version 1" in done.stdout
    return home / "bundle"


def test_a_run_of_articles_is_exported_and_verifies(home: Path, exported: Path) -> None:
    """Each format is included after comparison with the model on dev, or refused with a reason."""
    description = json.loads((exported / "haltung.json").read_text(encoding="utf-8"))
    assert {"fp32", "fp16"} <= {*description["formats"]}
    assert "int8" in {*description["formats"], *description["refused"]}
    assert description["formats"]["fp32"]["largest_difference"] < 1e-4
    done = run_here("verify", f"bundle={exported}", cwd=home)
    assert (done.returncode, "is as it was exported" in done.stdout) == (0, True), done.stdout + done.stderr


def test_the_exported_bundle_predicts_as_the_run(home: Path, exported: Path) -> None:
    """Its graph gives the probabilities of the run's weights."""
    rows = [*tiny.articles(2, seed=5), Segment("lone", "Chile warnt Peru .")]
    expected = {one.id: one for one in _model(home).predict(rows, precision="fp32")}
    for one in bundle.load(exported, graph=True).predict(rows):
        assert one.labels == expected[one.id].labels
        for task, values in one.probabilities.items():
            assert values == pytest.approx(expected[one.id].probabilities[task], abs=1e-4)


def test_a_registered_export_of_articles_reads_them_in_mlflow(home: Path, exported: Path) -> None:
    """By the client in the bundle, without torch and this package."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{home / 'experiments' / 'mlflow.db'}")
    try:
        loaded = mlflow.pyfunc.load_model("models:/haltung/1")
    finally:
        mlflow.set_tracking_uri(None)
    segments = [*tiny.articles(2, seed=5), Segment("lone", "Chile warnt Peru .")]
    frame = pd.DataFrame([_row(segment) for segment in segments])
    expected = {one.id: one.probabilities for one in _model(home).predict(segments, precision="fp32")}
    answers = loaded.predict(frame)
    for name, probabilities in zip(answers["id"], answers["probabilities"], strict=True):
        for task, values in json.loads(probabilities).items():
            assert values == pytest.approx(expected[name][task], abs=1e-4)


@pytest.mark.parametrize("words", [("verify",), ("serve", "port=0")])
def test_what_needs_an_exported_bundle_refuses_one_of_articles(home: Path, words: tuple[str, ...]) -> None:
    """As any bundle that is not exported."""
    done = run_here(*words, f"bundle={_folder(home)}", cwd=home)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "not exported" in done.stderr


def test_a_run_of_articles_is_promoted_by_its_exported_version(home: Path, exported: Path) -> None:
    """As runs of other models."""
    done = run_here("promote", "run=tiny-1", "alias=champion", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "haltung version 1" in done.stdout


def test_events_reads_the_sentences_of_an_article_together(home: Path) -> None:
    """Sentences are read with their headline and neighbours, but without those of other articles in
    the file.
    """
    texts = {"x": ("Chile und das Heer", "Chile warnt Peru . Nepal lobt Malta ."), "y": ("Laos und den Zoll", "Laos kennt Ghana .")}
    _write(home / "articles.jsonl", [{"id": name, "headline": head, "text": text} for name, (head, text) in texts.items()])
    done = run_here("events", f"bundle={_folder(home)}", "input=articles.jsonl", "output=events.jsonl", cwd=home)
    assert done.returncode == 0, done.stderr
    articles = [json.loads(line) for line in (home / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(one["id"], len(one["segments"])) for one in articles] == [("x", 2), ("y", 1)]
    model = _model(home)
    for one in articles:
        rows = [
            Segment(row["id"], row["text"], article=one["id"], headline=one["headline"], position=number)
            for number, row in enumerate(one["segments"])
        ]
        alone = model.predict([Segment(row.id, row.text) for row in rows])
        for row, expected, bare in zip(one["segments"], model.predict(rows), alone, strict=True):
            topic = row["probabilities"]["topic"]
            assert topic == pytest.approx(expected.probabilities["topic"], abs=2e-2)
            assert topic != pytest.approx(bare.probabilities["topic"], abs=2e-2)


@pytest.fixture(scope="module")
def loaded(home: Path) -> Any:
    """The run's model, loaded by MLflow."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{home / 'experiments' / 'mlflow.db'}")
    try:
        yield mlflow.pyfunc.load_model(f"runs:/{find_run(home, 'tiny-1').id}/bundle")  # type: ignore[attr-defined]
    finally:
        mlflow.set_tracking_uri(None)


def test_mlflow_reads_the_rows_of_an_article_together(home: Path, loaded: Any) -> None:
    """Article, headline and position are optional columns; positions may be integers, floats with
    missing values, or strings.
    """
    segments = [*tiny.articles(2, seed=5), Segment("lone", "Chile warnt Peru .")]
    rows = [_row(segment) for segment in segments]
    expected = {p.id: p.to_dict()["probabilities"] for p in _model(home).predict(segments)}
    frame = pd.DataFrame(rows)
    assert math.isnan(frame["position"].iloc[-1])
    whole = pd.DataFrame(rows[:-1])
    assert whole["position"].dtype == "int64"
    text = frame.assign(position=["" if math.isnan(one) else str(int(one)) for one in frame["position"]])
    for given in (frame, frame.astype({"position": "Int64"}), text, rows, whole):
        answers = loaded.predict(given)
        for name, probabilities in zip(answers["id"], answers["probabilities"], strict=True):
            for task, values in json.loads(probabilities).items():
                assert values == pytest.approx(expected[name][task], abs=2e-2)
    alone = loaded.predict(frame[["id", "text"]])
    topics = [[json.loads(one)["topic"]["security"] for one in answers["probabilities"]] for answers in (loaded.predict(frame), alone)]
    assert max(abs(one - other) for one, other in zip(*topics, strict=True)) > 0.1


def test_mlflow_refuses_a_bad_position(loaded: Any) -> None:
    """The message names the row, and the status is 400."""
    rows = [{"text": "Ja .", "article": "a", "position": 0}, {"text": "Nein .", "article": "a", "position": "zwei"}]
    with pytest.raises(MlflowException, match=r"row 1 of the input: position is 'zwei'; expected a whole number") as refused:
        loaded.unwrap_python_model().predict(None, rows)
    assert refused.value.get_http_status_code() == 400


def test_the_signature_names_the_columns_of_articles(loaded: Any) -> None:
    """Only the text is required."""
    inputs = loaded.metadata.get_input_schema()
    assert inputs.input_names() == ["id", "text", "context", "target", "article", "headline", "position"]
    assert inputs.required_input_names() == ["text"]


def test_a_training_goes_on_from_the_encoder_of_a_model_of_articles(bert: Path, home: Path) -> None:
    """Its encoder can be used like any other encoder."""
    from haltung.encoders.load import Encoder
    from haltung.models.neural import build
    from haltung.models.spec import NetworkSpec

    first = _model(home).network.encoder.state_dict()
    second = build(Encoder("bundle", "folder", str(_folder(home))), NetworkSpec(max_length=32), tiny.scheme())
    for name, value in second.network.encoder.state_dict().items():
        assert (value == first[name]).all(), name
