"""Corpora, label schemes and configs of strangers that would exhaust memory or time, or run code,
are refused in one sentence and quickly.
"""

from __future__ import annotations

import gzip
import json
import re
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from haltung import labels
from haltung.cli import main
from haltung.corpus.parsing.fields import Fields
from haltung.corpus.parsing.lines import document_rows, json_rows
from haltung.corpus.parsing.rows import Fault
from haltung.errors import UserError
from haltung.labels import parse

TASKS = "tasks: {stance: {labels: [a, b]}}\n"


@pytest.fixture(autouse=True)
def soon() -> Iterator[None]:
    """Limit the processor time, which does not grow when the machine is busy."""
    before = time.process_time()
    yield
    assert time.process_time() - before < 20


def scheme(folder: Path, text: str) -> labels.Scheme:
    """Write a scheme with this text and read it."""
    (folder / "scheme.yaml").write_text(text, encoding="utf-8")
    return labels.load(folder / "scheme.yaml")


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system [touch owned]", "!!python/object/new:os.system [touch owned]", "!!python/name:os.system ''"]
)
def test_yaml_with_the_tag_of_a_class_is_refused(tmp_path: Path, tag: str, monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    """In a scheme, and in a config of one's own folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"line 1: not YAML .could not determine a constructor for the tag"):
        scheme(tmp_path, f"name: {tag}\n{TASKS}")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/theirs.yaml").write_text(f"name: {tag}\n", encoding="utf-8")
    assert main(["prepare", "corpus=theirs", "--config-dir", str(tmp_path)]) == 2
    assert "theirs.yaml, line 1: not YAML (could not determine a constructor for the tag" in capsys.readouterr().err
    assert not (tmp_path / "owned").exists()


FORM = r"line \d: not YAML \(expected no '\*', lists nested at most 20 deep and at most 10,000 labels or other parts in each\)"
LAUGHS = "".join(f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 9)}]\n" for number in range(1, 9))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"a0: &a0 lol\n{LAUGHS}name: *a8\n", FORM),
        ("name: &a {name: &b [x, *b]}\n", FORM),
        ("name: " + "[" * 500 + "]" * 500, FORM),
        (f"name: [{','.join(map(str, range(10**6)))}]", "bytes, too large for a config"),
    ],
    ids=["a billion laughs", "itself", "deep", "a million"],
)
@pytest.mark.parametrize("group", ["corpus", "deeper/than/corpus"])
def test_a_config_that_would_take_too_long_is_refused(
    tmp_path: Path, text: str, sentence: str, group: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a group, or in a folder that another config of the same directory refers to."""
    (tmp_path / group).mkdir(parents=True)
    (tmp_path / group / "theirs.yaml").write_text(text, encoding="utf-8")
    if group != "corpus":
        (tmp_path / "corpus").mkdir()
        (tmp_path / "corpus/theirs.yaml").write_text(f"defaults: [/{group}@_here_: theirs]\n", encoding="utf-8")
    assert main(["prepare", "corpus=theirs", "--config-dir", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(rf"{group}/theirs\.yaml.*({sentence})", said)


THEIRS = "name: x\nlabels: gnad10\nreader: {a: $}\nrules: {}\nsplit: {}\n"
REFERENCES = r"corpus/theirs\.yaml has '\$\{.*'; allowed are \$\{key\} and \$\{shipped:path\}"
DOUBLED = r"its \$\{…\} make the config longer than 1,000,000 characters"


def chain(value: str, start: str, many: int = 40) -> str:
    """Return keys that each contain the previous one twice."""
    return f"a0: {start}\n" + "".join(f"a{number}: {value.replace('BEFORE', f'a{number - 1}')}\n" for number in range(1, many))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("e: ${oc.env:HALTUNG_SECRET}", REFERENCES),
        ("e: \\${oc.env:HALTUNG_SECRET}", REFERENCES),
        ("e: ${corpus.reader.a}{oc.env:HALTUNG_SECRET}", REFERENCES),
        ("d: '{oc.env:HALTUNG_SECRET}'\ne: ${corpus.reader.a}${.d}", REFERENCES),
        ("d: env\ne: ${oc.${.d}:HALTUNG_SECRET}", REFERENCES),
        ("e: ${oc.decode:'${.a}'}", REFERENCES),
        ("e: ${now:%Y}", REFERENCES),
        (chain("'${corpus.BEFORE}${corpus.BEFORE}'", "lol"), REFERENCES),
        (chain("'${corpus.BEFORE} ${corpus.BEFORE}'", "lol"), DOUBLED),
        (chain("{x: '${corpus.BEFORE}', y: '${..BEFORE}'}", "{x: 1}"), DOUBLED),
        (chain("['${corpus.BEFORE[0]} ${..BEFORE[0]}']", "[lol]"), DOUBLED),
        ("e: ${.f}\nf: ${.e}", "Recursive interpolation detected"),
    ],
    ids=["a variable", "escaped", "put together", "of two", "named by another", "decoded", "a time",
         "side by side", "with a space", "mappings", "lists", "a circle"],
)  # fmt: skip
def test_what_a_config_of_others_refers_to_is_known_and_bounded(
    tmp_path: Path, text: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No environment variable in any spelling, and nothing that doubles with each line."""
    monkeypatch.setenv("HALTUNG_SECRET", "betrayed")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/theirs.yaml").write_text(f"{THEIRS}{text}\n", encoding="utf-8")
    assert main(["prepare", "corpus=theirs", "--config-dir", str(tmp_path), "--cfg"]) == 2
    printed = capsys.readouterr()
    assert re.search(sentence, printed.err)
    assert printed.err.count("\n") == 1
    assert "betrayed" not in printed.out + printed.err


def test_a_config_of_ones_own_may_refer_to_keys_files_and_what_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To keys by absolute or relative path, and to variables if HALTUNG_CONFIG_ENV=1."""
    monkeypatch.setenv("HALTUNG_SOURCES", "/texts")
    monkeypatch.setenv("HALTUNG_CONFIG_ENV", "1")
    (tmp_path / "corpus").mkdir()
    text = "e: ${sources}/${corpus.name}-${.labels}.csv\nf: ${oc.env:HALTUNG_SOURCES,none}/a\ng: ${shipped:data/diplomacy}\nh: ^a{3}$\n"
    (tmp_path / "corpus/theirs.yaml").write_text(f"{THEIRS}{text}", encoding="utf-8")
    assert main(["prepare", "corpus=theirs", "--config-dir", str(tmp_path), "--cfg"]) == 0
    printed = capsys.readouterr().out
    assert "e: /texts/x-gnad10.csv\n" in printed
    assert "f: /texts/a\n" in printed
    assert "h: ^a{3}$\n" in printed
    assert re.search(r"g: /.*data/diplomacy\n", printed)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: " + "[" * 400_000, f"exceeded maximum nesting depth|{FORM}"),
        ("name: " + "[" * 500 + "]" * 500, FORM),
        ("{a: " * 500 + "}" * 500, FORM),
        (f"a0: &a0 lol\n{LAUGHS}name: x\ndescription: *a8\n{TASKS}", FORM),
        (f"name: x\nversion: {'1' * 5_000}\n{TASKS}", "not YAML"),
        (f"name: 2024-13-45\n{TASKS}", "month must be in 1..12"),
        (f"name: x\ntasks: {{stance: {{labels: [{','.join(f'a{number:x}' for number in range(150_000))}]}}}}", FORM),
        (f"name: x\ntasks: {{stance: {{labels: [{','.join(map(str, range(10**6)))}]}}}}", "bytes, too large for a label scheme"),
    ],
    ids=["deep", "less deep", "deep mappings", "a billion laughs", "a long number", "no date", "150,000 labels", "a million labels"],
)
def test_a_scheme_that_would_take_too_long_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    """The message says what is allowed."""
    with pytest.raises(UserError, match=sentence):
        scheme(tmp_path, text)


def test_a_task_may_have_10000_labels() -> None:
    """Also in a bundle's description, which is not YAML."""
    assert len(parse({"name": "x", "tasks": {"stance": {"labels": [f"l{number}" for number in range(10_000)]}}}).stance) == 10_000
    with pytest.raises(UserError, match="task 'stance': it has 10,001 labels, at most 10,000 are allowed"):
        parse({"name": "x", "tasks": {"stance": {"labels": [f"l{number}" for number in range(10_001)]}}})


@pytest.mark.parametrize("encoding", [None, "utf-16"])
def test_a_line_without_end_is_refused_before_it_is_unpacked(tmp_path: Path, encoding: str | None) -> None:
    """300 MB of one letter compress to 1 MB; little more than the limit of 10 MB is held."""
    with gzip.open(tmp_path / "bomb.jsonl.gz", "wb", compresslevel=1) as file:
        file.write(b"\xff\xfe" if encoding else b"")
        for _ in range(30):
            file.write(b"a\0" * 5_000_000 if encoding else b"a" * 10_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="line 1: longer than 10,000,000 bytes, too long for a row"):
            list(json_rows(tmp_path / "bomb.jsonl.gz", encoding=encoding))
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()


def test_a_document_is_measured_unpacked(tmp_path: Path) -> None:
    """Many lines of allowed length can exceed the limit together."""
    with gzip.open(tmp_path / "bomb.json.gz", "wb", compresslevel=1) as file:
        for _ in range(100):
            file.write(b" " * 1_000_000 + b"\n")
    with pytest.raises(UserError, match="is longer than 5,000,000 characters when unpacked; export it in parts, or raise max_bytes"):
        list(document_rows(tmp_path / "bomb.json.gz", "a list", max_bytes=5_000_000))


def faults(path: Path) -> list[str]:
    """Return the fault of each row, "" if there is none."""
    return [str(row.fault.detail) if row.fault else "" for row in json_rows(path)]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"text": "a", "position": ' + "1" * 5_000 + "}", "too long a number"),
        ("{" + ", ".join(f'"k{number}": 1' for number in range(300_000)) + ', "k299999": 1}', "the key 'k299999' occurs twice"),
    ],
    ids=["deep list", "deep object", "long number", "a key twice among very many"],
)
def test_a_row_that_python_does_not_read_is_a_broken_row(tmp_path: Path, line: str, fault: str) -> None:
    """The next row is read."""
    (tmp_path / "texts.jsonl").write_text(f'{line}\n{{"text": "b"}}\n', encoding="utf-8")
    first, second = faults(tmp_path / "texts.jsonl")
    assert fault in first
    assert second == ""


def test_such_a_row_ends_no_prediction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is left out, and the exit code is 1."""
    import exported

    rows = ['{"text": "Chile warnt"}', '{"text": "a", "n": ' + "1" * 5_000 + "}", "[" * 100_000]
    (tmp_path / "in.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    folder = exported.write(tmp_path / "bundle")
    assert main(["predict", f"bundle={folder}", f"input={tmp_path / 'in.jsonl'}", f"output={tmp_path / 'out.jsonl'}"]) == 1
    assert len((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()) == 1


@pytest.mark.parametrize("cell", ["[" * 100_000, "[" + "1" * 5_000 + "]"])
def test_dyads_in_a_cell_may_be_as_broken(cell: str) -> None:
    """In CSV they are JSON."""
    with pytest.raises(Fault, match=r"'dyads' is not a JSON list \((maximum recursion depth exceeded|Exceeds the limit)"):
        Fields({"dyads": cell}, {}, list_separator=";").dyads(parse({"name": "x", "tasks": {"stance": {"labels": ["a", "b"]}}}))


def test_a_document_that_python_does_not_read_is_a_sentence(tmp_path: Path) -> None:
    """As in exports of annotation tools."""
    for content in ("[" * 100_000, json.dumps([{"text": "a"}])[:-2] + ', "n": ' + "1" * 5_000 + "}]"):
        (tmp_path / "export.json").write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match="nested too deeply, or has too long a number, to be an export of rows"):
            list(document_rows(tmp_path / "export.json", "a list"))
