"""The plain path: the same as the fast path, slowly, with nothing but Keras; what the tests compare with."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from explorer.batches import Batches, fit_order
from explorer.config import RunConfig
from explorer.data.prepare import Prepared
from explorer.model import compiled, network


class Course:
    """As `explorer.fast.Course`, with dense batches, `fit` on them and `evaluate`."""

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
