"""Export a run's model as a bundle, and compare each format on the dev split of its corpus."""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from haltung import tracking
from haltung.corpus.store import Prepared
from haltung.errors import UserError, listed
from haltung.evaluation.metrics import results
from haltung.evaluation.report import page
from haltung.experiments.compare import FOLDS
from haltung.experiments.evaluate import TrainedModel, check_scheme
from haltung.export import pipeline, signature
from haltung.export.write import ExportResult, ReferenceSplit, export
from haltung.files import write_text
from haltung.labels import parse
from haltung.models import bundle, compact
from haltung.tracking.models import log_exported


def export_model(
    trained: TrainedModel, corpus: Prepared, folder: Path, *, own_corpus: bool, licence: str | None = None, int8: bool = False,
    register: bool = False, form: str = "onnx", callback: Callable[[str], None] = lambda step: None, key: Any = None,
) -> tuple[ExportResult, str]:  # fmt: skip
    """Export a trained model into a folder, replacing a bundle exported there before.

    Formats are compared on the dev split of ``corpus``, or on all rows for a model of all rows.
    With ``own_corpus``, it must be the run's own, unchanged. ``licence`` is that of the data.
    ``int8`` adds weights in 8 bits, ``register`` a version of the registered model, which needs a
    run. ``form`` is ``onnx``, ``transformers`` (a folder per task), or ``compact`` (no fp16 or
    int8), whose weights are rounded before all comparisons. A private ``key`` signs the bundle.
    Return the result, and name and version of the registered model ("" for none). Raises
    ``UserError`` if the scheme differs, the corpus has changed, or the model can't be exported.
    """
    left_out = check_exportable(trained.bundle, form)
    description = bundle.describe(trained.bundle)
    provenance, digest = description.get("provenance", {}), corpus.manifest.digest
    learned = provenance.get("corpus_digest") or digest
    if own_corpus and learned != digest:
        raise UserError(
            f"the corpus '{corpus.name}' (digest {digest[:12]}) is not the one that the run was trained on ({learned[:12]}): its source "
            f"or its config has changed since; train again, or give corpus={corpus.name} to compare on the new one anyway"
        )
    check_scheme(parse(description["scheme"]), corpus)
    # In addition to fp32. A linear model is so fast that bf16 would save nothing.
    formats = ["bf16"] if form == "compact" else ["fp16", *["bf16"] * (description["kind"] != "linear"), *["int8"] * int8]
    dev, reference = corpus.segments("dev"), ReferenceSplit(corpus.name, "dev", corpus.segments("dev"))
    if own_corpus and trained.record and trained.record.of_all_rows:
        dev, found = corpus.segments("train"), tracking.artifact(trained.record, f"evaluation/{FOLDS}/{page.METRICS}")
        reference = ReferenceSplit(corpus.name, FOLDS, dev, results.read(found))
    tags = trained.record.tags if trained.record else {}
    commit, encoder = tags.get("haltung.git.commit"), description.get("encoder", {}).get("license")
    versions = {tag.removeprefix("haltung.version."): value for tag, value in sorted(tags.items()) if tag.startswith("haltung.version.")}
    provenance |= {
        "versions": versions or {"haltung": description["haltung"]},
        "commit": f"{commit} with changes" if commit and tags.get("haltung.git.dirty") == "true" else commit,
        "licences": {**({"encoder": encoder} if encoder else {}), "data": licence or "unknown"},
    }

    def exported(source: Path, to: Path) -> ExportResult:
        beside = [path for path in (source / bundle.LEARNED,) if path.is_file()]
        result = export(bundle.load_trained(source), to, reference, provenance, formats, callback, beside)
        # A model that finds dyads keeps its thresholds in the exported bundle.
        if result.folder is not None and (tuned := source / bundle.THRESHOLDS).is_file():
            shutil.copyfile(tuned, result.folder / bundle.THRESHOLDS)
        if result.folder is not None and key:
            signature.sign(result.folder, key)
        return result

    if form == "compact":
        return _compact(trained.bundle, folder, exported), ""
    if form == "transformers":
        network: Any = bundle.load_trained(trained.bundle)
        return pipeline.export(network, folder, reference, provenance, left_out, callback), ""
    result, registered = exported(trained.bundle, folder), ""
    if result.folder is not None and register and trained.record is not None:
        registered = str(log_exported(trained.record.connection, trained.record.id, result.folder, dev[:3]))
    return result, registered


def _compact(trained: Path, folder: Path, export_to: Callable[[Path, Path], ExportResult]) -> ExportResult:
    compact.check_folder(folder)
    packed = compact.difference(trained)
    with tempfile.TemporaryDirectory() as scratch:
        rounded, whole = Path(scratch, "rounded"), Path(scratch, "exported")
        shutil.copytree(trained, rounded)
        save_file(compact.applied(packed), rounded / compact.WEIGHTS, metadata={"format": "pt"})
        # The digests of an exported model no longer hold: its weights have been rounded.
        description = bundle.describe(rounded)
        description.pop("files", None)
        write_text(rounded / bundle.DESCRIPTION, json.dumps(description, ensure_ascii=False))
        result = export_to(rounded, whole)
        return result if result.folder is None else replace(result, folder=compact.write(whole, packed, folder))


def check_exportable(folder: Path, form: str = "onnx") -> dict[str, str]:
    """Return why tasks can't be exported so; ``UserError`` if none can be, or without a bundle."""
    if form == "transformers":
        return pipeline.obstacles(folder)
    description = bundle.describe(folder)
    if description["kind"] == "ensemble":
        raise UserError(
            f"{folder} is an ensemble, but an exported bundle has only one model; export one of its members "
            f"({listed(description['members'])}), or use the ensemble where Haltung is installed: haltung predict, events, dyads and "
            "evaluate read its folder"
        )
    return {}
