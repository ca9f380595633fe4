"""Few-shot models: their heads equal scikit-learn's, fitted to labels or descriptions."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import tiny
from command_line import CORPUS, run_here
from haltung.errors import UserError
from haltung.evaluation.report.i18n import estimate, number, word
from haltung.evaluation.statistics.bootstrap import Interval
from haltung.labels import load
from haltung.models import bundle
from haltung.models.spec import FewShotSpec
from haltung.training.few_shot import drawn, fit, head

SEGMENTS = tiny.segments(60)
ROWS = np.arange(0, 40)


@pytest.fixture(scope="module")
def vectors():
    """The vectors of 60 texts and of three descriptions."""
    rng = np.random.default_rng(1)
    return rng.normal(2, 3, (60, 8)), rng.normal(-1, 1, (3, 8))


def answers(read, parts):
    logits = read @ parts[0].T + parts[1]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("labels", [2, 3])
def test_a_head_is_a_logistic_regression_of_standardised_vectors(vectors, labels):
    """Its weights include mean and scale of the vectors; absent labels are never predicted."""
    read, said = vectors
    gold = np.arange(40) % labels
    parts = head(read, ROWS, np.eye(3, dtype=int)[gold], said, "single", FewShotSpec(description=0))
    table = (read - read.mean(axis=0)) / read.std(axis=0)
    expected = LogisticRegression(C=1 / 8, class_weight="balanced", max_iter=1000).fit(table[:40], gold).predict_proba(table)
    assert answers(read, parts)[:, :labels] == pytest.approx(expected, abs=1e-6)


def test_several_labels_are_as_many_regressions(vectors):
    """A label that all rows have, or none has, is predicted with certainty."""
    read, said = vectors
    gold = np.column_stack([np.arange(40) % 2, np.ones(40, int), np.zeros(40, int)])
    weight, bias = head(read, ROWS, gold, said, "multi", FewShotSpec(description=0))
    table = (read - read.mean(axis=0)) / read.std(axis=0)
    expected = LogisticRegression(C=1 / 8, class_weight="balanced", max_iter=1000).fit(table[:40], gold[:, 0]).decision_function(table)
    assert read @ weight[0] + bias[0] == pytest.approx(expected, abs=1e-6)
    assert (weight[1:].any(), bias[1:].tolist()) == (False, [30.0, -30.0])


def test_descriptions_are_texts_of_their_labels(vectors):
    """Without any label, a description is classified as its own label, wherever they lie."""
    read, said = vectors
    parts = head(read, ROWS[:0], np.zeros((0, 3), int), said, "single", FewShotSpec())
    moved = (said - said.mean(axis=0)) + read.mean(axis=0)
    assert answers(moved, parts).argmax(axis=1).tolist() == [0, 1, 2]


def test_at_most_so_many_segments_of_a_label_are_drawn():
    """Unlabelled segments are never drawn; a label with fewer segments contributes all of them."""
    task = tiny.scheme()["stance"]
    segments = [replace(one, labels={**one.labels, "stance": None}) if number < 30 else one for number, one in enumerate(SEGMENTS)]
    rows = drawn(segments, task, 4, random.Random(0))
    assert Counter(segments[row].labels["stance"] for row in rows) == {"warning": 4, "support": 4, "neutral": 4}
    assert drawn(segments, task, None, random.Random(0)) == list(range(30, 60))


def test_a_model_of_few_labels_is_a_network_like_any_other(bert, tmp_path):
    """Its bundle is a network bundle with the same predictions."""
    model = fit(SEGMENTS, tiny.scheme(), tiny.encoder(bert), FewShotSpec(max_length=32, tune="frozen", shots=8), 1)
    folder = bundle.save(model, tmp_path / "bundle")
    loaded = bundle.load(folder)
    assert bundle.describe(folder)["kind"] == "network"
    for task, values in model.probabilities(SEGMENTS, precision="fp32").items():
        assert loaded.probabilities(SEGMENTS, precision="fp32")[task] == pytest.approx(values, abs=1e-6)
    right = [one.labels["stance"] == said.labels["stance"] for one, said in zip(SEGMENTS, loaded.predict(SEGMENTS), strict=True)]
    assert np.mean(right) > 0.6  # three labels, and the encoder is untrained


def test_nothing_to_learn_from_is_refused(bert):
    """If there are neither labels nor descriptions."""
    with pytest.raises(UserError, match="'topic' has no label to learn from; give model"):
        fit(SEGMENTS, tiny.scheme(), tiny.encoder(bert), FewShotSpec(max_length=32, shots=0, description=0), 1)


def test_a_corpus_without_labels_trains_by_its_scheme(bert, tmp_path, new_store):
    """From the descriptions; a message gives measured scores and the numbers of labels."""
    import json

    from command_line import write_corpus

    new_store(tmp_path)
    rows = [json.loads(line) for line in write_corpus(tmp_path, 60).read_text(encoding="utf-8").splitlines()]
    bare = [{key: value for key, value in row.items() if key not in ("topic", "stance")} for row in rows]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in bare), encoding="utf-8")
    here = ("encoder=local", f"encoder.path={bert}", "model.max_length=32", "name=none")
    done = run_here("train", *CORPUS, "model=few_shot", *here, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "No segment of dev has a label, so nothing says how good this is" in told
    assert word("train_descriptions") in told
    assert "yours is tiny (labels: topic 2, stance 3)" in told
    methods = run_here("report", "run=none-42", cwd=tmp_path)
    assert methods.returncode == 0, methods.stderr
    said = run_here("predict", "run=none-42", "text=Chile lobt den Zoll in Peru .", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    refused = run_here("train", *CORPUS, "model=linear", "name=no", "prepared=other", cwd=tmp_path)
    assert (refused.returncode, "has no label for any task of the scheme tiny" in refused.stderr) == (2, True)


def test_labels_in_train_alone_are_no_model_of_descriptions(tmp_path, new_store):
    """Dev can't be scored then, and the scores of models without any label do not apply."""
    import json

    from command_line import write_corpus

    new_store(tmp_path)
    rows = [json.loads(line) for line in write_corpus(tmp_path, 60).read_text(encoding="utf-8").splitlines()]
    bare = [
        row if row["split"] == "train" else {key: value for key, value in row.items() if key not in ("topic", "stance")} for row in rows
    ]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in bare), encoding="utf-8")
    done = run_here("train", *CORPUS, "model=linear", "name=some", "language=de", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "Kein Segment von dev hat ein Label" in told
    assert "Beschreibungen" not in told


@pytest.mark.parametrize("language", ["en", "de"])
def test_what_is_said_of_descriptions_is_what_was_measured(root, language):
    """The scores and label counts of both tasks and of the commonest label, as documented."""
    page = (root / "experiments/2026-12-01-few-labels.md").read_text(encoding="utf-8")
    scheme = load(root / "configs/labels/diplomacy.yaml")
    sizes = [len(scheme["stance"]), len(scheme["topic"])]
    found = [re.findall(rf"^\| {row} \| (\S+) \[(\S+), (\S+)\] \|", page, re.MULTILINE) for row in ("few_shot", "the commonest label")]
    measured, commonest = ([[float(one) for one in row] for row in rows] for rows in found)
    expected = [
        text for (value, *ends), n in zip(measured, sizes, strict=True) for text in (estimate(value, Interval(*ends), language), str(n))
    ]
    expected += [number(value, language) for value, *_ in commonest]
    assert re.findall(r"\b\d+(?:[.,]\d+)?(?: \[[^]]+\])?", word("train_descriptions", language)) == expected
