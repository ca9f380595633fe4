"""The check of all segments: encoding, markup, length, labels, repetition. What is dropped is listed with its reason, never in silence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from haltung.corpus import cleaning
from haltung.corpus.parsing.reading import Dropped
from haltung.corpus.repetition import excerpt, ids, nearly_repeated, repeated
from haltung.corpus.rules import Rules
from haltung.errors import UserError, listed, nearest
from haltung.labels import Scheme
from haltung.records import Segment


@dataclass(frozen=True)
class Repaired:
    """A segment that was mended: ``what`` is ``mojibake`` or ``markup``, ``field`` one of text, context, target."""

    id: str
    where: str
    what: str
    field: str
    before: str
    after: str


@dataclass(frozen=True)
class Checked:
    """The segments that stay, in their order, those that do not, what was mended, and remarks for the person who prepares."""

    kept: tuple[Segment, ...]
    dropped: tuple[Dropped, ...] = ()
    repaired: tuple[Repaired, ...] = ()
    notes: tuple[str, ...] = ()


def check(segments: Sequence[Segment], rules: Rules, scheme: Scheme) -> Checked:
    """Clean the segments and sort out what must not stay. Duplicates are looked for inside each split that the source gives.

    Raises:
        UserError: an id stands twice, or a label or a dyad's stance is not of the scheme.
    """
    verify(segments, scheme)
    dropped: list[Dropped] = []
    spared: dict[str, int] = {}

    def refuse(segment: Segment, reason: str, detail: str) -> bool:
        """List the segment as dropped, or spare it for being of a given test split; say whether it is out."""
        if rules.keep_test and segment.split == "test" and reason != "empty_text":
            spared[reason] = spared.get(reason, 0) + 1
            return False
        dropped.append(Dropped(segment.id, segment.where, reason, detail))
        return True

    clean: list[Segment] = []
    repaired: list[Repaired] = []
    for segment in segments:
        mended, repairs = _clean(segment, rules)
        fault = next(_faults(mended, rules), None)
        if fault is None or not refuse(mended, *fault):
            clean.append(mended)
            repaired += repairs
    out = repeated(clean, rules, scheme)
    left = [segment for place, segment in enumerate(clean) if place not in out or not refuse(segment, *out[place])]
    if rules.near:
        out = nearly_repeated(left, rules, scheme)
        left = [segment for place, segment in enumerate(left) if place not in out or not refuse(segment, *out[place])]
    notes = tuple(
        f"{count} of the given test split would have been dropped for {reason}; a published test split is kept whole"
        for reason, count in sorted(spared.items())
    )
    return Checked(tuple(left), tuple(dropped), tuple(repaired), notes)


def verify(segments: Sequence[Segment], scheme: Scheme) -> None:
    """Check ids and labels against the scheme, for segments that no reader has checked.

    Raises:
        UserError: an id is missing or stands twice, or a label or a dyad's stance is not of the scheme.
    """
    seen: dict[str, Segment] = {}
    for segment in segments:
        here = segment.where or f"segment '{segment.id}'"
        if not segment.id:
            raise UserError(f"{here}: the segment has no id; give each segment one of its own")
        if segment.id in seen:
            other = seen[segment.id].where or "an earlier segment"
            raise UserError(f"{here}: the id '{segment.id}' is already that of {other}; give each segment an id of its own")
        seen[segment.id] = segment
        for name, answer in segment.labels.items():
            try:
                task = scheme[name]
                if isinstance(answer, str if task.kind == "multi" else tuple):
                    wanted = "one label" if task.kind == "single" else "several labels as a tuple"
                    raise UserError(f"{name} is {answer!r}, but the task takes {wanted}")
                for label in ids(answer):
                    task.index(label)
            except UserError as error:
                raise UserError(f"{here}: {error}") from None
        if "stance" in scheme.names:
            for dyad in segment.dyads:
                if dyad.stance not in scheme["stance"].ids:
                    allowed = scheme["stance"].ids
                    raise UserError(
                        f"{here}: unknown stance '{dyad.stance}' in the dyad {dyad.source or '?'} > {dyad.target or '?'}"
                        f"{nearest(dyad.stance, allowed)}; this scheme has {listed(allowed)}"
                    )


def _clean(segment: Segment, rules: Rules) -> tuple[Segment, list[Repaired]]:
    changed: dict[str, Any] = {}
    repairs: list[Repaired] = []
    for field in ("text", "context", "target"):
        text = cleaning.whole(getattr(segment, field))
        if rules.repair_mojibake and (fixed := cleaning.mended(text)) != text:
            repairs.append(Repaired(segment.id, segment.where, "mojibake", field, text, fixed))
            text = fixed
        if (rules.markup == "strip" or (rules.markup == "drop" and field == "context")) and cleaning.markup(text):
            fixed = cleaning.stripped(text)
            repairs.append(Repaired(segment.id, segment.where, "markup", field, text, fixed))
            text = fixed
        changed[field] = text
    return replace(segment, **changed), repairs


def _faults(segment: Segment, rules: Rules) -> Iterator[tuple[str, str]]:
    """Yield why the segment cannot stay, the weightiest reason first."""
    text = cleaning.visible(segment.text)
    if not text:
        yield "empty_text", "the text is empty"
    for field in ("text", "target", "context"):
        value = getattr(segment, field)
        if cleaning.lossy(value):
            yield "mojibake", f"{field} has characters that are lost for good (U+FFFD): {excerpt(value, value.index(chr(0xFFFD)))}"
        elif not rules.repair_mojibake and cleaning.mended(value) != value:
            yield "mojibake", f"{field} has broken encoding: {excerpt(value)}"
    for field in ("text", "target"):
        if rules.markup == "drop" and (found := cleaning.markup(getattr(segment, field))):
            yield "markup", f"{field} has markup: {found[:80]}"
    if len(text) < rules.min_chars:
        yield "too_short", f"{len(text)} characters, at least {rules.min_chars} are allowed: {excerpt(text)}"
    if len(text) > rules.max_chars:
        yield "too_long", f"{len(text)} characters, at most {rules.max_chars} are allowed: {excerpt(text)}"
