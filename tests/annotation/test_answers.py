"""The file of answers: saved answers survive whatever happens to the process."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import annotated
from annotated import GOOD, answer, rows, work, write
from command_line import haltung, run_here
from haltung.annotation.work import AnswersFile, read
from haltung.corpus.readers.tables import Jsonl
from haltung.errors import UserError
from haltung.labels import load
from haltung.records import Dyad


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the corpus."""
    write(tmp_path)
    return tmp_path


def test_an_answer_is_a_row_that_prepare_reads(folder: Path) -> None:
    """With article, position, text, labels, dyads, coder, time and comment; a skip has no label."""
    anna = work(folder, "anna")
    answer(anna, 0, [("USA", "RUS"), ("USA", "RUS"), ("", "UKR")], "unsicher", themes=["migration", "energy"])
    answer(anna, 3, stance="neutral")
    anna.answer(1, {"labels": {}, "comment": "Werbung"})
    first, second, third = rows(folder / "anna.jsonl")
    assert {**first, "time": ""} == {
        "id": "0-0", "text": annotated.SENTENCES[0] + " (0)", "article": "a0", "headline": f"Artikel {annotated.EVIL}", "position": 0,
        "topic": "security", "stance": "warning", "themes": ["energy", "migration"], "coder": "anna", "time": "", "comment": "unsicher",
        "dyads": [{"source": "USA", "target": "RUS", "stance": "warning"}, {"source": "", "target": "UKR", "stance": "warning"}],
    }  # fmt: skip
    assert first["time"] < second["time"]
    assert (second["stance"], second["themes"], second["dyads"]) == ("neutral", [], [])
    assert (third["topic"], third["themes"], third["comment"]) == (None, None, "Werbung")
    segments = Jsonl(str(folder / "anna.jsonl")).read(load(folder / "labels.yaml")).segments
    assert segments[0].dyads == (Dyad("USA", "RUS", "warning"), Dyad("", "UKR", "warning"))
    done = run_here(
        "prepare", "corpus=jsonl", "corpus.reader.path=anna.jsonl", "corpus.labels=labels.yaml", "splits@corpus.split=test_only", cwd=folder
    )
    assert done.returncode == 0, done.stderr


def test_a_new_answer_is_appended_and_a_changed_one_is_replaced(folder: Path) -> None:
    """The file has each segment once, the latest answer last; undoing removes its row."""
    anna = work(folder, "anna")
    for number in range(3):
        answer(anna, number)
    whole = (folder / "anna.jsonl").read_bytes()
    answer(anna, 3)
    assert (folder / "anna.jsonl").read_bytes().startswith(whole)
    answer(anna, 1, topic="economy")
    assert [(row["id"], row["topic"]) for row in rows(folder / "anna.jsonl")] == [
        ("0-0", "security"), ("0-2", "security"), ("0-3", "security"), ("0-1", "economy"),
    ]  # fmt: skip
    assert anna.described()["answered"] == [(0, False), (2, False), (3, False), (1, False)]
    anna.answer(1, {"labels": None, "seen": anna.view(1)["answer"]["time"]})
    assert [row["id"] for row in rows(folder / "anna.jsonl")] == ["0-0", "0-2", "0-3"]


def test_a_line_that_a_kill_has_cut_is_removed_and_no_other(folder: Path) -> None:
    """Truncated at any byte, even within a character; the removal is reported once."""
    anna = work(folder, "anna")
    for number in range(3):
        answer(anna, number, comment="über")
    path, scheme = folder / "anna.jsonl", load(folder / "labels.yaml")
    whole = path.read_bytes()
    start = whole[:-1].rfind(b"\n") + 1
    for length in [1, 2, *random.Random(1).sample(range(3, len(whole) - start - 1), 12), whole.rfind("ü".encode()) - start + 1]:
        cut = folder / f"cut-{length}.jsonl"
        cut.write_bytes(whole[: start + length])
        file = AnswersFile(cut, scheme)
        assert file.mended == f"the last line of {cut} was cut off and is removed ({length} bytes); its sentence is asked again"
        assert cut.read_bytes() == whole[:start]
        assert list(file.rows) == ["0-0", "0-1"]


def test_a_last_line_without_its_end_stays(folder: Path) -> None:
    """An editor may have omitted the line end."""
    answer(work(folder, "anna"), 0)
    whole = (folder / "anna.jsonl").read_bytes()
    path = folder / "edited.jsonl"
    path.write_bytes(whole[:-1])
    file = AnswersFile(path, load(folder / "labels.yaml"))
    assert file.mended == ""
    assert path.read_bytes() == whole


def test_a_line_that_is_still_being_written_is_not_read(folder: Path) -> None:
    """A judge reads the files of coders while they are working."""
    answer(work(folder, "anna"), 0)
    with (folder / "anna.jsonl").open("ab") as file:
        file.write(b'{"id": "0-1", "te')
    assert list(read(folder / "anna.jsonl", load(folder / "labels.yaml"))) == ["0-0"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "0-0", "text": "x"', "not JSON (Expecting"),
        ('{"id": "0-0", "text": "x", "topic": "securty"}', "unknown topic 'securty', did you mean 'security'"),
        ('{"id": "0-0", "text": 5}', "'text' is a number"),
        ('{"id": "0-1", "text": "x", "comment": ["y"]}', "'comment' is a list"),
        ("", "not JSON"),
    ],
)
def test_a_file_that_is_none_of_answers_is_refused_in_one_sentence(folder: Path, line: str, said: str) -> None:
    """The message names the line, and the file stays unchanged."""
    answer(work(folder, "anna"), 0)
    path = folder / "odd.jsonl"
    path.write_text((folder / "anna.jsonl").read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(UserError, match="line 2: ") as error:
        AnswersFile(path, load(folder / "labels.yaml"))
    assert said in str(error.value)
    assert path.read_bytes() == before


def test_answers_to_another_corpus_are_refused(folder: Path) -> None:
    """Neither an unknown id nor a different text is accepted as a sentence of this corpus."""
    answer(work(folder, "anna"), 0)
    text = (folder / "anna.jsonl").read_text(encoding="utf-8")
    (folder / "ben.jsonl").write_text(text.replace("gewarnt", "verschont"), encoding="utf-8")
    (folder / "cleo.jsonl").write_text(text.replace('"0-0"', '"9-9"'), encoding="utf-8")
    for coder, id in (("ben", "0-0"), ("cleo", "9-9")):
        with pytest.raises(
            UserError, match=f"has an answer to '{id}', which the corpus lacks or has with another text; name the corpus it is for"
        ):
            work(folder, coder)


def test_a_second_process_is_refused_in_one_sentence(folder: Path) -> None:
    """The first one continues."""
    anna = work(folder, "anna")
    words = ("annotate", "corpus=jsonl", "corpus.reader.path=texts.jsonl", "corpus.labels=labels.yaml", "coder=anna", "port=0")
    done = haltung(*words, "output=anna.jsonl", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("haltung: anna.jsonl is open in another haltung annotate; stop that one, or name another coder= or output=\n")
    answer(anna, 0)
    assert len(rows(folder / "anna.jsonl")) == 1


def test_a_full_disk_loses_no_answer(folder: Path) -> None:
    """A failed write is rolled back, and the next one succeeds."""
    program = (
        "import resource, signal, sys; from pathlib import Path; import annotated; from haltung.errors import UserError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "anna = annotated.work(Path(sys.argv[1]), 'anna'); annotated.answer(anna, 0)\n"
        "size = anna.file.path.stat().st_size\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))\n"
        "for number in (1, 0):\n"
        "    try: annotated.answer(anna, number, topic='economy', comment='x' * size)\n"
        "    except UserError as error: print(error)\n"
        "    print(anna.file.path.stat().st_size == size, len(anna.file.rows))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "annotated.answer(anna, 1)\n"
    )
    # PYTHONPATH is needed to find `annotated`: pytest's `pythonpath` is not inherited.
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", program, str(folder)], env=paths, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert "can't be written" in said[0]
    assert said[1] == said[3] == "True 1"
    assert [row["id"] for row in rows(folder / "anna.jsonl")] == ["0-0", "0-1"]
    assert [path.name for path in folder.glob(".anna.jsonl-*")] == []


def test_what_another_program_writes_meanwhile_is_not_overwritten(folder: Path) -> None:
    """The page reports the change instead."""
    anna = work(folder, "anna")
    answer(anna, 0)
    with (folder / "anna.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n")
    with pytest.raises(UserError, match="another program has changed it"):
        answer(anna, 1)


def test_every_answer_that_was_confirmed_outlives_a_kill(folder: Path) -> None:
    """After SIGKILL during work, three times; an answer not yet confirmed may be there or not."""
    confirmed = 0
    for end in (1, 3, 6):
        process = annotated.Process(folder, "anna", "output=anna.jsonl")
        for number in range(confirmed, end):
            assert process.post(f"items/{number}", {"labels": GOOD, "seen": None}).status_code == 200
        process.end(signal.SIGKILL)
        confirmed = end
        assert [row["id"] for row in rows(folder / "anna.jsonl")] == [f"{n // 4}-{n % 4}" for n in range(confirmed)]
    process = annotated.Process(folder, "anna", "output=anna.jsonl")
    assert process.said[0] == "6 answers so far\n"
    assert process.end(signal.SIGINT) == 130


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["coder=anna"], "name what to label"),
        (["table=texts.csv"], "coder is None, expected text"),
        (["table=texts.csv", "coder=a/b"], "coder is 'a/b': string should match pattern '^[\\w-]{1,40}$'"),
        (["table=texts.csv", "coder=a"], "texts.labels.yaml: cannot read this label scheme"),
        (["table=texts.csv", "coder=a", "labels=labels.yaml", "host=0.0.0.0"], "host=0.0.0.0 lets other machines connect; set a key"),
        (["table=texts.csv", "coder=a", "labels=labels.yaml", "port=x"], "port is 'x', expected a whole number"),
        (["table=texts.csv", "coder=a", "labels=labels.yaml", "settle=nobody.jsonl"], "nobody.jsonl: cannot be read"),
        (["table=texts.csv", "coder=a", "labels=labels.yaml", "settle=a.jsonl", "output=a.jsonl"], "a.jsonl is an input"),
        (["table=texts.csv", "coder=a", "labels=taken.yaml"], "has a task called coder"),
        (
            ["table=texts.csv", "coder=a", "labels=labels.yaml", "settle=texts.csv"],
            "settle=texts.csv has no coders' labels; name their columns",
        ),
        (
            ["table=codes.csv", "coder=a", "labels=labels.yaml", "label=stance"],
            "label is 'stance'; choose from ID, Satz, Coder, topic",
        ),
    ],
)
def test_a_mistake_on_the_command_line_gets_one_sentence(folder: Path, words: list[str], said: str) -> None:
    """With exit code 2, before anything is served."""
    (folder / "texts.csv").write_text("Satz;Artikel\nDie USA warnen.;a\n", encoding="utf-8")
    (folder / "codes.csv").write_text("ID;Satz;Coder;topic\n1;Die USA warnen.;A;security\n1;Die USA warnen.;B;economy\n", encoding="utf-8")
    (folder / "a.jsonl").write_text(json.dumps({"id": "texts-2", "text": "Die USA warnen.", "topic": "security"}) + "\n")
    (folder / "taken.yaml").write_text("name: x\ntasks: {coder: {labels: [a, b]}}\n")
    done = run_here("annotate", *words, cwd=folder)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr
