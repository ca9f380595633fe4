"""The data card: README.md of a prepared corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from haltung.corpus.manifest import UNLABELLED, Manifest
from haltung.corpus.split import SPLITS
from haltung.labels import Scheme, Task

# Each reason for which a segment is dropped or mended, as a person would put it.
REASONS = {
    "conflict": "the same text stands there with other labels",
    "duplicate": "the same text with the same labels stands there before",
    "empty_text": "no text",
    "leakage": "the same text is in a split that it may not share with",
    "markup": "HTML or wiki markup in the text",
    "mojibake": "broken encoding",
    "near_duplicate": "nearly the same text with the same labels stands there before",
    "near_leakage": "nearly the same text is in a split that it may not share with",
    "shared_article": "its article has segments in a split that it may not share with",
    "too_long": "longer than allowed",
    "too_short": "shorter than allowed",
}


def card(manifest: Manifest, scheme: Scheme) -> str:
    """Return the data card as Markdown."""
    parts = [
        f"# {manifest.name}",
        f"A corpus prepared by Haltung {manifest.haltung} on {manifest.created}; label scheme `{scheme.name}`: {', '.join(scheme.names)}.",
        f"Made with `haltung prepare corpus={manifest.name}`.",
        "## Splits",
        _table(
            ("", *SPLITS, "all"),
            [
                ("segments", *_row(dict(manifest.segments))),
                ("articles", *_row(dict(manifest.articles))),
            ],
        ),
        f"How it was split: {_settings(manifest.split)}.",
    ]
    parts += [part for task in scheme for part in (f"## {task.en} ({task.de})", _labels(task, manifest))]
    parts.append("## Dropped")
    if manifest.dropped:
        rows = [(reason, REASONS.get(reason, ""), str(count)) for reason, count in sorted(manifest.dropped.items())]
        parts.append(_table(("reason", "meaning", "segments"), rows))
        parts.append("Each of them is in `dropped.jsonl`, with where it stood and what was found.")
    else:
        parts.append("Nothing was dropped.")
    if manifest.repaired:
        parts.append("## Mended")
        parts.append(_table(("what", "texts"), [(what, str(count)) for what, count in sorted(manifest.repaired.items())]))
        parts.append("Each of them is in `repaired.jsonl`, before and after.")
    if manifest.notes:
        parts += ["## Remarks", "\n".join(f"- {note}" for note in manifest.notes)]
    parts += ["## Rules", f"{_settings(manifest.rules)}."]
    parts += ["## Digests", "Runs are comparable where the scheme's and the test split's digest are the same."]
    digests = [(f"split {name}", manifest.digests[name]) for name in SPLITS]
    parts.append(_table(("of", "SHA-256"), [("scheme", manifest.scheme_digest), *digests, ("corpus", manifest.digest)]))
    if manifest.sources:
        parts.append("## Sources")
        parts.append(_table(("file", "bytes", "SHA-256"), [(item.path, str(item.bytes), item.sha256) for item in manifest.sources]))
    return "\n\n".join(parts) + "\n"


def _labels(task: Task, manifest: Manifest) -> str:
    counts = manifest.labels[task.name]
    rows = [(label.id, label.de, label.en, *_row({split: counts[split][label.id] for split in SPLITS})) for label in task.labels]
    unlabelled = {split: counts[split][UNLABELLED] for split in SPLITS}
    if any(unlabelled.values()):
        rows.append(("–", "ohne Angabe", "unlabelled", *_row(unlabelled)))
    return _table(("label", "Deutsch", "English", *SPLITS, "all"), rows)


def _row(counts: dict[str, int]) -> tuple[str, ...]:
    return (*(str(counts[split]) for split in SPLITS), str(sum(counts.values())))


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key}: {value}`" for key, value in values.items()) or "no settings"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines)
