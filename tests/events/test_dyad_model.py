"""Dyads by a trained model: who is a side, which pairs count, and with which stance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from haltung.errors import UserError
from haltung.records import Dyad, Prediction, Segment

pytest.importorskip("ahocorasick")

from haltung.actors.finder import Actors
from haltung.events.dyads import scoring
from haltung.events.dyads.model import DyadModel
from haltung.events.dyads.thresholds import Thresholds
from haltung.events.records import LabelledArticle, ScoredDyad

STANCES = ("neutral", "warning", "criticism", "cooperation")
ROLES = ("none", "itself", "state", "opposition", "people")


def sentence(stance: str, sure: float = 0.7) -> Prediction:
    """The classifier's prediction for a sentence."""
    return Prediction("s", {"stance": stance}, {"stance": stances(stance, sure)})


def stances(likely: str, sure: float) -> dict[str, float]:
    """The probability of each stance; the others share what is left."""
    return {label: sure if label == likely else (1 - sure) / (len(STANCES) - 1) for label in STANCES}


def roles(given: Mapping[str, float]) -> dict[str, float]:
    """The probability of each role; none has what is left."""
    return {role: given.get(role, 1 - sum(given.values()) if role == "none" else 0.0) for role in ROLES}


class FixedRoles:
    """A model with fixed roles for each candidate, as source and as target; it records the
    questions.
    """

    def __init__(self, **roles: tuple[Mapping[str, float], Mapping[str, float]]) -> None:
        self.roles = roles
        self.questions: list[Segment] = []

    def predict(self, rows: Sequence[Segment]) -> list[Prediction]:
        """Answer, in order."""
        self.questions += rows
        out = []
        for row in rows:
            source, target = self.roles.get(row.id.split(":")[1].replace("-", "_"), ({}, {}))
            out.append(Prediction(row.id, {}, {"source_role": roles(source), "target_role": roles(target)}))
        return out


class FixedStance:
    """A sentence model that predicts one stance for every segment."""

    def __init__(self, stance: str, sure: float = 0.7) -> None:
        self.prediction = sentence(stance, sure)

    def predict(self, rows: Sequence[Segment]) -> list[Prediction]:
        """Predict it for each."""
        return [self.prediction for _ in rows]


SOURCE, TARGET = ({"itself": 0.9}, {"itself": 0.02}), ({"itself": 0.02}, {"itself": 0.9})
WARNS = "Die USA haben Russland vor Nordkorea gewarnt."


def read(model: FixedRoles, *texts: str, stance: str = "warning", sure: float = 0.7, **keys: float) -> list[list[tuple[str, str, str]]]:
    """The dyads of an article's sentences, all of which have the same stance."""
    segments = [Segment(f"s{number}", text) for number, text in enumerate(texts)]
    mentions = Actors.load().article(texts)
    dyads = DyadModel(model, Thresholds(**keys)).find(LabelledArticle(segments, mentions, [sentence(stance, sure)] * len(texts)))
    return [[(one.source, one.target, one.stance) for one in row] for row in dyads]


def test_the_likeliest_sides_make_the_dyad():
    """The source is one candidate, the target another."""
    assert read(FixedRoles(USA=SOURCE, RUS=TARGET), WARNS) == [[("USA", "RUS", "warning")]]


def test_the_likeliest_pair_is_kept_though_it_is_unlikely():
    """Since a sentence that is not neutral has a dyad."""
    unsure = FixedRoles(USA=({"itself": 0.3}, {}), RUS=({}, {"itself": 0.6}), PRK=({"itself": 0.9}, {}))
    assert read(unsure, WARNS) == [[("PRK", "RUS", "warning")]]


def test_nobody_is_a_side_where_no_candidate_is():
    """By how little probability the candidates leave; `nobody` weighs it."""
    alone = FixedRoles(USA=SOURCE, RUS=({}, {"itself": 0.4}))
    assert read(alone, WARNS) == [[("USA", "", "warning")]]
    assert read(alone, WARNS, nobody=0.5) == [[("USA", "RUS", "warning")]]


def test_both_directions_of_a_mutual_act_are_dyads():
    """And not what each would do to itself, which `same_actor` makes unlikely."""
    both = ({"itself": 0.8}, {"itself": 0.8})
    dyads = read(FixedRoles(USA=both, RUS=both), WARNS, stance="cooperation", pair=0.5)
    assert sorted(dyads[0]) == [("RUS", "USA", "cooperation"), ("USA", "RUS", "cooperation")]
    assert len(read(FixedRoles(USA=both, RUS=both), WARNS, stance="cooperation", pair=0.7)[0]) == 1


def test_somebody_inside_a_state_may_act():
    """Of whom the sentence names the state alone; it has no spans then."""
    segments, model = [Segment("s", WARNS)], FixedRoles(USA=({"opposition": 0.8, "itself": 0.1}, {}), RUS=TARGET)
    (dyad,) = DyadModel(model).find(LabelledArticle(segments, Actors.load().article([WARNS]), [sentence("warning")]))[0]
    assert (dyad.source, dyad.target, dyad.source_span) == ("USA-OPP", "RUS", None)
    assert dyad.target_span is not None
    assert WARNS[slice(*dyad.target_span)] == "Russland"


def test_a_surely_neutral_sentence_is_not_even_asked_about():
    """It costs no time."""
    model = FixedRoles(USA=SOURCE, RUS=TARGET)
    assert read(model, WARNS, stance="neutral", sure=0.99) == [[]]
    assert model.questions == []


def test_a_sentence_that_may_be_neutral_is_asked_by_its_likeliest_stance():
    """Which is then part of the question."""
    model = FixedRoles(USA=SOURCE, RUS=TARGET)
    assert read(model, WARNS, stance="neutral", sure=0.7) == [[]]
    assert all("warning" in row.text.split(", ") for row in model.questions)


def test_how_much_neutral_counts_decides_whether_there_is_a_dyad():
    """`neutral` multiplies its probability."""
    model = FixedRoles(USA=SOURCE, RUS=TARGET)
    assert read(model, WARNS, sure=0.6, neutral=1.0) != [[]]
    assert read(model, WARNS, sure=0.6, neutral=9.0) == [[]]


def test_an_actor_of_the_sentence_before_may_act():
    """In this sentence it is a mere pronoun."""
    model = FixedRoles(USA=SOURCE, CHN=TARGET)
    dyads = read(model, "Die USA berieten am Montag.", "Später warnten sie auch China.")
    assert dyads[1] == [("USA", "CHN", "warning")]
    assert any(
        row.target == "Später warnten sie auch AKTEUR China." and row.text.startswith("China (CHN), im Satz, ") for row in model.questions
    )


def test_a_headline_is_read_before_the_article():
    """Its actors are candidates, and the positions of the others stay right."""
    text = "Man warnte Peru."
    headline, *mentions = Actors.load().article(["Chile droht", text])
    (dyads,) = DyadModel(FixedRoles(CHL=SOURCE, PER=TARGET)).find(
        LabelledArticle([Segment("s", text, context="Chile droht")], mentions, [sentence("warning")], headline)
    )
    assert [(one.source, one.target) for one in dyads] == [("CHL", "PER")]


def test_a_sentence_without_any_actor_has_a_dyad_of_nobody():
    """As the label standard writes it, and as the rules do."""
    assert read(FixedRoles(), "Es wurde gewarnt.") == [[("", "", "warning")]]


def test_thresholds_out_of_range_is_refused():
    """Probabilities and weights are not negative."""
    with pytest.raises(UserError, match=r"pair -0\.1"):
        Thresholds(pair=-0.1)


def article(count: int) -> list[Segment]:
    """Sentences of as many articles, in which Chile warns Peru."""
    return [Segment(str(n), "Chile warnt Peru.", article=f"a{n}", dyads=(Dyad("CHL", "PER", "warning"),)) for n in range(count)]


def dyads(rows: Sequence[Sequence[ScoredDyad]]) -> list[list[Dyad]]:
    """The dyads without their probabilities."""
    return [[one.dyad for one in row] for row in rows]


def test_tuning_finds_thresholds_that_are_better_on_dev():
    """Here the model sees nobody where there is somebody."""
    model = DyadModel(FixedRoles(CHL=SOURCE, PER=({}, {"itself": 0.45})))
    labelled = scoring.read(article(3), FixedStance("warning", 0.5), Actors.load())
    answers = scoring.answers(labelled, model)
    assert dyads(scoring.chosen(answers, model.thresholds)) != [list(row) for row in labelled.dyads]
    best, aim = scoring.tune(labelled, answers, model.thresholds)
    assert dyads(scoring.chosen(answers, best)) == [list(row) for row in labelled.dyads]
    assert aim == 1.0


def test_all_segments_at_once_give_what_article_by_article_gives():
    """`haltung dyads` and `haltung events` find the same."""
    model = DyadModel(FixedRoles(CHL=SOURCE, PER=TARGET))
    labelled = scoring.read(article(2), FixedStance("warning"), Actors.load())
    assert dyads(scoring.chosen(scoring.answers(labelled, model), model.thresholds)) == scoring.found_by(model, labelled)


def test_segments_without_gold_dyads_are_refused():
    """There is nothing to hold anything against."""
    with pytest.raises(UserError, match="none of the 1 segments has a gold dyad"):
        scoring.read([Segment("s", WARNS)], FixedStance("warning"), Actors.load())


def test_role_swaps_are_counted_over_pairs_that_exchange_their_dyads():
    """Found exchanged, and right in both; a pair whose gold is no exchange does not count."""
    swap = [
        Segment("p-a", "A", article="p", genre="roles", dyads=(Dyad("CHL", "PER", "warning"),)),
        Segment("p-b", "B", article="p", genre="roles", dyads=(Dyad("PER", "CHL", "warning"),)),
        Segment("q-a", "C", article="q", genre="negation", dyads=(Dyad("CHL", "PER", "warning"),)),
        Segment("q-b", "D", article="q", genre="negation", dyads=(Dyad("CHL", "PER", "support"),)),
    ]
    right = [segment.dyads for segment in swap]
    assert scoring.role_swaps(swap, right) == {"pairs": 1, "apart": 1.0, "both": 1.0}
    same = [right[0], right[0], right[2], right[3]]
    assert scoring.role_swaps(swap, same) == {"pairs": 1, "apart": 0.0, "both": 0.0}
    assert scoring.role_swaps(swap[:1], right[:1]) is None
