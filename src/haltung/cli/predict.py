"""``haltung predict``: label one text, or a file of them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haltung.cli.composing import compose, parse
from haltung.cli.objects import make, plain
from haltung.errors import UserError
from haltung.records import Segment

if TYPE_CHECKING:
    from haltung.model.bundle import Model
    from haltung.records import Prediction

# How many of a task's labels are shown with their probabilities.
_SHOWN = 3


def run(words: Sequence[str]) -> int:
    """Label what is asked for."""
    parsed = parse(words)
    for overrides in parsed.combinations:
        config = compose("predict", overrides, parsed.config_dir)
        if parsed.show:
            from omegaconf import OmegaConf

            print(OmegaConf.to_yaml(config))
        else:
            _predict(plain(config))
    return 0


def _predict(settings: Mapping[str, Any]) -> None:
    if (settings["text"] is None) == (settings["input"] is None):
        raise UserError("name what to label: text='…' for one text, or input=FILE.jsonl for many; one of the two")
    segments = _single(settings) if settings["input"] is None else read(Path(settings["input"]))
    model = _model(settings)
    predictions = model.predict(segments, progress=True)
    if settings["input"] is None:
        _show(model, predictions[0], str(settings["language"]))
        return
    lines = "".join(json.dumps(prediction.to_dict(), ensure_ascii=False) + "\n" for prediction in predictions)
    if settings["output"] is None:
        sys.stdout.write(lines)
        return
    output = Path(settings["output"])
    scratch = output.with_name(f".{output.name}-{os.getpid()}")
    try:
        scratch.write_text(lines, encoding="utf-8")
        scratch.replace(output)
    except OSError as error:
        raise UserError(
            f"{output} can't be written: {error.strerror}; name a file in a folder that exists and that you may write to"
        ) from None
    print(f"{len(predictions)} predictions written to {output}")


def read(path: Path) -> list[Segment]:
    """Read unlabelled texts: JSON Lines with ``text`` and optionally ``id``, ``context`` and ``target``.

    Raises:
        UserError: the file is missing or broken, or a line has no text.
    """
    from haltung.corpus.readers.lines import existing, json_rows
    from haltung.corpus.readers.rows import Fault

    segments: list[Segment] = []
    for line in json_rows(existing(path)):
        where = line.where
        try:
            row = line.fields()
        except Fault as fault:
            raise UserError(f"{where}: {fault}") from None
        if not isinstance(row.get("text"), str):
            raise UserError(f"{where}: expected a JSON object with a 'text', found {json.dumps(row, ensure_ascii=False)[:80]}")
        for name in ("context", "target"):
            if not isinstance(row.get(name, ""), str):
                raise UserError(f"{where}: '{name}' is {row[name]!r}, expected text")
        name = str(row.get("id", len(segments) + 1))
        segments.append(Segment(name, str(row["text"]), context=str(row.get("context", "")), target=str(row.get("target", ""))))
    return segments


def _single(settings: Mapping[str, Any]) -> list[Segment]:
    text = str(settings["text"])
    if not text.strip():
        raise UserError("text is empty; give a German sentence, as in text='Die USA warnen Russland.'")
    return [Segment("1", text, context=str(settings["context"]), target=str(settings["target"]))]


def _model(settings: Mapping[str, Any]) -> Model:
    from haltung import tracking
    from haltung.model import bundle

    if settings["bundle"] is not None:
        return bundle.load(Path(settings["bundle"]))
    store = make(settings["tracking"], "tracking")
    record = tracking.newest(store) if settings["run"] is None else tracking.find(store, str(settings["run"]))
    members = tracking.children(record)
    return bundle.load(tracking.bundle_folder(members[0] if members else record))


def _show(model: Model, prediction: Prediction, language: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", *(("Ergebnis", "Wahrscheinlichkeiten") if language == "de" else ("label", "probabilities")))
    for task in model.scheme:
        chosen = prediction.labels[task.name]
        names = {label.id: label.name(language) for label in task.labels}
        best = sorted(prediction.probabilities[task.name].items(), key=lambda item: -item[1])[:_SHOWN]
        labels = [chosen] if isinstance(chosen, str) else list(chosen)
        shown = ", ".join(f"{names[label]} {value:.2f}" for label, value in best)
        table.add_row(task.title(language), ", ".join(names[label] for label in labels) or "–", shown)
    Console().print(table)
