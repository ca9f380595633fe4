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
    key = f"{key}_one" if count == 1 and f"{key}_one" in words(language) else key
    return say(language, key, n=i18n.count(count, language, grouped_from=1000))


def extent(language: str, months: Sequence[str]) -> str:
    """Return the first and the last month: ``Mar 2006 to May 2007``, ``März 2006 bis Mai 2007``."""
    from babel.dates import format_skeleton

    days = (datetime.date.fromisoformat(f"{month}-01") for month in (months[0], months[-1]))
    first, last = (str(format_skeleton("yMMM", day, locale=language)) for day in days)
    return say(language, "span", **{"from": first, "to": last})
