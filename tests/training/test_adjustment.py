"""Class weights are undone in a trained model if dev shows that they harm."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax

import tiny
from haltung.evaluation import predictions
from haltung.models import article
from haltung.models.spec import ArticleSpec
from haltung.records import Segment
from haltung.training.adjustment import adjust, label_weights, share_to_undo
from haltung.training.finetune import finetune
from haltung.training.losses import class_weights, targets
from haltung.training.recipe import Training

WEIGHTS = np.array([0.4, 1.6, 3.2])
RECIPE = Training(epochs=4, batch_size=16, encoder_rate=2e-3, head_rate=1e-2, patience=0, precision="fp32")


def _drawn(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of three labels, the first one frequent, and labels drawn from them."""
    chance = np.random.default_rng(3)
    true = softmax(chance.normal(size=(rows, 3)) * 2 + [2.0, 0.0, -1.0], axis=1)
    return true, np.array([chance.choice(3, p=row) for row in true])


def _weighted(true: np.ndarray) -> np.ndarray:
    weighted = true * WEIGHTS
    return np.asarray(weighted / weighted.sum(axis=1, keepdims=True))


def test_the_weights_of_a_model_that_has_them_are_undone() -> None:
    """For probabilities multiplied by the weights, the share to undo is about 1."""
    true, gold = _drawn(4000)
    assert share_to_undo(_weighted(true), gold, np.arange(4000), WEIGHTS) == pytest.approx(1.0, abs=0.15)


def test_a_model_that_is_right_stays_as_it_is() -> None:
    """Calibrated probabilities gain nothing."""
    true, gold = _drawn(4000)
    assert share_to_undo(true, gold, np.arange(4000), WEIGHTS) == 0.0


def test_a_gain_that_may_be_chance_changes_nothing() -> None:
    """Rows of few articles count as few observations, however many rows there are."""
    true, gold = _drawn(4000)
    assert share_to_undo(_weighted(true), gold, np.arange(4000) % 3, WEIGHTS) == 0.0


def test_labels_weigh_what_texts_beside_add_of_them() -> None:
    """Texts of other sources make the odds of a label 11 times as high: so does its weight."""
    task = tiny.scheme().stance
    common, rare = task.ids[0], task.ids[1]

    def rows(source: str, count: int, label: str) -> list[Segment]:
        return [Segment(f"{source}{label}{n}", "Ja.", {"stance": label}, source=source) for n in range(count)]

    news, written = [*rows("news", 900, common), *rows("news", 99, rare)], rows("written", 1000, rare)
    weights = label_weights([*news, *written], news[::9], task, "none")
    assert weights is not None
    assert float(weights[1] / weights[0]) == pytest.approx(1100 / 100, rel=0.01)
    both, alone = label_weights([*news, *written], news[::9], task, "root"), class_weights(targets([*news, *written], task), task, "root")
    assert torch.allclose(both, alone * weights)
    assert label_weights(news, news[::9], task, "none") is None
    assert label_weights(news, written, task, "none") is None


@pytest.mark.slow
def test_a_network_answers_with_the_weights_undone(bert: Path, tmp_path: Path) -> None:
    """The bias of a head is reduced by a share of the log weights; other tasks stay unchanged."""
    articles = tiny.articles(60)
    train = [one for one in articles if one.labels["stance"] != "warning" or one.position == 0]
    dev = tiny.articles(30, seed=1)
    model = finetune(train, dev, tiny.scheme(), tiny.encoder(bert), ArticleSpec(max_length=32, window=8), RECIPE, 1, tmp_path).model
    task = tiny.scheme().stance
    weights = class_weights(targets(train, task), task, "inverse")
    assert weights is not None
    head = model.network.heads["stance"]
    before = head.bias.detach().clone()
    head.bias.data += 3 * weights.log()
    gold = predictions.gold(dev, task)
    spoiled = model.probabilities(dev)

    known = adjust(copy.deepcopy(model), train, dev, "inverse", model.predict(dev))
    shares = adjust(model, train, dev, "inverse")

    assert known == shares
    after = model.probabilities(dev)
    assert shares["stance"] > 0.5
    assert torch.allclose(head.bias, before + (3 - shares["stance"]) * weights.log(), atol=1e-5)
    rows = np.arange(len(dev))
    assert -np.log(after["stance"][rows, gold]).mean() < -np.log(spoiled["stance"][rows, gold]).mean()
    assert np.array_equal(after["topic"], spoiled["topic"]) == (shares["topic"] == 0)


def test_without_weights_there_is_nothing_to_undo(bert: Path) -> None:
    """Answers stay the same for every task."""
    model = article.build(tiny.encoder(bert), ArticleSpec(max_length=32, window=8), tiny.scheme())
    dev = tiny.articles(6)
    before = model.probabilities(dev)
    assert adjust(model, dev, dev, "none") == {}
    assert all(np.array_equal(before[name], values) for name, values in model.probabilities(dev).items())
