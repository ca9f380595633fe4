"""Predictions for unlabelled texts, in windows, written as the input is; and for single texts."""

import csv
import gzip
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from glob import has_magic
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from haltung import tracking
from haltung.corpus.parsing.fields import Fields, sound
from haltung.corpus.parsing.lines import existing, json_rows, lines
from haltung.corpus.parsing.rows import Fault, SourceRow
from haltung.corpus.readers.tables import Csv, Parquet
from haltung.errors import UserError, listed
from haltung.events.dyads.model import DyadModel
from haltung.events.text.read import Failure
from haltung.experiments.journal import BROKEN, Journal, ahead, digest
from haltung.experiments.ray_engine import Cluster, results
from haltung.models.predictor import Predictor, abstained
from haltung.records import Prediction, Segment, in_context
from haltung.tracking import Store

# From segments, and whether to show a bar, to an ``answer`` for each.
Answers = Callable[[Sequence[Segment], bool], list[dict[str, Any]]]
# From a file, and how many of its rows are done already, to its other windows with their answers.
Pieces = Callable[[Path, int], Iterator["Piece"]]

_KINDS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}
_BATCH = 16_384  # rows of Parquet that get their answers together


@dataclass(frozen=True)
class TextFiles:
    """The files of an input, and whether they may be several; ``others`` are of other kinds."""

    paths: tuple[Path, ...]
    several: bool
    others: tuple[str, ...]


@dataclass(frozen=True)
class Window:
    """Rows that are in memory together, None for a broken one; the others as segments."""

    rows: list[SourceRow | None] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    broken: list[Failure] = field(default_factory=list)


@dataclass(frozen=True)
class Piece:
    """What is written of a window: rows as ``written`` returns them, broken ones, and how many."""

    text: str
    broken: list[Failure]
    counts: dict[str, int]


@dataclass(frozen=True)
class Labeller:
    """A model with what is said of its predictions (see ``answer``)."""

    model: Predictor
    thresholds: Mapping[str, float | None]
    dyads: DyadModel | None

    def __call__(self, segments: Sequence[Segment], progress: bool = False) -> list[dict[str, Any]]:
        """Return an answer for each segment."""
        return [answer(one, self.thresholds, self.dyads) for one in self.model.predict(segments, progress)] if segments else []


def answer(prediction: Prediction, thresholds: Mapping[str, float | None], dyads: DyadModel | None) -> dict[str, Any]:
    """Return a prediction as plain data, with all that is said of it.

    ``thresholds`` has the probability below which each task abstains, None where dev never gave the
    precision; ``dyads`` chooses who is towards whom, None for a model that does not say.
    """
    row = prediction.to_dict()
    if dyads is not None:
        row["dyads"] = [dyad.to_dict() for dyad in dyads.dyads(prediction)]
    return row | ({"abstained": abstained(prediction, thresholds)} if thresholds else {})


def kind_of(path: Path) -> str:
    """Return ``jsonl``, ``csv``, ``parquet``, or "" for a name that says none of them."""
    return "" if path.name.endswith(BROKEN) else _KINDS.get(Path(path.name.removesuffix(".gz")).suffix.lower(), "")


def find(given: str) -> TextFiles:
    """Return the file, or those of a folder or a pattern such as ``news/*.csv``, by name.

    Raises ``UserError`` if there is none, one is empty, or two have one name.
    """
    path = Path(given).expanduser()
    if not path.is_dir() and (path.exists() or not has_magic(given)):
        return TextFiles((existing(path),), False, ())
    found = sorted(
        path.iterdir() if path.is_dir() else Path(path.anchor).glob(str(path.relative_to(path.anchor))), key=lambda one: one.name
    )
    files = [one for one in found if one.is_file() and not one.name.startswith(".")]
    known = tuple(existing(one) for one in files if kind_of(one))
    if not known:
        raise UserError(f"{given} has no file of texts; expected *.jsonl, *.csv, *.tsv (each perhaps with .gz) or *.parquet")
    if twice := [one.name for one, other in pairwise(known) if one.name == other.name]:
        raise UserError(f"{given} has two files {twice[0]}, and their predictions would have one name; label each folder by itself")
    return TextFiles(known, True, tuple(one.name for one in files if not kind_of(one)))


def rows_of(path: Path) -> Iterator[SourceRow]:
    """Yield the rows of a file, broken ones with a fault; ``UserError`` if it can't be read."""
    if kind_of(path) == "parquet":
        return Parquet("").rows(path)
    return Csv("", separator=_separator(path)).rows(path) if kind_of(path) == "csv" else json_rows(path)


def _separator(path: Path) -> str:
    header = next((line.text for line in lines(path) if line.text.strip()), "")
    return max(",;\t|", key=re.sub('"[^"]*"', "", header).count)


def windows(source: Iterable[SourceRow], size: int) -> Iterator[Window]:
    """Yield the rows of a source in windows of ``size`` rows, longer where an article goes on.

    Rows have ``text``, and optionally ``id``, ``context`` and ``target``. With ``article`` and
    ``position``, the number of the text in it, and optionally ``headline``, a model of articles
    reads the texts of an article together, another one each behind its context (see
    ``in_context``); they have to be in one window. A text without an id gets its number. Raises
    ``UserError`` if the source can't be read, or an article comes back later.
    """
    ids, earlier, here = set[int](), set[int](), set[int]()  # hashes of ids and of articles
    window, current = Window(), ""
    for number, row in enumerate(source, 1):
        try:
            read: Segment | Failure = _segment(row, number, ids)
        except Fault as fault:
            read = Failure(row.where, str(fault), row.raw if row.fault else row.data)
        article = current if isinstance(read, Failure) else read.article if read.position is not None else ""
        # So many broken rows are no part of an article.
        if len(window.rows) >= size and (not article or article != current or len(window.broken) >= size):
            yield replace(window, segments=in_context(window.segments))
            window, earlier, here = Window(), earlier | here, set()
        if article and hash(article) in earlier:
            found = f"{row.where}: the article '{article}' comes back after {size:,} other rows or more"
            raise UserError(f"{found}; sort the file, so that the rows of an article follow each other, or give a larger window=")
        current = article
        here.add(hash(article))
        (window.broken if isinstance(read, Failure) else window.segments).append(read)
        window.rows.append(None if isinstance(read, Failure) else row)
    if window.rows:
        yield replace(window, segments=in_context(window.segments))


def _segment(row: SourceRow, number: int, ids: set[int]) -> Segment:
    """Return a row as a segment, by default with its number as id; others are kept in ``ids``."""
    fields = Fields(row.fields(), {})
    id = fields.word("id")
    segment = Segment(
        id or str(number), fields.text("text", required=True), context=fields.text("context"), target=fields.text("target"),
        article=fields.word("article"), headline=fields.text("headline"), position=fields.whole("position"),
    )  # fmt: skip
    if not segment.text.strip():
        raise Fault("empty_text", "'text' is empty; give each line a text")
    if id and hash(id) in ids:
        raise Fault("duplicate_id", f"the id '{id}' is already that of a row before; give each text an id of its own")
    ids.add(hash(id))
    return segment


def opening(rows: Iterable[SourceRow], source: str, size: int = sys.maxsize) -> Window:
    """Return the first window, which is read before a model is loaded: mistakes come at once.

    ``source`` names the rows in messages. Raises ``UserError`` if there is none, none is sound, or
    one of all (without ``size``) is broken.
    """
    window = next(windows(rows, size), Window())
    if not window.rows:
        raise UserError(f'{source} holds no text; expected at least one, in JSON Lines as {{"text": "Chile warnt."}}')
    if window.broken and (size == sys.maxsize or not window.segments):
        raise UserError(f"{window.broken[0].where}: {window.broken[0].reason}")
    return window


def unfinished(size: int, source: tuple[Path, int]) -> Iterator[tuple[Path, Window, bool]]:
    """Yield the windows of a file behind the rows that are done, and whether one is the first."""
    (path, done), read = source, 0
    for window in windows(rows_of(path), size):
        first, read = read == 0, read + len(window.rows)
        if read > done:
            yield path, window, first


def piece(answers: Answers, item: tuple[Path, Window, bool]) -> Piece:
    """Return what is to be written of a window."""
    path, window, first = item
    counts = {"rows": len(window.rows), "sound": len(window.segments), "broken": len(window.broken)}
    return Piece(written(path, window, answers(window.segments, first), header=first), window.broken, counts)


def local(answers: Answers, size: int) -> Pieces:
    """Return what labels files in this process, in windows of ``size`` rows."""
    return lambda path, done: map(partial(piece, answers), ahead(unfinished(size, (path, done))))


def on_ray(cluster: Cluster, bundle: Path, make: Callable[[Path], Answers], texts: TextFiles, size: int) -> Pieces:
    """Return what labels files on a cluster, in their order (see ``ray_engine.results``)."""
    running: list[Iterator[Piece | None]] = []

    def pieces(path: Path, done: int) -> Iterator[Piece]:
        if not running:  # all files in one run, since its workers have to load the model
            sources = [(path, done), *((later, 0) for later in texts.paths[texts.paths.index(path) + 1 :])]
            running.append(results(cluster, sources, partial(unfinished, size), bundle, lambda folder: partial(piece, make(folder))))
        return iter(partial(next, running[0]), None)  # type: ignore[arg-type]

    return pieces


def label(pieces: Pieces, texts: TextFiles, to: Path, settings: Mapping[str, Any], resume: bool | None) -> Counter[str]:
    """Write what is said of files; return how many rows are ``sound`` and ``broken``.

    ``to`` is a file, for several ones a folder with one for each; ``settings`` are what it depends
    on besides the input. Raises ``UserError`` as ``windows`` and ``Journal``.
    """
    if not texts.several:
        return _label_file(pieces, texts.paths[0], to, settings, resume)
    with Journal(to, (), {**settings, "files": {path.name: path.stat().st_size for path in texts.paths}}, resume) as journal:
        to.mkdir(exist_ok=True)
        journal.append((), files=0)
        for path in texts.paths[journal.counts["files"] :]:
            counts = _label_file(pieces, path, to / path.name, settings, resume)
            journal.append((), files=1, sound=counts["sound"], broken=counts["broken"])
            resume = False
        journal.finish()
    return journal.counts


def _label_file(pieces: Pieces, path: Path, to: Path, settings: Mapping[str, Any], resume: bool | None) -> Counter[str]:
    from pyarrow.parquet import read_metadata
    from tqdm import tqdm

    total = read_metadata(path).num_rows if kind_of(path) == "parquet" else None
    depends = {**settings, "input": path.name, "bytes": path.stat().st_size, "digest of the input": digest([path])}
    with Journal(to, [to], depends, resume) as journal:
        before = journal.counts["rows"]
        with tqdm(desc=path.name, total=total, initial=before, unit=" rows", delay=2, disable=None) as bar:
            for piece in pieces(path, before):
                data = piece.text.encode("utf-8", "backslashreplace")
                journal.append([gzip.compress(data, mtime=0) if to.suffix == ".gz" else data], piece.broken, **piece.counts)
                bar.update(piece.counts["rows"])
        journal.finish(partial(_merge, path) if total is not None else None)
    return journal.counts


def written(path: Path, window: Window, answers: Iterable[Mapping[str, Any]], header: bool = True) -> str:
    """Return the answers to a window of a file as rows: JSON, or CSV behind the input's columns.

    Those to Parquet have an empty line for a broken row, to stay beside theirs (see ``_merge``).
    """
    if kind_of(path) not in ("csv", "parquet"):
        return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in answers)
    said = iter(answers)
    cells = [row and _cells(row, next(said)) for row in window.rows]
    if kind_of(path) == "parquet":
        return "".join((json.dumps(one) if one else "") + "\n" for one in cells)
    out, rows = io.StringIO(), [{**row.data, **one} for row, one in zip(window.rows, cells, strict=True) if row and one]
    # The keys of a row are the header.
    csv.writer(out, delimiter=_separator(path), lineterminator="\n").writerows([*rows[:header], *(row.values() for row in rows)])
    return out.getvalue()


def _cells(row: SourceRow, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer as cells, open where the model abstains; of labels the least probability."""
    cells: dict[str, Any] = {} if "id" in row.data else {"id": answer["id"]}
    for task, values in answer["probabilities"].items():
        labels = [answer[task]] if isinstance(answer[task], str) else answer[task]
        cells[task] = None if task in answer.get("abstained", ()) else ";".join(labels)
        cells[f"{task}_probability"] = min((values[label] for label in labels), default=None)
    if "dyads" in answer:
        cells["dyads"] = json.dumps(answer["dyads"], ensure_ascii=False)
    if taken := [name for name in cells if name in row.data]:
        raise UserError(f"{row.where}: there are columns {listed(taken)} already, which predictions are written to; rename them")
    return cells


def _merge(source: Path, answers: Path, to: Path) -> None:
    """Write the rows of Parquet that have an answer, with its cells behind theirs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as given, answers.open(encoding="utf-8") as found:
        names = json.loads(next(line for line in found if line.strip()))
        found.seek(0)
        new = [pa.field(name, pa.float64() if name.endswith("_probability") else pa.string()) for name in names]
        schema = pa.schema([*given.schema_arrow, *new], given.schema_arrow.metadata)
        with pq.ParquetWriter(to, schema) as out:
            for batch in given.iter_batches(batch_size=_BATCH):
                cells = [json.loads(line) if line.strip() else None for line in islice(found, batch.num_rows)]
                kept = batch.filter(pa.array([row is not None for row in cells]))
                columns = [pa.array([row[one.name] for row in cells if row], one.type) for one in new]
                out.write_batch(pa.RecordBatch.from_arrays([*kept.columns, *columns], schema=schema))


def single_text(text: str, context: str = "", target: str = "") -> Segment:
    """Return a text as a segment; ``UserError`` if it is empty, or holds half a character."""
    if not text.strip():
        raise UserError("text is empty; give a German sentence, as in text='Die USA warnen Russland.'")
    try:
        return Segment("1", sound(text, "text"), context=sound(context, "context"), target=sound(target, "target"))
    except Fault as fault:
        raise UserError(str(fault)) from None


def bundle_of(store: Store, run: str) -> Path:
    """Return the folder of a run's bundle, or the ``newest`` one's; of several seeds the first."""
    record = tracking.newest(store) if run == "newest" else tracking.find(store, run)
    return tracking.bundle_folder(tracking.members(record)[0])
