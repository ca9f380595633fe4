"""A bundle as an MLflow pyfunc model.

MLflow copies this file with each model and runs the copy when the model is loaded. It is code, not
a pickle, so that a model loads with any later Python. A trained bundle needs this project, while an
exported one comes with a client (a copy of ``inference/client.py``, as the artifact ``client``),
and for it this file imports nothing of the project, so that no installed version matters.

Predictions have one string column per task (a list of strings if the task is multi-label), and
``probabilities`` as JSON text, which passes through ``mlflow models serve``, Spark (whose UDFs have
no nested structs), Parquet and CSV, with one signature for all label schemes.
"""

import json
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException

with warnings.catch_warnings():
    # When this module is imported, MLflow warns about the types of its own classes.
    warnings.simplefilter("ignore")
    from mlflow.pyfunc.model import PythonModel

# The optional columns of text; models of articles also use article, headline and position.
_COLUMNS = ("id", "context", "target", "article", "headline")
Classify = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]  # segments to predictions


class BundleModel(PythonModel):
    """A classifier with MLflow's interface.

    ``predict`` is annotated with a DataFrame only, since MLflow would derive a signature from any
    other annotation; ours is logged with the model.
    """

    def load_context(self, context: Any) -> None:
        """Load the bundle that was logged with this model, by the logged client if there is one."""
        folder, client = Path(context.artifacts["bundle"]), context.artifacts.get("client")
        self.tasks: list[str] = list(json.loads((folder / "haltung.json").read_text(encoding="utf-8"))["scheme"]["tasks"])
        self.classify = _trained(folder) if client is None else _exported(folder, Path(client))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return ``id``, a column per task, and ``probabilities`` (JSON: task, label, number).

        ``model_input`` is a DataFrame with ``text`` and optionally ``id``, ``context``, ``target``;
        or a list of texts or of dicts with these keys. A model of articles reads the rows of an
        ``article`` together, by ``position`` and after the ``headline``. Other columns are ignored.

        Raises ``MlflowException``, status 400 of ``mlflow models serve``, if a row has no text, or
        its position is not a whole number.
        """
        frame = _frame(model_input)
        rows = _rows(frame)
        answers = [
            {**prediction, "probabilities": json.dumps(prediction["probabilities"], ensure_ascii=False)}
            for prediction in (self.classify(rows) if rows else [])
        ]
        return pd.DataFrame(answers, columns=["id", *self.tasks, "probabilities"], index=frame.index)


def _trained(folder: Path) -> Classify:
    from haltung.models import bundle
    from haltung.records import Segment

    model = bundle.load(folder)

    return lambda rows: [prediction.to_dict() for prediction in model.predict([Segment(**row) for row in rows])]


def _exported(folder: Path, client: Path) -> Classify:
    # The name is that of no installed module; dataclasses look up the module that they are in.
    spec = spec_from_file_location("haltung_client_of_the_model", client)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    classifier = module.Classifier(folder)

    def classify(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        try:
            return list(classifier.classify(rows))
        except module.BundleError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None

    return classify


def _frame(model_input: Any) -> pd.DataFrame:
    if isinstance(model_input, pd.DataFrame):
        return model_input
    rows = [model_input] if isinstance(model_input, str | Mapping) else model_input
    if not isinstance(rows, Sequence) or not all(isinstance(row, str | Mapping) for row in rows):
        expected = "a table with the column text, a list of texts, or of objects with text"
        raise MlflowException.invalid_parameter_value(f"the input is {type(model_input).__name__}; expected {expected}")
    columns = None if rows else ["text"]
    # As objects, since pandas' strings can't hold lone surrogates, which our models accept.
    return pd.DataFrame([{"text": row} if isinstance(row, str) else dict(row) for row in rows], columns=columns, dtype=object)


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    if "text" not in frame.columns:
        raise MlflowException.invalid_parameter_value(f"the input has no column text; found {', '.join(map(str, frame.columns)) or 'none'}")
    columns = {name: frame[name].tolist() for name in ("text", "position", *_COLUMNS) if name in frame.columns}
    rows = []
    for number, text in enumerate(columns["text"]):
        if not isinstance(text, str) or not text.strip():
            raise MlflowException.invalid_parameter_value(f"row {number} of the input has no text ({text!r}); leave such rows out")
        # None, NaN and NA are missing.
        values = {name: columns[name][number] if name in columns else None for name in ("position", *_COLUMNS)}
        row = {name: "" if value is None or bool(pd.isna(value)) else str(value) for name, value in values.items()}
        # pandas may have converted integers to floats.
        if not re.fullmatch(r"(\d+(\.0*)?)?", place := row["position"]):
            raise MlflowException.invalid_parameter_value(f"row {number} of the input: position is '{place:.40}'; expected a whole number")
        # The id of a row defaults to its number.
        rows.append({**row, "id": row["id"] or str(number), "text": text, "position": int(float(place)) if place else None})
    return rows


mlflow.models.set_model(BundleModel())
