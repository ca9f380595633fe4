"""Candidates: who may act in a sentence, how one is marked, and its rows in the dataset
``dyads``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from haltung import labels
from haltung.actors.finder import Mention
from haltung.corpus import prepare
from haltung.corpus.clean import CleaningRules
from haltung.corpus.split import Given
from haltung.errors import UserError
from haltung.events.dyads.dataset import Dyads
from haltung.events.dyads.features import ROLES, Candidate, around_name, candidates, gold_labels, opening_and_quotes, question
from haltung.files import shipped
from haltung.labels import Scheme, parse
from haltung.records import Dyad, Segment

TEXT = "Die USA warnen Russland vor Moskaus Plan."


def named(start: int, text: str, code: str, kind: str = "state", place: bool = False) -> Mention:
    """A mention, as the matcher of actors gives it."""
    return Mention(start, start + len(text), text, code, kind, place)


def mention(word: str, code: str, text: str = TEXT, kind: str = "state", place: bool = False) -> Mention:
    """The mention of a word in a text."""
    return named(text.index(word), word, code, kind, place)


def of(article: list[list[Mention]], number: int, most: int = 5, texts: list[str] | None = None) -> tuple[Candidate, ...]:
    """The candidates of a sentence, where its words do not matter."""
    return candidates(texts or [TEXT] * len(article), article, number, most)


MENTIONS = [mention("USA", "USA"), mention("Russland", "RUS"), mention("Moskaus", "RUS")]


def test_an_actor_named_twice_is_one_candidate():
    """It has all of its words, and the first ones name it."""
    usa, russia = of([MENTIONS], 0)
    assert (usa.code, russia.code, russia.text, len(russia.spans), russia.where) == ("USA", "RUS", "Russland", 2, "im Satz")


def test_those_named_before_the_sentence_come_last():
    """From the nearest on: the sentence before, the lead, what stands between; and no more than
    there is room for.
    """
    lead, middle, before = [mention("USA", "FRA")], [mention("USA", "ITA")], [named(0, "China", "CHN"), named(6, "Japan", "JPN")]
    article = [lead, middle, before, MENTIONS]
    assert [one.code for one in of(article, 3, most=9)] == ["USA", "RUS", "JPN", "CHN", "FRA", "ITA"]
    assert [one.where for one in of(article, 3, most=3)] == ["im Satz", "im Satz", "davor"]


def test_what_comes_later_is_no_candidate_but_for_the_main_state():
    """What the article is mostly about may act in a sentence that does not say so."""
    later = [named(0, "Peru", "PER"), named(9, "Peru", "PER"), named(20, "Chile", "CHL")]
    (only,) = of([[], later], 0)
    assert (only.code, only.where, only.spans) == ("PER", "im Artikel", ())


def test_the_main_state_keeps_the_last_place():
    """However many others the sentence names; an organisation is no state."""
    mentions = [mention(letter, f"{letter}{letter}{letter}", "A B C") for letter in "ABC"]
    home = [named(0, "x", "AUT")] * 4 + [named(0, "x", "UN", "organisation")] * 5
    assert [one.code for one in of([mentions, home], 0, most=3)] == ["AAA", "BBB", "AUT"]


def test_a_mere_place_gives_way_to_an_actor():
    """A city as a place comes last among the sentence's actors."""
    text = "In Paris traf die EU Vertreter aus Peru."
    mentions = [mention("Paris", "FRA", text, place=True), mention("EU", "EU", text, "organisation"), mention("Peru", "PER", text)]
    assert [one.code for one in of([mentions], 0)] == ["EU", "PER", "FRA"]


def test_a_question_names_its_candidate_and_marks_it_in_the_sentence():
    """What is known of it and the stance are the text, the sentence is the target; the context
    stays, the labels go.
    """
    segment = Segment("s", TEXT, {"stance": "warning"}, context="Streit", dyads=(Dyad("USA", "RUS", "warning"),))
    row = question(segment, of([MENTIONS], 0)[1], "warning")
    assert row.text.startswith("Russland (RUS), im Satz, Rang 2 von 2, 2 von 2 im Satz, state, danach genannt, warning, hinter_")
    assert row.target == "Die USA warnen AKTEUR Russland vor AKTEUR Moskaus Plan."
    assert (row.id, row.context, row.labels, row.dyads) == ("s:RUS", "Streit", {}, ())


def test_the_stance_is_joined_with_what_is_known():
    """Who stands behind "gegen" has another part in a criticism than in a cooperation, which no bag
    of single words shows.
    """
    text = "Der Protest gegen Russland wächst."
    segment = Segment(id="s", text=text)
    row = question(segment, of([[mention("Russland", "RUS", text)]], 0, texts=[text])[0], "criticism")
    words = row.text.split(", ")
    assert {"hinter_gegen", "criticism_hinter_gegen", "criticism_im_Satz", "criticism_Rang_1_von_1", "criticism_rolle_staat"} <= set(words)
    opposed = Candidate("RUS-OPP", "Nawalny", "davor")
    assert "criticism_rolle_OPP" in question(segment, opposed, "criticism").text.split(", ")
    assert "criticism_rolle_organisation" in question(segment, replace(opposed, code="UN"), "criticism").text.split(", ")


def test_what_word_order_and_the_sentence_before_say_is_a_hint():
    """The one that acted last is known by it, and whether this sentence names another."""
    first, second = "Chile warnt.", "Peru sagte es."
    mentions = [[mention("Chile", "CHL", first)], [mention("Peru", "PER", second)], []]
    texts = [first, second, "Das reiche nicht."]
    hints = {one.code: one.hints for one in of(mentions, 1, texts=texts)}
    assert "zuerst genannt" in hints["PER"]
    assert "zuvor genannt" in hints["CHL"]
    hints = {one.code: one.hints for one in of(mentions, 2, texts=texts)}
    assert "zuvor genannt, hier keiner" in hints["PER"]
    assert not any("zuvor" in hint for hint in hints["CHL"])


def test_who_acts_inside_a_state_is_told_by_its_candidate():
    """Itself, the opposition, and the state of a group; a second one for the same candidate,
    and a stranger, are missed.
    """
    usa, hamas = Candidate("USA", "USA", "im Satz", ((0, 3),)), Candidate("PSE-REB", "Hamas", "davor")
    assert gold_labels([usa, hamas], ["USA", "PSE"]) == (["itself", "state"], [])
    assert gold_labels([usa, hamas], ["USA-OPP", "PSE-REB"]) == (["opposition", "itself"], [])
    assert gold_labels([usa, hamas], ["USA", "USA-CIV", "EU"]) == (["itself", "none"], ["USA-CIV", "EU"])
    assert [usa.code_as("opposition"), usa.code_as("none"), hamas.code_as("state"), hamas.code_as("people")] == [
        "USA-OPP", "", "PSE", "PSE-CIV",
    ]  # fmt: skip


@dataclass(frozen=True)
class FixedReader:
    """A reader of the segments that it is given."""

    segments: tuple[Segment, ...]

    def files(self) -> tuple[()]:
        """It reads none."""
        return ()

    def read(self, scheme: Scheme) -> object:
        """All of them."""
        from haltung.corpus.parsing.rows import Reading

        return Reading(self.segments)


def dataset(*segments: Segment, **keys: object) -> Dyads:
    """The dataset of these segments, with the shipped scheme and tables."""
    pytest.importorskip("ahocorasick")
    return Dyads(FixedReader(segments), str(shipped("configs") / "labels" / "diplomacy.yaml"), **keys)  # type: ignore[arg-type]


def scheme() -> Scheme:
    """The shipped scheme of dyads."""
    return labels.load(shipped("configs") / "labels" / "dyads.yaml")


WARNING = Segment("w", "Die USA warnen Russland.", {"stance": "warning"}, dyads=(Dyad("USA", "RUS", "warning"),), split="test")


def test_each_row_says_as_whom_its_candidate_acts_and_is_meant():
    """The labels of both tasks."""
    rows = {row.id: row.labels for row in dataset(WARNING).read(scheme()).segments}
    assert rows == {
        "w:USA": {"source_role": "itself", "target_role": "none"},
        "w:RUS": {"source_role": "none", "target_role": "itself"},
    }


def test_an_actor_of_an_earlier_sentence_is_asked_about():
    """The segments of an article are read together."""
    first = Segment("a-0", "Chile berät.", {"stance": "neutral"}, article="a", split="train")
    second = Segment("a-1", "Es warnt.", {"stance": "warning"}, article="a", split="train", dyads=(Dyad("CHL", "", "warning"),))
    rows = {row.id: row for row in dataset(first, second).read(scheme()).segments}
    assert rows["a-1:CHL"].labels["source_role"] == "itself"
    assert rows["a-1:CHL"].text.startswith("Chile (CHL), davor, ")


def test_train_keeps_only_some_rows_of_a_segment_without_dyads_and_test_all():
    """The same ones each time."""
    neutral = Segment("n", "Chile grenzt an Peru.", {"stance": "neutral"}, split="train")
    first, second = dataset(neutral, of_neutral=1).read(scheme()), dataset(neutral, of_neutral=1).read(scheme())
    assert len(first.segments) == 1
    assert first.segments == second.segments
    assert dataset(neutral).read(scheme()).segments == ()
    assert len(dataset(replace(neutral, split="test")).read(scheme()).segments) == 2


def test_a_side_that_cannot_be_told_is_listed_with_its_reason():
    """Nothing is lost in silence."""
    hidden = Segment("h", "Er warnte Chile.", {"stance": "warning"}, dyads=(Dyad("USA", "CHL", "warning"),))
    (dropped,) = dataset(hidden).read(scheme()).dropped
    assert (dropped.id, dropped.reason) == ("h:source", "actor_not_found")
    assert "USA" in dropped.detail
    assert "CHL" in dropped.detail


def test_the_splits_of_another_corpus_can_be_taken_over(tmp_path: Path) -> None:
    """An article is in the same one here, so that an encoder trained there has not seen dev."""
    scheme_of = labels.load(shipped("configs") / "labels" / "diplomacy.yaml")
    labelled = {"topic": "diplomacy", "stance": "warning"}
    segments = tuple(
        replace(
            WARNING, id=f"{n}-0", text=f"Chile warnt Peru vor {chr(97 + n % 26) * 9}{n}.", labels=labelled, article=str(n), split="train"
        )
        for n in range(30)
    )
    news = prepare.prepare("news", FixedReader(segments), scheme_of, CleaningRules(), Given(dev=0.2), tmp_path)
    reading = dataset(*segments, like=str(news.folder)).read(scheme())
    dev = {row.article for row in reading.segments if row.split == "dev"}
    assert dev == {segment.article for segment in news.segments("dev")}
    assert 0 < len(dev) < 30


def test_other_tables_make_another_corpus(tmp_path: Path) -> None:
    """The shipped tables, the user's and the scheme count among the files that a prepared corpus is
    made of.
    """
    table = tmp_path / "persons.csv"
    table.write_text("", encoding="utf-8")
    names = [file.name for file in replace(dataset(WARNING), tables=str(tmp_path)).files()]
    assert names.count("persons.csv") == 2
    assert {"states.csv", "diplomacy.yaml"} <= set(names)


def test_another_scheme_is_refused():
    """The sentence names the scheme that fits."""
    other = parse({"name": "mine", "tasks": {"stance": {"labels": ["pro", "contra"]}}})
    with pytest.raises(UserError, match="labels=dyads"):
        dataset(WARNING).read(other)


def test_the_scheme_has_every_role_on_both_sides():
    """A model can learn all labels that the dataset has."""
    for task in ("source_role", "target_role"):
        assert set(scheme()[task].ids) == {"none", "itself", "state", *ROLES}


# ---- the words around a name


def around(text: str, name: str) -> set[str]:
    """The words around the first occurrence of ``name``."""
    start = text.index(name)
    return set(around_name(text, (start, start + len(name))))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Sanktionen gegen Russland drohen.", {"hinter_gegen", "artikel_nichts", "hinter_gegen_nichts", "davor_gegen", "danach_drohen"}),
        ("Ein Abkommen mit der neuen Türkei steht.", {"hinter_mit", "artikel_der", "hinter_mit_der", "davor_neuen"}),
        ("Die USA warnen.", {"hinter_nichts", "artikel_die", "am_anfang"}),
        ("Gegen den Rat von vielen klugen alten Leuten zog Peru ab.", {"hinter_nichts"}),
    ],
)
def test_preposition_article_and_neighbours_are_given(text: str, words: set[str]) -> None:
    """Those of the three words before the name, and the one on each side."""
    name = next(word for word in ("Russland", "Türkei", "USA", "Peru") if word in text)
    assert words <= around(text, name)


def test_who_is_spoken_of_in_a_quotation_is_known() -> None:
    """Whoever speaks stands outside of it."""
    text = "„Wir trauen Russland nicht mehr“, sagte der Minister in Kiew."
    assert "im_zitat" in around(text, "Russland")
    assert "im_zitat" not in around(text, "Kiew")
    assert "am_anfang" not in around(text, "Kiew")


def test_a_name_at_the_very_edge_has_no_neighbour() -> None:
    """There is no word for what is not there."""
    assert around("Peru", "Peru") == {"hinter_nichts", "artikel_nichts", "hinter_nichts_nichts", "am_anfang"}


def test_an_opening_that_refers_back_is_given() -> None:
    """A pronoun stands for somebody who was named before."""
    assert opening_and_quotes("Er warnte: „Genug.“") == ["beginnt_Er", "zitiert"]
    assert opening_and_quotes("„Ihre Pläne nützen niemandem.") == ["beginnt_Ihre"]
    assert opening_and_quotes("Erst im Mai tagt der Rat.") == []
