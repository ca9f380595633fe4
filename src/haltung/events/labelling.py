"""Topics and stances from either kind of bundle: the one that training writes, or the exported one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from haltung.errors import UserError, listed
from haltung.events import plover as crosswalk
from haltung.events.dyads import thresholds as choices
from haltung.events.dyads.model import Trained
from haltung.events.pipeline import Classify
from haltung.labels import Scheme
from haltung.models import bundle


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
    from haltung.events.dyads.dataset import SIDES
    from haltung.events.dyads.features import ITSELF, NONE, ROLES, STATE

    labeller = _labeller(folder)
    known = (NONE, ITSELF, STATE, *ROLES)
    if not set(SIDES) <= set(labeller.scheme.names):
        raise UserError(
            f"{folder} has the tasks {listed(labeller.scheme.names)}, so it is no model of dyads; name one with {listed(SIDES)}, "
            "as haltung train corpus=dyads writes it"
        )
    strange = [label for side in SIDES for label in labeller.scheme[side].ids if label not in known]
    if strange or any(NONE not in labeller.scheme[side].ids for side in SIDES):
        raise UserError(
            f"{folder} has other roles than a model of dyads ({listed(strange) or f'{NONE} is missing'}); known are {listed(known)}"
        )
    return Trained(labeller.classify, choices.read(folder))


def _labeller(folder: Path) -> Labeller:
    model = bundle.load(folder)
    return Labeller(model.scheme, model.predict)
