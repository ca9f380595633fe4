"""A comparison as tables and sentences: for the terminal, as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from haltung.evaluation.comparison import BETTER, OPEN, Comparison, PublishedResult, SystemPair, TaskComparison
from haltung.evaluation.report.i18n import count, number, place, word
from haltung.evaluation.report.tables import Grid, estimate
from haltung.evaluation.statistics.bootstrap import Interval
from haltung.evaluation.statistics.significance import Estimate
from haltung.labels import Scheme

# Below this many articles the tests are a little too bold (see ``significance``).
_FEW = 20

_PACKAGES = "% needs " + r"\usepackage[T1]{fontenc}" + r"\usepackage{array,booktabs,graphicx}"

# What LaTeX would take for a command, or has no letter for.
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$", "<": "$<$", ">": "$>$", "Δ": r"$\Delta$",
}  # fmt: skip


def leaderboard(comparison: Comparison, task: str, scheme: Scheme, language: str = "en") -> Grid:
    """Return one row for each system, the best first: macro-F1 and accuracy with intervals, spread over seeds, number of runs.

    Published figures stand at the foot, marked as such.
    """
    found = comparison.tasks[task]
    columns = ("system", "macro_f1", "seeds_deviation", "accuracy", "runs")
    rows = tuple(
        (
            row.system,
            _written(row.macro_f1, language),
            "–" if row.macro_f1_deviation is None else number(row.macro_f1_deviation, language),
            _written(row.accuracy, language),
            str(row.runs),
        )
        for row in found.standings
    )
    published = tuple(_published(one, language) for one in comparison.references if one.task == task)
    heads = tuple(word(column, language) for column in columns)
    return Grid(_title(comparison, found, scheme, language), heads, rows + published, foot=len(published))


def pairs(comparison: Comparison, task: str, scheme: Scheme, language: str = "en", verdicts: bool = True) -> Grid:
    """Return one row for each pair: the difference of macro-F1 with its interval, the p of each test, and the verdict.

    A terminal is too narrow for the verdicts; it has them as sentences.
    """
    found = comparison.tasks[task]
    columns = ["pair", "verdict", "difference", "p_value", "corrected_p", "p_randomisation", "accuracy_less", "p_mcnemar"]
    rows = []
    for pair in found.pairs:
        values = [_signed(pair.macro_f1, language), p_value(pair.macro_f1.p, language), p_value(pair.corrected, language)]
        values += [p_value(pair.randomisation, language), _signed(pair.accuracy, language)]
        values += ["–" if pair.mcnemar is None else p_value(pair.mcnemar.p, language)]
        rows.append((f"{pair.first} {word('against', language)} {pair.second}", verdict(pair, comparison, language), *values))
    left_out = {"corrected_p"} if comparison.correction == "none" else set()
    left_out |= set() if verdicts else {"verdict"}
    kept = [place_ for place_, column in enumerate(columns) if column not in left_out]
    title = f"{scheme[task].title(language)}, {word('pairs_compared', language)}"
    heads = tuple(word(columns[place_], language) for place_ in kept)
    return Grid(title, heads, tuple(tuple(row[place_] for place_ in kept) for row in rows), left=2 if verdicts else 1)


def verdict(pair: SystemPair, comparison: Comparison, language: str = "en") -> str:
    """Return the verdict in words: ``better``, ``worse``, ``not distinguishable with these data (it would take about 410 articles …)``."""
    if pair.verdict != OPEN:
        return word("compared_better" if pair.verdict == BETTER else "compared_worse", language)
    plural = unit(comparison, language)
    if pair.needed is not None:
        why = word("would_take", language).format(needed=count(pair.needed, language), unit=plural)
    elif pair.macro_f1.seeds_error > 0 and abs(pair.macro_f1.value) > pair.macro_f1.seeds_error / 2:
        why = word("more_seeds", language).format(unit=plural)
    else:
        why = word("no_difference", language)
    return f"{word('compared_open', language)} ({why})"


def sentence(pair: SystemPair, comparison: Comparison, language: str = "en") -> str:
    """Return the verdict as a sentence of its own: ``a and b: …`` or ``a is better than b …``."""
    said = verdict(pair, comparison, language)
    if pair.verdict == OPEN:
        return f"{pair.first} {'und' if language == 'de' else 'and'} {pair.second}: {said}"
    is_, than = ("ist", "als") if language == "de" else ("is", "than")
    value = f"{word('macro_f1', language)} {_signed(pair.macro_f1, language)}, p {_equals(pair.corrected, language)}"
    return f"{pair.first} {is_} {said} {than} {pair.second} ({value})"


def notes(comparison: Comparison, language: str = "en") -> list[str]:
    """Return what a reader has to know to read the tables."""
    said = word("comparison_explained", language)
    correction = word(f"corrected_{comparison.correction}", language)
    out = [said.format(draws=count(comparison.draws, language), correction=correction)]
    once = list(dict.fromkeys(one.system for task in comparison.tasks.values() for one in task.standings if one.runs == 1))
    if once:
        out.append(word("trained_once", language).format(systems=", ".join(once)))
    rows = count(comparison.segments, language)
    out += [word("seen", language).format(system=system, seen=count(seen, language), n=rows) for system, seen in comparison.seen.items()]
    if comparison.unshared:
        out.append(word("unshared", language).format(tasks=", ".join(comparison.unshared)))
    fewest = min(task.articles for task in comparison.tasks.values())
    if fewest < _FEW:
        out.append(word("few_articles", language).format(articles=fewest, unit=unit(comparison, language)))
    if comparison.references:
        sources = dict.fromkeys(_source(one, language) for one in comparison.references)
        out.append(" ".join([word("published_explained", language), *(f"{source}." for source in sources)]))
    for one in comparison.left_out:
        values = {"system": one.system, "wanted": count(one.segments, language), "found": count(comparison.tasks[one.task].n, language)}
        out.append(word("published_left_out", language).format(**values))
    return out


def unit(comparison: Comparison, language: str = "en") -> str:
    """Return what was drawn: articles, or segments where each stands alone."""
    return word("segments" if comparison.alone else "articles", language)


def grids(comparison: Comparison, scheme: Scheme, language: str = "en") -> list[Grid]:
    """Return leaderboard and pairs of each task."""
    return [
        grid
        for task in comparison.tasks
        for grid in (leaderboard(comparison, task, scheme, language), pairs(comparison, task, scheme, language))
    ]


def markdown(comparison: Comparison, scheme: Scheme, language: str = "en") -> str:
    """Return all tables as Markdown, each under its title, with the notes below."""
    tables = "\n".join(f"**{grid.title}**\n\n{grid.markdown()}" for grid in grids(comparison, scheme, language))
    return tables + "".join(f"\n{note}\n" for note in notes(comparison, language))


def latex(comparison: Comparison, scheme: Scheme, language: str = "en") -> str:
    """Return all tables as LaTeX, each a ``table`` no wider than a line; a comment at the top names the packages that they need."""
    return "\n".join([_PACKAGES, *(_tabular(grid) for grid in grids(comparison, scheme, language))])


def standings_csv(comparison: Comparison) -> str:
    """Return the leaderboards of all tasks as CSV with every digit, for machines: ids instead of names, a point in every number.

    A row with a ``source`` is a published figure, of which nothing else is known.
    """
    rows: list[tuple[object, ...]] = [
        (
            task, row.system, row.runs, *_ends(row.macro_f1), row.macro_f1_deviation, *_ends(row.accuracy), row.accuracy_deviation, found.n,
            found.articles, None,
        )
        for task, found in comparison.tasks.items()
        for row in found.standings
    ]  # fmt: skip
    unknown = [None] * 7
    rows += [(one.task, one.system, None, one.macro_f1, *unknown, one.segments, None, one.source) for one in comparison.references]
    columns = ("task", "system", "runs", "macro_f1", "macro_f1_low", "macro_f1_high", "macro_f1_sd", "accuracy", "accuracy_low")
    return _csv((*columns, "accuracy_high", "accuracy_sd", "segments", "articles", "source"), rows)


def pairs_csv(comparison: Comparison) -> str:
    """Return the pairs of all tasks as CSV with every digit."""
    rows = [
        (
            task, pair.first, pair.second, *_ends(pair.macro_f1), pair.macro_f1.p, pair.corrected, pair.randomisation,
            *_ends(pair.accuracy), pair.mcnemar.p if pair.mcnemar else None, pair.verdict, pair.needed,
        )
        for task, found in comparison.tasks.items()
        for pair in found.pairs
    ]  # fmt: skip
    columns = ("task", "first", "second", "macro_f1_difference", "low", "high", "p", "p_corrected", "p_randomisation")
    return _csv((*columns, "accuracy_difference", "accuracy_low", "accuracy_high", "p_mcnemar", "verdict", "articles_needed"), rows)


def p_value(p: float, language: str = "en") -> str:
    """Return ``0.034``, or ``<0.001``."""
    return f"<{number(0.001, language)}" if p < 0.001 else number(p, language)


def _equals(p: float, language: str) -> str:
    return p_value(p, language).replace("<", "< ") if p < 0.001 else f"= {p_value(p, language)}"


def _published(result: PublishedResult, language: str) -> tuple[str, ...]:
    """Return the row of a leaderboard: a metric without interval, spread or accuracy."""
    return f"{result.system} ({word('published', language)})", number(result.macro_f1, language), "–", "–", "–"


def _source(result: PublishedResult, language: str) -> str:
    trained = word("trained_on", language).format(segments=count(result.train_segments, language))
    return f"{result.system}: {trained}; {result.source}"


def _written(value: Estimate, language: str) -> str:
    return estimate(value.value, Interval(value.low, value.high), language)


def _signed(value: Estimate, language: str) -> str:
    """Return ``+0.052 [0.011, 0.093]``, with a real minus."""
    text = _written(value, language).replace("-", "−")
    return text if value.value < 0 else f"+{text}"


def _title(comparison: Comparison, found: TaskComparison, scheme: Scheme, language: str) -> str:
    where = place(comparison.corpus, comparison.split, language)
    size = f"{count(found.n, language)} {word('segments', language)}"
    if not comparison.alone:
        size += f", {count(found.articles, language)} {word('articles', language)}"
    return f"{scheme[found.task].title(language)} · {where}: {size}"


def _ends(value: Estimate) -> tuple[float, float, float]:
    return value.value, value.low, value.high


def _csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([columns, *rows])
    return out.getvalue()


def _tabular(grid: Grid) -> str:
    """Return a grid as a LaTeX table, made narrower where it would be wider than the line.

    Where several columns hold words, these may break, and so may a figure before its interval; else the table would have to be so narrow
    that nobody could read it.
    """
    wide = grid.left > 1
    kinds = [r">{\raggedright\arraybackslash}p{.28\linewidth}" if wide else "l"] * grid.left
    for place_ in range(grid.left, len(grid.columns)):
        long = wide and any(" [" in row[place_] for row in grid.rows)
        kinds.append(r">{\raggedleft\arraybackslash}p{6.5em}" if long else "r")
    lines = [" & ".join(_tex(cell) for cell in row) + r" \\" for row in (grid.columns, *grid.rows)]
    head = [r"\begin{table}", r"\centering\footnotesize\setlength{\tabcolsep}{4pt}", rf"\caption{{{_tex(grid.title)}}}"]
    head += [r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%", rf"\begin{{tabular}}{{{''.join(kinds)}}}"]
    body = [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
    if grid.foot:
        body.insert(-1 - grid.foot, r"\midrule")
    return "\n".join([*head, *body, r"\end{tabular}}", r"\end{table}", ""])


def _tex(text: str) -> str:
    """Escape a cell; an interval is kept together."""
    figure, bracket, interval = text.rpartition(" [")
    kept = interval.replace(" ", "\0") if bracket and interval.endswith("]") else interval
    return "".join(_LATEX.get(letter, letter) for letter in figure + bracket + kept).replace("\0", "~")
