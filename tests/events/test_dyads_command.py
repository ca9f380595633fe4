"""``haltung dyads``: a model and word order against gold, and the thresholds tuned on dev."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from haltung import labels
from haltung.events.dyads import thresholds
from haltung.files import shipped
from haltung.labels import parse
from haltung.models import bundle
from haltung.models.linear import fit
from haltung.models.spec import LinearSpec
from haltung.records import Segment

Command = Callable[..., subprocess.CompletedProcess[str]]

pytest.importorskip("ahocorasick")

STATES = {"Chile": "CHL", "Peru": "PER", "Ghana": "GHA", "Kuba": "CUB", "Japan": "JPN", "Irak": "IRQ"}


def texts() -> list[tuple[str, str, str, str]]:
    """Sentences of each state towards each other: who, whom, stance, text; in half of them the
    target comes first.
    """
    pairs = [(one, other) for one in STATES for other in STATES if one != other]
    return [
        (
            STATES[one],
            STATES[other],
            "warning",
            f"An {other} ging eine Warnung aus {one} ." if index % 2 else f"{one} warnt heute {other} .",
        )
        for index, (one, other) in enumerate(pairs)
    ]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, a model of stances, and one of dyads that has learned these
    sentences.
    """
    folder = tmp_path_factory.mktemp("dyads")
    rows = []
    for number, (source, target, stance, text) in enumerate(texts()):
        split = ("train", "dev", "test")[number % 3]
        dyads = [{"source": source, "target": target, "stance": stance}]
        rows.append(
            {
                "id": f"s{number}",
                "text": text,
                "article": f"a{number}",
                "split": split,
                "topic": "diplomacy",
                "stance": stance,
                "dyads": dyads,
            }
        )
        rows.append(
            {
                "id": f"n{number}",
                "text": f"Es regnete an {number} Tagen .",
                "article": f"a{number}",
                "split": split,
                "topic": "society",
                "stance": "neutral",
                "dyads": [],
            }
        )
    (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    diplomacy = labels.load(shipped("configs") / "labels" / "diplomacy.yaml")
    segments = [Segment(row["id"], row["text"], {"topic": row["topic"], "stance": row["stance"]}) for row in rows]
    bundle.save(fit(segments, diplomacy, LinearSpec(), seed=1), folder / "stances")
    scheme = parse({"name": "dyads", "tasks": {name: {"labels": ["none", "itself"]} for name in ("source_role", "target_role")}})
    questions = []
    for number, (source, target, _, text) in enumerate(texts()):
        for name, code in STATES.items():
            if name in text:
                roles = {"source_role": "itself" if code == source else "none", "target_role": "itself" if code == target else "none"}
                questions.append(
                    Segment(f"{number}:{code}", f"{name} ({code}), im Satz, warning", roles, target=text.replace(name, f"AKTEUR {name}"))
                )
    bundle.save(fit(questions, scheme, LinearSpec(reads={"default": "target"}, characters=9), seed=1), folder / "pairs")
    return folder


CORPUS = ("corpus=jsonl", "corpus.reader.path=mine.jsonl", "splits@corpus.split=given", "corpus.rules.near=0")


def test_a_model_is_held_against_gold_and_against_the_rules(haltung: Command, workspace: Path) -> None:
    """Table, metrics, plot and the dyads of each segment; the thresholds tuned on dev are used."""
    done = haltung("dyads", "bundle=stances", "dyads=pairs", *CORPUS, "split=dev", "tune=true", cwd=workspace)
    assert done.returncode == 0, done.stderr
    written = json.loads((workspace / "pairs" / "dyads.json").read_text(encoding="utf-8"))
    assert written["split"] == "dev"
    assert f"pair {written['choice']['least']:g}" in done.stdout
    done = haltung("dyads", "bundle=stances", "dyads=pairs", *CORPUS, "output=out", cwd=workspace)
    assert done.returncode == 0, done.stderr
    scores = json.loads((workspace / "out" / "dyads.json").read_text(encoding="utf-8"))
    model, rules = (scores["systems"][name]["parts"]["source, target, stance"] for name in ("model", "rules"))
    assert model["gold"] == rules["gold"] == 10
    assert model["f1"] > rules["f1"]
    assert scores["systems"]["model"]["actor_recall"] == 1.0
    assert "the model against the rules" in done.stdout
    assert scores["precisions"][0] == {"least": 0.0, "found": model["found"], "precision": model["precision"]}
    found = [json.loads(line) for line in (workspace / "out" / "found.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sum(len(row["gold"]) for row in found) == 10
    assert (workspace / "out" / "dyads.png").read_bytes().startswith(b"\x89PNG")


def test_thresholds_go_along_with_an_export(tmp_path: Path) -> None:
    """With the corpus and split it was tuned on; a model without one has none afterwards."""
    (tmp_path / "model").mkdir()
    (tmp_path / "export").mkdir()
    thresholds.copy(tmp_path / "model", tmp_path / "export")
    assert list((tmp_path / "export").iterdir()) == []
    thresholds.write(tmp_path / "model", thresholds.Thresholds(pair=0.7), {"corpus": "mine"})
    thresholds.copy(tmp_path / "model", tmp_path / "export")
    assert thresholds.read(tmp_path / "export") == thresholds.Thresholds(pair=0.7)
    assert json.loads((tmp_path / "export" / "dyads.json").read_text(encoding="utf-8"))["corpus"] == "mine"


def test_the_rules_can_be_scored_alone_in_german(haltung: Command, workspace: Path) -> None:
    """Without dyads=."""
    done = haltung("dyads", "bundle=stances", *CORPUS, "output=alone", "language=de", cwd=workspace)
    assert done.returncode == 0, done.stderr
    assert "Regeln" in done.stdout
    assert "wer, wen, Haltung" in done.stdout
    # The two ends are parted by a semicolon, since they have commas in them; a narrow terminal
    # breaks the line there.
    assert re.search(r"\[\d,\d+;", done.stdout)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (CORPUS, "name the model of stances: bundle=DIR"),
        (("bundle=stances",), "name segments with gold dyads: corpus=NAME"),
        (("bundle=stances", "dyads=pairs", *CORPUS, "tune=true"), "nothing is ever tuned on the test split"),
        (("bundle=stances", *CORPUS, "split=dev", "tune=true"), "tune=true needs a model, dyads=DIR"),
        (("bundle=stances", *CORPUS, "split=train"), "split is 'train'; allowed are dev, test"),
        (("bundle=pairs", *CORPUS), "events are made of stances, so name a bundle with the task 'stance'"),
        (("bundle=stances", "dyads=stances", *CORPUS), "so it is no model of dyads"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_exit_code_2(haltung: Command, workspace: Path, words: tuple[str, ...], message: str) -> None:
    """Before anything is written."""
    done = haltung("dyads", *words, cwd=workspace)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
