"""Bundles: the folder of a model of any kind, with its description in ``haltung.json``."""

import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from itertools import accumulate, islice, pairwise
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, TypeVar

import numpy as np

from haltung import __version__
from haltung.actors.finder import Actors
from haltung.encoders.tokens import Tokens, encode
from haltung.errors import UserError, first_line, listed, nearest, one_of
from haltung.files import atomic_folder
from haltung.inference import sessions
from haltung.inference.client import FORMAT, TOKENS_PER_BATCH, BundleError, Classifier, Run, batches, file_of, pack, places, read
from haltung.labels import STANCE, parse
from haltung.models.ensemble import EnsembleModel, Member
from haltung.models.predictor import Answers, Calibration, Model, Predictor, Stances
from haltung.models.units import ActorBatch, Unit, actor_answers, actor_batch, units
from haltung.records import ActorAnswer, Segment

DESCRIPTION = "haltung.json"
LEARNED = "learned.txt"  # hashes of the segments that the model was trained or chosen on
THRESHOLDS = "dyads.json"  # thresholds of dyads, tuned on dev at the end of a training
_MEMBERS = "members"
# For each kind that can be exported: its class, the library that reads its weights, and its files.
# Without tokenizer.json transformers makes a tokenizer to which every word is unknown.
_EXPORTABLE = {
    "network": ("haltung.models.neural:NeuralModel", "torch", "model.safetensors", "tokenizer.json"),
    "article": ("haltung.models.article:ArticleModel", "torch", "model.safetensors", "tokenizer.json"),
    "linear": ("haltung.models.linear:LinearModel", "scikit-learn", "linear.safetensors", "vocabulary.json"),
}
KINDS = (*_EXPORTABLE, EnsembleModel.kind)
_FASTEST = ("int8", "bf16", "fp32")  # fastest first; a bundle lacks those that the export refused
ACTORS = "onnx/actors.onnx"  # the graph that scores the sides of dyads
_BROKEN = (LookupError, TypeError, AttributeError, ValueError, OSError, RuntimeError, ArithmeticError, AssertionError, MemoryError)
# Read on loading to detect a wrong description: an article with a text to truncate, and two texts.
_LONG = Segment("", "Wort " * 200, context="davor", target="Ziel", article="a", headline="davor", position=0)
_FIRST = (_LONG, Segment("", "Wort"), Segment("", "Wort", context="davor", target="Ziel"))
VECTORS = ("tokens", "vectors", "likely")  # outputs of a graph of articles besides probabilities
_Exported = TypeVar("_Exported", bound="ExportedModel")


class ExportedModel(Predictor):
    """An exported bundle whose graph is run by ONNX Runtime or OpenVINO; torch is not needed."""

    def __init__(self, bundle: Path | Classifier, graph: sessions.Graph) -> None:
        """Load a graph; ``UserError`` if it or the bundle is broken, or the runtime is missing."""
        with broken_parts(graph.path):
            self.classifier = bundle if isinstance(bundle, Classifier) else Classifier(bundle, format=None)
        folder, description = self.classifier.folder, self.classifier.description
        self.scheme = parse(description["scheme"], source=str(folder / DESCRIPTION))
        self.calibration = Calibration(**description.get("calibration", {}))
        self.runtime = graph.runtime
        self.step = sessions.STEP if graph.runtime == "openvino" else 1  # sizes of batches are multiples of it (see ``pack``)
        # How units are batched (see ``batches``), and whether in reverse order.
        self.tokens, self.similar, self.shortest_first = TOKENS_PER_BATCH, 0.0, False
        self.reads_articles = self.classifier.kind == "articles"
        self.finds_dyads = bool(description.get("dyads"))
        with reading(folder, description) as part:
            # A server, which passes a Classifier, logs errors and shows its callers no paths.
            load = sessions.load if isinstance(bundle, Classifier) else _told
            self._run = load(replace(graph, path=part(Path(os.path.relpath(graph.path, folder)).as_posix())))
            if description.get("dyads"):
                # This graph is too small to gain from a lower precision.
                self._score_actors = load(replace(graph, path=part(ACTORS), bf16=False))
        with broken_parts(folder):  # the hashes have been compared by now
            # Later errors are ours, not the bundle's; and no caller waits for this first, slow run.
            list(self.groups(self.units(_FIRST)))

    def answers(
        self, segments: Sequence[Segment], progress: bool = False, precision: str = "auto", stances: Stances = None, seek: bool = True
    ) -> Answers:
        """Return the probabilities, and the actors if the model finds dyads."""
        from tqdm.auto import tqdm

        read = self.units(segments, self.actors if seek and self.finds_dyads else None)
        bar = tqdm(total=len(segments), desc="predict", unit=" segments", delay=2, disable=not progress, leave=False)
        with broken_parts(self.classifier.folder, MemoryError), bar:

            def answered() -> Iterator[tuple[Unit, Answers]]:
                for numbers, answers in self.groups(read, stances):
                    yield from zip((read[number] for number in numbers), answers, strict=True)
                    bar.update(sum(read[number].labelled for number in numbers))

            return self.joined(answered(), len(segments))

    def joined(self, answered: Iterable[tuple[Unit, Answers]], count: int) -> Answers:
        """Merge the answers of units into those of their ``count`` segments, in order, float64."""
        out = {task: np.zeros((count, len(labels))) for task, labels in self.classifier.tasks.items()}
        actors: list[tuple[ActorAnswer, ...]] = [()] * count
        for unit, answer in answered:
            rows = [row for row in unit.rows if row is not None]
            for task, values in out.items():
                if (given := answer.probabilities[task]).shape != values[rows].shape:
                    raise UserError(f"{self.classifier.folder} gives {given.shape} probabilities of {task}, expected {values[rows].shape}")
                values[rows] = given
            for row, found in zip(rows, answer.actors, strict=True):
                actors[row] = found
        return Answers(out, actors)

    def units(self, segments: Sequence[Segment], actors: Actors | None = None) -> list[Unit]:
        """Return the units to read: articles or segments; ``actors`` finds candidates for dyads."""
        if self.reads_articles:
            return units(segments, self.classifier.description["input"]["window"], actors=actors)
        return [Unit((segment,), (row,)) for row, segment in enumerate(segments)]

    def groups(self, read: Sequence[Unit], stances: Stances = None) -> Iterator[tuple[list[int], list[Answers]]]:
        """Yield each batch's unit indices, and their answers; ``stances`` are as in ``predict``."""
        ordered: Callable[[Iterator[Any]], Iterable[Any]] = (lambda all_of: reversed(list(all_of))) if self.shortest_first else iter
        inputs = self.classifier.description["input"]
        if not self.reads_articles:
            parts = [{name: getattr(unit.sentences[0], name) for name in ("text", "context", "target")} for unit in read]
            for rows, feeds in ordered(self.classifier.batches(parts, self.tokens, self.similar)):
                values = self.run(feeds)
                yield rows, [Answers({task: values[task][n : n + 1] for task in self.classifier.tasks}, [()]) for n in range(len(rows))]
            return
        sentences = [sentence for unit in read for sentence in unit.sentences]
        tokenizer, view = self.classifier.reader.tokenizer, self.classifier.views[0]
        encoded = iter(encode(sentences, tokenizer, view, inputs["max_length"], inputs["prefix"]))
        of_unit = [list(islice(encoded, len(unit.rows))) for unit in read]
        for chosen in ordered(batches([sum(map(len, one)) for one in of_unit], self.tokens, self.similar)):
            yield chosen, self._read([read[number] for number in chosen], [one for number in chosen for one in of_unit[number]], stances)

    def run(self, feeds: sessions.Feeds, *asked: Sequence[str]) -> dict[str, np.ndarray]:
        """Run the graph; for OpenVINO inputs are padded, so that few shapes occur."""
        if self.step > 1 and self.classifier.kind == "tokens":
            longest = int(self.classifier.description["input"]["max_length"])
            missing = {name: max(0, min(-values.shape[1] % self.step, longest - values.shape[1])) for name, values in feeds.items()}
            # The ids do not matter where the mask is 0.
            feeds = {name: np.pad(values, ((0, 0), (0, missing[name]))) for name, values in feeds.items()}
        return self._run(feeds, *asked)

    def _read(self, read: Sequence[Unit], tokens: Sequence[Tokens], stances: Stances) -> list[Answers]:
        inputs, numbers = self.classifier.description["input"], [row for unit in read for row in unit.rows]
        rows = [{"input_ids": one.ids, **({"token_type_ids": one.types} if inputs["types"] else {})} for one in tokens]
        feeds, starts = pack(rows, inputs["pad"], inputs["first_position"], inputs["packed_width"], 2 * self.step if self.step > 1 else 1)
        candidates = actor_batch(read, tokens, starts)
        asked = [*self.classifier.tasks, *(VECTORS if len(candidates.rows) else ())]
        # An article of sentences without tokens, and empty articles, keep the number of sizes low.
        spare = [[None] * (-len(numbers) % self.step), *[[]] * (2 ** len(read).bit_length() - len(read) - 1)] if self.step > 1 else []
        values = self.run({**feeds, **places([*(unit.rows for unit in read), *spare], self.step)}, asked)
        labelled = [number for number, row in enumerate(numbers) if row is not None]
        found: list[tuple[ActorAnswer, ...]] = [()] * len(labelled)
        if len(candidates.rows):
            at = [labelled[row] for row in candidates.rows]
            likely = values["likely"][at]
            if stances is not None:
                known = [self.scheme[STANCE].index(stances[numbers[row] or 0]) for row in at]
                likely = np.eye(len(self.scheme[STANCE]), dtype=np.float32)[known]
            named = (one for unit in read for one in unit.named if one)
            sides = self._sides(candidates, values["tokens"], values["vectors"][at], likely)
            for row, one, of in zip(candidates.rows, named, sides.swapaxes(0, 1), strict=True):
                found[row] = actor_answers(one, of)
        parts = [slice(*ends) for ends in pairwise(accumulate((unit.labelled for unit in read), initial=0))]
        return [Answers({task: values[task][labelled[part]] for task in self.classifier.tasks}, found[part]) for part in parts]

    def _sides(self, candidates: ActorBatch[np.ndarray], tokens: np.ndarray, sentences: np.ndarray, stances: np.ndarray) -> np.ndarray:
        """Return the probabilities of sources and targets, ``[2, sentences, SLOTS * roles]``."""
        sums = np.zeros((2 * len(candidates.sentence), tokens.shape[-1]), np.float32)
        np.add.at(sums, candidates.mention, tokens.reshape(-1, tokens.shape[-1])[candidates.tokens])
        counts = np.bincount(candidates.mention, minlength=len(sums)).clip(min=1).astype(np.float32)
        mentions = (sums / counts[:, None]).reshape(len(candidates.sentence), -1)
        cues = np.pad(candidates.cues, ((0, 0), (0, -candidates.cues.shape[1] % self.step)))
        feeds = {"mentions": mentions, "sentences": sentences, "stances": stances, "cues": cues}
        feeds |= {"sentence": candidates.sentence, "slot": candidates.slot}
        # Repeating the last candidate changes nothing; added sentences have none and are cut off.
        padded = {name: np.pad(one, ((0, -len(one) % self.step), *[(0, 0)] * (one.ndim - 1)), mode="edge") for name, one in feeds.items()}
        return np.exp(self._score_actors(padded)["sides"][:, : len(sentences)])


def save(
    model: Model, folder: Path, provenance: Mapping[str, Any] | None = None, learned_from: Iterable[Segment] = (),
    made_of: Iterable[Path] = (),
) -> Path:  # fmt: skip
    """Write a bundle atomically, replacing an older one, and return its folder.

    For ``known_segments`` it lists the hashes of ``learned_from``, the train and dev segments, and
    those of the bundles that the model was ``made_of``: teacher, members, the one whose encoder it
    started from. If any of these is empty, no list is written, since the rest would look complete.
    """
    with atomic_folder(folder) as scratch:
        parts = model.write(scratch)
        if isinstance(model, EnsembleModel):
            for number, member in enumerate(model.members):
                save(member.model, scratch / _MEMBERS / str(number), {"name": member.name})
        lists = [{_hash(segment) for segment in learned_from}, *map(_learned, made_of)]
        if all(lists):
            hashes = set[str]().union(*lists)
            (scratch / LEARNED).write_text("".join(f"{line}\n" for line in sorted(hashes)), encoding="ascii")
        description = {
            "format": FORMAT, "haltung": __version__, "kind": model.kind,
            "scheme": model.scheme.to_dict(), "scheme_digest": model.scheme.digest(),
            **parts, "calibration": asdict(model.calibration), "provenance": dict(provenance or {}),
        }  # fmt: skip
        (scratch / DESCRIPTION).write_text(json.dumps(description, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return folder


def describe(folder: Path, exported: bool = False) -> dict[str, Any]:
    """Return a bundle's description; ``UserError`` if it is missing, broken or of another format or
    kind, or if ``exported`` is true and the bundle is not exported.
    """
    path = folder / DESCRIPTION
    with broken_parts(path):
        description = read(folder, exported)
    if description.get("kind") not in KINDS:
        raise UserError(f"{path} is of kind '{description.get('kind')}', expected one of {listed(KINDS)}")
    return description


def is_exported(description: Mapping[str, Any]) -> bool:
    """Return whether a bundle is exported, that is, has graphs that run without torch."""
    return "formats" in description and "input" in description


def reads_articles(folder: Path) -> bool:
    """Return whether a bundle's model or a member reads whole articles; errors as ``describe``."""
    members = sorted((folder / _MEMBERS).glob("*"))
    return describe(folder)["kind"] == "article" or any(map(reads_articles, members))


def load(folder: Path, graph: bool = False, many: bool = False) -> Predictor:
    """Load a bundle from its weights, which predict as they did after training, or its fp32 graph.

    The graph of an exported bundle is used if ONNX Runtime is installed and ``graph`` is true, or
    the weights or the library that reads them are missing. For ``many`` texts it may be run by
    OpenVINO, which takes longer to load. ``UserError`` is raised if the folder is no bundle, or a
    part is missing or broken.
    """
    description = describe(folder)
    if is_exported(description) and sessions.is_installed("onnxruntime"):
        _, library, weights, _ = _EXPORTABLE[description["kind"]]
        if graph or not (sessions.is_installed(library) and (folder / weights).is_file()):
            with broken_parts(folder):
                graphs = graphs_for(folder, description, "auto" if many else "onnxruntime", "fp32")
                return first_loaded(graphs, lambda one: ExportedModel(folder, one))
    return load_trained(folder)


def graphs_for(
    folder: Path, description: Mapping[str, Any], runtime: str = "auto", format: str = "auto",  # noqa: A002 -- the bundle's word
    threads: int | None = None,
) -> list[sessions.Graph]:  # fmt: skip
    """Return the graphs that can run here, preferred first; ``UserError`` if there are none."""
    runtimes = sessions.preferred(description["kind"]) if runtime == "auto" else (one_of("runtime", runtime, sessions.RUNTIMES),)
    if not runtimes:
        raise UserError("neither onnxruntime nor openvino is installed; pip install 'haltung[serve]'")
    formats = description["formats"]
    slow = () if format != "auto" or sessions.has_bf16() else ("bf16",)
    wanted = [name for name in (_FASTEST if format == "auto" else (format,)) if name in formats and name not in slow]
    graphs = []
    for one in runtimes:
        fitting = (name for name in wanted if formats[name].get("runtime", one) == one)
        graphs += [sessions.Graph.of_entry(folder, name, formats[name], one, threads) for name in islice(fitting, 1)]
    if not graphs:
        hint = "" if format in formats else nearest(format, formats)
        asked = "" if format == "auto" else f" '{format}'{hint}"
        raise UserError(f"{folder} has no format{asked} for {listed(runtimes)}; it has {listed(formats)}")
    return graphs


def first_loaded(graphs: Sequence[sessions.Graph], make: Callable[[sessions.Graph], _Exported]) -> _Exported:
    """Return ``make(graph)`` of the first graph that works; raise the last one's ``UserError``."""
    for graph in graphs[:-1]:
        with suppress(UserError):
            return make(graph)
    return make(graphs[-1])


def load_trained(folder: Path) -> Model:
    """Load the weights of a trained or exported bundle; ``UserError`` as ``load``."""
    from safetensors import safe_open

    description = describe(folder)
    with reading(folder, description) as part:
        # transformers also reads JSON files that no model writes, if there are any.
        for path in {*folder.glob("[!.]*.json"), *folder.glob("[!.]*.safetensors")} - {folder / DESCRIPTION, folder / THRESHOLDS}:
            part(path.name, math.inf if path.suffix == ".safetensors" else 1e8)
        scheme = parse(description["scheme"], source=str(folder / DESCRIPTION))
        model: Model
        if description["kind"] == EnsembleModel.kind:
            members = [Member(name, load_trained(folder / _MEMBERS / str(number))) for number, name in enumerate(description["members"])]
            model = EnsembleModel(members, description["weights"], scheme)
        else:
            name, _, *needed = _EXPORTABLE[description["kind"]]
            if absent := [file for file in needed if not (folder / file).is_file()]:
                raise UserError(f"{folder} has no {absent[0]}, so the bundle is incomplete; export or train it again")
            model = resolve_name(name).read(folder, scheme, description)
        for path in folder.glob("[!.]*.safetensors"):
            # numpy has no bf16, which encoders may use; if the model is a network, torch is loaded.
            torch = sys.modules.get("torch")
            with safe_open(path, "pt" if torch else "numpy") as weights:
                for name in weights.keys():  # noqa: SIM118 -- it has no other iterator
                    values = weights.get_tensor(name)
                    values = values.float().numpy() if torch else values
                    if not -1e30 < float(values.min(initial=0)) <= float(values.max(initial=0)) < 1e30:  # larger ones overflow later
                        raise UserError(f"the array {name} of {path} has NaN, infinity or a number above 1e30; export or train it again")
        model.calibration = Calibration(**description.get("calibration", {}))
    return model


def known_segments(folder: Path, segments: Sequence[Segment]) -> list[str] | None:
    """Return the ids of segments that the model, or one that it was made of, has learned from.

    Segments are equal if text and target are, up to whitespace and case. None is returned if the
    bundle has no list of hashes: it, or a bundle that it was made of, is of an older version.
    """
    known = _learned(folder)
    return [segment.id for segment in segments if _hash(segment) in known] if known else None


def _learned(folder: Path) -> set[str]:
    with broken_parts(folder):
        return {line for file in folder.rglob(LEARNED) for line in file_of(file.parent, LEARNED, {}).read_text(encoding="ascii").split()}


def _hash(segment: Segment) -> str:
    text = "\0".join(" ".join(part.split()).casefold() for part in (segment.text, segment.target or ""))
    # 12 digits: of corpora of a million texts, about one in 500 has a collision.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _told(graph: sessions.Graph) -> Run:
    """Load a graph whose errors when it is run, except ``MemoryError``, become ``UserError``."""
    run = sessions.load(graph)

    def told(feeds: sessions.Feeds, *asked: Sequence[str]) -> dict[str, np.ndarray]:
        try:
            return run(feeds, *asked)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 -- the runtimes' errors share no class of their own
            raise UserError(f"{graph.runtime} can't run {graph.path} ({first_line(error)}); export the bundle again") from None

    return told


@contextmanager
def reading(folder: Path, description: Mapping[str, Any]) -> Iterator[Callable[..., Path]]:
    """Yield a function that returns a file's path, given its name and optionally a size limit. Its
    SHA-256 is compared while the block loads it (0.1 to 0.4 s for 150 MB). Errors as below.
    """
    checks: dict[str, Future[Path]] = {}
    with broken_parts(folder), ThreadPoolExecutor(1) as pool:

        def part(name: str, *limit: float) -> Path:
            path = file_of(folder, name, {"formats": description.get("formats", {})}, *limit)
            checks[name] = checks.get(name) or pool.submit(file_of, folder, name, description, *limit)
            return path

        yield part
        for check in checks.values():
            check.result()


@contextmanager
def broken_parts(folder: Path, *kinds: type[Exception]) -> Iterator[None]:
    """Turn the errors of broken files, or only those of ``kinds``, into a ``UserError``."""
    try:
        yield
    except BundleError as error:
        raise UserError(str(error)) from None
    except BaseException as error:  # a panic of tokenizers is no Exception
        if not isinstance(error, kinds or _BROKEN) and type(error).__name__ not in ("PanicException", "SafetensorError"):
            raise
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            raise UserError(f"the bundle in {folder} needs more memory than is free ({what}); free some, or use a smaller model") from error
        raise UserError(f"the bundle in {folder} is broken or incomplete ({what}); export or train it again") from error
