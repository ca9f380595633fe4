"""What may be tried for a key: a list of values, or a range of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from haltung.errors import UserError, listed, nearest

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

# A value of a config key; None is YAML's null.
Value = str | int | float | bool | None

_RANGE = ("low", "high", "log", "step")


@dataclass(frozen=True)
class Choice:
    """One of several values, without an order."""

    values: tuple[Value, ...]

    @property
    def probes(self) -> tuple[Value, ...]:
        """The values with which a config shows whether it takes them."""
        return self.values

    def holds(self, value: object) -> bool:
        """Return whether it is one of the values; 1 and true are two."""
        return any(type(one) is type(value) and one == value for one in self.values)

    def at(self, part: float) -> Value:
        """Return the value at a part of the way, in [0, 1), each value having an equal stretch of it."""
        return self.values[int(part * len(self.values))]

    def distribution(self) -> BaseDistribution:
        """Return the space as Optuna knows it."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)


@dataclass(frozen=True)
class Range:
    """The numbers from ``low`` to ``high``, both of them whole or neither; ``log`` draws evenly over orders of magnitude."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @property
    def probes(self) -> tuple[Value, ...]:
        """The two ends, and for a range of broken numbers one within, which a key that wants whole ones refuses."""
        if isinstance(self.low, int):
            return (self.low, self.high)
        return (self.low, self.high, self.low + (self.high - self.low) / math.e)

    def holds(self, value: object) -> bool:
        """Return whether it is a number that can be drawn."""
        if isinstance(value, bool) or not isinstance(value, int if isinstance(self.low, int) else int | float):
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return self.low <= value <= self.high and abs(steps - round(steps)) < 1e-8

    def at(self, part: float) -> int | float:
        """Return the number at a part of the way, in [0, 1); numbers in steps have an equal stretch of it each."""
        whole = isinstance(self.low, int)
        if self.log:
            # Whole numbers have half a step on either side, as in Optuna.
            low, high = (self.low - 0.5, self.high + 0.5) if whole else (self.low, self.high)
            found = math.exp(math.log(low) + part * math.log(high / low))
            return min(max(round(found) if whole else found, self.low), self.high)
        step = self.step or (1 if whole else None)
        if step is None:
            return self.low + part * (self.high - self.low)
        # 0.3 / 0.1 is a hair below 3, and 0.1 times 3 a hair above 0.3.
        steps = math.floor((self.high - self.low) / step + 1e-8)
        return min(self.low + step * int(part * (steps + 1)), self.high)

    def distribution(self) -> BaseDistribution:
        """Return the space as Optuna knows it."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if isinstance(self.low, int):
            return IntDistribution(self.low, int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)


Space = Choice | Range


def spaces_of(search: Mapping[str, Any]) -> dict[str, Space]:
    """Return the spaces of a ``search/NAME.yaml``, by key.

    Raises:
        UserError: it is empty, or a space is of a wrong form.
    """
    if not search:
        raise UserError("search is empty; choose one with search=NAME, or write your own search/NAME.yaml (--config-dir)")
    return {str(key): _space(f"search: {key}", value) for key, value in search.items()}


def _space(where: str, value: Any) -> Space:
    if isinstance(value, list):
        return _choice(where, value)
    if isinstance(value, Mapping):
        return _range(where, value)
    raise UserError(f"{where} is {value!r}; expected a list of values such as [8, 16, 32], or a range such as {{low: 1, high: 4}}")


def _choice(where: str, values: list[Any]) -> Choice:
    if not values:
        raise UserError(f"{where} is an empty list; expected the values to try, such as [8, 16, 32]")
    for value in values:
        if not isinstance(value, str | int | float | None):
            raise UserError(f"{where} has the value {value!r}; a list of values holds text, numbers, true, false and null alone")
    # 1 and True are equal to Python, and different to a config.
    if len({(type(value), value) for value in values}) < len(values):
        raise UserError(f"{where} is {values}: a value stands twice")
    return Choice(tuple(values))


def _range(where: str, value: Mapping[str, Any]) -> Range:
    for name in value:
        if name not in _RANGE:
            raise UserError(f"{where} has the key '{name}'{nearest(str(name), _RANGE)}; a range has {listed(_RANGE)}")
    for name in ("low", "high"):
        if name not in value:
            raise UserError(f"{where} has no {name}; a range has low and high")
    log = value.get("log", False)
    if not isinstance(log, bool):
        raise UserError(f"{where} has log: {log!r}; expected true or false")
    numbers = {name: value[name] for name in ("low", "high", "step") if value.get(name) is not None}
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise UserError(f"{where} has {name}: {number!r}; expected a number")
    if not all(isinstance(number, int) for number in numbers.values()):
        numbers = {name: float(number) for name, number in numbers.items()}
    low, high, step = numbers["low"], numbers["high"], numbers.get("step")
    if low >= high:
        raise UserError(f"{where} goes from {low} to {high}; low has to be below high")
    if log and (low <= 0 or step is not None):
        raise UserError(f"{where} is a logarithmic range, which has to begin above 0 and has no step")
    if step is not None and not 0 < step <= high - low:
        raise UserError(f"{where} has step: {step}; expected a number above 0 and at most {high - low}")
    return Range(low, high, log, step)
