"""Cleaning of single segments: rules, repair of encoding and markup, reasons to drop one."""

import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from haltung.errors import UserError, short
from haltung.files import patterns
from haltung.labels import Scheme
from haltung.records import Segment, label_ids, well_formed

_READ = ("text", "context", "target", "headline")  # the fields that models read
_MARKUP = patterns("haltung.corpus", "markup")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# Tags that begin a new line or cell: the words on both sides are separate.
_BREAKS = re.compile(r"^(?:br|p|div|li|ul|ol|tr|td|th|table|h[1-6]|hr|blockquote|section|article|dd|dt)$", re.IGNORECASE)


@dataclass(frozen=True)
class CleaningRules:
    """What is dropped and what is repaired.

    Attributes:
        min_chars, max_chars: allowed length, not counting invisible characters at the ends.
        repair_mojibake: repair "fÃ¼r" to "für"; if false, the segment is dropped. Characters that
            are lost for good (U+FFFD) are always a reason to drop.
        markup: HTML tags, entities and wiki markup in text or target: ``drop`` the segment,
            ``strip`` the markup, or ``keep`` it. In context and headline, ``drop`` strips too: an
            unlabelled text should not cost a labelled one.
        exact: drop the later of two segments with the same text (and target) if it adds no label.
        near: likewise for near duplicates: the minimum Jaccard index of their character 5-grams; 0
            disables it. Near duplicates with other labels are kept: "lehnt ab" and "lehnt nicht
            ab" are what a model learns from.
        formulaic: texts shorter than this ("Das teilte er mit.") recur naturally in news; they are
            compared only within an article, at the same position and with the same context.
        conflicts: the same text (and target) with different labels, whatever the context: ``drop``
            all, ``keep_first``, or ``keep``. Rows labelled for different tasks do not contradict
            each other, and dyads are not compared.
        leakage: drop from train what dev or test contains too, exactly or nearly, and from dev
            what test contains; nothing is dropped from test.
        shared_articles: likewise for articles that have segments in two splits.
        keep_test: a test split given by the source is a published one; its segments are dropped
            only if they are empty, so that metrics stay comparable. Other faults are noted.
    """

    min_chars: int = 1
    max_chars: int = 4000
    repair_mojibake: bool = True
    markup: Literal["drop", "strip", "keep"] = "drop"
    exact: bool = True
    near: float = 0.9
    formulaic: int = 25
    conflicts: Literal["drop", "keep_first", "keep"] = "drop"
    leakage: bool = True
    shared_articles: Literal["drop", "keep"] = "drop"
    keep_test: bool = True

    def __post_init__(self) -> None:
        """Raise ``UserError`` if a number is out of its range."""
        if not 1 <= self.min_chars <= self.max_chars:
            raise UserError(f"rules: min_chars is {self.min_chars} and max_chars {self.max_chars}; expected 1 <= min_chars <= max_chars")
        if not 0 <= self.near <= 1:
            raise UserError(f"rules: near is {self.near}; expected 0 (off) to 1, such as 0.9")


@dataclass(frozen=True)
class Repaired:
    """A repair: ``what`` is ``mojibake`` or ``markup``, ``field`` one of the segment's."""

    id: str
    where: str
    what: str
    field: str
    before: str
    after: str


def clean(segment: Segment, rules: CleaningRules) -> tuple[Segment, list[Repaired]]:
    """Repair encoding and markup in the fields that models read, as the rules require."""
    changed: dict[str, str] = {}
    repairs: list[Repaired] = []
    for field in _READ:
        text = well_formed(getattr(segment, field))
        if rules.repair_mojibake and (fixed := repair_encoding(text)) != text:
            repairs.append(Repaired(segment.id, segment.where, "mojibake", field, text, fixed))
            text = fixed
        if (rules.markup == "strip" or (rules.markup == "drop" and field in ("context", "headline"))) and find_markup(text):
            fixed = strip_markup(text)
            repairs.append(Repaired(segment.id, segment.where, "markup", field, text, fixed))
            text = fixed
        changed[field] = text
    return replace(segment, **changed), repairs  # type: ignore[arg-type]  # the fields are text


def faults(segment: Segment, rules: CleaningRules) -> Iterator[tuple[str, str]]:
    """Yield reason and detail of each fault of a cleaned segment, the most serious first."""
    if not (text := strip_invisible(segment.text)):
        yield "empty_text", "the text is empty"
    for field in _READ:
        value = getattr(segment, field)
        if "\ufffd" in value:
            yield "mojibake", f"{field} has characters that can't be recovered (U+FFFD): {excerpt(value, value.index(chr(0xFFFD)))}"
        elif not rules.repair_mojibake and repair_encoding(value) != value:
            yield "mojibake", f"{field} has broken encoding: {excerpt(value)}"
    for field in ("text", "target"):
        if rules.markup == "drop" and (markup := find_markup(getattr(segment, field))):
            yield "markup", f"{field} has markup: {markup[:80]}"
    if len(text) < rules.min_chars:
        yield "too_short", f"{len(text)} characters, at least {rules.min_chars} are required: {excerpt(text)}"
    if len(text) > rules.max_chars:
        yield "too_long", f"{len(text)} characters, at most {rules.max_chars} are allowed: {excerpt(text)}"


def verify(segments: Sequence[Segment], scheme: Scheme) -> None:
    """Raise ``UserError`` if an id is missing or used twice, or a label is not in the scheme."""
    seen: dict[str, str] = {}
    for segment in segments:
        here = segment.where or f"segment '{short(segment.id)}'"
        if not segment.id:
            raise UserError(f"{here}: the segment has no id; give each segment a unique id")
        if segment.id in seen:
            raise UserError(f"{here}: the id '{short(segment.id)}' is already used by {seen[segment.id]}; give each segment a unique id")
        seen[segment.id] = segment.where or "an earlier segment"
        try:
            for name, answer in segment.labels.items():
                task = scheme[name]
                if isinstance(answer, str if task.kind == "multi" else tuple):
                    wanted = "one label" if task.kind == "single" else "several labels as a tuple"
                    raise UserError(f"{name} is {short(repr(answer))}, but the task takes {wanted}")
                for label in label_ids(answer):
                    task.index(label)
            for dyad in segment.dyads if "stance" in scheme.names else ():
                here = f"{here.partition(', dyad ')[0]}, dyad {short(dyad.source or '?')} > {short(dyad.target or '?')}"
                scheme["stance"].index(dyad.stance)
        except UserError as error:
            raise UserError(f"{here}: {error}") from None


def repair_encoding(text: str) -> str:
    """Undo mojibake: "fÃ¼r" becomes "für"."""
    if text.isascii():
        return text
    import ftfy

    return ftfy.fix_encoding(text)


def find_markup(text: str) -> str:
    """Return the first piece of HTML or wiki markup in the text, "" if there is none."""
    if not any(sign in text for sign in ("<", "&", "[", "{", "'''", "==")):
        return ""
    for pattern in _MARKUP.values():
        if match := pattern.search(text):
            return match.group()
    # html.unescape leaves what is no entity ("R&D;") unchanged.
    return next((entity for entity in _ENTITY.findall(text) if html.unescape(entity) != entity), "")


def strip_markup(text: str) -> str:
    """Remove HTML and wiki markup but not its words: ``[[Bonn|in Bonn]]`` becomes ``in Bonn``."""
    for pattern in (_MARKUP["comment"], _MARKUP["silent"]):
        text = pattern.sub(" ", text)
    before = None
    while before != text:  # templates and links are nested
        before = text
        text = _MARKUP["wiki_link"].sub(r"\1", _MARKUP["template"].sub(" ", text))
    text = _MARKUP["web_link"].sub(lambda match: match.group(1) or "", text)
    text = _MARKUP["heading"].sub(r"\2", _MARKUP["emphasis"].sub("", text))
    text = _MARKUP["tag"].sub(lambda match: " " if _BREAKS.match(match["name"]) else "", text)
    return " ".join(html.unescape(text).split())


def strip_invisible(text: str) -> str:
    """Remove invisible characters at both ends: spaces, control, format, zero-width ones."""
    invisible = [sign for sign in set(text) if sign.isspace() or unicodedata.category(sign) in ("Cc", "Cf", "Zs", "Zl", "Zp")]
    return text.strip("".join(invisible))


def excerpt(text: str, around: int = 0) -> str:
    """Return up to 80 quoted characters of the text, from shortly before position ``around``."""
    return f"„{short(text, around)}“"
