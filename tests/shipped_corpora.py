"""The written corpora as they are shipped."""

import json
from functools import cache
from pathlib import Path

from haltung import labels
from haltung.corpus.readers.articles import Articles, Pairs
from haltung.records import Segment


@cache
def segments_of(root: Path, name: str) -> tuple[Segment, ...]:
    """Return the segments of ``data/NAME``."""
    reader = (Pairs if name == "challenge" else Articles)(str(root / "data" / name))
    return reader.read(labels.load(root / "configs/labels/diplomacy.yaml")).segments


def countries(folder: Path) -> dict[str, str]:
    """Return the country that decides spelling (``DE``, ``AT`` or ``CH``), by article with one."""
    rows = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return {row["article"]: row["country"] for row in rows if "country" in row}
