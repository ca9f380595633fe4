"""Duplicate texts: exact and near ones, contradicting labels, and leakage across splits.

Texts are near duplicates if the Jaccard index of their character 5-grams reaches a threshold.
MinHash with locality-sensitive hashing (datasketch) finds candidates, which the exact index then
verifies. Of the pairs at the threshold, fewer than one in a thousand is missed.
"""

import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from datasketch import MinHash, MinHashLSH

from haltung.corpus.clean import CleaningRules, excerpt
from haltung.corpus.parsing.rows import Dropped
from haltung.corpus.split import SPLITS, Splits
from haltung.errors import short
from haltung.labels import Scheme
from haltung.records import Segment, by_key, label_ids

GRAM = 5
_PERMUTATIONS = 128
_MISSED = 0.001
Drops = dict[int, tuple[str, str]]  # index of a segment to be dropped → reason and detail


@lru_cache(maxsize=65536)
def normal(text: str) -> str:
    """Return the text as it is compared: in NFKC, with white space collapsed and stripped."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


@lru_cache(maxsize=8192)
def grams(text: str) -> frozenset[str]:
    """Return the character 5-grams of the normal form; a shorter text is a single gram."""
    plain = normal(text)
    return frozenset(plain[start : start + GRAM] for start in range(max(1, len(plain) - GRAM + 1)))


def jaccard(first: str, second: str) -> float:
    """Return the Jaccard index of two texts' 5-grams, 0 to 1."""
    a, b = grams(first), grams(second)
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def sketches(texts: Sequence[str]) -> list[MinHash]:
    """Return a MinHash sketch of each text."""
    # CRC-32 instead of SHA-1 takes 0.6 of the time, and a collision costs only a verification.
    sets = ([gram.encode("utf-8", "surrogatepass") for gram in grams(text)] for text in texts)
    return list(MinHash.generator(sets, num_perm=_PERMUTATIONS, hashfunc=zlib.crc32))


@dataclass
class NearIndex:
    """Finds near duplicates among the texts of the same ``pool`` (say, a target) added so far."""

    threshold: float
    _pools: dict[object, MinHashLSH] = field(default_factory=dict, repr=False)
    _texts: dict[int, str] = field(default_factory=dict, repr=False)

    def add(self, key: int, text: str, sketch: MinHash, pool: object) -> None:
        """Add a text under the key that ``find`` returns."""
        if pool not in self._pools:
            self._pools[pool] = MinHashLSH(num_perm=_PERMUTATIONS, params=bands(self.threshold))
        self._pools[pool].insert(key, sketch)
        self._texts[key] = text

    def find(self, text: str, sketch: MinHash, pool: object) -> list[tuple[int, float]]:
        """Return key and Jaccard index of all near duplicates, the earliest key first."""
        keys = sorted(self._pools[pool].query(sketch)) if pool in self._pools else []
        return [(key, index) for key in keys if (index := jaccard(text, self._texts[key])) >= self.threshold]


def bands(threshold: float) -> tuple[int, int]:
    """Return the number of bands, and the most rows per band that miss under 1 in 1,000 pairs."""
    rows = max((rows for rows in range(1, _PERMUTATIONS + 1) if (1 - threshold**rows) ** (_PERMUTATIONS // rows) <= _MISSED), default=1)
    return _PERMUTATIONS // rows, rows


def exact_duplicates(segments: Sequence[Segment], rules: CleaningRules, scheme: Scheme) -> Drops:
    """Return exact duplicates and conflicts within each given split."""
    drops: Drops = {}
    for indices in by_key(((_pool(segment), _key(segment, rules)), index) for index, segment in enumerate(segments)).values():
        if len(indices) > 1:
            drops |= _drop_copies([(index, segments[index]) for index in indices], rules, scheme)
    return drops


def _drop_copies(copies: Sequence[tuple[int, Segment]], rules: CleaningRules, scheme: Scheme) -> Drops:
    drops: Drops = {}
    # A boilerplate sentence may occur ten thousand times; its different labellings are few.
    kinds = list({_labelling(segment, scheme): segment for _, segment in reversed(copies)}.values())[::-1]
    remaining: list[Segment] = []
    for index, segment in copies:
        rivals = {"drop": kinds, "keep_first": remaining, "keep": []}[rules.conflicts]
        differences = ((other, _difference(segment, other, scheme)) for other in rivals)
        rival, difference = next(((other, text) for other, text in differences if text), (None, ""))
        if rival is not None:
            drops[index] = ("conflict", f"the same text as {_name(rival)} with different labels: {difference}: {excerpt(segment.text)}")
            continue
        twin = next((other for other in remaining if _adds_nothing(segment, other, scheme)), None)
        if twin is None:
            remaining.append(segment)
        elif rules.exact:
            drops[index] = ("duplicate", f"the same text as {_name(twin)}, which has its labels: {excerpt(segment.text)}")
    return drops


def near_duplicates(segments: Sequence[Segment], rules: CleaningRules, scheme: Scheme) -> Drops:
    """Return near duplicates that add no label, within each given split and target."""
    near = NearIndex(rules.near)
    drops: Drops = {}
    indices = [index for index, segment in enumerate(segments) if not _is_formulaic(segment, rules)]
    for index, sketch in zip(indices, sketches([segments[index].text for index in indices]), strict=True):
        segment = segments[index]
        pool = (_pool(segment), normal(segment.target))
        for other, similarity in near.find(segment.text, sketch, pool):
            # Exact copies follow the rules for duplicates and conflicts.
            if normal(segment.text) != normal(segments[other].text) and _adds_nothing(segment, segments[other], scheme):
                detail = f"similarity {similarity:.3f} to {_name(segments[other])}, which has its labels: {excerpt(segment.text)}"
                drops[index] = ("near_duplicate", detail)
                break
        else:
            near.add(index, segment.text, sketch, pool)
    return drops


def separate(splits: Mapping[str, Sequence[Segment]], rules: CleaningRules) -> tuple[Splits, tuple[Dropped, ...]]:
    """Drop articles and (near) copies that a later split also has; return the rest and drops."""
    dropped: list[Dropped] = []
    left: Splits = {}
    for name in reversed(SPLITS):
        segments = splits.get(name, ())
        drops = _leaks(segments, [(later, segment) for later, others in left.items() for segment in others], rules)
        dropped += [Dropped(segments[index].id, segments[index].where, *drops[index]) for index in sorted(drops)]
        left[name] = tuple(segment for index, segment in enumerate(segments) if index not in drops)
    return {name: left[name] for name in SPLITS}, tuple(dropped)


def _leaks(segments: Sequence[Segment], later: Sequence[tuple[str, Segment]], rules: CleaningRules) -> Drops:
    drops: Drops = {}
    if rules.shared_articles == "drop":
        split_of = {segment.group: split for split, segment in reversed(later)}
        for index, segment in enumerate(segments):
            if split := split_of.get(segment.group):
                drops[index] = ("shared_article", f"its article '{short(segment.article or segment.id)}' has segments in {split}")
    long = [(split, segment) for split, segment in later if rules.leakage and not _is_formulaic(segment, rules)]
    exact = {_key(segment, rules): (split, segment) for split, segment in reversed(long)}
    rest: list[int] = []
    for index, segment in enumerate(segments):
        if index in drops or _is_formulaic(segment, rules):
            continue
        if twin := exact.get(_key(segment, rules)):
            drops[index] = ("leakage", f"the same text as {_name(twin[1])} in {twin[0]}: {excerpt(segment.text)}")
        else:
            rest.append(index)
    if not rules.near or not long:
        return drops
    near = NearIndex(rules.near)
    for key, sketch in enumerate(sketches([segment.text for _, segment in long])):
        near.add(key, long[key][1].text, sketch, normal(long[key][1].target))
    for index, sketch in zip(rest, sketches([segments[index].text for index in rest]), strict=True):
        for key, similarity in near.find(segments[index].text, sketch, normal(segments[index].target))[:1]:
            split, other = long[key]
            drops[index] = ("near_leakage", f"similarity {similarity:.3f} to {_name(other)} in {split}: {excerpt(segments[index].text)}")
    return drops


def _pool(segment: Segment) -> str:
    return segment.split if segment.split in SPLITS else "train"  # which includes ``BESIDE``


def _key(segment: Segment, rules: CleaningRules) -> object:
    local = (segment.group, segment.position, normal(segment.context)) if _is_formulaic(segment, rules) else ()
    return (normal(segment.text), normal(segment.target), *local)


def _is_formulaic(segment: Segment, rules: CleaningRules) -> bool:
    return len(normal(segment.text)) < rules.formulaic


def _labelling(segment: Segment, scheme: Scheme) -> tuple[frozenset[str] | None, ...]:
    answers = (segment.labels.get(name) for name in scheme.names)
    return tuple(None if answer is None else frozenset(label_ids(answer)) for answer in answers)


def _difference(first: Segment, second: Segment, scheme: Scheme) -> str:
    """Return the tasks that both label differently ("stance 'threat' against 'warning'")."""
    pairs = zip(scheme.names, _labelling(first, scheme), _labelling(second, scheme), strict=True)
    both = [(name, one, two) for name, one, two in pairs if one is not None and two is not None and one != two]
    return ", ".join(f"{name} '{'+'.join(sorted(one))}' against '{'+'.join(sorted(two))}'" for name, one, two in both)


def _adds_nothing(later: Segment, earlier: Segment, scheme: Scheme) -> bool:
    return all(one is None or one == two for one, two in zip(_labelling(later, scheme), _labelling(earlier, scheme), strict=True))


def _name(segment: Segment) -> str:
    return f"{short(segment.id)} ({segment.where})" if segment.where else short(segment.id)
