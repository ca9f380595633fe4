"""Sheets as people keep them: opened, recognised, drafted; all faults at once; read as written."""

from __future__ import annotations

import csv
import datetime as dt
import io
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from command_line import run_here
from haltung import labels
from haltung.cli.config import with_table
from haltung.corpus.parsing.fields import Fields
from haltung.corpus.parsing.rows import Fault
from haltung.corpus.readers.tables import Sheet, is_slip
from haltung.errors import UserError

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
    """Return sentences on traffic, two of an article, with their stance and a German date."""
    rng, rows, seen = random.Random(1), list[tuple[str, str, str, str]](), set[str]()
    while len(rows) < count:
        number, stance = len(rows), rng.choice(list(VERBS))
        text = f"{rng.choice(WHO)} {rng.choice(VERBS[stance])} {rng.choice(WHERE)} {rng.choice(PLANS)} {rng.choice(WHY)}; so der Bericht."
        if text not in seen:
            seen.add(text)
            rows.append((text, stance, f"A{number // 2:02d}", f"{1 + number % 28:02d}.01.2025"))
    return rows


def written(path: Path, rows: Sequence[Sequence[object]], separator: str = ";", encoding: str = "cp1252", **more: object) -> Path:
    """Write rows as a German Excel does."""
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


@pytest.mark.parametrize("kind", ["csv", "bom", "tab", "quotes", "sep", "xlsx", "ods", "parquet", "dta", "sav"])
def test_every_kind_of_sheet_becomes_the_same_segments(kind: str, tmp_path: Path) -> None:
    """Named by nobody: format, encoding, separator and columns are found."""
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
        written(path, [HEAD, *rows], "\t" if kind == "tab" else ";", "utf-8-sig" if kind == "bom" else "cp1252", **more)
    sheet = Sheet(str(path))
    scheme = scheme_of(sheet, tmp_path)
    segments = sheet.read(scheme).segments
    assert [(one.text, one.labels["stance"], one.article, one.date) for one in segments] == [
        (text, stance, article, "-".join(reversed(day.split(".")))) for text, stance, article, day in rows
    ]
    assert set(scheme["stance"].ids) == set(VERBS)
    assert scheme["stance"].de == "Haltung"


def test_all_faults_come_at_once_with_the_numbers_that_a_spreadsheet_shows(tmp_path: Path) -> None:
    """Empty rows count, and are none; a formula counts by its value."""
    rows = [HEAD, *sentences(24), ("",) * 4, ("Der Bund prüft das noch.", "dagegn", "A9", "3.1.25"), ("Ja.", "neutral", "A9", "32.1.2025")]
    path = str(workbook(tmp_path / "a.xlsx", rows, {"A2": ('="x"', "Aus einer Formel.")}))
    scheme = scheme_of(Sheet(path), tmp_path)
    with pytest.raises(UserError) as refused:
        Sheet(path).read(scheme)
    label = f"{path}, row 27: unknown stance 'dagegn', did you mean 'dagegen'?; this scheme has dafür, dagegen, neutral"
    assert str(refused.value) == f"{label}; {path}, row 28: '32.1.2025' is no date; expected one like 2024-05-31 or 31.05.2024"
    reading = Sheet(path, on_error="drop").read(scheme)
    assert (reading.segments[0].text, len(reading.segments), len(reading.dropped)) == ("Aus einer Formel.", 24, 2)


def test_a_row_with_a_cell_too_many_is_a_fault_of_that_row(tmp_path: Path) -> None:
    """A separator inside a text that nobody quoted shifts what follows."""
    path = written(tmp_path / "a.csv", [HEAD, *sentences(40)])
    path.write_bytes(path.read_bytes() + b"Halb; halb gelobt;neutral;A1;01.02.2025\r\n")
    scheme = scheme_of(Sheet(str(path)), tmp_path)
    with pytest.raises(UserError, match=r"a\.csv, line 42: 5 cells, expected 4"):
        Sheet(str(path)).read(scheme)


def test_numbers_are_labels_as_text(tmp_path: Path) -> None:
    """And 17.0 of Excel is 17."""
    rows = [("Aussage", "Code", "Artikel"), *((text, 1.0 + number % 3, number // 4) for number, (text, *_) in enumerate(sentences(48)))]
    sheet = Sheet(str(workbook(tmp_path / "a.xlsx", rows)))
    scheme = scheme_of(sheet, tmp_path)
    assert scheme["Code"].ids == ("1", "2", "3")
    assert sheet.read(scheme).segments[6].article == "1"


def test_columns_are_named_where_they_are_not_recognised(tmp_path: Path) -> None:
    """Texts, several columns of labels, and those that are to be left unread."""
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
    """Also one that is called as our field."""
    path = written(tmp_path / "a.csv", [("Satz", "Haltung", name), *((*row[:2], "01/14/2025") for row in sentences(30))])
    sheet = Sheet(str(path), {"date": "none"})
    assert {one.date for one in sheet.read(scheme_of(sheet, tmp_path)).segments} == {""}


def test_two_columns_that_could_be_the_same_are_asked_for(tmp_path: Path) -> None:
    """An article and its address; two kinds of stance. One that is named is taken."""
    path = str(written(tmp_path / "a.csv", [("Satz", "Haltung", "Artikel", "Link"), *sentences(30)]))
    with pytest.raises(UserError, match="the columns Artikel, Link could both be article; name one of them: article=Artikel"):
        Sheet(path).draft(str(tmp_path / "labels.yaml"), "own")
    sheet = Sheet(path, {"article": "Artikel"})
    assert {one.article[:1] for one in sheet.read(scheme_of(sheet, tmp_path)).segments} == {"A"}
    with pytest.raises(UserError, match="the columns Haltung, Stance could both be stance; name one of them: label=Haltung"):
        Sheet(path, label=["Haltung", "Stance"]).draft(str(tmp_path / "others.yaml"), "own")


def test_a_column_that_is_a_field_is_no_task(tmp_path: Path) -> None:
    """What `target=Thema` names has no labels."""
    path = str(written(tmp_path / "a.csv", [("Satz", "Haltung", "Thema", "Datum"), *sentences(30)]))
    sheet = Sheet(path, {"target": "Thema"}, label=["Haltung"])
    scheme = scheme_of(sheet, tmp_path)
    assert scheme.names == ("stance",)
    assert sheet.read(scheme).segments[0].target == sentences(1)[0][2]


def test_other_labels_than_those_drafted_are_refused(tmp_path: Path) -> None:
    """A file that is there is never written again, so it would be used without a word."""
    path = str(written(tmp_path / "a.csv", [("Satz", "Haltung", "Kategorie"), *((*row[:2], row[1]) for row in sentences(30))]))
    scheme = scheme_of(Sheet(path, label=["Haltung"]), tmp_path)
    with pytest.raises(UserError, match="label= names the tasks Kategorie, the scheme own has stance; delete its file"):
        Sheet(path, label=["Kategorie"]).read(scheme)


def test_several_labels_in_a_cell_make_a_task_of_several(tmp_path: Path) -> None:
    """Separated as list_separator says."""
    rows = [(row[0], ("Klima; Energie", "Klima", "Verkehr")[number % 3]) for number, row in enumerate(sentences(30))]
    sheet = Sheet(str(written(tmp_path / "a.csv", [("Satz", "Thema"), *rows], separator=",")))
    scheme = scheme_of(sheet, tmp_path)
    assert (scheme["topic"].kind, scheme["topic"].ids) == ("multi", ("Energie", "Klima", "Verkehr"))
    assert set(sheet.read(scheme).segments[0].labels["topic"] or ()) == {"Klima", "Energie"}


def test_one_separator_behind_a_label_makes_no_second_label(tmp_path: Path) -> None:
    """It is a slip."""
    rows = [*sentences(30), ("Ja, gern.", "dafür;", "A99", "")]
    assert scheme_of(Sheet(str(written(tmp_path / "a.csv", [HEAD, *rows], separator=","))), tmp_path)["stance"].kind == "single"


def test_numbers_of_parquet_are_text(tmp_path: Path) -> None:
    """A label 0 and an article 3.0 too; what is null is empty."""
    import pandas as pd

    texts = [row[0] for row in sentences(30)]
    articles = [float(number // 3) if number else None for number in range(30)]
    pd.DataFrame({"Satz": texts, "Code": [number % 2 for number in range(30)], "Artikel": articles}).to_parquet(tmp_path / "a.parquet")
    sheet = Sheet(str(tmp_path / "a.parquet"))
    scheme = scheme_of(sheet, tmp_path)
    assert scheme["Code"].ids == ("0", "1")
    assert [one.article for one in sheet.read(scheme).segments][:4] == ["", "0", "0", "1"]


def test_columns_without_a_name_are_passed_over(tmp_path: Path) -> None:
    """Those of notes beside a table."""
    path = workbook(tmp_path / "a.xlsx", [("Satz", "", "Haltung", ""), *((row[0], "x", row[1], "y") for row in sentences(6))])
    assert {tuple(row.data) for row in Sheet("").rows(path)} == {("Satz", "Haltung")}


def test_no_file_is_left_where_labels_are_no_scheme(tmp_path: Path) -> None:
    """It would be taken for the user's own from then on."""
    path = written(tmp_path / "a.csv", [HEAD, *((row[0], "pro", *row[2:]) for row in sentences(30))])
    with pytest.raises(UserError, match=r"a\.csv"):
        Sheet(str(path)).draft(str(tmp_path / "labels.yaml"), "own")
    assert not (tmp_path / "labels.yaml").exists()


def test_a_line_break_in_a_header_is_none_in_the_scheme(tmp_path: Path) -> None:
    """As Excel writes two lines in a cell."""
    path = written(tmp_path / "a.csv", [("Satz", "Haltung", "Artikel\nNr", "Datum"), *sentences(30)])
    assert scheme_of(Sheet(str(path)), tmp_path).names == ("stance",)


def test_the_first_sheet_that_is_shown_is_read(tmp_path: Path) -> None:
    """Not a hidden one before it; a header with a name twice is refused."""
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
    """Before it is unpacked."""
    monkeypatch.setattr("haltung.corpus.readers.tables._MAX_BYTES", 1000)
    with pytest.raises(UserError, match=r"bytes unpacked, allowed are 1,000; save the rows as CSV"):
        list(Sheet("").rows(workbook(tmp_path / "a.xlsx", [HEAD, *sentences(5)])))


def test_utf8_is_never_taken_for_something_else(tmp_path: Path) -> None:
    """However many signs it has that other encodings have not."""
    rows = [(f"Ja 🎉 {number} 👍🏽 – так 是 ž", "pro") for number in range(20)]
    path = written(tmp_path / "a.csv", [("Satz", "Haltung"), *rows], encoding="utf-8")
    assert [row.data["Satz"] for row in Sheet("").rows(path)] == [text for text, _ in rows]


def test_a_half_labelled_sheet_tells_its_faults(tmp_path: Path) -> None:
    """Not that nothing has a label, which is what is left without the faulty rows."""
    scheme = scheme_of(Sheet(str(written(tmp_path / "a.csv", [HEAD, *sentences(30)]))), tmp_path)
    other = written(tmp_path / "b.csv", [HEAD, ("Ja.", "Dafuer", "A1", ""), ("Nein.", "", "A1", "")])
    with pytest.raises(UserError, match="unknown stance 'Dafuer'"):
        Sheet(str(other)).read(scheme)


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        ([("Satz",), *((row[0],) for row in sentences(30))], {}, r"which column has labels\? .* of Satz$"),
        ([HEAD, *sentences(30)], {"label": ["Haltun"]}, r"no column 'Haltun', did you mean 'Haltung'\?"),
        ([("S", *HEAD[1:]), *sentences(30)], {}, r"no column 'text'; the columns are: S, Haltung.*columns\.text=NAME"),
        ([HEAD, *sentences(30)], {"columns": {"text": "Saz"}}, r"no column 'Saz' \(for text\), did you mean 'Satz'\?"),
        ([HEAD], {"label": ["Haltung"]}, r"no column|has no rows"),
        ([HEAD, *sentences(30)], {"encoding": "ascii"}, r"line 2: not ascii \(byte 0x"),
        ([HEAD, *sentences(30)], {"separator": "::"}, r"separator is '::', expected one character"),
    ],
)
def test_what_cannot_be_told_is_asked(rows: list[tuple[str, ...]], more: dict[str, object], message: str, tmp_path: Path) -> None:
    """One sentence says what was found and what to say."""
    sheet = Sheet(str(written(tmp_path / "a.csv", rows)), **more)  # type: ignore[arg-type]  # fields by name
    with pytest.raises(UserError, match=message):
        sheet.read(scheme_of(sheet, tmp_path))


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx", "a.dta"])
@pytest.mark.parametrize("content", [b"PK\x03\x04 but no zip", b"PAR1 but no Parquet", b"\xd0\xcf\x11\xe0 locked", b"a\0b\0", b"\n\n", b""])
def test_a_damaged_file_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    """By one sentence that names it, whatever it is called."""
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
    """And as ISO; what could be meant otherwise is none."""
    if date is None:
        with pytest.raises(Fault, match=r"is no date; expected one like 2024-05-31 or 31\.05\.2024"):
            Fields({"date": text}, {}).date()
    else:
        assert Fields({"date": text}, {}).date() == date


@pytest.mark.parametrize("label", ["dagegn", "dageegn", "dagegem", "Dagegen", "kontre"])
def test_a_rare_label_close_to_a_frequent_one_is_a_slip(label: str) -> None:
    """A letter too few or too many, two exchanged, a capital."""
    assert is_slip(label, Counter({"dagegen": 40, "kontra": 40, label: 1}))


@pytest.mark.parametrize(("label", "count"), [("egal", 1), ("Gruppe 2", 1), ("pri", 1), ("dageegn", 20)])
def test_short_words_numbers_and_frequent_labels_are_no_slips(label: str, count: int) -> None:
    """They are labels of their own."""
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
    """Whatever wrote the sheet, its cells come back."""
    head = ("Satz", "Haltung", "Notiz")
    path = written(tmp_path / "a.csv", [head, *rows], separator, encoding, quoting=quoting)
    # Of an older encoding a few letters do not say which one it is.
    sheet = Sheet(str(path), encoding=encoding if encoding == "cp1252" else None)
    found = [tuple(row.data.values()) for row in sheet.rows(path)]
    assert found == rows


def test_short_keys_stand_for_long_ones() -> None:
    """The file names corpus and labels; `events` has another key of that name."""
    words = with_table("train", ["table=Zur Rente.xlsx", "label=[Haltung, Größe]", "model=linear"])
    assert words == [
        "corpus=table", "corpus.name=Zur_Rente", "corpus.labels=Zur_Rente.labels.yaml", "corpus.reader.path='Zur Rente.xlsx'",
        "corpus.reader.label=[Haltung,'Größe']", "model=linear",
    ]  # fmt: skip
    assert with_table("events", ["table=events.csv"]) == ["table=events.csv"]
    words = with_table("train", ["table=a.csv", "label=Haltung [1-5]", "--config-dir", "label"])
    assert words[-3:] == ["corpus.reader.label=['Haltung [1-5]']", "--config-dir", "label"]


def test_from_a_sheet_to_a_bundle_in_six_commands(tmp_path: Path) -> None:
    """141 sentences with one mistyped label: trained, compared, applied and exported; nothing but
    that label is refused.
    """
    rows = sentences(141)
    rows[77] = (rows[77][0], "dagegn", *rows[77][2:])
    written(tmp_path / "verkehr.csv", [HEAD, *rows])
    done = run_here("train", "table=verkehr.csv", "model=linear", "name=a", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "verkehr.csv, line 79: unknown stance 'dagegn', did you mean 'dagegen'?" in done.stderr
    drafted = tmp_path / "verkehr.labels.yaml"
    drafted.write_text(drafted.read_text(encoding="utf-8").replace("en: dafür", "en: in favour"), encoding="utf-8")
    rows[77] = (rows[77][0], "dagegen", *rows[77][2:])
    written(tmp_path / "verkehr.csv", [HEAD, *rows])
    for words in (
        ("train", "table=verkehr.csv", "model=linear", "name=a"),
        ("train", "table=verkehr.csv", "model=linear", "model.kind=svc", "name=b"),
        ("compare", "runs=[a-42,b-42]", "split=dev"),
        ("predict", "run=a-42", "text=Der Verband lobt den Radweg."),
        ("export", "run=a-42", "to=model"),
    ):
        done = run_here(*words, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), words
    assert "in favour" in drafted.read_text(encoding="utf-8")
    assert (tmp_path / "model" / "haltung.json").is_file()


def test_a_sheet_is_scored_whole_by_the_scheme_of_the_run(tmp_path: Path) -> None:
    """`evaluate run=… table=…` takes every row as test."""
    written(tmp_path / "alt.csv", [HEAD, *sentences(60)])
    written(tmp_path / "neu.csv", [HEAD, *(("Neu: " + row[0][::-1], *row[1:]) for row in sentences(40))])
    assert run_here("train", "table=alt.csv", "model=linear", "corpus.rules.near=0", "name=a", cwd=tmp_path).returncode == 0
    done = run_here("evaluate", "run=a-42", "table=neu.csv", "error_analysis=false", "corpus.rules.near=0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "neu · test: 40 segments, 20 articles" in done.stdout
    assert not (tmp_path / "neu.labels.yaml").exists()
