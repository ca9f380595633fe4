"""A bundle as an MLflow pyfunc model.

MLflow copies this file with each model and runs the copy when the model is loaded. It is code, not
a pickle, so that a model loads with any later Python. A trained bundle needs this project and the
libraries that it was trained with. An exported one needs neither: it comes with its own client (a
copy of ``inference/client.py``, as the artifact ``client``), and for it this file imports nothing
of the project, so that an installed Haltung of another version changes nothing.

Predictions have one string column per task (a list of strings if the task is multi-label), and
``probabilities`` as JSON text. MLflow's ``spark_udf`` knows no structs within structs, and a column
of dicts would need a new signature for every label scheme; text passes unchanged through
``mlflow models serve``, Spark, Parquet and CSV.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException

with warnings.catch_warnings():
    # MLflow warns of the types of its own classes when this part of it is imported.
    warnings.simplefilter("ignore")
    from mlflow.pyfunc.model import PythonModel

_OPTIONAL = ("id", "context", "target")

# Segments as plain data to predictions as plain data.
Classify = Callable[[list[dict[str, str]]], list[dict[str, Any]]]


class BundleModel(PythonModel):
    """A classifier with MLflow's interface.

    ``predict`` is annotated with a table only, since MLflow would derive a signature from any other
    annotation; ours is logged with the model.
    """

    def load_context(self, context: Any) -> None:
        """Load the bundle that was logged with this model, by the logged client if there is one."""
        folder, client = Path(context.artifacts["bundle"]), context.artifacts.get("client")
        description = json.loads((folder / "haltung.json").read_text(encoding="utf-8"))
        self.tasks: list[str] = list(description["scheme"]["tasks"])
        self.classify = _trained(folder) if client is None else _exported(folder, Path(client))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return ``id``, a column per task, and ``probabilities`` (JSON: task, label, number).

        Args:
            context: of MLflow, not used.
            model_input: a DataFrame with ``text`` and optionally ``id``, ``context``, ``target``;
                or a list of texts or of dicts with these keys.
            params: of MLflow, not used.

        Raises:
            MlflowException: a row has no text; ``mlflow models serve`` answers it with status 400.
        """
        frame = _frame(model_input)
        rows = _rows(frame)
        columns = ["id", *self.tasks, "probabilities"]
        return pd.DataFrame([_row(prediction) for prediction in self.classify(rows)] if rows else [], columns=columns, index=frame.index)


def _trained(folder: Path) -> Classify:
    from haltung.models import bundle
    from haltung.records import Segment

    model = bundle.load(folder)

    def classify(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
        segments = [Segment(row["id"], row["text"], context=row["context"], target=row["target"]) for row in rows]
        return [prediction.to_dict() for prediction in model.predict(segments)]

    return classify


def _exported(folder: Path, client: Path) -> Classify:
    module = _module(client)
    classifier = module.Classifier(folder)

    def classify(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
        try:
            return list(classifier.classify(rows))
        except module.BundleError as error:
            raise _refused(str(error)) from None

    return classify


def _module(path: Path) -> ModuleType:
    """Import a file under a name that no installed module has."""
    spec = spec_from_file_location("haltung_client_of_the_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # Its dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _frame(model_input: Any) -> pd.DataFrame:
    if isinstance(model_input, pd.DataFrame):
        return model_input
    rows = [model_input] if isinstance(model_input, str | Mapping) else model_input
    if not isinstance(rows, Sequence) or not all(isinstance(row, str | Mapping) for row in rows):
        raise _refused(
            f"the input is {type(model_input).__name__}; expected a table with the column text, a list of texts, or of objects with text"
        )
    columns = None if rows else ["text"]
    # As objects, since the strings of pandas can't hold half a character, which our models read.
    return pd.DataFrame([{"text": row} if isinstance(row, str) else dict(row) for row in rows], columns=columns, dtype=object)


def _rows(frame: pd.DataFrame) -> list[dict[str, str]]:
    if "text" not in frame.columns:
        raise _refused(f"the input has no column text; found {', '.join(map(str, frame.columns)) or 'none'}")
    columns = {name: frame[name].tolist() for name in ("text", *_OPTIONAL) if name in frame.columns}
    rows = []
    for number, text in enumerate(columns["text"]):
        if not isinstance(text, str) or not text.strip():
            raise _refused(f"row {number} of the input has no text ({text!r}); leave such rows out")
        row = {name: _text(columns[name][number]) if name in columns else "" for name in _OPTIONAL}
        # Every row has an id: its number, if it has no other.
        rows.append({**row, "id": row["id"] or str(number), "text": text})
    return rows


def _text(value: object) -> str:
    """Return the value as text, "" for a missing one (None, NaN, NA)."""
    return "" if value is None or bool(pd.isna(value)) else str(value)


def _row(prediction: dict[str, Any]) -> dict[str, Any]:
    return {**prediction, "probabilities": json.dumps(prediction["probabilities"], ensure_ascii=False)}


def _refused(sentence: str) -> MlflowException:
    error: MlflowException = MlflowException.invalid_parameter_value(sentence)
    return error


mlflow.models.set_model(BundleModel())
