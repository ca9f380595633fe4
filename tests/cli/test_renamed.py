"""Old names stay valid for one release: in stored runs silently, where a user gives them with one
line that says the new one.
"""

from __future__ import annotations

import json
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.utils import get_class

from command_line import run_here, write_corpus
from haltung.cli import renamed
from haltung.cli.build import make, recipe_of
from haltung.cli.config import compose, each, plain
from haltung.errors import UserError

# Every `_target_` of the configs before the rebuild (commit c9bc5e9).
OLD_TARGETS = [
    "haltung.corpus.prose.Limits",
    "haltung.corpus.readers.articles.Articles",
    "haltung.corpus.readers.doccano.Doccano",
    "haltung.corpus.readers.gerntsa.GerNTSA",
    "haltung.corpus.readers.gnad10.Gnad10",
    "haltung.corpus.readers.label_studio.LabelStudio",
    "haltung.corpus.readers.pairs.Pairs",
    "haltung.corpus.readers.prodigy.Prodigy",
    "haltung.corpus.readers.standoff.RealNews",
    "haltung.corpus.readers.standoff.Standoff",
    "haltung.corpus.readers.tables.Csv",
    "haltung.corpus.readers.tables.Jsonl",
    "haltung.corpus.readers.tables.Parquet",
    "haltung.corpus.readers.union.Union",
    "haltung.corpus.readers.xstance.XStance",
    "haltung.corpus.rules.Rules",
    "haltung.corpus.splits.ByDate",
    "haltung.corpus.splits.ByGroup",
    "haltung.corpus.splits.ByTarget",
    "haltung.corpus.splits.Given",
    "haltung.corpus.splits.KFold",
    "haltung.corpus.splits.Stratified",
    "haltung.corpus.splits.TestOnly",
    "haltung.encoders.sources.Encoder",
    "haltung.evaluation.comparison_references.Reference",
    "haltung.model.spec.LinearSpec",
    "haltung.model.spec.NetworkSpec",
    "haltung.tracking.Store",
    "haltung.training.spec.Training",
]


@pytest.fixture
def stored() -> dict[str, Any]:
    """The config of a run of the version before the rebuild."""
    return dict(yaml.safe_load((Path(__file__).with_name("stored_config.yaml")).read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", OLD_TARGETS)
def test_every_old_target_leads_to_a_class_of_today(name: str) -> None:
    """A stored run, and a user's config, may name any of them."""
    assert is_dataclass(get_class(renamed.target(name)))


def test_a_stored_config_makes_the_objects_that_todays_makes(stored: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Reader, cleaning, split, encoder, model, training, tracking; without a word."""
    today = plain(compose("train", ["model=network"]))
    stored["corpus"]["reader"]["path"] = today["corpus"]["reader"]["path"]
    old = renamed.targets(stored)
    for key in ("encoder", "model", "training", "tracking"):
        assert make(old[key], key) == make(today[key], key)
    for key in ("reader", "rules", "split"):
        assert make(old["corpus"][key], key) == make(today["corpus"][key], key)
    assert recipe_of(old).options == recipe_of(today).options
    assert capsys.readouterr().err == ""


def test_a_stored_reader_of_real_news_reads_what_it_did() -> None:
    """It was one class, and is the first two readers of a union today, in their first round."""
    today = plain(compose("prepare", ["corpus=real_news", "corpus.rounds=[1]", "sources=somewhere"]))["corpus"]["reader"]
    today["parts"] = today["parts"][:2]
    annotations = str(Path(today["parts"][0]["annotations"]).parents[1])
    old = {"_target_": "haltung.corpus.readers.standoff.RealNews", "sources": "somewhere", "annotations": annotations}
    assert make({**old, "before": 1, "lead": True, "on_error": "stop"}, "reader") == make(today, "reader")


@pytest.mark.parametrize(
    ("command", "old", "new"),
    [
        ("evaluate", "examine=false", "error_analysis=false"),
        ("events", "longest=9", "max_characters=9"),
        ("network", "least=0.3", "min_probability=0.3"),
        ("network", "fewest=2", "min_events=2"),
        ("prepare", "corpus.reader.most=3", "corpus.reader.max_segments=3"),
    ],
)
def test_an_old_key_does_what_the_new_one_does_and_says_so(command: str, old: str, new: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on standard error names both; the new key says nothing."""
    (wanted,) = each(command, [new])
    assert capsys.readouterr().err == ""
    (given,) = each(command, [old])
    assert given.settings == wanted.settings
    (line,) = capsys.readouterr().err.splitlines()
    assert [name for name in (old.partition("=")[0], new.partition("=")[0]) if f" {name} " not in f" {line.replace(';', ' ')} "] == []


@pytest.mark.parametrize("corpus", ["bundestag_stance", "diplomacy", "gnad10_stance", "news", "real_news", "wikinews_stance"])
def test_keys_of_a_copied_context_have_no_effect_and_say_so(corpus: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each, also for a part of a corpus; what is prepared is the same without them."""
    words = [f"corpus={corpus}", "sources=texts"]
    readers = ["corpus.reader", *(["corpus.reader.parts.0", "corpus.reader.parts.2"] if corpus in ("news", "real_news") else [])]
    given = [f"{reader}.{word}" for reader in readers for word in ("before=3", "lead=false")]
    (wanted,), (found,) = each("prepare", words), each("prepare", [*words, *given])
    assert found.settings == wanted.settings
    said = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in said] == [word.partition("=")[0] for word in given]
    assert all("has no effect any more" in line for line in said)


def test_a_users_config_with_a_copied_context_still_prepares(tmp_path: Path) -> None:
    """What has no effect is announced, once for each reader and argument."""
    reader = "{_target_: haltung.corpus.readers.articles.Articles, path: articles.jsonl, before: 2, lead: true}"
    (tmp_path / "mine/corpus").mkdir(parents=True)
    (tmp_path / "mine/corpus/mine.yaml").write_text(
        f"defaults: [/rules@rules: default, /splits@split: given, _self_]\nname: mine\nlabels: diplomacy\ntasks: null\nreader: {reader}\n"
    )
    segments = [{"text": text, "topic": "diplomacy", "stance": "neutral"} for text in ("Es regnet in Bern.", "Rom schweigt dazu.")]
    articles = [
        {"article": f"d{number}", "segments": [{**row, "text": f"{row['text']} {number}"} for row in segments]} for number in range(9)
    ]
    (tmp_path / "articles.jsonl").write_text("".join(json.dumps(one) + "\n" for one in articles), encoding="utf-8")
    done = run_here("prepare", "corpus=mine", "--config-dir", "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.partition(" has no effect")[0] for line in done.stderr.splitlines()] == [
        f"haltung: {name} of haltung.corpus.readers.articles.Articles" for name in ("before", "lead")
    ]


@pytest.mark.parametrize(
    ("words", "gone"),
    [
        (("events", "dyads=somewhere"), "dyads="),
        (("dyads", "+dyads=somewhere"), "dyads="),
        (("serve", "bundle=b", "dyads=null"), "dyads="),
        (("train", "model=dyad"), "model=dyad"),
        (("train", "experiment=dyads"), "experiment=dyads"),
        (("train", "corpus=dyads,diplomacy", "model=article"), "corpus=dyads"),
        (("prepare", "corpus=dyads_diplomacy"), "corpus=dyads_diplomacy"),
    ],
)
def test_who_asks_for_the_model_of_dyads_is_told_where_it_went(words: tuple[str, ...], gone: str, tmp_path: Path) -> None:
    """One sentence says what is gone and what to type."""
    done = run_here(*words, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"{gone} is gone, since dyads are part of model=article now; train with haltung train model=article" in done.stderr
    assert "bundle=DIR" in done.stderr


def test_a_corpus_of_ones_own_may_have_that_name(tmp_path: Path) -> None:
    """Only ours is gone."""
    (tmp_path / "mine/corpus").mkdir(parents=True)
    (tmp_path / "mine/corpus/dyads.yaml").write_text("defaults:\n  - diplomacy\n  - _self_\nname: dyads\n", encoding="utf-8")
    done = run_here("prepare", "corpus=dyads", "--config-dir", "mine", "--cfg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["haltung.events.view.Dyads", "haltung.events.dyads.dataset.Dyads"])
def test_a_stored_corpus_of_dyads_is_told_where_it_went(name: str) -> None:
    """Its reader is no class any more, under either of its names."""
    with pytest.raises(UserError, match=rf"_target_: {name} is gone, since dyads are part of model=article now"):
        make({"_target_": name, "source": {"_target_": "haltung.corpus.readers.union.Union", "parts": []}}, "corpus.reader")


def test_an_old_target_in_a_users_config_works_and_is_announced(tmp_path: Path) -> None:
    """Once, with today's name; the corpus is prepared."""
    write_corpus(tmp_path, 80)
    (tmp_path / "mine/splits").mkdir(parents=True)
    (tmp_path / "mine/splits/meine.yaml").write_text("_target_: haltung.corpus.splits.ByGroup\ntrain: null\ndev: 0.1\ntest: 0.2\nseed: 1\n")
    words = ("corpus=jsonl", "corpus.reader.path=texts.jsonl", "corpus.labels=scheme.yaml", "splits@corpus.split=meine")
    done = run_here("prepare", *words, "--config-dir", "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert "haltung.corpus.splits.ByGroup" in line
    assert "haltung.corpus.split.ByGroup" in line
    assert (tmp_path / "data/prepared/jsonl/manifest.json").is_file()
