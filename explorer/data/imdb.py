"""IMDB: Keras's file of word ranks, numbered and ordered exactly as `keras.datasets.imdb.load_data`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from explorer.data.rows import START
from explorer.data.safe import read_npz

# load_data's own defaults: words are shifted by three, and each split is shuffled by one generator.
INDEX_FROM = 3
SHUFFLE_SEED = 113
# No language has more words.
MOST_RANK = 10_000_000


def read(path: Path) -> dict[str, np.ndarray]:
    """Arrays for the compact cache: `{split}_indptr`, `{split}_indices`, `{split}_y` of `train` and `test`.

    Raises:
        ValueError: the file is not IMDB in Keras's layout.
    """
    raw = read_npz(path, ("x_train", "y_train", "x_test", "y_test"))
    generator = np.random.RandomState(SHUFFLE_SEED)
    found: dict[str, np.ndarray] = {}
    for split in ("train", "test"):  # in this order, for both are drawn from one generator
        sequences, labels = raw.pop(f"x_{split}"), raw.pop(f"y_{split}")
        if sequences.ndim != 1 or len(sequences) == 0 or labels.shape != sequences.shape:
            raise ValueError(f"x_{split} and y_{split} are not two lists of the same length")
        if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > 1:
            raise ValueError(f"y_{split} holds something else than 0 and 1")
        order = np.arange(len(sequences))
        generator.shuffle(order)
        indptr, indices = _distinct(sequences[order], split)
        found |= {f"{split}_indptr": indptr, f"{split}_indices": indices,
                  f"{split}_y": labels[order].astype(np.uint8)}
    return found


def _distinct(sequences: np.ndarray, split: str) -> tuple[np.ndarray, np.ndarray]:
    rows, lengths = [], np.empty(len(sequences), np.int64)
    for number, sequence in enumerate(sequences):
        words = np.asarray(sequence)
        if words.ndim != 1 or (words.size and (words.dtype.kind not in "iu" or words.min() < 0)):
            raise ValueError(f"review {number} of x_{split} is not a list of word ranks")
        if words.size and words.max() > MOST_RANK:
            raise ValueError(f"review {number} of x_{split} holds an impossible word rank")
        row = np.unique(np.append(words.astype(np.int64) + INDEX_FROM, START))
        rows.append(row.astype(np.int32))
        lengths[number] = len(row)
    return np.concatenate([[0], np.cumsum(lengths)]), np.concatenate(rows)
