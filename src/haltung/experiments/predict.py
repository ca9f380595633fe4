"""Predict labels of texts in windows, written in the input's format, and of single texts."""

import csv
import gzip
import io
import json
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice, pairwise
from pathlib import Path, PurePosixPath
from shutil import rmtree
from typing import Any, NamedTuple

from tqdm import tqdm

from haltung import tracking
from haltung.corpus.parsing.fields import Fields
from haltung.corpus.parsing.lines import existing, json_rows, several
from haltung.corpus.parsing.rows import Fault, SourceRow
from haltung.corpus.readers.cells import separator_in
from haltung.corpus.readers.tables import Csv, Parquet
from haltung.errors import UserError, first_line, listed, short, writing
from haltung.events.dyads import DyadModel
from haltung.events.text.read import Failure
from haltung.experiments.journal import BROKEN, JOURNAL, Journal, ahead, digest
from haltung.experiments.ray_engine import Cluster, results
from haltung.models.predictor import Predictor, abstained
from haltung.records import Segment, in_context
from haltung.tracking import Store

Labeller = Callable[[Sequence[Segment], bool], Iterable[dict[str, Any]]]  # ``answers``; the flag shows a progress bar
# Maps a file and its number of finished rows to its other windows, each with ``answers``.
Labelled = Callable[[Path, int], Iterator[tuple["Window", list[dict[str, Any]]]]]
KINDS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}


class Window(NamedTuple):
    """Rows that are in memory together (None for a broken one), their segments, and broken rows."""

    rows: list[SourceRow | None]
    segments: list[Segment]
    broken: list[Failure]


def answers(
    predictor: Predictor, thresholds: Mapping[str, float | None], dyads: DyadModel | None, segments: Sequence[Segment], progress: bool
) -> Iterator[dict[str, Any]]:
    """Yield predictions as plain data, with dyads and abstentions if these are requested."""
    for prediction in predictor.predict(segments, progress) if segments else ():
        more = {} if dyads is None else {"dyads": [dyad.to_dict() for dyad in dyads.dyads(prediction)]}
        yield prediction.to_dict() | more | ({"abstained": abstained(prediction, thresholds)} if thresholds else {})


def kind_of(path: Path) -> str:
    """Return ``jsonl``, ``csv`` or ``parquet`` by the name's suffix, or "" for any other name."""
    return "" if path.name.lower().endswith((BROKEN, ".parquet.gz")) else KINDS.get(Path(path.name.removesuffix(".gz")).suffix.lower(), "")


def find(given: str) -> list[Path]:
    """Return the file, or those of a folder or a pattern such as ``news/*.csv``, sorted by name."""
    if (found := several(given)) is None:
        return [existing(given)]
    paths = sorted((existing(one) for one in found if kind_of(one)), key=lambda one: one.name)
    if not paths:
        raise UserError(f"{given} has no file of texts; expected *.jsonl, *.csv, *.tsv (each optionally with .gz) or *.parquet")
    if twice := [one.name for one, other in pairwise(paths) if one.name == other.name]:
        raise UserError(f"{given} has two files {twice[0]}, and their predictions would have the same name; label each folder separately")
    return paths


def nearby(given: str, output: str) -> tuple[str, str, Callable[[], None]]:
    """Return local paths for an input and an output such as ``s3://bucket/news.jsonl``.

    The input is copied to ``OUTPUT.input`` immediately. The returned function removes this copy,
    and moves the output from the working directory to its remote address, which must not exist.
    """
    from pyarrow import ArrowException, fs

    def copy(source: str, target: str, only_look: bool = False) -> None:
        try:
            both = (fs.FileSystem.from_uri(one) if "://" in one else (fs.LocalFileSystem(), one) for one in (source, target))
            (of, path), (to, base) = both
            if "://" in target and to.get_file_info(base).type != fs.FileType.NotFound:
                raise ValueError("something already exists there")
            if not only_look:
                if of.get_file_info(path).type == fs.FileType.Directory:
                    to.create_dir(base)
                fs.copy_files(path, base, of, to)
        except (ArrowException, OSError, ValueError) as error:
            if source == given:
                rmtree(copied.parent)
            raise UserError(f"{source} can't be copied to {target}: {first_line(error)}") from None

    here = PurePosixPath(output).name if "://" in output else str(Path(output).expanduser())
    copied = Path(f"{here}.input", PurePosixPath(given).name)
    if "://" in output and Path(here).exists() and not any(Path(here).glob(f"*{JOURNAL}")):
        raise UserError(f"{here} already exists, and the output is built there; move it away, or to {output} if an earlier run left it")
    if "://" in output:
        copy(here, output, only_look=True)
    if given.startswith("file://") and Path(given.removeprefix("file://")).resolve() == Path(here).resolve():
        raise UserError(f"{output} is the input, which would be lost; name another output")
    if "://" in given:
        with writing(copied.parent):
            copied.parent.mkdir(exist_ok=True)
            if {path.name for path in copied.parent.iterdir()} - {copied.name}:
                raise UserError(f"{copied.parent} contains other files, but the input will be copied there; move them away")
            rmtree(copied, ignore_errors=True)  # a folder copied by a stopped run
            copy(given, str(copied))

    def deliver() -> None:
        for ending in ("", BROKEN) if "://" in output else ():
            if (path := Path(here + ending)).exists():
                copy(str(path), output + ending)
                rmtree(path) if path.is_dir() else path.unlink()
        if "://" in given:
            rmtree(copied.parent)

    return str(copied) if "://" in given else given, here, deliver


def rows_of(path: Path) -> Iterator[SourceRow]:
    """Yield the rows of a file, broken ones with a fault; ``UserError`` if it can't be read."""
    if kind_of(path) == "parquet":
        return Parquet("").rows(path)
    return Csv("", separator=separator_in(path, "utf-8")).rows(path) if kind_of(path) == "csv" else json_rows(path)


def windows(source: Iterable[SourceRow], size: int, columns: Mapping[str, str] | None = None) -> Iterator[Window]:
    """Yield the rows of a source in windows of ``size`` rows, longer to keep an article together.

    Rows have ``text``, and optionally ``id`` (by default their number), ``context`` and ``target``,
    in columns of these names or as mapped by ``columns``. With ``article``, ``position`` (the
    number of the text in its article) and optionally ``headline``, the texts of an article are read
    together or in context (see ``in_context``). Raises ``UserError`` if the source can't be read,
    or an article reappears in a later window.
    """
    ids, earlier, here = set[int](), set[int](), set[int]()  # hashes of ids and of articles
    window, current = Window([], [], []), ""
    for number, row in enumerate(source, 1):
        try:
            read: Segment | Failure = _segment(row, number, ids, columns or {})
        except Fault as fault:
            read = Failure(row.where, str(fault), row.raw if row.fault else row.data)
        article = current if isinstance(read, Failure) else read.article if read.position is not None else ""
        # A window with ``size`` broken rows ends even within an article.
        if len(window.rows) >= size and (not article or article != current or len(window.broken) >= size):
            yield window._replace(segments=in_context(window.segments))
            earlier |= here
            window, here = Window([], [], []), set()
        if article and hash(article) in earlier:
            found = f"{row.where}: the article '{short(article)}' appears again after {size:,} or more other rows"
            raise UserError(f"{found}; sort the file so that the rows of each article are next to each other, or give a larger window=")
        current = article
        here.add(hash(article))
        kept: list[Any] = window.broken if isinstance(read, Failure) else window.segments
        kept.append(read)
        window.rows.append(None if isinstance(read, Failure) else row)
    if window.rows:
        yield window._replace(segments=in_context(window.segments))


def _segment(row: SourceRow, number: int, ids: set[int], columns: Mapping[str, str]) -> Segment:
    """Return a row as a segment, by default with its number as id; ``ids`` has earlier hashes."""
    fields = Fields(row.fields(), columns)
    given = fields.word("id")
    id = given or str(number)
    segment = Segment(
        id, fields.text("text", required=True), context=fields.text("context"), target=fields.text("target"),
        article=fields.word("article"), headline=fields.text("headline"), position=fields.whole("position"),
    )  # fmt: skip
    if not segment.text.strip():
        raise Fault("empty_text", "text is empty; expected a sentence, such as Die USA warnen Russland.")
    if hash(id) in ids:
        raise Fault("duplicate_id", f"the {'id' if given else 'number'} '{short(id)}' is that of an earlier row; give each text its own id")
    ids.add(hash(id))
    return segment


def opening(rows: Iterable[SourceRow], source: str, size: int = sys.maxsize) -> Window:
    """Return the first window, read before a model is loaded so that errors appear early. Raises
    ``UserError`` if no row in it is valid or, without ``size``, any is broken.
    """
    window = next(windows(rows, size), Window([], [], []))
    if not window.rows:
        raise UserError(f'{source} contains no text; expected at least one, in JSON Lines as {{"text": "Chile warnt."}}')
    if window.broken and (size == sys.maxsize or not window.segments):
        raise UserError(f"{window.broken[0].where}: {window.broken[0].reason}")
    return window


def _undone(size: int, source: tuple[Path, int]) -> Iterator[tuple[Window, bool]]:
    read, (path, done) = 0, source
    for window in windows(rows_of(path), size):
        first, read = read == 0, read + len(window.rows)
        if read > done:
            yield window, first


def _answered(labeller: Labeller, item: tuple[Window, bool]) -> tuple[Window, list[dict[str, Any]]]:
    window, first = item
    return window, list(labeller(window.segments, first and sys.stderr.isatty()))


def local(labeller: Labeller, size: int) -> Labelled:
    """Return a function that labels files in this process, in windows of ``size`` rows."""
    return lambda path, done: map(partial(_answered, labeller), (ahead if path.is_file() else iter)(_undone(size, (path, done))))


def on_ray(cluster: Cluster, bundle: Path, make: Callable[[Path], Labeller], paths: Sequence[Path], size: int) -> Labelled:
    """Return a function that labels ``paths`` in order; workers load the bundle with ``make``."""
    running: Iterator[Any] = iter(())
    coming: list[tuple[Path, int]] = []

    def labelled(path: Path, done: int) -> Iterator[Any]:
        nonlocal running
        if coming[:1] != [(path, done)]:  # one run for all files, which loads the model once
            coming[:] = [(path, done), *((later, 0) for later in paths[paths.index(path) + 1 :])]
            running = results(cluster, tuple(coming), partial(_undone, size), bundle, lambda folder: partial(_answered, make(folder)))
        del coming[0]
        return iter(partial(next, running), None)

    return labelled


def label(labelled: Labelled, path: Path, to: Path, depends: Mapping[str, Any], resume: bool | None) -> Counter[str]:
    """Write the answers for a file, with a journal that is kept; return the counts of its rows."""
    about = {"input": path.name, "bytes": path.stat().st_size, "digest of the input": digest([path])}
    with Journal([to], {**depends, **about}, resume) as journal:
        before, counted = journal.counts["rows"], journal.counts
        total = most_rows(path) if sys.stderr.isatty() and not counted["finished"] else None
        with tqdm(desc=path.name, total=total, initial=before, unit=" rows", delay=2, disable=None) as bar:
            for window, found in () if counted["finished"] else labelled(path, before):
                piece = written(path, window, found, not counted["sound"]).encode("utf-8", "backslashreplace")
                counts = {"rows": len(window.rows), "sound": len(window.segments), "broken": len(window.broken)}
                journal.append([gzip.compress(piece, mtime=0) if to.suffix == ".gz" else piece], window.broken, **counts)
                bar.update(len(window.rows))
            bar.total = bar.n
        journal.finish(partial(_merge, path) if kind_of(path) == "parquet" else None)
    return journal.counts


def most_rows(path: Path) -> int | None:
    """Return an upper bound of a file's number of rows; None if it can't be known in advance.

    In text files all lines count: a CSV header, lines within quotes, an unterminated last line.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import read_metadata

    if not path.is_file():
        return None
    with suppress(ArrowException, OSError, EOFError, zlib.error), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        if kind_of(path) == "parquet":
            return int(read_metadata(file).num_rows)
        return 1 + sum(block.count(b"\n") for block in iter(partial(file.read, 1 << 20), b""))
    return None


def written(path: Path, window: Window, answers: Iterable[Mapping[str, Any]], header: bool = True) -> str:
    """Return the answers to a window of a file as JSON lines, with empty lines for broken rows of
    Parquet (see ``_merge``), or as CSV with the columns of the file.
    """
    if kind_of(path) not in ("csv", "parquet"):
        return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in answers)
    said = iter(answers)
    cells = [None if row is None else cells_of(row, next(said)) for row in window.rows]
    if kind_of(path) == "parquet":
        return "".join((json.dumps(one) if one else "") + "\n" for one in cells)
    out, rows = io.StringIO(), [{**row.data, **one} for row, one in zip(window.rows, cells, strict=True) if row and one]
    # Writing a row as a dict writes its keys: the header.
    csv.writer(out, delimiter=separator_in(path, "utf-8"), lineterminator="\n").writerows([*rows[:header], *(row.values() for row in rows)])
    return out.getvalue()


def cells_of(row: SourceRow, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer as cells, None if abstained; several labels: the lowest probability."""
    cells: dict[str, Any] = {} if "id" in row.data else {"id": answer["id"]}
    for task, values in answer["probabilities"].items():
        labels = [answer[task]] if isinstance(answer[task], str) else answer[task]
        cells[task] = None if task in answer.get("abstained", ()) else ";".join(labels)
        cells[f"{task}_probability"] = min((values[label] for label in labels), default=None)
    if "dyads" in answer:
        cells["dyads"] = json.dumps(answer["dyads"], ensure_ascii=False)
    if taken := [name for name in cells if name in row.data]:
        raise UserError(f"{row.where}: there are already columns {listed(taken)}, which predictions are written to; rename them")
    return cells


def _merge(source: Path, answers: Path, to: Path) -> None:
    """Write the rows of a Parquet file that have an answer, with its cells appended."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as given, answers.open(encoding="utf-8") as found:
        first = json.loads(next(line for line in found if line.strip()))
        found.seek(0)
        new = [pa.field(name, pa.float64() if name.endswith("_probability") else pa.string()) for name in first]
        schema = pa.schema([*given.schema_arrow, *new], given.schema_arrow.metadata)
        with pq.ParquetWriter(to, schema) as out:
            for batch in given.iter_batches(batch_size=16_384):
                cells = [json.loads(line) if line.strip() else None for line in islice(found, batch.num_rows)]
                kept = batch.filter(pa.array([row is not None for row in cells]))
                columns = [pa.array([row[one.name] for row in cells if row], one.type) for one in new]
                out.write_batch(pa.RecordBatch.from_arrays([*kept.columns, *columns], schema=schema))


def single_text(text: str, context: str = "", target: str = "") -> Segment:
    """Return a text as a segment; ``UserError`` if it is empty or has half a surrogate pair."""
    return opening([SourceRow("the given text", "1", {"text": text, "context": context, "target": target})], "the given text").segments[0]


def bundle_of(store: Store, run: str) -> Path:
    """Return the bundle folder of a run, or of the ``newest`` one; of several seeds, the first."""
    record = tracking.newest(store) if run == "newest" else tracking.find(store, run)
    return tracking.bundle_folder(tracking.members(record)[0])
