"""Prepare a corpus: read, check, split, separate, write. A folder of a prepared corpus is always a whole one."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import haltung
from haltung.corpus import manifest as manifests
from haltung.corpus.card import card
from haltung.corpus.clean import Repaired, check
from haltung.corpus.manifest import Manifest
from haltung.corpus.parsing.reading import Dropped, Reader
from haltung.corpus.repetition import separate
from haltung.corpus.rules import Rules
from haltung.corpus.split import SPLITS, Split, TestOnly
from haltung.corpus.store import Prepared, load
from haltung.errors import UserError, listed
from haltung.files import atomic_folder, sha256
from haltung.labels import Scheme
from haltung.records import Segment, features

_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")


def prepare(
    name: str,
    reader: Reader,
    scheme: Scheme,
    rules: Rules,
    split: Split,
    out: Path,
    progress: bool = True,
    fingerprint: str = "",
) -> Prepared:
    """Prepare the corpus ``name`` into ``out/name`` and return it.

    A reader may have a method ``files()`` that names its source files; their digests are then kept.
    ``fingerprint`` is kept for ``is_current``.

    Raises:
        UserError: the name is no folder's name; the source is broken, or nothing of it is left; it cannot be split so; the folder cannot be
            written. A corpus prepared before stays as it was.
    """
    if not _NAME.match(name):
        raise UserError(f"the corpus's name is '{name}'; allowed are letters, digits and _ . - (it names a folder)")
    with _told(name, "reading", progress):
        reading = reader.read(scheme)
        sources = tuple(manifests.source(Path(path)) for path in _files(reader))
    segments = reading.segments if split.keeps_given else tuple(replace(segment, split="") for segment in reading.segments)
    if not segments:
        raise UserError(f"the corpus {name} is empty: no segment was read{_why(reading.dropped)}")
    with _told(name, f"checking {len(segments)} segments", progress):
        checked = check(segments, rules, scheme)
    dropped = [*reading.dropped, *checked.dropped]
    if not checked.kept:
        raise UserError(f"the corpus {name} is empty: of {len(segments)} segments none is left{_why(dropped)}")
    with _told(name, f"splitting {len(checked.kept)} segments", progress):
        apart = separate(split.split(checked.kept, scheme), rules)
    dropped += apart.dropped
    if not apart.splits["train"] and not isinstance(split, TestOnly):
        raise UserError(f"the corpus {name} has an empty train split: all of it is in dev or test too{_why(apart.dropped)}")
    manifest = Manifest(
        format=manifests.FORMAT,
        name=name,
        scheme=scheme.to_dict(),
        scheme_digest=scheme.digest(),
        segments={part: len(apart.splits[part]) for part in SPLITS},
        articles={part: manifests.article_count(apart.splits[part]) for part in SPLITS},
        labels=manifests.label_counts(apart.splits, scheme),
        dropped=dict(sorted(Counter(item.reason for item in dropped).items())),
        repaired=dict(sorted(Counter(item.what for item in checked.repaired).items())),
        notes=checked.notes,
        rules=asdict(rules),
        split=_settings(split),
        digests={part: manifests.split_digest(apart.splits[part], scheme) for part in SPLITS},
        digest=manifests.corpus_digest(apart.splits, scheme),
        sources=sources,
        files={},
        fingerprint=fingerprint,
        haltung=haltung.__version__,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    )
    with _told(name, "writing", progress):
        _write(out / name, manifest, scheme, apart.splits, dropped, checked.repaired)
    return load(out / name)


def fingerprint(config: Mapping[str, Any], files: Iterable[Path] = ()) -> str:
    """Return a SHA-256 over the resolved config, the content of the source files, and the versions of Haltung and of the folder's format.

    Raises:
        UserError: a source file is missing.
    """
    sources = [[item.path, item.sha256] for item in (manifests.source(Path(path)) for path in files)]
    what = {"config": config, "files": sources, "haltung": haltung.__version__, "format": manifests.FORMAT}
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()


def is_current(folder: Path, fingerprint: str) -> bool:
    """Say whether ``folder`` holds a whole corpus prepared from this very config and these very files."""
    try:
        return bool(fingerprint) and load(folder).manifest.fingerprint == fingerprint
    except UserError:
        return False


def _write(
    folder: Path,
    manifest: Manifest,
    scheme: Scheme,
    splits: Mapping[str, Sequence[Segment]],
    dropped: Sequence[Dropped],
    repaired: Sequence[Repaired],
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; the prepared corpus needs a folder of this name, so move the file away")
    schema = features(scheme).arrow_schema
    try:
        with atomic_folder(folder) as scratch:
            for part in SPLITS:
                rows = [segment.to_row(scheme) for segment in splits[part]]
                pq.write_table(pa.Table.from_pylist(rows, schema=schema), scratch / f"{part}.parquet")
            _lines(scratch / "dropped.jsonl", dropped)
            _lines(scratch / "repaired.jsonl", repaired)
            (scratch / "README.md").write_text(card(manifest, scheme), encoding="utf-8")
            files = {path.name: sha256(path) for path in sorted(scratch.iterdir())}
            (scratch / "manifest.json").write_text(replace(manifest, files=files).to_json(), encoding="utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"{folder}: an id, article, source or label holds half of a character pair ({error.reason}), which no file can hold"
        ) from None
    except OSError as error:
        raise UserError(f"{folder}: cannot write the prepared corpus ({error.strerror or error}); an earlier one is as it was") from None


def _lines(path: Path, items: Sequence[Dropped] | Sequence[Repaired]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for item in items:
            file.write(json.dumps(asdict(item), ensure_ascii=False) + "\n")


def _files(reader: Reader) -> Iterable[Path]:
    files = getattr(reader, "files", None)
    return files() if callable(files) else ()


def _settings(split: Split) -> dict[str, Any]:
    return {"kind": type(split).__name__, **json.loads(json.dumps(vars(split), default=str))}


def _why(dropped: Sequence[Dropped]) -> str:
    if not dropped:
        return "; check the path and the column mapping"
    counts = Counter(item.reason for item in dropped)
    first = dropped[0]
    told = listed(f"{reason} {count}" for reason, count in counts.most_common())
    return f"; dropped were {told} (the first: {first.where or first.id}: {first.detail})"


@contextmanager
def _told(name: str, doing: str, progress: bool) -> Iterator[None]:
    if not progress:
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{name}: {doing}"):
        yield
