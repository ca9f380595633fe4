"""Dyads found by a model: sides, pairs, stances and thresholds, also with true stances given."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from haltung.errors import UserError
from haltung.records import ActorAnswer, Dyad, Prediction, Segment

pytest.importorskip("ahocorasick")

from haltung.actors.finder import Actors
from haltung.events import dyads as dyad_model
from haltung.events.dyads import DyadModel, Side, Thresholds, sides, word_order
from haltung.events.records import ScoredDyad
from haltung.experiments import dyads as scoring
from haltung.experiments.dyads import GoldArticles
from haltung.labels import Scheme, parse
from haltung.models.predictor import Calibration

STANCES = ("neutral", "warning", "criticism", "cooperation")

# The probabilities of an actor to be source and target, by role.
Roles = tuple[Mapping[str, float], Mapping[str, float]]

SOURCE: Roles = ({"itself": 0.9}, {"itself": 0.02})
TARGET: Roles = ({"itself": 0.02}, {"itself": 0.9})


def answers(**roles: Roles) -> tuple[ActorAnswer, ...]:
    """Return a model's answers for named actors; "" (nobody) has the remaining probability."""
    left = [1 - sum(sum(one[side].values()) for one in roles.values()) for side in (0, 1)]
    nobody = ActorAnswer("", (), {"itself": left[0]}, {"itself": left[1]})
    named = [
        ActorAnswer(code.replace("_", "-"), ((10 * number, 10 * number + 3),), *both) for number, (code, both) in enumerate(roles.items())
    ]
    return (nobody, *named) if roles else ()


def sentence(stance: str, sure: float = 0.7, name: str = "s", **roles: Roles) -> Prediction:
    """Return a prediction for a sentence; the other stances share the remaining probability."""
    values = {label: sure if label == stance else (1 - sure) / (len(STANCES) - 1) for label in STANCES}
    return Prediction(name, {"stance": stance}, {"stance": values}, answers(**roles))


def found(prediction: Prediction, **keys: float) -> list[tuple[str, str, str]]:
    """Return the dyads of a sentence, given values of thresholds."""
    return [(one.source, one.target, one.stance) for one in DyadModel(Thresholds(**keys)).dyads(prediction)]


def test_the_likeliest_sides_make_the_dyad() -> None:
    """Its probability is the product of all three; it has the spans of both sides."""
    (dyad,) = DyadModel().dyads(sentence("warning", USA=SOURCE, RUS=TARGET))
    assert (dyad.source, dyad.target, dyad.stance) == ("USA", "RUS", "warning")
    assert dyad.probability == pytest.approx(0.9 * 0.9 * 0.7)
    assert (dyad.source_span, dyad.target_span) == ((0, 3), (10, 13))


def test_the_likeliest_pair_is_kept_though_it_is_unlikely() -> None:
    """A sentence that is not neutral has at least one dyad."""
    unsure = sentence("warning", USA=({"itself": 0.3}, {}), RUS=({}, {"itself": 0.6}), PRK=({"itself": 0.4}, {}))
    assert found(unsure) == [("PRK", "RUS", "warning")]


def test_nobody_is_a_side_where_no_candidate_is() -> None:
    """The model gives its probability, and `nobody` is a factor of that."""
    alone = sentence("warning", USA=SOURCE, RUS=({}, {"itself": 0.4}))
    assert found(alone) == [("USA", "", "warning")]
    assert found(alone, nobody=0.5) == [("USA", "RUS", "warning")]


def test_both_directions_of_a_mutual_act_are_dyads() -> None:
    """The most probable comes first, the other from `pair` on; `same_actor` makes pairs of an actor
    with itself improbable.
    """
    both = sentence("cooperation", USA=({"itself": 0.55}, {"itself": 0.4}), RUS=({"itself": 0.45}, {"itself": 0.6}))
    assert found(both, pair=0.15) == [("USA", "RUS", "cooperation"), ("RUS", "USA", "cooperation")]
    assert found(both, pair=0.2) == [("USA", "RUS", "cooperation")]
    assert ("RUS", "RUS", "cooperation") in found(both, pair=0.15, same_actor=1.0)


def test_somebody_inside_a_state_may_act() -> None:
    """If the sentence names only the state, that side has no span."""
    (dyad,) = DyadModel().dyads(sentence("warning", USA=({"opposition": 0.8, "itself": 0.1}, {}), RUS=TARGET))
    assert (dyad.source, dyad.target, dyad.source_span, dyad.target_span) == ("USA-OPP", "RUS", None, (10, 13))


def test_one_state_on_both_sides_acts_by_its_first_words() -> None:
    """Its next mention is the target."""
    twice = answers(CHL=({"itself": 0.9}, {"itself": 0.9}))
    spans = ((0, 5), (20, 27))
    prediction = replace(sentence("criticism"), actors=(twice[0], replace(twice[1], spans=spans)))
    (dyad,) = DyadModel(Thresholds(same_actor=1.0)).dyads(prediction)
    assert (dyad.source, dyad.target, dyad.source_span, dyad.target_span) == ("CHL", "CHL", *spans)


def test_a_neutral_sentence_has_no_dyad() -> None:
    """`neutral` is a factor of the probability of the neutral stance."""
    assert found(sentence("neutral", USA=SOURCE, RUS=TARGET)) == []
    likely = sentence("warning", 0.6, USA=SOURCE, RUS=TARGET)
    assert found(likely, neutral=9.0) == []
    (dyad,) = DyadModel(Thresholds(neutral=0.1)).dyads(sentence("neutral", 0.4, USA=SOURCE, RUS=TARGET))
    assert dyad.probability == pytest.approx(0.81 * 0.2 / (0.04 + 0.6))


def test_a_sentence_in_whose_article_nobody_is_named_has_a_dyad_of_nobody() -> None:
    """As the label standard requires and as word order finds it."""
    assert found(sentence("warning")) == [("", "", "warning")]


def test_of_several_ways_to_be_one_code_the_likeliest_counts() -> None:
    """Such as a group's state that is also named; improbable sides are omitted."""
    named = answers(PSE_REB=({"itself": 0.2, "state": 0.4, "people": 0.001}, {}), PSE=({"itself": 0.1, "armed_group": 0.25}, {}))
    assert {one.code: one.probability for one in sides(named, "source")} == pytest.approx({"": 0.049, "PSE-REB": 0.25, "PSE": 0.4})
    assert sides(named, "target") == (Side("", 1.0),)
    assert sides((), "source") == (Side("", 1.0),)


def test_thresholds_out_of_range_are_refused() -> None:
    """Probabilities and factors are not negative."""
    with pytest.raises(UserError, match=r"pair is -0\.1"):
        Thresholds(pair=-0.1)


def test_thresholds_stand_in_the_folder_of_a_bundle(tmp_path: Path) -> None:
    """Together with what they were tuned on; without the file, the defaults hold."""
    assert dyad_model.load(tmp_path) == DyadModel(Thresholds())
    dyad_model.write_thresholds(tmp_path, Thresholds(pair=0.7), {"corpus": "mine"})
    assert dyad_model.load(tmp_path) == DyadModel(Thresholds(pair=0.7))
    assert json.loads((tmp_path / "dyads.json").read_text(encoding="utf-8"))["corpus"] == "mine"


@pytest.mark.parametrize("text", ["{}", "[", '{"thresholds": {"pair": "x"}}', '{"thresholds": {"least": 0.1}}', '{"thresholds": 3}'])
def test_a_broken_file_of_thresholds_is_named(tmp_path: Path, text: str) -> None:
    """The message also says what to do."""
    (tmp_path / "dyads.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"dyads\.json contains no dyad thresholds; remove it, or export the bundle again"):
        dyad_model.load(tmp_path)


# ---- against gold


class Reader:
    """A model that gives the same answer for every segment and records the stances that it is
    given.
    """

    def __init__(self, stance: str = "warning", sure: float = 0.7, **roles: Roles) -> None:
        self.scheme: Scheme = parse({"name": "s", "tasks": {"stance": {"labels": list(STANCES)}}})
        self.calibration, self.reads_articles = Calibration(), True
        self.finds_dyads, self.actors = True, Actors.load()
        self.answer, self.given = sentence(stance, sure, **roles), list[str]()

    def probabilities(self, segments: Sequence[Segment], progress: bool = False) -> dict[str, object]:
        """Raise; no test needs probabilities alone."""
        raise NotImplementedError

    def predict(self, segments: Sequence[Segment], progress: bool = False, stances: Sequence[str] | None = None) -> list[Prediction]:
        """Return that answer for each segment."""
        self.given = list(stances or ())
        return [replace(self.answer, id=segment.id) for segment in segments]


def articles(count: int) -> list[Segment]:
    """Return articles of two sentences in which Chile warns Peru, interleaved by position."""
    dyads = (Dyad("CHL", "PER", "warning"),)
    texts = ("Chile warnt Peru, sagt Kuba.", "Es warnt weiter.")
    return [
        Segment(f"{n}-{position}", text, {"stance": "warning"}, article=f"a{n}", dyads=dyads)
        for position, text in enumerate(texts)
        for n in range(count)
    ]


def plain(rows: Sequence[Sequence[ScoredDyad]]) -> list[list[Dyad]]:
    """Return the dyads without their probabilities."""
    return [[one.dyad for one in row] for row in rows]


def read(segments: Sequence[Segment], reader: Reader, stances_given: bool = False) -> GoldArticles:
    """Return the segments as articles, labelled by a reader."""
    return scoring.gold_articles(segments, reader, Actors.load(), stances_given)  # type: ignore[arg-type]


def test_tuning_finds_thresholds_that_are_better_on_dev() -> None:
    """This model prefers "" (nobody) to the true target."""
    gold = read(articles(3), Reader(sure=0.5, CHL=SOURCE, PER=({}, {"itself": 0.45})))
    assert plain(gold.found_by(DyadModel())) != [list(row) for row in gold.dyads]
    best, f1 = scoring.best_thresholds(gold.dyads, gold.predictions)
    assert plain(gold.found_by(DyadModel(best))) == [list(row) for row in gold.dyads]
    assert f1 == 1.0


def test_tuning_stays_where_nothing_is_better() -> None:
    """It keeps the defaults even if other values are as good."""
    gold = read(articles(2), Reader(CHL=SOURCE, PER=TARGET))
    assert plain(gold.found_by(DyadModel(Thresholds(pair=0.6)))) == [list(row) for row in gold.dyads]
    assert scoring.best_thresholds(gold.dyads, gold.predictions)[0] == Thresholds()


def test_dyads_are_in_the_order_of_the_segments() -> None:
    """Even though they are found article by article."""
    texts = {"a": ("Chile warnt Peru.", "Es warnt weiter."), "b": ("Ghana warnt Laos.", "Es warnt.")}
    segments = [
        Segment(f"{article}{n}", texts[article][n], article=article, dyads=(Dyad("CHL", "PER", "warning"),))
        for n in (0, 1)
        for article in "ab"
    ]
    gold = read(segments, Reader())
    assert [[segment.id for segment in article.segments] for article in gold.articles] == [["a0", "a1"], ["b0", "b1"]]
    assert [row[0].source for row in gold.found_by(word_order)] == ["CHL", "GHA", "CHL", "GHA"]


def test_a_given_stance_is_told_to_the_model_and_certain() -> None:
    """It decides whether there are dyads, whatever the model would predict."""
    neutral = Segment("n", "Chile grenzt an Peru.", {"stance": "neutral"}, article="a0")
    reader = Reader("criticism", CHL=SOURCE, PER=TARGET)
    gold = read([*articles(1), neutral], reader, stances_given=True)
    assert reader.given == ["warning", "warning", "neutral"]
    rows = gold.found_by(DyadModel(Thresholds(neutral=0.2)))
    assert plain(rows) == [[Dyad("CHL", "PER", "warning")], [Dyad("CHL", "PER", "warning")], []]
    assert rows[0][0].probability == pytest.approx(0.81)
    assert [row[0].stance for row in gold.found_by(word_order)[:2]] == ["warning", "warning"]


def test_a_segment_without_a_label_is_given_the_stance_of_its_dyads() -> None:
    """Without dyads it is given the neutral stance."""
    reader = Reader()
    read([replace(articles(1)[0], labels={}), Segment("n", "Chile grenzt an Peru.")], reader, stances_given=True)
    assert reader.given == ["warning", "neutral"]


def test_all_codes_of_all_roles_are_candidates() -> None:
    """So that their recall is an upper bound of what can be found."""
    codes = scoring.codes(sentence("warning", PSE_REB=SOURCE))
    assert {"PSE-REB", "PSE", "PSE-CIV", "PSE-OPP"} <= codes
    assert "" not in codes


def test_segments_without_gold_dyads_are_refused() -> None:
    """There is nothing to compare with."""
    with pytest.raises(UserError, match="none of the 1 segments has a gold dyad"):
        read([Segment("s", "Chile warnt Peru.")], Reader())


def test_the_sides_of_a_minimal_pair_are_read_one_by_one() -> None:
    """Word order does not carry the source of one over to the other."""
    pair = [
        Segment("p-a", "Chile warnt Peru.", {"stance": "warning"}, article="p", genre="roles", dyads=(Dyad("CHL", "PER", "warning"),)),
        Segment("p-b", "Es warnt.", {"stance": "warning"}, article="p", genre="roles"),
    ]
    assert [row[0].source for row in read(pair, Reader()).found_by(word_order)] == ["CHL", ""]
