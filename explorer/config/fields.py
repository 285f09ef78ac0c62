"""Kinds of setting: what a value may be, how text becomes one, and the nearest sound value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class FieldError(ValueError):
    """A setting outside its limits.

    Attributes:
        field: its name.
        allowed: what is allowed, in words.
        received: what came.
        nearest: the nearest sound value, or `None` where there is none.
    """

    def __init__(self, field: str, allowed: str, received: Any, nearest: Any = None):
        self.field, self.allowed, self.received, self.nearest = field, allowed, received, nearest
        super().__init__(f"{field}: expected {allowed}, received {_shown(received)}.")


def _shown(received: Any) -> str:
    try:
        text = str(received)
    except ValueError:  # Python refuses to write out a whole number of more than 4,300 digits
        return "a number of thousands of digits"
    return repr(text if len(text) <= 60 else text[:57] + "…")


def plain(number: float | int) -> str:
    """A number as a person writes it: `20,000`, `0.001`, `1e-06`."""
    if isinstance(number, int) or float(number).is_integer():
        return f"{int(number):,}"
    return f"{number:g}"


def _exact(number: float | int) -> str:
    # Python's shortest text that gives the very same number back, without the `.0` of a whole one.
    return repr(number).removesuffix(".0")


@dataclass(frozen=True)
class Number:
    """A number between two limits.

    Attributes:
        low, high: the limits, both allowed.
        whole: whether only whole numbers are allowed.
        zero: whether 0 is allowed besides (a strength that is off).
        empty: the word that stands for `None` (`all`, `off`, `default`); empty where `None` is not allowed.
    """

    low: float
    high: float
    whole: bool = False
    zero: bool = False
    empty: str = ""

    @property
    def allowed(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        words = [self.empty] if self.empty else []
        if self.zero:
            words.append("0")
        words.append(f"{kind} from {plain(self.low)} to {plain(self.high)}")
        return " or ".join(words)

    def check(self, name: str, value: Any) -> float | int | None:
        """The value in its one form (`1` and `1.0` are the same), from a number or its text.

        Raises:
            FieldError: the value is no such number; `nearest` holds the closest limit.
        """
        if self.empty and (value is None or value == self.empty):
            return None
        try:
            if isinstance(value, (bool, bytes)) or value is None:
                raise TypeError
            # Adding 0 makes one zero of two: -0.0 is 0.0.
            number = float(value) + 0.0
        except OverflowError:  # a whole number beyond every float
            number = math.inf if value > 0 else -math.inf
        except (TypeError, ValueError):
            raise FieldError(name, self.allowed, value) from None
        if math.isnan(number):
            raise FieldError(name, self.allowed, value)
        if self.zero and number == 0:
            return 0 if self.whole else 0.0
        inside = min(max(number, self.low), self.high)
        if self.whole:
            inside = int(inside) if math.isinf(number) else round(inside)
        if inside != number:
            # Below the smallest strength, off may be closer than the smallest.
            if self.zero and number < self.low / 2:
                inside = 0
            raise FieldError(name, self.allowed, value, int(inside) if self.whole else float(inside))
        return int(inside) if self.whole else float(inside)

    def text(self, value: float | int | None) -> str:
        return self.empty if value is None else _exact(value)


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    options: Sequence[str]

    @property
    def allowed(self) -> str:
        return "one of " + ", ".join(self.options)

    def check(self, name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in self.options:
            near = value.strip().lower() if isinstance(value, str) else None
            raise FieldError(name, self.allowed, value, near if near in self.options else None)
        return value

    def text(self, value: str) -> str:
        return value


@dataclass(frozen=True)
class Flag:
    """Yes or no."""

    allowed = "true or false"

    def check(self, name: str, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        known = {"true": True, "1": True, "yes": True, "on": True,
                 "false": False, "0": False, "no": False, "off": False}
        found = known.get(str(value).strip().lower())
        if found is None:
            raise FieldError(name, self.allowed, value)
        return found

    def text(self, value: bool) -> str:
        return "true" if value else "false"


@dataclass(frozen=True)
class Layers:
    """Units of each hidden layer, written `16-16`."""

    most: int = 8
    units: int = 4_096

    @property
    def allowed(self) -> str:
        return f"1 to {self.most} layers of 1 to {plain(self.units)} units, written like 16-16"

    def check(self, name: str, value: Any) -> tuple[int, ...]:
        if isinstance(value, str):
            parts: list[Any] = value.replace(",", "-").replace(" ", "").split("-")
        elif isinstance(value, (list, tuple)):
            parts = list(value)
        else:
            raise FieldError(name, self.allowed, value)
        kind = Number(1, self.units, whole=True)
        sound: list[int] = []
        clean = 1 <= len(parts) <= self.most
        for part in parts[: self.most]:
            try:
                sound.append(int(kind.check(name, part)))
            except FieldError as error:
                clean = False
                if error.nearest is None:
                    raise FieldError(name, self.allowed, value) from None
                sound.append(int(error.nearest))
        if not clean:
            raise FieldError(name, self.allowed, value, tuple(sound) or None)
        return tuple(sound)

    def text(self, value: Sequence[int]) -> str:
        return "-".join(str(units) for units in value)


@dataclass(frozen=True)
class Share:
    """A share of the training data that is held out, or the test set."""

    low: float = 0.02
    high: float = 0.5

    @property
    def allowed(self) -> str:
        return f"test or a share from {plain(self.low)} to {plain(self.high)}"

    def check(self, name: str, value: Any) -> float | str:
        if value == "test":
            return "test"
        try:
            return Number(self.low, self.high).check(name, value)
        except FieldError as error:
            raise FieldError(name, self.allowed, value, error.nearest) from None

    def text(self, value: float | str) -> str:
        return value if isinstance(value, str) else _exact(value)
