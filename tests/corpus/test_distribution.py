"""How stances are distributed over articles: each measure on articles small enough to count by
hand, the bands that hold them, and the values of real news that are stored.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from haltung import labels
from haltung.cli import main
from haltung.corpus import distribution
from haltung.corpus.quality import Band, QualityLimits, inspect
from haltung.corpus.readers.standoff import Standoff
from haltung.errors import UserError
from haltung.records import Dyad, Segment, by_group

SCHEME = labels.parse({"name": "two", "tasks": {"topic": {"labels": ["war", "trade"]}, "stance": {"labels": ["criticism", "neutral"]}}})


def corpus(*articles: list[tuple[str, str]], sources: str = "") -> list[list[Segment]]:
    """Articles of (stance, text); ``sources`` has a letter for the source of each stance."""
    letters = iter(sources)
    return [
        [
            Segment(
                f"a{number}-{place}",
                text,
                {"topic": "war", "stance": stance},
                article=f"a{number}",
                dyads=(Dyad(next(letters, ""), "", stance),) if stance != "neutral" else (),
            )
            for place, (stance, text) in enumerate(article)
        ]
        for number, article in enumerate(articles)
    ]


def article(stances: str) -> list[tuple[str, str]]:
    """An article of a stance a letter: n neutral, the others one stance each."""
    names = {"n": "neutral", "c": "criticism", "r": "request", "w": "warning", "t": "threat", "o": "coercion"}
    return [(names[letter], f"Satz {place}.") for place, letter in enumerate(stances)]


def measured(key: str, articles: list[list[Segment]]) -> float:
    """The value of one measure."""
    return distribution.MEASURES[key][1](articles)


@pytest.mark.parametrize(
    ("key", "articles", "expected"),
    [
        ("four_stances", ["crwtnnnn", "crwnnnnn", "crwt"], 1 / 2),
        ("one_stance", ["nnn", "cnc", "crn", "crw"], 2 / 4),
        ("all_neutral", ["nnn", "cnc"], 1 / 2),
        ("spread_of_stances", ["nn", "cc"], 0.5),
        ("spread_of_stances", ["nc", "cn"], 0.0),
        # The pairs of stances: c-c, c-r, r-r; a neutral segment between two parts them.
        ("same_neighbours", ["ccrrncn", "n"], 2 / 3),
        ("last_neutral", ["ccn", "nnc", "n"], 2 / 3),
    ],
)
def test_measures_of_whole_articles(key: str, articles: list[str], expected: float) -> None:
    """Counted by hand."""
    assert measured(key, corpus(*map(article, articles))) == pytest.approx(expected)


def test_a_speaker_who_goes_on() -> None:
    """Of three stances that are not the first, the first has the source of the one before; unknown
    sources are none in common.
    """
    assert measured("same_source", corpus(article("ccc"), sources="AAB")) == pytest.approx(1 / 2)
    assert measured("same_source", corpus(article("cc"), sources="")) == 0


@pytest.mark.parametrize(
    ("key", "stance", "matching", "other"),
    [
        ("passive_coercion", "coercion", "Drei Menschen wurden am Montag verletzt.", "Die Polizei nahm drei Menschen fest."),
        ("passive_coercion", "coercion", "Dass sie festgenommen worden sind, ist bekannt.", "Die Truppen werden den Ort angreifen."),
        ("modal_request", "request", "Der Bund müsse zahlen.", "Sie verlangt Geld vom Bund."),
        ("criticism_word", "criticism", "Die Opposition übte Kritik.", "Die Opposition sprach von Betrug."),
        ("request_word", "request", "Er fordert Geld.", "Er will Geld."),
        ("warning_word", "warning", "Sie warnte vor Hunger.", "Sonst komme Hunger, so die Erwarnte."),
        (
            "stance_in_noun",
            "criticism",
            "Nach scharfer Kritik der Länder ist das Gesetz vom Tisch.",
            "Die Länder kritisierten nach der Kritik das Gesetz.",
        ),
    ],
)
def test_how_a_stance_is_worded(key: str, stance: str, matching: str, other: str) -> None:
    """The share among the segments with that stance; neutral ones don't count."""
    rows = [(stance, matching), (stance, other), ("neutral", matching)]
    assert measured(key, corpus(rows)) == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("neutral_quotation", "Er nannte es „Unsinn“."),
        ("neutral_quotation", "Er nannte es «Unsinn»."),
        ("neutral_subjunctive", "Der Zug sei entgleist."),
        ("neutral_said", "Der Zug ist entgleist, sagte ein Sprecher."),
    ],
)
def test_neutral_among_sentences_of_a_form(key: str, text: str) -> None:
    """Sentences without that form don't count."""
    rows = [("neutral", text), ("criticism", text), ("criticism", text), ("neutral", "Es regnet.")]
    assert measured(key, corpus(rows)) == pytest.approx(1 / 3)


def test_lengths_are_counted_in_words() -> None:
    """A compound with a hyphen is one word; 25 words are long, 24 are not."""
    rows = [("neutral", "EU-Gipfel " * 25), ("neutral", "EU-Gipfel " * 24)]
    assert measured("long", corpus(rows)) == pytest.approx(1 / 2)
    assert measured("spread_of_length", corpus(rows)) == pytest.approx(0.5)


def test_the_commonest_verbs_are_a_share_of_all() -> None:
    """Eleven verbs once each: ten of eleven."""
    verbs = ["sagte", "erklärte", "forderte", "kritisierte", "warnte", "betonte", "meinte", "verlangte", "lobte", "drohte", "dankte"]
    assert measured("commonest_verbs", corpus([("criticism", f"Er {verb} es.") for verb in verbs])) == pytest.approx(10 / 11)


def test_nothing_is_no_error() -> None:
    """An empty corpus has the value 0 everywhere."""
    assert {measure([]) for _, measure in distribution.MEASURES.values()} == {0.0}


@pytest.mark.parametrize(
    ("band", "inside", "outside", "words"),
    [
        (Band(0.2, 0.4), 0.2, 0.41, "0.2 to 0.4"),
        (Band(low=0.2), 9.0, 0.1, "at least 0.2"),
        (Band(high=0.2), 0.0, 0.3, "at most 0.2"),
        (Band(real={"gnad10": 0.12345}), 5.0, None, "any (real news: gnad10 0.123)"),
    ],
)
def test_a_band_is_held_against_a_value(band: Band, inside: float, outside: float | None, words: str) -> None:
    """Both ends are allowed."""
    assert inside in band
    assert outside is None or outside not in band
    assert str(band) == words


def test_a_band_of_an_unknown_measure_is_refused() -> None:
    """With the nearest."""
    limits = QualityLimits(typography=False, articles={"last_neutrl": Band()})
    with pytest.raises(UserError, match=r"limits\.articles is 'last_neutrl', did you mean 'last_neutral'"):
        list(inspect(corpus(article("nc"))[0], limits, SCHEME, {}))


# Later rounds of annotation were not drawn as news is, but where stances were expected.
FROM_NEWS = (1, 2)


def test_the_stored_values_of_real_news(root: Path, shared: Path) -> None:
    """They were measured on the texts that can't be shipped, without their tests."""
    scheme = labels.load(root / "configs" / "labels" / "diplomacy.yaml")
    texts = {"gnad10": "gnad10/test.csv", "wikinews": "wikinews/articles.jsonl"}
    bands = yaml.safe_load((root / "configs" / "limits" / "diplomacy.yaml").read_text(encoding="utf-8"))["articles"]
    assert set(bands) == set(distribution.MEASURES)
    for kind, place in texts.items():
        rows = Standoff(str(root / f"data/{kind}_stance/annotations.jsonl"), str(shared / place), kind, FROM_NEWS).read(scheme).segments
        articles = list(by_group(row for row in rows if row.split == "train").values())
        found = {key: round(measure(articles), 3) for key, (_, measure) in distribution.MEASURES.items()}
        assert {key: band["real"][kind] for key, band in bands.items()} == found


def test_the_command_measures_without_limits_and_leaves_splits_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``limits=distribution`` says what there is; with ``only_splits`` of a part alone."""
    monkeypatch.setenv("COLUMNS", "160")
    sizes = {}
    for splits in ("null", "[test]"):
        assert main(["check", "limits=distribution", f"only_splits={splits}"]) == 0
        printed = capsys.readouterr().out
        assert all(name in printed for name, _ in distribution.MEASURES.values())
        sizes[splits] = int(re.search(r"diplomacy: ([\d,]+) segments", printed)[1].replace(",", ""))  # type: ignore[index]
    assert 0 < sizes["[test]"] < sizes["null"] / 2
