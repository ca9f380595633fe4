"""Words and numbers in both languages."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from haltung.errors import UserError
from haltung.evaluation.report import i18n
from haltung.evaluation.statistics.bootstrap import Interval

PACKAGE = "haltung.evaluation.report"


def test_each_word_has_both_languages_and_the_same_values_to_fill_in() -> None:
    """A placeholder that one language lacks would fail only on pages in that language."""
    english, german = (i18n.words(PACKAGE, language) for language in i18n.LANGUAGES)
    assert list(english) == list(german)
    for key, text in english.items():
        assert text
        assert german[key]
        names = [sorted(name for _, name, _, _ in Formatter().parse(each) if name) for each in (text, german[key])]
        assert names[0] == names[1], key


def test_no_key_stands_twice_in_the_table(root: Path) -> None:
    """The second one would silently replace the first."""
    lines = (root / "src/haltung/evaluation/report/words.tsv").read_text(encoding="utf-8").splitlines()
    keys = [line.split("\t")[0] for line in lines if not line.startswith("#")]
    assert sorted(keys) == sorted(set(keys))


def test_no_other_module_of_evaluation_chooses_between_the_languages(root: Path) -> None:
    """All German text of reports is in the table."""
    sources = (root / "src/haltung/evaluation").rglob("*.py")
    assert [path.name for path in sources if re.search(r"language (==|!=)", path.read_text(encoding="utf-8"))] == []


def test_words_are_filled_in() -> None:
    """Values are given by name."""
    assert i18n.word("would_take", needed="410", unit="articles") == "it would take about 410 articles to tell"


def test_numbers_are_written_as_the_language_has_them() -> None:
    """German has a decimal comma, a thousands separator, and a semicolon in intervals."""
    assert [i18n.number(0.5312, language) for language in i18n.LANGUAGES] == ["0.531", "0,531"]
    assert [i18n.count(value, language) for value in (3479, 12345) for language in i18n.LANGUAGES] == ["3479", "3479", "12,345", "12.345"]
    assert [i18n.signed(-0.5, language) for language in i18n.LANGUAGES] == ["−0.500", "−0,500"]
    assert (i18n.signed(0.5), i18n.signed(0.0), i18n.signed(0.0, zero="±")) == ("+0.500", "0.000", "±0.000")
    assert [i18n.word("percent", language, value=25) for language in i18n.LANGUAGES] == ["25%", "25 %"]
    assert i18n.brackets(Interval(-0.25, -0.125)) == "[−0.250, −0.125]"
    assert [i18n.p_value(p, "de") for p in (0.0004, 0.034)] == ["<0,001", "0,034"]
    assert [i18n.estimate(0.5, Interval(0.25, 0.75), language) for language in i18n.LANGUAGES] == [
        "0.500 [0.250, 0.750]", "0,500 [0,250; 0,750]"
    ]  # fmt: skip


def test_an_unknown_language_is_refused() -> None:
    """The message lists both languages."""
    with pytest.raises(UserError, match="unknown language 'fr'; choose from en, de"):
        i18n.number(0.5, "fr")
