"""A bundle as an MLflow pyfunc model. MLflow keeps a copy of this file with each model and runs it when the model is loaded.

It is code, not a pickle, so that a model loads with any later Python. A trained bundle needs this project and what it was trained with.
An exported one brings its reader along (a copy of ``haltung/client.py``, as the artifact ``client``), so that it needs neither: this file
imports nothing else of the project, and an installed Haltung of another version changes nothing.

The answer has one string column per task (a list of strings where a task is multi-label) and ``probabilities`` as JSON
text. MLflow's ``spark_udf`` knows structs of strings and of lists of strings, but no structs within structs, and a column of dicts would
need a new signature for every label scheme; text passes unchanged through ``mlflow models serve``, Spark, Parquet and CSV.
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

# Segments as plain data to answers as plain data.
Answering = Callable[[list[dict[str, str]]], list[dict[str, Any]]]


class BundleModel(PythonModel):
    """A classifier behind MLflow's face.

    ``predict`` is annotated with a table alone, since MLflow would make a signature of any other annotation; ours is logged with the model.
    """

    def load_context(self, context: Any) -> None:
        """Load the bundle that was logged with this model, by its own reader where one was logged beside it."""
        folder, client = Path(context.artifacts["bundle"]), context.artifacts.get("client")
        description = json.loads((folder / "haltung.json").read_text(encoding="utf-8"))
        self.tasks: list[str] = list(description["scheme"]["tasks"])
        self.answers = _trained(folder) if client is None else _exported(folder, Path(client))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return ``id``, one column per task, and ``probabilities`` (JSON: task, label, number), a row for each row of the input.

        Args:
            context: MLflow's; not needed.
            model_input: a DataFrame with ``text`` and optionally ``id``, ``context``, ``target``; or a list of texts, or of dicts with
                these keys.
            params: MLflow's; there are none.

        Raises:
            MlflowException: a row has no text. It is MLflow's own class, for which ``mlflow models serve`` answers 400 with the sentence.
        """
        frame = _frame(model_input)
        rows = _rows(frame)
        columns = ["id", *self.tasks, "probabilities"]
        return pd.DataFrame([_answer(found) for found in self.answers(rows)] if rows else [], columns=columns, index=frame.index)


def _trained(folder: Path) -> Answering:
    from haltung.models import bundle
    from haltung.records import Segment

    model = bundle.load(folder)

    def answers(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
        segments = [Segment(row["id"], row["text"], context=row["context"], target=row["target"]) for row in rows]
        return [prediction.to_dict() for prediction in model.predict(segments)]

    return answers


def _exported(folder: Path, client: Path) -> Answering:
    reader = _module(client)
    classifier = reader.Classifier(folder)

    def answers(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
        try:
            return list(classifier.classify(rows))
        except reader.BundleError as error:
            raise _refused(str(error)) from None

    return answers


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
        found = type(model_input).__name__
        raise _refused(f"the input is {found}; expected a table with the column text, a list of texts, or of objects with text")
    columns = None if rows else ["text"]
    # As objects: pandas' own strings can't hold half of a character, which our models read all the same.
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
        # A row's number stands for an id that is not there, so that every answer has one.
        rows.append({**row, "id": row["id"] or str(number), "text": text})
    return rows


def _text(value: object) -> str:
    """Return the value as text; what pandas holds for a missing one (None, NaN, NA) is empty."""
    return "" if value is None or bool(pd.isna(value)) else str(value)


def _answer(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "probabilities": json.dumps(found["probabilities"], ensure_ascii=False)}


def _refused(sentence: str) -> MlflowException:
    error: MlflowException = MlflowException.invalid_parameter_value(sentence)
    return error


mlflow.models.set_model(BundleModel())
