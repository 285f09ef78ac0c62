"""Address bar: a request as query parameters and back, with a message for every unsound value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from explorer.config.fields import FieldError
from explorer.config.limits import nearest
from explorer.config.run_config import DEMAND_KINDS, KINDS, Demand, RunConfig
from explorer.config.settings import Settings

# Longer values are no settings; they are cut before anything looks at them.
MAX_VALUE = 200


@dataclass(frozen=True)
class Parsed:
    """A sound request, whatever was asked for, and an error for each value that was not sound."""

    config: RunConfig
    demand: Demand
    errors: list[FieldError]
    asked: frozenset[str] = frozenset()

    @property
    def messages(self) -> list[str]:
        """One sentence for each value that was not sound: what was expected, what came, what is used."""
        return [explain(error) for error in self.errors]

    def within(self, settings: Settings) -> Parsed:
        """The nearest request that an installation allows; what was not asked for is fitted in silently."""
        config, demand, problems = nearest(self.config, self.demand, settings)
        errors = {error.field: error for error in self.errors}
        for problem in problems:
            if problem.field in self.asked:
                # One value gets one message, with what came at first and what is used in the end.
                came = errors[problem.field].received if problem.field in errors else problem.received
                errors[problem.field] = FieldError(problem.field, problem.allowed, came, problem.nearest)
        return Parsed(config, demand, list(errors.values()), self.asked)


def parse(params: Mapping[str, Any], default: RunConfig | None = None) -> Parsed:
    """Read query parameters or options.

    Args:
        params: names and texts; names that are no settings are ignored.
        default: what holds where nothing is given.

    Returns:
        `Parsed`: never raises, the nearest sound value stands for each that is not sound.
    """
    default = default or RunConfig()
    errors: dict[str, FieldError] = {}
    values = {name: _sound(name, kind, params[name], errors) for name, kind in KINDS.items() if name in params}
    wanted = {name: _sound(name, kind, params[name], errors) for name, kind in DEMAND_KINDS.items() if name in params}
    values = {name: value for name, value in values.items() if value is not _UNSOUND}
    wanted = {name: value for name, value in wanted.items() if value is not _UNSOUND}
    while True:
        try:
            config = default.with_(**values)
            break
        except FieldError as error:  # limits that hang on another field, such as the rows of a data set
            came = errors[error.field].received if error.field in errors else error.received
            errors[error.field] = FieldError(error.field, error.allowed, came, error.nearest)
            values[error.field] = error.nearest
    return Parsed(config, Demand(**wanted), list(errors.values()), frozenset(values) | frozenset(wanted))


def query(config: RunConfig, demand: Demand) -> dict[str, str]:
    """The query parameters that reopen a request; values at their default are left out.

    The data set is always named: which one a page opens with depends on the machine.
    """
    found = {"dataset": config.dataset}
    reference = RunConfig(dataset=config.dataset, optimizer=config.optimizer)
    for field in fields(RunConfig):
        value = getattr(config, field.name)
        if value != (RunConfig.optimizer if field.name == "optimizer" else getattr(reference, field.name)):
            found[field.name] = KINDS[field.name].text(value)
    for field in fields(Demand):
        value = getattr(demand, field.name)
        if value != field.default:
            found[field.name] = DEMAND_KINDS[field.name].text(value)
    return found


_UNSOUND = object()


def _sound(name: str, kind: Any, value: Any, errors: dict[str, FieldError]) -> Any:
    if isinstance(value, (list, tuple)):
        value = value[-1] if value else ""
    value = str(value)[:MAX_VALUE]
    try:
        return kind.check(name, value)
    except FieldError as error:
        errors[name] = error
        return _UNSOUND if error.nearest is None else error.nearest


def explain(error: FieldError) -> str:
    """What was not sound, and what is used instead."""
    if error.nearest is None:
        return f"{error} The default is used instead."
    shown = "-".join(map(str, error.nearest)) if isinstance(error.nearest, tuple) else error.nearest
    return f"{error} {shown} is used instead."
