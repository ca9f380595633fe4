"""The months of an archive, without gaps."""

from __future__ import annotations

from collections.abc import Iterable


def month(date: str) -> str:
    """Return the month of an ISO date: ``2006-03``; "" for ""."""
    return date[:7]


def months(dates: Iterable[str]) -> list[str]:
    """Return every month from that of the first date to that of the last; dates that are "" do not count."""
    known = sorted({month(date) for date in dates if date})
    if not known:
        return []
    first, last = (12 * int(name[:4]) + int(name[5:]) - 1 for name in (known[0], known[-1]))
    return [f"{number // 12:04}-{number % 12 + 1:02}" for number in range(first, last + 1)]
