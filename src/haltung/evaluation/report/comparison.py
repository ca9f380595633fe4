"""A comparison as tables and sentences: for the terminal, as Markdown, LaTeX and CSV."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from haltung.evaluation.comparison import BETTER, OPEN, Comparison, SystemPair
from haltung.evaluation.report.i18n import articles, count, estimate, number, p_value, split_title, word
from haltung.evaluation.report.page import rendered, report_folder
from haltung.evaluation.report.plots import forest
from haltung.evaluation.report.style import save
from haltung.evaluation.report.tables import Cell, Grid, grid
from haltung.evaluation.statistics.bootstrap import Interval
from haltung.evaluation.statistics.significance import Estimate
from haltung.labels import Scheme

DATA, PAGE, MARKDOWN, LATEX = "comparison.json", "comparison.html", "comparison.md", "comparison.tex"
LEADERBOARD, PAIRS = "leaderboard.csv", "pairs.csv"
# With fewer articles the tests find differences a little too easily (see ``significance``).
_FEW_ARTICLES = 20
_PACKAGES = "% needs " + r"\usepackage[T1]{fontenc}" + r"\usepackage{array,booktabs,graphicx}"
# What LaTeX would take for a command, or has no letter for.
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$", "<": "$<$", ">": "$>$", "Δ": r"$\Delta$",
}  # fmt: skip


def leaderboard(comparison: Comparison, task: str, scheme: Scheme, language: str = "en") -> Grid:
    """Return one row for each system, the best first.

    It has macro-F1 and accuracy with intervals, the spread over seeds, and the number of runs.
    Published results stand at the foot, marked as such; they have no interval, spread or accuracy.
    """
    result = comparison.tasks[task]
    rows: list[Sequence[Cell]] = [
        (row.system, _estimate(row.macro_f1, language), row.macro_f1_deviation, _estimate(row.accuracy, language), str(row.runs))
        for row in result.standings
    ]
    published = [one for one in comparison.references if one.task == task]
    rows += [(f"{one.system} ({word('published', language)})", number(one.macro_f1, language), None, None, None) for one in published]
    columns = ("system", "macro_f1", "seeds_deviation", "accuracy", "runs")
    size = f"{count(result.n, language)} {word('segments', language)}"
    if not comparison.alone:
        size += f", {articles(result.articles, language)}"
    title = f"{scheme[task].title(language)} · {split_title(comparison.corpus, comparison.split, language)}: {size}"
    return grid(title, columns, rows, language, foot=len(published))


def pairs(comparison: Comparison, task: str, scheme: Scheme, language: str = "en", verdicts: bool = True) -> Grid:
    """Return one row for each pair; a terminal is too narrow for its ``verdicts``."""
    rows = [
        {
            "pair": f"{pair.first} {word('against', language)} {pair.second}",
            **({"verdict": verdict(pair, comparison, language)} if verdicts else {}),
            "difference": _estimate(pair.macro_f1, language, sign=True), "p_value": p_value(pair.macro_f1.p, language),
            **({} if comparison.correction == "none" else {"corrected_p": p_value(pair.corrected, language)}),
            "p_randomisation": p_value(pair.randomisation, language), "accuracy_less": _estimate(pair.accuracy, language, sign=True),
            "p_mcnemar": None if pair.mcnemar is None else p_value(pair.mcnemar.p, language),
        }
        for pair in comparison.tasks[task].pairs
    ]  # fmt: skip
    title = f"{scheme[task].title(language)}, {word('pairs_compared', language)}"
    return grid(title, rows[0], (tuple(cells.values()) for cells in rows), language, left=2 if verdicts else 1)


def verdict(pair: SystemPair, comparison: Comparison, language: str = "en") -> str:
    """Return ``better``, ``worse`` or ``not distinguishable with these data (it would take …)``."""
    if pair.verdict != OPEN:
        return word("compared_better" if pair.verdict == BETTER else "compared_worse", language)
    unit = _unit(comparison, language)
    if pair.needed is not None:
        why = word("would_take", language, needed=count(pair.needed, language), unit=unit)
    elif pair.macro_f1.seeds_error > 0 and abs(pair.macro_f1.value) > pair.macro_f1.seeds_error / 2:
        why = word("more_seeds", language, unit=unit)
    else:
        why = word("no_difference", language)
    return f"{word('compared_open', language)} ({why})"


def sentence(pair: SystemPair, comparison: Comparison, language: str = "en") -> str:
    """Return the verdict as a sentence: ``a and b: …`` or ``a is better than b …``."""
    values = {"first": pair.first, "second": pair.second, "verdict": verdict(pair, comparison, language)}
    if pair.verdict == OPEN:
        return word("sentence_open", language, **values)
    p = p_value(pair.corrected, language)
    p = p.replace("<", "< ") if p.startswith("<") else f"= {p}"
    value = f"{word('macro_f1', language)} {_estimate(pair.macro_f1, language, sign=True)}, p {p}"
    return word("sentence_decided", language, **values, value=value)


def notes(comparison: Comparison, language: str = "en") -> list[str]:
    """Return what a reader has to know to read the tables."""
    correction = word(f"corrected_{comparison.correction}", language)
    out = [word("comparison_explained", language, draws=count(comparison.draws, language), correction=correction)]
    if once := dict.fromkeys(one.system for task in comparison.tasks.values() for one in task.standings if one.runs == 1):
        out.append(word("trained_once", language, systems=", ".join(once)))
    n = count(comparison.segments, language)
    out += [word("seen", language, system=system, seen=count(seen, language), n=n) for system, seen in comparison.seen.items()]
    if comparison.unshared:
        out.append(word("unshared", language, tasks=", ".join(comparison.unshared)))
    if (fewest := min(task.articles for task in comparison.tasks.values())) < _FEW_ARTICLES:
        out.append(word("few_articles", language, articles=fewest, unit=_unit(comparison, language)))
    if comparison.references:
        sources = dict.fromkeys(
            f"{one.system}: {word('trained_on', language, segments=count(one.train_segments, language))}; {one.source}."
            for one in comparison.references
        )
        out.append(" ".join([word("published_explained", language), *sources]))
    for one in comparison.left_out:
        segments = {"wanted": count(one.segments, language), "found": count(comparison.tasks[one.task].n, language)}
        out.append(word("published_left_out", language, system=one.system, **segments))
    return out


def grids(comparison: Comparison, scheme: Scheme, language: str = "en") -> list[Grid]:
    """Return leaderboard and pairs of each task."""
    return [table(comparison, task, scheme, language) for task in comparison.tasks for table in (leaderboard, pairs)]


def markdown(comparison: Comparison, scheme: Scheme, language: str = "en") -> str:
    """Return all tables as Markdown, each under its title, with the notes below."""
    text = "\n".join(f"**{table.title}**\n\n{table.markdown()}" for table in grids(comparison, scheme, language))
    return text + "".join(f"\n{note}\n" for note in notes(comparison, language))


def latex(comparison: Comparison, scheme: Scheme, language: str = "en") -> str:
    """Return all tables as LaTeX, each a ``table`` no wider than a line, with the packages."""
    return "\n".join([_PACKAGES, *(_tabular(table) for table in grids(comparison, scheme, language))])


def leaderboard_csv(comparison: Comparison) -> str:
    """Return all tasks' leaderboards as CSV, every digit; ``source`` marks published results."""
    rows: list[Mapping[str, object]] = [
        {
            "task": task, "system": row.system, "runs": row.runs, **_ends(row.macro_f1, "macro_f1", "macro_f1_low", "macro_f1_high"),
            "macro_f1_sd": row.macro_f1_deviation, **_ends(row.accuracy, "accuracy", "accuracy_low", "accuracy_high"),
            "accuracy_sd": row.accuracy_deviation, "segments": result.n, "articles": result.articles, "source": None,
        }
        for task, result in comparison.tasks.items()
        for row in result.standings
    ]  # fmt: skip
    known = ("task", "system", "macro_f1", "segments", "source")
    return _csv(rows + [{name: getattr(one, name) for name in known} for one in comparison.references])


def pairs_csv(comparison: Comparison) -> str:
    """Return the pairs of all tasks as CSV with every digit."""
    rows = [
        {
            "task": task, "first": pair.first, "second": pair.second, **_ends(pair.macro_f1, "macro_f1_difference", "low", "high"),
            "p": pair.macro_f1.p, "p_corrected": pair.corrected, "p_randomisation": pair.randomisation,
            **_ends(pair.accuracy, "accuracy_difference", "accuracy_low", "accuracy_high"),
            "p_mcnemar": pair.mcnemar.p if pair.mcnemar else None, "verdict": pair.verdict, "articles_needed": pair.needed,
        }
        for task, result in comparison.tasks.items()
        for pair in result.pairs
    ]  # fmt: skip
    return _csv(rows)


def write(
    folder: Path, comparison: Comparison, scheme: Scheme, language: str = "en", details: Mapping[str, str] | None = None
) -> list[Path]:
    """Write page, Markdown, LaTeX, CSV, JSON, and a forest plot for each task; return these files.

    The folder is replaced as by ``page.write``, with the same ``UserError``. ``details`` are facts
    to list at the foot of the page, such as the command and the runs' ids.
    """
    with report_folder(folder, DATA, "comparison", language) as scratch:
        plots = {task: save(forest(comparison, task, scheme, language), scratch / f"{task}_forest") for task in comparison.tasks}
        page = rendered(
            "comparison.html.j2", language, plots, comparison=comparison, scheme=scheme, notes=notes(comparison, language),
            leaderboard=leaderboard, pairs=pairs, sentence=sentence, open=OPEN,
            details={**(details or {}), word("scheme", language): f"{comparison.scheme} ({comparison.scheme_digest})"},
        )  # fmt: skip
        texts = {
            DATA: comparison.to_json(), LEADERBOARD: leaderboard_csv(comparison), PAIRS: pairs_csv(comparison),
            MARKDOWN: markdown(comparison, scheme, language), LATEX: latex(comparison, scheme, language), PAGE: page,
        }  # fmt: skip
        for name, text in texts.items():
            (scratch / name).write_text(text, encoding="utf-8")
    return [folder / name for name in (*texts, *(plot.name for plot in plots.values()))]


def _unit(comparison: Comparison, language: str) -> str:
    """Return what the bootstrap draws: articles, or segments where each stands alone."""
    return word("segments" if comparison.alone else "articles", language)


def _estimate(value: Estimate, language: str, sign: bool = False) -> str:
    """Return ``0.052 [−0.011, 0.093]``, with a real minus."""
    return estimate(value.value, Interval(value.low, value.high), language, sign)


def _ends(value: Estimate, *columns: str) -> dict[str, float]:
    return dict(zip(columns, (value.value, value.low, value.high), strict=True))


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    import pandas as pd

    # As objects: where a value is missing, whole numbers stay whole.
    return str(pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n"))


def _tabular(grid: Grid) -> str:
    """Return a grid as a LaTeX table, scaled down where it would be wider than the line.

    Where several columns hold words, these may wrap, and so may a value before its interval; else
    the table would be scaled down until nobody could read it.
    """
    wide = grid.left > 1
    kinds = [r">{\raggedright\arraybackslash}p{.28\linewidth}" if wide else "l"] * grid.left
    are_long = (wide and any(" [" in row[index] for row in grid.rows) for index in range(grid.left, len(grid.columns)))
    kinds += [r">{\raggedleft\arraybackslash}p{6.5em}" if is_long else "r" for is_long in are_long]
    lines = [" & ".join(_tex(cell) for cell in row) + r" \\" for row in (grid.columns, *grid.rows)]
    head = [r"\begin{table}", r"\centering\footnotesize\setlength{\tabcolsep}{4pt}", rf"\caption{{{_tex(grid.title)}}}"]
    head += [r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%", rf"\begin{{tabular}}{{{''.join(kinds)}}}"]
    body = [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
    if grid.foot:
        body.insert(-1 - grid.foot, r"\midrule")
    return "\n".join([*head, *body, r"\end{tabular}}", r"\end{table}", ""])


def _tex(text: str) -> str:
    """Escape a cell and keep its interval on one line."""
    value, bracket, interval = text.rpartition(" [")
    # NUL stands for a space that must not break, until the rest is escaped.
    unbroken = interval.replace(" ", "\0") if bracket and interval.endswith("]") else interval
    return "".join(_LATEX.get(letter, letter) for letter in value + bracket + unbroken).replace("\0", "~")
