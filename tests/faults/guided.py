"""Attack the targets of fuzz.py with inputs chosen by the code that they reach (atheris).

    make atheris                                         # 1,000 runs of each target
    make atheris ARGS='--runs 20000 --only jsonl,scheme --seed 7'

Inputs that reach new code of Haltung are changed further, by libFuzzer or as in fuzz.py. Findings
and the limits of 5 s and 1 GB are defined as in fuzz.py. Inputs with findings are kept in
build/atheris-findings, and the exit code is 1. If a target's process dies, the next target follows.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import re
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import atheris
from atheris import import_hook

# The hook writes a line for each module, also while a target counts the lines that Haltung writes.
import_hook.sys = SimpleNamespace(meta_path=sys.meta_path, stderr=io.StringIO())
# Modules of Haltung imported within this block report which of their code is reached.
INSTRUMENTED = atheris.instrument_imports(include=["haltung"])
with INSTRUMENTED:
    import fuzz

    import attacks

if TYPE_CHECKING:
    from attacks import Target

SEEDS = 30  # randomly broken inputs to begin with, in addition to the sound ones
MOST_BYTES = 300_000


def guide(name: str, target: Target, runs: int, seed: int, folder: Path, keep: Path) -> None:
    """Run a target in this process, which ends with it."""
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, data in enumerate([*target.seeds, *(attacks.case_of(target, name, seed, number) for number in range(SEEDS))]):
        (corpus / str(number)).write_bytes(data)
    with INSTRUMENTED:  # some modules are imported only when needed
        attacks.prepared(target, folder)
    attacks.limit_memory()

    def one(data: bytes) -> None:
        if wrong := attacks.tried(target, data, folder):
            attacks.note(name, attacks.kept(name, target, data, f"a run of seed {seed}", wrong, keep), keep)

    def changed(data: bytes, most: int, number: int) -> bytes:
        if number % 2:
            try:
                return attacks.mutated(data, target.file, random.Random(number))[:most]
            except (ValueError, RecursionError, LookupError):
                pass  # the input as changed before can no longer be parsed
        return atheris.Mutate(data, most)

    # tried() limits processor time to 5 s; this limit on wall-clock time is for native code alone.
    flags = [f"-runs={runs}", f"-seed={seed}", f"-max_len={MOST_BYTES}", f"-timeout={60 * attacks.SECONDS}"]
    flags += ["-rss_limit_mb=4096", f"-artifact_prefix={keep / name}-"]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], one, custom_mutator=changed)
    atheris.Fuzz()


def attack(name: str, target: Target, runs: int, seed: int, keep: Path) -> Counter[str]:
    """Guide a target in a child process; print the coverage reached and return the findings."""
    log = keep / f"{name}.log"
    with tempfile.TemporaryDirectory(prefix="haltung-atheris-") as folder:
        child = os.fork()
        if not child:
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            try:
                guide(name, target, runs, seed, Path(folder), keep)
            except BaseException:  # noqa: BLE001 -- a child must not continue as its parent
                traceback.print_exc()
            finally:
                os._exit(1)
        status = os.waitpid(child, 0)[1]
    found = attacks.noted(name, keep)
    said = log.read_text(encoding="utf-8", errors="replace")
    # Coverage at the start and at the end.
    reached = [int(number) for number in [*re.findall(r"INITED +cov: (\d+)", said), *re.findall(r"cov: (\d+)", said)[-1:]]] or [0]
    done = [int(number) for number in re.findall(r"^#(\d+)\t", said, re.MULTILINE)] or [0]
    if status:
        found[f"{name}: the process ends with status {status}, see {log}"] += 1
    print(f"{name}: {done[-1]:,} runs, {found.total()} findings; places reached: {reached[0]:,}, then {reached[-1]:,}", flush=True)
    return found


def main() -> int:
    """Attack all targets, or those given; return 1 if there is a finding."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000, help="of each target")
    parser.add_argument("--only", default="", help="targets, as in jsonl,scheme")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("build/atheris-findings"), help="folder for inputs that are findings, and logs")
    given = parser.parse_args()
    shutil.rmtree(given.keep, ignore_errors=True)
    given.keep.mkdir(parents=True)
    with INSTRUMENTED:
        chosen = {name: one for name, one in fuzz.targets().items() if not given.only or name in given.only.split(",")}
    total = Counter[str]()
    for name, target in chosen.items():
        total += attack(name, target, given.runs, given.seed, given.keep)
    print("\n".join(f"{count} × {kind}" for kind, count in total.most_common()))
    print(f"{given.runs * len(chosen):,} runs, {total.total()} findings of {len(total)} kinds")
    return int(bool(total))


if __name__ == "__main__":
    sys.exit(main())
