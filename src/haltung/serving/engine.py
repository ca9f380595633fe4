"""A bundle and a runtime together: texts in, each text's probabilities out, group by group of like length."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from haltung import files
from haltung.errors import UserError, listed, nearest, one_of
from haltung.inference.client import BundleError, Classifier, batches
from haltung.inference.sessions import RUNTIMES, FastestGraph, Feeds, Graph, fastest, has_bf16, installed_runtimes, load
from haltung.serving.settings import Settings, cores

# A text as a caller gave it: text, context, target.
Part = Mapping[str, str]

# Each task's probabilities for one text, [labels].
Found = Mapping[str, np.ndarray]

# Formats for the processor, the fastest first; those that the export has not let through are not in the bundle.
_FASTEST = ("int8", "bf16", "fp32")

# Seconds that the runtimes are tried for, in all; with what is run to warm up, and loading both, a start still takes less than four.
_TRIAL = 0.6

# What the trial reads: news sentences of usual length, behind a headline and a lead.
_SENTENCE = (
    "Die Regierung in Santiago warnte am Freitag vor neuen Zöllen auf Kupfer und kündigte eine Klage bei der Welthandelsorganisation an."
)
_BEFORE = "Streit um Kupferzölle Chile und Peru verhandeln seit Montag über den Handel mit Metallen. Ein Ergebnis gibt es bisher nicht."

# Of a linear model, which reads a text of any length: as if it were so many tokens at most.
_MOST = 512

# Padding a batch costs less than running one for each length: its shortest text has at least this share of the longest one's.
_SIMILAR = 0.8

# OpenVINO keeps what it has prepared for each shape that it has met: with any width, 160 batches grew it by 80 MB; in steps of 8, by 16.
_STEP = 8


class Engine:
    """A classifier whose graph runs on the chosen runtime; ``groups`` is to be called from one thread.

    Args:
        classifier: the bundle, without a graph of its own.
        choice: the graph, ready to run.
        tokens: padded tokens that go through the graph together at most.
    """

    def __init__(self, classifier: Classifier, choice: FastestGraph, tokens: int) -> None:
        self.classifier, self.choice, self._tokens = classifier, choice, tokens

    def groups(self, parts: Sequence[Part]) -> Iterator[tuple[list[int], list[Found]]]:
        """Yield the places of texts with their probabilities, short texts first, so that their callers need not wait for the long ones."""
        encoded = self.classifier.encode(parts)
        lengths = [sum(len(row) for row in rows) for rows in zip(*encoded.values(), strict=True)]
        for places in reversed(list(batches(lengths, self._tokens, similar=_SIMILAR))):
            feeds = self.classifier.feeds({view: [rows[place] for place in places] for view, rows in encoded.items()})
            found = self.choice.run(self._fewer_shapes(feeds))
            yield places, [{task: values[row] for task, values in found.items()} for row in range(len(places))]

    def _fewer_shapes(self, feeds: Feeds) -> Feeds:
        """Return the inputs, for OpenVINO padded to a width that is a multiple of ``_STEP`` as far as the model reads."""
        if self.choice.graph.runtime != "openvino" or self.classifier.kind != "tokens":
            return feeds
        most = int(self.classifier.description["input"]["max_length"])
        out = {}
        for name, values in feeds.items():
            width = values.shape[1]
            # Where the mask is 0 any id will do.
            out[name] = np.pad(values, ((0, 0), (0, max(0, min(-(-width // _STEP) * _STEP, most) - width))))
        return out

    def estimate(self, part: Part) -> int:
        """Return about how many tokens a text has, without encoding it: German news has four characters to a token."""
        read = sum(len(part.get(name, "")) for name in ("text", "context", "target"))
        most = int(self.classifier.description["input"].get("max_length", _MOST))
        return min(most, 8 + read // 4) * len(self.classifier.views)


def open_engine(settings: Settings) -> Engine:
    """Read the bundle and load its graph, on the runtime that is faster here unless the settings name one.

    Raises:
        UserError: the bundle is none, or lacks the format, or no runtime can run it.
    """
    try:
        classifier = Classifier(settings.bundle, format=None)
    except BundleError as error:
        raise UserError(str(error)) from None
    names = installed_runtimes() if settings.runtime == "auto" else [one_of("runtime", settings.runtime, RUNTIMES)]
    graphs = [graph for name in names if (graph := _graph(classifier, name, settings)) is not None]
    if not graphs:
        formats = classifier.description["formats"]
        hint = "" if settings.format in formats else nearest(settings.format, formats)
        found = "" if settings.format == "auto" else f" '{settings.format}'{hint}"
        raise UserError(f"{settings.bundle} has no format{found} for {listed(names)}; it has {listed(formats)}")
    choice = FastestGraph(graphs[0], load(graphs[0]), {}) if len(graphs) == 1 else _kept(graphs, classifier)
    engine = Engine(classifier, choice, settings.tokens)
    # The first run prepares the graph; no caller has to wait for that.
    list(engine.groups([{"text": _SENTENCE, "context": _BEFORE}]))
    return engine


def _graph(classifier: Classifier, runtime: str, settings: Settings) -> Graph | None:
    """Return the format that a runtime is to run: the one asked for, or by itself the fastest that the export has let through."""
    formats = classifier.description["formats"]
    for name in _FASTEST if settings.format == "auto" else (settings.format,):
        told = formats.get(name)
        if told is None or told.get("runtime", runtime) != runtime or (settings.format == "auto" and name == "bf16" and not has_bf16()):
            continue
        path = classifier.folder / str(told["file"])
        if not path.is_file():
            raise UserError(f"{path} is missing, so the bundle is incomplete; copy or export it again")
        return Graph(runtime, name, path, settings.threads or cores(), bf16=told.get("hint") == "bf16", spinning=False)
    return None


def _kept(graphs: Sequence[Graph], classifier: Classifier) -> FastestGraph:
    """Return the faster graph as an earlier start found it on this machine; try all where there was none."""
    place = files.cache() / "serving" / f"{_fingerprint(graphs, classifier)}.json"
    try:
        told = json.loads(place.read_text(encoding="utf-8"))
        milliseconds = {str(graph): float(told[str(graph)]) for graph in graphs}
    except (OSError, ValueError, KeyError, TypeError):
        # There was no earlier start, or what it left is worth nothing.
        choice = fastest(graphs, _trials(classifier), _TRIAL)
        _keep(place, choice)
        return choice
    best = min(graphs, key=lambda graph: milliseconds[str(graph)])
    return FastestGraph(best, load(best), milliseconds)


def _keep(place: Path, choice: FastestGraph) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(place, json.dumps(dict(choice.milliseconds)))
    except OSError:
        pass  # a file system that can't be written to: each start tries anew


def _trials(classifier: Classifier) -> list[Feeds]:
    part = {"text": _SENTENCE, "context": _BEFORE, "target": ""}
    return [classifier.feeds(classifier.encode([part] * count)) for count in (1, 4)]


def _fingerprint(graphs: Sequence[Graph], classifier: Classifier) -> str:
    """Return what the choice depends on, as hex digits: graphs, cores, processor, versions."""
    formats = classifier.description["formats"]
    known = [[str(graph), formats[graph.format].get("sha256"), graph.threads, _version(graph.runtime)] for graph in graphs]
    return hashlib.sha256(json.dumps([known, _processor()]).encode()).hexdigest()[:24]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""  # the same library under another name, such as onnxruntime-gpu


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
