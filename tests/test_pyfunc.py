"""The bundle behind MLflow's face: what goes in, what comes out, and that it loads anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tiny
from haltung.errors import UserError
from haltung.export.pyfunc import BundleModel
from haltung.labels import parse
from haltung.model import bundle
from haltung.model.linear import fit
from haltung.model.neural import build
from haltung.model.spec import LinearSpec, NetworkSpec
from haltung.records import Segment
from haltung.tracking.models import columns, requirements, signature


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear bundle."""
    model = fit(tiny.segments(60), tiny.scheme(), LinearSpec(min_count=1), seed=1)
    return bundle.save(model, tmp_path_factory.mktemp("pyfunc") / "linear")


def _loaded(folder: Path) -> BundleModel:
    model = BundleModel()
    model.load_context(SimpleNamespace(artifacts={"bundle": str(folder)}))
    return model


def test_it_answers_as_the_bundle_does(folder: Path) -> None:
    """One way from a text to an answer, whoever asks."""
    rows = tiny.segments(8, seed=3)
    expected = [prediction.to_dict() for prediction in bundle.load(folder).predict(rows)]
    answers = _loaded(folder).predict(None, columns(rows)).to_dict("records")
    assert [answer | {"probabilities": json.loads(answer["probabilities"])} for answer in answers] == expected


def test_the_context_reaches_a_network(bert: Path, tmp_path: Path) -> None:
    """A network that reads the context answers differently for another one."""
    torch.manual_seed(1)
    model = build(tiny.encoder(bert), NetworkSpec(max_length=32, reads={"default": "context"}), tiny.scheme())
    loaded = _loaded(bundle.save(model, tmp_path / "network"))
    frame = pd.DataFrame({"text": ["Chile warnt die Marine ."] * 2, "context": ["Peru lobt den Zoll .", "Ghana Ghana Ghana"]})
    first, second = loaded.predict(None, frame)["probabilities"]
    assert first != second


@pytest.mark.parametrize(
    "given",
    [
        "Peru lobt den Zoll .",
        ["Peru lobt den Zoll ."],
        {"text": "Peru lobt den Zoll ."},
        [{"text": "Peru lobt den Zoll ."}],
        pd.DataFrame({"text": ["Peru lobt den Zoll ."], "context": [None], "target": [np.nan], "id": [pd.NA]}),
    ],
)
def test_text_may_come_as_a_table_or_a_list(folder: Path, given: Any) -> None:
    """What is optional may be missing, or hold what pandas writes for nothing."""
    answers = _loaded(folder).predict(None, given)
    assert answers[["id", "topic", "stance"]].to_dict("records") == [{"id": "0", "topic": "economy", "stance": "support"}]


def test_an_answer_keeps_the_rows_index_and_id(folder: Path) -> None:
    """Spark and pandas put the answers beside the rows by index."""
    frame = pd.DataFrame({"text": ["Peru lobt den Zoll ."] * 2, "id": ["x", "y"]}, index=[7, 3])
    answers = _loaded(folder).predict(None, frame)
    assert (list(answers.index), list(answers["id"])) == ([7, 3], ["x", "y"])


def test_no_rows_give_no_answers(folder: Path) -> None:
    """An empty table is no error, and has the columns all the same."""
    answers = _loaded(folder).predict(None, [])
    assert (len(answers), list(answers.columns)) == (0, ["id", "topic", "stance", "probabilities"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pd.DataFrame({"satz": ["x"]}), "no column text; found satz"),
        (["Peru lobt .", "  "], "row 1 of the input has no text"),
        (pd.DataFrame({"text": ["x", None]}), "row 1 of the input has no text"),
        (5, "the input is int; expected a table"),
    ],
)
def test_input_without_text_is_told(folder: Path, given: Any, message: str) -> None:
    """No row is answered by guessing."""
    with pytest.raises(UserError, match=message):
        _loaded(folder).predict(None, given)


def test_a_multi_label_task_answers_with_a_list(tmp_path: Path) -> None:
    """Its column is a list of strings, as the signature says."""
    scheme = parse({"name": "m", "tasks": {"themes": {"kind": "multi", "labels": ["a", "b"]}}})
    rows = [Segment(str(i), ("alpha " if i % 2 else "") + ("beta" if i % 3 else "gamma"),
                    {"themes": tuple(t for t, on in (("a", i % 2), ("b", i % 3)) if on)}) for i in range(60)]  # fmt: skip
    loaded = _loaded(bundle.save(fit(rows, scheme, LinearSpec(min_count=1), seed=1), tmp_path / "multi"))
    declared = signature(scheme.to_dict()["tasks"]).outputs
    assert list(loaded.predict(None, ["alpha beta"])["themes"]) == [["a", "b"]]
    assert [str(spec) for spec in declared] == [
        "'id': string (required)",
        "'themes': Array(string) (required)",
        "'probabilities': string (required)",
    ]


def test_the_requirements_name_this_project_and_no_local_build() -> None:
    """A suffix such as +cpu is known to no other machine."""
    found = requirements("network")
    assert found[0].startswith("haltung==")
    assert any(line.startswith("torch==") for line in found)
    assert not any("+" in line for line in found)
