"""A model as a wheel, installed by pip and found by name; and on the hub, through the real client
library and a local server that answers like the hub.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email import message_from_string
from pathlib import Path

import pytest

import tiny
from command_line import haltung, run_here, write_corpus
from haltung.errors import UserError
from haltung.export import share
from haltung.models import bundle
from haltung.models.linear import fit
from haltung.models.spec import LinearSpec
from hub_server import Hub, Repository, serve

CORPUS = ("corpus=jsonl", "corpus.reader.path=texts.jsonl", "corpus.labels=scheme.yaml", "corpus.rules.near=0")
WHEEL = "my_model-1.2-py3-none-any.whl"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained bundle, its corpus, and the bundle exported as ``mine`` with its
    wheel beside it.
    """
    folder = tmp_path_factory.mktemp("share")
    write_corpus(folder)
    model = fit(tiny.segments(60), tiny.scheme(), LinearSpec(min_count=1), seed=1)  # exported in a second
    bundle.save(model, folder / "trained", {"corpus": "tiny"})
    done = run_here(*_export("to=mine", "wheel=my_model", "version=1.2", "licence=ours"), cwd=folder)
    assert done.returncode == 0, done.stderr
    assert WHEEL in done.stdout
    return folder


def _export(*more: str) -> tuple[str, ...]:
    return ("export", "bundle=trained", *CORPUS, *more)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub without repositories, which accepts uploads."""
    (tmp_path / "hub").mkdir()
    with serve(uploads=tmp_path / "hub") as running:
        yield running


def _environment(hub: Hub, home: Path, token: str = "hf_ours") -> dict[str, str]:
    # Use the older protocol for large files; the newer one needs a server of its own.
    return {**hub.environment(home), "HF_HUB_DISABLE_XET": "1", **({"HF_TOKEN": token} if token else {})}


@pytest.mark.slow
def test_a_wheel_is_installed_and_found_by_name(home: Path, tmp_path: Path) -> None:
    """It has the whole folder; pip installs it, and ``haltung.load`` finds it from elsewhere."""
    site = tmp_path / "site"
    words = ("install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--target", str(site), str(home / WHEEL))
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, capture_output=True)
    assert _files(site / "my_model").keys() == {*_files(home / "mine"), "__init__.py"}
    code = "import haltung, json; print(json.dumps(haltung.load('my_model').predict('Chile warnt Peru .').labels))"
    paths = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths})
    shown = run_here("predict", "bundle=mine", "text=Chile warnt Peru .", cwd=home)
    assert shown.returncode == 0, shown.stderr
    for label in json.loads(done.stdout).values():
        assert label in shown.stdout.lower()


def test_a_wheel_says_what_it_needs(home: Path) -> None:
    """Name, version, the licence of the data, the least version of Haltung, and the card."""
    import haltung

    with zipfile.ZipFile(home / WHEEL) as opened:
        (path,) = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_string(opened.read(path).decode())
        points = opened.read(path.replace("METADATA", "entry_points.txt")).decode()
    assert (metadata["Name"], metadata["Version"], metadata["License"]) == ("my_model", "1.2", "data: ours")
    assert metadata["Requires-Dist"] == f"haltung>={haltung.__version__}"
    assert "## Intended use" in str(metadata.get_payload())
    assert points.split() == ["[haltung.models]", "my_model", "=", "my_model"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["wheel=My-Model"], ["My-Model", "only a-z, digits"]),
        (["wheel=class"], ["class", "only a-z, digits"]),
        (["wheel=model_"], ["model_", "only a-z, digits"]),
        (["wheel=news_de"], ["news_de", "already has that name"]),
        (["wheel=scikit_learn"], ["scikit_learn", "another"]),
        (["to=."], ["the current folder"]),
        (["wheel=numpy"], ["numpy", "installed package", "another"]),
        (["wheel=my_model", "version=newest"], ["newest", "1.0"]),
        (["wheel=my_model", "form=transformers"], ["wheel", "form=transformers"]),
        (["hub=news"], ["news", "ORGANISATION/NAME"]),
        (["hub=ours/ne ws"], ["ours/ne ws", "ORGANISATION/NAME"]),
        (["hub=ours/news"], ["hf auth login", "HF_TOKEN"]),
    ],
)
def test_a_wrong_name_is_refused_before_the_export(
    home: Path, words: list[str], named: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In one sentence, with nothing written."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    done = run_here(*_export("to=other", *words), cwd=home)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert all(name in done.stderr for name in named), done.stderr
    assert not (home / "other").exists()


@pytest.mark.slow
def test_a_model_goes_to_the_hub_and_comes_back(home: Path, hub: Hub, tmp_path: Path) -> None:
    """The repository is private and has the same files; the token allows its use as a bundle."""
    environment = _environment(hub, tmp_path / "cache")
    done = haltung(*_export("to=again", "hub=ours/news"), cwd=home, env=environment)
    assert done.returncode == 0, done.stderr
    assert f"{hub.url}/ours/news/commit/" in done.stdout
    assert hub.private == {"ours/news"}
    assert _files(tmp_path / "hub/ours/news") == _files(home / "again")
    words = ("bundle=hub:ours/news", "text=Chile warnt Peru .")
    shown = haltung("predict", *words, cwd=tmp_path, env=environment)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout == run_here("predict", "bundle=again", words[1], cwd=home).stdout
    code = "import haltung; print(haltung.load('hub:ours/news'))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert loaded.stdout.startswith("LoadedModel hub:ours/news"), loaded.stderr
    refused = haltung("predict", *words, cwd=tmp_path, env=_environment(hub, tmp_path / "none", token=""))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
    assert "ours/news" in refused.stderr
    assert hub.url in refused.stderr


def test_a_card_of_a_compact_model_is_the_repositorys(hub: Hub, tmp_path: Path) -> None:
    """The hub shows README.md of the top folder; files of an older model are removed."""
    (tmp_path / "small/bundle").mkdir(parents=True)
    (tmp_path / "small/bundle/README.md").write_text("the card\n", encoding="utf-8")
    (tmp_path / "small/compact.json").write_text("{}", encoding="utf-8")
    code = "import sys, pathlib, haltung.export.share as s; print(s.upload(pathlib.Path(sys.argv[1]), 'ours/small', False))"
    command = [sys.executable, "-c", code, str(tmp_path / "small")]
    environment = _environment(hub, tmp_path / "cache")
    (tmp_path / "hub/ours/small").mkdir(parents=True)
    hub.repositories += (Repository("models", "ours/small", {"main": tmp_path / "hub/ours/small"}),)
    for name in (".gitattributes", "onnx.onnx"):
        (tmp_path / "hub/ours/small" / name).touch()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "hub/ours/small").iterdir()} == {".gitattributes", "README.md", "bundle", "compact.json"}
    assert (tmp_path / "hub/ours/small/README.md").read_text(encoding="utf-8") == "the card\n"
    assert (tmp_path / "hub/ours/small/compact.json").is_file()
    assert not hub.private


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["token", "gone"])
def test_a_refused_upload_leaves_the_folder(home: Path, hub: Hub, tmp_path: Path, fault: str) -> None:
    """The bundle is kept; the message says so, and what to check before another export."""
    environment = _environment(hub, tmp_path / "cache", token="hf_wrong" if fault == "token" else "hf_ours")
    if fault == "gone":
        environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
    done = haltung(*_export(f"to=kept-{fault}", "hub=ours/news"), cwd=home, env=environment)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert all(part in last for part in (f"kept-{fault} was written", "ours/news", "export again")), done.stderr
    assert (home / f"kept-{fault}/haltung.json").is_file()


def test_a_wheel_that_cannot_be_written_is_said(home: Path, tmp_path: Path) -> None:
    """Here a folder already has the wheel's name."""
    model = shutil.copytree(home / "mine", tmp_path / "mine")
    (tmp_path / WHEEL / "x").mkdir(parents=True)
    with pytest.raises(UserError, match=WHEEL):
        share.wheel(model, "my_model", "1.2", None)
