"""A run's model as an exported bundle, compared format by format on the dev split of its corpus."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from haltung.corpus.store import Prepared
from haltung.errors import UserError, listed
from haltung.events.dyads import thresholds
from haltung.experiments.evaluate import TrainedModel, check_scheme
from haltung.export.write import ExportResult, ReferenceSplit, export
from haltung.models import bundle
from haltung.tracking.models import log_exported

# Besides fp32; a linear model is so fast that bf16 would save nothing.
_FORMATS = {"linear": ("fp16",), "network": ("fp16", "bf16"), "article": ("fp16", "bf16")}


def export_model(
    trained: TrainedModel, corpus: Prepared, folder: Path, *, own_corpus: bool, licence: str | None = None, int8: bool = False,
    register: bool = False, callback: Callable[[str], None] = lambda step: None,
) -> tuple[ExportResult, str]:  # fmt: skip
    """Export a trained model into a folder, where an exported bundle is replaced.

    The formats are compared on the dev split of ``corpus``; ``own_corpus`` says whether it is the
    one that the model was trained on, as it was then. ``licence`` is that of the data, for the
    model card. ``int8`` asks for weights in 8 bits too, ``register`` for a version of the
    registered model, which needs a run. ``callback`` gets the name of each step before it begins.
    Return the result, and name and version of the registered model, "" where there is none. Raises
    ``UserError`` if the model has another scheme, the corpus has changed, or as
    ``check_exportable`` and ``export.write.export``.
    """
    check_exportable(trained.bundle)
    description = bundle.describe(trained.bundle)
    provenance, digest = description.get("provenance", {}), corpus.manifest.digest
    learned = provenance.get("corpus_digest") or digest
    if own_corpus and learned != digest:
        raise UserError(
            f"the corpus '{corpus.name}' (digest {digest[:12]}) is not the one that the run was trained on ({learned[:12]}): its source "
            f"or its config has changed since; train again, or give corpus={corpus.name} to compare on the new one all the same"
        )
    model = bundle.load_trained(trained.bundle)
    check_scheme(model.scheme, corpus)
    formats = (*_FORMATS[model.kind], *(("int8",) if int8 else ()))
    dev = corpus.segments("dev")
    tags = trained.record.tags if trained.record else {}
    commit, encoder = tags.get("haltung.git.commit"), description.get("encoder", {}).get("license")
    provenance |= {
        "commit": f"{commit} with changes" if commit and tags.get("haltung.git.dirty") == "true" else commit,
        "licences": {**({"encoder": encoder} if encoder else {}), "data": licence or "unknown"},
    }
    result = export(model, folder, ReferenceSplit(corpus.name, "dev", dev), provenance, formats, callback)
    registered = ""
    if result.folder is not None:
        # The thresholds of dyads belong to a model that finds them wherever it goes.
        if (tuned := thresholds.path(trained.bundle)).is_file():
            shutil.copyfile(tuned, thresholds.path(result.folder))
        if register and trained.record is not None:
            version = log_exported(trained.record.connection, trained.record.id, result.folder, dev[:3])
            registered = f"{version.name} version {version.version}"
    return result, registered


def check_exportable(folder: Path) -> None:
    """Raise ``UserError`` if the folder holds no bundle, or an ensemble."""
    description = bundle.describe(folder)
    if description["kind"] == "ensemble":
        raise UserError(
            f"{folder} is an ensemble, and an exported bundle holds one model; export one of its members "
            f"({listed(description['members'])}), or use the ensemble where Haltung is installed: haltung predict, events, dyads and "
            "evaluate read its folder"
        )
