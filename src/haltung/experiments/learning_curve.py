"""Learning curves: one recipe trained on growing parts of train, scored on one dev split."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from haltung import tracking
from haltung.corpus.store import Prepared
from haltung.corpus.stratify import subsample
from haltung.evaluation.metrics.classification import summary
from haltung.evaluation.metrics.results import Spread
from haltung.evaluation.report import style, training_plots
from haltung.evaluation.report.i18n import count, word
from haltung.evaluation.report.tables import Grid, spread
from haltung.experiments.train import Plan, directory_of, tracked, train
from haltung.tracking import Run, Store


@dataclass(frozen=True)
class CurvePoint:
    """A share of train: its mean number of segments, and macro-F1 on dev over seeds, by task."""

    share: float
    segments: float
    macro_f1: Mapping[str, Spread]


def learning_curve(
    plans: Sequence[Plan], shares: Sequence[float], store: Store, callback: Callable[[CurvePoint], None]
) -> tuple[Run, Path, list[CurvePoint]]:
    """Train on each share of train with each seed; return run, plot, and points by share.

    There is a plan for each seed, all of one name. The smallest share comes first: it is done
    soonest, and shows mistakes. Test is not opened. Each seed draws its own order of articles
    (``corpus.stratify.subsample``), so the spread over seeds contains the luck of the draw; at the
    full size it is that of the training alone. Raises ``UserError`` as ``train``.
    """
    first, name = plans[0], f"{plans[0].name}-curve"
    rows = [[replace(plan, name=f"{plan.name}-{share:g}", share=share) for plan in plans] for share in sorted(set(shares))]
    directory = directory_of(name, [plan for row in rows for plan in row])
    tags = {"haltung.kind": "curve", "haltung.corpus": first.corpus.name, **tracking.provenance(first.command)}
    config = {**first.config, "seed": ",".join(str(plan.seed) for plan in plans)}
    train_split, scheme = first.corpus.segments("train"), first.corpus.scheme
    with tracked(directory, name, store, tags, config, resume=first.resume) as parent:
        points = []
        for row in rows:
            done = summary([train(plan, store, parent).evaluation for plan in row])
            sizes = [len(subsample(train_split, plan.share, plan.seed)) for plan in row]
            macro_f1 = {task: metrics["macro_f1"] for task, metrics in done.tasks.items()}
            points.append(CurvePoint(row[0].share, sum(sizes) / len(sizes), macro_f1))
            step = round(points[-1].segments)
            parent.history([{"step": step, **{f"curve/{task}_macro_f1": value.mean for task, value in macro_f1.items()}}])
            callback(points[-1])
        parent.metrics({"dev": {task: {"macro_f1": metrics["macro_f1"]} for task, metrics in done.metrics().items()}})
        by_task = {
            scheme[task].title(first.language): [(one.segments, one.macro_f1[task].mean, one.macro_f1[task].deviation) for one in points]
            for task in done.tasks
        }
        figure = training_plots.learning_curve(by_task, f"{first.corpus.name} · dev", first.language)
        plot = style.save(figure, directory / "learning_curve.png")
        parent.artifact(plot, "curve")
        parent.text(json.dumps([asdict(point) for point in points], indent=2) + "\n", "curve/points.json")
    return parent, plot, points


def table(points: Sequence[CurvePoint], corpus: Prepared, language: str = "en") -> Grid:
    """Return a table with one row for each share."""
    tasks = list(points[-1].macro_f1)
    titles = [f"{corpus.scheme[task].title(language)}, {word('macro_f1', language)}" for task in tasks]
    rows = tuple(
        (f"{point.share:g}", count(round(point.segments), language), *(spread(point.macro_f1[task], language) for task in tasks))
        for point in points
    )
    return Grid(f"{corpus.name} · dev", (word("share_of_train", language), word("segments", language), *titles), rows)
