"""A bundle that was changed after its export fails the verification, with a sentence for each
change and exit code 1.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import tiny
from haltung.cli import main
from haltung.errors import UserError
from haltung.export import signature
from haltung.export import write as writing
from haltung.export.verify import Verification, verify
from haltung.export.write import ReferenceSplit
from haltung.files import sha256
from haltung.labels import parse
from haltung.models import bundle, linear
from haltung.models.predictor import Calibration
from haltung.models.spec import LinearSpec
from keys import new_key


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported linear bundle."""
    model = linear.fit(tiny.segments(80), tiny.scheme(), LinearSpec(min_count=1), seed=1)
    model.calibration = Calibration({"stance": 1.8, "topic": 0.7})
    done = writing.export(
        model, tmp_path_factory.mktemp("verify") / "bundle", ReferenceSplit("tiny", "dev", tiny.segments(30, 5)), {}, ("fp16",)
    )
    assert done.folder is not None
    return done.folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy of it that tests may change."""
    return Path(shutil.copytree(whole, tmp_path / "bundle"))


def changed(folder: Path, change: Callable[[dict[str, Any]], None], consistent: bool = True) -> None:
    """Change the description; ``consistent`` updates all digests, as an attacker would."""
    path = folder / "haltung.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    change(description)
    if consistent:
        writing.write_description(folder, description)
    else:
        path.write_text(json.dumps(description), encoding="utf-8")


def graph(folder: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    """Change the fp32 graph and update all digests."""
    path = folder / "onnx" / "model.fp32.onnx"
    made = onnx.load(path)
    change(made)
    onnx.save(made, path)
    changed(folder, lambda description: description["formats"]["fp32"].update(sha256=sha256(path)))


def faulty(found: Verification) -> set[tuple[str, str]]:
    return {(check.format, check.runtime) for check in found.checks if check.fault}


def test_a_bundle_as_it_was_exported_agrees(whole: Path) -> None:
    """Every format in every runtime that is installed, and the weights themselves."""
    found = verify(whole)
    assert found.agrees
    assert {("fp32", "onnxruntime"), ("fp16", "onnxruntime"), ("weights", "scikit-learn")} <= {
        (one.format, one.runtime) for one in found.checks
    }


@pytest.mark.parametrize("name", ["linear.safetensors", "vocabulary.json", "onnx/model.fp32.onnx", "README.md", "request.schema.json"])
def test_a_changed_file_is_named(folder: Path, name: str) -> None:
    """One additional byte is enough, even if no answer changes."""
    with (folder / name).open("ab") as file:
        file.write(b" ")
    found = verify(folder)
    assert not found.agrees
    assert any(f"{folder / name} is not the file that was written" in sentence for sentence in found.broken)


@pytest.mark.parametrize("name", ["onnx/model.fp16.onnx", "linear.safetensors", "vocabulary.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    """What can be replayed still is."""
    (folder / name).unlink()
    found = verify(folder)
    assert not found.agrees
    assert any(f"{folder / name} is missing" in sentence for sentence in found.broken)


def test_changed_weights_disagree_though_every_digest_fits(folder: Path) -> None:
    """The golden answers are replayed with the trained weights too."""
    from safetensors.numpy import load_file, save_file

    numbers = load_file(folder / "linear.safetensors")
    numbers["stance.intercept"] = numbers["stance.intercept"] + np.array([0.5, 0, 0])
    save_file(numbers, folder / "linear.safetensors")
    changed(folder, lambda description: None)
    found = verify(folder)
    assert not found.broken
    assert faulty(found) == {("weights", "scikit-learn")}


def test_swapped_labels_disagree_though_every_digest_fits(folder: Path) -> None:
    """The same labels in another order are another model."""

    def swap(description: dict[str, Any]) -> None:
        labels = description["scheme"]["tasks"]["stance"]["labels"]
        description["scheme"]["tasks"]["stance"]["labels"] = dict(reversed(labels.items()))
        description["scheme_digest"] = parse(description["scheme"]).digest()

    changed(folder, swap)
    found = verify(folder)
    assert {("fp32", "onnxruntime"), ("fp16", "onnxruntime"), ("weights", "scikit-learn")} <= faulty(found)


def test_swapped_labels_are_found_by_the_digest_of_the_scheme(folder: Path) -> None:
    """Their digest must be that of the scheme in training."""

    def swap(description: dict[str, Any]) -> None:
        labels = description["scheme"]["tasks"]["topic"]["labels"]
        description["scheme"]["tasks"]["topic"]["labels"] = dict(reversed(labels.items()))

    changed(folder, swap)
    assert any("does not have the labels that the model was trained with" in sentence for sentence in verify(folder).broken)


def test_a_dropped_temperature_disagrees_though_every_digest_fits(folder: Path) -> None:
    """A graph without it gives other answers."""
    temperature = np.float32(bundle.describe(folder)["calibration"]["temperatures"]["stance"])

    def drop(made: onnx.ModelProto) -> None:
        (tensor,) = [one for one in made.graph.initializer if not one.dims and numpy_helper.to_array(one) == temperature]
        tensor.CopyFrom(numpy_helper.from_array(np.float32(1), tensor.name))

    graph(folder, drop)
    found = verify(folder)
    assert not found.broken
    assert ("fp32", "onnxruntime") in faulty(found)
    assert ("fp16", "onnxruntime") not in faulty(found)


def test_a_temperature_dropped_from_the_description_disagrees(folder: Path) -> None:
    """The trained model without it gives other answers."""
    changed(folder, lambda description: description["calibration"]["temperatures"].pop("stance"))
    assert faulty(verify(folder)) == {("weights", "scikit-learn")}


def test_a_changed_description_is_named(folder: Path) -> None:
    """Even a change that affects no golden answer, such as of a threshold or a licence."""
    changed(folder, lambda description: description["provenance"].update(licences={"data": "CC0"}), consistent=False)
    assert any("haltung.json has been changed since it was written" in sentence for sentence in verify(folder).broken)


def test_a_task_with_a_label_too_many_is_a_fault(folder: Path) -> None:
    """Not a traceback about shapes."""

    def cut(made: onnx.ModelProto) -> None:
        for tensor in made.graph.initializer:
            value = numpy_helper.to_array(tensor)
            if value.shape[-1:] == (3,):  # of the stances alone
                tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value[..., :2]), tensor.name))
        made.graph.output[1].type.tensor_type.shape.dim[1].dim_value = 2

    graph(folder, cut)
    found = verify(folder)
    assert ("fp32", "onnxruntime") in faulty(found)


def test_a_broken_graph_is_a_fault_of_its_format_alone(folder: Path) -> None:
    """The other formats are still replayed."""
    (folder / "onnx" / "model.fp32.onnx").write_bytes(b"no graph")
    found = verify(folder)
    assert ("fp32", "onnxruntime") in faulty(found)
    assert ("fp16", "onnxruntime") not in faulty(found)


def test_golden_labels_that_contradict_their_probabilities_are_an_error(folder: Path) -> None:
    """Such an answer was edited after the export."""
    lines = (folder / "golden.jsonl").read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[0])
    row["labels"]["topic"] = "economy" if row["labels"]["topic"] == "security" else "security"
    (folder / "golden.jsonl").write_text("\n".join([json.dumps(row), *lines[1:]]) + "\n", encoding="utf-8")
    changed(folder, lambda description: None)
    assert verify(folder).broken == (f"golden.jsonl: the labels of {row['id']} do not match their probabilities; export the bundle again",)


@pytest.mark.parametrize(("content", "sentence"), [(None, "is missing"), ("{", "line 1"), ("", "line 1"), ('{"id": "g"}\n', "line 1")])
def test_golden_answers_that_cannot_be_read_are_an_error(folder: Path, content: str | None, sentence: str) -> None:
    """Without them nothing can be verified."""
    (folder / "golden.jsonl").unlink() if content is None else (folder / "golden.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        verify(folder)


def test_a_trained_bundle_is_distinguished_from_an_exported_one(tmp_path: Path) -> None:
    """It has no formats to verify."""
    bundle.save(linear.fit(tiny.segments(40), tiny.scheme(), LinearSpec(min_count=1), seed=1), tmp_path / "trained")
    with pytest.raises(UserError, match="was not exported"):
        verify(tmp_path / "trained")


def test_a_file_outside_the_bundle_is_not_read(folder: Path) -> None:
    """A description may list only files in its folder."""
    changed(folder, lambda description: description["files"].update({"../secret": "0"}), consistent=False)
    assert any("lies outside the bundle" in sentence for sentence in verify(folder).broken)


def test_the_command_exits_with_0_and_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 for an unchanged bundle, 1 for a changed one, with the reason."""
    assert main(["verify", f"bundle={folder}"]) == 0
    assert "is as it was exported" in capsys.readouterr().out
    (folder / "vocabulary.json").unlink()
    assert main(["verify", f"bundle={folder}"]) == 1
    printed = capsys.readouterr()
    assert "vocabulary.json is missing" in printed.err
    assert "NOT as it was exported" in printed.out


def test_the_command_exits_with_2_for_what_is_no_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong folder, or none, is the user's mistake."""
    assert main(["verify"]) == 2
    assert "name what to verify: bundle=DIR" in capsys.readouterr().err
    assert main(["verify", f"bundle={tmp_path}"]) == 2
    assert "has no haltung.json" in capsys.readouterr().err


@pytest.fixture
def keys(folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two public keys; the bundle is signed by the owner of the first."""
    (private, ours), (_, theirs) = new_key(tmp_path / "ours"), new_key(tmp_path / "theirs")
    signature.sign(folder, signature.read_key(str(private), "private"))
    return ours, theirs


def told(folder: Path, public: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return exit code and message of a verification with a key."""
    capsys.readouterr()
    code = main(["verify", f"bundle={folder}", f"key={public}"])
    printed = capsys.readouterr()
    return code, " ".join((printed.err + printed.out).split())


def unlisted(description: dict[str, Any]) -> None:
    description.pop("files")


@pytest.mark.parametrize(
    "change", [unlisted, lambda description: description["calibration"].update(temperatures={})], ids=["no digests", "another temperature"]
)
@pytest.mark.parametrize("consistent", [True, False])
def test_a_description_that_was_changed_is_not_what_was_signed(
    folder: Path, keys: tuple[Path, Path], change: Callable[[dict[str, Any]], None], consistent: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether its own digests match or not, and without digests, which loads unchecked."""
    changed(folder, change, consistent)
    code, text = told(folder, keys[0], capsys)
    assert code == 1
    assert text.startswith(f"{folder / 'haltung.json'} has been changed since it was signed by this key; do not use it")


def test_whose_signature_it_is_is_told(folder: Path, keys: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """By this key, by another one, or none; each message is one sentence that names the bundle."""
    ours, theirs = keys
    numbers = [signature.read_key(str(key), "public").public_bytes_raw().hex() for key in keys]
    assert told(folder, ours, capsys)[1].endswith(f"{folder} is as it was exported and signed by this key, {numbers[0]}")
    assert told(folder, theirs, capsys)[0] == 1
    assert f"{folder} is signed by another key, '{numbers[0]}'; this one is '{numbers[1]}'" in told(folder, theirs, capsys)[1]
    (folder / "haltung.json.sig").unlink()
    assert told(folder, ours, capsys)[0] == 1
    assert f"{folder} is not signed: it has no haltung.json.sig" in told(folder, ours, capsys)[1]


def test_a_changed_file_of_a_signed_bundle_is_named(folder: Path, keys: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """What is signed includes its digest; files added later are named, except hidden ones."""
    for name in ("dyads.json", "more/learned.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}", encoding="utf-8")
        assert told(folder, keys[0], capsys)[0] == 1
        assert f"{name} was added since" in told(folder, keys[0], capsys)[1]
        (folder / name).unlink()
    (folder / ".gitattributes").touch()
    assert told(folder, keys[0], capsys)[0] == 0
    with (folder / "vocabulary.json").open("ab") as file:
        file.write(b" ")
    code, text = told(folder, keys[0], capsys)
    assert code == 1
    assert "vocabulary.json is not the file that was written" in text
    assert "as it was exported" not in text  # nothing has been run


def test_a_signature_over_no_digests_says_nothing_of_files(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody may sign an old bundle by other means, but then its files are not protected."""
    private, public = new_key(tmp_path / "ours")
    changed(folder, unlisted, consistent=False)
    key = signature.read_key(str(private), "private")
    (folder / "haltung.json.sig").write_bytes(key.sign((folder / "haltung.json").read_bytes()))
    assert told(folder, public, capsys)[0] == 1
    assert "lists no files" in told(folder, public, capsys)[1]


@pytest.mark.system("openssl")
def test_keys_and_signatures_are_those_of_openssl(folder: Path, tmp_path: Path) -> None:
    """With the commands of docs/export.md, for keys and for verification without Haltung."""
    private, public = tmp_path / "key.pem", tmp_path / "public.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(private)], check=True)
    subprocess.run(["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)], check=True)
    signature.sign(folder, signature.read_key(str(private), "private"))
    assert signature.fault(folder, signature.read_key(str(public), "public")) == ""
    signed = ("-rawin", "-in", str(folder / "haltung.json"), "-sigfile", str(folder / "haltung.json.sig"))
    verify_it = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(public), *signed]
    assert "Signature Verified Successfully" in subprocess.run(verify_it, check=True, capture_output=True, text=True).stdout
    subprocess.run(["openssl", "genpkey", "-algorithm", "x25519", "-out", str(tmp_path / "other.pem")], check=True)
    with pytest.raises(UserError, match=r"is not a private ed25519 key in PEM without a password \(it is another kind of key\)"):
        signature.read_key(str(tmp_path / "other.pem"), "private")
