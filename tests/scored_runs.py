"""Predictions of a known accuracy, as stored in an evaluated run."""

from __future__ import annotations

import numpy as np

from haltung.evaluation.predictions import ScoredSplit
from haltung.labels import parse

SCHEME = parse(
    {
        "name": "news",
        "tasks": {
            "stance": {"de": "Haltung", "en": "Stance", "labels": ["support", "warning", "neutral"]},
            "themes": {"kind": "multi", "labels": ["a", "b"]},
        },
    }
)

OTHER_SCHEME = parse(
    {"name": "news", "tasks": {"stance": {"labels": ["warning", "support", "neutral"]}, "themes": {"kind": "multi", "labels": ["a", "b"]}}}
)


def scored_split(accuracy: float, seed: int = 0, articles: int = 40, split: str = "test") -> ScoredSplit:
    """Return predictions for ten segments per article, with this expected accuracy. The gold labels
    do not depend on ``seed``.
    """
    size = articles * 10
    gold = np.random.default_rng(99).integers(0, 3, size)
    rng = np.random.default_rng(seed)
    predicted = np.where(rng.random(size) < accuracy, gold, (gold + rng.integers(1, 3, size)) % 3)
    themes = np.random.default_rng(98).integers(0, 2, (size, 2))
    values = {
        "stance": np.eye(3)[predicted] * 0.7 + 0.1,
        "themes": np.where(rng.random((size, 2)) < accuracy, themes, 1 - themes) * 0.8 + 0.1,
    }
    groups = tuple(f"a{row // 10}" for row in range(size))
    return ScoredSplit(tuple(map(str, range(size))), groups, SCHEME, values, {"stance": gold, "themes": themes}, "news", split)
