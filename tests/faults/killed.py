"""Kill and disturb the commands that write: SIGKILL at random times, full disks and the like.

    make faults                                # 30 kills of each command: half an hour of a core
    make faults ARGS='--only prepare,export --kills 5 --disturbed 2 --seed 7'

Each command runs once to its end. Then it is killed with its process group at random times during
its run, and resumed (``resume=true``) or repeated, in a separate home. Right after the kill, each
existing output must be complete; at the end, all results must equal those of the unbroken run,
without further files, and without MLflow runs that have not ended. With a full or read-only file
system, or an input that is deleted meanwhile, the command must end with one sentence and exit code
2, and succeed once the cause is removed. Anything else is a finding: it is printed with its time,
and the exit code is 1.

Commands are forked from a process that has already imported their libraries, so that kills hit
their actual work. File systems are mounted in a separate namespace (unshare, as root or not).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import command_line
import exported
import tiny
from haltung.cli import main as command

_OWN = "HALTUNG_FAULTS_MOUNTS"
MOUNTS = bool(os.environ.get(_OWN))  # whether this process has its own namespace of mounts
DATABASE = "experiments/mlflow.db"

# What differs between two unbroken runs: ids, digests (each file is compared by itself) and times;
# and the override that a resumed run has in addition.
VARYING = re.compile(rb"\b[0-9a-f]{32,64}\b|\d{4}-\d\d-\d\dT[\d:.+]+|,? ?'?\bresume=\w+'?|\"resume\": ?\w+|resume: \w+")

# A killed trial counts as lost, and later trials have higher numbers.
UNLIKE = ("cost/", "sweep/lost", "sweep/best_trial")

_RUNS = ("mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store", "matplotlib.figure", "haltung.cli.train", "haltung.training.finetune")
LIBRARIES = {
    "prepare": ("pyarrow.parquet", "haltung.cli.prepare"),
    "train": _RUNS,
    "sweep": (*_RUNS, "haltung.cli.sweep"),
    "export": (*_RUNS, "haltung.cli.export", "onnx", "onnxscript", "onnxruntime"),
    "export_linear": (*_RUNS, "haltung.cli.export", "sklearn.linear_model", "onnx", "onnxscript", "onnxruntime"),
    "predict": ("onnxruntime", "haltung.cli.predict"),
    "events": ("onnxruntime", "haltung.cli.events"),
}  # what each command imports


# The kind of a run and its metrics: key, step, value, how often.
Tracked = tuple[str, list[tuple[str, int, float, int]]]


@dataclass(frozen=True)
class Job:
    """A command, and the folder ``template`` that its home is copied from.

    ``outputs`` are patterns of files and folders that are complete or absent at any time,
    ``results`` those of further ones that are the same at the end. ``inputs`` may be deleted.
    ``again`` are the words added to repeat or resume the command.
    """

    template: Path
    words: tuple[str, ...]
    outputs: tuple[str, ...]
    again: tuple[str, ...]
    inputs: tuple[str, ...]
    results: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done:
    """Exit code, messages and duration of a command."""

    code: int
    errors: str
    seconds: float


@dataclass(frozen=True)
class Whole:
    """The outputs, results, duration and disk usage of an unbroken run."""

    code: int
    seconds: float
    outputs: dict[str, str]
    results: dict[str, str]
    runs: list[Tracked]
    files: set[str]
    bytes: int


def run(words: Sequence[str], home: Path, until: float | None = None, meanwhile: Callable[[], None] | None = None) -> Done:
    """Run a command in its own process group; after ``until`` seconds, call ``meanwhile`` or,
    without it, kill the command. A command is always killed after ten minutes.
    """
    said = home.with_suffix(".err")
    began = time.monotonic()
    child = os.fork()
    if not child:
        _become(words, home, said)
    os.setpgid(child, child)  # set in both processes, since either may run first
    moment, status = until, 0
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        passed = time.monotonic() - began
        if (moment is not None and passed >= moment) or passed > 600:
            if meanwhile is None or passed > 600:
                os.killpg(child, signal.SIGKILL)
                ended = os.waitpid(child, 0)
                break
            meanwhile()
            moment = None
        time.sleep(0.002)
    status = os.waitstatus_to_exitcode(ended[1])
    return Done(status, said.read_text(encoding="utf-8", errors="replace"), time.monotonic() - began)


def _become(words: Sequence[str], home: Path, said: Path) -> None:
    code = 1
    try:
        os.setpgid(0, 0)
        os.chdir(home)
        for number, path in ((0, Path(os.devnull)), (1, Path(os.devnull)), (2, said)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        code = command(words)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(bool(print(error.code, file=sys.stderr)) or 1)
    except BaseException:  # noqa: BLE001 -- what python would print
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def made(make: Callable[[], object]) -> None:
    """Call ``make`` in a child process, so that this one has no threads and can fork."""
    child = os.fork()
    if not child:
        try:
            make()
            os._exit(0)
        except BaseException:  # noqa: BLE001 -- a child must not continue as its parent
            traceback.print_exc()
            os._exit(1)
    if os.waitpid(child, 0)[1]:
        sys.exit("what the commands read could not be made")


def jobs(scratch: Path, wanted: Sequence[str]) -> Iterator[tuple[str, Job]]:
    """Yield the requested commands, each once its inputs have been made."""
    from haltung.tracking.store import _create_database

    plain, stored, texts = (scratch / name for name in ("plain", "stored", "texts"))
    for folder in (plain, texts):
        folder.mkdir()
    bert, corpus, runs = scratch / "bert", ("texts.jsonl", "scheme.yaml"), "experiments/runs/*"
    linear = ("train", *command_line.LINEAR, "name=tiny", "seed=1")
    made(lambda: command_line.write_corpus(plain, 600))
    shutil.copytree(plain, stored)
    (stored / "experiments").mkdir()
    made(lambda: _create_database(stored / DATABASE))
    (stored / "mine/search").mkdir(parents=True)
    (stored / "mine/search/small.yaml").write_text("# own\nmodel.C: [1.0, 3.0, 10.0]\n", encoding="utf-8")
    tune = command_line.recipe(bert, "seed=1", "training.epochs=3", "corpus.rules.near=0")
    search = ("sweep", *command_line.LINEAR, "search=small", "name=s", "trials=3", "startup=1", "final_seeds=1", "--config-dir", "mine")
    resume = ("resume=true",)
    if "prepare" in wanted:
        words = ("prepare", *command_line.CORPUS)
        yield "prepare", Job(plain, words, ("data/prepared/*",), (), corpus)
    if {"train", "export"} & {*wanted}:
        made(lambda: tiny.write_bert(bert))
    if "train" in wanted:
        results = (f"{runs}/dev/*", "experiments/artifacts/*/dev/*")
        yield "train", Job(stored, tune, (f"{runs}/bundle",), resume, (*corpus, "data/prepared"), results)
    if "sweep" in wanted:
        yield "sweep", Job(stored, search, (f"{runs}/bundle",), resume, (*corpus, "data/prepared"), (f"{runs}/dev/*",))
    for name, how in (("export", tune), ("export_linear", linear)):
        if name in wanted:
            shutil.copytree(stored, scratch / "home", dirs_exist_ok=True)
            if (done := run(how, scratch / "home")).code:
                sys.exit(f"{' '.join(how)} ended with {done.code}: {done.errors}")
            (scratch / "home").rename(scratch / name)
            words = ("export", "run=tiny-1", "to=out")
            yield name, Job(scratch / name, words, ("out",), (), (*corpus, "data/prepared", "experiments/artifacts"))
    if {"predict", "events"} & {*wanted}:
        rows = [{"id": one.id, "text": one.text, "context": one.context} for one in tiny.segments(4000)]
        rows[1000]["text"] = ""
        (texts / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        stories = [{"id": f"a{n}", "date": "2024-01-05", "text": "\n".join(one["text"] for one in rows[n : n + 3])} for n in range(600)]
        (texts / "news.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in stories), encoding="utf-8")
        made(lambda: exported.write(texts / "bundle"))
    if "predict" in wanted:
        words = ("predict", "bundle=bundle", "runtime=onnxruntime", "input=rows.jsonl", "output=out.jsonl", "window=50")
        yield "predict", Job(texts, words, ("out.jsonl", "out.jsonl.broken.jsonl"), resume, ("rows.jsonl", "bundle"))
    if "events" in wanted:
        words = ("events", "bundle=bundle", "input=news.jsonl", "output=out.jsonl", "table=out.csv")
        yield "events", Job(texts, words, ("out.jsonl", "out.csv"), resume, ("news.jsonl", "bundle"))


def digests(home: Path, patterns: Sequence[str]) -> dict[str, str]:
    """Return a digest of each file or folder that matches, without the parts that vary."""
    found = {}
    for path in sorted(path for pattern in patterns for path in home.glob(pattern) if not path.name.startswith(".")):
        whole = hashlib.sha256()
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                content = file.read_bytes()
                is_text = file.suffix in (".json", ".jsonl", ".md", ".html", ".svg", ".yaml", ".csv", ".txt")
                whole.update(f"{file.relative_to(path)}\n".encode() + (VARYING.sub(b"", content) if is_text else content))
        found[VARYING.sub(b"*", path.relative_to(home).as_posix().encode()).decode()] = whole.hexdigest()
    return found


def left(home: Path) -> set[str]:
    """Return the files of a home, except hidden ones, locks and the artifacts of MLflow's runs."""
    paths = [path.relative_to(home) for path in home.rglob("*") if path.is_file() and path.suffix != ".lock"]
    shown = (path for path in paths if not any(part[0] == "." for part in path.parts))
    return {path.as_posix() for path in shown if path.parts[:2] != ("experiments", "artifacts")}


def tracked(home: Path) -> tuple[list[Tracked], Counter[str]]:
    """Return kind and metrics of the store's finished runs, and the number of runs by status."""
    if not (home / DATABASE).exists():
        return [], Counter()
    with closing(sqlite3.connect(home / DATABASE)) as store:
        assert store.execute("pragma integrity_check").fetchone() == ("ok",)
        states = Counter(state for (state,) in store.execute("select status from runs"))
        runs: list[Tracked] = []
        for (run,) in store.execute("select run_uuid from runs where status = 'FINISHED'").fetchall():
            kind = store.execute("select value from tags where run_uuid = ? and key = 'haltung.kind'", [run]).fetchone()
            query = "select key, step, value, count(*) from metrics where run_uuid = ? group by 1, 2, 3 order by 1, 2, 3"
            metrics = store.execute(query, [run]).fetchall()
            # Metrics of the end of a training (step 0) may occur twice, points of a curve may not.
            runs.append((kind, [(key, step, value, step and count) for key, step, value, count in metrics if not key.startswith(UNLIKE)]))
    return sorted(runs, key=repr), states


@contextmanager
def fresh(job: Job, home: Path) -> Iterator[None]:
    """Create the home from the template, on its own file system if mounting is possible."""
    home.mkdir(exist_ok=True)
    if MOUNTS:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(home)], check=True)
    try:
        shutil.copytree(job.template, home, dirs_exist_ok=True)
        yield
    finally:
        if MOUNTS:
            subprocess.run(["umount", "--lazy", str(home)], check=True)
        else:
            shutil.rmtree(home)


def remount(home: Path, option: str) -> None:
    """Shrink (``size=BYTES``) or enlarge the file system of a home, or make it read-only."""
    subprocess.run(["mount", "-o", f"remount,{option}", str(home)], check=True)


def used(home: Path) -> int:
    """Return the number of bytes in use on the file system of a home."""
    room = os.statvfs(home)
    return (room.f_blocks - room.f_bfree) * room.f_frsize


def unbroken(job: Job, home: Path) -> Whole:
    """Run a command to its end; exit this program if it fails."""
    with fresh(job, home):
        before = used(home)
        done = run(job.words, home)
        if done.code not in (0, 1) or "Traceback" in done.errors or not digests(home, job.outputs):
            sys.exit(f"{' '.join(job.words)} ended with {done.code}: {done.errors}")
        runs, _ = tracked(home)
        return Whole(done.code, done.seconds, digests(home, job.outputs), digests(home, job.results), runs, left(home), used(home) - before)


def broken(job: Job, whole: Whole, home: Path) -> list[str]:
    """Return the outputs that exist and are incomplete."""
    found = digests(home, job.outputs)
    return [f"{name} is half-written" for name, digest in found.items() if whole.outputs.get(name) != digest]


def ended(job: Job, whole: Whole, home: Path) -> list[str]:
    """Repeat or resume a command, and return the faults of its results."""
    done = run((*job.words, *job.again), home)
    if done.code not in (0, 1) or "Traceback" in done.errors:
        return [f"afterwards it ends with {done.code}: {done.errors.strip()[-800:]}"]
    runs, states = tracked(home)
    wrong = [f"{states[state]} runs are {state}" for state in ("RUNNING", "SCHEDULED") if states[state]]
    unlike = [one for one in (*runs, *whole.runs) if (one in runs) != (one in whole.runs)]
    wrong += [f"{one[0]}'s run differs: {[part for part in one[1] if part not in unlike[-1][1]][:3]}" for one in unlike[:1]]
    for found, expected in ((digests(home, job.outputs), whole.outputs), (digests(home, job.results), whole.results)):
        wrong += [f"{name} differs from an unbroken run's" for name in sorted({*found, *expected}) if found.get(name) != expected.get(name)]
    wrong += [f"{path} is left" for path in sorted(left(home) - whole.files)]
    return wrong


def refused(done: Done) -> list[str]:
    """Return the faults in how a command that could not do its work ended."""
    lines = [line for line in done.errors.replace("\r", "\n").splitlines() if line.strip()]
    wrong = [f"it ends with {done.code}"] * (done.code != 2)
    wrong += ["it ends with a traceback"] * ("Traceback" in done.errors)
    wrong += ["it ends without a sentence"] * (not lines or not lines[-1].startswith("haltung: "))
    return [f"{', '.join(wrong)}: {done.errors.strip()[-800:]}"] if wrong else []


def last(done: Done) -> str:
    """Return the last line of a command's messages."""
    return (done.errors.strip().splitlines() or [f"exit code {done.code}"])[-1]


def killed(job: Job, whole: Whole, home: Path, moment: float, after: bool) -> tuple[str, list[str]]:
    """Kill a command; with ``after``, kill it while it replaces the output of an unbroken run."""
    with fresh(job, home):
        words = job.words
        if after:
            run(job.words, home)
            words += ("force=true",) if words[0] == "prepare" else ()
        done = run(words, home, moment)
        wrong = broken(job, whole, home)
        if after and digests(home, job.outputs).keys() != whole.outputs.keys():
            wrong.append("what an earlier run has written is gone")
        return "killed" if done.code == -signal.SIGKILL else "done before", wrong + ended(job, whole, home)


def full(job: Job, whole: Whole, home: Path, share: float) -> tuple[str, list[str]]:
    """Run a command with space for a share of the bytes that it adds, then with enough for all."""
    with fresh(job, home):
        remount(home, f"size={used(home) + int(share * whole.bytes)}")
        done = run(job.words, home)
        fits = done.code == 0 and digests(home, job.outputs) == whole.outputs  # a file system allocates whole pages
        wrong = [] if fits else refused(done) + broken(job, whole, home)
        remount(home, f"size={2**30}")
        return last(done), wrong + ended(job, whole, home)


def read_only(job: Job, whole: Whole, home: Path, share: float) -> tuple[str, list[str]]:
    """Run a command in a read-only home, then again in a writable one."""
    with fresh(job, home):
        remount(home, "ro")
        done = run(job.words, home)
        remount(home, "rw")
        return last(done), refused(done) + broken(job, whole, home) + ended(job, whole, home)


def vanishing(job: Job, whole: Whole, home: Path, share: float) -> tuple[str, list[str]]:
    """Delete an input while the command runs, and restore it after the command has ended."""
    gone = home / job.inputs[int(share * 997) % len(job.inputs)]

    def remove() -> None:
        shutil.rmtree(gone, ignore_errors=True) if gone.is_dir() else gone.unlink(missing_ok=True)

    with fresh(job, home):
        done = run(job.words, home, share * whole.seconds, remove)
        is_read = done.code == whole.code and "Traceback" not in done.errors
        # `events` lists an unreadable file and reads the others.
        is_listed = done.code == 1 and f"{gone.name}: can't be read" in done.errors and "Traceback" not in done.errors
        wrong = [] if is_listed else ([] if is_read else refused(done)) + broken(job, whole, home)
        if (source := job.template / gone.relative_to(home)).is_dir():
            shutil.copytree(source, gone, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy(source, gone)
        how = f"{gone.relative_to(home)}: {'all was read before' if is_read else last(done)}"
        return how, wrong + ended(job, whole, home)


def tried(name: str, job: Job, kills: int, disturbed: int, seed: int, home: Path) -> int:
    """Test a command: print what happens, and return the number of findings."""
    whole, pick, findings = unbroken(job, home), random.Random(f"{name} {seed}"), 0
    print(f"{name}: unbroken in {whole.seconds:.1f} s", flush=True)

    def report(what: str, number: int, moment: str, wrong: list[str]) -> int:
        for one in wrong:
            print(f"{name}: {what} {number} of seed {seed}, {moment}: {one}", flush=True)
        return len(wrong)

    ends = Counter[str]()
    for number in range(kills):
        moment = pick.random() * whole.seconds
        how, wrong = killed(job, whole, home, moment, number % 3 == 2 and not job.again)
        ends[how] += 1
        findings += report("kill", number, f"after {moment:.3f} of {whole.seconds:.3f} s", wrong)
    said = [f"{count} times {how}" for how, count in ends.items()]
    for trouble in (full, read_only, vanishing):
        if trouble is not vanishing and not MOUNTS:
            print(f"{name}: no {trouble.__name__} file system, since this system lets this user mount none", flush=True)
            continue
        ends = Counter()
        for number in range(1 if trouble is read_only else disturbed):
            share = pick.random()
            how, wrong = trouble(job, whole, home, share)
            ends[how] += 1
            findings += report(trouble.__name__, number, f"at {share:.3f}", wrong)
        for how, count in ends.items():
            print(f"  {name}, {trouble.__name__.replace('_', '-')}, {count} times: {how}", flush=True)
    print(f"{name}: {', '.join(said)} in {whole.seconds:.1f} s; {findings} findings", flush=True)
    return findings


def main() -> int:
    """Test all commands, or those given; return 1 if there is a finding."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default=",".join(LIBRARIES), help="commands, as in prepare,export")
    parser.add_argument("--kills", type=int, default=30, help="of each command")
    parser.add_argument("--disturbed", type=int, default=5, help="full file systems, and inputs that vanish, of each command")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    # Only this program and its children see the mounts, which end with them.
    for more in ([], ["--map-root-user"]) if not MOUNTS else ():
        try_it = ["unshare", "--mount", *more, "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
        if shutil.which("unshare") and not subprocess.run(try_it, capture_output=True, check=False).returncode:
            os.environ[_OWN] = "1"
            os.execvp("unshare", ["unshare", "--mount", *more, sys.executable, *sys.argv])  # noqa: S606 -- no shell is wanted
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    findings, wanted = 0, given.only.split(",")
    if unknown := {*wanted} - {*LIBRARIES}:
        parser.error(f"unknown command {min(unknown)}; they are {', '.join(LIBRARIES)}")
    for library in (library for name in wanted for library in LIBRARIES[name]):
        importlib.import_module(library)
    with tempfile.TemporaryDirectory(prefix="haltung-faults-") as scratch:
        for name, job in jobs(Path(scratch), wanted):
            findings += tried(name, job, given.kills, given.disturbed, given.seed, Path(scratch, "home"))
    print(f"{findings} findings")
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
