"""Published corpora: 10kGNAD (sections of articles) and GerNTSA (polarity towards a target)."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from haltung.corpus.parsing.fields import Fields
from haltung.corpus.parsing.lines import document_rows, hub_rows
from haltung.corpus.parsing.rows import Fault, Intake, Reading, SourceRow
from haltung.corpus.readers.tables import Csv, Paths, Table, split_files
from haltung.errors import UserError, kind
from haltung.labels import Scheme

_PUBLIC = "10kGNAD is at github.com/tblock/10kGNAD, and on the hub (corpus=gnad10_hub)"


@dataclass(frozen=True)
class Gnad10:
    """10kGNAD, from CSV files (``path``: one, or one for each split) or from the hub (``hub``).

    The files have no header: section, then text, separated by ``;`` and quoted by ``'``. Each
    article is its own group. A single file gives no split: ``configs/corpus/gnad10.yaml`` divides
    the official test file of 1,028 articles.
    """

    path: Paths | None = None
    hub: str | None = None
    on_error: str = "stop"

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read (see ``Reader``); none from the hub."""
        return tuple(path for _, path in split_files(self.path, _PUBLIC)) if self.path is not None else ()

    def read(self, scheme: Scheme) -> Reading:
        """Read all articles (see ``Reader``); raise ``UserError`` too if the hub is unreachable."""
        if (self.path is None) == (self.hub is None):
            raise UserError("10kGNAD is read from a file (path) or from the hub (hub); give exactly one of the two")
        intake = Intake(scheme, str(self.path or self.hub), self.on_error)
        for row in self._rows():
            with intake.row(row):
                data = {**row.fields(), "source": "gnad10", "article": row.made_id}
                intake.add(Fields(data, {"section": "label"}).segment(scheme, row))
        return intake.reading()

    def _rows(self) -> Iterator[SourceRow]:
        if self.hub is not None:
            yield from (replace(row, made_id=f"gnad10-{row.made_id}") for row in hub_rows(self.hub))
        for split, path in split_files(self.path, _PUBLIC) if self.path is not None else ():
            for index, row in enumerate(Csv("", separator=";", quotechar="'", names=["label", "text"]).rows(path)):
                yield replace(row, made_id=f"gnad10-{path.stem}-{index:05d}", split=split)


@dataclass(frozen=True)
class GerNTSA(Table):
    """GerNTSA, from its JSON file.

    It has no article ids, and some texts have several targets: rows with the same text are one
    group, so that no test sentence occurs in another split with another target.
    """

    columns: Mapping[str, str | None] = field(default_factory=lambda: {"text": "opinion_snippet"})
    max_bytes: int = 20_000_000

    def parts(self) -> list[tuple[str, Path]]:
        """Return the file, without a split."""
        return split_files(self.path, "GerNTSA is at github.com/cgoer/GerNTSA")

    def rows(self, path: Path) -> Iterator[SourceRow]:
        """Yield the rows, with the polarity and a group."""
        seen: dict[str, str] = {}
        for row in document_rows(path, "a list of objects with opinion_snippet, target and sentiment", self.max_bytes):
            if isinstance(sentiment := row.data.get("sentiment"), Mapping):
                text, id = str(row.data.get("opinion_snippet")), str(row.data.get("id") or row.made_id).strip()
                # One id has a sentence twice, with two polarities; the rules resolve the conflict.
                unique = f"{id}-again" if seen.get(id) == text else id
                seen.setdefault(id, text)
                group = hashlib.sha1(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
                more = {"id": unique, "polarity": sentiment.get("polarity"), "article": group, "source": "gerntsa"}
                yield replace(row, data={**row.data, **more})
            else:
                fault = Fault("wrong_type", f"'sentiment' is {kind(sentiment)}; expected an object with 'polarity'")
                yield replace(row, fault=row.fault or fault)
