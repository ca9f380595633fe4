"""Sample sizes from which temperature scaling helps and intervals are reliable: `python experiments/small_samples.py temperature|intervals`.

All data are simulated; no model is trained. Figures: 2026-12-01-small-samples.md.

``temperature``: a model predicts softmax(z), while labels are drawn from softmax(z / T + an effect of the article), so that the optimal temperature
is close to T. It is fitted on n segments, as `haltung train` does, and compared with T = 1 by the log loss on 20,000 others.

``intervals``: a model is right with a probability that depends on the article (Beta distribution, intraclass correlation). Measured are coverage and
width of the 95 % intervals of macro-F1, as computed by `haltung evaluate`; the true value is that on 20,000 articles.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
from scipy.special import log_softmax, softmax

from haltung.evaluation.metrics.classification import evaluate, with_intervals
from haltung.evaluation.predictions import ScoredSplit
from haltung.labels import parse
from haltung.models.predictor import fitted

SIZES = (10, 14, 20, 30, 50, 75, 100, 150, 200, 500, 2000)
TRUE = (0.5, 0.7, 1.0, 1.5, 2.0)
PER_ARTICLE, TEST, DRAWS = 6, 20_000, 120
LEANING = 0.5  # standard deviation of an article's effect on each label, in logits


def drawn(rng: np.random.Generator, n: int, labels: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Return simulated logits and labels of n segments in articles; the accuracy is about 0.65."""
    meant = rng.integers(0, labels, n)
    logits = rng.normal(0, 1.3, (n, labels))
    logits[np.arange(n), meant] += 2.0
    leaning = np.repeat(rng.normal(0, LEANING, (-(-n // PER_ARTICLE), labels)), PER_ARTICLE, axis=0)[:n]
    shares = softmax(logits + leaning, axis=1).cumsum(axis=1)
    gold = np.minimum((rng.random((n, 1)) > shares).sum(axis=1), labels - 1)
    return logits * temperature, gold


def losses(logits: np.ndarray, gold: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """Return the log loss for each temperature."""
    return np.array([-log_softmax(logits / one, axis=1)[np.arange(len(gold)), gold].mean() for one in temperatures])


def temperature() -> Iterator[str]:
    """Yield the rows of the table: gain in log loss by n and true temperature."""
    rng = np.random.default_rng(1)
    grid = np.geomspace(0.02, 50, 80)
    for labels in (3, 11):
        yield f"\n{labels} labels | T = 1 | " + " | ".join(f"n={n}" for n in SIZES)
        for true in TRUE:
            curve = losses(*drawn(rng, TEST, labels, true), grid)
            bare = float(np.interp(0, np.log(grid), curve))
            cells = []
            for n in SIZES:
                found = []
                for _ in range(DRAWS if n < 500 else DRAWS // 4):
                    logits, gold = drawn(rng, n, labels, true)
                    found.append(fitted(softmax(logits, axis=1), gold, "single"))
                gain = bare - np.interp(np.log(np.clip(found, grid[0], grid[-1])), np.log(grid), curve)
                cells.append(f"{gain.mean():+.3f} ({np.quantile(gain, 0.05):+.3f}; {np.mean(gain < -1e-4):.0%})")
            yield f"{true:g} | {bare:.3f} | " + " | ".join(cells)


def intervals() -> Iterator[str]:
    """Yield coverage and width of the intervals of macro-F1, by number of articles and segments per article."""
    scheme = parse({"name": "s", "tasks": {"stance": {"kind": "single", "en": "s", "de": "s", "labels": {
        one: {"en": one, "de": one, "definition": one} for one in ("a", "b", "c")
    }}}})  # fmt: skip
    rng = np.random.default_rng(2)
    for size in (1, PER_ARTICLE):
        for articles in (10, 20, 40, 80):
            values, inside, widths = [], [], []
            truth = evaluate(scored(rng, scheme, 20_000, size)).tasks["stance"].macro_f1
            for _ in range(60):
                split = scored(rng, scheme, articles, size)
                metrics = with_intervals(evaluate(split), split).tasks["stance"]
                values.append(metrics.macro_f1)
                if interval := metrics.intervals.get("macro_f1"):
                    inside.append(interval.low <= truth <= interval.high)
                    widths.append(interval.high - interval.low)
            yield (
                f"{size} | {articles} | {truth:.3f} | {np.std(values):.3f} | {np.mean(inside):.3f} | {np.mean(widths):.3f}"
                f" | {np.quantile(widths, 0.9):.3f}"
            )


def scored(rng: np.random.Generator, scheme: object, articles: int, size: int) -> ScoredSplit:
    """Return simulated predictions with a mean accuracy of 0.7 and an intraclass correlation of 0.2."""
    n, correlation = articles * size, 0.2
    strength = (1 - correlation) / correlation
    chance = np.repeat(rng.beta(0.7 * strength, 0.3 * strength, articles), size)
    gold = rng.choice(3, n, p=(0.5, 0.3, 0.2))
    right = rng.random(n) < chance
    predicted = np.where(right, gold, (gold + rng.integers(1, 3, n)) % 3)
    groups = tuple(map(str, np.repeat(np.arange(articles), size)))
    return ScoredSplit(
        tuple(map(str, range(n))), groups, scheme, {"stance": np.eye(3)[predicted] * 0.7 + 0.1}, {"stance": gold}, "drawn", "test"
    )  # type: ignore[arg-type]


if __name__ == "__main__":
    for line in {"temperature": temperature, "intervals": intervals}[sys.argv[1]]():
        print(line, flush=True)
