"""Masking and swapping of names, and what they show about a model."""

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
    """A state and its capital have the same letter; endings are kept."""
    assert masked([Segment("1", text)])[0].text == expected


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
    """German nouns are capitalised too, and a name inside a word does not count."""
    assert masked([Segment("1", text)])[0].text == text


def test_letters_are_the_same_in_text_and_context() -> None:
    """Letters are shared between text and context, and a last name is known from the context."""
    segment = Segment("1", "Maurer warnt Peking.", context="China und Chile: Kanzlerin Eva Maurer reist nach Peking.")
    (changed,) = masked([segment])
    assert changed.text == "Person A warnt Hauptstadt A."
    assert changed.context == "Staat A und Staat B: Kanzlerin Person A reist nach Hauptstadt A."
    assert changed.id == "1"


def test_nothing_of_a_masked_text_names_a_state() -> None:
    """Neither do the placeholders."""
    text = "Die Türkei, Irans Präsident Ali Rezai, Bern, der Schweizer Franken, die US-Politik und Großbritanniens russische Gäste in Prag."
    assert state_mentions(masked([Segment("1", text)])[0].text) == []


def test_a_swap_keeps_articles_and_endings() -> None:
    """A name is replaced by one of the same gender, and a state by the same state throughout."""
    text = "Die Türkei warnt Russland: Russlands Flotte und die russischen Häfen, so Ankara, mieden türkische Gewässer."
    changed = swapped([Segment("1", text)], 3)[0].text
    feminine, neuter = ([s for s in states().values() if s.gender == kind and s.is_regular] for kind in "fn")
    new = next(state for state in feminine if changed.startswith(f"Die {state.name} "))
    other = next(state for state in neuter if f"warnt {state.name}:" in changed)
    assert changed == (
        f"Die {new.name} warnt {other.name}: {other.name}s Flotte und die {other.adjective}en Häfen, so {new.capital}, "
        f"mieden {new.adjective}e Gewässer."
    )
    assert len({new.code, other.code, "TUR", "RUS"}) == 4


def test_a_plural_stays_a_plural() -> None:
    """The verb still agrees in "die USA warnen", as does the dative after "in den"."""
    targets = {swapped([Segment("1", "In den USA")], seed)[0].text.removeprefix("In den ") for seed in range(30)}
    assert targets == {"Malediven", "Philippinen", "Salomonen"}


def test_a_swap_hangs_on_seed_and_id_alone() -> None:
    """The swap does not depend on the corpus; another seed gives other states."""
    segment = Segment("1", "Russland droht Polen.", context="Polen im Visier")
    assert swapped([segment], 1) == swapped([segment], 1)
    assert len({swapped([segment], seed)[0].text for seed in range(8)}) > 4
    (changed,) = swapped([segment], 1)
    assert changed.text.split()[-1].rstrip(".") == changed.context.split()[0]


FIELDS = ("headline", "text")


def test_an_article_is_masked_as_one() -> None:
    """Headline and sentences share letters, and a person introduced in one sentence is known in
    all; states in a context that is not read are ignored.
    """
    texts = ("Maurer warnt Peking.", "Chile schweigt.", "Das sagte Kanzlerin Eva Maurer Russland.")
    rows = [Segment(str(n), text, headline="Russland und China", context="Peru") for n, text in enumerate(texts)]
    changed = masked(rows, FIELDS)
    assert [row.text for row in changed] == ["Person A warnt Hauptstadt B.", "Staat C schweigt.", "Das sagte Kanzlerin Person A Staat A."]
    assert {row.headline for row in changed} == {"Staat A und Staat B"}
    assert [(row.id, row.context) for row in changed] == [(row.id, "Peru") for row in rows]


def test_an_article_is_swapped_as_one() -> None:
    """A state is always replaced by the same other one, and by none that any sentence names."""
    texts = ("Russland droht.", "China ruht.", "Russlands Flotte ruht.")
    rows = [Segment(str(n), text, headline="Russland und China") for n, text in enumerate(texts)]
    names = set()
    for seed in range(20):
        changed = swapped(rows, seed, FIELDS)
        first, second = changed[0].headline.split(" und ")
        assert [row.text for row in changed] == [f"{first} droht.", f"{second} ruht.", f"{first}s Flotte ruht."]
        assert changed[0].headline == changed[2].headline
        names |= {first, second}
    assert len(names) > 8
    assert names.isdisjoint({"Russland", "China"})


def by_name(segments: Sequence[Segment]) -> list[Prediction]:
    """A model that uses the name alone: Russland threatens, all others are neutral."""
    sure = [0.9 if "Russland" in segment.text else 0.2 for segment in segments]
    return [
        Prediction(segment.id, {"stance": "threat" if p > 0.5 else "neutral"}, {"stance": {"threat": p, "neutral": 1 - p}})
        for segment, p in zip(segments, sure, strict=True)
    ]


def by_verb(segments: Sequence[Segment]) -> list[Prediction]:
    """A model that uses the verb alone."""
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
    """Its errors increase with masking, and its answers change with swapping."""
    found = name_sensitivity(score(SEGMENTS, by_name(SEGMENTS), SCHEME), SEGMENTS, by_name).tasks["stance"]
    assert (found.n, found.changed, found.swapped) == (60, 40, 40)
    assert (found.accuracy_before, found.macro_f1_before) == (1.0, 1.0)
    assert found.accuracy_after == pytest.approx(2 / 3)
    assert found.macro_f1_after == pytest.approx(0.4)
    assert found.macro_f1_change.value == pytest.approx(-0.6)
    assert found.flips is not None
    # Each Russland is replaced; sometimes Chile is replaced by Russland.
    assert 0.5 <= found.flips.interval.low <= found.flips.value <= 0.6


def test_a_model_that_judges_by_verbs_is_not() -> None:
    """Nothing changes, but with no flips in 20 articles the interval still extends above 0."""
    found = name_sensitivity(score(SEGMENTS, by_verb(SEGMENTS), SCHEME), SEGMENTS, by_verb).tasks["stance"]
    assert (found.macro_f1_change.value, found.macro_f1_change.interval.low, found.macro_f1_change.interval.high) == (0, 0, 0)
    assert found.flips is not None
    assert (found.flips.value, found.flips.interval.low) == (0, 0)
    assert found.flips.interval.high == pytest.approx(0.161, abs=0.001)


def test_only_what_is_changed_is_predicted_again() -> None:
    """Segments without names keep their predictions."""
    seen: list[str] = []

    def watched(segments: Sequence[Segment]) -> list[Prediction]:
        seen.extend(segment.text for segment in segments)
        return by_verb(segments)

    name_sensitivity(score(SEGMENTS, by_verb(SEGMENTS), SCHEME), SEGMENTS, watched)
    assert len(seen) == 80
    assert "Er ruht." not in seen


def test_articles_are_predicted_whole_and_once_for_each_change() -> None:
    """The whole article is masked alike; articles without names are not predicted again, and
    sentences without a name of their own count as masked but not as swapped.
    """
    texts = (("Russland droht.", "Er ruht.", "Kiew ruht."), ("Er droht.", "Sie ruht."), ("Sie droht.", "Er ruht."))
    rows = [
        Segment(f"{article}-{place}", text, {"stance": "threat"}, article=f"a{article}", position=place, headline=headline)
        for article, (sentences, headline) in enumerate(zip(texts, ("Ukraine im Blick", "Der Zoll", "Polen und der Zoll"), strict=True))
        for place, text in enumerate(sentences)
    ]
    read: list[list[Segment]] = []

    def watched(segments: Sequence[Segment]) -> list[Prediction]:
        read.append(list(segments))
        return by_name(segments)

    found = name_sensitivity(score(rows, by_name(rows), SCHEME), rows, watched, in_articles=True).tasks["stance"]
    masks, swaps = read
    assert [(row.text, row.headline) for row in masks] == [
        ("Staat B droht.", "Staat A im Blick"), ("Er ruht.", "Staat A im Blick"), ("Hauptstadt A ruht.", "Staat A im Blick"),
        ("Sie droht.", "Staat A und der Zoll"), ("Er ruht.", "Staat A und der Zoll"),
    ]  # fmt: skip
    assert [row.id for row in swaps] == ["0-0", "0-1", "0-2"]
    assert len({row.headline for row in swaps}) == 1
    assert "Ukraine" not in swaps[0].headline
    assert swaps[1].text == "Er ruht."
    assert (found.n, found.changed, found.swapped) == (7, 5, 2)
    assert found.flips is not None
    assert found.flips.value == 0.5


def test_texts_without_names_have_no_flips() -> None:
    """Without swapped segments, the share of flips is undefined."""
    segments = SEGMENTS[2::3]
    found = name_sensitivity(score(segments, by_verb(segments), SCHEME), segments, by_verb)
    assert (found.tasks["stance"].changed, found.tasks["stance"].swapped, found.tasks["stance"].flips) == (0, 0, None)


def test_the_table_shows_a_task_before_and_after_masking() -> None:
    """With a signed change and its interval."""
    found = name_sensitivity(score(SEGMENTS, by_name(SEGMENTS), SCHEME), SEGMENTS, by_name, draws=100)
    row = tables.name_sensitivity(found, SCHEME, "de").rows[0]
    assert row[:3] == ("stance", "1,000", "0,400")
    assert row[3].startswith("−0,600 [−0,")
    assert row[5:] == ("40/60", row[6], "40")


def test_masking_needs_labels() -> None:
    """Without gold labels, no loss of macro-F1 can be computed."""
    segments = [Segment("1", "Russland droht.")]
    with pytest.raises(UserError, match="no segment is labelled"):
        name_sensitivity(score(segments, by_verb(segments), SCHEME), segments, by_verb)
