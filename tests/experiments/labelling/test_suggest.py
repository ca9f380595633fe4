"""Suggestions of segments to label next, and files that labelling tools and readers accept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import tiny
from command_line import CORPUS, SCHEME, run_here, write_corpus
from haltung.corpus import store
from haltung.corpus.readers.flat import FlatLabels
from haltung.corpus.readers.label_studio import LabelStudio
from haltung.corpus.readers.tables import Jsonl
from haltung.experiments.labelling.suggest import disagreement, diversity, ranked, rarity, suggest, uncertainty, write
from haltung.models.ensemble import EnsembleModel, Member
from haltung.models.linear import fit
from haltung.models.spec import LinearSpec
from haltung.tracking import Store

SEGMENTS = tiny.segments(6)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], Store]) -> Path:
    """A folder with a half-labelled corpus, an unlabelled one, and a model."""
    folder = tmp_path_factory.mktemp("suggest")
    new_store(folder)
    rows = [json.loads(line) for line in write_corpus(folder, 160).read_text(encoding="utf-8").splitlines()]
    bare = [{key: value for key, value in row.items() if key not in ("topic", "stance")} for row in rows]
    half = [plain if row["split"] != "dev" and number % 2 else row for number, (row, plain) in enumerate(zip(rows, bare, strict=True))]
    for name, of in (("half", half), ("bare", bare)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in of), encoding="utf-8")
    (folder / "scheme.yaml").write_text(SCHEME, encoding="utf-8")
    done = run_here("train", *words("half"), "model=linear", "name=lin", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def words(name: str) -> tuple[str, ...]:
    return tuple(word.replace("texts.jsonl", f"{name}.jsonl") for word in CORPUS)


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("strategy", ["random", "diversity", "uncertainty", "rare"])
def test_only_unlabelled_segments_of_train_are_suggested(home, strategy):
    """By no strategy labelled segments, or segments of dev and test."""
    done = run_here("suggest", *words("half"), "n=12", f"strategy={strategy}", "run=lin-42", f"output={strategy}.jsonl", cwd=home)
    assert (done.returncode, done.stdout.count("\n")) == (0, 2), done.stderr
    assert "12 segments of" in done.stdout
    assert f"{strategy}: " in done.stdout
    source = {row["id"]: row for row in rows_of(home / "half.jsonl")}
    found = rows_of(home / f"{strategy}.jsonl")
    assert len({row["id"] for row in found}) == 12
    assert all("stance" not in source[row["id"]] and source[row["id"]]["split"] == "train" for row in found)


def test_an_ensemble_says_where_its_members_differ(home):
    """Segments whose probabilities differ most between members come first."""
    assert run_here("prepare", *words("half"), "prepared=other", cwd=home).returncode == 0
    corpus = store.load(home / "other" / "jsonl")
    labelled = [one for one in corpus.segments("train") if one.labels["stance"]]
    members = [Member(str(part), fit(labelled[part::2], corpus.scheme, LinearSpec(), 1)) for part in (0, 1)]
    weights = dict.fromkeys(corpus.scheme.names, (0.5, 0.5))
    chosen = suggest(corpus, "disagreement", 5, 0, EnsembleModel(members, weights, corpus.scheme))
    open_ = [one for one in corpus.segments("train") if not one.labels["stance"]]
    one, other = (member.model.probabilities(open_) for member in members)
    apart = np.mean([np.abs(one[task] - other[task]).mean(axis=1) for task in corpus.scheme.names], axis=0)
    assert {segment.id for segment in chosen} == {open_[row].id for row in np.argsort(-apart)[:5]}


def test_a_corpus_without_any_label_can_be_labelled(home):
    """Strategies without a model need no labels."""
    done = run_here("suggest", *words("bare"), "n=5", "output=first.jsonl", cwd=home)
    assert (done.returncode, len(rows_of(home / "first.jsonl"))) == (0, 5), done.stderr


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("output=lin.jsonl", "strategy=disagreement", "run=lin-42"), "needs a model of several members"),
        (("output=lin.jsonl", "strategy=uncertainty"), "news_de has different labels than jsonl"),
        (("output=texts.jsonl",), "texts.jsonl exists and may contain labels"),
        (("corpus.reader.path=texts.jsonl",), "all 80 segments of the train split of jsonl have labels"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_sentence(home, more, sentence):
    """It says what is wrong, and nothing is written."""
    done = run_here("suggest", *words("half"), *more, cwd=home)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert sentence in done.stderr


def test_an_answered_file_goes_back_into_prepare(tmp_path):
    """Its rows are the same segments, with labels, article and position."""
    segments = tiny.articles(2)
    write(tmp_path / "next.jsonl", segments, tiny.scheme(), "jsonl")
    assert list(Jsonl(str(tmp_path / "next.jsonl")).read(tiny.scheme()).segments) == segments


def test_label_studios_export_of_our_tasks_is_read(tmp_path):
    """Label Studio exports the aliases of choices, which the config sets to our labels."""
    segments = tiny.articles(1)
    tasks, config = write(tmp_path / "tasks.json", segments, tiny.scheme(), "labelstudio", "de")
    view = ElementTree.parse(config).getroot()
    texts = {one.get("value") for one in view if one.tag in ("Text", "Header") and one.get("value", "").startswith("$")}
    items = json.loads(tasks.read_text(encoding="utf-8"))
    assert all(value[1:] in item["data"] for item in items for value in texts)
    assert [one.get("value") for one in view.find("Choices")] == ["Sicherheit", "Wirtschaft"]
    chosen = {(group.get("name"), one.get("alias")) for group in view.iter("Choices") for one in group}
    for item, segment in zip(items, segments, strict=True):
        for task in tiny.scheme().names:
            assert (task, segment.labels[task]) in chosen
            del item["data"][task]
        given = {task: {"choices": [label]} for task, label in segment.labels.items()}
        results = [{"from_name": task, "to_name": "text", "type": "choices", "value": value} for task, value in given.items()]
        item |= {"id": 7000, "annotations": [{"result": results}]}
    (tmp_path / "export.json").write_text(json.dumps(items), encoding="utf-8")
    read = LabelStudio(str(tmp_path / "export.json"), {"id": "id"}).read(tiny.scheme()).segments
    assert list(read) == segments


def test_doccanos_export_of_our_lines_is_read(tmp_path):
    """Doccano assigns its own ids; ours are in another column."""
    (path,) = write(tmp_path / "lines.jsonl", [labels_off(one) for one in SEGMENTS], tiny.scheme(), "doccano")
    lines = rows_of(path)
    for number, (line, segment) in enumerate(zip(lines, SEGMENTS, strict=True), 1):
        assert line["label"] == []
        line |= {"id": number, "label": [f"{task}/{label}" for task, label in segment.labels.items()]}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert list(FlatLabels(str(path), {"id": "segment_id"}).read(tiny.scheme()).segments) == SEGMENTS


def labels_off(segment):
    from dataclasses import replace

    return replace(segment, labels={})


def test_the_uncertain_are_those_between_two_labels():
    """1 minus the margin, averaged over tasks; for multi-label tasks, of the label nearest 0.5."""
    single, multi = np.array([[0.5, 0.5, 0.0], [0.9, 0.1, 0.0]]), np.array([[0.9, 0.5], [0.9, 0.8]])
    assert uncertainty([single], ["single"]) == pytest.approx([1.0, 0.2])
    assert uncertainty([single, multi], ["single", "multi"]) == pytest.approx([1.0, 0.3])


def test_the_rare_are_those_with_labels_that_few_have():
    """A label with n segments counts 1 / (n + 1)."""
    assert rarity([np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])], [np.array([9, 0])]) == pytest.approx([0.1, 1.0, 0.55])


def test_members_that_agree_have_nothing_to_say():
    """However confident they are."""
    sure, other = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    assert disagreement([[sure], [other]]).tolist() == [0.0, 0.5]


def test_whole_articles_are_chosen_by_their_means():
    """The second article has the highest mean, although the first has the highest score."""
    scores, groups = np.array([1.0, 0.0, 0.6, 0.7, 0.1]), ["a", "a", "b", "b", "c"]
    assert ranked(scores, 2) == [0, 3]
    assert ranked(scores, 2, groups) == [2, 3]
    assert ranked(scores, 3, groups) == [2, 3, 0, 1]


def test_diverse_texts_come_from_different_clusters():
    """The first two suggestions are of different kinds of sentences."""
    texts = [f"Der Zoll auf Stahl steigt um {n} Prozent" for n in range(20)] + [f"Die Marine verlegt {n} Schiffe" for n in range(20)]
    first = ranked(diversity(texts, 2, seed=0), 2)
    assert Counter(row < 20 for row in first) == {True: 1, False: 1}
