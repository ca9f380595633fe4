"""The stated sizes of a foreign compact model are compared with the encoder it is the difference to
before any memory or disk space is used to rebuild it.
"""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import exported
from haltung.errors import UserError
from haltung.models import compact

TENSOR = "encoder.table"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compact model whose encoder is one table; the cache is the test's own."""
    base = tmp_path / "base"
    base.mkdir()
    save_file({"table": np.arange(20_000, dtype=np.float32).reshape(200, 100)}, base / "model.safetensors")
    monkeypatch.setattr(compact, "_base", lambda: base)
    monkeypatch.setenv("HALTUNG_CACHE", str(tmp_path / "cache"))
    weights = {TENSOR: np.arange(20_000, dtype=np.float32).reshape(200, 100)}
    whole = exported.write(tmp_path / "whole")
    save_file(weights, whole / "model.safetensors")
    packed = compact._packed(TENSOR, np.zeros((200, 100), np.float32))
    return compact.write(whole, packed, tmp_path / "model")


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """Let a test fail before it fills the memory, at 8 GB above the size of the process."""
    size = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + 8 * 10**9, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def plan(model: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the model's description of its files."""
    content = json.loads((model / "compact.json").read_text(encoding="utf-8"))
    change(content)
    (model / "compact.json").write_text(json.dumps(content), encoding="utf-8")


def pack(model: Path, **tensors: np.ndarray) -> None:
    """Replace parts of the packed tensor, given as ``shape=…``."""
    path = model / "difference.safetensors"
    save_file(load_file(path) | {f"{TENSOR}#{name}": value for name, value in tensors.items()}, path)


def left(tmp_path: Path) -> list[str]:
    """Return the names of all files in the cache."""
    return [path.name for path in (tmp_path / "cache").rglob("*")] if (tmp_path / "cache").exists() else []


def test_the_model_of_these_tests_is_rebuilt(model: Path, tmp_path: Path) -> None:
    """Byte for byte, as long as nothing is changed."""
    rebuilt = compact.find(model)
    assert rebuilt.parent == tmp_path / "cache"
    assert (rebuilt / "model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    "tensors",
    [
        {"shape": np.array([10**6, 10**6])}, {"shape": np.array([2**32, 2**32])}, {"shape": np.array([-1, 100])},
        {"shape": np.array([0, 0])},
        {"shape": np.array([20_000_000])}, {"bits": np.zeros(1, np.uint8)}, {"scale": np.ones((200, 10**4), np.float16)},
        {"shape": np.array([100, 200]), "scale": np.ones((100, 1), np.float16)},
    ],
    ids=str,
)  # fmt: skip
def test_a_shape_that_does_not_fit_is_refused(model: Path, tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    """It has to match the packed bytes and the encoder's tensor."""
    pack(model, **tensors)
    with pytest.raises(UserError, match=r"the model 'model' in .* is broken \("):
        compact.find(model)
    assert left(tmp_path) == []


def test_a_tensor_that_would_be_repeated_is_refused(model: Path) -> None:
    """Added to the encoder's, a column of a million would be broadcast to a million tables."""
    save_file({TENSOR: np.zeros((10**6, 1, 1), np.float32)}, model / "difference.safetensors")
    with pytest.raises(UserError, match=r"has the shape \(1000000, 1, 1\), but in the embedded encoder \(200, 100\)"):
        compact.find(model)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["holes"].update({"model.safetensors": [[0, TENSOR, False]] * 20_000}),
        lambda content: content.update(files={f"{number}": "" for number in range(20_000)}, borrowed=[f"{n}" for n in range(20_000)]),
    ],
    ids=["the same tensor again and again", "files without number"],
)
def test_a_model_that_would_fill_the_disk_is_refused(
    model: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused by the total size of all its files."""
    for number in range(20_000):
        (tmp_path / "base" / str(number)).hardlink_to(tmp_path / "base/model.safetensors")
    plan(model, change)
    with pytest.raises(UserError, match=r"would have 1,6\d\d,\d\d\d,\d\d\d bytes, but at most 1,000,000,000 are allowed; do not use it"):
        compact.find(model)
    assert left(tmp_path) == []


def test_tensors_that_overlap_are_refused(model: Path, tmp_path: Path) -> None:
    """Writing a tensor at an earlier offset would duplicate the rest of the file each time."""
    plan(model, lambda content: content["holes"].update({"model.safetensors": [[80, TENSOR, False], [10, TENSOR, False]]}))
    with pytest.raises(UserError, match="should begin at 10, where there is another tensor"):
        compact.find(model)
    assert left(tmp_path) == []


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "{}", '{"encoder": ' + "1" * 5_000 + "}", "null"])
def test_a_broken_plan_is_a_sentence(model: Path, content: str) -> None:
    """Also if it is deeply nested, empty, or of another structure."""
    (model / "compact.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"the model 'model' in .* is broken \("):
        compact.find(model)


@pytest.mark.parametrize("name", ["../../stolen", "{folder}/stolen", "a/../../../stolen"])
def test_no_file_is_written_outside(model: Path, tmp_path: Path, name: str) -> None:
    """Even if the bundle's folder has such a file to copy from."""
    source = model / "bundle" / name.format(folder=tmp_path)
    source.parent.mkdir(exist_ok=True, parents=True)
    source.write_text("stolen", encoding="utf-8")
    plan(model, lambda content: content["files"].update({name.format(folder=tmp_path): "0"}))
    with pytest.raises(UserError, match="which lies outside a bundle; do not use it"):
        compact.find(model)
    assert left(tmp_path) == []


def test_a_link_inside_is_not_followed(model: Path, tmp_path: Path) -> None:
    """Otherwise a digest in the plan could confirm a guess at the content of a file."""
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    (model / "bundle/README.md").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match="lies outside the bundle"):
        compact.find(model)
