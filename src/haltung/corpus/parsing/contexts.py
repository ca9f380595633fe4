"""What of an article stands before a segment as its context."""

from __future__ import annotations

from collections.abc import Sequence


def context(headline: str, told: Sequence[str], before: int, lead: bool) -> str:
    """Return the headline, the lead, and the last pieces before the segment, in the order of the article and none twice.

    Args:
        headline: of the article, or what stands in for it; "" if it has none.
        told: all pieces of text before the segment; the first is the article's lead.
        before: how many of the last pieces are taken.
        lead: whether the first is taken too, however far away it is.
    """
    window = list(told[-before:]) if before else []
    first = [told[0]] if lead and len(told) > len(window) else []
    return " ".join(part for part in (headline, *first, *window) if part)
