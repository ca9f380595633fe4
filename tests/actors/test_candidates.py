"""Candidates for the sides of a sentence's dyads: which, in which order, and with which cues."""

from __future__ import annotations

import pytest

from haltung.actors.candidates import ENDINGS, ROLES, Candidate, candidates, code_as, gold_roles
from haltung.actors.finder import Mention

TEXT = "Die USA warnen Russland vor Moskaus Plan."


def named(start: int, text: str, code: str, kind: str = "state", place: bool = False) -> Mention:
    """Return a mention as the matcher of actors does."""
    return Mention(start, start + len(text), text, code, kind, place)


def mention(word: str, code: str, text: str = TEXT, kind: str = "state", place: bool = False) -> Mention:
    """Return the mention of a word in a text."""
    return named(text.index(word), word, code, kind, place)


MENTIONS = [mention("USA", "USA"), mention("Russland", "RUS"), mention("Moskaus", "RUS")]


def of(article: list[list[Mention]], number: int, most: int = 6, texts: list[str] | None = None) -> tuple[Candidate, ...]:
    """Return the candidates of a sentence; by default each text is ``TEXT``."""
    return candidates(texts or [TEXT] * len(article), article, number, most)


def codes(article: list[list[Mention]], number: int, most: int = 6) -> list[str]:
    """Return their codes, "" for nobody."""
    return [one.code for one in of(article, number, most)]


def cues(text: str, name: str, code: str = "RUS") -> set[str]:
    """Return the cues of a sentence's only actor."""
    return set(of([[mention(name, code, text)]], 0, texts=[text])[1].cues)


def test_nobody_comes_first_and_an_actor_named_twice_is_one_candidate() -> None:
    """That candidate has the spans of all its mentions, in order."""
    nobody, usa, russia = of([MENTIONS], 0)
    assert (nobody.code, nobody.spans, nobody.before) == ("", (), None)
    assert (usa.code, usa.spans) == ("USA", ((4, 7),))
    assert (russia.code, [TEXT[slice(*span)] for span in russia.spans]) == ("RUS", ["Russland", "Moskaus"])


def test_where_nobody_is_named_there_is_no_candidate() -> None:
    """Not even nobody, since there is nothing to decide."""
    assert of([[], []], 1) == ()


def test_those_named_before_the_sentence_come_last() -> None:
    """First those of the previous sentence, then of the lead, then of the others, nearest first; at
    most ``most`` of all.
    """
    lead, middle, before = [mention("USA", "FRA")], [mention("USA", "ITA")], [named(0, "China", "CHN"), named(6, "Japan", "JPN")]
    article = [lead, middle, before, MENTIONS]
    assert codes(article, 3, most=9) == ["", "USA", "RUS", "JPN", "CHN", "FRA", "ITA"]
    assert codes(article, 3, most=3) == ["", "USA", "RUS", "JPN"]


def test_the_last_place_before_that_names_a_candidate_is_known() -> None:
    """With the number of its sentence, also for candidates that the sentence itself names."""
    article = [[named(0, "Moskau", "RUS")], [named(0, "China", "CHN"), named(9, "Peking", "CHN")], MENTIONS]
    before = {one.code: one.before for one in of(article, 2)}
    assert before == {"": None, "USA": None, "RUS": (0, (0, 6)), "CHN": (1, (9, 15))}
    known = {one.code: set(one.cues) for one in of(article, 2)}
    assert "before 2" in known["RUS"]
    assert "before 1" in known["CHN"]
    assert "not before" in known["USA"]


def test_what_comes_later_is_no_candidate_but_for_the_main_state() -> None:
    """The state that an article is mostly about may act in a sentence that does not name it."""
    later = [named(0, "Peru", "PER"), named(9, "Peru", "PER"), named(20, "Chile", "CHL")]
    _, only = of([[], later], 0)
    assert (only.code, only.before, only.spans) == ("PER", None, ())
    assert "main state" in only.cues


def test_the_main_state_keeps_the_last_place() -> None:
    """Even if the sentence names many others; an organisation is no state."""
    mentions = [mention(letter, f"{letter}{letter}{letter}", "A B C") for letter in "ABC"]
    home = [named(0, "x", "AUT")] * 4 + [named(0, "x", "UN", "organisation")] * 5
    assert codes([mentions, home], 0, most=3) == ["", "AAA", "BBB", "AUT"]


def test_a_mere_place_gives_way_to_an_actor() -> None:
    """A city as a place comes last among the sentence's actors."""
    text = "In Paris traf die EU Vertreter aus Peru."
    mentions = [mention("Paris", "FRA", text, place=True), mention("EU", "EU", text, "organisation"), mention("Peru", "PER", text)]
    assert codes([mentions], 0) == ["", "EU", "PER", "FRA"]


def test_rank_kind_and_role_are_cues() -> None:
    """So is the number of actors; the candidate "" (nobody) has cues of its own."""
    nobody, usa, russia = of([MENTIONS], 0)
    assert {"nobody", "nobody among 2"} <= set(nobody.cues)
    assert {"of 2", "rank 1", "rank 1 of 2", "role state", "kind state", "named 1"} <= set(usa.cues)
    assert "main state" not in usa.cues
    assert {"rank 2 of 2", "named 2", "main state"} <= set(russia.cues)
    text = "Die UNO und die Opposition sprechen."
    pair = [mention("UNO", "UN", text, "organisation"), mention("Opposition", "CHL-OPP", text, "party")]
    _, first, second = of([pair], 0, texts=[text])
    assert "role organisation" in first.cues
    assert {"role OPP", "kind party"} <= set(second.cues)


def test_word_order_and_the_sentence_before_are_cues() -> None:
    """Who acts and who is acted on by word order, and who acted last before the sentence."""
    first, second = "Chile warnt.", "Peru sagte es."
    mentions = [[mention("Chile", "CHL", first)], [mention("Peru", "PER", second)], []]
    texts = [first, second, "Das reiche nicht."]
    known = {one.code: set(one.cues) for one in of(mentions, 1, texts=texts)}
    assert "acts by order" in known["PER"]
    assert "acted before" in known["CHL"]
    known = {one.code: set(one.cues) for one in of(mentions, 2, texts=texts)}
    assert "acted before, none here" in known["PER"]
    assert not any("acted" in cue for cue in known["CHL"])
    known = {one.code: set(one.cues) for one in of([MENTIONS], 0)}
    assert "acted on by order" in known["RUS"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sanktionen gegen Russland drohen.", {"behind gegen", "article none", "behind gegen none", "left gegen", "right drohen"}),
        ("Ein Abkommen mit der neuen Türkei steht.", {"behind mit", "article der", "behind mit der", "left neuen"}),
        ("Die USA warnen.", {"behind none", "article die", "at the beginning"}),
        ("Gegen den Rat von vielen klugen alten Leuten zog Peru ab.", {"behind none"}),
    ],
)
def test_preposition_article_and_neighbours_are_cues(text: str, expected: set[str]) -> None:
    """From the three words before the name, and the word on each side of it."""
    name = next(word for word in ("Russland", "Türkei", "USA", "Peru") if word in text)
    assert expected <= cues(text, name)


def test_a_name_at_the_very_edge_has_no_neighbour() -> None:
    """What does not exist has no cue."""
    assert not any(cue.startswith(("left", "right")) for cue in cues("Peru", "Peru", "PER"))


def test_who_is_spoken_of_in_a_quotation_is_known() -> None:
    """The speaker is outside the quotation."""
    text = "„Wir trauen Russland nicht mehr“, sagte der Minister in Kiew."
    assert {"quoted", "quotes"} <= cues(text, "Russland")
    assert "quoted" not in cues(text, "Kiew", "UKR")
    assert "at the beginning" not in cues(text, "Kiew", "UKR")


@pytest.mark.parametrize(
    ("text", "opening"), [("Er warnte Peru.", "begins Er"), ("„Ihre Pläne nützen Peru.“", "begins Ihre"), ("Erst im Mai tagt Peru.", "")]
)
def test_an_opening_that_refers_back_is_a_cue(text: str, opening: str) -> None:
    """A pronoun refers to somebody named before; the candidate "" has a cue for it too."""
    nobody, peru = of([[mention("Peru", "PER", text)]], 0, texts=[text])
    assert [cue for cue in peru.cues if cue.startswith("begins")] == ([opening] if opening else [])
    assert [cue for cue in nobody.cues if "begins" in cue] == ([f"nobody {opening}"] if opening else [])


def test_two_actors_of_one_state_know_of_each_other() -> None:
    """Such as a government and its opposition."""
    text = "Chile streitet mit der Opposition und Peru."
    mentions = [mention("Chile", "CHL", text), mention("Opposition", "CHL-OPP", text), mention("Peru", "PER", text)]
    assert [one.code for one in of([mentions], 0, texts=[text]) if "same state" in one.cues] == ["CHL", "CHL-OPP"]


def test_who_acts_inside_a_state_is_found_by_its_candidate() -> None:
    """A candidate's own code is ``itself``; others are roles of their state's first candidate;
    unknown actors and suffixes are missed.
    """
    named = [Candidate(""), Candidate("USA"), Candidate("PSE-REB"), Candidate("USA-OPP")]
    assert gold_roles(named, ["USA", "PSE"]) == ([(1, "itself"), (2, "state")], [])
    assert gold_roles(named, ["USA-OPP", "PSE-REB", "USA-CIV"]) == ([(3, "itself"), (2, "itself"), (1, "people")], [])
    assert gold_roles(named, ["EU", "USA-XYZ", "USA"]) == ([(1, "itself")], ["EU", "USA-XYZ"])
    assert gold_roles([], ["USA"]) == ([], ["USA"])


@pytest.mark.parametrize("role", ROLES)
def test_a_candidates_code_in_a_role_is_the_one_that_gold_has(role: str) -> None:
    """Each role leads to a code and the code back to it, so that training and prediction agree."""
    host = "CHL-XYZ" if role == "state" else "CHL"
    code = code_as(host, role)
    assert code == {"itself": "CHL", "state": "CHL"}.get(role, f"CHL-{ENDINGS.get(role)}")
    assert gold_roles([Candidate(""), Candidate(host)], [code]) == ([(1, role)], [])
