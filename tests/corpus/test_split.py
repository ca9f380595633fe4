"""Guarantees of splits for any corpus."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from haltung.corpus.clean import CleaningRules
from haltung.corpus.deduplicate import separate
from haltung.corpus.split import SPLITS, ByDate, ByGroup, ByTarget, Given, Split, Splits, Stratified
from haltung.errors import UserError
from haltung.labels import parse
from haltung.records import Segment

SCHEME = parse(
    {
        "name": "tiny",
        "tasks": {"stance": {"labels": ["warning", "threat", "neutral"]}, "tags": {"kind": "multi", "labels": ["a", "b"]}},
    }
)
STANCES = ("warning", "threat", "neutral", None)


@st.composite
def corpora(draw: st.DrawFn) -> list[Segment]:
    """Draw articles of one to six segments, some without an article or a label, with splits by
    article and dates.
    """
    sizes = draw(st.lists(st.integers(1, 6), min_size=12, max_size=40))
    made: list[Segment] = []
    for number, size in enumerate(sizes):
        split = SPLITS[number % 3] if number < 9 else draw(st.sampled_from(("train", "test")))
        article = draw(st.sampled_from((f"a{number}", "")))
        for _ in range(size):
            stance = draw(st.sampled_from(STANCES))
            day = draw(st.integers(1, 9))
            date = f"2026-0{1 + number % 9}-0{day}"
            labels = {"stance": stance, "tags": draw(st.sampled_from((None, (), ("a",), ("a", "b"))))}
            made.append(Segment(f"s{len(made)}", f"Satz {len(made)}", labels, article=article, date=date, target=f"t{number}", split=split))
    return made


KINDS: list[Split] = [
    Given(),
    ByGroup(dev=0.2, test=0.2),
    ByDate("2026-03-01", "2026-06-01"),
    ByTarget(dev=0.2, test=0.2),
    Stratified(dev=0.2, test=0.2),
]


def split_of(splits: Splits) -> dict[str, str]:
    return {segment.id: name for name, part in splits.items() for segment in part}


def plain(count: int, size: int = 1, **more: str) -> list[Segment]:
    """Return ``count`` articles of ``size`` segments with alternating stances."""
    return [
        Segment(f"s{number}", f"Satz {number}", {"stance": STANCES[number % 3]}, article=f"a{number // size}", **more)
        for number in range(count * size)
    ]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
@settings(max_examples=25, deadline=None)
@given(corpus=corpora())
def test_a_split_never_shares_an_article(kind, corpus):
    """Neither an article nor a segment without one is in two splits."""
    splits = kind.split(corpus, SCHEME)
    pairs = [(segment.group, name) for name, part in splits.items() for segment in part]
    assert max(Counter(key for key, _ in set(pairs)).values()) == 1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
@settings(max_examples=15, deadline=None)
@given(corpus=corpora())
def test_a_split_is_a_partition_in_the_order_of_the_source(kind, corpus):
    """Each segment is in exactly one split, in its original order."""
    splits = kind.split(corpus, SCHEME)
    order = {segment.id: index for index, segment in enumerate(corpus)}
    assert Counter(segment.id for part in splits.values() for segment in part) == Counter(list(order))
    assert all(order[one.id] < order[two.id] for part in splits.values() for one, two in pairwise(part))


@pytest.mark.parametrize("kind", [ByGroup, ByTarget, Stratified, Given])
def test_a_seed_gives_one_split(kind):
    """Another seed gives another split."""
    corpus = (
        plain(60, 2, split="train", target="")
        if kind is Given
        else [Segment(s.id, s.text, s.labels, article=s.article, target=s.article) for s in plain(60, 2)]
    )
    first, same, other = (split_of(kind(seed=seed).split(corpus, SCHEME)) for seed in (1, 1, 2))
    assert first == same
    assert first != other


def test_given_splits_are_taken_as_they_are():
    """If the source has dev, none is cut from train."""
    corpus = [*plain(3, split="train"), Segment("d", "D", split="dev"), Segment("t", "T", split="test")]
    assert {name: len(part) for name, part in Given().split(corpus, SCHEME).items()} == {"train": 3, "dev": 1, "test": 1}


def test_given_without_dev_cuts_it_from_train_alone():
    """Whole articles of the requested size are cut; test is unchanged."""
    corpus = plain(50, 4, split="train") + [Segment(f"t{number}", "T", split="test") for number in range(30)]
    splits = Given(dev=0.1).split(corpus, SCHEME)
    assert {name: len(part) for name, part in splits.items()} == {"train": 180, "dev": 20, "test": 30}
    assert {segment.split for segment in splits["dev"]} == {"train"}


def test_given_without_test_or_dev_is_allowed():
    """A source may have train only, and ``dev: 0`` cuts none."""
    assert {name: len(part) for name, part in Given(dev=0).split(plain(4, split="train"), SCHEME).items()} == {
        "train": 4,
        "dev": 0,
        "test": 0,
    }


def test_a_number_of_segments_is_met_exactly():
    """719 articles for training and dev, 309 for test, as in our experiments with 10kGNAD."""
    splits = Stratified(dev=72, test=309).split(plain(1028), SCHEME)
    assert {name: len(part) for name, part in splits.items()} == {"train": 647, "dev": 72, "test": 309}


def test_a_number_is_met_with_articles_of_many_sizes_where_they_allow_it():
    """Even if assigning articles one by one gives 13: they are exchanged until the sum is right."""
    sizes = (6, 5, 3, 4, 2, 2, 2, 3, 7, 6, 8)
    corpus = [Segment(f"{article}-{n}", "x", article=str(article)) for article, size in enumerate(sizes) for n in range(size)]
    assert len(Stratified(test=14, dev=0).split(corpus, SCHEME)["test"]) == 14


def test_a_number_that_articles_cannot_add_up_to_is_refused():
    """Articles of two segments never make 7."""
    with pytest.raises(UserError, match=r"whole articles do not add up to the requested numbers \(nearest: .*instead of 7"):
        Stratified(test=7, dev=0).split(plain(20, 2), SCHEME)


def test_stratified_keeps_the_shares_of_all_labels():
    """Also of rare labels, for two tasks at once and if labels are clustered in articles."""
    corpus = []
    for article in range(200):
        for number in range(1 + article % 4):
            stance = "threat" if article % 20 == 0 else "warning" if article % 3 == 0 else "neutral"
            tags = ("a",) if article % 10 == 1 else ()
            corpus.append(Segment(f"{article}-{number}", "x", {"stance": stance, "tags": tags}, article=str(article)))
    splits = Stratified(dev=0.2, test=0.2).split(corpus, SCHEME)
    assert [len(splits[name]) for name in SPLITS] == [300, 100, 100]
    for has in (lambda s: s.labels["stance"] == "threat", lambda s: s.labels["stance"] == "warning", lambda s: "a" in s.labels["tags"]):
        total = sum(map(has, corpus))
        assert [abs(sum(map(has, splits[name])) - total * share) <= 1 for name, share in (("train", 0.6), ("dev", 0.2), ("test", 0.2))] == [
            True
        ] * 3


def test_a_date_split_shows_training_nothing_from_after_its_border():
    """The dates belong to the later split, and an article is assigned by its last segment."""
    days = ["2026-01-01", "2026-02-28", "2026-03-01", "2026-05-31", "2026-06-01T08:00:00"]
    corpus = [Segment(f"s{number}", "x", date=day) for number, day in enumerate(days)]
    corpus += [Segment("long-1", "x", article="long", date="2026-01-01"), Segment("long-2", "x", article="long", date="2026-07-01")]
    got = split_of(ByDate("2026-03-01", "2026-06-01").split(corpus, SCHEME))
    assert got == {"s0": "train", "s1": "train", "s2": "dev", "s3": "dev", "s4": "test", "long-1": "test", "long-2": "test"}


def test_held_out_targets_are_in_one_split_only():
    """Given by name, number or share; each target is in one split."""
    corpus = [Segment(f"s{number}", "x", target=f"Frage {number % 10}") for number in range(40)]
    for kind, tests in ((ByTarget(dev=1, test=["Frage 3", "Frage 4"]), 2), (ByTarget(dev=0.1, test=0.3), 3), (ByTarget(dev=2, test=5), 5)):
        targets = {name: {segment.target for segment in part} for name, part in kind.split(corpus, SCHEME).items()}
        assert sum(len(part) for part in targets.values()) == 10
        assert len(targets["test"]) == tests


def test_an_author_who_answers_two_questions_leaves_train():
    """A held-out target splits the author's segments; ``separate`` drops those left in train."""
    corpus = [Segment(f"s{number}", "x", article=f"author {number // 2}", target=f"Frage {number % 4}") for number in range(12)]
    _, dropped = separate(ByTarget(dev=0, test=["Frage 1"]).split(corpus, SCHEME), CleaningRules(leakage=False))
    assert Counter(item.reason for item in dropped) == {"shared_article": 3}


@pytest.mark.parametrize(
    ("kind", "corpus", "message"),
    [
        (Given(), plain(3), "3 of 3 segments have no split; choose split=group"),
        (Given(), plain(3, split="trian"), "s0 is in split 'trian', did you mean 'train'"),
        (Given(), plain(1, 9, split="train"), "1 articles are too few for train, dev"),
        (ByGroup(), plain(2, 9), "2 articles are too few for train, dev, test"),
        (ByGroup(train=0.5, dev=0.1, test=0.1), plain(30), r"the shares \(train 0.5, dev 0.1, test 0.1\) add up to 0.7, not to 1"),
        (ByGroup(dev=0.7, test=0.7), plain(30), "add up to 1.4, not to 1"),
        (ByGroup(test=-0.1), plain(30), "test is -0.1; expected a share from 0 to 1"),
        (ByGroup(test=1.5), plain(30), "test is 1.5; expected a share"),
        (ByGroup(test=True), plain(30), "test is True; expected a share"),
        (Stratified(dev=20, test=20), plain(30), "do not add up to 30 segments"),
        (Stratified(train=5, dev=5, test=5), plain(30), "do not add up to 30 segments; leave out train"),
        (Stratified(dev=15, test=15), plain(30), "leave nothing of 30 segments to train on"),
        (Stratified(), [], "do not add up to 0 segments"),
        (ByDate("2026-01-01", "2026-02-01"), plain(4), r"4 of 4 segments have no date \(the first: s0\)"),
        (ByDate("2026-01-01", "2026-02-01"), plain(4, date="1. Mai"), "s0 has the date '1. Mai', expected an ISO date"),
        (ByDate("2026-02-01", "2026-01-01"), plain(4, date="2026-01-01"), "dev must begin before test"),
        (ByDate("2026-01-01", "2026-02-01"), plain(4, date="2025-01-01"), r"dev would be empty \(train 4, dev 0, test 0\)"),
        (ByTarget(), plain(4), r"4 of 4 segments have no target"),
        (ByTarget(test=["Gas"]), plain(4, target="Gaz"), "no segment has the target 'Gas', did you mean 'Gaz'"),
        (ByTarget(dev=["Gas"], test=["Gas"]), plain(4, target="Gas"), "the target 'Gas' is given twice"),
        (ByTarget(), plain(4, target="Gas"), "do not add up to 1 targets"),
    ],
)
def test_an_impossible_split_is_refused_in_one_sentence(kind, corpus, message):
    """The message says what was found and what to choose instead."""
    with pytest.raises(UserError, match=message):
        kind.split(corpus, SCHEME)


@pytest.mark.parametrize("name", ["given", "group", "date", "target", "stratified"])
def test_the_shipped_config_names_a_split_and_its_fields(name, root: Path):
    """Each file begins with a comment, and its keys are the fields of the class."""
    text = (root / "configs" / "splits" / f"{name}.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text)
    kinds = {f"haltung.corpus.split.{kind.__name__}": kind for kind in (Given, ByGroup, ByDate, ByTarget, Stratified)}
    kind = kinds[config.pop("_target_")]
    assert text.startswith("# ")
    assert set(config) == set(vars(kind(**config)))
