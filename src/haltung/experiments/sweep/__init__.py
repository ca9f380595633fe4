"""Hyperparameter search: spaces, trials that can be killed and resumed, and the best recipe trained on several seeds."""

from haltung.experiments.sweep.search import Found, Recipe, Sweep, search
from haltung.experiments.sweep.spaces import Choice, Range, Space, Value, spaces_of
from haltung.experiments.sweep.trials import Trial

__all__ = ["Choice", "Found", "Range", "Recipe", "Space", "Sweep", "Trial", "Value", "search", "spaces_of"]
