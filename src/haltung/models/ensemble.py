"""Several trained models that answer as one: a logarithmic opinion pool, with weights found on dev."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from haltung.errors import UserError
from haltung.labels import Scheme, Task
from haltung.models.calibration import Calibration, calibrated
from haltung.models.predictor import Model, indicators, predictions
from haltung.records import Prediction, Segment

# Where every answer on dev is right, the loss falls without end.
_MOST = 10.0

# A member that holds a label for impossible may be overruled: no probability counts as less.
_LEAST = 1e-6


@dataclass(frozen=True)
class Member:
    """A model with its name, as the user knows it."""

    name: str
    model: Model


class EnsembleModel(Model):
    """Models of one scheme whose log probabilities (log odds, of a multi-label task) are added, each times its weight for the task.

    Source: Genest and Zidek (1986), "Combining Probability Distributions", section 3, the logarithmic pool; the weights need not add up to
    1, so that a pool of unsure members may be surer than each.
    """

    kind = "ensemble"

    def __init__(self, members: Sequence[Member], weights: Mapping[str, Sequence[float]], scheme: Scheme) -> None:
        """Put the parts together; ``weights`` has for each task a number of at least 0 for each member."""
        self.members = tuple(members)
        self.weights = {task: tuple(values) for task, values in weights.items()}
        self.scheme = scheme
        self.calibration = Calibration()

    def probabilities(self, segments: Sequence[Segment], progress: bool = False, precision: str = "auto") -> dict[str, np.ndarray]:
        """Return the calibrated probabilities of each task, ``[segments, labels]``."""
        return self.pooled([member.model.probabilities(segments, progress, precision) for member in self.members])

    def pooled(self, answers: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Return the calibrated probabilities of each task from those of each member."""
        out = {}
        for task in self.scheme:
            logits = np.tensordot(self.weights[task.name], scores([answer[task.name] for answer in answers], task), axes=1)
            out[task.name] = _normalised(logits, task)
        return calibrated(out, self.scheme, self.calibration)

    def write(self, folder: Path) -> dict[str, Any]:
        """Return the ensemble's part of the description; its members are bundles of their own."""
        weights = {task: list(values) for task, values in self.weights.items()}
        return {"members": [member.name for member in self.members], "weights": weights}


def pool(members: Sequence[Member], segments: Sequence[Segment], progress: bool = False) -> tuple[EnsembleModel, list[Prediction]]:
    """Return an ensemble whose weights, for each task, have the smallest log loss on these segments, and what it says of them.

    Args:
        members: at least two models of one scheme.
        segments: the dev split, on which no member was fitted; a task without a label there gets equal weights.
        progress: show a bar for each member.

    Raises:
        UserError: there are not two members, or their schemes differ.
    """
    if len(members) < 2:
        raise UserError(f"an ensemble needs at least two members, found {len(members)}; name two or more runs, as in members=[A,B]")
    scheme = members[0].model.scheme
    for member in members[1:]:
        if member.model.scheme.digest() != scheme.digest():
            raise UserError(
                f"{member.name} knows the scheme '{member.model.scheme.name}' (digest {member.model.scheme.digest()}), but "
                f"{members[0].name} '{scheme.name}' ({scheme.digest()}); an ensemble is made of models of one scheme"
            )
    answers = [member.model.probabilities(segments, progress) for member in members]
    weights = {}
    for task in scheme:
        rows = [row for row, segment in enumerate(segments) if segment.labels.get(task.name) is not None]
        given = scores([answer[task.name][rows] for answer in answers], task)
        weights[task.name] = _fitted(given, [segments[row] for row in rows], task)
    model = EnsembleModel(members, weights, scheme)
    return model, predictions([segment.id for segment in segments], model.pooled(answers), scheme)


def scores(probabilities: Sequence[np.ndarray], task: Task) -> np.ndarray:
    """Return what is added up, ``[members, segments, labels]``: log probabilities, or log odds where a segment may have several labels."""
    values = np.clip(np.stack(probabilities), _LEAST, 1 - _LEAST if task.kind == "multi" else 1.0)
    logs: np.ndarray = np.log(values) - np.log1p(-values) if task.kind == "multi" else np.log(values)
    return logs


def _normalised(logits: np.ndarray, task: Task) -> np.ndarray:
    from scipy.special import expit, softmax

    return np.asarray(expit(logits) if task.kind == "multi" else softmax(logits, axis=1))


def _fitted(given: np.ndarray, segments: Sequence[Segment], task: Task) -> list[float]:
    """Return the weights with the smallest log loss, at least 0; the loss is convex in them, so there is one minimum."""
    from scipy.optimize import minimize
    from scipy.special import log_expit, log_softmax

    equal = np.full(len(given), 1 / len(given))
    if not segments:
        return equal.tolist()
    gold = indicators(task, segments)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = np.tensordot(weights, given, axes=1)
        # [segments, labels] each: the log likelihood's terms, and its slope in the logits
        several = task.kind == "multi"
        terms = gold * log_expit(logits) + (1 - gold) * log_expit(-logits) if several else gold * log_softmax(logits, axis=1)
        slope = gold - _normalised(logits, task)
        return -terms.sum() / len(gold), -(given * slope).sum(axis=(1, 2)) / len(gold)

    found = minimize(loss, equal, jac=True, method="L-BFGS-B", bounds=[(0, _MOST)] * len(given))
    return [float(value) for value in found.x] if found.x.sum() > 0 else equal.tolist()
