"""``haltung predict``: label one text, or a file of them."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field
from rich.console import Console
from rich.table import Table

from haltung.cli.build import Language, command, make, output_file, typed, writing
from haltung.errors import UserError, listed
from haltung.evaluation.report.i18n import word
from haltung.labels import STANCE, Scheme
from haltung.records import Prediction, label_ids

if TYPE_CHECKING:
    from haltung.events.dyads.model import DyadModel
    from haltung.experiments.predict import Labeller, TextFiles
    from haltung.models.predictor import Predictor

Runtime = Literal["auto", "onnxruntime", "openvino", "torch"]

# How many of a task's labels are shown with their probabilities.
_SHOWN = 3
_OPENING = 256  # rows of each file that are read before a model is loaded, so that mistakes come at once


# A sentence may hold commas, quotes and brackets, which mean something in an override.
@command("predict", verbatim=("text", "context", "target"))
def run(
    *, run: str | None, bundle: str | None, text: str | None, context: str, target: str, input: str | None,  # noqa: A002 -- the key's name
    output: str | None, abstain: float | None, window: Annotated[int, Field(ge=1)], runtime: Runtime, resume: bool | None,
    engine: Literal["local", "ray"], ray: Mapping[str, Any], language: Language, tracking: Mapping[str, Any],
) -> int:  # fmt: skip
    """Label a text or files of texts; return 1 if some rows could not be used."""
    if (text is None) == (input is None):
        raise UserError("name what to label: text='…' for one text, or input=FILE.jsonl for many; one of the two")

    from haltung.experiments.journal import BROKEN, digest
    from haltung.experiments.predict import bundle_of, find, label, local, on_ray, opening, rows_of, single_text, written
    from haltung.experiments.ray_engine import Cluster
    from haltung.models import compact
    from haltung.models.predictor import abstained

    if engine == "ray" and output is None:
        raise UserError("engine=ray labels files and writes others; name both: input=… output=…")
    cluster = typed(Cluster, ray, "ray") if engine == "ray" else None
    texts = None if input is None else find(input)
    to = texts and _target(texts, output, resume)
    if texts is None:
        segments = [single_text(str(text), context, target)]
    else:
        for path in texts.paths:
            first = opening(rows_of(path), str(path), min(window, _OPENING) if to else sys.maxsize)
        segments = first.segments
    if run is not None and bundle is not None:
        raise UserError("run=… and bundle=… name two models; name one of the two")
    folder = compact.find(bundle) if run is None else bundle_of(make(tracking, "tracking"), run)
    # For one text the graph: importing torch takes longer than the answer. Workers have no GPU.
    labeller = _labeller(folder, runtime, abstain, graph=texts is None or cluster is not None)
    for task in (task for task, threshold in labeller.thresholds.items() if threshold is None):
        print(f"{task} never reached the precision {abstain:g} on dev, so each of its predictions is abstained", file=sys.stderr)
    if texts is None:
        (prediction,) = labeller.model.predict(segments)
        _show(labeller.model.scheme, prediction, language, abstained(prediction, labeller.thresholds), labeller.dyads)
        return 0
    if to is None:
        sys.stdout.write(written(texts.paths[0], first, labeller(segments, True)))
        return 0
    settings = {"model": digest([folder]), "runtime": runtime, "window": window, "abstain": abstain}
    make_one = partial(_labeller, runtime=runtime, abstain=abstain, graph=True)
    pieces = on_ray(cluster, folder, make_one, texts, window) if cluster else local(labeller, window)
    with writing(to):
        counts = label(pieces, texts, to, settings, resume)
    print(f"{counts['sound']} predictions written to {to}")
    if texts.others:
        print(f"haltung: passed over files that are no *.jsonl, *.csv, *.tsv or *.parquet: {listed(texts.others)}", file=sys.stderr)
    if counts["broken"]:
        beside = f"the files *{BROKEN} in {to}" if texts.several else f"{to}{BROKEN}"
        print(f"haltung: {counts['broken']} rows could not be used; {beside} have them with the reasons", file=sys.stderr)
    return int(counts["broken"] > 0)


def _labeller(folder: Path, runtime: Runtime, abstain: float | None, graph: bool) -> Labeller:
    """Return the model of a bundle; ``graph``: by its graph also where there is a GPU for torch."""
    from haltung.events.dyads import model as dyad_model
    from haltung.experiments.predict import Labeller
    from haltung.inference.client import TOKENS_PER_BATCH
    from haltung.models import bundle
    from haltung.serving.engine import Settings, open_engine

    model: Predictor
    if runtime in ("auto", "torch"):
        graph = graph or not Path("/dev/nvidiactl").exists()
        model = bundle.load(folder, graph) if runtime == "auto" else bundle.load_trained(folder)
    else:
        model = open_engine(Settings(folder, runtime=runtime, format="fp32", tokens=TOKENS_PER_BATCH))
    thresholds = {} if abstain is None else model.calibration.abstaining(abstain)
    return Labeller(model, thresholds, dyad_model.load(folder) if model.finds_dyads else None)


def _target(texts: TextFiles, output: str | None, resume: bool | None) -> Path | None:
    """Return where predictions go, None for the terminal; ``UserError`` if they can't."""
    from haltung.experiments.predict import kind_of

    given = texts.paths[0]
    if output is None:
        if texts.several or kind_of(given) == "parquet" or resume is not None:
            raise UserError("several files, Parquet and resume= need an output; name a file, or a folder for several files: output=…")
        return None
    if not texts.several:
        to = output_file(output)
        if to and (kind_of(to) not in ("", kind_of(given)) or (to.exists() and to.samefile(given))):
            raise UserError(f"{to} can't be the output of {given}, since rows are written to another file of the same kind")
        return to
    to = Path(output).expanduser()
    if not to.parent.is_dir() or (
        to.exists() and not to.with_name(f"{to.name}.journal").exists() and (not to.is_dir() or any(to.iterdir()))
    ):
        raise UserError(f"{to} is no place for the predictions of several files; name a new or empty folder in one that exists")
    return to


def _show(scheme: Scheme, prediction: Prediction, language: str, unsure: Collection[str], dyads: DyadModel | None) -> None:
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
