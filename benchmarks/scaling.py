"""Growth of time and memory: predict (with `news_de` and a linear model) and prepare on 1,000 to
1,000,000 sentences, train on 250 to 16,000 segments.

    # everything: many hours on two cores
    HALTUNG_SOURCES=FOLDER .venv/bin/python benchmarks/scaling.py
    # a part of it; sizes that are already in the file are not measured again
    … benchmarks/scaling.py --tasks predict --sizes 1000 4000 16000
    # write the measurements into the page
    .venv/bin/python benchmarks/scaling.py --page docs/scaling.md
    # those of several machines, or with the price per hour
    … benchmarks/scaling.py --page docs/scaling.md --json cpu.json gpu.json
    … benchmarks/scaling.py --page docs/scaling.md --price PRICE --currency EUR

Each figure measures one `haltung` command from start to exit, in its own process. The texts are the
sentences of Bundestag speeches (FOLDER/bundestag/speeches.jsonl.gz), about 400,000. Beyond those, a
text joins the end of a sentence and the beginning of the next one, so that few texts repeat. A
training is one epoch on articles of the written corpus, which are repeated under new names if there
are too few. Figures are written to `--json`, and two log-log plots with fitted lines beside it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import count, islice
from pathlib import Path
from typing import Any

from measuring import Figure, between, machine, read, run, table, write

ROOT = Path(__file__).resolve().parents[1]
JSON = ROOT / "experiments" / "scaling" / "scaling.json"
SIZES = {
    "predict": (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000),
    "predict, linear": (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000),
    "train": (250, 500, 1_000, 2_000, 4_000, 8_000, 16_000),
    "prepare": (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000),
}
UNITS = {"predict": "sentences", "predict, linear": "sentences", "train": "segments", "prepare": "sentences"}
# The plan: archive sizes in sentences, and numbers of processes on the measured machine.
ARCHIVES, WORKERS = (10**7, 10**9), (1, 10, 100, 1000)
MARKS = {part: (f"<!-- scaling: {part} -->", f"<!-- scaling: {part} end -->") for part in ("measured", "plan")}

# Before a capital letter or opening quotation mark, but not in "der 20. Wahlperiode".
_SENTENCE_END = re.compile(r"(?<=[.!?…])(?<!\d\.)\s+(?=[A-ZÄÖÜ„»])")
# Articles of the written corpus in the dev split of each training.
DEV_ARTICLES = 15

# Number of ways to cut the sentences, and thus of passes over the speeches.
_CUTS = 4
# Properties of the machine that must match when sizes are added to a file.
_SAME = ("processor", "cores", "usable_cores", "quota", "gpu", "versions")


@dataclass(frozen=True)
class Point:
    """Cost of one command on ``size`` sentences or segments."""

    task: str
    size: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Line:
    """``value = factor * size ** slope``: a straight line on log-log axes."""

    slope: float
    factor: float

    @classmethod
    def through(cls, points: Sequence[tuple[float, float]]) -> Line | None:
        """Fit by least squares of the logarithms; None for fewer than two sizes."""
        import numpy as np

        if len({size for size, _ in points}) < 2:
            return None
        slope, intercept = np.polyfit(*np.log(np.array(points, dtype=float)).T, 1)
        return cls(float(slope), float(np.exp(intercept)))


@dataclass(frozen=True)
class Price:
    """``seconds = start + row * size``: fixed cost of a command, and cost per row."""

    start: float
    row: float

    @classmethod
    def of(cls, points: Sequence[tuple[float, float]]) -> Price | None:
        """Fit by least squares of relative errors; None for fewer than two sizes."""
        import numpy as np

        if len({size for size, _ in points}) < 2:
            return None
        sizes, seconds = np.array(points, dtype=float).T
        row, start = np.polyfit(sizes, seconds, 1, w=1 / seconds)
        return cls(max(0.0, float(start)), float(row))

    def hours(self, rows: int, workers: int) -> float:
        """Return the hours for an archive of ``rows`` that is split among ``workers`` processes."""
        return (self.start + self.row * rows / workers) / 3600


def sentences(path: Path) -> Iterator[dict[str, Any]]:
    """Yield rows of sentences in the order of the speeches, as described in the module docstring.

    Raises:
        ValueError: the file is missing.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing; name the folder with bundestag/speeches.jsonl.gz in HALTUNG_SOURCES")
    for cut in range(_CUTS):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                speech = json.loads(line)
                parts = [part.strip() for text in speech["text"].splitlines() for part in _SENTENCE_END.split(text) if part.strip()]
                for position, text in enumerate(moved(parts, cut)):
                    yield {"id": f"{speech['id']}-{cut}-{position}", "text": text, "article": f"{speech['id']}-{cut}", "position": position}


def moved(parts: Sequence[str], cut: int) -> list[str]:
    """Cut the first ``cut / _CUTS`` of its words from each sentence, and append the next one's."""
    words = [part.split() for part in parts]
    firsts = [len(one) * cut // _CUTS for one in words]
    following = [*(one[:first] for one, first in zip(words[1:], firsts[1:], strict=True)), []]
    texts = [" ".join(one[first:] + then) for one, first, then in zip(words, firsts, following, strict=True)]
    return [text for text in texts if text]


def written(rows: Iterator[dict[str, Any]], size: int, path: Path) -> None:
    """Write the first ``size`` rows as JSON Lines.

    Raises:
        ValueError: there are fewer rows.
    """
    missing = size
    with path.open("w", encoding="utf-8") as out:
        for row in islice(rows, size):
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            missing -= 1
    if missing:
        raise ValueError(f"there are only {size - missing:,} sentences, {size:,} are asked for; leave out larger --sizes")


def labelled(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Add the labels that a corpus requires; which ones makes no difference to ``prepare``."""
    for number, row in enumerate(rows):
        yield row | {"topic": ("security", "economy", "government")[number % 3], "stance": ("neutral", "support", "criticism")[number % 3]}


def segments() -> Iterator[dict[str, Any]]:
    """Yield labelled rows of the written corpus endlessly, starting with a small dev split."""
    files = sorted((ROOT / "data" / "diplomacy").glob("articles-*.jsonl"))
    articles = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    for article in articles[:DEV_ARTICLES]:
        yield from _rows(article, article["article"], "dev")
    for turn in count():
        for article in articles[DEV_ARTICLES:]:
            yield from _rows(article, f"{article['article']}-{turn}", "train")


def _rows(article: Mapping[str, Any], name: str, split: str) -> Iterator[dict[str, Any]]:
    for position, segment in enumerate(article["segments"]):
        place = {"id": f"{name}-{position}", "article": name, "headline": article["title"], "position": position, "split": split}
        yield segment | place


def command(task: str, size: int, sources: Path, scratch: Path) -> list[str]:
    """Write the input of a command, and return its arguments.

    Raises:
        ValueError: there are too few texts.
    """
    speeches, given = sources / "bundestag" / "speeches.jsonl.gz", scratch / "given.jsonl"
    if task.startswith("predict"):
        written(sentences(speeches), size, given)
        model = [f"bundle={next(Path(linear().name).rglob('haltung.json')).parent}"] if task == "predict, linear" else []
        return ["predict", *model, f"input={given}", f"output={scratch / 'predictions.jsonl'}"]
    corpus = ["corpus=jsonl", f"corpus.reader.path={given}", "corpus.name=scaling", f"prepared={scratch / 'prepared'}"]
    if task == "prepare":
        written(labelled(sentences(speeches)), size, given)
        return ["prepare", *corpus]
    dev = sum(row["split"] == "dev" for row in islice(segments(), 100 * DEV_ARTICLES))
    written(segments(), dev + size, given)
    # Repeated articles would be dropped as duplicates.
    rules = ["corpus.rules.exact=false", "corpus.rules.near=0", "corpus.rules.leakage=false", "corpus.rules.conflicts=keep"]
    recipe = ["training.epochs=1", "training.patience=0", f"runs={scratch / 'runs'}", "splits@corpus.split=given"]
    return ["train", *corpus, *rules, *recipe]


@cache
def linear() -> tempfile.TemporaryDirectory[str]:
    """Return a folder with the bundle of a linear model, trained once on the written corpus.

    Raises:
        ValueError: the training failed.
    """
    folder = tempfile.TemporaryDirectory(prefix="haltung-scaling-")
    words = [sys.executable, "-m", "haltung", "train", "model=linear", "name=linear", f"runs={folder.name}"]
    log = Path(folder.name, "log.txt")
    code, _ = run(words, Path(folder.name), log)
    if code:
        raise ValueError(
            f"haltung train model=linear has ended with {code}: {log.read_text(encoding='utf-8', errors='replace')[-2000:].strip()}"
        )
    return folder


def measure(task: str, size: int, sources: Path) -> Point:
    """Run one command in an empty folder.

    Raises:
        ValueError: there are too few texts, or the command failed.
    """
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        words, log = command(task, size, sources, scratch), scratch / "log.txt"
        code, cost = run([sys.executable, "-m", "haltung", *words], scratch, log)
        if code:
            end = log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()
            raise ValueError(f"haltung {words[0]} on {size:,} {UNITS[task]} has ended with {code}: {end}")
    return Point(task, size, cost.seconds, cost.cpu_seconds, cost.peak_bytes)


def load(path: Path) -> tuple[dict[str, Any], list[Point]]:
    """Return the machine and the points of a file; both are empty if there is no file.

    Raises:
        ValueError: the file is not of this benchmark.
    """
    if not path.is_file():
        return {}, []
    document, _ = read(path)
    if document["benchmark"] != "scaling":
        raise ValueError(f"{path} is of the benchmark {document['benchmark']}; name another file for --json")
    return document["machine"], [Point(**one) for one in document["points"]]


def store(path: Path, described: Mapping[str, Any], points: Sequence[Point]) -> None:
    """Write the points, and the figures of each size for `compare.py`."""
    figures: dict[str, Figure] = {}
    for point in points:
        for part, value, unit in (("seconds", point.seconds, "s"), ("memory", point.peak_bytes / 1e6, "MB")):
            name = f"{point.task}, {point.size:,}: {part}"
            before = figures[name].values if name in figures else ()
            figures[name] = Figure((*before, value), unit, "lower")
    write(path, "scaling", described, figures, points=[asdict(point) for point in points])


def left(points: Sequence[Point], tasks: Sequence[str], sizes: Sequence[int] | None, rounds: int) -> list[tuple[str, int]]:
    """Return what is missing, by round, task and ascending size; ``sizes=None`` means all sizes."""
    done = Counter((point.task, point.size) for point in points)
    wanted = [(task, size) for task in tasks for size in sorted(sizes or SIZES[task])]
    return [one for number in range(rounds) for one in wanted if done[one] <= number]


def of_task(points: Sequence[Point], task: str, value: str) -> list[tuple[float, float]]:
    """Return size and ``value`` (a field of ``Point``) of each point of a task."""
    return [(float(point.size), float(getattr(point, value))) for point in points if point.task == task]


def draw(points: Sequence[Point], path: Path) -> list[Path]:
    """Plot seconds and memory against size with fitted lines; return the PNG and the SVG."""
    from matplotlib.figure import Figure as Canvas

    from haltung.evaluation.report import style

    canvas = Canvas(figsize=(9.2, 3.9), layout="constrained", facecolor="white")
    panels = (("seconds", "seconds", 1.0), ("peak_bytes", "peak memory in GB", 1e-9))
    for axes, (value, label, scale) in zip(canvas.subplots(1, len(panels)), panels, strict=True):
        for task, colour in zip(SIZES, style.LINES, strict=False):
            found = [(size, amount * scale) for size, amount in of_task(points, task, value)]
            if not found:
                continue
            line = Line.through(found)
            axes.plot(*zip(*found, strict=True), "o", color=colour, label=task if line is None else f"{task}: slope {line.slope:.2f}")
            if line is not None:
                ends = [min(found)[0], max(found)[0]]
                axes.plot(ends, [line.factor * end**line.slope for end in ends], color=colour, linestyle=style.DASHED, linewidth=1.2)
        axes.set(xscale="log", yscale="log", xlabel="sentences or segments", ylabel=label)
        axes.legend(frameon=False)
    paths = [path.with_suffix(ending) for ending in (".png", ".svg")]
    for one in paths:
        canvas.savefig(one, dpi=150)
    return paths


def _cores(described: Mapping[str, Any]) -> str:
    return "1 core" if (count := described["usable_cores"]) == 1 else f"{count} cores"


def measured_table(described: Mapping[str, Any], points: Sequence[Point]) -> str:
    """Return the machine, the figures by task and size, and the fitted lines as Markdown."""
    card = f", {described['gpu']}" if described.get("gpu") else ""
    limit = "no quota" if described.get("quota") is None else f"a quota of {described['quota']:g}"
    versions = ", ".join(f"{name} {number}" for name, number in described["versions"].items())
    out = f"{described['processor']}, {_cores(described)}, {limit}{card}; {versions}; {described['time'][:10]}.\n\n"
    sizes: dict[tuple[str, int], list[Point]] = {}
    for point in sorted(points, key=lambda point: (list(SIZES).index(point.task), point.size)):
        sizes.setdefault((point.task, point.size), []).append(point)
    rows = []
    for (task, size), same in sizes.items():
        seconds = Figure(tuple(point.seconds for point in same), "s", "lower")
        memory = Figure(tuple(point.peak_bytes / 1e9 for point in same), "GB", "lower")
        rows.append([task, f"{size:,}", str(seconds), f"{size / seconds.median:,.0f}", str(memory)])
    out += table(["command", "sentences or segments", "seconds", "a second", "peak GB"], rows) + "\n"
    fitted = []
    for task in SIZES:
        times = of_task(points, task, "seconds")
        slopes, price = [Line.through(of_task(points, task, value)) for value in ("seconds", "peak_bytes")], Price.of(times)
        if price is not None and None not in slopes:
            fitted.append([task, *(f"{line.slope:.2f}" for line in slopes if line), f"{price.start:.1f}", f"{1000 * price.row:.3g}"])
    return out + table(["command", "slope of seconds", "slope of memory", "start, s", "each row, ms"], fitted)


def plan_table(described: Mapping[str, Any], points: Sequence[Point], price: float | None, currency: str, lacks_gpu: bool = False) -> str:
    """Return a Markdown table of hours for large archives, and their cost if a price per hour is
    given. ``lacks_gpu`` adds a row for a GPU, as not measured.
    """
    fitted = Price.of(of_task(points, "predict", "seconds"))
    if fitted is None:
        return "Nothing to reckon with: `predict` has been measured on fewer than two sizes.\n"
    worker = described["gpu"] or f"{described['processor']}, {_cores(described)}"
    rows = []
    for archive in ARCHIVES:
        for workers in WORKERS:
            hours = fitted.hours(archive, workers)
            cost = "" if price is None else f"{hours * workers * price:,.2f}"
            rows.append([f"{archive:,}", str(workers), f"{hours:,.1f}", f"{hours * workers:,.1f}", cost])
        rows += [[f"{archive:,}", "one GPU", "not measured: no GPU was at hand", "", ""]] * lacks_gpu
    asked = "no price given (--price)" if price is None else f"{currency} at {price:g} an hour and worker"
    head = f"A worker is one process on {worker}: start {fitted.start:.1f} s, each sentence {1000 * fitted.row:.3g} ms.\n\n"
    return head + table(["sentences", "workers", "hours", "worker hours", asked], rows)


def fill(page: Path, files: Sequence[Path], price: float | None, currency: str) -> None:
    """Write the tables of the files between the marks of the page.

    Raises:
        ValueError: a file or a mark is missing.
    """
    parts: dict[str, list[str]] = {part: [] for part in MARKS}
    loaded = [(file, *load(file)) for file in files]
    lacks_gpu = not any(described and described.get("gpu") for _, described, _ in loaded)
    for file, described, points in loaded:
        if not points:
            raise ValueError(f"{file} has no figures; measure with benchmarks/scaling.py first")
        parts["measured"].append(measured_table(described, points))
        parts["plan"].append(plan_table(described, points, price, currency, lacks_gpu))
    text = page.read_text(encoding="utf-8")
    for part, tables in parts.items():
        text = between(text, *MARKS[part], "\n".join(tables))
    page.write_text(text, encoding="utf-8")


def main() -> int:
    """Measure what is missing, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--sizes", nargs="+", type=int, help="instead of all")
    parser.add_argument("--rounds", type=int, default=1, help="how often each size is measured (default: 1)")
    parser.add_argument("--json", type=Path, nargs="+", default=[JSON], help=f"a file for the figures (default: {JSON.relative_to(ROOT)})")
    parser.add_argument("--page", type=Path, help="write what the files of --json hold into this page, and measure nothing")
    parser.add_argument("--price", type=float, help="of a worker and hour, for the page")
    parser.add_argument("--currency", default="EUR", help="of the price (default: EUR)")
    options = parser.parse_args()
    try:
        if options.page is not None:
            fill(options.page, options.json, options.price, options.currency)
            return 0
        if len(options.json) > 1:
            raise ValueError("several files for --json are for --page alone; name one to measure into")
        path = options.json[0]
        (before, points), described = load(path), machine()
        other = [name for name in _SAME if before and before.get(name) != described[name]]
        if other:
            raise ValueError(f"{path} is of another machine ({', '.join(other)}); name another file for --json")
        sources = Path(os.environ.get("HALTUNG_SOURCES", "data/sources")).resolve()
        missing = left(points, options.tasks, options.sizes, options.rounds)
        if any(task == "predict" for task, _ in missing):
            measure("predict", 1, sources)  # the first start of a new version rebuilds the shipped model
        for task, size in missing:
            points.append(measure(task, size, sources))
            store(path, before or described, points)
            print(f"{task} {size:,}: {points[-1].seconds:,.1f} s, {points[-1].peak_bytes / 1e9:.2f} GB", flush=True)
    except ValueError as error:
        print(f"scaling.py: {error}", file=sys.stderr)
        return 2
    print(measured_table(before or described, points))
    print(*draw(points, path), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
