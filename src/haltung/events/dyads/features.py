"""Candidates for the sides of a dyad, and the questions about them that a dyad model reads.

Each candidate of a segment gives one question. It names what is known of the candidate (where it
is named, as what, its rank, what word order and the sentence before suggest), and the sentence with
its words marked by a word that any tokenizer knows, so that no vocabulary has to grow (after the
typed markers of Zhou and Chen 2022, "An Improved Baseline for Sentence-level Relation Extraction").
An actor may be named only before the sentence. The answer says as which of ``ROLES`` the candidate
is source and target: itself, or somebody inside the state ("die Demonstranten", "das Gericht"), who
often has no name that a table could hold. The number of questions grows with the number of
candidates; questions about ordered pairs would grow with its square.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from haltung.actors.finder import Mention
from haltung.actors.matching import state_of
from haltung.events.dyads.rules import ends
from haltung.events.records import Span
from haltung.records import Segment

# No segment has more candidates.
MAX_CANDIDATES = 5
MARK = "AKTEUR"

# The tasks of a question, and the side of a dyad that each is about.
SIDES = {"source_role": "source", "target_role": "target"}

# The labels of both tasks: the candidate has no part, acts itself, or somebody inside its state
# does; the latter with the ending of that actor's code.
NONE, ITSELF, STATE = "none", "itself", "state"
ROLES: Mapping[str, str] = {
    "opposition": "OPP", "region": "REG", "governing_party": "GOVPARTY", "armed_group": "REB", "people": "CIV", "media": "MED",
    "judiciary": "JUD", "business": "BUS",
}  # fmt: skip
_LABELS = {ending: label for label, ending in ROLES.items()}

# How many words before a name may hold its preposition and article.
_WINDOW = 3
# A name that begins before this character is at the beginning of the sentence.
_BEGINNING = 30

_PREPOSITIONS = re.findall(
    r"\w+", "von vom durch gegen gegenüber mit an am für vor nach in im aus bei zu zum zur über laut auf um unter zwischen seit wegen trotz"
)
_ARTICLES = re.findall(r"\w+", "der die das den dem des ein eine einen einem einer eines")
_SPACE = re.compile(r"\W+")
_TOKEN = re.compile(r"[\w-]+|[„“,.:]")
# Openings that refer to the sentence before.
_OPENING = re.compile(r"„?(Er|Sie|Es|Dies\w*|Der|Die|Das|Ihr\w*|Sein\w*|Zudem|Auch|Außerdem)\b")


@dataclass(frozen=True)
class Candidate:
    """A possible actor by its code, with its spans in the sentence.

    ``where`` says in words how near it is named, ``hints`` what else is known of it.
    """

    code: str
    text: str
    where: str
    spans: tuple[Span, ...] = ()
    hints: tuple[str, ...] = ()

    def code_as(self, label: str) -> str:
        """Return the code of the actor that a label means; "" for nobody."""
        if label == NONE:
            return ""
        return self.code if label == ITSELF else base(self.code) + (f"-{ROLES[label]}" if label in ROLES else "")


def base(code: str) -> str:
    """Return the state or organisation of a code: ``PSE`` of ``PSE-REB``."""
    return code.split("-")[0]


def candidates(
    texts: Sequence[str], mentions: Sequence[Sequence[Mention]], number: int, most: int = MAX_CANDIDATES
) -> tuple[Candidate, ...]:
    """Return who may act in an article's sentence ``number``: at most ``most``, likeliest first.

    These are the actors of the sentence in their order, then those of the sentence before, of the
    lead, and of the sentences between, from the nearest on. The last one is the state that the
    article names most, since many domestic events name no state. A headline counts as a sentence.
    """
    named: dict[str, list[Mention]] = {}
    for mention in sorted(mentions[number], key=lambda one: (one.place, one.start)):
        named.setdefault(mention.code, []).append(mention)
    words = {code: here[0].text for code, here in named.items()}
    for index in [number - 1, 0, *range(number - 2, 0, -1)] if number else []:
        for mention in reversed(mentions[index]):
            words.setdefault(mention.code, mention.text)
    codes = list(words)[:most]
    main = _main(mentions)
    if main is not None and all(base(code) != main for code in codes):
        codes = [*codes[: most - 1], main]
    anywhere = {one.code: one.text for sentence in reversed(mentions) for one in sentence}
    order = _word_order(texts, mentions, number)
    out = []
    for rank, code in enumerate(codes, start=1):
        here = named.get(code, [])
        where = "im Satz" if here else "davor" if code in words else "im Artikel"
        hints = [f"Rang {rank} von {len(codes)}", f"{rank} von {len(named)} im Satz" if here else f"keiner von {len(named)}"]
        if here:
            hints += [here[0].kind, *(["nur Ort"] if here[0].place else []), *([here[0].head] if here[0].head else [])]
        hints += [hint for hint, actors in order.items() if code in actors]
        spans = tuple(sorted((one.start, one.end) for one in here))
        out.append(Candidate(code, words.get(code) or anywhere.get(code, code), where, spans, tuple(hints)))
    return tuple(out)


def question(segment: Segment, candidate: Candidate, stance: str) -> Segment:
    """Return the question about one candidate; its id is the segment's with the candidate's code.

    The text is what is known of the candidate, so that a model pools the candidate's words wherever
    it is named; the target is the sentence with these words marked. The stance whose source and
    target are sought is part of the text, by itself and joined with everything known: behind
    "gegen" stands the target of a criticism but the partner of an agreement, which a linear model
    has to read in one word.
    """
    text = segment.text
    for start, _ in reversed(candidate.spans):
        text = f"{text[:start]}{MARK} {text[start:]}"
    known = [*(around_name(segment.text, candidate.spans[0]) if candidate.spans else ()), *opening_and_quotes(segment.text)]
    role = candidate.code.partition("-")[2] or ("staat" if state_of(candidate.code) else "organisation")
    known += [f"rolle_{role}", candidate.where]
    joined = [f"{stance}_{_SPACE.sub('_', word)}" for word in (*known, *candidate.hints)]
    words = ", ".join((f"{candidate.text} ({candidate.code})", candidate.where, *candidate.hints, stance, *known, *joined))
    return replace(segment, id=f"{segment.id}:{candidate.code}", text=words, target=text, labels={}, dyads=())


def gold_labels(named: Sequence[Candidate], codes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the label of each candidate for one side of gold dyads, and the codes left over.

    A code that is a candidate is ``itself``; any other is a role of the first candidate of the same
    state. A code without a candidate is left over, and the second of two with the same candidate.
    """
    labels, missed = [NONE] * len(named), []
    for code in codes:
        same = next((index for index, one in enumerate(named) if one.code == code), None)
        host = same if same is not None else next((index for index, one in enumerate(named) if base(one.code) == base(code)), None)
        ending = code.partition("-")[2]
        label = ITSELF if same is not None else _LABELS.get(ending) if ending else STATE
        if host is None or label is None or labels[host] != NONE:
            missed.append(code)
        else:
            labels[host] = label
    return labels, missed


def opening_and_quotes(text: str) -> list[str]:
    """Return how a sentence continues the one before, and whether it quotes; one word each."""
    opening = _OPENING.match(text)
    return [*([f"beginnt_{opening[1]}"] if opening else []), *(["zitiert"] if "“" in text else [])]


def around_name(text: str, span: Span) -> list[str]:
    """Return preposition, article and neighbours of a name; one word each, for a bag of words."""
    start, end = span
    before, after = _TOKEN.findall(text[:start])[-_WINDOW:], _TOKEN.findall(text[end:])[:1]
    preposition, article = _nearest(before, _PREPOSITIONS), _nearest(before, _ARTICLES)
    words = [f"hinter_{preposition}", f"artikel_{article}", f"hinter_{preposition}_{article}"]
    words += [f"davor_{word.lower()}" for word in before[-1:]] + [f"danach_{word.lower()}" for word in after]
    quoted = text.count("„", 0, start) > text.count("“", 0, start)
    return [*words, *(["im_zitat"] if quoted else []), *(["am_anfang"] if start < _BEGINNING else [])]


def _nearest(words: list[str], known: Sequence[str]) -> str:
    return next((word.lower() for word in reversed(words) if word.lower() in known), "nichts")


def _word_order(texts: Sequence[str], mentions: Sequence[Sequence[Mention]], number: int) -> dict[str, set[str]]:
    """Return source and target by word order, and the last source before, by their hints."""
    source, target = ends(texts[number], mentions[number])
    hints = {"zuerst genannt": {source.code} if source else set(), "danach genannt": {target.code} if target else set()}
    for index in range(number - 1, -1, -1):
        last, _ = ends(texts[index], mentions[index])
        if last is not None:
            hints["zuvor genannt" if source else "zuvor genannt, hier keiner"] = {last.code}
            break
    return hints


def _main(mentions: Sequence[Sequence[Mention]]) -> str | None:
    """Return the state that an article names most, the first of several."""
    states = Counter(base(one.code) for sentence in mentions for one in sentence if one.kind not in ("organisation", "group", "media"))
    return states.most_common(1)[0][0] if states else None
