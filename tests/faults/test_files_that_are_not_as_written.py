"""An exported bundle states the SHA-256 of its files, which is verified for each file that is read:
changed and unlisted files are refused.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import exported
import tiny
from bundle_readers import READERS
from haltung.encoders.load import Encoder
from haltung.errors import UserError
from haltung.events import dyads as dyad_model
from haltung.export.verify import verify
from haltung.export.write import write_description
from haltung.inference.client import BundleError, Classifier
from haltung.models import bundle, linear
from haltung.models.spec import LinearSpec, NetworkSpec

GRAPH = "onnx/model.fp32.onnx"


def signed(folder: Path) -> Path:
    """Write the digests of all files, as the export does."""
    write_description(folder, json.loads((folder / "haltung.json").read_text(encoding="utf-8")))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small exported bundle with digests."""
    return signed(exported.write(tmp_path / "bundle"))


@pytest.fixture(scope="module")
def trained(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A network and a linear model, read by torch and scikit-learn, with digests."""
    from haltung.models.neural import build

    models = {
        "network": build(Encoder("tiny", "folder", str(bert)), NetworkSpec(max_length=32), tiny.scheme()),
        "linear": linear.fit(tiny.segments(40), tiny.scheme(), LinearSpec(min_count=1), seed=1),
    }
    root = tmp_path_factory.mktemp("trained")
    return {kind: signed(bundle.save(model, root / kind)) for kind, model in models.items()}


def changed(path: Path) -> None:
    """Change a file so that it can still be read."""
    path.write_bytes(path.read_bytes() + b"\n")


@pytest.mark.parametrize("reader", READERS)
def test_a_bundle_as_it_was_written_is_read(folder: Path, reader: str) -> None:
    """With digests, and without them as written by earlier versions."""
    READERS[reader](folder)
    description = json.loads((folder / "haltung.json").read_text(encoding="utf-8"))
    del description["files"], description["digest"]
    (folder / "haltung.json").write_text(json.dumps(description), encoding="utf-8")
    changed(folder / "tokenizer.json")
    READERS[reader](folder)


@pytest.mark.parametrize("name", ["tokenizer.json", GRAPH])
def test_an_empty_file_is_named(folder: Path, name: str) -> None:
    """A copy to a full disk leaves one."""
    (folder / name).write_bytes(b"")
    with pytest.raises(BundleError, match=rf"{name} is not the file that was written"):
        Classifier(folder)


def test_what_is_short_of_memory_is_not_called_broken(folder: Path) -> None:
    """Exporting the bundle again would not help."""
    with pytest.raises(UserError, match=r"needs more memory than is free \(MemoryError: too much\)"), bundle.broken_parts(folder):
        raise MemoryError("too much")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["tokenizer.json", GRAPH])
def test_a_changed_file_is_not_used(folder: Path, reader: str, name: str) -> None:
    """Even if it could be read."""
    if name == GRAPH:
        exported.write(folder.parent / "another", seed=1)
        shutil.copyfile(folder.parent / "another" / GRAPH, folder / GRAPH)
    else:
        changed(folder / name)
    with pytest.raises((UserError, BundleError), match=rf"{name} is not the file that was written"):
        READERS[reader](folder)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["tokenizer.json", GRAPH])
def test_a_file_that_is_not_listed_is_not_used(folder: Path, reader: str, name: str) -> None:
    """If the description names another file, that file needs a digest."""
    other = "onnx/other.onnx" if name == GRAPH else "other.json"
    shutil.copyfile(folder / name, folder / other)
    path = folder / "haltung.json"
    path.write_text(path.read_text(encoding="utf-8").replace(f'"{name}",', f'"{other}",'), encoding="utf-8")
    with pytest.raises((UserError, BundleError), match=rf"{other} is not the file that was written"):
        READERS[reader](folder)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("network", "model.safetensors"), ("network", "config.json"), ("network", "tokenizer.json"), ("network", "tokenizer_config.json"),
     ("linear", "linear.safetensors"), ("linear", "vocabulary.json")],
)  # fmt: skip
def test_changed_weights_are_not_used(trained: dict[str, Path], tmp_path: Path, kind: str, name: str) -> None:
    """Nor any other changed file that torch or scikit-learn reads from a bundle."""
    folder = Path(shutil.copytree(trained[kind], tmp_path / "bundle"))
    assert bundle.load_trained(folder).kind == kind
    if name.endswith(".json"):
        changed(folder / name)
    else:
        content = bytearray((folder / name).read_bytes())
        content[-1] ^= 1
        (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} is not the file that was written"):
        bundle.load_trained(folder)


def test_transformers_reads_no_file_that_is_not_listed(trained: dict[str, Path], tmp_path: Path) -> None:
    """Transformers also looks for files that no model has written, and would add their tokens."""
    folder = Path(shutil.copytree(trained["network"], tmp_path / "bundle"))
    (folder / "added_tokens.json").write_text('{"Chile": 5}', encoding="utf-8")
    with pytest.raises(UserError, match=r"added_tokens.json is not the file that was written \(haltung.json has no such SHA-256\)"):
        bundle.load_trained(folder)


def test_thresholds_of_dyads_may_come_later(trained: dict[str, Path], tmp_path: Path) -> None:
    """A training writes them into an existing bundle."""
    folder = Path(shutil.copytree(trained["network"], tmp_path / "bundle"))
    dyad_model.write_thresholds(folder, dyad_model.Thresholds(pair=0.7), {})
    assert bundle.load_trained(folder).kind == "network"
    assert dyad_model.load(folder).thresholds.pair == 0.7


def test_a_verification_names_every_changed_file(folder: Path, root: Path, tmp_path: Path) -> None:
    """Also a missing one; an unchanged bundle has none."""
    copy = Path(shutil.copytree(root / "tests/data/bundle_0.1.0", tmp_path / "old"))
    assert verify(copy).broken == ()
    changed(copy / "README.md")
    (copy / "request.schema.json").unlink()
    first, second = verify(copy).broken
    assert "README.md is not the file that was written" in first
    assert "request.schema.json is missing" in second
