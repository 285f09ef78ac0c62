"""MNIST: Keras's file of 28×28 images, flattened."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from explorer.data.safe_npz import read_npz

SIDE = 28


def read(path: Path) -> dict[str, np.ndarray]:
    """Arrays for the compact cache: `{split}_pixels` (uint8, rows × 784), `{split}_y`, in the file's order.

    Raises:
        ValueError: the file is not MNIST in Keras's layout.
    """
    raw = read_npz(path, ("x_train", "y_train", "x_test", "y_test"))
    found: dict[str, np.ndarray] = {}
    for split in ("train", "test"):
        images, labels = raw[f"x_{split}"], raw[f"y_{split}"]
        if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE) or images.dtype != np.uint8 or not len(images):
            raise ValueError(f"x_{split} is not a list of {SIDE}×{SIDE} images of bytes")
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or labels.max() > 9 or labels.min() < 0:
            raise ValueError(f"y_{split} is not one digit an image")
        found |= {f"{split}_pixels": images.reshape(len(images), -1), f"{split}_y": labels.astype(np.uint8)}
    return found
