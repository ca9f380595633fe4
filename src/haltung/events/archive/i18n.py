"""The words of an archive's pages and plots in German and English, from ``assets/words.tsv``."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from haltung.evaluation.report import i18n


def words(language: str) -> Mapping[str, str]:
    """Return all words of a language by key; ``say`` or a script fills in names in braces."""
    return i18n.words("haltung.events.archive", language, "assets", "words.tsv")


def say(language: str, key: str, **values: object) -> str:
    """Return the words under ``key`` with the values filled in."""
    return words(language)[key].format(**values)


def counted(language: str, key: str, count: int) -> str:
    """Return ``1 event``, ``1,234 events``, ``1.234 Ereignisse``."""
    number = i18n.count(count, language, grouped_from=1_000)
    return say(language, f"{key}_one" if count == 1 and f"{key}_one" in words(language) else key, n=number)


def month_name(language: str, month: str) -> str:
    """Return ``Mar 2006`` or ``März 2006`` for ``2006-03``."""
    from babel.dates import format_skeleton

    return str(format_skeleton("yMMM", datetime.date.fromisoformat(f"{month}-01"), locale=language))


def extent(language: str, months: Sequence[str]) -> str:
    """Return the first and the last month."""
    return say(language, "span", **{"from": month_name(language, months[0]), "to": month_name(language, months[-1])})
