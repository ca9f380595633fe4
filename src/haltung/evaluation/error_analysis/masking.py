"""Does a model judge by what is said, or by who says it? Names are masked, or one state's put for another's; see ``reliance``.

In the manner of Ribeiro et al. (2020), "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList" (ACL): a prediction of a stance
should not change where only names do. That is the wish, not the truth of each sentence: "Moskau droht" is likelier in the news
than "Bern droht", and a masked article ("die Staat A") is no good German, which a model may stumble over.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from haltung.actors.forms import resident
from haltung.actors.states import State, StateMention, state_mentions, states
from haltung.records import Segment

# The fields of a segment that a model may read, in the order in which letters are given out.
_PARTS = ("text", "target", "context")

# A person is what stands behind one of these: one to three capitalised words, with particles between them. Whoever was found that way
# is found again by the last of the words alone, in text, target and context.
_OFFICES = (
    r"(?:\w+-)?\w*(?:[Pp]räsident|[Kk]anzler|[Mm]inister|[Ss]precher|[Cc]hef|[Ss]ekretär|[Ff]ührer|[Mm]achthaber|[Kk]ommissar|[Bb]otschafter|"
    r"[Pp]remier|[Kk]önig|[Ss]enator|[Gg]ouverneur|[Mm]eister|[Gg]eneral|[Kk]andidat|[Dd]irektor|[Dd]iplomat|[Pp]olitiker)"
    r"(?:in|s|en|n)?|\w*(?:[Aa]bgeordnete|[Vv]orsitzende|[Bb]eauftragte)[rn]?|Papst|Herrn?|Frau|Kronprinz(?:essin)?|Emir|Sultan|Scheich|Dr\.|Prof\."
)
_NAME = r"[A-ZÄÖÜŠŽČĆÉÁØŁ][\w’'-]*\w"
_PARTICLE = r"(?:von(?:\s+der)?|van(?:\s+de[nr]?)?|de|di|da|al|bin|ibn|el|zu)"
_PERSON = re.compile(rf"\b(?:{_OFFICES})\s+((?:{_NAME})(?:\s+(?:{_PARTICLE}\s+)*{_NAME}){{0,2}})")

# German writes all nouns with a capital. Words of these kinds behind an office are no names: "will der Präsident Truppen entsenden".
_NO_NAME = re.compile(
    r"(?:Montag|Dienstag|Mittwoch|Donnerstag|Freitag|Samstag|Sonnabend|Sonntag|Januar|Jänner|Februar|März|April|Mai|Juni|Juli|August|"
    r"September|Oktober|November|Dezember|Anfang|Mitte|Ende|Sanktionen|Truppen|Waffen|Soldaten|Kritik|Vorwürfe|Vertreter|Gespräche|"
    r"Verstöße|Druck|Hilfe|Hilfen|Geld|Hinweise|Zweifel|Fehler|Angriffe|Gewalt|Frieden|Krieg|Reformen|Zölle|Pläne|Forderungen|Teil|"
    r"Linken|Grünen|Vorstoß|Dr|Prof|Abstand|Stellung|Millionen|Milliarden|Prozent|Euro|Dollar|Bilanz|Mut|Recht|Rede|Anspruch|Verständnis|Maßnahmen|Schritte|"
    rf"\w+(?:ung|ungen|heit|heiten|keit|keiten|schaft|schaften|tion|tionen|ismus|nis|nisse|gespräche)|{_OFFICES})"
)


@dataclass
class _Cast:
    """The letters of one segment: who was named first is A. It grows while the segment's parts are read."""

    states: dict[str, str] = field(default_factory=dict)
    persons: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def letter(known: dict[str, str], name: str) -> str:
        """Return the letter of ``name``, the next one if it is new; after Z comes A2."""
        if name not in known:
            rounds, place = divmod(len(known), 26)
            known[name] = chr(ord("A") + place) + (str(rounds + 1) if rounds else "")
        return known[name]


def masked(text: str) -> str:
    """Return the text with ``Staat A``, ``A-staatlich``, ``Hauptstadt A`` and ``Person A`` for states, adjectives, capitals and persons.

    A state and its capital have the same letter. An adjective keeps its ending; a genitive becomes ``des Staats A``.
    """
    return _masked({"text": text})["text"]


def masked_segment(segment: Segment) -> Segment:
    """Return the segment with text, target and context masked, with the same letters throughout."""
    return _with(segment, _masked({part: getattr(segment, part) for part in _PARTS}))


def swapped(text: str, seed: int) -> str:
    """Return the text with each state replaced by another one, the same for each of its names, and nothing else changed.

    The other state is drawn among those whose name is of the same gender and number, so that articles stay right. Adjectives keep
    their endings, genitives their -s. It is never one that the text names. What has no such counterpart stays as it is.
    """
    return _swapped({"text": text}, random.Random(seed))["text"]


def swapped_segment(segment: Segment, seed: int) -> Segment:
    """Return the segment with the states of text, target and context swapped alike; the draw hangs on the segment's id, not its place."""
    rng = random.Random(f"{seed}/{segment.id}")
    return _with(segment, _swapped({part: getattr(segment, part) for part in _PARTS}, rng))


def names_state(segment: Segment) -> bool:
    """Tell whether the segment's own text names a state."""
    return bool(state_mentions(segment.text))


def reread(segments: Sequence[Segment], change: Callable[[Segment], Segment]) -> tuple[list[int], list[Segment]]:
    """Return the rows whose text, target or context ``change`` has changed, and these segments as they are then."""
    changed = [(row, new) for row, segment in enumerate(segments) if (new := change(segment)) != segment]
    return [row for row, _ in changed], [new for _, new in changed]


def _with(segment: Segment, parts: dict[str, str]) -> Segment:
    return replace(segment, text=parts["text"], target=parts["target"], context=parts["context"])


def _masked(parts: dict[str, str]) -> dict[str, str]:
    cast = _Cast()
    found = {part: state_mentions(text) for part, text in parts.items()}
    for part, text in parts.items():
        for person in _persons(text, found[part]):
            # Known by the last word of the name, so that "Olaf Scholz" and "Scholz" are one.
            cast.letter(cast.persons, person.split()[-1])
    out = {}
    for part, text in parts.items():
        pieces = [(mention.start, mention.end, _placeholder(mention, text, cast)) for mention in found[part]]
        out[part] = _replaced(text, pieces + _person_pieces(text, found[part], cast))
    return out


def _placeholder(mention: StateMention, text: str, cast: _Cast) -> str:
    form = mention.form
    letter = cast.letter(cast.states, form.code)
    is_compound = text[mention.end : mention.end + 1] == "-"
    if form.kind == "adjective":
        return f"{letter}-staatlich{form.ending}"
    if form.kind == "resident":
        return f"{letter}-Hauptstädter"
    what = "Hauptstadt" if form.kind.startswith("capital") else "Staat"
    if is_compound:
        return f"{what}-{letter}"
    begins = mention.start == 0 or text[: mention.start].rstrip()[-1:] in '.!?:–„«»"'
    if form.kind == "capital_genitive":
        return f"{'Der' if begins else 'der'} Hauptstadt {letter}"
    if form.kind == "genitive":
        # "des Irans", "des Vereinigten Königreichs" have their article already.
        return f"Staats {letter}" if form.gender in ("m", "x") else f"{'Des' if begins else 'des'} Staats {letter}"
    return f"{what} {letter}"


def _persons(text: str, states_: Sequence[StateMention]) -> list[str]:
    """Return the names behind offices, without what is no name."""
    names = []
    for match in _PERSON.finditer(text):
        words: list[str] = []
        for word in re.finditer(r"\S+", match[1]):
            start, end = match.start(1) + word.start(), match.start(1) + word.end()
            is_state = any(mention.start < end and start < mention.end for mention in states_)
            if is_state or _NO_NAME.fullmatch(word[0]):
                break
            words.append(word[0])
        while words and words[-1][0].islower():
            words.pop()
        if words:
            names.append(" ".join(words))
    return names


def _person_pieces(text: str, states_: Sequence[StateMention], cast: _Cast) -> list[tuple[int, int, str]]:
    """Return where persons stand, each with its placeholder: whole names behind their office, last names anywhere."""
    if not cast.persons:
        return []
    pieces = []
    wholes = sorted(set(_persons(text, states_)) | set(cast.persons), key=lambda name: -len(name))
    pattern = re.compile(r"(?<![\w-])(" + "|".join(re.escape(name) for name in wholes) + r")(s|’|')?(?!\w)")
    for match in pattern.finditer(text):
        letter = cast.persons.get(match[1].split()[-1])
        overlaps = any(mention.start < match.end() and match.start() < mention.end for mention in states_)
        if letter and not overlaps:
            pieces.append((match.start(), match.end(), f"der Person {letter}" if match[2] == "s" else f"Person {letter}"))
    return pieces


def _swapped(parts: dict[str, str], rng: random.Random) -> dict[str, str]:
    found = {part: state_mentions(text) for part, text in parts.items()}
    genders: dict[str, str] = {}
    for mention in (mention for part in _PARTS if part in found for mention in found[part]):
        # A state named by adjective or capital alone may become any other; the first name with a gender decides.
        genders[mention.form.code] = genders.get(mention.form.code) or mention.form.gender
    others: dict[str, State] = {}
    for code, gender in genders.items():
        allowed = [state for state in _targets(gender or "n") if state.code not in genders and state not in others.values()]
        if allowed and (code != "EU" or gender):
            others[code] = rng.choice(allowed)
    return {
        part: _replaced(
            text,
            [
                (mention.start, mention.end, _instead(mention, others[mention.form.code], text))
                for mention in found[part]
                if mention.form.code in others
            ],
        )
        for part, text in parts.items()
    }


@cache
def _targets(gender: str) -> tuple[State, ...]:
    """Return the states that decline as a name of this gender does; plural names end in -n, since others have a dative of their own."""
    kind = "n" if gender == "x" else gender
    return tuple(
        state
        for state in states().values()
        if state.is_regular and state.gender == kind and (kind != "p" or state.name.endswith(("n", "USA")))
    )


def _instead(mention: StateMention, other: State, text: str) -> str:
    form = mention.form
    if form.kind == "adjective":
        is_capital = text[mention.start].isupper() and not text.startswith("US-", mention.start)
        return (other.adjective[0].upper() + other.adjective[1:] if is_capital else other.adjective) + form.ending
    if form.kind == "resident":
        return resident(other.capital)
    if form.kind.startswith("capital"):
        return other.capital + ("s" if form.kind == "capital_genitive" else "")
    return other.name + ("s" if form.kind == "genitive" and other.gender in "nm" else "")


def _replaced(text: str, pieces: Sequence[tuple[int, int, str]]) -> str:
    for start, end, new in sorted(pieces, reverse=True):
        text = text[:start] + new + text[end:]
    return text
