"""What a prepared corpus says of itself: counts, what was dropped, and the digests by which runs are compared."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import haltung
from haltung import labels
from haltung.corpus.split import group
from haltung.errors import UserError
from haltung.files import sha256
from haltung.labels import Scheme
from haltung.records import Segment

FORMAT = 1
UNLABELLED = ""


@dataclass(frozen=True)
class Source:
    """A file that the corpus was made of."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """The content of ``manifest.json``.

    ``segments``, ``articles`` and ``digests`` map a split to a value; ``labels`` maps task, split and label to a count, "" counting
    rows without a label. ``digests`` are over ids, texts and labels; ``digest`` is over the rows with all their columns. ``files`` maps
    a file of the folder to its SHA-256.
    """

    format: int
    name: str
    scheme: Mapping[str, Any]
    scheme_digest: str
    segments: Mapping[str, int]
    articles: Mapping[str, int]
    labels: Mapping[str, Mapping[str, Mapping[str, int]]]
    dropped: Mapping[str, int]
    repaired: Mapping[str, int]
    notes: tuple[str, ...]
    rules: Mapping[str, Any]
    split: Mapping[str, Any]
    digests: Mapping[str, str]
    digest: str
    sources: tuple[Source, ...]
    files: Mapping[str, str]
    fingerprint: str
    haltung: str
    created: str

    def to_json(self) -> str:
        """Return the manifest as indented JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2) + "\n"


def read(path: Path) -> Manifest:
    """Read ``manifest.json``.

    Raises:
        UserError: it is not JSON, or of another format version, or lacks an entry.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is not JSON ({error}); prepare the corpus again") from None
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise UserError(
            f"{path} is of format {found}, this version of Haltung ({haltung.__version__}) reads format {FORMAT}; prepare the corpus again"
        )
    names = [field.name for field in fields(Manifest)]
    if missing := [name for name in names if name not in data]:
        raise UserError(f"{path} lacks {', '.join(missing)}; prepare the corpus again")
    try:
        data["sources"] = tuple(Source(**source) for source in data["sources"])
        data["notes"] = tuple(data["notes"])
    except TypeError:
        raise UserError(f"{path}: 'sources' or 'notes' is not a list as written by Haltung; prepare the corpus again") from None
    # A later version may add entries within the same format.
    return Manifest(**{name: data[name] for name in names})


def scheme_of(manifest: Manifest, source: str) -> Scheme:
    """Return the label scheme that the corpus was prepared with."""
    return labels.parse(manifest.scheme, source)


def label_counts(splits: Mapping[str, Sequence[Segment]], scheme: Scheme) -> dict[str, dict[str, dict[str, int]]]:
    """Return the count of each label as task, split, label; each label of the scheme is there, if only with 0."""
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for task in scheme:
        counts[task.name] = {}
        for split, segments in splits.items():
            found: Counter[str] = Counter()
            for segment in segments:
                answer = segment.labels.get(task.name)
                found.update([UNLABELLED] if answer is None else [answer] if isinstance(answer, str) else answer)
            counts[task.name][split] = {label: found[label] for label in (*task.ids, UNLABELLED)}
    return counts


def article_count(segments: Iterable[Segment]) -> int:
    """Return the number of articles; a segment without one counts by itself."""
    return len({group(segment) for segment in segments})


def split_digest(segments: Iterable[Segment], scheme: Scheme) -> str:
    """Return a SHA-256 over id, SHA-1 of the text, and labels of each segment, sorted by id.

    The order of rows does not matter, nor does the context: a model with context and one without are compared on the same split.
    """
    lines = []
    for segment in segments:
        answers = [segment.labels.get(name) for name in scheme.names]
        plain = [sorted(answer) if isinstance(answer, tuple) else answer for answer in answers]
        lines.append(json.dumps([segment.id, hashlib.sha1(_bytes(segment.text)).hexdigest(), plain], ensure_ascii=True))
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def corpus_digest(splits: Mapping[str, Iterable[Segment]], scheme: Scheme) -> str:
    """Return a SHA-256 over the scheme and all rows with all their columns; the order of rows does not matter."""
    lines = [
        json.dumps([split, segment.to_row(scheme)], ensure_ascii=True, sort_keys=True)
        for split, segments in splits.items()
        for segment in segments
    ]
    return hashlib.sha256("\n".join([scheme.digest(), *sorted(lines)]).encode()).hexdigest()


def source(path: Path) -> Source:
    """Return path, SHA-256 and size of a source file.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    try:
        return Source(str(path), sha256(path), path.stat().st_size)
    except OSError as error:
        raise UserError(f"{path}: cannot read this source file ({error.strerror})") from None


def _bytes(text: str) -> bytes:
    # A lone surrogate, as a JSON escape can smuggle it in, must not break a digest.
    return text.encode("utf-8", "surrogatepass")
