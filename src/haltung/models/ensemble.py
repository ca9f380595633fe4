"""Ensembles: the probabilities of several models, pooled with weights that are fitted on dev."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from haltung.actors.finder import Actors
from haltung.errors import UserError
from haltung.labels import Scheme, Task
from haltung.models.predictor import Answers, Calibration, Model, Stances, calibrated, predictions, shares
from haltung.records import ActorAnswer, Prediction, Segment, by_key

_MAX_WEIGHT = 10.0  # if every prediction on dev is right, the loss has no minimum
_MIN_PROBABILITY = 1e-6  # so that a member that excludes a label can be overruled


@dataclass(frozen=True)
class Member:
    """A model with its name, as the user knows it."""

    name: str
    model: Model


class EnsembleModel(Model):
    """A weighted sum of the log probabilities (or log odds) of models of one scheme, for each task.

    This is the logarithmic opinion pool of Genest and Zidek (1986), "Combining Probability
    Distributions", section 3. The weights need not add up to 1, so that a pool of uncertain members
    can be more certain than each. Actors have the mean probability of the members that find any.
    """

    kind = "ensemble"

    def __init__(self, members: Sequence[Member], weights: Mapping[str, Sequence[float]], scheme: Scheme) -> None:
        """Pool the members; ``weights`` has a non-negative number per task and member."""
        self.members, self.scheme, self.calibration = tuple(members), scheme, Calibration()
        self.weights = {task: tuple(values) for task, values in weights.items()}
        self.finds_dyads = any(member.model.finds_dyads for member in members)
        self.reads_articles = any(member.model.reads_articles for member in members)

    @property
    def actors(self) -> Actors | None:
        """The tables of actors, or None if no member finds dyads; set for all members that do."""
        return next((member.model.actors for member in self.members if member.model.finds_dyads), None)

    @actors.setter
    def actors(self, actors: Actors | None) -> None:
        for member in self.members:
            if member.model.finds_dyads:
                member.model.actors = actors

    def answers(
        self, segments: Sequence[Segment], progress: bool = False, precision: str = "auto", stances: Stances = None, seek: bool = True
    ) -> Answers:
        """Return the calibrated probabilities of each task, ``[segments, labels]``, and actors."""
        return self.pooled([member.model.answers(segments, progress, precision, stances, seek) for member in self.members])

    def pooled(self, answers: Sequence[Answers]) -> Answers:
        """Pool the answers of the members, as ``answers`` does."""
        out = {}
        for task in self.scheme:
            logits = _logits([of_member.probabilities[task.name] for of_member in answers], task)
            out[task.name] = _normalised(np.tensordot(self.weights[task.name], logits, axes=1), task)
        actors = list(map(mean_actors, zip(*(of_member.actors for of_member in answers), strict=True)))
        return Answers(calibrated(out, self.scheme, self.calibration), actors)

    def write(self, folder: Path) -> dict[str, Any]:
        """Return the model's part of the description; the members are bundles of their own."""
        return {"members": [member.name for member in self.members], "weights": self.weights}


def pool(members: Sequence[Member], segments: Sequence[Segment], progress: bool = False) -> tuple[EnsembleModel, list[Prediction]]:
    """Return the ensemble with the smallest log loss on segments, and its predictions for them.

    The segments are the dev split, on which no member was fitted. For a task without labels there,
    members get equal weights. ``UserError`` for fewer than two members, or different schemes.
    """
    if len(members) < 2:
        raise UserError(f"an ensemble needs at least two members, found {len(members)}; name two or more runs, as in members=[A,B]")
    scheme = members[0].model.scheme
    for member in members[1:]:
        if member.model.scheme.digest() != scheme.digest():
            knows = f"{member.name} has the scheme '{member.model.scheme.name}' (digest {member.model.scheme.digest()})"
            other = f"{members[0].name} '{scheme.name}' ({scheme.digest()})"
            raise UserError(f"{knows}, but {other}; all models of an ensemble must have the same scheme")
    answers = [member.model.answers(segments, progress) for member in members]
    weights = {}
    for task in scheme:
        rows = [row for row, segment in enumerate(segments) if segment.labels.get(task.name) is not None]
        logits = _logits([of_member.probabilities[task.name][rows] for of_member in answers], task)
        weights[task.name] = _fitted(logits, [segments[row] for row in rows], task)
    model = EnsembleModel(members, weights, scheme)
    pooled = model.pooled(answers)
    return model, predictions([segment.id for segment in segments], pooled.probabilities, scheme, pooled.actors)


def mean_actors(answers: Sequence[Sequence[ActorAnswer]]) -> tuple[ActorAnswer, ...]:
    """Return a segment's actors by code, with mean probabilities over the answers that have any."""
    given = [answer for answer in answers if answer]
    same = by_key((actor.code, actor) for answer in given for actor in answer)

    def mean(actors: Sequence[ActorAnswer], side: str) -> dict[str, float]:
        return {role: sum(getattr(actor, side).get(role, 0.0) for actor in actors) / len(given) for role in getattr(actors[0], side)}

    return tuple(ActorAnswer(code, of[0].spans, mean(of, "source"), mean(of, "target")) for code, of in same.items())


def _logits(probabilities: Sequence[np.ndarray], task: Task) -> np.ndarray:
    """Return log probabilities, or log odds if multi-label, ``[members, segments, labels]``."""
    values = np.clip(np.stack(probabilities), _MIN_PROBABILITY, 1 - _MIN_PROBABILITY if task.kind == "multi" else 1.0)
    return np.asarray(np.log(values) - np.log1p(-values) if task.kind == "multi" else np.log(values))


def _normalised(logits: np.ndarray, task: Task) -> np.ndarray:
    from scipy.special import expit, softmax

    return np.asarray(expit(logits) if task.kind == "multi" else softmax(logits, axis=1))


def _fitted(member_logits: np.ndarray, segments: Sequence[Segment], task: Task) -> list[float]:
    """Return the non-negative weights with the smallest log loss, which is convex in them."""
    from scipy.optimize import minimize
    from scipy.special import log_expit, log_softmax

    equal = np.full(len(member_logits), 1 / len(member_logits))
    if not segments:
        return equal.tolist()
    gold = shares(task, segments)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = np.tensordot(weights, member_logits, axes=1)
        # [segments, labels] each: terms of the log likelihood, and their gradient in the logits
        several = task.kind == "multi"
        terms = gold * log_expit(logits) + (1 - gold) * log_expit(-logits) if several else gold * log_softmax(logits, axis=1)
        gradient = gold - _normalised(logits, task)
        return -terms.sum() / len(gold), -(member_logits * gradient).sum(axis=(1, 2)) / len(gold)

    minimum = minimize(loss, equal, jac=True, method="L-BFGS-B", bounds=[(0, _MAX_WEIGHT)] * len(member_logits))
    return [float(value) for value in minimum.x] if minimum.x.sum() > 0 else equal.tolist()
