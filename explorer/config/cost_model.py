"""How much work a step is, and what follows: how data are stored, how many steps a call takes, what suits a GPU."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from explorer.config.run_config import RunConfig

# How reviews and pixels are stored, see `explorer.training.batching.BatchFormat`.
MATRICES, BITS, BYTES = "matrices", "bits", "bytes"
# Distinct words of a review, about.
WORDS_A_ROW = 140
# With so few words nearly every second number is 1, and the dense product is the faster one.
DENSE_INPUTS = 300
# Rows at a time where nothing is learnt from them, and the most numbers that a layer may make of them.
MEASURED_ROWS, MEASURED_NUMBERS = 5_000, 2**20
# Multiplications that one call into the graph may take: a Stop then waits for a tenth of a second or so.
CALL_WORK = 4e9
# Passes over the weights that one update amounts to.
UPDATE_PASSES = 8
# On a graphics card a step takes 2 ms however small it is, for its operations are started one by one; in that time a
# processor's core makes CORE_WORK multiplications. What a card multiplies besides costs it 1/CARD_SPEED.
CARD_STEP, CARD_SPEED, CORE_WORK = 8e7, 50, 3e7


# What a traced graph has not built in; everything else that a config holds is part of what makes it another graph.
NOT_IN_A_GRAPH = (
    # The data are fed to it. What it has built in of them is named by `shape`: how long an input is, how many classes
    # there are, whether they are words, and how many steps a call takes.
    "dataset", "num_words", "train_samples", "validation", "label_noise",
    # First weights, masks and the order of the rows are drawn anew by `restart`.
    "seed",
    # Strengths and rate are variables, which `restart` sets. Whether there is a penalty at all is named by `shape`.
    "l1", "l2", "learning_rate")


def shape(config: RunConfig, rows: int, device: str) -> Hashable:
    """What a traced graph has built in: runs that agree in it can use the same `TrainingSession` one after another."""
    return (config.key(without=NOT_IN_A_GRAPH), config.inputs, config.outputs, config.info.is_words,
            bool(config.l1), bool(config.l2), device, steps_per_call(config, device, -(-rows // config.batch_size)))


def measured_rows(config: RunConfig, members: int = 1) -> int:
    """Rows at a time where nothing is learnt from them: fewer where layers are wide, for what they make of the rows.

    Args:
        members: how many networks like this stand side by side.
    """
    return min(MEASURED_ROWS, max(config.batch_size, MEASURED_NUMBERS // (members * max(config.hidden))))


def kind(config: RunConfig, device: str) -> str:
    """How the inputs of a run are stored, see `explorer.training.batching.BatchFormat`.

    With few words nearly every second number is 1, and the dense product is the faster one. On a graphics card it
    costs next to nothing, while TensorFlow's sparse products there are not deterministic.
    """
    if not config.info.is_words or config.inputs <= DENSE_INPUTS:
        return BYTES
    return MATRICES if device == "cpu" else BITS


def multiplications(config: RunConfig, device: str) -> int:
    """Multiplications of one step, about: forward, twice backward, and the update."""
    first = config.inputs * config.hidden[0]
    worked = WORDS_A_ROW * config.hidden[0] if kind(config, device) == MATRICES else first
    return 3 * config.batch_size * (config.parameters - first + worked) + UPDATE_PASSES * config.parameters


def steps_per_call(config: RunConfig, device: str, steps: int) -> int:
    """How many steps one call into the graph takes: all of an epoch for small networks, few for large ones."""
    step = multiplications(config, device)
    if device != "cpu":
        step = int(CARD_STEP + step / CARD_SPEED)
    calls = -(-steps * step // int(CALL_WORK))
    return -(-steps // max(1, min(steps, calls)))


def suits_card(together: Sequence[RunConfig], cores: int) -> bool:
    """Whether a graphics card trains these as fast as a processor of so many cores, or faster.

    Small networks do not: one step of 16-16 on 10,000 words takes 1 ms on sixteen cores and 1.5 ms on an H200, one of
    1024-1024 13 ms there and 3.5 ms on the card (`python -m tests.benchmarks.cards`).

    Args:
        together: one config, or those of a stack.
    """
    return sum(multiplications(config, "cpu") for config in together) >= CORE_WORK * cores
