"""The layers of a run's network with their parameters, as Keras's summary has them, computed without Keras."""

from __future__ import annotations

import pandas as pd

from explorer.config.fields import plain
from explorer.config.run_config import RunConfig

COLUMNS = ("layer", "shape", "parameters", "sum", "fixed")
TOTAL = "total"


def table(config: RunConfig) -> pd.DataFrame:
    """The layers from the input to the output, and their total.

    Args:
        config: the network; layers are made in the order of `explorer.training.model.network`.

    Returns:
        One row a layer: `layer` with Keras's name of its class (`total` in the last row), `shape` of its output as
        Keras writes it, `parameters` that are trained, the `sum` that they come from, and `fixed` ones, which are
        measured rather than trained: the means and variances of batch normalization.
    """
    rows: list[tuple[str, str, int, str, int]] = []

    def add(layer: str, units: int, parameters: int = 0, sum: str = "", fixed: int = 0) -> None:
        rows.append((layer, f"(None, {units})", parameters, sum, fixed))

    def dense(inputs: int, units: int, activation: str = "") -> None:
        name = f"Dense ({activation})" if activation else "Dense"
        add(name, units, (inputs + 1) * units, f"{plain(inputs)} × {plain(units)} + {plain(units)}")

    width = config.inputs
    for units in config.hidden:
        dense(width, units)
        if config.batch_norm:
            add("BatchNormalization", units, 2 * units, f"{plain(units)} + {plain(units)}", 2 * units)
        add(f"Activation ({config.activation})", units)
        if config.dropout:
            add(f"Dropout ({plain(config.dropout)})", units)
        width = units
    dense(width, config.outputs, "sigmoid" if config.outputs == 1 else "softmax")
    rows.append((TOTAL, "", sum(row[2] for row in rows), "", sum(row[4] for row in rows)))
    return pd.DataFrame(rows, columns=list(COLUMNS))
