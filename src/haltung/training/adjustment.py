"""Logit adjustment: undo in the logits, as far as dev says, what makes rare labels too probable."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor, nn

from haltung.evaluation import predictions
from haltung.evaluation.predictions import UNLABELLED
from haltung.labels import Task
from haltung.models.article import ArticleModel
from haltung.models.neural import NeuralModel
from haltung.models.predictor import fitted, tables, tempered
from haltung.records import Prediction, Segment
from haltung.training.losses import class_weights, targets

_SHARES = np.linspace(0, 1, 21).tolist()  # the candidates
_ERRORS = 2.0  # a gain below this many standard errors may be chance


def adjust(
    model: NeuralModel | ArticleModel, train: Sequence[Segment], dev: Sequence[Segment], kind: str,
    answers: Sequence[Prediction] | None = None, known: Mapping[str, float] | None = None,
) -> dict[str, float]:  # fmt: skip
    """Subtract a share of the labels' log weights from the heads' biases; return it by task.

    The weights are the class weights of ``kind`` (``Training.class_weight``), with which the
    uncalibrated ``model`` was trained on ``train``, times how much more frequent a label is in
    ``train`` than in its segments from the sources of ``dev``: additional training texts may have
    been chosen for rare labels. See ``share_to_undo``. Multi-label tasks stay unchanged.
    ``answers`` are predictions for ``dev``, if available; ``known`` shares are used as given.
    """
    probabilities = model.probabilities(dev) if answers is None else tables([one.probabilities for one in answers], model.scheme)
    shares = {}
    for task in model.scheme:
        gold, weights = predictions.gold(dev, task), label_weights(train, dev, task, kind)
        if weights is None or not (labelled := gold != UNLABELLED).any():
            continue
        articles = np.array([segment.article or segment.id for segment in dev])[labelled]
        fits = (probabilities[task.name][labelled], gold[labelled], articles, weights.numpy())
        share = share_to_undo(*fits) if known is None else known.get(task.name, 0.0)
        head = model.network.heads[task.name]
        assert isinstance(head, nn.Linear)
        head.bias.data -= share * weights.log().to(model.device)
        shares[task.name] = share
    return shares


def label_weights(train: Sequence[Segment], dev: Sequence[Segment], task: Task, kind: str) -> Tensor | None:
    """Return label weights relative to dev's sources, ``[labels]``; None if there are none."""
    sources = {segment.source for segment in dev}
    alike = [segment for segment in train if segment.source in sources]
    weights = class_weights(every := targets(train, task), task, kind)
    if task.kind != "single" or not 0 < len(alike) < len(train):
        return weights if task.kind == "single" else None
    frequent, there = (torch.bincount(gold[gold != UNLABELLED], minlength=len(task)) + 1.0 for gold in (every, targets(alike, task)))
    return (1.0 if weights is None else weights) * (frequent / frequent.sum()) / (there / there.sum())


def share_to_undo(probabilities: np.ndarray, gold: np.ndarray, articles: np.ndarray, weights: np.ndarray) -> float:
    """Return the share, 0 to 1, of a task's log label weights to subtract from its logits.

    Weights raise the probability of rare labels above their true frequency. The share returned is
    the one with the lowest log loss at its best temperature, or 0 if its gain over 0 is within two
    standard errors, computed from the sums over ``articles``.

    Sources: Menon et al. (2021), "Long-tail learning via logit adjustment", which conversely
    weights the labels of a model trained without weights; Saerens et al. (2002), "Adjusting the
    Outputs of a Classifier to New a Priori Probabilities".

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
