"""Remove boilerplate from an article: advertising, links, credits, agency marks, buttons."""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from haltung.events.text.sentences import Sentence

_LONGEST = 300  # characters of a line of boilerplate


@dataclass(frozen=True)
class Removed(Sentence):
    """A removed sentence, or the end of one; ``kind`` is one of the data file's."""

    kind: str


@dataclass(frozen=True)
class Cleaned:
    """The sentences of the article itself, and what was removed."""

    sentences: tuple[Sentence, ...]
    removed: tuple[Removed, ...]


@dataclass(frozen=True)
class Pattern:
    """A row of the data file: it removes a whole sentence or, with ``at_end``, the end of one."""

    kind: str
    at_end: bool
    pattern: re.Pattern[str]


def clean(sentences: Iterable[Sentence]) -> Cleaned:
    """Remove boilerplate from an article's sentences; positions stay the same."""
    remaining: list[Sentence] = []
    removed: list[Removed] = []
    for sentence in sentences:
        plain = " ".join(sentence.text.split()) if len(sentence.text) <= _LONGEST else ""
        if whole := next((one.kind for one in patterns() if not one.at_end and one.pattern.fullmatch(plain)), ""):
            removed.append(Removed(sentence.start, sentence.end, sentence.text, whole))
            continue
        for pattern in patterns():
            if pattern.at_end and (match := pattern.pattern.search(sentence.text)):
                text = sentence.text[: match.start()].rstrip()
                start = sentence.start + match.start() + len(match[0]) - len(match[0].lstrip())
                removed.append(Removed(start, sentence.end, sentence.text[start - sentence.start :], pattern.kind))
                sentence = Sentence(sentence.start, sentence.start + len(text), text)
        if sentence.text:
            remaining.append(sentence)
    return Cleaned(tuple(remaining), tuple(removed))


@cache
def patterns() -> Sequence[Pattern]:
    """Read the patterns."""
    lines = resources.files("haltung.events.text").joinpath("boilerplate.tsv").read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader((line for line in lines if not line.startswith("#")), delimiter="\t", quoting=csv.QUOTE_NONE)
    return tuple(Pattern(row["kind"], row["where"] == "end", re.compile(f"(?:{row['pattern']})$", re.IGNORECASE)) for row in rows)
