"""From words to a config and from a config to objects."""

from __future__ import annotations

import pytest

from haltung.cli.build import make
from haltung.cli.config import compose, each, parse, plain, quote
from haltung.errors import UserError
from haltung.models.spec import NetworkSpec


def test_a_task_of_ones_own_needs_no_plus() -> None:
    """What a task reads, and which column it is in, are keyed by names that only the user knows."""
    words = ["corpus=csv", "corpus.reader.path=x.csv", "corpus.reader.columns.tone=Ton", "corpus.reads.tone=context"]
    config = compose("train", words)
    assert config.corpus.reader.columns.tone == "Ton"
    assert config.corpus.reads == {"default": "text", "tone": "context"}


@pytest.mark.parametrize("run", ["9e881582", "12345678", "0x1f2e3d", "82866d7f"])
def test_a_runs_id_is_never_taken_for_a_number(run: str) -> None:
    """The beginning of an id may look like one."""
    (overrides,) = parse([f"run={run}"]).combinations
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
    """Whatever characters it holds: one override, with this value."""
    config = compose("train", [f"name={quote(value)}"])
    assert (config.name, type(config.name)) == (value, type(value))


def test_lists_of_runs_and_texts_need_no_quotes() -> None:
    """Ids may look like numbers, dates too, and brackets may be left out."""
    (compared,) = each("compare", ["runs=9e881582,b-1"], lists=("runs",))
    (drawn,) = each("network", ["since=2006", "pair=USA,RUS", "topic=null"], texts=("since", "pair", "topic"))
    (labelled,) = each("predict", ["text='Nein', sagte [er], ${x}"], verbatim=("text",))
    assert compared.settings["runs"] == ["9e881582", "b-1"]
    assert [drawn.settings[key] for key in ("since", "pair", "topic")] == ["2006", "USA,RUS", None]
    assert labelled.settings["text"] == "'Nein', sagte [er], ${x}"


def test_values_with_commas_become_combinations_and_lists_do_not() -> None:
    """``seed=1,2`` asks for two runs, ``[1,2]`` is one value."""
    assert parse(["seed=1,2", "name=x"]).combinations == (("seed=1", "name=x"), ("seed=2", "name=x"))
    assert parse(["name=[1,2]"]).combinations == (("name=[1,2]",),)


def test_more_runs_than_anybody_means_are_refused() -> None:
    """A slip in a sweep does not start a thousand trainings."""
    many = ",".join(str(number) for number in range(30))
    with pytest.raises(UserError, match="ask for 900 runs"):
        parse([f"seed={many}", f"training.epochs={many}"])


def test_a_config_becomes_an_object_with_checked_types() -> None:
    """Numbers given as text are read, nonsense is refused with its key."""
    node = plain(compose("train", ["corpus.max_length=64"]))["model"]
    assert isinstance(make(node, "model"), NetworkSpec)
    assert make(node, "model").max_length == 64
    with pytest.raises(UserError, match=r"model\.max_length is 'lang'"):
        make({**node, "max_length": "lang"}, "model")


def test_a_target_that_is_no_class_is_refused() -> None:
    """A config may name a class that is not there."""
    with pytest.raises(UserError, match=r"model\._target_ names haltung\.models\.spec\.Nothing, which can't be imported"):
        make({"_target_": "haltung.models.spec.Nothing"}, "model")
