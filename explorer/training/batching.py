"""The data of a run laid out once, batch by batch, where it is trained and in the form that the graph multiplies.

On a processor reviews become one sparse matrix a batch (compressed rows), and beside it the same matrix transposed,
which the gradient of the kernel is multiplied with: making either of them anew in every step would cost more than the
products do. 25,000 reviews of 10,000 words take 13 MB, their transposes twice as much; as the multi-hot matrix they
take 1 GB. On a graphics card, where a dense product costs next to nothing, they lie in its memory as one bit a word,
31 MB, and become dense rows in the step that uses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import cpp_shape_inference_pb2
from tensorflow.python.ops import handle_data_util
from tensorflow.python.ops.linalg.sparse import sparse_csr_matrix_ops as csr_ops

from explorer.config.cost_model import BITS, BYTES, MATRICES, WORDS_A_ROW
from explorer.data.rows import Examples, WordRows

# Rows that are dense at a time while bits are made of them.
PACKED_ROWS = 1_000


class SparseBatch(NamedTuple):
    """A batch of reviews inside the graph.

    Attributes:
        matrix: variant scalar, a sparse multi-hot matrix `(rows, inputs)`.
        transposed: the same `(inputs, rows)`, or `None` where it is not kept.
    """

    matrix: tf.Tensor
    transposed: tf.Tensor | None

    def times(self, kernel: tf.Tensor) -> tf.Tensor:
        """The matrix product with a kernel `(inputs, units)`."""
        return csr_ops.sparse_matrix_mat_mul(_known(self.matrix, (None, kernel.shape[0]), kernel.dtype), kernel)

    def transposed_times(self, upstream: tf.Tensor, inputs: int) -> tf.Tensor:
        """The product of the transpose with an array `(rows, units)`; dense."""
        transposed = self.transposed
        if transposed is None:
            transposed = csr_ops.sparse_matrix_transpose(
                _known(self.matrix, (None, inputs), upstream.dtype), type=upstream.dtype)
        return csr_ops.sparse_matrix_mat_mul(_known(transposed, (inputs, None), upstream.dtype), upstream)


class BatchFormat(NamedTuple):
    """How the arrays of a part become batches; parts of one form can stand in for one another in a traced graph.

    Attributes:
        kind: `matrices` (reviews leave as `SparseBatch`), `bits` (reviews leave as dense rows, stored one bit a number)
            or `bytes` (dense rows, stored one byte a number).
        inputs: length of the input vectors.
        scale: the byte that stands for 1, where the arrays hold bytes.
        binary: whether labels become floats (one sigmoid output) or stay class numbers (softmax).
        dtype: of the inputs, by name.
    """

    kind: str
    inputs: int
    scale: int
    binary: bool
    dtype: str

    def labels(self, arrays: Sequence[tf.Tensor], step: tf.Tensor, batch_size: int | tf.Tensor) -> tf.Tensor:
        """Labels of the rows of one step, shape `(rows, 1)`; the last step may have fewer."""
        return arrays[0][step * batch_size:(step + 1) * batch_size]

    def inputs_of(self, arrays: Sequence[tf.Tensor], step: tf.Tensor,
                  batch_size: int | tf.Tensor) -> SparseBatch | tf.Tensor:
        """Inputs of the rows of one step: `SparseBatch`, or dense rows `(rows, inputs)`."""
        if self.kind == MATRICES:
            return SparseBatch(tf.gather(arrays[1], step), tf.gather(arrays[2], step) if len(arrays) > 2 else None)
        if self.kind == BYTES:
            return tf.cast(arrays[1][step * batch_size:(step + 1) * batch_size], self.dtype) / self.scale
        packed = arrays[1][step * batch_size:(step + 1) * batch_size, :, tf.newaxis]
        bits = tf.not_equal(tf.bitwise.bitwise_and(packed, tf.constant(2 ** np.arange(8), tf.uint8)), 0)
        return tf.reshape(tf.cast(bits, self.dtype), (-1, 8 * packed.shape[1]))[:, :self.inputs]


class BatchedSplit:
    """One part of the data.

    Args:
        examples: the rows.
        batch_size: rows a batch; the last may be shorter.
        order: the order in which they are visited; as they are by default.
        kind, binary, dtype: see `BatchFormat`.
        fitted: whether gradients will be taken, so that transposes are of use.

    Attributes:
        rows, steps, batch_size: numbers of rows and of batches, and rows a batch.
        form: how `arrays` become batches.
        arrays: labels `(rows, 1)`; then matrices and perhaps transposes `(steps,)`, or bits `(rows, inputs / 8)`, or
            bytes `(rows, inputs)`.
    """

    def __init__(self, examples: Examples, batch_size: int, order: np.ndarray | None = None, *, kind: str, binary: bool,
                 dtype: str = "float32", fitted: bool = False):
        self.rows, self.batch_size = len(examples), batch_size
        self.steps = -(-self.rows // batch_size)
        x = examples.x
        self.form = BatchFormat(kind, x.inputs, 1 if isinstance(x, WordRows) else x.scale, binary, dtype)
        order = np.arange(self.rows) if order is None else order
        labels = examples.y[order].reshape(-1, 1).astype(dtype if binary else np.int32)
        self.arrays = [tf.constant(labels)]
        if kind == MATRICES:
            # Transposes are kept only where a batch has as many words as there are inputs: each takes an entry for each
            # input, used or not.
            self.arrays += self._matrices(x, order, fitted and WORDS_A_ROW * batch_size >= x.inputs)
        elif kind == BITS:
            self.arrays.append(tf.constant(_packed(x, order)))
        else:
            values = x.take(order).dense(np.uint8) if isinstance(x, WordRows) else x.values[order]
            self.arrays.append(tf.constant(values))

    @property
    def measured(self) -> list[tf.Tensor]:
        """The arrays that are needed where no gradient is taken."""
        return self.arrays[:2] if self.form.kind == MATRICES else self.arrays

    def _matrices(self, x: WordRows, order: np.ndarray, transposes: bool) -> list[tf.Tensor]:
        # Every number in every matrix is a 1. Slices of one array share its memory, and it stays in the caches.
        longest = np.add.reduceat(np.diff(x.indptr)[order], np.arange(0, self.rows, self.batch_size)).max()
        ones = tf.ones((longest,), self.form.dtype)
        matrices, transposed = [], []
        for first in range(0, self.rows, self.batch_size):
            batch = x.take(order[first:first + self.batch_size])
            places = np.empty((len(batch.indices), 2), np.int64)
            places[:, 0] = np.repeat(np.arange(len(batch)), np.diff(batch.indptr))
            places[:, 1] = batch.indices
            matrices.append(csr_ops.sparse_tensor_to_csr_sparse_matrix(
                tf.constant(places), ones[:len(places)], tf.constant((len(batch), x.inputs), tf.int64)))
            if transposes:
                transposed.append(csr_ops.sparse_matrix_transpose(matrices[-1], type=ones.dtype))
        return [tf.stack(matrices)] + ([tf.stack(transposed)] if transposes else [])


def _packed(x: WordRows, order: np.ndarray) -> np.ndarray:
    packed = np.empty((len(order), -(-x.inputs // 8)), np.uint8)
    for first in range(0, len(order), PACKED_ROWS):
        rows = order[first:first + PACKED_ROWS]
        packed[first:first + PACKED_ROWS] = np.packbits(x.take(rows).dense(np.uint8), axis=1, bitorder="little")
    return packed


def _known(matrix: tf.Tensor, shape: tuple[int | None, int | None], dtype: tf.DType) -> tf.Tensor:
    # A slice of many matrices no longer says of what shape they are, and the products ask for it.
    data = cpp_shape_inference_pb2.CppShapeInferenceResult.HandleData(is_set=True)
    data.shape_and_type.append(cpp_shape_inference_pb2.CppShapeInferenceResult.HandleShapeAndType(
        dtype=dtype.as_datatype_enum, shape=tf.TensorShape(shape).as_proto()))
    handle_data_util.set_handle_data(matrix, data)
    return matrix


def fit_order(rows: int, seed: int) -> np.ndarray:
    """The order in which `fit(x, y, shuffle=True)` visits the rows, shape `(rows,)`.

    After `keras.utils.set_random_seed(seed)`, `fit` shuffles inside a `Dataset.map`, whose operation starts
    from the same seed at each epoch: every epoch has the *same* order. So the batches can be cut once, a run
    can be continued without any shuffling state, and a notebook with the same seed shows the same curve.
    """
    def shuffled() -> tf.Tensor:
        # The seed of this graph alone: setting that of the process would throw away all kernels that are ready.
        tf.compat.v1.set_random_seed(seed)
        return tf.random.shuffle(tf.range(rows, dtype=tf.int64))

    # A function that has never been called starts from its seed, as the mapped one does at each epoch.
    with tf.device("CPU:0"):
        return tf.function(shuffled, autograph=False)().numpy()
