"""A prepared corpus on disk: its manifest, the digests by which runs are compared, its rows."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from haltung import files, labels
from haltung.corpus.split import SPLITS
from haltung.errors import UserError, nearest, one_of
from haltung.files import recover, sha256
from haltung.labels import Scheme, Task
from haltung.records import TEXT_COLUMNS, Dyad, Segment, features, in_context, label_ids, read_record

FORMAT = 1
UNLABELLED = ""
# The meaning of each reason for which a segment is dropped.
REASONS = {row[0]: row[1] for row in files.table("haltung.corpus", "reasons.tsv")}


@dataclass(frozen=True)
class SourceFile:
    """A file that the corpus was made from."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """The content of ``manifest.json``.

    ``segments``, ``articles`` and ``digests`` (of ids, texts and labels) map a split to a value;
    ``labels`` maps task, split and label to a count, "" being no label. ``digest`` covers the rows
    with all columns; ``files`` maps a file of the folder to its SHA-256. ``agreement`` of several
    coders is empty if unknown (see ``agreement.recorded``), as in older manifests.
    """

    format: int
    name: str
    scheme: Mapping[str, Any]
    scheme_digest: str
    segments: Mapping[str, int]
    articles: Mapping[str, int]
    labels: Mapping[str, Mapping[str, Mapping[str, int]]]
    dropped: Mapping[str, int]
    repaired: Mapping[str, int]
    notes: tuple[str, ...]
    rules: Mapping[str, Any]
    split: Mapping[str, Any]
    digests: Mapping[str, str]
    digest: str
    sources: tuple[SourceFile, ...]
    files: Mapping[str, str]
    fingerprint: str
    haltung: str
    created: str
    agreement: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """A prepared corpus: its folder, its manifest, its label scheme or a part of it (``only``)."""

    folder: Path
    manifest: Manifest
    scheme: Scheme

    @property
    def name(self) -> str:
        """The corpus's name."""
        return self.manifest.name

    def only(self, tasks: Sequence[str]) -> Self:
        """Return the corpus with only these tasks; its splits and their digests stay the same."""
        return replace(self, scheme=self.scheme.only(tasks))

    def whole(self) -> Self:
        """Return the corpus with all tasks that it was prepared with."""
        return replace(self, scheme=labels.parse(self.manifest.scheme, str(self.folder / "manifest.json")))

    def segments(self, split: str) -> list[Segment]:
        """Return a split's segments in context; ``UserError`` if it is unknown or has changed."""
        import pyarrow.parquet as pq

        path = self.folder / f"{one_of('split', split, SPLITS)}.parquet"
        # Another command may have prepared the corpus again; its rows do not match this manifest.
        if not path.is_file() or sha256(path) != self.manifest.files[path.name]:
            raise UserError(f"{path} was prepared again while it was in use; run the command again")
        rows = pq.read_table(path, schema=features(self.scheme).arrow_schema).to_pylist()
        segments = []
        for row in rows:
            answers = {name: tuple(row[name]) if isinstance(row[name], list) else row[name] for name in self.scheme.names}
            dyads = tuple(Dyad(**dyad) for dyad in row["dyads"])
            # Corpora prepared by older versions have no headlines or positions.
            texts = {name: row[name] or "" for name in TEXT_COLUMNS}
            soft = json.loads(row["soft"] or "{}")
            segments.append(Segment(**texts, labels=answers, dyads=dyads, split=split, position=row["position"], soft=soft))
        return in_context(segments)


def load(folder: Path) -> Prepared:
    """Open a prepared corpus; ``UserError`` if there is none or a file is missing or changed."""
    remedy = f"run haltung prepare corpus={folder.name}"
    recover(folder)
    path = folder / "manifest.json"
    if not path.is_file():
        others = sorted(other.parent.name for other in folder.parent.glob("[!.]*/manifest.json"))
        raise UserError(f"{folder}: no prepared corpus '{folder.name}'{nearest(folder.name, others)}; {remedy}")
    manifest = read_record(path, Manifest, "manifest", remedy, FORMAT)
    for part in SPLITS:
        if f"{part}.parquet" not in manifest.files:
            raise UserError(f"{path} does not list {part}.parquet; {remedy}")
    for name, digest in manifest.files.items():
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing; {remedy}")
        if sha256(folder / name) != digest:
            raise UserError(f"{folder / name} is not the file that was prepared (its SHA-256 differs from the manifest's); {remedy}")
    return Prepared(folder, manifest, labels.parse(manifest.scheme, str(path)))


def label_counts(splits: Mapping[str, Sequence[Segment]], scheme: Scheme) -> dict[str, dict[str, dict[str, int]]]:
    """Return the count of each label by task, split and label, 0 included."""
    counts: dict[str, dict[str, dict[str, int]]] = {task.name: {} for task in scheme}
    for task in scheme:
        for split, segments in splits.items():
            answers = [segment.labels.get(task.name) for segment in segments]
            count = Counter(label for answer in answers for label in ([UNLABELLED] if answer is None else label_ids(answer)))
            counts[task.name][split] = {label: count[label] for label in (*task.ids, UNLABELLED)}
    return counts


def split_digest(segments: Iterable[Segment], scheme: Scheme) -> str:
    """Return a SHA-256 of id, SHA-1 of the text, and labels of each segment, sorted by id.

    The order of rows and the context do not matter: models with and without context are comparable.
    """
    lines = []
    for segment in segments:
        answers = [segment.labels.get(name) for name in scheme.names]
        plain = [sorted(answer) if isinstance(answer, tuple) else answer for answer in answers]
        # A lone surrogate, possible in a JSON escape, must not break the digest.
        text = hashlib.sha1(segment.text.encode("utf-8", "surrogatepass")).hexdigest()
        lines.append(json.dumps([segment.id, text, plain], ensure_ascii=True))
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def corpus_digest(splits: Mapping[str, Iterable[Segment]], scheme: Scheme) -> str:
    """Return a SHA-256 of the scheme and all rows with all their columns, in any order.

    Empty headlines, positions and soft labels are left out, so that older digests stay valid.
    """
    lines = []
    for split, segments in splits.items():
        for row in (segment.to_row(scheme) for segment in segments):
            columns = {key: cell for key, cell in row.items() if key not in ("headline", "position", "soft") or cell not in ("", None)}
            lines.append(json.dumps([split, columns], ensure_ascii=True, sort_keys=True))
    return hashlib.sha256("\n".join([scheme.digest(), *sorted(lines)]).encode()).hexdigest()


def source(path: Path) -> SourceFile:
    """Return path, SHA-256 and size of a source file; raise ``UserError`` if unreadable."""
    try:
        return SourceFile(str(path), sha256(path), path.stat().st_size)
    except OSError as error:
        raise UserError(f"{path}: cannot read this source file ({error.strerror})") from None


def label_rows(task: Task, manifest: Manifest) -> list[tuple[str, str, str, dict[str, int]]]:
    """Return id, names and counts by split of each label; unlabelled segments, if any, are last."""
    counts = manifest.labels[task.name]
    rows = [(label.id, label.de, label.en, {split: counts[split][label.id] for split in SPLITS}) for label in task.labels]
    unlabelled = {split: counts[split][UNLABELLED] for split in SPLITS}
    return [*rows, ("–", "ohne Angabe", "unlabelled", unlabelled)] if any(unlabelled.values()) else rows
