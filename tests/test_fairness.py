"""The fairness report: its computations, and its figures on the page and in the model card."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp

import tiny
from haltung.files import sha256
from haltung.records import Segment


@pytest.fixture
def fairness(monkeypatch: pytest.MonkeyPatch, root: Path) -> ModuleType:
    """The module, which is not in a package."""
    monkeypatch.syspath_prepend(root / "experiments")
    return importlib.import_module("fairness")


@pytest.fixture
def figures(fairness: ModuleType) -> dict[str, Any]:
    """The stored figures of the report."""
    found: dict[str, Any] = json.loads(fairness.PAGE.with_suffix(".json").read_text(encoding="utf-8"))
    return found


def test_card_and_page_show_the_figures(fairness: ModuleType, figures: dict[str, Any], root: Path) -> None:
    """The figures are those of the shipped model."""
    assert figures["model"] == sha256(root / "data/models/news_de/bundle/haltung.json")
    assert fairness.section(figures) in (root / "data/models/news_de/README.md").read_text(encoding="utf-8")
    assert fairness.tables(figures) in fairness.PAGE.read_text(encoding="utf-8")


def test_whoever_the_rule_names_is_named(fairness: ModuleType, figures: dict[str, Any]) -> None:
    """A deviation has to exceed five points and be significant; the card names the same states."""
    named = [one for one in fairness.limits(figures) if fairness.is_off(one)]
    assert named == figures["limits"]
    card = fairness.section(figures)
    assert all(f"{fairness.state_name(one['who'])} ({one['rule']}" in card for one in named)
    assert not any(fairness.is_off({"value": value, "holm": p}) for value, p in ((0.04, 0.001), (0.3, 0.06), (0.3, None)))
    assert fairness.is_off({"value": -0.06, "holm": 0.04})


def test_where_each_segment_is_an_article_the_interval_is_that_of_a_t_test(fairness: ModuleType) -> None:
    """Duplicating the sentences of each article changes nothing."""
    values = np.random.default_rng(0).normal(0.3, 1, 40)
    one = np.ones(40)
    found = fairness.estimate([values, one, 0 * values, one], np.arange(40), 40)
    wanted = ttest_1samp(values, 0)
    assert [found["low"], found["high"]] == pytest.approx(list(wanted.confidence_interval()), abs=1e-4)
    assert found["p"] == pytest.approx(wanted.pvalue, abs=1e-4)
    twice = [np.repeat(column, 2) for column in (values, one, 0 * values, one)]
    assert fairness.estimate(twice, np.repeat(np.arange(40), 2), 40) == found


def test_a_sentence_that_stays_as_it_is_is_encoded_once(fairness: ModuleType, tmp_path: Path) -> None:
    """Probabilities equal the model's, whatever has been read before."""
    model = tiny.article_model(tiny.write_bert(tmp_path))
    first = tiny.articles(12)
    changed = [replace(one, text="Berlin droht.") if number == 3 else one for number, one in enumerate(first)]
    reader = fairness.Reader(model)
    for segments in (first, changed):
        assert reader.probabilities(segments) == pytest.approx(model.answers(segments, seek=False).probabilities["stance"], abs=1e-5)
    assert len(reader.known) == len({one.text for one in [*first, *changed]} | {one.headline for one in first if one.headline})


def test_a_name_is_put_for_another_that_the_article_does_not_have(fairness: ModuleType) -> None:
    """In headline and sentences, form by form; here only names of neuter gender are replaced."""
    article = [
        Segment("1", "Russische Truppen stehen vor Kiew.", headline="Russland droht", article="a", position=0),
        Segment("2", "China schweigt zu Russland und der Ukraine.", headline="Russland droht", article="a", position=1),
    ]
    found = {(old, new): segments for _, old, new, segments in fairness.frames(article, "n")}
    assert ("RUS", "CHN") not in found
    assert [one.text for one in found["RUS", "NOR"]] == [
        "Norwegische Truppen stehen vor Kiew.",
        "China schweigt zu Norwegen und der Ukraine.",
    ]
    assert found["RUS", "NOR"][0].headline == "Norwegen droht"
    assert {old for old, _ in found} == {"RUS", "CHN"}


def test_an_exchange_tells_what_a_name_does(fairness: ModuleType) -> None:
    """For a model that finds Russia 20 points more hostile than Norway in each of six sentences."""
    labels = ("threat", "neutral")
    segments = [Segment(str(n), "Russland spricht.", {"stance": "neutral"}, article=str(n)) for n in range(6)]
    stances = fairness.Stances(segments, np.tile([0.6, 0.4], (6, 1)), labels)
    exchange = fairness.Exchange(stances, [("RUS", "NOR")], lambda *_: True)
    exchange.add([((n,), "RUS", "NOR", [one]) for n, one in enumerate(segments)], [np.array([[0.4, 0.6]])] * 6)
    found = exchange.result()
    assert (found["flips"]["value"], found["from_hostile"]["value"], found["to_hostile"]["value"]) == (1, 1, 0)
    assert {one["name"]: one["hostile"]["value"] for one in found["effects"]} == {"RUS": 0.2, "NOR": -0.2}
    assert found["pairs"][0]["hostile"]["value"] == 0.2
