"""Some randomly broken inputs for every reader (``make fuzz`` tries many), and inputs that once
caused errors other than one sentence.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import attacks
from haltung.cli import main
from haltung.cli.config import combinations
from haltung.corpus.readers.xstance import XStance
from haltung.errors import UserError

CASES = 10  # of each of 31 targets

# Run in a separate program, since a fork of the tests' process with all its threads can crash.
BAD = """
import json, os, signal, sys
from pathlib import Path

import attacks

def bad(path):
    data = path.read_bytes()
    kind = -1 if data == b"sound" else len(data) % 3
    if kind == 0:
        raise KeyError("x")
    if kind == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    while kind == 2:
        pass

attacks.SECONDS = 0.2
print(json.dumps(attacks.attack("bad", attacks.Target("a.txt", bad, (b"sound",)), 1, range(12), Path(sys.argv[1]))))
"""


@pytest.fixture(scope="module")
def fuzz(root: Path) -> Iterator[ModuleType]:
    """The program."""
    spec = importlib.util.spec_from_file_location("fuzz", root / "tests/faults/fuzz.py")
    assert spec
    assert spec.loader
    module = sys.modules["fuzz"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    if module._client.cache_info().currsize:
        module._client().__exit__(None, None, None)


def test_what_is_broken_at_random_is_read_or_refused(fuzz: ModuleType, tmp_path: Path) -> None:
    """The inputs are the same on each run, since new ones would make the test fail at random."""
    found = []
    for name, target in fuzz.targets().items():
        folder = tmp_path / name
        attacks.prepared(target, folder)
        said = [attacks.tried(target, attacks.case_of(target, name, 0, number), folder) for number in range(CASES)]
        found += [f"{name} {number}: {wrong}" for number, wrong in enumerate(said) if wrong]
    assert found == []


def test_a_traceback_an_endless_loop_and_a_dead_process_are_findings(root: Path, tmp_path: Path) -> None:
    """The program detects each of them and keeps one input of each kind."""
    environment = os.environ | {"PYTHONPATH": f"{root / 'src'}{os.pathsep}{root / 'tests'}"}
    done = subprocess.run([sys.executable, "-c", BAD, tmp_path], env=environment, capture_output=True, text=True, check=True)
    kinds = sorted(line.partition(": ")[2].partition(" ")[0] for line in json.loads(done.stdout.splitlines()[-1]))
    assert kinds == ["KeyError", "it", "the"], done.stdout
    assert len(list(tmp_path.glob("bad-*.txt"))) == 3


def test_a_question_that_is_no_word_is_looked_for_all_the_same(fuzz: ModuleType, tmp_path: Path) -> None:
    """The reader of x-stance looks questions up in a set; it once took this one for hashable."""
    row = {"id": 1, "question_id": {"a": 1}, "question": "Soll das sein?", "comment": "Ja.", "label": "warning", "topic": "economy"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert len(XStance(str(tmp_path), split_files={"train": ["a.jsonl"]}).read(fuzz.SCHEME).segments) == 1


@pytest.mark.parametrize("text", ["name: a\x00b\n", "defaults: [{'': ''}, _self_]\n"])
def test_a_config_that_hydra_falls_over_is_one_sentence(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Even if Hydra's own message has several lines, or none."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/theirs.yaml").write_text(text, encoding="utf-8")
    assert main(["train", "corpus=theirs", "--config-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_combinations_are_counted_before_they_are_made() -> None:
    """Forty keys of two values each would fill the memory."""
    with pytest.raises(UserError, match="request 1099511627776 runs"):
        combinations([f"key{number}=1,2" for number in range(40)])
