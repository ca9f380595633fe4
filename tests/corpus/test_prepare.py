"""From a source to a folder: what is written, what is preserved, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

import haltung
from haltung.cli.prepare import table
from haltung.corpus.clean import CleaningRules
from haltung.corpus.parsing.rows import Dropped, Reading
from haltung.corpus.prepare import fingerprint, is_current, prepare
from haltung.corpus.readers.union import Union
from haltung.corpus.split import ByGroup, Given, Split
from haltung.corpus.store import FORMAT, Prepared, corpus_digest, load, split_digest
from haltung.errors import UserError
from haltung.files import sha256
from haltung.labels import Scheme, parse
from haltung.records import Dyad, Segment, features

SCHEME = parse(
    {
        "name": "tiny",
        "tasks": {
            "stance": {
                "de": "Haltung",
                "en": "Stance",
                "labels": {"warning": {"de": "Warnung", "en": "Warning"}, "neutral": {"de": "Neutral"}},
            },
            "tags": {"kind": "multi", "labels": ["a", "b"]},
        },
    }
)


@dataclass(frozen=True)
class Fixed:
    """A reader that returns given segments."""

    segments: tuple[Segment, ...]
    dropped: tuple[Dropped, ...] = ()
    paths: tuple[Path, ...] = ()

    def read(self, scheme: Scheme) -> Reading:
        """Return the given segments."""
        return Reading(self.segments, self.dropped)

    def files(self) -> Sequence[Path]:
        """Return the given paths."""
        return self.paths


THEMES = ("Gas", "Zölle", "Asyl", "Klima", "Raumfahrt", "Häfen", "Wahlen", "Renten", "Strom", "Schulen")
SEGMENTS = tuple(
    Segment(
        f"s{number}",
        f"Im Streit um {theme} warnte Sprecher Nr. {number} die Nachbarn – „noch einmal“ 🙂.",
        {"stance": ("warning", "neutral", None)[number % 3], "tags": (None, (), ("a", "b"))[number % 3]},
        context="Zuvor: Ruhe.",
        target=theme,
        article=f"a{number}",
        date="2026-01-02",
        source="test",
        genre="agency",
        dyads=(Dyad("DEU", "RUS", "warning"),) if number % 2 else (),
        split=("train", "train", "train", "dev", "test")[number % 5],
        where=f"news.jsonl, line {number}",
    )
    for number, theme in enumerate(THEMES)
)


def made(out: Path, segments: Sequence[Segment] = SEGMENTS, split: Split | None = None, **more: object) -> Prepared:
    reader = Fixed(tuple(segments), *more.pop("reader", ()))
    return prepare("tiny", reader, SCHEME, CleaningRules(), split or Given(), out, **more)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def shown(prepared: Prepared) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table(prepared))
    return console.export_text()


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a separate process with this process's path for modules."""
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True, env=found)


def test_what_goes_in_comes_out(tmp_path):
    """All fields of a segment are preserved in Parquet; a missing label differs
    from an empty list.
    """
    prepared = made(tmp_path)
    back = [segment for name in ("train", "dev", "test") for segment in prepared.segments(name)]
    assert sorted(back, key=lambda s: s.id) == list(SEGMENTS)
    assert [s.labels["tags"] for s in prepared.segments("train")][:3] == [None, (), ("a", "b")]


def test_some_tasks_alone_are_read_from_the_same_splits(tmp_path):
    """Segments, splits and their digests do not depend on the chosen tasks."""
    prepared = made(tmp_path)
    cut = prepared.only(["tags"])
    assert (cut.manifest, cut.scheme.names) == (prepared.manifest, ("tags",))
    whole = [replace(segment, labels={"tags": segment.labels["tags"]}) for segment in prepared.segments("train")]
    assert cut.segments("train") == whole
    with pytest.raises(UserError, match="unknown task 'tag'"):
        prepared.only(["tag"])


def test_the_folder_holds_all_that_is_promised(tmp_path):
    """Parquet for each split, manifest, card, and the lists of dropped and repaired segments."""
    assert sorted(snapshot(made(tmp_path).folder)) == [
        "README.md",
        "dev.parquet",
        "dropped.jsonl",
        "manifest.json",
        "repaired.jsonl",
        "test.parquet",
        "train.parquet",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_split_has_the_declared_columns(tmp_path):
    """Also if it is empty."""
    prepared = made(tmp_path, [replace(segment, split="train") for segment in SEGMENTS], Given(dev=0))
    schemas = [pq.read_schema(prepared.folder / f"{name}.parquet") for name in ("train", "test")]
    assert schemas == [features(SCHEME).arrow_schema] * 2
    assert (len(prepared.segments("train")), len(prepared.segments("test"))) == (10, 0)


def test_the_manifest_counts(tmp_path):
    """It has segments, articles and labels by split, with unlabelled rows under an empty name,
    digests by split, and the complete scheme.
    """
    manifest = json.loads((made(tmp_path).folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["segments"] == {"train": 6, "dev": 2, "test": 2}
    assert manifest["articles"] == {"train": 6, "dev": 2, "test": 2}
    assert manifest["labels"]["stance"]["dev"] == {"warning": 1, "neutral": 0, "": 1}
    assert manifest["scheme"] == SCHEME.to_dict()
    assert manifest["digests"]["test"] == split_digest([s for s in SEGMENTS if s.split == "test"], SCHEME)
    assert manifest["created"].endswith("+00:00")


def test_what_was_dropped_is_listed_with_its_reason(tmp_path):
    """Dropped by the reader, by cleaning or by the leakage check."""
    extra = [
        replace(SEGMENTS[0], id="copy", where="news.jsonl, line 90"),
        replace(SEGMENTS[4], id="leak", split="train", article="other"),
        replace(SEGMENTS[1], id="moji", text="Das ist fÃ¼r alle im Land da."),
    ]
    prepared = made(tmp_path, [*SEGMENTS, *extra], reader=((Dropped("", "news.jsonl, line 91", "rejected", "answer is 'reject'"),),))
    lines = [json.loads(line) for line in (prepared.folder / "dropped.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {line["id"]: line["reason"] for line in lines} == {"": "rejected", "copy": "duplicate", "leak": "leakage"}
    assert lines[1]["where"] == "news.jsonl, line 90"
    assert prepared.manifest.dropped == {"duplicate": 1, "leakage": 1, "rejected": 1}
    repaired = json.loads((prepared.folder / "repaired.jsonl").read_text(encoding="utf-8"))
    assert (repaired["id"], repaired["after"]) == ("moji", "Das ist für alle im Land da.")


def test_a_split_that_ignores_the_source_checks_across_its_splits(tmp_path):
    """A copy in the source's test split is a plain duplicate if the splits are drawn anew."""
    copy = replace(SEGMENTS[0], id="copy", split="test")
    assert made(tmp_path, [*SEGMENTS, copy], ByGroup()).manifest.dropped == {"duplicate": 1}


def test_the_split_digest_knows_ids_texts_and_labels_only():
    """It ignores the order of rows and the context, so that models with and without context can be
    compared.
    """
    first = split_digest(SEGMENTS, SCHEME)
    assert split_digest([replace(s, context="", where="") for s in reversed(SEGMENTS)], SCHEME) == first
    for other in ({"id": "x"}, {"text": "x"}, {"labels": {"stance": "neutral"}}):
        assert split_digest([replace(SEGMENTS[0], **other), *SEGMENTS[1:]], SCHEME) != first
    tags = [replace(SEGMENTS[0], labels={"tags": tags}) for tags in (("a", "b"), ("b", "a"))]
    assert split_digest(tags[:1], SCHEME) == split_digest(tags[1:], SCHEME)


def test_the_corpus_digest_knows_every_column():
    """It covers everything that training reads."""
    first = corpus_digest({"train": SEGMENTS}, SCHEME)
    assert corpus_digest({"train": SEGMENTS[::-1]}, SCHEME) == first
    assert corpus_digest({"train": [replace(SEGMENTS[0], context="x"), *SEGMENTS[1:]]}, SCHEME) != first


# Computed by the version without headlines and positions.
DIGEST_BEFORE = "cc1c8e8fead1151d960944170dc17d0a875261f52b51897652ac673560b8e6c1"


def test_the_corpus_digest_is_as_before_where_nothing_has_headline_or_position():
    """Runs of older versions stay comparable; if present, both count, even position 0."""
    parts = {"train": SEGMENTS[:6], "test": SEGMENTS[6:]}
    assert corpus_digest(parts, SCHEME) == DIGEST_BEFORE
    changes = ({"headline": "Kopf"}, {"position": 0}, {"position": 1})
    others = [corpus_digest({**parts, "train": [replace(SEGMENTS[0], **change), *SEGMENTS[1:6]]}, SCHEME) for change in changes]
    assert len({DIGEST_BEFORE, *others}) == 4


def test_headline_and_position_are_written_and_read(tmp_path):
    """Also position 0, and segments without one; the split digest, by which models are compared,
    ignores both.
    """
    placed = [replace(s, headline=f"Kopf {n} – „x“", position=None if n == 2 else n) for n, s in enumerate(SEGMENTS)]
    prepared = made(tmp_path / "placed", placed)
    for split in ("train", "dev", "test"):
        expected = {s.id: (s.headline, s.position) for s in placed if s.split == split}
        assert {s.id: (s.headline, s.position) for s in prepared.segments(split)} == expected
    plain = made(tmp_path / "plain").manifest
    assert prepared.manifest.digests == plain.digests
    assert prepared.manifest.digest != plain.digest


def test_segments_of_an_article_are_read_in_their_context(tmp_path):
    """Headline, first and previous segment, as cleaned and without dropped ones; a given context is
    kept.
    """
    texts = (
        "Die <b>Ministerin</b> warnte die Nachbarn.",
        "Das fÃ¼hrt zu nichts.",
        "\ufffd",
        "Wien prüft den Antrag.",
        "Bern sagt dazu nichts.",
    )
    rows = [
        replace(
            SEGMENTS[0],
            id=f"p{place}",
            text=text,
            article="p",
            headline="&lt;Gas&gt;",
            position=place,
            context="Davor." if place == 4 else "",
        )
        for place, text in enumerate(texts)
    ]
    prepared = prepare("tiny", Fixed((*SEGMENTS, *rows)), SCHEME, CleaningRules(markup="strip"), Given(), tmp_path)
    found = {segment.id: segment.context for segment in prepared.segments("train") if segment.article == "p"}
    lead = "<Gas> Die Ministerin warnte die Nachbarn."
    assert found == {"p0": "<Gas>", "p1": lead, "p3": f"{lead} Das führt zu nichts.", "p4": "Davor."}


def test_a_corpus_of_the_version_before_is_read(tmp_path):
    """Its Parquet files lack both columns: headline and position are empty."""
    placed = [replace(segment, headline="Kopf", position=n) for n, segment in enumerate(SEGMENTS)]
    folder = made(tmp_path, placed).folder
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for split in ("train", "dev", "test"):
        path = folder / f"{split}.parquet"
        pq.write_table(pq.read_table(path).drop_columns(["headline", "position"]), path)
        manifest["files"][path.name] = sha256(path)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    old = [segment for split in ("train", "dev", "test") for segment in load(folder).segments(split)]
    assert sorted(old, key=lambda s: s.id) == sorted(SEGMENTS, key=lambda s: s.id)


def test_two_runs_give_the_same_digests(tmp_path):
    """All randomness is seeded."""
    one, two = (made(tmp_path / name, split=ByGroup(test=0.3)).manifest for name in ("one", "two"))
    assert (one.digests, one.digest, one.files["train.parquet"]) == (two.digests, two.digest, two.files["train.parquet"])


def test_the_card_names_labels_in_both_languages(tmp_path):
    """With counts by split, labels in German and English, and the source files."""
    source = tmp_path / "news.jsonl"
    source.write_text("{}\n", encoding="utf-8")
    card = (made(tmp_path, reader=((), (source,))).folder / "README.md").read_text(encoding="utf-8")
    assert "## Stance (Haltung)" in card
    assert "| warning | Warnung | Warning | 2 | 1 | 1 | 4 |" in card
    assert "| – | ohne Angabe | unlabelled | 2 | 1 | 0 | 3 |" in card
    assert f"| {source} | 3 | ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356 |" in card
    assert "`haltung prepare corpus=tiny`" in card


def test_the_table_shows_labels_and_losses(tmp_path):
    """It has the names of labels and the reasons for dropped segments."""
    prepared = made(tmp_path, [*SEGMENTS, replace(SEGMENTS[0], id="copy")])
    assert all(part in shown(prepared) for part in ("train: 6 segments of 6 articles", "Warning", "duplicate", "unlabelled"))


def test_a_failing_run_leaves_the_old_corpus(tmp_path):
    """Whether reading, cleaning or splitting fails, the old folder is unchanged and no other file
    is left.
    """
    old = snapshot(made(tmp_path).folder)
    for segments, split in (((), Given()), ((replace(SEGMENTS[0], labels={"stance": "x"}),), Given()), (SEGMENTS[:1], ByGroup())):
        with pytest.raises(UserError):
            made(tmp_path, segments, split)
    assert snapshot(tmp_path / "tiny") == old
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_failing_write_leaves_the_old_corpus(tmp_path):
    """Half a surrogate pair in an id makes the writer fail in its second file."""
    old = snapshot(made(tmp_path).folder)
    bad = replace(SEGMENTS[3], id="\ud83d")
    with pytest.raises(UserError, match="half a surrogate pair"):
        made(tmp_path, [*SEGMENTS[:3], bad, *SEGMENTS[4:]])
    assert snapshot(tmp_path / "tiny") == old
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_corpus_is_read_after_a_kill_between_two_renames(tmp_path):
    """The old folder is found under its hidden name and restored by the next reader, or replaced by
    the next writer.
    """
    old = snapshot(made(tmp_path).folder)
    (tmp_path / "tiny").rename(tmp_path / ".tiny.x.old")
    assert snapshot(load(tmp_path / "tiny").folder) == old
    (tmp_path / "tiny").rename(tmp_path / ".tiny.x.old")
    made(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), r"no prepared corpus 'tiny'; run haltung prepare corpus=tiny"),
        (lambda folder: (folder / "manifest.json").write_text("{", encoding="utf-8"), "manifest.json is not JSON"),
        (lambda folder: (folder / "manifest.json").write_text('{"format": 9}', encoding="utf-8"), "is of format 9, this version"),
        (
            lambda folder: (folder / "manifest.json").write_text('{"format": 1}', encoding="utf-8"),
            r"name \(Field required\), scheme \(Field required\)",
        ),
        (lambda folder: (folder / "manifest.json").write_text("[]", encoding="utf-8"), "is of format None"),
        (lambda folder: (folder / "train.parquet").unlink(), "train.parquet is missing; run haltung prepare"),
        (lambda folder: (folder / "test.parquet").write_bytes(b"x"), "test.parquet is not the file that was prepared"),
    ],
)
def test_a_spoiled_folder_is_refused(tmp_path, spoil, message):
    """One sentence names the file and the command to run; the folder does not count as current."""
    folder = made(tmp_path, fingerprint="f").folder
    spoil(folder)
    with pytest.raises(UserError, match=message):
        load(folder)
    assert not is_current(folder, "f")


def test_a_missing_corpus_names_the_nearest(tmp_path):
    """The message suggests a similar name."""
    made(tmp_path)
    with pytest.raises(UserError, match=r"no prepared corpus 'tinny', did you mean 'tiny'\?; run haltung prepare corpus=tinny"):
        load(tmp_path / "tinny")


def test_an_unknown_split_is_refused(tmp_path):
    """The message suggests the nearest of the three."""
    with pytest.raises(UserError, match="'tets', did you mean 'test'"):
        made(tmp_path).segments("tets")


def test_an_empty_corpus_says_what_became_of_its_rows(tmp_path):
    """One sentence says what happened to the rows, and no folder is written."""
    drop = Dropped("", "news.jsonl, line 1", "empty_text", "the text is empty")
    with pytest.raises(UserError, match=r"no segment was read; reasons: empty_text 1 \(the first: news.jsonl, line 1: the"):
        made(tmp_path, (), reader=((drop,),))
    with pytest.raises(UserError, match="no segment was read; check the path and the column mapping"):
        made(tmp_path, ())
    with pytest.raises(UserError, match="none of 1 segments is left; reasons: markup 1"):
        made(tmp_path, [replace(SEGMENTS[0], text="<b>x</b>")])
    with pytest.raises(UserError, match=r"1 segments is left; reasons: too_long 1 .* „a{80}…“\)"):
        made(tmp_path, [replace(SEGMENTS[0], text="a" * 5000)])
    with pytest.raises(UserError, match="empty train split: all of it is in dev or test; reasons: leakage 1"):
        made(tmp_path, [SEGMENTS[0], replace(SEGMENTS[0], id="copy", article="b", split="test")], Given(dev=0))
    with pytest.raises(UserError, match="empty train split: all of it is in dev or test; check the path"):
        made(tmp_path, [replace(segment, split="test") for segment in SEGMENTS])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "mit Leerzeichen"])
def test_a_name_that_is_no_folder_is_refused(tmp_path, name):
    """The name of a corpus can't point outside the output folder."""
    with pytest.raises(UserError, match=r"expected only letters, digits and _ \. -"):
        prepare(name, Fixed(SEGMENTS), SCHEME, CleaningRules(), Given(), tmp_path)


def test_a_file_in_the_way_is_named(tmp_path):
    """It is not overwritten, whether it has the name of the corpus or of the output folder."""
    (tmp_path / "tiny").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="tiny is a file"):
        made(tmp_path)
    with pytest.raises(UserError, match=r"tiny can't be written: (File exists|Not a directory)"):
        made(tmp_path / "tiny")
    assert (tmp_path / "tiny").read_text(encoding="utf-8") == "mine"


def test_a_corpus_is_current_while_config_files_and_haltung_are_the_same(tmp_path, monkeypatch):
    """The fingerprint depends on the content of source files, but not on their dates or on the
    order of keys.
    """
    source = tmp_path / "news.jsonl"
    source.write_text("one", encoding="utf-8")
    first = fingerprint({"name": "tiny", "split": {"seed": 42}}, [source])
    folder = made(tmp_path / "out", fingerprint=first).folder
    os.utime(source, (0, 0))
    assert is_current(folder, fingerprint({"split": {"seed": 42}, "name": "tiny"}, [source]))
    assert not is_current(folder, fingerprint({"name": "tiny", "split": {"seed": 43}}, [source]))
    source.write_text("two", encoding="utf-8")
    assert not is_current(folder, fingerprint({"name": "tiny", "split": {"seed": 42}}, [source]))
    assert not is_current(folder, "")
    monkeypatch.setattr("haltung.__version__", "99")
    source.write_text("one", encoding="utf-8")
    assert not is_current(folder, fingerprint({"name": "tiny", "split": {"seed": 42}}, [source]))
    assert not is_current(tmp_path / "none", first)


def test_a_corpus_of_a_version_with_other_fields_is_prepared_anew():
    """Otherwise a corpus prepared before segments had headlines would never get any: the
    fingerprint covers the columns.
    """
    config = {"name": "tiny", "split": {"seed": 42}}
    before = {"config": config, "files": [], "haltung": haltung.__version__, "format": FORMAT}
    assert fingerprint(config) != hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()


def test_a_class_that_moves_to_another_module_leaves_the_fingerprint():
    """Also for a class nested in the config; another class gives another fingerprint."""

    def of(*targets: str) -> str:
        first, second = targets
        return fingerprint({"reader": {"_target_": first, "parts": [{"_target_": second, "path": "a"}]}})

    same = of("haltung.corpus.union.Union", "haltung.corpus.old.Jsonl")
    assert same == of("haltung.corpus.readers.union.Union", "haltung.corpus.readers.tables.Jsonl")
    assert same != of("haltung.corpus.readers.union.Union", "haltung.corpus.readers.tables.Csv")


def test_a_missing_source_file_is_named(tmp_path):
    """A reader may list a file that does not exist."""
    with pytest.raises(UserError, match=r"gone.jsonl: cannot read this source file \(No such file"):
        made(tmp_path, reader=((), (tmp_path / "gone.jsonl",)))


def test_progress_goes_to_stderr(tmp_path, capsys):
    """Standard output is reserved for the table."""
    prepare("tiny", Fixed(SEGMENTS), SCHEME, CleaningRules(), Given(), tmp_path)
    assert capsys.readouterr().out == ""


def test_a_reader_without_files_is_refused_by_one_sentence(tmp_path: Path) -> None:
    """Without files, a change of the user's source could not be detected."""

    class Nameless:
        def read(self, scheme: Scheme) -> Reading:
            return Reading(SEGMENTS)

    with pytest.raises(UserError, match=r"Nameless has no method files\(\).*\(\) if there are none"):
        prepare("tiny", Nameless(), SCHEME, CleaningRules(), Given(), tmp_path)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="Nameless has no method files"):
        Union([Nameless()]).files()


def test_the_command_line_can_import_without_heavy_libraries():
    """``haltung --help`` must not wait for datasets, pyarrow, scikit-learn or ftfy."""
    heavy = ("datasets", "pyarrow", "sklearn", "pandas", "torch", "ftfy", "datasketch", "numpy", "rich")
    code = f"import sys, haltung.corpus.prepare; print([name for name in {heavy} if name in sys.modules])"
    assert python(code).stdout.strip() == "[]"
