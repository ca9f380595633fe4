"""``haltung predict``: label one text, or a file of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from haltung.cli.build import Language, command, make, output_file, written
from haltung.errors import UserError
from haltung.evaluation.report.i18n import word
from haltung.labels import STANCE, Scheme
from haltung.records import Prediction, label_ids

if TYPE_CHECKING:
    from haltung.events.dyads.model import DyadModel

# How many of a task's labels are shown with their probabilities.
_SHOWN = 3


# A sentence may hold commas, quotes and brackets, which mean something in an override.
@command("predict", verbatim=("text", "context", "target"))
def run(
    *, run: str | None, bundle: str | None, text: str | None, context: str, target: str, input: str | None,  # noqa: A002 -- the key's name
    output: str | None, abstain: float | None, language: Language, tracking: Mapping[str, Any],
) -> None:  # fmt: skip
    """Label a text or a file of texts."""
    if (text is None) == (input is None):
        raise UserError("name what to label: text='…' for one text, or input=FILE.jsonl for many; one of the two")

    from haltung.events.dyads import model as dyad_model
    from haltung.experiments.predict import answer, bundle_of, read_texts, single_text
    from haltung.models import bundle as bundles
    from haltung.models import compact
    from haltung.models.predictor import abstained

    file_to = output_file(output)
    segments = [single_text(str(text), context, target)] if input is None else read_texts(Path(input))
    if run is not None and bundle is not None:
        raise UserError("run=… and bundle=… name two models; name one of the two")
    folder = compact.find(bundle) if run is None else bundle_of(make(tracking, "tracking"), run)
    # For one text the graph: importing torch takes longer than the answer.
    model = bundles.load(folder, graph=input is None)
    thresholds = {} if abstain is None else model.calibration.abstaining(abstain)
    dyads = dyad_model.load(folder) if model.finds_dyads else None
    for task in (task for task, threshold in thresholds.items() if threshold is None):
        print(f"{task} never reached the precision {abstain:g} on dev, so each of its predictions is abstained", file=sys.stderr)
    predictions = model.predict(segments, progress=True)
    if input is None:
        _show(model.scheme, predictions[0], language, abstained(predictions[0], thresholds), dyads)
        return
    with written(file_to) as file:
        file.writelines(json.dumps(answer(prediction, thresholds, dyads), ensure_ascii=False) + "\n" for prediction in predictions)
    if file_to is not None:
        print(f"{len(predictions)} predictions written to {file_to}")


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
