"""Few-shot learning: heads fitted by logistic regression on a frozen encoder."""

import random
from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from haltung.encoders.load import Encoder
from haltung.errors import UserError
from haltung.labels import Scheme, Task
from haltung.models.neural import NeuralModel, build
from haltung.models.spec import FewShotSpec
from haltung.records import Segment, label_ids

_CENTRED = 500  # texts from which the corpus's mean and deviation are estimated
_CERTAIN = 30.0  # log odds of a label that all rows have; negated for one that none has


def fit(segments: Sequence[Segment], scheme: Scheme, encoder: Encoder, spec: FewShotSpec, seed: int) -> NeuralModel:
    """Fit a head per task to descriptions and a few segments; ``UserError`` if it has neither."""
    model, rng = build(encoder, spec.network, scheme), random.Random(seed)
    chosen = {task.name: drawn(segments, task, spec.shots, rng) for task in scheme}
    if not spec.description and (empty := [task for task, rows in chosen.items() if not rows]):
        raise UserError(f"the task '{empty[0]}' has no label to learn from; give model.description=1 or a larger model.shots")
    rows = sorted({*chain(*chosen.values()), *rng.sample(range(len(segments)), min(_CENTRED, len(segments)))})
    vectors = model.vectors([segments[row] for row in rows], progress=True)
    for task in scheme:
        said = model.vectors([Segment("", f"{label.de}: {label.definition}".removesuffix(": ")) for label in task.labels])[task.name]
        own = chosen[task.name]
        gold = np.array([[int(label in label_ids(segments[row].labels[task.name])) for label in task.ids] for row in own])
        gold = gold.reshape(-1, len(task))
        parts = head(vectors[task.name], np.searchsorted(rows, own), gold, said, task.kind, spec)
        model.network.heads[task.name].load_state_dict(dict(zip(("weight", "bias"), map(torch.from_numpy, parts), strict=True)))
    return model


def drawn(segments: Sequence[Segment], task: Task, shots: int | None, rng: random.Random) -> list[int]:
    """Return the rows to train a task on: all labelled ones, or at most ``shots`` per label."""
    rows = [row for row, segment in enumerate(segments) if segment.labels.get(task.name) is not None]
    if shots is None:
        return rows
    of_label = ([row for row in rows if label in label_ids(segments[row].labels[task.name])] for label in task.ids)
    return sorted({row for of in of_label for row in rng.sample(of, min(shots, len(of)))})


def head(
    read: np.ndarray, rows: np.ndarray, gold: np.ndarray, said: np.ndarray, kind: str, spec: FewShotSpec
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights ``[labels, width]`` and bias ``[labels]`` of one head.

    ``read`` are text vectors ``[texts, width]``, ``gold`` the labels of those at ``rows``, ``said``
    description vectors ``[labels, width]``. Texts and descriptions are each centred by their own
    mean, because an encoder maps them to different regions.
    """
    mean, deviation = read.mean(axis=0), read.std(axis=0).clip(min=1e-6)
    table, weights = (read[rows] - mean) / deviation, np.ones(len(rows))
    if spec.description:
        table = np.vstack([table, (said - said.mean(axis=0)) / deviation])
        gold = np.vstack([gold, np.eye(len(said), dtype=gold.dtype)])
        weights = np.append(weights, np.full(len(said), spec.description))
    logistic = LogisticRegression(C=spec.C / read.shape[1], class_weight=spec.class_weight, max_iter=1000)
    coefficients, bias = np.zeros((gold.shape[1], read.shape[1])), np.full(gold.shape[1], -_CERTAIN)
    if kind == "single":
        seen = np.flatnonzero(gold.any(axis=0))
        bias[seen] = 0.0  # for an only label, and for the first of two
        if len(seen) > 1:
            logistic.fit(table, gold.argmax(axis=1), weights)
            last = seen[-len(logistic.coef_) :]
            coefficients[last], bias[last] = logistic.coef_, logistic.intercept_
    for label in range(gold.shape[1]) if kind == "multi" else ():
        if gold[:, label].all():
            bias[label] = _CERTAIN
        elif gold[:, label].any():
            logistic.fit(table, gold[:, label], weights)
            coefficients[label], bias[label] = logistic.coef_[0], logistic.intercept_[0]
    coefficients = coefficients / deviation
    return coefficients, bias - coefficients @ mean
