"""Learning curves: the same recipe trained on nested, growing parts of train, and scored on the same dev split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from haltung import tracking
from haltung.experiments import train as runs
from haltung.corpus.store import Prepared
from haltung.corpus.subsample import part
from haltung.evaluation.report import plots, study_plots
from haltung.evaluation.metrics.results import Spread
from haltung.evaluation.metrics.classification import summary
from haltung.evaluation.report.tables import spread
from haltung.evaluation.report.i18n import count, word
from haltung.experiments.train import Plan
from haltung.tracking import Store


@dataclass(frozen=True)
class Point:
    """One size: the share of train, the mean number of segments that it is, and each task's macro-F1 on dev over the seeds."""

    share: float
    segments: float
    macro_f1: Mapping[str, Spread]


@dataclass(frozen=True)
class LearningCurve:
    """A finished learning curve, smallest size first."""

    run: str
    where: str
    plot: Path
    points: tuple[Point, ...]


def learning_curve(name: str, plans: Sequence[Sequence[Plan]], store: Store, told: Callable[[Point], None]) -> LearningCurve:
    """Train each size with each seed as a part of one run, which holds figures and plot; the test split is not opened.

    A seed draws its own order of articles (``corpus.shares``), so the spread over seeds holds the luck of the draw too; at the full size it
    is the training's alone.

    Args:
        name: of the parent run.
        plans: for each share of train one for each seed, smallest share first.
        store: where to.
        told: is called after each size.

    Raises:
        UserError: as ``runs.train``.
    """
    first = plans[0][0]
    key = "/".join(plan.place.name for row in plans for plan in row)
    place = first.folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
    resumed = runs.read_state(place).get("run") if first.resume else None
    tags = {"haltung.kind": "curve", "haltung.corpus": first.corpus.name, **tracking.provenance(first.command)}
    train_split, scheme = first.corpus.segments("train"), first.corpus.scheme
    with tracking.run(store, name, tags=tags, resume=resumed) as parent:
        place.mkdir(parents=True, exist_ok=True)
        runs.write_state(place, {"run": parent.id, "where": parent.where, "finished": False})
        parent.params({**first.config, "seed": ",".join(str(plan.seed) for plan in plans[0])})
        points = []
        for row in plans:
            done = summary([runs.train(plan, store, parent).evaluation for plan in row])
            sizes = [len(part(train_split, plan.share, plan.seed)) for plan in row]
            points.append(Point(row[0].share, sum(sizes) / len(sizes), {task: figures["macro_f1"] for task, figures in done.tasks.items()}))
            step = round(points[-1].segments)
            parent.history([{"step": step, **{f"curve/{task}_macro_f1": value.mean for task, value in points[-1].macro_f1.items()}}])
            told(points[-1])
        last = points[-1].macro_f1
        parent.metrics(
            {"dev": {task: {"macro_f1": {"mean": value.mean} | ({"sd": value.deviation} if value.deviation is not None else {})}
                     for task, value in last.items()}}
        )  # fmt: skip
        by_task = {
            scheme[task].title(first.language): [
                (point.segments, point.macro_f1[task].mean, point.macro_f1[task].deviation) for point in points
            ]
            for task in last
        }
        plot = plots.save(study_plots.sizes(by_task, f"{first.corpus.name} · dev", first.language), place / "learning_curve.png")[0]
        parent.artifact(plot, "curve")
        parent.text(json.dumps([asdict(point) for point in points], indent=2) + "\n", "curve/points.json")
        runs.write_state(place, {"run": parent.id, "where": parent.where, "finished": True})
    return LearningCurve(parent.id, parent.where, plot, tuple(points))


def table(points: Sequence[Point], corpus: Prepared, language: str = "en") -> tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return title, columns and rows of a table with one row for each size."""
    tasks = list(points[-1].macro_f1)
    columns = (
        word("share_of_train", language),
        word("segments", language),
        *(f"{corpus.scheme[task].title(language)}, {word('macro_f1', language)}" for task in tasks),
    )
    rows = tuple(
        (f"{point.share:g}", count(round(point.segments), language), *(spread(point.macro_f1[task], language) for task in tasks))
        for point in points
    )
    return f"{corpus.name} · dev", columns, rows
