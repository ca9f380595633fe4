"""An archive of events, written as JSON Lines (an article a line) and as CSV (an event a row)."""

from __future__ import annotations

import csv
import json
from typing import TextIO

from haltung.events.records import COLUMNS, ArticleEvents


class ArchiveWriter:
    """Writes the events of articles to files that are open for writing; either may be None."""

    def __init__(self, lines: TextIO | None, table: TextIO | None) -> None:
        self._lines = lines
        self._table = csv.writer(table) if table else None
        if self._table:
            self._table.writerow(COLUMNS)

    def add(self, events: ArticleEvents) -> None:
        """Write an article's events."""
        if self._lines:
            self._lines.write(json.dumps(events.to_dict(), ensure_ascii=False) + "\n")
        if self._table:
            self._table.writerows([_cell(getattr(event, name)) for name in COLUMNS] for event in events.events)


def _cell(value: object) -> object:
    return "" if value is None else round(value, 4) if isinstance(value, float) else value
