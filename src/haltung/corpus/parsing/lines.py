"""Read lines, JSON and CSV rows, JSON documents and the hub; broken files raise one clear error."""

import codecs
import csv
import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from glob import has_magic
from pathlib import Path

from haltung import hub
from haltung.corpus.parsing.rows import SPLITS, Fault, SourceRow
from haltung.errors import UserError, first_line, kind, nearest, short

MAX_LINE_BYTES = 10_000_000  # longer lines mean another format, refused before it fills memory
MAX_DOCUMENT_BYTES = 500_000_000  # a JSON document is read as a whole, which takes as much memory


def existing(path: str | Path, hint: str = "", may_be_empty: bool = False) -> Path:
    """Return the path (``~`` allowed) of an existing file, not empty unless ``may_be_empty``.

    Raises ``UserError`` otherwise; ``hint`` says where to get the file.
    """
    path = Path(path).expanduser()
    more = f"; {hint}" if hint else ""
    try:
        if path.is_dir():
            raise UserError(f"{path} is a directory; expected a file{more}")
        if not path.exists():
            if not path.parent.is_dir():
                raise UserError(f"{path}: no such file, and no folder {path.parent}{more}")
            raise UserError(f"{path}: no such file{nearest(path.name, sorted(other.name for other in path.parent.iterdir()))}{more}")
        if not may_be_empty and path.stat().st_size == 0:
            raise UserError(f"{path} is empty; expected at least one row")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    return path


def several(given: str) -> list[Path] | None:
    """Return what is in a folder or matches ``news/*.csv``, unless hidden; None for a file."""
    path = Path(given).expanduser()
    if not path.is_dir() and (path.exists() or not has_magic(given)):
        return None
    found = path.iterdir() if path.is_dir() else Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    return sorted(one for one in found if not one.name.startswith("."))


def lines(path: Path, *, encoding: str | None = None, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[str]:
    """Yield the file's lines, each with its line end, without a byte order mark.

    A file whose name ends in ``.gz`` is decompressed. ``encoding`` must be UTF-16 or
    compatible with ASCII; None is UTF-8 that the user can't change. Raises ``UserError`` if the
    file can't be read or decoded, or a line is too long.
    """
    codec = _checked("utf-8" if encoding is None else encoding)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as source:
            # UTF-16 is read by characters, since its line ends have two bytes.
            wide = io.TextIOWrapper(source, codec, newline="\n") if codec == "utf-16" else None
            codec = "utf-8" if wide else codec
            # One byte more than allowed: an endless line is refused without reading it to its end.
            read = (lambda: wide.readline(max_line_bytes + 1).encode()) if wide else lambda: source.readline(max_line_bytes + 1)
            for number, raw in enumerate(iter(read, b""), 1):
                where = f"{path}, line {number}"
                if len(raw) > max_line_bytes:
                    limit = " (max_line_bytes sets the limit)" if encoding is not None else ""
                    raise UserError(f"{where}: longer than {max_line_bytes:,} bytes, too long for a row; expected one row per line{limit}")
                line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 and codec == "utf-8" else raw
                try:
                    yield line.decode(codec)
                except UnicodeDecodeError as error:
                    raise UserError(_undecodable(where, line, error, has_encoding=encoding is not None)) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not a complete gzip file ({error}); is it truncated, or named .gz without being compressed?") from None
    except UnicodeError as error:
        raise UserError(f"{path}: not UTF-16 ({first_line(error)}); was it cut off, or is the byte order mark missing?") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def json_rows(path: Path, *, encoding: str | None = None, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[SourceRow]:
    """Yield the rows of a file with one JSON object per line; a broken line is a row with a fault.

    Raises ``UserError`` like ``lines``, or for a JSON array over several lines. Skips blank lines.
    """
    for number, line in enumerate(lines(path, encoding=encoding, max_line_bytes=max_line_bytes), 1):
        if not (text := line.strip()):
            continue
        if number == 1 and text in ("[", "[{"):
            raise UserError(f"{path} is a single JSON array; expected JSONL, one object per line (jq -c '.[]' converts it)")
        where, made = f"{path}, line {number}", f"{path.stem}-{number}"
        try:
            yield SourceRow(where, made, json_object(text))
        except Fault as fault:
            yield SourceRow(where, made, {}, fault, raw=text)


def csv_rows(
    path: Path, *, separator: str, quotechar: str, encoding: str | None = None, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the first line and the cells of each row; skip blank lines.

    Raises ``UserError`` like ``lines``, or if the separator or quote is not one character, or the
    quoting is broken.
    """
    for key, value in (("separator", separator), ("quotechar", quotechar)):
        if len(value) != 1:
            raise UserError(f'{key} is {value!r}, expected one character (a tab is "\\t" in YAML)')
    csv.field_size_limit(max(csv.field_size_limit(), max_line_bytes))
    source = lines(path, encoding=encoding, max_line_bytes=max_line_bytes)
    reader = csv.reader(source, delimiter=separator, quotechar=quotechar, strict=True)
    first = 1
    try:
        for cells in reader:
            if cells:
                yield first, cells
            first = reader.line_num + 1
    except csv.Error as error:
        found = f"{path}, line {first}: not CSV with separator {separator!r} and quote {quotechar!r} ({error})"
        raise UserError(f"{found}; a quote inside a quoted cell is written twice") from None


def document_rows(path: Path, expected: str, max_bytes: int = MAX_DOCUMENT_BYTES) -> Iterator[SourceRow]:
    """Yield the items of a JSON document; an item that is no object is a row with a fault.

    Raises ``UserError`` if it exceeds ``max_bytes`` or is not a JSON list in UTF-8 (``expected``).
    """
    if (size := path.stat().st_size) > max_bytes:
        raise UserError(f"{path} has {size:,} bytes, the limit is {max_bytes:,}; export it in parts, or raise max_bytes")
    parts, size = list[str](), 0
    for part in lines(path, max_line_bytes=max_bytes):
        parts.append(part)
        if (size := size + len(part)) > max_bytes:
            raise UserError(f"{path} is longer than {max_bytes:,} characters when unpacked; export it in parts, or raise max_bytes")
    text = "".join(parts)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{path}, line {line}: a NUL byte; expected JSON (is the file damaged, or UTF-16?)")
    try:
        items = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}, column {error.colno}: not JSON ({error.msg}); was the file cut off?") from None
    except (RecursionError, ValueError):  # the latter for a number of over 4,300 digits
        raise UserError(f"{path}: the JSON is nested too deeply, or has too long a number, to be an export of rows") from None
    if not isinstance(items, list):
        raise UserError(f"{path} is {kind(items)}; expected {expected}")
    for number, item in enumerate(items, 1):
        fault = None if isinstance(item, dict) else Fault("wrong_type", f"the item is {kind(item)}; expected an object")
        yield SourceRow(f"{path}, item {number}", f"{path.stem}-{number}", {} if fault else item, fault)


def json_object(text: str) -> Mapping[str, object]:
    """Return the JSON object of a line, or raise a ``Fault``."""
    if "\0" in text:
        raise Fault("nul_byte", f"a NUL byte at column {text.index(chr(0)) + 1}; expected JSON (is the file damaged, or UTF-16?)")
    try:
        data = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise Fault("broken_json", f"column {error.colno}: not JSON ({error.msg}); expected one complete object per line") from None
    except (RecursionError, ValueError):
        raise Fault("broken_json", "the JSON is nested too deeply, or has too long a number; expected one flat object per line") from None
    if not isinstance(data, dict):
        raise Fault("broken_json", f"the line is {kind(data)} in JSON; expected one object per line, {{…}}")
    return data


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object; ``Fault`` if a key is repeated, of which JSON silently keeps the last."""
    if len(made := dict(pairs)) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise Fault("broken_json", f"the key '{short(twice)}' occurs twice; expected each key once")
    return made


def _checked(encoding: str) -> str:
    try:
        name = codecs.lookup(encoding).name
        # Lines are split at byte 10 before decoding, which requires compatibility with ASCII.
        plain = "a\n".encode(name) == b"a\n"
    except (LookupError, TypeError, UnicodeError):
        raise UserError(f"encoding is {encoding!r}, which Python does not know; try utf-8, latin-1 or cp1252") from None
    if name in ("utf-8-sig", "utf-16"):
        return name.removesuffix("-sig")
    if not plain:
        raise UserError(f"encoding is {encoding!r}, which cannot be read line by line; save the file as UTF-8")
    return name


def _undecodable(where: str, raw: bytes, error: UnicodeDecodeError, has_encoding: bool) -> str:
    found = f"{where}: not {error.encoding} (byte 0x{raw[error.start]:02x} at {error.start + 1})"
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return f"{found}; this is UTF-16, save the file as UTF-8{', or set encoding=utf-16' * has_encoding}"
    if has_encoding:
        return f"{found}; if it is Latin-1, set encoding=latin-1, or save the file as UTF-8"
    return f"{found}; save the file as UTF-8 (iconv -f latin1 -t utf-8 converts Latin-1)"


def hub_rows(name: str, revision: str | None = None) -> Iterator[SourceRow]:
    """Yield all rows of a data set on the hub, with the names of classes.

    ``name`` may also be a folder that ``datasets.load_dataset`` reads; ``revision`` is a branch,
    tag or commit. Raises ``UserError`` if it cannot be loaded.
    """
    import datasets

    try:
        loaded = datasets.load_dataset(name, revision=hub.pinned(name, revision, "dataset"))
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        found = f"the data set {name} could not be loaded from the hub ({first_line(error)})"
        raise UserError(f"{found}; go online, or read local files with reader.path") from None
    for split, dataset in loaded.items():
        classes = {column: feature for column, feature in dataset.features.items() if isinstance(feature, datasets.ClassLabel)}
        for number, data in enumerate(dataset):
            # -1 means that a row has no class.
            named = {column: feature.int2str(data[column]) if (data[column] or 0) >= 0 else None for column, feature in classes.items()}
            where, made = f"{name}, {split}, row {number + 1}", f"{split}-{number:05d}"
            yield SourceRow(where, made, {**data, **named}, split=SPLITS.get(str(split), str(split)))
