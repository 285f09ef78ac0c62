"""Examples cut into batches once a run; a batch becomes dense only while it is used."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from explorer.data.rows import Examples, WordRows


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


class Batches:
    """One part of the data as a sequence of dense batches.

    Args:
        examples: the rows.
        batch_size: rows a batch; the last may be shorter.
        binary: whether labels become float32 (one sigmoid output) or stay class numbers (softmax).
        order: the order of the rows, as they are by default.
    """

    def __init__(self, examples: Examples, batch_size: int, *, binary: bool, order: np.ndarray | None = None):
        if order is not None:
            examples = examples.take(order)
        self.rows, self.batch_size = len(examples), batch_size
        self.steps = -(-self.rows // batch_size)
        self.inputs = examples.x.inputs
        # Keras 3 wants labels of the outputs' rank.
        labels = examples.y.reshape(-1, 1).astype(np.float32 if binary else np.int32)
        # Data stay in the machine's memory; a graphics card is sent one batch at a time.
        with tf.device("CPU:0"):
            self._y = tf.constant(labels)
            if isinstance(examples.x, WordRows):
                self._starts = tf.constant(examples.x.indptr)
                self._words = tf.constant(examples.x.indices)
            else:
                self._pixels = tf.constant(examples.x.values)
                self._scale = float(examples.x.scale)
        self._dense = self._multi_hot if isinstance(examples.x, WordRows) else self._scaled

    def dataset(self) -> tf.data.Dataset:
        """Batches `(x, y)` in order: x float32 `(batch, inputs)`, y `(batch, 1)`."""
        return tf.data.Dataset.range(self.steps).map(self._batch, num_parallel_calls=1).prefetch(2)

    def _batch(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        first = step * self.batch_size
        last = tf.minimum(first + self.batch_size, self.rows)
        return self._dense(first, last), self._y[first:last]

    def _multi_hot(self, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        starts = self._starts[first:last + 1]
        words = tf.cast(self._words[starts[0]:starts[-1]], tf.int64)
        row_of = tf.repeat(tf.range(last - first), starts[1:] - starts[:-1])
        places = tf.stack([row_of, words], axis=1)
        shape = tf.stack([last - first, tf.constant(self.inputs, tf.int64)])
        hot = tf.SparseTensor(places, tf.ones_like(words, tf.float32), shape)
        return tf.ensure_shape(tf.sparse.to_dense(hot, validate_indices=False), (None, self.inputs))

    def _scaled(self, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        return tf.cast(self._pixels[first:last], tf.float32) / self._scale
