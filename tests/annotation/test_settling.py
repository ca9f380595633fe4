"""Two coders who don't see each other's answers, and a judge who settles their disagreements."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from annotated import CORPUS, GOOD, Process, answer, rows, work, write
from command_line import run_here
from haltung.annotation.work import AnswersFile, Work
from haltung.corpus.parsing.rows import Fault, Reader, Reading
from haltung.corpus.readers.label_studio import LabelStudio
from haltung.corpus.readers.sheet import Sheet
from haltung.corpus.readers.tables import Jsonl
from haltung.errors import UserError
from haltung.evaluation.metrics.agreement import agreement
from haltung.labels import load

FILES = ("anna.jsonl", "ben.jsonl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two articles labelled by two coders: of four sentences with two answers, two agree."""
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
    """Neither answers nor comments nor progress."""
    (folder / "cleo.jsonl").touch()
    cleo = work(folder, "cleo")
    views = [cleo.view(number) for number in range(8)]
    assert not re.search(r"\b(anna|ben)\b|wegen des Lobes", json.dumps([*views, cleo.described()]))
    assert [(view["answer"], view["said"]["topic"], view["comments"]) for view in views] == [(None, [], [])] * 8
    described = cleo.described()
    assert (described["answered"], described["agreement"], described["numbers"]) == ([], [], [*range(8)])


def test_a_judge_is_asked_what_is_in_dispute_alone(folder: Path) -> None:
    """Labels and dyads; a skip does not count as an answer."""
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
    """Agreed answers at once, those of a single coder, and decisions; two skips are no answer."""
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
    assert "5 segments of 2 articles" in done.stdout  # two more have markup and are dropped


def test_halves_of_two_coders_become_one_answer(tmp_path: Path) -> None:
    """If each labelled a different task, both labels are kept."""
    write(tmp_path)
    answer(work(tmp_path, "anna"), 0, topic=None)
    answer(work(tmp_path, "ben"), 0, themes=None)
    assert work(tmp_path, "judge", FILES).described()["numbers"] == []
    (row,) = rows(tmp_path / "judge.jsonl")
    assert (row["topic"], row["stance"], row["coder"]) == (GOOD["topic"], GOOD["stance"], "anna, ben")


def test_what_coders_do_meanwhile_is_taken_over(folder: Path) -> None:
    """New agreement is added, and a changed answer becomes a dispute; decisions stay."""
    judge = work(folder, "judge", FILES)
    answer(judge, 2)
    before = (folder / "judge.jsonl").stat().st_ino
    judge.refresh()
    assert (folder / "judge.jsonl").stat().st_ino == before
    # The fixture's coders are gone, and their locks with them.
    ben = work(folder, "ben")
    answer(ben, 4)
    answer(ben, 0, [("USA", "RUS")], stance="support")
    answer(ben, 2, topic="other")
    judge.refresh()
    assert judge.described()["numbers"] == [0, 2, 3]
    result = {row["id"]: row["coder"] for row in rows(folder / "judge.jsonl")}
    assert (result["1-0"], "0-0" in result, result["0-2"]) == ("anna, ben", False, "judge")


def test_a_coder_who_has_taken_all_back_locks_no_judge_out(folder: Path) -> None:
    """Their answers leave the result, decisions stay, and nobody else may write the file."""
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
    """The order is the same if the coders are exchanged (the page shuffles it)."""
    one, other = work(folder, "judge", FILES), work(folder, "judge2", FILES[::-1])
    assert [one.view(number) for number in range(8)] == [other.view(number) for number in range(8)]


def test_agreement_so_far_is_that_of_haltung_agree(folder: Path) -> None:
    """On the segments that both have labelled."""
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


def test_agree_reads_the_answers_of_the_page_and_names_the_next_command(folder: Path) -> None:
    """Its values are those of the judge's page, and the command it prints settles these answers."""
    done = run_here("agree", *CORPUS, "answers=[anna.jsonl,ben.jsonl]", "output=agreement", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads((folder / "agreement/agreement.json").read_text(encoding="utf-8"))
    assert found["coders"] == ["anna", "ben"]
    assert {name: task["missing"] for name, task in found["tasks"].items()} == {task: {"anna": 1, "ben": 2} for task in GOOD}
    shown = work(folder, "judge", FILES).described()["agreement"]
    assert [(one["task"], one["n"], one["value"]) for one in shown] == [
        (name, task["n"], task["measures"]["alpha"]["value"]) for name, task in found["tasks"].items()
    ]
    words = ["haltung", "annotate", *CORPUS, "coder=NAME", "settle=[anna.jsonl,ben.jsonl]"]
    assert shlex.split(done.stdout.splitlines()[-1].removeprefix("on a page:")) == words


def test_coders_of_a_sheet_are_settled_on_the_page(tmp_path: Path) -> None:
    """With the command printed by agree: blind, only disputes, and prepare reads the result."""
    table = ["Satz;Artikel;Anna;Ben", "Ja.;1;pro;pro", "Nein.;1;pro;contra", "Doch!;2;;contra", "Kaum.;2;contra;pro", "Nie.;3;pro;pro"]
    (tmp_path / "codes.csv").write_text("\n".join(table) + "\n", encoding="utf-8")
    done = run_here("agree", "table=codes.csv", "coders=[Anna,Ben]", "label=Haltung", "output=agreement", "settle=rows.xlsx", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    *words, coder, settle = shlex.split(done.stdout.splitlines()[-1].removeprefix("on a page:"))
    assert (words[:2], coder, settle) == (["haltung", "annotate"], "coder=NAME", "settle=[codes.csv]")
    page = Process(tmp_path, "judge", settle, corpus=words[2:])
    shown = page.get("work")
    assert (page.said[0], shown["numbers"], shown["settles"], shown["dyads"]) == ("0 answers so far\n", [1, 3], True, False)
    views = [page.get(f"items/{number}") for number in range(5)]
    assert not re.search("Anna|Ben", json.dumps([shown, *views]))
    assert [view["said"]["stance"] for view in views] == [["pro"], ["contra", "pro"], ["contra"], ["contra", "pro"], ["pro"]]
    assert page.post("items/3", {"labels": {"stance": "pro"}, "seen": None}).status_code == 200
    page.end()
    result = "codes_Haltung-judge.jsonl"
    assert [(row["text"], row["stance"], row["coder"]) for row in rows(tmp_path / result)] == [
        ("Ja.", "pro", "Anna, Ben"), ("Doch!", "contra", "Ben"), ("Nie.", "pro", "Anna, Ben"), ("Kaum.", "pro", "judge"),
    ]  # fmt: skip
    words = ["prepare", "corpus=jsonl", f"corpus.reader.path={result}", "corpus.labels=codes_Haltung.labels.yaml"]
    done = run_here(*words, "splits@corpus.split=test_only", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 segments of 3 articles" in done.stdout


def judged(folder: Path, sheet: Reader, settle: tuple[str, ...] = ()) -> Work:
    """Open a source with labels of the small scheme for a judge."""
    scheme = load(folder / "labels.yaml")
    return Work(scheme, sheet.read(scheme), "judge", AnswersFile(folder / "judge.jsonl", scheme), [folder / name for name in settle], None)


def test_a_missing_answer_is_no_dispute_and_each_task_is_taken_over(tmp_path: Path) -> None:
    """With several tasks and a row for each coder; a second start resumes and rewrites nothing."""
    write(tmp_path)
    (tmp_path / "long.csv").write_text(
        "ID;Satz;Coder;topic;themes;stance\n"
        "1;Eins.;A;security;energy;warning\n1;Eins.;B;security;energy;support\n"
        "2;Zwei.;A;security;migration;energy;\n".replace("migration;energy", '"migration; energy"')
        + '2;Zwei.;B;;"energy;migration";warning\n3;Drei.;A;economy;;support\n',
        encoding="utf-8",
    )
    sheet = Sheet(str(tmp_path / "long.csv"), label=["topic", "themes", "stance"], annotators="soft")
    judge = judged(tmp_path, sheet)
    assert judge.described()["numbers"] == [0]
    assert judge.view(0)["said"] == {"topic": ["security"], "themes": [("energy",)], "stance": ["support", "warning"]}
    before = rows(tmp_path / "judge.jsonl")
    assert [(row["topic"], row["themes"], row["stance"], row["coder"]) for row in before] == [
        ("security", ["energy", "migration"], "warning", "A, B"), ("economy", None, "support", "A"),
    ]  # fmt: skip
    inode = (tmp_path / "judge.jsonl").stat().st_ino
    del judge
    answer(judged(tmp_path, sheet), 0, themes=["energy"])
    assert ((tmp_path / "judge.jsonl").stat().st_ino, rows(tmp_path / "judge.jsonl")[:2]) == (inode, before)
    segments = Jsonl(str(tmp_path / "judge.jsonl")).read(load(tmp_path / "labels.yaml")).segments
    assert [(one.id, one.labels["themes"], one.soft) for one in segments] == [
        ("2", ("energy", "migration"), {}), ("3", None, {}), ("1", ("energy",), {}),
    ]  # fmt: skip


def test_what_a_sheet_has_decided_is_not_asked(tmp_path: Path) -> None:
    """The decision is kept, agreement is that of the coders, and a further coder may be added."""
    write(tmp_path)
    table = "ID;Satz;A;B;stance\n1;Eins.;warning;support;\n2;Zwei.;warning;support;neutral\n3;Drei.;;;support\n4;Vier.;;support;\n"
    (tmp_path / "wide.csv").write_text(table, encoding="utf-8")
    sheet = Sheet(str(tmp_path / "wide.csv"), coders=["A", "B"], label=["stance"], annotators="soft")
    judge = judged(tmp_path, sheet)
    (shown,) = judge.described()["agreement"]
    votes = {id: {"A": {"stance": "warning"}, "B": {"stance": "support"}} for id in ("1", "2")}
    expected = agreement("", Reading(judge.reading.segments, votes=votes), judge.scheme).tasks["stance"]
    assert (judge.described()["numbers"], shown["n"], shown["value"]) == ([0], 2, expected.measures["alpha"].value)
    assert {row["id"]: (row["stance"], row["coder"]) for row in rows(tmp_path / "judge.jsonl")} == {
        "2": ("neutral", "A, B"), "3": ("support", ""), "4": ("support", "B"),
    }  # fmt: skip
    del judge
    (tmp_path / "cleo.jsonl").write_text('{"id": "4", "text": "Vier.", "stance": "neutral", "coder": "cleo"}\n', encoding="utf-8")
    assert judged(tmp_path, sheet, ("cleo.jsonl",)).described()["numbers"] == [0, 3]


def test_annotators_of_an_export_are_settled_alike(tmp_path: Path) -> None:
    """By the ids of Label Studio; answers of unknown annotators are copied to the result."""
    write(tmp_path)
    given = [((7, "warning"), (8, "support")), ((7, "warning"), (8, "warning")), ((7, "support"), (None, "support"))]
    items = [
        {"id": number, "data": {"text": f"Satz {number}."}, "annotations": [
            {"completed_by": by, "created_at": f"2026-01-0{number}", "result": [{"from_name": "stance", "value": {"choices": [stance]}}]}
            for by, stance in answers
        ]}
        for number, answers in enumerate(given, 1)
    ]  # fmt: skip
    (tmp_path / "export.json").write_text(json.dumps(items), encoding="utf-8")
    judge = judged(tmp_path, LabelStudio(str(tmp_path / "export.json"), annotators="soft"))
    assert (judge.described()["numbers"], judge.view(0)["said"]["stance"]) == ([0], ["support", "warning"])
    assert [(row["id"], row["stance"], row["coder"], row["time"]) for row in rows(tmp_path / "judge.jsonl")] == [
        ("2", "warning", "7, 8", "2026-01-02"), ("3", "support", "", "2026-01-03"),
    ]  # fmt: skip


def test_nobody_changes_the_answers_of_another(folder: Path) -> None:
    """Neither by using their file, nor as a judge of others."""
    before = (folder / "anna.jsonl").read_bytes()
    for settle in ((), ("ben.jsonl",)):
        with pytest.raises(UserError, match="or change others' in"):
            work(folder, "anna", settle, coder="cleo")
    assert (folder / "anna.jsonl").read_bytes() == before


def test_nobody_settles_their_own(folder: Path) -> None:
    """Their own answer would decide."""
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
