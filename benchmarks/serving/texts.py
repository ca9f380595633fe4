"""Return sentences of the embedded corpus with the context that models are trained with."""

from __future__ import annotations

import random

from haltung import labels
from haltung.corpus.readers.articles import Articles
from haltung.files import shipped
from haltung.records import in_context


def segments(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Return ``count`` segments ``{"text", "context"}``, which repeat only after all are drawn."""
    scheme = labels.load(shipped("configs/labels/diplomacy.yaml"))
    read = in_context(Articles(str(shipped("data/diplomacy"))).read(scheme).segments)
    rows = [{"text": segment.text, "context": segment.context} for segment in read]
    random.Random(seed).shuffle(rows)
    return [rows[index % len(rows)] for index in range(count)]
