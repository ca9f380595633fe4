"""The words of an archive's pages and plots in German and English, from ``assets/words.tsv``."""

import datetime
from collections.abc import Mapping

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


def extent(language: str, first: str, last: str) -> str:
    """Return two ISO months or days: ``März 2006 bis Mai 2007``, ``Dec 4, 2004 to Mar 6, 2022``."""
    from babel.dates import format_date, format_skeleton

    def written(date: str) -> str:
        if len(date) == 7:
            return str(format_skeleton("yMMM", datetime.date.fromisoformat(f"{date}-01"), locale=language))
        return str(format_date(datetime.date.fromisoformat(date), "medium", language))

    return say(language, "span", **{"from": written(first), "to": written(last)})
