"""The same text twice: duplicates, contradicting labels, and leakage across splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from haltung.corpus.deduplicate import NearIndex, normal, sketches
from haltung.corpus.parsing.reading import Dropped
from haltung.corpus.rules import Rules
from haltung.corpus.split import group
from haltung.labels import Scheme
from haltung.records import Answer, Segment

# A place in the list of segments, with the reason for which it leaves and what a person is told.
Leaving = dict[int, tuple[str, str]]


@dataclass(frozen=True)
class Separated:
    """Splits that share nothing any more, and what had to leave them."""

    splits: Mapping[str, tuple[Segment, ...]]
    dropped: tuple[Dropped, ...] = ()


def repeated(segments: Sequence[Segment], rules: Rules, scheme: Scheme) -> Leaving:
    """Return the exact duplicates and the conflicts among the segments of each given split."""
    same: dict[object, list[int]] = {}
    for place, segment in enumerate(segments):
        same.setdefault((segment.split, _key(segment, rules)), []).append(place)
    out: Leaving = {}
    for places in same.values():
        if len(places) > 1:
            _judge([(place, segments[place]) for place in places], rules, scheme, out)
    return out


def _judge(copies: Sequence[tuple[int, Segment]], rules: Rules, scheme: Scheme, out: Leaving) -> None:
    """Write into ``out`` which of the copies of one text leave."""
    # A boilerplate sentence may stand there ten thousand times; its different labellings are few.
    kinds = list({_labelling(segment, scheme): segment for _, segment in reversed(copies)}.values())[::-1]
    stay: list[Segment] = []
    for place, segment in copies:
        rivals = {"drop": kinds, "keep_first": stay, "keep": []}[rules.conflicts]
        tales = ((other, _differs(segment, other, scheme)) for other in rivals)
        rival, tale = next(((other, tale) for other, tale in tales if tale), (None, ""))
        if rival is not None:
            out[place] = ("conflict", f"the same text as {_name(rival)} with other labels: {tale}: {excerpt(segment.text)}")
            continue
        twin = next((other for other in stay if _adds_nothing(segment, other, scheme)), None)
        if twin is None:
            stay.append(segment)
        elif rules.exact:
            out[place] = ("duplicate", f"the same text and labels as {_name(twin)}: {excerpt(segment.text)}")


def nearly_repeated(segments: Sequence[Segment], rules: Rules, scheme: Scheme) -> Leaving:
    """Return the near duplicates that add no label, among the segments of each given split with the same target."""
    index = NearIndex(rules.near)
    out: Leaving = {}
    places = [place for place, segment in enumerate(segments) if not _formulaic(segment, rules)]
    for place, sketch in zip(places, sketches([segments[place].text for place in places]), strict=True):
        segment = segments[place]
        pool = (segment.split, normal(segment.target))
        for other, score in index.find(segment.text, sketch, pool):
            # Whole copies were judged before, by the rules for exact duplicates and conflicts.
            if normal(segment.text) != normal(segments[other].text) and _adds_nothing(segment, segments[other], scheme):
                tale = f"{score:.3f} alike and the same labels as {_name(segments[other])}: {excerpt(segment.text)}"
                out[place] = ("near_duplicate", tale)
                break
        else:
            index.add(place, segment.text, sketch, pool)
    return out


def separate(splits: Mapping[str, Sequence[Segment]], rules: Rules) -> Separated:
    """Take out of train what dev or test holds too, and out of dev what test holds: articles, exact and near duplicates.

    Test is never touched.
    """
    dropped: list[Dropped] = []
    left: dict[str, tuple[Segment, ...]] = {"test": tuple(splits.get("test", ()))}
    held: list[tuple[str, Segment]] = [("test", segment) for segment in left["test"]]
    for name in ("dev", "train"):
        here = list(splits.get(name, ()))
        reasons = _leaks(here, held, rules)
        dropped += [Dropped(here[place].id, here[place].where, reason, detail) for place, (reason, detail) in sorted(reasons.items())]
        left[name] = tuple(segment for place, segment in enumerate(here) if place not in reasons)
        held += [(name, segment) for segment in left[name]]
    return Separated({name: left[name] for name in ("train", "dev", "test")}, tuple(dropped))


def _leaks(segments: Sequence[Segment], held: Sequence[tuple[str, Segment]], rules: Rules) -> Leaving:
    out: Leaving = {}
    if rules.shared_articles == "drop":
        homes = {group(segment): split for split, segment in reversed(held)}
        for place, segment in enumerate(segments):
            if home := homes.get(group(segment)):
                out[place] = ("shared_article", f"its article '{segment.article or segment.id}' has segments in {home}")
    if not rules.leakage:
        return out
    long = [(split, segment) for split, segment in held if not _formulaic(segment, rules)]
    exact = {_key(segment, rules): (split, segment) for split, segment in reversed(long)}
    rest: list[int] = []
    for place, segment in enumerate(segments):
        if place in out or _formulaic(segment, rules):
            continue
        if twin := exact.get(_key(segment, rules)):
            out[place] = ("leakage", f"the same text as {_name(twin[1])} in {twin[0]}: {excerpt(segment.text)}")
        else:
            rest.append(place)
    if not rules.near or not long:
        return out
    index = NearIndex(rules.near)
    for key, sketch in enumerate(sketches([segment.text for _, segment in long])):
        index.add(key, long[key][1].text, sketch, normal(long[key][1].target))
    for place, sketch in zip(rest, sketches([segments[place].text for place in rest]), strict=True):
        for key, score in index.find(segments[place].text, sketch, normal(segments[place].target))[:1]:
            split, twin_segment = long[key]
            out[place] = ("near_leakage", f"{score:.3f} alike to {_name(twin_segment)} in {split}: {excerpt(segments[place].text)}")
    return out


def _key(segment: Segment, rules: Rules) -> object:
    here = (group(segment), normal(segment.context)) if _formulaic(segment, rules) else ()
    return (normal(segment.text), normal(segment.target), *here)


def _formulaic(segment: Segment, rules: Rules) -> bool:
    return len(normal(segment.text)) < rules.formulaic


def ids(answer: Answer) -> tuple[str, ...]:
    """Return the answer's label ids, none where the row is unlabelled."""
    return (answer,) if isinstance(answer, str) else tuple(answer or ())


def _labelling(segment: Segment, scheme: Scheme) -> tuple[frozenset[str] | None, ...]:
    answers = (segment.labels.get(name) for name in scheme.names)
    return tuple(None if answer is None else frozenset(ids(answer)) for answer in answers)


def _differs(first: Segment, second: Segment, scheme: Scheme) -> str:
    """Return where both are labelled and not alike ("stance 'threat' against 'warning'"), "" if nowhere."""
    pairs = zip(scheme.names, _labelling(first, scheme), _labelling(second, scheme), strict=True)
    faults = [
        f"{name} '{'+'.join(sorted(one))}' against '{'+'.join(sorted(two))}'"
        for name, one, two in pairs
        if one is not None and two is not None and one != two
    ]
    return ", ".join(faults)


def _adds_nothing(later: Segment, earlier: Segment, scheme: Scheme) -> bool:
    """Say whether each label of the later segment is the earlier one's too."""
    pairs = zip(_labelling(later, scheme), _labelling(earlier, scheme), strict=True)
    return all(one is None or one == two for one, two in pairs)


def _name(segment: Segment) -> str:
    return f"{segment.id} ({segment.where})" if segment.where else segment.id


def excerpt(text: str, around: int = 0) -> str:
    """Return up to 100 characters of the text in quotes, from a little before the position ``around``."""
    start = max(0, around - 40)
    return "„" + ("…" if start else "") + text[start : start + 100] + ("…" if len(text) > start + 100 else "") + "“"
