"""Speed of prediction, as ratios: in bulk against transformers' pipeline, for whole articles and
single sentences over HTTP against `mlflow models serve`, and the gain of the answer cache.

    # all parts, 3 rounds, about 20 minutes on two idle cores; on Wikinews if HALTUNG_SOURCES is set
    HALTUNG_SOURCES=FOLDER make bench BENCH=inference
    # one part, with your own model and fewer sentences
    .venv/bin/python benchmarks/inference.py --parts bulk --bundle DIR --rounds 1 --sentences 64

Each side runs in its own process with its own defaults for threads, and on a GPU if it uses one.
The sides take turns, round by round, on the same sentences of whole articles, so that other load on
the machine affects all of them. Ratios are computed per round; against several rivals, the best one
of the round is taken.

`bulk`: labelled sentences per second. `predict` is the runtime of `haltung predict`, `torch` is
`runtime=torch`, and `serve` is the graph that `haltung serve` chooses; all predict every task. The
pipeline, with batches of 1 and 32, predicts one task from each sentence and its context.
`articles`: sentences per second in whole articles. POST /article splits them into sentences itself;
mlflow receives the sentences. `single`: one sentence with its context per request.
`cache`: the server after it has answered all texts once, against itself with cache=0, which is the
setting of all other parts.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "serving"))

import generator
import sides as servers
from measuring import Figure, machine, table, worker, write

if TYPE_CHECKING:
    from haltung.records import Segment

_HERE = Path(__file__).resolve().parent
PARTS = ("bulk", "articles", "single", "cache")
OURS, PIPELINES = ("predict", "torch", "serve"), ("pipeline 1", "pipeline 32")
# By prefix of a ratio's name: its minimum; for p99 its maximum.
AIMS = {"bulk": 5.0, "articles": 5.0, "single, 32 clients: requests": 3.0, "single, 1 client: p99": 0.5}
# Number of concurrent clients by part, and the measures from which ratios are made.
CLIENTS = {"articles": (8,), "single": (1, 32), "cache": (32,)}
_COMPARED = {"bulk": ("sentences",), "articles": ("sentences",), "single": ("rate", "p99"), "cache": ("rate",)}
# Measures: name, unit, and which direction is better.
_MEASURED = {
    "sentences": ("sentences", "sentences/s", "higher"), "rate": ("requests", "requests/s", "higher"), "p50": ("p50", "ms", "lower"),
    "p99": ("p99", "ms", "lower"), "processor": ("processor time", "ms", "lower"),
}  # fmt: skip
# Number of texts requested from the cache.
_REPEATED = 64

# Values per round, by part (with its clients), side and measure.
Values = dict[tuple[str, str, str], list[float]]


def work(side: str, bundle: Path, texts: Path) -> None:
    """Label the first n texts for each n on standard input; print wall and processor seconds."""
    out, sys.stdout = sys.stdout, sys.stderr  # libraries may print
    rows = [json.loads(line) for line in texts.read_text(encoding="utf-8").splitlines()]
    read = _pipeline(side, bundle) if side in PIPELINES else _ours(side, bundle)
    for line in sys.stdin:
        some = rows[: int(line)]
        began, began_work = time.perf_counter(), time.process_time()
        read(some)
        print(json.dumps([time.perf_counter() - began, time.process_time() - began_work]), file=out, flush=True)


def _ours(side: str, bundle: Path) -> Callable[[Sequence[dict[str, Any]]], object]:
    from haltung import resources

    os.environ.update(resources.thread_settings())
    from haltung.models import bundle as bundles
    from haltung.models.predictor import Predictor
    from haltung.records import Segment
    from haltung.serving.engine import Settings, open_engine

    model: Predictor
    if side == "serve":
        model = open_engine(Settings(bundle))
        print(f"runtime: {model.graph}")
    else:
        # As haltung predict chooses: torch if there is a GPU, else the preferred runtime.
        model = bundles.load(bundle, graph=side == "predict" and not Path("/dev/nvidiactl").exists(), many=True)
    return lambda rows: model.probabilities([Segment(**row) for row in rows])


def _pipeline(side: str, bundle: Path) -> Callable[[Sequence[dict[str, Any]]], object]:
    import pipe

    built, size = pipe.built(bundle), int(side.split()[1])
    return lambda rows: built(
        [pipe.pair(row["text"], row["context"]) for row in rows], truncation=True, max_length=pipe.MAX_LENGTH, batch_size=size
    )


def bulk(bundle: Path, articles: Sequence[Sequence[Segment]], rounds: int, scratch: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each side with its measured values, round by round."""
    rows = [{**asdict(one), "labels": {}, "dyads": ()} for article in articles for one in article]
    texts = scratch / "texts.jsonl"
    texts.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    with ExitStack() as stack:
        asked = {}
        for side in (*OURS, *PIPELINES):
            words = [sys.executable, _HERE / "inference.py", "--bundle", bundle, "--texts", texts, "--work", side]
            asked[side] = stack.enter_context(worker(words, scratch / f"{side}.log"))
            asked[side]("40")  # warm-up: first calls choose kernels and allocate memory
        for side in _turns("bulk", list(asked), rounds):
            seconds, busy = json.loads(asked[side](str(len(rows))))
            yield side, {"sentences": len(rows) / seconds, "processor": 1000 * busy / len(rows)}


def requests(part: str, articles: Sequence[Sequence[Segment]]) -> dict[str, list[tuple[int, Any]]]:
    """Return the requests to our server, to mlflow, and to mlflow with a pipeline: for each the
    number of sentences and the body.

    Whole articles are split as our server splits them; mlflow receives the resulting sentences.
    """
    from haltung.events.pipeline import segments_of
    from haltung.events.text.read import Article

    # A single sentence has only its context.
    names = ("text", "context", *(("article", "headline", "position") if part == "articles" else ()))
    sent: list[tuple[Any, Sequence[Segment]]] = []
    for article in articles:
        if part == "articles":
            whole = Article("a", " ".join(one.text for one in article), article[0].headline)
            sent.append(({"text": whole.text, "headline": whole.headline}, segments_of(whole).segments))
        else:
            sent += [({"text": one.text, "context": one.context}, [one]) for one in article]
    out: dict[str, list[tuple[int, Any]]] = {"haltung": [(len(read), body) for body, read in sent]}
    for form, row in {
        "mlflow": lambda one: {name: getattr(one, name) for name in names},
        "mlflow-pipeline": lambda one: {"text": one.context, "text_pair": one.text},
    }.items():
        out[form] = [(len(read), {"dataframe_records": list(map(row, read))}) for _, read in sent]
    return out


def served(
    parts: Sequence[str], bundle: Path, articles: Sequence[Sequence[Segment]], names: Sequence[str], rounds: int, seconds: float,
    scratch: Path,
) -> Iterator[tuple[str, str, dict[str, float]]]:  # fmt: skip
    """Yield a part with its clients, a side and its measured values, round by round."""
    with ExitStack() as stack:
        started = stack.enter_context(servers.running(names, bundle, scratch, ["timeout=300", "cache=0"]))
        running = {side.name: side for side in started}
        for part in parts:
            bodies, rivals = requests(part, articles), list(names)
            if part == "cache":
                bodies, rivals = {"haltung": bodies["haltung"][:_REPEATED]}, ["haltung", "cache"]
                (scratch / "cache").mkdir()
                (running["cache"],) = stack.enter_context(servers.running(["haltung"], bundle, scratch / "cache"))
                for _, body in bodies["haltung"]:
                    urllib.request.urlopen(running["cache"].url, json.dumps(body).encode(), timeout=300).read()
            files = {form: generator.write(scratch / f"{part}-{form}.jsonl", sent) for form, sent in bodies.items()}
            for clients in CLIENTS[part]:
                calls = {side: (running[side], files[_form(side)], part == "articles", clients) for side in rivals}
                for call in calls.values():
                    _sent(*call, min(2.0, seconds))  # warm
                name = f"{part}, {clients} client{'s' if clients > 1 else ''}"
                for side in _turns(name, rivals, rounds):
                    yield name, side, _sent(*calls[side], seconds)


def _form(side: str) -> str:
    return side if side == "mlflow-pipeline" else side.partition("-")[0].replace("cache", "haltung")


def _sent(side: servers.Side, bodies: Path, whole: bool, clients: int, seconds: float) -> dict[str, float]:
    """Return the generator's figures for a server, and processor milliseconds per request."""
    url = side.articles if whole else side.url
    before = servers.processor(side)
    done = subprocess.run(
        [sys.executable, str(_HERE / "serving/generator.py"), url, str(bodies), str(clients), str(seconds)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told: dict[str, float] = json.loads(done.stdout)
    if told["failed"]:
        raise SystemExit(f"{side.name} has failed at {told['failed']:g} of {told['requests']:g} requests to {url}; see its own log")
    return {**told, "processor": 1000 * (servers.processor(side) - before) / told["requests"]}


def _turns(part: str, names: Sequence[str], rounds: int) -> Iterator[str]:
    """Yield all names once per round, each round starting with the next one."""
    for turn in range(rounds):
        first = turn % len(names)
        for name in (*names[first:], *names[:first]):
            print(f"{part}, round {turn + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
            yield name


def figures(values: Values) -> dict[str, Figure]:
    """Return the measured values and their ratios as figures by name."""
    out = {}
    for (part, side, what), rounds in values.items():
        name, unit, better = _MEASURED[what]
        out[f"{part}: {name}, {side}"] = Figure(tuple(rounds), unit, better)
    for part, what in dict.fromkeys((part, what) for part, _, what in values):
        kind, (name, _, better) = part.partition(",")[0], _MEASURED[what]
        at = {side: rounds for (of, side, measured), rounds in values.items() if (of, measured) == (part, what)}
        ours = [side for side in at if side in {"bulk": OURS, "cache": ("cache",)}.get(kind, ("haltung",))]
        others = [side for side in at if side not in ours]
        rivals = {other: [other] for other in others} | ({"the best of them": others} if len(others) > 1 else {})
        for one in ours if what in _COMPARED[kind] else ():
            for rival, some in rivals.items():
                best = map(max if better == "higher" else min, zip(*(at[other] for other in some), strict=True))
                ratios = tuple(mine / other for mine, other in zip(at[one], best, strict=True))
                out[f"{part}: {name}, {one} / {rival}"] = Figure(ratios, "ratio", better)
    return out


def verdict(name: str, figure: Figure) -> str:
    """Return the aim for a ratio and whether its median meets it; "" if there is no aim."""
    aim = next((aim for start, aim in AIMS.items() if name.startswith(start) and figure.unit == "ratio"), None)
    if aim is None:
        return ""
    met = figure.median <= aim if figure.better == "lower" else figure.median >= aim
    return f"{'at most' if figure.better == 'lower' else 'at least'} {aim:g}: {'yes' if met else 'no'}"


def main() -> None:
    """Measure; print a table and, as the last line, the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--bundle", help="an exported bundle with its weights (default: the model that comes with Haltung)")
    parser.add_argument("--corpus", help="of the texts (default: wikinews_stance if HALTUNG_SOURCES is set, else diplomacy)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: 3)")
    parser.add_argument("--sentences", type=int, default=512, help="of whole articles, that all sides read (default: 512)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement of a server (default: 10)")
    rivals = servers.NAMES[1:]
    parser.add_argument("--servers", nargs="+", choices=rivals, default=list(rivals), help="that ours is held against (default: all)")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument("--work", choices=(*OURS, *PIPELINES), help=argparse.SUPPRESS)
    parser.add_argument("--texts", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, Path(options.bundle), options.texts)
        return
    # On SIGTERM, exit through the context managers, which stop all child processes.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    from texts import articles

    from haltung.models import compact

    bundle = compact.find(options.bundle).resolve()
    corpus = options.corpus or ("wikinews_stance" if os.environ.get("HALTUNG_SOURCES") else "diplomacy")
    read, described = articles(corpus, options.sentences), machine()
    values: Values = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if "bulk" in options.parts:
            for side, told in bulk(bundle, read, options.rounds, scratch):
                for what, value in told.items():
                    values["bulk", side, what].append(value)
        rest = [part for part in options.parts if part != "bulk"]
        # The cache is compared with our own server only.
        names = ["haltung", *(options.servers if set(rest) - {"cache"} else ())]
        for part, side, told in served(rest, bundle, read, names, options.rounds, options.seconds, scratch) if rest else ():
            # With one sentence per request, sentences and requests per second are the same.
            shown = [what for what in _MEASURED if what in told and (what != "sentences" or part.startswith("articles"))]
            for what in shown:
                values[part, side, what].append(told[what])
    found = figures(values)
    rows = [[name, one.unit, str(one), verdict(name, one)] for name, one in found.items()]
    print(table(["figure", "unit", "median [lowest, highest]", "aim"], rows))
    more = {
        "bundle": json.loads((bundle / "haltung.json").read_text(encoding="utf-8")).get("digest", ""), "corpus": corpus,
        "articles": len(read), "sentences": sum(map(len, read)), "rounds": options.rounds, "seconds": options.seconds,
    }  # fmt: skip
    print(write(options.json, "inference", described, found, **more))


if __name__ == "__main__":
    main()
