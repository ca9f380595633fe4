"""What may enter a corpus, and what is recorded about the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haltung.cli.build import make
from haltung.corpus.clean import CleaningRules, find_markup, repair_encoding, strip_invisible, strip_markup
from haltung.corpus.deduplicate import bands, jaccard, separate
from haltung.corpus.prepare import CleanedSegments, clean_segments
from haltung.errors import UserError
from haltung.labels import parse
from haltung.records import Answer, Dyad, Segment

SCHEME = parse(
    {
        "name": "tiny",
        "tasks": {
            "topic": {"labels": ["energy", "security"]},
            "stance": {"labels": ["warning", "threat", "neutral"]},
            "tags": {"kind": "multi", "labels": ["a", "b", "c"]},
        },
    }
)
LONG = "Die Ministerin warnte am Dienstag in Bonn vor einem Stillstand der Verhandlungen über den Gasspeicher."


def segment(number: int, text: str = LONG, stance: str | None = "warning", **more: object) -> Segment:
    labels: dict[str, Answer] = {"topic": "energy", "stance": stance, "tags": None}
    labels.update(more.pop("labels", {}))  # type: ignore[call-overload]
    made = Segment(f"s{number}", text, labels, article=f"a{number}", where=f"news.jsonl, line {number}")
    return replace(made, **more)


def why(checked: CleanedSegments) -> dict[str, str]:
    return {item.id: item.reason for item in checked.dropped}


def ids(segments: Sequence[Segment]) -> list[str]:
    return [item.id for item in segments]


def test_a_sound_segment_is_left_as_it_is():
    """Typography, emoji, ligatures and combining marks are not changed."""
    texts = (
        "„So nicht“, sagte er – ‚nie‘.",
        "Gruß 🙂 aus Zu\u0308rich",
        "«Grüezi»\u00a0zusammen, ﬁnden wir",
        "R&D; kostet < 5 Mio. & > 3",
        "Fußnote [3]",
    )
    segments = [segment(number, text) for number, text in enumerate(texts)]
    assert clean_segments(segments, CleaningRules(), SCHEME) == CleanedSegments(tuple(segments))


@pytest.mark.parametrize(
    ("broken", "sound"),
    [
        ("fÃ¼r", "für"),
        ("Die StraÃŸe nach MÃ¼nchen", "Die Straße nach München"),
        ("â€žNeinâ€œ, sagte er â€“ und ging", "„Nein“, sagte er – und ging"),
        ("Ãœber Ã„rger", "Über Ärger"),
        ("fÃƒÂ¼r alle", "für alle"),
    ],
)
def test_mojibake_is_repaired(broken, sound):
    """UTF-8 that was decoded as Latin-1 or Windows-1252, once or twice, is restored."""
    assert repair_encoding(broken) == sound


def test_repaired_segments_are_listed_before_and_after():
    """Each repair is listed, for all fields that models read."""
    broken = segment(1, "Das ist fÃ¼r alle.", context="Die StraÃŸe", target="Ã–l", headline="DÃ¼rre")
    checked = clean_segments([broken], CleaningRules(), SCHEME)
    assert checked.segments == (replace(broken, text="Das ist für alle.", context="Die Straße", target="Öl", headline="Dürre"),)
    assert [(item.what, item.field, item.before) for item in checked.repaired] == [
        ("mojibake", "text", "Das ist fÃ¼r alle."),
        ("mojibake", "context", "Die StraÃŸe"),
        ("mojibake", "target", "Ã–l"),
        ("mojibake", "headline", "DÃ¼rre"),
    ]


def test_mojibake_is_dropped_where_the_user_wants_no_repair():
    """With ``repair_mojibake: false``, the corpus has no repaired text."""
    assert why(clean_segments([segment(1, "Das ist fÃ¼r alle.")], CleaningRules(repair_mojibake=False), SCHEME)) == {"s1": "mojibake"}


def test_lost_characters_are_dropped():
    """U+FFFD and half a surrogate pair cannot be repaired."""
    assert why(clean_segments([segment(1, "f\ufffdr alle"), segment(2, "halb \ud83d da")], CleaningRules(), SCHEME)) == {
        "s1": "mojibake",
        "s2": "mojibake",
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Ein <b>fetter</b> Satz", "<b>"),
        ("Zeile<br/>Zeile", "<br/>"),
        ("Meier &amp; Sohn", "&amp;"),
        ("Das kostet 5&#8239;Euro", "&#8239;"),
        ("In [[Bonn|der Stadt Bonn]] tagt", "[[Bonn|der Stadt Bonn]]"),
        ("{{Zitat|Nein}} sagte er", "{{Zitat|Nein}}"),
        ("'''Berlin''' meldet", "'''"),
        ("== Hintergrund ==", "== Hintergrund =="),
        ("[https://example.org die Meldung]", "[https://example.org die Meldung]"),
        ("2 < 3 und 5 > 4, <Name> bitte, AT&T; [sic]", ""),
    ],
)
def test_markup_is_found(text, found):
    """HTML and wiki markup is found; comparisons, ampersands and editors' brackets are not."""
    assert find_markup(text) == found


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("<p>Ein <b>fetter</b> Satz</p><p>Noch einer</p>", "Ein fetter Satz Noch einer"),
        ("Meier &amp; Sohn", "Meier & Sohn"),
        ("In [[Bonn|der Stadt Bonn]] und [[Köln]]", "In der Stadt Bonn und Köln"),
        ("Er{{Fußnote|{{innen}}}} sagte '''nein'''", "Er sagte nein"),
        ("[https://example.org die Meldung] lesen", "die Meldung lesen"),
        ("<script>var a = '<b>';</script>Text", "Text"),
    ],
)
def test_stripping_keeps_the_words(text, clean):
    """What a reader would see is kept."""
    assert strip_markup(text) == clean


def test_markup_follows_the_rule():
    """``drop`` lists the segment, ``strip`` repairs it, ``keep`` leaves it unchanged."""
    one = segment(1, "Ein <b>fetter</b> Satz")
    assert why(clean_segments([one], CleaningRules(), SCHEME)) == {"s1": "markup"}
    assert clean_segments([one], CleaningRules(markup="strip"), SCHEME).segments[0].text == "Ein fetter Satz"
    assert clean_segments([one], CleaningRules(markup="keep"), SCHEME).segments == (one,)


@pytest.mark.parametrize("field", ["context", "headline"])
def test_markup_in_what_is_not_labelled_costs_no_segment(field):
    """A faulty headline does not drop the sentences below it."""
    checked = clean_segments([segment(1, **{field: "<h1>Gas</h1>"})], CleaningRules(), SCHEME)
    assert (getattr(checked.segments[0], field), [item.field for item in checked.repaired]) == ("Gas", [field])


@pytest.mark.parametrize("text", ["", " \t\n", "\u200b\ufeff\u00a0", "<br>"])
def test_an_empty_text_is_dropped(text):
    """Also if it has only invisible characters, or only markup."""
    assert why(clean_segments([segment(1, text)], CleaningRules(markup="strip"), SCHEME)) == {"s1": "empty_text"}


def test_length_is_kept_within_its_limits():
    """The limits are inclusive; invisible characters at the ends do not count."""
    segments = [segment(1, "x" * 9), segment(2, "x" * 10 + "\u200b"), segment(3, "y" * 20), segment(4, "y" * 21)]
    assert why(clean_segments(segments, CleaningRules(min_chars=10, max_chars=20, near=0), SCHEME)) == {"s1": "too_short", "s4": "too_long"}
    assert strip_invisible("\u200b x \ufeff") == "x"


def test_a_duplicate_is_dropped_and_names_the_first():
    """The later one is dropped; white space and the composition of umlauts are ignored."""
    checked = clean_segments([segment(1), segment(2, LONG.replace("ü", "u\u0308").replace(" ", "  "))], CleaningRules(), SCHEME)
    assert why(checked) == {"s2": "duplicate"}
    assert "s1 (news.jsonl, line 1)" in checked.dropped[0].detail


def test_duplicates_stay_where_the_user_wants_them():
    """``exact: false`` drops none, not even as near duplicates."""
    assert why(clean_segments([segment(1), segment(2)], CleaningRules(exact=False), SCHEME)) == {}


def test_a_formulaic_sentence_may_recur_in_another_article():
    """A sentence such as "Das teilte er mit." is a duplicate only in the same
    article and context.
    """
    short = "Das teilte er mit."
    segments = [segment(1, short), segment(2, short), segment(3, short, article="a1"), segment(4, short, article="a1", context="Gas.")]
    assert why(clean_segments(segments, CleaningRules(), SCHEME)) == {"s3": "duplicate"}
    assert why(clean_segments(segments, CleaningRules(formulaic=0), SCHEME)) == {"s2": "duplicate", "s3": "duplicate", "s4": "duplicate"}


def test_a_formulaic_sentence_may_recur_in_its_article():
    """It is a duplicate only at the same position; a long sentence is one at any position."""
    segments = [segment(number, "Das teilte er mit.", article="a", position=place) for number, place in enumerate((3, 7, 7))]
    assert why(clean_segments(segments, CleaningRules(), SCHEME)) == {"s2": "duplicate"}
    long = [replace(one, text=LONG) for one in segments]
    assert why(clean_segments(long, CleaningRules(), SCHEME)) == {"s1": "duplicate", "s2": "duplicate"}


def test_the_same_text_towards_another_target_is_another_row():
    """In corpora with targets, duplicates and conflicts are determined by text and
    target together.
    """
    segments = [segment(1, target="Gas"), segment(2, target="Öl"), segment(3, stance="threat", target="Kohle"), segment(4, target="Gas")]
    assert why(clean_segments(segments, CleaningRules(), SCHEME)) == {"s4": "duplicate"}


def test_near_duplicates_with_the_same_labels_are_dropped():
    """A changed character in a hundred makes a near duplicate; another sentence is none."""
    other = "Der Sprecher des Ministeriums wollte die Zahl der Schiffe vor der Küste weder bestätigen noch bestreiten."
    segments = [segment(1), segment(2, LONG.replace("Dienstag", "Dienstag,")), segment(3, other)]
    checked = clean_segments(segments, CleaningRules(), SCHEME)
    assert why(checked) == {"s2": "near_duplicate"}
    assert "similarity 0.9" in checked.dropped[0].detail
    assert why(clean_segments(segments, CleaningRules(near=0), SCHEME)) == {}


def test_copies_without_a_majority_are_listed():
    """An exact or near copy of a labelled segment is dropped if its own coders are divided."""
    soft = {"stance": {"warning": 0.5, "threat": 0.5}}
    texts = (LONG, LONG, LONG.replace("Dienstag", "Dienstags"))
    copies = [segment(0), *(segment(number, text, None, soft=soft) for number, text in enumerate(texts, 1))]
    checked = clean_segments(copies, CleaningRules(), SCHEME)
    assert (ids(checked.segments), why(checked)) == (["s0"], {"s1": "duplicate", "s2": "duplicate", "s3": "near_duplicate"})
    assert all("s0 (news.jsonl, line 0), which has its labels" in one.detail for one in checked.dropped)


def test_near_duplicates_towards_another_target_stay():
    """Answers to different questions are different rows, however similar; the same holds across
    splits.
    """
    one, two = segment(1, target="Gas"), segment(2, LONG.replace("Dienstag", "Dienstag,"), target="Öl")
    assert why(clean_segments([one, two], CleaningRules(), SCHEME)) == {}
    assert separate({"train": [one], "dev": [], "test": [two]}, CleaningRules())[1] == ()
    _, dropped = separate({"train": [one], "dev": [], "test": [replace(two, target="Gas")]}, CleaningRules())
    assert [item.reason for item in dropped] == ["near_leakage"]


def test_near_duplicates_with_other_labels_stay():
    """Minimal pairs are especially useful for training."""
    assert (
        why(clean_segments([segment(1), segment(2, LONG.replace("Dienstag", "Dienstag,"), stance="threat")], CleaningRules(), SCHEME)) == {}
    )


def test_a_conflict_drops_all_its_sides():
    """The same text with different labels: it is unknown which is right, and the list names both
    labels.
    """
    checked = clean_segments([segment(1), segment(2, stance="threat"), segment(3)], CleaningRules(), SCHEME)
    assert why(checked) == {"s1": "conflict", "s2": "conflict", "s3": "conflict"}
    assert "stance 'threat' against 'warning'" in checked.dropped[1].detail


def test_a_conflict_can_keep_the_first_or_all():
    """``keep_first`` relies on the order of the source, ``keep`` drops only exact duplicates."""
    segments = [segment(1), segment(2, stance="threat"), segment(3)]
    assert why(clean_segments(segments, CleaningRules(conflicts="keep_first"), SCHEME)) == {"s2": "conflict", "s3": "duplicate"}
    assert why(clean_segments(segments, CleaningRules(conflicts="keep"), SCHEME)) == {"s3": "duplicate"}


def test_rows_labelled_for_different_tasks_complete_each_other():
    """A copy that adds a label is neither a duplicate nor a conflict; multi-label answers are
    compared as sets.
    """
    segments = [segment(1, stance=None), segment(2, labels={"tags": ("a", "b")}), segment(3, labels={"tags": ("b", "a")})]
    assert why(clean_segments(segments, CleaningRules(), SCHEME)) == {"s3": "duplicate"}


def test_a_corpus_without_articles_is_noted():
    """Splits may leak without anybody noticing."""
    for articles, noted in ((["", ""], "2 of 2"), (["a", ""], "1 of 2")):
        segments = [replace(segment(number), article=article, text=f"Die {number} lobt Rom.") for number, article in enumerate(articles, 1)]
        notes = clean_segments(segments, CleaningRules(), SCHEME).notes
        assert [note.partition(",")[0] for note in notes] == [f"{noted} segments name no article"]
    assert clean_segments([replace(segment(1), article="a")], CleaningRules(), SCHEME).notes == ()


def test_a_given_test_split_is_kept_whole():
    """Metrics on a published test split must stay comparable: its faults are noted, and only empty
    texts are dropped.
    """
    segments = [segment(number, split="test") for number in (1, 2)] + [
        segment(3, "a <b>c</b>", split="test"),
        segment(4, " ", split="test"),
    ]
    checked = clean_segments(segments, CleaningRules(), SCHEME)
    assert (ids(checked.segments), why(checked)) == (["s1", "s2", "s3"], {"s4": "empty_text"})
    assert [note.split(";")[0] for note in checked.notes] == [
        "1 of the given test split would have been dropped for duplicate",
        "1 of the given test split would have been dropped for markup",
    ]
    assert why(clean_segments(segments, CleaningRules(keep_test=False), SCHEME)) == {"s2": "duplicate", "s3": "markup", "s4": "empty_text"}


def test_leakage_leaves_train_and_dev_but_never_test():
    """A segment of train or dev with a copy in test is dropped, whatever their labels; the reason
    names the copy.
    """
    near = LONG.replace("Dienstag", "Dienstag,")
    splits = {
        "train": [segment(1, stance="threat"), segment(2, near), segment(3, "Ganz andere Worte über einen Hafen im Süden des Landes.")],
        "dev": [segment(4)],
        "test": [segment(5)],
    }
    left, dropped = separate(splits, CleaningRules())
    assert {name: ids(part) for name, part in left.items()} == {"train": ["s3"], "dev": [], "test": ["s5"]}
    assert {item.id: item.reason for item in dropped} == {"s1": "leakage", "s2": "near_leakage", "s4": "leakage"}
    assert "s5 (news.jsonl, line 5) in test" in dropped[0].detail


def test_what_dev_holds_leaves_train():
    """Training on a dev sentence would bias early stopping; the reason names the segment of dev."""
    splits = {
        "train": [segment(1), segment(2, article="a9", text="Kurz.")],
        "dev": [segment(3), segment(4, "Kürzer.", article="a9")],
        "test": [],
    }
    _, dropped = separate(splits, CleaningRules())
    assert {item.id: item.reason for item in dropped} == {"s1": "leakage", "s2": "shared_article"}
    assert "s3 (news.jsonl, line 3) in dev" in dropped[0].detail


def test_a_shared_article_leaves_train():
    """Whatever the split, no article is in two parts unless the user allows it."""
    splits = {
        "train": [segment(1, "Erster Satz.", article="x"), segment(2, "Zweiter.")],
        "dev": [],
        "test": [segment(3, "Dritter.", article="x")],
    }
    _, dropped = separate(splits, CleaningRules())
    assert [(item.id, item.reason) for item in dropped] == [("s1", "shared_article")]
    assert separate(splits, CleaningRules(shared_articles="keep"))[1] == ()


def test_leakage_across_targets_is_none():
    """The same text with another target is another question."""
    splits = {"train": [segment(1, target="Gas")], "dev": [], "test": [segment(2, target="Öl")]}
    assert separate(splits, CleaningRules())[1] == ()


@pytest.mark.parametrize(
    ("faulty", "message"),
    [
        (segment(1, stance="warnung"), r"news.jsonl, line 1: unknown stance 'warnung', did you mean 'warning'\?; this scheme has warning"),
        (segment(1, labels={"tone": "x"}), "line 1: unknown task 'tone'"),
        (segment(1, labels={"tags": "a"}), "tags is 'a', but the task takes several labels"),
        (segment(1, labels={"topic": ("energy",)}), "but the task takes one label"),
        (segment(1, dyads=(Dyad("DEU", "", "warn"),)), r"line 1, dyad DEU > \?: unknown stance 'warn', did you mean 'warning'"),
        (segment(1, id=""), "line 1: the segment has no id"),
        (segment(1, id="s2"), "line 2: the id 's2' is already used by news.jsonl, line 1"),
    ],
)
def test_segments_built_in_python_are_checked_too(faulty, message):
    """No reader has checked them; the message says what is wrong and where."""
    with pytest.raises(UserError, match=message):
        clean_segments([faulty, segment(2)], CleaningRules(), SCHEME)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"markup": "stripp"}, "corpus.rules.markup is 'stripp', did you mean 'strip'"),
        ({"conflicts": "first"}, "choose from drop, keep_first, keep"),
        ({"near": 90}, "near is 90.0; expected 0"),
        ({"min_chars": 10, "max_chars": 5}, "min_chars is 10 and max_chars 5"),
    ],
)
def test_impossible_rules_are_refused(wrong, message):
    """Before anything is read."""
    with pytest.raises(UserError, match=message):
        make({"_target_": "haltung.corpus.clean.CleaningRules", **wrong}, "corpus.rules")


def test_nothing_leaves_in_silence():
    """Each segment is either kept or dropped, exactly once."""
    segments = [segment(number, text) for number, text in enumerate((LONG, LONG, "", "<p>x</p>", "fÃ¼r", LONG + " Und mehr.", "f\ufffdr"))]
    checked = clean_segments(segments, CleaningRules(), SCHEME)
    assert Counter(ids(checked.segments)) + Counter(item.id for item in checked.dropped) == Counter(ids(segments))


@given(st.text(max_size=80))
def test_cleaning_survives_any_text(text):
    """Whatever Unicode it contains, cleaning does not fail, and the segment is kept or dropped."""
    made = clean_segments([Segment("x", text)], CleaningRules(markup="strip"), SCHEME)
    assert len(made.segments) + len(made.dropped) == 1


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_fewer_than_one_near_pair_in_a_thousand_is_missed(threshold):
    """The number of bands bounds the probability that a pair at the threshold shares none."""
    count, rows = bands(threshold)
    assert (1 - threshold**rows) ** count <= 0.001


def test_the_jaccard_index_counts_shared_grams():
    """``abcdef`` and ``bcdefg`` have three 5-grams, of which they share one."""
    assert (jaccard("abcdef", "bcdefg"), jaccard("abc", "abc"), jaccard("abc", "abd")) == (1 / 3, 1.0, 0.0)
