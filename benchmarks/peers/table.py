"""Score the results of ``run.py`` with Haltung's metrics, intervals and tests; write tables.

    # Markdown to the terminal
    python benchmarks/peers/table.py
    # from the results that are stored with the project
    python benchmarks/peers/table.py --results experiments/peers
    # into a page, between its two marks
    python benchmarks/peers/table.py --page experiments/2026-11-25-peers.md
    # and unrounded, as JSON
    python benchmarks/peers/table.py --json figures.json

Missing runs are listed with the command that makes them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from measuring import between
from results import Cost, Result, digest, read
from run import ALL, ALONE, OURS, RESULTS, SEEDS, SYSTEMS, TASKS, WORK, Job, lines

from haltung.corpus import store as prepared
from haltung.errors import UserError
from haltung.evaluation.metrics.classification import article_counts, sample_metrics
from haltung.evaluation.predictions import ScoredSplit, gold
from haltung.evaluation.report.i18n import p_value
from haltung.evaluation.statistics.bootstrap import LEVEL
from haltung.evaluation.statistics.significance import Estimate, difference, holm, mean
from haltung.labels import Scheme, parse
from haltung.records import Segment

# real_news is the union of two published test splits, distinguished by their source.
PARTS = {"real_news": ("gnad10_stance", "wikinews_stance"), "xstance": ()}

BEGIN, END = "<!-- peers: table -->", "<!-- peers: end -->"


@dataclass(frozen=True)
class Against:
    """Difference of one of our systems and a peer; ``corrected`` is p after Holm's correction over
    the peers of the task, and decides ``verdict``.
    """

    ours: str
    peer: str
    macro_f1: Estimate
    corrected: float
    verdict: str


@dataclass(frozen=True)
class Row:
    """One system on one task: macro-F1 on each part of the test split and on all of it, and the
    cost of its cheapest run.
    """

    system: str
    seeds: tuple[int, ...]
    macro_f1: dict[str, Estimate]
    accuracy: float
    cost: Cost
    lines: int


@dataclass(frozen=True)
class Table:
    """All systems on one task of one corpus, with each pair of Haltung and a peer on the whole test
    split.

    ``share`` is the share of the train split that was used.
    """

    corpus: str
    task: str
    share: float
    segments: int
    articles: int
    rows: tuple[Row, ...]
    pairs: tuple[Against, ...]
    missing: tuple[str, ...]
    machines: tuple[str, ...]


def scored(segments: Sequence[Segment], said: Sequence[str], scheme: Scheme, task: str, corpus: str) -> ScoredSplit:
    """Return a system's labels with the gold labels; predicted labels get probability 1, since
    only labels are compared.

    Raises:
        UserError: a label is not one of the task's.
    """
    alone = parse({**scheme.to_dict(), "tasks": {task: scheme.to_dict()["tasks"][task]}})
    places = {label: place for place, label in enumerate(alone[task].ids)}
    probabilities = np.zeros((len(segments), len(places)))
    for row, (segment, label) in enumerate(zip(segments, said, strict=True)):
        if label not in places:
            raise UserError(f"the answer for the segment {segment.id} of {corpus} is the unknown {task} '{label}'; run the peer again")
        probabilities[row, places[label]] = 1.0
    return ScoredSplit(
        ids=tuple(segment.id for segment in segments),
        groups=tuple(segment.article or f"\0{row}" for row, segment in enumerate(segments)),
        scheme=alone,
        probabilities={task: probabilities},
        gold={task: gold(segments, alone[task])},
        corpus=corpus,
        split="test",
    )


def result_of(path: Path, segments: Sequence[Segment]) -> Result:
    """Return the result of a run.

    Raises:
        UserError: the file is broken, or belongs to another test split.
    """
    try:
        found = read(path)
    except ValueError as error:
        raise UserError(str(error)) from error
    if found.ids != digest(segment.id for segment in segments):
        raise UserError(f"{path} is of another test split than the one that is prepared; delete it, and run the peer again")
    return found


def shares(results: Path, corpus: str) -> list[float]:
    """Return 1 and the shares of train for which there are results, in descending order."""
    found = {path.name.removeprefix(f"{corpus}-") for path in results.glob(f"{corpus}-*")}
    return [1.0, *sorted((float(share) for share in found), reverse=True)]


def tabulate(work: Path, results: Path, corpus: str, task: str, share: float = 1.0) -> Table | None:
    """Return the table of one task; None if no system has been run.

    Raises:
        UserError: the corpus is not prepared, or a result is broken.
    """
    systems = [peer for peer in SYSTEMS if ALONE.get(peer, (corpus, task)) == (corpus, task)]
    every = {peer: [Job(peer, corpus, ALL if peer in OURS else task, seed, share) for seed in SEEDS] for peer in systems}
    done = {peer: [job for job in planned if job.result(results).is_file()] for peer, planned in every.items()}
    if not any(done.values()):
        return None
    ready = prepared.load(work / "data" / "prepared" / corpus)
    segments = ready.segments("test")
    parts = {part: [row for row, one in enumerate(segments) if one.source == part] for part in PARTS.get(corpus, ())}
    parts[corpus] = list(range(len(segments)))
    rows, samples, machines = [], {}, set()
    for peer, finished in done.items():
        if not finished:
            continue
        kept = [result_of(job.result(results), segments) for job in finished]
        runs = [scored(segments, one.said[task], ready.scheme, task, corpus) for one in kept]
        sums = {part: [article_counts(run.subset(np.array(chosen)), run.scheme[task]) for run in runs] for part, chosen in parts.items()}
        found = {part: sample_metrics(counts) for part, counts in sums.items()}
        samples[peer] = found[corpus]
        machines |= {one.cost.machine for one in kept}
        rows.append(
            Row(
                system=peer,
                seeds=tuple(job.seed for job in finished),
                macro_f1={part: mean(sample) for part, sample in found.items()},
                accuracy=float(found[corpus].values[:, 1].mean()),
                # Machines differ in speed, and other load only ever increases the cost of a run.
                cost=min((one.cost for one in kept), key=lambda cost: cost.cpu_seconds),
                lines=lines(peer),
            )
        )
    left = {peer: [str(job.seed) for job in every[peer] if job not in done[peer]] for peer in systems}
    missing = [f"`{peer}` {', '.join(seeds)}" for peer, seeds in left.items() if seeds]
    rows.sort(key=lambda row: -row.macro_f1[corpus].value)
    articles = len({segment.article or segment.id for segment in segments})
    return Table(corpus, task, share, len(segments), articles, tuple(rows), _pairs(samples), tuple(missing), tuple(sorted(machines)))


def _pairs(samples: dict[str, Any]) -> tuple[Against, ...]:
    """Compare each of our systems with each peer, as ``haltung compare`` does."""
    out: list[Against] = []
    peers = [name for name in samples if name not in OURS]
    for ours in [name for name in samples if name in OURS]:
        found = [difference(samples[ours], samples[peer]) for peer in peers]
        corrected = holm([one.p for one in found])
        out += [Against(ours, peer, one, p, _verdict(one, p)) for peer, one, p in zip(peers, found, corrected, strict=True)]
    return tuple(out)


def _verdict(found: Estimate, p: float) -> str:
    return "not distinguishable" if p > 1 - LEVEL else "better" if found.value > 0 else "worse"


def markdown(table: Table) -> str:
    """Return a table with its pairs and the missing runs as Markdown."""
    parts = list(table.rows[0].macro_f1)
    heads = ["system", *(f"macro-F1, `{part}`" for part in parts), "accuracy", "seeds", "CPU s", "wall s", "peak GB", "lines"]
    given = "" if table.share == 1 else f", trained on {table.share:.3g} of it"
    out = [f"### `{table.corpus}`{given}, {table.task}: {table.segments:,} test segments, {table.articles} articles or authors", ""]
    out += [_line(heads), _line(["---"] * len(heads))]
    for row in table.rows:
        figures = [_written(row.macro_f1[part]) for part in parts]
        seeds = ", ".join(str(seed) for seed in row.seeds)
        cost = [f"{row.cost.cpu_seconds:,.0f}", f"{row.cost.wall_seconds:,.0f}", f"{row.cost.peak_bytes / 1e9:.1f}"]
        out.append(_line([f"`{row.system}`", *figures, f"{row.accuracy:.3f}", seeds, *cost, str(row.lines)]))
    if table.pairs:
        heads = ["ours", "is", "than, or from, the peer", f"difference of macro-F1, `{table.corpus}`", "p", "p, Holm"]
        out += ["", _line(heads), _line(["---"] * len(heads))]
        for pair in table.pairs:
            value = _written(pair.macro_f1, signed=True)
            out.append(_line([f"`{pair.ours}`", pair.verdict, f"`{pair.peer}`", value, p_value(pair.macro_f1.p), p_value(pair.corrected)]))
    if table.missing:
        command = f"python benchmarks/peers/run.py --corpora {table.corpus} --tasks {table.task}"
        command += "" if table.share == 1 else f" --share {table.share:g}"
        out += ["", f"Missing seeds: {'; '.join(table.missing)}. `{command}` makes them."]
    return "\n".join([*out, ""])


def replaced(page: str, tables: str) -> str:
    """Return the page with ``tables`` between its two marks.

    Raises:
        UserError: the page lacks a mark.
    """
    try:
        return between(page, BEGIN, END, tables)
    except ValueError as error:
        raise UserError(str(error)) from None


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _written(value: Estimate, signed: bool = False) -> str:
    text = f"{value.value:{'+' if signed else ''}.3f} [{value.low:.3f}, {value.high:.3f}]"
    return text.replace("-", "−")


def main() -> int:
    """Print the tables, or write them to the given files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=WORK, help="where run.py has prepared the corpora (default: .work beside this file)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run.py keeps its results (default: .work/results)")
    parser.add_argument("--page", type=Path, help=f"a Markdown page; what stands between {BEGIN} and {END} is replaced")
    parser.add_argument("--json", type=Path, help="a file for the same with every digit")
    options = parser.parse_args()
    try:
        asked = [(corpus, task, share) for corpus, tasks in TASKS.items() for share in shares(options.results, corpus) for task in tasks]
        found = [tabulate(options.work, options.results, *one) for one in asked]
    except UserError as error:
        print(f"table.py: {error}", file=sys.stderr)
        return 2
    tables = [table for table in found if table is not None]
    text = "\n".join(markdown(table) for table in tables)
    if options.page:
        try:
            page = replaced(options.page.read_text(encoding="utf-8"), text)
        except UserError as error:
            print(f"table.py: {options.page}: {error}", file=sys.stderr)
            return 2
        options.page.write_text(page, encoding="utf-8")
    else:
        print(text)
    if options.json:
        options.json.write_text(json.dumps([asdict(table) for table in tables], ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
