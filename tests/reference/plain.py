"""The plain path: the same as the fast path, slowly, with nothing but Keras; what the tests compare with."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from explorer.config.run_config import RunConfig
from explorer.data.rows import Examples, WordRows
from explorer.data.splits import Prepared
from explorer.training.batching import fit_order
from explorer.training.model import compiled, network


class TrainingSession:
    """As `explorer.training.graph_loop.TrainingSession`, with dense batches, `fit` on them and `evaluate`."""

    def __init__(self, config: RunConfig, data: Prepared, device: str = "cpu"):
        self.network = self.model = network(config)
        self._config, self._data = config, data
        self._fitted = self._batches("train", fit_order(len(data.train), config.seed))
        self.steps, self.steps_a_call = self._fitted.steps, 1
        compiled(self.model, config)

    def dataset(self) -> tf.data.Dataset:
        """What `fit` iterates over: dense batches, the rows in the order of `fit(shuffle=True)`."""
        return self._fitted.dataset()

    def measure(self, name: str, between: Callable[[], None] = lambda: None) -> tuple[float, float]:
        """Cross-entropy and accuracy in inference mode, without the penalty: means over the rows."""
        after_each = keras.callbacks.LambdaCallback()
        after_each.on_test_batch_end = lambda batch, logs=None: between()
        logs = self.model.evaluate(self._batches(name).dataset(), verbose=0, return_dict=True, callbacks=[after_each])
        return logs["crossentropy"], logs["accuracy"]

    def _batches(self, name: str, order=None) -> Batches:
        binary = self._config.outputs == 1
        return Batches(getattr(self._data, name), self._config.batch_size, binary=binary, order=order)


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
