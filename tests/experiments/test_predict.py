"""``haltung predict`` with files of any size: formats, windows, killed and resumed runs."""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import exported
import tiny
from command_line import run_here
from haltung.errors import UserError, writing
from haltung.experiments.journal import Journal
from haltung.experiments.predict import label, local, most_rows, rows_of, windows, written
from haltung.inference.sessions import preferred
from haltung.models.bundle import ExportedModel
from haltung.records import Prediction, Segment

ROWS = [
    {"id": f"r{n}", "text": f"{one.text} Nr. {n}", "year": 2000 + n % 30, "note": f"{n}; „so“, {n}"}
    for n, one in enumerate(tiny.segments(100))
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported bundle, whose graph any runtime can run."""
    return exported.write(tmp_path_factory.mktemp("exported") / "bundle")


@pytest.fixture
def predict(bundle: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs the command on the bundle in this process, with windows of 16 rows."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return run_here("predict", f"bundle={bundle}", "window=16", "runtime=onnxruntime", *words, cwd=tmp_path)

    return run


def write(path: Path, rows: Sequence[dict[str, Any]], separator: str = ",") -> Path:
    """Write rows in the format of the file name."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
        return path
    packed = path.suffix == ".gz"
    with gzip.open(path, "wt", encoding="utf-8", newline="") if packed else path.open("w", encoding="utf-8", newline="") as file:
        if ".jsonl" in path.name:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            table = csv.DictWriter(file, list(rows[0]), delimiter=separator)
            table.writeheader()
            table.writerows(rows)
    return path


def read(path: Path, separator: str = ",") -> list[dict[str, Any]]:
    """Return the rows of a file, in the format of its name."""
    if path.suffix == ".parquet":
        return list(pq.ParquetFile(path).read().to_pylist())
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8", newline="") as file:
        return [json.loads(line) for line in file] if ".jsonl" in path.name else list(csv.DictReader(file, delimiter=separator))


def interrupted(monkeypatch: pytest.MonkeyPatch, run: Callable[[], subprocess.CompletedProcess[str]], after: int) -> None:
    """Run a command and interrupt it after this number of windows."""
    left = iter(range(after))
    predict = ExportedModel.predict

    def stopping(self: ExportedModel, *given: Any, **more: Any) -> list[Prediction]:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return predict(self, *given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(ExportedModel, "predict", stopping)
        assert run().returncode == 130


@pytest.mark.parametrize(
    ("name", "separator"),
    [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t"), ("a.csv.gz", ","), ("a.jsonl.gz", ""), ("a.parquet", "")],
)
def test_every_format_says_the_same_and_keeps_its_rows(predict: Callable[..., Any], tmp_path: Path, name: str, separator: str) -> None:
    """Labels and order are those of JSON Lines; input columns come before new ones."""
    write(tmp_path / "a.jsonl", ROWS)
    write(tmp_path / name, ROWS, separator)
    for given, output in (("a.jsonl", "expected.jsonl"), (name, f"out-{name}")):
        done = predict(f"input={given}", f"output={output}")
        assert done.returncode == 0, done.stderr
    expected, found = read(tmp_path / "expected.jsonl"), read(tmp_path / f"out-{name}", separator)
    assert [one["id"] for one in found] == [row["id"] for row in ROWS]
    assert [one["stance"] for one in found] == [one["stance"] for one in expected]
    if ".jsonl" in name:
        assert found == expected
        return
    assert list(found[0]) == ["id", "text", "year", "note", "topic", "topic_probability", "stance", "stance_probability"]
    for one, row, answer in zip(found, ROWS, expected, strict=True):
        assert (one["text"], str(one["year"]), one["note"]) == (row["text"], str(row["year"]), row["note"])
        assert float(one["stance_probability"]) == answer["probabilities"]["stance"][one["stance"]]


def test_parquet_keeps_the_types_of_its_columns(predict: Callable[..., Any], tmp_path: Path) -> None:
    """Including nulls and types that CSV can't store; rows without an id column are numbered."""
    columns = {
        "text": pa.array([row["text"] for row in ROWS], pa.large_string()),
        "day": pa.array(range(len(ROWS)), pa.timestamp("ns", tz="Europe/Berlin")),
        "tags": pa.array([[str(n)] if n % 3 else None for n in range(len(ROWS))]),
        "kind": pa.array([str(n % 4) for n in range(len(ROWS))]).dictionary_encode(),
    }
    table = pa.table(columns).replace_schema_metadata({"of": "a test"})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=30)
    done = predict("input=a.parquet", "output=b.parquet")
    assert done.returncode == 0, done.stderr
    found = pq.ParquetFile(tmp_path / "b.parquet").read()
    assert found.select(list(columns)).to_pylist() == table.to_pylist()
    assert [found.schema.field(name).type for name in columns] == [table.schema.field(name).type for name in columns]
    assert found.schema.metadata[b"of"] == b"a test"
    assert found["id"].to_pylist() == [str(n + 1) for n in range(len(ROWS))]


def test_a_folder_or_pattern_becomes_a_folder(predict: Callable[..., Any], tmp_path: Path) -> None:
    """It has a file of the same name and format for each input, as if that were predicted alone;
    files of other kinds are skipped with a warning.
    """
    news = tmp_path / "news"
    news.mkdir()
    for name, rows in (("a.jsonl", ROWS[:40]), ("b.csv", ROWS[:40]), ("c.parquet", ROWS[40:])):
        write(news / name, rows)
    (news / "readme.txt").write_text("Ja.", encoding="utf-8")
    done = predict("input=news", "output=labels")
    assert done.returncode == 0, done.stderr
    assert "readme.txt" in done.stderr
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == ["a.jsonl", "b.csv", "c.parquet"]
    for name in ("a.jsonl", "b.csv", "c.parquet"):
        assert predict(f"input=news/{name}", f"output=single-{name}").returncode == 0
        assert (tmp_path / "labels" / name).read_bytes() == (tmp_path / f"single-{name}").read_bytes()
    assert predict("input=news/*.csv", "output=tables").returncode == 0
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["b.csv"]
    full = predict("input=news", "output=labels")
    assert (full.returncode, "labels can't be used" in full.stderr) == (2, True), full.stderr


def test_a_file_of_another_name_holds_json_lines(predict: Callable[..., Any], tmp_path: Path) -> None:
    """As in earlier versions."""
    write(tmp_path / "a.jsonl", ROWS[:3]).rename(tmp_path / "texts")
    for output in ("b.jsonl", "c"):
        assert predict("input=texts", f"output={output}").returncode == 0
        assert [row["id"] for row in read((tmp_path / output).rename(tmp_path / "d.jsonl"))] == ["r0", "r1", "r2"]


def test_a_table_goes_to_the_terminal_too(predict: Callable[..., Any], tmp_path: Path) -> None:
    """CSV is printed as CSV."""
    write(tmp_path / "a.csv", ROWS[:20])
    done = predict("input=a.csv")
    assert [row["id"] for row in csv.DictReader(done.stdout.splitlines())] == [row["id"] for row in ROWS[:20]]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["input=a.parquet", "output=c.parquet"], ["a.parquet", "'text'", "texts"]),
        (["input=b.parquet"], ["Parquet", "output="]),
        (["input=labelled.csv", "output=b.csv"], ["labelled.csv", "stance", "rename"]),
        (["input=a.csv", "output=b.jsonl"], ["b.jsonl", "a.csv"]),
        (["input=a.csv", "output=a.csv"], ["a.csv", "another file"]),
        (["input=nothing/*.csv", "output=b"], ["nothing/*.csv"]),
        (["input=*/*.csv", "output=b"], ["*/*.csv", "two files c.csv"]),
        (["input=one"], ["several files", "output="]),
        (["input=one", "output=x/y"], ["x/y", "folder"]),
        (["input=a.csv", "resume=true"], ["resume", "output="]),
        (["input=a.csv", "window=0"], ["window"]),
        (["input=a.csv", "runtime=tensorflow"], ["runtime", "openvino"]),
        (["input=empty.csv", "output=b.csv"], ["empty.csv", "no text"]),
        (["input=one", "output=one"], ["one can't be used", "new or empty folder"]),
        (["input=one/*.csv", "output=one"], ["one can't be used"]),
        (["input=one", "output=a.csv"], ["a.csv can't be used"]),
        (["input=one", "output=-"], ["- can't be used"]),
        (["input=b.parquet", "output=o.parquet.gz"], ["o.parquet.gz", "b.parquet"]),
        (["input=b.parquet", "output=o.gz"], ["o.gz", "b.parquet"]),
        (["input=a.csv", "output=o.parquet.gz"], ["o.parquet.gz", "a.csv"]),
        (["input=a.csv", "output=pipe"], ["pipe", "is not a file", "leave the key out"]),
        (["input=a.csv", "output=-"], ["is not a file", "leave the key out"]),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    predict: Callable[..., Any], tmp_path: Path, words: list[str], named: list[str]
) -> None:
    """With exit code 2, before or after the model is loaded."""
    write(tmp_path / "a.csv", ROWS)
    write(tmp_path / "labelled.csv", [{"text": "Ja.", "stance": "support"}])
    write(tmp_path / "a.parquet", [{"texts": "Ja."}])
    write(tmp_path / "b.parquet", [{"text": "Ja."}])
    (tmp_path / "empty.csv").write_text("id,text\n", encoding="utf-8")
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "c.csv", ROWS[:3])
    (tmp_path / "one/c.csv.journal").write_text("{}\n", encoding="utf-8")
    os.mkfifo(tmp_path / "pipe")  # a device would not outlive a failure of this test
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    done = predict(*words)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert [part for part in named if part not in done.stderr] == [], done.stderr
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("foreign", ["a.jsonl.journal", "keep.txt", "c.csv.old"])
def test_a_folder_of_something_else_is_no_place(predict: Callable[..., Any], tmp_path: Path, foreign: str) -> None:
    """Even if it has the journal of a run; a folder with only files of a run is accepted."""
    (tmp_path / "news").mkdir()
    (tmp_path / "labels").mkdir()
    write(tmp_path / "news/c.csv", ROWS[:3])
    (tmp_path / "labels/c.csv.journal").write_text('{"version": ""}\n', encoding="utf-8")
    (tmp_path / "labels" / foreign).write_text("x", encoding="utf-8")
    done = predict("input=news", "output=labels", "resume=false")
    assert (done.returncode, "labels can't be used" in done.stderr) == (2, True), done.stderr
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == sorted(["c.csv.journal", foreign])
    (tmp_path / "labels" / foreign).rename(tmp_path / "labels/c.csv.broken.jsonl")
    assert predict("input=news", "output=labels", "resume=false").returncode == 0


def test_a_packed_parquet_file_is_passed_over(predict: Callable[..., Any], tmp_path: Path) -> None:
    """It is not in Parquet's format; leftovers of another run are skipped without a warning."""
    (tmp_path / "news").mkdir()
    write(tmp_path / "news/c.csv", ROWS[:3])
    (tmp_path / "news/d.parquet.gz").write_bytes(gzip.compress(write(tmp_path / "d.parquet", ROWS[:3]).read_bytes()))
    for name in (".c.csv.lock", "e.csv.partial", "e.csv.journal", "e.csv.broken.jsonl"):
        (tmp_path / "news" / name).write_text("x", encoding="utf-8")
    done = predict("input=news", "output=labels")
    assert (done.returncode, done.stderr.count("\n"), "d.parquet.gz" in done.stderr) == (0, 1, True), done.stderr
    assert [word for word in ("lock", "partial", "journal", "broken") if word in done.stderr] == []
    assert [path.name for path in (tmp_path / "labels").iterdir()] == ["c.csv"]


def test_the_number_of_a_row_is_an_id_too(tmp_path: Path) -> None:
    """It must not be the id of another row, before or after it."""
    path = write(tmp_path / "a.jsonl", [{"id": "2", "text": "Ja."}, {"text": "Nein."}, {"text": "Doch."}, {"id": "3", "text": "Nie."}])
    (window,) = windows(rows_of(path), 8)
    assert [segment.id for segment in window.segments] == ["2", "3"]
    assert [(one.where[-6:], "'3'" in one.reason, "number '2'" in one.reason) for one in window.broken] == [
        ("line 2", False, True),
        ("line 4", True, False),
    ]


def test_a_small_window_may_hold_nothing_sound(predict: Callable[..., Any], tmp_path: Path) -> None:
    """The header is written with the first valid row; 256 invalid rows at the start are refused."""
    rows = [{**ROWS[n], "text": "" if n in (0, 3) else ROWS[n]["text"]} for n in range(6)]
    write(tmp_path / "a.csv", rows)
    done = predict("input=a.csv", "output=b.csv", "window=1")
    assert (done.returncode, "2 rows" in done.stderr) == (1, True), done.stderr
    assert [row["id"] for row in read(tmp_path / "b.csv")] == ["r1", "r2", "r4", "r5"]
    write(tmp_path / "a.csv", [{"text": "", "n": n} for n in range(300)] + [{"text": "Ja.", "n": 1}])
    done = predict("input=a.csv", "output=c.csv", "window=1000")
    assert (done.returncode, "a.csv, line 2" in done.stderr) == (2, True), done.stderr


def test_one_row_is_counted_as_one(predict: Callable[..., Any], tmp_path: Path) -> None:
    """Not as "1 rows"."""
    write(tmp_path / "a.csv", [ROWS[0], {**ROWS[1], "text": ""}])
    done = predict("input=a.csv", "output=b.csv")
    assert ("1 prediction written" in done.stdout, "1 row left out" in done.stderr) == (True, True), done.stderr


def test_no_bar_of_a_window_is_asked_for_where_errors_go_to_a_file(tmp_path: Path) -> None:
    """The rows have a progress bar already."""
    asked = []

    def answer(segments: Sequence[Segment], progress: bool) -> list[dict[str, Any]]:
        asked.append(progress)
        return [{"id": one.id, "stance": "neutral", "probabilities": {"stance": {"neutral": 0.5}}} for one in segments]

    label(local(answer, 8), write(tmp_path / "a.csv", ROWS[:3]), tmp_path / "b.csv", {}, None)
    assert asked == [False]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.csv.gz", "a.parquet"])
def test_the_bar_knows_how_many_rows_come(tmp_path: Path, name: str) -> None:
    """So it can show the remaining time; a header and an unterminated last line are counted."""
    write(tmp_path / name, ROWS)
    more = {"jsonl": 1, "csv": 2, "parquet": 0}[name.split(".")[1]]
    assert most_rows(tmp_path / name) == len(ROWS) + more


def test_the_rows_of_a_pipe_or_a_damaged_file_are_not_counted(tmp_path: Path) -> None:
    """A pipe can be read only once."""
    os.mkfifo(tmp_path / "pipe.jsonl")
    whole = write(tmp_path / "a.jsonl.gz", ROWS).read_bytes()
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "no.jsonl.gz").write_bytes(b'{"text": "Die USA warnen Russland."}')
    assert [most_rows(tmp_path / name) for name in ("pipe.jsonl", "cut.jsonl.gz", "no.jsonl.gz")] == [None] * 3


@pytest.mark.parametrize("damage", [b"", b"x\n", b"[1]\n", b"\0" * 90, b'{"version": "0"}\n[1]\n', b"{}\n3\n"])
def test_a_damaged_journal_is_one_sentence(predict: Callable[..., Any], tmp_path: Path, damage: bytes) -> None:
    """The run can start again with resume=false."""
    write(tmp_path / "a.csv", ROWS[:3])
    for ending, content in ((".journal", damage), (".partial", b"id")):
        (tmp_path / f"b.csv{ending}").write_bytes(content)
    done = predict("input=a.csv", "output=b.csv", "resume=true")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert [word for word in ("b.csv.journal", "damaged", "resume=false") if word not in done.stderr] == []
    assert (tmp_path / "b.csv.partial").read_bytes() == b"id"
    assert predict("input=a.csv", "output=b.csv", "resume=false").returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """The message says what to do; other errors of writing have other advice."""
    found = r"b\.csv can't be written: the disk is full; make room, then go on"
    with pytest.raises(UserError, match=found), writing(tmp_path / "b.csv", ", then go on"):
        Path("/dev/full").write_text("x", encoding="utf-8")
    journal = Journal([tmp_path / "none/x/c.csv"], {}, None)
    with pytest.raises(UserError, match=r"x/c\.csv can't be written: .*folder that you may write to"):
        journal.__enter__()
    with Journal([tmp_path / "c.csv"], {}, None) as journal, Path("/dev/full").open("wb", buffering=0) as full:
        journal._files[0] = full
        with pytest.raises(UserError, match=r"the disk is full.*resume=true if .*c\.csv\.journal"):
            journal.append([b"x"], rows=1)


def test_a_fault_of_the_model_is_no_fault_of_the_output(
    predict: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is not reported as one of writing the output."""
    write(tmp_path / "a.csv", ROWS[:3])

    def failing(self: ExportedModel, *given: Any, **more: Any) -> list[Prediction]:
        raise OSError("the graph is gone")

    monkeypatch.setattr(ExportedModel, "predict", failing)
    with pytest.raises(OSError, match="the graph is gone"):
        predict("input=a.csv", "output=b.csv")


def test_input_and_output_may_be_elsewhere(predict: Callable[..., Any], tmp_path: Path) -> None:
    """At addresses that Arrow supports: results are the same, and no local files are left."""
    there, news = tmp_path / "there", tmp_path / "there/news"
    news.mkdir(parents=True)
    write(news / "a.jsonl", [*ROWS, {"text": ""}])
    write(news / "b.parquet", ROWS)
    for given, output in (("news", "labels"), ("news/a.jsonl", "c.jsonl"), ("news/b.parquet", "d.parquet")):
        here = predict(f"input=there/{given}", f"output={output}")
        (tmp_path / output).rename(tmp_path / f"here-{output}")
        (tmp_path / f"{output}.broken.jsonl").unlink(missing_ok=True)
        done = predict(f"input={there.as_uri()}/{given}", f"output={there.as_uri()}/{output}")
        assert done.returncode == here.returncode, done.stderr
    assert (there / "c.jsonl").read_bytes() == (tmp_path / "here-c.jsonl").read_bytes()
    assert (there / "d.parquet").read_bytes() == (tmp_path / "here-d.parquet").read_bytes()
    assert read(there / "c.jsonl.broken.jsonl")[0]["where"] == "c.jsonl.input/a.jsonl, line 101"
    assert sorted(path.name for path in (there / "labels").iterdir()) == ["a.jsonl", "a.jsonl.broken.jsonl", "b.parquet"]
    assert {path.name for path in tmp_path.iterdir()} == {"there", "here-labels", "here-c.jsonl", "here-d.parquet"}


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["input=file:///nowhere/a.csv", "output=b.csv"], ["file:///nowhere/a.csv", "b.csv.input"]),
        (["input=file:///nowhere/a.csv"], ["files given as URLs", "output="]),
        (["input=carrier://pigeon/a.csv", "output=b.csv"], ["carrier://pigeon/a.csv"]),
        (["input=a.csv", "output=file:///nowhere/a.csv"], ["a.csv already exists", "file:///nowhere/a.csv"]),
    ],
)
def test_what_is_not_elsewhere_is_named(predict: Callable[..., Any], tmp_path: Path, words: list[str], named: list[str]) -> None:
    """Local files are never lost."""
    write(tmp_path / "a.csv", ROWS)
    done = predict(*words)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert [part for part in named if part not in done.stderr] == [], done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert [row["id"] for row in read(tmp_path / "a.csv")] == [row["id"] for row in ROWS]


def test_what_is_at_an_address_or_in_its_copy_is_never_replaced(predict: Callable[..., Any], tmp_path: Path) -> None:
    """Neither an input that is also the output, nor a user's folder with the name of the copy."""
    (tmp_path / "there").mkdir()
    (tmp_path / "own.jsonl.input").mkdir()
    (tmp_path / "own.jsonl.input/mine.txt").write_text("x", encoding="utf-8")
    path = write(tmp_path / "there/c.jsonl", ROWS)
    before = path.read_bytes()
    for words, named in (
        ((f"input={path}", f"output={path.as_uri()}"), "already exists there"),
        ((f"input={path.as_uri()}", "output=there/c.jsonl"), "is the input"),
        (("input=file:///nowhere/c.jsonl", "output=own.jsonl"), "own.jsonl.input contains other files"),
        ((f"input={path.as_uri()}", "output=none/b.jsonl"), "none/b.jsonl.input can't be written"),
    ):
        done = predict(*words)
        assert (done.returncode, done.stderr.count("\n"), named in done.stderr) == (2, 1, True), done.stderr
    assert path.read_bytes() == before
    assert (tmp_path / "own.jsonl.input/mine.txt").read_text(encoding="utf-8") == "x"
    assert {one.name for one in tmp_path.iterdir()} == {"there", "own.jsonl.input"}


def test_abstained_cells_are_open_and_several_labels_stand_in_one(tmp_path: Path) -> None:
    """As in tables of the Python API; the probability of several labels is their minimum."""
    path = write(tmp_path / "a.csv", [{"text": "Ja."}, {"text": "Nein."}])
    probabilities = {"stance": {"support": 0.6, "neutral": 0.4}, "topic": {"tax": 0.8, "trade": 0.7, "war": 0.1}}
    answers = [
        {
            "id": "1",
            "stance": "support",
            "topic": ["tax", "trade"],
            "probabilities": probabilities,
            "abstained": {"stance": True},
            "dyads": [],
        },
        {"id": "2", "stance": "support", "topic": [], "probabilities": probabilities, "abstained": {}, "dyads": [{"source": "CHL"}]},
    ]
    (window,) = windows(rows_of(path), 8)
    first, second = csv.DictReader(written(path, window, answers).splitlines())
    assert list(first.values()) == ["Ja.", "1", "", "0.6", "tax;trade", "0.7", "[]"]
    assert list(second.values()) == ["Nein.", "2", "support", "0.6", "", "", '[{"source": "CHL"}]']


def test_the_rows_of_an_article_stay_in_one_window(tmp_path: Path) -> None:
    """The window is longer then, the next one starts after the article, and rows have contexts."""
    rows = [{"text": f"Satz {n}.", "article": f"a{n // 5}", "position": n % 5} for n in range(20)]
    found = list(windows(rows_of(write(tmp_path / "a.jsonl", rows)), 8))
    assert [len(window.segments) for window in found] == [10, 10]
    assert [segment.context for segment in found[1].segments[:3]] == ["", "Satz 10.", "Satz 10. Satz 11."]
    assert [segment.id for window in found for segment in window.segments] == [str(n + 1) for n in range(20)]


def test_an_article_that_comes_back_is_refused_unless_all_rows_are_in_one_window(tmp_path: Path) -> None:
    """In one window, rows may be in any order; rows without a position are read alone."""
    rows = [{"text": f"Satz {n}.", "article": f"a{n % 2}", "position": n // 2} for n in range(20)]
    path = write(tmp_path / "a.jsonl", rows)
    with pytest.raises(UserError, match=r"a\.jsonl, line 9: the article 'a0' appears again.*sort"):
        list(windows(rows_of(path), 8))
    (window,) = windows(rows_of(path), 20)
    assert window.segments[4].context == "Satz 0. Satz 2."
    alone = write(tmp_path / "b.jsonl", [{"text": row["text"], "article": row["article"]} for row in rows])
    assert len(list(windows(rows_of(alone), 8))) == 3


@pytest.mark.slow
def test_windows_change_no_prediction_of_an_article(article_bundle: Path, tmp_path: Path) -> None:
    """Wherever the boundaries between windows are."""
    rows = [{name: getattr(one, name) for name in ("id", "text", "article", "headline", "position")} for one in tiny.articles(12)]
    write(tmp_path / "a.jsonl", rows)
    for output, window in (("whole.jsonl", 4096), ("parts.jsonl", 7)):
        words = (f"bundle={article_bundle}", "input=a.jsonl", f"output={output}", f"window={window}", "runtime=onnxruntime")
        done = run_here("predict", *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    for whole, part in zip(read(tmp_path / "whole.jsonl"), read(tmp_path / "parts.jsonl"), strict=True):
        assert part["id"] == whole["id"]
        assert part["probabilities"]["stance"] == pytest.approx(whole["probabilities"]["stance"], abs=1e-5)
        assert [dyad["source"] for dyad in part["dyads"]] == [dyad["source"] for dyad in whole["dyads"]]


def test_broken_rows_go_to_a_side_file_and_the_rest_is_predicted(predict: Callable[..., Any], tmp_path: Path) -> None:
    """With place, reason and content, and exit code 1; duplicates are found across windows."""
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in ROWS]
    lines[3], lines[50], lines[70], lines[90] = b'{"text": "Ja', lines[2], b"3", b'{"text": " ", "note": "\\ud83d"}'
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    done = predict("input=a.jsonl", "output=b.jsonl")
    assert (done.returncode, "4 rows" in done.stderr, "b.jsonl.broken.jsonl" in done.stderr) == (1, True, True), done.stderr
    assert [row["id"] for row in read(tmp_path / "b.jsonl")] == [row["id"] for n, row in enumerate(ROWS) if n not in (3, 50, 70, 90)]
    broken = read(tmp_path / "b.jsonl.broken.jsonl")
    assert [row["where"] for row in broken] == [f"a.jsonl, line {n + 1}" for n in (3, 50, 70, 90)]
    assert [word in row["reason"] for word, row in zip(("JSON", "'r2'", "number", "empty"), broken, strict=True)] == [True] * 4
    assert [row["row"] for row in broken] == ['{"text": "Ja', ROWS[2], "3", {"text": " ", "note": "\ud83d"}]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines[4:50]))
    assert predict("input=a.jsonl", "output=b.jsonl").returncode == 0
    assert not (tmp_path / "b.jsonl.broken.jsonl").exists()


def test_broken_rows_of_tables_are_kept_as_they_are(predict: Callable[..., Any], tmp_path: Path) -> None:
    """By column, or as a list of cells if their number is wrong."""
    (tmp_path / "a.csv").write_text('text,n\nJa.,1\n"Nein,\nnein.",2,3\n,4\n', encoding="utf-8")
    assert predict("input=a.csv", "output=b.csv").returncode == 1
    assert [row["row"] for row in read(tmp_path / "b.csv.broken.jsonl")] == [["Nein,\nnein.", "2", "3"], {"text": "", "n": "4"}]
    write(tmp_path / "a.parquet", [{"text": "Ja.", "n": 1}, {"text": None, "n": 2}])
    assert predict("input=a.parquet", "output=b.parquet").returncode == 1
    assert [row["row"] for row in read(tmp_path / "b.parquet.broken.jsonl")] == [{"text": None, "n": 2}]


def test_what_breaks_a_file_ends_the_run_with_its_line(predict: Callable[..., Any], tmp_path: Path) -> None:
    """With exit code 2; results so far are kept, and the corrected file is another input."""
    lines = [json.dumps({**ROWS[n % 100], "id": f"r{n}"}, ensure_ascii=False).encode() for n in range(270)]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*lines, '{"text": "Grüße"}'.encode("latin-1")]))
    done = predict("input=a.jsonl", "output=b.jsonl")
    assert (done.returncode, "a.jsonl, line 271" in done.stderr, "utf-8" in done.stderr) == (2, True, True), done.stderr
    kept = (tmp_path / "b.jsonl.partial").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in kept] == [f"r{n}" for n in range(256)]
    packed = gzip.compress(b"\n".join(lines))
    (tmp_path / "c.jsonl.gz").write_bytes(packed[:-40])
    done = predict("input=c.jsonl.gz", "output=d.jsonl")
    assert (done.returncode, "c.jsonl.gz" in done.stderr, "gzip" in done.stderr) == (2, True, True), done.stderr


def test_what_is_left_of_a_stopped_run_is_neither_used_nor_deleted_unasked(
    predict: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names both options; each ends with the same bytes as an uninterrupted run."""
    write(tmp_path / "a.csv", ROWS)
    assert predict("input=a.csv", "output=whole.csv").returncode == 0
    words = ("input=a.csv", "output=b.csv")
    for how in ("resume=true", "resume=false"):
        interrupted(monkeypatch, lambda: predict(*words), after=3)
        assert not (tmp_path / "b.csv").exists()
        left = {path.name: path.read_bytes() for path in tmp_path.glob("b.csv*")}
        assert len(list(csv.reader(left["b.csv.partial"].decode().splitlines()))) == 1 + 3 * 16
        done = predict(*words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert [word for word in ("b.csv.journal", "resume=true", "resume=false") if word not in done.stderr] == []
        assert {path.name: path.read_bytes() for path in tmp_path.glob("b.csv*")} == left
        done = predict(*words, how)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
        assert [path.name for path in tmp_path.glob("*b.csv*")] == ["b.csv"]
        (tmp_path / "b.csv").unlink()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("input", "digest of the input"), ("model", "model is"), ("window", "window is 8, was 16"), ("partial", "shorter"),
    ],
)  # fmt: skip
def test_what_another_run_has_left_is_refused(
    predict: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, named: str
) -> None:
    """The message names the difference, and the files are kept."""
    write(tmp_path / "a.csv", ROWS)
    interrupted(monkeypatch, lambda: predict("input=a.csv", "output=b.csv"), after=2)
    more = ["window=8"] if change == "window" else []
    if change == "input":
        write(tmp_path / "a.csv", [{**row, "year": 1} for row in ROWS])
    if change == "model":
        more = [f"bundle={exported.write(tmp_path / 'other', seed=5)}"]
    if change == "partial":
        (tmp_path / "b.csv.partial").write_text("id", encoding="utf-8")
    left = {path.name: path.read_bytes() for path in tmp_path.glob("b.csv*.partial")}
    done = predict("input=a.csv", "output=b.csv", "resume=true", *more)
    assert (done.returncode, done.stderr.count("\n"), named in done.stderr) == (2, 1, True), done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.glob("b.csv*.partial")} == left


def test_two_runs_never_write_one_output(predict: Callable[..., Any], tmp_path: Path) -> None:
    """The second one is refused."""
    write(tmp_path / "a.csv", ROWS)
    with Journal([tmp_path / "b.csv"], {}, None):
        done = predict("input=a.csv", "output=b.csv")
    assert (done.returncode, "another run" in done.stderr) == (2, True), done.stderr


def test_a_partial_file_without_its_journal_is_left_alone(predict: Callable[..., Any], tmp_path: Path) -> None:
    """It may belong to another run, whose journal is elsewhere."""
    write(tmp_path / "a.csv", ROWS)
    (tmp_path / "b.csv.partial").write_text("x", encoding="utf-8")
    for how in ([], ["resume=true"], ["resume=false"]):
        done = predict("input=a.csv", "output=b.csv", *how)
        assert (done.returncode, "b.csv.partial" in done.stderr) == (2, True), done.stderr
    assert (tmp_path / "b.csv.partial").read_text(encoding="utf-8") == "x"


# A process that kills itself before it renames an output file.
_KILLED = """
import os, signal, sys
from pathlib import Path
from haltung.cli import main

replace, left = Path.replace, iter(range(int(sys.argv[1])))

def dying(self, target):
    if self.name.endswith((".partial", ".merged")) and next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)

Path.replace = dying
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(("name", "after"), [("a.csv", 0), ("a.csv", 1), ("a.parquet", 0), ("a.parquet", 1)])
def test_a_run_that_was_killed_in_its_last_steps_is_finished(
    predict: Callable[..., Any], bundle: Path, tmp_path: Path, name: str, after: int
) -> None:
    """The run is killed while it renames its files: before the first, or the second."""
    write(tmp_path / name, [*ROWS[:40], {**ROWS[1], "text": ""}, *ROWS[50:]])
    assert predict(f"input={name}", f"output=whole-{name}").returncode == 1
    words = ("predict", f"bundle={bundle}", "window=16", "runtime=onnxruntime", f"input={name}", f"output=b-{name}")
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(after), *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / f"b-{name}").exists() is (after > 0)
    done = predict(f"input={name}", f"output=b-{name}", "resume=true")
    assert done.returncode == 1, done.stderr
    for ending in ("", ".broken.jsonl"):
        assert (tmp_path / f"b-{name}{ending}").read_bytes() == (tmp_path / f"whole-{name}{ending}").read_bytes()


def test_a_folder_goes_on_with_the_file_it_was_stopped_in(
    predict: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finished files are not read again, and other settings are refused."""
    (tmp_path / "news").mkdir()
    for name in ("a.csv", "b.jsonl", "c.parquet"):
        write(tmp_path / "news" / name, ROWS)
    assert predict("input=news", "output=whole").returncode == 0
    interrupted(monkeypatch, lambda: predict("input=news", "output=labels"), after=7 + 3)
    left = ["a.csv", "a.csv.journal", "b.jsonl.broken.jsonl.partial", "b.jsonl.journal", "b.jsonl.partial"]
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == left
    done = predict("input=news", "output=labels")
    assert (done.returncode, "a.csv.journal" in done.stderr, "resume=true" in done.stderr) == (2, True, True), done.stderr
    done = predict("input=news", "output=labels", "resume=true", "window=8")
    assert (done.returncode, "window is 8, was 16" in done.stderr) == (2, True), done.stderr
    calls: list[int] = []
    predicting = ExportedModel.predict
    monkeypatch.setattr(
        ExportedModel, "predict", lambda self, segments, *more: calls.append(len(segments)) or predicting(self, segments, *more)
    )
    done = predict("input=news", "output=labels", "resume=true")
    assert (done.returncode, done.stdout.split()[0]) == (0, "300"), done.stderr
    assert sum(calls) == 300 - 100 - 3 * 16
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == ["a.csv", "b.jsonl", "c.parquet"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels", "news", "whole"]
    for name in ("a.csv", "b.jsonl", "c.parquet"):
        assert (tmp_path / "labels" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv.gz", "a.parquet"])
def test_a_run_that_is_killed_again_and_again_ends_the_same(bundle: Path, tmp_path: Path, name: str) -> None:
    """SIGKILL at random moments: at the start, between windows, while Parquet files are merged."""
    rows = [{**row, "id": f"{row['id']}-{n}"} for n in range(30) for row in ROWS]
    rows[1000]["text"] = ""
    write(tmp_path / name, rows)
    words = ["predict", f"bundle={bundle}", f"input={name}", "window=20", "runtime=onnxruntime"]
    whole = run_here(*words, f"output=whole-{name}", cwd=tmp_path)
    assert whole.returncode == 1, whole.stderr
    words += [f"output=out-{name}", "resume=true"]
    command = [sys.executable, "-m", "haltung", *words]
    rng, journal = random.Random(7), tmp_path / f"out-{name}.journal"
    for least in (0, *sorted(rng.sample(range(1, 150), 4)), 150):
        running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while running.poll() is None and read_rows(journal) < 20 * least:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.05)
        running.send_signal(signal.SIGKILL)
        _, errors = running.communicate()
        assert running.returncode in (-signal.SIGKILL, 1), errors
    done = run_here(*words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    for ending in ("", ".broken.jsonl"):
        assert (tmp_path / f"out-{name}{ending}").read_bytes() == (tmp_path / f"whole-{name}{ending}").read_bytes()
    assert not journal.exists()


def read_rows(journal: Path) -> int:
    """Return the number of rows that a run has done, by the last complete line of its journal."""
    lines = journal.read_bytes().split(b"\n") if journal.exists() else []
    return int(json.loads(lines[-2])[1]["rows"]) if len(lines) > 2 else 0


def test_many_texts_are_read_by_the_preferred_runtime(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few texts are read by the runtime that loads faster. The journal has the runtime, so that a
    resumed run uses the same one.
    """
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write(tmp_path / "few.jsonl", ROWS)
    write(tmp_path / "many.jsonl", [{"id": f"r{n}", "text": f"{ROWS[n % 100]['text']} {n}"} for n in range(260)])

    def run(name: str, *words: str) -> subprocess.CompletedProcess[str]:
        return run_here("predict", f"bundle={bundle}", f"input={name}.jsonl", f"output=out-{name}.jsonl", "window=16", *words, cwd=tmp_path)

    for name, runtime in (("few", "onnxruntime"), ("many", preferred("network")[0])):
        assert run(name).returncode == 0
        whole = (tmp_path / f"out-{name}.jsonl").read_bytes()
        interrupted(monkeypatch, lambda name=name: run(name), after=3)
        before = json.loads((tmp_path / f"out-{name}.jsonl.journal").read_text(encoding="utf-8").splitlines()[0])
        assert (before["runtime"], before["read by"]) == ("auto", runtime)
        assert run(name, "resume=true").returncode == 0
        assert (tmp_path / f"out-{name}.jsonl").read_bytes() == whole


def test_an_exported_bundle_predicts_files_without_torch(bundle: Path, tmp_path: Path) -> None:
    """In a process that can import neither torch nor transformers."""
    write(tmp_path / "a.jsonl", ROWS)
    program = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\nfrom haltung.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["predict", f"bundle={bundle}", "input=a.jsonl", "output=b.jsonl"]
    done = subprocess.run([sys.executable, "-c", program, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(read(tmp_path / "b.jsonl")) == len(ROWS)


# Prints the peak memory in KiB of a process that predicts a file with a trivial predictor.
_MEASURED = """
import re, sys
from pathlib import Path
from haltung.experiments.predict import label, local

def cheap(segments, progress):
    return [{"id": one.id, "stance": "neutral", "probabilities": {"stance": {"neutral": 0.5}}} for one in segments]

label(local(cheap, 4096), Path(sys.argv[1]), Path(sys.argv[2]), {}, None)
# The other count, of getrusage, begins with that of the process that started this one.
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, ending: str, root: Path) -> None:
    """Ten times the rows take only a few bytes more per article."""
    peaks = []
    for count in (20_000, 200_000):
        rows = [
            {"text": f"Chile warnt Peru zum {n}. Mal vor dem Zoll. " * 4, "article": f"a{n // 20}", "position": n % 20}
            for n in range(count)
        ]
        path = write(tmp_path / f"{count}.{ending}", rows)
        words = [sys.executable, "-c", _MEASURED, str(path), str(tmp_path / f"out-{count}.{ending}")]
        # Arrow's own memory pools keep freed memory, in varying amounts.
        env = {"ARROW_DEFAULT_MEMORY_POOL": "system", "PYTHONPATH": f"{root / 'src'}:{root / 'tests'}"}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=env)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] - peaks[0] < 60, peaks
