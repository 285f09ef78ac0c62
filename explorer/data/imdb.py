"""IMDB: Keras's file of word ranks, numbered and ordered exactly as `keras.datasets.imdb.load_data`."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np

from explorer.data.rows import START
from explorer.data.safe_npz import read_npz

# load_data's own defaults: words are shifted by three, and each split is shuffled by one generator.
INDEX_FROM = 3
SHUFFLE_SEED = 113
# No language has more words.
MAX_RANK = 10_000_000
# Reviews whose words are sorted in one go: few enough for the processor's caches.
AT_ONCE = 1_000


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
    for first in range(0, len(sequences), AT_ONCE):
        some = sequences[first:first + AT_ONCE]
        found = _of_lists(some) or _one_by_one(some, first, split)
        lengths[first:first + len(some)] = found[0]
        rows.append(found[1])
    return np.concatenate([[0], np.cumsum(lengths)]), np.concatenate(rows)


def _of_lists(sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The number of distinct words of each review, and the words; `None` where these are not lists of sound ranks."""
    if set(map(type, sequences)) != {list}:
        return None
    numbers = array("i")
    try:
        for one in sequences:
            numbers.extend(array("i", one))  # takes no other numbers; faster than asking each
    except (TypeError, OverflowError):
        return None
    words, counts = np.array(numbers, np.int32), np.fromiter(map(len, sequences), np.int64, len(sequences))
    if words.min(initial=0) < 0 or words.max(initial=0) > MAX_RANK:
        return None
    # One sort for all: the number of the review stands before that of the word; in half the bytes where that will do.
    step = int(words.max(initial=0)) + INDEX_FROM + 1
    kind = np.int32 if step * len(sequences) < 2**31 else np.int64
    begin = np.arange(len(sequences), dtype=kind) * kind(step)
    keys = np.sort(np.concatenate([begin + kind(START), np.repeat(begin + kind(INDEX_FROM), counts) + words]))
    keys = keys[np.append(True, keys[1:] != keys[:-1])]
    edges = np.append(np.searchsorted(keys, begin), len(keys))
    return np.diff(edges), (keys - np.repeat(begin, np.diff(edges))).astype(np.int32)


def _one_by_one(sequences: np.ndarray, first: int, split: str) -> tuple[np.ndarray, np.ndarray]:
    """As `_of_lists`, for whatever else stands for a list, and to say which one is not sound."""
    rows = []
    for number, sequence in enumerate(sequences, first):
        words = np.asarray(sequence)
        if words.ndim != 1 or (words.size and (words.dtype.kind not in "iu" or words.min() < 0)):
            raise ValueError(f"review {number} of x_{split} is not a list of word ranks")
        if words.size and words.max() > MAX_RANK:
            raise ValueError(f"review {number} of x_{split} holds an impossible word rank")
        rows.append(np.unique(np.append(words.astype(np.int64) + INDEX_FROM, START)).astype(np.int32))
    return np.array([len(row) for row in rows]), np.concatenate(rows)
