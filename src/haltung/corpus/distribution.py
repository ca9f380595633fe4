"""How stances and sentences are distributed in articles, as news has it and a corpus should."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import chain, pairwise
from statistics import pstdev

from haltung.files import table
from haltung.labels import NEUTRAL
from haltung.records import Segment

# Shorter articles have no room for several stances.
LONG_ARTICLE = 8
# Words with their hyphens and apostrophes.
WORD = re.compile(r"\w+(?:[-’']\w+)*")

_NOUN = re.compile(
    r"\b\w*(?:[Kk]ritik|[Ff]orderung(?:en)?|[Ww]arnung(?:en)?|[Dd]rohung(?:en)?|[Pp]rotest(?:e|en)?|[Vv]orw[uü]rf(?:e|en)?|[Aa]ppell(?:e|en)?|[Aa]ufruf|"
    r"[Ll]ob|[Uu]nterstützung|[Zz]ustimmung|[Aa]blehnung|[Aa]bsage|[Zz]usage|[Hh]ilfe|[Zz]usammenarbeit|[Vv]ereinbarung|[Aa]bkommen|[Gg]espräche?n?|"
    r"[Tt]reffen|[Aa]ngriff(?:e|en|s)?|[Ff]estnahmen?|[Vv]erbot|[Rr]ücktritt|[Ss]anktionen|[Kk]lage|[Bb]edenken|[Ss]orge|[Ww]iderstand|[Bb]egnadigung)\b"
)

_Shares = Callable[[Sequence[Sequence[Segment]]], float]


@cache
def stance_verbs() -> dict[str, re.Pattern[str]]:
    """Return verbs that say that somebody takes a position, each with a pattern of its forms."""
    return {verb: re.compile(rf"\b(?:{forms})", re.IGNORECASE) for verb, forms in table("haltung.corpus", "stance_verbs.tsv")}


def _stance(segment: Segment) -> str:
    """Return the stance that is taken, "" if none is."""
    stance = segment.labels.get("stance")
    return stance if isinstance(stance, str) and stance != NEUTRAL else ""


def _share(rows: Iterable[object]) -> float:
    """Return the share of true ones; 0 of none."""
    values = [bool(row) for row in rows]
    return sum(values) / len(values) if values else 0.0


def _kinds(article: Sequence[Segment]) -> int:
    return len(set(map(_stance, article)) - {""})


def _by_words(stance: str, words: str) -> _Shares:
    """Return the measure of a row of ``stance_words.tsv``."""
    pattern = re.compile(words)
    if stance == NEUTRAL:
        return lambda corpus: _share(not _stance(one) for one in chain.from_iterable(corpus) if pattern.search(one.text))
    return lambda corpus: _share(pattern.search(one.text) for one in chain.from_iterable(corpus) if _stance(one) == stance)


def _same_neighbours(corpus: Sequence[Sequence[Segment]]) -> float:
    neighbours = (pair for article in corpus for pair in pairwise(map(_stance, article)))
    return _share(one == two for one, two in neighbours if one and two)


def _same_source(corpus: Sequence[Sequence[Segment]]) -> float:
    pairs = [(one, two) for article in corpus for one, two in pairwise(article) if _stance(two)]
    return _share({dyad.source for dyad in one.dyads} & {dyad.source for dyad in two.dyads} - {""} for one, two in pairs)


def _spread_of_stances(corpus: Sequence[Sequence[Segment]]) -> float:
    return pstdev([_share(map(_stance, article)) for article in corpus]) if corpus else 0.0


def _lengths(corpus: Sequence[Sequence[Segment]]) -> list[int]:
    return [len(WORD.findall(segment.text)) for segment in chain.from_iterable(corpus)]


def _in_a_noun(corpus: Sequence[Sequence[Segment]]) -> float:
    texts = [segment.text for segment in chain.from_iterable(corpus) if _stance(segment)]
    return _share(_NOUN.search(text) and not any(verb.search(text) for verb in stance_verbs().values()) for text in texts)


def _commonest_verbs(corpus: Sequence[Sequence[Segment]]) -> float:
    texts = [segment.text for segment in chain.from_iterable(corpus) if _stance(segment)]
    counts = Counter(name for text in texts for name, verb in stance_verbs().items() if verb.search(text))
    return sum(count for _, count in counts.most_common(10)) / max(1, counts.total())


# What is measured, by its key in configs/limits: a name for people, and the measure over articles.
MEASURES: dict[str, tuple[str, _Shares]] = {
    "four_stances": (
        f"articles of {LONG_ARTICLE} segments or more with 4 different stances or more",
        lambda corpus: _share(_kinds(article) >= 4 for article in corpus if len(article) >= LONG_ARTICLE),
    ),
    "one_stance": ("articles with at most one kind of stance", lambda corpus: _share(_kinds(article) <= 1 for article in corpus)),
    "all_neutral": ("articles that are wholly neutral", lambda corpus: _share(_kinds(article) == 0 for article in corpus)),
    "spread_of_stances": ("standard deviation of the share of stances in an article", _spread_of_stances),
    "same_neighbours": ("neighbouring stances that are the same", _same_neighbours),
    "same_source": ("stances that go on with a source of the sentence before", _same_source),
    "last_neutral": ("articles whose last segment is neutral", lambda corpus: _share(not _stance(article[-1]) for article in corpus)),
    "long": ("segments of 25 words or more", lambda corpus: _share(length >= 25 for length in _lengths(corpus))),
    "spread_of_length": ("standard deviation of the words in a segment", lambda corpus: pstdev(_lengths(corpus)) if corpus else 0.0),
    "stance_in_noun": ("stances with a noun of stance and without such a verb", _in_a_noun),
    "commonest_verbs": ("share of the ten commonest stance verbs", _commonest_verbs),
    **{key: (name, _by_words(stance, words)) for key, name, stance, words in table("haltung.corpus", "stance_words.tsv")},
}
