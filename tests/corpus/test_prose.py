"""Whether a written corpus reads like prose: each fault is found, real news sets the measure, and
the shipped corpora hold.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from haltung import labels
from haltung.cli import main
from haltung.corpus.quality import Measure, QualityLimits, compression, inspect, read_words, type_token, typography_faults, unknown_words
from haltung.corpus.readers.standoff import Standoff
from haltung.errors import UserError
from haltung.records import Dyad, Segment

SCHEME = labels.parse({"name": "two", "tasks": {"topic": {"labels": ["war", "trade"]}, "stance": {"labels": ["warning", "neutral"]}}})


def corpus(*texts: str, **more: object) -> list[Segment]:
    """Segments of these texts, each an article of its own."""
    return [
        Segment(f"s{index}", text, {"topic": "war", "stance": "neutral"}, article=f"a{index}", **more)  # type: ignore[arg-type]
        for index, text in enumerate(texts)
    ]


def measure(segments: list[Segment], countries: dict[str, str] | None = None, **limits: object) -> Measure:
    """The one measure that these limits ask for."""
    (found,) = inspect(segments, QualityLimits(**{"typography": False, **limits}), SCHEME, countries or {})  # type: ignore[arg-type]
    return found


def test_two_segments_that_are_nearly_the_same_are_found() -> None:
    """And two of the same frame with other words are not."""
    found = measure(corpus("Der Minister warnt vor dem Krieg im Süden.", "Der Minister warnt vor dem Krieg im Norden."), jaccard=0.5)
    assert not found.holds
    assert "s0" in found.faults[0]
    assert "s1" in found.faults[0]
    assert measure(corpus("Der Minister warnt vor dem Krieg im Süden.", "Die Ministerin lobt einen Vertrag mit Peru."), jaccard=0.5).holds


def test_a_phrase_that_recurs_is_found() -> None:
    """Six words in a row in three segments, where two are allowed; a phrase twice in one segment
    counts once.
    """
    phrase = "wie ein Sprecher am Montag sagte"
    texts = [f"Man ziehe ab, {phrase}, {phrase}.", f"Der Zoll falle, {phrase}.", f"Es regne, {phrase}."]
    assert measure(corpus(*texts), sequence=2).faults == ("3 ×  wie ein sprecher am montag sagte",)
    assert measure(corpus(*texts[:2]), sequence=2).holds


def test_openings_that_recur_are_found() -> None:
    """A third of the segments opens in the same way."""
    found = measure(corpus("In der Nacht fiel Schnee.", "In der Nacht kam Regen.", "Am Tag schien Sonne."), opening=0.5)
    assert (found.found, found.faults) == ("66.67%", ("2 ×  in der nacht …",))


def test_variety_of_a_text_that_repeats_itself_is_low() -> None:
    """Two different words in each 1,000, and next to nothing left by compression."""
    dull = corpus(*["ja nein"] * 1000)
    assert type_token(dull) == pytest.approx(0.002)
    assert compression(dull) < 0.02


def test_variety_outside_the_tolerance_is_reported() -> None:
    """On either side of the real measure."""
    texts = corpus(*["ja nein"] * 1000)
    assert not measure(texts, type_token=0.5).holds
    assert measure(texts, type_token=0.0021).holds
    assert not measure(texts, compression=0.4).holds


@pytest.mark.parametrize(
    ("texts", "country", "found"),
    [
        (['Er sagte "nein".'], "DE", "straight or English"),
        (["Er sagte „nein”."], "DE", "straight or English"),
        (["Peters' Haus, Klaus's Auto."], "DE", "straight apostrophe"),
        (["Er kam - endlich."], "DE", "hyphen for a dash"),
        (["Er kam — endlich."], "DE", "English dash"),
        (["Er kam..."], "DE", "three dots"),
        (["Er  kam."], "DE", "two spaces"),
        (["Er kam ."], "DE", "space before"),
        (["Der EU–weite Plan"], "DE", "dash inside a word"),
        (["Er sagte „nein."], "DE", "never closed"),
        (["Er sagte nein“."], "DE", "without an opening"),
        (["Er sagte „‚nein“‘."], "DE", "without an opening"),
        (["Der Strom fließt."], "CH", "an ß in a Swiss text"),
        (["Er sagte «nein»."], "AT", "not Swiss"),
    ],
)
def test_each_fault_of_typography_is_found(texts: list[str], country: str, found: str) -> None:
    """Each with the sentence that has it."""
    assert any(index == 0 and found in fault for index, fault in typography_faults(texts, country))


@pytest.mark.parametrize(
    ("texts", "country"),
    [
        (["Er sagte: „Das heißt ‚nein‘ – endgültig.“ Punkt …"], "DE"),
        (["„Wir gehen.", "Wir kommen nicht zurück“, sagte sie."], "DE"),
        (["Er sagte «nein», sie sagte ‹ja›: Das heisst vielleicht."], "CH"),
        (["Die Strecke Wien–Triest kostet 3,5 Millionen, ein Drittel der 50-Prozent-Quote."], "AT"),
        (["Hans’ Haus, so ’n Ding."], "DE"),
    ],
)
def test_good_typography_has_no_fault(texts: list[str], country: str) -> None:
    """A quotation may run on over sentences; a route has a dash; apostrophes are no quotation
    marks.
    """
    assert list(typography_faults(texts, country)) == []


def test_labels_pairs_and_actors_are_counted() -> None:
    """What is rarer than required is named."""
    rows = corpus("a", "b", dyads=(Dyad("USA-OPP", "EU", "neutral"), Dyad("", "UN", "neutral")))
    limits = {"labels": {"stance": 1}, "pairs": {"rows": "stance", "columns": "topic", "largest": 1, "least": 2}}
    more = {"states": 2, "organisations": 2, "organisation_codes": ("EU", "UN")}
    measures = list(inspect(rows, QualityLimits(typography=False, **limits, **more), SCHEME, {}))  # type: ignore[arg-type]
    assert [found.faults for found in measures] == [("warning: 0",), ("warning × war: 0",), (), ()]
    assert [(found.found, found.holds) for found in measures[2:]] == [("1", False), ("2", True)]


def test_each_of_several_labels_counts() -> None:
    """A segment with two topics is one of both."""
    tasks = {"topic": {"kind": "multi", "labels": ["war", "trade"]}, "stance": {"labels": ["warning", "neutral"]}}
    scheme = labels.parse({"name": "several", "tasks": tasks})
    rows = [Segment("s", "Text.", {"topic": ("war", "trade"), "stance": "neutral"})]
    limits = {"labels": {"topic": 1}, "pairs": {"rows": "topic", "columns": "stance", "largest": 1, "least": 1}}
    measures = list(inspect(rows, QualityLimits(typography=False, **limits), scheme, {}))  # type: ignore[arg-type]
    assert [(found.found, found.holds) for found in measures] == [("1", True), ("1", True)]


@pytest.mark.parametrize("largest", [0, "six"])
def test_a_limit_of_pairs_that_is_no_number_is_reported(largest: object) -> None:
    """With what was found."""
    with pytest.raises(UserError, match=rf"limits\.pairs: largest is {largest!r}"):
        measure(corpus("Text."), pairs={"rows": "stance", "columns": "topic", "largest": largest, "least": 1})


@pytest.mark.system("hunspell")
def test_unknown_words_are_found_by_country(tmp_path: Path) -> None:
    """Jänner is Austrian, ß is not Swiss, a name is allowed by the list."""
    words = tmp_path / "words.txt"
    words.write_text("# Namen\nXylophila\n", encoding="utf-8")
    rows = corpus("Im Jänner sprach Xylophila.", "Im Jänner hieß er Ynglinga.", "Das Reglement heißt so.")
    found = measure(rows, {"a0": "AT", "a1": "AT", "a2": "CH"}, spelling=str(words))
    assert [fault.split()[0] for fault in found.faults] == ["Ynglinga", "heißt"]


def test_a_missing_list_of_words_is_reported(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(UserError, match=r"words\.txt: no such file"):
        read_words(tmp_path / "words.txt")


def test_a_missing_hunspell_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"hunspell is not installed.*make system"):
        unknown_words([(corpus("Ja.")[0], "DE")], frozenset())


def test_the_stored_measures_are_those_of_real_news(root: Path, shared: Path) -> None:
    """The limits of the shipped corpus were measured on the texts that can't be shipped."""
    scheme = labels.load(root / "configs" / "labels" / "diplomacy.yaml")
    # The round that came later was not drawn as news is.
    source = Standoff(str(root / "data/gnad10_stance/annotations.jsonl"), str(shared / "gnad10/test.csv"), rounds=(1, 2))
    rows = source.read(scheme).segments
    real = [segment for segment in rows if segment.split == "train"]
    stored = yaml.safe_load((root / "configs" / "limits" / "diplomacy.yaml").read_text(encoding="utf-8"))
    assert (stored["type_token"], stored["compression"]) == (round(type_token(real), 3), round(compression(real), 3))


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("corpus=challenge", "limits=challenge"), ("corpus=contrast", "limits=contrast")])
def test_the_shipped_corpora_hold(check: Callable[..., tuple[int, str]], words: tuple[str, ...]) -> None:
    """The command says so, and exits with 0; spelling is checked if hunspell is installed."""
    code, printed = check(*words)
    assert code == 0, printed
    assert "not met" not in printed


def test_a_limit_that_is_not_met_ends_with_1_and_lists_the_faults(check: Callable[..., tuple[int, str]]) -> None:
    """So that a pipeline stops."""
    code, printed = check("spelling=off", "limits.labels.stance=100000", "limits.jaccard=null", "shown=2")
    assert code == 1
    for part in ("not met", "support: ", "and 8 more (shown=10 lists them all)", "spelling was not checked: switched off"):
        assert part in printed


def test_a_task_that_the_scheme_lacks_is_reported(check: Callable[..., tuple[int, str]]) -> None:
    """In one sentence."""
    code, printed = check("spelling=off", "+limits.labels.stanse=1", "limits.jaccard=null")
    assert code == 2
    assert "unknown task 'stanse', did you mean 'stance'?" in printed


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run the command and return its exit code and all that it prints."""

    def run(*words: str) -> tuple[int, str]:
        code = main(["check", *words])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return run


def test_blocks_of_a_short_text_are_one() -> None:
    """A text of less than a block is measured as it is."""
    assert type_token(corpus("eins zwei zwei")) == pytest.approx(2 / 3)
