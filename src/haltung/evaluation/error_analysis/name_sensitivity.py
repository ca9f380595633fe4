"""Sensitivity of predictions to names: the effect of masking names and swapping states.

It follows Ribeiro et al. (2020), "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList"
(ACL): a predicted stance should not change if only names do. This does not hold for every sentence:
"Moskau droht" is more likely in the news than "Bern droht", and a masked noun after "die" ("die
Staat A") is ungrammatical German, which may confuse a model.
"""

import random
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np

from haltung.actors.forms import resident
from haltung.actors.states import State, StateMention, state_mentions, states
from haltung.errors import UserError
from haltung.evaluation.metrics.classification import article_counts
from haltung.evaluation.predictions import Floats, ScoredSplit, score
from haltung.evaluation.statistics import bootstrap
from haltung.records import Prediction, Segment, by_key

Predict = Callable[[Sequence[Segment]], Sequence[Prediction]]
_Part = tuple[int, int, str]  # the text that replaces what is between start and end
# Fields that a model may read, in the order in which letters are assigned (after any headline).
_FIELDS = ("text", "target", "context")
# Words for finding names of persons; those in compounds may begin with a lowercase letter.
_WORDS = tomllib.loads(Path(__file__).with_name("persons.toml").read_text(encoding="utf-8"))
_ENDS = {kind: "|".join(f"[{one[0]}{one[0].lower()}]{one[1:]}" for one in _WORDS[kind]) for kind in ("offices", "adjectives")}
# A person is one to three capitalised words after one of these; the last name is then found alone.
_OFFICES = rf"(?:\w+-)?\w*(?:{_ENDS['offices']})(?:in|s|en|n)?|\w*(?:{_ENDS['adjectives']})[rn]?|{'|'.join(_WORDS['titles'])}"
_NAME = r"[A-ZÄÖÜŠŽČĆÉÁØŁ][\w’'-]*\w"
_PARTICLE = r"(?:von(?:\s+der)?|van(?:\s+de[nr]?)?|de|di|da|al|bin|ibn|el|zu)"
_PERSON = re.compile(rf"\b(?:{_OFFICES})\s+((?:{_NAME})(?:\s+(?:{_PARTICLE}\s+)*{_NAME}){{0,2}})")
_NO_NAME = re.compile(rf"(?:{'|'.join(_WORDS['no_names'])}|\w+(?:{'|'.join(_WORDS['endings'])})|{_OFFICES})")


@dataclass(frozen=True)
class ValueWithInterval:
    """A value and its 95 % interval over articles, None below ``bootstrap.MIN_ARTICLES``."""

    value: float
    interval: bootstrap.Interval | None


@dataclass(frozen=True)
class TaskNameSensitivity:
    """One task on the ``n`` segments labelled for it; masking ``changed`` this many of them.

    A segment that is read in its article counts as changed if any name in the article is masked.
    ``macro_f1_change`` and ``accuracy_change`` are the values after masking minus those before,
    paired. ``swapped`` counts the segments, labelled or not, whose text names a state that can be
    swapped; ``flips`` is the share of these whose prediction changes (None if there are none).
    """

    task: str
    n: int
    changed: int
    macro_f1_before: float
    macro_f1_after: float
    macro_f1_change: ValueWithInterval
    accuracy_before: float
    accuracy_after: float
    accuracy_change: ValueWithInterval
    swapped: int
    flips: ValueWithInterval | None


@dataclass(frozen=True)
class NameSensitivity:
    """The sensitivity to names of every task; ``seed`` determines draws and swapped states."""

    draws: int
    seed: int
    tasks: Mapping[str, TaskNameSensitivity]


def name_sensitivity(
    split: ScoredSplit, segments: Sequence[Segment], predict: Predict, draws: int = 2000, seed: int = 0, in_articles: bool = False
) -> NameSensitivity:
    """Mask and swap names in the segments, predict the changed segments, and compare.

    With ``in_articles``, the segments of an article are read together: names are masked and swapped
    in the whole article, including its headline, and ``predict`` is given whole articles.

    Intervals are percentiles of a bootstrap over articles, paired before and after. If no or every
    prediction flips, all draws are equal, and the interval is Wilson's with the number of articles
    as n. ``seed`` is used for the draws and for the choice of replacement states. Raises
    ``UserError`` if no segment is labelled for any task.
    """
    if not split.tasks:
        raise UserError("masking names needs gold labels, but no segment is labelled for any task")
    groups = list(by_key((segment.group if in_articles else str(row), row) for row, segment in enumerate(segments)).values())
    fields = ("headline", *_FIELDS) if in_articles else _FIELDS
    masks = _changed(segments, groups, lambda group: masked(group, fields))
    masked_rows = [row for rows in groups if any(masks[one] != segments[one] for one in rows) for row in rows]
    after_masking = _predicted(split, masks, masked_rows, predict)
    swaps = _changed(segments, groups, lambda group: swapped(group, seed, fields))
    # Segments that name states only outside their text (as in the context) are not counted.
    swapped_rows = [row for row, segment in enumerate(segments) if swaps[row].text != segment.text]
    read = [row for rows in groups if not {*rows}.isdisjoint(swapped_rows) for row in rows]
    after_swap = _predicted(split, swaps, read, predict)
    tasks = {}
    for task in split.tasks:
        labelled = split.labelled(task.name)
        before, after = (article_counts(part, task) for part in (split, after_masking))
        both = before.of(np.stack([before.sums, after.sums], axis=1))
        total, drawn, n = both.total(), both.of(bootstrap.resampled(both.sums, draws, seed)), len(both.sums)
        flips = None
        if swapped_rows:
            flags = (split.decided(task.name) != after_swap.decided(task.name))[swapped_rows].reshape(len(swapped_rows), -1).any(axis=1)
            of_swapped = bootstrap.numbered([split.groups[row] for row in swapped_rows])
            sums = bootstrap.per_article(np.stack([flags, np.ones(len(flags))], axis=1), of_swapped)
            share, flipped = float(flags.mean()), bootstrap.resampled(sums, draws, seed)
            flips = _estimate(share, bootstrap.share_interval(flipped[:, 0] / flipped[:, 1], share, len(sums)), len(sums))
        tasks[task.name] = TaskNameSensitivity(
            task.name, int(labelled.sum()), int(labelled[masked_rows].sum()), *_change(total.macro_f1(), drawn.macro_f1(), n),
            *_change(total.accuracy(), drawn.accuracy(), n), len(swapped_rows), flips,
        )  # fmt: skip
    return NameSensitivity(draws, seed, tasks)


def _changed(
    segments: Sequence[Segment], groups: Sequence[Sequence[int]], change: Callable[[Sequence[Segment]], Sequence[Segment]]
) -> list[Segment]:
    """Return all segments, in order, with ``change`` applied to each group."""
    new = {row: one for rows in groups for row, one in zip(rows, change([segments[row] for row in rows]), strict=True)}
    return [new[row] for row in range(len(segments))]


def _predicted(split: ScoredSplit, variants: Sequence[Segment], rows: Sequence[int], predict: Predict) -> ScoredSplit:
    """Return ``split`` with new predictions for the variants in ``rows``."""
    if not rows:
        return split
    texts = [variants[row] for row in rows]
    predictions = score(texts, predict(texts), split.scheme)
    probabilities = {name: values.copy() for name, values in split.probabilities.items()}
    for name, values in probabilities.items():
        values[rows] = predictions.probabilities[name]
    return replace(split, probabilities=probabilities)


def _change(values: Floats, drawn: Floats, articles: int) -> tuple[float, float, ValueWithInterval]:
    """Return a metric before and after, ``[2]``, and its change; ``drawn`` is ``[draws, 2]``."""
    before, after = values.tolist()
    return before, after, _estimate(after - before, bootstrap.percentile_interval(np.diff(drawn)[:, 0]), articles)


def _estimate(value: float, interval: bootstrap.Interval | None, articles: int) -> ValueWithInterval:
    """Return the value with its interval, or without it if there are too few articles."""
    return ValueWithInterval(value, interval if articles >= bootstrap.MIN_ARTICLES else None)


def _letter(letters: dict[str, str], name: str) -> str:
    """Return the letter of ``name``; a new name gets the next letter (A2 follows Z)."""
    rounds, index = divmod(len(letters), 26)
    return letters.setdefault(name, ascii_uppercase[index] + (str(rounds + 1) if rounds else ""))


def masked(segments: Sequence[Segment], fields: Sequence[str] = _FIELDS) -> list[Segment]:
    """Return the segments with names replaced by placeholders, consistently across segments.

    They are ``Staat A``, ``A-staatlich``, ``Hauptstadt A`` and ``Person A`` for states, adjectives,
    capitals and persons. A state and its capital share a letter. Adjectives keep their endings; a
    genitive becomes ``des Staats A``.
    """
    mentions = _mentions(segments, fields)
    letters, persons = dict[str, str](), dict[str, str]()
    for person in (person for text, found in mentions.items() for person in _persons(text, found)):
        # Keyed by the last word of the name, so "Olaf Scholz" and "Scholz" are one person.
        _letter(persons, person.split()[-1])
    new = {
        text: [(one.start, one.end, _placeholder(one, text, letters)) for one in found] + _person_placeholders(text, found, persons)
        for text, found in mentions.items()
    }
    return _rewritten(segments, fields, new)


def swapped(segments: Sequence[Segment], seed: int, fields: Sequence[str] = _FIELDS) -> list[Segment]:
    """Return the segments with each state replaced by another, consistently across segments.

    The replacement is drawn, with ``seed`` and the first segment's id, from states whose names have
    the same gender and number, so that der, die, das remain correct. It is never named in the
    segments. Adjectives keep their endings, genitives their -s. States without counterpart remain.
    """
    rng, genders = random.Random(f"{seed}/{segments[0].id}"), dict[str, str]()
    for mention in (mention for found in _mentions(segments, fields).values() for mention in found):
        # The first name with a gender determines it; without any, the state counts as neuter.
        genders[mention.form.code] = genders.get(mention.form.code) or mention.form.gender
    others: dict[str, State] = {}
    for code, gender in genders.items():
        if allowed := [state for state in _counterparts(gender or "n") if state.code not in genders and state not in others.values()]:
            others[code] = rng.choice(allowed)
    return exchanged(segments, others, fields)


def exchanged(segments: Sequence[Segment], others: Mapping[str, State], fields: Sequence[str] = _FIELDS) -> list[Segment]:
    """Return the segments with states, by code, replaced by others in the corresponding form."""
    new = {
        text: [(one.start, one.end, _other_form(one, others[one.form.code], text)) for one in found if one.form.code in others]
        for text, found in _mentions(segments, fields).items()
    }
    return _rewritten(segments, fields, new)


def _mentions(segments: Sequence[Segment], fields: Sequence[str]) -> dict[str, list[StateMention]]:
    """Return the states named in each distinct text of ``fields`` (a shared headline once)."""
    return {text: state_mentions(text) for text in dict.fromkeys(getattr(segment, name) for segment in segments for name in fields)}


def _rewritten(segments: Sequence[Segment], fields: Sequence[str], new: Mapping[str, Sequence[_Part]]) -> list[Segment]:
    """Return the segments with the ``new`` parts inserted in the texts of ``fields``."""
    texts: dict[str, Any] = {}
    for text, parts in new.items():
        texts[text] = text
        for start, end, part in sorted(parts, reverse=True):
            texts[text] = texts[text][:start] + part + texts[text][end:]
    return [replace(segment, **{name: texts[getattr(segment, name)] for name in fields}) for segment in segments]


def _placeholder(mention: StateMention, text: str, letters: dict[str, str]) -> str:
    form, letter = mention.form, _letter(letters, mention.form.code)
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
        # "des Irans", "des Vereinigten Königreichs" already have their article.
        return f"Staats {letter}" if form.gender in ("m", "x") else f"{'Des' if starts_sentence else 'des'} Staats {letter}"
    return f"{noun} {letter}"


def _persons(text: str, mentions: Sequence[StateMention]) -> Iterator[str]:
    """Yield the names after offices; a name ends before a state or a word that is not a name."""
    for match in _PERSON.finditer(text):
        words: list[str] = []
        for word in re.finditer(r"\S+", match[1]):
            if _overlaps(match.start(1) + word.start(), match.start(1) + word.end(), mentions) or _NO_NAME.fullmatch(word[0]):
                break
            words.append(word[0])
        while words and words[-1][0].islower():
            words.pop()
        if words:
            yield " ".join(words)


def _person_placeholders(text: str, mentions: Sequence[StateMention], letters: Mapping[str, str]) -> list[_Part]:
    """Return placeholders for full names after an office and for last names anywhere."""
    if not letters:
        return []
    names = sorted(set(_persons(text, mentions)) | set(letters), key=lambda name: -len(name))
    pattern = re.compile(r"(?<![\w-])(" + "|".join(re.escape(name) for name in names) + r")(s|’|')?(?!\w)")
    return [
        (match.start(), match.end(), f"der Person {letter}" if match[2] == "s" else f"Person {letter}")
        for match in pattern.finditer(text)
        if (letter := letters.get(match[1].split()[-1])) and not _overlaps(match.start(), match.end(), mentions)
    ]


def _overlaps(start: int, end: int, mentions: Sequence[StateMention]) -> bool:
    return any(mention.start < end and start < mention.end for mention in mentions)


@cache
def _counterparts(gender: str) -> tuple[State, ...]:
    """Return the states whose names decline like a name of this gender."""
    alike = (state for state in states().values() if state.is_regular and state.gender == ("n" if gender == "x" else gender))
    # Among plural names only those in -n (and the USA), since others have a different dative.
    return tuple(state for state in alike if gender != "p" or state.name.endswith(("n", "USA")))


def _other_form(mention: StateMention, other: State, text: str) -> str:
    form = mention.form
    if form.kind == "adjective":
        is_capital = text[mention.start].isupper() and not text.startswith("US-", mention.start)
        return (other.adjective[0].upper() + other.adjective[1:] if is_capital else other.adjective) + form.ending
    if form.kind == "resident":
        return resident(other.capital)
    if form.kind.startswith("capital"):
        return other.capital + ("s" if form.kind == "capital_genitive" else "")
    return other.name + ("s" if form.kind == "genitive" and other.gender in "nm" else "")
