"""Archives of events: reading and selection."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from archives import EVENTS, event, lines
from haltung.errors import UserError
from haltung.events.archive.read import find, read, select

# ---- reading back


def test_the_lines_give_the_events_and_all_articles(tmp_path: Path) -> None:
    """Articles without an event too, so that a quiet month differs from one without articles."""
    archive = read([lines(tmp_path / "e.jsonl")])
    assert archive.events == EVENTS
    assert "a-2020-05-01" in archive.articles


def test_an_event_in_two_files_of_a_folder_counts_once(tmp_path: Path) -> None:
    """A note reports it; files other than ``*.jsonl`` are not read."""
    lines(tmp_path / "e.jsonl")
    lines(tmp_path / "f.jsonl")
    (tmp_path / "e.csv").write_text("date,source\n", encoding="utf-8")
    archive = read(find([str(tmp_path)]))
    assert (archive.events, archive.notes) == (EVENTS, ("8 events are in two files and are counted once",))


def test_an_event_that_a_file_has_twice_counts_twice(tmp_path: Path) -> None:
    """Only duplicates in different files are dropped."""
    assert len(read([lines(tmp_path / "e.jsonl", [EVENTS[0], EVENTS[0]])]).events) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"id": "a", "events": []}\n{"id": ', "a.jsonl, line 2: column 7: not JSON"),
        ("a.jsonl", '{"text": "Die USA warnen."}\n', "a.jsonl, line 1: not an article with its events"),
        ("a.jsonl", '{"id": "a", "events": [3]}', "a.jsonl, line 1: not an article with its events: events.0 (Input should be"),
        ("a.jsonl", '{"id": "a", "date": "2020-13-01", "events": []}', "line 1: the date is '2020-13-01', expected YYYY-MM-DD"),
        ("a.jsonl", '{"id": "a", "events": []}', "a.jsonl: no event in 1 articles"),
    ],
)
def test_a_broken_line_is_told_with_file_and_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    """Together with what is wrong or what was expected."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(message)):
        read([tmp_path / name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stance": "criticsm"}, "line 1: stance is 'criticsm', did you mean 'criticism'?"),
        ({"probability": 1.2}, "line 1: not an article with its events: events.0.probability (Input should be less than or equal to 1)"),
        ({"probability": None}, "events.0.probability (Input should be a valid number)"),
        ({"probability": float("nan")}, "events.0.probability (Input should be"),
        ({"intensity": True}, "events.0.intensity (Input should be a valid number)"),
        ({"quad": 7}, "events.0.quad (Input should be less than or equal to 4)"),
        ({"source": None}, "events.0.source (Input should be a valid string)"),
    ],
)
def test_a_wrong_value_of_an_event_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """The message names the file and the line too."""
    row = {"id": "a", "events": [asdict(EVENTS[0]) | change]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(message)):
        read([tmp_path / "a.jsonl"])


def test_a_line_separator_inside_a_sentence_ends_no_line(tmp_path: Path) -> None:
    """Some editors display it as a line break."""
    odd = [replace(EVENTS[0], text="eins\u2028zwei\x85drei, vier")]
    assert read([lines(tmp_path / "e.jsonl", odd)]).events[0].text == odd[0].text


def test_a_file_name_that_is_no_unicode_is_read_back(tmp_path: Path) -> None:
    """An article's id comes from its file's name; JSON escapes the undecodable byte."""
    row = json.dumps({"id": "stra\udcdfe", "events": [asdict(EVENTS[0]) | {"article": "stra\udcdfe"}]})
    (tmp_path / "a.jsonl").write_text(row, encoding="utf-8")
    assert read([tmp_path / "a.jsonl"]).events[0].article == "stra\udcdfe"


# ---- selection


def test_an_event_without_source_or_target_is_in_no_picture() -> None:
    """It can't be drawn as an arrow."""
    assert select(EVENTS) == list(EVENTS[:-1])


def test_filters_hold_together() -> None:
    """All of them apply; dates are inclusive; several topics or stances widen the selection."""
    wanted: dict[str, Any] = {"since": "2020-01-20", "until": "2020-04-06", "min_probability": 0.5, "topics": ["security", "energy"]}
    assert [one.stance for one in select(EVENTS, **wanted, stances=["warning", "coercion"])] == ["coercion", "warning"]


def test_the_least_probability_is_inclusive() -> None:
    """An event with exactly this probability is selected, one just below is not."""
    at, below = event("USA", "RUS", probability=0.6), event("USA", "RUS", probability=0.5999)
    assert select([at, below], min_probability=0.6) == [at]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"since": "2021-01-01"}, "none of 8 has both a source and a target and matches since=2021-01-01; select more events"),
        ({"until": "2019-01-01"}, "until=2019-01-01"),
        ({"since": "2020-06-01", "min_probability": 0.9}, "since=2020-06-01, min_probability=0.9"),
        ({"topics": ("enrgy",)}, "topic is 'enrgy', did you mean 'energy'?; choose from energy, security"),
        ({"topics": ("energy",), "stances": ("support",)}, "topic=energy, stance=support"),
        ({"stances": ("critic",)}, "stance is 'critic'"),
    ],
)
def test_filters_that_leave_nothing_are_named(wanted: dict[str, Any], message: str) -> None:
    """Together with the number of events before filtering."""
    with pytest.raises(UserError, match=re.escape(message)):
        select(EVENTS, **wanted)
