"""Class weights are undone in a trained model's logits, as far as dev says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax
from torch import nn

from haltung.evaluation import predictions
from haltung.evaluation.predictions import UNLABELLED
from haltung.models.article import ArticleModel
from haltung.models.neural import NeuralModel
from haltung.models.predictor import fitted, tables, tempered
from haltung.records import Prediction, Segment
from haltung.training.losses import class_weights, targets

_SHARES = np.linspace(0, 1, 21).tolist()  # that are tried
_ERRORS = 2.0  # a gain below so many standard errors may be chance


def adjust(
    model: NeuralModel | ArticleModel, train: Sequence[Segment], dev: Sequence[Segment], kind: str,
    answers: Sequence[Prediction] | None = None,
) -> dict[str, float]:  # fmt: skip
    """Take a share of the log class weights from the heads' biases; return the share of each task.

    ``kind`` is ``Training.class_weight``, with which the uncalibrated ``model`` has learned from
    ``train``; see ``share_to_undo``. Tasks of several labels stay as they are. ``answers`` are the
    model's predictions for ``dev``, where they are known.
    """
    probabilities = model.probabilities(dev) if answers is None else tables([one.probabilities for one in answers], model.scheme)
    shares = {}
    for task in model.scheme:
        gold, weights = predictions.gold(dev, task), class_weights(targets(train, task), task, kind)
        if weights is None or task.kind != "single" or not (labelled := gold != UNLABELLED).any():
            continue
        articles = np.array([segment.article or segment.id for segment in dev])[labelled]
        share = share_to_undo(probabilities[task.name][labelled], gold[labelled], articles, weights.numpy())
        head = model.network.heads[task.name]
        assert isinstance(head, nn.Linear)
        head.bias.data -= share * weights.log().to(model.device)
        shares[task.name] = share
    return shares


def share_to_undo(probabilities: np.ndarray, gold: np.ndarray, articles: np.ndarray, weights: np.ndarray) -> float:
    """Return the share, 0 to 1, of a task's class weights that should be undone in its logits.

    Weights raise the probability of rare labels beyond how often they are right. What is taken from
    the logits is a share of the weights' logarithms, the one with the least log loss at its best
    temperature; 0 if the gain over that is within two standard errors, of sums over ``articles``.

    Source: Menon et al. (2021), "Long-tail learning via logit adjustment", there the other way
    round: to weigh the labels of a model that has learned without weights.

    ``probabilities`` are ``[rows, labels]``, ``gold`` ``[rows]`` label indices, ``articles``
    ``[rows]`` names, ``weights`` ``[labels]``.
    """
    logits, rows = np.log(np.clip(probabilities, 1e-30, None)), np.arange(len(gold))

    def log_losses(share: float) -> np.ndarray:
        adjusted = softmax(logits - share * np.log(weights), axis=1)
        likely = tempered(adjusted, fitted(adjusted, gold, "single"), "single")
        return np.asarray(-np.log(likely[rows, gold]))

    losses = {share: log_losses(share) for share in _SHARES}
    best = min(losses, key=lambda share: float(losses[share].mean()))
    gain = losses[0.0] - losses[best]
    by_article = np.bincount(np.unique(articles, return_inverse=True)[1], gain)
    return float(best) if gain.sum() > _ERRORS * np.sqrt((by_article**2).sum()) else 0.0
