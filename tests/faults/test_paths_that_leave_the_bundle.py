"""A foreign bundle can neither read nor write files outside its folder, by a path in its
description or by a link.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import exported
from bundle_readers import READERS
from haltung.cli import main
from haltung.errors import UserError
from haltung.export.verify import verify
from haltung.export.write import write_description
from haltung.inference.client import BundleError, Classifier
from haltung.models import bundle, compact

SECRET = "a secret of this machine"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small bundle, and beside it a file that does not belong to it."""
    (tmp_path / "secret.txt").write_text(SECRET, encoding="utf-8")
    (tmp_path / "secret.json").write_text(json.dumps({"secret": SECRET}), encoding="utf-8")
    return exported.write(tmp_path / "bundle")


def change(folder: Path, **changes: Any) -> None:
    """Change keys of the description, given as ``formats__fp32__file="…"``."""
    path = folder / "haltung.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        *parents, last = key.split("__")
        place = description
        for name in parents:
            place = place[name]
        place[last] = value
    path.write_text(json.dumps(description), encoding="utf-8")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("key", ["input__tokenizer", "formats__fp32__file"])
@pytest.mark.parametrize("name", ["../secret.txt", "onnx/../../secret.txt", "{absolute}"])
def test_a_path_in_the_description_stays_inside(folder: Path, reader: str, key: str, name: str) -> None:
    """Each reader refuses such a path without revealing the content of the file."""
    change(folder, **{key: name.format(absolute=folder.parent / "secret.txt")})
    with pytest.raises((UserError, BundleError), match="lies outside the bundle; do not use this bundle") as caught:
        READERS[reader](folder)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["haltung.json", "tokenizer.json", "onnx/model.fp32.onnx", "onnx"])
def test_a_link_stays_inside(folder: Path, reader: str, name: str) -> None:
    """A linked file from elsewhere is refused even if its content is valid."""
    elsewhere = folder.parent / "elsewhere"
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)
    with pytest.raises((UserError, BundleError), match="lies outside the bundle; do not use this bundle"):
        READERS[reader](folder)


@pytest.mark.parametrize("name", ["golden.jsonl", "README.md", "onnx/more/link", "dyads.json"])
def test_no_command_takes_a_bundle_with_a_link_that_leads_outside(folder: Path, name: str) -> None:
    """Whatever its name: a file that is not read today may be copied or uploaded tomorrow."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).symlink_to(folder.parent / "secret.txt")
    with pytest.raises(UserError, match=f"{name} lies outside the bundle"):
        compact.find(folder)


@pytest.mark.parametrize("words", ["predict text=Ja", "verify", "export corpus=diplomacy to=out", "events input=pyproject.toml", "serve"])
def test_the_commands_say_so_in_a_sentence(folder: Path, capsys: pytest.CaptureFixture[str], words: str) -> None:
    """With exit code 2, before any command has loaded a model."""
    (folder / "learned.txt").symlink_to("/etc/hostname")
    command, *rest = words.split()
    assert main([command, f"bundle={folder}", *rest]) == 2
    assert "learned.txt lies outside the bundle; do not use this bundle" in capsys.readouterr().err


def test_a_training_starts_from_no_bundle_with_such_a_link(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bundle can also provide an encoder's weights."""
    (folder / "config.json").symlink_to(folder.parent / "secret.json")
    assert main(["train", "encoder=bundle", f"encoder.path={folder}"]) == 2
    assert "config.json lies outside the bundle; do not use this bundle" in capsys.readouterr().err


@pytest.mark.parametrize("within", ["", "members/0"])
def test_a_bundle_in_the_cache_of_the_hub_is_read(folder: Path, within: str) -> None:
    """In the hub's cache, every file of a snapshot is a link to a file named by its digest; also
    for a member of an ensemble.
    """
    snapshot, blobs = folder.parent / "models--ours--news/snapshots/1234" / within, folder.parent / "models--ours--news/blobs"
    blobs.mkdir(parents=True)
    for number, path in enumerate(path for path in sorted(folder.rglob("*")) if path.is_file()):
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        path.rename(blobs / str(number))
        link.symlink_to(blobs / str(number))
    assert compact.find(snapshot) == snapshot
    assert Classifier(snapshot).classify(["Chile warnt"])
    assert bundle.load(snapshot, graph=True).finds_dyads is False


def test_a_pipe_in_the_place_of_a_file_does_not_stop_the_reader(folder: Path) -> None:
    """Opening it would block until something writes to it."""
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")
    with pytest.raises(BundleError, match=r"tokenizer.json is not a file of at most 100,000,000 bytes"):
        Classifier(folder)
    with pytest.raises(UserError, match=r"tokenizer.json is not a file"):
        compact.find(folder)


def test_a_verification_reads_no_file_outside(folder: Path) -> None:
    """Otherwise the answer would reveal the digest of a file."""
    write_description(folder, json.loads((folder / "haltung.json").read_text(encoding="utf-8")))
    change(folder, files__a="../secret.txt", **{"files__../secret.txt": "0"})
    (folder / "golden.jsonl").symlink_to(folder.parent / "secret.txt")
    with pytest.raises(UserError, match=r"golden.jsonl lies outside the bundle"):
        verify(folder)


def test_a_compact_model_publishes_nothing_that_a_link_leads_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of an earlier export, such as its card, are kept and then uploaded."""
    monkeypatch.setattr(compact, "applied", lambda packed: {})
    monkeypatch.setattr(compact, "_base", lambda: tmp_path / "base")
    secret, to = tmp_path / "secret.txt", tmp_path / "to"
    secret.write_text(SECRET, encoding="utf-8")
    to.mkdir()
    (to / "compact.json").write_text("{}", encoding="utf-8")
    (to / "README.md").write_text("a card", encoding="utf-8")
    (to / "NOTES.md").symlink_to(secret)
    compact.write(exported.write(tmp_path / "bundle"), {}, to)
    assert sorted(path.name for path in to.iterdir()) == ["README.md", "bundle", "compact.json", "difference.safetensors"]
