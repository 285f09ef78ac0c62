"""The traced graphs that a training process keeps, so that the next run of the same shape starts at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from explorer.config import cost_model, stacking
from explorer.config.run_config import Demand, RunConfig
from explorer.data.rows import Examples, WordRows
from explorer.data.splits import Prepared
from explorer.training import graph_loop, stacked, train


class GraphCache:
    """Hands out courses and stacks, those that it has made before first of all; one at a time.

    Args:
        most: how many are kept; those longest unused go first.
    """

    def __init__(self, most: int = 4):
        self._most = most
        self._kept: dict[Hashable, graph_loop.TrainingSession | stacked.StackedSession] = {}

    def __call__(self, config: RunConfig, data: Prepared, device: str = "cpu") -> graph_loop.TrainingSession:
        """As `explorer.training.graph_loop.TrainingSession`."""
        return self._hand_out(cost_model.shape(config, len(data.train), device),
                              graph_loop.TrainingSession, config, data, device)

    def stack(self, members: Sequence[RunConfig], data: Prepared, device: str = "cpu") -> stacked.StackedSession:
        """As `explorer.training.stacked.StackedSession`."""
        return self._hand_out(stacking.shape(members, len(data.train), device),
                              stacked.StackedSession, members, data, device)

    def _hand_out(self, key: Hashable, make: Callable[..., Any], wanted: Any, data: Prepared, device: str) -> Any:
        kept = self._kept.pop(key, None)
        for other in self._kept.values():
            other.rest()
        if kept is None:
            kept = make(wanted, data, device)
        else:
            kept.restart(wanted, data)
        self._kept[key] = kept
        while len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]
        return kept

    def forget(self) -> None:
        """Keep nothing: after a failure nobody knows what state a graph is in."""
        self._kept.clear()


def warm_up() -> None:
    """Train a network of nothing on nothing: what TensorFlow and Keras do once in a process is then done."""
    rows = 16
    x = WordRows(np.arange(rows + 1, dtype=np.int64), np.zeros(rows, np.int32), cost_model.DENSE_INPUTS + 1)
    examples = Examples(x, np.zeros(rows, np.uint8))
    config = RunConfig(dataset="reviews", num_words=x.inputs, hidden=(2,), batch_size=rows)
    train.train(config, Prepared(examples, examples, examples), lambda: [Demand(2)], lambda kind, values: None,
                lambda: False)
