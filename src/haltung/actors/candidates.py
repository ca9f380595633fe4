"""Find candidates for the sides of a sentence's dyads, with cues from word order and distance.

Candidates are named in the sentence or before it; the article's main state may also come later.
Actors inside a state often have no name that a table could list ("die Demonstranten"), so a side
is a candidate in one of several roles: itself, its state, or somebody inside it (``ROLES``).
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from haltung.actors.finder import Mention
from haltung.actors.matching import state_of
from haltung.files import patterns
from haltung.records import Span, by_key

MAX_CANDIDATES = 6  # of a sentence
# The roles in which a candidate can be a side; codes of actors inside its state have these endings.
ITSELF, STATE = "itself", "state"
ENDINGS: Mapping[str, str] = {
    "opposition": "OPP", "region": "REG", "governing_party": "GOVPARTY", "armed_group": "REB", "people": "CIV", "media": "MED",
    "judiciary": "JUD", "business": "BUS",
}  # fmt: skip
ROLES = (ITSELF, STATE, *ENDINGS)
_ROLE_OF = {"": STATE} | {ending: role for role, ending in ENDINGS.items()}
_WINDOW = 3  # words before a name that may hold its preposition and article
_BEGINNING = 30  # a name that begins before this character begins the sentence
_FAR = 5  # larger counts of actors and distances in sentences share one cue
_RE = patterns("haltung.actors", "candidates")
_TOKEN = re.compile(r"[\w-]+|[„“,.:]")


@dataclass(frozen=True)
class Candidate:
    """A candidate for a side of a sentence's dyads, identified by its code.

    ``spans`` are its mentions in the sentence. ``before`` is its last earlier mention: the number
    of that sentence in the article and the span in it. ``cues`` are features in words for a model:
    its kind, rank and preposition, whether it acts by word order, and so on.
    """

    code: str
    spans: tuple[Span, ...] = ()
    before: tuple[int, Span] | None = None
    cues: tuple[str, ...] = ()


def base(code: str) -> str:
    """Return the state or organisation of a code: ``PSE`` of ``PSE-REB``."""
    return code.split("-")[0]


def code_as(code: str, role: str) -> str:
    """Return the code that a candidate has in a role: ``PSE-CIV`` for ``people``; "" for nobody."""
    return code if role == ITSELF or not code else base(code) + (f"-{ENDINGS[role]}" if role in ENDINGS else "")


def candidates(
    texts: Sequence[str], mentions: Sequence[Sequence[Mention]], number: int, most: int = MAX_CANDIDATES
) -> tuple[Candidate, ...]:
    """Return nobody and the candidates of an article's sentence ``number``; () without candidates.

    There are at most ``most`` besides nobody, the likeliest first: the sentence's actors in order
    (places last), then those of the previous sentence, of the first (a headline counts as one),
    and of those between, nearest first. The state that the article names most is always included,
    at the end if nothing else of it is, since many domestic events name no state.
    """
    named = by_key((mention.code, mention) for mention in sorted(mentions[number], key=lambda one: (one.place, one.start)))
    # The last mention of a code wins.
    before = {one.code: (index, (one.start, one.end)) for index, row in enumerate(mentions[:number]) for one in row}
    nearest = [mention.code for index in [number - 1, 0, *range(number - 2, 0, -1)] if number for mention in reversed(mentions[index])]
    codes = list(dict.fromkeys([*named, *nearest]))[:most]
    states = Counter(base(one.code) for sentence in mentions for one in sentence if one.kind not in ("organisation", "group", "media"))
    main = states.most_common(1)[0][0] if states else None
    if main is not None and all(base(code) != main for code in codes):
        codes = [*codes[: most - 1], main]
    order = _word_order(texts, mentions, number)
    # How the sentence refers to the previous one, whether it quotes, how many actors it names.
    opening, quotes = _RE["opening"].match(texts[number]), "“" in texts[number]
    sentence = [f"of {min(len(named), _FAR)}", *([f"begins {opening[1]}"] if opening else []), *(["quotes"] if quotes else [])]
    out = [Candidate("", cues=("nobody", f"nobody among {len(codes)}", *(f"nobody {cue}" for cue in sentence)))] if codes else []
    for rank, code in enumerate(codes, start=1):
        here = named.get(code, [])
        spans = tuple(sorted((one.start, one.end) for one in here))
        role = code.partition("-")[2] or ("state" if state_of(code) else "organisation")
        is_shared = any(base(other) == base(code) for other in codes if other != code)
        cues = [*sentence, f"rank {rank}", f"rank {rank} of {len(codes)}", f"role {role}"]
        cues += [f"named {min(len(here), 2)}", *(cue for cue, actors in order.items() if code in actors)]
        if here:
            cues += [f"kind {here[0].kind}", *(["place"] if here[0].place else []), *([f"head {here[0].head}"] if here[0].head else [])]
            cues += _name_cues(texts[number], spans[0])
        cues.append(f"before {min(number - before[code][0], _FAR)}" if code in before else "not before")
        cues += [cue for cue, true in (("main state", base(code) == main), ("same state", is_shared)) if true]
        out.append(Candidate(code, spans, before.get(code), tuple(cues)))
    return tuple(out)


def gold_roles(named: Sequence[Candidate], codes: Sequence[str]) -> tuple[list[tuple[int, str]], list[str]]:
    """Return the candidate's index and role for each gold code, and the codes without a candidate.

    A candidate's own code is ``itself``; any other is a role of the first candidate of its state.
    """
    found, missed = [], []
    for code in codes:
        same = next((index for index, one in enumerate(named) if one.code == code), None)
        host = same if same is not None else next((index for index, one in enumerate(named) if base(one.code) == base(code)), None)
        role = ITSELF if same is not None else _ROLE_OF.get(code.partition("-")[2])
        if host is None or role is None:
            missed.append(code)
        else:
            found.append((host, role))
    return found, missed


def ends(text: str, mentions: Sequence[Mention]) -> tuple[Mention | None, Mention | None]:
    """Return the source and the target among a sentence's mentions by word order."""
    # Media usually only report, so they count as actors only if nobody else is named.
    actors = [one for one in mentions if not one.place]
    actors = [one for one in actors if not one.code.endswith("-MED")] or actors
    reporting = [one for one in actors if _RE["reported_before"].search(text[: one.start]) or _RE["reported_after"].search(text[one.end :])]
    acting = [one for one in actors if one not in reporting] or actors
    if not acting:
        return None, None
    source = next((one for one in acting if _RE["speaker"].search(text[: one.start])), acting[0])
    if _RE["passive"].search(text):
        source = next((one for one in acting if _RE["by"].search(text[: one.start])), source)
    return source, next((one for one in acting if one.code != source.code), None)


def _name_cues(text: str, span: Span) -> list[str]:
    """Return the cues of a name: preposition, article, neighbours, quotation, position."""
    start, end = span
    before, after = _TOKEN.findall(text[:start])[-_WINDOW:], _TOKEN.findall(text[end:])[:1]
    preposition, article = _last(before, _RE["preposition"]), _last(before, _RE["article"])
    cues = [f"behind {preposition}", f"article {article}", f"behind {preposition} {article}"]
    cues += [f"left {word.lower()}" for word in before[-1:]] + [f"right {word.lower()}" for word in after]
    quoted = text.count("„", 0, start) > text.count("“", 0, start)
    return [*cues, *(["quoted"] if quoted else []), *(["at the beginning"] if start < _BEGINNING else [])]


def _last(words: list[str], known: re.Pattern[str]) -> str:
    return next((word.lower() for word in reversed(words) if known.fullmatch(word.lower())), "none")


def _word_order(texts: Sequence[str], mentions: Sequence[Sequence[Mention]], number: int) -> dict[str, set[str]]:
    """Return each cue's codes: source and target by word order, and the last earlier source."""
    source, target = ends(texts[number], mentions[number])
    cues = {"acts by order": {source.code} if source else set(), "acted on by order": {target.code} if target else set()}
    earlier = (ends(texts[index], mentions[index])[0] for index in range(number - 1, -1, -1))
    if last := next(filter(None, earlier), None):
        cues["acted before" if source else "acted before, none here"] = {last.code}
    return cues
