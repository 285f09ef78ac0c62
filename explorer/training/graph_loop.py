"""The fast path: the numbers of Dense on a dense matrix, computed from the words alone.

A multi-hot review is 10,000 numbers of which 130 are 1. `fit` on the dense matrix spends its time on moving and
multiplying zeros, on copying batches, and on asking Python for each of them. The fast path takes these away, one
by one, and leaves the rest to Keras:

1. **Rows are cut into batches once** (`batching`). Under a fixed seed `fit` visits the rows in the same shuffled order
   in every epoch (`batching.fit_order`), so each batch can be laid out once as a sparse matrix, and once as its
   transpose for the gradient. The data that `fit` iterates over are the numbers 0, 1, 2, … of the steps; the batch
   itself is looked up inside the graph. A notebook that calls `keras.utils.set_random_seed(seed)` sees the same curve.
2. **The first layer adds up rows of its kernel.** x·W for a multi-hot x is the sum of the rows of W that belong to
   its words (`product`). It is the same sum in another order; only rounding differs.
3. **Several steps run in one call** (`Looped`; how many, `cost_model`), few enough that Stop and progress stay quick.
4. **One kernel updates a weight matrix** where Keras's optimizer makes ten passes over it (`optimizers`), and loss and
   accuracy take a dozen operations where Keras's take two hundred (`losses`).
5. **All parts are measured by one loop inside the graph** (`TrainingSession.measure`).
6. **A traced graph is used again** (`TrainingSession.restart`): seeds, data, strengths and the learning rate are its
   variables, so the next run of the same shape starts at once.

What is trained is an ordinary `keras.Sequential`: `Stepped` is only the `keras.Model` around it whose steps know where
the batches are, so weights, `fit`, `compile`, callbacks and saving are Keras's own.
`tests/reference/plain.py` does the same slowly; the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from explorer.config.cost_model import kind, measured_rows, steps_per_call
from explorer.config.run_config import RunConfig
from explorer.data.splits import Prepared
from explorer.training.batching import BatchedSplit, SparseBatch, fit_order
from explorer.training.losses import costs, hits
from explorer.training.model import make_optimizer, network, redraw
from explorer.training.optimizers import fused


def product(words: SparseBatch, kernel: tf.Tensor) -> tf.Tensor:
    """`words @ kernel` with a dense gradient for the kernel; shape `(rows, units)`."""
    kernel = tf.convert_to_tensor(kernel)

    @tf.custom_gradient
    def multiply(weights: tf.Tensor):
        return words.times(weights), lambda upstream: tf.ensure_shape(
            words.transposed_times(upstream, weights.shape[0]), weights.shape)

    return tf.ensure_shape(multiply(kernel), (None, kernel.shape[1]))


class Looped(keras.Model):
    """A `keras.Model` that `fit` asks for several steps at a time: data are the numbers of the first step of each call.

    Keras's own `steps_per_execution` asks its iterator and calls a function in every step; this loop does neither, and
    reads the data's variables once a call. Loss and accuracy are means over the rows, as Keras's own.

    Args:
        fitted: the training data, in the order of their visits.
        seen: shape of the loss of a step.

    Attributes:
        steps_a_call: how many.
    """

    steps_a_call = 1

    def __init__(self, fitted: BatchedSplit, seen: tuple[int, ...] = ()):
        super().__init__(autocast=False)
        self.form, self.batch_size = fitted.form, fitted.batch_size
        self._held = [tf.Variable(array, trainable=False, shape=(None, *array.shape[1:])) for array in fitted.arrays]
        # Sums over the rows of an epoch: losses, hits, and the number of rows.
        kind = self.form.dtype
        self._seen = [tf.Variable(tf.zeros(shape, kind), trainable=False) for shape in (seen, seen, ())]

    def one_step(self, x: SparseBatch | tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Learn from one batch.

        Returns:
            The loss, a mean over the rows that includes the penalty, and the number of hits.
        """
        raise NotImplementedError

    def batch(self, step: tf.Tensor,
              arrays: Sequence[tf.Tensor] | None = None) -> tuple[SparseBatch | tf.Tensor, tf.Tensor]:
        """Inputs and labels of one step."""
        arrays = self._arrays() if arrays is None else arrays
        given = arrays, step, self.batch_size
        return self.form.inputs_of(*given), self.form.labels(*given)

    def make_train_function(self, force: bool = False) -> Callable:
        if self.train_function is None or force:
            def several(first: tf.Tensor) -> dict[str, tf.Tensor]:
                arrays = self._arrays()

                def one(step: tf.Tensor, losses: tf.Tensor, hit: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
                    x, y = self.batch(step, arrays)
                    loss, hit_now = self.one_step(x, y)
                    now = tf.cast(tf.shape(y)[0], rows.dtype)
                    return step + 1, losses + loss * now, hit + tf.cast(hit_now, hit.dtype), rows + now

                last = tf.minimum(first + self.steps_a_call, -(-tf.shape(arrays[0])[0] // self.batch_size))
                _, *sums = tf.while_loop(lambda step, *_: step < last, one,
                                         (first, *map(tf.convert_to_tensor, self._seen)), parallel_iterations=1)
                for variable, value in zip(self._seen, sums, strict=True):
                    variable.assign(value)
                return self.get_metrics_result()

            # AutoGraph would take longer than the first epoch.
            call = tf.function(several, [tf.TensorSpec((), tf.int32)], autograph=False)
            self.train_function = lambda numbers: call(tf.cast(next(numbers), tf.int32))
        return self.train_function

    def reset_metrics(self) -> None:
        super().reset_metrics()
        for variable in self._seen:
            variable.assign(tf.zeros_like(variable))

    def running(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Loss and accuracy of the epoch so far as Keras prints them."""
        losses, hit, rows = self._seen
        return losses / rows, hit / rows

    def empty(self) -> None:
        """Let go of the training data, so that others can take their place in memory."""
        for held in self._held:
            # A slice would keep the whole alive; gathering from the variable itself, not from its value, would have it
            # copied in every step from then on.
            held.assign(tf.gather(held.read_value(), tf.zeros((0,), tf.int32)))

    def refill(self, fitted: BatchedSplit) -> None:
        """Go on with other training data of the same form."""
        for held, array in zip(self._held, fitted.arrays, strict=True):
            held.assign(array)

    def _arrays(self) -> list[tf.Tensor]:
        return [tf.convert_to_tensor(held) for held in self._held]


class Stepped(Looped):
    """The `keras.Model` around a network whose steps know where the batches are.

    Args:
        inner: the layers; the first and the last are Dense, and the last one's activation gives the probabilities.
        fitted: the training data, in the order of their visits.
    """

    def __init__(self, inner: keras.Sequential, fitted: BatchedSplit):
        super().__init__(fitted)
        self.inner = inner

    def forward(self, x: SparseBatch | tf.Tensor, training: bool) -> tf.Tensor:
        """The network's outputs for a batch before the last activation, shape `(rows, outputs)`."""
        first, *others, last = self.inner.layers
        h = first.activation(_affine(x, first))
        for layer in others:
            h = layer(h, training=training) if layer._call_has_training_arg else layer(h)
        return _affine(h, last)

    def gradients(self, x: SparseBatch | tf.Tensor, y: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
        """What a step follows.

        Returns:
            The gradients of the loss for each trainable variable, the loss, and the logits.
        """
        with tf.GradientTape() as tape:
            logits = self.forward(x, training=True)
            each = costs(y, logits, self.form.binary)
            penalties = [*self.inner.losses]
        # Their mean, without the operations that a mean leaves in the gradient.
        share = 1 / tf.cast(tf.shape(each)[0], each.dtype)
        found = tape.gradient([each, *penalties], self.trainable_variables,
                              [tf.fill(tf.shape(each), share), *map(tf.ones_like, penalties)])
        return found, tf.add_n([tf.reduce_sum(each) * share, *penalties]), logits

    def one_step(self, x: SparseBatch | tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        found, loss, logits = self.gradients(x, y)
        self.optimizer.apply_gradients(zip(found, self.trainable_variables, strict=True))
        return loss, tf.reduce_sum(hits(y, logits, self.form.binary))

    def get_metrics_result(self) -> dict[str, tf.Tensor]:
        return dict(zip(("loss", "accuracy"), self.running(), strict=True))


class TrainingSession:
    """One run's way through its data: what is fitted and how every part is measured.

    Args:
        config: what is trained.
        data: what it is trained on.
        device: `cpu` or `gpu:N`; decides whether reviews are multiplied as words.

    Attributes:
        network: the layers, an ordinary `keras.Sequential`.
        model: what `fit` is called on.
        steps: batches an epoch.
        steps_a_call: how many of them one call into the graph takes.
    """

    def __init__(self, config: RunConfig, data: Prepared, device: str = "cpu"):
        self._device, self._parts = device, {}
        self.network = network(config)
        self._penalty = Penalty(config)
        self._penalty.attach(self.network)
        fitted = self._take(config, data)
        self.model = Stepped(self.network, fitted)
        self.model.compile(fused(make_optimizer(config)), jit_compile=False)
        self.model.optimizer.build(self.model.trainable_variables)
        self.steps_a_call = self.model.steps_a_call = steps_per_call(config, device, self.steps)
        # Traced once for all parts, whatever their length.
        numbers = [tf.TensorSpec((), tf.int32)] * 3
        self._sums = tf.function(
            lambda first, last, size, *arrays: sums(self.model, first, last, size, arrays, tf.zeros((), tf.float64)),
            numbers + [tf.TensorSpec((None, *a.shape[1:]), a.dtype) for a in fitted.measured], autograph=False)

    def restart(self, config: RunConfig, data: Prepared) -> None:
        """Begin another run of the same `shape`, as if this had been made for it, without tracing anything anew."""
        redraw(self.network, config)
        self._penalty.set(config)
        reset(self.model.optimizer, config)
        same_data, same_order = data is self._data, config.seed == self._config.seed
        if not same_data:
            self.rest()
        if not (same_data and same_order):
            self._parts.pop("train", None)
            self.model.empty()
            self.model.refill(self._take(config, data))
        self._config = config

    def rest(self) -> None:
        """Let go of all data until `restart`; the traced graph stays."""
        self._parts, self._data = {}, None
        self.model.empty()

    def dataset(self) -> tf.data.Dataset:
        """What `fit` iterates over: the number of the first step of each call into the graph."""
        return step_numbers(self.steps, self.steps_a_call)

    def measure(self, name: str, between: Callable[[], None] = lambda: None) -> tuple[float, float]:
        """Cross-entropy and accuracy in inference mode, without the penalty: means over the rows.

        Args:
            name: `train`, `validation` or `test`.
            between: is called now and then; may raise to leave.
        """
        if name not in self._parts:
            self._parts[name] = self._part(self._config, getattr(self._data, name), measured_rows(self._config))
        part = self._parts[name]
        totals, steps = np.zeros(2), max(1, self.steps_a_call * self._config.batch_size // part.batch_size)
        for first in range(0, part.steps, steps):
            last = min(first + steps, part.steps)
            totals += [float(total) for total in self._sums(
                *(tf.constant(number) for number in (first, last, part.batch_size)), *part.measured)]
            between()
        return float(totals[0]) / part.rows, float(totals[1]) / part.rows

    def _take(self, config: RunConfig, data: Prepared) -> BatchedSplit:
        self._config, self._data = config, data
        fitted = self._part(config, data.train, config.batch_size, fit_order(len(data.train), config.seed))
        self.steps = fitted.steps
        # The training data are laid out already; measuring them in that order gives the same sums.
        self._parts["train"] = fitted
        return fitted

    def _part(self, config: RunConfig, examples, batch_size: int, order: np.ndarray | None = None) -> BatchedSplit:
        return BatchedSplit(examples, batch_size, order, kind=kind(config, self._device), binary=config.outputs == 1,
                            dtype=self.network.compute_dtype, fitted=order is not None)


def _affine(x: SparseBatch | tf.Tensor, dense: keras.layers.Dense) -> tf.Tensor:
    kernel = tf.convert_to_tensor(dense.kernel)
    h = product(x, kernel) if isinstance(x, SparseBatch) else tf.matmul(x, kernel)
    return tf.nn.bias_add(h, dense.bias)


class Penalty:
    """L1 and L2 on the kernels, of strengths that can be changed in a traced graph; Keras's formula."""

    def __init__(self, config: RunConfig):
        # Keras passes a strength through single precision, whatever the weights are.
        self._l1 = tf.Variable(config.l1, dtype=tf.float32, trainable=False) if config.l1 else None
        self._l2 = tf.Variable(config.l2, dtype=tf.float32, trainable=False) if config.l2 else None

    def set(self, config: RunConfig) -> None:
        for strength, value in ((self._l1, config.l1), (self._l2, config.l2)):
            if strength is not None:
                strength.assign(value)

    def attach(self, inner: keras.Sequential) -> None:
        """Put it where Keras looks for penalties; the layers' own settings stay, for saving."""
        for variable in inner.trainable_variables:
            if variable.regularizer is not None:
                variable.regularizer = self

    def __call__(self, kernel: tf.Tensor) -> tf.Tensor:
        total = tf.zeros((), kernel.dtype)
        if self._l1 is not None:
            total += tf.cast(self._l1, kernel.dtype) * tf.reduce_sum(tf.abs(kernel))
        if self._l2 is not None:
            total += tf.cast(self._l2, kernel.dtype) * tf.reduce_sum(tf.square(kernel))
        return total


def reset(optimizer: keras.optimizers.Optimizer, config: RunConfig) -> None:
    """Leave an optimizer as if it had taken no step yet."""
    for variable in optimizer.variables:
        variable.assign(tf.zeros_like(variable))
    optimizer.learning_rate = config.learning_rate


def sums(model: Any, first: tf.Tensor, last: tf.Tensor, batch_size: tf.Tensor, arrays: Sequence[tf.Tensor],
         zero: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Cross-entropies and hits in inference mode, summed over the rows of the steps from `first` to before `last`.

    Args:
        model: has `forward(x, training)`, whose logits are of shape `(…, rows, outputs)`, and `form`.
        batch_size: rows a step.
        arrays: of the part, see `BatchedSplit`.
        zero: where the sums begin, float64 of shape `(…,)`.
    """
    binary = model.form.binary

    def add(step: tf.Tensor, total: tf.Tensor, right: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        y = model.form.labels(arrays, step, batch_size)
        logits = model.forward(model.form.inputs_of(arrays, step, batch_size), False)
        total += tf.cast(tf.reduce_sum(costs(y, logits, binary), -1), tf.float64)
        right += tf.cast(tf.reduce_sum(hits(y, logits, binary), -1), tf.float64)
        return step + 1, total, right

    _, total, right = tf.while_loop(lambda step, *_: step < last, add, (first, zero, zero), parallel_iterations=2)
    return total, right


def step_numbers(steps: int, a_call: int) -> tf.data.Dataset:
    """The number of the first step of each call into the graph."""
    options = tf.data.Options()
    # Nothing is to be tuned here; the thread that would makes `fit` wait for it, 0.2 s in every third epoch.
    options.autotune.enabled = False
    return tf.data.Dataset.range(0, steps, a_call).with_options(options)
