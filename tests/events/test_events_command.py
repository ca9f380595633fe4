"""``haltung events`` from files to events, with a tiny model and dyads by word order."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import csv as csv_file
from pyarrow import parquet as pq

import exported
import tiny
from articles import events_of
from haltung.events.text.read import Article
from haltung.experiments.journal import Journal
from haltung.models import bundle
from haltung.models.linear import fit
from haltung.models.spec import LinearSpec
from haltung.records import Prediction, Segment

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that classifies sentences as warning, support or neutral by their verbs."""
    return bundle.save(fit(tiny.segments(300), tiny.scheme(), LinearSpec(), seed=1), tmp_path_factory.mktemp("model") / "bundle")


def labelled(stance: str, text: str, headline: str = "") -> list[tuple[str, str]]:
    """Return source and target of a text's events, if all its sentences have the given stance."""

    def classify(segments: Sequence[Segment]) -> list[Prediction]:
        return [Prediction(segment.id, {"stance": stance}, {"stance": {stance: 0.9}}) for segment in segments]

    article_events = events_of(Article("a", text, headline), classify)
    return [(event.source, event.target) for event in article_events.events]


@pytest.mark.parametrize(
    ("stance", "text", "expected"),
    [
        ("warning", "Chile warnt Peru.", [("CHL", "PER")]),
        ("criticism", "Peru wurde von Chile scharf kritisiert.", [("CHL", "PER")]),
        ("criticism", "„Das ist falsch“, sagte Chile zu Peru.", [("CHL", "PER")]),
        ("cooperation", "Chile und Peru vereinbarten Gespräche.", [("CHL", "PER"), ("PER", "CHL")]),
        ("request", "Chile fordert mehr Tempo.", [("CHL", "")]),
        ("criticism", "Es gab Kritik.", [("", "")]),
        ("neutral", "Chile grenzt an Peru.", []),
        ("coercion", "Nach Angaben von Ghana griff Chile Peru an.", [("CHL", "PER")]),
        ("request", "Chile fordert mehr Tempo. Es gehe zu langsam.", [("CHL", ""), ("CHL", "")]),
    ],
)
def test_rules_of_word_order_tell_who_acts_towards_whom(stance: str, text: str, expected: list[tuple[str, str]]) -> None:
    """Subject, passive, quotation, mutual acts, and nobody."""
    assert labelled(stance, text) == expected


def test_an_event_leads_back_to_its_words() -> None:
    """Positions of sentences and actors refer to the article's text, including headline and
    advertising.
    """
    text = "Streit am Meer\n\nAnzeige\n\nEs regnet heute.\n\nChile warnt Peru."

    def classify(segments: Sequence[Segment]) -> list[Prediction]:
        return [Prediction(one.id, {"stance": "warning", "topic": "security"}, {"stance": {"warning": 0.9}}) for one in segments]

    article_events = events_of(Article("a", text, "Streit am Meer", "2026-05-21", body=15), classify)
    event = article_events.events[-1]
    assert (text[event.start : event.end], event.text) == ("Chile warnt Peru.", "Chile warnt Peru.")
    assert event.source_span is not None
    assert event.target_span is not None
    assert (text[slice(*event.source_span)], text[slice(*event.target_span)]) == ("Chile", "Peru")
    assert (event.date, event.topic, event.plover, event.quad) == ("2026-05-21", "security", "", None)
    assert [segment.segment.context for segment in article_events.segments] == ["Streit am Meer", "Streit am Meer Es regnet heute."]
    assert [removed.text for removed in article_events.removed] == ["Anzeige"]


def test_an_article_becomes_a_table(haltung: Command, tmp_path: Path, model: Path) -> None:
    """It is printed to the terminal if no output file is named."""
    (tmp_path / "a.txt").write_text("Belgien warnt die Marine in Chile .", encoding="utf-8")
    done = haltung("events", f"bundle={model}", "input=a.txt", "language=de", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "wer → wen" in done.stdout
    assert "BEL → " in done.stdout
    assert "1 event in 1 article" in done.stdout


def test_a_batch_goes_on_and_ends_with_what_failed(haltung: Command, tmp_path: Path, model: Path) -> None:
    """An empty file, one in English, one of 5 MB, one with no actor, a page with no text, mixed
    encodings: each is reported, exit code 1.
    """
    folder = tmp_path / "texte"
    folder.mkdir()
    german = "Belgien lobt den Zoll in Peru . Ghana mahnt die Bank in Laos . Nepal kennt den Haushalt in Malta . "
    (folder / "a_leer.txt").write_bytes(b"")
    (folder / "b_englisch.txt").write_text(
        "Belgium praised the new customs union on Friday. The minister said that he would support the plan of the bank.", encoding="utf-8"
    )
    (folder / "c_lang.txt").write_text(german * 50_000, encoding="utf-8")
    (folder / "d_niemand.txt").write_text("Am Abend begrüßt man den Regen , und am Morgen warnt man vor der Hitze .", encoding="utf-8")
    (folder / "e_seite.html").write_text("<html><body><nav><a href='/'>Start</a></nav></body></html>", encoding="utf-8")
    (folder / "f_gemischt.txt").write_bytes("Belgien begrüßt den Zoll in Peru . ".encode() + "Ghana mahnt für Laos .".encode("cp1252"))
    done = haltung("events", f"bundle={model}", "input=texte", "output=e.jsonl", "table=e.csv", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    for message in (
        "a_leer.txt: is empty",
        "b_englisch.txt: is in English",
        f"c_lang.txt: has {50_000 * len(german):,} characters, but the limit is 500,000",
        "d_niemand.txt: names no known actor",
        "e_seite.html: no main text was found in the HTML",
        "f_gemischt.txt: mixed encodings",
        "3 failed",
    ):
        assert message in done.stderr
    rows = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == ["b_englisch", "d_niemand", "f_gemischt"]
    assert rows[0]["language"] == "en"
    with (tmp_path / "e.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == sum(len(row["events"]) for row in rows)
    assert {"date", "source", "target", "plover", "mode", "quad", "intensity", "stance"} <= table[0].keys()


def test_standard_input_is_read_as_text_or_as_json_lines(haltung: Command, tmp_path: Path, model: Path) -> None:
    """So that another program's output can be piped in."""
    for given in (b"Belgien warnt die Marine in Chile .", b'{"id": "input", "text": "Belgien warnt die Marine in Chile ."}\n'):
        done = haltung("events", f"bundle={model}", "input=-", "output=e.jsonl", cwd=tmp_path, given=given)
        assert done.returncode == 0, done.stderr
        assert json.loads((tmp_path / "e.jsonl").read_text(encoding="utf-8"))["segments"][0]["stance"] == "warning"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bundle=news_dee", "input=a.txt"], "installed model 'news_dee', did you mean 'news_de'?"),
        (["bundle=MODEL"], "name what to read: input=FILE"),
        (["bundle=nowhere", "input=a.txt"], "nowhere is not a folder"),
        (["bundle=MODEL", "input=b.txt"], "b.txt: no such file, did you mean 'a.txt'?"),
        (["bundle=MODEL", "input=a.txt", "output=x/y.jsonl"], "x: no such folder"),
        (["bundle=MODEL", "input=a.txt", "max_characters=0"], "max_characters is 0"),
        (["bundle=MODEL", "input=a.txt", "dyads=MODEL"], "there is no key 'dyads'; the command has bundle, input"),
        (["bundle=MODEL", "input=a.txt", "output=a.txt"], "a.txt is an input"),
        (["bundle=MODEL", "input=a.txt", "output=b.jsonl", "table=./a.txt"], "a.txt is an input"),
        (["bundle=MODEL", "input=a.txt", "page=a.txt"], "a.txt is an input"),
        (["bundle=MODEL", "input=.", "page=a.txt"], "a.txt is an input"),
        (["bundle=MODEL", "input=a.txt", "table=-"], "leave the key out"),
        (["bundle=MODEL", "input=a.txt", "table=b.xlsx"], "b.xlsx: with input=, table= is written as CSV; name it table=FILE.csv"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(haltung: Command, tmp_path: Path, model: Path, words: list[str], message: str) -> None:
    """And nothing is written."""
    (tmp_path / "a.txt").write_text("Belgien warnt Chile.", encoding="utf-8")
    done = haltung("events", *[word.replace("MODEL", str(model)) for word in words], cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "Belgien warnt Chile."


ARCHIVE = [{"id": f"a{n}", "text": f"Belgien warnt die Marine in Chile zum {n}. Mal .", "date": "2024-05-01"} for n in range(300)]
WRITTEN = ("e.jsonl", "e.csv", "e.jsonl.broken.jsonl", "e.html")


def interrupted(monkeypatch: pytest.MonkeyPatch, run: Callable[[], subprocess.CompletedProcess[str]], after: int) -> None:
    """Run a command and interrupt it after ``after`` records of its journal."""
    append, left = Journal.append, iter(range(after))

    def stopping(self: Journal, *given: Any, **counts: int) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        append(self, *given, **counts)

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", stopping)
        assert run().returncode == 130


def archive(folder: Path) -> None:
    """Write articles as JSON Lines, one of them broken."""
    lines = [json.dumps(row) for row in ARCHIVE]
    lines[5] = '{"text": "Belgien'
    (folder / "a.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_an_archive_goes_on_where_it_was_stopped(haltung: Command, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All outputs equal those of an uninterrupted run; without ``resume`` a new run is refused."""
    archive(tmp_path)
    words = ("events", f"bundle={model}", "input=a.jsonl", "output=e.jsonl", "table=e.csv", "page=e.html")
    done = haltung(*words, cwd=tmp_path)
    assert (done.returncode, "a.jsonl, line 6" in done.stderr, "1 failed" in done.stderr) == (1, True, True), done.stderr
    expected = [(tmp_path / name).read_bytes() for name in WRITTEN]
    (broken,) = (json.loads(line) for line in expected[2].splitlines())
    assert (broken["where"], broken["row"]) == ("a.jsonl, line 6", '{"text": "Belgien')
    for name in WRITTEN:
        (tmp_path / name).unlink()
    interrupted(monkeypatch, lambda: haltung(*words, cwd=tmp_path), after=3)
    refused = haltung(*words, cwd=tmp_path)
    assert (refused.returncode, "e.jsonl.journal" in refused.stderr, "resume=true" in refused.stderr) == (2, True, True), refused.stderr
    for other, named in (("max_characters=1000", "max_characters is 1000"), ("table=f.csv", "f.csv")):
        done = haltung(*words, other, "resume=true", cwd=tmp_path)
        assert (done.returncode, named in done.stderr) == (2, True), done.stderr
    done = haltung(*words, "resume=true", cwd=tmp_path)
    assert (done.returncode, "299 articles" in done.stdout, "1 failed" in done.stderr) == (1, True, True), done.stdout + done.stderr
    assert [(tmp_path / name).read_bytes() for name in WRITTEN] == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*WRITTEN, "a.jsonl"])


@pytest.mark.slow
def test_an_archive_that_is_killed_again_and_again_ends_the_same(haltung: Command, tmp_path: Path, model: Path) -> None:
    """SIGKILL at random moments."""
    archive(tmp_path)
    words = ["events", f"bundle={model}", "input=a.jsonl"]
    assert haltung(*words, "output=e.jsonl", "table=e.csv", cwd=tmp_path).returncode == 1
    rng, journal = random.Random(3), tmp_path / "f.jsonl.journal"
    words += ["output=f.jsonl", "table=f.csv", "resume=true"]
    command = [sys.executable, "-m", "haltung", *words]
    for least in (1, 2, 4, 5):
        running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while running.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < least):
            time.sleep(0.002)
        time.sleep(rng.random() * 0.1)
        running.send_signal(signal.SIGKILL)
        assert running.wait() in (-signal.SIGKILL, 1)
    done = haltung(*words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    for ending in (".jsonl", ".csv", ".jsonl.broken.jsonl"):
        assert (tmp_path / f"f{ending}").read_bytes() == (tmp_path / f"e{ending}").read_bytes()
    assert not journal.exists()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_sheet_goes_on_where_it_was_stopped(
    haltung: Command, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """Like JSON Lines."""
    rows = pa.Table.from_pylist(ARCHIVE)
    (csv_file.write_csv if ending == "csv" else pq.write_table)(rows, tmp_path / f"a.{ending}")
    words = ("events", f"bundle={model}", f"input=*.{ending}", "output=e.jsonl")
    assert haltung(*words, cwd=tmp_path).returncode == 0
    expected = (tmp_path / "e.jsonl").read_bytes()
    interrupted(monkeypatch, lambda: haltung(*words, cwd=tmp_path), after=2)
    done = haltung(*words, "resume=true", cwd=tmp_path)
    assert (done.returncode, "300 articles" in done.stdout) == (0, True), done.stderr
    assert (tmp_path / "e.jsonl").read_bytes() == expected


def test_a_bundle_is_read_by_the_runtime_that_is_named(haltung: Command, tmp_path: Path) -> None:
    """Stances are the same; a run resumes only with the runtime that it began with."""
    bundle_folder = exported.write(tmp_path / "bundle")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ARCHIVE[:20]), encoding="utf-8")
    words = ("events", f"bundle={bundle_folder}", "input=a.jsonl", "output=e.jsonl")
    found = {}
    for runtime in ("onnxruntime", "openvino"):
        done = haltung(*words, f"runtime={runtime}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found[runtime] = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text(encoding="utf-8").splitlines()]
    for one, other in zip(*found.values(), strict=True):
        assert [row["stance"] for row in one["segments"]] == [row["stance"] for row in other["segments"]]
    done = haltung(*words, "runtime=torch", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    (tmp_path / "e.jsonl.journal").write_text("{}\n", encoding="utf-8")
    done = haltung(*words, "runtime=openvino", "resume=true", cwd=tmp_path)
    assert (done.returncode, "read by is openvino" in done.stderr) == (2, True), done.stderr


def test_a_table_is_one_run_s(haltung: Command, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others can't write it during that run or after its interruption, whatever else they write."""
    archive(tmp_path)
    words = ("events", f"bundle={model}", "input=a.jsonl", "table=t.csv")
    with Journal([tmp_path / "e.jsonl", tmp_path / "t.csv"], {}, None):
        done = haltung(*words, "output=f.jsonl", cwd=tmp_path)
        assert (done.returncode, "another run" in done.stderr, "t.csv" in done.stderr) == (2, True, True), done.stderr
    interrupted(monkeypatch, lambda: haltung(*words, "output=e.jsonl", cwd=tmp_path), after=1)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for other in (["output=f.jsonl"], [], ["output=f.jsonl", "resume=false"]):
        done = haltung(*words, *other, cwd=tmp_path)
        assert (done.returncode, "t.csv.partial" in done.stderr) == (2, True), done.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert haltung(*words, "output=e.jsonl", "resume=false", cwd=tmp_path).returncode == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "e.jsonl", "e.jsonl.broken.jsonl", "t.csv"]


def test_a_folder_holds_its_own_results(haltung: Command, tmp_path: Path, model: Path) -> None:
    """The next run reads neither these nor broken rows nor an older table, and does not overwrite
    other files of these names.
    """
    archive(tmp_path)
    words = ("events", f"bundle={model}", "input=.", "output=e.jsonl", "table=e.csv", "page=e.html")
    first = haltung(*words, cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*WRITTEN, "a.jsonl"])
    shutil.copy(tmp_path / "e.csv", tmp_path / "old.csv")
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    second = haltung(*words, cwd=tmp_path)
    assert (second.returncode, second.stdout) == (1, first.stdout), second.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == kept
    for name in ("e.jsonl", "e.html"):
        (tmp_path / name).write_text('{"text": "Belgien warnt Chile ."}', encoding="utf-8")
        done = haltung(*words, cwd=tmp_path)
        assert (done.returncode, f"{name} is an input" in done.stderr) == (2, True), done.stderr
        (tmp_path / name).write_bytes(kept[tmp_path / name])


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that nobody can read, not even root")
def test_a_file_that_cannot_be_read_fails_alone(haltung: Command, tmp_path: Path, model: Path) -> None:
    """With and without ``output=``."""
    (tmp_path / "texte").mkdir()
    (tmp_path / "texte/a.txt").write_text("Belgien warnt die Marine in Chile .", encoding="utf-8")
    (tmp_path / "texte/b.txt").symlink_to("/proc/self/mem")
    for words in ([], ["output=e.jsonl"]):
        done = haltung("events", f"bundle={model}", "input=texte", *words, cwd=tmp_path)
        assert (done.returncode, "b.txt: can't be read" in done.stderr, "1 article" in done.stdout) == (1, True, True), done.stderr


def test_a_run_that_waits_for_standard_input_can_be_stopped(tmp_path: Path, model: Path) -> None:
    """With Ctrl-C, even if the other end of the pipe stays open."""
    words = [sys.executable, "-m", "haltung", "events", f"bundle={model}", "input=-", "output=e.jsonl"]
    with subprocess.Popen(words, cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdin is not None
        running.stdin.write(b'{"text": "Belgien warnt Chile ."}\n')
        running.stdin.flush()
        while running.poll() is None and not (tmp_path / "e.jsonl.journal").exists():
            time.sleep(0.05)
        time.sleep(1)
        running.send_signal(signal.SIGINT)
        try:
            assert running.wait(20) == 130
        finally:
            running.kill()


def test_what_standard_input_has_left_can_be_begun_anew(haltung: Command, tmp_path: Path, model: Path) -> None:
    """As the message says; it can't be resumed."""
    (tmp_path / "e.jsonl.journal").write_text("{}\n", encoding="utf-8")
    given = b"Belgien warnt die Marine in Chile ."
    words = ("events", f"bundle={model}", "input=-", "output=e.jsonl")
    assert "resume=false" in haltung(*words, cwd=tmp_path, given=given).stderr
    done = haltung(*words, "resume=false", cwd=tmp_path, given=given)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["e.jsonl"]


def test_articles_of_a_sheet(haltung: Command, tmp_path: Path, model: Path) -> None:
    """Their ids are row numbers or values of a named column; no CSV text is a formula; the leftover
    of an interrupted table can be discarded.
    """
    text = "=Belgien warnt die Marine in Chile ."
    (tmp_path / "a.csv").write_text(f"ID;Text;Haltung;Stance\n1;{text};x;y\n1;{text};x;y\n", encoding="utf-8")
    (tmp_path / "t.csv.journal").write_text("{}\n", encoding="utf-8")
    words = ("events", f"bundle={model}", "input=a.csv", "output=b.csv", "table=t.csv")
    assert "resume=false" in haltung(*words, cwd=tmp_path).stderr
    assert "without resume=true" in haltung(*words, "resume=true", cwd=tmp_path).stderr
    done = haltung(*words, "resume=false", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        found = {row["article"]: row["text"] for row in csv.DictReader(file)}
    assert found == {"a-2": f"'{text}", "a-3": f"'{text}"}
    done = haltung(*words, "reader.columns.id=ID", cwd=tmp_path)
    assert (done.returncode, "the id '1' is already used by a.csv, line 2" in done.stderr) == (1, True), done.stderr


def test_what_is_no_file_is_never_replaced(haltung: Command, tmp_path: Path, model: Path) -> None:
    """Such as a pipe or a device."""
    (tmp_path / "a.txt").write_text("Belgien warnt Chile.", encoding="utf-8")
    os.mkfifo(tmp_path / "pipe")
    for key in ("output", "table", "page"):
        done = haltung("events", f"bundle={model}", "input=a.txt", f"{key}=pipe", cwd=tmp_path)
        assert (done.returncode, "leave the key out" in done.stderr) == (2, True), done.stderr
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("words", [["input=-", "output=e.jsonl"], ["input=a.jsonl"], ["input=a.jsonl", "page=e.html"]])
def test_what_cannot_go_on_is_refused(haltung: Command, tmp_path: Path, model: Path, words: list[str]) -> None:
    """Standard input can't be read again, and terminal and page can't be appended to."""
    archive(tmp_path)
    done = haltung("events", f"bundle={model}", *words, "resume=true", cwd=tmp_path, given=b"Belgien warnt Chile .")
    assert (done.returncode, "resume=" in done.stderr) == (2, True), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
