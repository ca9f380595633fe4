"""Predictions for unlabelled texts: read them, load a model, mark what it is too unsure of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haltung import tracking
from haltung.corpus.parsing.fields import Fields, sound
from haltung.corpus.parsing.lines import existing, json_rows
from haltung.corpus.parsing.rows import Fault
from haltung.errors import UserError
from haltung.models import bundle
from haltung.models.predictor import Predictor, abstained
from haltung.records import Prediction, Segment, in_context
from haltung.tracking import Store


@dataclass(frozen=True)
class Abstention:
    """The probability below which each task abstains; None where dev never gave the precision."""

    thresholds: Mapping[str, float | None]

    @property
    def unreachable(self) -> list[str]:
        """The tasks that never reached the precision on dev."""
        return [task for task, threshold in self.thresholds.items() if threshold is None]

    def tasks(self, prediction: Prediction) -> Mapping[str, bool]:
        """Return the tasks that a prediction is too unsure of, ``{"stance": True}``."""
        return abstained(prediction, self.thresholds)

    def row(self, prediction: Prediction) -> dict[str, Any]:
        """Return a prediction as plain data, with these tasks where there are thresholds."""
        return prediction.to_dict() | ({"abstained": self.tasks(prediction)} if self.thresholds else {})


def read_texts(path: Path) -> list[Segment]:
    """Read JSON Lines with ``text`` and optionally ``id``, ``context`` and ``target``.

    With ``article`` and ``position``, the number of the text in it, and optionally ``headline``, a
    model of articles reads the texts of an article together, another one each behind its context
    (see ``in_context``). A text without an id gets its number in the file. Raises ``UserError`` if
    the file is missing, broken or empty, a line has no text, or two have one id.
    """
    segments: list[Segment] = []
    seen: dict[str, str] = {}
    for row in json_rows(existing(path)):
        try:
            fields = Fields(row.fields(), {})
            segment = Segment(
                fields.word("id") or str(len(segments) + 1), fields.text("text", required=True), context=fields.text("context"),
                target=fields.text("target"), article=fields.word("article"), headline=fields.text("headline"),
                position=fields.whole("position"),
            )  # fmt: skip
        except Fault as fault:
            raise UserError(f"{row.where}: {fault}") from None
        if not segment.text.strip():
            raise UserError(f"{row.where}: 'text' is empty; give each line a text")
        if segment.id in seen:
            raise UserError(f"{row.where}: the id '{segment.id}' is already that of {seen[segment.id]}; give each text an id of its own")
        seen[segment.id] = row.where
        segments.append(segment)
    if not segments:
        raise UserError(f'{path} holds no text; expected one JSON object a line, such as {{"text": "Chile warnt."}}')
    return in_context(segments)


def single_text(text: str, context: str = "", target: str = "") -> Segment:
    """Return one text as a segment.

    Raises ``UserError`` if it is empty, or holds half a character, as a shell can pass it.
    """
    if not text.strip():
        raise UserError("text is empty; give a German sentence, as in text='Die USA warnen Russland.'")
    try:
        return Segment("1", sound(text, "text"), context=sound(context, "context"), target=sound(target, "target"))
    except Fault as fault:
        raise UserError(str(fault)) from None


def load_model(store: Store, run: str | None = None) -> Predictor:
    """Return the model of a run, or of the newest one; of several seeds the first."""
    record = tracking.newest(store) if run is None else tracking.find(store, run)
    return bundle.load(tracking.bundle_folder(tracking.members(record)[0]))


def abstention(model: Predictor, precision: float | None) -> Abstention:
    """Return when a model abstains so that it reaches a precision; never for None.

    Raises ``UserError`` if the model has no thresholds for this precision.
    """
    return Abstention({} if precision is None else model.calibration.abstaining(precision))
