"""Dyads on the command line: training and tuning, `haltung dyads` against gold, and the dyads of
events and predictions.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import acting
import tiny
from command_line import CORPUS, find_run, recipe, run_here
from haltung.models import bundle
from haltung.models.linear import fit
from haltung.models.spec import LinearSpec
from haltung.tracking import Store

pytest.importorskip("ahocorasick")

pytestmark = pytest.mark.slow

Done = subprocess.CompletedProcess[str]
STRICT = "source, target, stance"
# Word order takes the first name as the source, which is wrong here.
SECOND = "Den Zoll von Peru warnt Chile ."


@pytest.fixture(scope="module")
def trained_here(bert: Path, tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], Store]) -> tuple[Path, Done]:
    """A folder with a trained model of articles that finds dyads, and the training's output."""
    folder = tmp_path_factory.mktemp("dyads")
    acting.write(folder)
    new_store(folder)
    words = ("model=article", "training.epochs=12", "training.patience=0", "seed=1", "encoder.encoder_rate=2e-3", "encoder.head_rate=5e-3")
    done = run_here(*recipe(bert, *words), cwd=folder)
    assert done.returncode == 0, done.stderr
    bundle.save(fit(tiny.segments(300), tiny.scheme(), LinearSpec(), seed=1), folder / "linear")
    return folder, done


@pytest.fixture(scope="module")
def home(trained_here: tuple[Path, Done]) -> Path:
    """The folder of ``trained_here``."""
    return trained_here[0]


def trained(home: Path) -> Path:
    """Return the folder of the run's bundle."""
    return next((home / "experiments/runs").glob("tiny-1-*/bundle"))


def read(path: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def scored(home: Path, *words: str) -> dict[str, Any]:
    """Run ``haltung dyads`` and return the content of its ``dyads.json``."""
    done = run_here("dyads", *CORPUS, "output=out", *words, cwd=home)
    assert done.returncode == 0, done.stderr
    return read(home / "out/dyads.json")


def test_a_training_tunes_the_thresholds_of_dyads_on_dev(home: Path) -> None:
    """They are in its bundle, and MLflow has the same file."""
    content = read(trained(home) / "dyads.json")
    assert (content["corpus"], content["split"], content["command"].split()[:2]) == ("jsonl", "dev", ["haltung", "train"])
    assert content["f1"] > 0
    assert {"pair", "same_actor", "neutral", "nobody"} == content["thresholds"].keys()
    logged = list((home / "experiments/artifacts").rglob("dyads.json"))
    assert [path.read_bytes() for path in logged] == [(trained(home) / "dyads.json").read_bytes()]


def test_the_dyads_of_dev_are_printed_and_tracked(home: Path, trained_here: tuple[Path, Done]) -> None:
    """They agree with the end-to-end result of `haltung dyads`."""
    assert "dyads: 150 segments, 50 articles" in trained_here[1].stdout
    parts = scored(home, f"bundle={trained(home)}", "split=dev")["settings"]["end to end"]["systems"]["model"]["parts"]
    metrics = find_run(home, "tiny-1").metrics  # type: ignore[attr-defined]
    # In bfloat16 and in other batches, a pair may cross a threshold.
    assert metrics["dev/dyads_f1"] == pytest.approx(parts[STRICT]["f1"], abs=0.02)
    assert metrics["dev/dyads_source_target_f1"] == pytest.approx(parts["source, target"]["f1"], abs=0.02)


def test_an_evaluation_reports_dyads(home: Path) -> None:
    """In the terminal, the report, a readable `evaluation.json`, and the metrics of the run."""
    from haltung.evaluation.metrics import results

    done = run_here("evaluate", "run=tiny-1", "split=test", "output=reports", "language=de", "error_analysis=false", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "Dyaden: 150 Segmente, 50 Artikel" in done.stdout
    result = results.read(home / "reports/tiny-1-jsonl-test/evaluation.json")
    assert result.dyads is not None
    metrics = find_run(home, "tiny-1").metrics  # type: ignore[attr-defined]
    assert metrics["test/dyads_f1"] == result.dyads.parts[STRICT].f1
    assert "Dyaden: 150 Segmente" in (home / "reports/tiny-1-jsonl-test/report.html").read_text(encoding="utf-8")


def test_a_model_is_held_against_gold_and_against_word_order(home: Path) -> None:
    """End to end and with given stances; it has learned that the first name may be the target."""
    scores = scored(home, f"bundle={trained(home)}")
    settings = scores["settings"]
    assert list(settings) == ["end to end", "stances given"]
    f1 = {name: {system: one["parts"][STRICT]["f1"] for system, one in setting["systems"].items()} for name, setting in settings.items()}
    assert f1["stances given"]["model"] > 0.9
    assert 0.3 < f1["stances given"]["rules"] < 0.7
    assert f1["end to end"]["model"] <= f1["stances given"]["model"]
    difference = settings["stances given"]["differences"][STRICT]
    assert difference["delta"] == pytest.approx(f1["stances given"]["model"] - f1["stances given"]["rules"])
    assert difference["p"] < 0.01
    assert difference["interval"]["low"] > 0
    model = settings["end to end"]["systems"]["model"]
    assert (model["segments"], model["parts"][STRICT]["gold"], model["actors"]["recall"]) == (150, 100, 1.0)
    assert (home / "out/dyads.png").read_bytes().startswith(b"\x89PNG")


def test_the_dyads_of_each_segment_are_written(home: Path) -> None:
    """Those of gold, model and word order; the model's have probabilities."""
    scores = scored(home, f"bundle={trained(home)}")
    found = [json.loads(line) for line in (home / "out/found.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sum(len(row["gold"]) for row in found) == 100
    for system in ("model", "rules"):
        parts = scores["settings"]["end to end"]["systems"][system]["parts"]
        assert sum(len(row[system]) for row in found) == parts[STRICT]["found"]
    assert all(0 < one["probability"] <= 1 for row in found for one in row["model"])


def test_the_tables_say_what_was_given(home: Path) -> None:
    """They also compare the model with the rules."""
    done = run_here("dyads", *CORPUS, f"bundle={trained(home)}", "output=out", cwd=home)
    for words in ("articles, end to end", "articles, stances given", "the model against the rules"):
        assert words in done.stdout


def test_word_order_is_scored_alone_where_the_model_finds_no_dyads(home: Path) -> None:
    """With the stances of a linear model and with given ones; in German."""
    done = run_here("dyads", "bundle=linear", *CORPUS, "output=alone", "language=de", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "Regeln" in done.stdout
    assert "wer, wen, Haltung" in done.stdout
    assert "Modell" not in done.stdout
    # A semicolon separates the bounds of an interval, since German numbers contain commas; a narrow
    # terminal breaks the line there.
    assert re.search(r"\[\d,\d+;", done.stdout)
    scores = read(home / "alone/dyads.json")
    assert scores["settings"]["stances given"]["systems"]["rules"]["parts"][STRICT]["f1"] > 0.3
    assert scores["settings"]["stances given"]["differences"] == {}


def events(home: Path, *words: str) -> list[dict[str, Any]]:
    """Return the segments of an article whose second sentence names the target first."""
    (home / "articles.jsonl").write_text(json.dumps({"id": "x", "text": f"Die Bank kennt den Haushalt . {SECOND}"}), encoding="utf-8")
    done = run_here("events", "input=articles.jsonl", "output=events.jsonl", *words, cwd=home)
    assert done.returncode == 0, done.stderr
    return list(read(home / "events.jsonl")["segments"])


def test_events_takes_the_dyads_of_a_model_that_finds_them(home: Path) -> None:
    """They use the thresholds of its bundle; for other bundles, word order finds the dyads."""
    _, last = events(home, f"bundle={trained(home)}")
    assert [(one["source"], one["target"]) for one in last["dyads"]] == [("CHL", "PER")]
    _, last = events(home, "bundle=linear")
    assert [(one["source"], one["target"]) for one in last["dyads"]] == [("PER", "CHL")]


def test_the_users_own_actors_reach_the_model(home: Path) -> None:
    """It finds dyads of the actors that the pipeline finds."""
    (home / "own").mkdir()
    (home / "own/groups.csv").write_text("name,code\nChile,CHL-REB\nPeru,PER-OPP\n", encoding="utf-8")
    _, last = events(home, f"bundle={trained(home)}", "actors=own")
    assert [one["code"] for one in last["actors"]] == ["PER-OPP", "CHL-REB"]
    assert [(one["source"], one["target"]) for one in last["dyads"]] == [("CHL-REB", "PER-OPP")]


def test_broken_thresholds_stop_whoever_reads_them(home: Path, tmp_path: Path) -> None:
    """The message names the file."""
    copy = shutil.copytree(trained(home), tmp_path / "copy")
    (copy / "dyads.json").write_text("{}", encoding="utf-8")
    (home / "a.jsonl").write_text('{"text": "Chile warnt Peru ."}', encoding="utf-8")
    for words in (("events", "input=a.jsonl"), ("predict", "input=a.jsonl"), ("dyads", *CORPUS)):
        done = run_here(*words, f"bundle={copy}", cwd=home)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "dyads.json contains no dyad thresholds" in done.stderr


def test_predictions_have_the_dyads_that_events_has(home: Path) -> None:
    """For the same sentences of an article; without such a model there is no such key."""
    _, last = events(home, f"bundle={trained(home)}")
    rows = [{"id": str(n), "text": text, "article": "x", "position": n} for n, text in enumerate(("Die Bank kennt den Haushalt .", SECOND))]
    (home / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = run_here("predict", "run=tiny-1", "input=in.jsonl", "output=out.jsonl", cwd=home)
    assert done.returncode == 0, done.stderr
    neutral, told = (json.loads(line) for line in (home / "out.jsonl").read_text(encoding="utf-8").splitlines())
    assert neutral["dyads"] == []
    (dyad,), (expected,) = told["dyads"], last["dyads"]
    assert {**dyad, "probability": 0} == {**expected, "probability": 0}
    assert dyad["probability"] == pytest.approx(expected["probability"], abs=2e-2)
    done = run_here("predict", "bundle=linear", "input=in.jsonl", "output=out.jsonl", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "dyads" not in json.loads((home / "out.jsonl").read_text(encoding="utf-8").splitlines()[0])


def test_the_dyad_of_a_single_text_is_shown(home: Path) -> None:
    """Below topic and stance."""
    done = run_here("predict", "run=tiny-1", f"text={SECOND}", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "CHL → PER" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (CORPUS, "name the model: bundle=DIR"),
        (("bundle=TRAINED",), "name segments with gold dyads: corpus=NAME"),
        (("bundle=TRAINED", *CORPUS, "split=train"), "split is 'train'; choose from dev, test"),
        (("bundle=TRAINED", *CORPUS, "actors=nowhere"), "nowhere"),
        (("bundle=linear", "dyads=TRAINED", *CORPUS), "there is no key 'dyads'"),
        (("bundle=TRAINED", "corpus=dyads"), "there is no corpus 'dyads'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_exit_code_2(home: Path, words: tuple[str, ...], message: str) -> None:
    """Before anything is written."""
    done = run_here("dyads", *(word.replace("TRAINED", str(trained(home))) for word in words), "output=never", cwd=home)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (home / "never").exists()


def test_stances_that_are_no_events_are_refused(home: Path) -> None:
    """Events are derived from stances."""
    bundle.save(fit(tiny.segments(80), tiny.scheme().only(["topic"]), LinearSpec(), seed=1), home / "topics")
    done = run_here("dyads", "bundle=topics", *CORPUS, cwd=home)
    assert (done.returncode, "name a bundle with the task 'stance'" in done.stderr) == (2, True)
