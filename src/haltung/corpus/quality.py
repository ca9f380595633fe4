"""Whether a corpus is like real news: repetition, variety, typography, spelling, labels, actors."""

import re
import shutil
import subprocess
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, product
from pathlib import Path
from typing import Any

from haltung.corpus import distribution
from haltung.corpus.clean import excerpt
from haltung.corpus.deduplicate import NearIndex, sketches
from haltung.corpus.parsing.lines import existing, lines
from haltung.errors import UserError, one_of
from haltung.files import table
from haltung.labels import Scheme
from haltung.records import Segment, by_group, label_ids

INSTALL_HUNSPELL = "on Debian and Ubuntu apt-get install hunspell hunspell-de-de hunspell-de-at hunspell-de-ch (make system does it)"

# Both measures of variety fall with the length of a text, so they are averaged over blocks.
BLOCK_WORDS, BLOCK_BYTES = 1_000, 100_000

_NEVER = [(re.compile(pattern), fault) for pattern, fault in table("haltung.corpus", "typography.tsv")]
_QUOTES = {"„": "“", "«": "»", "‚": "‘", "‹": "›"}
_CLOSING = set(_QUOTES.values())


@dataclass(frozen=True)
class Band:
    """The lowest and highest value allowed (null: any), and those of ``real`` news by corpus."""

    low: float | None = None
    high: float | None = None
    real: Mapping[str, float] = field(default_factory=dict)

    def __contains__(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        ends = [f"{word} {end:g}" for word, end in (("at least", self.low), ("at most", self.high)) if end is not None]
        allowed = f"{self.low:g} to {self.high:g}" if len(ends) == 2 else ends[0] if ends else "any"
        real = ", ".join(f"{name} {value:.3f}" for name, value in self.real.items())
        return f"{allowed} (real news: {real})" if real else allowed


@dataclass(frozen=True)
class QualityLimits:
    """What a corpus has to fulfil; null switches a check off.

    Attributes:
        jaccard: the highest Jaccard index of two segments' character 5-grams.
        sequence: in how many segments the same six words in a row may occur.
        opening: the largest share of segments that may begin with the same three words.
        type_token, compression: of real news (see the functions of these names).
        tolerance: by which share the two may differ from real news.
        typography: whether it is checked.
        spelling: a file of allowed words, one per line.
        labels: the fewest segments of each label of a task.
        pairs: the fewest segments (``least``) of each pair of a label of its ``rows`` task with the
            ``largest`` labels of its ``columns`` task.
        articles: a band for each measure of ``distribution.MEASURES`` that is to be checked.
        states, organisations: the fewest different ones in the dyads; ``organisation_codes`` are
            the codes that are not states.
    """

    jaccard: float | None = None
    sequence: int | None = None
    opening: float | None = None
    type_token: float | None = None
    compression: float | None = None
    tolerance: float = 0.1
    typography: bool = True
    spelling: str | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    pairs: Mapping[str, str | int] = field(default_factory=dict)
    articles: Mapping[str, Band] = field(default_factory=dict)
    states: int = 0
    organisations: int = 0
    organisation_codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measure:
    """One check: what was measured, what is allowed, whether it holds, and each single fault."""

    name: str
    found: str
    allowed: str
    holds: bool
    faults: tuple[str, ...] = ()


def inspect(
    segments: Sequence[Segment], limits: QualityLimits, scheme: Scheme, countries: Mapping[str, str], spells: bool = True
) -> Iterator[Measure]:
    """Check a corpus against its limits, one measure at a time.

    ``countries`` has ``DE``, ``AT`` or ``CH`` by article, which decides the spelling (default
    ``DE``); ``spells`` says whether that is checked. Raises ``UserError`` if a task or label of the
    limits is not in the scheme, or spelling can't be checked.
    """
    words = [[word.lower() for word in distribution.WORD.findall(segment.text)] for segment in segments]
    if limits.jaccard is not None:
        yield _similar(segments, limits.jaccard)
    if limits.sequence is not None:
        yield _sequences(words, limits.sequence)
    if limits.opening is not None:
        yield _openings(words, limits.opening)
    for name, measured, real in (
        ("different words in 1,000", type_token, limits.type_token),
        ("compressed to", compression, limits.compression),
    ):
        if real is not None:
            value, low, high = measured(segments), real * (1 - limits.tolerance), real * (1 + limits.tolerance)
            yield Measure(name, f"{value:.3f}", f"{low:.3f} to {high:.3f} (real news: {real:.3f})", low <= value <= high)
    if limits.typography:
        yield _none("faults of typography", list(_typography(segments, countries)))
    if limits.spelling is not None and spells:
        spelt = ((segment, countries.get(segment.article, "DE")) for segment in segments)
        found = [(word, one.id, excerpt(one.text, one.text.find(word))) for word, one in unknown_words(spelt, read_words(limits.spelling))]
        yield _none("unknown words", [f"{word}  in {id}: {text}" for word, id, text in found])
    yield from _coverage(segments, limits, scheme)
    articles = list(by_group(segments).values())
    for key, band in limits.articles.items():
        name, measure = distribution.MEASURES[one_of("limits.articles", key, distribution.MEASURES)]
        value = measure(articles)
        yield Measure(name, f"{value:.3f}", str(band), value in band)


def type_token(segments: Iterable[Segment]) -> float:
    """Return the mean segmental type-token ratio of the texts in their order (Johnson 1944).

    This is the mean share of different words, lower-cased, in each ``BLOCK_WORDS`` running words.
    """
    words = [word.lower() for segment in segments for word in distribution.WORD.findall(segment.text)]
    return _mean_of_blocks(words, BLOCK_WORDS, lambda block: len(set(block)))


def compression(segments: Iterable[Segment]) -> float:
    """Return the mean ratio of compressed (zlib, level 9) to plain size of each ``BLOCK_BYTES``."""
    raw = "\n".join(segment.text for segment in segments).encode("utf-8", "surrogatepass")
    return _mean_of_blocks(raw, BLOCK_BYTES, lambda block: len(zlib.compress(block, 9)))


def _mean_of_blocks(whole: Any, size: int, measure: Callable[[Any], int]) -> float:
    """Return the mean of a measure per item over whole blocks; less than one block is one."""
    blocks = [whole[start : start + size] for start in range(0, max(1, len(whole) - size + 1), size)] if whole else []
    return sum(measure(block) / len(block) for block in blocks) / max(1, len(blocks))


def _none(name: str, faults: Sequence[str], allowed: str = "0") -> Measure:
    """Return a measure that holds if there are no faults."""
    return Measure(name, str(len(faults)), allowed, not faults, tuple(faults))


def _similar(segments: Sequence[Segment], limit: float) -> Measure:
    near = NearIndex(limit)
    pairs: list[str] = []
    names = [f"{segment.id} {excerpt(segment.text)}" for segment in segments]
    for index, sketch in enumerate(sketches([segment.text for segment in segments])):
        text = segments[index].text
        found = near.find(text, sketch, None)
        pairs += [f"{similarity:.2f}  {names[other]} and {names[index]}" for other, similarity in found if similarity > limit]
        near.add(index, text, sketch, None)
    return _none("pairs of segments that are too similar", pairs, f"none above {limit}")


def _sequences(words: Sequence[Sequence[str]], limit: int, length: int = 6) -> Measure:
    counts = Counter(gram for row in words for gram in {tuple(row[i : i + length]) for i in range(len(row) - length + 1)})
    faults = tuple(f"{count} ×  {' '.join(gram)}" for gram, count in counts.most_common() if count > limit)
    highest = max(counts.values(), default=0)
    return Measure("segments with the same six words in a row", str(highest), f"at most {limit}", not faults, faults)


def _openings(words: Sequence[Sequence[str]], limit: float, length: int = 3) -> Measure:
    counts = Counter(tuple(row[:length]) for row in words if len(row) >= length)
    faults = tuple(f"{count} ×  {' '.join(opening)} …" for opening, count in counts.most_common() if count > limit * len(words))
    highest = max(counts.values(), default=0) / max(1, len(words))
    return Measure("segments that open with the same three words", f"{highest:.2%}", f"at most {limit:.0%}", not faults, faults)


def _coverage(segments: Sequence[Segment], limits: QualityLimits, scheme: Scheme) -> Iterator[Measure]:
    for name, least in limits.labels.items():
        task = scheme[name]
        counts = Counter(label for segment in segments for label in label_ids(segment.labels.get(name)))
        faults = tuple(f"{label}: {counts[label]}" for label in task.ids if counts[label] < least)
        rarest = min(counts[label] for label in task.ids)
        yield Measure(f"segments of the rarest {name}", str(rarest), f"at least {least}", not faults, faults)
    if limits.pairs:
        yield _pairs(segments, limits, scheme)
    codes = {code for segment in segments for dyad in segment.dyads for code in (dyad.source, dyad.target) if code}
    organisations = codes & set(limits.organisation_codes)
    states = {code.split("-")[0] for code in codes} - set(limits.organisation_codes)
    for name, actors, least in (("states", states, limits.states), ("organisations", organisations, limits.organisations)):
        if least:
            yield Measure(f"different {name} in dyads", str(len(actors)), f"at least {least}", len(actors) >= least)


def _pairs(segments: Sequence[Segment], limits: QualityLimits, scheme: Scheme) -> Measure:
    try:
        rows, columns = scheme[str(limits.pairs["rows"])], scheme[str(limits.pairs["columns"])]
        largest, least = limits.pairs["largest"], limits.pairs["least"]
    except KeyError as error:
        raise UserError(f"limits.pairs lacks {error}; it has the keys rows, columns, largest, least") from None
    if not isinstance(largest, int) or not isinstance(least, int) or min(largest, least) < 1:
        raise UserError(f"limits.pairs: largest is {largest!r} and least {least!r}; expected whole numbers of at least 1")
    both = [(label_ids(segment.labels.get(rows.name)), label_ids(segment.labels.get(columns.name))) for segment in segments]
    counts = Counter(pair for labels in both for pair in product(*labels))
    sizes = Counter(label for _, labels in both for label in labels)
    top = sorted(columns.ids, key=lambda label: -sizes[label])[:largest]
    cells = {(row, column): counts[row, column] for row in rows.ids for column in top}
    faults = tuple(f"{row} × {column}: {count}" for (row, column), count in cells.items() if count < least)
    name = f"segments of the rarest {rows.name} within the {largest} largest {columns.name}s"
    return Measure(name, str(min(cells.values())), f"at least {least}", not faults, faults)


def _typography(segments: Sequence[Segment], countries: Mapping[str, str]) -> Iterator[str]:
    for article, members in groupby(segments, key=lambda segment: segment.article or segment.id):
        rows = list(members)
        for index, fault in typography_faults([row.text for row in rows], countries.get(article, "DE")):
            yield f"{rows[index].id}: {fault}: {excerpt(rows[index].text)}"


def typography_faults(texts: Sequence[str], country: str = "DE") -> Iterator[tuple[int, str]]:
    """Yield the faults of an article's sentences, each with the index of its sentence.

    Checked are quotation marks (to be closed within the article), dashes, ellipses, spaces, and the
    Swiss spelling without ß. ``country`` is ``DE``, ``AT`` or ``CH``.
    """
    opened: list[tuple[str, int]] = []
    for index, text in enumerate(texts):
        for pattern, fault in _NEVER:
            if pattern.search(text):
                yield index, fault
        if country == "CH" and "ß" in text:
            yield index, "an ß in a Swiss text; it is ss"
        if country != "CH" and ("«" in text or "»" in text):
            yield index, "Swiss quotation marks in a text that is not Swiss; it has „…“"
        for at, sign in enumerate(text):
            if sign in _QUOTES:
                opened.append((sign, index))
            elif sign in _CLOSING and not (sign == "‘" and text[at + 1 : at + 2].isalnum()):  # an apostrophe
                if not opened or _QUOTES[opened[-1][0]] != sign:
                    yield index, f"a closing {sign} without an opening one"
                else:
                    opened.pop()
    for sign, index in opened:
        yield index, f"a quotation opened by {sign} that is never closed"


def has_hunspell() -> bool:
    """Return whether hunspell is installed; missing dictionaries are reported when used."""
    return shutil.which("hunspell") is not None


def read_words(path: str | Path) -> frozenset[str]:
    """Read a file with one word per line, # begins a comment; raise ``UserError`` if unreadable."""
    words = map(str.strip, lines(existing(Path(path))))
    return frozenset(word for word in words if word and not word.startswith("#"))


def unknown_words(texts: Iterable[tuple[Segment, str]], allowed: frozenset[str]) -> list[tuple[str, Segment]]:
    """Return misspelt words that are not ``allowed``, each with the first segment that has it.

    ``texts`` are segments with ``DE``, ``AT`` or ``CH``, which decides the dictionary. Raises
    ``UserError`` if hunspell or one of its dictionaries is not installed.
    """
    pairs, out = list(texts), dict[str, Segment]()
    for country in dict.fromkeys(country for _, country in pairs):
        segments = [segment for segment, its_country in pairs if its_country == country]
        first = {word: segment for segment in reversed(segments) for word in re.findall(r"\w+", segment.text)}
        for word in _misspelt([segment.text for segment in segments], f"de_{country}") - allowed - out.keys():
            # hunspell may cut words differently; none of them must get lost.
            out[word] = first.get(word) or next((segment for segment in segments if word in segment.text), segments[0])
    return sorted(out.items())


def _misspelt(texts: list[str], dictionary: str) -> set[str]:
    try:
        done = subprocess.run(
            ["hunspell", "-d", dictionary, "-i", "utf-8", "-l"],
            input="\n".join(texts) + "\n", capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise UserError(f"hunspell is not installed, so spelling can't be checked; {INSTALL_HUNSPELL}, or say spelling=off") from None
    if done.returncode != 0 or "open the dictionar" in done.stderr:
        raise UserError(f"hunspell has no dictionary {dictionary} ({done.stderr.strip()}); {INSTALL_HUNSPELL}, or say spelling=off")
    return {word.strip(".") for word in done.stdout.split("\n") if word.strip(".-")}
