"""Words and numbers in German and English; no other module chooses between the two."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from haltung import files
from haltung.errors import UserError, listed
from haltung.evaluation.statistics.bootstrap import Interval

LANGUAGES = ("en", "de")
_GERMAN_NUMBERS = str.maketrans(".,", ",.")


def word(key: str, language: str = "en", **values: object) -> str:
    """Return the words for ``key`` in ``words.tsv``, with ``values`` for names in braces."""
    text = words("haltung.evaluation.report", checked(language))[key]
    return text.format(**values) if values else text


@cache
def words(package: str, language: str, *path: str) -> Mapping[str, str]:
    """Return the words of one language by key, from ``words.tsv`` or ``path`` in the package.

    The table is a TSV file with a header, the columns key, English, German, and ``#`` for comments.
    """
    _, *rows = files.table(package, *(path or ("words.tsv",)))
    column = 1 + LANGUAGES.index(checked(language))
    return {row[0]: row[column] for row in rows}


@dataclass(frozen=True)
class Term:
    """A term of the glossary with its explanation; ``source`` may be ""."""

    key: str
    name: str
    explanation: str
    source: str


@cache
def glossary(language: str = "en") -> Mapping[str, Term]:
    """Return the terms of ``glossary.tsv`` by the words used for them in reports, in order."""
    column, out = 2 + LANGUAGES.index(checked(language)), dict[str, Term]()
    for row in files.table("haltung.evaluation.report", "glossary.tsv"):
        term = Term(row[0], row[column], row[column + 2], row[6])
        out |= dict.fromkeys((row[column], *(word(key, language) for key in row[1].split())), term)
    return out


def checked(language: str) -> str:
    """Return the language; ``UserError`` if it is neither ``en`` nor ``de``."""
    if language not in LANGUAGES:
        raise UserError(f"unknown language '{language}'; choose from {listed(LANGUAGES)}")
    return language


def number(value: float, language: str = "en", digits: int = 3) -> str:
    """Return a number with fixed decimals and a minus sign (U+2212): ``0.583``, ``0,583``."""
    return localised(f"{value:.{digits}f}".replace("-", "−"), language)


def signed(value: float, language: str = "en", zero: str = "") -> str:
    """Return a number with its sign (minus is U+2212); ``zero`` is the sign of 0."""
    return ("+" if value > 0 else "−" if value < 0 else zero) + number(abs(value), language)


def count(value: int, language: str = "en", grouped_from: int = 10_000) -> str:
    """Return an integer, large ones with thousands separators: ``10,000``, ``10.000``."""
    return localised(f"{value:,}" if value >= grouped_from else str(value), language)


def articles(value: int, language: str = "en") -> str:
    """Return ``1 article``, ``38 articles``."""
    return f"{count(value, language)} {word('article' if value == 1 else 'articles', language)}"


def p_value(p: float, language: str = "en") -> str:
    """Return ``0.034``, or ``<0.001``."""
    return f"<{number(0.001, language)}" if p < 0.001 else number(p, language)


def brackets(interval: Interval, language: str = "en") -> str:
    """Return ``[0.441, 0.545]``, in German ``[0,441; 0,545]``."""
    separator = ";" if checked(language) == "de" else ","
    return f"[{number(interval.low, language)}{separator} {number(interval.high, language)}]"


def estimate(value: float, interval: Interval | None, language: str = "en", sign: bool = False) -> str:
    """Return ``0.493 [0.441, 0.545]``, or only the value; with ``sign``, for a difference."""
    text = signed(value, language, zero="+") if sign else number(value, language)
    return f"{text} {brackets(interval, language)}" if interval else text


def split_title(corpus: str, split: str, language: str = "en") -> str:
    """Return ``real_news · test``, without unknown parts."""
    return " · ".join(part for part in (corpus, split) if part) or word("unknown_corpus", language)


def localised(text: str, language: str) -> str:
    """Return an English number in the format of ``language``: ``0.5``, ``0,5``."""
    return text.translate(_GERMAN_NUMBERS) if checked(language) == "de" else text
