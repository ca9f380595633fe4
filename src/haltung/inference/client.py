"""The exported classifier in one file, which needs numpy, onnxruntime and tokenizers only.

It reads a folder written by ``haltung export`` (``docs/bundle.md``). Copy it into another project,
or install it as the package ``haltung-client``::

    from haltung_client import Classifier
    Classifier("DIR").classify(["Chile warnt.", {"text": "Er lenkt ein.", "context": "Zollstreit"}])

As a program it labels one text (``python haltung_client.py DIR "Chile warnt Peru."``), or compares
its probabilities with those of the trained model (``python haltung_client.py DIR --verify``).
"""

import argparse
import hashlib
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1  # the bundle format that this file reads
LIMIT = 1e-3  # most by which a probability may differ from golden.jsonl
TOKENS_PER_BATCH = 4096  # including padding; enough to use a processor fully
PACKED_WIDTH = 112  # tokens; wider rows cost more attention, narrower ones leave more padding
_MIN_CONTEXT = 4  # tokens; a shorter context is left out
_MULTI_THRESHOLD = 0.5  # the lowest probability of a predicted label of a multi-label task
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported; from 1.29 on it reports its use to Microsoft

# Texts, or mappings with ``text`` and optionally ``context``, ``target`` and ``id``; a model of
# articles reads those of one ``article`` together, by ``position``, after their ``headline``.
Segments = Sequence[str | Mapping[str, Any]]
Row = Mapping[str, list[int]]  # the inputs of one text by name, all of one length; ``own_mask`` is 1 at the segment's own text
Arrays = dict[str, np.ndarray]
Run = Callable[..., Arrays]  # from a graph's inputs by name, and optionally the requested outputs, to outputs by name


class BundleError(ValueError):
    """A mistake that the caller can correct; the message is one sentence that says how."""


class Classifier:
    """An exported bundle; ``tasks`` has each task's labels, ``description`` is ``haltung.json``."""

    def __init__(self, folder: str | Path, format: str | None = "fp32", threads: int | None = None) -> None:  # noqa: A002 -- the bundle's word
        """Read a folder written by ``haltung export``, or raise ``BundleError``. No graph is loaded
        if ``format`` is None (a caller can set ``run``); None lets onnxruntime choose ``threads``.
        """
        self.folder = path = Path(folder)
        self.description = about = read(self.folder)
        try:
            scheme, inputs = about["scheme"]["tasks"], about["input"]
            self.tasks: dict[str, list[str]] = {name: list(task["labels"]) for name, task in scheme.items()}
            self._multi = {name for name, task in scheme.items() if task.get("kind", "single") == "multi"}
            self._thresholds = about.get("calibration", {}).get("thresholds", {})
            self.views, self.kind = list(about["views"]), str(inputs["kind"])
            if self.kind not in ("tokens", "articles", "ngrams"):
                raise BundleError(f"{self.folder} expects '{self.kind}' as input, which this client can't make; use a newer one")
            names = ("window", "first_position", "packed_width") if self.kind == "articles" else ()
            self._window, self._first, self._width = [inputs[name] for name in names] or [1, 0, 0]
            path = file_of(self.folder, inputs["vocabulary" if self.kind == "ngrams" else "tokenizer"], about)
            self.reader: Any = (_Ngrams if self.kind == "ngrams" else _Tokens)(path, inputs, self.views)
            formats = {name: one for name, one in about["formats"].items() if one.get("runtime", "onnxruntime") == "onnxruntime"}
            if format not in (None, *formats):
                reason = f" (refused by the export: {why})" if (why := about.get("refused", {}).get(format)) else ""
                raise BundleError(f"{self.folder} has no format '{format}' for onnxruntime{reason}; it has {', '.join(formats)}")
            self.run: Run | None = None if format is None else session(file_of(self.folder, formats[format]["file"], about), threads)
        except ImportError as error:
            raise BundleError(f"this needs the library {error.name}; install it with: pip install numpy onnxruntime tokenizers") from None
        except (KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"{self.folder / 'haltung.json'} is incomplete ({error!r}); export the bundle again") from None
        except BaseException as error:  # tokenizers raises a bare Exception, or a PanicException, which is not an Exception
            if isinstance(error, BundleError | KeyboardInterrupt | SystemExit):
                raise
            raise BundleError(f"{path} is missing or broken ({error}); copy or export the bundle again") from None

    def batches(self, segments: Segments, tokens: int = TOKENS_PER_BATCH, similar: float = 0) -> Iterator[tuple[list[int | None], Arrays]]:
        """Yield each row's segment (None: text before segments) and the inputs, by ``batches``."""
        parts = _parts(segments, self.kind)
        groups = [("", [row]) for row in range(len(parts))]
        if self.kind == "articles":
            groups = grouped([(part["article"], part["position"], part["headline"], part["context"]) for part in parts])
        units: list[list[tuple[int | None, Any]]] = [
            [*([(None, {"text": before})] if before else []), *((row, parts[row]) for row in rows[start : start + self._window])]
            for before, rows in groups for start in range(0, len(rows), self._window)
        ]  # fmt: skip
        encoded = zip(*(self.reader.rows(view, [part for unit in units for _, part in unit]) for view in self.views), strict=True)
        read = [[(number, next(encoded)) for number, _ in unit] for unit in units]
        for chosen in batches([sum(len(next(iter(row.values()))) for _, rows in unit for row in rows) for unit in read], tokens, similar):
            yield [row for number in chosen for row, _ in read[number]], self._feeds([read[number] for number in chosen])

    def _feeds(self, units: Sequence[Sequence[tuple[int | None, Sequence[Row]]]]) -> Arrays:
        inputs, texts = self.description["input"], [rows for unit in units for _, rows in unit]
        if self.kind == "articles":
            feeds, _ = pack([rows[0] for rows in texts], inputs["pad"], self._first, self._width)
            return {**feeds, **places([[number for number, _ in unit] for unit in units])}
        feeds = {}
        for view, rows in zip(self.views, zip(*texts, strict=True), strict=True):
            for column in rows[0]:
                fill, kind = inputs["pad"] if column == "input_ids" else 0, np.float32 if column == "counts" else np.int64
                width = max(1, *(len(row[column]) for row in rows))
                padded = np.array([[*row[column], *[fill] * (width - len(row[column]))] for row in rows], dtype=kind)
                feeds[f"{view}.{column}" if len(self.views) > 1 else column] = padded
        return feeds

    def probabilities(self, segments: Segments, empty: bool = False) -> Arrays:
        """Return each task's calibrated probabilities, float32 ``[segments, labels]``; raise
        ``BundleError`` if a segment has no text or, unless ``empty`` is set, an empty one.
        """
        if blank := [row for row, part in enumerate(_parts(segments, self.kind), 1) if not (empty or part["text"].strip())]:
            raise BundleError(f"the text of row {blank[0]} is empty; leave it out")
        if self.run is None:
            raise BundleError("this classifier was made with format=None, so it has no graph; make one with format='fp32'")
        out = {task: np.zeros((len(segments), len(labels)), dtype=np.float32) for task, labels in self.tasks.items()}
        for rows, feeds in self.batches(segments):
            answers, wanted = self.run(feeds, list(out)), [number for number, row in enumerate(rows) if row is not None]
            for task, values in out.items():
                values[[row for row in rows if row is not None]] = answers[task][wanted]
        return out

    def classify(self, segments: Segments, abstain: float | None = None) -> list[dict[str, Any]]:
        """Return the labels and all probabilities of each segment, as ``POST /classify`` does; if
        ``abstain`` is a precision, ``abstained`` names the tasks that are too uncertain for it.
        """
        self.thresholds(abstain)  # so that an unknown precision fails before the work
        return self.predictions(segments, self.probabilities(segments), abstain)

    def predictions(self, segments: Segments, probabilities: Arrays, abstain: float | None = None) -> list[dict[str, Any]]:
        """Return the result of ``classify``, given that of ``probabilities``."""
        thresholds, out = self.thresholds(abstain), []
        for row, segment in enumerate(segments):
            prediction: dict[str, Any] = {"id": segment["id"]} if isinstance(segment, Mapping) and segment.get("id") is not None else {}
            values = {task: dict(zip(labels, probabilities[task][row].tolist(), strict=True)) for task, labels in self.tasks.items()}
            for task, line in values.items():
                several = [label for label, value in line.items() if value >= _MULTI_THRESHOLD]
                prediction[task] = several if task in self._multi else max(line, key=line.__getitem__)
            prediction["probabilities"] = values
            if abstain is not None:
                uncertain = {task for task, least in thresholds.items() if least is None or max(values[task].values()) < least}
                prediction["abstained"] = {task: True for task in self.tasks if task in uncertain}
            out.append(prediction)
        return out

    def thresholds(self, precision: float | None) -> dict[str, float | None]:
        """Return each task's threshold for a precision; ``BundleError`` if none has one."""
        known = sorted({float(key) for values in self._thresholds.values() for key, least in values.items() if least is not None})
        if precision in (None, *known):
            return {task: least for task, values in self._thresholds.items() for key, least in values.items() if float(key) == precision}
        allowed = f"it has those for {', '.join(f'{one:g}' for one in known)}" if known else "it has none at all, so it can't abstain"
        raise BundleError(f"the bundle has no thresholds for the precision {precision!r}; {allowed}")

    def verify(self) -> tuple[int, float, int]:
        """Replay ``golden.jsonl``; return its size, largest difference, number of other labels."""
        path = self.folder / "golden.jsonl"
        try:
            rows = [json.loads(line) for line in file_of(self.folder, path.name, {}).read_text("utf-8").split("\n") if line.strip()]
            expected = {task: [[float(row["probabilities"][task][one]) for one in ids] for row in rows] for task, ids in self.tasks.items()}
            labels = [row["labels"][task] for row in rows for task in self.tasks]
            if not rows:
                raise ValueError("it is empty")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise BundleError(f"{path} is missing or broken ({error!r}); export the bundle again") from None
        found = self.probabilities(rows, empty=True)
        largest = np.max([np.abs(found[task] - np.array(values)).max() for task, values in expected.items()])  # NaN if one is
        predicted = [one[task] for one in self.predictions(rows, found) for task in self.tasks]
        return len(rows), float(largest), sum(one != other for one, other in zip(predicted, labels, strict=True))


class _Tokens:
    """Texts to token ids: ``docs/bundle.md``, "From a text to ids"."""

    def __init__(self, path: Path, inputs: Mapping[str, Any], views: Sequence[str]) -> None:
        self.tokenizer = __import__("tokenizers").Tokenizer.from_file(str(path))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self._ids(["Zoll 1"])  # some broken tokenizers panic only here
        self.prefix, self.max_length = inputs["prefix"], inputs["max_length"]
        self.single, self.pair, self.types = inputs["single"], inputs["pair"], inputs["types"]

    def rows(self, view: str, parts: Sequence[Mapping[str, str]]) -> list[Row]:
        texts = self._ids([part["text"] for part in parts])
        whole = self._ids([self.prefix + part["text"] for part in parts]) if self.prefix else texts
        read = [[part.get(name, "") if name in view else "" for part in parts] for name in ("target", "context")]
        before = [self._ids([self.prefix + one if one.strip() else "" for one in column]) for column in read]
        return [self._row(*row) for row in zip(texts, whole, *before, strict=True)]

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return [one.ids for one in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def _row(self, text: list[int], whole: list[int], target: list[int], context: list[int]) -> Row:
        room = self.max_length - sum(map(len, self.pair))
        # A text that fills the input is read alone: a scrap of context would cost the text's end.
        if not target and (not context or room - len(text) < _MIN_CONTEXT):
            kind, pieces = "single", [self.single[0], whole[: self.max_length - sum(map(len, self.single))], self.single[1]]
        else:
            text = text[: max(1, room - min(len(target), self.max_length // 2))]
            target = target[: room - len(text)]
            context = context[max(0, len(context) - (room - len(text) - len(target))) :]
            kind, pieces = "pair", [self.pair[0], target + context, self.pair[1], text, self.pair[2]]
        ids = [one for piece in pieces for one in piece]
        place = [number for number, piece in enumerate(pieces) for _ in piece]
        types = {} if self.types is None else {"token_type_ids": [self.types[kind][number] for number in place]}
        return {"input_ids": ids, "attention_mask": [1] * len(ids), "own_mask": [int(one == len(pieces) - 2) for one in place], **types}


class _Ngrams:
    """Texts to n-grams, as in scikit-learn: ``docs/bundle.md``, "From a text to n-grams"."""

    def __init__(self, path: Path, inputs: Mapping[str, Any], views: Sequence[str]) -> None:
        lists = json.loads(path.read_text(encoding="utf-8"))
        self.parts: dict[str, list[tuple[Mapping[str, Any], dict[str, int]]]] = {view: [] for view in views}
        for name, part in ((view, part) for view in views for part in inputs["parts"][view]):
            self.parts[name].append((part, {ngram: number for number, ngram in enumerate(lists[name][part["name"]], part["first"])}))

    def rows(self, view: str, parts: Sequence[Mapping[str, str]]) -> list[Row]:
        return [self._row(view, part) for part in parts]

    def _row(self, view: str, part: Mapping[str, str]) -> Row:
        before = " ".join(part[name] for name in ("target", "context") if name in view and part[name])
        texts = {"text": part["text"].lower(), "before": before.lower()}
        counts: Counter[int] = Counter()
        for settings, numbers in self.parts[view]:
            counts.update(numbers[one] for one in _ngrams(texts[settings["of"]], settings["unit"], *settings["sizes"]) if one in numbers)
        return {"numbers": list(counts), "counts": list(counts.values())}


def _ngrams(text: str, unit: str, least: int, most: int) -> Iterator[str]:
    if unit == "word":
        words = re.findall(r"\w+", text)
        yield from (" ".join(words[at : at + n]) for n in range(least, min(most, len(words)) + 1) for at in range(len(words) - n + 1))
        return
    for piece in (f" {word} " for word in text.split()):
        for n in range(least, max(least, min(most, len(piece))) + 1):
            yield from (piece[first : first + n] for first in range(max(1, len(piece) - n + 1)))


def file_of(folder: Path, name: str, description: Mapping[str, Any], limit: float = 1e8) -> Path:
    """Return a file's path; ``BundleError`` if missing, outside, over ``limit`` bytes, changed."""
    path, digest = folder / name, description.get("files", {name: ""}).get(name, "" if name == "haltung.json" else "none")
    limit = next((2 * one["bytes"] for one in description.get("formats", {}).values() if one.get("file") == name and "bytes" in one), limit)
    real, root = path.resolve(), folder.resolve()
    # The hub's cache keeps files in a separate folder; those of a bundle are links to them.
    if not real.is_relative_to(root) and real.parent not in [up.parent / "blobs" for up in root.parents if up.name == "snapshots"]:
        raise BundleError(f"{path} lies outside the bundle; do not use this bundle")
    if not real.exists():
        raise BundleError(f"{path} is missing, so the bundle is incomplete; copy or export it again")
    if not real.is_file() or real.stat().st_size > limit:
        raise BundleError(f"{path} is not a file of at most {limit:,.0f} bytes; copy or export the bundle again")
    if digest and hashlib.sha256(np.memmap(path, mode="r").data if real.stat().st_size else b"").hexdigest() != digest:
        raise BundleError(f"{path} is not the file that was written (haltung.json has no such SHA-256); remove it, or copy it again")
    return path


def read(folder: Path, exported: bool = True) -> dict[str, Any]:
    """Return a bundle's ``haltung.json``; ``BundleError`` if missing, broken or not an export."""
    if not (path := folder / "haltung.json").exists():
        what = "has no haltung.json, so it is not a bundle" if folder.is_dir() else "is not a folder"
        raise BundleError(f"{folder} {what}; name a folder that `haltung {'export' if exported else 'train or export'}` has written")
    file_of(folder, path.name, {})
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} can't be read ({error}); copy or export the bundle again") from None
    version = description.get("format") if isinstance(description, dict) else None
    if version != FORMAT:
        raise BundleError(f"{path} is of format {version!r}, this version reads {FORMAT}; export it again or use the version that wrote it")
    if exported and not {"input", "formats"} <= description.keys():
        raise BundleError(f"{folder} is a trained model that was not exported; write a bundle of it with `haltung export`")
    return dict(description)


def _parts(segments: Sequence[Any], kind: str) -> list[dict[str, Any]]:
    """Return each segment's texts, with U+FFFD for unpaired surrogates, and its position."""
    if isinstance(segments, (str, Mapping)) or hasattr(segments, "columns"):  # iterating over a table yields its columns' names
        raise BundleError(f"expected a list of segments, not a {type(segments).__name__}; give [segment], or table.to_dict('records')")
    names, out = ("text", "context", "target", *(("article", "headline") if kind == "articles" else ())), []
    for row, segment in enumerate(segments):
        fields = {"text": segment} if isinstance(segment, str) else segment
        if not isinstance(fields, Mapping) or fields.get("text") is None:
            raise BundleError(f"row {row + 1} is neither a text nor a mapping with a 'text', but {type(segment).__name__}: {segment!r:.80}")
        part: dict[str, Any] = {name: "" if fields.get(name) is None else fields[name] for name in names}
        for name, value in part.items():
            if not isinstance(value, str):
                raise BundleError(f"the {name} of row {row + 1} is not text but {type(value).__name__}: {value!r:.80}")
            part[name] = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        position = part["position"] = fields.get("position") if kind == "articles" else None
        if position is not None and (isinstance(position, bool) or not isinstance(position, (int, np.integer))):
            raise BundleError(f"the position of row {row + 1} is not a whole number but {type(position).__name__}: {position!r:.80}")
        out.append(part)
    return out


def grouped(places: Sequence[tuple[str, int | None, str, str]]) -> list[tuple[str, list[int]]]:
    """Return the groups of segments read together, as the text before them and their indices, given
    each one's article, position, headline and context: those of an article are ordered by position
    after its headline; one without article or position is alone after its context.
    """
    alone, articles = list[tuple[str, list[int]]](), dict[str, tuple[str, list[tuple[int, int]]]]()
    for row, (article, position, headline, context) in enumerate(places):
        if article and position is not None:
            articles.setdefault(article, (headline, []))[1].append((position, row))
        else:
            alone.append((context, [row]))
    together = [(headline, [row for _, row in sorted(found)]) for headline, found in articles.values()]
    return [(before.strip(), rows) for before, rows in (*alone, *together)]


def places(units: Sequence[Sequence[int | None]], step: int = 1) -> Arrays:
    """Return ``place`` and ``kind``, padded to a multiple of ``step``, given units' segments."""
    longest = -(-max(map(len, units)) // step) * step
    kind = np.array([[int(row is not None) for row in rows] + [-1] * (longest - len(rows)) for rows in units])
    return {"place": np.flatnonzero(kind >= 0), "kind": kind}


def pack(rows: Sequence[Row], pad: int, first: int, width: int = PACKED_WIDTH, step: int = 1) -> tuple[Arrays, list[int]]:
    """Pack texts into rows of up to ``width`` or the longest text, by first fit, longest first;
    return the inputs, padded to a multiple of ``step``, and where texts begin in the joined rows.
    """
    lengths = [len(row["input_ids"]) for row in rows]
    ends, spots = fitted(lengths, width)
    fills = {"input_ids": pad, "positions": first, "sentence": -1, **({"token_type_ids": 0} if "token_type_ids" in rows[0] else {})}
    feeds = {name: np.full((len(ends), -(-max(ends) // step) * step), fill) for name, fill in fills.items()}
    for index, (line, begin) in enumerate(spots):
        row = {**rows[index], "positions": range(first, first + lengths[index]), "sentence": index}
        for name, table in feeds.items():
            table[line, begin : begin + lengths[index]] = row[name]
    return feeds, [line * feeds["input_ids"].shape[1] + begin for line, begin in spots]


def fitted(lengths: Sequence[int], width: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the length of each row of ``pack``, and each text's row and offset in it."""
    width, ends, spots = max(width, *lengths), list[int](), [(0, 0)] * len(lengths)
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        line = next((number for number, end in enumerate(ends) if end + lengths[index] <= width), len(ends))
        ends += [0] if line == len(ends) else []
        spots[index] = (line, ends[line])
        ends[line] += lengths[index]
    return ends, spots


def batches(lengths: Sequence[int], tokens: int = TOKENS_PER_BATCH, similar: float = 0.0) -> Iterator[list[int]]:
    """Yield batches of row indices, longest rows first: at most ``tokens`` including padding, or a
    single row, and no row shorter than ``similar`` times the longest row of its batch.
    """
    rows = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    while rows:
        count = sum(lengths[row] >= similar * lengths[rows[0]] for row in rows[: max(1, tokens // max(1, lengths[rows[0]]))])
        yield rows[:count]
        rows = rows[count:]


def session(path: Path, threads: int | None = None) -> Run:
    """Load a graph, or raise ``BundleError``; idle threads sleep, and leave the cores to others."""
    runtime = __import__("onnxruntime")
    if [int(part) for part in runtime.__version__.split(".")[:2]] < [1, 24]:  # older versions read any file that a graph names
        raise BundleError(f"onnxruntime {runtime.__version__} is not safe with graphs from others; update it to 1.24 or newer")
    try:
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads or 0, 1, 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        loaded = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 -- the library's errors share no class of their own
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise BundleError(f"onnxruntime can't load {path} ({first}); copy or export the bundle again, or update onnxruntime") from None
    every = [output.name for output in loaded.get_outputs()]
    return lambda feeds, outputs=every: dict(zip(outputs, loaded.run(outputs, dict(feeds)), strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Label a text or replay golden answers; return 1 if they differ too much, 2 for a mistake."""
    parser = argparse.ArgumentParser(description="label a German news text with a bundle that `haltung export` has written")
    parser.add_argument("folder", help="of the bundle")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("text", nargs="?", help="to label")
    parser.add_argument("--context", help="what comes before the text in its article")
    parser.add_argument("--target", help="the question or entity that a stance is towards")
    parser.add_argument("--abstain", type=float, metavar="PRECISION", help="name the tasks that are too uncertain for it")
    parser.add_argument("--format", default="fp32", help="of the graph (default: fp32)")
    what.add_argument("--verify", action="store_true", help=f"replay golden.jsonl; 1 where a probability is off by over {LIMIT:g}")
    given = parser.parse_args(arguments)
    try:
        classifier = Classifier(given.folder, given.format)
        if given.verify:
            rows, largest, differing = classifier.verify()
            print(f"{rows} inputs, largest difference {largest:.2e}, labels that differ: {differing}")
            return int(not largest <= LIMIT)
        (prediction,) = classifier.classify([{"text": given.text, "context": given.context, "target": given.target}], given.abstain)
    except BundleError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    print(json.dumps(prediction, ensure_ascii=False, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
