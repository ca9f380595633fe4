"""Every reader is tested with every kind of broken file: each gives one sentence, never a
traceback.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from haltung import labels
from haltung.corpus.parsing.lines import existing, lines
from haltung.corpus.parsing.rows import Reader
from haltung.corpus.readers.articles import Articles
from haltung.corpus.readers.flat import FlatLabels
from haltung.corpus.readers.label_studio import LabelStudio
from haltung.corpus.readers.published import GerNTSA, Gnad10
from haltung.corpus.readers.sheet import Sheet
from haltung.corpus.readers.standoff import Standoff
from haltung.corpus.readers.tables import Csv, Jsonl, Parquet
from haltung.corpus.readers.xstance import XStance
from haltung.errors import UserError
from haltung.labels import Scheme

# The tasks of all sources in one scheme, which serves every reader.
SCHEME = labels.parse(
    {
        "name": "all",
        "tasks": {
            "topic": {"labels": ["security", "economy"]},
            "stance": {"labels": ["warning", "threat"]},
            "section": {"labels": ["Web", "Sport"]},
            "polarity": {"labels": ["positive", "negative"]},
        },
    }
)

STEM = "quelle"


@dataclass(frozen=True)
class Case:
    """A reader's file: its suffix, a factory of its reader, and a valid row with slots for text and
    label.
    """

    ending: str
    reader: Callable[..., Reader]
    row: Callable[[str, str, str], Any]
    label: str = "warning"
    kind: str = "jsonl"
    header: str = ""

    def write(self, folder: Path, *rows: tuple[str, str, str]) -> Path:
        """Write rows of (id, text, label); return the file."""
        path = folder / f"{STEM}{self.ending}"
        made = [self.row(*row) for row in rows]
        if self.kind == "json":
            path.write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
        elif self.kind == "jsonl":
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made), encoding="utf-8")
        else:
            path.write_text(self.header + "".join(f"{row}\n" for row in made), encoding="utf-8")
        return path


def plain(id: str, text: str, label: str) -> dict[str, Any]:
    """Return a row of our own JSONL."""
    return {"id": id, "text": text, "stance": label}


def studio(id: str, text: str, label: str) -> dict[str, Any]:
    """Return an item of Label Studio."""
    result = {"from_name": "stance", "to_name": "text", "type": "choices", "value": {"choices": [label]}}
    return {"id": id, "data": {"text": text}, "annotations": [{"result": [result]}]}


def embedded(id: str, text: str, label: str) -> dict[str, Any]:
    """Return an article of the embedded corpus."""
    return {"article": id, "title": "Titel", "segments": [{"text": text, "topic": "security", "stance": label, "dyads": []}]}


def swiss(id: str, text: str, label: str) -> dict[str, Any]:
    """Return a row of x-stance."""
    return {"id": id, "question_id": 1, "question": "Soll das sein?", "comment": text, "label": label, "topic": "economy", "language": "de"}


def opinion(id: str, text: str, label: str) -> dict[str, Any]:
    """Return a row of GerNTSA."""
    return {"id": id, "opinion_snippet": text, "target": "Ada", "sentiment": {"polarity": label}}


def standoff(path: str, **more: Any) -> Standoff:
    """Return a reader of the annotations under test, with a valid file of texts beside them."""
    texts = Path(path).parent / "texte.jsonl"
    texts.write_text('{"title": "Titel", "text": "Es regnet."}\n', encoding="utf-8")
    return Standoff(path, str(texts), "wikinews", **more)


def mark(id: str, text: str, label: str) -> dict[str, Any]:
    """Return an annotation of the same valid text, whatever the text under test."""
    return {
        "id": id,
        "row": 0,
        "start": 0,
        "end": 10,
        "sha1": "3ea8f55f5f",
        "topic": "security",
        "stance": label,
        "split": "train",
        "note": text,
    }


def xstance(path: str, **more: Any) -> XStance:
    """Return a reader with the file under test as the training file of its folder."""
    return XStance(str(Path(path).parent), split_files={"train": [Path(path).name]}, **more)


CASES: Mapping[str, Case] = {
    "jsonl": Case(".jsonl", Jsonl, plain),
    "csv": Case(".csv", Csv, lambda id, text, label: f'{id},"{text}",{label}', kind="csv", header="id,text,stance\n"),
    "label_studio": Case(".json", LabelStudio, studio, kind="json"),
    "doccano": Case(".jsonl", FlatLabels, lambda id, text, label: {"id": id, "text": text, "label": [label]}),
    "prodigy": Case(
        ".jsonl",
        partial(FlatLabels, chosen=("accept",), key="_input_hash"),
        lambda id, text, label: {"id": id, "text": text, "accept": [label], "answer": "accept"},
    ),
    "xstance": Case(".jsonl", xstance, swiss),
    "gnad10": Case(".csv", Gnad10, lambda id, text, label: f"{label};'{text}'", label="Sport", kind="csv"),
    "gerntsa": Case(".json", GerNTSA, opinion, label="positive", kind="json"),
    "articles": Case(".jsonl", Articles, embedded),
    "standoff": Case(".jsonl", standoff, mark),
}

every_reader = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
line_readers = pytest.mark.parametrize(
    "case", [case for case in CASES.values() if case.kind != "json"], ids=[n for n, c in CASES.items() if c.kind != "json"]
)
jsonl_readers = pytest.mark.parametrize(
    "case", [case for case in CASES.values() if case.kind == "jsonl"], ids=[n for n, c in CASES.items() if c.kind == "jsonl"]
)
document_readers = pytest.mark.parametrize(
    "case", [case for case in CASES.values() if case.kind == "json"], ids=[n for n, c in CASES.items() if c.kind == "json"]
)


@pytest.fixture
def scheme() -> Scheme:
    """A scheme with the tasks of all sources."""
    return SCHEME


def read(reader: Reader, scheme: Scheme) -> None:
    """Read as ``prepare`` does, which refuses a source without labels."""
    if unlabelled := reader.read(scheme).unlabelled:
        raise UserError(unlabelled)


def refused(reader: Reader, scheme: Scheme, message: str) -> str:
    """Read, expect one sentence that matches, and return it."""
    with pytest.raises(UserError, match=message) as caught:
        read(reader, scheme)
    message = str(caught.value)
    assert "\n" not in message
    return message


@every_reader
def test_a_good_file_is_read(tmp_path: Path, scheme: Scheme, case: Case) -> None:
    """The rows that the other tests break are valid."""
    path = case.write(tmp_path, ("1", "Es regnet.", case.label), ("2", "Es schneit.", case.label))
    assert len(case.reader(str(path)).read(scheme).segments) == 2


@every_reader
def test_a_missing_file_is_named_with_the_nearest(tmp_path: Path, scheme: Scheme, case: Case) -> None:
    """For a typing error, the message suggests an existing file."""
    path = case.write(tmp_path, ("1", "Es regnet.", case.label))
    wrong = path.with_name(f"qelle{case.ending}")
    refused(case.reader(str(wrong)), scheme, rf"qelle{case.ending}: no such file, did you mean '{STEM}{case.ending}'\?")


@every_reader
def test_an_empty_file_is_reported(tmp_path: Path, scheme: Scheme, case: Case) -> None:
    """An empty file is not a corpus."""
    path = tmp_path / f"{STEM}{case.ending}"
    path.write_bytes(b"")
    refused(case.reader(str(path)), scheme, rf"{STEM}{case.ending} is empty; expected at least one row")


@line_readers
def test_a_file_of_blank_lines_is_reported(tmp_path: Path, scheme: Scheme, case: Case) -> None:
    """Blank lines do not count as rows."""
    path = tmp_path / f"{STEM}{case.ending}"
    path.write_text(case.header + "\n\n", encoding="utf-8")
    refused(case.reader(str(path)), scheme, "has no rows; expected at least one")


@every_reader
def test_a_directory_is_reported(tmp_path: Path, scheme: Scheme, case: Case) -> None:
    """A folder instead of a file; for the embedded corpus, a folder without articles."""
    path = tmp_path / f"{STEM}{case.ending}"
    path.mkdir()
    refused(case.reader(str(path)), scheme, r"is a directory; expected a file|has no \*.jsonl file")


@every_reader
@pytest.mark.parametrize("on_error", ["stop", "drop"])
def test_a_latin_1_file_is_named_with_line_and_byte(tmp_path: Path, scheme: Scheme, case: Case, on_error: str) -> None:
    """The wrong encoding is not a fault of single rows: the file is refused even if faulty rows are
    dropped.
    """
    path = case.write(tmp_path, ("1", "Grüße.", case.label))
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    message = refused(case.reader(str(path), on_error=on_error), scheme, rf"{STEM}{case.ending}, line [12]: not utf-8 \(byte 0xfc at \d+\)")
    fix = "encoding=latin-1" if case.reader in (Jsonl, Csv) else "save the file as UTF-8"
    assert fix in message


@line_readers
def test_a_utf_16_file_is_reported(tmp_path: Path, scheme: Scheme, case: Case) -> None:
    """Spreadsheets call it "Unicode"."""
    path = case.write(tmp_path, ("1", "Es regnet.", case.label))
    path.write_bytes(path.read_text(encoding="utf-8").encode("utf-16"))
    refused(case.reader(str(path)), scheme, r"line 1: not utf-8 .*; this is UTF-16, save the file as UTF-8")


@jsonl_readers
def test_a_truncated_line_is_named_with_line_and_column(tmp_path: Path, scheme: Scheme, case: Case) -> None:
    """An interrupted download ends in an incomplete line; only that line is dropped."""
    path = case.write(tmp_path, ("1", "Es regnet.", case.label), ("2", "Es schneit.", case.label))
    path.write_bytes(path.read_bytes()[:-9])
    refused(case.reader(str(path)), scheme, rf"{STEM}.jsonl, line 2: column \d+: not JSON \(.*\); expected one complete object")
    reading = case.reader(str(path), on_error="drop").read(scheme)
    assert [(entry.where, entry.reason) for entry in reading.dropped] == [(f"{path}, line 2", "broken_json")]
    assert len(reading.segments) == 1


@document_readers
def test_a_truncated_document_is_named_with_line_and_column(tmp_path: Path, scheme: Scheme, case: Case) -> None:
    """The rows of a truncated document can't be separated."""
    path = case.write(tmp_path, ("1", "Es regnet.", case.label))
    path.write_bytes(path.read_bytes()[:-9])
    refused(case.reader(str(path), on_error="drop"), scheme, rf"{STEM}.json, line 1, column \d+: not JSON \(.*\); was the file cut off\?")


@every_reader
def test_a_nul_byte_is_named_with_its_line(tmp_path: Path, scheme: Scheme, case: Case) -> None:
    """A NUL byte indicates a damaged file."""
    path = case.write(tmp_path, ("1", "Es regnet.", case.label), ("2", "Es #.", case.label))
    path.write_bytes(path.read_bytes().replace(b"#", b"\0"))
    refused(case.reader(str(path)), scheme, rf"{STEM}{case.ending}, line \d: .*NUL byte")


@line_readers
def test_an_endless_line_is_refused(tmp_path: Path, scheme: Scheme, case: Case) -> None:
    """A line above the limit indicates another format."""
    path = case.write(tmp_path, ("1", "Es regnet. " * 1_000_000, case.label))
    line = 2 if case.header else 1
    refused(case.reader(str(path), on_error="drop"), scheme, rf"line {line}: longer than 10,000,000 bytes, too long for a row")


@pytest.mark.parametrize("reader", [Jsonl, Csv])
def test_the_limit_of_a_line_can_be_set(tmp_path: Path, scheme: Scheme, reader: type[Jsonl | Csv]) -> None:
    """In readers of the user's own files."""
    path = tmp_path / "quelle.csv"
    path.write_text("x" * 300, encoding="utf-8")
    refused(reader(str(path), max_line_bytes=200), scheme, r"longer than 200 bytes.*\(max_line_bytes sets the limit\)")


@document_readers
def test_a_document_above_the_limit_is_refused(tmp_path: Path, scheme: Scheme, case: Case) -> None:
    """A document is read as a whole, so its size is checked first."""
    path = case.write(tmp_path, ("1", "Es regnet. " * 50, case.label))
    refused(case.reader(str(path), max_bytes=200), scheme, r"has [\d,]+ bytes, the limit is 200; export it in parts, or raise max_bytes")


def test_a_line_of_50_megabytes_never_fills_the_memory(tmp_path: Path) -> None:
    """The line is refused at the limit: reading it takes less memory than its length."""
    path = tmp_path / "gross.jsonl"
    path.write_bytes(b'{"text": "' + b"x" * 50_000_000 + b'"}\n')
    program = textwrap.dedent(f"""
        import resource
        from pathlib import Path
        from haltung.corpus.parsing.lines import lines
        from haltung.errors import UserError
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            list(lines(Path({str(path)!r})))
        except UserError as error:
            print([str(error), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before])
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    message, grown = ast.literal_eval(done.stdout)
    assert "line 1: longer than 10,000,000 bytes" in message
    # ru_maxrss counts KiB on Linux and bytes on macOS.
    assert grown * (1 if sys.platform == "darwin" else 1024) < 40_000_000


@every_reader
def test_an_unknown_label_is_named_with_position_and_nearest(tmp_path: Path, scheme: Scheme, case: Case) -> None:
    """A label outside the scheme stops reading, or its row is dropped, as configured."""
    path = case.write(tmp_path, ("1", "Es regnet.", case.label), ("2", "Es schneit.", case.label[:-1] + "x"))
    message = refused(
        case.reader(str(path)),
        scheme,
        rf"{STEM}{case.ending}, (line|item) \d.*: unknown \w+ '{case.label[:-1]}x', did you mean '{case.label}'",
    )
    assert "has " in message
    reading = case.reader(str(path), on_error="drop").read(scheme)
    assert ([entry.reason for entry in reading.dropped], len(reading.segments)) == (["unknown_label"], 1)


@pytest.mark.parametrize(
    "case",
    [case for name, case in CASES.items() if name not in ("gnad10", "prodigy")],
    ids=[n for n in CASES if n not in ("gnad10", "prodigy")],
)
def test_a_duplicate_id_is_named_with_both_positions(tmp_path: Path, scheme: Scheme, case: Case) -> None:
    """Two rows with the same id would be one row in later tables. 10kGNAD has no ids, Prodigy's own
    are hashes.
    """
    path = case.write(tmp_path, ("1", "Es regnet.", case.label), ("1", "Es schneit.", case.label))
    message = refused(
        case.reader(str(path)),
        scheme,
        rf"{STEM}{case.ending}, (line|item) \d.*'1.*' is already used at .*{STEM}{case.ending}, (line|item) \d",
    )
    assert "id" in message


@pytest.mark.parametrize(
    "case",
    [case for name, case in CASES.items() if name not in ("csv", "gnad10", "standoff")],
    ids=[n for n in CASES if n not in ("csv", "gnad10", "standoff")],
)
def test_a_text_that_is_a_number_is_reported(tmp_path: Path, scheme: Scheme, case: Case) -> None:
    """A shifted column is detected at the first row. CSV cells are always text, and stand-off
    annotations have no text.
    """
    path = case.write(tmp_path, ("1", "42", case.label))
    path.write_text(path.read_text(encoding="utf-8").replace('"42"', "42"), encoding="utf-8")
    refused(case.reader(str(path)), scheme, r"is a number \(42\); expected text")


@every_reader
def test_an_unknown_on_error_is_reported(tmp_path: Path, scheme: Scheme, case: Case) -> None:
    """The message lists the allowed values."""
    path = case.write(tmp_path, ("1", "Es regnet.", case.label))
    refused(case.reader(str(path), on_error="sotp"), scheme, r"on_error is 'sotp', did you mean 'stop'\?; choose from stop, drop")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", b"id,text\n"])
def test_a_damaged_parquet_is_reported(tmp_path: Path, scheme: Scheme, content: bytes) -> None:
    """Parquet is binary; other files are refused."""
    path = tmp_path / "quelle.parquet"
    path.write_bytes(content)
    refused(Parquet(str(path)), scheme, "quelle.parquet is empty|quelle.parquet: not a Parquet file, or damaged")


def test_a_truncated_parquet_is_reported(tmp_path: Path, scheme: Scheme) -> None:
    """An incomplete copy lacks the footer."""
    import pandas as pd

    path = tmp_path / "quelle.parquet"
    pd.DataFrame({"text": ["Es regnet."] * 50, "stance": ["warning"] * 50}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    refused(Parquet(str(path)), scheme, "quelle.parquet: not a Parquet file, or damaged")


def test_a_parquet_with_other_rows_is_reported_by_row(tmp_path: Path, scheme: Scheme) -> None:
    """Missing columns, unknown labels and duplicate ids are reported as in other formats."""
    import pandas as pd

    path = tmp_path / "quelle.parquet"
    pd.DataFrame({"satz": ["Es regnet."], "stance": ["warning"]}).to_parquet(path)
    refused(
        Parquet(str(path)),
        scheme,
        r"no column 'text'; the columns are: satz, stance; map one with corpus\.reader\.columns\.text=NAME",
    )
    pd.DataFrame({"text": ["Es regnet.", "Es hagelt."], "stance": ["warning", "warnin"]}).to_parquet(path)
    refused(Parquet(str(path)), scheme, r"quelle.parquet, row 2: unknown stance 'warnin', did you mean 'warning'\?")
    pd.DataFrame({"id": [1, 1], "text": ["Es regnet.", "Es hagelt."], "stance": ["warning"] * 2}).to_parquet(path)
    refused(Parquet(str(path)), scheme, r"quelle.parquet, row 2: the id '1' is already used at .*quelle.parquet, row 1")


def test_json_nested_without_end_is_reported(tmp_path: Path, scheme: Scheme) -> None:
    """Endless brackets cause no crash."""
    path = tmp_path / "quelle.jsonl"
    path.write_text("[" * 200_000 + "\n", encoding="utf-8")
    refused(Jsonl(str(path)), scheme, r"line 1: (the JSON is nested too deeply|column \d+: not JSON)")
    path.write_text("[" * 200_000, encoding="utf-8")
    refused(GerNTSA(str(path)), scheme, r"quelle.jsonl(: the JSON is nested too deeply|, line 1, column \d+: not JSON)")


def test_a_byte_order_mark_and_windows_line_ends_are_read_past(tmp_path: Path) -> None:
    """They are written by editors on Windows."""
    path = tmp_path / "quelle.jsonl"
    path.write_bytes(b"\xef\xbb\xbf{}\r\n{}\r\n")
    assert [line.strip() for line in lines(existing(path))] == ["{}", "{}"]


# A text without repeated parts.
LONG = " ".join(f"Satz {number} verlässt den Rechner nicht." for number in range(12))


def cut_short(message: str) -> bool:
    """Return whether a message has the start of the long text, and at most 80 characters of it."""
    return LONG[:70] in message and not any(LONG[at : at + 81] in message for at in range(len(LONG) - 80))


@pytest.mark.parametrize(
    ("case", "part"),
    [(case, part) for name, case in CASES.items() for part in ("label", "id") if part == "label" or name not in ("gnad10", "prodigy")],
)
def test_a_text_in_the_place_of_an_id_or_a_label_is_cut_short(tmp_path: Path, scheme: Scheme, case: Case, part: str) -> None:
    """Messages shorten the text of a mistaken column, also in the list of dropped rows."""
    row = (LONG, "Es regnet.", case.label) if part == "id" else ("1", "Es regnet.", LONG)
    path = case.write(tmp_path, row, (LONG, "Es schneit.", case.label))
    assert cut_short(refused(case.reader(str(path)), scheme, "unknown|is already used"))
    assert all(map(cut_short, (entry.detail for entry in case.reader(str(path), on_error="drop").read(scheme).dropped)))


@pytest.mark.parametrize(
    "row",
    [
        {"split": LONG}, {"date": LONG}, {"position": LONG}, {"text": [LONG]}, {"stance": {LONG: 1}}, {"stance": [LONG]},
        {"dyads": [{LONG: 1}]}, {"dyads": [{"source": "", "target": "", "stance": LONG}]},
    ],
)  # fmt: skip
def test_a_text_in_the_place_of_another_field_is_cut_short(tmp_path: Path, scheme: Scheme, row: dict[str, object]) -> None:
    """Whatever type the field has."""
    path = tmp_path / "quelle.jsonl"
    path.write_text(json.dumps({"id": "1", "text": "Es regnet.", **row}), encoding="utf-8")
    assert cut_short(refused(Jsonl(str(path)), scheme, "line 1"))


@pytest.mark.parametrize(
    ("reader", "content"),
    [
        (Jsonl, json.dumps({LONG: "1"})), (Jsonl, f'{{"{LONG}": 1, "{LONG}": 2}}'), (Csv, f"{LONG}\n1\n"),
        (Csv, f"{LONG},{LONG}\n1,2\n"), (Csv, f"{LONG};b\n1;2\n"), (Csv, f"text,{LONG}\n1\n"), (Sheet, f"{LONG};b\n{LONG};c\n"),
        (Sheet, f"text;stance\nEs regnet.;{LONG}\n"), (FlatLabels, json.dumps({"text": "a", "label": [[LONG]]})),
        (FlatLabels, json.dumps({"text": "a", "label": [f"stance/{LONG}"]})),
        (partial(FlatLabels, chosen=("accept",)), json.dumps({"text": "a", "answer": LONG})),
    ],
)  # fmt: skip
def test_a_text_where_names_should_be_is_cut_short(tmp_path: Path, scheme: Scheme, reader: Callable[..., Reader], content: str) -> None:
    """In a file without header, or of another structure."""
    path = tmp_path / "quelle.csv"
    path.write_text(content, encoding="utf-8")
    assert cut_short(refused(reader(str(path)), scheme, "quelle"))


def test_labels_that_are_texts_are_cut_short(tmp_path: Path) -> None:
    """As in a scheme drafted from the wrong column; each message lists its labels."""
    texts = labels.parse({"name": "all", "tasks": {"stance": {"labels": [LONG, "warning"]}}})
    path = CASES["jsonl"].write(tmp_path, ("1", "Es regnet.", LONG[:-1]))
    assert cut_short(refused(Jsonl(str(path)), texts, "unknown stance"))
    with pytest.raises(UserError) as caught:
        labels.parse({"name": "all", "tasks": {"stance": {"labels": [LONG, LONG]}}})
    assert cut_short(str(caught.value))
