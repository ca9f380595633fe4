"""Train, evaluate and compare models in Python; runs are tracked as by the commands."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from haltung import tracking as runs_of
from haltung.api.model import ArticleResult, LoadedModel, TextResult, Tracking, is_table, load, rows_of
from haltung.cli.build import corpus_of, make, recipe_of
from haltung.cli.config import compose, overrides_of, plain, quote
from haltung.errors import UserError, kind, listed
from haltung.evaluation import comparison
from haltung.evaluation.metrics.results import EvaluationResult
from haltung.evaluation.report import comparison as report
from haltung.evaluation.report import tables as shown
from haltung.experiments import compare as compared
from haltung.experiments import evaluate as evaluated
from haltung.experiments.predict import KINDS, kind_of
from haltung.experiments.train import train_seeds
from haltung.files import write_text
from haltung.labels import Scheme

if TYPE_CHECKING:
    import pandas as pd

# ``haltung`` re-exports these names from here.
__all__ = ["ArticleResult", "LoadedModel", "TextResult", "UserError", "load"]


class _Shown:
    """A result that is shown as tables, in a terminal or a notebook."""

    result: Any
    scheme: Scheme

    def _grids(self) -> list[shown.Grid]:
        return [shown.headline(self.result, self.scheme)]

    def __repr__(self) -> str:
        return "\n\n".join(f"{grid.title}\n{grid.markdown()}" for grid in self._grids()).rstrip()

    def _repr_html_(self) -> str:
        return "".join(grid.html() for grid in self._grids())


@dataclass(frozen=True, repr=False)
class EvaluatedRun(_Shown):
    """A model's result on a split; ``report`` is the folder of the report page and its plots."""

    name: str
    result: EvaluationResult
    scheme: Scheme
    report: Path


@dataclass(frozen=True, repr=False)
class TrainedRun(_Shown):
    """A finished training: its run in MLflow, its bundle, and its result on dev.

    With several seeds, the run is their parent run; bundle and result are the last seed's.
    """

    id: str
    name: str
    bundle: Path
    result: EvaluationResult
    scheme: Scheme

    def load(self) -> LoadedModel:
        """Load the trained model."""
        return LoadedModel(self.name, self.bundle)


@dataclass(frozen=True, repr=False)
class ComparedRuns(_Shown):
    """Runs compared on one split; ``verdicts`` has a sentence for each pair and task."""

    result: comparison.Comparison
    scheme: Scheme = field(repr=False)

    @property
    def verdicts(self) -> list[str]:
        """One sentence per pair: which run is better, or that they can't be distinguished."""
        return [report.sentence(pair, self.result) for task in self.result.tasks.values() for pair in task.pairs]

    def to_frame(self) -> "pd.DataFrame":
        """Return a row per pair and task, as written by ``haltung compare output=DIR``."""
        return report.frame(self.result, "pairs")

    def _grids(self) -> list[shown.Grid]:
        return report.grids(self.result, self.scheme)


def train(
    corpus: Any = "written", *, labels: str | Path | None = None, name: str | None = None, seed: int | Sequence[int] = 42,
    model: str = "article", encoder: str = "e5_small_de", tracking: Tracking = "local", settings: Mapping[str, Any] | None = None,
) -> TrainedRun:  # fmt: skip
    """Train a model, and track the run in MLflow.

    ``corpus`` is a name such as ``written``, a CSV, JSON Lines or Parquet file, a pandas or polars
    DataFrame, or a ``datasets.Dataset``. A table has a column ``text``, one for each task of
    ``labels``, and preferably ``article``. ``labels`` is a label scheme, given by name or YAML
    file. Several seeds are grouped below one run. ``settings`` are keys of ``haltung train``, such
    as ``{"training.epochs": 2}``. Raises ``UserError`` as the command does.
    """
    words = [f"model={model}", f"encoder={encoder}", f"tracking={tracking}", *_corpus_words(corpus, labels)]
    words += [*([f"name={quote(name)}"] if name else []), *overrides_of(settings or {})]
    seeds = list(seed) if isinstance(seed, Sequence) else [seed]
    if not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"seed is {seed}; expected a number, or several distinct numbers")
    if alone := [key for key in ("final", "folds", "launcher", "processes", "seed") if key in (settings or {})]:
        raise UserError(f"settings has {listed(alone)}; pass seeds as seed=, and the others to the command haltung train")
    configs = [plain(compose("train", [*words, f"seed={one}"])) for one in seeds]
    store, prepared = make(configs[0]["tracking"], "tracking"), corpus_of(configs[0], None)
    plans = [recipe_of(config).plan(prepared, ["train", *words, f"seed={','.join(map(str, seeds))}"]) for config in configs]
    done = train_seeds(plans, store)
    return TrainedRun(done.run, done.name, done.outcomes[-1].bundle, done.outcomes[-1].evaluation, prepared.scheme)


def evaluate(
    run: TrainedRun | str, *, corpus: str | None = None, split: Literal["dev", "test"] = "test", tracking: Tracking = "local",
    output: str | Path = "experiments/reports", settings: Mapping[str, Any] | None = None,
) -> list[EvaluatedRun]:  # fmt: skip
    """Score a run (each of its seeds) on a split; write reports to ``output``, metrics to MLflow.

    ``corpus`` is a corpus other than the training's; ``settings`` are keys of the command.
    """
    words = [f"tracking={tracking}", f"split={split}", *([f"corpus={corpus}"] if corpus else []), *overrides_of(settings or {})]
    config = plain(compose("evaluate", words))
    record = runs_of.find(make(config["tracking"], "tracking"), run.id if isinstance(run, TrainedRun) else run)
    if corpus is None:
        config["corpus"] = record.config["corpus"]
    prepared = corpus_of(config, None, drafts=False)
    done, _ = evaluated.evaluate(
        evaluated.models_of(record), prepared, split, own_corpus=corpus is None, group=runs_of.group(record), folder=Path(output),
        command=["evaluate", f"run={record.id[:8]}", *words], language=config["language"], errors=config["error_analysis"],
        allow_seen=config["seen"] == "allow",
    )  # fmt: skip
    return [EvaluatedRun(one.name, one.result, prepared.scheme, one.report) for one in done]


def compare(
    runs: Sequence[TrainedRun | str], *, split: Literal["dev", "test", "folds"] = "test", corpus: str | None = None,
    task: str | None = None, correction: Literal["holm", "none"] = "holm", tracking: Tracking = "local",
) -> ComparedRuns:  # fmt: skip
    """Compare runs by paired tests over the articles of one split; see ``docs/evaluation.md``.

    The runs must have been evaluated on that split; a training always stores its predictions of
    dev. Raises ``UserError`` if they can't be compared, naming what differs.
    """
    config = plain(compose("compare", [f"tracking={tracking}"], optional=("corpus",)))
    names = [run.id if isinstance(run, TrainedRun) else run for run in runs]
    systems = compared.read(make(config["tracking"], "tracking"), names, split, corpus)
    result = comparison.compare(systems, [task] if task else [], correction, config["draws"], config["seed"])
    return ComparedRuns(result, systems[0].runs[0].scheme)


def _corpus_words(corpus: Any, labels: str | Path | None) -> list[str]:
    scheme = [f"corpus.labels={quote(str(labels))}"] if labels is not None else []
    if is_table(corpus):
        corpus = _written(corpus)
    if not isinstance(corpus, str | Path):
        raise UserError(f"the corpus is {kind(corpus)}; expected a name, a file, or a DataFrame")
    path = Path(corpus).expanduser()
    if not (reader := kind_of(path)):
        if path.suffix and path.exists():
            raise UserError(f"{path} has an unknown file type; a corpus is a file {listed(f'*{ending}' for ending in KINDS)}")
        return [f"corpus={corpus}", *scheme]
    unpacked = Path(path.name.removesuffix(".gz"))
    separator = ["corpus.reader.separator=tab"] if unpacked.suffix.lower() == ".tsv" else []
    return [f"corpus={reader}", f"corpus.name={quote(unpacked.stem)}", f"corpus.reader.path={quote(str(path))}", *separator, *scheme]


def _written(table: Any) -> Path:
    """Write a table beside the prepared corpora, under a name derived from its content's hash."""
    import pandas as pd

    rows = pd.DataFrame(rows_of(table), dtype=object)  # else whole numbers beside missing values become floats such as 1.0
    text = rows.to_json(orient="records", lines=True, date_format="iso", force_ascii=False, default_handler=str)
    path = Path("data/tables", f"table-{hashlib.sha256(text.encode()).hexdigest()[:8]}.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return path
