"""The connections of a training, a prediction and a server, traced with strace: none leaves this
machine.

Code in other languages is traced too: the telemetry of ONNX Runtime is C++.
"""

from __future__ import annotations

import ipaddress
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import exported
from command_line import CORPUS, find_run, recipe, write_corpus
from haltung.cli import main
from served import served

pytestmark = [pytest.mark.slow, pytest.mark.system("strace")]

# System calls that name a peer, of all threads and children, with the address in plain text.
WATCH = ("strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-e", "signal=none")

# Variables that switch telemetry off, directly or by telling a library that it is being tested.
QUIET = ("DISABLE_TELEMETRY", "DO_NOT_TRACK", "USAGE_STATS", "OFFLINE", "PYTEST", "RUNNING_UNIT_TESTS")
QUIET += ("GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "JENKINS", "TRAVIS", "BITBUCKET_BUILD", "BUILDKITE", "TEAMCITY", "CODEBUILD")

# ONNX Runtime waits for 9 s before it first sends.
FIRST_REPORT = 13


def foreign(trace: Path) -> list[str]:
    """Return the lines of a trace with the address of another machine or a DNS query."""
    found = []
    for line in trace.read_text(encoding="utf-8", errors="replace").splitlines():
        named = re.findall(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', line)
        addresses = [ipaddress.ip_address(old or new) for old, new in named]
        mapped = [getattr(one, "ipv4_mapped", None) or one for one in addresses]
        # A local resolver may forward queries to other machines.
        if not all(one.is_loopback for one in mapped) or (named and "port=htons(53)" in line):
            found.append(line)
    return found


def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables that silence a library; pytest sets its own in each test."""
    for name in list(os.environ):
        if name == "CI" or any(part in name for part in QUIET):
            monkeypatch.delenv(name)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a user who has switched nothing off."""
    loud(monkeypatch)
    home = tmp_path / "home"
    home.mkdir()
    # The list of fonts takes seconds to build.
    monkeypatch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR", str(Path.home() / ".cache/matplotlib")))
    monkeypatch.setenv("HOME", str(home))
    return home


def test_the_watch_sees_whoever_calls_another_machine(tmp_path: Path) -> None:
    """Also of a grandchild and over IPv6; addresses of this machine are ignored."""
    # Addresses reserved for examples, and a datagram socket, which sends nothing on connecting.
    ask = "import socket as s; s.socket(s.{}, s.SOCK_DGRAM).connect(('{}', {}))"
    asked = [("AF_INET", "127.0.0.1", 9), ("AF_INET", "127.0.0.1", 53), ("AF_INET", "192.0.2.1", 9), ("AF_INET6", "::ffff:192.0.2.1", 9)]
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
    programs = [[sys.executable, "-c", child, ask.format(*one)] for one in asked]
    for number, program in enumerate(programs):
        subprocess.run([*WATCH, "-o", str(tmp_path / str(number)), *program], check=True)
    assert [len(foreign(tmp_path / str(number))) for number in range(4)] == [0, 1, 1, 1]


@pytest.mark.parametrize("wanted", [False, True])
def test_telemetry_is_off_unless_somebody_wants_it(monkeypatch: pytest.MonkeyPatch, wanted: bool) -> None:
    """By variables of MLflow, the hub and ONNX Runtime, set before any of them is imported."""
    on = {"MLFLOW_DISABLE_TELEMETRY": "false", "HF_HUB_DISABLE_TELEMETRY": "0", "ORT_DISABLE_TELEMETRY": "0"}
    monkeypatch.setattr(os, "environ", dict(on) if wanted else {})
    assert main(["--version"]) == 0
    off = {"MLFLOW_DISABLE_TELEMETRY": "true", "HF_HUB_DISABLE_TELEMETRY": "1", "ORT_DISABLE_TELEMETRY": "1"}
    assert {name: os.environ[name] for name in on} == (on if wanted else off)


def test_the_client_leaves_no_identifier_of_the_machine(home: Path, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The single file, in a project without Haltung: with telemetry on, ONNX Runtime writes one on
    import.
    """
    loud(monkeypatch)
    bundle = exported.write(tmp_path / "bundle")
    subprocess.run([sys.executable, root / "src/haltung/inference/client.py", bundle, "Peru lobt ."], check=True, capture_output=True)
    assert list(home.iterdir()) == []


def test_no_connection_leaves_the_machine(
    home: Path, bert: Path, tmp_path: Path, new_store: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trainings into a local database, a prediction with the run of a network, and a server that
    labels and then idles; no library writes an identifier of the machine into the home either.
    """
    loud(monkeypatch)
    write_corpus(tmp_path, 80)
    new_store(tmp_path)
    bundle = exported.write(tmp_path / "bundle")
    commands = {
        "train": ["train", *CORPUS, "model=linear", "name=linear"],
        "finetune": [*recipe(bert, "training.epochs=1")],
        "predict": ["predict", "run=tiny-42", "text=Peru lobt den Zoll ."],
    }
    with served(bundle, tmp_path, before=(*WATCH, "-D", "-o", str(tmp_path / "serve.trace"))) as server, server.client() as client:
        since = psutil.Process(server.process.pid).create_time()
        assert client.post("/classify", json={"text": "Peru lobt ."}).status_code == 200
        for name, words in commands.items():
            command = [*WATCH, "-o", str(tmp_path / f"{name}.trace"), sys.executable, "-m", "haltung", *words]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        time.sleep(max(0.0, since + FIRST_REPORT - time.time()))
        assert client.post("/events", json={"text": "Peru lobt ."}).status_code == 200
    assert find_run(tmp_path, "tiny-42").status == "FINISHED"  # type: ignore[attr-defined]
    assert {name: foreign(tmp_path / f"{name}.trace") for name in (*commands, "serve")} == {name: [] for name in (*commands, "serve")}
    assert [path.name for path in home.rglob("*") if path.is_file() and "haltung" not in path.relative_to(home).parts] == []
