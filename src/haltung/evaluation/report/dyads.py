"""The metrics of dyads as tables, as a plot and as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from haltung.evaluation.metrics.dyads import PARTS, Difference, DyadMetrics, Match, Precision
from haltung.evaluation.report.i18n import brackets, estimate, number, word
from haltung.evaluation.report.style import INK, SKY, SOFT, VERMILION, beside, canvas, finish, localise, whiskers
from haltung.evaluation.report.tables import Grid, grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def tables(
    systems: Mapping[str, DyadMetrics], differences: Mapping[str, Difference], swaps: Mapping[str, Mapping[str, Any] | None],
    precisions: Sequence[Precision] = (), language: str = "en",
) -> list[Grid]:  # fmt: skip
    """Return the tables: F1 of each part, its components, each stance, the difference, role swaps.

    Args:
        systems: metrics by name, ``model`` or ``rules``; the first one is also shown by stance.
        differences: of the first to the second, by part; empty for a single system.
        swaps: for each system its metrics on role swaps (see ``events.dyads.scoring.swapped``).
        precisions: of the first system, by the probability of its dyads, where it has any.
        language: ``en`` or ``de``.
    """
    name, first = next(iter(systems.items()))
    title = f"{word('dyads', language)}: {first.segments} {word('segments', language)}, {first.articles} {word('articles', language)}"
    rows: list[tuple[str, ...]] = [
        (
            word(system, language), _part(part, language), estimate(match.f1, match.interval, language),
            number(match.precision, language), number(match.recall, language),
        )
        for system, metrics in systems.items()
        for part, match in metrics.parts.items()
    ]  # fmt: skip
    out = [grid(title, ("system", "dyads_right", "f1_interval", "precision", "recall"), rows, language, left=2)]
    rows = [
        (
            word(system, language), number(metrics.actors.recall, language) if metrics.actors else "–",
            number(metrics.stance_given_pair, language),
        )
        for system, metrics in systems.items()
    ]  # fmt: skip
    out.append(grid(word("dyads_parts", language), ("system", "dyads_actor_recall", "dyads_stance_given_pair"), rows, language))
    rows = [(stance, str(match.gold), str(match.found), number(match.f1, language)) for stance, match in first.stances.items()]
    title = f"{word(name, language)}, {word('dyads_by_stance', language)}"
    out.append(grid(title, ("stance", "gold", "dyads_found", "f1"), rows, language))
    if precisions:
        rows = [(number(one.least, language, 1), str(one.found), number(one.precision, language)) for one in precisions]
        columns: tuple[str, ...] = ("dyads_at_least", "dyads_found", "precision")
        out.append(grid(word("dyads_by_probability", language), columns, rows, language))
    if differences:
        rows = [(_part(part, language), _difference(one, language), number(one.p, language)) for part, one in differences.items()]
        columns = ("dyads_right", "dyads_difference", "p_value")
        out.append(grid(word("dyads_model_against_rules", language), columns, rows, language))
    rows = [
        (word(system, language), str(swap["pairs"]), number(swap["apart"], language), number(swap["both"], language))
        for system, swap in swaps.items()
        if swap
    ]
    if rows:
        columns = ("system", "pairs", "dyads_exchanged", "both")
        out.append(grid(word("dyads_role_swaps", language), columns, rows, language))
    return out


def plot(systems: Mapping[str, DyadMetrics], subtitle: str, language: str = "en") -> Figure:
    """Draw F1 of each part with its interval, a bar for each system."""
    figure = canvas(7.6, 1.4 + 0.36 * len(PARTS) * len(systems))
    axes = figure.add_subplot()
    height = 0.8 / len(systems)
    rows = np.arange(len(PARTS))
    for order, (system, colour) in enumerate(zip(systems, (SKY, VERMILION, SOFT), strict=False)):
        matches = list(systems[system].parts.values())
        positions = rows + (order - (len(systems) - 1) / 2) * height
        values = [match.f1 for match in matches]
        axes.barh(positions, values, height=height * 0.92, color=colour, label=word(system, language), zorder=2)
        whiskers(axes, values, positions, [match.interval for match in matches], INK)
        for value, position in zip(values, positions, strict=True):
            beside(axes, position, number(value, language, 2))
    axes.set_yticks(rows, [_part(part, language) for part in PARTS])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel(word("f1", language))
    localise(axes, "x", language)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    finish(axes, word("dyads_title", language), subtitle, grid="x")
    return figure


def plain(
    systems: Mapping[str, DyadMetrics], differences: Mapping[str, Difference], swaps: Mapping[str, Mapping[str, Any] | None],
    precisions: Sequence[Precision] = (),
) -> dict[str, Any]:  # fmt: skip
    """Return everything as plain data for ``dyads.json``."""
    return {
        "systems": {
            name: {
                "segments": metrics.segments, "articles": metrics.articles,
                "parts": {part: _match(match) for part, match in metrics.parts.items()},
                "stances": {stance: _match(match) for stance, match in metrics.stances.items()},
                "stance_given_pair": metrics.stance_given_pair, "actor_recall": metrics.actors.recall if metrics.actors else None,
                "role_swaps": dict(swap) if (swap := swaps.get(name)) else None,
            }
            for name, metrics in systems.items()
        },
        "precisions": [asdict(one) for one in precisions], "differences": {part: asdict(one) for part, one in differences.items()},
    }  # fmt: skip


def _part(part: str, language: str) -> str:
    """Return what has to be right of a dyad, one of ``PARTS``, in words."""
    return word(f"dyads_{part.replace(', ', '_')}", language)


def _match(match: Match) -> dict[str, Any]:
    return {**asdict(match), "precision": match.precision, "recall": match.recall, "f1": match.f1}


def _difference(difference: Difference, language: str) -> str:
    text = ("+" if difference.delta >= 0 else "") + number(difference.delta, language)
    return f"{text} {brackets(difference.interval, language)}" if difference.interval else text
