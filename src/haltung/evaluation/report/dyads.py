"""The metrics of dyads as tables and as a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from haltung.evaluation.metrics.dyads import END_TO_END, PARTS, DyadMetrics, Precision, SystemsCompared
from haltung.evaluation.report.i18n import estimate, number, p_value, word
from haltung.evaluation.report.style import INK, SKY, VERMILION, beside, canvas, finish, whiskers
from haltung.evaluation.report.tables import Grid, dyad_words, dyads, grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def tables(
    settings: Mapping[str, SystemsCompared], swaps: Mapping[str, Mapping[str, Any] | None], precisions: Sequence[Precision] = (),
    language: str = "en",
) -> list[Grid]:  # fmt: skip
    """Return the tables: F1 in each setting, differences, and what is found end to end.

    ``settings`` are by what is given (``metrics.dyads.SETTINGS``), ``swaps`` by system (see
    ``events.dyads.scoring.role_swaps``), ``precisions`` those of the model, where there is one.
    """
    out = [dyads(compared.systems, language, setting) for setting, compared in settings.items()]
    differences = [
        (
            dyad_words(setting, language), dyad_words(part, language), estimate(one.delta, one.interval, language, sign=True),
            p_value(one.p, language),
        )
        for setting, compared in settings.items()
        for part, one in compared.differences.items()
    ]  # fmt: skip
    if differences:
        columns = ("dyads_given", "dyads_right", "dyads_difference", "p_value")
        out.append(grid(word("dyads_model_against_rules", language), columns, differences, language, left=2))
    systems = settings[END_TO_END].systems
    parts = [(word(name, language), one.actors.recall if one.actors else None, one.stance_given_pair) for name, one in systems.items()]
    out.append(grid(word("dyads_parts", language), ("system", "dyads_actor_recall", "dyads_stance_given_pair"), parts, language))
    name, first = next(iter(systems.items()))
    stances = [(stance, str(match.gold), str(match.found), match.f1) for stance, match in first.stances.items()]
    title = f"{word(name, language)}, {word('dyads_by_stance', language)}"
    out.append(grid(title, ("stance", "gold", "dyads_found", "f1"), stances, language))
    if precisions:
        rows = [(number(one.least, language, 1), str(one.found), one.precision) for one in precisions]
        out.append(grid(word("dyads_by_probability", language), ("dyads_at_least", "dyads_found", "precision"), rows, language))
    swapped = [(word(system, language), str(swap["pairs"]), swap["apart"], swap["both"]) for system, swap in swaps.items() if swap]
    if swapped:
        out.append(grid(word("dyads_role_swaps", language), ("system", "pairs", "dyads_exchanged", "both"), swapped, language))
    return out


def plot(settings: Mapping[str, SystemsCompared], subtitle: str, language: str = "en") -> Figure:
    """Draw F1 of each part with its interval, a panel for each setting, a bar for each system."""
    count = max(len(compared.systems) for compared in settings.values())
    figure = canvas(1.6 + 3.0 * len(settings), 1.5 + 0.36 * len(PARTS) * count)
    panels = figure.subplots(1, len(settings), sharey=True, squeeze=False)[0]
    for number_of, (axes, (setting, compared)) in enumerate(zip(panels, settings.items(), strict=True)):
        _bars(axes, compared.systems, language)
        axes.set(xlim=(0, 1), xlabel=f"{word('f1', language)}, {dyad_words(setting, language)}")
        finish(axes, "" if number_of else word("dyads_title", language), subtitle, "x", language)
    panels[0].set_yticks(np.arange(len(PARTS)), [dyad_words(part, language) for part in PARTS])
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), frameon=False, fontsize=9, loc="outside lower center", ncols=count)
    return figure


def _bars(axes: Axes, systems: Mapping[str, DyadMetrics], language: str) -> None:
    height = 0.8 / len(systems)
    for order, (system, metrics) in enumerate(systems.items()):
        matches = list(metrics.parts.values())
        positions = np.arange(len(PARTS)) + (order - (len(systems) - 1) / 2) * height
        values = [match.f1 for match in matches]
        axes.barh(positions, values, height=height * 0.92, color=(SKY, VERMILION)[order], label=word(system, language), zorder=2)
        whiskers(axes, values, positions, [match.interval for match in matches], INK)
        for value, position in zip(values, positions, strict=True):
            beside(axes, position, number(value, language, 2))
