"""Which runs can be trained together as one stack (`training.stacked`)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from explorer.config import cost_model
from explorer.config.run_config import ALWAYS_IDENTIFYING, RunConfig

# Wider networks keep the cores busy by themselves.
MAX_UNITS = 64
# Beyond this the matrices of a step no longer fit into the caches.
MAX_MEMBERS = 16
# The settings that `training.stacked` carries out. A run that sets another, one that was added after them, is trained
# alone, by the very calls of Keras: in a stack it would be trained as if it were not set.
UNDERSTOOD = ALWAYS_IDENTIFYING
# What is each member's own: its penalties and its dropout.
OWN = {"l1": 0.0, "l2": 0.0, "regularize_output": False, "dropout": 0.0}


def key(config: RunConfig) -> Hashable | None:
    """What the members of one stack have in common; `None` for a run that is better trained alone."""
    if max(config.hidden) > MAX_UNITS or not UNDERSTOOD.issuperset(config.identifying()):
        return None
    return config.with_(**OWN)  # the seed stays: one draws one order of the rows


def shape(members: Sequence[RunConfig], rows: int, device: str) -> Hashable:
    """What a traced graph has built in: members that agree in it can share a `StackedSession`.

    Args:
        members: configs that agree in `key`.
    """
    return (cost_model.shape(members[0].with_(**OWN), rows, device), tuple(config.dropout for config in members),
            *(any(getattr(config, name) for config in members) for name in ("l1", "l2")))


def graph(configs: Sequence[RunConfig], device: str) -> Hashable:
    """What the graph has built in that runs of one job are trained with, be it one run or a stack."""
    first, *others = configs
    return shape(configs, first.rows, device) if others else cost_model.shape(first, first.rows, device)
