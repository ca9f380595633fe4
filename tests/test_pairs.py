"""Ordered pairs of actors: who is paired with whom, and how a pair is marked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from haltung.errors import UserError
from haltung.events.pairs import Pair, actors_of, marked, pairs_of
from haltung.events.view import Dyads
from haltung.labels import Scheme, parse
from haltung.records import Dyad, Segment

TEXT = "Die USA warnen Russland vor Moskaus Plan."


@dataclass(frozen=True)
class Found:
    """A mention, as the matcher of actors gives it."""

    start: int
    end: int
    text: str
    code: str
    place: bool = False


def found(word: str, code: str, text: str = TEXT, place: bool = False) -> Found:
    """The mention of a word in a text."""
    start = text.index(word)
    return Found(start, start + len(word), word, code, place)


OWN = [found("USA", "USA"), found("Russland", "RUS"), found("Moskaus", "RUS")]


def test_an_actor_named_twice_is_one_actor():
    """All of its words are kept, and those that came first name it."""
    usa, russia = actors_of(OWN, [])
    assert (usa.code, russia.code, russia.text, len(russia.spans)) == ("USA", "RUS", "Russland", 2)


def test_those_named_before_the_sentence_come_last():
    """From the nearest on, without a place, and no more than there is room for."""
    before = [Found(0, 5, "China", "CHN"), Found(6, 11, "Japan", "JPN"), Found(12, 17, "Paris", "FRA", place=True)]
    assert [actor.code for actor in actors_of(OWN, before)] == ["USA", "RUS", "JPN", "CHN"]
    assert [actor.code for actor in actors_of(OWN, before, most=3)] == ["USA", "RUS", "JPN"]


def test_a_mere_place_gives_way_to_an_actor():
    """A city as a place is paired last of the sentence's own."""
    text = "In Paris traf die EU Vertreter aus Peru."
    own = [found("Paris", "FRA", text, place=True), found("EU", "EU", text), found("Peru", "PER", text)]
    assert [actor.code for actor in actors_of(own, [])] == ["EU", "PER", "FRA"]


def test_every_order_and_every_nobody_is_a_pair():
    """Two actors, one of them named twice: both orders, the second with itself, and each towards and from nobody."""
    codes = [pair.codes for pair in pairs_of(actors_of(OWN, []))]
    assert codes == [("USA", "RUS"), ("RUS", "USA"), ("RUS", "RUS"), ("USA", ""), ("RUS", ""), ("", "USA"), ("", "RUS")]


def test_a_pair_is_marked_in_the_text_and_named_in_the_target():
    """The first with @, the second with # wherever it stands."""
    usa, russia = actors_of(OWN, [])
    row = marked(Segment("s", TEXT, context="Streit", dyads=(Dyad("USA", "RUS", "warning"),)), Pair(usa, russia))
    assert row.text == "Die @ USA @ warnen # Russland # vor # Moskaus # Plan."
    assert (row.id, row.target, row.context, row.dyads) == ("s:USA>RUS", "USA → Russland", "Streit", ())


def test_the_other_order_reads_otherwise():
    """Who and whom change places in the marks and in the target."""
    usa, russia = actors_of(OWN, [])
    row = marked(Segment("s", TEXT), Pair(russia, usa))
    assert row.text == "Die # USA # warnen @ Russland @ vor @ Moskaus @ Plan."
    assert row.target == "Russland → USA"


def test_nobody_has_a_sign_of_its_own():
    """Marks for the one actor alone."""
    usa, _ = actors_of(OWN, [])
    assert marked(Segment("s", TEXT), Pair(None, usa)).target == "– → USA"
    assert marked(Segment("s", TEXT), Pair(usa, None)).text.count("#") == 0


def test_one_code_on_both_sides_acts_first_and_is_acted_on_after():
    """The first words are the source, the others the target."""
    _, russia = actors_of(OWN, [])
    assert marked(Segment("s", TEXT), Pair(russia, russia)).text == "Die USA warnen @ Russland @ vor # Moskaus # Plan."


@dataclass(frozen=True)
class Given:
    """A reader of the segments that it is given."""

    segments: tuple[Segment, ...]

    def files(self) -> tuple[()]:
        """It reads none."""
        return ()

    def read(self, scheme: Scheme) -> object:
        """All of them."""
        from haltung.corpus.reading import Reading

        return Reading(self.segments)


def view(*segments: Segment, **keys: int) -> Dyads:
    """The view of these segments, by the shipped scheme and tables."""
    pytest.importorskip("ahocorasick")
    from haltung.paths import shipped

    return Dyads(Given(segments), str(shipped("configs") / "labels" / "diplomacy.yaml"), **keys)


def scheme() -> Scheme:
    """The shipped scheme of dyads."""
    from haltung import labels
    from haltung.paths import shipped

    return labels.load(shipped("configs") / "labels" / "dyads.yaml")


WARNING = Segment("w", "Die USA warnen Russland.", {"stance": "warning"}, dyads=(Dyad("USA", "RUS", "warning"),), split="test")


def test_a_gold_dyad_labels_its_own_pair_and_no_other():
    """The order counts: the way back has no stance."""
    rows = {row.id: row.labels["stance"] for row in view(WARNING).read(scheme()).segments}
    assert rows["w:USA>RUS"] == "warning"
    assert {label for id, label in rows.items() if id != "w:USA>RUS"} == {"none"}
    assert "w:RUS>USA" in rows


def test_train_keeps_only_some_rows_without_a_dyad_and_test_all():
    """One of five is kept in train, the same one each time."""
    from dataclasses import replace

    train = view(replace(WARNING, split="train"), negatives=1)
    first, second = train.read(scheme()), train.read(scheme())
    assert len(first.segments) == 2
    assert first.segments == second.segments
    assert len(view(WARNING, negatives=1).read(scheme()).segments) == 6


def test_a_dyad_whose_actor_is_not_named_is_listed_with_its_reason():
    """Nothing is lost in silence."""
    hidden = Segment("h", "Er warnte davor.", {"stance": "warning"}, dyads=(Dyad("USA", "RUS", "warning"),))
    (dropped,) = view(hidden).read(scheme()).dropped
    assert (dropped.id, dropped.reason) == ("h:USA>RUS", "actor_not_found")


def test_other_tables_make_another_corpus(tmp_path: Path) -> None:
    """The shipped tables, one's own and the scheme count among the files that a prepared corpus is made of."""
    from dataclasses import replace

    own = tmp_path / "persons.csv"
    own.write_text("", encoding="utf-8")
    names = [file.name for file in replace(view(WARNING), tables=str(tmp_path)).files()]
    assert names.count("persons.csv") == 2
    assert {"states.csv", "diplomacy.yaml"} <= set(names)


def test_another_scheme_is_refused():
    """The sentence names the scheme that fits."""
    other = parse({"name": "mine", "tasks": {"stance": {"labels": ["pro", "contra"]}}})
    with pytest.raises(UserError, match="labels=dyads"):
        view(WARNING).read(other)
