"""GerNTSA: sentences of German, Austrian and Swiss news with a target and the polarity to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from haltung.corpus.parsing.fields import Fields, kind
from haltung.corpus.parsing.lines import document, existing
from haltung.corpus.parsing.rows import Fault, Intake, Reading
from haltung.errors import UserError
from haltung.labels import Scheme

_COLUMNS = {"text": "opinion_snippet"}


@dataclass(frozen=True)
class GerNTSA:
    """GerNTSA, from its JSON file.

    It has no article ids and texts with several targets: rows with the same text are one group, so
    that no split sees a test sentence with another target.
    """

    path: str
    on_error: str = "stop"
    max_bytes: int = 20_000_000

    def files(self) -> tuple[Path, ...]:
        """Return the file that is read (see ``Reader``)."""
        return (existing(self.path, "GerNTSA is at github.com/cgoer/GerNTSA"),)

    def read(self, scheme: Scheme) -> Reading:
        """Read all rows (see ``Reader``)."""
        (path,) = self.files()
        items = document(path, self.max_bytes)
        if not isinstance(items, list):
            raise UserError(f"{path} is {kind(items)}; expected a list of objects with opinion_snippet, target and sentiment")
        intake = Intake(scheme, str(path), self.on_error)
        seen: dict[str, str] = {}
        for number, item in enumerate(items, 1):
            where, made = f"{path}, item {number}", f"{path.stem}-{number}"
            with intake.row(where, made):
                if not isinstance(item, Mapping):
                    raise Fault("wrong_type", f"the item is {kind(item)}; expected an object")
                sentiment = item.get("sentiment")
                if not isinstance(sentiment, Mapping):
                    raise Fault("wrong_type", f"'sentiment' is {kind(sentiment)}; expected an object with 'polarity'")
                fields = Fields(item, _COLUMNS)
                text, id = fields.text("text", required=True), fields.word("id") or made
                # The source has a sentence twice under one id, with two polarities. Both are read;
                # the cleaning rules settle the conflict.
                unique = f"{id}-again" if seen.get(id) == text else id
                seen.setdefault(id, text)
                group = hashlib.sha1(text.encode()).hexdigest()[:12]
                data = {**item, "id": unique, "polarity": sentiment.get("polarity"), "article": group, "source": "gerntsa"}
                intake.add(Fields(data, _COLUMNS).segment(scheme, where, unique))
        return intake.reading()
