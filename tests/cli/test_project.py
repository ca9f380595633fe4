"""New projects of a user, which can be run at once, and the report on the machine."""

from __future__ import annotations

import http.server
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from command_line import run_here
from haltung import labels, resources
from haltung.cli.config import combinations, compose, with_table
from haltung.inference import machine

FILES = {"Makefile", "README.md", ".gitignore", "labels.yaml", "data/sentences.csv"}


def _made(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project created by ``haltung new``."""
    home = tmp_path_factory.mktemp("projects")
    assert run_here("new", "Speed-Limit", cwd=home).returncode == 0
    return home / "Speed-Limit"


def test_a_new_project_has_a_config_a_scheme_a_table_and_a_makefile(project: Path) -> None:
    """Corpus and scheme have the folder's name, changed to a valid name of a corpus."""
    assert _made(project) == FILES | {"configs/corpus/speed_limit.yaml"}
    assert labels.load(project / "labels.yaml").name == "speed_limit"


@pytest.mark.parametrize(("name", "id"), [("2026 Renten", "my_2026_renten"), ("news", "my_news"), ("deep/down/Löhne", "l_hne")])
def test_any_name_gives_a_corpus_that_can_be_prepared(tmp_path: Path, name: str, id: str) -> None:
    """Names invalid for a corpus or already taken are changed; parent folders are created."""
    assert run_here("new", name, "language=de", cwd=tmp_path).returncode == 0
    assert "mit Ihren Texten" in (tmp_path / name / "README.md").read_text(encoding="utf-8")
    done = run_here("prepare", "--config-dir", "configs", f"corpus={id}", cwd=tmp_path / name)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / name / "data/prepared" / id / "manifest.json").read_text(encoding="utf-8"))
    counts = manifest["labels"]["stance"]
    assert all(counts[split][label] > 0 for split in ("train", "dev", "test") for label in ("pro", "contra", "neutral"))


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_nothing_is_overwritten(tmp_path: Path, there: str) -> None:
    """Any existing file, folder or link of that name stays unchanged."""
    path = tmp_path / "mine"
    if there == "folder":
        path.mkdir()
    elif there == "file":
        path.write_text("mine")
    else:
        path.symlink_to(tmp_path / "nowhere")
    done = run_here("new", "mine", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "mine already exists" in done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["mine"]
    assert not _made(path) if there == "folder" else path.is_symlink() or path.read_text() == "mine"


@pytest.mark.parametrize("words", [["new"], ["new", "a", "b"], ["new", "/"], ["new", "mine", "language=fr"]])
def test_a_project_that_cannot_be_made_gets_one_sentence(tmp_path: Path, words: list[str]) -> None:
    """No file is left."""
    done = run_here(*words, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n"), list(tmp_path.iterdir())) == (2, 1, [])


def _commands(project: Path) -> Iterator[list[str]]:
    """Yield the commands in the Makefile's targets and in the README."""
    targets = re.findall(r"^([a-z_]+):.*## ", (project / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    done = subprocess.run(["make", "-n", *targets], cwd=project, capture_output=True, text=True, check=True)
    yield from (shlex.split(line) for line in done.stdout.splitlines() if line.startswith("haltung "))
    shown = re.findall(r"`(haltung \w+ [^`]*=[^`]*)`", (project / "README.md").read_text(encoding="utf-8"))
    yield from map(shlex.split, shown)


def test_each_command_of_a_project_composes(project: Path) -> None:
    """With the project's own config."""
    commands = [words[1:] for words in _commands(project)]
    assert {words[0] for words in commands} == {"suggest", "annotate", "prepare", "train", "evaluate", "predict", "runs", "agree", "report"}
    for command, *words in commands:
        rest = [word for word in words if word not in ("--config-dir", "configs")]
        own = project / "configs" if len(rest) < len(words) else None
        # For `haltung runs`, a corpus may have any name.
        rest = [word for word in rest if command != "runs"]
        for overrides in combinations(with_table(command, rest)):
            assert compose(command, overrides, own)


@pytest.mark.slow
def test_a_new_project_trains_and_labels_at_once(tmp_path: Path) -> None:
    """With make, as the project's README says."""
    assert run_here("new", "mine", cwd=tmp_path).returncode == 0
    program = f"HALTUNG={sys.executable} -m haltung"
    done = subprocess.run(["make", "train", "test", "label", program], cwd=tmp_path / "mine", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine" / "sentences.labelled.xlsx").is_file()


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevent requests to the hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize(
    ("language", "words"), [("en", ("free disk space", "to begin with")), ("de", ("freier Plattenplatz", "zum Anfangen"))]
)
def test_doctor_shows_a_table_in_both_languages(tmp_path: Path, language: str, words: tuple[str, ...]) -> None:
    """With disk space, memory and a recommended command."""
    done = run_here("doctor", f"language={language}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in (*words, "haltung train", "GiB"))


@pytest.mark.usefixtures("no_hub")
def test_doctor_as_json_recommends_a_training_that_composes(tmp_path: Path) -> None:
    """It also reports what the other commands would use."""
    done = run_here("doctor", "format=json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert (found["cores"], found["hub"]) == (resources.cores(), False)
    assert found["versions"]["torch"] == metadata.version("torch")
    assert compose("train", found["recipe"].split()[2:])


@pytest.mark.usefixtures("no_hub")
def test_doctor_loads_nothing_heavy(tmp_path: Path) -> None:
    """It answers quickly, and works even if these libraries are broken."""
    program = (
        "import sys, haltung.cli; haltung.cli.main(['doctor']); "
        "sys.exit(str({'torch', 'transformers', 'mlflow', 'pandas', 'sklearn', 'datasets'} & set(sys.modules)).replace('set()', ''))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


@pytest.mark.usefixtures("no_hub")
def test_doctor_survives_a_machine_that_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It still shows a table if system files, package metadata and programs are missing."""

    def fail(*_: object) -> None:
        raise OSError("not here")

    monkeypatch.setattr(metadata, "requires", fail)
    monkeypatch.setattr(resources, "memory", fail)
    for name in ("processor", "has_bf16", "disk_usage", "preferred"):
        monkeypatch.setattr(machine, name, fail)
    monkeypatch.setenv("PATH", "")
    done = run_here("doctor", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("unknown") == 3  # processor, memory, disk


class _Hub(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


def test_the_hub_is_reachable_where_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the address that the libraries use; with HF_HUB_OFFLINE it is not."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with http.server.HTTPServer(("127.0.0.1", 0), _Hub) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert machine.look(20)["hub"]
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert not machine.look(20)["hub"]
        server.shutdown()


def test_a_hub_that_does_not_answer_costs_no_more_than_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An accepted connection without an answer ends at the time limit as well."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        assert not machine.look(0.2)["hub"]
        assert time.monotonic() - start < 30  # the request itself would wait for a minute


@pytest.mark.usefixtures("no_hub")
def test_little_memory_asks_for_the_linear_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training an encoder would be killed."""
    monkeypatch.setattr(resources, "memory", lambda: 3.9)
    assert machine.look(0)["recipe"] == "haltung train model=linear"


@pytest.mark.usefixtures("no_hub")
def test_a_gpu_that_this_torch_cannot_use_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's own program is run, and torch's build is checked."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA A30, 24576 MiB'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for version, used in (("2.13.0+cpu", False), ("2.13.0+cu130", True)):
        monkeypatch.setattr(machine, "version_of", lambda name, version=version: version if name == "torch" else "1")
        found = machine.look(0)
        assert (found["gpus"], found["gpu_used"]) == (["NVIDIA A30, 24576 MiB"], used)


@pytest.mark.usefixtures("no_hub")
def test_missing_and_unfit_packages_are_told_by_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requirements for all are under ""; those met or for other systems are omitted."""
    wanted = ["numpy>=99", "numpy>=1", "not-there>=2; extra == 'serve'", "not-there; sys_platform == 'amiga'", "not-there; extra == 'dev'"]
    monkeypatch.setattr(metadata, "requires", lambda _: wanted)
    assert machine.look(0)["faults"] == {"": ["numpy>=99"], "serve": ["not-there>=2"]}
