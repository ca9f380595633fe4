"""How stances are distributed over articles and sentences: shares that a written corpus should have
in common with real news.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, pairwise
from statistics import pstdev

from haltung.records import Segment

# What a scheme calls the absence of a stance.
NEUTRAL = "neutral"

# Shorter articles have no room for several stances.
LONG_ARTICLE = 8

_WORD = re.compile(r"\w+(?:[-’']\w+)*")
_QUOTATION = re.compile(r'[„“”«»"]')
_SAID = re.compile(r"\bsagt(?:e|en)?\b")

# Konjunktiv I of the verbs of which it is common and unambiguous.
_SUBJUNCTIVE = re.compile(
    r"\b(?:sei|seien|habe|werde|könne|müsse|solle|wolle|dürfe|gebe|gehe|komme|bleibe|stehe|liege|lasse|bestehe)\b"
)
_PASSIVE = re.compile(
    r"\b(?:wird|werden|wurden?|worden)\b.*\b\w*(?:ge\w+|(?:be|ver|er|ent|zer|miss|über|unter)\w+|\w+ier)(?:t|en)\b"
    r"|\b\w*(?:ge\w+|(?:be|ver|er|ent|zer|miss|über|unter)\w+|\w+ier)(?:t|en)\b.*\b(?:wird|werden|wurden?|worden)\b"
)
_MODAL = re.compile(
    r"\b(?:soll|solle|sollen|sollte|sollten|muss|müsse|müssen|müsste|müssten|darf|dürfe|dürfen|dürfte|braucht|brauche|brauchen|bräuchte)\b"
)
_NOUN = re.compile(
    r"\b\w*(?:[Kk]ritik|[Ff]orderung(?:en)?|[Ww]arnung(?:en)?|[Dd]rohung(?:en)?|[Pp]rotest(?:e|en)?|[Vv]orw[uü]rf(?:e|en)?|[Aa]ppell(?:e|en)?|[Aa]ufruf|"
    r"[Ll]ob|[Uu]nterstützung|[Zz]ustimmung|[Aa]blehnung|[Aa]bsage|[Zz]usage|[Hh]ilfe|[Zz]usammenarbeit|[Vv]ereinbarung|[Aa]bkommen|[Gg]espräche?n?|"
    r"[Tt]reffen|[Aa]ngriff(?:e|en|s)?|[Ff]estnahmen?|[Vv]erbot|[Rr]ücktritt|[Ss]anktionen|[Kk]lage|[Bb]edenken|[Ss]orge|[Ww]iderstand|[Bb]egnadigung)\b"
)

# Verbs that say that somebody takes a position, or which one, by the stems of their forms.
STANCE_VERBS = {
    name: re.compile(rf"\b(?:{stems})", re.IGNORECASE)
    for name, stems in {
        "sagen": r"sagt\w*\b|sage\b|gesagt\b",
        "erklären": r"erklär\w+",
        "fordern": r"(?:ein|auf)?(?:ge)?forder(?:t|te|ten|n)\b",
        "kritisieren": r"kritisier\w+",
        "warnen": r"(?:ge)?warn(?:t|te|ten|en|e)\b",
        "betonen": r"beton(?:t|te|ten|en)\b",
        "meinen": r"mein(?:t|te|ten|en)\b",
        "sprechen": r"sprach\w*\b|spricht\b|sprechen\b|gesprochen\b",
        "nennen": r"nannte\w*\b|nennt\b|nennen\b",
        "werfen": r"warf\w*\b|wirft\b|vorgeworfen\b|werfen\b|vorwerfen\b",
        "verlangen": r"verlang\w+",
        "lehnen": r"lehn(?:t|te|ten|en)\b|abgelehnt\b",
        "weisen": r"wies\w*\b|weist\b|zurückgewiesen\b|zurückweisen\b",
        "ablehnen": r"ablehn\w+",
        "begrüßen": r"begrü(?:ß|ss)\w+",
        "loben": r"lob(?:t|te|ten|en)\b|gelobt\b",
        "unterstützen": r"unterstütz(?:t|te|ten|en)\b",
        "verteidigen": r"verteidig(?:t|te|ten|en)\b",
        "drohen": r"droh(?:t|te|ten|en)\b|gedroht\b|androh\w+",
        "ankündigen": r"kündig(?:t|te|ten|en)\b|angekündigt\b|ankündig\w+",
        "verurteilen": r"verurteil(?:t|te|ten|en)\b",
        "festnehmen": r"festgenommen\b|nahm\w*\b|festnehm\w+|verhaftet\w*\b",
        "töten": r"getötet\b|töt(?:et|ete|eten|en)\b|erschoss\w+|starben\b|ermordet\w*\b",
        "verhängen": r"verhäng\w+",
        "verbieten": r"verb(?:ietet|ot|oten|oten|ieten)\b|untersag\w+",
        "angreifen": r"angegriffen\b|griff\w*\b|angreif\w+|beschoss\w+|beschossen\b",
        "treffen": r"traf\w*\b|trifft\b|treffen\b|getroffen\b",
        "einigen": r"einig(?:t|te|ten|en)\b|geeinigt\b",
        "vereinbaren": r"vereinbar(?:t|te|ten|en)\b",
        "verhandeln": r"verhand(?:elt|elte|elten|eln)\b",
        "unterzeichnen": r"unterzeichn\w+",
        "vorschlagen": r"schl(?:ägt|ug|ugen)\b|vorgeschlagen\b|vorschlagen\b",
        "appellieren": r"appellier\w+",
        "aufrufen": r"r(?:ief|iefen|uft)\b|aufgerufen\b|aufrufen\b",
        "bitten": r"bat\b|baten\b|bittet\b|bitten\b|gebeten\b",
        "hoffen": r"hoff(?:t|te|ten|en|e)\b",
        "wünschen": r"wünsch\w+",
        "plädieren": r"plädier\w+",
        "befürchten": r"(?:be)?fürcht(?:et|ete|eten|en)\b",
        "mahnen": r"mahn(?:t|te|ten|en)\b|gemahnt\b|ermahn\w+",
        "beschuldigen": r"beschuldig\w+",
        "bezeichnen": r"bezeichn(?:et|ete|eten|en)\b",
        "beklagen": r"beklag(?:t|te|ten|en)\b|klag(?:t|te|ten|en)\b|geklagt\b",
        "protestieren": r"protestier\w+|demonstrier\w+",
        "bemängeln": r"bemäng\w+|rüg(?:t|te|ten|en)\b|monier\w+|beanstand\w+",
        "ermitteln": r"ermittel\w+|ermittl\w+",
        "anklagen": r"angeklagt\b|anklag\w+",
        "zurücktreten": r"trat\b|tritt\b|zurückgetreten\b|zurücktreten\b",
        "freilassen": r"freigelassen\b|freilass\w+|entlass\w+|freigesprochen\b",
        "aufheben": r"hob\b|hoben\b|aufgehoben\b|aufheb\w+",
        "entschuldigen": r"entschuldig\w+|bedauer\w+",
        "einräumen": r"räum(?:t|te|ten|en)\b|eingeräumt\b|zugegeben\b|gestand\w*\b",
        "verzichten": r"verzicht\w+",
        "dementieren": r"dementier\w+|bestreit\w+|bestritt\w*\b|widersprach\w*\b|widerspricht\b",
        "ausschließen": r"ausgeschlossen\b|schl(?:oss|ossen|ießt|iesst)\b|ausschlie\w+",
        "weigern": r"weiger(?:t|te|ten|n)\b|verweiger\w+",
        "stimmen": r"stimm(?:t|te|ten|en)\b|gestimmt\b|zugestimmt\b",
        "äußern": r"äu(?:ß|ss)er(?:t|te|ten|n)\b|geäußert\b",
        "danken": r"dank(?:t|te|ten|en|e)\b",
        "helfen": r"h(?:ilft|alf|alfen|elfen)\b|geholfen\b",
        "liefern": r"liefer(?:t|te|ten|n)\b",
        "zusagen": r"zugesagt\b|versprach\w*\b|verspricht\b|versprochen\b|zugesichert\b",
    }.items()
}

_Shares = Callable[[Sequence[Sequence[Segment]]], float]


def articles(segments: Iterable[Segment]) -> list[list[Segment]]:
    """Return the segments of each article, which stand together in a corpus."""
    return [list(members) for _, members in groupby(segments, key=lambda segment: segment.group)]


def _stance(segment: Segment) -> str:
    stance = segment.labels.get("stance")
    return stance if isinstance(stance, str) else NEUTRAL


def _taken(segment: Segment) -> bool:
    return _stance(segment) != NEUTRAL


def _share(rows: Iterable[object]) -> float:
    """Return the share of true ones; 0 of none."""
    values = [bool(row) for row in rows]
    return sum(values) / len(values) if values else 0.0


def _kinds(article: Sequence[Segment]) -> int:
    return len({_stance(segment) for segment in article if _taken(segment)})


def _flat(corpus: Sequence[Sequence[Segment]]) -> list[Segment]:
    return [segment for article in corpus for segment in article]


def _with(stance: str, pattern: re.Pattern[str]) -> _Shares:
    """Return the measure: of the segments with a stance, those that match."""
    return lambda corpus: _share(pattern.search(segment.text) for segment in _flat(corpus) if _stance(segment) == stance)


def _neutral_given(pattern: re.Pattern[str]) -> _Shares:
    return lambda corpus: _share(not _taken(segment) for segment in _flat(corpus) if pattern.search(segment.text))


def _same_neighbours(corpus: Sequence[Sequence[Segment]]) -> float:
    pairs = [(one, two) for article in corpus for one, two in pairwise(article) if _taken(one) and _taken(two)]
    return _share(_stance(one) == _stance(two) for one, two in pairs)


def _same_source(corpus: Sequence[Sequence[Segment]]) -> float:
    pairs = [(one, two) for article in corpus for one, two in pairwise(article) if _taken(two)]
    return _share({dyad.source for dyad in one.dyads} & {dyad.source for dyad in two.dyads} - {""} for one, two in pairs)


def _spread_of_stances(corpus: Sequence[Sequence[Segment]]) -> float:
    return pstdev([_share(map(_taken, article)) for article in corpus]) if corpus else 0.0


def _lengths(corpus: Sequence[Sequence[Segment]]) -> list[int]:
    return [len(_WORD.findall(segment.text)) for segment in _flat(corpus)]


def _in_a_noun(corpus: Sequence[Sequence[Segment]]) -> float:
    texts = [segment.text for segment in _flat(corpus) if _taken(segment)]
    return _share(_NOUN.search(text) and not any(verb.search(text) for verb in STANCE_VERBS.values()) for text in texts)


def _commonest_verbs(corpus: Sequence[Sequence[Segment]]) -> float:
    texts = [segment.text for segment in _flat(corpus) if _taken(segment)]
    counts = Counter(name for text in texts for name, verb in STANCE_VERBS.items() if verb.search(text))
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
    "last_neutral": ("articles whose last segment is neutral", lambda corpus: _share(not _taken(article[-1]) for article in corpus)),
    "neutral_quotation": ("neutral, given a quotation mark", _neutral_given(_QUOTATION)),
    "neutral_subjunctive": ("neutral, given a Konjunktiv I", _neutral_given(_SUBJUNCTIVE)),
    "neutral_said": ('neutral, given "sagt(e)"', _neutral_given(_SAID)),
    "long": ("segments of 25 words or more", lambda corpus: _share(length >= 25 for length in _lengths(corpus))),
    "spread_of_length": ("standard deviation of the words in a segment", lambda corpus: pstdev(_lengths(corpus)) if corpus else 0.0),
    "passive_coercion": ("coercion in the passive", _with("coercion", _PASSIVE)),
    "modal_request": ("requests with a modal verb", _with("request", _MODAL)),
    "stance_in_noun": ("stances with a noun of stance and without such a verb", _in_a_noun),
    "criticism_word": ('criticism with "kritisieren" or "Kritik"', _with("criticism", re.compile(r"[Kk]ritisier|[Kk]ritik"))),
    "request_word": ('requests with "fordern" or "Forderung"', _with("request", re.compile(r"[Ff]order"))),
    "warning_word": ('warnings with "warn-"', _with("warning", re.compile(r"\b[Ww]arn"))),
    "commonest_verbs": ("share of the ten commonest stance verbs", _commonest_verbs),
}
