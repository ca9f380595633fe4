"""The loss: masked rows, class weights, smoothing and sides of dyads, compared with torch's own on
the labelled rows, or computed by hand.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

import tiny
from haltung.actors.candidates import ROLES, Candidate
from haltung.evaluation.predictions import UNLABELLED
from haltung.labels import parse
from haltung.models.article import SLOTS
from haltung.records import Dyad, Segment
from haltung.training.losses import actor_loss, actor_targets, class_weights, loss, targets, teacher_loss

MULTI = parse({"name": "m", "tasks": {"themes": {"kind": "multi", "labels": ["a", "b", "c"]}}})


def _row(**labels: object) -> Segment:
    return Segment("x", "x", labels)  # type: ignore[arg-type]


def test_targets_are_indices_and_masks() -> None:
    """A row without a label is masked, not counted as the first label."""
    rows = [_row(stance="support"), _row(), _row(stance="warning")]
    assert targets(rows, tiny.scheme().stance).tolist() == [1, UNLABELLED, 0]


def test_multi_label_targets_tell_no_label_from_not_labelled() -> None:
    """() is an answer: no label applies."""
    rows = [_row(themes=("a", "c")), _row(themes=()), _row()]
    assert targets(rows, MULTI.themes).tolist() == [[1, 0, 1], [0, 0, 0], [UNLABELLED] * 3]


def test_masked_rows_take_no_part_in_a_tasks_loss() -> None:
    """For each task, the loss is that of its labelled rows alone."""
    scheme = tiny.scheme()
    torch.manual_seed(0)
    logits = {"topic": torch.randn(3, 2), "stance": torch.randn(3, 3)}
    gold = {"topic": torch.tensor([0, UNLABELLED, 1]), "stance": torch.tensor([UNLABELLED, 2, UNLABELLED])}
    expected = functional.cross_entropy(logits["topic"][[0, 2]], torch.tensor([0, 1])) + functional.cross_entropy(
        logits["stance"][[1]], torch.tensor([2])
    )
    torch.testing.assert_close(loss(logits, gold, scheme, {}), expected)


def test_a_batch_without_any_label_has_loss_zero_and_a_gradient() -> None:
    """The gradient is 0, and nothing fails."""
    logits = {"topic": torch.randn(2, 2, requires_grad=True), "stance": torch.randn(2, 3, requires_grad=True)}
    gold = {name: torch.tensor([UNLABELLED, UNLABELLED]) for name in logits}
    value = loss(logits, gold, tiny.scheme(), {})
    value.backward()
    assert value.item() == 0.0
    assert logits["topic"].grad is not None
    assert logits["topic"].grad.abs().sum() == 0


@pytest.mark.parametrize(("kind", "ratio"), [("inverse", 4.0), ("root", 2.0)])
def test_rare_labels_weigh_more(kind: str, ratio: float) -> None:
    """A label that is 4 times as rare weighs 4 times as much, or twice with root; the mean over
    rows is 1.
    """
    gold = torch.tensor([0, 0, 0, 0, 1, UNLABELLED])
    weights = class_weights(gold, tiny.scheme().topic, kind)
    assert weights is not None
    assert (weights[1] / weights[0]).item() == pytest.approx(ratio)
    assert weights[gold[:5]].mean().item() == pytest.approx(1.0)


@pytest.mark.parametrize(("weighted", "smoothing"), [(True, 0.0), (False, 0.2), (True, 0.2)])
def test_weights_and_smoothing_enter_the_loss(weighted: bool, smoothing: float) -> None:
    """For single-label and multi-label tasks, equal to torch's own."""
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
    """Torch then takes its unweighted path."""
    assert class_weights(torch.tensor([0, 1]), tiny.scheme().topic, "none") is None


def test_a_label_without_rows_has_a_finite_weight() -> None:
    """There is no division by zero."""
    weights = class_weights(torch.tensor([0, 0]), tiny.scheme().stance, "inverse")
    assert weights is not None
    assert torch.isfinite(weights).all()


def test_multi_label_loss_is_binary_cross_entropy_over_labelled_rows() -> None:
    """Equal to torch's own."""
    torch.manual_seed(0)
    logits = torch.randn(3, 3)
    gold = torch.tensor([[1.0, 0, 1], [UNLABELLED] * 3, [0, 0, 0]])
    expected = functional.binary_cross_entropy_with_logits(logits[[0, 2]], gold[[0, 2]])
    torch.testing.assert_close(loss({"themes": logits}, {"themes": gold}, MULTI, {}), expected)


def test_the_loss_of_a_teacher_is_the_cross_entropy_to_its_probabilities() -> None:
    """By hand: a mean over rows, for multi-label tasks also over labels; 0 without a teacher."""
    logits = {"topic": torch.tensor([[0.0, 0.0], [math.log(3), 0.0]]), "stance": torch.zeros(2, 3)}
    soft = {"topic": torch.tensor([[0.5, 0.5], [1.0, 0.0]]), "stance": torch.tensor([[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])}
    expected = (math.log(2) - math.log(0.75)) / 2 + math.log(3)
    assert teacher_loss(logits, soft, tiny.scheme()).item() == pytest.approx(expected)
    halves = teacher_loss(logits, soft, tiny.scheme(), lambda count: count / 4)
    assert halves.item() == pytest.approx(expected / 2)
    assert teacher_loss(logits, {}, tiny.scheme()).item() == 0.0
    themes = {"themes": torch.tensor([[math.log(3), 0.0, 0.0]])}
    expected = -(0.2 * math.log(0.75) + 0.8 * math.log(0.25) + 2 * math.log(0.5)) / 3
    assert teacher_loss(themes, {"themes": torch.tensor([[0.2, 0.5, 1.0]])}, MULTI).item() == pytest.approx(expected)


NAMED = (Candidate(""), Candidate("PSE"), Candidate("ISR"), Candidate("USA-MED"))


def _sides(*dyads: tuple[str, str]) -> list[dict[tuple[str, str], float]]:
    """Return the probabilities of source and target by code and role, from ``actor_targets``."""
    table = actor_targets(NAMED, [Dyad(source, target, "threat") for source, target in dyads]).view(2, SLOTS, len(ROLES))
    return [{(NAMED[slot].code, ROLES[role]): float(side[slot, role]) for slot, role in side.nonzero().tolist()} for side in table]


def test_a_side_is_a_candidate_in_a_role() -> None:
    """Itself, its state, or somebody within the state, given a candidate of the same state."""
    assert _sides(("PSE", "ISR")) == [{("PSE", "itself"): 1}, {("ISR", "itself"): 1}]
    assert _sides(("PSE-CIV", "USA")) == [{("PSE", "people"): 1}, {("USA-MED", "state"): 1}]
    assert _sides(("USA-MED", "USA-JUD")) == [{("USA-MED", "itself"): 1}, {("USA-MED", "judiciary"): 1}]


def test_several_sources_are_equally_probable() -> None:
    """However many dyads each has; nobody counts only if it is alone on its side."""
    assert _sides(("PSE", "USA-MED"), ("ISR", "USA-MED"), ("ISR", "PSE"), ("", "PSE")) == [
        {("PSE", "itself"): 0.5, ("ISR", "itself"): 0.5},
        {("PSE", "itself"): 0.5, ("USA-MED", "itself"): 0.5},
    ]


def test_a_side_without_anybody_is_nobody() -> None:
    """In a dyad without source or target, and if there is no dyad at all."""
    assert _sides(("PSE", "")) == [{("PSE", "itself"): 1}, {("", "itself"): 1}]
    assert _sides() == [{("", "itself"): 1}, {("", "itself"): 1}]


def test_a_code_that_no_candidate_has_is_left_out() -> None:
    """It does not count as nobody: its side is all 0, unless others share the probability."""
    assert _sides(("IRN", "ISR")) == [{}, {("ISR", "itself"): 1}]
    assert _sides(("PSE-XYZ", "ISR")) == [{}, {("ISR", "itself"): 1}]
    assert _sides(("IRN", "ISR"), ("PSE", "IRN")) == [{("PSE", "itself"): 1}, {("ISR", "itself"): 1}]


def test_the_loss_of_actors_is_the_mean_cross_entropy_of_the_known_sides() -> None:
    """By hand: two sources and two targets, one of them unknown, one of two halves."""
    sides = torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], [[0.2, 0.4, 0.4], [0.6, 0.2, 0.2]]]).log()
    gold = torch.tensor([[[1.0, 0, 0], [0, 0.5, 0.5]], [[0.0, 0, 0], [0, 1, 0]]])
    expected = -(math.log(0.5) + 0.5 * (math.log(0.1) + math.log(0.8)) + math.log(0.2)) / 3
    assert actor_loss(sides, gold).item() == pytest.approx(expected)


def test_sides_that_nobody_knows_have_loss_zero_and_a_gradient() -> None:
    """A batch in which no candidate has a gold code does not fail, and its gradient is 0."""
    sides = torch.full((2, 1, 3), 1 / 3).log().requires_grad_()
    value = actor_loss(sides, torch.zeros(2, 1, 3))
    value.backward()
    assert value.item() == 0.0
    assert sides.grad is not None
    assert sides.grad.abs().sum() == 0
