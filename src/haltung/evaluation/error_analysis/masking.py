"""Texts with other names: masked ones, and ones in which a state is swapped for another.

In the manner of Ribeiro et al. (2020), "Beyond Accuracy: Behavioral Testing of NLP Models with
CheckList" (ACL): a predicted stance should not change where only names do. That is the aim, but not
true of each sentence: "Moskau droht" is likelier in the news than "Bern droht", and a masked
article ("die Staat A") is no good German, which may confuse a model.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from haltung.actors.forms import resident
from haltung.actors.states import State, StateMention, state_mentions, states
from haltung.records import Segment

# The fields of a segment that a model may read, in the order in which letters are assigned.
_FIELDS = ("text", "target", "context")

# A person follows one of these: one to three capitalised words, with particles between them. A
# person found in this way is also found by the last of the words alone, in text, target and
# context.
_OFFICES = (
    r"(?:\w+-)?\w*(?:[Pp]räsident|[Kk]anzler|[Mm]inister|[Ss]precher|[Cc]hef|[Ss]ekretär|[Ff]ührer|[Mm]achthaber|[Kk]ommissar|[Bb]otschafter|"
    r"[Pp]remier|[Kk]önig|[Ss]enator|[Gg]ouverneur|[Mm]eister|[Gg]eneral|[Kk]andidat|[Dd]irektor|[Dd]iplomat|[Pp]olitiker)"
    r"(?:in|s|en|n)?|\w*(?:[Aa]bgeordnete|[Vv]orsitzende|[Bb]eauftragte)[rn]?|Papst|Herrn?|Frau|Kronprinz(?:essin)?|Emir|Sultan|Scheich|Dr\.|Prof\."
)
_NAME = r"[A-ZÄÖÜŠŽČĆÉÁØŁ][\w’'-]*\w"
_PARTICLE = r"(?:von(?:\s+der)?|van(?:\s+de[nr]?)?|de|di|da|al|bin|ibn|el|zu)"
_PERSON = re.compile(rf"\b(?:{_OFFICES})\s+((?:{_NAME})(?:\s+(?:{_PARTICLE}\s+)*{_NAME}){{0,2}})")

# German capitalises all nouns. Words of these kinds after an office are no names: "will der
# Präsident Truppen entsenden".
_NO_NAME = re.compile(
    r"(?:Montag|Dienstag|Mittwoch|Donnerstag|Freitag|Samstag|Sonnabend|Sonntag|Januar|Jänner|Februar|März|April|Mai|Juni|Juli|August|"
    r"September|Oktober|November|Dezember|Anfang|Mitte|Ende|Sanktionen|Truppen|Waffen|Soldaten|Kritik|Vorwürfe|Vertreter|Gespräche|"
    r"Verstöße|Druck|Hilfe|Hilfen|Geld|Hinweise|Zweifel|Fehler|Angriffe|Gewalt|Frieden|Krieg|Reformen|Zölle|Pläne|Forderungen|Teil|"
    r"Linken|Grünen|Vorstoß|Dr|Prof|Abstand|Stellung|Millionen|Milliarden|Prozent|Euro|Dollar|Bilanz|Mut|Recht|Rede|Anspruch|Verständnis|Maßnahmen|Schritte|"
    rf"\w+(?:ung|ungen|heit|heiten|keit|keiten|schaft|schaften|tion|tionen|ismus|nis|nisse|gespräche)|{_OFFICES})"
)


@dataclass
class _Letters:
    """The letters of one segment's states and persons, in the order in which they are found."""

    states: dict[str, str] = field(default_factory=dict)
    persons: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def assign(letters: dict[str, str], name: str) -> str:
        """Return the letter of ``name``, the next one if it is new; after Z comes A2."""
        if name not in letters:
            rounds, index = divmod(len(letters), 26)
            letters[name] = chr(ord("A") + index) + (str(rounds + 1) if rounds else "")
        return letters[name]


def masked(segment: Segment) -> Segment:
    """Return the segment with placeholders for names in text, target and context.

    These are ``Staat A``, ``A-staatlich``, ``Hauptstadt A`` and ``Person A`` for states,
    adjectives, capitals and persons. A state and its capital have the same letter. An adjective
    keeps its ending; a genitive becomes ``des Staats A``.
    """
    letters = _Letters()
    texts = {name: getattr(segment, name) for name in _FIELDS}
    mentions = {name: state_mentions(text) for name, text in texts.items()}
    for name, text in texts.items():
        for person in _persons(text, mentions[name]):
            # By the last word of the name, so that "Olaf Scholz" and "Scholz" are one person.
            letters.assign(letters.persons, person.split()[-1])
    changed: dict[str, Any] = {}
    for name, text in texts.items():
        replacements = [(mention.start, mention.end, _placeholder(mention, text, letters)) for mention in mentions[name]]
        changed[name] = _replaced(text, replacements + _person_placeholders(text, mentions[name], letters))
    return replace(segment, **changed)


def swapped(segment: Segment, seed: int) -> Segment:
    """Return the segment with each state replaced by another, the same in all its fields.

    The other state is drawn, by ``seed`` and the segment's id, among those whose name has the same
    gender and number, so that articles stay right; it is never one that the segment names.
    Adjectives keep their endings, genitives their -s. A state without such a counterpart stays as
    it is.
    """
    rng = random.Random(f"{seed}/{segment.id}")
    texts = {name: getattr(segment, name) for name in _FIELDS}
    mentions = {name: state_mentions(text) for name, text in texts.items()}
    genders: dict[str, str] = {}
    for mention in (mention for name in _FIELDS for mention in mentions[name]):
        # The first name that has a gender decides; a state named by adjective or capital alone may
        # become any neuter one.
        genders[mention.form.code] = genders.get(mention.form.code) or mention.form.gender
    others: dict[str, State] = {}
    for code, gender in genders.items():
        allowed = [state for state in _counterparts(gender or "n") if state.code not in genders and state not in others.values()]
        if allowed:
            others[code] = rng.choice(allowed)
    changed: dict[str, Any] = {}
    for name, text in texts.items():
        named = [mention for mention in mentions[name] if mention.form.code in others]
        changed[name] = _replaced(text, [(one.start, one.end, _other_form(one, others[one.form.code], text)) for one in named])
    return replace(segment, **changed)


def names_state(segment: Segment) -> bool:
    """Return whether the segment's text, rather than its context, names a state."""
    return bool(state_mentions(segment.text))


def _placeholder(mention: StateMention, text: str, letters: _Letters) -> str:
    form = mention.form
    letter = letters.assign(letters.states, form.code)
    if form.kind == "adjective":
        return f"{letter}-staatlich{form.ending}"
    if form.kind == "resident":
        return f"{letter}-Hauptstädter"
    noun = "Hauptstadt" if form.kind.startswith("capital") else "Staat"
    if text[mention.end : mention.end + 1] == "-":
        return f"{noun}-{letter}"
    starts_sentence = mention.start == 0 or text[: mention.start].rstrip()[-1:] in '.!?:–„«»"'
    if form.kind == "capital_genitive":
        return f"{'Der' if starts_sentence else 'der'} Hauptstadt {letter}"
    if form.kind == "genitive":
        # "des Irans", "des Vereinigten Königreichs" have their article already.
        return f"Staats {letter}" if form.gender in ("m", "x") else f"{'Des' if starts_sentence else 'des'} Staats {letter}"
    return f"{noun} {letter}"


def _persons(text: str, mentions: Sequence[StateMention]) -> list[str]:
    """Return the names after offices; a name ends before a state or a word that is no name."""
    names = []
    for match in _PERSON.finditer(text):
        words: list[str] = []
        for word in re.finditer(r"\S+", match[1]):
            if _overlaps(match.start(1) + word.start(), match.start(1) + word.end(), mentions) or _NO_NAME.fullmatch(word[0]):
                break
            words.append(word[0])
        while words and words[-1][0].islower():
            words.pop()
        if words:
            names.append(" ".join(words))
    return names


def _person_placeholders(text: str, mentions: Sequence[StateMention], letters: _Letters) -> list[tuple[int, int, str]]:
    """Return start, end and placeholder of each person.

    Full names are replaced after their office, last names anywhere.
    """
    if not letters.persons:
        return []
    replacements = []
    names = sorted(set(_persons(text, mentions)) | set(letters.persons), key=lambda name: -len(name))
    pattern = re.compile(r"(?<![\w-])(" + "|".join(re.escape(name) for name in names) + r")(s|’|')?(?!\w)")
    for match in pattern.finditer(text):
        letter = letters.persons.get(match[1].split()[-1])
        if letter and not _overlaps(match.start(), match.end(), mentions):
            replacements.append((match.start(), match.end(), f"der Person {letter}" if match[2] == "s" else f"Person {letter}"))
    return replacements


def _overlaps(start: int, end: int, mentions: Sequence[StateMention]) -> bool:
    return any(mention.start < end and start < mention.end for mention in mentions)


@cache
def _counterparts(gender: str) -> tuple[State, ...]:
    """Return the states that decline as a name of this gender does.

    Of plural names only those in -n (and the USA) are among them, since others have a different
    dative.
    """
    kind = "n" if gender == "x" else gender
    return tuple(
        state
        for state in states().values()
        if state.is_regular and state.gender == kind and (kind != "p" or state.name.endswith(("n", "USA")))
    )


def _other_form(mention: StateMention, other: State, text: str) -> str:
    """Return the other state in the form of the mention."""
    form = mention.form
    if form.kind == "adjective":
        is_capital = text[mention.start].isupper() and not text.startswith("US-", mention.start)
        return (other.adjective[0].upper() + other.adjective[1:] if is_capital else other.adjective) + form.ending
    if form.kind == "resident":
        return resident(other.capital)
    if form.kind.startswith("capital"):
        return other.capital + ("s" if form.kind == "capital_genitive" else "")
    return other.name + ("s" if form.kind == "genitive" and other.gender in "nm" else "")


def _replaced(text: str, replacements: Sequence[tuple[int, int, str]]) -> str:
    for start, end, new in sorted(replacements, reverse=True):
        text = text[:start] + new + text[end:]
    return text
