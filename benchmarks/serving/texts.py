"""Return sentences of the embedded corpus with the context that models are trained with."""

from __future__ import annotations

import json
import random
from pathlib import Path

from haltung.records import context

_DATA = Path(__file__).resolve().parents[2] / "data" / "diplomacy"


def segments(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Return ``count`` segments ``{"text", "context"}``, which repeat only after all are drawn."""
    rows = []
    for path in sorted(_DATA.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            article = json.loads(line)
            before: list[str] = []
            for segment in article["segments"]:
                rows.append({"text": segment["text"], "context": context(article["title"], before, before=1, lead=True)})
                before.append(segment["text"])
    random.Random(seed).shuffle(rows)
    return [rows[index % len(rows)] for index in range(count)]
