"""Texts for benchmarks: sentences of the embedded corpus, and whole articles of any corpus."""

from __future__ import annotations

import random
from collections.abc import Sequence

from haltung.cli.build import make, scheme_of
from haltung.cli.config import compose, plain
from haltung.records import Segment, in_context


def segments(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Return ``count`` rows ``{"text", "context"}``, which repeat only after all are drawn."""
    rows = [{"text": segment.text, "context": segment.context} for segment in _read("diplomacy")]
    random.Random(seed).shuffle(rows)
    return [rows[index % len(rows)] for index in range(count)]


def articles(corpus: str, sentences: int, seed: int = 0) -> list[list[Segment]]:
    """Return random whole articles with at least ``sentences`` in total, or all articles."""
    found: dict[str, list[Segment]] = {}
    for segment in _read(corpus):
        found.setdefault(segment.group, []).append(segment)
    drawn: list[list[Segment]] = []
    for name in random.Random(seed).sample(sorted(found), len(found)):
        if sum(map(len, drawn)) < sentences:
            drawn.append(sorted(found[name], key=lambda one: one.position or 0))
    return drawn


def _read(corpus: str) -> Sequence[Segment]:
    """Return the segments of a corpus with the context that models are trained with."""
    config = plain(compose("prepare", [f"corpus={corpus}"]))["corpus"]
    return in_context(make(config["reader"], "corpus.reader").read(scheme_of(config["labels"])).segments)
