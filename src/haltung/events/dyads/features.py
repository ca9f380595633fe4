"""Actors that may take a segment's stance or be meant by it: what a dyad model reads, in training and afterwards.

A segment becomes one question for each candidate, whose words are marked (with a word that any tokenizer knows, so that no vocabulary has
to grow: after the typed markers of Zhou and Chen 2022, "An Improved Baseline for Sentence-level Relation Extraction") and who is named
beside the sentence, since an actor may have been named only before it, with what is known of it: where it is named, as what, its
rank, and what word order and the sentence before make of it. The answer tells of the candidate, and of whoever acts inside
that state ("die Demonstranten", "das Gericht"), who often is no name that a table could hold: as which of ``ROLES`` it is source, as which
it is target. Questions grow with the number of candidates, where those about ordered pairs would grow with its square.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from haltung.actors.finder import Mention
from haltung.actors.matching import state_of
from haltung.events.dyads.rules import ends
from haltung.events.dyads.surroundings import of_name, of_sentence
from haltung.events.records import Span
from haltung.records import Segment

# No more actors of a segment are asked about.
MOST = 5

MARK = "AKTEUR"

# The labels of a row's two tasks: whether the candidate has no part, is it itself, or as whom inside the state; with the code's ending.
NONE, ITSELF, STATE = "none", "itself", "state"
ROLES: Mapping[str, str] = {
    "opposition": "OPP", "region": "REG", "governing_party": "GOVPARTY", "armed_group": "REB", "people": "CIV", "media": "MED",
    "judiciary": "JUD", "business": "BUS",
}  # fmt: skip
_LABELS = {ending: label for label, ending in ROLES.items()}

_SPACE = re.compile(r"\W+")

# Where a candidate is named, in the words of the question.
_HERE, _BEFORE, _ELSEWHERE = "im Satz", "davor", "im Artikel"


@dataclass(frozen=True)
class Candidate:
    """An actor by its code; ``where`` says in words how near it is named, ``spans`` where in the sentence, empty if it is not there.

    ``hints`` says in words what else is known of it.
    """

    code: str
    text: str
    where: str
    spans: tuple[Span, ...] = ()
    hints: tuple[str, ...] = ()

    def code_as(self, label: str) -> str:
        """Return the code of the one who acts: the candidate's own, its state's, or somebody's inside that state; "" for nobody."""
        if label == NONE:
            return ""
        return self.code if label == ITSELF else base(self.code) + (f"-{ROLES[label]}" if label in ROLES else "")


def _role(code: str) -> str:
    """Return as whom a candidate itself acts: its role inside a state, or which of the two that have none it is."""
    ending = code.partition("-")[2]
    return ending or ("staat" if state_of(code) else "organisation")


def base(code: str) -> str:
    """Return the state or organisation of a code: ``PSE`` of ``PSE-REB``."""
    return code.split("-")[0]


def candidates(texts: Sequence[str], mentions: Sequence[Sequence[Mention]], number: int, most: int = MOST) -> tuple[Candidate, ...]:
    """Return who may act in one sentence of an article, the likeliest first.

    They are the actors of the sentence in their order; then those of the sentence before, of the lead, and of what stands between, from
    the nearest on. The last place is kept for the state that the article names most, since much that happens at home names no state.

    Args:
        texts: the sentences of the article; a headline, where there is one, counts as the first.
        mentions: of each sentence.
        number: which of them is asked about.
        most: how many candidates are kept.
    """
    named: dict[str, list[Mention]] = {}
    for mention in sorted(mentions[number], key=lambda one: (one.place, one.start)):
        named.setdefault(mention.code, []).append(mention)
    words = {code: own[0].text for code, own in named.items()}
    nearest = [number - 1, 0, *range(number - 2, 0, -1)] if number else []
    for place in nearest:
        for mention in reversed(mentions[place]):
            words.setdefault(mention.code, mention.text)
    codes = list(words)[:most]
    main = _main(mentions)
    if main is not None and all(base(code) != main for code in codes):
        codes = [*codes[: most - 1], main]
    anywhere = {one.code: one.text for sentence in reversed(mentions) for one in sentence}
    order = _word_order(texts, mentions, number)
    out = []
    for place, code in enumerate(codes):
        own = named.get(code, [])
        where = _HERE if own else _BEFORE if code in words else _ELSEWHERE
        hints = [f"Rang {place + 1} von {len(codes)}", f"{place + 1} von {len(named)} im Satz" if own else f"keiner von {len(named)}"]
        hints += [own[0].kind, *(["nur Ort"] if own[0].place else []), *([own[0].head] if own[0].head else [])] if own else []
        hints += [words_of for words_of, is_so in order.items() if code in is_so]
        spans = tuple(sorted((one.start, one.end) for one in own))
        out.append(Candidate(code, words.get(code) or anywhere.get(code, code), where, spans, tuple(hints)))
    return tuple(out)


def marked(segment: Segment, candidate: Candidate, stance: str) -> Segment:
    """Return the question about one candidate: what is known of it is the text, and the sentence with it marked is the target.

    What a model pools is then the candidate's own words, wherever it is named. The stance whose source and target are sought is part of
    the question, by itself and joined with all that is known: who stands behind "gegen" is the target of a criticism and the partner of
    an agreement, which a linear model has to be told in one word. The id gets the candidate's code behind it.
    """
    text = segment.text
    for start, _ in reversed(candidate.spans):
        text = f"{text[:start]}{MARK} {text[start:]}"
    around = [*(of_name(segment.text, candidate.spans[0]) if candidate.spans else ()), *of_sentence(segment.text)]
    around += [f"rolle_{_role(candidate.code)}", candidate.where]
    joined = [f"{stance}_{_SPACE.sub('_', told)}" for told in (*around, *candidate.hints)]
    question = ", ".join((f"{candidate.text} ({candidate.code})", candidate.where, *candidate.hints, stance, *around, *joined))
    return replace(segment, id=f"{segment.id}:{candidate.code}", text=question, target=text, labels={}, dyads=())


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


def _word_order(texts: Sequence[str], mentions: Sequence[Sequence[Mention]], number: int) -> dict[str, set[str]]:
    """Return whom word order takes for source and target, and who was the source last before; by the words that tell a model so."""
    source, target = ends(texts[number], mentions[number])
    found = {"zuerst genannt": {source.code} if source else set(), "danach genannt": {target.code} if target else set()}
    for place in range(number - 1, -1, -1):
        last, _ = ends(texts[place], mentions[place])
        if last is not None:
            found["zuvor genannt" if source else "zuvor genannt, hier keiner"] = {last.code}
            break
    return found


def _main(mentions: Sequence[Sequence[Mention]]) -> str | None:
    """Return the state that an article names most, the first of several."""
    states = Counter(base(one.code) for sentence in mentions for one in sentence if one.kind not in ("organisation", "group", "media"))
    return states.most_common(1)[0][0] if states else None
