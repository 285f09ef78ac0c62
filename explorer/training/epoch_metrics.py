"""How large the weights of a network are, and how many of them are near zero."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from explorer.config.metrics import NEAR_ZERO

# So many numbers at a time: a second copy of a large kernel would cost as much memory as the kernel.
PIECE = 2**18


def weight_size(kernels: Iterable[np.ndarray]) -> dict[str, float]:
    """Measure the kernels of a network.

    Args:
        kernels: of all layers, each `(inputs, units)`; biases are not among them.

    Returns:
        `weights`, the sum of the absolute values, and `zeros`, the share of them below `NEAR_ZERO`.
    """
    total, near, count = 0.0, 0, 0
    for kernel in kernels:
        rows = max(1, PIECE // max(1, kernel.shape[1]))
        for first in range(0, len(kernel), rows):
            sizes = np.abs(kernel[first:first + rows])
            total += float(sizes.sum(dtype=np.float64))
            near += int(np.count_nonzero(sizes < NEAR_ZERO))
        count += kernel.size
    return {"weights": total, "zeros": near / count if count else 0.0}


def kernels_of(arrays: Iterable[np.ndarray], variables: int) -> list[np.ndarray]:
    """The kernels among the arrays of a `explorer.training.train.State`.

    Args:
        variables: how many of the arrays are the network's own; the rest are the optimizer's.
    """
    # Of a network's variables, kernels alone have two axes.
    return [array for array in list(arrays)[:variables] if array.ndim == 2]
