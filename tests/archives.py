"""A small archive of events, and the file that ``haltung events`` would write for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from haltung.events import plover as crosswalk
from haltung.events.records import Event


def event(source: str, target: str, stance: str = "criticism", date: str = "2020-01-15", **more: Any) -> Event:
    """Return an event whose sentence names source and target."""
    plover = crosswalk.event(stance, "")
    values = {
        "article": f"a-{date}", "segment": f"a-{date}-{source}-{target}-{stance}", "medium": "Blatt", "topic": "security",
        "probability": 0.8,
        "plover": plover.event, "mode": plover.mode, "quad": plover.quad, "intensity": plover.intensity, "start": 0, "end": 0,
        "source_span": None, "target_span": None, "text": f"{source} zu {target}: {stance}.",
    }  # fmt: skip
    return Event(date=date, source=source, target=target, stance=stance, **(values | more))


EVENTS = (
    event("USA", "RUS", "criticism", "2020-01-15"),
    event("USA", "RUS", "coercion", "2020-01-20", probability=0.6),
    event("RUS", "USA", "rejection", "2020-02-03"),
    event("USA-OPP", "RUS", "warning", "2020-04-05", topic="energy"),
    event("RUS", "USA", "cooperation", "2020-04-06"),
    event("USA-OPP", "USA", "criticism", "2020-04-07"),
    event("FRA", "DEU", "support", "2020-06-01"),
    event("FRA", "", "request", "2020-06-02"),
)


def lines(path: Path, events: Sequence[Event] = EVENTS, quiet: Sequence[str] = ("2020-05-01",)) -> Path:
    """Write an archive as ``haltung events`` does; articles of ``quiet`` days have no events."""
    articles: dict[tuple[str, str], list[Event]] = {(f"a-{date}", date): [] for date in quiet}
    for one in events:
        articles.setdefault((one.article, one.date), []).append(one)
    rows = [
        {"id": article, "headline": f"Überschrift {date}", "date": date, "events": [asdict(one) for one in group]}
        for (article, date), group in articles.items()
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
