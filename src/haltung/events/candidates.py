"""Actors that may take a segment's stance or be meant by it: what a dyad model reads, in training and afterwards.

A segment becomes one question for each candidate, whose words are marked with ``@`` (signs that any tokenizer knows, so that no
vocabulary has to grow: the typed markers of Zhou and Chen 2022, "An Improved Baseline for Sentence-level Relation Extraction") and who
is named behind the sentence, since an actor may have been named only before it. The answer tells of the candidate, and of whoever acts
inside that state ("die Demonstranten", "das Gericht"), who often is no name that a table could hold: as which of ``ROLES`` it is source,
as which it is target. Questions grow with the number of candidates, where those about ordered pairs would grow with its square.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from haltung.records import Segment

# No more actors of a segment are asked about.
MOST = 5

MARK = "@"

# The labels of a row's two tasks: whether the candidate has no part, is it itself, or as whom inside the state; with the code's ending.
NONE, ITSELF, STATE = "none", "itself", "state"
ROLES: Mapping[str, str] = {
    "opposition": "OPP", "region": "REG", "governing_party": "GOVPARTY", "armed_group": "REB", "people": "CIV", "media": "MED",
    "judiciary": "JUD", "business": "BUS",
}  # fmt: skip
_LABELS = {ending: label for label, ending in ROLES.items()}

# Where a candidate is named, in the words of the question.
_HERE, _BEFORE, _ELSEWHERE = "im Satz", "davor", "im Artikel"


class Named(Protocol):
    """What is asked of a mention: its position in the text, its words, the actor's code, its kind, and whether it names a mere place."""

    @property
    def start(self) -> int: ...  # noqa: D102
    @property
    def end(self) -> int: ...  # noqa: D102
    @property
    def text(self) -> str: ...  # noqa: D102
    @property
    def code(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def place(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class Span:
    """Where an actor's words stand in the sentence: characters ``start`` to ``end``."""

    start: int
    end: int


@dataclass(frozen=True)
class Candidate:
    """An actor by its code; ``where`` says in words how near it is named, ``spans`` where in the sentence, empty if it is not there."""

    code: str
    text: str
    where: str
    spans: tuple[Span, ...] = ()

    def code_as(self, label: str) -> str:
        """Return the code of the one who acts: the candidate's own, its state's, or somebody's inside that state; "" for nobody."""
        if label == NONE:
            return ""
        return self.code if label == ITSELF else base(self.code) + (f"-{ROLES[label]}" if label in ROLES else "")


def base(code: str) -> str:
    """Return the state or organisation of a code: ``PSE`` of ``PSE-REB``."""
    return code.split("-")[0]


def candidates(mentions: Sequence[Sequence[Named]], number: int, most: int = MOST) -> tuple[Candidate, ...]:
    """Return who may act in one sentence of an article, the likeliest first.

    They are the actors of the sentence in their order; then those of the sentence before, of the lead, and of what stands between, from
    the nearest on. The last place is kept for the state that the article names most, since much that happens at home names no state.

    Args:
        mentions: of each sentence of the article; a headline, where there is one, counts as the first.
        number: which of them is asked about.
        most: how many candidates are kept.
    """
    spans: dict[str, list[Span]] = {}
    words: dict[str, str] = {}
    for mention in sorted(mentions[number], key=lambda one: (one.place, one.start)):
        words.setdefault(mention.code, mention.text)
        spans.setdefault(mention.code, []).append(Span(mention.start, mention.end))
    nearest = [number - 1, 0, *range(number - 2, 0, -1)] if number else []
    for place in nearest:
        for mention in reversed(mentions[place]):
            words.setdefault(mention.code, mention.text)
    codes = list(words)[:most]
    main = _main(mentions)
    if main is not None and all(base(code) != main for code in codes):
        codes = [*codes[: most - 1], main]
    named = {one.code: one.text for sentence in reversed(mentions) for one in sentence}

    def where(code: str) -> str:
        return _HERE if code in spans else _BEFORE if code in words else _ELSEWHERE

    return tuple(
        Candidate(
            code, words.get(code) or named.get(code, code), where(code), tuple(sorted(spans.get(code, ()), key=lambda one: one.start))
        )
        for code in codes
    )


def marked(segment: Segment, candidate: Candidate) -> Segment:
    """Return the question about one candidate: its name is the text, and the sentence with it marked is the target.

    What a model pools is then the candidate's own words, wherever it is named. The id gets the code behind it.
    """
    text = segment.text
    for span in reversed(candidate.spans):
        text = f"{text[: span.start]}{MARK} {text[span.start : span.end]} {MARK}{text[span.end :]}"
    name = f"{candidate.text} ({candidate.code}), {candidate.where}"
    return replace(segment, id=f"{segment.id}:{candidate.code}", text=name, target=text, labels={}, dyads=())


def parts(found: Sequence[Candidate], codes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return for each candidate the label that says who of ``codes`` acts, and the codes that can't be said with these candidates.

    A code that is a candidate is ``itself``; any other is told by the first candidate of the same state. Of two that one candidate would
    have to tell, it tells the first.
    """
    labels, missed = [NONE] * len(found), []
    for code in codes:
        own = next((place for place, one in enumerate(found) if one.code == code), None)
        host = own if own is not None else next((place for place, one in enumerate(found) if base(one.code) == base(code)), None)
        ending = code.partition("-")[2]
        label = ITSELF if own is not None else _LABELS.get(ending) if ending else STATE
        if host is None or label is None or labels[host] != NONE:
            missed.append(code)
        else:
            labels[host] = label
    return labels, missed


def _main(mentions: Sequence[Sequence[Named]]) -> str | None:
    """Return the state that an article names most, the first of several."""
    states = Counter(base(one.code) for sentence in mentions for one in sentence if one.kind not in ("organisation", "group", "media"))
    return states.most_common(1)[0][0] if states else None
