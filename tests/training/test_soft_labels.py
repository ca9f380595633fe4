"""Labels of several coders are learned as a distribution, and scored against the majority."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from command_line import run_here
from haltung.corpus.parsing.rows import Skip
from haltung.corpus.parsing.votes import settle, shares
from haltung.corpus.store import corpus_digest, load
from haltung.evaluation.predictions import UNLABELLED
from haltung.labels import parse
from haltung.models import predictor
from haltung.models.linear import fit
from haltung.models.spec import LinearSpec
from haltung.records import Segment
from haltung.training.losses import loss

SCHEME = parse({"name": "s", "tasks": {"stance": {"labels": ["for", "against"]}, "themes": {"kind": "multi", "labels": ["a", "b", "c"]}}})
STANCE = SCHEME.only(["stance"])
DIVIDED = ({"stance": "for", "themes": ("a",)}, {"stance": "against", "themes": ("a", "b")}, {"stance": "for", "themes": ()})


def test_coders_who_differ_give_shares() -> None:
    """The label is the majority's; if all agree, or under another policy, there are no shares."""
    assert settle(DIVIDED, SCHEME, "soft") == {"stance": "for", "themes": ("a",)}
    found = shares(DIVIDED, SCHEME, "soft")
    assert found == {"stance": {"for": 2 / 3, "against": 1 / 3}, "themes": {"a": 2 / 3, "b": 1 / 3}}
    assert shares(DIVIDED, SCHEME, "majority") == shares(DIVIDED[:1] * 3, SCHEME, "soft") == {}


def test_a_tie_has_no_answer_and_is_learned_from() -> None:
    """If a majority is required, the row is dropped."""
    tie = [{"stance": "for"}, {"stance": "against"}]
    assert settle(tie, STANCE, "soft") == {"stance": None}
    assert shares(tie, STANCE, "soft") == {"stance": {"for": 0.5, "against": 0.5}}
    with pytest.raises(Skip, match="tied"):
        settle(tie, STANCE, "majority")


def test_a_sheet_keeps_shares_in_the_prepared_corpus(tmp_path: Path) -> None:
    """They are read back unchanged and count in the digest; a column of decisions wins."""
    kinds = [("dafür", "dafür", ""), ("dafür", "dagegen", ""), ("dagegen", "dagegen", ""), ("dafür", "dagegen", "dagegen")]
    rows = [f"{number};Satz {number} über die Brücke am {number}. Mai;{number // 2};{';'.join(kinds[number % 4])}" for number in range(24)]
    (tmp_path / "codes.csv").write_text("\n".join(["id;Satz;Artikel;Anna;Ben;Haltung", *rows]), encoding="utf-8")
    words = ("table=codes.csv", "coders=[Anna,Ben]", "label=Haltung", "corpus.rules.near=0")
    done = run_here("prepare", *words, "annotators=soft", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    prepared = load(tmp_path / "data/prepared/codes_Haltung")
    segments = {segment.id: segment for split in ("train", "dev", "test") for segment in prepared.segments(split)}
    assert len(segments) == 24
    agreed = prepared.manifest.agreement
    assert (agreed["coders"], agreed["settled"], agreed["decided"]) == (2, "soft", True)
    for number in range(24):
        one, divided = segments[str(number)], number % 4 == 1
        assert one.soft == ({"stance": {"dafür": 0.5, "dagegen": 0.5}} if divided else {})
        assert one.labels == {"stance": None if divided else ("dafür", "", "dagegen", "dagegen")[number % 4]}
    hard = {"train": [dataclasses.replace(segment, soft={}) for segment in segments.values()]}
    assert corpus_digest(hard, prepared.scheme) != corpus_digest({"train": list(segments.values())}, prepared.scheme)


def test_the_linear_model_learns_from_shares() -> None:
    """Four of five coders give a lower probability than all five, and a tie a still lower one."""
    plain = [Segment(f"{n}", f"{'lob' if n % 2 else 'tadel'} wort {n % 7}", {"stance": ("against", "for")[n % 2]}) for n in range(40)]
    for kind in ("logistic", "svc"):
        spec, likely = LinearSpec(min_count=1, kind=kind, class_weight="none"), []
        for share in (1.0, 0.8, 0.5):
            soft = {"stance": {"for": share, "against": 1 - share}} if share < 1 else {}
            rows = [
                dataclasses.replace(one, soft=soft, labels={} if share == 0.5 else one.labels) if "lob" in one.text else one
                for one in plain
            ]
            likely.append(fit(rows, STANCE, spec, seed=1).probabilities([Segment("x", "lob wort 3")])["stance"][0, 0])
        assert likely[0] > likely[1] > likely[2], kind


def test_a_distribution_of_one_label_is_that_label() -> None:
    """The loss and its gradient equal those of the hard label, with weights and smoothing; for two
    labels, the loss is the mean of both.
    """
    gold, weights = torch.tensor([0, 1, UNLABELLED, 1]), {"stance": torch.tensor([0.5, 1.5])}
    hot = torch.tensor([[1.0, 0.0], [0.0, 1.0], [UNLABELLED, UNLABELLED], [0.0, 1.0]])
    gradients = []
    for target in (gold, hot):
        logits = torch.tensor([[0.3, -0.2], [1.0, 0.4], [5.0, 2.0], [-1.0, 0.1]], requires_grad=True)
        value = loss({"stance": logits}, {"stance": target}, STANCE, weights, 0.1, lambda count: count)
        value.backward()
        gradients.append((value.item(), logits.grad.tolist()))
    assert gradients[1][0] == pytest.approx(gradients[0][0])
    torch.testing.assert_close(torch.tensor(gradients[1][1]), torch.tensor(gradients[0][1]))
    logits = {"stance": torch.tensor([[0.3, -0.2]])}
    half, one, other = (loss(logits, {"stance": torch.tensor([of])}, STANCE, {}).item() for of in ([0.5, 0.5], [1.0, 0.0], [0.0, 1.0]))
    assert half == pytest.approx((one + other) / 2)


def test_shares_of_segments_are_a_table() -> None:
    """A hard label has 0 and 1, and an unlabelled row is NaN."""
    rows = [
        Segment("1", "x", {"stance": "against"}), Segment("2", "x", {"stance": None}, soft={"stance": {"for": 0.25, "against": 0.75}}),
        Segment("3", "x"),
    ]  # fmt: skip
    table = torch.from_numpy(predictor.shares(SCHEME["stance"], rows)).nan_to_num(UNLABELLED)
    assert table.tolist() == [[0, 1], [0.25, 0.75], [UNLABELLED, UNLABELLED]]
