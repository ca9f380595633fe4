"""Predictions for unlabelled texts: read them, find a model, say who acts and what is unsure."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from haltung import tracking
from haltung.corpus.parsing.fields import Fields, sound
from haltung.corpus.parsing.lines import existing, json_rows
from haltung.corpus.parsing.rows import Fault, SourceRow
from haltung.errors import UserError
from haltung.events.dyads.model import DyadModel
from haltung.models.predictor import abstained
from haltung.records import Prediction, Segment, in_context
from haltung.tracking import Store


def answer(prediction: Prediction, thresholds: Mapping[str, float | None], dyads: DyadModel | None) -> dict[str, Any]:
    """Return a prediction as plain data, with all that is said of it.

    ``thresholds`` has the probability below which each task abstains, None where dev never gave the
    precision; ``dyads`` chooses who is towards whom, None for a model that does not say.
    """
    row = prediction.to_dict()
    if dyads is not None:
        row["dyads"] = [dyad.to_dict() for dyad in dyads.dyads(prediction)]
    return row | ({"abstained": abstained(prediction, thresholds)} if thresholds else {})


def read_texts(path: Path) -> list[Segment]:
    """Read JSON Lines with ``text`` and optionally ``id``, ``context`` and ``target``.

    With ``article`` and ``position``, the number of the text in it, and optionally ``headline``, a
    model of articles reads the texts of an article together, another one each behind its context
    (see ``in_context``). A text without an id gets its number in the file. Raises ``UserError`` if
    the file is missing, broken or empty, a line has no text, or two have one id.
    """
    return segments_of(json_rows(existing(path)), str(path), 'one JSON object a line, such as {"text": "Chile warnt."}')


def segments_of(rows: Iterable[SourceRow], source: str, expected: str = "at least one") -> list[Segment]:
    """Return rows as segments (see ``read_texts``); ``source`` names them in messages."""
    segments: list[Segment] = []
    seen: dict[str, str] = {}
    for row in rows:
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
        raise UserError(f"{source} holds no text; expected {expected}")
    return in_context(segments)


def single_text(text: str, context: str = "", target: str = "") -> Segment:
    """Return a text as a segment; ``UserError`` if it is empty, or holds half a character."""
    if not text.strip():
        raise UserError("text is empty; give a German sentence, as in text='Die USA warnen Russland.'")
    try:
        return Segment("1", sound(text, "text"), context=sound(context, "context"), target=sound(target, "target"))
    except Fault as fault:
        raise UserError(str(fault)) from None


def bundle_of(store: Store, run: str) -> Path:
    """Return the folder of a run's bundle, or the ``newest`` one's; of several seeds the first."""
    record = tracking.newest(store) if run == "newest" else tracking.find(store, run)
    return tracking.bundle_folder(tracking.members(record)[0])
