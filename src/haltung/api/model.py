"""Load a model in Python; label texts and tables (pandas, polars, datasets), read articles."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from haltung import tracking as runs
from haltung.actors.finder import Actors
from haltung.cli.build import make
from haltung.cli.config import compose, plain
from haltung.corpus.parsing.rows import SourceRow
from haltung.errors import UserError, kind, listed
from haltung.evaluation.report.i18n import split_title
from haltung.evaluation.report.tables import grid
from haltung.events import dyads as dyad_model
from haltung.events.pipeline import check_stances, dyad_finder, events_of
from haltung.events.records import ArticleEvents, ScoredDyad
from haltung.events.text.read import article_of
from haltung.experiments.predict import bundle_of, opening, single_text
from haltung.labels import STANCE, Scheme
from haltung.models import bundle, compact
from haltung.models.predictor import Predictor, abstained
from haltung.records import Prediction, Segment, label_ids
from haltung.serving import article_page

if TYPE_CHECKING:
    import pandas as pd

Tracking = Literal["local", "server"]
_CALLS = "<p><code>.predict(text)</code>, <code>.predict(table)</code>, <code>.read(article)</code></p>"


@dataclass(frozen=True)
class TextResult:
    """A model's predictions for one text.

    ``result["stance"]`` is a label's id (a tuple of ids in a multi-label task), ``probabilities``
    has all labels of each task, ``dyads`` lists who takes the stance towards whom, and ``unsure``
    lists the tasks whose prediction is too uncertain for the requested precision.
    """

    text: str
    labels: Mapping[str, str | tuple[str, ...]]
    probabilities: Mapping[str, Mapping[str, float]]
    dyads: tuple[ScoredDyad, ...]
    unsure: tuple[str, ...] = ()

    def __getitem__(self, task: str) -> str | tuple[str, ...]:
        if task not in self.labels:
            raise KeyError(f"there is no task '{task}'; the model has {listed(self.labels)}")
        return self.labels[task]

    def probability(self, task: str) -> float:
        """Return the predicted label's probability: the lowest of several, 0 if there is none."""
        return min((self.probabilities[task][label] for label in label_ids(self.labels[task])), default=0.0)

    def lines(self) -> list[tuple[str, str]]:
        """Return the lines to show: each task with its labels and probability, then the dyads."""
        out = []
        for task, labels in self.labels.items():
            named = ", ".join(label_ids(labels)) or "–"
            out.append((task, f"{named} {self.probability(task):.2f}" + (" (abstained)" if task in self.unsure else "")))
        return [*out, *(("dyad", f"{one.source or '–'} → {one.target or '–'}: {one.stance} {one.probability:.2f}") for one in self.dyads)]

    def __repr__(self) -> str:
        width = max(len(name) for name, _ in self.lines())
        return "\n".join([self.text, *(f"  {name:<{width}}  {said}" for name, said in self.lines())])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th style='text-align:left'>{escape(name)}</th><td>{escape(said)}</td></tr>" for name, said in self.lines())
        return f"<p>{escape(self.text)}</p><table>{rows}</table>"


@dataclass(frozen=True)
class ArticleResult:
    """A model's predictions for an article: labelled sentences, and events with actors.

    A notebook shows it as a page, with arrows from the source of each dyad to its target.
    """

    events: ArticleEvents
    scheme: Scheme = field(repr=False)

    def to_frame(self, of: Literal["sentences", "events"] = "sentences") -> "pd.DataFrame":
        """Return a table with a row per sentence, or per event (see ``docs/events.md``).

        A sentence has its text, its offsets, each task's label and probability, and its dyads.
        """
        import pandas as pd

        if of == "events":
            return pd.DataFrame([vars(event) for event in self.events.events])
        return pd.DataFrame(
            {"text": one.segment.text, "start": one.start, "end": one.end, **_columns(_result(one.segment, one.prediction, one.dyads))}
            for one in self.events.segments
        )

    def to_html(self, language: Literal["en", "de"] = "en") -> str:
        """Return a self-contained HTML page, which loads no external resources."""
        return article_page.page([self.events], self.scheme, language)

    def __repr__(self) -> str:
        lines = [self.events.article.headline or self.events.article.id]
        for one in self.events.segments:
            labels = " / ".join(str(label) for label in one.prediction.labels.values())
            dyads = ", ".join(f"{dyad.source or '–'} → {dyad.target or '–'}" for dyad in one.dyads)
            lines += [f"  {one.segment.text}", f"      {labels}" + (f": {dyads}" if dyads else "")]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.events.notes)])

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self.to_html())}" style="width:100%;height:36em;border:0" title="Haltung"></iframe>'


class LoadedModel:
    """A loaded model, as returned by ``load``.

    ``name`` is what it was loaded by, ``folder`` its bundle, ``tasks`` the labels of each task.
    """

    def __init__(self, name: str, folder: Path) -> None:
        """Load a bundle; raise ``UserError`` if the folder holds none, or a broken one."""
        self.name, self.folder = name, folder
        self._model: Predictor = bundle.load(folder)
        self._dyads = dyad_model.load(folder) if self._model.finds_dyads else None
        self.scheme = self._model.scheme
        self.tasks: dict[str, tuple[str, ...]] = {task.name: tuple(task.ids) for task in self.scheme}

    def __repr__(self) -> str:
        tasks = "; ".join(f"{task}: {', '.join(labels)}" for task, labels in self.tasks.items())
        return f"LoadedModel {self.name} ({tasks}" + ("; finds dyads)" if self._dyads else ")")

    def to_html(self, language: Literal["en", "de"] = "en") -> str:
        """Return an HTML table of the tasks and labels, with macro-F1 if the model was exported."""
        with bundle.broken_parts(self.folder):
            of = bundle.describe(self.folder).get("reference", {})
            scores = of.get("macro_f1", {})
            title = f"{self.name} ({split_title(of['corpus'], of['split'], language)})" if scores else self.name
            names = [(task.title(language), ", ".join(label.name(language) for label in task.labels)) for task in self.scheme]
            rows = [(*name, *([scores.get(task)] if scores else [])) for task, name in zip(self.tasks, names, strict=True)]
            return grid(title, ("task", "labels", "macro_f1")[: len(rows[0])], rows, language, 2).html() + _CALLS

    _repr_html_ = to_html

    @overload
    def predict(self, texts: str, *, context: str = "", target: str = "", abstain: float | None = None) -> TextResult: ...
    @overload
    def predict(self, texts: list[str] | tuple[str, ...], *, abstain: float | None = None) -> list[TextResult]: ...
    @overload
    def predict(self, texts: Any, *, abstain: float | None = None, prefix: str = "", probabilities: bool = False) -> Any: ...
    def predict(
        self, texts: Any, *, context: str = "", target: str = "", abstain: float | None = None, prefix: str = "",
        probabilities: bool = False,
    ) -> Any:  # fmt: skip
        """Label a text, a list of texts, a column, or a table.

        A text returns a ``TextResult``, a list a list of them. A pandas or polars Series returns a
        table with the texts in ``text``; a DataFrame or ``datasets.Dataset`` returns the same table
        with new columns: for each task ``TASK`` and ``TASK_probability``, and, if the model finds
        dyads, ``dyads``, a list of mappings. A table needs a column ``text``; ``id``, ``context``,
        ``target``, ``article``, ``headline`` and ``position`` are optional, as in the command
        ``haltung predict``. The texts of an article are read together.

        ``context`` and ``target`` apply to a single text only. If ``abstain`` is a precision such
        as 0.9, ``TextResult.unsure`` lists the tasks whose prediction is too uncertain to reach it,
        and a table has None there. ``prefix`` is prepended to the names of new columns;
        ``probabilities`` adds a column per label, such as ``stance.warning``.

        Raises ``UserError`` if a text is empty or missing, or a column is missing or already taken.
        """
        thresholds = {} if abstain is None else self._model.calibration.abstaining(abstain)
        if isinstance(texts, str):
            return self._results([single_text(texts, context, target)], thresholds)[0]
        if context or target:
            raise UserError("context and target apply only to a single text; in a table they are columns of these names")
        if _kind(texts) in ("pandas.Series", "polars.Series"):
            texts = texts.to_frame("text")
        if not is_table(texts):
            if isinstance(texts, Mapping | bytes) or not isinstance(texts, Iterable):
                raise UserError(f"{kind(texts)} can't be labelled; expected a text, a list of texts, a Series or a DataFrame")
            given = list(texts)
            if wrong := [number for number, one in enumerate(given) if not isinstance(one, str)]:
                raise UserError(f"item {wrong[0]} of the list is {kind(given[wrong[0]])}; expected texts")
            return self._results(_segments([{"text": one} for one in given], "the list"), thresholds)
        results = self._results(_segments(rows_of(texts), "the table"), thresholds)
        columns = [_columns(one, probabilities, with_dyads=self._dyads is not None) for one in results]
        return with_columns(texts, {prefix + name: [row[name] for row in columns] for name in columns[0]})

    def read(self, article: str, *, headline: str = "", date: str = "") -> ArticleResult:
        """Label an article's sentences, and find who takes which stance towards whom.

        Without a ``headline``, a short first line is used as one. ``date`` (ISO) determines who
        held an office. Raises ``UserError`` if the article is empty, the model lacks the stances
        that events need, or a library of ``haltung[events]`` is missing.
        """
        if not article.strip():
            raise UserError("the article is empty; expected its text")
        check_stances(self.scheme, self.name)
        actors = Actors.load()
        given, finder = article_of(article, "article", headline, date), dyad_finder(self._model, self.folder, actors)
        (found,) = events_of([given], self._model, actors, finder)
        assert isinstance(found, ArticleEvents)
        return ArticleResult(found, self.scheme)

    def _results(self, segments: Sequence[Segment], thresholds: Mapping[str, float | None]) -> list[TextResult]:
        return [
            _result(segment, prediction, self._dyads.dyads(prediction) if self._dyads else (), abstained(prediction, thresholds))
            for segment, prediction in zip(segments, self._model.predict(segments, progress=True), strict=True)
        ]


def load(model: str | Path | None = None, *, tracking: Tracking = "local") -> LoadedModel:
    """Load a model for prediction.

    ``model`` is a bundle's folder, an installed model (``news_de``), a model on the hub
    (``hub:ORGANISATION/NAME``), a run's id or name, ``newest`` for the newest run, or the alias of
    a registered model (``@champion``); None loads the model that comes with Haltung.
    ``tracking`` selects where runs are stored: ``local``, in ``experiments/`` of the working
    directory, or ``server``. Raises ``UserError`` if there is no model of this name.
    """
    if model is None:
        return LoadedModel(compact.DEFAULT, compact.find(None))
    run = name = str(model)
    if Path(model).expanduser().is_dir() or name.startswith(compact.HUB) or name in compact.installed():
        return LoadedModel(name, compact.find(model))
    store = make(plain(compose("runs", [f"tracking={tracking}"]))["tracking"], "tracking")
    if name.startswith("@"):
        if (version := runs.version_of_alias(runs.open_store(store, create=False), name[1:])) is None:
            raise UserError(f"no registered model has the alias '{name[1:]}'; assign it with haltung promote run=ID alias={name[1:]}")
        run = version.run
    return LoadedModel(name, bundle_of(store, run))


def _segments(rows: Sequence[Mapping[str, Any]], source: str) -> list[Segment]:
    return opening((SourceRow(f"{source}, row {number}", str(number), row) for number, row in enumerate(rows)), source).segments


def _result(segment: Segment, prediction: Prediction, dyads: Iterable[ScoredDyad], unsure: Iterable[str] = ()) -> TextResult:
    return TextResult(segment.text, prediction.labels, prediction.probabilities, tuple(dyads), tuple(unsure))


def _columns(result: TextResult, probabilities: bool = False, with_dyads: bool = True) -> dict[str, object]:
    """Return the new columns of a table for one text, by name."""
    out: dict[str, object] = {}
    for task, label in result.labels.items():
        out[task] = None if task in result.unsure else list(label) if isinstance(label, tuple) else label
        out[f"{task}_probability"] = result.probability(task)
        if probabilities:
            out |= {f"{task}.{name}": value for name, value in result.probabilities[task].items()}
    return out | ({"dyads": [one.to_dict() for one in result.dyads]} if with_dyads and STANCE in result.labels else {})


def is_table(value: object) -> bool:
    """Return whether a value is a DataFrame of pandas or polars, or a ``datasets.Dataset``."""
    return _kind(value) in ("pandas.DataFrame", "polars.DataFrame", "datasets.Dataset")


def rows_of(table: Any) -> list[dict[str, Any]]:
    """Return the rows of a table as mappings of column to value."""
    if (kind := _kind(table)) == "pandas.DataFrame":
        table = table.rename(columns=str)
        # Missing values become None; whole numbers beside them, floats in pandas, stay whole.
        return list(table.convert_dtypes().astype(object).where(table.notna(), None).to_dict("records"))
    return list(table.to_dicts() if kind == "polars.DataFrame" else table)


def with_columns(table: Any, columns: Mapping[str, list[object]]) -> Any:
    """Return the table with columns appended; raise ``UserError`` if it has one of them already."""
    kind = _kind(table)
    if taken := [name for name in columns if name in (table.column_names if kind == "datasets.Dataset" else table.columns)]:
        raise UserError(f"the table already has {listed(taken)}; rename them, or give the new columns a prefix, as in prefix='model_'")
    if kind == "polars.DataFrame":
        import polars

        return table.with_columns([polars.Series(name, values) for name, values in columns.items()])
    if kind == "datasets.Dataset":
        for name, values in columns.items():
            table = table.add_column(name, values)
        return table
    import pandas as pd

    return pd.concat([table, pd.DataFrame(columns, index=table.index)], axis=1)


def _kind(value: object) -> str:
    """Return library and class, such as ``pandas.DataFrame``, without importing a library."""
    classes = (f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(value).__mro__)
    return next((name for name in classes if name.startswith(("pandas.", "polars.", "datasets."))), "")
