"""Sheets as people keep them: opened, recognised, drafted; all faults at once; read as written."""

from __future__ import annotations

import csv
import datetime as dt
import io
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from command_line import run_here
from haltung import labels
from haltung.corpus.parsing.sheets import as_text, iso_date, open_sheet
from haltung.corpus.readers.sheet import Sheet, checked, recognised, slip
from haltung.errors import UserError

HEAD = ("Satz", "Haltung", "Artikel", "Datum")
PLANS = ("das Tempolimit", "die Citymaut", "den Radweg", "die Parkgebühr", "den Fahrplan", "die Fahrradstraße", "den Tunnel")
WHO = ("Die Regierung", "Der Verband", "Die Gewerkschaft", "Die Opposition", "Der Städtetag", "Die Ministerin", "Die Bürgerinitiative")
VERBS = {
    "dafür": ("begrüßt", "lobt", "befürwortet"),
    "dagegen": ("verwirft", "rügt", "verurteilt"),
    "neutral": ("prüft", "erwähnt", "bespricht"),
}


def sentences(count: int = 140) -> list[tuple[str, str, str, str]]:
    """Return sentences on traffic, five of an article, with their stance and a German date."""
    rng, rows = random.Random(1), []
    for number in range(count):
        stance = rng.choice(list(VERBS))
        text = f"{rng.choice(WHO)} {rng.choice(VERBS[stance])} {rng.choice(PLANS)} „zum {number}. Mal“; so stand es am {number * 37}. Tag."
        rows.append((text, stance, f"A{number // 5:02d}", f"{1 + number % 28:02d}.01.2025"))
    return rows


def written(path: Path, rows: Sequence[Sequence[object]], separator: str = ";", encoding: str = "cp1252", **more: object) -> Path:
    """Write rows as a German Excel does."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, **more).writerows(rows)  # type: ignore[arg-type]  # the writer's settings
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def workbook(path: Path, rows: Sequence[Sequence[object]], title: str = "", formulas: dict[str, tuple[str, str]] | None = None) -> Path:
    """Write rows as a workbook whose first sheet is empty; a title is a merged cell above them."""
    xlsxwriter = pytest.importorskip("xlsxwriter")
    with xlsxwriter.Workbook(str(path), {"default_date_format": "dd.mm.yyyy"}) as book:
        book.add_worksheet("Leer")
        page = book.add_worksheet("Daten")
        if title:
            page.merge_range(0, 0, 0, len(rows[0]) - 1, title)
        for number, row in enumerate(rows, 2 if title else 0):
            page.write_row(number, 0, row)
        for cell, (formula, value) in (formulas or {}).items():
            page.write_formula(cell, formula, None, value)
    return path


def ods(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    """Write rows as a sheet of OpenDocument."""
    import zipfile

    cell = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
    body = "".join(f"<table:table-row>{''.join(map(cell.format, row))}</table:table-row>" for row in rows)
    spaces = " ".join(f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text"))
    content = f'<office:document-content {spaces}><office:body><office:spreadsheet><table:table table:name="Blatt">{body}'
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        manifest = "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"
        archive.writestr("META-INF/manifest.xml", f'<manifest:manifest xmlns:manifest="{manifest}"></manifest:manifest>')
        archive.writestr("content.xml", content + "</table:table></office:spreadsheet></office:body></office:document-content>")
    return path


def scheme_of(sheet: Sheet, folder: Path) -> labels.Scheme:
    """Return the scheme that is drafted of a sheet."""
    sheet.draft(str(folder / "labels.yaml"), "own")
    return labels.load(folder / "labels.yaml")


@pytest.mark.parametrize("kind", ["csv", "bom", "tab", "utf16", "quotes", "sep", "xlsx", "ods", "parquet", "dta", "sav"])
def test_every_kind_of_sheet_becomes_the_same_segments(kind: str, tmp_path: Path) -> None:
    """Named by nobody: format, encoding, separator and columns are found."""
    import pandas as pd

    rows, path = sentences(60), tmp_path / f"texte.{kind}"
    frame = pd.DataFrame(rows, columns=HEAD)
    codes = {name: number for number, name in enumerate(VERBS, 1)}
    if kind == "xlsx":
        days = [(*row[:3], dt.datetime.strptime(row[3], "%d.%m.%Y").replace(tzinfo=None)) for row in rows]  # noqa: DTZ007 -- a day
        workbook(path, [HEAD, *days], title="Erhebung 2025")
    elif kind == "ods":
        ods(path, [HEAD, *rows])
    elif kind == "parquet":
        frame.to_parquet(path)
    elif kind == "dta":
        coded = frame.assign(Haltung=frame["Haltung"].map(codes))
        coded.to_stata(path, write_index=False, version=118, value_labels={"Haltung": {number: name for name, number in codes.items()}})
    elif kind == "sav":
        pyreadstat = pytest.importorskip("pyreadstat")
        meant = {"Haltung": {float(number): name for name, number in codes.items()}}
        pyreadstat.write_sav(frame.assign(Haltung=frame["Haltung"].map(codes).astype(float)), str(path), variable_value_labels=meant)
    elif kind == "sep":
        path.write_bytes(b"sep=;\r\n" + written(path, [HEAD, *rows]).read_bytes())
    else:
        more: dict[str, object] = {"quotes": {"quotechar": "'", "quoting": csv.QUOTE_ALL}}.get(kind, {})
        encoding = {"bom": "utf-8-sig", "utf16": "utf-16"}.get(kind, "cp1252")
        written(path, [HEAD, *rows], "\t" if kind in ("tab", "utf16") else ";", encoding, **more)
    sheet = Sheet(str(path))
    scheme = scheme_of(sheet, tmp_path)
    segments = sheet.read(scheme).segments
    assert [(one.text, one.labels["stance"], one.article, one.date) for one in segments] == [
        (text, stance, article, "-".join(reversed(day.split(".")))) for text, stance, article, day in rows
    ]
    assert set(scheme["stance"].ids) == set(VERBS)
    assert scheme["stance"].de == "Haltung"


def test_rows_have_the_numbers_that_a_spreadsheet_shows(tmp_path: Path) -> None:
    """Titles and empty rows count; a formula counts by its value, one without it is a fault."""
    rows = [HEAD, *sentences(24), ("",) * 4, ("Der Bund prüft das noch.", "dagegn", "A9", "32.01.2025")]
    sheet = Sheet(str(workbook(tmp_path / "a.xlsx", rows, "Titel", {"A4": ('="x"', "Aus einer Formel."), "A5": ("=B9", "")})))
    reading, faults = checked(sheet, scheme_of(sheet, tmp_path))
    assert reading.segments[0].text == "Aus einer Formel."
    assert [(fault.row, fault.column, fault.detail.split(";")[0]) for fault in faults] == [
        (5, "Satz", "no text"),
        (29, "Datum", "'32.01.2025' is no ISO date"),
        (29, "Haltung", "unknown stance 'dagegn', did you mean 'dagegen'?"),
    ]


def test_a_row_with_a_cell_too_many_is_a_fault_of_that_row(tmp_path: Path) -> None:
    """A separator inside a text that nobody quoted shifts what follows."""
    path = written(tmp_path / "a.csv", [HEAD, *sentences(40)])
    path.write_bytes(path.read_bytes() + b"Halb; halb gelobt;neutral;A1;01.02.2025\r\n")
    faults = checked(Sheet(str(path)), scheme_of(Sheet(str(path)), tmp_path))[1]
    assert [(fault.row, fault.detail.split(",")[0]) for fault in faults] == [(42, "5 cells")]


def test_numbers_are_labels_as_text(tmp_path: Path) -> None:
    """And 17.0 of Excel is 17; they are ordered as numbers."""
    rows = [("Aussage", "Code", "Artikel"), *((text, 1.0 + number % 3, number // 4) for number, (text, *_) in enumerate(sentences(48)))]
    sheet = Sheet(str(workbook(tmp_path / "a.xlsx", rows)))
    scheme = scheme_of(sheet, tmp_path)
    assert scheme["label"].ids == ("1", "2", "3")
    assert sheet.read(scheme).segments[6].article == "1"


def test_columns_are_recognised_by_content(tmp_path: Path) -> None:
    """Long texts, dates, and few values that recur; what could be the article is asked."""
    rows = [("A1", "Lager", "Wann", "Heft"), *((row[0], row[1], row[3], row[2]) for row in sentences(60))]
    path = str(written(tmp_path / "a.csv", rows))
    with pytest.raises(UserError, match=r"which article a row is from\? Say article=Heft \(12 in 60 rows\), or article=none"):
        recognised(Sheet(path))
    fields, tasks, _ = recognised(Sheet(path, {"article": "none"}))
    assert (fields, tasks) == ({"text": "A1", "date": "Wann"}, ["Lager"])
    fields, tasks, _ = recognised(Sheet(path, {"article": "Heft", "text": "A1"}, ["Lager", "Wann"]))
    assert (fields["article"], tasks) == ("Heft", ["Lager", "Wann"])


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        ([("Satz",), *((row[0],) for row in sentences(30))], {}, r"which column has labels\? .* of Satz$"),
        ([HEAD, *sentences(30)], {"label": ["Haltun"]}, r"label is 'Haltun', did you mean 'Haltung'\?; the columns are Satz, Haltung"),
        ([HEAD, *sentences(30)], {"label": ["Satz"], "columns": {"text": "Satz"}}, r"'Satz' has 30 values in 30 rows"),
        ([HEAD], {}, r"no rows below a header"),
        ([HEAD, *sentences(30)], {"encoding": "ascii"}, r"line 2: not ascii \(byte 0x"),
        ([HEAD, *sentences(30)], {"separator": "::"}, r"separator is '::'; expected one character"),
    ],
)
def test_what_cannot_be_told_is_asked(rows: list[tuple[str, ...]], more: dict[str, object], message: str, tmp_path: Path) -> None:
    """One sentence says what was found and what to say."""
    sheet = Sheet(str(written(tmp_path / "a.csv", rows)), **more)  # type: ignore[arg-type]  # fields by name
    with pytest.raises(UserError, match=message):
        sheet.draft(str(tmp_path / "labels.yaml"), "own")


@pytest.mark.parametrize("content", [b"PK\x03\x04 but no zip", b"PAR1 but no Parquet", b"\xd0\xcf\x11\xe0 locked", b"a\0b\0", b"\n\n"])
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    """By one sentence that names it."""
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.csv"):
        open_sheet(tmp_path / "a.csv", None, None, None, None)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("14.01.2025", "2025-01-14"), ("1.2.99", "1999-02-01"), ("14. Januar 2025", "2025-01-14"), ("3. Mrz. 25", "2025-03-03"),
        ("14.01.2025, 10:30 Uhr", "2025-01-14"), ("2025-01-14 10:30:00", "2025-01-14"), ("31.02.2025", ""), ("14. Foo 2025", ""),
        ("01/14/2025", ""), ("gestern", ""), ("", ""),
    ],
)  # fmt: skip
def test_dates_are_read_as_germans_write_them(text: str, date: str) -> None:
    """And as ISO; what could be meant otherwise is none."""
    assert iso_date(text) == date


@pytest.mark.parametrize(
    ("label", "meant"),
    [
        ("dagegn", "dagegen"),
        ("dageegn", "dagegen"),
        ("dagegem", "dagegen"),
        ("Dagegen", "dagegen"),
        ("egal", ""),
        ("Gruppe 2", ""),
        ("pri", ""),
    ],
)
def test_a_rare_label_one_edit_from_a_frequent_one_is_a_slip(label: str, meant: str) -> None:
    """Short words and numbers are labels of their own."""
    assert slip(label, {"dagegen": 40, "Gruppe 1": 40, "pro": 40, label: 1}) == meant


_CELLS = st.text(st.characters(codec="cp1252", exclude_categories=["Cc", "Zs", "Zl", "Zp"]) | st.just(" "), max_size=20).map(str.strip)
_WORDS = st.lists(st.sampled_from([*WHO, *PLANS, "„so nicht“", "a;b", "3,5", 'sagte "nein"', "2 | 3", "l'État"]), min_size=2, max_size=5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(_WORDS.map(" ".join), st.sampled_from(["dafür", "dagegen"]), _CELLS), min_size=5, max_size=20),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "cp1252", "utf-16"]),
    separator=st.sampled_from(";,\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    quote=st.sampled_from("\"'"),
)
def test_what_is_written_is_what_is_read(
    rows: list[tuple[str, str, str]], encoding: str, separator: str, quoting: int, quote: str, tmp_path: Path
) -> None:
    """Whatever wrote the sheet, its cells come back, or a sentence says where they do not."""
    head = ("Satz", "Haltung", "Notiz")
    path = written(tmp_path / "a.csv", [head, *rows], separator, encoding, quoting=quoting, quotechar=quote)
    try:
        # Of an older encoding a few letters do not say which one it is.
        sheet = open_sheet(path, None, encoding if encoding == "cp1252" else None, None, None)
    except UserError as error:
        assert "a.csv" in str(error)  # noqa: PT017 -- reading is allowed, too
        return
    found = [tuple(row) for _, row in sheet.rows]
    assert (sheet.names, found) == (head, [row for row in rows if any(map(as_text, row))])


def test_a_corpus_of_a_sheet_from_the_command_line(tmp_path: Path) -> None:
    """From 140 sentences with a slip and a wrong date to a trained model: what was found is said,
    all faults are listed and marked, the drafted scheme stays as it was edited.
    """
    from python_calamine import CalamineWorkbook

    rows = sentences()
    rows[77] = (rows[77][0], "dagegn", *rows[77][2:])
    rows[3] = (*rows[3][:3], "31.02.2025")
    written(tmp_path / "verkehr.csv", [HEAD, *rows])
    words = ("table=verkehr.csv", "corpus.rules.near=0")
    done = run_here("prepare", *words, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "faults: 2 in 2 rows, marked in verkehr.faults.xlsx" in done.stderr
    assert "text, encoding cp1252, separator ;, header in row 1, 140 rows, 4 columns" in done.stdout
    shown = " ".join(done.stdout.split())
    assert all(part in shown for part in ("79 Haltung unknown stance 'dagegn', did", "5 Datum '31.02.2025' is no ISO date expected"))
    marked = CalamineWorkbook.from_path(tmp_path / "verkehr.faults.xlsx").get_sheet_by_index(0).to_python()
    assert [(number, row[-1].split(";")[0]) for number, row in enumerate(marked, 1) if row[-1]] == [
        (1, "faults"), (5, "Datum"), (79, "Haltung"),
    ]  # fmt: skip
    assert marked[4][3] == "31.02.2025"
    drafted = tmp_path / "verkehr.labels.yaml"
    drafted.write_text(drafted.read_text(encoding="utf-8").replace("en: dafür", "en: in favour"), encoding="utf-8")
    done = run_here("train", *words, "on_error=drop", "model=linear", "name=verkehr", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Dropped" in done.stdout
    assert "in favour" in done.stdout
    assert "article" in done.stdout
    assert "no sentence names its article" not in done.stdout


def test_a_corpus_without_articles_says_what_follows(tmp_path: Path) -> None:
    """In what prepare shows, in the report on a model and in its figures."""
    written(tmp_path / "ohne.csv", [HEAD[:2], *(row[:2] for row in sentences())])
    done = run_here("train", "table=ohne.csv", "model=linear", "corpus.rules.near=0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no sentence names its article" in done.stdout
    (report,) = tmp_path.glob("experiments/runs/*/dev/report.html")
    assert "no sentence names its article" in report.read_text(encoding="utf-8")
    assert '"ungrouped": true' in report.with_name("evaluation.json").read_text(encoding="utf-8")
    done = run_here("prepare", "table=ohne.csv", "corpus.rules.near=0", cwd=tmp_path)
    assert "each counts as one" in " ".join(done.stdout.split())


def test_a_sheet_is_scored_whole_by_the_scheme_of_the_run(tmp_path: Path) -> None:
    """`evaluate run=… table=…` takes every row as test."""
    written(tmp_path / "alt.csv", [HEAD, *sentences(60)])
    written(tmp_path / "neu.csv", [HEAD, *(("Neu: " + row[0][::-1], *row[1:]) for row in sentences(40))])
    assert run_here("train", "table=alt.csv", "model=linear", "corpus.rules.near=0", "name=a", cwd=tmp_path).returncode == 0
    done = run_here("evaluate", "run=a-42", "table=neu.csv", "error_analysis=false", "corpus.rules.near=0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "neu · test: 40 segments, 8 articles" in done.stdout
    assert not (tmp_path / "neu.labels.yaml").exists()
