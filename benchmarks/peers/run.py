"""Train Haltung and its peers on the same splits, each in its own environment; resumable.

    # everything: many hours on two cores
    HALTUNG_SOURCES=FOLDER python benchmarks/peers/run.py
    # a part of it
    HALTUNG_SOURCES=FOLDER python benchmarks/peers/run.py --peers sklearn spacy --seeds 1
    # trained on an eighth of the train split
    HALTUNG_SOURCES=FOLDER python benchmarks/peers/run.py --share 0.125
    # the table of the existing results
    python benchmarks/peers/table.py

A run writes its output and predictions to ``WORK/runs/PEER/CORPUS/TASK/SEED`` and its result to
``RESULTS/CORPUS/TASK/PEER-SEED.json``, where CORPUS is ``CORPUS-SHARE`` if a share was given. The
results of the published tables are in ``experiments/peers``. This program uses the standard library
only, to stay small: Linux counts the memory of the process that starts a child towards the child's
peak.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import measuring
from results import Cost, Result, answers, digest, write

HERE = Path(__file__).resolve().parent
WORK = HERE / ".work"
RESULTS = WORK / "results"

OURS = ("haltung_linear", "haltung", "haltung_article")
# Cheap ones first, so that tables soon have rows.
SYSTEMS = (
    "sklearn", "haltung_linear", "spacy", "haltung", "haltung_article", "setfit", "flair", "transformers", "transformers_long", "bertuner",
)  # fmt: skip
TASKS = {"real_news": ("stance", "topic"), "xstance": ("stance",)}
SEEDS = (1, 2, 3)

# Systems that are run on one task only, to answer a question about it.
ALONE = {"transformers_long": ("real_news", "stance")}

# Haltung learns all tasks of a corpus in one training.
ALL = "all"

# Keys of Haltung beyond its defaults, by system and corpus, chosen by experiments on dev.
SETTINGS = {
    # The corpus at the time of the first peers; more has been labelled since.
    ("haltung", "real_news"): ("model=network", "corpus.rounds=[1]"),
    ("haltung", "xstance"): ("model=network", "training.encoder_rate=1e-4", "corpus.max_length=112"),
    ("haltung_article", "real_news"): ("model=article", "corpus.rounds=[1]"),
    ("haltung_article", "xstance"): ("model=article", "training.encoder_rate=1e-4", "corpus.max_length=112"),
    ("haltung_linear", "real_news"): ("corpus.rounds=[1]", "model=linear", "experiment=context_topic"),
    ("haltung_linear", "xstance"): ("model=linear",),
}

# On a share of train, twice the epochs give about as many steps as the peers take; the best epoch
# is chosen on dev.
FEW = dict.fromkeys(("haltung", "haltung_article"), ("training.epochs=8",))

PREDICTIONS = "predictions.jsonl"


@dataclass(frozen=True)
class Job:
    """One training with its predictions for the test split."""

    peer: str
    corpus: str
    task: str
    seed: int
    share: float = 1.0

    @property
    def given(self) -> str:
        """The training data: the corpus, with the share if it is below 1 (``real_news-0.125``)."""
        return self.corpus if self.share == 1 else f"{self.corpus}-{self.share:g}"

    def splits(self, work: Path) -> Path:
        """Return the folder of its splits; with a share, each seed has its own."""
        return work / "splits" / self.given / ("" if self.share == 1 else str(self.seed))

    def folder(self, work: Path) -> Path:
        """Return the folder of its output."""
        return work / "runs" / self.peer / self.given / self.task / str(self.seed)

    def settings(self) -> tuple[str, ...]:
        """Return the keys of Haltung beyond its defaults."""
        few = () if self.share == 1 else (f"share={self.share:g}", *FEW.get(self.peer, ()))
        return (*SETTINGS[self.peer, self.corpus], *few)

    def tasks(self) -> tuple[str, ...]:
        """Return the tasks that it learns."""
        return TASKS[self.corpus] if self.task == ALL else (self.task,)

    def result(self, results: Path) -> Path:
        """Return the file of its result, which exists once the job has succeeded."""
        return results / self.given / self.task / f"{self.peer}-{self.seed}.json"


def jobs(systems: Sequence[str], corpora: Sequence[str], tasks: Sequence[str], seeds: Sequence[int], share: float = 1.0) -> Iterator[Job]:
    """Yield all jobs of the first seed, then those of the next ones."""
    for seed in seeds:
        for corpus in corpora:
            chosen = [task for task in TASKS[corpus] if task in tasks]
            for peer in systems:
                tasks_of = [task for task in chosen if ALONE.get(peer, (corpus, task)) == (corpus, task)]
                for task in [ALL] if peer in OURS else tasks_of:
                    yield Job(peer, corpus, task, seed, share)


def script(peer: str) -> Path:
    """Return the script that a user of the peer would write."""
    return HERE / ("peer_haltung.sh" if peer in OURS else f"peer_{peer}.py")


def lines(peer: str) -> int:
    """Count the lines that a user of the peer writes: those of its script without empty lines,
    comments and docstring.

    In Haltung's script only the commands count; the other lines only vary the names of runs.
    """
    text = script(peer).read_text(encoding="utf-8")
    if text.startswith('"""'):
        text = text.split('"""', 2)[2]
    written = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return len([line for line in written if line.startswith("haltung ")] if peer in OURS else written)


def environment(peer: str, work: Path) -> Path:
    """Return the Python of the peer's virtual environment, which is created if needed, or again if
    its requirements have changed.
    """
    if peer in OURS:
        return Path(sys.executable)
    wanted = HERE / f"requirements-{peer}.txt"
    digest = hashlib.sha256(wanted.read_bytes()).hexdigest()
    folder = work / "venvs" / peer
    python, stamp = folder / "bin" / "python", folder / ".ready"
    if not stamp.is_file() or stamp.read_text() != digest:
        print(f"{peer}: installing {wanted.name}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted]
        subprocess.run(install, check=True)
        stamp.write_text(digest)
    return python


def command(job: Job, python: Path, work: Path) -> list[str]:
    """Return the command of a job: its script, then splits, output, task, seed, encoder."""
    words = [job.splits(work), job.folder(work) / PREDICTIONS, job.task, job.seed, work / "encoder"]
    if job.peer in OURS:
        return [str(word) for word in ("sh", script(job.peer), *words, job.corpus, job.given, *job.settings())]
    return [str(word) for word in (python, script(job.peer), *words)]


def measured(words: Sequence[str], cwd: Path, log: Path, threads: int) -> tuple[int, Cost]:
    """Run a command; return its exit code and cost. Its output is written to ``log``."""
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "TOKENIZERS_PARALLELISM": "false"}
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    # The `haltung` command is beside the running Python.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    load = os.getloadavg()[0]
    code, cost = measuring.run(words, cwd, log, {**os.environ, **quiet, **limits, "PATH": path})
    return code, Cost(cost.cpu_seconds, cost.seconds, cost.peak_bytes, (load, os.getloadavg()[0]), threads, machine())


def machine() -> str:
    """Return processor, cores and system, as ``AMD EPYC, 2 cores, Linux``."""
    return f"{measuring.processor()}, {os.cpu_count()} cores, {platform.system()}"


def perform(job: Job, work: Path, results: Path, threads: int) -> bool:
    """Run a job unless it has a result; return whether it succeeded."""
    if job.result(results).is_file():
        return True
    python = environment(job.peer, work)
    folder = job.folder(work)
    folder.mkdir(parents=True, exist_ok=True)
    label = f"{job.peer} {job.given} {job.task} seed {job.seed}"
    print(f"{label}: begins {time.strftime('%H:%M:%S', time.gmtime())}", flush=True)
    # Haltung stores its runs below the working directory.
    code, cost = measured(command(job, python, work), work, folder / "output.txt", threads)
    shutil.rmtree(folder / f"{PREDICTIONS}.checkpoints", ignore_errors=True)
    if code or not (folder / PREDICTIONS).is_file():
        print(f"{label}: failed with exit code {code}; see {folder / 'output.txt'}", file=sys.stderr, flush=True)
        return False
    rows = tested(job.splits(work))
    ids = [row["id"] for row in rows]
    try:
        said = answers(folder / PREDICTIONS, ids, job.tasks())
    except ValueError as error:
        print(f"{label}: {error}; see {folder / 'output.txt'}", file=sys.stderr, flush=True)
        return False
    write(job.result(results), Result(digest(ids), said, cost))
    figures = "; ".join(sanity(task, labels, [row[task] for row in rows]) for task, labels in said.items())
    print(f"{label}: {cost.cpu_seconds:,.0f} CPU seconds, {cost.peak_bytes / 1e9:.1f} GB; {figures}", flush=True)
    return True


def complete(path: Path) -> bool:
    """Return whether a split exists with all columns; earlier exports had fewer."""
    if not path.is_file():
        return False
    with path.open(encoding="utf-8") as rows:
        return {"position", "headline"} <= json.loads(next(rows, "{}")).keys()


def tested(splits: Path) -> list[dict[str, str]]:
    """Return the exported test segments, in order."""
    with (splits / "test.jsonl").open(encoding="utf-8") as rows:
        return [json.loads(row) for row in rows]


def sanity(task: str, said: Sequence[str], gold: Sequence[str]) -> str:
    """Return the accuracy beside that of the majority class: if it is lower, check the script.

    This check has found predictions in a different order than the rows. A classifier that
    upweights rare labels may be below the majority class without an error.
    """
    right = sum(one == other for one, other in zip(said, gold, strict=True)) / len(gold)
    return f"{task} {right:.3f} right, always the commonest label {Counter(gold).most_common(1)[0][1] / len(gold):.3f}"


def main() -> int:
    """Export missing splits, then run the requested jobs; a failed job does not stop the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=WORK, help="where everything goes (default: .work beside this file)")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="where results are kept; what is there is not run again (default: .work/results)"
    )
    parser.add_argument("--peers", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--corpora", nargs="+", choices=tuple(TASKS), default=tuple(TASKS))
    parser.add_argument("--tasks", nargs="+", choices=("stance", "topic"), default=("stance", "topic"))
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the train split, whole articles, for every seed another part (default: 1)"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of each training (default: 1)")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    wanted = list(jobs(options.peers, options.corpora, options.tasks, options.seeds, options.share))
    missing = sorted({job.corpus for job in wanted if not complete(job.splits(work) / "test.jsonl")})
    if missing or not (work / "encoder").is_dir():
        parts = ["--share", str(options.share), "--seeds", *map(str, options.seeds)] if options.share < 1 else []
        exported = subprocess.run([sys.executable, HERE / "export.py", work, *missing, *parts], check=False)
        if exported.returncode:
            return exported.returncode
    done = [perform(job, work, options.results.resolve(), options.threads) for job in wanted]
    table = f"python benchmarks/peers/table.py --work {options.work} --results {options.results}"
    print(f"{sum(done)} of {len(wanted)} runs are there; {table} makes the table of them")
    return int(not all(done))


if __name__ == "__main__":
    sys.exit(main())
