"""Answers that are kept for texts that come again: under digests, so that no text is kept."""

import hashlib
import pickle
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from cachetools import LRUCache

from haltung.models.predictor import Answers
from haltung.models.units import Unit
from haltung.serving.metrics import Metrics

# What a digest takes with its places in the cache's tables, in bytes, as measured.
_ENTRY = 700


class AnswerCache:
    """What one model answered last, in at most so many bytes (0: none); for the event loop alone.

    What is read together is kept together. A text that comes twice at once is computed twice.
    """

    def __init__(self, size: int, metrics: Metrics) -> None:
        # Pickled, they take a fifth of the memory, and hold on to no arrays of whole batches.
        self._answers: LRUCache[bytes, bytes] = LRUCache(size, lambda pickled: len(pickled) + _ENTRY)
        self._metrics = metrics

    async def answers(self, units: Sequence[Unit], compute: Callable[[Sequence[Unit]], Awaitable[list[Answers]]]) -> list[Answers]:
        """Return the answers of units, in order; ``compute`` is given what is not kept, once."""
        if not self._answers.maxsize:
            return await compute(units)
        keys = list(map(_digest, units))
        found: dict[bytes, Answers] = {key: pickle.loads(self._answers[key]) for key in dict.fromkeys(keys) if key in self._answers}
        missing = {key: unit for key, unit in zip(keys, units, strict=True) if key not in found}
        for key, answers in zip(missing, await compute(list(missing.values())), strict=True):
            found[key] = answers
            with suppress(ValueError):  # larger than the whole cache
                self._answers[key] = pickle.dumps(answers)
        asked, misses = (sum(unit.labelled for unit in some) for some in (units, missing.values()))
        self._metrics.looked_up(asked - misses, misses, int(self._answers.currsize))
        return [found[key] for key in keys]


def _digest(unit: Unit) -> bytes:
    """Return a digest of all that a unit's answer depends on, which no id or row number is."""
    read = [(one.text, one.context, one.target) for one in unit.sentences]
    return hashlib.sha256(repr((read, [row is None for row in unit.rows], unit.named)).encode()).digest()
