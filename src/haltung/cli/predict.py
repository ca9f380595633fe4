"""``haltung predict``: label one text, or a file of them."""

import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from rich.console import Console
from rich.table import Table

from haltung.cli.build import Language, command, make, output_file, typed
from haltung.corpus.readers.sheet import Sheet
from haltung.errors import UserError, listed
from haltung.evaluation.report.i18n import estimate, word
from haltung.events import dyads as dyad_model
from haltung.events.archive.pages import counted
from haltung.events.text.read import SHEETS
from haltung.experiments import predict as experiment
from haltung.experiments.journal import BROKEN, JOURNAL, LEFT, digest
from haltung.experiments.predict import kind_of
from haltung.experiments.ray_engine import Cluster
from haltung.experiments.sheets import OpenSheet, open_sheet
from haltung.inference.client import TOKENS_PER_BATCH
from haltung.labels import STANCE, Scheme
from haltung.models import bundle as bundles
from haltung.models import compact
from haltung.models.predictor import Predictor, abstained
from haltung.records import Prediction, label_ids
from haltung.serving.engine import Settings, open_engine

Runtime = Literal["auto", "onnxruntime", "openvino", "torch"]
GPU = Path("/dev/nvidiactl")  # exists if torch can use an NVIDIA GPU
_MANY = 256  # texts; from this number on, the faster runtime is worth the time that it takes to load
_SHOWN = 3  # labels of a task whose probabilities are shown


# A sentence may contain commas, quotes and brackets, which are syntax in an override.
@command("predict", verbatim=("text", "context", "target"))
def run(
    *, run: str | None, bundle: str | None, text: str | None, context: str, target: str, input: str | None,  # noqa: A002 -- the key's name
    table: str | None, reader: Mapping[str, Any],
    output: str | None, abstain: float | None, window: Annotated[int, Field(ge=1)], resume: bool | None, runtime: Runtime,
    engine: Literal["local", "ray"], ray: Mapping[str, Any], language: Language, tracking: Mapping[str, Any],
) -> int:  # fmt: skip
    """Label a text or files of texts; return 1 if some rows could not be used."""
    if [text, input, table].count(None) != 2:
        one_of_them = "text='…' for one text, table=FILE.xlsx for a sheet, or input=FILE.jsonl for many; one of the three"
        raise UserError(f"name what to label: {one_of_them}")
    if input is not None and not kind_of(Path(input)) and Path(input).suffix.lower() in SHEETS:
        table, input = input, None  # noqa: A001 -- the key's name
    if (engine == "ray" or "://" in f"{input} {output}") and (input is None or output is None):
        raise UserError("engine=ray and files given as URLs need both input=… and output=…; name the other one as well")
    cluster = typed(Cluster, ray, "ray") if engine == "ray" else None
    deliver, shown = None, output
    if "://" in f"{input} {output}":
        input, output, deliver = experiment.nearby(str(input), str(output))  # noqa: A001 -- the key's name
    sheet = None if table is None else _opened(typed(Sheet, {**reader, "path": table}, "reader"), output, engine, resume)
    paths = [] if input is None else experiment.find(input)
    several = input is not None and paths != [Path(input).expanduser()]
    to = None if not paths or output is None else Path(output).expanduser()
    targets = [to / path.name if several else to for path in paths] if to else []
    if paths and to is None and (several or kind_of(paths[0]) == "parquet" or resume is not None):
        raise UserError("several files, Parquet and resume= need an output; name a file, or a folder for several files: output=…")
    if to and several:
        there, own = {path.name for path in to.glob("[!.]*")}, {one.name + ending for one in targets for ending in ("", *LEFT)}
        is_free = not there or (there <= own and any(name.endswith(JOURNAL) for name in there))
        is_read = any(one.exists() and one.samefile(path) for one, path in zip(targets, paths, strict=True))
        if not to.parent.is_dir() or (to.exists() and not to.is_dir()) or output == "-" or is_read or not is_free:
            raise UserError(f"{to} can't be used for the predictions of several files; name a new or empty folder in one that exists")
    if to and not several:
        output_file(output, paths)
        kind = kind_of(paths[0]) or "jsonl"
        is_packed = to.suffix == ".gz" and "parquet" in (kind, to.stem.lower().rpartition(".")[2])
        if to.suffix.lower() == ".xlsx" or kind_of(to) not in ("", kind) or is_packed:
            found = f"{to} can't be the output of {paths[0]}, because rows go to another file of the same kind (Parquet never .gz)"
            raise UserError(f"{found}; table={paths[0].name} can be written to a sheet of any kind")
    segments = [] if text is None else [experiment.single_text(text, context, target)]
    for path in paths:
        first = experiment.opening(experiment.rows_of(path), str(path), _MANY if to else sys.maxsize)
    if run is not None and bundle is not None:
        raise UserError("run=… and bundle=… name two models; name one of the two")
    folder = compact.find(bundle) if run is None else experiment.bundle_of(make(tracking, "tracking"), run)
    # One text uses the graph, as importing torch takes longer than the answer. Workers have no GPU.
    graph = text is not None or cluster is not None or not GPU.exists()
    many = several or len(sheet.rows if sheet else first.rows if paths else ()) >= _MANY
    labeller = _labeller(folder, runtime, abstain, graph, many)
    model, thresholds, dyads = labeller.args
    for task in (task for task, threshold in thresholds.items() if threshold is None):
        print(f"{task} never reached the precision {abstain:g} on dev, so all of its predictions are abstentions", file=sys.stderr)
    if segments:
        (prediction,) = model.predict(segments)
        _show(model.scheme, prediction, language, abstained(prediction, thresholds), dyads)
        return 0
    if sheet:
        for task, metrics in sheet.label(labeller, model.scheme, language).items():
            figures = ((name, getattr(metrics, name), metrics.intervals.get(name)) for name in ("accuracy", "macro_f1"))
            said = ", ".join(f"{word(name, language)} {estimate(value, ends, language)}" for name, value, ends in figures)
            print(f"{task} against {sheet.columns[task]}: {said} ({metrics.n:,} of {len(sheet.rows):,} rows)")
        print(*sheet.sheet.said, f"{counted('en', 'predictions', len(sheet.window.segments))} written to {shown}", sep="\n")
        return int(bool(sheet.window.broken))
    if to is None:
        sys.stdout.write(experiment.written(paths[0], first, labeller(first.segments, True)))
        return 0
    read_by = getattr(model, "runtime", "weights")
    depends = {"model": digest([folder]), "runtime": runtime, "read by": read_by, "window": window, "abstain": abstain}
    make_one = partial(_labeller, runtime=runtime, abstain=abstain, graph=True, many=many)
    labelled = experiment.on_ray(cluster, folder, make_one, paths, window) if cluster else experiment.local(labeller, window)
    others = sorted(one.name for one in Path(str(input)).expanduser().glob("[!.]*") if not kind_of(one) and not one.name.endswith(LEFT))
    made = (experiment.label(labelled, path, one, depends, resume) for path, one in zip(paths, targets, strict=True))
    counts = sum(made, Counter[str]())
    for one in targets:
        one.with_name(one.name + JOURNAL).unlink()
    if deliver:
        deliver()
    print(f"{counted('en', 'predictions', counts['sound'])} written to {shown}")
    if others:
        print(f"haltung: skipped what is not *.jsonl, *.csv, *.tsv or *.parquet: {listed(others)}", file=sys.stderr)
    if counts["broken"]:
        print(f"haltung: {counted('en', 'rows', counts['broken'])} left out; {shown}{'/*' * several}{BROKEN} says why", file=sys.stderr)
    return int(counts["broken"] > 0)


def _opened(sheet: Sheet, output: str | None, engine: str, resume: bool | None) -> OpenSheet:
    to = output_file(output, [Path(str(sheet.path)).expanduser()])
    if to is None or engine != "local" or resume is not None:
        name = f"output={Path(str(sheet.path)).stem}.labelled.xlsx (or .csv, .tsv, .parquet)"
        raise UserError(f"a sheet is labelled all at once, and written to another one: give {name}, without engine= or resume=")
    opened = open_sheet(sheet, to)
    if not opened.window.segments:
        raise UserError(f"{opened.window.broken[0].where}: {opened.window.broken[0].reason}")
    for row in opened.window.broken:
        print(f"haltung: {row.where}: {row.reason}; it gets no labels", file=sys.stderr)
    return opened


def predictor(folder: Path, runtime: Runtime, graph: bool, many: bool) -> Predictor:
    """Return the model of a bundle; for ``graph`` and ``many`` see ``bundle.load``."""
    if runtime in ("onnxruntime", "openvino"):
        return open_engine(Settings(folder, runtime=runtime, format="fp32", tokens=TOKENS_PER_BATCH))
    return bundles.load(folder, graph, many) if runtime == "auto" else bundles.load_trained(folder)


def _labeller(folder: Path, runtime: Runtime, abstain: float | None, graph: bool, many: bool = False) -> partial[Iterator[dict[str, Any]]]:
    model = predictor(folder, runtime, graph, many)
    thresholds = {} if abstain is None else model.calibration.abstaining(abstain)
    return partial(experiment.answers, model, thresholds, dyad_model.load(folder) if model.finds_dyads else None)


def _show(scheme: Scheme, prediction: Prediction, language: str, unsure: Collection[str], dyads: dyad_model.DyadModel | None) -> None:
    table = Table("", word("result", language), word("probabilities", language))
    for task in scheme:
        names = {label.id: label.name(language) for label in task.labels}
        best = sorted(prediction.probabilities[task.name].items(), key=lambda item: -item[1])[:_SHOWN]
        labels = ", ".join(names[label] for label in label_ids(prediction.labels[task.name]))
        shown = ", ".join(f"{names[label]} {value:.2f}" for label, value in best)
        mark = f" ({word('abstained', language)})" if task.name in unsure else ""
        table.add_row(task.title(language), (labels or "–") + mark, shown)
    for number, dyad in enumerate(dyads.dyads(prediction) if dyads else ()):
        stance = scheme[STANCE].labels[scheme[STANCE].index(dyad.stance)].name(language)
        who = f"{dyad.source or '–'} → {dyad.target or '–'}: {stance}"
        table.add_row("" if number else word("who_whom", language), who, f"{dyad.probability:.2f}")
    Console().print(table)
