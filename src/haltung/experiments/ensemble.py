"""Trained runs as one model: weights for their answers are found on dev, and the ensemble is tracked as a run of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haltung.files import sha256
from haltung import tracking
from haltung.experiments import train as runs
from haltung.corpus.store import Prepared
from haltung.errors import UserError
from haltung.evaluation.metrics.results import EvaluationResult
from haltung.models import bundle
from haltung.models.ensemble import Member, pool
from haltung.tracking import Store

KIND = "ensemble"


@dataclass(frozen=True)
class Combined:
    """A tracked ensemble. ``weights`` has for each task a number for each of ``members``, which are names."""

    run: str
    where: str
    bundle: Path
    evaluation: EvaluationResult
    members: tuple[str, ...]
    weights: Mapping[str, Sequence[float]]


def combine(
    members: Sequence[tuple[str, Path]], corpus: Prepared, store: Store, name: str, folder: Path,
    config: Mapping[str, Any], command: Sequence[str], language: str = "en",
) -> Combined:  # fmt: skip
    """Make one model of several, calibrate it, score it on dev, and track it.

    Args:
        members: name and bundle of each; all were trained on this corpus as it is split now.
        corpus: on whose dev split the weights are found.
        store: where to.
        name: of the run.
        folder: that holds one folder for each training.
        config: as it is tracked.
        command: the words of the command line.
        language: of the report.

    Raises:
        UserError: a member is named twice, or was trained on another corpus, split or scheme, so that it may have seen dev.
    """
    manifest = corpus.manifest
    names = [member for member, _ in members]
    twice = [member for place, member in enumerate(names) if member in names[:place]]
    if twice:
        raise UserError(f"{twice[0]} is named twice; an ensemble is made of different models")
    digests = []
    for member, own in members:
        described = bundle.describe(own)
        trained = described.get("provenance", {}).get("corpus_digest")
        if trained != manifest.digest:
            found = f"on another one (digest {trained[:12]})" if trained else "on a corpus that its bundle does not name"
            raise UserError(
                f"{member} was not trained on {manifest.name} as it is split now (digest {manifest.digest[:12]}), but {found}, and may "
                "have learned what the weights are to be found on; take members that were trained on one corpus"
            )
        digests.append(sha256(own / bundle.DESCRIPTION))
    key = hashlib.sha256("/".join([name, *digests]).encode()).hexdigest()[:8]
    place = folder / f"{name}-{key}"
    # What can't be pooled is found before there is a run.
    model, said = pool([Member(member, bundle.load(own)) for member, own in members], corpus.segments("dev"), progress=True)
    tags = {**runs.tags_of(corpus, KIND, command), "haltung.members": ", ".join(names)}
    with tracking.run(store, name, tags=tags) as run:
        place.mkdir(parents=True, exist_ok=True)
        runs.write_state(place, {"run": run.id, "where": run.where, "finished": False})
        run.params(config)
        run.artifact(corpus.folder / "manifest.json", "corpus")
        source = {
            "run": run.id, "corpus": manifest.name, "corpus_digest": manifest.digest, "members": names,
            "command": tags["haltung.command"],
        }  # fmt: skip
        kept = runs.Keeping(corpus, place, name, tags["haltung.command"], language)
        written, figures = runs.keep(model, kept, run, source, corpus.segments("train")[:3], said=said)
        # By number, in the order of the tag: a member may be a folder, whose path is no name of a metric.
        run.metrics({"weight": {task: {str(number): own for number, own in enumerate(each)} for task, each in model.weights.items()}})
        runs.write_state(place, {"run": run.id, "where": run.where, "finished": True})
    return Combined(run.id, run.where, written, figures, tuple(names), model.weights)
