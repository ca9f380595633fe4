"""The wheel is complete: installed into an empty environment, it works from an empty folder."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


def _done(command: Sequence[str | Path], **options: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return str(done.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as pip builds it; if the build tool is installed (``make setup``), pip fetches
    none.
    """
    folder = tmp_path_factory.mktemp("wheel")
    isolation = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    _done([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *isolation, "--wheel-dir", folder, ROOT])
    (found,) = folder.glob("haltung-*.whl")
    return found


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of an environment with Haltung from the wheel and borrowed dependencies.

    Installing gigabytes of dependencies again would test pip rather than Haltung, so a ``.pth``
    file adds the packages of this environment after its own. ``.pth`` files inside an added folder
    are not read, so an editable Haltung is not added.
    """
    folder = tmp_path_factory.mktemp("environment")
    _done([sys.executable, "-m", "venv", "--without-pip", folder])
    programs = folder / "bin"
    _done([sys.executable, "-m", "pip", "--python", programs / "python", "install", "--quiet", "--no-deps", "--no-index", wheel])
    (packages,) = (folder / "lib").glob("python*/site-packages")
    borrowed = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (packages / "borrowed.pth").write_text("\n".join(borrowed) + "\n", encoding="utf-8")
    return programs


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, object]:
    """An empty working directory, and environment variables that don't point to the checkout."""
    others = {name: value for name, value in os.environ.items() if name != "PYTHONPATH" and not name.startswith("HALTUNG_")}
    folder = tmp_path / "empty"
    folder.mkdir()
    return {"cwd": folder, "env": {**others, "HALTUNG_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}}


def _shipped(folder: str, place: str) -> set[str]:
    top = ROOT / folder
    return {f"{place}/{path.relative_to(top).as_posix()}" for path in top.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


def test_the_wheel_holds_the_package_the_configs_and_the_data(wheel: Path) -> None:
    """It has each file of the package, each config and each shipped corpus, but no files that a
    command has written to the checkout.
    """
    expected = _shipped("src/haltung", "haltung") | _shipped("configs", "haltung/_configs")
    for corpus in (
        "diplomacy",
        "contrast",
        "challenge",
        "primer",
        "gnad10_stance",
        "wikinews_stance",
        "bundestag_stance",
        "actors",
        "crosswalk",
        "models",
    ):
        expected |= _shipped(f"data/{corpus}", f"haltung/_data/{corpus}")
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == expected
    assert "haltung/py.typed" in found


def test_the_installed_package_is_the_wheels(environment: Path, elsewhere: dict[str, object]) -> None:
    """Otherwise the tests below would test the checkout; configs and data are in the package."""
    program = "import haltung; from haltung.files import shipped; print(haltung.__file__, shipped('configs'), shipped('data'), sep='\\n')"
    package, configs, data = (Path(line) for line in _done([environment / "python", "-c", program], **elsewhere).split())
    assert package.is_relative_to(environment.parent)
    assert (configs, data) == (package.parent / "_configs", package.parent / "_data")
    assert configs.is_dir()
    assert data.is_dir()


def test_the_installed_command_lists_the_commands(environment: Path, elsewhere: dict[str, object]) -> None:
    """`haltung` without arguments lists all commands."""
    listing = _done([environment / "haltung"], **elsewhere)
    assert "prepare" in listing
    assert "train" in listing


def test_the_installed_command_prepares_the_shipped_corpus(environment: Path, elsewhere: dict[str, object]) -> None:
    """The wheel includes the corpus; the prepared corpus goes to the working directory."""
    _done([environment / "haltung", "prepare", "corpus=diplomacy"], **elsewhere)
    prepared = Path(str(elsewhere["cwd"])) / "data" / "prepared" / "diplomacy"
    assert json.loads((prepared / "manifest.json").read_text(encoding="utf-8"))
    assert {path.stem for path in prepared.glob("*.parquet")} == {"train", "dev", "test"}


def test_the_installed_command_finds_every_config(environment: Path, elsewhere: dict[str, object]) -> None:
    """The config of a training is composed without a checkout."""
    assert "e5_small_de" in _done([environment / "haltung", "train", "--cfg"], **elsewhere)
