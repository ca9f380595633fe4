"""The standalone client: the trained model's answers from the exported folder alone, and one
sentence for a mistake of the caller.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bare_environment
import client_bundles
from haltung.inference import client
from haltung.inference.client import BundleError, Classifier
from haltung.models.predictor import Calibration, Model, abstained, calibrated, predictions
from haltung.records import Prediction, Segment
from nasty_sentences import sentences

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", params=["bert", "linear", "article"])
def pair(request: pytest.FixtureRequest, client_bundle: Callable[[str], tuple[Model, Path]]) -> tuple[Model, Classifier]:
    """A model, and the client of its exported bundle."""
    model, folder = client_bundle(request.param)
    return model, Classifier(folder)


@pytest.fixture(scope="module")
def bundle(client_bundle: Callable[[str], tuple[Model, Path]]) -> Path:
    """An exported linear bundle."""
    return client_bundle("linear")[1]


def _expected(model: Model, segments: list[Segment]) -> list[Prediction]:
    """Return the trained model's predictions in single precision."""
    return predictions([one.id for one in segments], model.probabilities(segments, precision="fp32"), model.scheme)


def test_golden_answers_are_met(pair: tuple[Model, Classifier]) -> None:
    """Also for difficult inputs, and far closer than the contract requires."""
    inputs, largest, differing = pair[1].verify()
    assert inputs >= 40
    assert largest < 1e-5
    assert differing == 0


def test_answers_are_the_models_own_in_the_order_of_the_texts(pair: tuple[Model, Classifier]) -> None:
    """For long and short texts in several batches, with labels and probabilities of both kinds of
    task.
    """
    model, classifier = pair
    segments = [
        Segment(f"n{place}", text, context=one.context, target=one.target)
        for place, (text, one) in enumerate(zip([text for text in sentences() if text.strip()], client_bundles.segments(400), strict=False))
    ]
    given = [{"id": one.id, "text": one.text, "context": one.context, "target": one.target} for one in segments]
    expected = [prediction.to_dict() for prediction in _expected(model, segments)]
    found = classifier.classify(given)
    assert [{**row, "probabilities": {}} for row in found] == [{**row, "probabilities": {}} for row in expected]
    for ours, theirs in zip(found, expected, strict=True):
        for task, values in theirs["probabilities"].items():
            assert ours["probabilities"][task] == pytest.approx(values, abs=1e-5)


def test_abstaining_is_the_models_own(pair: tuple[Model, Classifier]) -> None:
    """For each precision with a threshold in the bundle, and by calibrated probabilities."""
    model, classifier = pair
    segments = client_bundles.segments(30, seed=3)
    given = [{"text": one.text, "context": one.context, "target": one.target} for one in segments]
    undone = Calibration({task: 1 / temperature for task, temperature in model.calibration.temperatures.items()})
    raw = calibrated(model.probabilities(segments, precision="fp32"), model.scheme, undone)
    differing = 0
    for precision in (0.8, 0.9):
        thresholds = client_bundles.CALIBRATION.abstaining(precision)
        expected = [abstained(prediction, thresholds) for prediction in _expected(model, segments)]
        assert [row["abstained"] for row in classifier.classify(given, abstain=precision)] == expected
        differing += expected != [abstained(one, thresholds) for one in predictions([one.id for one in segments], raw, model.scheme)]
    assert differing


def test_a_text_alone_needs_no_mapping(bundle: Path) -> None:
    """A text and a mapping with that text are equal, and neither gets an id that was not given."""
    classifier = Classifier(bundle)
    plain, mapped, empty = classifier.classify(
        ["Chile warnt", {"text": "Chile warnt"}, {"text": "Chile warnt", "context": None, "id": None}]
    )
    assert plain == mapped == empty
    assert set(plain) == {"topic", "stance", "probabilities"}


def test_no_text_gives_no_answer(bundle: Path) -> None:
    """An empty list is no mistake."""
    assert Classifier(bundle).classify([]) == []


def test_halves_of_characters_are_read_as_the_replacement_character(bundle: Path) -> None:
    """Surrogate pairs are read as their character."""
    classifier = Classifier(bundle, threads=1)
    found = classifier.probabilities(["Peru \ud83d", "Peru \ufffd", "Peru \ud83d\ude42", "Peru 🙂"])
    assert all(np.array_equal(values[0], values[1]) and np.array_equal(values[2], values[3]) for values in found.values())


@pytest.mark.parametrize(
    ("segments", "sentence"),
    [
        (["Ja", " \n"], "the text of row 2 is empty; leave it out"),
        ([{"text": ""}], "the text of row 1 is empty; leave it out"),
        ([{"context": "Ja"}], "row 1 is neither a text nor a mapping with a 'text', but dict: {'context': 'Ja'}"),
        (["Ja", None], "row 2 is neither a text nor a mapping with a 'text', but NoneType: None"),
        ([{"text": 5}], "the text of row 1 is not text but int: 5"),
        ([{"text": "Ja", "context": ["a"]}], r"the context of row 1 is not text but list: \['a'\]"),
        ("Ja", r"expected a list of segments, not a str; give \[segment\], or .*"),
        (pd.DataFrame({"text": ["Ja"]}), r"expected a list of segments, not a DataFrame; .* or table\.to_dict\('records'\)"),
    ],
)
def test_a_wrong_segment_is_an_error_in_one_sentence(bundle: Path, segments: Any, sentence: str) -> None:
    """The message names the row, if the segments are a list."""
    with pytest.raises(BundleError, match=f"^{sentence}$"):
        Classifier(bundle).classify(segments)


def test_an_unknown_precision_is_an_error_with_those_that_there_are(bundle: Path) -> None:
    """0.95 is not among them, since it was never reached."""
    with pytest.raises(BundleError, match=r"no thresholds for the precision 0.7; it has those for 0.8, 0.9"):
        Classifier(bundle).classify(["Ja"], abstain=0.7)


def _changed(bundle: Path, folder: Path, **changes: Any) -> Path:
    shutil.copytree(bundle, folder)
    path = folder / "haltung.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": 2}, "is of format 2, this version reads 1; export it again or use the version that wrote it"),
        ({"formats": {"fp16": {}}, "refused": {"fp32": "off"}}, r"'fp32' for onnxruntime \(refused by the export: off\); it has fp16"),
        ({"formats": {"fp32": {"file": "onnx/none.onnx"}}}, "none.onnx is missing, so the bundle is incomplete"),
        ({"formats": {"fp32": {"file": "haltung.json"}}}, "onnxruntime can't load"),
        ({"input": {"kind": "pictures"}}, "expects 'pictures' as input, which this client can't make; use a newer one"),
        ({"input": {"kind": "tokens"}}, r"is incomplete \(KeyError\('tokenizer'\)\); export the bundle again"),
        ({"input": {"kind": "tokens", "tokenizer": "none.json"}}, "none.json is missing, so the bundle is incomplete"),
        ({"input": {"kind": "ngrams", "vocabulary": "golden.jsonl"}}, "golden.jsonl is missing or broken"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)  # fmt: skip
def test_a_bundle_that_does_not_fit_is_an_error_in_one_sentence(
    bundle: Path, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    """What is wrong, and what to do."""
    with pytest.raises(BundleError, match=sentence):
        Classifier(_changed(bundle, tmp_path / "changed", **changes))


def test_a_folder_that_is_no_exported_bundle_is_an_error(bundle: Path, tmp_path: Path) -> None:
    """A missing folder, an empty one, a trained model, or broken JSON."""
    with pytest.raises(BundleError, match="is not a folder; name a folder that `haltung export` has written"):
        Classifier(tmp_path / "none")
    with pytest.raises(BundleError, match=r"has no haltung.json, so it is not a bundle"):
        Classifier(tmp_path)
    (tmp_path / "haltung.json").write_text('{"format": 1}', encoding="utf-8")
    with pytest.raises(BundleError, match="is a trained model that was not exported"):
        Classifier(tmp_path)
    (tmp_path / "haltung.json").write_text("{", encoding="utf-8")
    with pytest.raises(BundleError, match="can't be read"):
        Classifier(tmp_path)


def test_a_missing_library_is_an_error_with_its_installation(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``None`` in ``sys.modules`` makes an import fail as if the library were missing."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BundleError, match="needs the library onnxruntime; install it with: pip install numpy onnxruntime tokenizers"):
        Classifier(bundle)


def test_a_classifier_without_a_graph_makes_inputs_only(bundle: Path) -> None:
    """A server runs the graph itself."""
    classifier = Classifier(bundle, format=None)
    ((rows, feeds),) = classifier.batches(["Ja"])
    assert (rows, list(feeds)) == ([0], ["numbers", "counts"])
    with pytest.raises(BundleError, match="so it has no graph"):
        classifier.classify(["Ja"])


def test_the_file_runs_as_a_program(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A text gives JSON, --verify the largest difference."""
    assert client.main([str(bundle), "Chile warnt die Marine .", "--context", "Peru", "--abstain", "0.8"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"topic", "stance", "probabilities", "abstained"}
    assert client.main([str(bundle), "--verify"]) == 0
    assert "largest difference" in capsys.readouterr().out
    assert client.main([str(bundle), "--verify", "--format", "fp99"]) == 2
    assert "has no format 'fp99'" in capsys.readouterr().err


@pytest.mark.parametrize("by", [0.0011, float("nan")])
def test_verify_fails_where_an_answer_differs(bundle: Path, tmp_path: Path, by: float) -> None:
    """By more than a thousandth, or NaN, in a single probability of the second task."""
    folder = _changed(bundle, tmp_path / "changed")
    rows = [json.loads(line) for line in (folder / "golden.jsonl").read_text(encoding="utf-8").split("\n") if line]
    rows[7]["probabilities"]["stance"]["warning"] += by
    (folder / "golden.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert client.main([str(folder), "--verify"]) == 1


def test_verify_needs_answers(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty file proves nothing."""
    folder = _changed(bundle, tmp_path / "changed")
    (folder / "golden.jsonl").write_text("\n", encoding="utf-8")
    assert client.main([str(folder), "--verify"]) == 2
    assert "golden.jsonl is missing or broken (ValueError('it is empty')); export the bundle again" in capsys.readouterr().err


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with only the client's wheel and the client's dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    isolation = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", *isolation, "--wheel-dir", folder, ROOT / "clients/python"], check=True)
    (wheel,) = folder.glob("haltung_client-*.whl")
    python = bare_environment.make(folder / "venv", ["numpy", "onnxruntime", "tokenizers"])
    subprocess.run([*pip, "--python", python, "install", "-q", "--no-deps", "--no-index", wheel], check=True)
    return python


def test_the_wheel_needs_neither_torch_nor_haltung(python: Path, pair: tuple[Model, Classifier]) -> None:
    """In an environment without them it reproduces the golden answers."""
    absent = "import importlib.util as u; print([name for name in ('haltung', 'torch', 'transformers', 'sklearn') if u.find_spec(name)])"
    assert subprocess.run([python, "-I", "-c", absent], capture_output=True, text=True, check=True).stdout == "[]\n"
    done = subprocess.run([python, "-I", "-m", "haltung_client", pair[1].folder, "--verify"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "labels that differ: 0" in done.stdout
