"""Trained runs as one model, with weights fitted on dev, tracked as a run of its own."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from haltung import tracking
from haltung.corpus.store import Prepared
from haltung.errors import UserError
from haltung.experiments.evaluate import TrainedModel, models_of
from haltung.experiments.train import TrainingOutcome, save, tags_of, tracked
from haltung.files import sha256
from haltung.models import bundle
from haltung.models.ensemble import Member, pool
from haltung.tracking import Store


def members_of(store: Store, names: Sequence[str]) -> list[TrainedModel]:
    """Return the models with these names: bundle folders or runs (see ``models_of``)."""
    members: list[TrainedModel] = []
    for name in names:
        is_bundle = (Path(name) / bundle.DESCRIPTION).is_file()
        members += [TrainedModel(name, Path(name))] if is_bundle else models_of(tracking.find(store, name))
    return members


def combine(
    members: Sequence[TrainedModel], corpus: Prepared, store: Store, name: str, folder: Path, config: Mapping[str, Any],
    command: Sequence[str], language: str = "en",
) -> tuple[TrainingOutcome, Mapping[str, Sequence[float]]]:  # fmt: skip
    """Make one model of several, calibrate it, evaluate it on dev, track it; return weights too.

    All members were trained on this corpus, as it is split now; the weights are fitted on its dev
    split. ``folder`` is the parent of all run directories. Raises ``UserError`` if a member is
    named twice, or was trained on another corpus, split or scheme, so that it may have seen dev.
    """
    manifest = corpus.manifest
    names = [member.name for member in members]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{twice[0]} is named twice; an ensemble is made of different models")
    digests = []
    for member in members:
        trained = bundle.describe(member.bundle).get("provenance", {}).get("corpus_digest")
        if trained != manifest.digest:
            found = f"on another one (digest {trained[:12]})" if trained else "on a corpus that its bundle does not name"
            raise UserError(
                f"{member.name} was not trained on {manifest.name} as it is split now (digest {manifest.digest[:12]}), but {found}, "
                "and may have learned what the weights are to be fitted on; take members that were trained on one corpus"
            )
        digests.append(sha256(member.bundle / bundle.DESCRIPTION))
    directory = folder / f"{name}-{hashlib.sha256('/'.join([name, *digests]).encode()).hexdigest()[:8]}"
    train_split, dev_split = corpus.segments("train"), corpus.segments("dev")
    # What can't be pooled fails before there is a run.
    model, predictions = pool([Member(member.name, bundle.load_trained(member.bundle)) for member in members], dev_split, progress=True)
    tags = {**tags_of(corpus, "ensemble", command), "haltung.members": ", ".join(names)}
    with tracked(directory, name, store, tags, config) as run:
        run.artifact(corpus.folder / "manifest.json", "corpus")
        outcome = save(
            model, run, corpus, train_split, dev_split, directory, title=name, command=tags["haltung.command"],
            provenance={"members": names}, language=language, predictions=predictions,
        )  # fmt: skip
        # By number, as in the tag: a member may be a folder, whose path is no name of a metric.
        run.metrics({"weight": {task: {str(number): weight for number, weight in enumerate(row)} for task, row in model.weights.items()}})
    return outcome, model.weights
