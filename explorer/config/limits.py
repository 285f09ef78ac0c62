"""What one installation allows: the engine's gate, and the nearest settings that pass it."""

from __future__ import annotations

from dataclasses import replace

from explorer.config.fields import FieldError, plain
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings


def problems(config: RunConfig, demand: Demand, settings: Settings) -> list[FieldError]:
    """Every limit that a request exceeds, each with the nearest value that passes.

    Returns:
        An empty list where the request may be trained here.
    """
    found = []
    for field, value, most in (
        ("num_words", config.num_words or 0, settings.max_words),
        ("train_samples", config.rows, settings.max_samples),
        ("epochs", demand.epochs, settings.max_epochs),
    ):
        if value > most:
            found.append(FieldError(field, f"at most {plain(most)} here", plain(value), most))
    if config.parameters > settings.max_parameters:
        found.append(FieldError(
            "hidden", f"a network of at most {plain(settings.max_parameters)} parameters here",
            f"{'-'.join(map(str, config.hidden))} with {plain(config.parameters)} parameters",
            _narrower(config, settings.max_parameters),
        ))
    return found


def require(config: RunConfig, demand: Demand, settings: Settings) -> None:
    """The gate in the engine.

    Raises:
        FieldError: the first limit that the request exceeds.
    """
    for problem in problems(config, demand, settings):
        raise problem


def nearest(config: RunConfig, demand: Demand, settings: Settings) -> tuple[RunConfig, Demand, list[FieldError]]:
    """The closest request that may be trained here, and what had to be changed."""
    found = problems(config, demand, settings)
    for problem in found:
        if problem.field == "epochs":
            demand = replace(demand, epochs=problem.nearest)
        elif problem.field != "hidden":
            config = config.with_(**{problem.field: problem.nearest})
    if config.parameters > settings.max_parameters:
        config = config.with_(hidden=_narrower(config, settings.max_parameters))
    return config, demand, found


def _narrower(config: RunConfig, most: int) -> tuple[int, ...]:
    """The same number of layers, each narrower by the same factor, so that the network fits."""
    hidden = config.hidden
    while config.with_(hidden=hidden).parameters > most and max(hidden) > 1:
        hidden = tuple(max(1, units * 9 // 10) for units in hidden)
    return hidden
