"""Digits: scikit-learn's 1,797 handwritten digits of 8×8 pixels, split once and for all."""

from __future__ import annotations

import numpy as np

VERSION = "digits-1"
# Brightest pixel of scikit-learn's digits.
SCALE = 16
TEST_ROWS = 500
# The file is sorted by writer; a fixed shuffle puts every writer into both parts.
SPLIT_SEED = 1797


def read() -> dict[str, np.ndarray]:
    """Arrays as for MNIST: `{split}_pixels` (uint8, rows × 64, 0 to 16) and `{split}_y`."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.RandomState(SPLIT_SEED).permutation(len(digits.target))
    pixels, labels = digits.data[order].astype(np.uint8), digits.target[order].astype(np.uint8)
    return {"train_pixels": pixels[:-TEST_ROWS], "train_y": labels[:-TEST_ROWS],
            "test_pixels": pixels[-TEST_ROWS:], "test_y": labels[-TEST_ROWS:]}
