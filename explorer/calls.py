"""Calls into a traced graph: how a run's data are stored for them, and how many steps and rows one of them takes."""

from __future__ import annotations

from collections.abc import Hashable

from explorer.config import RunConfig
from explorer.layout import BITS, BYTES, MATRICES, WORDS_A_ROW

# With so few words nearly every second number is 1, and the dense product is the faster one.
DENSE_INPUTS = 300
# Rows at a time where nothing is learnt from them, and the most numbers that a layer may make of them.
MEASURED_ROWS, MEASURED_NUMBERS = 5_000, 2**20
# Multiplications that one call into the graph may take: a Stop then waits for a tenth of a second or so.
CALL_WORK = 4e9
# Passes over the weights that one update amounts to.
UPDATE_PASSES = 8


def shape(config: RunConfig, rows: int, device: str) -> Hashable:
    """What a traced graph has built in: runs that agree in it can use the same `Course` one after another."""
    return (config.inputs, config.outputs, config.info.is_words, config.hidden, config.activation, config.batch_norm,
            config.initializer, bool(config.l1), bool(config.l2), config.regularize_output, config.dropout,
            config.optimizer, config.weight_decay, config.batch_size, device,
            steps_per_call(config, kind(config, device), -(-rows // config.batch_size)))


def measured_rows(config: RunConfig, members: int = 1) -> int:
    """Rows at a time where nothing is learnt from them: fewer where layers are wide, for what they make of the rows.

    Args:
        members: how many networks like this stand side by side.
    """
    return min(MEASURED_ROWS, max(config.batch_size, MEASURED_NUMBERS // (members * max(config.hidden))))


def kind(config: RunConfig, device: str) -> str:
    """How the inputs of a run are stored, see `explorer.layout.Form`.

    With few words nearly every second number is 1, and the dense product is the faster one. On a graphics card it
    costs next to nothing, while TensorFlow's sparse products there are not deterministic.
    """
    if not config.info.is_words or config.inputs <= DENSE_INPUTS:
        return BYTES
    return MATRICES if device == "cpu" else BITS


def steps_per_call(config: RunConfig, kind: str, steps: int) -> int:
    """How many steps one call into the graph takes: all of an epoch for small networks, few for large ones."""
    first = config.inputs * config.hidden[0]
    worked = WORDS_A_ROW * config.hidden[0] if kind == MATRICES else first
    # Forward, and twice backward.
    step = 3 * config.batch_size * (config.parameters - first + worked) + UPDATE_PASSES * config.parameters
    calls = -(-steps * step // int(CALL_WORK))
    return -(-steps // max(1, min(steps, calls)))
