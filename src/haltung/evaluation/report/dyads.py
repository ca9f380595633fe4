"""The figures of dyads as tables, as a plot and as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from haltung.evaluation.metrics.dyads import PARTS, Difference, DyadMetrics, Match, Precision
from haltung.evaluation.report.i18n import number
from haltung.evaluation.report.tables import Grid, brackets
from haltung.evaluation.statistics.bootstrap import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GERMAN = {
    "source, target, stance": "wer, wen, Haltung", "source, stance": "wer, Haltung", "source, target": "wer, wen", "right": "richtig",
    "precision": "Genauigkeit", "recall": "Trefferquote", "system": "System", "stance": "Haltung", "gold": "Gold", "found": "gefunden",
    "dyads": "Dyaden", "by stance": "nach Haltung", "model": "Modell", "rules": "Regeln", "difference": "Unterschied",
    "the model against the rules": "das Modell gegen die Regeln", "role swaps": "vertauschte Rollen", "pairs": "Paare",
    "exchanged": "vertauscht", "both right": "beide richtig", "parts": "Teile", "actors that can be told": "nennbare Akteure",
    "by probability": "nach Wahrscheinlichkeit", "at least": "mindestens",
    "stance given the pair": "Haltung bei richtigem Paar", "segments": "Segmente", "articles": "Artikel",
}  # fmt: skip


def tables(
    systems: Mapping[str, DyadMetrics],
    differences: Mapping[str, Difference],
    swaps: Mapping[str, Mapping[str, Any] | None],
    precisions: Sequence[Precision] = (),
    language: str = "en",
) -> list[Grid]:
    """Return the tables of one or more systems: F1 of each part, what it is made of, each stance, the difference, role swaps.

    Args:
        systems: figures by name; the first is the one that is looked at more closely.
        differences: of the first to the second, by part; empty where there is one system alone.
        swaps: what ``swapped`` says of each system.
        precisions: of the first system, by how probable its dyads are; empty where it has no probabilities of its own.
        language: of the words.
    """

    def say(text: str) -> str:
        return _GERMAN.get(text, text) if language == "de" else text

    first, looked = next(iter(systems.items()))
    rows = [
        (say(name), say(part), _with(match.f1, match.interval, language), number(match.precision, language), number(match.recall, language))
        for name, figures in systems.items()
        for part, match in figures.parts.items()
    ]
    head = f"{say('dyads')}: {looked.segments} {say('segments')}, {looked.articles} {say('articles')}"
    out = [Grid(head, (say("system"), say("right"), "F1 [95 %]", say("precision"), say("recall")), tuple(rows), left=2)]
    parts = [
        (say(name), number(figures.actors.recall, language) if figures.actors else "–", number(figures.stance_given_pair, language))
        for name, figures in systems.items()
    ]
    out.append(Grid(say("parts"), (say("system"), say("actors that can be told"), say("stance given the pair")), tuple(parts)))
    stances = [(stance, str(match.gold), str(match.found), number(match.f1, language)) for stance, match in looked.stances.items()]
    out.append(Grid(f"{say(first)}, {say('by stance')}", (say("stance"), say("gold"), say("found"), "F1"), tuple(stances)))
    if precisions:
        kept = [(number(one.least, language, 1), str(one.found), number(one.precision, language)) for one in precisions]
        out.append(Grid(say("by probability"), (say("at least"), say("found"), say("precision")), tuple(kept)))
    if differences:
        told = [(say(part), _with(one.delta, one.interval, language, "+"), number(one.p, language)) for part, one in differences.items()]
        out.append(Grid(say("the model against the rules"), (say("right"), f"{say('difference')} [95 %]", "p"), tuple(told)))
    if any(swaps.values()):
        rows_of = [
            (say(name), str(one["pairs"]), number(one["apart"], language), number(one["both"], language))
            for name, one in swaps.items()
            if one
        ]
        out.append(Grid(say("role swaps"), (say("system"), say("pairs"), say("exchanged"), say("both right")), tuple(rows_of)))
    return out


def plot(systems: Mapping[str, DyadMetrics], under: str, language: str = "en") -> Figure:
    """Draw F1 of each part with its interval, a bar for each system."""
    from haltung.evaluation.report.plots import FAINT, INK, SKY, SOFT, VERMILION, canvas, finish, numbered

    figure = canvas(7.6, 1.4 + 0.36 * len(PARTS) * len(systems))
    axes = figure.add_subplot()
    height = 0.8 / len(systems)
    places = np.arange(len(PARTS))
    for order, (name, colour) in enumerate(zip(systems, (SKY, VERMILION, SOFT), strict=False)):
        matches = list(systems[name].parts.values())
        rows = places + (order - (len(systems) - 1) / 2) * height
        values = [match.f1 for match in matches]
        axes.barh(rows, values, height=height * 0.92, color=colour, label=_GERMAN.get(name, name) if language == "de" else name, zorder=2)
        ends = [match.interval for match in matches]
        below = [max(0.0, value - end.low) if end else 0.0 for value, end in zip(values, ends, strict=True)]
        above = [max(0.0, end.high - value) if end else 0.0 for value, end in zip(values, ends, strict=True)]
        axes.errorbar(values, rows, xerr=[below, above], fmt="none", ecolor=INK, elinewidth=1.1, capsize=2.5, zorder=3)
        for value, row in zip(values, rows, strict=True):
            axes.annotate(number(value, language, 2), (1.03, row), xycoords=("axes fraction", "data"), va="center", fontsize=9, color=INK)
    axes.set_yticks(places, [_GERMAN[part] if language == "de" else part for part in PARTS])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("F1")
    numbered(axes, language)
    axes.grid(axis="x", color=FAINT, linewidth=0.7, zorder=0)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    finish(axes, "Dyaden" if language == "de" else "Dyads", under)
    return figure


def plain(
    systems: Mapping[str, DyadMetrics],
    differences: Mapping[str, Difference],
    swaps: Mapping[str, Mapping[str, Any] | None],
    precisions: Sequence[Precision] = (),
) -> dict[str, Any]:
    """Return all of it as plain data."""
    return {
        "systems": {
            name: {
                "segments": figures.segments,
                "articles": figures.articles,
                "parts": {part: _plain(match) for part, match in figures.parts.items()},
                "stances": {stance: _plain(match) for stance, match in figures.stances.items()},
                "stance_given_pair": figures.stance_given_pair,
                "actor_recall": figures.actors.recall if figures.actors else None,
                "role_swaps": dict(swap) if (swap := swaps.get(name)) else None,
            }
            for name, figures in systems.items()
        },
        "precisions": [asdict(one) for one in precisions],
        "differences": {part: asdict(one) for part, one in differences.items()},
    }


def _plain(match: Match) -> dict[str, Any]:
    return {**asdict(match), "precision": match.precision, "recall": match.recall, "f1": match.f1}


def _with(value: float, interval: Interval | None, language: str, sign: str = "") -> str:
    told = (sign if value >= 0 else "") + number(value, language)
    return f"{told} {brackets(interval, language)}" if interval else told
