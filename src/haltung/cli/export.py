"""``haltung export run=RUN to=DIR``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haltung.cli.build import Language, corpus_of, make, typed
from haltung.cli.config import each
from haltung.errors import UserError, listed

if TYPE_CHECKING:
    from rich.table import Table

    from haltung.export.write import ExportResult
    from haltung.labels import Scheme
    from haltung.tracking import RunRecord


@dataclass(frozen=True)
class ExportOptions:
    """The keys of the command."""

    run: str | None
    bundle: str | None
    to: str | None
    int8: bool
    register: bool
    licence: str | None
    language: Language


def run(arguments: Sequence[str]) -> int:
    """Export, print the table of formats; 1 where fp32, or a format that was asked for, is refused."""
    return max([_export(request.settings, request.config_dir) for request in each("export", arguments)], default=0)


def _export(settings: Mapping[str, Any], config_dir: Path | None) -> int:
    options = typed(ExportOptions, settings)
    if (options.run is None) == (options.bundle is None):
        raise UserError("name what to export: run=ID (of haltung train), or bundle=FOLDER with corpus=NAME; one of the two")
    if options.to is None:
        raise UserError("name the folder to write the bundle into: to=DIR")
    if options.register and options.run is None:
        raise UserError("register=true makes a version of a run's model; name the run, as in run=ID, instead of bundle=…")

    from haltung import tracking
    from haltung.models import bundle

    record: RunRecord | None = None
    if options.run is None:
        folder = Path(str(options.bundle))
        described = bundle.describe(folder)
        if not settings.get("corpus"):
            raise UserError("bundle=… says what to export; corpus=NAME has to say on whose dev split the formats are compared with it")
        source: Mapping[str, Any] = settings
    else:
        found = tracking.find(make(settings["tracking"], "tracking"), options.run)
        members = tracking.members(found)
        record = members[0]
        if record is not found:
            print(f"{found.name} has {len(members)} seeds; this is the first, {record.name}", file=sys.stderr)
        folder = tracking.bundle_folder(record)
        described = bundle.describe(folder)
        source = settings if settings.get("corpus") else {**settings, "corpus": record.config["corpus"]}
    corpus = corpus_of(source, config_dir)
    _same_corpus(described, corpus.manifest.digest, corpus.name, bool(settings.get("corpus")))
    if described["kind"] == "ensemble":
        raise UserError(
            f"{folder} is an ensemble, and an exported bundle holds one model; export one of its members ({listed(described['members'])}), "
            "or use the ensemble where Haltung is installed: haltung predict, events, dyads and evaluate read its folder"
        )
    model = bundle.load_trained(folder)
    if model.scheme.digest() != corpus.scheme.digest():
        raise UserError(
            f"the model knows the scheme '{model.scheme.name}' (digest {model.scheme.digest()}), but the corpus '{corpus.name}' "
            f"is labelled by '{corpus.scheme.name}' (digest {corpus.scheme.digest()}); name a corpus with the model's own scheme"
        )

    from rich.console import Console

    from haltung.events.dyads import thresholds
    from haltung.export.write import ReferenceSplit, export

    # A linear model is over with so fast that bf16 would save nothing.
    usual = ("fp16",) if model.kind == "linear" else ("fp16", "bf16")
    required = ("int8",) if options.int8 else ()
    reference = ReferenceSplit(corpus.name, "dev", corpus.segments("dev"))
    provenance = _provenance(described, record, options.licence)
    with Console(stderr=True).status("") as status:
        outcome = export(
            model, Path(options.to), reference, provenance, (*usual, *required), lambda step: status.update(f"exporting: {step}")
        )
    if outcome.folder is not None:
        # The thresholds of a model of dyads belong to it wherever it goes.
        thresholds.copy(folder, outcome.folder)
    Console().print(_table(outcome, model.scheme, options.language))
    if record is not None and options.register and outcome.folder is not None:
        from haltung.tracking.models import log_exported

        logged = log_exported(record.connection, record.id, outcome.folder, corpus.segments("dev")[:3])
        print(f"registered as {logged.name} version {logged.version}; make it the champion: haltung promote run={record.id[:8]}")
    return _report(outcome, required)


def _table(result: ExportResult, scheme: Scheme, language: str) -> Table:
    """Return a row for each task of each format: its distance from the trained model, and whether it is in the bundle."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from haltung.evaluation.report.i18n import word

    heads = ("format", "megabytes", "distance", "texts_per_second", "", "task", "changed_labels", "macro_f1")
    table = Table(*(word(head, language) if head else "" for head in heads), box=SIMPLE_HEAD)
    for head, column in zip(heads, table.columns, strict=True):
        column.no_wrap = True
        column.justify = "left" if head in ("format", "", "task") else "right"
    for row, task in enumerate(scheme):
        table.add_row(word("trained", language) if row == 0 else "", *[""] * 4, task.name, "", _score(result.reference, task.name))
    for name, comparison in result.comparisons.items():
        table.add_section()
        size = f"{result.bytes[name] / 1e6:.1f}" if name in result.bytes else ""
        refused = name in result.refused
        verdict = Text(word("refused" if refused else "included", language), style="bold red" if refused else "green")
        cells = [name, size, f"{comparison.difference:.1e}", f"{comparison.documents_per_second:.1f}", verdict]
        for row, task in enumerate(scheme):
            flips = f"{comparison.flips[task.name]:.2%}"
            table.add_row(*(cells if row == 0 else [""] * 5), task.name, flips, _score(comparison.macro_f1, task.name))
    return table


def _score(macro_f1: Mapping[str, float], task: str) -> str:
    return f"{macro_f1[task]:.3f}" if task in macro_f1 else "–"


def _report(outcome: ExportResult, required: Sequence[str]) -> int:
    for name, why in outcome.skipped.items():
        print(f"{name} was left out: {why}", file=sys.stderr)
    for name, why in outcome.refused.items():
        print(f"{name} was refused: {why}", file=sys.stderr)
    if outcome.folder is None:
        print("nothing was written, since the exported graph does not agree with the trained model", file=sys.stderr)
        return 1
    print(f"written to {outcome.folder}")
    return int(any(name in outcome.refused or name in outcome.skipped for name in required))


def _same_corpus(described: Mapping[str, Any], digest: str, corpus: str, named: bool) -> None:
    """Refuse to compare on a corpus that has changed since the training, unless it was named."""
    trained = described.get("provenance", {}).get("corpus_digest")
    if not named and trained is not None and trained != digest:
        raise UserError(
            f"the corpus '{corpus}' (digest {digest[:12]}) is not the one that the run was trained on ({trained[:12]}): its source or its "
            f"config has changed since; train again, or say corpus={corpus} to compare on the new one all the same"
        )


def _provenance(described: Mapping[str, Any], record: RunRecord | None, licence: str | None) -> dict[str, Any]:
    """Return where the model comes from: what its bundle says, the commit that trained it, and the licences."""
    commit = record.tags.get("haltung.git.commit") if record else None
    dirty = record is not None and record.tags.get("haltung.git.dirty") == "true"
    encoder = described.get("encoder", {}).get("license")
    return {
        **described.get("provenance", {}),
        "commit": commit and (f"{commit} with changes" if dirty else commit),
        "licences": {**({"encoder": encoder} if encoder else {}), "data": licence or "unknown"},
    }
