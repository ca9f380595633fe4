"""A linear model as a bundle: its graph gives the model's answers to a client that implements
n-grams by docs/bundle.md alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from haltung.errors import UserError
from haltung.export import formats, golden
from haltung.export import write as writing
from haltung.export.formats import FormatComparison, largest_difference
from haltung.export.verify import verify
from haltung.export.write import ExportResult, ReferenceSplit
from haltung.inference.client import Classifier
from haltung.labels import Scheme, parse
from haltung.models import bundle, linear
from haltung.models.linear import LinearModel
from haltung.models.predictor import Calibration, tables
from haltung.models.spec import LinearSpec
from haltung.records import Segment

# One task with a label that training never sees, and one with any number of labels.
SCHEME = {
    "name": "three",
    "tasks": {
        "topic": {"labels": {"security": {"de": "Sicherheit", "en": "Security"}, "economy": {"de": "Wirtschaft", "en": "Economy"}}},
        "stance": {"labels": ["warning", "support", "neutral", "unheard-of"]},
        "actors": {"kind": "multi", "labels": ["Chile", "Peru", "10"]},
    },
}


def scheme() -> Scheme:
    return parse(SCHEME)


def labelled(count: int, seed: int = 0) -> list[Segment]:
    """Return the tiny sentences, with the actors that they name as a third task."""
    out = []
    for segment in tiny.segments(count, seed):
        actors = tuple(actor for actor in ("Chile", "Peru") if actor in segment.text) + (("10",) if "Malta" in segment.text else ())
        out.append(
            Segment(segment.id, segment.text, {**segment.labels, "actors": actors}, context=segment.context, article=segment.article)
        )
    return out


PROVENANCE = {"run": "r1", "corpus": "tiny", "commit": "c0ffee", "licences": {"data": "CC0"}}


def reference(count: int = 40) -> ReferenceSplit:
    return ReferenceSplit("tiny", "dev", labelled(count, seed=7))


def fitted(kind: str = "logistic") -> LinearModel:
    model = linear.fit(labelled(80), scheme(), LinearSpec(reads={"topic": "text", "default": "target+context"}, kind=kind, min_count=1), 1)
    model.calibration = Calibration({"stance": 1.7, "actors": 0.6}, {"stance": {0.9: 0.8, 0.95: None}})
    return model


@pytest.fixture(scope="module")
def model() -> LinearModel:
    """A model of two views and three tasks, two of them with a temperature."""
    return fitted()


@pytest.fixture(scope="module")
def exported(model: LinearModel, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """The result of its export in all formats that are files."""
    return writing.export(model, tmp_path_factory.mktemp("export") / "bundle", reference(), PROVENANCE, ("fp16", "int8"))


@pytest.fixture(scope="module")
def folder(exported: ExportResult) -> Path:
    """The exported bundle."""
    assert exported.folder is not None
    return exported.folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Classifier:
    """A client of that bundle."""
    return Classifier(folder)


def test_the_graph_answers_as_the_trained_model(model: LinearModel, client: Classifier) -> None:
    """Every probability of every task agrees within 1e-5, in a batch of texts of all lengths."""
    segments = labelled(60, seed=3)
    found = client.probabilities([{"text": segment.text, "context": segment.context, "target": segment.target} for segment in segments])
    assert largest_difference(found, model.probabilities(segments)) < 1e-5


@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=60).filter(str.strip), st.text(max_size=30), st.text(max_size=20)), min_size=1, max_size=4
    )
)
@settings(max_examples=60, deadline=None)
def test_any_text_at_all_is_read_as_scikit_learn_reads_it(model: LinearModel, client: Classifier, rows: list[tuple[str, str, str]]) -> None:
    """For any Unicode text: words, characters, whitespace and case are treated as by the
    vectorizers.
    """
    segments = [Segment(str(number), text, context=context, target=target) for number, (text, context, target) in enumerate(rows)]
    found = client.probabilities([{"text": text, "context": context, "target": target} for text, context, target in rows])
    assert largest_difference(found, model.probabilities(segments)) < 1e-5


def test_a_row_does_not_depend_on_its_neighbours(client: Classifier) -> None:
    """Padding adds nothing: alone or beside a text of 1,000 words, a text has the same
    probabilities.
    """
    short, long = "Chile warnt die Bank.", "Peru lobt das Heer in Malta . " * 200
    alone, beside = client.probabilities([short]), client.probabilities([short, long])
    assert largest_difference({task: values[:1] for task, values in beside.items()}, alone) < 1e-6


def test_a_label_that_training_never_saw_has_no_probability(client: Classifier) -> None:
    """It is exactly 0, as in the trained model."""
    assert client.probabilities(["Chile warnt die Bank."])["stance"][0, 3] == 0


def test_svc_margins_come_out_as_the_same_probabilities(tmp_path: Path) -> None:
    """Scale and shift of Platt scaling are part of the graph."""
    svc = fitted("svc")
    done = writing.export(svc, tmp_path / "svc", reference(), PROVENANCE, ())
    assert done.folder is not None
    assert done.comparisons["fp32"].difference < 1e-5


def test_a_text_without_a_known_ngram_is_answered(model: LinearModel, folder: Path) -> None:
    """Without any n-gram the intercepts decide, and nothing is divided by zero."""
    run = Classifier(folder)
    found = run.probabilities(["你好"])
    assert largest_difference(found, model.probabilities([Segment("1", "你好")])) < 1e-6


def test_the_bundle_is_a_trained_bundle_too(model: LinearModel, folder: Path) -> None:
    """``load_trained`` reads its weights, whose probabilities are bitwise equal."""
    segments = labelled(20, seed=5)
    trained = bundle.load_trained(folder)
    assert all((trained.probabilities(segments)[task] == values).all() for task, values in model.probabilities(segments).items())


def test_every_file_is_named_with_its_digest(folder: Path) -> None:
    """haltung.json lists every other file in the folder."""
    named = set(json.loads((folder / "haltung.json").read_text(encoding="utf-8"))["files"])
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == named | {"haltung.json"}


def test_no_file_is_a_pickle(folder: Path) -> None:
    """No file is a pickle or a zip that could hold one."""
    heads = {path.name: path.read_bytes()[:2] for path in folder.rglob("*") if path.is_file()}
    assert not [name for name, head in heads.items() if head[:1] == b"\x80" or head == b"PK"]


def test_outputs_repeat_the_labels_in_order(folder: Path) -> None:
    """A label named 10 keeps its declared place; objects of some languages would put it first."""
    assert json.loads((folder / "haltung.json").read_text(encoding="utf-8"))["outputs"]["actors"] == ["Chile", "Peru", "10"]


def test_golden_answers_are_the_trained_models(model: LinearModel, folder: Path) -> None:
    """At least 40 inputs, each with exactly the model's probabilities before the export."""
    answers = golden.read(folder, scheme())
    assert len(answers) >= 40
    written = tables([one.probabilities for one in answers], scheme())
    assert largest_difference(model.probabilities([one.segment for one in answers]), written) == 0


def test_fp16_is_smaller(folder: Path) -> None:
    """Half precision halves the weights, but nodes are a large part of a tiny model's graph."""
    formats = json.loads((folder / "haltung.json").read_text(encoding="utf-8"))["formats"]
    assert formats["fp16"]["bytes"] < 0.85 * formats["fp32"]["bytes"]


def test_an_export_replaces_an_older_one(model: LinearModel, tmp_path: Path) -> None:
    """The folder then holds the new bundle and nothing of the old."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "haltung.json").write_text("{}", encoding="utf-8")
    (tmp_path / "b" / "old.txt").write_text("old", encoding="utf-8")
    writing.export(model, tmp_path / "b", reference(), PROVENANCE, ())
    assert not (tmp_path / "b" / "old.txt").exists()
    assert verify(tmp_path / "b").agrees


def test_a_folder_with_something_else_is_left_alone(model: LinearModel, tmp_path: Path) -> None:
    """An export never replaces a folder that is not a bundle."""
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(UserError, match="contains something that is not a bundle"):
        writing.export(model, tmp_path, reference(), PROVENANCE, ())
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "years of work"


def test_a_graph_that_disagrees_is_refused_and_nothing_is_written(
    model: LinearModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An fp32 graph without its temperature exceeds the limit, so the folder stays as it was."""
    right = formats.write_graph

    def wrong(model: LinearModel, path: Path) -> dict[str, Any]:
        other = fitted()
        other.calibration = Calibration()
        return right(other, path)

    monkeypatch.setattr(formats, "write_graph", wrong)
    done = writing.export(model, tmp_path / "b", reference(), PROVENANCE, ("fp16",))
    assert done.folder is None
    assert "a probability differs by" in done.refused["fp32"]
    assert not list(tmp_path.iterdir())


def test_a_format_that_flips_labels_is_left_out_with_the_reason(
    model: LinearModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is removed, and haltung.json says by how much it exceeded the limit."""
    from haltung.export.graphs import reduced

    def ruined(source: Path, path: Path) -> None:
        import onnx

        made = onnx.load(source)
        for tensor in made.graph.initializer:
            if tensor.name.endswith("coefficients"):
                value = onnx.numpy_helper.to_array(tensor)
                tensor.CopyFrom(onnx.numpy_helper.from_array(-value, tensor.name))
        onnx.save(made, path)

    monkeypatch.setattr(reduced, "halved", ruined)
    done = writing.export(model, tmp_path / "b", reference(), PROVENANCE, ("fp16",))
    description = json.loads((tmp_path / "b" / "haltung.json").read_text(encoding="utf-8"))
    assert "of the labels flip, but at most 1% may" in description["refused"]["fp16"]
    assert done.formats == ("fp32",)
    assert not (tmp_path / "b" / "onnx" / "model.fp16.onnx").exists()


def test_limits_are_those_that_are_stated() -> None:
    """Exact formats: 1e-4 and no flip. Reduced ones: 1 % flips and half a point of macro-F1, for
    each task separately.
    """
    near = FormatComparison(1e-4, {"stance": 0.0}, {"stance": 0.7}, 1.0)
    assert formats.objections(near, {"stance": 0.7}, exact=True) == []
    assert len(formats.objections(FormatComparison(1.1e-4, {"stance": 0.001}, {}, 1.0), {}, exact=True)) == 2
    assert formats.objections(FormatComparison(0.2, {"stance": 0.01}, {"stance": 0.695}, 1.0), {"stance": 0.7}, exact=False) == []
    off = FormatComparison(0.2, {"stance": 0.0101, "topic": 0.0}, {"stance": 0.694, "topic": 0.9}, 1.0)
    assert formats.objections(off, {"stance": 0.7, "topic": 0.7}, exact=False) == [
        "stance: 1.01% of the labels flip, but at most 1% may",
        "stance: macro-F1 falls by 0.60 points to 0.694, but at most 0.5 is allowed",
    ]


def test_a_probability_that_is_no_number_is_a_fault() -> None:
    """NaN is a disagreement, although it exceeds no limit in a comparison."""
    off = FormatComparison(float("nan"), {"stance": 0.0}, {}, 1.0)
    assert formats.objections(off, {}, exact=True)
    assert largest_difference({"stance": np.array([[np.nan]])}, {"stance": np.array([[0.5]])}) == float("inf")


def test_the_model_card_holds_figures_labels_and_header(folder: Path) -> None:
    """YAML first, then every label with its names, and the formats' metrics."""
    import yaml

    _, header, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    content = yaml.safe_load(header)
    assert content["language"] == ["de"]
    assert content["model-index"][0]["results"][0]["metrics"][0]["type"] == "f1"
    assert all(f"| `{label}` |" in body for task in scheme() for label in task.ids)
    assert "| fp32 | `onnx/model.fp32.onnx` |" in body


def test_answers_fit_the_schema_of_the_response(client: Classifier, folder: Path) -> None:
    """The schema accepts what the client returns, and rejects a label that does not exist."""
    validators = pytest.importorskip("jsonschema_rs")
    schema = validators.Draft202012Validator(json.loads((folder / "response.schema.json").read_text(encoding="utf-8")))
    (answer,) = client.classify([{"text": "Chile warnt die Bank.", "id": "a"}])
    assert schema.is_valid(answer)
    assert schema.is_valid({"predictions": [answer, answer]})
    assert not schema.is_valid({**answer, "topic": "weather"})


def test_requests_are_distinguished_by_the_schema_of_the_request(folder: Path) -> None:
    """It accepts one or several segments and a precision with a threshold, and nothing else."""
    validators = pytest.importorskip("jsonschema_rs")
    schema = validators.Draft202012Validator(json.loads((folder / "request.schema.json").read_text(encoding="utf-8")))
    assert schema.is_valid({"text": "Chile warnt.", "abstain": 0.9})
    assert schema.is_valid({"segments": [{"text": "Chile warnt.", "context": None}]})
    wrong = [{}, {"text": ""}, {"text": "Chile", "segments": []}, {"text": "Chile", "abstain": 0.95}, {"text": "Chile", "taget": "Peru"}]
    assert not [request for request in wrong if schema.is_valid(request)]
