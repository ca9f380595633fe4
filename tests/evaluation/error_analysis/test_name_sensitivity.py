"""Masking and swapping of names, and what they say about a model."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from haltung.actors.states import state_mentions, states
from haltung.errors import UserError
from haltung.evaluation.error_analysis.name_sensitivity import masked, name_sensitivity, swapped
from haltung.evaluation.predictions import score
from haltung.evaluation.report import tables
from haltung.labels import parse
from haltung.records import Prediction, Segment

SCHEME = parse({"name": "s", "tasks": {"stance": {"labels": ["threat", "neutral"]}}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Russland droht der Ukraine.", "Staat A droht der Staat B."),
        ("Moskau droht, Russland schweigt.", "Hauptstadt A droht, Staat A schweigt."),
        ("Die russische und die französischen Truppen", "Die A-staatliche und die B-staatlichen Truppen"),
        ("die Haltung Russlands", "die Haltung des Staats A"),
        ("Chinas Antwort", "Des Staats A Antwort"),
        ("die Politik des Irans", "die Politik des Staats A"),
        ("die Politik des Vereinigten Königreichs", "die Politik des Staats A"),
        ("die Stimmung Wiens", "die Stimmung der Hauptstadt A"),
        ("die Moskauer Zeitung", "die A-Hauptstädter Zeitung"),
        ("US-Präsident Tom Miller", "Staat-A-Präsident Person A"),
        ("Laut Kanzlerin Eva Maurer will Maurer gehen.", "Laut Kanzlerin Person A will Person A gehen."),
        ("Präsidenten Jan de Vries lobte er, Maurers Rede nicht.", "Präsidenten Person A lobte er, Maurers Rede nicht."),
        ("Ministerin Ursula von der Leyen", "Ministerin Person A"),
    ],
)
def test_names_are_masked(text: str, expected: str) -> None:
    """A state and its capital have the same letter; endings stay."""
    assert masked(Segment("1", text)).text == expected


@pytest.mark.parametrize(
    "text",
    [
        "Der Minister Anfang Mai.",
        "Am Montag will der Präsident Truppen entsenden.",
        "Der Sprecher Freitag früh.",
        "Die Nigerianerin und die Maliziöse.",
        "Der Präsident lobte die Einigung.",
        "",
    ],
)
def test_what_is_no_name_stays(text: str) -> None:
    """German nouns have capitals too, and a name inside a word is none."""
    assert masked(Segment("1", text)).text == text


def test_letters_are_the_same_in_text_and_context() -> None:
    """Who is A in the text is A in what stands before it, and a last name alone is known from
    there.
    """
    segment = Segment("1", "Maurer warnt Peking.", context="China und Chile: Kanzlerin Eva Maurer reist nach Peking.")
    changed = masked(segment)
    assert changed.text == "Person A warnt Hauptstadt A."
    assert changed.context == "Staat A und Staat B: Kanzlerin Person A reist nach Hauptstadt A."
    assert changed.id == "1"


def test_nothing_of_a_masked_text_names_a_state() -> None:
    """The placeholders are none themselves."""
    text = "Die Türkei, Irans Präsident Ali Rezai, Bern, der Schweizer Franken, die US-Politik und Großbritanniens russische Gäste in Prag."
    assert state_mentions(masked(Segment("1", text)).text) == []


def test_a_swap_keeps_articles_and_endings() -> None:
    """Names of another gender are no counterpart; the same state gets the same counterpart
    throughout.
    """
    text = "Die Türkei warnt Russland: Russlands Flotte und die russischen Häfen, so Ankara, mieden türkische Gewässer."
    changed = swapped(Segment("1", text), 3).text
    feminine, neuter = ([s for s in states().values() if s.gender == kind and s.is_regular] for kind in "fn")
    new = next(state for state in feminine if changed.startswith(f"Die {state.name} "))
    other = next(state for state in neuter if f"warnt {state.name}:" in changed)
    assert changed == (
        f"Die {new.name} warnt {other.name}: {other.name}s Flotte und die {other.adjective}en Häfen, so {new.capital}, "
        f"mieden {new.adjective}e Gewässer."
    )
    assert len({new.code, other.code, "TUR", "RUS"}) == 4


def test_a_plural_stays_a_plural() -> None:
    """After "die USA warnen" the verb fits, and after "in den" the dative."""
    targets = {swapped(Segment("1", "In den USA"), seed).text.removeprefix("In den ") for seed in range(30)}
    assert targets == {"Malediven", "Philippinen", "Salomonen"}


def test_a_swap_hangs_on_seed_and_id_alone() -> None:
    """The same segment is swapped the same in any corpus; another seed takes other states."""
    segment = Segment("1", "Russland droht Polen.", context="Polen im Visier")
    assert swapped(segment, 1) == swapped(segment, 1)
    assert len({swapped(segment, seed).text for seed in range(8)}) > 4
    changed = swapped(segment, 1)
    assert changed.text.split()[-1].rstrip(".") == changed.context.split()[0]


def by_name(segments: Sequence[Segment]) -> list[Prediction]:
    """A model that depends on the name alone: Russland threatens, everybody else is neutral."""
    sure = [0.9 if "Russland" in segment.text else 0.2 for segment in segments]
    return [
        Prediction(segment.id, {"stance": "threat" if p > 0.5 else "neutral"}, {"stance": {"threat": p, "neutral": 1 - p}})
        for segment, p in zip(segments, sure, strict=True)
    ]


def by_verb(segments: Sequence[Segment]) -> list[Prediction]:
    """A model that depends on the verb alone."""
    sure = [0.9 if "droht" in segment.text else 0.2 for segment in segments]
    return [
        Prediction(segment.id, {"stance": "threat" if p > 0.5 else "neutral"}, {"stance": {"threat": p, "neutral": 1 - p}})
        for segment, p in zip(segments, sure, strict=True)
    ]


SEGMENTS = [
    Segment(f"{row}", text, {"stance": stance}, article=f"a{row // 3}")
    for row, (text, stance) in enumerate([("Russland droht.", "threat"), ("Chile ruht.", "neutral"), ("Er ruht.", "neutral")] * 20)
]


def test_a_model_that_judges_by_names_is_found_out() -> None:
    """Masked, it is wrong; with another state, it says something else."""
    found = name_sensitivity(score(SEGMENTS, by_name(SEGMENTS), SCHEME), SEGMENTS, by_name).tasks["stance"]
    assert (found.n, found.changed, found.swapped) == (60, 40, 40)
    assert (found.accuracy_before, found.macro_f1_before) == (1.0, 1.0)
    assert found.accuracy_after == pytest.approx(2 / 3)
    assert found.macro_f1_after == pytest.approx(0.4)
    assert found.macro_f1_change.value == pytest.approx(-0.6)
    assert found.flips is not None
    # Each Russland becomes somebody else; now and then a Chile becomes Russland.
    assert 0.5 <= found.flips.low <= found.flips.value <= 0.6


def test_a_model_that_judges_by_verbs_is_not() -> None:
    """Nothing changes, and the interval of no flips in 20 articles still reaches above 0."""
    found = name_sensitivity(score(SEGMENTS, by_verb(SEGMENTS), SCHEME), SEGMENTS, by_verb).tasks["stance"]
    assert (found.macro_f1_change.value, found.macro_f1_change.low, found.macro_f1_change.high) == (0, 0, 0)
    assert found.flips is not None
    assert (found.flips.value, found.flips.low) == (0, 0)
    assert found.flips.high == pytest.approx(0.161, abs=0.001)


def test_only_what_is_changed_is_predicted_again() -> None:
    """Segments without a name keep their prediction."""
    seen: list[str] = []

    def watched(segments: Sequence[Segment]) -> list[Prediction]:
        seen.extend(segment.text for segment in segments)
        return by_verb(segments)

    name_sensitivity(score(SEGMENTS, by_verb(SEGMENTS), SCHEME), SEGMENTS, watched)
    assert len(seen) == 80
    assert "Er ruht." not in seen


def test_texts_without_names_have_no_flips() -> None:
    """There is no share of nothing."""
    segments = SEGMENTS[2::3]
    found = name_sensitivity(score(segments, by_verb(segments), SCHEME), segments, by_verb)
    assert (found.tasks["stance"].changed, found.tasks["stance"].swapped, found.tasks["stance"].flips) == (0, 0, None)


def test_the_table_shows_a_task_before_and_after_masking() -> None:
    """With the change signed, and its interval behind it."""
    found = name_sensitivity(score(SEGMENTS, by_name(SEGMENTS), SCHEME), SEGMENTS, by_name, draws=100)
    row = tables.name_sensitivity(found, SCHEME, "de").rows[0]
    assert row[:3] == ("stance", "1,000", "0,400")
    assert row[3].startswith("−0,600 (−0,")
    assert row[5:] == ("40/60", row[6], "40")


def test_masking_needs_labels() -> None:
    """Without gold there is no loss."""
    segments = [Segment("1", "Russland droht.")]
    with pytest.raises(UserError, match="no segment is labelled"):
        name_sensitivity(score(segments, by_verb(segments), SCHEME), segments, by_verb)
