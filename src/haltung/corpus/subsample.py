"""Growing parts of a train split, for learning curves: whole articles, each part inside the next larger one."""

from __future__ import annotations

import random
from collections.abc import Sequence

from haltung.corpus.split import group
from haltung.errors import UserError
from haltung.records import Segment


def part(segments: Sequence[Segment], share: float, seed: int) -> list[Segment]:
    """Return about ``share`` of the segments, at least one article, in their order.

    Articles are drawn in an order that depends on the seed alone, and taken until the number of segments comes nearest to the share; so a
    smaller part of the same seed lies inside a larger one, and another seed draws another part.

    Raises:
        UserError: the share is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise UserError(f"a share of train is {share:g}; expected a number above 0 and at most 1")
    sizes: dict[str, int] = {}
    for segment in segments:
        sizes[group(segment)] = sizes.get(group(segment), 0) + 1
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    wanted, filled, taken = share * len(segments), 0, set[str]()
    for article in order:
        if taken and abs(filled + sizes[article] - wanted) > abs(filled - wanted):
            break
        taken.add(article)
        filled += sizes[article]
    return [segment for segment in segments if group(segment) in taken]
