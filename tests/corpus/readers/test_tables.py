"""Own files: JSONL, CSV and Parquet become the same segments, whatever their columns are called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from haltung import labels
from haltung.corpus.clean import CleaningRules
from haltung.corpus.prepare import prepare
from haltung.corpus.readers.tables import Csv, Jsonl, Parquet
from haltung.corpus.split import ByGroup
from haltung.errors import UserError
from haltung.labels import Scheme
from haltung.records import Dyad

SCHEME = labels.parse(
    {
        "name": "own",
        "tasks": {"stance": {"labels": ["warning", "threat", "neutral"]}, "flags": {"kind": "multi", "labels": ["ironic", "quoted"]}},
    }
)


def jsonl(path: Path, *rows: object) -> str:
    """Write one JSON value per line."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def text(path: Path, content: str, encoding: str = "utf-8") -> str:
    """Write a text file."""
    path.write_bytes(content.encode(encoding))
    return str(path)


@pytest.fixture
def scheme() -> Scheme:
    """A scheme with a single-label and a multi-label task."""
    return SCHEME


def test_a_folder_is_read_file_by_file(tmp_path: Path, scheme: Scheme) -> None:
    """In the order of their names; other files than ``*.jsonl`` are ignored."""
    for name in ("b", "a"):
        jsonl(tmp_path / f"{name}.jsonl", {"text": f"Satz {name}.", "stance": "neutral"})
    (tmp_path / "README.md").write_text("# Texte\n", encoding="utf-8")
    assert [segment.text for segment in Jsonl(str(tmp_path)).read(scheme).segments] == ["Satz a.", "Satz b."]


def test_a_jsonl_row_becomes_a_segment(tmp_path: Path, scheme: Scheme) -> None:
    """Each of our fields is read by its own name, and others are ignored."""
    path = jsonl(
        tmp_path / "a.jsonl",
        {
            "id": 7,
            "text": "Bern warnt Rom.",
            "context": "Streit um den Tunnel",
            "target": "Rom",
            "article": 12,
            "date": "2024-05-31T10:00:00",
            "source": "Bote",
            "genre": "agency",
            "split": "validation",
            "stance": "warning",
            "flags": ["quoted", "ironic"],
            "dyads": [{"source": "CHE", "target": "ITA", "stance": "warning"}],
            "remark": 3.5,
        },
    )
    (segment,) = Jsonl(path).read(scheme).segments
    assert (segment.id, segment.text, segment.context, segment.target) == ("7", "Bern warnt Rom.", "Streit um den Tunnel", "Rom")
    assert (segment.article, segment.date, segment.source, segment.genre, segment.split) == ("12", "2024-05-31", "Bote", "agency", "dev")
    assert segment.labels == {"stance": "warning", "flags": ("ironic", "quoted")}
    assert segment.dyads == (Dyad("CHE", "ITA", "warning"),)
    assert segment.where == f"{path}, line 1"


def test_the_three_formats_give_the_same_segments(tmp_path: Path, scheme: Scheme) -> None:
    """The segments do not depend on the format."""
    import pandas as pd

    rows = [
        {"id": "a", "Satz": 'Größe zählt; "immer".', "Haltung": "threat", "flags": ["ironic", "quoted"]},
        {"id": "b", "Satz": "Zwei\nZeilen.", "Haltung": None, "flags": ["quoted"]},
    ]
    columns = {"text": "Satz", "stance": "Haltung"}
    frame = pd.DataFrame(rows)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.assign(flags=frame["flags"].map(";".join)).to_csv(tmp_path / "a.csv", index=False)
    readings = [
        Jsonl(jsonl(tmp_path / "a.jsonl", *rows), columns).read(scheme),
        Csv(str(tmp_path / "a.csv"), columns).read(scheme),
        Parquet(str(tmp_path / "a.parquet"), columns).read(scheme),
    ]
    assert readings[0].segments == readings[1].segments == readings[2].segments
    assert readings[0].segments[1].labels == {"stance": None, "flags": ("quoted",)}


def test_headline_and_position_come_from_columns_of_any_name(tmp_path: Path, scheme: Scheme) -> None:
    """Numbers may be text or missing, and pandas may have converted the column to floats."""
    import pandas as pd

    rows = [{"text": "Ja.", "stance": "neutral", "article": "a", "Titel": "Streit", "Satznummer": number} for number in (0, 12, None)]
    columns = {"headline": "Titel", "position": "Satznummer"}
    frame = pd.DataFrame(rows)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.astype({"Satznummer": "Int64"}).to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "floats.csv", index=False)
    words = [{**row, "Satznummer": "" if row["Satznummer"] is None else f" {row['Satznummer']}"} for row in rows]
    for reader in (
        Jsonl(jsonl(tmp_path / "a.jsonl", *rows), columns),
        Jsonl(jsonl(tmp_path / "words.jsonl", *words), columns),
        Csv(str(tmp_path / "a.csv"), columns),
        Csv(str(tmp_path / "floats.csv"), columns),
        Parquet(str(tmp_path / "a.parquet"), columns),
    ):
        assert [(segment.headline, segment.position) for segment in reader.read(scheme).segments] == [
            ("Streit", 0),
            ("Streit", 12),
            ("Streit", None),
        ]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (-1, r"a number \(-1\)"),
        (1.5, r"a number \(1\.5\)"),
        (True, r"true or false"),
        ("zwei", r"text \(zwei\)"),
        ("-1", r"text \(-1\)"),
        ("1.5", r"text \(1\.5\)"),
        ([1], r"a list"),
        (10**9, r"a number \(1000000000\)"),
        ("9" * 5000, r"text \(9{80}…\)"),
    ],
)
def test_a_bad_position_is_one_clear_fault(tmp_path: Path, scheme: Scheme, value: object, found: str) -> None:
    """With line, column, value and what is expected; the row can be dropped instead."""
    rows = [{"text": "Ja.", "stance": "neutral", "position": 0}, {"text": "Nein.", "stance": "neutral", "position": value}]
    path = jsonl(tmp_path / "a.jsonl", *rows)
    with pytest.raises(
        UserError, match=rf"a\.jsonl, line 2: 'position' is {found}.*; expected a whole number from 0 to 999999999"
    ) as refused:
        Jsonl(path).read(scheme)
    assert "\n" not in str(refused.value)
    reading = Jsonl(path, on_error="drop").read(scheme)
    assert [segment.position for segment in reading.segments] == [0]
    assert [row.reason for row in reading.dropped] == ["wrong_type"]


def test_a_row_without_an_id_is_named_after_file_and_line(tmp_path: Path, scheme: Scheme) -> None:
    """Generated ids have the file's name and the line."""
    path = text(tmp_path / "news.csv", 'text,stance\n"Zwei\nZeilen.",neutral\nEine.,threat\n')
    reading = Csv(path).read(scheme)
    assert [segment.id for segment in reading.segments] == ["news-2", "news-4"]
    assert [segment.where for segment in reading.segments] == [f"{path}, line 2", f"{path}, line 4"]


def test_a_task_without_a_column_is_unlabelled(tmp_path: Path, scheme: Scheme) -> None:
    """A corpus may be labelled for a single task."""
    reading = Jsonl(jsonl(tmp_path / "a.jsonl", {"text": "Ja.", "stance": "neutral"})).read(scheme)
    assert reading.segments[0].labels == {"stance": "neutral", "flags": None}


def test_no_labels_and_no_task_at_all_are_distinguished(tmp_path: Path, scheme: Scheme) -> None:
    """In a multi-label task, an empty list means that no label applies, null that none is given."""
    path = jsonl(tmp_path / "a.jsonl", {"text": "Ja.", "flags": []}, {"text": "Nein.", "flags": None})
    assert [segment.labels["flags"] for segment in Jsonl(path).read(scheme).segments] == [(), None]


def test_a_file_without_any_label_is_refused(tmp_path: Path, scheme: Scheme) -> None:
    """The message for a forgotten mapping lists the columns."""
    path = jsonl(tmp_path / "a.jsonl", {"text": "Ja.", "Haltung": "neutral"})
    with pytest.raises(UserError, match=r"a.jsonl has no label for any task .*stance, flags\); the columns are: text, Haltung; map one"):
        prepare("a", Jsonl(path), scheme, CleaningRules(), ByGroup(), tmp_path)


def test_a_file_for_each_split_gives_the_split(tmp_path: Path, scheme: Scheme) -> None:
    """This is the most common layout."""
    train = jsonl(tmp_path / "a.jsonl", {"text": "Ja.", "stance": "neutral"})
    test = jsonl(tmp_path / "b.jsonl", {"text": "Nein.", "stance": "neutral"})
    reader = Jsonl({"train": train, "test": test})
    assert [segment.split for segment in reader.read(scheme).segments] == ["train", "test"]
    assert reader.files() == (Path(train), Path(test))


def test_a_csv_without_a_header_is_read_by_given_names(tmp_path: Path, scheme: Scheme) -> None:
    """Separator, quote and names are settings; a backslash and t typed in a shell are a tab."""
    path = text(tmp_path / "a.csv", "threat\t'Das wird''s nicht geben.'\n")
    (segment,) = Csv(path, separator="\\t", quotechar="'", names=["stance", "text"]).read(scheme).segments
    assert (segment.text, segment.labels["stance"]) == ("Das wird's nicht geben.", "threat")


def test_a_latin_1_file_is_read_where_it_is_said_to_be_one(tmp_path: Path, scheme: Scheme) -> None:
    """Old exports use Latin-1; setting the encoding is enough."""
    path = text(tmp_path / "a.csv", "text,stance\nGrüße aus Köln.,neutral\n", "latin-1")
    assert Csv(path, encoding="latin-1").read(scheme).segments[0].text == "Grüße aus Köln."


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path, scheme: Scheme, encoding: str) -> None:
    """Spreadsheets write one, whether or not the given encoding says so."""
    path = text(tmp_path / "a.csv", "text,stance\nJa.,neutral\n", "utf-8-sig")
    assert Csv(path, encoding=encoding).read(scheme).segments[0].text == "Ja."


def test_dyads_stand_in_a_csv_cell_as_json(tmp_path: Path, scheme: Scheme) -> None:
    """CSV has no lists."""
    path = text(tmp_path / "a.csv", 'text,stance,dyads\nJa.,threat,"[{""source"": ""USA"", ""target"": """", ""stance"": ""threat""}]"\n')
    assert Csv(path).read(scheme).segments[0].dyads == (Dyad("USA", "", "threat"),)


def test_empty_text_is_left_to_the_checks(tmp_path: Path, scheme: Scheme) -> None:
    """Readers keep empty texts; cleaning drops and counts them."""
    path = jsonl(tmp_path / "a.jsonl", {"text": "", "stance": "neutral"}, {"text": None, "stance": "neutral"})
    assert [segment.text for segment in Jsonl(path).read(scheme).segments] == ["", ""]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": 3, "stance": "threat"}, r"line 2: 'text' is a number \(3\); expected text"),
        (
            {"text": "Ja.", "stance": "thret"},
            r"line 2: unknown stance 'thret', did you mean 'threat'\?; this scheme has warning, threat, neutral",
        ),
        ({"text": "Ja.", "stance": True}, r"line 2: the stance is true or false \(True\); a label must be text"),
        ({"text": "Ja.", "stance": ["threat", "warning"]}, r"line 2: 2 labels for stance \(threat, warning\); this task takes exactly one"),
        ({"text": "Ja.", "flags": ["loud"]}, r"line 2: unknown flags 'loud'; this scheme has ironic, quoted"),
        ({"text": "Ja.", "dyads": "USA"}, r"line 2: 'dyads' is text; expected a list"),
        ({"text": "Ja.", "dyads": [{"source": "USA"}]}, r"line 2: a dyad has source, target and stance; found source"),
        (
            {"text": "Ja.", "dyads": [{"source": "USA", "target": None, "stance": "threat"}]},
            r"line 2: a dyad's target is null; expected text",
        ),
        (
            {"text": "Ja.", "dyads": [{"source": "A", "target": "B", "stance": "treat"}]},
            r"line 2: unknown stance 'treat', did you mean 'threat'\?",
        ),
        ({"text": "Ja.", "date": "5/31/2024"}, r"line 2: '5/31/2024' is not a date; expected one like 2024-05-31 or 31\.05\.2024"),
        ({"text": "Ja.", "split": "trian"}, r"line 2: unknown split 'trian', did you mean 'train'\?"),
        ({"txt": "Ja.", "stance": "threat"}, r"line 2: no 'text', did you mean 'txt'\?; this row has txt, stance"),
        ({"text": "Ja\0.", "stance": "threat"}, r"line 2: 'text' has a NUL byte at character 3"),
        ({"text": "Ja\ud83d.", "stance": "threat"}, r"line 2: 'text' has half a surrogate pair at character 3"),
        ({"id": 1.5, "text": "Ja.", "stance": "threat"}, r"line 2: 'id' is a number \(1.5\); expected text"),
        (["Ja.", "threat"], r"line 2: the line is a list in JSON; expected one object"),
    ],
)
def test_a_row_of_the_wrong_kind_is_named_with_its_line(tmp_path: Path, scheme: Scheme, row: object, message: str) -> None:
    """Each gives one sentence with file, line, value and what is allowed; only that
    row is dropped.
    """
    path = tmp_path / "a.jsonl"
    good = {"text": "Gut.", "stance": "neutral"}
    path.write_text("".join(json.dumps(entry) + "\n" for entry in (good, row, good)), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        Jsonl(str(path)).read(scheme)
    reading = Jsonl(str(path), on_error="drop").read(scheme)
    assert ([segment.id for segment in reading.segments], [dropped.where for dropped in reading.dropped]) == (
        ["a-1", "a-3"],
        [f"{path}, line 2"],
    )


def test_a_mapped_column_that_is_missing_is_named_with_the_nearest(tmp_path: Path, scheme: Scheme) -> None:
    """The message lists all columns, even if broken rows are dropped."""
    path = text(tmp_path / "a.csv", "Satz,Haltung\nJa.,neutral\n")
    with pytest.raises(UserError, match=r"no column 'Satzz' \(for text\), did you mean 'Satz'\?; the columns are: Satz, Haltung"):
        Csv(path, {"text": "Satzz", "stance": "Haltung"}, on_error="drop").read(scheme)


def test_an_unknown_field_in_the_mapping_is_reported(tmp_path: Path, scheme: Scheme) -> None:
    """The keys of the mapping are our field names."""
    path = text(tmp_path / "a.csv", "text,stance\nJa.,neutral\n")
    with pytest.raises(UserError, match=r"columns: unknown field 'stanse', did you mean 'stance'\?; choose from id, text"):
        Csv(path, {"stanse": "stance"}).read(scheme)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (
            "text;stance\nJa.;neutral\n",
            {},
            r"line 1: the header is a single column, 'text;stance'; the separator is ',', should it be ';'\?",
        ),
        ("text,text,stance\na,b,neutral\n", {}, r"line 1: the column 'text' occurs twice in the header"),
        ("text,stance\nJa, ja.,neutral\n", {}, r"line 2: 3 cells, expected 2 \(text, stance\).* ','"),
        ('text,stance\n"Ja.,neutral\n', {}, r"line 2: not CSV with separator ',' and quote '\"' \(unexpected end of data\)"),
        ("text,stance\n", {}, r"a.csv has no rows; expected at least one"),
        ("text,stance\nJa.,neutral\n", {"separator": ";;"}, r"separator is ';;', expected one character"),
        ("text,stance\nJa.,neutral\n", {"encoding": "utf9"}, r"encoding is 'utf9', which Python does not know"),
        ("text,stance\nJa.,neutral\n", {"encoding": "utf-32"}, r"encoding is 'utf-32', which cannot be read line by line"),
        ("text,stance\nNein.,neutral", {"encoding": "utf-16"}, r"a\.csv: not UTF-16 \(.*\); was it cut off, or"),
        ("text,stance\nJa.,neutral\n", {"on_error": "skip"}, r"on_error is 'skip'; choose from stop, drop"),
        ('text,stance,dyads\nJa.,neutral,"[{"\n', {}, r"line 2: 'dyads' is not a JSON list"),
    ],
)
def test_a_broken_csv_is_reported_in_one_sentence(
    tmp_path: Path, scheme: Scheme, content: str, options: dict[str, str], message: str
) -> None:
    """A wrong separator or quote is the most common mistake."""
    path = text(tmp_path / "a.csv", content)
    with pytest.raises(UserError, match=message):
        Csv(path, **options).read(scheme)  # type: ignore[arg-type]


def test_a_json_array_is_distinguished_from_jsonl(tmp_path: Path, scheme: Scheme) -> None:
    """The two are often confused."""
    path = text(tmp_path / "a.jsonl", '[\n  {"text": "Ja."}\n]\n')
    with pytest.raises(UserError, match=r"is a single JSON array; expected JSONL"):
        Jsonl(path).read(scheme)


def test_a_missing_value_of_pandas_is_no_label(tmp_path: Path, scheme: Scheme) -> None:
    """Missing labels are written as NaN by pandas."""
    import pandas as pd

    path = tmp_path / "a.parquet"
    pd.DataFrame({"text": ["Ja.", "Nein."], "stance": ["neutral", float("nan")], "date": pd.to_datetime(["2024-05-31", None])}).to_parquet(
        path
    )
    reading = Parquet(str(path)).read(scheme)
    assert [(segment.labels["stance"], segment.date) for segment in reading.segments] == [("neutral", "2024-05-31"), (None, "")]


def test_a_file_that_is_no_parquet_is_reported(tmp_path: Path, scheme: Scheme) -> None:
    """The file has the wrong suffix."""
    path = text(tmp_path / "a.parquet", "text,stance\n")
    with pytest.raises(UserError, match=r"a.parquet: not a Parquet file, or damaged"):
        Parquet(path).read(scheme)
