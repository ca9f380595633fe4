"""Preparation of a corpus: read, clean, split, separate, write the whole folder or nothing."""

import datetime as dt
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import haltung
from haltung.corpus import clean, store
from haltung.corpus.clean import CleaningRules, Repaired
from haltung.corpus.parsing.rows import Dropped, Reader, Reading, source_files
from haltung.corpus.split import BESIDE, SPLITS, Given, Split, TestOnly, divide
from haltung.corpus.store import Manifest, Prepared, load
from haltung.errors import UserError, listed, short, writing
from haltung.files import atomic_folder, rendered, sha256
from haltung.labels import Scheme
from haltung.records import TEXT_COLUMNS, Segment, features

_UNGROUPED = "name no article, so each counts as one: if several come from one text, splits leak and intervals are too narrow"
_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")


@dataclass(frozen=True)
class CleanedSegments(Reading):
    """The remaining segments in their order, dropped and repaired ones, and notes for the user."""

    repaired: tuple[Repaired, ...] = ()


def prepare(
    name: str, reader: Reader, scheme: Scheme, rules: CleaningRules, split: Split, out: Path, fingerprint: str = "",
    unlabelled: bool = False, agreement: Callable[[], Mapping[str, Any]] = dict,
) -> Prepared:  # fmt: skip
    """Prepare the corpus ``name`` in the folder ``out/name`` and return it.

    The manifest records the digests of the reader's files, ``fingerprint`` for ``is_current``, and
    the ``agreement`` of coders. ``unlabelled`` allows a source without labels. Raises ``UserError``
    if the name is no folder name; the source is broken, empty or not splittable; or writing fails.
    """
    from rich.console import Console

    from haltung.corpus.deduplicate import separate

    # In a notebook, rich's status line would need ipywidgets and warn if they are missing.
    status = Console(stderr=True, force_jupyter=False).status
    if not _NAME.match(name):
        raise UserError(f"the corpus's name is '{name}'; expected only letters, digits and _ . - (it names a folder)")
    with status(f"{name}: reading"):
        reading = reader.read(scheme)
        if reading.unlabelled and not unlabelled:
            raise UserError(reading.unlabelled)
        sources = tuple(store.source(path) for path in source_files(reader))
    segments = tuple(one if isinstance(split, Given) or one.split == BESIDE else replace(one, split="") for one in reading.segments)
    if not segments:
        raise UserError(f"the corpus {name} is empty: no segment was read{_reasons(reading.dropped)}")
    with status(f"{name}: cleaning {len(segments)} segments"):
        cleaned = clean_segments(segments, rules, scheme)
    dropped = [*reading.dropped, *cleaned.dropped]
    if not cleaned.segments:
        raise UserError(f"the corpus {name} is empty: none of {len(segments)} segments is left{_reasons(dropped)}")
    with status(f"{name}: splitting {len(cleaned.segments)} segments"):
        splits, leaked = separate(divide(cleaned.segments, split, scheme), rules)
    dropped += leaked
    if not splits["train"] and not isinstance(split, TestOnly):
        raise UserError(f"the corpus {name} has an empty train split: all of it is in dev or test{_reasons(leaked)}")
    manifest = Manifest(
        format=store.FORMAT, name=name, scheme=scheme.to_dict(), scheme_digest=scheme.digest(),
        segments={part: len(splits[part]) for part in SPLITS},
        articles={part: len({segment.group for segment in splits[part]}) for part in SPLITS},
        labels=store.label_counts(splits, scheme),
        dropped=dict(sorted(Counter(item.reason for item in dropped).items())),
        repaired=dict(sorted(Counter(item.what for item in cleaned.repaired).items())), notes=reading.notes + cleaned.notes,
        rules=asdict(rules),
        split={"kind": type(split).__name__, **json.loads(json.dumps(vars(split), default=str))},
        digests={part: store.split_digest(splits[part], scheme) for part in SPLITS}, digest=store.corpus_digest(splits, scheme),
        sources=sources, files={}, agreement=agreement() if reading.votes and hasattr(reader, "annotators") else {},
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), fingerprint=fingerprint, haltung=haltung.__version__,
    )  # fmt: skip
    with status(f"{name}: writing"):
        _write(out / name, manifest, scheme, splits, dropped, cleaned.repaired)
    return load(out / name)


def clean_segments(segments: Sequence[Segment], rules: CleaningRules, scheme: Scheme) -> CleanedSegments:
    """Repair segments, drop faulty ones and duplicates in splits; ``UserError`` like ``verify``."""
    from haltung.corpus.deduplicate import exact_duplicates, near_duplicates  # which takes half a second to load

    clean.verify(segments, scheme)
    dropped: list[Dropped] = []
    spared: Counter[str] = Counter()

    def drop(segment: Segment, reason: str, detail: str) -> bool:
        """Record the segment as dropped and return True, or spare it in a given test split."""
        if rules.keep_test and segment.split == "test" and reason != "empty_text":
            spared[reason] += 1
            return False
        dropped.append(Dropped(segment.id, segment.where, reason, detail))
        return True

    def without(segments: list[Segment], drops: Mapping[int, tuple[str, str]]) -> list[Segment]:
        return [segment for index, segment in enumerate(segments) if index not in drops or not drop(segment, *drops[index])]

    remaining: list[Segment] = []
    repaired: list[Repaired] = []
    for segment in segments:
        segment, repairs = clean.clean(segment, rules)
        fault = next(clean.faults(segment, rules), None)
        if fault is None or not drop(segment, *fault):
            remaining.append(segment)
            repaired += repairs
    remaining = without(remaining, exact_duplicates(remaining, rules, scheme))
    if rules.near:
        remaining = without(remaining, near_duplicates(remaining, rules, scheme))
    lone = sum(not segment.article for segment in remaining)
    notes = [f"{lone} of {len(remaining)} segments {_UNGROUPED}"] if lone else []
    for reason, count in sorted(spared.items()):
        notes.append(f"{count} of the given test split would have been dropped for {reason}; a published test split is kept whole")
    return CleanedSegments(tuple(remaining), tuple(dropped), repaired=tuple(repaired), notes=tuple(notes))


def fingerprint(config: Mapping[str, Any], files: Iterable[Path] = ()) -> str:
    """Return a SHA-256 of what a corpus is prepared from.

    It covers the resolved config, the paths and content of the source files, the columns, and the
    versions of Haltung and of the folder's format. Of our ``_target_`` only the class counts, so a
    move to another module keeps a corpus current. Raises ``UserError`` if a source file is missing.
    """
    what = {
        "config": _without_modules(config), "files": [[str(path), store.source(path).sha256] for path in files],
        "haltung": haltung.__version__, "format": store.FORMAT, "fields": [*TEXT_COLUMNS, "position"],
    }  # fmt: skip
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()


def is_current(folder: Path, fingerprint: str) -> bool:
    """Return whether ``folder`` holds a whole corpus with this fingerprint."""
    try:
        return bool(fingerprint) and load(folder).manifest.fingerprint == fingerprint
    except UserError:
        return False


def _without_modules(node: Any) -> Any:
    """Return a config node with every ``_target_`` in Haltung reduced to its class name."""
    if isinstance(node, Mapping):
        return {
            key: _without_modules(value) if key != "_target_" else re.sub(r"^haltung\..*\.", "", str(value)) for key, value in node.items()
        }
    return [_without_modules(item) for item in node] if isinstance(node, list | tuple) else node


def _write(
    folder: Path, manifest: Manifest, scheme: Scheme, splits: Mapping[str, Sequence[Segment]], dropped: Sequence[Dropped],
    repaired: Sequence[Repaired],
) -> None:  # fmt: skip
    from pyarrow import Table, parquet

    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; the prepared corpus needs a folder of this name, so move the file")
    schema = features(scheme).arrow_schema
    try:
        with writing(folder), atomic_folder(folder) as scratch:
            for part in SPLITS:
                rows = [segment.to_row(scheme) for segment in splits[part]]
                parquet.write_table(Table.from_pylist(rows, schema=schema), scratch / f"{part}.parquet")
            for name, items in (("dropped", dropped), ("repaired", repaired)):
                lines = "".join(json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in items)
                (scratch / f"{name}.jsonl").write_text(lines, encoding="utf-8", newline="\n")
            known = {"splits": list(SPLITS), "reasons": store.REASONS, "label_rows": store.label_rows}
            card = rendered("haltung.corpus", "card.md.j2", manifest=manifest, scheme=scheme, **known)
            (scratch / "README.md").write_text(card, encoding="utf-8")
            files = {path.name: sha256(path) for path in sorted(scratch.iterdir())}
            text = json.dumps(asdict(replace(manifest, files=files)), ensure_ascii=False, indent=2) + "\n"
            (scratch / "manifest.json").write_text(text, encoding="utf-8")
    except UnicodeEncodeError as error:
        found = f"an id, article, source or label has half a surrogate pair ({error.reason})"
        raise UserError(f"{folder}: {found}, which can't be written to a file") from None


def _reasons(dropped: Sequence[Dropped]) -> str:
    if not dropped:
        return "; check the path and the column mapping"
    first, counts = dropped[0], Counter(item.reason for item in dropped)
    reasons = listed(f"{reason} {count}" for reason, count in counts.most_common())
    return f"; reasons: {reasons} (the first: {first.where or short(first.id)}: {first.detail})"
