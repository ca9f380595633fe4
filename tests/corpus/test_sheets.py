"""Sheets as people write them: opened, recognised, drafted; all faults reported at once."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import random
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from command_line import run_here
from haltung import labels
from haltung.cli.config import with_table
from haltung.corpus.parsing.fields import Fields
from haltung.corpus.parsing.rows import Fault
from haltung.corpus.readers import cells
from haltung.corpus.readers.sheet import Sheet, is_slip
from haltung.corpus.readers.union import Union
from haltung.errors import UserError

if TYPE_CHECKING:
    from haltung.tracking import Store

HEAD = ("Satz", "Haltung", "Artikel", "Datum")
WHO = ("Die Regierung", "Der Verband", "Die Gewerkschaft", "Die Opposition", "Der Städtetag", "Die Ministerin", "Die Bürgerinitiative")
PLANS = ("das Tempolimit", "die Citymaut", "den Radweg", "die Parkgebühr", "den Fahrplan", "die Fahrradstraße", "den Tunnel")
WHERE = ("in Köln", "am Bodensee", "vor der Sommerpause", "im Rat der Stadt Jena", "nach langer Debatte", "zum zweiten Mal", "an der Weser")
WHY = ("wegen der Kosten", "mit Blick auf die Schulkinder", "„aus Gründen der Vernunft“", "trotz der Bauzeit", "auch ohne Gutachten")
VERBS = {
    "dafür": ("begrüßt", "lobt", "befürwortet"),
    "dagegen": ("verwirft", "rügt", "verurteilt"),
    "neutral": ("prüft", "erwähnt", "bespricht"),
}


def sentences(count: int = 141) -> list[tuple[str, str, str, str]]:
    """Return sentences on traffic, two an article, with stances and German dates."""
    rng, rows, seen = random.Random(1), list[tuple[str, str, str, str]](), set[str]()
    while len(rows) < count:
        number, stance = len(rows), rng.choice(list(VERBS))
        text = f"{rng.choice(WHO)} {rng.choice(VERBS[stance])} {rng.choice(WHERE)} {rng.choice(PLANS)} {rng.choice(WHY)}; so der Bericht."
        if text not in seen:
            seen.add(text)
            rows.append((text, stance, f"A{number // 2:02d}", f"{1 + number % 28:02d}.01.2025"))
    return rows


def written(path: Path, rows: Sequence[Sequence[object]], separator: str = ";", encoding: str = "cp1252", **more: object) -> Path:
    """Write rows as a German Excel would."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, **more).writerows(rows)  # type: ignore[arg-type]  # the writer's settings
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def workbook(path: Path, rows: Sequence[Sequence[object]], formulas: dict[str, tuple[str, str]] | None = None) -> Path:
    """Write rows as a workbook whose first sheet is empty."""
    xlsxwriter = pytest.importorskip("xlsxwriter")
    with xlsxwriter.Workbook(str(path), {"default_date_format": "dd.mm.yyyy"}) as book:
        book.add_worksheet("Leer")
        page = book.add_worksheet("Daten")
        for number, row in enumerate(rows):
            page.write_row(number, 0, row)
        for cell, (formula, value) in (formulas or {}).items():
            page.write_formula(cell, formula, None, value)
    return path


def ods(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    """Write rows as a sheet of OpenDocument."""
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
    """Return the scheme drafted from a sheet."""
    sheet.draft(str(folder / "labels.yaml"), "own")
    return labels.load(folder / "labels.yaml")


@pytest.mark.parametrize("kind", ["csv", "bom", "utf-16", "tab", "quotes", "sep", "xlsx", "ods", "parquet", "dta", "sav"])
def test_every_kind_of_sheet_becomes_the_same_segments(kind: str, tmp_path: Path) -> None:
    """Format, encoding, separator and columns are recognised without any settings."""
    import pandas as pd

    rows, path = sentences(60), tmp_path / f"texte.{kind}"
    frame = pd.DataFrame(rows, columns=HEAD)
    codes = {name: number for number, name in enumerate(VERBS, 1)}
    if kind == "xlsx":
        days = [(*row[:3], dt.datetime.strptime(row[3], "%d.%m.%Y").replace(tzinfo=None)) for row in rows]  # noqa: DTZ007 -- a day
        workbook(path, [HEAD, *days])
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
        more: dict[str, object] = {"quotes": {"quoting": csv.QUOTE_ALL}}.get(kind, {})
        encoding = {"bom": "utf-8-sig", "utf-16": "utf-16"}.get(kind, "cp1252")  # Excel's "Unicode text" has tabs
        written(path, [HEAD, *rows], "\t" if kind in ("tab", "utf-16") else ";", encoding, **more)
    sheet = Sheet(str(path))
    scheme = scheme_of(sheet, tmp_path)
    segments = sheet.read(scheme).segments
    assert [(one.text, one.labels["stance"], one.article, one.date) for one in segments] == [
        (text, stance, article, "-".join(reversed(day.split(".")))) for text, stance, article, day in rows
    ]
    assert set(scheme["stance"].ids) == set(VERBS)
    assert scheme["stance"].de == "Haltung"


def test_all_faults_come_at_once_with_the_numbers_that_a_spreadsheet_shows(tmp_path: Path) -> None:
    """Empty rows are counted but not read; a formula is read as its value."""
    rows = [HEAD, *sentences(24), ("",) * 4, ("Der Bund prüft das noch.", "dagegn", "A9", "3.1.25"), ("Ja.", "neutral", "A9", "32.1.2025")]
    path = str(workbook(tmp_path / "a.xlsx", rows, {"A2": ('="x"', "Aus einer Formel.")}))
    scheme = scheme_of(Sheet(path), tmp_path)
    with pytest.raises(UserError) as refused:
        Sheet(path).read(scheme)
    label = f"{path}, row 27: unknown stance 'dagegn', did you mean 'dagegen'?; this scheme has dafür, dagegen, neutral"
    date = f"{path}, row 28: '32.1.2025' is not a date; expected one like 2024-05-31 or 31.05.2024"
    assert str(refused.value) == f"{label}; {date}; marked in {tmp_path / 'a.faults.xlsx'}"
    reading = Sheet(path, on_error="drop").read(scheme)
    assert (reading.segments[0].text, len(reading.segments), len(reading.dropped)) == ("Aus einer Formel.", 24, 2)


def test_a_row_with_a_cell_too_many_is_a_fault_of_that_row(tmp_path: Path) -> None:
    """An unquoted separator within a text shifts the following cells."""
    path = written(tmp_path / "a.csv", [HEAD, *sentences(40)])
    path.write_bytes(path.read_bytes() + b"Halb; halb gelobt;neutral;A1;01.02.2025\r\n")
    scheme = scheme_of(Sheet(str(path)), tmp_path)
    with pytest.raises(UserError, match=r"a\.csv, line 42: 5 cells, expected 4"):
        Sheet(str(path)).read(scheme)


def test_a_quote_character_can_be_named(tmp_path: Path) -> None:
    """It also applies to the detection of the separator; only two characters are allowed."""
    rows = [(f"{row[0]} So, ja, so; ja.", *row[1:]) for row in sentences(30)]
    path = str(written(tmp_path / "a.csv", [HEAD, *rows], quotechar="'"))
    sheet = Sheet(path, quotechar="'")
    assert [one.text for one in sheet.read(scheme_of(sheet, tmp_path)).segments] == [row[0] for row in rows]
    with pytest.raises(UserError, match=r"quotechar is '„'"):
        Sheet(path, quotechar="„").draft(str(tmp_path / "others.yaml"), "own")


def test_numbers_are_labels_as_text(tmp_path: Path) -> None:
    """Excel's 17.0 is read as 17."""
    rows = [("Aussage", "Code", "Artikel"), *((text, 1.0 + number % 3, number // 4) for number, (text, *_) in enumerate(sentences(48)))]
    sheet = Sheet(str(workbook(tmp_path / "a.xlsx", rows)))
    scheme = scheme_of(sheet, tmp_path)
    assert scheme["Code"].ids == ("1", "2", "3")
    assert sheet.read(scheme).segments[6].article == "1"


def test_columns_are_named_where_they_are_not_recognised(tmp_path: Path) -> None:
    """Texts, several columns of labels, and columns to be ignored."""
    path = str(
        written(tmp_path / "a.csv", [("A1", "Lager", "Größe 2", "Artikel"), *((row[0], row[1], row[1], row[2]) for row in sentences(30))])
    )
    sheet = Sheet(path, {"text": "A1", "article": "none"}, label=["Lager", "Größe 2"])
    scheme = scheme_of(sheet, tmp_path)
    assert [(task.name, task.de) for task in scheme] == [("Lager", "Lager"), ("Groesse_2", "Größe 2")]
    (segment, *_) = sheet.read(scheme).segments
    stance = sentences(1)[0][1]
    assert (segment.labels, segment.article) == ({"Lager": stance, "Groesse_2": stance}, "")


@pytest.mark.parametrize("name", ["date", "Datum"])
def test_a_column_that_is_to_be_left_unread_is(name: str, tmp_path: Path) -> None:
    """Also if it has the name of one of our fields."""
    path = written(tmp_path / "a.csv", [("Satz", "Haltung", name), *((*row[:2], "01/14/2025") for row in sentences(30))])
    sheet = Sheet(str(path), {"date": "none"})
    assert {one.date for one in sheet.read(scheme_of(sheet, tmp_path)).segments} == {""}


def test_two_columns_that_could_be_the_same_are_asked_for(tmp_path: Path) -> None:
    """As with an article and its address, or two kinds of stance; if one is named, it is used."""
    path = str(written(tmp_path / "a.csv", [("Satz", "Haltung", "Artikel", "Link"), *sentences(30)]))
    with pytest.raises(UserError, match="the columns Artikel, Link could both be article; name one of them: article=Artikel"):
        Sheet(path).draft(str(tmp_path / "labels.yaml"), "own")
    sheet = Sheet(path, {"article": "Artikel"})
    assert {one.article[:1] for one in sheet.read(scheme_of(sheet, tmp_path)).segments} == {"A"}
    with pytest.raises(UserError, match="the columns Haltung, Stance could both be stance; name one of them: label=Haltung"):
        Sheet(path, label=["Haltung", "Stance"]).draft(str(tmp_path / "others.yaml"), "own")


def test_a_column_that_is_a_field_is_no_task(tmp_path: Path) -> None:
    """The column named by `target=Thema` has no labels."""
    path = str(written(tmp_path / "a.csv", [("Satz", "Haltung", "Thema", "Datum"), *sentences(30)]))
    sheet = Sheet(path, {"target": "Thema"}, label=["Haltung"])
    scheme = scheme_of(sheet, tmp_path)
    assert scheme.names == ("stance",)
    assert sheet.read(scheme).segments[0].target == sentences(1)[0][2]


def test_other_labels_than_those_drafted_are_refused(tmp_path: Path) -> None:
    """An existing file is never overwritten, so it would be used silently."""
    path = str(written(tmp_path / "a.csv", [("Satz", "Haltung", "Kategorie"), *((*row[:2], row[1]) for row in sentences(30))]))
    scheme = scheme_of(Sheet(path, label=["Haltung"]), tmp_path)
    with pytest.raises(UserError, match="label= names the tasks Kategorie, the scheme own has stance; delete its file"):
        Sheet(path, label=["Kategorie"]).read(scheme)


def test_several_labels_in_a_cell_make_a_task_of_several(tmp_path: Path) -> None:
    """They are separated by list_separator."""
    rows = [(row[0], ("Klima; Energie", "Klima", "Verkehr")[number % 3]) for number, row in enumerate(sentences(30))]
    sheet = Sheet(str(written(tmp_path / "a.csv", [("Satz", "Thema"), *rows], separator=",")))
    scheme = scheme_of(sheet, tmp_path)
    assert (scheme["topic"].kind, scheme["topic"].ids) == ("multi", ("Energie", "Klima", "Verkehr"))
    assert set(sheet.read(scheme).segments[0].labels["topic"] or ()) == {"Klima", "Energie"}


def test_one_separator_behind_a_label_makes_no_second_label(tmp_path: Path) -> None:
    """It is a typing error."""
    rows = [*sentences(30), ("Ja, gern.", "dafür;", "A99", "")]
    assert scheme_of(Sheet(str(written(tmp_path / "a.csv", [HEAD, *rows], separator=","))), tmp_path)["stance"].kind == "single"


def test_numbers_of_parquet_are_text(tmp_path: Path) -> None:
    """Also a label 0 or an article 3.0; null becomes an empty text."""
    import pandas as pd

    texts = [row[0] for row in sentences(30)]
    articles = [float(number // 3) if number else None for number in range(30)]
    pd.DataFrame({"Satz": texts, "Code": [number % 2 for number in range(30)], "Artikel": articles}).to_parquet(tmp_path / "a.parquet")
    sheet = Sheet(str(tmp_path / "a.parquet"))
    scheme = scheme_of(sheet, tmp_path)
    assert scheme["Code"].ids == ("0", "1")
    assert [one.article for one in sheet.read(scheme).segments][:4] == ["", "0", "0", "1"]


def test_columns_without_a_name_are_passed_over(tmp_path: Path) -> None:
    """Such as notes beside a table."""
    path = workbook(tmp_path / "a.xlsx", [("Satz", "", "Haltung", ""), *((row[0], "x", row[1], "y") for row in sentences(6))])
    assert {tuple(row.data) for row in Sheet("").rows(path)} == {("Satz", "Haltung")}


def test_no_file_is_left_where_labels_are_no_scheme(tmp_path: Path) -> None:
    """From then on it would be taken for the user's own file."""
    path = written(tmp_path / "a.csv", [HEAD, *((row[0], "pro", *row[2:]) for row in sentences(30))])
    with pytest.raises(UserError, match=r"a\.csv"):
        Sheet(str(path)).draft(str(tmp_path / "labels.yaml"), "own")
    assert not (tmp_path / "labels.yaml").exists()


def test_a_line_break_in_a_header_is_none_in_the_scheme(tmp_path: Path) -> None:
    """Excel writes one into a cell with two lines."""
    path = written(tmp_path / "a.csv", [("Satz", "Haltung", "Artikel\nNr", "Datum"), *sentences(30)])
    assert scheme_of(Sheet(str(path)), tmp_path).names == ("stance",)


def test_the_first_sheet_that_is_shown_is_read(tmp_path: Path) -> None:
    """A hidden sheet before it is ignored; a header with a repeated name is refused."""
    xlsxwriter = pytest.importorskip("xlsxwriter")
    with xlsxwriter.Workbook(str(tmp_path / "a.xlsx")) as book:
        for name, texts in (("alt", ("alt", "älter")), ("Daten", ("neu", "neuer"))):
            page = book.add_worksheet(name)
            for number, row in enumerate([("Satz", "Haltung"), *((text, "pro") for text in texts)]):
                page.write_row(number, 0, row)
        book.worksheets()[0].hide()
        book.worksheets()[1].activate()
        book.worksheets()[1].set_first_sheet()
    assert [row.data["Satz"] for row in Sheet("").rows(tmp_path / "a.xlsx")] == ["neu", "neuer"]
    workbook(tmp_path / "b.xlsx", [("Satz", "Haltung", "Haltung"), ("a", "b", "c")])
    with pytest.raises(UserError, match="the column 'Haltung' occurs twice"):
        list(Sheet("").rows(tmp_path / "b.xlsx"))


def test_a_workbook_that_unpacks_to_gigabytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is decompressed."""
    monkeypatch.setattr("haltung.corpus.readers.cells._MAX_BYTES", 1000)
    with pytest.raises(UserError, match=r"bytes unpacked, the limit is 1,000; save the rows as CSV"):
        list(Sheet("").rows(workbook(tmp_path / "a.xlsx", [HEAD, *sentences(5)])))


def test_utf8_is_never_taken_for_something_else(tmp_path: Path) -> None:
    """Even if it has many characters that are missing in other encodings."""
    rows = [(f"Ja 🎉 {number} 👍🏽 – так 是 ž", "pro") for number in range(20)]
    path = written(tmp_path / "a.csv", [("Satz", "Haltung"), *rows], encoding="utf-8")
    assert [row.data["Satz"] for row in Sheet("").rows(path)] == [text for text, _ in rows]


def test_a_half_labelled_sheet_tells_its_faults(tmp_path: Path) -> None:
    """And not that nothing has a label, which is true once faulty rows are dropped."""
    scheme = scheme_of(Sheet(str(written(tmp_path / "a.csv", [HEAD, *sentences(30)]))), tmp_path)
    other = written(tmp_path / "b.csv", [HEAD, ("Ja.", "Dafuer", "A1", ""), ("Nein.", "", "A1", "")])
    with pytest.raises(UserError, match="unknown stance 'Dafuer'"):
        Sheet(str(other)).read(scheme)


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        ([("Satz",), *((row[0],) for row in sentences(30))], {}, r"which column has labels\? .* from Satz$"),
        ([HEAD, *sentences(30)], {"label": ["Haltun"]}, r"no column 'Haltun', did you mean 'Haltung'\?"),
        (
            [("S", *HEAD[1:]), *(("Ja.", *row[1:]) for row in sentences(30))],
            {},
            r"no column 'text'; the columns are: S, Haltung.*columns\.text=NAME",
        ),
        ([HEAD, *sentences(30)], {"columns": {"text": "Saz"}}, r"no column 'Saz' \(for text\), did you mean 'Satz'\?"),
        ([HEAD], {"label": ["Haltung"]}, r"no column|has no rows"),
        ([HEAD, *sentences(30)], {"encoding": "ascii"}, r"line 2: not ascii \(byte 0x"),
        ([HEAD, *sentences(30)], {"separator": "::"}, r"separator is '::', expected one character"),
    ],
)
def test_what_cannot_be_told_is_asked(rows: list[tuple[str, ...]], more: dict[str, object], message: str, tmp_path: Path) -> None:
    """One sentence says what was found and what to specify."""
    sheet = Sheet(str(written(tmp_path / "a.csv", rows)), **more)  # type: ignore[arg-type]  # fields by name
    with pytest.raises(UserError, match=message):
        sheet.read(scheme_of(sheet, tmp_path))


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx", "a.dta"])
@pytest.mark.parametrize("content", [b"PK\x03\x04 but no zip", b"PAR1 but no Parquet", b"\xd0\xcf\x11\xe0 locked", b"a\0b\0", b"\n\n", b""])
def test_a_damaged_file_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    """In one sentence with its name, whatever its suffix."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}") as refused:
        Sheet(str(tmp_path / name)).draft(str(tmp_path / "labels.yaml"), "own")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("14.01.2025", "2025-01-14"), ("1.2.99", "1999-02-01"), ("14. Januar 2025", "2025-01-14"), ("3. Mrz. 25", "2025-03-03"),
        ("14. Jänner 2025", "2025-01-14"), ("3. Feber 2025", "2025-02-03"), ("1. Ma\u0308rz 2025", "2025-03-01"),
        ("14.01.2025, 10:30 Uhr", "2025-01-14"), ("2025-01-14 10:30:00", "2025-01-14"), ("31.02.2025", None), ("14. Foo 2025", None),
        ("01/14/2025", None), ("gestern", None), ("", ""),
    ],
)  # fmt: skip
def test_dates_are_read_as_germans_write_them(text: str, date: str | None) -> None:
    """And in ISO format; ambiguous dates are refused."""
    if date is None:
        with pytest.raises(Fault, match=r"is not a date; expected one like 2024-05-31 or 31\.05\.2024"):
            Fields({"date": text}, {}).date()
    else:
        assert Fields({"date": text}, {}).date() == date


@pytest.mark.parametrize("label", ["dagegn", "dageegn", "dagegem", "Dagegen", "kontre"])
def test_a_rare_label_close_to_a_frequent_one_is_a_slip(label: str) -> None:
    """A letter missing, added or replaced, two exchanged, or another case."""
    assert is_slip(label, Counter({"dagegen": 40, "kontra": 40, label: 1}))


@pytest.mark.parametrize(("label", "count"), [("egal", 1), ("Gruppe 2", 1), ("pri", 1), ("dageegn", 20)])
def test_short_words_numbers_and_frequent_labels_are_no_slips(label: str, count: int) -> None:
    """They are separate labels."""
    assert not is_slip(label, Counter({"dagegen": 40, "Gruppe 1": 40, "pro": 40, label: count}))


_CELLS = st.text(st.characters(codec="cp1252", exclude_categories=["Cc", "Zs", "Zl", "Zp"]) | st.just(" "), max_size=20).map(str.strip)
_WORDS = st.lists(st.sampled_from([*WHO, *PLANS, "„so nicht“", "a;b", "3,5", 'sagte "nein"', "2 | 3", "l'État"]), min_size=2, max_size=5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(_WORDS.map(" ".join), st.sampled_from(["dafür", "dagegen"]), _CELLS), min_size=5, max_size=20),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "cp1252"]),
    separator=st.sampled_from(";,\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
def test_what_is_written_is_what_is_read(
    rows: list[tuple[str, str, str]], encoding: str, separator: str, quoting: int, tmp_path: Path
) -> None:
    """All cells are read as they were written, whatever the encoding, separator or quoting."""
    head = ("Satz", "Haltung", "Notiz")
    path = written(tmp_path / "a.csv", [head, *rows], separator, encoding, quoting=quoting)
    # A few letters do not determine which of the older encodings was used.
    sheet = Sheet(str(path), encoding=encoding if encoding == "cp1252" else None)
    found = [tuple(row.data.values()) for row in sheet.rows(path)]
    assert found == rows


_MONTHS = ("Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember")
_DATES = {
    "full": lambda day: day.strftime("%d.%m.%Y"),
    "short": lambda day: f"{day.day}.{day.month}.{day:%y}",
    "words": lambda day: f"{day.day}. {_MONTHS[day.month - 1]} {day.year}",
    "time": lambda day: day.strftime("%d.%m.%Y 09:30"),
    "iso": lambda day: day.isoformat(),
}
_NAMED = ("Äußerung", "Haltung", "Artikel-Nr.", "Datum")
_UNNAMED = ("Wortlaut der Meldung", "Größe", "Fundstelle", "erschienen")
_ENDS = ["", "; sagte sie", ', so "der Bericht"', " (3,5 %)", "\nund mehr", " =1+1", " | a\tb", " „nein“"]
_TITLES = st.lists(st.sampled_from(["Rentendebatte 2025; Auswahl", "Stand: 1. März, vorläufig", "", "Kodierung"]), max_size=3)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    length=st.integers(30, 45),
    ends=st.lists(st.sampled_from(_ENDS), min_size=5, max_size=9),
    form=st.sampled_from(["csv", "csv", "xlsx"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "cp1252"]),
    separator=st.sampled_from(";,\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    dates=st.sampled_from(list(_DATES)),
    names=st.sampled_from([_NAMED, _UNNAMED]),
    titles=_TITLES,
    blanks=st.sets(st.integers(1, 28), max_size=3),
    beside=st.booleans(),
    merged=st.booleans(),
    hidden=st.booleans(),
    above_names=st.booleans(),
    fault=st.sampled_from(["", "", "dagegn", "32.1.2025"]),
)  # fmt: skip
def test_sheets_as_people_write_them_are_read_as_they_were_meant(
    length: int, ends: list[str], form: str, encoding: str, separator: str, quoting: int, dates: str, names: tuple[str, ...],
    titles: list[str], blanks: set[int], beside: bool, merged: bool, hidden: bool, above_names: bool, fault: str, tmp_path: Path,
) -> None:  # fmt: skip
    """No cell is shifted, no row lost, and no title read as a row; an error in a cell of a column
    known by name is reported with its line or row.
    """
    days = [dt.date(2023, 12, 27) + dt.timedelta(number // 3) for number in range(length)]
    meant = [
        (text + ends[number % len(ends)], stance, f"{7 + number // 3}", days[number].isoformat())
        for number, (text, stance, *_) in enumerate(sentences(length))
    ]
    table: list[list[object]] = [[*names, "", "Anteil"] if beside else list(names)]
    for (text, stance, article, _), day in zip(meant, days, strict=True):
        cell: object = int(article) if form == "xlsx" else article
        when: object = day if form == "xlsx" and dates == "full" else _DATES[dates](day)
        table.append([text, stance, cell, when, *(["Rand", "3,5"] if beside else [])])
    for place in sorted(blanks, reverse=True):
        table.insert(place, [""] * len(table[0]))
    if wrong := fault if names == _NAMED else "":
        table[29][3 if wrong == "32.1.2025" else 1] = wrong  # below all empty rows
    above = [[title, *[""] * (len(table[0]) - 1)] for title in titles]
    if two := above_names and names == _NAMED:  # a header of two lines
        above.append(["Codierung" if name == "Haltung" else name for name in table[0]])
        table[0] = ["Haltung" if name == "Haltung" else "" for name in table[0]]
    path = tmp_path / f"sheet.{form}"
    if form == "csv":
        written(path, [*above, *table], separator, encoding, quoting=quoting)
    else:
        xlsxwriter = pytest.importorskip("xlsxwriter")
        with xlsxwriter.Workbook(str(path), {"default_date_format": "dd.mm.yyyy", "strings_to_formulas": False}) as book:
            if hidden:
                old = book.add_worksheet("alt")
                old.write_row(0, 0, ["Satz", "Haltung"])
                old.write_row(1, 0, ["Alter Satz.", "dafür"])
                old.hide()
            page = book.add_worksheet("Daten")
            page.activate()
            page.set_first_sheet()
            for number, cells in enumerate([*above, *table]):
                page.write_row(number, 0, cells)
            text = table[1][0] or table[2][0] or table[3][0] or table[4][0]
            if 1 not in blanks:
                page.write_formula(len(above) + 1, 0, '="a"&"b"', None, text)
            for first in range(len(above) + 1, len(above) + length, 3) if merged and not blanks else ():
                page.merge_range(first, 2, min(first + 2, len(above) + length), 2, table[first - len(above)][2])
            if merged and titles and titles[0]:
                page.merge_range(0, 0, 0, len(names) - 1, titles[0])
    sheet = Sheet(str(path), {"article": names[2]})
    (tmp_path / "labels.yaml").unlink(missing_ok=True)
    scheme = scheme_of(sheet, tmp_path)
    if wrong:
        before = [*above, *table[:29]]
        at = f"line {1 + sum(1 + str(row[0]).count(chr(10)) for row in before)}" if form == "csv" else f"row {1 + len(before)}"
        with pytest.raises(UserError, match=rf"sheet\.{form}, {at}: [^;]*'{wrong}'"):
            sheet.read(scheme)
        return
    segments = sheet.read(scheme).segments
    assert [(one.text, next(iter(one.labels.values())), one.article, one.date) for one in segments] == meant
    assert ("the column names are in" in " ".join(sheet.said)) == (any(titles) or two)


def test_columns_are_recognised_by_their_cells_and_it_is_said_why(tmp_path: Path) -> None:
    """If their names are not informative; a name given by the user takes precedence."""
    rows = [("lfd", "Wortlaut", "Lager", "erschienen", "Notiz"), *((n, row[0], row[1], row[3], "") for n, row in enumerate(sentences(60)))]
    sheet = Sheet(str(written(tmp_path / "a.csv", rows)))
    reading = sheet.read(scheme_of(sheet, tmp_path))
    assert [(one.text, one.labels["Lager"]) for one in reading.segments] == [row[:2] for row in sentences(60)]
    said = "\n".join(reading.notes)
    assert "text=Wortlaut, as its texts have" in said
    assert "date=erschienen, as all its cells are dates" in said
    assert "label=Lager, as it has 3 different values in 60 rows" in said
    assert "not read: lfd, Notiz" in said
    assert {one.date for one in Sheet(sheet.path, {"date": "none"}).read(labels.load(tmp_path / "labels.yaml")).segments} == {""}


def test_the_notes_of_several_sheets_are_those_of_each(tmp_path: Path) -> None:
    """Each file's format is listed; what all have in common only once, alone or in a union."""
    first, rest = sentences(60)[:30], sentences(60)[30:]
    written(tmp_path / "a.csv", [HEAD, *first], "|")
    written(tmp_path / "b.csv", [HEAD, *rest], "\t", "utf-8")
    sheet = Sheet({"train": str(tmp_path / "a.csv"), "test": str(tmp_path / "b.csv")})
    scheme = scheme_of(sheet, tmp_path)
    notes = sheet.read(scheme).notes
    assert [note.split(" is read as")[0] for note in notes if " is read as" in note] == ["a.csv", "b.csv"]
    assert notes.count("text=Satz, by its name") == 1
    assert Union([sheet]).read(scheme).notes == notes == sheet.read(scheme).notes


@pytest.mark.parametrize("name", ["Fundstelle", "Überschrift"])
def test_a_repeated_column_that_could_be_the_article_is_asked_for(name: str, tmp_path: Path) -> None:
    """Also the headline; the answer is used, even `none`."""
    path = str(written(tmp_path / "a.csv", [("Satz", "Haltung", name), *((row[0], row[1], f"Titel {row[2]}") for row in sentences(60))]))
    with pytest.raises(UserError, match=f"is the column '{name}' the article.* set article={name}, or article=none"):
        Sheet(path).draft(str(tmp_path / "labels.yaml"), "own")
    for article, groups in ((name, 30), ("none", 1)):
        sheet = Sheet(path, {"article": article})
        assert len({one.article for one in sheet.read(scheme_of(sheet, tmp_path)).segments}) == groups


def test_a_header_of_two_lines_is_one(tmp_path: Path) -> None:
    """A merged cell becomes two lines in CSV; a label named like a field is no header."""
    head = [("Satz", "Codierung", "", "Artikel"), ("", "Haltung", "Thema", "")]
    rows = [(row[0], row[1], ("Land", "Partei", "Frage")[number % 3], row[2]) for number, row in enumerate(sentences(30))]
    path = written(tmp_path / "a.csv", [("Rentendebatte", "", "", ""), *head, *rows])
    assert [tuple(row.data.values()) for row in Sheet("").rows(path)] == rows
    assert list(next(Sheet("").rows(path)).data) == ["Satz", "Haltung", "Thema", "Artikel"]


def test_lines_that_end_as_on_an_old_mac_are_refused_with_the_place(tmp_path: Path) -> None:
    """A reader of lines sees them as a single line."""
    path = written(tmp_path / "a.csv", [HEAD, *sentences(5)])
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\r"))
    with pytest.raises(UserError, match=r"a\.csv, line 1: not CSV"):
        list(Sheet("").rows(path))


def test_rows_that_are_data_are_no_header(tmp_path: Path) -> None:
    """The first row repeats a value that occurs below."""
    with pytest.raises(UserError, match=r"a\.csv, line 1: 'dafür' is a value of the column, not its name"):
        list(Sheet("").rows(written(tmp_path / "a.csv", sorted(sentences(30), key=lambda row: row[1]))))


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx"])
def test_all_faults_are_marked_in_a_copy(name: str, tmp_path: Path) -> None:
    """Every cell of a row; formulas stay text, and row numbers and older copies are kept."""
    import pandas as pd

    title = [("Rentendebatte", "", "", ""), ("", "", "", "")]
    rows = [*title, HEAD, *sentences(24), ("=1+1", "dagegn", "@A9", "32.1.2025"), ("Ja.", "neutral", "A9", "3.1.25")]
    path = written(tmp_path / name, rows) if name == "a.csv" else workbook(tmp_path / name, rows, {"A28": ("=1+1", "=1+1")})
    scheme = scheme_of(Sheet(str(path)), tmp_path)
    for copy in ("a.faults.xlsx", "a.faults2.xlsx"):
        with pytest.raises(UserError, match=rf"unknown stance 'dagegn'.*marked in .*{copy}") as refused:
            Sheet(str(path)).read(scheme)
    assert [line.split()[2] for line in refused.value.lines()[1:-1]] == ["Datum", "Haltung"]
    found = pd.read_excel(tmp_path / "a.faults2.xlsx", header=None, engine="calamine", keep_default_na=False).astype(str)
    assert found.iloc[0, 1] == "Rentendebatte"
    assert found.iloc[2].tolist() == ["fault", *HEAD]
    assert found.iloc[27, 1:].tolist() == ["=1+1", "dagegn", "@A9", "32.1.2025"]
    assert "did you mean 'dagegen'" in found.iloc[27, 0]
    assert "'32.1.2025' is not a date" in found.iloc[27, 0]
    assert [place for place, cell in enumerate(found[0]) if cell] == [2, 27]
    with zipfile.ZipFile(tmp_path / "a.faults2.xlsx") as book:
        page = book.read("xl/worksheets/sheet1.xml").decode()
    coloured = set(re.findall(r'r="([A-Z]+\d+)" s="\d', page))
    assert {"C28", "E28"} <= coloured
    assert "B28" not in coloured
    assert "<f>" not in page
    # A corrected copy can be read like any other sheet.
    found.iloc[27, [2, 4]] = ["dagegen", "3.1.2025"]
    found.to_excel(
        tmp_path / "mended.xlsx", header=False, index=False, engine="xlsxwriter", engine_kwargs={"options": {"strings_to_formulas": False}}
    )
    assert len(Sheet(str(tmp_path / "mended.xlsx")).read(scheme).segments) == 26


@pytest.mark.parametrize(("cell", "place"), [("XFD1048576", "row 1,048,576 and column 16,384"), ("B900000", "row 900,000 and column 4")])
def test_a_cell_far_off_costs_no_memory(cell: str, place: str, tmp_path: Path) -> None:
    """It is refused before the cells in between are allocated."""
    path = workbook(tmp_path / "a.xlsx", [HEAD, *sentences(5)], {cell: ("=1", "x")})
    with pytest.raises(UserError, match=rf"a\.xlsx: xl/worksheets/sheet2\.xml has cells up to {place}, nearly all empty"):
        list(Sheet("").rows(path))


def test_a_workbook_that_ends_its_reader_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader of other formats aborts at such cells, so it runs in a child process."""
    ns, path = "urn:oasis:names:tc:opendocument:xmlns", tmp_path / "a.ods"
    spaces = " ".join(f'xmlns:{name}="{ns}:{name}:1.0"' for name in ("office", "table", "text"))
    table = "<office:body><office:spreadsheet><table:table table:name='a'>{}</table:table></office:spreadsheet></office:body>"
    row = "<table:table-row{}><table:table-cell office:value-type='string'{}><text:p>x</text:p></table:table-cell></table:table-row>"
    monkeypatch.setattr(cells, "_MAX_MEMORY", 300_000_000)
    for rows, columns in (("", ""), (" table:number-rows-repeated='200000'", " table:number-columns-repeated='50'")):
        with zipfile.ZipFile(path, "w") as book:
            book.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
            book.writestr("META-INF/manifest.xml", f'<manifest:manifest xmlns:manifest="{ns}:manifest:1.0"/>')
            body = table.format(2 * row.format(rows, columns))
            book.writestr("content.xml", f"<office:document-content {spaces}>{body}</office:document-content>")
        if not rows:
            assert cells.read_cells(path, None, None, None, bool).above
    with pytest.raises(UserError, match=r"a\.ods needs over 300,000,000 bytes of memory, as with a cell far off; delete what is there"):
        list(Sheet("").rows(path))


def test_short_keys_stand_for_long_ones() -> None:
    """Corpus and labels are named after the file; `table=` of `events` with `input=` is output."""
    words = with_table("train", ["table=Zur Rente.xlsx", "label=[Haltung, Größe]", "model=linear"])
    assert words == [
        "corpus=table", "corpus.name=Zur_Rente", "corpus.labels=Zur_Rente.labels.yaml", "corpus.reader.path='Zur Rente.xlsx'",
        "corpus.reader.label=[Haltung,'Größe']", "model=linear",
    ]  # fmt: skip
    assert with_table("events", ["input=a.csv", "table=events.csv"]) == ["input=a.csv", "table=events.csv"]
    assert with_table("events", ["table=Mai 24.xlsx", "date=Tag"]) == ["input='Mai 24.xlsx'", "reader.columns.date=Tag"]
    assert with_table("predict", ["table=a.csv", "text=Satz", "run=x"]) == ["table=a.csv", "reader.columns.text=Satz", "run=x"]
    assert with_table("predict", ["text=Ja, gern.", "run=x"]) == ["text=Ja, gern.", "run=x"]
    words = with_table("train", ["table=a.csv", "label=Haltung [1-5]", "--config-dir", "label"])
    assert words[-3:] == ["corpus.reader.label=['Haltung [1-5]']", "--config-dir", "label"]


@pytest.mark.slow
def test_from_a_sheet_to_a_bundle_in_six_commands(tmp_path: Path) -> None:
    """141 sentences are trained on, compared, labelled and exported; only a mistyped label is
    refused, and the README documents all keys.
    """
    commands = (
        ("train", "table=verkehr.csv", "model=linear", "name=a"),
        ("train", "table=verkehr.csv", "model=linear", "model.kind=svc", "name=b"),
        ("compare", "runs=[a-42,b-42]"),
        ("predict", "run=a-42", "table=verkehr.csv", "output=verkehr.labelled.csv"),
        ("export", "run=a-42", "to=model"),
    )
    readme = set(re.findall(r"[\w.]+(?==)", (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")))
    assert {word.partition("=")[0] for words in commands for word in words[1:]} <= readme
    rows = sentences(141)
    rows[77] = (rows[77][0], "dagegn", *rows[77][2:])
    written(tmp_path / "verkehr.csv", [HEAD, *rows])
    done = run_here(*commands[0], cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "verkehr.csv, line 79: unknown stance 'dagegn', did you mean 'dagegen'?" in done.stderr
    drafted = tmp_path / "verkehr.labels.yaml"
    drafted.write_text(drafted.read_text(encoding="utf-8").replace("en: dafür", "en: in favour"), encoding="utf-8")
    rows[77] = (rows[77][0], "dagegen", *rows[77][2:])
    written(tmp_path / "verkehr.csv", [HEAD, *rows])
    said = []
    for words in commands:
        done = run_here(*words, cwd=tmp_path)
        said.append(done.stdout)
        assert (done.returncode, done.stderr) == (0, ""), words
    assert "141 segments, 71 articles" in said[0]
    assert "in favour" in drafted.read_text(encoding="utf-8")
    with (tmp_path / "verkehr.labelled.csv").open(encoding="utf-8-sig", newline="") as file:
        head, *labelled = csv.reader(file, delimiter=";")
    assert head[:5] == [*HEAD, "stance"]
    assert [tuple(row[:4]) for row in labelled] == rows
    assert sum(row[1] == row[4] for row in labelled) > 120
    assert (tmp_path / "model" / "haltung.json").is_file()


def test_a_sheet_is_scored_whole_by_the_scheme_of_the_run(tmp_path: Path, new_store: Callable[[Path], Store]) -> None:
    """All rows count as test in `evaluate run=… table=…`."""
    new_store(tmp_path)
    written(tmp_path / "alt.csv", [HEAD[:2], *(row[:2] for row in sentences(60))])
    written(tmp_path / "neu.csv", [HEAD[:2], *(("Neu: " + row[0][::-1], row[1]) for row in sentences(40))])
    trained = run_here("train", "table=alt.csv", "model=linear", "corpus.rules.near=0", "name=a", "folds=2", "final=true", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    done = run_here("evaluate", "run=a-42", "table=neu.csv", "error_analysis=false", "corpus.rules.near=0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "neu · test: 40 segments" in done.stdout
    assert not (tmp_path / "neu.labels.yaml").exists()
    # No sentence names its article: both commands, the report and the JSON contain a warning.
    (folder,) = (path.parent for path in (tmp_path / "experiments/reports").rglob("evaluation.json"))
    assert json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["lone"] == 40
    shown, page = " ".join(trained.stdout.split()), (folder / "report.html").read_text(encoding="utf-8")
    assert "60 of 60 segments name no article" in shown
    assert "None of the 60 segments names an article" in shown
    for told in (done.stdout, page):
        assert "None of the 40 segments names an article" in " ".join(told.split())
