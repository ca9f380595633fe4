"""Haltung in Python: a model labels texts, columns and tables, and reads articles."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import pandas as pd
import polars as pl
import pytest

import haltung
import tiny
from haltung.models import bundle
from haltung.records import Segment

TEXTS = ["Chile warnt Peru .", "Malta lobt die Bank .", "Nepal kennt Laos ."]
TEXT = "Chile warnt Peru vor dem Heer. Malta lobt Laos für die Bank. Nepal kennt Island seit vielen Jahren gut.\n"


@pytest.fixture(scope="module")
def folder(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of an untrained model of articles, which finds dyads."""
    return bundle.save(tiny.article_model(bert, dyads=True), tmp_path_factory.mktemp("api") / "bundle")


@pytest.fixture(scope="module")
def model(folder: Path) -> haltung.LoadedModel:
    """The same model, loaded."""
    return haltung.load(folder)


def test_importing_it_imports_nothing_heavy() -> None:
    """Names are imported on first use."""
    code = "import haltung, sys; dir(haltung); print({'torch', 'pandas', 'mlflow', 'hydra'} & {*sys.modules}, 'load' in dir(haltung))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set() True\n"


def test_an_unknown_name_is_told_apart() -> None:
    """The message lists the names that exist."""
    with pytest.raises(AttributeError, match=r"no attribute 'lode'; it has .*load"):
        haltung.lode  # noqa: B018


def test_a_text_gives_labels_probabilities_and_dyads(model: haltung.LoadedModel, folder: Path) -> None:
    """They equal those of the bundle, are accessed by task, and are shown readably."""
    result = model.predict(TEXTS[0])
    (expected,) = bundle.load(folder).predict([Segment("1", TEXTS[0])])
    assert result["stance"] == expected.labels["stance"]
    assert result.probabilities == expected.probabilities
    assert result.probability("topic") == max(expected.probabilities["topic"].values())
    assert all(one.stance == result["stance"] or result["stance"] == "neutral" for one in result.dyads)
    assert repr(result).startswith(f"{TEXTS[0]}\n  topic ")
    assert f"<td>{result['topic']} " in result._repr_html_()
    with pytest.raises(KeyError, match="no task 'mood'; the model has topic, stance"):
        result["mood"]


def test_texts_are_escaped_in_a_notebook(model: haltung.LoadedModel) -> None:
    """Markup in a text stays text."""
    assert "<b>" not in model.predict("<b>Chile</b> warnt .")._repr_html_()


def test_a_list_gives_a_list(model: haltung.LoadedModel) -> None:
    """Each text by itself, in order."""
    results = model.predict(TEXTS)
    assert [one.text for one in results] == TEXTS
    assert [one["stance"] for one in results] == [model.predict(text)["stance"] for text in TEXTS]


def test_a_table_keeps_rows_index_and_columns(model: haltung.LoadedModel) -> None:
    """Labels, probabilities and dyads follow the table's own columns."""
    table = pd.DataFrame({"text": TEXTS, "n": [1.0, None, 3.0]}, index=[7, 3, 9])
    labelled = model.predict(table)
    assert labelled[["text", "n"]].equals(table)
    assert list(labelled.columns[2:]) == ["topic", "topic_probability", "stance", "stance_probability", "dyads"]
    assert labelled["stance"].tolist() == [one["stance"] for one in model.predict(TEXTS)]
    column = model.predict(table["text"])
    assert column.index.tolist() == [7, 3, 9]
    assert column["topic_probability"].tolist() == labelled["topic_probability"].tolist()
    named = model.predict(labelled, prefix="again_", probabilities=True)
    assert {"again_stance", "again_stance.warning", "again_topic.economy"} <= {*named.columns}
    assert table.columns.tolist() == ["text", "n"]


def test_polars_and_datasets_come_back_as_themselves(model: haltung.LoadedModel) -> None:
    """With the same answers as for pandas."""
    table = pd.DataFrame({"text": TEXTS, "article": [1, 1, 2], "position": [0, 1, 0]})
    expected = model.predict(table)
    polars = model.predict(pl.from_pandas(table))
    hub = model.predict(datasets.Dataset.from_pandas(table))
    assert isinstance(polars, pl.DataFrame)
    assert isinstance(hub, datasets.Dataset)
    assert polars["stance_probability"].to_list() == pytest.approx(expected["stance_probability"].tolist())
    assert hub["dyads"][:] == polars["dyads"].to_list() == expected["dyads"].tolist()
    assert model.predict(pl.Series(TEXTS)).columns[0] == "text"


def test_texts_of_an_article_are_read_together(model: haltung.LoadedModel) -> None:
    """Given the columns article and position, as in ``haltung predict``."""
    alone = model.predict(pd.DataFrame({"text": TEXTS}))
    together = model.predict(pd.DataFrame({"text": TEXTS, "article": "a", "position": [0, 1, 2], "headline": "Das Heer"}))
    assert (alone["topic_probability"] != together["topic_probability"]).all()


def test_missing_values_are_no_text(model: haltung.LoadedModel) -> None:
    """If an article number is missing, pandas turns the others into floats."""
    table = pd.DataFrame({"text": TEXTS, "article": [1, None, 2], "position": [0, None, 0], "headline": [None, "Das Heer", None]})
    whole = table.assign(article=["1", "", "2"], headline=["", "Das Heer", ""])
    assert model.predict(table)["topic_probability"].tolist() == model.predict(whole)["topic_probability"].tolist()


def test_what_is_unsure_is_left_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``abstain``: named in a result, None in a table."""
    model = haltung.load(folder)
    monkeypatch.setattr(type(model._model.calibration), "abstaining", lambda self, precision: {"topic": None, "stance": 0.0})
    assert model.predict(TEXTS[0], abstain=0.9).unsure == ("topic",)
    assert "(abstained)" in repr(model.predict(TEXTS[0], abstain=0.9))
    table = model.predict(pd.Series(TEXTS), abstain=0.9)
    assert table["topic"].isna().all()
    assert table["stance"].notna().all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "a number can't be labelled; expected a text"),
        ({"text": "x"}, "an object can't be labelled"),
        ([], "the list contains no text; expected at least one"),
        (pd.DataFrame([["x"]]), "the table, row 0: no 'text'; this row has 0"),
        (["x", 1], "item 1 of the list is a number; expected texts"),
        ("  ", "text is empty"),
        (pd.DataFrame({"satz": ["x"]}), "the table, row 0: no 'text'; this row has satz"),
        (pd.DataFrame({"text": ["x", None]}), "the table, row 1: text is empty"),
        (
            pd.DataFrame({"text": ["x"], "stance": ["support"]}),
            "the table already has stance; rename them, or give the new columns a prefix",
        ),
    ],
)
def test_what_can_not_be_labelled_is_told_in_a_sentence(model: haltung.LoadedModel, given: object, message: str) -> None:
    """What was found, where, and what is expected."""
    with pytest.raises(haltung.UserError, match=message):
        model.predict(given)


def test_context_belongs_to_a_single_text(model: haltung.LoadedModel) -> None:
    """A table has columns for it."""
    assert model.predict(TEXTS[0], context="Das Heer").text == TEXTS[0]
    with pytest.raises(haltung.UserError, match="in a table they are columns of these names"):
        model.predict(TEXTS, context="Das Heer")  # type: ignore[call-overload]


def test_an_article_is_read_sentence_by_sentence(model: haltung.LoadedModel) -> None:
    """As tables of sentences and of events, as text, and as a page that loads nothing."""
    read = model.read(TEXT, date="2024-05-01")
    sentences, events = read.to_frame(), read.to_frame("events")
    assert sentences["text"].tolist() == [part.strip() for part in TEXT.replace(". ", ".\n").splitlines()]
    assert [TEXT[start:end] for start, end in zip(sentences["start"], sentences["end"], strict=True)] == sentences["text"].tolist()
    assert len(events) == sentences["dyads"].map(len).sum() == len(read.events.events)
    assert "Malta lobt Laos für die Bank." in repr(read)
    page = read.to_html("de")
    assert "default-src 'none'" in page
    assert read._repr_html_().startswith("<iframe srcdoc=")
    assert "<script" not in read._repr_html_()


def test_a_headline_is_found_or_given(model: haltung.LoadedModel) -> None:
    """A short first line followed by an empty line is the headline, and no sentence."""
    found, given = model.read(f"Streit um das Heer\n\n{TEXT}"), model.read(TEXT, headline="Streit um das Heer")
    assert found.events.article.headline == given.events.article.headline == "Streit um das Heer"
    assert found.to_frame()["stance_probability"].tolist() == pytest.approx(given.to_frame()["stance_probability"].tolist())


def test_an_empty_article_is_refused(model: haltung.LoadedModel) -> None:
    """Before anything is read."""
    with pytest.raises(haltung.UserError, match="the article is empty"):
        model.read("  \n")


def test_a_model_says_what_it_is(model: haltung.LoadedModel) -> None:
    """Its name, and the labels of each task."""
    assert "stance: warning, support, neutral" in repr(model)
    assert model.tasks["topic"] == ("security", "economy")


def test_a_model_is_a_table_in_a_notebook(model: haltung.LoadedModel, article_bundle: Path, tmp_path: Path) -> None:
    """Label names in either language, and the macro-F1 of an exported model; markup in a name is
    escaped.
    """
    assert "<td>Security, Economy</td>" in model._repr_html_()
    assert "<td>Sicherheit, Wirtschaft</td>" in model.to_html("de")
    assert "macro-F1" not in model._repr_html_()
    exported = haltung.load(shutil.copytree(article_bundle, tmp_path / "<b>mine"))
    scores = bundle.describe(article_bundle)["reference"]["macro_f1"]
    shown = exported.to_html("de")
    assert shown.startswith(f"<table><caption>{tmp_path}/&lt;b&gt;mine (tiny · dev)</caption>")
    assert "Makro-F1" in shown
    assert all(f"<td>{value:.3f}</td>".replace(".", ",") in shown for value in scores.values())


def test_an_unknown_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says where it was looked for."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(haltung.UserError, match="no run has been tracked here"):
        haltung.load("nix")
    (tmp_path / "empty").mkdir()
    with pytest.raises(haltung.UserError, match="it is not a bundle"):
        haltung.load("empty")
