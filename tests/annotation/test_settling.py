"""Two coders who don't see each other, and a judge who settles what they disagree on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from annotated import GOOD, answer, rows, work, write
from command_line import run_here
from haltung.corpus.parsing.rows import Fault, Reading
from haltung.errors import UserError
from haltung.evaluation.metrics.agreement import agreement

FILES = ("anna.jsonl", "ben.jsonl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two articles that two coders have labelled, four sentences alike."""
    write(tmp_path)
    anna, ben = work(tmp_path, "anna"), work(tmp_path, "ben")
    for coder in (anna, ben):
        answer(coder, 0, [("USA", "RUS")])
        answer(coder, 1)
    answer(anna, 2, stance="support", comment="wegen des Lobes")
    answer(ben, 2, topic="economy")
    answer(anna, 3, [("USA", "RUS")])
    answer(ben, 3, [("RUS", "USA")])
    answer(anna, 4)
    answer(ben, 5)
    answer(anna, 6)
    ben.answer(6, {"labels": {}})
    anna.answer(7, {"labels": {}})
    ben.answer(7, {"labels": {}})
    return tmp_path


def test_a_coder_is_shown_nothing_of_another(folder: Path) -> None:
    """Neither answers nor comments nor how far the other is, in no view and in no file."""
    (folder / "cleo.jsonl").touch()
    cleo = work(folder, "cleo")
    views = [cleo.view(number) for number in range(8)]
    assert not re.search(r"\b(anna|ben)\b|wegen des Lobes", json.dumps([*views, cleo.described()]))
    assert [(view["answer"], view["said"]["topic"], view["comments"]) for view in views] == [(None, [], [])] * 8
    described = cleo.described()
    assert (described["answered"], described["agreement"], described["numbers"]) == ([], [], [*range(8)])


def test_a_judge_is_asked_what_is_in_dispute_alone(folder: Path) -> None:
    """Labels, and who towards whom; a skip is no answer."""
    judge = work(folder, "judge", FILES)
    assert (judge.described()["numbers"], judge.described()["answered"]) == ([2, 3], [])
    second, third = (judge.view(number) for number in (2, 3))
    assert second["said"] == {"topic": ["economy", "security"], "stance": ["support", "warning"], "themes": [()], "dyads": [()]}
    assert second["comments"] == ["wegen des Lobes"]
    assert third["said"] == {
        "topic": ["security"], "stance": ["warning"], "themes": [()], "dyads": [(("RUS", "USA", ""),), (("USA", "RUS", ""),)],
    }  # fmt: skip
    assert not re.search(r"\b(anna|ben)\b", json.dumps([second, third, judge.described()]))


def test_the_result_has_all_segments_and_says_whose_they_are(folder: Path) -> None:
    """Agreed ones at once, those of one coder, and what was decided; two skips are no answer."""
    judge = work(folder, "judge", FILES)
    assert {row["id"]: row["coder"] for row in rows(folder / "judge.jsonl")} == {
        "0-0": "anna, ben", "0-1": "anna, ben", "1-0": "anna", "1-1": "ben", "1-2": "anna",
    }  # fmt: skip
    answer(judge, 2, stance="support", comment="eindeutig")
    answer(judge, 3, [("RUS", "USA")])
    assert [number for number, _ in judge.described()["answered"]] == judge.described()["numbers"] == [2, 3]
    result = {row["id"]: row for row in rows(folder / "judge.jsonl")}
    assert sorted(result) == ["0-0", "0-1", "0-2", "0-3", "1-0", "1-1", "1-2"]
    assert (result["0-2"]["stance"], result["0-2"]["coder"], result["0-2"]["comment"]) == ("support", "judge", "eindeutig")
    assert result["0-0"]["dyads"] == [{"source": "USA", "target": "RUS", "stance": "warning"}]
    words = ("prepare", "corpus=jsonl", "corpus.reader.path=judge.jsonl", "corpus.labels=labels.yaml", "splits@corpus.split=test_only")
    done = run_here(*words, "corpus.rules.near=0", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "5 segments of 2 articles" in done.stdout  # and two that have markup


def test_what_coders_do_meanwhile_is_taken_over(folder: Path) -> None:
    """New agreement, and a changed answer that makes it a dispute; a decision stays."""
    judge = work(folder, "judge", FILES)
    answer(judge, 2)
    before = (folder / "judge.jsonl").stat().st_ino
    judge.refresh()
    assert (folder / "judge.jsonl").stat().st_ino == before
    # The locks of the fixture's coders have gone with them.
    ben = work(folder, "ben")
    answer(ben, 4)
    answer(ben, 0, [("USA", "RUS")], stance="support")
    answer(ben, 2, topic="other")
    judge.refresh()
    assert judge.described()["numbers"] == [0, 2, 3]
    result = {row["id"]: row["coder"] for row in rows(folder / "judge.jsonl")}
    assert (result["1-0"], "0-0" in result, result["0-2"]) == ("anna, ben", False, "judge")


def test_a_coder_who_has_taken_all_back_locks_no_judge_out(folder: Path) -> None:
    """What was theirs leaves the result, the decisions stay, and it is still nobody else's file."""
    answer(work(folder, "judge", FILES), 2, stance="support")
    ben = work(folder, "ben")
    for number, _ in ben.described()["answered"]:
        ben.answer(number, {"labels": None, "seen": ben.view(number)["answer"]["time"]})
    judge = work(folder, "judge", FILES)
    assert (rows(folder / "ben.jsonl"), judge.described()["numbers"]) == ([], [2])
    result = {row["id"]: row["coder"] for row in rows(folder / "judge.jsonl")}
    assert result == {"0-0": "anna", "0-1": "anna", "0-2": "judge", "0-3": "anna", "1-0": "anna", "1-2": "anna"}
    del judge
    with pytest.raises(UserError, match="or change others' in"):
        work(folder, "judge", FILES, coder="cleo")


def test_the_order_of_answers_does_not_tell_whose_they_are(folder: Path) -> None:
    """It is the same if the coders change places (the page shuffles it)."""
    one, other = work(folder, "judge", FILES), work(folder, "judge2", FILES[::-1])
    assert [one.view(number) for number in range(8)] == [other.view(number) for number in range(8)]


def test_agreement_so_far_is_that_of_haltung_agree(folder: Path) -> None:
    """On the segments that both have answered."""
    judge = work(folder, "judge", FILES)
    both = [segment for segment in judge.segments if segment.id in ("0-0", "0-1", "0-2", "0-3")]
    anna, ben = ({row["id"]: row for row in rows(folder / name)} for name in FILES)
    votes = {
        one.id: {
            str(n): {"topic": said[one.id]["topic"], "stance": said[one.id]["stance"], "themes": ()} for n, said in enumerate((anna, ben))
        }
        for one in both
    }
    expected = agreement("", Reading(tuple(both), votes=votes), judge.scheme).tasks
    assert [(one["task"], one["n"], one["value"]) for one in judge.described()["agreement"]] == [
        (name, 4, pytest.approx(task.measures["alpha"].value)) for name, task in expected.items()
    ]


def test_nobody_changes_the_answers_of_another(folder: Path) -> None:
    """Neither by their file, nor as a judge of others."""
    before = (folder / "anna.jsonl").read_bytes()
    for settle in ((), ("ben.jsonl",)):
        with pytest.raises(UserError, match="or change others' in"):
            work(folder, "anna", settle, coder="cleo")
    assert (folder / "anna.jsonl").read_bytes() == before


def test_nobody_settles_their_own(folder: Path) -> None:
    """It would be their answer that counts."""
    with pytest.raises(UserError, match=r"coder=anna can't settle their own answers or change others' in .*; name another coder="):
        work(folder, "anna", ("anna.jsonl", "ben.jsonl"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"labels": {**GOOD, "topic": "securty"}}, "unknown topic 'securty', did you mean 'security'"),
        ({"labels": {**GOOD, "stance": ["warning", "support"]}}, "2 labels for stance"),
        ({"labels": {**GOOD, "themes": [["energy"]]}}, "the themes is a list"),
        ({"labels": GOOD, "dyads": [{"source": "USA"}]}, "a dyad has source, target and stance; found source"),
        ({"labels": GOOD, "dyads": [{"source": 1, "target": "", "stance": "warning"}]}, "a dyad's source is a number"),
        ({"labels": GOOD, "dyads": "USA"}, "'dyads' is text; expected a list"),
        ({"labels": GOOD, "comment": 5}, "'comment' is a number"),
        ({"labels": GOOD, "comment": "a\0b"}, "NUL byte"),
        ({"labels": GOOD, "seen": "2020-01-01"}, "answered in another window"),
        ({"labels": "security"}, "labels is text"),
    ],
)
def test_an_answer_that_is_none_is_refused(tmp_path: Path, given: dict[str, object], said: str) -> None:
    """In one sentence, and nothing is saved."""
    write(tmp_path)
    anna = work(tmp_path, "anna")
    with pytest.raises(Fault) as fault:
        anna.answer(0, given)
    assert said in str(fault.value)
    assert (tmp_path / "anna.jsonl").read_bytes() == b""
