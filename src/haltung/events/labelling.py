"""Topics and stances from either kind of bundle: the one that training writes, or the exported one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from haltung import labels
from haltung.errors import UserError, listed
from haltung.events import crosswalk
from haltung.events.article import Classify
from haltung.events.dyads import Choice, Trained
from haltung.labels import Scheme
from haltung.model import bundle
from haltung.records import Prediction, Segment


@dataclass(frozen=True)
class Labeller:
    """A function that labels segments, and the scheme of its labels."""

    scheme: Scheme
    classify: Classify


def load(folder: Path) -> Labeller:
    """Load a bundle.

    Raises:
        UserError: it is no bundle or is broken, has no stance, or has a stance that the PLOVER crosswalk does not know.
    """
    labeller = _labeller(folder)
    scheme = labeller.scheme
    if "stance" not in scheme.names:
        raise UserError(
            f"{folder} has the tasks {listed(scheme.names)}; events are made of stances, so name a bundle with the task 'stance'"
        )
    known = crosswalk.load().rules
    strange = [label for label in scheme["stance"].ids if label not in known]
    if strange:
        raise UserError(f"{folder} has the stances {listed(strange)}, which are no events of PLOVER; the crosswalk has {listed(known)}")
    return labeller


def dyads(folder: Path) -> Trained:
    """Load a model of dyads, as it is trained on the corpus view ``dyads``, with the choice that ``haltung dyads tune=true`` has kept.

    Raises:
        UserError: it is no bundle or is broken, or it does not tell who takes a stance towards whom.
    """
    from haltung.events.candidates import ITSELF, NONE, ROLES, STATE
    from haltung.events.view import SIDES

    labeller = _labeller(folder)
    known = (NONE, ITSELF, STATE, *ROLES)
    if not set(SIDES) <= set(labeller.scheme.names):
        raise UserError(
            f"{folder} has the tasks {listed(labeller.scheme.names)}, so it is no model of dyads; name one with {listed(SIDES)}, "
            "as haltung train corpus=dyads writes it"
        )
    strange = [label for side in SIDES for label in labeller.scheme[side].ids if label not in known]
    if strange or any(NONE not in labeller.scheme[side].ids for side in SIDES):
        raise UserError(f"{folder} has other roles than a model of dyads ({listed(strange) or 'no none'}); known are {listed(known)}")
    return Trained(labeller.classify, _choice(choice_file(folder)))


def choice_file(folder: Path) -> Path:
    """Return where a dyad model's choice is kept."""
    return folder / "dyads.json"


def keep(folder: Path, choice: Choice, told: Mapping[str, Any]) -> None:
    """Write a choice into the folder of the dyad model that it was found for, with what it was found on.

    Raises:
        UserError: the folder can't be written.
    """
    path = choice_file(folder)
    scratch = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        scratch.write_text(json.dumps({"choice": asdict(choice), **told}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}; copy the model to a folder that you may write to") from None
    finally:
        scratch.unlink(missing_ok=True)


def _choice(path: Path) -> Choice:
    """Read what ``keep`` has written; the defaults where nothing is kept."""
    try:
        return Choice(**json.loads(path.read_text(encoding="utf-8"))["choice"])
    except FileNotFoundError:
        return Choice()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} holds no choice of dyads; write it again with haltung dyads tune=true split=dev, or remove it") from None


def _labeller(folder: Path) -> Labeller:
    description = bundle.describe(folder)
    scheme = labels.parse(description.get("scheme"), source=str(folder / bundle.DESCRIPTION))
    return Labeller(scheme, _exported(folder) if "input" in description else bundle.load(folder).predict)


def _exported(folder: Path) -> Classify:
    from haltung.client import BundleError, Classifier

    try:
        classifier = Classifier(folder)
    except BundleError as error:
        raise UserError(str(error)) from None

    def classify(segments: Sequence[Segment]) -> list[Prediction]:
        rows = classifier.classify([{"text": one.text, "context": one.context, "target": one.target} for one in segments])
        return [
            Prediction(segment.id, {task: row[task] for task in row["probabilities"]}, row["probabilities"])
            for segment, row in zip(segments, rows, strict=True)
        ]

    return classify
