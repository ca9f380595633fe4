"""From words of the command line to a config, and from a config to objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import run_here, write_corpus
from haltung.cli.build import make
from haltung.cli.config import combinations, compose, each, plain, quote
from haltung.errors import UserError
from haltung.models.spec import NetworkSpec


def test_a_task_of_ones_own_needs_no_plus() -> None:
    """The keys of a task's view and of its column are names that only the user knows."""
    words = ["corpus=csv", "corpus.reader.path=x.csv", "corpus.reader.columns.tone=Ton", "corpus.reads.tone=context"]
    config = compose("train", words)
    assert config.corpus.reader.columns.tone == "Ton"
    assert config.corpus.reads == {"default": "text", "tone": "context"}


@pytest.mark.parametrize("run", ["9e881582", "12345678", "0x1f2e3d", "82866d7f"])
def test_a_runs_id_is_never_taken_for_a_number(run: str) -> None:
    """The prefix of an id may look like one."""
    (overrides,) = combinations([f"run={run}"])
    assert compose("evaluate", overrides).run == run


@pytest.mark.parametrize(
    "value",
    [
        "gbert_base",
        "it's",
        "a,b",
        "[1]",
        "{a: 1}",
        "C:\\x",
        "\\'",
        "ends in \\",
        "",
        " ",
        "true",
        "null",
        "12",
        "1e5",
        "a=b",
        "x\ny",
        12,
        0.5,
        True,
        None,
    ],
)
def test_a_quoted_value_is_read_as_it_was(value: object) -> None:
    """Whatever characters it contains: one override with this value and type."""
    config = compose("train", [f"name={quote(value)}"])
    assert (config.name, type(config.name)) == (value, type(value))


def test_lists_of_runs_and_texts_need_no_quotes() -> None:
    """Ids and dates may look like numbers, and brackets may be omitted."""
    (compared,) = each("compare", ["runs=9e881582,b-1"], lists=("runs",))
    (drawn,) = each("network", ["since=2006", "pair=USA,RUS", "topic=null"], texts=("since", "pair", "topic"))
    (labelled,) = each("predict", ["text='Nein', sagte [er], ${x}"], verbatim=("text",))
    assert compared.settings["runs"] == ["9e881582", "b-1"]
    assert [drawn.settings[key] for key in ("since", "pair", "topic")] == ["2006", "USA,RUS", None]
    assert labelled.settings["text"] == "'Nein', sagte [er], ${x}"


@pytest.mark.parametrize("sign", [";", ",", "'", '"', "|", "\t", ":"])
@pytest.mark.parametrize("key", ["separator", "quotechar", "list_separator"])
def test_a_separator_needs_no_quotes(sign: str, key: str) -> None:
    """In a corpus config and for a sheet, although most of these have a meaning in Hydra."""
    of_table = [] if key == "list_separator" else [["table=x.csv", f"{key}={sign}"]]
    for words in (["corpus=csv", "corpus.reader.path=x.csv", f"corpus.reader.{key}={sign}"], *of_table):
        (request,) = each("prepare", words)
        assert request.settings["corpus"]["reader"][key] == sign


def test_values_with_commas_become_combinations_and_lists_do_not() -> None:
    """``seed=1,2`` asks for two runs, ``[1,2]`` is one value."""
    assert combinations(["seed=1,2", "name=x"]) == [("seed=1", "name=x"), ("seed=2", "name=x")]
    assert combinations(["name=[1,2]"]) == [("name=[1,2]",)]


def test_more_runs_than_anybody_means_are_refused() -> None:
    """A typing error in a sweep does not start a thousand trainings."""
    many = ",".join(str(number) for number in range(30))
    with pytest.raises(UserError, match="request 900 runs"):
        combinations([f"seed={many}", f"training.epochs={many}"])


def test_a_config_becomes_an_object_with_checked_types() -> None:
    """Numbers given as text are converted; invalid values are refused with their key."""
    node = plain(compose("train", ["corpus.max_length=64"]))["model"]
    assert isinstance(make(node, "model"), NetworkSpec)
    assert make(node, "model").max_length == 64
    with pytest.raises(UserError, match=r"model\.max_length is 'lang'"):
        make({**node, "max_length": "lang"}, "model")


@pytest.mark.parametrize("name", ["haltung.models.spec.Nothing", "haltung.corpus.splits.ByGroup", "haltung.model.spec.NetworkSpec"])
def test_a_target_that_is_no_class_is_refused(name: str) -> None:
    """An old config may name a removed class: the message names a release that has it."""
    with pytest.raises(UserError, match=rf"model\._target_ names {name}, which can't be imported: .*; release 0\.1\.0"):
        make({"_target_": name}, "model")


@pytest.mark.parametrize("name", ["haltung.labels.STANCE", "haltung.labels.parse"])
def test_a_target_that_is_no_dataclass_is_refused(name: str) -> None:
    """Such as a constant or a function."""
    with pytest.raises(UserError, match=rf"^model\._target_ names {name}, which is not a dataclass$"):
        make({"_target_": name}, "model")


def test_a_key_that_is_gone_is_passed_over_where_it_is_null() -> None:
    """Stored runs contain it; another value is refused, since it had a meaning."""
    node = {"_target_": "haltung.corpus.readers.articles.Articles", "path": "texts", "max_segments": None}
    assert make(node, "corpus.reader").path == "texts"
    with pytest.raises(UserError, match=r"^there is no key 'corpus\.reader\.max_segments'"):
        make({**node, "max_segments": 600}, "corpus.reader")


def test_an_old_target_in_a_users_config_stops_the_command(tmp_path: Path) -> None:
    """In one line with the key and the class, without traceback."""
    write_corpus(tmp_path, 80)
    (tmp_path / "mine/splits").mkdir(parents=True)
    (tmp_path / "mine/splits/meine.yaml").write_text("_target_: haltung.corpus.splits.ByGroup\ntrain: null\ndev: 0.1\ntest: 0.2\nseed: 1\n")
    words = ("corpus=jsonl", "corpus.reader.path=texts.jsonl", "corpus.labels=scheme.yaml", "splits@corpus.split=meine")
    done = run_here("prepare", *words, "--config-dir", "mine", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "corpus.split._target_ names haltung.corpus.splits.ByGroup" in done.stderr


@pytest.mark.parametrize(
    ("command", "word", "gone", "today"),
    [
        ("evaluate", "examine=false", "examine", "error_analysis"),
        ("events", "longest=9", "longest", "max_characters"),
        ("network", "least=0.3", "least", "min_probability"),
        ("prepare", "corpus.reader.most=3", "corpus.reader.most", "on_error"),
        ("serve", "dyads=null", "dyads", "bundle"),
        ("train", "model=dyad", "dyad", "article"),
    ],
)
def test_what_is_gone_is_refused_with_what_there_is(command: str, word: str, gone: str, today: str) -> None:
    """The message names the removed key or choice and those that exist today."""
    with pytest.raises(UserError, match=rf"'{gone}'.*\b{today}\b"):
        list(each(command, [word]))
