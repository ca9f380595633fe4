"""The values to try for each searched key: a list of values, or a range of numbers."""

import math
from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from typing import Any, Protocol

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from haltung.corpus.store import Prepared
from haltung.errors import UserError, listed, nearest
from haltung.experiments.train import Plan

Value = str | int | float | bool | None  # of a config key; None is YAML's null
_RANGE_KEYS = ("low", "high", "log", "step")
# What may be searched: the recipe, and what is read of a corpus; the rest is held constant.
GROUPS = ("training", "model", "encoder")
_WITHIN = (*(f"{group}." for group in GROUPS), "corpus.reads.", "corpus.pooling.", "corpus.max_length")
# A list of values is unordered; a range has integers if its bounds and step are integers.
Space = CategoricalDistribution | IntDistribution | FloatDistribution


def probes(space: Space) -> tuple[Value, ...]:
    """Return values to test a config with: a whole list, or a range's bounds and a fraction."""
    if isinstance(space, CategoricalDistribution):
        return space.choices
    inside = () if isinstance(space, IntDistribution) else (space.low + (space.high - space.low) / math.e,)
    return (space.low, space.high, *inside)


def holds(space: Space, value: object) -> bool:
    """Return whether a value is in the space; 1 and true differ, and a range's steps are kept."""
    if isinstance(space, CategoricalDistribution):
        return any(type(one) is type(value) and one == value for one in space.choices)
    if isinstance(value, bool) or not isinstance(value, int if isinstance(space, IntDistribution) else int | float):
        return False
    steps = (value - space.low) / space.step if space.step else 0.0
    return space.low <= value <= space.high and abs(steps - round(steps)) < 1e-8


def spaces_of(search: Mapping[str, Any]) -> dict[str, Space]:
    """Return the spaces of a ``search/NAME.yaml`` by key; ``UserError`` if one is malformed."""
    if not search:
        raise UserError("search is empty; choose one with search=NAME, or write your own search/NAME.yaml (--config-dir)")
    return {str(key): (_choice if isinstance(value, list) else _range)(f"search: {key}", value) for key, value in search.items()}


def _choice(key: str, values: list[Any]) -> Space:
    if not values:
        raise UserError(f"{key} is an empty list; expected the values to try, such as [8, 16, 32]")
    for value in values:
        if not isinstance(value, str | int | float | None):
            raise UserError(f"{key} has the value {value!r}; a list of values may contain only text, numbers, true, false and null")
    # 1 and True are equal in Python, but not in a config.
    if len({(type(value), value) for value in values}) < len(values):
        raise UserError(f"{key} is {values}: a value is given twice")
    return CategoricalDistribution(values)


def _range(key: str, value: Any) -> Space:
    if not isinstance(value, Mapping):
        raise UserError(f"{key} is {value!r}; expected a list of values such as [8, 16, 32], or a range such as {{low: 1, high: 4}}")
    for name in value:
        if name not in _RANGE_KEYS:
            raise UserError(f"{key} has the key '{name}'{nearest(str(name), _RANGE_KEYS)}; a range has {listed(_RANGE_KEYS)}")
    for name in ("low", "high"):
        if value.get(name) is None:
            raise UserError(f"{key} has no {name}; a range has low and high")
    log = value.get("log", False)
    if not isinstance(log, bool):
        raise UserError(f"{key} has log: {log!r}; expected true or false")
    numbers = {name: value[name] for name in ("low", "high", "step") if value.get(name) is not None}
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise UserError(f"{key} has {name}: {number!r}; expected a number")
    if not all(isinstance(number, int) for number in numbers.values()):
        numbers = {name: float(number) for name, number in numbers.items()}
    low, high, step = numbers["low"], numbers["high"], numbers.get("step")
    if low >= high:
        raise UserError(f"{key} goes from {low} to {high}; low must be below high")
    if log and (low <= 0 or step is not None):
        raise UserError(f"{key} is a logarithmic range, which must begin above 0 and can't have a step")
    if step is not None and not 0 < step <= high - low:
        raise UserError(f"{key} has step: {step}; expected a number above 0 and at most {high - low}")
    if isinstance(low, int):
        return IntDistribution(low, high, log, step or 1)
    return FloatDistribution(low, high, log, step)


class PlanFactory(Protocol):
    """The searched config, which creates trainings from values."""

    @property
    def corpus(self) -> Prepared:
        """The corpus of all trainings."""

    def settings(self, values: Mapping[str, Value]) -> Mapping[str, Any]:
        """Return the config with these values, as plain data."""

    def plan(self, values: Mapping[str, Value], name: str, seed: int, resume: bool = False) -> Plan:
        """Return the training with these values; ``UserError`` if the config refuses them."""


def check_spaces(spaces: Mapping[str, Space], factory: PlanFactory, keys: Sequence[str], given: Collection[str]) -> None:
    """Check that the config can be searched over these spaces.

    The factory is tried with the ``probes`` of each space. ``keys`` are all keys of the config,
    ``given`` those set by the user. Raises ``UserError`` if a key is unknown, can't be searched, or
    is given, or if the config does not accept a value.
    """
    searchable = [key for key in keys if (key in GROUPS or key.startswith(_WITHIN)) and not key.endswith("_target_")]
    for key, space in spaces.items():
        if key not in keys:
            raise UserError(f"search: there is no key '{key}'{nearest(key, searchable)}; haltung sweep --cfg shows them all")
        if key not in searchable:
            raise UserError(
                f"search: '{key}' can't be searched, since trials must be compared on the same data with the same tracking; "
                "keys of training, model and encoder can be, as can corpus.reads, corpus.pooling, corpus.max_length"
            )
        if key in GROUPS and not isinstance(space, CategoricalDistribution):
            raise UserError(f"search: '{key}' is a group; expected a list of its choices")
        if key in given:
            raise UserError(f"{key} is both given and searched; leave out {key}=…, or remove it from the search")
        for value in probes(space):
            try:
                factory.plan({key: value}, "probe", 0)
            except UserError as error:
                raise UserError(f"search: {key}={value} is not accepted: {error}") from None


def start_values(spaces: Mapping[str, Space], factory: PlanFactory) -> dict[str, Value]:
    """Return the recipe's own values that are in the spaces, with which the first trial runs."""
    settings = factory.settings({})
    start: dict[str, Value] = {}
    for key, space in spaces.items():
        if isinstance(space, CategoricalDistribution) and key in GROUPS:
            # The config does not name the group's choice; it is the one that changes nothing.
            if same := [name for name in space.choices if factory.settings({key: name}) == settings]:
                start[key] = same[0]
            continue
        value: Any = reduce(lambda node, name: node[name], key.split("."), settings)
        if holds(space, value):
            start[key] = value
    return start
