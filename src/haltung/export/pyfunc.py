"""A bundle as an MLflow pyfunc model. MLflow keeps a copy of this file with each model and runs it when the model is loaded.

It is code, not a pickle, so that a model loads with any later Python; what it needs comes from the installed package, not from a
checkout. The answer has one string column per task (a list of strings where a task is multi-label) and ``probabilities`` as JSON
text. MLflow's ``spark_udf`` knows structs of strings and of lists of strings, but no structs within structs, and a column of dicts would
need a new signature for every label scheme; text passes unchanged through ``mlflow models serve``, Spark, Parquet and CSV.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd

from haltung.errors import UserError
from haltung.model import bundle
from haltung.records import Prediction, Segment

with warnings.catch_warnings():
    # MLflow warns of the types of its own classes when this part of it is imported.
    warnings.simplefilter("ignore")
    from mlflow.pyfunc.model import PythonModel

_OPTIONAL = ("id", "context", "target")


class BundleModel(PythonModel):
    """A classifier behind MLflow's face.

    ``predict`` is annotated with a table alone, since MLflow would make a signature of any other annotation; ours is logged with the model.
    """

    def load_context(self, context: Any) -> None:
        """Load the bundle that was logged with this model."""
        self.model = bundle.load(Path(context.artifacts["bundle"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return ``id``, one column per task, and ``probabilities`` (JSON: task, label, number), a row for each row of the input.

        Args:
            context: MLflow's; not needed.
            model_input: a DataFrame with ``text`` and optionally ``id``, ``context``, ``target``; or a list of texts, or of dicts with
                these keys.
            params: MLflow's; there are none.

        Raises:
            UserError: a row has no text.
        """
        frame = _frame(model_input)
        found = self.model.predict(_segments(frame))
        columns = ["id", *self.model.scheme.names, "probabilities"]
        return pd.DataFrame([_row(prediction) for prediction in found], columns=columns, index=frame.index)


def _frame(model_input: Any) -> pd.DataFrame:
    if isinstance(model_input, pd.DataFrame):
        return model_input
    rows = [model_input] if isinstance(model_input, str | Mapping) else model_input
    if not isinstance(rows, Sequence) or not all(isinstance(row, str | Mapping) for row in rows):
        found = type(model_input).__name__
        raise UserError(f"the input is {found}; expected a table with the column text, a list of texts, or of objects with text")
    return pd.DataFrame([{"text": row} if isinstance(row, str) else dict(row) for row in rows], columns=None if rows else ["text"])


def _segments(frame: pd.DataFrame) -> list[Segment]:
    if "text" not in frame.columns:
        raise UserError(f"the input has no column text; found {', '.join(map(str, frame.columns)) or 'none'}")
    columns = {name: frame[name].tolist() for name in ("text", *_OPTIONAL) if name in frame.columns}
    segments = []
    for number, text in enumerate(columns["text"]):
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"row {number} of the input has no text ({text!r}); leave such rows out")
        # A row's number stands for an id that is not there, so that every answer has one.
        given = {name: _text(columns[name][number]) if name in columns else "" for name in _OPTIONAL}
        segments.append(Segment(given["id"] or str(number), text, context=given["context"], target=given["target"]))
    return segments


def _text(value: object) -> str:
    """Return the value as text; what pandas holds for a missing one (None, NaN, NA) is empty."""
    return "" if value is None or bool(pd.isna(value)) else str(value)


def _row(prediction: Prediction) -> dict[str, Any]:
    row = prediction.to_dict()
    return {**row, "probabilities": json.dumps(row["probabilities"], ensure_ascii=False)}


mlflow.models.set_model(BundleModel())
