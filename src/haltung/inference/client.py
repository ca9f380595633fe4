"""The exported classifier in one file: texts in, calibrated probabilities out; needs numpy, onnxruntime and tokenizers, nothing else.

It reads the folder that ``haltung export`` has written (``docs/bundle.md``) and knows nothing of how it was trained, so it can be copied
into another project as it stands, or installed as the package ``haltung-client``::

    from haltung_client import Classifier

    classifier = Classifier("DIR")
    classifier.classify(["Chile warnt Peru.", {"text": "Peru lenkt ein.", "context": "Streit um den Zoll"}])

As a program it labels one text (``python haltung_client.py DIR "Chile warnt Peru."``), or compares its own probabilities with those of
the trained model before the export (``python haltung_client.py DIR --verify``).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

FORMAT = 1  # of a bundle that this file reads
LIMIT = 1e-3  # a client has to agree with golden.jsonl within this
TOKENS_PER_BATCH = 4096  # padding included: enough to fill a processor, too few to fill its memory
_LEAST_PAIR = 4  # fewer tokens of context than this say nothing
_MULTI_THRESHOLD = 0.5  # a label of a multi-label task is predicted from this probability on
_SURROGATE = re.compile("[\ud800-\udfff]")

# Texts, or mappings with ``text`` and perhaps ``context``, ``target`` and ``id``.
Segments = Sequence[str | Mapping[str, Any]]

# Inputs of a graph by name, [rows, tokens], to its outputs by name, [rows, labels].
Run = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


class BundleError(ValueError):
    """A mistake that the caller can mend: its text is one sentence that says what was found and what to do."""


@dataclass(frozen=True)
class Row:
    """What the graph reads of one segment in one view: its inputs by name, all of one length, not padded.

    They are ``input_ids``, ``attention_mask``, ``own_mask`` (1 at the tokens of the segment's own text) and ``token_type_ids`` where the
    encoder has them; of a linear bundle ``numbers`` of n-grams, each once, and ``counts``, how often each occurs.
    """

    columns: Mapping[str, list[int]]

    def __len__(self) -> int:
        """Return the number of tokens, or of different n-grams."""
        return len(next(iter(self.columns.values())))


class Classifier:
    """An exported bundle, ready to label.

    Attributes:
        description: what ``haltung.json`` says.
        tasks: the labels of each task, in the order of the graph's outputs.
        kind: what the graph reads: ``tokens`` or ``ngrams``.
        views: what its passes read: ``text``, ``context``, ``target`` or ``target+context``.
        run: runs the graph.
    """

    def __init__(self, folder: str | Path, format: str | None = "fp32", threads: int | None = None) -> None:  # noqa: A002 -- the bundle's word
        """Read the bundle.

        Args:
            folder: written by ``haltung export``.
            format: of the graph, as in the bundle's ``formats``; None loads none, for a caller that sets ``run``.
            threads: for the graph; None lets onnxruntime choose.

        Raises:
            BundleError: it is no exported bundle, is of another format, is incomplete, or a library is missing.
        """
        self.folder = Path(folder)
        self.description = _description(self.folder)
        try:
            scheme, given = self.description["scheme"]["tasks"], self.description["input"]
            self.tasks: dict[str, list[str]] = {task: list(has["labels"]) for task, has in scheme.items()}
            self._multi = {task for task, has in scheme.items() if has.get("kind", "single") == "multi"}
            self._thresholds = self.description.get("calibration", {}).get("thresholds", {})
            self.views: list[str] = list(self.description["views"])
            self.kind: str = given["kind"]
            if self.kind not in ("tokens", "ngrams"):
                raise BundleError(f"{self.folder} wants '{self.kind}' as input, which this client can't make; take a newer one")
            reader = _Tokens if self.kind == "tokens" else _Ngrams
            self._reader: _Tokens | _Ngrams = reader(self.folder, given, self.views)
        except (KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"{self.folder / 'haltung.json'} is incomplete ({error!r}); export the bundle again") from None
        self.run: Run | None = None if format is None else session(self.file(format), threads)

    def file(self, format: str) -> Path:  # noqa: A002 -- the bundle's word
        """Return the graph of a format.

        Raises:
            BundleError: the bundle has no such format, or lacks its file.
        """
        # What is meant for another runtime is no format for this client.
        has = {name: part for name, part in self.description["formats"].items() if part.get("runtime", "onnxruntime") == "onnxruntime"}
        if format not in has:
            why = self.description.get("refused", {}).get(format, "")
            why = f" (refused at the export: {why})" if why else ""
            raise BundleError(f"{self.folder} has no format '{format}' for onnxruntime{why}; it has {', '.join(has)}")
        path = self.folder / str(has[format]["file"])
        if not path.is_file():
            raise BundleError(f"{path} is missing, so the bundle is incomplete; copy or export it again")
        return path

    def encode(self, segments: Segments) -> dict[str, list[Row]]:
        """Return what the graph reads: for each view one row for each segment. An empty text is allowed here.

        Raises:
            BundleError: a segment is neither a text nor a mapping with texts.
        """
        parts = _parts(segments)
        return {view: self._reader.rows(view, parts) for view in self.views}

    def feeds(self, encoded: Mapping[str, Sequence[Row]]) -> dict[str, np.ndarray]:
        """Return the graph's inputs, ``[rows, longest row]``; there has to be at least one row."""
        feeds: dict[str, np.ndarray] = {}
        for view, rows in encoded.items():
            for column in rows[0].columns:
                kind = np.float32 if column == "counts" else np.int64
                pad = self.description["input"]["pad"] if column == "input_ids" else 0
                padded = np.full((len(rows), max([1, *map(len, rows)])), pad, dtype=kind)
                for place, row in enumerate(rows):
                    padded[place, : len(row)] = row.columns[column]
                feeds[f"{view}.{column}" if len(self.views) > 1 else column] = padded
        return feeds

    def probabilities(self, segments: Segments) -> dict[str, np.ndarray]:
        """Return each task's calibrated probabilities, float32 ``[segments, labels]``, in the order of the segments.

        Raises:
            BundleError: a segment is neither a text nor a mapping with texts, or its text is empty.
        """
        for row, part in enumerate(_parts(segments)):
            if not part["text"].strip():
                raise BundleError(f"the text of row {row + 1} is empty; leave it out")
        return self._probabilities(segments)

    def classify(self, segments: Segments, abstain: float | None = None) -> list[dict[str, Any]]:
        """Return a prediction for each segment, as ``POST /classify`` answers it: labels, and every label's probability.

        With ``abstain``, a precision wished for, ``abstained`` names the tasks that are not sure enough of their label.

        Raises:
            BundleError: as ``probabilities``, or the bundle has no thresholds for the precision.
        """
        if abstain is not None:
            self.thresholds(abstain)  # so that a wrong one is told before the work
        return self.predictions(segments, self.probabilities(segments), abstain)

    def predictions(self, segments: Segments, found: Mapping[str, np.ndarray], abstain: float | None = None) -> list[dict[str, Any]]:
        """Return ``classify``'s answer for probabilities that are there already, ``[segments, labels]`` for each task."""
        thresholds = {} if abstain is None else self.thresholds(abstain)
        out = []
        for row, segment in enumerate(segments):
            prediction: dict[str, Any] = {"id": segment["id"]} if isinstance(segment, Mapping) and segment.get("id") is not None else {}
            values = {task: dict(zip(has, found[task][row].tolist(), strict=True)) for task, has in self.tasks.items()}
            for task, line in values.items():
                several = [label for label, value in line.items() if value >= _MULTI_THRESHOLD]
                prediction[task] = several if task in self._multi else max(line, key=line.__getitem__)
            prediction["probabilities"] = values
            if abstain is not None:
                unsure = {task for task, least in thresholds.items() if least is None or max(values[task].values()) < least}
                prediction["abstained"] = {task: True for task in self.tasks if task in unsure}
            out.append(prediction)
        return out

    def thresholds(self, precision: float) -> dict[str, float | None]:
        """Return the least highest probability with which each single-label task reaches a precision; None where it never does.

        Raises:
            BundleError: no task has a threshold for it.
        """
        found = {task: {float(wished): least for wished, least in values.items()} for task, values in self._thresholds.items()}
        chosen = {task: values[precision] for task, values in found.items() if precision in values}
        if any(least is not None for least in chosen.values()):
            return chosen
        has = sorted({wished for values in found.values() for wished, least in values.items() if least is not None})
        allowed = f"it has those for {', '.join(f'{one:g}' for one in has)}" if has else "it has none at all, so it can't abstain"
        raise BundleError(f"the bundle has no thresholds for the precision {precision!r}; {allowed}")

    def verify(self) -> tuple[int, float, int]:
        """Replay ``golden.jsonl``: return how many inputs it has, the largest difference of a probability, and how many labels differ.

        Raises:
            BundleError: the file is missing or broken.
        """
        path = self.folder / "golden.jsonl"
        try:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
            wanted = {task: [[row["probabilities"][task][one] for one in has] for row in rows] for task, has in self.tasks.items()}
            labels = [[row["labels"][task] for task in self.tasks] for row in rows]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{path} is missing or broken ({error!r}); export the bundle again") from None
        found = self._probabilities(rows)
        said = [[one[task] for task in self.tasks] for one in self.predictions(rows, found)]
        differing = sum(ours != theirs for one, other in zip(said, labels, strict=True) for ours, theirs in zip(one, other, strict=True))
        return len(rows), max(float(np.abs(found[task] - np.array(wanted[task])).max()) for task in self.tasks), differing

    def batches(self, segments: Segments) -> Iterator[tuple[list[int], dict[str, np.ndarray]]]:
        """Yield the positions of a batch of segments and each task's probabilities for them. An empty text is allowed here.

        Raises:
            BundleError: a segment is neither a text nor a mapping with texts.
        """
        if self.run is None:
            raise BundleError("this classifier was made with format=None, so it has no graph; make one with format='fp32'")
        encoded = self.encode(segments)
        for rows in batches([sum(map(len, row)) for row in zip(*encoded.values(), strict=True)]):
            yield rows, self.run(self.feeds({view: [has[row] for row in rows] for view, has in encoded.items()}))

    def _probabilities(self, segments: Segments) -> dict[str, np.ndarray]:
        out = {task: np.zeros((len(segments), len(labels)), dtype=np.float32) for task, labels in self.tasks.items()}
        for rows, answers in self.batches(segments):
            for task, values in out.items():
                values[rows] = answers[task]
        return out


class _Tokens:
    """From texts to token ids, as the encoder was trained: see ``docs/bundle.md``, "From a text to ids"."""

    def __init__(self, folder: Path, given: Mapping[str, Any], views: Sequence[str]) -> None:
        path, library = folder / given["tokenizer"], _library("tokenizers")
        try:
            self.tokenizer = library.Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001 -- the library raises bare Exceptions
            raise BundleError(f"{path} is missing or broken ({error}); copy or export the bundle again") from None
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.prefix, self.max_length = given["prefix"], given["max_length"]
        self.single, self.pair, self.types = given["single"], given["pair"], given["types"]

    def rows(self, view: str, parts: Sequence[Mapping[str, str]]) -> list[Row]:
        texts = self._ids([part["text"] for part in parts])
        whole = self._ids([self.prefix + part["text"] for part in parts]) if self.prefix else texts
        before = [
            self._ids([self.prefix + part[name] if name in view and part[name].strip() else "" for part in parts])
            for name in ("target", "context")
        ]
        return [self._row(*row) for row in zip(texts, whole, *before, strict=True)]

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return [one.ids for one in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def _row(self, text: list[int], whole: list[int], target: list[int], context: list[int]) -> Row:
        room = self.max_length - sum(map(len, self.pair))
        # A text that fills the input by itself is read without its context: a few scraps of it would cost the text its end.
        if not target and (not context or room - len(text) < _LEAST_PAIR):
            whole = whole[: self.max_length - sum(map(len, self.single))]
            return self._assembled([self.single[0], whole, self.single[1]], "single", own=1)
        text = text[: max(1, room - min(len(target), self.max_length // 2))]
        target = target[: room - len(text)]
        context = context[max(0, len(context) - (room - len(text) - len(target))) :]
        return self._assembled([self.pair[0], target + context, self.pair[1], text, self.pair[2]], "pair", own=3)

    def _assembled(self, pieces: Sequence[Sequence[int]], kind: str, own: int) -> Row:
        ids = [one for piece in pieces for one in piece]
        owned = [int(place == own) for place, piece in enumerate(pieces) for _ in piece]
        columns = {"input_ids": ids, "attention_mask": [1] * len(ids), "own_mask": owned}
        if self.types is not None:
            columns["token_type_ids"] = [self.types[kind][place] for place, piece in enumerate(pieces) for _ in piece]
        return Row(columns)


class _Ngrams:
    """From texts to the numbers of n-grams, as scikit-learn's vectorizers cut them: ``docs/bundle.md``, "From a text to n-grams"."""

    def __init__(self, folder: Path, given: Mapping[str, Any], views: Sequence[str]) -> None:
        path = folder / given["vocabulary"]
        try:
            lists = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BundleError(f"{path} is missing or broken ({error}); copy or export the bundle again") from None
        self.parts: dict[str, list[tuple[Mapping[str, Any], dict[str, int]]]] = {view: [] for view in views}
        for view, has in self.parts.items():
            for part in given["parts"][view]:
                has.append((part, {ngram: number for number, ngram in enumerate(lists[view][part["name"]], part["first"])}))

    def rows(self, view: str, parts: Sequence[Mapping[str, str]]) -> list[Row]:
        return [self._row(view, part) for part in parts]

    def _row(self, view: str, part: Mapping[str, str]) -> Row:
        before = " ".join(part[name] for name in ("target", "context") if name in view and part[name])
        texts = {"text": part["text"].lower(), "before": before.lower()}
        found: Counter[int] = Counter()
        for has, numbers in self.parts[view]:
            ngrams = (_words if has["unit"] == "word" else _characters)(texts[has["of"]], *has["sizes"])
            found.update(numbers[ngram] for ngram in ngrams if ngram in numbers)
        return Row({"numbers": list(found), "counts": list(found.values())})


def _words(text: str, least: int, most: int) -> Iterator[str]:
    words = re.findall(r"\w+", text)
    return (" ".join(words[first : first + n]) for n in range(least, most + 1) for first in range(len(words) - n + 1))


def _characters(text: str, least: int, most: int) -> Iterator[str]:
    for piece in (f" {word} " for word in text.split()):
        for n in range(least, most + 1):
            yield from (piece[first : first + n] for first in range(max(1, len(piece) - n + 1)))
            if len(piece) <= n:
                break


def _description(folder: Path) -> dict[str, Any]:
    path = folder / "haltung.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        what = "has no haltung.json, so it is no bundle" if folder.is_dir() else "is no such folder"
        raise BundleError(f"{folder} {what}; name a folder that `haltung export` has written") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} can't be read ({error}); copy or export the bundle again") from None
    found = description.get("format") if isinstance(description, dict) else None
    if found != FORMAT:
        raise BundleError(f"{path} is of format {found!r}, this client reads {FORMAT}; take the client of the version that wrote it")
    if "input" not in description or "formats" not in description:
        raise BundleError(f"{folder} is a trained model that was not exported; write a bundle of it with `haltung export`")
    return dict(description)


def _parts(segments: Sequence[Any]) -> list[dict[str, str]]:
    """Return text, context and target of each segment, with U+FFFD for each half of a character."""
    if isinstance(segments, (str, Mapping)):
        raise BundleError("one segment was given where a list of them is expected; put it into brackets")
    out = []
    for row, segment in enumerate(segments):
        given = {"text": segment} if isinstance(segment, str) else segment
        if not isinstance(given, Mapping) or given.get("text") is None:
            raise BundleError(f"row {row + 1} is neither a text nor a mapping with a 'text', but {type(segment).__name__}: {segment!r:.80}")
        part = {name: "" if given.get(name) is None else given[name] for name in ("text", "context", "target")}
        for name, value in part.items():
            if not isinstance(value, str):
                raise BundleError(f"the {name} of row {row + 1} is no text but {type(value).__name__}: {value!r:.80}")
            if _SURROGATE.search(value):
                part[name] = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        out.append(part)
    return out


def batches(lengths: Sequence[int], tokens: int = TOKENS_PER_BATCH, similar: float = 0.0) -> Iterator[list[int]]:
    """Yield the positions of rows in batches of similar length, the longest first.

    Args:
        lengths: of the rows.
        tokens: in a batch at most, padding included; a longer row is a batch of its own.
        similar: the shortest row of a batch has at least this share of the longest one's length.
    """
    rows = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    while rows:
        longest = lengths[rows[0]]
        size = max(1, tokens // max(1, longest))
        batch = [row for row in rows[:size] if lengths[row] >= similar * longest]
        yield batch
        rows = rows[len(batch) :]


def session(path: Path, threads: int | None = None, spinning: bool = True) -> Run:
    """Return what runs a graph by onnxruntime.

    Args:
        path: of the ONNX file.
        threads: None lets onnxruntime choose.
        spinning: whether threads spin while they wait, which takes the cores from everything else.

    Raises:
        BundleError: onnxruntime is missing or can't load the file.
    """
    runtime = _library("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads or 0, 1, 3
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    try:
        loaded = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 -- the library's errors share no class of their own
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise BundleError(
            f"onnxruntime can't load {path} ({first}); copy or export the bundle again, or update onnxruntime (now {runtime.__version__})"
        ) from None
    outputs = [output.name for output in loaded.get_outputs()]
    return lambda feeds: dict(zip(outputs, loaded.run(outputs, dict(feeds)), strict=True))


def _library(name: str) -> ModuleType:
    try:
        return __import__(name)
    except ImportError:
        raise BundleError(f"the client needs the library {name}; install it with: pip install numpy onnxruntime tokenizers") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Label one text, or replay the bundle's golden file; return 1 where it differs too much, 2 for the caller's mistake."""
    parser = argparse.ArgumentParser(description="label a German news text with a bundle that `haltung export` has written")
    parser.add_argument("folder", help="of the bundle")
    parser.add_argument("text", nargs="?", help="to label")
    parser.add_argument("--context", help="what stands before the text in its article")
    parser.add_argument("--target", help="the question or entity that a stance is towards")
    parser.add_argument("--abstain", type=float, metavar="PRECISION", help="name the tasks that can't be answered with it")
    parser.add_argument("--format", default="fp32", help="of the graph (default: fp32)")
    parser.add_argument(
        "--verify", action="store_true", help=f"replay golden.jsonl; exit with 1 where a probability is off by over {LIMIT:g}"
    )
    given = parser.parse_args(arguments)
    if given.verify == (given.text is not None):
        parser.error("give a text to label, or --verify; one of the two")
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
