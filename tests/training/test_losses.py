"""The loss: masked rows, class weights, smoothing; checked against torch's own on the rows that
count.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

import tiny
from haltung.labels import parse
from haltung.records import Segment
from haltung.training.losses import UNLABELLED, class_weights, loss, targets

MULTI = parse({"name": "m", "tasks": {"themes": {"kind": "multi", "labels": ["a", "b", "c"]}}})


def _row(**labels: object) -> Segment:
    return Segment("x", "x", labels)  # type: ignore[arg-type]


def test_targets_are_indices_and_masks() -> None:
    """A row without a label is marked, not counted as the first label."""
    rows = [_row(stance="support"), _row(), _row(stance="warning")]
    assert targets(rows, tiny.scheme().stance).tolist() == [1, UNLABELLED, 0]


def test_multi_label_targets_tell_no_label_from_not_labelled() -> None:
    """() is an answer: none of them."""
    rows = [_row(themes=("a", "c")), _row(themes=()), _row()]
    assert targets(rows, MULTI.themes).tolist() == [[1, 0, 1], [0, 0, 0], [UNLABELLED] * 3]


def test_masked_rows_take_no_part_in_a_tasks_loss() -> None:
    """The loss is the one of the labelled rows alone, per task."""
    scheme = tiny.scheme()
    torch.manual_seed(0)
    logits = {"topic": torch.randn(3, 2), "stance": torch.randn(3, 3)}
    gold = {"topic": torch.tensor([0, UNLABELLED, 1]), "stance": torch.tensor([UNLABELLED, 2, UNLABELLED])}
    expected = functional.cross_entropy(logits["topic"][[0, 2]], torch.tensor([0, 1])) + functional.cross_entropy(
        logits["stance"][[1]], torch.tensor([2])
    )
    torch.testing.assert_close(loss(logits, gold, scheme, {}), expected)


def test_a_batch_without_any_label_has_loss_zero_and_a_gradient() -> None:
    """The step is harmless, and does not fail."""
    logits = {"topic": torch.randn(2, 2, requires_grad=True), "stance": torch.randn(2, 3, requires_grad=True)}
    gold = {name: torch.tensor([UNLABELLED, UNLABELLED]) for name in logits}
    value = loss(logits, gold, tiny.scheme(), {})
    value.backward()
    assert value.item() == 0.0
    assert logits["topic"].grad is not None
    assert logits["topic"].grad.abs().sum() == 0


@pytest.mark.parametrize(("kind", "ratio"), [("inverse", 4.0), ("root", 2.0)])
def test_rare_labels_weigh_more(kind: str, ratio: float) -> None:
    """Four times as rare is four times as heavy, or twice with the root; the mean over the rows is
    1.
    """
    gold = torch.tensor([0, 0, 0, 0, 1, UNLABELLED])
    weights = class_weights(gold, tiny.scheme().topic, kind)
    assert weights is not None
    assert (weights[1] / weights[0]).item() == pytest.approx(ratio)
    assert weights[gold[:5]].mean().item() == pytest.approx(1.0)


@pytest.mark.parametrize(("weighted", "smoothing"), [(True, 0.0), (False, 0.2), (True, 0.2)])
def test_weights_and_smoothing_enter_the_loss(weighted: bool, smoothing: float) -> None:
    """Of single-label and multi-label tasks; equality with torch's own."""
    torch.manual_seed(0)
    logits, weight = torch.randn(4, 3), torch.tensor([0.5, 1.0, 4.0]) if weighted else None
    stance = torch.tensor([0, 2, 2, 1])
    expected = functional.cross_entropy(logits, stance, weight=weight, label_smoothing=smoothing)
    scheme = tiny.scheme().only(["stance"])
    torch.testing.assert_close(loss({"stance": logits}, {"stance": stance}, scheme, {"stance": weight}, smoothing), expected)
    themes = torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 0], [0, 1, 1]])
    expected = functional.binary_cross_entropy_with_logits(logits, themes * (1 - smoothing) + smoothing / 2, pos_weight=weight)
    torch.testing.assert_close(loss({"themes": logits}, {"themes": themes}, MULTI, {"themes": weight}, smoothing), expected)


def test_no_weighting_is_none() -> None:
    """So that torch takes its unweighted path."""
    assert class_weights(torch.tensor([0, 1]), tiny.scheme().topic, "none") is None


def test_a_label_without_rows_has_a_finite_weight() -> None:
    """Nothing is divided by zero."""
    weights = class_weights(torch.tensor([0, 0]), tiny.scheme().stance, "inverse")
    assert weights is not None
    assert torch.isfinite(weights).all()


def test_multi_label_loss_is_binary_cross_entropy_over_labelled_rows() -> None:
    """Equality with torch's own."""
    torch.manual_seed(0)
    logits = torch.randn(3, 3)
    gold = torch.tensor([[1.0, 0, 1], [UNLABELLED] * 3, [0, 0, 0]])
    expected = functional.binary_cross_entropy_with_logits(logits[[0, 2]], gold[[0, 2]])
    torch.testing.assert_close(loss({"themes": logits}, {"themes": gold}, MULTI, {}), expected)
