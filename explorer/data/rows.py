"""Rows of examples: reviews as sets of words, images as bytes, both small in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

START, UNKNOWN = 1, 2
# Word numbers below this fit into two bytes each.
NARROW = 2**16


@dataclass(frozen=True)
class WordRows:
    """Reviews as the distinct word numbers of each, in Keras's numbering.

    A dense multi-hot matrix of 25,000 × 10,000 takes 1 GB in float32; the numbers alone take 6 MB.

    Attributes:
        indptr: int64, shape `(rows + 1,)`; row `i` is `indices[indptr[i]:indptr[i + 1]]`.
        indices: int32, or uint16 where there are so few words; ascending and distinct within a row, below `inputs`.
        inputs: length of the multi-hot vectors that they stand for.
    """

    indptr: np.ndarray
    indices: np.ndarray
    inputs: int

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def take(self, rows: np.ndarray) -> WordRows:
        """The given rows, in the given order."""
        counts = np.diff(self.indptr)[rows]
        indptr = _starts(counts)
        # Position within the new array, shifted to where its row began in the old one. Half the width, half the memory.
        width = np.int32 if len(self.indices) < 2**31 else np.int64
        source = np.arange(indptr[-1], dtype=width)
        source += np.repeat((self.indptr[:-1][rows] - indptr[:-1]).astype(width), counts)
        return WordRows(indptr, self.indices[source], self.inputs)

    def slice(self, first: int, last: int) -> WordRows:
        """Rows `first` to `last - 1`; a view, not a copy."""
        begin, end = self.indptr[first], self.indptr[last]
        return WordRows(self.indptr[first:last + 1] - begin, self.indices[begin:end], self.inputs)

    def truncate(self, num_words: int) -> WordRows:
        """As `keras.datasets.imdb.load_data(num_words=…)`: every word from `num_words` on becomes 2."""
        if num_words >= self.inputs:
            return WordRows(self.indptr, self.indices, num_words)
        width = np.uint16 if num_words <= NARROW else self.indices.dtype
        kept = self.indices < num_words
        # Counted as differences of a running total, for a row may be empty.
        counts = np.diff(self.indptr)
        left = np.diff(np.concatenate([[0], np.cumsum(kept, dtype=np.int32)])[self.indptr])
        smaller, known = self._before(UNKNOWN)
        add = (left < counts) & ~known
        indptr = _starts(left + add)
        if not add.any():
            return WordRows(indptr, self.indices[kept].astype(width), num_words)
        indices = np.empty(indptr[-1], width)
        added = (indptr[:-1] + smaller)[add]
        others = np.ones(len(indices), bool)
        others[added] = False
        indices[added], indices[others] = UNKNOWN, self.indices[kept]
        return WordRows(indptr, indices, num_words)

    def _before(self, word: int) -> tuple[np.ndarray, np.ndarray]:
        # How many smaller words each row begins with, and whether it has this one: rows ascend, so that a small word
        # is found by looking at its first few, and not at all of them.
        counts, smaller = np.diff(self.indptr), np.zeros(len(self), np.int64)
        known = np.zeros(len(self), bool)
        for place in range(word + 1):
            rows = np.flatnonzero(counts > place)
            found = self.indices[self.indptr[rows] + place]
            smaller[rows] += found < word
            known[rows] |= found == word
        return smaller, known

    def dense(self, dtype: type = np.float32) -> np.ndarray:
        """The multi-hot matrix, shape `(rows, inputs)`."""
        matrix = np.zeros((len(self), self.inputs), dtype)
        matrix[np.repeat(np.arange(len(self)), np.diff(self.indptr)), self.indices] = 1
        return matrix


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


@dataclass(frozen=True)
class PixelRows:
    """Images as bytes, scaled to 0–1 only where they are used.

    Attributes:
        values: uint8, shape `(rows, inputs)`.
        scale: the byte that stands for 1.0 (255, or 16 for the 8×8 digits).
    """

    values: np.ndarray
    scale: int

    def __len__(self) -> int:
        return len(self.values)

    @property
    def inputs(self) -> int:
        return self.values.shape[1]

    def take(self, rows: np.ndarray) -> PixelRows:
        """The given rows, in the given order."""
        return PixelRows(self.values[rows], self.scale)

    def slice(self, first: int, last: int) -> PixelRows:
        """Rows `first` to `last - 1`; a view, not a copy."""
        return PixelRows(self.values[first:last], self.scale)

    def dense(self) -> np.ndarray:
        """Pixels from 0 to 1, float32, shape `(rows, inputs)`."""
        return self.values.astype(np.float32) / np.float32(self.scale)


@dataclass(frozen=True)
class Examples:
    """Inputs and their labels.

    Attributes:
        x: `WordRows` or `PixelRows`.
        y: uint8 class numbers, shape `(rows,)`.
    """

    x: WordRows | PixelRows
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: np.ndarray) -> Examples:
        """The given rows, in the given order."""
        return Examples(self.x.take(rows), self.y[rows])

    def slice(self, first: int, last: int) -> Examples:
        """Rows `first` to `last - 1`; a view, not a copy."""
        return Examples(self.x.slice(first, last), self.y[first:last])
