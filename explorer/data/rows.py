"""Rows of examples: reviews as sets of words, images as bytes, both small in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

START, UNKNOWN = 1, 2


@dataclass(frozen=True)
class WordRows:
    """Reviews as the distinct word numbers of each, in Keras's numbering.

    A dense multi-hot matrix of 25,000 × 10,000 takes 1 GB in float32; the numbers alone take 14 MB.

    Attributes:
        indptr: int64, shape `(rows + 1,)`; row `i` is `indices[indptr[i]:indptr[i + 1]]`.
        indices: int32; ascending and distinct within a row, below `inputs`.
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
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        # Position within the new array, shifted to where its row began in the old one.
        source = np.arange(indptr[-1]) + np.repeat(self.indptr[:-1][rows] - indptr[:-1], counts)
        return WordRows(indptr, self.indices[source], self.inputs)

    def truncate(self, num_words: int) -> WordRows:
        """As `keras.datasets.imdb.load_data(num_words=…)`: every word from `num_words` on becomes 2."""
        if num_words >= self.inputs:
            return WordRows(self.indptr, self.indices, num_words)
        rows = len(self)
        row_of = np.repeat(np.arange(rows), np.diff(self.indptr))
        kept = self.indices < num_words
        cut = np.bincount(row_of[~kept], minlength=rows) > 0
        has = np.bincount(row_of[self.indices == UNKNOWN], minlength=rows) > 0
        add = np.flatnonzero(cut & ~has)
        order_key = np.concatenate([row_of[kept] * num_words + self.indices[kept], add * num_words + UNKNOWN])
        order_key.sort()
        counts = np.bincount(order_key // num_words, minlength=rows)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return WordRows(indptr, (order_key % num_words).astype(np.int32), num_words)

    def dense(self) -> np.ndarray:
        """The multi-hot matrix, float32, shape `(rows, inputs)`."""
        matrix = np.zeros((len(self), self.inputs), np.float32)
        matrix[np.repeat(np.arange(len(self)), np.diff(self.indptr)), self.indices] = 1
        return matrix


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
