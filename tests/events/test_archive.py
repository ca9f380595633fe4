"""An archive of events that is read back and selected from."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from archives import EVENTS, event, lines, table
from haltung.errors import UserError
from haltung.events.archive.read import find, read, select
from haltung.events.records import COLUMNS

# ---- reading back


def test_json_lines_and_csv_give_the_same_events(tmp_path: Path) -> None:
    """Except the positions in the text, which no plot needs."""
    assert read([lines(tmp_path / "e.jsonl")]).events == read([table(tmp_path / "e.csv")]).events == EVENTS


def test_only_json_lines_know_articles_without_an_event(tmp_path: Path) -> None:
    """So that a quiet month can be distinguished from one that nobody read."""
    whole, part = read([lines(tmp_path / "e.jsonl")]), read([table(tmp_path / "e.csv")])
    assert (whole.is_whole, "a-2020-05-01" in whole.articles) == (True, True)
    assert (part.is_whole, "a-2020-05-01" in part.articles) == (False, False)


def test_an_event_in_two_files_of_a_folder_counts_once(tmp_path: Path) -> None:
    """And a note says so."""
    lines(tmp_path / "e.jsonl")
    table(tmp_path / "e.csv")
    archive = read(find([str(tmp_path)]))
    assert (archive.events, archive.notes) == (EVENTS, ("8 events are in two files and count once",))


def test_an_event_that_a_file_has_twice_counts_twice(tmp_path: Path) -> None:
    """It was read twice."""
    assert len(read([lines(tmp_path / "e.jsonl", [EVENTS[0], EVENTS[0]])]).events) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"id": "a", "events": []}\n{"id": ', "a.jsonl, line 2: column 7: not JSON"),
        ("a.jsonl", '{"text": "Die USA warnen."}\n', "a.jsonl, line 1: no article with its events"),
        ("a.jsonl", '{"id": "a", "events": [3]}', "a.jsonl, line 1: an event is 3, expected an object"),
        ("a.jsonl", '{"id": "a", "date": "2020-13-01", "events": []}', "line 1: the date is '2020-13-01', expected YYYY-MM-DD"),
        ("a.jsonl", '{"id": "a", "events": []}', "a.jsonl: no event in 1 articles"),
        ("a.csv", "date,source\n2020-01-01,USA\n", "a.csv, line 1: the table has no column target"),
        ("a.csv", ",".join(COLUMNS) + "\n2020-01-01,USA\n", "a.csv, line 2: not 16 cells"),
        ("a.csv", "\x00", "a.csv, line 1: the table has no column"),
    ],
)
def test_a_broken_line_is_told_with_file_and_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    """And with what was expected."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(message)):
        read([tmp_path / name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stance": "criticsm"}, "line 1: stance is 'criticsm', did you mean 'criticism'?"),
        ({"probability": 1.2}, "line 1: probability of an event is 1.2, expected a number from 0 to 1"),
        ({"probability": None}, "line 1: an event has no probability"),
        ({"probability": float("nan")}, "probability of an event is nan"),
        ({"intensity": True}, "intensity of an event is True, expected a number from -10 to 10"),
        ({"quad": 7}, "quad of an event is 7, expected a number from 1 to 4"),
        ({"source": None}, "source of an event is None, expected text"),
    ],
)
def test_a_wrong_value_of_an_event_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """With file and line too."""
    row = {"id": "a", "events": [asdict(EVENTS[0]) | change]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(message)):
        read([tmp_path / "a.jsonl"])


def test_a_line_separator_inside_a_sentence_ends_no_line(tmp_path: Path) -> None:
    """Neither in JSON Lines nor in a quoted cell."""
    odd = [replace(EVENTS[0], text="eins\u2028zwei\x85drei, vier")]
    assert read([lines(tmp_path / "e.jsonl", odd)]).events[0].text == odd[0].text
    assert read([table(tmp_path / "e.csv", odd)]).events[0].text == odd[0].text


def test_a_file_name_that_is_no_unicode_is_read_back(tmp_path: Path) -> None:
    """An article's id comes from its file's name; the odd byte is an escape in JSON."""
    row = json.dumps({"id": "stra\udcdfe", "events": [asdict(EVENTS[0]) | {"article": "stra\udcdfe"}]})
    (tmp_path / "a.jsonl").write_text(row, encoding="utf-8")
    assert read([tmp_path / "a.jsonl"]).events[0].article == "stra\udcdfe"


# ---- choosing


def test_an_event_without_source_or_target_is_in_no_picture() -> None:
    """There is no arrow for it."""
    assert select(EVENTS) == list(EVENTS[:-1])


def test_filters_hold_together() -> None:
    """Days are inclusive, and several topics or stances widen the choice."""
    wanted: dict[str, Any] = {"since": "2020-01-20", "until": "2020-04-06", "min_probability": 0.5, "topics": ["security", "energy"]}
    assert [one.stance for one in select(EVENTS, **wanted, stances=["warning", "coercion"])] == ["coercion", "warning"]


def test_the_least_probability_is_inclusive() -> None:
    """An event with exactly this probability is selected, one just below is not."""
    at, below = event("USA", "RUS", probability=0.6), event("USA", "RUS", probability=0.5999)
    assert select([at, below], min_probability=0.6) == [at]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            {"since": "2021-01-01"},
            "of the 7 left of 8 events none is of since=2021-01-01 or later; their dates go from 2020-01-15 to 2020-06-01",
        ),
        ({"until": "2019-01-01"}, "none is of until=2019-01-01 or before"),
        ({"since": "2020-06-01", "min_probability": 0.9}, "of the 1 left of 8 events none has a probability of min_probability=0.9"),
        ({"topics": ("enrgy",)}, "topic is 'enrgy', did you mean 'energy'?; allowed are energy, security"),
        ({"topics": ("energy",), "stances": ("support",)}, "of the 1 left of 8 events none has stance=support"),
        ({"stances": ("critic",)}, "stance is 'critic'"),
    ],
)
def test_the_filter_that_leaves_nothing_is_named(wanted: dict[str, Any], message: str) -> None:
    """With how many events there were before it."""
    with pytest.raises(UserError, match=re.escape(message)):
        select(EVENTS, **wanted)
