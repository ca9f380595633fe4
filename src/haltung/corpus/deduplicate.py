"""Exact and near duplicates of texts.

Near means a Jaccard index of the character 5-grams at or above a threshold. MinHash with locality-sensitive hashing (datasketch) finds
candidates; each is then verified by the true index, so that nothing is called near that is not. Of the true pairs at the threshold,
fewer than one in a thousand is missed, and fewer still above it.
"""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasketch import MinHash, MinHashLSH

GRAM = 5
_PERMUTATIONS = 128
_MISSED = 0.001


@lru_cache(maxsize=65536)
def normal(text: str) -> str:
    """Return the form in which texts are compared: NFKC, each run of white space a single space, none at the ends."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


@lru_cache(maxsize=8192)
def grams(text: str) -> frozenset[str]:
    """Return the character 5-grams of the text's normal form; a shorter text is its own only gram."""
    plain = normal(text)
    return frozenset(plain[start : start + GRAM] for start in range(max(1, len(plain) - GRAM + 1)))


def jaccard(first: str, second: str) -> float:
    """Return the Jaccard index of two texts' 5-grams, 0 to 1."""
    a, b = grams(first), grams(second)
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def sketches(texts: Sequence[str]) -> list[MinHash]:
    """Return one MinHash sketch a text."""
    from datasketch import MinHash

    # CRC-32 in place of SHA-1: sketching takes 0.6 of the time, and a collision costs only a verification.
    sets = ([gram.encode("utf-8", "surrogatepass") for gram in grams(text)] for text in texts)
    return list(MinHash.generator(sets, num_perm=_PERMUTATIONS, hashfunc=zlib.crc32))


@dataclass
class NearIndex:
    """Finds near duplicates among the texts added so far. Texts of different ``pool`` (say, another target) are never compared."""

    threshold: float
    _pools: dict[object, MinHashLSH] = field(default_factory=dict, repr=False)
    _texts: dict[int, str] = field(default_factory=dict, repr=False)

    def add(self, key: int, text: str, sketch: MinHash, pool: object) -> None:
        """Add a text under a key that ``find`` gives back."""
        from datasketch import MinHashLSH

        if pool not in self._pools:
            self._pools[pool] = MinHashLSH(num_perm=_PERMUTATIONS, params=bands(self.threshold))
        self._pools[pool].insert(key, sketch)
        self._texts[key] = text

    def find(self, text: str, sketch: MinHash, pool: object) -> list[tuple[int, float]]:
        """Return the keys of all near duplicates with their Jaccard index, the earliest key first."""
        lsh = self._pools.get(pool)
        if lsh is None:
            return []
        scored = ((key, jaccard(text, self._texts[key])) for key in sorted(lsh.query(sketch)))
        return [(key, score) for key, score in scored if score >= self.threshold]


def bands(threshold: float) -> tuple[int, int]:
    """Return the number of bands and of rows in each: the most rows (fewest false candidates) that miss fewer than 1 in 1,000 pairs."""
    fit = [rows for rows in range(1, _PERMUTATIONS + 1) if (1 - threshold**rows) ** (_PERMUTATIONS // rows) <= _MISSED]
    rows = max(fit, default=1)
    return _PERMUTATIONS // rows, rows
