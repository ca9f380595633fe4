"""Few labels: 0 to 64 per class, or 50 or 500 in total: `python experiments/few_labels.py PREPARED WORK run|table|plot …`.

PREPARED is the output of `haltung prepare corpus=real_news 'corpus.rounds=[1]' prepared=…`. For a task, size and seed, all systems get the same rows of
the train split and predict the whole test split. All read the sentence alone, except `few_shot in context`. Results are reused: predictions and
processor seconds are stored in 2026-12-01-few-labels.json beside this file, under TASK/SYSTEM/SIZE/SEED.

    run SYSTEM;… SIZE,… SEED,… [TASK]   train and predict what is missing; sizes are labels per class, `total50` is 50 random rows
    table                               the tables of the page
    plot OUT.png                        its figure

`setfit` needs the environment of benchmarks/peers (SETFIT, its Python); it runs few_labels_setfit.py there.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from haltung import files
from haltung.cli.build import make
from haltung.cli.config import compose, plain
from haltung.corpus import store
from haltung.encoders import embedded
from haltung.evaluation.comparison import System, TaskComparison, compare
from haltung.evaluation.predictions import ScoredSplit, gold
from haltung.files import write_text
from haltung.labels import Scheme
from haltung.models import linear
from haltung.models.neural import build
from haltung.records import Segment
from haltung.training import few_shot
from haltung.training.finetune import finetune

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "2026-12-01-few-labels.json"
SIZES, TASKS = ("0", "8", "16", "32", "64", "total50", "total500"), ("stance", "topic")
# Keys of `haltung train` for every system: the sentence alone, as for a sheet without context.
ALONE = ("corpus=real_news", "corpus.reads.default=text", "~corpus.pooling", "+corpus.pooling.default=mean")
# More epochs for fewer rows: at most 100, 150, 200 and 320 steps for stance, 80 for 50 rows.
EPOCHS = {"8": 20, "16": 15, "32": 10, "64": 8, "total50": 20, "total500": 8}
# SetFit's own rule would give 200, 400, 800 and 1,600 (20 iterations, 2 pairs per row, batches of 16).
STEPS = {"8": 100, "16": 100, "32": 200, "64": 200, "total50": 100, "total500": 200}
CENTRED = 500  # number of unlabelled texts used beside the labelled ones, as in few_shot.fit
SIGNS = "0123456789abcdefghij"


def answers() -> dict[str, dict[str, object]]:
    """Return the stored results: the predictions of each run, one character per segment, and its processor seconds."""
    return dict(json.loads(RESULTS.read_text(encoding="utf-8"))) if RESULTS.is_file() else {}


@dataclass
class Bench:
    """The corpus, the folder for files kept between runs, and the stored results."""

    prepared: store.Prepared
    work: Path
    train: list[Segment] = field(default_factory=list)
    test: list[Segment] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.train, self.test = (list(self.prepared.segments(split)) for split in ("train", "test"))
        self.done = answers()

    def scheme(self, task: str) -> Scheme:
        """Return the scheme with one task only."""
        return self.prepared.scheme.only([task])

    def rows(self, task: str, size: str, seed: int) -> list[int]:
        """Return the labelled rows of train; for one seed, larger sizes include the smaller ones."""
        rng = np.random.default_rng(seed)
        if size.startswith("total"):
            return sorted(rng.permutation(len(self.train))[: int(size.removeprefix("total"))].tolist())
        of_label = ([row for row, one in enumerate(self.train) if one.labels[task] == label] for label in self.scheme(task)[task].ids)
        return sorted(row for of in of_label for row in rng.permutation(of)[: int(size)].tolist())

    def keep(self, key: str, task: str, labels: Sequence[str], seconds: float) -> None:
        """Store the predictions of one run, one character per segment."""
        index = self.scheme(task)[task].index
        # Another process may have written in between.
        self.done = answers()
        self.done[key] = {"cpu_seconds": round(seconds, 1), "said": "".join(SIGNS[index(label)] for label in labels)}
        write_text(RESULTS, json.dumps(dict(sorted(self.done.items())), indent=0) + "\n")

    def scored(self, key: str, task: str) -> ScoredSplit:
        """Return the predictions of a run with the gold labels; if the run is not stored, those of the majority class."""
        scheme = self.scheme(task)
        commonest, _ = Counter(str(one.labels[task]) for one in self.train).most_common(1)[0]
        said = [SIGNS.index(sign) for sign in self.done[key]["said"]] if key in self.done else [scheme[task].index(commonest)] * len(self.test)
        groups = tuple(one.article for one in self.test)
        table = {task: np.eye(len(scheme[task]))[said]}
        return ScoredSplit(tuple(one.id for one in self.test), groups, scheme, table, {task: gold(self.test, scheme[task])}, "real_news", "test")


def told(*words: str) -> dict[str, object]:
    """Return the encoder, model and training that `haltung train` would build."""
    settings = plain(compose("train", [*ALONE, *words]))
    return {part: make(settings[part], part) for part in ("encoder", "model", "training")}


class Vectors:
    """Vectors of the frozen encoder by text; each text is encoded once."""

    def __init__(self, bench: Bench, reads: str) -> None:
        pooling = {"default": "text" if reads == "context" else "mean"}
        parts = told("model=few_shot")
        self.spec = replace(parts["model"], reads={"default": reads}, pooling=pooling)
        self.path, self.model = bench.work / f"vectors-{reads}.npz", build(parts["encoder"], self.spec.network, bench.scheme("stance"))
        known = np.load(self.path) if self.path.is_file() else {"keys": np.array([], dtype=str), "values": ()}
        self.known = dict(zip(known["keys"].tolist(), known["values"], strict=True))

    def of(self, segments: Sequence[Segment]) -> np.ndarray:
        """Return ``[segments, width]``."""
        new = {self._key(one): one for one in segments if self._key(one) not in self.known}
        if new:
            self.known |= dict(zip(new, self.model.vectors(list(new.values()))["stance"], strict=True))
            np.savez(self.path, keys=np.array(list(self.known)), values=np.array(list(self.known.values())))
        return np.array([self.known[self._key(one)] for one in segments])

    def _key(self, segment: Segment) -> str:
        return f"{segment.context}\n{segment.text}" if self.spec.reads_of("stance") == "context" else segment.text


def by_few_shot(bench: Bench, task: str, rows: list[int], seed: int, system: str, read: Vectors) -> list[str]:
    """Return test labels predicted by `model=few_shot`, as few_shot.fit does, but with stored vectors."""
    of, changed = bench.scheme(task)[task], {"few_shot without descriptions": {"description": 0.0}, "few_shot, class_weight=null": {"class_weight": None}}
    spec = replace(read.spec, **changed.get(system, {}))
    rng = np.random.default_rng(seed + 1000)
    others = rng.permutation(len(bench.train))[:CENTRED].tolist() if "unlabelled" in system or not rows else []
    every = sorted({*rows, *others})
    onehot = np.array([[int(bench.train[row].labels[task] == label) for label in of.ids] for row in rows]).reshape(-1, len(of))
    said = read.of([Segment("", f"{label.de}: {label.definition}".removesuffix(": ")) for label in of.labels])
    weight, bias = few_shot.head(read.of([bench.train[row] for row in every]), np.searchsorted(every, rows).astype(int), onehot, said, of.kind, spec)
    return [of.ids[index] for index in (read.of(bench.test) @ weight.T + bias).argmax(axis=1)]


def by_linear(bench: Bench, task: str, rows: list[int], seed: int, system: str) -> list[str]:
    """Return test labels predicted by `model=linear`; its vocabulary comes from all rows given to it."""
    given = set(rows)
    others = [replace(one, labels={}) for row, one in enumerate(bench.train) if row not in given] if "unlabelled" in system else []
    model = linear.fit([*(bench.train[row] for row in rows), *others], bench.scheme(task), told("model=linear")["model"], seed)
    return [str(one.labels[task]) for one in model.predict(bench.test)]


def by_network(bench: Bench, task: str, rows: list[int], seed: int, system: str, size: str) -> list[str]:
    """Return test labels predicted by `model=network`; the epoch is chosen on its training rows, as `haltung train` does after folds."""
    patience = ["training.patience=0"] if "patience" in system else []
    parts = told("model=network", f"training.epochs={EPOCHS[size]}", *patience)
    own = [bench.train[row] for row in rows]
    tuned = finetune(own, own, bench.scheme(task), parts["encoder"], parts["model"], parts["training"], seed, bench.work / "checkpoints")
    print(f"best epoch {tuned.best_epoch:g} of {tuned.history[-1]['epoch']:g}", flush=True)
    return [str(one.labels[task]) for one in tuned.model.predict(bench.test)]


def by_setfit(bench: Bench, task: str, rows: list[int], seed: int, size: str) -> list[str]:
    """Return test labels predicted by SetFit in its own environment."""
    encoder = bench.work / "encoder"
    if not encoder.is_dir():
        shutil.copytree(embedded.ensure(files.cache()), encoder)
    given, out = bench.work / "setfit.json", bench.work / "setfit-said.json"
    train = [{"text": bench.train[row].text, "label": bench.train[row].labels[task]} for row in rows]
    write_text(given, json.dumps({"train": train, "test": [one.text for one in bench.test]}))
    words = [os.environ["SETFIT"], HERE / "few_labels_setfit.py", given, out, encoder, STEPS[size], seed]
    subprocess.run(list(map(str, words)), check=True, cwd=bench.work, env={**os.environ, "PYTHONPATH": ""})
    return list(json.loads(out.read_text(encoding="utf-8")))


def seconds() -> float:
    """Return the processor seconds of this process and of its finished children."""
    return sum(one.ru_utime + one.ru_stime for one in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def run(bench: Bench, systems: Sequence[str], sizes: Sequence[str], seeds: Sequence[int], task: str) -> None:
    """Train and predict what is missing: all systems with the first seed, then those with the next."""
    read: dict[str, Vectors] = {}
    for seed in seeds:
        for size in sizes:
            rows = bench.rows(task, size, seed)
            for system in systems:
                key = f"{task}/{system}/{size}/{seed}"
                if key in bench.done or (not rows and system != "few_shot"):
                    continue
                print(f"{time.strftime('%H:%M:%S', time.gmtime())} {key}: {len(rows)} rows", flush=True)
                began = seconds()
                if system.startswith("few_shot"):
                    reads = "context" if "context" in system else "text"
                    if reads not in read:
                        read[reads] = Vectors(bench, reads)
                    labels = by_few_shot(bench, task, rows, seed, system, read[reads])
                elif system.startswith("linear"):
                    labels = by_linear(bench, task, rows, seed, system)
                elif system.startswith("network"):
                    labels = by_network(bench, task, rows, seed, system, size)
                else:
                    labels = by_setfit(bench, task, rows, seed, size)
                spent = seconds() - began
                bench.keep(key, task, labels, spent)
                print(f"  {spent:.0f} s", flush=True)


def runs_of(bench: Bench, task: str, size: str) -> dict[str, list[str]]:
    """Return the keys of the stored runs by system."""
    found: dict[str, list[str]] = {}
    for key in bench.done:
        of, system, of_size, _ = key.split("/")
        if (of, of_size) == (task, size):
            found.setdefault(system, []).append(key)
    return found


def compared(bench: Bench, task: str, size: str, names: Sequence[str]) -> TaskComparison | None:
    """Compare the named systems that have stored runs; None if fewer than two have."""
    there = runs_of(bench, task, size)
    systems = [System(name, tuple(bench.scored(key, task) for key in there[name])) for name in names if name in there]
    if COMMONEST in names:
        systems.append(System(COMMONEST, (bench.scored("", task),), fixed=True))
    return compare(systems).tasks[task] if len(systems) > 1 else None


def written(value: object, signed: bool = False) -> str:
    """Format an estimate with its interval."""
    return f"{value.value:{'+' if signed else ''}.3f} [{value.low:.3f}, {value.high:.3f}]".replace("-", "−")


def pair_rows(found: TaskComparison, size: str, bases: dict[str, str] | None = None) -> Iterator[str]:
    """Yield a row for each pair, or, with ``bases``, for each system against its base, without correction."""
    for pair in found.pairs:
        if bases is None:
            verdict = f"{pair.first} {pair.verdict} {'than' if pair.verdict != 'not distinguishable' else 'from'} {pair.second}"
            yield f"| {size} | {verdict} | {written(pair.macro_f1, signed=True)} | {pair.macro_f1.p:.3f} | {pair.corrected:.3f} |"
        elif bases.get(pair.second) == pair.first or bases.get(pair.first) == pair.second:
            sign = 1 if bases.get(pair.first) == pair.second else -1
            ends = sorted((sign * pair.macro_f1.low, sign * pair.macro_f1.high))
            value = f"{sign * pair.macro_f1.value:+.3f} [{ends[0]:.3f}, {ends[1]:.3f}]".replace("-", "−")
            first, second = (pair.first, pair.second) if sign == 1 else (pair.second, pair.first)
            yield f"| {size} | {first} less {second} | {value} | {pair.macro_f1.p:.3f} |"


def heading(sizes: Sequence[str]) -> str:
    """Return the header of columns of sizes."""
    names = ["none" if size == "0" else f"{size.removeprefix('total')} in all" if size.startswith("total") else size for size in sizes]
    return f"{' | '.join(names)} |\n|{'---|' * (len(sizes) + 1)}"


def tables(bench: Bench) -> Iterator[str]:
    """Yield the lines of the page's tables."""
    for task in TASKS:
        yield f"\n**{task}**, macro-F1 on test; in parentheses the number of draws where it is not three\n"
        yield f"| labels of each | {heading(SIZES)}"
        names = tuple(dict.fromkeys((*LINES, *VARIANTS, COMMONEST)))
        every = [compared(bench, task, size, names) for size in SIZES]
        for name in names:
            cells = []
            for size, found in zip(SIZES, every, strict=True):
                there = runs_of(bench, task, size).get(name, [])
                values = {one.system: one for one in found.standings} if found else {}
                cells.append("" if name not in values else written(values[name].macro_f1) + (f" ({len(there)})" if len(there) not in (0, 3) else ""))
            if any(cells):
                yield f"| {name} | {' | '.join(cells)} |"
        yield f"\n| accuracy | {heading(SIZES)}"
        for name in (*LINES, "few_shot, class_weight=null", COMMONEST):
            values = [{one.system: f"{one.accuracy.value:.3f}" for one in found.standings} if found else {} for found in every]
            yield f"| {name} | {' | '.join(of.get(name, '') for of in values)} |"
        yield "\n| labels of each | is | macro-F1 | p | Holm, of the size |\n|---|---|---|---|---|"
        for size in SIZES:
            if found := compared(bench, task, size, tuple(LINES)):
                yield from pair_rows(found, size)
        yield "\n| labels of each | | macro-F1 | p |\n|---|---|---|---|"
        for size, found in zip(SIZES, every, strict=True):
            if found:
                yield from pair_rows(found, size, VARIANTS)
    yield f"\n| processor seconds of a run, stance | {heading(SIZES[1:])}"
    for name in LINES:
        spent = [[bench.done[key]["cpu_seconds"] for key in runs_of(bench, "stance", size).get(name, [])] for size in SIZES[1:]]
        yield f"| {name} | {' | '.join(f'{np.mean(one):.0f}' if one else '' for one in spent)} |"


COMMONEST = "the commonest label"
# Each system with the base it is compared to.
VARIANTS = {
    "few_shot without descriptions": "few_shot", "few_shot, class_weight=null": "few_shot", "few_shot + unlabelled": "few_shot", "few_shot in context": "few_shot",
    "linear + unlabelled": "linear", "network, patience=0": "network", "few_shot": COMMONEST, "linear": COMMONEST,
}  # fmt: skip
LINES = {"few_shot": "#0072B2", "linear": "#D55E00", "network": "#009E73", "setfit": "#CC79A7"}


def plot(bench: Bench, path: Path) -> None:
    """Plot macro-F1 against the number of labels per class."""
    figure = Figure(figsize=(9.2, 3.7), layout="constrained")
    panels = figure.subplots(1, len(TASKS), sharey=True)
    for axes, task in zip(panels, TASKS, strict=True):
        points: dict[str, list[tuple[int, float, float, float]]] = {}
        for size in SIZES[1:5]:
            for one in compared(bench, task, size, tuple(LINES)).standings:
                points.setdefault(one.system, []).append((int(size), one.macro_f1.value, one.macro_f1.low, one.macro_f1.high))
        for number, (system, colour) in enumerate(LINES.items()):
            if system in points:
                sizes, middle, low, high = map(np.array, zip(*points[system], strict=True))
                ends = [middle - low, high - middle]
                axes.errorbar(sizes * (0.95 + 0.035 * number), middle, ends, marker="o", color=colour, label=system, capsize=2, linewidth=1.5)
        axes.set_xscale("log")
        axes.set_xticks([8, 16, 32, 64], ["8", "16", "32", "64"])
        axes.minorticks_off()
        axes.set_title(task, loc="left")
        axes.set_xlabel("labels of each class")
        axes.grid(axis="y", color="#DDDDDD")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("macro-F1 on test (bars: 95 %)")
    panels[0].set_ylim(bottom=0)
    panels[0].legend(frameon=False, loc="upper left", fontsize="small")
    figure.savefig(path, dpi=110)


def main(folder: Path, work: Path, what: str, *words: str) -> None:
    """Run the given subcommand."""
    work.mkdir(parents=True, exist_ok=True)
    bench = Bench(store.load(folder), work)
    if what == "run":
        systems, sizes, seeds = words[0].split(";"), words[1].split(","), words[2].split(",")
        run(bench, systems, sizes, [int(seed) for seed in seeds], words[3] if len(words) > 3 else "stance")
    elif what == "plot":
        plot(bench, Path(words[0]))
    else:
        print("\n".join(tables(bench)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
