"""A prepared corpus on disk, opened and verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haltung.corpus import manifest as manifests
from haltung.corpus.card import REASONS
from haltung.corpus.manifest import UNLABELLED, Manifest
from haltung.corpus.split import SPLITS
from haltung.errors import UserError, listed, nearest
from haltung.files import recover, sha256
from haltung.labels import Scheme, Task
from haltung.records import TEXT_COLUMNS, Answer, Dyad, Segment, features

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset
    from rich.console import Group
    from rich.table import Table


@dataclass(frozen=True)
class Prepared:
    """A prepared corpus: its folder, its manifest, its label scheme; that may have been cut to some of the tasks (``only``)."""

    folder: Path
    manifest: Manifest
    scheme: Scheme

    @property
    def name(self) -> str:
        """The corpus's name."""
        return self.manifest.name

    def only(self, tasks: Sequence[str]) -> Prepared:
        """Return the corpus with these tasks of its scheme alone; splits and their digests stay what they are.

        Raises:
            UserError: there is no such task.
        """
        return replace(self, scheme=self.scheme.only(tasks))

    def whole(self) -> Prepared:
        """Return the corpus with all tasks that it was prepared with."""
        return replace(self, scheme=manifests.scheme_of(self.manifest, str(self.folder / "manifest.json")))

    def open(self, split: str) -> Dataset:
        """Return a split as a dataset with the columns of ``records.features``, in memory.

        Raises:
            UserError: there is no such split.
        """
        from datasets import Dataset, DatasetInfo
        from datasets.table import InMemoryTable

        declared = features(self.scheme)
        # Not Dataset.from_parquet: it keeps a second copy of every corpus in the user's cache.
        return Dataset(InMemoryTable(self._table(split)), info=DatasetInfo(features=declared))

    def segments(self, split: str) -> list[Segment]:
        """Return a split as segments.

        Raises:
            UserError: there is no such split.
        """
        return [self._segment(row, split) for row in self._table(split).to_pylist()]

    def _table(self, split: str) -> pa.Table:
        import pyarrow.parquet as pq

        if split not in SPLITS:
            raise UserError(f"unknown split '{split}'{nearest(split, SPLITS)}; a prepared corpus has {listed(SPLITS)}")
        name = f"{split}.parquet"
        # Another command may have prepared the corpus anew since it was opened; its rows must not pass for the ones of this manifest.
        if not (self.folder / name).is_file() or sha256(self.folder / name) != self.manifest.files[name]:
            raise UserError(f"{self.folder / name} has been prepared anew while it was in use; run the command again")
        return pq.read_table(self.folder / name, schema=features(self.scheme).arrow_schema)

    def _segment(self, row: dict[str, Any], split: str) -> Segment:
        labels: dict[str, Answer] = {}
        for name in self.scheme.names:
            answer = row[name]
            labels[name] = tuple(answer) if isinstance(answer, list) else answer
        dyads = tuple(Dyad(**dyad) for dyad in row["dyads"])
        return Segment(**{name: row[name] for name in TEXT_COLUMNS}, labels=labels, dyads=dyads, split=split)


def load(folder: Path) -> Prepared:
    """Open a prepared corpus and verify every file of it.

    Raises:
        UserError: there is none, or it is of another format version, or a file of it is missing or was changed.
    """
    again = f"run haltung prepare corpus={folder.name}"
    recover(folder)
    path = folder / "manifest.json"
    if not path.is_file():
        there = sorted(other.parent.name for other in folder.parent.glob("[!.]*/manifest.json"))
        raise UserError(f"{folder}: no prepared corpus '{folder.name}'{nearest(folder.name, there)}; {again}")
    manifest = manifests.read(path)
    for part in SPLITS:
        if f"{part}.parquet" not in manifest.files:
            raise UserError(f"{path} names no {part}.parquet; {again}")
    for name, digest in manifest.files.items():
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing; {again}")
        if sha256(folder / name) != digest:
            raise UserError(f"{folder / name} is not the file that was prepared (its SHA-256 differs from the manifest's); {again}")
    return Prepared(folder, manifest, manifests.scheme_of(manifest, str(path)))


def table(prepared: Prepared, language: str = "en") -> Group:
    """Return the terminal's tables: segments per split and label for each task, then what was dropped and mended."""
    from rich.console import Group
    from rich.text import Text

    manifest = prepared.manifest
    parts: list[Any] = [Text(prepared.name, style="bold")]
    parts += [Text(f"  {part}: {manifest.segments[part]:,} segments of {manifest.articles[part]:,} articles") for part in SPLITS]
    parts += [_labels(task, manifest, language) for task in prepared.scheme]
    if manifest.dropped or manifest.repaired:
        parts.append(_losses(manifest))
    parts += [Text(f"Note: {note}.", style="yellow") for note in manifest.notes]
    return Group(*parts)


def _labels(task: Task, manifest: Manifest, language: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    made = Table(title=task.title(language), title_justify="left")
    made.add_column("label")
    made.add_column("Deutsch" if language == "de" else "English")
    for part in SPLITS:
        made.add_column(part, justify="right")
    made.add_column("share of train", justify="right")
    counts = manifest.labels[task.name]
    rows = [(label.id, label.name(language), label.id) for label in task.labels]
    if any(counts[part][UNLABELLED] for part in SPLITS):
        rows.append(("–", "ohne Angabe" if language == "de" else "unlabelled", UNLABELLED))
    for label, name, key in rows:
        share = counts["train"][key] / max(1, manifest.segments["train"])
        # Text, not markup: a label may be called "[b]".
        made.add_row(Text(label), Text(name), *(f"{counts[part][key]:,}" for part in SPLITS), f"{share:.1%}")
    return made


def _losses(manifest: Manifest) -> Table:
    from rich.table import Table
    from rich.text import Text

    made = Table(title="Dropped and mended", title_justify="left")
    made.add_column("reason")
    made.add_column("meaning")
    made.add_column("segments", justify="right")
    for reason, count in sorted(manifest.dropped.items()):
        made.add_row(Text(reason), Text(REASONS.get(reason, "see dropped.jsonl")), f"{count:,}")
    for what, count in sorted(manifest.repaired.items()):
        made.add_row(Text(f"mended: {what}"), Text("see repaired.jsonl"), f"{count:,}")
    return made
