"""Figures as tables: built once as a ``Grid``, shown in the terminal by rich or written as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from haltung.evaluation.metrics.minimal_pairs import ALL
from haltung.evaluation.metrics.results import (
    COLLAPSED,
    HEADLINE,
    NEVER_PREDICTED,
    NOT_IN_GOLD,
    EvaluationResult,
    PhenomenonMetrics,
    Spread,
    Summary,
    TaskMetrics,
)
from haltung.evaluation.report.i18n import count, number, place, word
from haltung.evaluation.statistics.bootstrap import Interval
from haltung.labels import Scheme, Task

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.panel import Panel
    from rich.table import Table


@dataclass(frozen=True)
class Grid:
    """A table's title, columns and rows of text. The first ``left`` columns hold words, the others numbers.

    The last ``foot`` rows are set apart from those above, as what is only there for orientation.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    foot: int = 0

    def rich(self) -> Table:
        """Return the table for the terminal."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self.title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
        for place_, column in enumerate(self.columns):
            # Where the terminal is too narrow, words may wrap, but never break.
            longest = max((len(part) for cell in (column, *(row[place_] for row in self.rows)) for part in cell.split()), default=0)
            is_left = place_ < self.left
            # A figure with its interval is long: in a narrow terminal the interval goes below it, rather than be cut off.
            single = not is_left and not any(" [" in row[place_] for row in self.rows)
            table.add_column(Text(column), justify="left" if is_left else "right", no_wrap=single, min_width=longest)
        body = len(self.rows) - self.foot
        for number_, row in enumerate(self.rows, start=1):
            # Text, so that a label such as "[red]" is not taken for markup.
            style = "dim" if number_ > body else None
            table.add_row(*(Text(cell) for cell in row), end_section=bool(self.foot) and number_ == body, style=style)
        return table

    def markdown(self) -> str:
        """Return the table as GitHub's Markdown, without its title."""
        rule = ["---" if place_ < self.left else "---:" for place_ in range(len(self.columns))]
        return "\n".join("| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in (self.columns, rule, *self.rows)) + "\n"


def headline(evaluation: EvaluationResult, scheme: Scheme, language: str = "en", brief: bool = False) -> Grid:
    """Return one row for each task: macro-F1 with the majority baseline beside it, accuracy, micro-F1 of multi-label tasks, log loss, n.

    All but the baseline have their intervals, where the evaluation has any; if ``brief``, macro-F1 and accuracy alone.
    """
    multi = any(figures.kind == "multi" for figures in evaluation.tasks.values())
    columns = ["task", "macro_f1", "majority", "accuracy", "majority", *(["micro_f1"] if multi else []), "log_loss", "segments"]
    rows = []
    for name, figures in evaluation.tasks.items():
        base = figures.majority
        given = {figure: ends for figure, ends in figures.intervals.items() if not brief or figure in ("macro_f1", "accuracy")}
        told = {figure: estimate(getattr(figures, figure), given.get(figure), language) for figure in HEADLINE}
        # For a single-label task micro-F1 is accuracy; the same figure twice would look like two findings.
        micro = [told["micro_f1"] if figures.kind == "multi" else ""] if multi else []
        values = [told["macro_f1"], number(base.macro_f1, language), told["accuracy"], number(base.accuracy, language)]
        rows.append((scheme[name].title(language), *values, *micro, told["log_loss"], count(figures.n, language)))
    where = place(evaluation.corpus, evaluation.split, language)
    return Grid(f"{where}: {size(evaluation, language)}", tuple(word(column, language) for column in columns), tuple(rows))


def size(evaluation: EvaluationResult, language: str = "en") -> str:
    """Return ``521 segments, 38 articles``; without the articles where every segment stands alone."""
    segments = f"{count(evaluation.n, language)} {word('segments', language)}"
    if evaluation.groups == evaluation.n:
        return segments
    return f"{segments}, {count(evaluation.groups, language)} {word('article' if evaluation.groups == 1 else 'articles', language)}"


def per_label(figures: TaskMetrics, task: Task, language: str = "en", brief: bool = False) -> Grid:
    """Return one row for each label of the task, in the scheme's order; "–" stands where nothing can be divided by.

    Each figure has its interval; if ``brief``, F1 alone.
    """
    columns = ("label", "precision", "recall", "f1", "support", "predicted")
    names = {label.id: label.name(language) for label in task.labels}
    rows = tuple(
        (
            names[label.label],
            estimate(label.precision, None if brief else label.intervals.get("precision"), language) if label.predicted else "–",
            estimate(label.recall, None if brief else label.intervals.get("recall"), language) if label.support else "–",
            estimate(label.f1, label.intervals.get("f1"), language) if label.predicted or label.support else "–",
            count(label.support, language),
            count(label.predicted, language),
        )
        for label in figures.labels
    )
    return Grid(f"{task.title(language)} {word('per_label', language)}", tuple(word(column, language) for column in columns), rows)


def phenomena(rows: Sequence[PhenomenonMetrics], task: Task, language: str = "en") -> Grid:
    """Return one row for each phenomenon of a challenge set."""
    columns = ("phenomenon", "pairs", "accuracy", "both", "apart")
    cells = tuple(
        (
            word("all", language) if row.phenomenon == ALL else row.phenomenon,
            count(row.pairs, language),
            estimate(row.accuracy, row.intervals.get("accuracy"), language),
            estimate(row.both, row.intervals.get("both"), language),
            "–" if row.apart is None else estimate(row.apart, row.intervals.get("apart"), language),
        )
        for row in rows
    )
    return Grid(f"{task.title(language)} {word('phenomena', language)}", tuple(word(column, language) for column in columns), cells)


def seeds(summary: Summary, scheme: Scheme, language: str = "en") -> Grid:
    """Return one row for each task with mean ± standard deviation over the runs."""
    multi = any(scheme[name].kind == "multi" for name in summary.tasks)
    figures = ("macro_f1", "accuracy", *(("micro_f1",) if multi else ()), "log_loss")
    rows = tuple(
        (scheme[name].title(language), *(spread(values[figure], language) for figure in figures)) for name, values in summary.tasks.items()
    )
    title = f"{place(summary.corpus, summary.split, language)}: {count(summary.n, language)} {word('segments', language)}"
    return Grid(f"{title}, {summary.runs} {word('runs', language)}", tuple(word(column, language) for column in ("task", *figures)), rows)


def rivals(summaries: Mapping[str, Summary], scheme: Scheme, language: str = "en", figure: str = "macro_f1") -> Grid:
    """Return one row for each named system with one headline figure per task, for a page that sets several side by side."""
    names = [name for name in scheme.names if any(name in summary.tasks for summary in summaries.values())]
    rows = tuple(
        (system, *(spread(summary.tasks[name][figure], language) if name in summary.tasks else "" for name in names), str(summary.runs))
        for system, summary in summaries.items()
    )
    columns = ("", *(f"{scheme[name].title(language)}, {word(figure, language)}" for name in names), word("runs", language))
    return Grid(word("figures", language), columns, rows)


def estimate(value: float, interval: Interval | None, language: str = "en") -> str:
    """Return ``0.493 [0.441, 0.545]``, in German ``0,493 [0,441; 0,545]``, or the figure alone where there is no interval."""
    return number(value, language) + (f" {brackets(interval, language)}" if interval else "")


def brackets(interval: Interval, language: str = "en") -> str:
    """Return ``[0.441, 0.545]``, in German, whose numbers have a comma in them, ``[0,441; 0,545]``."""
    return f"[{number(interval.low, language)}{';' if language == 'de' else ','} {number(interval.high, language)}]"


def spread(value: Spread, language: str = "en") -> str:
    """Return ``0.531 ± 0.012``, or the figure alone for a single run; with the mean's interval, where it has one, behind."""
    mean = number(value.mean, language)
    told = mean if value.deviation is None else f"{mean} ± {number(value.deviation, language)}"
    return told + (f" {brackets(value.interval, language)}" if value.interval else "")


def alarm(evaluation: EvaluationResult, language: str = "en") -> Panel | None:
    """Return the warnings in a red panel, or None where there are none; the frame is heavy where a task has collapsed."""
    lines = told(evaluation, language)
    if not lines:
        return None
    from rich import box
    from rich.panel import Panel
    from rich.text import Text

    frame = box.HEAVY if evaluation.collapsed else box.ROUNDED
    return Panel(
        Text("\n".join(lines), style="bold red"), title=word("warnings", language), border_style="red", box=frame, title_align="left"
    )


def warning_sentences(metrics: TaskMetrics, language: str = "en") -> list[str]:
    """Return the warnings of one task as sentences, the gravest first."""
    predicted = {label.label: label.predicted for label in metrics.labels}
    support = {label.label: label.support for label in metrics.labels}
    names = {
        COLLAPSED: " + ".join(f"'{label}'" for label, n in predicted.items() if n) or word("no_label", language),
        NEVER_PREDICTED: ", ".join(f"{label} ({support[label]})" for label in metrics.never_predicted),
        NOT_IN_GOLD: ", ".join(f"{label} ({predicted[label]})" for label in metrics.not_in_gold),
    }
    return [f"{metrics.task}: {word(code, language).format(n=metrics.n, labels=names[code])}" for code in metrics.warnings]


def told(evaluation: EvaluationResult, language: str = "en") -> list[str]:
    """Return the warnings of all tasks in the language."""
    return [line for name, figures in evaluation.tasks.items() for line in warning_sentences(figures, language)]


def show(evaluation: EvaluationResult, scheme: Scheme, console: Console, language: str = "en") -> None:
    """Print the warnings, the headline table, and a table per task; some intervals are left out where the terminal is too narrow."""
    parts: list[RenderableType | None] = [alarm(evaluation, language)]
    parts.append(_fitting(console, *(headline(evaluation, scheme, language, brief) for brief in (False, True))))
    parts += [
        _fitting(console, *(per_label(figures, scheme[name], language, brief) for brief in (False, True)))
        for name, figures in evaluation.tasks.items()
    ]
    parts += [phenomena(rows, scheme[name], language).rich() for name, rows in evaluation.phenomena.items()]
    for part in parts:
        if part is not None:
            console.print(part)


def markdown(evaluation: EvaluationResult, scheme: Scheme, language: str = "en") -> str:
    """Return warnings and all tables as one piece of Markdown, each table under its title."""
    grids = [
        headline(evaluation, scheme, language),
        *(per_label(figures, scheme[name], language) for name, figures in evaluation.tasks.items()),
        *(phenomena(rows, scheme[name], language) for name, rows in evaluation.phenomena.items()),
    ]
    alarms = "".join(f"> **{line}**\n\n" for line in told(evaluation, language))
    return alarms + "\n".join(f"**{_escaped(grid.title)}**\n\n{grid.markdown()}" for grid in grids)


def _fitting(console: Console, *grids: Grid) -> Table:
    """Return the first of the tables that fits into the terminal with each row in one line, or the last."""
    tables = [grid.rich() for grid in grids]
    # Measured without the terminal's own width, which would bound what is wanted.
    wide = console.options.update(max_width=1_000)
    return next((table for table in tables if console.measure(table, options=wide).maximum <= console.width), tables[-1])


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
