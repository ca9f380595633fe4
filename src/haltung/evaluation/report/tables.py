"""Metrics as tables: a ``Grid`` is shown in the terminal by rich, or as Markdown."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from haltung.evaluation.error_analysis.name_sensitivity import NameSensitivity
from haltung.evaluation.error_analysis.slices import Slice, Slices
from haltung.evaluation.metrics import results
from haltung.evaluation.metrics.calibration import MIN_SEGMENTS, CalibrationReport, Operating
from haltung.evaluation.metrics.dyads import END_TO_END, DyadMetrics, SystemsCompared
from haltung.evaluation.metrics.minimal_pairs import ALL
from haltung.evaluation.metrics.results import EvaluationResult, LabelMetrics, PhenomenonMetrics, Spread, Summary, TaskMetrics
from haltung.evaluation.report.i18n import articles, brackets, count, estimate, localised, number, p_value, signed, split_title, word
from haltung.evaluation.statistics.bootstrap import Interval
from haltung.labels import Scheme, Task

# A cell: words, a count, a number, a number with its interval, or None ("–").
Cell = str | int | float | tuple[float | None, Interval | None] | None
_ESCAPED = str.maketrans({"\\": "\\\\", "|": "\\|", "\n": " "})  # for cells of Markdown


@dataclass(frozen=True)
class Grid:
    """A table of text; its first ``left`` columns hold words, the others numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1

    def rich(self) -> Table:
        """Return the table for the terminal."""
        table = Table(title=Text(self.title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
        for index, column in enumerate(self.columns):
            # In a narrow terminal words may wrap, but never break.
            longest = max((len(part) for cell in (column, *(row[index] for row in self.rows)) for part in cell.split()), default=0)
            is_left = index < self.left
            # In a narrow terminal, an interval wraps below its value instead of being cut off.
            no_wrap = not is_left and not any(" [" in row[index] for row in self.rows)
            table.add_column(Text(column), justify="left" if is_left else "right", no_wrap=no_wrap, min_width=longest)
        for row in self.rows:
            # Text, so that a label such as "[red]" is not interpreted as markup.
            table.add_row(*map(Text, row))
        return table

    def markdown(self) -> str:
        """Return the table as GitHub's Markdown, without its title."""
        rule = ["---" if index < self.left else "---:" for index in range(len(self.columns))]
        return "".join("| " + " | ".join(cell.translate(_ESCAPED) for cell in row) + " |\n" for row in (self.columns, rule, *self.rows))

    def html(self) -> str:
        """Return the table with its title as HTML, for a notebook."""
        head = "".join(f"<th>{escape(column)}</th>" for column in self.columns)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows)
        return f"<table><caption>{escape(self.title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def grid(title: str, columns: Iterable[str], rows: Iterable[Sequence[Cell]], language: str = "en", left: int = 1) -> Grid:
    """Return a table; ``columns`` are keys of ``words.tsv``."""
    texts = tuple(tuple(_text(cell, language) for cell in row) for row in rows)
    return Grid(title, tuple(word(column, language) for column in columns), texts, left)


def _text(cell: Cell, language: str) -> str:
    if isinstance(cell, str | int):
        return cell if isinstance(cell, str) else count(cell, language)
    value, interval = cell if isinstance(cell, tuple) else (cell, None)
    return "–" if value is None else estimate(value, interval, language)


def headline(result: EvaluationResult, scheme: Scheme, language: str = "en", brief: bool = False) -> Grid:
    """Return one row per task: macro-F1, accuracy, log loss and the number of segments.

    Macro-F1 and accuracy are followed by the majority baseline; multi-label tasks also have
    micro-F1. Intervals are shown if available; if ``brief``, only those of macro-F1 and accuracy.
    """
    multi = any(metrics.kind == "multi" for metrics in result.tasks.values())
    columns = ["task", "macro_f1", "majority", "accuracy", "majority", *(["micro_f1"] if multi else []), "log_loss", "segments"]
    rows: list[Sequence[Cell]] = []
    for name, metrics in result.tasks.items():
        intervals = {metric: interval for metric, interval in metrics.intervals.items() if not brief or metric in ("macro_f1", "accuracy")}
        cells: dict[str, Cell] = {metric: (getattr(metrics, metric), intervals.get(metric)) for metric in results.HEADLINE}
        # Omitted where it equals accuracy: the same number twice would look like two results.
        micro = [cells["micro_f1"] if metrics.kind == "multi" else ""] if multi else []
        values: list[Cell] = [cells["macro_f1"], metrics.majority.macro_f1, cells["accuracy"], metrics.majority.accuracy]
        rows.append((scheme[name].title(language), *values, *micro, cells["log_loss"], metrics.n))
    return grid(f"{split_title(result.corpus, result.split, language)}: {size(result.n, result.groups, language)}", columns, rows, language)


def size(n: int, groups: int, language: str = "en") -> str:
    """Return ``521 segments, 38 articles``, or only the segments if each is its own group."""
    segments = f"{count(n, language)} {word('segments', language)}"
    return segments if groups == n else f"{segments}, {articles(groups, language)}"


def per_label(metrics: TaskMetrics, task: Task, language: str = "en", brief: bool = False) -> Grid:
    """Return one row per label ("–": undefined); if ``brief``, only F1 has its interval."""

    def cells(label: LabelMetrics) -> Iterator[Cell]:
        for metric, n in (("precision", label.predicted), ("recall", label.support), ("f1", label.predicted + label.support)):
            interval = None if brief and metric != "f1" else label.intervals.get(metric)
            yield (getattr(label, metric), interval) if n else None

    pairs = zip(task.labels, metrics.labels, strict=True)
    rows = ((named.name(language), *cells(label), label.support, label.predicted) for named, label in pairs)
    columns = ("label", "precision", "recall", "f1", "support", "predicted")
    return grid(f"{task.title(language)} {word('per_label', language)}", columns, rows, language)


def dyad_phenomena(result: EvaluationResult, language: str = "en") -> list[Grid]:
    """Return dyads by phenomenon: one table for each part of a dyad that must match."""
    title = word("dyads_title", language)
    return [
        phenomena(rows, f"{title} ({dyad_words(part, language)})", language, "exact_match") for part, rows in result.dyad_phenomena.items()
    ]


def phenomena(metrics: Sequence[PhenomenonMetrics], title: str, language: str = "en", share: str = "accuracy") -> Grid:
    """Return one row for each phenomenon of a corpus of minimal pairs."""
    rows = (
        (
            word("all", language) if row.phenomenon == ALL else row.phenomenon, row.pairs,
            (row.accuracy, row.intervals.get("accuracy")), (row.both, row.intervals.get("both")), (row.apart, row.intervals.get("apart")),
        )
        for row in metrics
    )  # fmt: skip
    columns = ("phenomenon", "pairs", share, "both", "apart")
    return grid(f"{title} {word('phenomena', language)}", columns, rows, language)


def dyads(systems: Mapping[str, DyadMetrics], language: str = "en", setting: str = "") -> Grid:
    """Return one row per system and part of a dyad; ``setting`` is what the systems were given."""
    first = next(iter(systems.values()))
    segments = f"{count(first.segments, language)} {word('segments', language)}"
    title = f"{word('dyads', language)}: {segments}, {articles(first.articles, language)}"
    rows = (
        (word(system, language), dyad_words(part, language), (match.f1, match.interval), match.precision, match.recall)
        for system, metrics in systems.items()
        for part, match in metrics.parts.items()
    )
    columns = ("system", "dyads_right", "f1_interval", "precision", "recall")
    return grid(f"{title}, {dyad_words(setting, language)}" if setting else title, columns, rows, language, left=2)


def dyad_scores(settings: Mapping[str, SystemsCompared], language: str = "en") -> list[Grid]:
    """Return F1 by setting (``END_TO_END`` …), differences, and details of the end-to-end one."""
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
    stances = [(stance, match.gold, match.found, match.f1) for stance, match in first.stances.items()]
    title = f"{word(name, language)}, {word('dyads_by_stance', language)}"
    out.append(grid(title, ("stance", "gold", "dyads_found", "f1"), stances, language))
    return out


def dyad_words(name: str, language: str = "en") -> str:
    """Return a part (see ``metrics.dyads.PARTS``) or a setting in words."""
    return word(f"dyads_{name.replace(',', '').replace(' ', '_')}", language)


def seeds(summary: Summary, scheme: Scheme, language: str = "en") -> Grid:
    """Return one row for each task with mean ± standard deviation over the runs."""
    multi = any(scheme[name].kind == "multi" for name in summary.tasks)
    metrics = ("macro_f1", "accuracy", *(("micro_f1",) if multi else ()), "log_loss")
    rows = ((scheme[name].title(language), *(spread(of[metric], language) for metric in metrics)) for name, of in summary.tasks.items())
    title = f"{split_title(summary.corpus, summary.split, language)}: {count(summary.n, language)} {word('segments', language)}"
    return grid(f"{title}, {summary.runs} {word('runs', language)}", ("task", *metrics), rows, language)


def slices(analysis: Slices, scheme: Scheme, task: Task, language: str = "en") -> Grid:
    """Return one row for each slice of the task."""
    rows = (
        (
            slice_title(row, scheme, language), row.n, row.articles, row.accuracy, row.macro_f1, signed(row.difference, language, zero="±"),
            None if row.low is None or row.high is None else " … ".join(signed(end, language, zero="±") for end in (row.low, row.high)),
            row.adjusted, word(f"slice_{row.verdict}", language),
        )
        for row in analysis.tasks.get(task.name, ())
    )  # fmt: skip
    columns = ("slice", "segments", "articles", "accuracy", "macro_f1", "to_the_rest", "interval_95", "adjusted_p", "verdict")
    return grid(f"{task.title(language)} {word('by_slice', language)}", columns, rows, language)


def slice_title(row: Slice, scheme: Scheme, language: str = "en") -> str:
    """Return the title of a slice: ``topic: security``, ``words: 11–20``."""
    if row.kind.startswith("gold."):
        task = scheme[row.kind.removeprefix("gold.")]
        return f"{task.title(language)}: {task.labels[task.index(row.value)].name(language)}"
    value = word(row.value, language) if row.value in ("with", "without") else row.value
    return f"{word(f'slice_{row.kind}', language)}: {value}"


def name_sensitivity(analysis: NameSensitivity, scheme: Scheme, language: str = "en") -> Grid:
    """Return one row for each task: macro-F1 before and after masking, and the share of flips."""
    rows = (
        (
            scheme[row.task].title(language), row.macro_f1_before, row.macro_f1_after,
            *(estimate(one.value, one.interval, language, sign=True) for one in (row.macro_f1_change, row.accuracy_change)),
            f"{count(row.changed, language)}/{count(row.n, language)}",
            None if row.flips is None else (row.flips.value, row.flips.interval), row.swapped,
        )
        for row in analysis.tasks.values()
    )  # fmt: skip
    columns = ("task", "macro_f1", "macro_f1_masked", "change", "accuracy_change", "masked_segments", "flips", "swapped_segments")
    return grid(word("masking", language), columns, rows, language)


def calibration(report: CalibrationReport, scheme: Scheme, language: str = "en") -> Grid:
    """Return one row per task; ECE is also given without temperatures and as by chance."""
    rows = (
        (
            scheme[name].title(language),
            number(report.temperatures[name], language, 2) if name in report.temperatures else "–", metrics.confidence, metrics.accuracy,
            (metrics.ece, metrics.ece_interval), report.before[name].ece if name in report.before else None, metrics.ece_by_chance,
            (metrics.brier, metrics.brier_interval), metrics.log_loss,
        )
        for name, metrics in report.tasks.items()
    )  # fmt: skip
    errors = ("ece", "ece_before", "ece_by_chance", "brier", "log_loss")
    title = f"{split_title(report.corpus, report.split, language)}: {word('calibration', language)}"
    return grid(title, ("task", "temperature", "confidence", "hit_rate", *errors), rows, language)


def abstention(points: Sequence[Operating], task: Task, language: str = "en") -> Grid:
    """Return one row for each wanted precision: its threshold, coverage and precision."""
    rows = (
        (
            number(point.wished, language, 2),
            word("unreached", language) if point.threshold is None else number(point.threshold, language), point.kept,
            (point.coverage, point.coverage_interval), (point.precision, point.precision_interval),
        )
        for point in points
    )  # fmt: skip
    columns = ("wished", "threshold", "answered", "coverage", "precision")
    return grid(f"{task.title(language)}: {word('abstention', language)}", columns, rows, language, left=0)


def reproduction(title: str, figures: Mapping[str, tuple[float, float]], labels: Mapping[str, int], language: str = "en") -> Grid:
    """Return one row per metric, then and now, and the number of changed predictions by task."""
    numbers = {key: (f"{then:.6g}", f"{now:.6g}", f"{now - then:+.2g}") for key, (then, now) in figures.items()}
    rows = [(key, *(localised(text, language) for text in texts)) for key, texts in numbers.items()]
    rows += [(word("again_predictions", language, of=key), "", "", word("again_others", language, n=n)) for key, n in labels.items()]
    return grid(title, ("metrics", "again_then", "again_now", "change"), rows, language)


def spread(value: Spread, language: str = "en") -> str:
    """Return ``0.531 ± 0.012`` (a single run: only the mean), then the mean's interval, if any."""
    deviation = "" if value.deviation is None else f" ± {number(value.deviation, language)}"
    return number(value.mean, language) + deviation + (f" {brackets(value.interval, language)}" if value.interval else "")


def cautions(result: EvaluationResult, calibration: CalibrationReport | None = None, language: str = "en") -> list[str]:
    """Return limitations of the metrics: no segment names an article, no temperature was fitted."""
    out = [word("no_articles", language, n=count(result.n, language))] if result.lone == result.n else []
    if calibration and (bare := [task for task in calibration.tasks if task not in calibration.temperatures]):
        out.append(word("no_temperature", language, tasks=", ".join(bare), least=MIN_SEGMENTS))
    return out


def warnings(tasks: Iterable[TaskMetrics], language: str = "en") -> list[str]:
    """Return the warnings as sentences, the most severe of each task first."""
    out = []
    for metrics in tasks:
        predicted = {label.label: label.predicted for label in metrics.labels}
        support = {label.label: label.support for label in metrics.labels}
        labels = {
            results.COLLAPSED: " + ".join(f"'{label}'" for label, n in predicted.items() if n) or word("warning_no_label", language),
            results.NEVER_PREDICTED: ", ".join(f"{label} ({support[label]})" for label in metrics.never_predicted),
            results.NOT_IN_GOLD: ", ".join(f"{label} ({predicted[label]})" for label in metrics.not_in_gold),
        }
        out += [word(f"warning_{code}", language, task=metrics.task, n=metrics.n, labels=labels[code]) for code in metrics.warnings]
    return out


def warning_panel(result: EvaluationResult, language: str = "en") -> Panel | None:
    """Return the warnings in a red panel, with a heavy frame if a task has collapsed, or None."""
    if not (lines := warnings(result.tasks.values(), language)):
        return None
    frame = box.HEAVY if any(metrics.collapsed for metrics in result.tasks.values()) else box.ROUNDED
    text = Text("\n".join(lines), style="bold red")
    return Panel(text, title=word("warnings", language), border_style="red", box=frame, title_align="left")


def show(result: EvaluationResult, scheme: Scheme, console: Console, language: str = "en") -> None:
    """Print warnings, the headline, a table per task, and further tables, with fewer intervals."""
    if (panel := warning_panel(result, language)) is not None:
        console.print(panel)
    for caution in cautions(result, language=language):
        console.print(Text(caution, style="yellow"))
    grids = [headline(result, scheme, language, brief=True)]
    grids += [per_label(metrics, scheme[name], language, brief=True) for name, metrics in result.tasks.items()]
    grids += [phenomena(rows, scheme[name].title(language), language) for name, rows in result.phenomena.items()]
    grids += [dyads({"model": result.dyads}, language)] if result.dyads else []
    for one in grids + dyad_phenomena(result, language):
        console.print(one.rich())
