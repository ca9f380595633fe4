"""The crosswalk from stances to events of PLOVER."""

from __future__ import annotations

import csv

import pytest

from haltung import files, labels
from haltung.errors import UserError
from haltung.events import plover as crosswalk
from haltung.events.plover import Plover, event

# The conflict and cooperation scores of the PLOVER manual (draft 2.0, February 2024) by quad class,
# event and mode.
SCORES = {
    (1, "AGREE"): {"": 2.5},
    (1, "CONCEDE"): {"": 4.5},
    (1, "CONSULT"): {"": 2.5, "multilateral": 4, "phone": 1.5, "visit": 4},
    (1, "SUPPORT"): {"": 5},
    (2, "AID"): {"": 10},
    (2, "COOPERATE"): {"": 9.5},
    (2, "RETREAT"): {"access": 6.5, "ceasefire": 7.5, "disarm": 10, "release": 6.5, "resign": 4.5, "withdraw": 8},
    (3, "ACCUSE"): {"allege": -3.5, "disapprove": -2, "investigate": -3.5},
    (3, "REJECT"): {"": -2, "assist": -1.5, "change": -2, "meet": -2, "yield": -2},
    (3, "REQUEST"): {"": 0, "assist": 0.5, "change": -1, "meet": 0, "yield": -1},
    (3, "THREATEN"): {"": -3.5, "arrest": -3.5, "expel": -3.5, "relations": -3.5, "restrict": -3, "territory": -4, "violence": -3.5},
    (4, "ASSAULT"): {
        "": -9, "abduct": -8.5, "aerial": -9.5, "crowd-control": -7.5, "drone": -9.5, "explosives": -9, "firearms": -9,
        "heavy-weapons": -9.5, "suicide-attack": -9.5, "targeted": -9.5, "torture": -8.5,
    },
    (4, "COERCE"): {
        "": -7, "arrest": -7, "censor": -6.5, "curfew": -6.5, "cyber": -7, "deport": -7, "martial-law": -7.5, "restrict": -7,
        "seize": -7, "withhold": -7,
    },
    (4, "MOBILIZE"): {"troops": -6.5, "weapons": -6.5},
    (4, "PROTEST"): {"boycott": -4.5, "demo": -5, "hunger": -4.5, "strike": -5},
    (4, "SANCTION"): {"convict": -6, "discontinue": -6, "expel": -5.5},
}  # fmt: skip


def scheme_stances() -> dict[str, tuple[str, ...]]:
    return {label.id: label.plover for label in labels.load(files.shipped("configs") / "labels" / "diplomacy.yaml")["stance"].labels}


def test_every_stance_maps_to_exactly_the_events_of_its_label() -> None:
    """The label scheme says which events a stance may be; the crosswalk leaves none out and adds
    none.
    """
    rules = crosswalk.load()
    events = {stance: {plover.event for plover, _ in of_stance} - {""} for stance, of_stance in rules.items()}
    assert events == {stance: set(of_stance) for stance, of_stance in scheme_stances().items()}


def test_every_row_is_in_plovers_range() -> None:
    """The quad class is 1 to 4 and agrees with the sign of the intensity."""
    for plover in (plover for of_stance in crosswalk.load().values() for plover, _ in of_stance):
        if plover.event:
            assert plover.quad in crosswalk.QUADS
            assert -10 <= plover.intensity <= 10
            assert plover.intensity >= 0 if plover.quad in (1, 2) else plover.intensity <= 0.5
        else:
            assert (plover.mode, plover.quad, plover.intensity) == ("", None, None)


def test_every_row_names_the_source_of_its_numbers() -> None:
    """In the last column."""
    lines = (files.shipped("data") / "crosswalk" / "plover.csv").read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert rows
    assert all(row["basis"] for row in rows)


def test_an_event_has_one_quad_class_wherever_it_stands() -> None:
    """Each of its modes has one intensity."""
    seen: dict[tuple[str, str], Plover] = {}
    for plover in (plover for of_stance in crosswalk.load().values() for plover, _ in of_stance):
        assert seen.setdefault((plover.event, plover.mode), plover) == plover


def test_quad_classes_and_intensities_are_those_of_the_manual() -> None:
    """A changed number in the data file would change every series of events."""
    scores: dict[tuple[int | None, str], dict[str, float | None]] = {}
    for plover in (plover for of_stance in crosswalk.load().values() for plover, _ in of_stance if plover.event):
        scores.setdefault((plover.quad, plover.event), {})[plover.mode] = plover.intensity
    assert scores == SCORES


def test_the_default_of_a_stance_comes_last() -> None:
    """Rows after it are unreachable, and without a default a sentence may have no event."""
    for of_stance in crosswalk.load().values():
        assert [words is None for _, words in of_stance] == [False] * (len(of_stance) - 1) + [True]


@pytest.mark.parametrize(
    ("stance", "text", "expected"),
    [
        ("support", "Kanada liefert der Ukraine Munition.", ("AID", "")),
        ("support", "Kanada begrüßt den Beschluss.", ("SUPPORT", "")),
        ("support", "Mithilfe der Karte lobt er den Weg.", ("SUPPORT", "")),
        ("cooperation", "Chile und Peru unterzeichneten das Abkommen.", ("AGREE", "")),
        ("cooperation", "Der König besuchte am Montag Wien.", ("CONSULT", "visit")),
        ("cooperation", "Beide berieten über Fischerei.", ("CONSULT", "")),
        ("cooperation", "Ein Treffen ist für Mai geplant.", ("AGREE", "")),
        ("concession", "Der Iran ließ am Abend drei Seeleute frei.", ("RETREAT", "release")),
        ("concession", "Teheran bot eine Waffenruhe an.", ("CONCEDE", "")),
        ("request", "Er rief zu Verhandlungen auf.", ("REQUEST", "meet")),
        ("threat", "Ghana drohte mit Sanktionen.", ("THREATEN", "restrict")),
        ("threat", "Nepal begann ein Manöver an der Grenze.", ("MOBILIZE", "troops")),
        ("criticism", "Oslo warf Bern am Montag Untätigkeit vor.", ("ACCUSE", "allege")),
        ("criticism", "Tausende demonstrierten gegen die Regierung.", ("PROTEST", "demo")),
        ("criticism", "Häftlinge sind im Hungerstreik.", ("PROTEST", "hunger")),
        ("rejection", "Bern lehnt das ab.", ("REJECT", "")),
        ("coercion", "Die EU verhängte Sanktionen.", ("SANCTION", "discontinue")),
        ("coercion", "Bei dem Luftangriff wurden zwei Menschen getötet.", ("ASSAULT", "aerial")),
        ("coercion", "Die Polizei nahm am Abend zwei Redner fest.", ("COERCE", "arrest")),
        ("coercion", "Ein Cyberangriff legte das Amt lahm.", ("COERCE", "cyber")),
        ("warning", "Chile warnt Peru.", ("", "")),
        ("neutral", "Der Angriff war 1940.", ("", "")),
    ],
)
def test_the_sentences_words_choose_among_a_stances_events(stance: str, text: str, expected: tuple[str, str]) -> None:
    """Whole words match in any case, and separable verbs also if they are separated."""
    plover = event(stance, text)
    assert (plover.event, plover.mode) == expected


def test_a_word_is_found_in_any_notation() -> None:
    """With soft hyphens, decomposed umlauts and capitals."""
    assert event("coercion", "LUFT\u00adSCHLA\u0308GE auf Sanaa").mode == "aerial"


def test_an_unknown_stance_is_named() -> None:
    """The message suggests the most similar one."""
    with pytest.raises(UserError, match="no stance 'warnings', did you mean 'warning'"):
        event("warnings", "…")
