"""The data of a run laid out once, so that a batch is a slice which the graph cuts by itself.

A batch of reviews is stored as one number a word: the row inside the batch in the upper bits, the word in the lower
ones. 25,000 reviews take 13 MB this way, a third of what the coordinates that TensorFlow wants would take; shifting
and masking them back costs next to nothing beside the product they are for.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from explorer.data.rows import Examples, WordRows

# Words below 2**17; so 2**14 rows fit beside them in an int32.
WORD_BITS = 17
MOST_ROWS = 2 ** (31 - WORD_BITS)


class Words(NamedTuple):
    """A batch of reviews inside the graph: a multi-hot matrix by the places of its ones.

    Attributes:
        rows: the numbers of the rows, shape `(rows,)`; first, for Keras takes the batch's size from what comes first.
        places: int32, shape `(ones, 2)`: row and column of each, ascending.
    """

    rows: tf.Tensor
    places: tf.Tensor

    def dense(self, inputs: int, dtype: str | tf.DType) -> tf.Tensor:
        """The multi-hot matrix, shape `(rows, inputs)`."""
        ones = tf.ones((tf.shape(self.places)[0],), dtype)
        return tf.ensure_shape(tf.scatter_nd(self.places, ones, (tf.shape(self.rows)[0], inputs)), (None, inputs))


class Form(NamedTuple):
    """How the arrays of a part become batches; parts of one form can stand in for one another in a traced graph.

    Attributes:
        words: whether reviews leave as `Words`; otherwise inputs leave as dense rows.
        coded: whether the arrays hold words at all, rather than bytes.
        inputs: length of the input vectors.
        scale: the byte that stands for 1, where the arrays hold bytes.
        binary: whether labels become floats (one sigmoid output) or stay class numbers (softmax).
        dtype: of the inputs, by name.
    """

    words: bool
    coded: bool
    inputs: int
    scale: int
    binary: bool
    dtype: str

    def cut(self, arrays: list[tf.Tensor], step: tf.Tensor, batch_size: int | tf.Tensor) -> tuple[
            Words | tf.Tensor, tf.Tensor]:
        """Inputs and labels of one step, inside the graph."""
        labels, values, *starts = arrays
        step = tf.cast(step, tf.int32)
        first = step * batch_size
        last = tf.minimum(first + batch_size, tf.shape(labels)[0])
        y = labels[first:last]
        if not self.coded:
            return tf.cast(values[first:last], self.dtype) / self.scale, y
        codes = values[starts[0][step]:starts[0][step + 1]]
        rows, words = tf.bitwise.right_shift(codes, WORD_BITS), tf.bitwise.bitwise_and(codes, 2**WORD_BITS - 1)
        x = Words(tf.range(first, last), tf.stack([rows, words], axis=1))
        return (x if self.words else x.dense(self.inputs, self.dtype)), y


class Part:
    """One part of the data.

    Args:
        examples: the rows.
        batch_size: rows a batch, at most `MOST_ROWS`; the last may be shorter.
        order: the order in which they are visited; as they are by default.
        binary, dtype: see `Form`.
        words: whether reviews leave as words where they are laid out as words.
        coded: whether reviews are laid out as words, rather than as bytes.

    Attributes:
        rows, steps, batch_size: numbers of rows and of batches, and rows a batch.
        form: how `arrays` become batches.
        arrays: labels `(rows, 1)`; then codes and where each batch begins in them, or bytes `(rows, inputs)`.
    """

    def __init__(self, examples: Examples, batch_size: int, order: np.ndarray | None = None, *, binary: bool,
                 words: bool, coded: bool, dtype: str = "float32"):
        self.rows, self.batch_size = len(examples), batch_size
        self.steps = -(-self.rows // batch_size)
        x, coded = examples.x, coded and isinstance(examples.x, WordRows)
        scale = 1 if isinstance(x, WordRows) else x.scale
        self.form = Form(words and coded, coded, x.inputs, scale, binary, dtype)
        order = np.arange(self.rows) if order is None else order
        labels = examples.y[order].reshape(-1, 1).astype(dtype if binary else np.int32)
        # In the machine's memory: a graphics card is sent one batch at a time.
        with tf.device("CPU:0"):
            self.arrays = [tf.constant(array) for array in (labels, *(
                _coded(x, order, batch_size) if coded else (_bytes(x, order),)))]


def _coded(x: WordRows, order: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    x = x.take(order)
    codes = np.repeat(((np.arange(len(x)) % batch_size) << WORD_BITS).astype(np.int32), np.diff(x.indptr))
    codes |= x.indices
    edges = np.minimum(np.arange(-(-len(x) // batch_size) + 1) * batch_size, len(x))
    return codes, x.indptr[edges].astype(np.int32)


def _bytes(x, order: np.ndarray) -> np.ndarray:
    return x.take(order).dense(np.uint8) if isinstance(x, WordRows) else x.values[order]
