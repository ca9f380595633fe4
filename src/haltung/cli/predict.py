"""``haltung predict``: label one text, or a file of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from haltung.cli.build import Language, make, output_file, typed, written
from haltung.cli.config import Request, command
from haltung.errors import UserError
from haltung.evaluation.report.i18n import word
from haltung.labels import STANCE, Scheme

if TYPE_CHECKING:
    from haltung.events.dyads.model import DyadModel
    from haltung.records import Prediction

# How many of a task's labels are shown with their probabilities.
_SHOWN = 3


@dataclass(frozen=True)
class PredictOptions:
    """The keys of the command."""

    run: str | None
    bundle: str | None
    text: str | None
    context: str
    target: str
    input: str | None
    output: str | None
    language: Language
    tracking: Mapping[str, Any]
    abstain: float | None = None


# A sentence may hold commas, quotes and brackets, which mean something in an override.
@command("predict", verbatim=("text", "context", "target"))
def run(request: Request) -> None:
    """Label a text or a file of texts."""
    options = typed(PredictOptions, request.settings)
    if (options.text is None) == (options.input is None):
        raise UserError("name what to label: text='…' for one text, or input=FILE.jsonl for many; one of the two")

    from haltung.events.dyads import model as dyad_model
    from haltung.experiments.predict import answer, bundle_of, read_texts, single_text
    from haltung.models import bundle
    from haltung.models.predictor import abstained

    output = output_file(options.output)
    if options.input is None:
        segments = [single_text(str(options.text), options.context, options.target)]
    else:
        segments = read_texts(Path(options.input))
    folder = Path(options.bundle) if options.bundle else bundle_of(make(options.tracking, "tracking"), options.run)
    model = bundle.load(folder)
    thresholds = {} if options.abstain is None else model.calibration.abstaining(options.abstain)
    dyads = dyad_model.load(folder) if model.finds_dyads else None
    for task in (task for task, threshold in thresholds.items() if threshold is None):
        print(f"{task} never reached the precision {options.abstain:g} on dev, so each of its predictions is abstained", file=sys.stderr)
    predictions = model.predict(segments, progress=True)
    if options.input is None:
        _show(model.scheme, predictions[0], options.language, abstained(predictions[0], thresholds), dyads)
        return
    with written(output) as file:
        file.writelines(json.dumps(answer(prediction, thresholds, dyads), ensure_ascii=False) + "\n" for prediction in predictions)
    if output is not None:
        print(f"{len(predictions)} predictions written to {output}")


def _show(scheme: Scheme, prediction: Prediction, language: str, unsure: Collection[str], dyads: DyadModel | None) -> None:
    table = Table("", word("result", language), word("probabilities", language))
    for task in scheme:
        predicted = prediction.labels[task.name]
        names = {label.id: label.name(language) for label in task.labels}
        best = sorted(prediction.probabilities[task.name].items(), key=lambda item: -item[1])[:_SHOWN]
        labels = [predicted] if isinstance(predicted, str) else list(predicted)
        shown = ", ".join(f"{names[label]} {value:.2f}" for label, value in best)
        mark = f" ({word('abstained', language)})" if task.name in unsure else ""
        table.add_row(task.title(language), (", ".join(names[label] for label in labels) or "–") + mark, shown)
    for number, dyad in enumerate(dyads.dyads(prediction) if dyads else ()):
        stance = scheme[STANCE].labels[scheme[STANCE].index(dyad.stance)].name(language)
        who = f"{dyad.source or '–'} → {dyad.target or '–'}: {stance}"
        table.add_row("" if number else word("who_whom", language), who, f"{dyad.probability:.2f}")
    Console().print(table)
