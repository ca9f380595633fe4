"""Hyperparameter search: spaces, trials that can be killed and resumed, and the best recipe."""

from haltung.experiments.sweep.results import SweepResult, brief, table, verdict
from haltung.experiments.sweep.search import PlanFactory, Sweep, search
from haltung.experiments.sweep.spaces import ChoiceSpace, RangeSpace, Space, Value, check_spaces, spaces_of, start_values
from haltung.experiments.sweep.trials import Trial, Trials

__all__ = [
    "ChoiceSpace",
    "PlanFactory",
    "RangeSpace",
    "Space",
    "Sweep",
    "SweepResult",
    "Trial",
    "Trials",
    "Value",
    "brief",
    "check_spaces",
    "search",
    "spaces_of",
    "start_values",
    "table",
    "verdict",
]
