"""Real requests: sentences of the embedded corpus behind headline, lead and the sentence before, as
models are trained on them.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from haltung.records import context

_DATA = Path(__file__).resolve().parents[2] / "data" / "diplomacy"


def segments(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Return ``count`` segments, drawn without repetition as long as there are enough,
    ``{"text", "context"}`` each.
    """
    found = []
    for path in sorted(_DATA.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            article = json.loads(line)
            told: list[str] = []
            for segment in article["segments"]:
                found.append({"text": segment["text"], "context": context(article["title"], told, before=1, lead=True)})
                told.append(segment["text"])
    random.Random(seed).shuffle(found)
    return [found[place % len(found)] for place in range(count)]
