"""A network as a bundle: the ONNX graph gives the trained network's answers, for any batch, lengths
and views.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import tiny
from haltung import cli
from haltung.export import golden
from haltung.export import write as writing
from haltung.export.formats import largest_difference
from haltung.export.graphs import neural as graph
from haltung.export.verify import verify
from haltung.export.write import ExportResult, ReferenceSplit
from haltung.inference import sessions
from haltung.inference.client import Classifier
from haltung.inference.sessions import Graph
from haltung.labels import parse
from haltung.models import bundle, neural
from haltung.models.neural import NeuralModel, build
from haltung.models.predictor import Calibration, tables
from haltung.models.spec import NetworkSpec
from haltung.records import Segment

pytestmark = pytest.mark.slow  # tracing even a small network for ONNX is slow

SCHEME = {
    **tiny.SCHEME,
    "tasks": {**tiny.SCHEME["tasks"], "actors": {"kind": "multi", "labels": ["Chile", "Peru", "Malta"]}},  # type: ignore[dict-item]
}


def made(bert: Path) -> NeuralModel:
    """Return a network with two views, three tasks and three poolings, whose large head weights
    give probabilities far from uniform.
    """
    spec = NetworkSpec(
        reads={"topic": "text", "default": "target+context"}, pooling={"topic": "cls", "stance": "text", "default": "mean"}, max_length=32
    )
    torch.manual_seed(3)
    model = build(tiny.encoder(bert), spec, parse(SCHEME))
    with torch.no_grad():
        for head in model.network.heads.values():
            head.weight.mul_(60)  # type: ignore[union-attr, operator]
    model.calibration = Calibration({"stance": 1.6, "actors": 0.7})
    model.network.eval()
    return model


def labelled(count: int, seed: int) -> list[Segment]:
    out = []
    for number, segment in enumerate(tiny.segments(count, seed)):
        target = "Chile" if number % 3 == 0 else ""
        out.append(Segment(segment.id, segment.text, {**segment.labels, "actors": ("Chile",)}, context=segment.context, target=target))
    return out


def parts(segments: Sequence[Segment]) -> list[dict[str, str]]:
    return [{"text": segment.text, "context": segment.context, "target": segment.target} for segment in segments]


@pytest.fixture(scope="module")
def model(bert: Path) -> NeuralModel:
    """A network of two views."""
    return made(bert)


@pytest.fixture(scope="module")
def exported(model: NeuralModel, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """The result of its export in every format that is a file."""
    split = ReferenceSplit("tiny", "dev", labelled(40, 7))
    return writing.export(model, tmp_path_factory.mktemp("network") / "bundle", split, {"run": "r1", "corpus": "tiny"}, ("fp16", "int8"))


@pytest.fixture(scope="module")
def folder(exported: ExportResult) -> Path:
    """The exported bundle."""
    assert exported.folder is not None, exported.refused
    return exported.folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Classifier:
    """A client of that bundle."""
    return Classifier(folder)


def test_the_graph_answers_as_the_network(model: NeuralModel, client: Classifier) -> None:
    """Every task of every view agrees within 1e-5, temperatures applied."""
    segments = labelled(50, 11)
    assert largest_difference(client.probabilities(parts(segments)), model.probabilities(segments, precision="fp32")) < 1e-5


@pytest.mark.parametrize("seed", range(4))
def test_any_batch_and_any_lengths_are_taken(model: NeuralModel, client: Classifier, folder: Path, seed: int) -> None:
    """Batches of 1 to 9 rows, with texts from two words to more than the maximum length."""
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(1, 10))
    segments = [
        Segment(str(row), "Chile warnt " * int(rng.integers(1, 40)), context="Peru " * int(rng.integers(0, 30))) for row in range(rows)
    ]
    assert largest_difference(client.probabilities(parts(segments)), model.probabilities(segments, precision="fp32")) < 1e-5


def test_padding_changes_nothing(client: Classifier, folder: Path) -> None:
    """In the graph itself, a row has the same answer with and without a longer one in its batch."""
    run = sessions.load(Graph("onnxruntime", "fp32", folder / "onnx" / "model.fp32.onnx"))
    segments = parts([Segment("1", "Chile warnt"), Segment("2", "Peru lobt die Bank in Malta . " * 5)])
    ((_, feeds),) = client.batches(segments[:1])
    ((rows, both),) = client.batches(segments)
    alone, beside = run(feeds), run(both)
    assert all(np.abs(values[0] - beside[task][rows.index(0)]).max() < 1e-6 for task, values in alone.items())


def test_what_stands_in_padding_is_not_read(client: Classifier, folder: Path) -> None:
    """Other ids where the mask is 0 give the same answer."""
    run = sessions.load(Graph("onnxruntime", "fp32", folder / "onnx" / "model.fp32.onnx"))
    ((_, feeds),) = client.batches(parts([Segment("1", "Chile warnt"), Segment("2", "Peru lobt die Bank in Malta .")]))
    other = {**feeds}
    for view in client.views:
        ids, mask = feeds[f"{view}.input_ids"], feeds[f"{view}.attention_mask"]
        other[f"{view}.input_ids"] = np.where(mask == 1, ids, 7)
    before, after = run(feeds), run(other)
    assert all(np.abs(values - after[task]).max() < 1e-6 for task, values in before.items())


def test_inputs_and_outputs_are_named_as_the_contract_says(folder: Path) -> None:
    """Inputs are VIEW.input_ids and so on, with dynamic batch and tokens; there is one output per
    task, in the scheme's order.
    """
    made = onnx.load(folder / "onnx" / "model.fp32.onnx").graph
    views, parts = ("target+context", "text"), ("input_ids", "attention_mask", "own_mask", "token_type_ids")
    assert [value.name for value in made.input] == [f"{view}.{part}" for view in views for part in parts]
    assert all(dim.dim_param for value in made.input for dim in value.type.tensor_type.shape.dim)
    assert [value.name for value in made.output] == ["topic", "stance", "actors"]


@pytest.mark.usefixtures("exported")
def test_exporting_leaves_the_model_as_it_was(model: NeuralModel) -> None:
    """Neither mode (the exporter turns training on) nor attention changes, so predictions stay the
    same.
    """
    assert not any(module.training for module in model.network.modules())
    before = model.network.encoder.config._attn_implementation
    traced = graph.plain(model)
    assert traced.encoder.config._attn_implementation == "eager"
    assert model.network.encoder.config._attn_implementation == before == "sdpa"


def test_gelu_is_one_operator_to_onnx_runtime(folder: Path, tmp_path: Path) -> None:
    """After the runtime's fusions, no activation has an error function as a separate operator."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    onnxruntime.InferenceSession(folder / "onnx" / "model.fp32.onnx", options, providers=["CPUExecutionProvider"])
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "fused.onnx").graph.node)
    # Two views with two layers each.
    assert kinds["Erf"] == 0
    assert kinds["BiasGelu"] + kinds["Gelu"] == 4


def test_the_weights_alone_are_a_trained_bundle(model: NeuralModel, folder: Path) -> None:
    """``load_trained`` reads the exported folder, with the same answers."""
    segments = labelled(10, 3)
    trained = bundle.load_trained(folder)
    assert isinstance(trained, NeuralModel)
    assert largest_difference(trained.probabilities(segments, precision="fp32"), model.probabilities(segments, precision="fp32")) < 1e-6


def test_the_exported_graph_predicts_as_the_network(model: NeuralModel, folder: Path) -> None:
    """``bundle.load`` returns the graph of an exported folder, if preferred, with the interface of
    models.
    """
    segments = labelled(10, 3)
    exported_model = bundle.load(folder, graph=True)
    assert isinstance(exported_model, bundle.ExportedModel)
    assert exported_model.calibration == model.calibration
    assert largest_difference(exported_model.probabilities(segments), model.probabilities(segments, precision="fp32")) < 1e-5
    assert [one.id for one in exported_model.predict(segments)] == [one.id for one in segments]


def test_an_exported_bundle_predicts_by_its_graph_or_by_its_weights(
    model: NeuralModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``predict`` gives the graph's probabilities or, with torch, exactly those of the trained
    model, in bfloat16 if the processor supports it.
    """
    monkeypatch.setattr(neural, "has_bf16", lambda device: True)
    (tmp_path / "in.jsonl").write_text('{"text": "Chile warnt die Bank in Malta ."}\n', encoding="utf-8")
    found = []
    for runtime in ("onnxruntime", "torch"):
        assert cli.main(["predict", f"bundle={folder}", f"input={tmp_path / 'in.jsonl'}", f"runtime={runtime}"]) == 0
        found.append(json.loads(capsys.readouterr().out)["probabilities"])
    segment = Segment("1", "Chile warnt die Bank in Malta .")
    graph = bundle.load(folder, graph=True).predict([segment])[0].probabilities
    assert all(found[0][task] == pytest.approx(values, abs=1e-6) for task, values in graph.items())
    assert found[1] == model.predict([segment])[0].probabilities
    assert found[0] != found[1]


@pytest.mark.parametrize("missing", ["torch", "weights"])
def test_without_torch_or_weights_the_graph_predicts(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """An exported bundle needs neither."""
    if missing == "torch":
        installed = sessions.is_installed
        monkeypatch.setattr(sessions, "is_installed", lambda name: name != "torch" and installed(name))
    else:
        folder = Path(shutil.copytree(folder, tmp_path / "copy"))
        (folder / "model.safetensors").unlink()
    assert isinstance(bundle.load(folder), bundle.ExportedModel)


def test_the_bundle_verifies_in_every_runtime(folder: Path) -> None:
    """Golden answers, including difficult ones, agree in each format and runtime, and by torch."""
    found = verify(folder)
    assert found.agrees, [(check.format, check.runtime, check.fault) for check in found.checks if check.fault] + list(found.broken)
    assert ("weights", "torch") in {(check.format, check.runtime) for check in found.checks}


def test_golden_answers_are_those_of_fp32(model: NeuralModel, folder: Path) -> None:
    """Not those of bfloat16, which predictions use if the processor supports it."""
    answers = golden.read(folder, model.scheme)
    found = model.probabilities([one.segment for one in answers], precision="fp32")
    assert largest_difference(found, tables([one.probabilities for one in answers], model.scheme)) < 1e-6


def test_a_changed_weight_makes_verify_fail(folder: Path, tmp_path: Path) -> None:
    """One head's bias is enough, even if all digests are updated."""
    from safetensors.torch import load_file, save_file

    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    state = load_file(copy / "model.safetensors")
    state["heads.stance.bias"] += torch.tensor([1.0, 0.0, 0.0])
    save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    writing.write_description(copy, json.loads((copy / "haltung.json").read_text(encoding="utf-8")))
    assert {(check.format, check.runtime) for check in verify(copy).checks if check.fault} == {("weights", "torch")}


def test_the_encoders_path_is_not_written(folder: Path, bert: Path) -> None:
    """The path of a local folder is private."""
    assert str(bert.parent) not in (folder / "haltung.json").read_text(encoding="utf-8")


def test_eight_bits_are_near_and_small(exported: ExportResult, folder: Path, tmp_path: Path) -> None:
    """Embeddings and matrices shrink to a quarter, and no probability changes much; the export
    decides whether little enough.
    """
    from haltung.export.graphs import reduced

    assert exported.comparisons["int8"].difference < 0.1
    reduced.quantised(folder / "onnx" / "model.fp32.onnx", tmp_path / "int8.onnx")
    kinds = {tensor.data_type for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer if np.prod(tensor.dims) >= 1024}
    assert onnx.TensorProto.FLOAT not in kinds


def test_logging_stays_as_the_user_has_it(exported: ExportResult) -> None:
    """The quantiser's module would configure the root logger."""
    import logging

    assert logging.getLogger().level != logging.INFO


def test_special_tokens_are_described_with_their_types(model: NeuralModel) -> None:
    """BERT: [CLS] A [SEP] B [SEP], types 0 and 1."""
    found = graph.described(model)
    assert (found["single"], found["pair"]) == ([[2], [3]], [[2], [3], [3]])
    assert found["types"] == {"single": [0, 0, 0], "pair": [0, 0, 0, 1, 1]}
