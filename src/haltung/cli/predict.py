"""``haltung predict``: label one text, or a file of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haltung.cli.build import Language, make, typed
from haltung.cli.config import each
from haltung.errors import UserError
from haltung.files import write_text
from haltung.records import Segment

if TYPE_CHECKING:
    from haltung.models.predictor import Predictor
    from haltung.records import Prediction

# How many of a task's labels are shown with their probabilities.
_SHOWN = 3

# These are taken as they stand: a sentence may hold commas, quotes and brackets, which mean something in an override.
_VERBATIM = ("text", "context", "target")


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
    abstain: float | None = None


def run(arguments: Sequence[str]) -> int:
    """Label what is asked for."""
    for request in each("predict", arguments, verbatim=_VERBATIM):
        _predict(typed(PredictOptions, request.settings), request.settings["tracking"])
    return 0


def _predict(options: PredictOptions, tracking_node: dict[str, Any]) -> None:
    if (options.text is None) == (options.input is None):
        raise UserError("name what to label: text='…' for one text, or input=FILE.jsonl for many; one of the two")
    output = None if options.output is None else _writable(Path(options.output))
    segments = read(Path(options.input)) if options.input is not None else [_single(options)]
    model = _model(options, tracking_node)
    thresholds = _thresholds(model, options.abstain)
    predictions = model.predict(segments, progress=True)
    if options.input is None:
        _show(model, predictions[0], options.language, thresholds)
        return
    lines = "".join(json.dumps(_row(prediction, thresholds), ensure_ascii=False) + "\n" for prediction in predictions)
    if output is None:
        sys.stdout.write(lines)
        return
    try:
        write_text(output, lines)
    except OSError as error:
        raise UserError(f"{output} can't be written: {error.strerror}; name a file in a folder that you may write to") from None
    print(f"{len(predictions)} predictions written to {output}")


def read(path: Path) -> list[Segment]:
    """Read unlabelled texts: JSON Lines with ``text`` and optionally ``id``, ``context`` and ``target``.

    Raises:
        UserError: the file is missing, broken or holds no text, or a line has none.
    """
    from haltung.corpus.parsing.lines import existing, json_rows
    from haltung.corpus.parsing.rows import Fault

    segments: list[Segment] = []
    seen: dict[str, str] = {}
    for line in json_rows(existing(path)):
        where = line.where
        try:
            row = line.fields()
        except Fault as fault:
            raise UserError(f"{where}: {fault}") from None
        text = row.get("text")
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"{where}: expected a JSON object with a 'text', found {json.dumps(row, ensure_ascii=False)[:80]}")
        for name in ("context", "target"):
            if not isinstance(row.get(name) or "", str):
                raise UserError(f"{where}: '{name}' is {row[name]!r}, expected text")
        given = row.get("id")
        name = str(len(segments) + 1 if given is None else given)
        if name in seen:
            raise UserError(f"{where}: the id '{name}' is already that of {seen[name]}; give each text an id of its own")
        seen[name] = where
        segment = Segment(name, text, context=str(row.get("context") or ""), target=str(row.get("target") or ""))
        segments.append(_whole(segment, where))
    if not segments:
        raise UserError(f'{path} holds no text; expected one JSON object a line, such as {{"text": "Chile warnt."}}')
    return segments


def _whole(segment: Segment, where: str) -> Segment:
    """Return the segment if every character in it is whole; JSON and a shell can hold halves of one that no tokenizer reads."""
    for name in ("id", *_VERBATIM):
        try:
            str(getattr(segment, name)).encode("utf-8")
        except UnicodeEncodeError as error:
            raise UserError(
                f"{where}: '{name}' has half a character at place {error.start + 1}, which is no text; write it as UTF-8"
            ) from None
    return segment


def _single(options: PredictOptions) -> Segment:
    text = str(options.text)
    if not text.strip():
        raise UserError("text is empty; give a German sentence, as in text='Die USA warnen Russland.'")
    return _whole(Segment("1", text, context=options.context, target=options.target), "the command line")


def _writable(output: Path) -> Path:
    """Return the path if a file can stand there; told before the model is loaded, not after a million predictions."""
    if output.is_dir() or not output.name:
        raise UserError(f"{output} is a directory; name a file to write the predictions to")
    if not output.parent.is_dir():
        raise UserError(f"{output.parent}: no such folder; make it, or name a file in one that exists")
    return output


def _model(options: PredictOptions, tracking_node: dict[str, Any]) -> Predictor:
    from haltung import tracking
    from haltung.models import bundle

    if options.bundle is not None:
        return bundle.load(Path(options.bundle))
    store = make(tracking_node, "tracking")
    record = tracking.newest(store) if options.run is None else tracking.find(store, options.run)
    return bundle.load(tracking.bundle_folder(tracking.members(record)[0]))


def _thresholds(model: Predictor, precision: float | None) -> dict[str, float | None]:
    """Return below which probability each task abstains; none does where no precision is asked for."""
    if precision is None:
        return {}
    thresholds = model.calibration.abstaining(precision)
    for task in [task for task, least in thresholds.items() if least is None]:
        print(f"{task} never reached the precision {precision:g} on dev, so each of its predictions is abstained", file=sys.stderr)
    return thresholds


def _row(prediction: Prediction, thresholds: dict[str, float | None]) -> dict[str, Any]:
    """Return the prediction as plain data; where abstaining is asked for, with the tasks that it is not sure enough of."""
    from haltung.models.predictor import abstained

    return prediction.to_dict() | ({"abstained": abstained(prediction, thresholds)} if thresholds else {})


def _show(model: Predictor, prediction: Prediction, language: str, thresholds: dict[str, float | None]) -> None:
    from rich.console import Console
    from rich.table import Table

    from haltung.evaluation.report.i18n import word
    from haltung.models.predictor import abstained

    unsure = abstained(prediction, thresholds)
    table = Table("", word("result", language), word("probabilities", language))
    for task in model.scheme:
        chosen = prediction.labels[task.name]
        names = {label.id: label.name(language) for label in task.labels}
        best = sorted(prediction.probabilities[task.name].items(), key=lambda item: -item[1])[:_SHOWN]
        labels = [chosen] if isinstance(chosen, str) else list(chosen)
        shown = ", ".join(f"{names[label]} {value:.2f}" for label, value in best)
        mark = f" ({word('abstained', language)})" if task.name in unsure else ""
        table.add_row(task.title(language), (", ".join(names[label] for label in labels) or "–") + mark, shown)
    Console().print(table)
