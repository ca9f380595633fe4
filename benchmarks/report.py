"""Time to write the report of an evaluation, without the time of the model.

    .venv/bin/python benchmarks/report.py   # two tasks with 11 and 10 labels, 1,000 articles
    .venv/bin/python benchmarks/report.py --segments 3000

The peer in the same run is scipy's bootstrap (``scipy.stats.bootstrap``, BCa, the same number of
draws) of a single figure, macro-F1 of one task, over articles. Aims: under 10 s in total, under 3 s
for the intervals, a page under 5 MB. Times are processor seconds, which other load on the machine
hardly affects.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from haltung.cli.build import scheme_of
from haltung.evaluation.error_analysis.analysis import ErrorAnalysis, find_mistakes
from haltung.evaluation.error_analysis.name_sensitivity import name_sensitivity
from haltung.evaluation.error_analysis.slices import slices
from haltung.evaluation.metrics.calibration import PRECISIONS, measure, thresholds
from haltung.evaluation.metrics.classification import Counts, article_counts, evaluate, with_intervals
from haltung.evaluation.predictions import ScoredSplit
from haltung.evaluation.report import page as report
from haltung.evaluation.statistics.bootstrap import DRAWS
from haltung.labels import Scheme
from haltung.records import Prediction, Segment


def main() -> None:
    """Measure, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=12_000)
    parser.add_argument("--articles", type=int, default=1_000)
    options = parser.parse_args()
    scheme = scheme_of("diplomacy")
    segments, scored = drawn(scheme, options.segments, options.articles)
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        result = timed(seconds, "metrics and intervals", lambda: with_intervals(evaluate(scored), scored))
        calibration = timed(
            seconds, "calibration", lambda: measure(scored, dict.fromkeys(scheme.names, 1.0), thresholds(scored, PRECISIONS), scored)
        )
        sliced = timed(seconds, "slices", lambda: slices(scored, segments))
        sensitivity = timed(
            seconds, "masked names", lambda: name_sensitivity(scored, segments, lambda rows: [same(row, scheme) for row in rows])
        )
        wrong = timed(seconds, "errors", lambda: find_mistakes(scored, segments))
        analysis = ErrorAnalysis("drawn", "test", sliced, sensitivity, wrong, 0, None)
        page = timed(
            seconds,
            "page and plots",
            lambda: report.write(Path(scratch), result, scored, calibration=calibration, analysis=analysis)[0],
        )
        megabytes = page.stat().st_size / 1e6
    whole = sum(seconds.values())
    peer: dict[str, float] = {}
    timed(peer, "scipy, one metric of one task", lambda: one_by_scipy(article_counts(scored, scheme["stance"])))
    table = Table("part", "processor seconds", title=f"{options.segments:,} predictions, {options.articles:,} articles, {DRAWS:,} draws")
    for name, value in {**seconds, "the whole": whole, **peer}.items():
        table.add_row(name, f"{value:.2f}")
    Console().print(table)
    ratio = peer["scipy, one metric of one task"] / seconds["metrics and intervals"]
    print(json.dumps({**seconds, "whole": whole, "page_megabytes": megabytes, "scipy_one_metric_over_all_of_ours": ratio}))


def drawn(scheme: Scheme, count: int, articles: int) -> tuple[list[Segment], ScoredSplit]:
    """Return segments with gold labels, and probabilities that are right for about two thirds."""
    rng = np.random.default_rng(0)
    gold, probabilities = {}, {}
    for task in scheme:
        gold[task.name] = rng.integers(0, len(task), count)
        logits = rng.normal(size=(count, len(task)))
        logits[np.arange(count), gold[task.name]] += 2.2
        exponents = np.exp(logits)
        probabilities[task.name] = exponents / exponents.sum(axis=1, keepdims=True)
    states = ["Peru", "Chile", "Laos", "Ghana", "Malta"]
    segments = [
        Segment(
            f"s{n}",
            f"{states[n % 5]} warnt {states[(n + 1) % 5]} nicht zum {n}. Mal vor einem Bau am Grenzfluss, sagte ein Sprecher.",
            {task.name: task.ids[gold[task.name][n]] for task in scheme},
            context=f"Streit um den Grenzfluss, Tag {n}",
            article=f"a{n % articles}",
            date=f"{2010 + n % 12}-05-01",
            genre="news",
        )
        for n in range(count)
    ]
    ids, groups = tuple(row.id for row in segments), tuple(row.article for row in segments)
    return segments, ScoredSplit(ids, groups, scheme, probabilities, gold, "drawn", "test")


def same(row: Segment, scheme: Scheme) -> Prediction:
    """Return uniform probabilities, in place of a model, whose time is not to be measured."""
    even = {task.name: dict.fromkeys(task.ids, 1 / len(task)) for task in scheme}
    return Prediction(row.id, {task.name: task.ids[0] for task in scheme}, even)


def one_by_scipy(articles: Counts) -> Any:
    """Return scipy's BCa interval of macro-F1, resampling articles."""

    def macro(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        sums = articles.sums[drawn].sum(axis=axis - 1 if axis < 0 else axis)
        return articles.of(sums).macro_f1()

    rows = np.arange(len(articles.sums))
    return stats.bootstrap((rows,), macro, n_resamples=DRAWS, method="BCa", batch=50, vectorized=True, axis=-1)


def timed(into: dict[str, float], name: str, act: Callable[[], Any]) -> Any:
    """Return the result of ``act``, and store its processor seconds in ``into``."""
    began = time.process_time()
    out = act()
    into[name] = time.process_time() - began
    return out


if __name__ == "__main__":
    main()
