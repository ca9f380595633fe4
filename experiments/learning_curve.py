"""Plot macro-F1 against the number of training texts: `python experiments/learning_curve.py OUT.png CORPUS NAME=SIZE …`.

Each NAME is a run, or the parent run of several seeds, scored by `haltung evaluate run=NAME corpus=CORPUS`. CORPUS may be several, separated by commas.
The plot shows mean and standard deviation of macro-F1 over the seeds, for topic and stance, on each corpus's test split.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

from haltung import tracking


def points(corpus: str, runs: dict[str, int]) -> dict[str, list[tuple[int, float, float]]]:
    """Return size, mean and standard deviation of each run, by task."""
    out: dict[str, list[tuple[int, float, float]]] = {"topic": [], "stance": []}
    for name, size in runs.items():
        record = tracking.find(tracking.Store(), name)
        for task in out:
            single = record.metrics.get(f"{corpus}.test/{task}_macro_f1")
            mean = single if single is not None else record.metrics[f"{corpus}.test/{task}/macro_f1/mean"]
            deviation = record.metrics.get(f"{corpus}.test/{task}/macro_f1/sd", 0.0)
            out[task].append((size, mean, deviation))
    return out


def main(path: Path, corpora: list[str], runs: dict[str, int]) -> None:
    """Plot one panel per corpus, and print the table."""
    figure = Figure(figsize=(4.6 * len(corpora), 3.8), layout="constrained")
    panels = figure.subplots(1, len(corpora), sharey=True, squeeze=False)[0]
    table = {}
    for axes, corpus in zip(panels, corpora, strict=True):
        for (task, rows), colour, mark in zip(points(corpus, runs).items(), ("#0072B2", "#D55E00"), ("o", "s"), strict=True):
            sizes, means, deviations = zip(*rows, strict=True)
            axes.errorbar(sizes, means, deviations, marker=mark, color=colour, capsize=3, label=task)
            table[f"{corpus}, {task}"] = {size: f"{mean:.3f} ± {deviation:.3f}" for size, mean, deviation in rows}
        axes.set_xscale("log")
        axes.set_xticks(sorted(runs.values()), [f"{size:,}" for size in sorted(runs.values())])
        axes.minorticks_off()
        axes.set_title(f"{corpus}, test", loc="left")
        axes.set_xlabel("written segments (70 % of them in train)")
        axes.grid(axis="y", color="#DDDDDD")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("macro-F1 (bars: standard deviation over seeds)")
    panels[0].set_ylim(bottom=0)
    panels[-1].legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=150)
    print(json.dumps(table, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split(","), {name: int(size) for name, _, size in (word.partition("=") for word in sys.argv[3:])})
