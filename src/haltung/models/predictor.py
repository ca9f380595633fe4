"""From probabilities to predictions; the same for every kind of model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from haltung.labels import Scheme, Task
from haltung.records import MULTI_THRESHOLD, Prediction, Segment


def predictions(ids: Sequence[str], probabilities: Mapping[str, np.ndarray], scheme: Scheme) -> list[Prediction]:
    """Return a prediction for each id.

    Args:
        ids: of the segments, in order.
        probabilities: of each task, ``[segments, labels]``.
        scheme: names the tasks and labels.
    """
    out = []
    for row, name in enumerate(ids):
        labels: dict[str, str | tuple[str, ...]] = {}
        values: dict[str, dict[str, float]] = {}
        for task in scheme:
            line = probabilities[task.name][row]
            values[task.name] = {label: float(value) for label, value in zip(task.ids, line, strict=True)}
            if task.kind == "single":
                labels[task.name] = task.ids[int(np.argmax(line))]
            else:
                labels[task.name] = tuple(label for label, value in zip(task.ids, line, strict=True) if value >= MULTI_THRESHOLD)
        out.append(Prediction(name, labels, values))
    return out


def indicators(task: Task, segments: Sequence[Segment]) -> np.ndarray:
    """Return which labels the segments have for a task, ``[segments, labels]`` of 0 and 1; each segment is labelled for it."""
    answers = [segment.labels[task.name] for segment in segments]
    has = [(answer,) if isinstance(answer, str) else tuple(answer or ()) for answer in answers]
    return np.array([[int(label in labels) for label in task.ids] for labels in has])


def abstained(prediction: Prediction, thresholds: Mapping[str, float | None]) -> dict[str, bool]:
    """Return the tasks that a prediction is not sure enough of, ``{"stance": True}``; the others are not in it.

    Args:
        prediction: of one segment.
        thresholds: the least highest probability for each single-label task (see ``Calibration.abstaining``); where it is None, no
            probability is high enough.
    """
    return {task: True for task, least in thresholds.items() if least is None or max(prediction.probabilities[task].values()) < least}
