"""``evaluate``: the models, the split, and segments that a model has learned from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

import tiny
from command_line import CORPUS, LINEAR, SCHEME, run_here, store_in
from haltung import tracking
from haltung.corpus.stratify import subsample
from haltung.evaluation.metrics import results
from haltung.evaluation.predictions import read_predictions
from haltung.events.dyads import DyadModel
from haltung.experiments.evaluate import TrainedModel, _count_seen, evaluate, models_of
from haltung.models import bundle
from haltung.models.linear import fit
from haltung.models.spec import LinearSpec
from haltung.records import Dyad, Segment

OLD_CONFIG = Path(__file__).parent / "stored_config.yaml"

# The corpus of the trainings, given explicitly.
NAMED = (*LINEAR[:4], "error_analysis=false")


def test_known_segments_are_found_whatever_their_spaces_and_capitals(tmp_path: Path) -> None:
    """A text with another target is another segment. A model knows all that the models it was made
    of know; if a bundle has no list, the result is None.
    """
    segments = [Segment("1", "Die USA  warnen."), Segment("2", "Moskau droht.", target="Kiew")]
    assert bundle.known_segments(tmp_path, segments) is None
    model = fit(tiny.segments(40), tiny.scheme(), LinearSpec(min_count=1), seed=1)
    bundle.save(model, tmp_path / "member", learned_from=segments)
    others = [Segment("a", "die usa warnen."), Segment("b", "Moskau droht.", target="Wien"), Segment("c", "Moskau droht.", target="kiew")]
    assert bundle.known_segments(tmp_path, others) == ["a", "c"]
    assert "usa" not in (tmp_path / "member" / bundle.LEARNED).read_text().casefold()
    bundle.save(model, tmp_path / "student", learned_from=[Segment("3", "Paris lobt.")], made_of=[tmp_path / "member"])
    assert bundle.known_segments(tmp_path / "student", [*others, Segment("d", "Paris lobt.")]) == ["a", "c", "d"]
    bundle.save(model, tmp_path / "other", learned_from=[Segment("4", "Rom schweigt.")])
    both = [tmp_path / "student", tmp_path / "other"]
    bundle.save(model, tmp_path / "both", made_of=both, learned_from=segments)
    more = [Segment("d", "Paris lobt."), Segment("e", "Rom schweigt."), Segment("f", "Bern bittet.")]
    assert bundle.known_segments(tmp_path / "both", [*others, *more]) == ["a", "c", "d", "e"]
    bundle.save(model, tmp_path / "old")
    bundle.save(model, tmp_path / "unlisted", made_of=[*both, tmp_path / "old"], learned_from=segments)
    assert bundle.known_segments(tmp_path / "unlisted", others) is None


@pytest.mark.parametrize("own_corpus", [False, True])
def test_what_the_student_of_an_unlisted_teacher_knows_is_not_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], own_corpus: bool
) -> None:
    """Its own list is incomplete; a warning says so even for its own corpus, since the teacher may
    be from another one.
    """
    rows = tiny.segments(40)
    model = fit(rows, tiny.scheme(), LinearSpec(min_count=1), seed=1)
    old = bundle.save(model, tmp_path / "old")
    student = bundle.save(model, tmp_path / "student", {"teacher": "old"}, rows, made_of=[old])
    assert bundle.known_segments(student, rows) is None
    assert _count_seen(TrainedModel("student", student), rows, "test", "tiny", own_corpus, allowed=False) == 0
    assert "does not list what the model has learned from; make sure that none of the test split of tiny" in capsys.readouterr().err


@pytest.mark.slow
def test_seeds_added_later_are_evaluated_with_the_old_ones(linear_home: Path) -> None:
    """All three are included; their mean has an interval."""
    newest = max(_runs(linear_home, "plain"), key=lambda record: len(record.tags[tracking.MEMBERS].split()))
    assert [record.name for record in tracking.members(newest)] == ["plain-1", "plain-2", "plain-3"]
    done = run_here("evaluate", f"run={newest.id}", "error_analysis=false", cwd=linear_home)
    assert done.returncode == 0, done.stderr
    assert "3 runs" in done.stdout
    summary = json.loads(tracking.artifact(newest, "evaluation/jsonl.test/summary.json").read_text(encoding="utf-8"))
    metrics = summary["tasks"]["stance"]["macro_f1"]
    assert metrics["interval"]["low"] <= metrics["mean"] <= metrics["interval"]["high"]


def _runs(home: Path, name: str) -> list[tracking.RunRecord]:
    from haltung.tracking.read import list_runs

    return list_runs(store_in(home), kind="seeds", name=name)


@pytest.mark.slow
def test_a_run_with_the_old_names_of_classes_is_refused(linear_home: Path) -> None:
    """One sentence names the class and a release that can read it; metrics don't change."""
    record = tracking.find(store_in(linear_home), "plain-2")
    metrics, current = record.metrics, tracking.artifact(record, "config.yaml").read_text(encoding="utf-8")
    old = yaml.safe_load(OLD_CONFIG.read_text(encoding="utf-8"))
    tracking.attach(record).text(yaml.safe_dump({**old, "seed": 2}), "config.yaml")
    try:
        done = run_here("evaluate", "run=plain-2", "error_analysis=false", cwd=linear_home)
    finally:
        tracking.attach(record).text(current, "config.yaml")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "corpus.rules._target_ names haltung.corpus.rules.Rules" in done.stderr
    assert "release 0.1.0" in done.stderr
    assert "or name the corpus again: corpus=NAME or table=FILE" in done.stderr
    assert tracking.find(store_in(linear_home), "plain-2").metrics == metrics


@pytest.mark.slow
def test_what_was_scored_is_what_is_stored(linear_home: Path) -> None:
    """Predictions in memory and in the file are exactly equal."""
    from haltung.corpus.store import load

    models = models_of(tracking.find(store_in(linear_home), "plain-1"))
    corpus, folder = load(linear_home / "data/prepared/jsonl"), linear_home / "reports"
    (done,), _ = evaluate(models, corpus, "dev", own_corpus=True, folder=folder, errors=False)
    stored = read_predictions(done.report / "predictions.parquet")
    assert (stored.ids, stored.groups) == (done.scored.ids, done.scored.groups)
    for task, values in done.scored.probabilities.items():
        assert (stored.probabilities[task] == values).all()
        assert (stored.gold[task] == done.scored.gold[task]).all()


@pytest.mark.slow
def test_texts_stand_beside_the_predictions_on_this_machine_alone(linear_home: Path) -> None:
    """The report's file has texts and other columns of the corpus, the tracked file has none."""
    import pyarrow.parquet as pq

    from haltung.corpus.store import load

    record = tracking.find(store_in(linear_home), "plain-1")
    corpus = load(linear_home / "data/prepared/jsonl")
    (done,), _ = evaluate(models_of(record), corpus, "dev", own_corpus=True, folder=linear_home / "texts", errors=False)
    (trained,) = (linear_home / "experiments/runs").glob("plain-1-*")
    for folder in (done.report, trained / "dev"):
        own = pq.read_table(folder / "predictions.parquet")
        assert own["text"].to_pylist() == [segment.text for segment in corpus.segments("dev")]
        assert own["article"].to_pylist() == [segment.article for segment in corpus.segments("dev")]
        assert {"headline", "source", "date", "position"} < set(own.column_names)
    for folder in ("evaluation/dev", "dev"):
        logged = pq.read_table(tracking.artifact(record, f"{folder}/predictions.parquet"))
        assert {"text", "headline", "context"}.isdisjoint(logged.column_names)


@pytest.mark.slow
def test_an_exported_bundle_is_evaluated_by_its_weights(linear_home: Path, tmp_path: Path) -> None:
    """Its probabilities equal those of the run exactly; those of its graph do not."""
    from haltung.corpus.store import load
    from haltung.export.write import ReferenceSplit, export

    (run,) = models_of(tracking.find(store_in(linear_home), "plain-1"))
    corpus = load(linear_home / "data/prepared/jsonl")
    reference = ReferenceSplit("jsonl", "dev", corpus.segments("dev"))
    folder = export(bundle.load_trained(run.bundle), tmp_path / "bundle", reference, {}, ()).folder
    assert folder is not None
    scored = []
    for model in (run, TrainedModel("exported", folder)):
        (done,), _ = evaluate([model], corpus, "dev", own_corpus=False, folder=tmp_path / "reports", errors=False)
        scored.append(done.scored.probabilities)
    graph = bundle.load(folder, graph=True).probabilities(corpus.segments("dev"))
    assert all((scored[1][task] == values).all() for task, values in scored[0].items())
    assert any((graph[task] != values).any() for task, values in scored[0].items())


@pytest.mark.slow
@pytest.mark.parametrize(("finds", "labelled"), [(True, True), (True, False), (False, True)])
def test_dyads_are_counted_by_phenomenon_where_model_and_gold_have_them(bert: Path, tmp_path: Path, finds: bool, labelled: bool) -> None:
    """Gold dyads are the model's in both segments of the first pair and one of the second, wrong in
    the others. Without dyads of model and gold, there are no such metrics.
    """
    texts = ("Chile warnt Peru .", "Peru warnt Chile .", "Nepal lobt Malta .", "Malta lobt Nepal .", "Laos droht .", "Peru droht .")
    model = tiny.article_model(bert, dyads=True)
    own = [DyadModel().dyads(answer) for answer in model.predict([Segment(text, text) for text in texts])]
    assert all(own)
    gold = [*([one.dyad for one in row] for row in own[:3]), *([Dyad("FRA", "DEU", "warning")] for _ in own[3:])]
    rows = [
        {"text": text, "topic": "economy", "stance": "warning", "dyads": list(map(asdict, row)) if labelled else []}
        for text, row in zip(texts, gold, strict=True)
    ]
    pairs = [{"pair": f"p{n}", "phenomenon": "direction", "context": "", "segments": rows[n : n + 2]} for n in (0, 2, 4)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    (tmp_path / "scheme.yaml").write_text(SCHEME, encoding="utf-8")
    bundle.save(model if finds else tiny.article_model(bert), tmp_path / "model")
    words = ("corpus=challenge", "corpus.reader.path=pairs.jsonl", "corpus.labels=scheme.yaml", "error_analysis=false", "output=reports")
    done = run_here("evaluate", "bundle=model", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = results.read(tmp_path / "reports/model-challenge-test/evaluation.json").dyad_phenomena
    found = {part: [(row.phenomenon, row.pairs, row.accuracy, row.both) for row in rows] for part, rows in metrics.items()}
    counted = [("all", 3, 0.5, 1 / 3), ("direction", 3, 0.5, 1 / 3)]
    assert found == ({"source, target, stance": counted, "source, target": counted} if finds and labelled else {})
    assert ("exact match" in done.stdout) == bool(found)


@pytest.mark.slow
def test_a_fold_is_evaluated_on_its_own_split_and_leaves_the_corpus_alone(linear_home: Path) -> None:
    """The corpus that was prepared for other trainings does not change."""
    before = (linear_home / "data/prepared/jsonl/test.parquet").read_bytes()
    done = run_here("evaluate", "run=cv-fold-2-42", "error_analysis=false", cwd=linear_home)
    assert done.returncode == 0, done.stderr
    assert (linear_home / "data/prepared/jsonl/test.parquet").read_bytes() == before


@pytest.mark.slow
def test_a_model_is_not_scored_on_its_training_data_unawares(linear_home: Path) -> None:
    """It is refused; with seen=allow, run and comparison note it."""
    words = ("evaluate", "run=cv-fold-1-42", *NAMED)
    refused = run_here(*words, cwd=linear_home)
    assert refused.returncode == 2, refused.stdout
    assert "segments of the test split of 'jsonl' (the first: '" in refused.stderr
    assert "cv-fold-1-42 has learned from" in refused.stderr
    allowed = run_here(*words, "seen=allow", cwd=linear_home)
    assert allowed.returncode == 0, allowed.stderr
    assert "note: " in allowed.stderr
    assert int(tracking.find(store_in(linear_home), "cv-fold-1-42").tags[f"{tracking.SEEN}.test"]) > 0
    dev = run_here(*words, "split=dev", cwd=linear_home)
    assert dev.returncode == 0
    assert "learned from" not in dev.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("known", "refused"), [(0, False), (4, True)])
def test_a_split_of_which_a_tenth_is_known_is_refused(linear_home: Path, known: int, refused: bool) -> None:
    """A split of another corpus; without known segments, it is evaluated."""
    trained = [json.loads(line) for line in (linear_home / "texts.jsonl").read_text(encoding="utf-8").splitlines()]
    learned = {segment.id for segment in _train_split(linear_home)}
    rows = [row | {"id": f"k{row['id']}", "split": "test"} for row in trained if row["id"] in learned][:known]
    for number, segment in enumerate(tiny.segments(60, seed=7)):
        split = "test" if number < 40 - known else "train" if number < 50 else "dev"
        text = f"{segment.text[:-2]} im Jahr {1900 + number} ."
        rows.append(
            {"id": f"n{number}", "text": text, "context": segment.context, "article": f"n{number}", "split": split, **segment.labels}
        )
    (linear_home / "scheme.yaml").write_text(SCHEME, encoding="utf-8")
    (linear_home / f"mixed{known}.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    words = (*CORPUS, f"corpus.name=mixed{known}", f"corpus.reader.path=mixed{known}.jsonl", "error_analysis=false")
    done = run_here("evaluate", "run=plain-1", *words, cwd=linear_home)
    assert done.returncode == (2 if refused else 0), done.stderr
    assert (f"{known} of the 40 segments" in done.stderr) == refused


@pytest.mark.slow
def test_a_model_of_a_share_of_train_lists_that_share_and_dev_alone(linear_home: Path) -> None:
    """The rest of the train split is unknown to it."""
    from haltung.corpus.store import load

    corpus = load(linear_home / "data/prepared/jsonl")
    train_split, dev_split = corpus.segments("train"), corpus.segments("dev")
    learned = {(segment.text, segment.target) for segment in (*subsample(train_split, 0.5, 1), *dev_split)}
    both = [*train_split, *dev_split]
    known = [segment.id for segment in both if (segment.text, segment.target) in learned]
    half, whole = (tracking.bundle_folder(tracking.find(store_in(linear_home), run)) for run in ("plain-0.5-1", "plain-1"))
    assert bundle.known_segments(half, both) == known
    assert bundle.known_segments(whole, both) == [segment.id for segment in both]
    assert len(known) < len(both)


def _train_split(home: Path) -> list[Segment]:
    from haltung.corpus.store import load

    return load(home / "data/prepared/jsonl").segments("train")
