"""Sheets labelled by `predict` and `events`: the same table with new columns, and figures."""

from __future__ import annotations

import csv
import datetime as dt
import re
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from python_calamine import CalamineWorkbook

import exported
import tiny
from command_line import run_here
from haltung.corpus.readers.sheet import Sheet
from haltung.evaluation.report.documents import write_workbook
from haltung.experiments import sheets
from haltung.experiments.sheets import _plain

HEAD = ("Nr", "Satz", "Haltung", "Artikel", "Datum", "Notiz")
Run = Callable[..., subprocess.CompletedProcess[str]]


def rows_of(count: int = 12) -> list[tuple[Any, ...]]:
    """Return rows whose notes include a formula, a handle, a negative number and an umlaut."""
    notes = ("=1+1", "+49 30 123", "@Bund", "-5 Prozent", "-7", "Übergröße; so")
    return [
        (number, one.text, one.labels["stance"], f"A{number // 2}", dt.datetime(2025, 2, 1 + number % 28), notes[number % 6])  # noqa: DTZ001 -- a day
        for number, one in enumerate(tiny.segments(count))
    ]


def written(path: Path, rows: list[tuple[Any, ...]], head: tuple[str, ...] = HEAD) -> Path:
    """Write rows as a sheet in the format of the file name; CSV as German Excel writes it."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(head))
    if path.suffix == ".xlsx":
        with pd.ExcelWriter(path, engine="xlsxwriter", engine_kwargs={"options": {"strings_to_formulas": False}}) as book:
            frame.to_excel(book, index=False)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, sep=";", index=False, encoding="cp1252", date_format="%d.%m.%Y")
    return path


def read(path: Path, separator: str = ";") -> list[dict[str, Any]]:
    """Return the rows of a labelled sheet."""
    if path.suffix == ".parquet":
        return list(pq.ParquetFile(path).read().to_pylist())
    if path.suffix == ".xlsx":
        head, *rows = CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()
        return [dict(zip(map(str, head), row, strict=True)) for row in rows]
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter=separator))


def pages_of(path: Path) -> dict[str, list[list[Any]]]:
    """Return all sheets of a workbook."""
    book = CalamineWorkbook.from_path(path)
    return {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported bundle, whose graph any runtime can run."""
    return exported.write(tmp_path_factory.mktemp("exported") / "bundle")


@pytest.fixture
def predict(bundle: Path, tmp_path: Path) -> Run:
    """A function that runs the command on the bundle in this process."""
    return lambda *words: run_here("predict", f"bundle={bundle}", "runtime=onnxruntime", *words, cwd=tmp_path)


@pytest.mark.parametrize("kind", ["xlsx", "csv", "parquet"])
@pytest.mark.parametrize("to", ["xlsx", "csv", "tsv", "parquet"])
def test_the_table_is_the_same_with_columns_behind_it(kind: str, to: str, predict: Run, tmp_path: Path) -> None:
    """For any format of input and output."""
    written(tmp_path / f"a.{kind}", rows_of())
    done = predict(f"table=a.{kind}", f"output=b.{to}")
    assert done.returncode == 0, done.stderr
    assert "text=Satz, by its name\narticle=Artikel, by its name\ndate=Datum, by its name" in done.stdout
    found = read(tmp_path / f"b.{to}", "\t" if to == "tsv" else ";")
    assert list(found[0]) == [*HEAD, *(f"{task}{more}" for task in tiny.scheme().names for more in ("", "_probability"))]
    assert [row["Satz"] for row in found] == [row[1] for row in rows_of()]
    assert [str(row["Notiz"]).removeprefix("'") for row in found] == [row[5] for row in rows_of()]
    assert {row["stance"] for row in found} <= set(tiny.scheme()["stance"].ids)
    if kind != "csv" and to in ("xlsx", "parquet"):
        assert [str(row["Datum"])[:10] for row in found] == [f"2025-02-{day:02d}" for day in range(1, 13)]
        assert [row["Nr"] for row in found] == list(range(12))


def test_no_cell_becomes_a_formula(predict: Run, tmp_path: Path) -> None:
    """In workbooks it is text; in CSV it gets a quote, unless it is a number."""
    written(tmp_path / "a.xlsx", rows_of())
    assert predict("table=a.xlsx", "output=b.xlsx").returncode == predict("table=a.xlsx", "output=b.csv").returncode == 0
    with zipfile.ZipFile(tmp_path / "b.xlsx") as book:
        page = book.read("xl/worksheets/sheet1.xml").decode()
    assert re.findall("<c [^>]*><f>", page) == []
    assert "<autoFilter" in page
    assert 'state="frozen"' in page
    assert page.count("<cfRule") == sum(len(task) for task in tiny.scheme())
    notes = [row["Notiz"] for row in read(tmp_path / "b.csv")]
    assert notes[:6] == ["'=1+1", "'+49 30 123", "'@Bund", "'-5 Prozent", "-7", "Übergröße; so"]
    assert (tmp_path / "b.csv").read_bytes().startswith(b"\xef\xbb\xbfNr;Satz")


@pytest.mark.parametrize(
    ("cell", "separator", "text"),
    [
        (0.25, ";", "0,25"), (0.25, ",", "0.25"), (3.0, ";", "3"), (None, ";", ""), (float("nan"), ";", ""), (True, ";", "True"),
        ("0.25", ";", "0.25"), ("-", ";", "-"), ("--", ";", "'--"), ("-3,5 %", ";", "-3,5 %"),
        ("\t=1", ";", "'\t=1"), ("=1\n2", ";", "'=1\n2"),
        (dt.datetime(2025, 1, 14), ";", "2025-01-14"), ([1, "a"], ";", "1;a"), (dt.date(1850, 1, 1), ";", "1850-01-01"),  # noqa: DTZ001
    ],
)  # fmt: skip
def test_cells_of_csv_are_what_excel_reads_rightly(cell: object, separator: str, text: str) -> None:
    """Decimal commas with semicolons, dates without time; text that is no formula is unchanged."""
    assert _plain(cell, separator) == text


def test_the_figures_count_what_the_sheet_shows(predict: Run, tmp_path: Path) -> None:
    """In German, with metrics if the sheet has labels; unknown labels don't count."""
    rows = rows_of(40)
    rows[3] = (*rows[3][:2], "quer", *rows[3][3:])
    written(tmp_path / "a.xlsx", rows)
    done = predict("table=a.xlsx", "output=b.xlsx", "language=de")
    assert done.returncode == 0, done.stderr
    assert re.search(r"stance against Haltung: Genauigkeit 0,\d+ .*\(39 of 40 rows\)", done.stdout)
    pages = pages_of(tmp_path / "b.xlsx")
    assert list(pages) == ["Texte", "Kennzahlen", "gegen Labels"]
    found = read(tmp_path / "b.xlsx")
    for _, label, count, share, mean in pages["Kennzahlen"][1:]:
        cells = [(row["stance_probability"], row["stance"]) for row in found if row["stance"] == label]
        if cells:
            assert count == len(cells)
            assert share == pytest.approx(len(cells) / 40)
            assert mean == pytest.approx(sum(value for value, _ in cells) / len(cells))
    right = sum(row["stance"] == row["Haltung"] for row in found if row["Haltung"] != "quer")
    assert pages["gegen Labels"][1][1:4] == ["Genauigkeit", pytest.approx(right / 39), 39]


def test_a_column_of_the_tasks_own_name_is_gold(predict: Run, tmp_path: Path) -> None:
    """It is kept, and the prediction gets another column. Sheets labelled before are refused."""
    written(tmp_path / "a.csv", rows_of(), ("Nr", "Satz", "stance", "Artikel", "Datum", "Notiz"))
    assert "stance against stance" in predict("table=a.csv", "output=b.csv").stdout
    found = read(tmp_path / "b.csv")
    assert [row["stance"] for row in found] == [row[2] for row in rows_of()]
    assert {"stance_predicted", "stance_probability"} <= found[0].keys()
    done = predict("table=b.csv", "output=c.csv")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "b.csv already has columns" in done.stderr
    assert "stance_probability" in done.stderr
    assert not (tmp_path / "c.csv").exists()


@pytest.mark.parametrize("column", ["stance_abstained", "dyads"])
def test_a_taken_column_is_told_before_the_labelling(column: str, predict: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one text has been labelled by then; columns that are not written may exist."""
    written(tmp_path / "a.csv", rows_of(), (*HEAD[:-1], column))
    assert predict("table=a.csv", "output=b.csv").returncode == 0
    labelled, said = list[object](), sheets._said
    monkeypatch.setattr(sheets, "_said", lambda answer: labelled.append(answer) or {**said(answer), column: ""})
    done = predict("table=a.csv", "output=c.csv")
    assert (done.returncode, len(labelled)) == (2, 1)
    assert f"a.csv already has columns {column}" in done.stderr


def test_a_label_with_quotes_is_coloured(tmp_path: Path) -> None:
    """In a formula, quotes are doubled."""
    import pandas as pd

    write_workbook(tmp_path / "a.xlsx", {"a": pd.DataFrame({"ton": ["b"]})}, {"ton": {'„gut"': "#FFF2CC"}})
    with zipfile.ZipFile(tmp_path / "a.xlsx") as book:
        assert '<formula>"„gut"""</formula>' in book.read("xl/worksheets/sheet1.xml").decode().replace("&quot;", '"')


def test_rows_without_text_keep_their_place(predict: Run, tmp_path: Path) -> None:
    """They are reported with exit code 1; repeated ids don't matter."""
    rows = rows_of()
    rows[4] = (*rows[4][:1], None, *rows[4][2:])
    written(tmp_path / "a.xlsx", [(7, *row[1:]) for row in rows], ("ID", *HEAD[1:]))
    done = predict("table=a.xlsx", "output=b.xlsx")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "a.xlsx, row 6: text is empty" in done.stderr
    found = read(tmp_path / "b.xlsx")
    assert len(found) == 12
    assert [number for number, row in enumerate(found) if not row["stance"]] == [4]


def test_one_row_is_enough(predict: Run, tmp_path: Path) -> None:
    """Even if its text looks like a formula."""
    written(tmp_path / "a.csv", [("=1+1",)], ("Satz",))
    assert predict("table=a.csv", "output=b.xlsx").returncode == 0
    assert read(tmp_path / "b.xlsx")[0]["Satz"] == "=1+1"


def test_a_workbook_may_be_the_input(predict: Run, tmp_path: Path) -> None:
    """With input= it is read as with table=."""
    written(tmp_path / "a.xlsx", rows_of())
    assert predict("input=a.xlsx", "output=b.xlsx").returncode == predict("table=a.xlsx", "output=c.xlsx").returncode == 0
    assert pages_of(tmp_path / "b.xlsx") == pages_of(tmp_path / "c.xlsx")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("table=a.xlsx",), "written to another one: give output=a.labelled.xlsx"),
        (("table=a.xlsx", "output=b.ods"), "b.ods can't be used for a labelled sheet; name it output=FILE.xlsx"),
        (("table=a.xlsx", "output=a.xlsx"), "a.xlsx is an input, which would be replaced"),
        (("table=a.xlsx", "output=b.xlsx", "resume=true"), "without engine= or resume="),
        (("table=a.xlsx", "output=b.xlsx", "input=c.jsonl"), "one of the three"),
        (("table=a.xlsx", "output=b.xlsx", "text=Saz"), "no column 'Saz' (for text), did you mean 'Satz'?"),
        (("table=a.xlsx", "output=b.xlsx", "text=none"), "no column 'text'; the columns are: Nr, Satz"),
        (("table=leer.csv", "output=b.xlsx"), "leer.csv has no rows below its column names"),
        (("table=schief.csv", "output=b.xlsx"), "schief.csv, line 3: 1 cells, expected 2"),
        (("table=ohne.csv", "output=b.xlsx"), "ohne.csv, line 2: text is empty"),
        (("table=lang.csv", "output=b.xlsx"), "lang.csv, line 2 has a cell of more than 32,767 characters"),
        (("table=nichts.xlsx", "output=b.xlsx"), "nichts.xlsx: no such file"),
        (("input=t.jsonl", "output=b.xlsx"), "b.xlsx can't be the output of t.jsonl"),
        (("table=a.xlsx", "output=b.xlsx", "coders=[Anna,Ben]"), "there is no key 'coders'"),
    ],
)
def test_a_mistake_is_one_sentence(words: tuple[str, ...], message: str, predict: Run, tmp_path: Path) -> None:
    """Nothing is written."""
    written(tmp_path / "a.xlsx", rows_of())
    for name, text in {
        "leer": "Satz;Note\n", "schief": "Satz;Note\nJa.;1\nNein.\n", "ohne": "Satz;Note\n;1\n", "lang": f"Satz;Note\nJa.;{'x' * 40_000}\n",
    }.items():  # fmt: skip
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    (tmp_path / "t.jsonl").write_text('{"text": "Ja."}\n', encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    done = predict(*words)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert message in done.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_the_raw_cells_are_those_of_the_file(tmp_path: Path) -> None:
    """Numbers and dates, not strings."""
    rows, columns = Sheet(str(written(tmp_path / "a.xlsx", rows_of(2)))).opened()
    assert columns == {"text": "Satz", "article": "Artikel", "date": "Datum", "stance": "Haltung"}
    assert list(rows)[1].raw == dict(zip(HEAD, rows_of(2)[1], strict=True)) | {"Datum": dt.datetime(2025, 2, 2)}  # noqa: DTZ001 -- a day


@pytest.mark.slow
def test_events_of_a_sheet_of_articles(tmp_path: Path) -> None:
    """The table has their number and dyads; an additional sheet lists them."""
    text = "Die USA haben Russland kritisiert. Russland wies die Kritik der USA zurück."
    written(tmp_path / "a.xlsx", [("a1", text, "14.01.2025", "taz"), ("a1", None, "", "FAZ")], ("ID", "Volltext", "Datum", "Zeitung"))
    done = run_here("events", "table=a.xlsx", "output=b.xlsx", cwd=tmp_path)
    assert done.returncode == 1
    assert "a.xlsx, row 3: no 'Volltext'; it is empty" in done.stderr
    first, second = read(tmp_path / "b.xlsx")
    assert (first["events"], second["events"], second["dyads"]) == (len(pages_of(tmp_path / "b.xlsx")["events"]) - 1, "", "")
    assert "USA → RUS: " in first["dyads"]
    assert (
        pages_of(tmp_path / "b.xlsx")["events"][1][0] == dt.date(2025, 1, 14)
        or pages_of(tmp_path / "b.xlsx")["events"][1][0] == "2025-01-14"
    )
    for words, message in (
        (("input=a.xlsx", "output=c.xlsx", "resume=true"), "c.xlsx is written only for a sheet, and all at once"),
        (("table=a.xlsx", "text=Text", "output=c.xlsx"), "no column 'Text' (for text)"),
        (("table=a.xlsx", "label=Zeitung", "output=c.xlsx"), "there is no key 'label'"),
        (("table=a.xlsx", "labels=diplomacy", "output=c.xlsx"), "there is no key 'labels'"),
    ):
        done = run_here("events", *words, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert message in done.stderr
