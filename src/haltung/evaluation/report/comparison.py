"""A comparison as tables and sentences, for the terminal and as Markdown, LaTeX and CSV."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from haltung import files
from haltung.evaluation.comparison import BETTER, OPEN, Comparison, SystemPair
from haltung.evaluation.report.i18n import count, estimate, p_value, split_title, word
from haltung.evaluation.report.page import rendered, report_folder
from haltung.evaluation.report.plots import forest
from haltung.evaluation.report.style import save
from haltung.evaluation.report.tables import Grid, grid, size
from haltung.evaluation.statistics.bootstrap import Interval
from haltung.evaluation.statistics.significance import Estimate
from haltung.labels import Scheme

if TYPE_CHECKING:
    import pandas as pd

DATA, PAGE, MARKDOWN, LATEX = "comparison.json", "comparison.html", "comparison.md", "comparison.tex"
LEADERBOARD, PAIRS = "leaderboard.csv", "pairs.csv"
_FEW_ARTICLES = 20  # with fewer, the tests have slightly too many false positives
# The columns of the CSV files, by the path of their values in a comparison.
_COLUMNS = {
    "standings": {
        "task": "task", "system": "system", "runs": "runs", "macro_f1.value": "macro_f1", "macro_f1.low": "macro_f1_low",
        "macro_f1.high": "macro_f1_high", "macro_f1_deviation": "macro_f1_sd", "accuracy.value": "accuracy", "accuracy.low": "accuracy_low",
        "accuracy.high": "accuracy_high", "accuracy_deviation": "accuracy_sd", "n": "segments", "articles": "articles",
    },
    "pairs": {
        "task": "task", "first": "first", "second": "second", "macro_f1.value": "macro_f1_difference", "macro_f1.low": "low",
        "macro_f1.high": "high", "macro_f1.p": "p", "corrected": "p_corrected", "randomisation": "p_randomisation",
        "accuracy.value": "accuracy_difference", "accuracy.low": "accuracy_low", "accuracy.high": "accuracy_high",
        "verdict": "verdict", "needed": "articles_needed",
    },
}  # fmt: skip


def leaderboard(comparison: Comparison, task: str, scheme: Scheme, language: str = "en") -> Grid:
    """Return one row per system, the best first, with intervals and deviation over seeds."""
    result = comparison.tasks[task]
    rows = (
        (row.system, _estimate(row.macro_f1, language), row.macro_f1_deviation, _estimate(row.accuracy, language), str(row.runs))
        for row in result.standings
    )
    columns = ("system", "macro_f1", "seeds_deviation", "accuracy", "runs")
    split, units = split_title(comparison.corpus, comparison.split, language), size(result.n, result.articles, language)
    return grid(f"{scheme[task].title(language)} · {split}: {units}", columns, rows, language)


def pairs(comparison: Comparison, task: str, scheme: Scheme, language: str = "en", verdicts: bool = True) -> Grid:
    """Return one row per pair; ``verdicts`` can be omitted, as for a narrow terminal."""
    rows = [
        {
            "pair": f"{pair.first} {word('against', language)} {pair.second}",
            **({"verdict": verdict(pair, comparison, language)} if verdicts else {}),
            "difference": _estimate(pair.macro_f1, language, sign=True), "p_value": p_value(pair.macro_f1.p, language),
            **({} if comparison.correction == "none" else {"corrected_p": p_value(pair.corrected, language)}),
            "p_randomisation": p_value(pair.randomisation, language), "accuracy_less": _estimate(pair.accuracy, language, sign=True),
        }
        for pair in comparison.tasks[task].pairs
    ]  # fmt: skip
    title = f"{scheme[task].title(language)}, {word('pairs_compared', language)}"
    return grid(title, rows[0], (tuple(cells.values()) for cells in rows), language, left=2 if verdicts else 1)


def verdict(pair: SystemPair, comparison: Comparison, language: str = "en") -> str:
    """Return ``better``, ``worse`` or ``not distinguishable with these data (it would take …)``."""
    if pair.verdict != OPEN:
        return word("compared_better" if pair.verdict == BETTER else "compared_worse", language)
    # The unit of the bootstrap: articles, or segments if each is its own group.
    unit = word("segments" if comparison.alone else "articles", language)
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
    """Return the notes needed to read the tables."""
    correction = word(f"corrected_{comparison.correction}", language)
    out = [word("comparison_explained", language, draws=count(comparison.draws, language), correction=correction)]
    standings = [one for task in comparison.tasks.values() for one in task.standings]
    if once := dict.fromkeys(one.system for one in standings if one.runs == 1 and one.system not in comparison.fixed):
        out.append(word("trained_once", language, systems=", ".join(once)))
    n = count(comparison.segments, language)
    out += [word("seen", language, system=system, seen=count(seen, language), n=n) for system, seen in comparison.seen.items()]
    if comparison.unshared:
        out.append(word("unshared", language, tasks=", ".join(comparison.unshared)))
    if (fewest := min(task.articles for task in comparison.tasks.values())) < _FEW_ARTICLES:
        out.append(word("few_articles", language, articles=fewest, unit=word("segments" if comparison.alone else "articles", language)))
    return out


def grids(comparison: Comparison, scheme: Scheme, language: str = "en") -> list[Grid]:
    """Return the leaderboard and the pairs of each task."""
    return [table(comparison, task, scheme, language) for task in comparison.tasks for table in (leaderboard, pairs)]


def markdown(comparison: Comparison, scheme: Scheme, language: str = "en") -> str:
    """Return all tables as Markdown, each under its title, with the notes below."""
    text = "\n".join(f"**{table.title}**\n\n{table.markdown()}" for table in grids(comparison, scheme, language))
    return text + "".join(f"\n{note}\n" for note in notes(comparison, language))


def latex(comparison: Comparison, scheme: Scheme, language: str = "en") -> str:
    """Return all tables as LaTeX, each a ``table`` within the line width; packages in a comment."""
    return files.rendered("haltung.evaluation.report", "comparison.tex.j2", grids=grids(comparison, scheme, language))


def frame(comparison: Comparison, part: Literal["standings", "pairs"]) -> "pd.DataFrame":
    """Return the standings or pairs of all tasks in full precision, as in the CSV files."""
    import pandas as pd

    tasks = comparison.tasks.values()
    rows = [{"task": task.task, "n": task.n, "articles": task.articles, **asdict(row)} for task in tasks for row in getattr(task, part)]
    found = pd.json_normalize(rows).reindex(columns=list(_COLUMNS[part])).rename(columns=_COLUMNS[part])
    # Int64 keeps integers although values may be missing.
    return found.astype({"articles_needed": "Int64"}) if part == "pairs" else found


def write(folder: Path, comparison: Comparison, scheme: Scheme, language: str = "en", details: Mapping[str, str] = {}) -> list[Path]:
    """Write page, Markdown, LaTeX, CSV, JSON, and a forest plot per task; return their paths.

    The folder is replaced as in ``page.write``, with the same ``UserError``. ``details`` are facts
    for the foot of the page, such as the command and the runs' ids.
    """
    with report_folder(folder, DATA, "comparison", language) as scratch:
        plots = {task: save(forest(comparison, task, scheme, language), scratch / f"{task}_forest") for task in comparison.tasks}
        page = rendered(
            "comparison.html.j2", language, plots, comparison=comparison, scheme=scheme, notes=notes(comparison, language),
            leaderboard=leaderboard, pairs=pairs, sentence=sentence, open=OPEN,
            details={**details, word("scheme", language): f"{comparison.scheme} ({comparison.scheme_digest})"},
        )  # fmt: skip
        texts = {
            DATA: comparison.to_json(), LEADERBOARD: _csv(frame(comparison, "standings")), PAIRS: _csv(frame(comparison, "pairs")),
            MARKDOWN: markdown(comparison, scheme, language), LATEX: latex(comparison, scheme, language), PAGE: page,
        }  # fmt: skip
        for name, text in texts.items():
            (scratch / name).write_text(text, encoding="utf-8")
    return [folder / name for name in (*texts, *(plot.name for plot in plots.values()))]


def _estimate(value: Estimate, language: str, sign: bool = False) -> str:
    """Return ``0.052 [−0.011, 0.093]``, with a minus sign (U+2212)."""
    return estimate(value.value, Interval(value.low, value.high), language, sign)


def _csv(frame: "pd.DataFrame") -> str:
    return str(frame.map(files.csv_cell).to_csv(index=False, lineterminator="\n"))
