"""The one interface of everything that predicts, and how probabilities become predictions."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from haltung.actors.finder import Actors
from haltung.labels import Scheme, Task
from haltung.models.calibration import Calibration
from haltung.records import MULTI_THRESHOLD, ActorAnswer, Prediction, Segment, label_ids


class Answers(NamedTuple):
    """What a model says of segments: each task's ``[segments, labels]``, and the actors of each."""

    probabilities: dict[str, np.ndarray]
    actors: Sequence[tuple[ActorAnswer, ...]]


class Predictor(Protocol):
    """A model of any kind: network, linear, ensemble, or the graph of an exported bundle.

    One that finds no actors defines ``probabilities``, others ``answers``. ``precision`` is
    ``fp32``, which exports are compared with, or ``auto``: bfloat16 where that is faster; an
    exported graph has its own. With ``progress`` a bar is shown where this takes over two seconds.
    """

    scheme: Scheme
    calibration: Calibration
    finds_dyads: bool = False  # whether predictions have actors
    reads_articles: bool = False  # whether the other segments of an article play a part in a prediction

    @cached_property
    def actors(self) -> Actors | None:
        """The tables that name actors, if the model finds dyads; others can be set then."""
        return Actors.load() if self.finds_dyads else None

    def probabilities(self, segments: Sequence[Segment], progress: bool = False, precision: str = "auto") -> dict[str, np.ndarray]:
        """Return the calibrated probabilities of each task, float64 ``[segments, labels]``."""
        return self.answers(segments, progress, precision).probabilities

    def answers(
        self, segments: Sequence[Segment], progress: bool = False, precision: str = "auto", stances: Sequence[str] | None = None
    ) -> Answers:
        """Return the probabilities and the actors; ``stances`` are as of ``predict``."""
        return Answers(self.probabilities(segments, progress, precision), [()] * len(segments))

    def predict(
        self, segments: Sequence[Segment], progress: bool = False, stances: Sequence[str] | None = None, *, precision: str = "auto"
    ) -> list[Prediction]:
        """Return a prediction for each segment, in order.

        ``stances`` are the true ones, if they are known, to seek the actors of.
        """
        answers = self.answers(segments, progress, precision, stances)
        return predictions([segment.id for segment in segments], answers.probabilities, self.scheme, answers.actors)


class Model(Predictor, Protocol):
    """A model with its weights, which can be saved and exported."""

    kind: str

    def write(self, folder: Path) -> dict[str, Any]:
        """Write all files but the description into ``folder``; return the model's part of that."""


def predictions(
    ids: Sequence[str], probabilities: Mapping[str, np.ndarray], scheme: Scheme, actors: Sequence[tuple[ActorAnswer, ...]] = ()
) -> list[Prediction]:
    """Return a prediction for each segment's id, given each task's ``[segments, labels]``.

    ``actors`` are those of each segment, if the model finds any.
    """
    out = []
    for row, (name, of) in enumerate(zip(ids, actors or [()] * len(ids), strict=True)):
        labels: dict[str, str | tuple[str, ...]] = {}
        values = {task.name: dict(zip(task.ids, map(float, probabilities[task.name][row]), strict=True)) for task in scheme}
        for task in scheme:
            several = tuple(label for label, value in values[task.name].items() if value >= MULTI_THRESHOLD)
            labels[task.name] = several if task.kind == "multi" else task.ids[int(np.argmax(probabilities[task.name][row]))]
        out.append(Prediction(name, labels, values, of))
    return out


def tables(answers: Sequence[Mapping[str, Mapping[str, float]]], scheme: Scheme) -> dict[str, np.ndarray]:
    """Return each task's ``[segments, labels]``, given the probabilities of predictions."""
    rows = {task.name: [[one[task.name][label] for label in task.ids] for one in answers] for task in scheme}
    return {task.name: np.array(rows[task.name]).reshape(-1, len(task)) for task in scheme}


def indicators(task: Task, segments: Sequence[Segment]) -> np.ndarray:
    """Return the labels of labelled segments as ``[segments, labels]`` of 0 and 1."""
    return np.array([[int(label in label_ids(segment.labels[task.name])) for label in task.ids] for segment in segments])


def abstained(prediction: Prediction, thresholds: Mapping[str, float | None]) -> dict[str, bool]:
    """Return the tasks whose prediction is too uncertain, as ``{"stance": True}``.

    ``thresholds`` has the lowest sufficient probability for each single-label task, None where no
    probability suffices (see ``Calibration.abstaining``).
    """
    return {task: True for task, least in thresholds.items() if least is None or max(prediction.probabilities[task].values()) < least}
