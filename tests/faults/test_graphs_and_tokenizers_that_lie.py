"""Foreign graphs, tokenizers and weights that are broken, absurdly large, or name other files are
refused in one sentence by every reader.
"""

from __future__ import annotations

import json
import random
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from safetensors.numpy import load_file, save_file

import exported
import tiny
from bundle_readers import READERS
from haltung.cli import main
from haltung.encoders.load import Encoder
from haltung.encoders.load import load as load_encoder
from haltung.errors import UserError, nearest
from haltung.inference import client
from haltung.inference.client import BundleError, Classifier
from haltung.models import bundle, linear
from haltung.models.spec import LinearSpec, NetworkSpec

GRAPH = "onnx/model.fp32.onnx"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small exported bundle without digests of its files."""
    return exported.write(tmp_path / "bundle")


@pytest.fixture(scope="module")
def trained(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of an untrained network."""
    from haltung.models.neural import build

    model = build(Encoder("tiny", "folder", str(bert)), NetworkSpec(max_length=32), tiny.scheme())
    return bundle.save(model, tmp_path_factory.mktemp("trained") / "bundle")


def graph(folder: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    """Change the graph of a bundle."""
    made = onnx.load(folder / GRAPH)
    change(made)
    onnx.save(made, folder / GRAPH)


def outside(location: str) -> Callable[[onnx.ModelProto], None]:
    """Return a function that makes a graph read its largest weights from another file."""

    def change(made: onnx.ModelProto) -> None:
        table = max(made.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        length = len(table.raw_data)
        table.ClearField("raw_data")
        table.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
            table.external_data.add(key=key, value=value)

    return change


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("location", ["../../weights.bin", "{absolute}", "link.bin"])
def test_a_graph_reads_no_weights_outside_of_its_folder(folder: Path, reader: str, location: str) -> None:
    """The answers would reveal the content of any file of this machine."""
    weights = folder.parent / "weights.bin"
    weights.write_bytes(bytes(1_000_000))
    (folder / "onnx/link.bin").symlink_to(weights)
    change = outside(location.format(absolute=weights))
    made = onnx.load(folder / GRAPH)
    change(made)
    (folder / GRAPH).write_bytes(made.SerializeToString())
    with pytest.raises((UserError, BundleError), match=r"can't load .*model.fp32.onnx"):
        READERS[reader](folder)


def test_an_onnxruntime_that_reads_any_file_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 1.24 it reads weights from any path; the client may run with such a version."""
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "__version__", "1.23.2")
    with pytest.raises(BundleError, match=r"onnxruntime 1.23.2 is not safe with graphs from others; update it to 1.24 or newer"):
        Classifier(folder)


@pytest.mark.parametrize("reader", READERS)
def test_a_graph_larger_than_stated_is_refused_unread(folder: Path, reader: str) -> None:
    """A sparse file of a terabyte is created at once."""
    with (folder / GRAPH).open("r+b") as file:
        file.truncate(10**12)
    with pytest.raises((UserError, BundleError), match=r"model.fp32.onnx is not a file of at most [\d,]+ bytes"):
        READERS[reader](folder)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["tokenizer.json", "haltung.json"])
def test_json_of_absurd_size_is_refused_unread(folder: Path, reader: str, name: str) -> None:
    """The largest known tokenizers have 35 million bytes."""
    with (folder / name).open("r+b") as file:
        file.truncate(10**12)
    with pytest.raises((UserError, BundleError), match=rf"{name} is not a file of at most 100,000,000 bytes"):
        READERS[reader](folder)


# Not a valid table of characters: tokenizers panics, which in Python is not an Exception.
PANICS = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000, '{"a":' * 5_000, "", "{}", '{"version": "1.0"', "\0",
        {"normalizer": PANICS}, {"pre_tokenizer": {"type": "FixedLength", "length": 0}}, {"model": {"type": "Unigram", "vocab": []}},
        {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}},
        {"model": {"type": "WordPiece", "vocab": {}, "unk_token": "[UNK]", "continuing_subword_prefix": "", "max_input_chars_per_word": 9}},
    ],
    ids=lambda content: next(iter(content)) if isinstance(content, dict) else content[:8],
)  # fmt: skip
def test_a_broken_tokenizer_is_a_sentence(folder: Path, reader: str, content: str | dict[str, Any]) -> None:
    """Also if the library panics, on reading or only at the first text."""
    path = folder / "tokenizer.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(content if isinstance(content, str) else json.dumps(whole | content), encoding="utf-8")
    with pytest.raises((UserError, BundleError), match=r"tokenizer.json is missing or broken \(.*\); copy or export the bundle again"):
        READERS[reader](folder)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", ["[" * 100_000, '{"format": ' + "1" * 5_000 + "}", "[]", '{"format": 1, "input": [], "formats": []}'])
def test_a_broken_description_is_a_sentence(folder: Path, reader: str, content: str) -> None:
    """Endlessly nested, with a number that Python does not read, or of another structure."""
    (folder / "haltung.json").write_text(content, encoding="utf-8")
    with pytest.raises((UserError, BundleError), match=r"haltung.json (can't be read|is broken|is of format|is of kind|is incomplete)"):
        READERS[reader](folder)


def test_a_graph_with_fewer_labels_than_the_scheme_is_a_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise the probability of one label would be broadcast to all labels."""

    def cut(made: onnx.ModelProto) -> None:
        for tensor in made.graph.initializer:
            if tensor.name == "stance.weight":
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[:, :1], tensor.name))
        for output in made.graph.output:
            if output.name == "stance":
                output.type.tensor_type.shape.dim[1].dim_value = 1

    graph(folder, cut)
    assert main(["predict", f"bundle={folder}", "text=Chile warnt"]) == 2
    assert "gives (1, 1) probabilities of stance, expected (1, 3)" in capsys.readouterr().err


def test_a_graph_that_fails_at_a_text_is_a_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For example if the tokenizer has ids that the graph's embedding table lacks."""

    def cut(made: onnx.ModelProto) -> None:
        (table,) = (tensor for tensor in made.graph.initializer if tensor.name == "table")
        table.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(table)[:4], "table"))

    graph(folder, cut)
    assert main(["predict", f"bundle={folder}", "text=Chile warnt"]) == 2
    assert "onnxruntime can't run" in capsys.readouterr().err


@pytest.mark.parametrize(
    "inputs",
    [{"max_length": "x"}, {"single": []}, {"single": [["a"], [3]]}, {"single": [[2**70], [3]]}, {"types": 5}, {"prefix": 7},
     {"pair": [[2], [{}], [3]]}, {"pair": [[3], [3]]}],
    ids=str,
)  # fmt: skip
def test_inputs_that_are_described_wrongly_are_a_sentence(folder: Path, inputs: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """They are detected before the first text is read."""
    path = folder / "haltung.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    description["input"] |= inputs
    path.write_text(json.dumps(description), encoding="utf-8")
    assert main(["predict", f"bundle={folder}", "text=Chile warnt"]) == 2
    assert "is broken or incomplete" in capsys.readouterr().err


@pytest.mark.parametrize("mistake", [KeyError("stance"), TypeError("not ours"), ZeroDivisionError(), AttributeError("text")], ids=repr)
def test_a_mistake_of_ours_is_not_said_to_be_the_bundles(folder: Path, mistake: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised unchanged: faults of a bundle are detected when it is loaded."""

    def wrong(*_: object) -> None:
        raise mistake

    model = bundle.load(folder, graph=True)
    monkeypatch.setattr(client.Classifier, "batches", wrong)
    with pytest.raises(type(mistake)):
        model.predict(tiny.segments(2))
    monkeypatch.undo()
    assert len(model.predict(tiny.segments(2))) == 2


def test_a_model_of_endless_n_grams_cuts_a_text_at_once() -> None:
    """N-grams longer than the text are not tried."""
    assert len(list(client._ngrams("Chile warnt Peru", "word", 1, 10**12))) == 6


def test_weights_with_a_header_that_lies_are_a_sentence(trained: Path, tmp_path: Path) -> None:
    """Offsets beyond the file, a header longer than the file, invalid JSON, a shape that does not
    match the bytes.
    """
    header = {"a": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}}
    for number, content in enumerate((
        struct.pack("<Q", 10**18) + b"{}", struct.pack("<Q", 2) + b"{}", struct.pack("<Q", 4) + b"[[[[", b"", b"\xff" * 64,
        *(struct.pack("<Q", len(text)) + text.encode() for text in (
            json.dumps(header), json.dumps(header | {"a": {**header["a"], "data_offsets": [0, 10**15]}}), "{" * 1000,
        )),
    )):  # fmt: skip
        folder = Path(shutil.copytree(trained, tmp_path / str(number)))
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(UserError, match=r"is broken or incomplete|does not fit the bundle's haltung.json"):
            bundle.load_trained(folder)
        with pytest.raises(UserError, match="could not be loaded"):
            load_encoder(Encoder("mine", "folder", str(folder)))


@pytest.mark.parametrize(
    "sizes", [{"hidden_size": 10**6}, {"vocab_size": 10**10}, {"intermediate_size": 10**10}, {"num_hidden_layers": 10**8}], ids=str
)
def test_a_network_larger_than_its_weights_takes_no_memory(trained: Path, tmp_path: Path, sizes: dict[str, int]) -> None:
    """The sizes in config.json are compared with the file before anything is allocated."""
    folder = Path(shutil.copytree(trained, tmp_path / "bundle"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | sizes), encoding="utf-8")
    sentence = "its config.json describes a larger network than model.safetensors contains"
    with pytest.raises(UserError, match=sentence):
        bundle.load_trained(folder)
    with pytest.raises(UserError, match=sentence):
        load_encoder(Encoder("mine", "folder", str(folder)))


def test_a_linear_model_whose_numbers_do_not_fit_is_a_sentence(tmp_path: Path) -> None:
    """Coefficients for other n-grams, or for another number of labels."""
    folder = bundle.save(linear.fit(tiny.segments(40), tiny.scheme(), LinearSpec(min_count=1), seed=1), tmp_path / "bundle")
    numbers = load_file(folder / "linear.safetensors")
    for name in ("stance.coefficients", "stance.intercept"):
        save_file(numbers | {name: np.ascontiguousarray(numbers[name][:1])}, folder / "linear.safetensors")
        with pytest.raises(UserError, match=r"linear.safetensors has the wrong shapes for the labels of stance and vocabulary.json"):
            bundle.load_trained(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e31], ids=str)
def test_weights_that_are_no_numbers_or_overflow_are_named(trained: Path, tmp_path: Path, root: Path, value: float) -> None:
    """The array is named; otherwise the models would fail, or return NaN, at the first text."""
    for source, file, name in (
        (root / "tests/data/bundle_0.1.0", "linear.safetensors", "features.text.text.words.idf"),
        (trained, "model.safetensors", "heads.stance.bias"),
    ):
        folder = Path(shutil.copytree(source, tmp_path / file))
        description = json.loads((folder / "haltung.json").read_text(encoding="utf-8"))
        (folder / "haltung.json").write_text(json.dumps(description | {"files": {}}), encoding="utf-8")
        numbers = load_file(folder / file)
        numbers[name][-1] = value
        save_file(numbers, folder / file)
        with pytest.raises(UserError, match=rf"the array {name} of .*{file} has NaN, infinity or a number above 1e30; export"):
            bundle.load_trained(folder)


def test_a_name_of_endless_letters_or_a_million_formats_take_no_time(folder: Path) -> None:
    """Similar names are searched for by their beginning, and only among the first ones."""
    pick, start = random.Random(1), time.process_time()
    letters = [chr(0x4E00 + pick.randrange(5000)) for _ in range(20_000)]
    assert nearest("".join(letters), ["".join(one if number % 3 else "x" for number, one in enumerate(letters))]) == ""
    description = json.loads((folder / "haltung.json").read_text(encoding="utf-8"))
    with pytest.raises(UserError) as caught:
        bundle.graphs_for(folder, description | {"formats": {f"fp{number}": {} for number in range(33, 100_000)}}, "onnxruntime", "fp32")
    assert f"{folder} has no format 'fp32', did you mean 'fp" in str(caught.value)[:500]
    assert time.process_time() - start < 5
