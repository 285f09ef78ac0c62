"""The fast path: the numbers of Dense on a dense matrix, computed from the words alone.

A multi-hot review is 10,000 numbers of which 130 are 1. `fit` on the dense matrix spends its time on moving and
multiplying zeros, on copying batches, and on asking Python for each of them. The fast path takes these away, one
by one, and leaves the rest to Keras:

1. **Rows are cut into batches once** (`layout`). Under a fixed seed `fit` visits the rows in the same shuffled order
   in every epoch (`batches.fit_order`), so the words of each batch can be laid out once, one after the other, and a
   batch is a slice. The data that `fit` iterates over are the numbers 0, 1, 2, … of the steps; the batch itself is
   cut inside the graph. A notebook that calls `keras.utils.set_random_seed(seed)` sees the same curve.
2. **The first layer adds up rows of its kernel.** x·W for a multi-hot x is the sum of the rows of W that belong to
   its words (`product`). It is the same sum in another order; only rounding differs.
3. **Several steps run in one call** (`steps_per_execution`), few enough that Stop and progress stay quick.
4. **One kernel updates a weight matrix** where Keras's optimizer makes ten passes over it (`fused`).
5. **All parts are measured by one loop inside the graph** (`Course.measure`).
6. **A traced graph is used again** (`Course.restart`): seeds, data, strengths and the learning rate are its
   variables, so the next run of the same shape starts at once.

What is trained is an ordinary `keras.Sequential`: `Stepped` is only the `keras.Model` around it whose steps know where
the batches are, so weights, `fit`, `compile`, callbacks and saving are Keras's own. `plain.py` does the same slowly;
the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.ops.linalg.sparse import sparse_csr_matrix_ops as csr_ops

from explorer.batches import fit_order
from explorer.config import RunConfig
from explorer.data.prepare import Prepared
from explorer.fused import fused
from explorer.layout import Form, Part, Words
from explorer.model import compiled, make_optimizer, network

# Sparse products below so many units, CSR products with a dense gradient from there on.
CSR_UNITS = 32
# With so few words nearly every second number is 1, and the dense product is the faster one.
DENSE_INPUTS = 300
# Rows at a time where nothing is learnt from them.
MEASURED_ROWS = 5_000
# Multiplications that one call into the graph may take: a Stop then waits for a tenth of a second or so.
CALL_WORK = 4e9
# Words of a review, about; and passes over the weights that one update amounts to.
WORDS_A_ROW, UPDATE_PASSES = 140, 8


def product(words: Words, kernel: tf.Tensor) -> tf.Tensor:
    """`words @ kernel` with a dense gradient for the kernel; shape `(rows, units)`."""
    kernel = tf.convert_to_tensor(kernel)
    ones = tf.ones((tf.shape(words.places)[0],), kernel.dtype)
    shape = tf.cast(tf.stack([tf.shape(words.rows)[0], kernel.shape[0]]), tf.int64)
    if kernel.shape[1] < CSR_UNITS:
        def times(matrix: tf.Tensor, transposed: bool) -> tf.Tensor:
            return tf.raw_ops.SparseTensorDenseMatMul(
                a_indices=words.places, a_values=ones, a_shape=shape, b=matrix, adjoint_a=transposed)
    else:
        rows = csr_ops.sparse_tensor_to_csr_sparse_matrix(tf.cast(words.places, tf.int64), ones, shape)

        def times(matrix: tf.Tensor, transposed: bool) -> tf.Tensor:
            left = csr_ops.sparse_matrix_transpose(rows, type=kernel.dtype) if transposed else rows
            return csr_ops.sparse_matrix_mat_mul(left, matrix)

    @tf.custom_gradient
    def multiply(weights: tf.Tensor):
        return times(weights, False), lambda upstream: tf.ensure_shape(times(upstream, True), weights.shape)

    return tf.ensure_shape(multiply(kernel), (None, kernel.shape[1]))


class Stepped(keras.Model):
    """The `keras.Model` around a network whose steps know where the batches are.

    Args:
        inner: the layers; the first one is Dense.
        fitted: the training data, in the order of their visits.
    """

    def __init__(self, inner: keras.Sequential, fitted: Part):
        super().__init__(autocast=False)
        self.inner, self._form, self._batch_size = inner, fitted.form, fitted.batch_size
        with tf.device("CPU:0"):
            self._held = [tf.Variable(array, trainable=False, shape=(None, *array.shape[1:]))
                          for array in fitted.arrays]

    def refill(self, fitted: Part) -> None:
        """Go on with other training data of the same form."""
        for held, array in zip(self._held, fitted.arrays, strict=True):
            held.assign(array)

    def call(self, x: Words | tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if not isinstance(x, Words):
            return self.inner(x, training=training)
        first, *others = self.inner.layers
        h = first.activation(tf.nn.bias_add(product(x, first.kernel), first.bias))
        for layer in others:
            h = layer(h, training=training) if layer._call_has_training_arg else layer(h)
        return h

    def batch(self, step: tf.Tensor) -> tuple[Words | tf.Tensor, tf.Tensor]:
        """Inputs and labels of one step."""
        return self._form.cut([tf.convert_to_tensor(held) for held in self._held], step, self._batch_size)

    def train_step(self, step: tf.Tensor) -> dict[str, tf.Tensor]:
        return super().train_step(self.batch(step))


class Course:
    """One run's way through its data: what is fitted and how every part is measured.

    Args:
        config: what is trained.
        data: what it is trained on.
        device: `cpu` or `gpu:N`; decides whether reviews are multiplied as words.

    Attributes:
        network: the layers, an ordinary `keras.Sequential`.
        model: what `fit` is called on.
        steps: batches an epoch.
    """

    def __init__(self, config: RunConfig, data: Prepared, device: str = "cpu"):
        self._dense = dense_is_faster(config.inputs, device)
        self.network = network(config)
        self._penalty = Penalty(config)
        self._penalty.attach(self.network)
        fitted = self._take(config, data)
        calls = steps_per_call(config, self._dense, self.steps)
        self.model = compiled(Stepped(self.network, fitted), config, fused(make_optimizer(config)), calls)
        self._rows_a_call = calls * config.batch_size
        # Loss and metrics make their variables now: a step that makes variables would be traced twice.
        y, predicted = tf.zeros((1, 1)), tf.fill((1, config.outputs), 0.5)
        self.model.compute_loss(x=None, y=y, y_pred=predicted)
        self.model.compute_metrics(None, y, predicted)
        self.model.reset_metrics()
        # Traced once for all parts, whatever their length. AutoGraph would take longer than the first epoch.
        numbers = [tf.TensorSpec((), tf.int32)] * 3
        self._sums = tf.function(
            lambda first, last, batch_size, *arrays: _sums(self.model, fitted.form, first, last, batch_size, arrays),
            numbers + [tf.TensorSpec((None, *a.shape[1:]), a.dtype) for a in fitted.arrays], autograph=False)

    def restart(self, config: RunConfig, data: Prepared) -> None:
        """Begin another run of the same `shape`, as if this had been made for it, without tracing anything anew."""
        drawn = network(config)
        for variable, value in zip(self.network.variables, drawn.variables, strict=True):
            variable.assign(value)
        for layer, other in zip(self.network.layers, drawn.layers, strict=True):
            if hasattr(layer, "kernel_regularizer"):
                layer.kernel_regularizer = other.kernel_regularizer
        self._penalty.set(config)
        optimizer = self.model.optimizer
        for variable in optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        optimizer.learning_rate = config.learning_rate
        self.model.refill(self._take(config, data))

    def dataset(self) -> tf.data.Dataset:
        """What `fit` iterates over: the numbers of the steps."""
        return tf.data.Dataset.range(self.steps)

    def measure(self, name: str, between: Callable[[], None] = lambda: None) -> tuple[float, float]:
        """Cross-entropy and accuracy in inference mode, without the penalty: means over the rows.

        Args:
            name: `train`, `validation` or `test`.
            between: is called now and then; may raise to leave.
        """
        if name not in self._parts:
            self._parts[name] = self._part(self._config, getattr(self._data, name), MEASURED_ROWS)
        part = self._parts[name]
        totals, steps_a_call = np.zeros(2), max(1, self._rows_a_call // part.batch_size)
        for first in range(0, part.steps, steps_a_call):
            last = min(first + steps_a_call, part.steps)
            totals += [float(total) for total in self._sums(
                *(tf.constant(number) for number in (first, last, part.batch_size)), *part.arrays)]
            between()
        return float(totals[0]) / part.rows, float(totals[1]) / part.rows

    def _take(self, config: RunConfig, data: Prepared) -> Part:
        self._config, self._data = config, data
        fitted = self._part(config, data.train, config.batch_size, fit_order(len(data.train)))
        self.steps = fitted.steps
        # The training data are laid out already; measuring them in that order gives the same sums.
        self._parts = {"train": fitted}
        return fitted

    def _part(self, config: RunConfig, examples, batch_size: int, order: np.ndarray | None = None) -> Part:
        return Part(examples, batch_size, order, binary=config.outputs == 1, words=not self._dense,
                    coded=config.inputs > DENSE_INPUTS, dtype=self.network.compute_dtype)


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


def shape(config: RunConfig, rows: int, device: str) -> Hashable:
    """What a traced graph has built in: runs that agree in it can use the same `Course` one after another."""
    return (config.inputs, config.outputs, config.info.is_words, config.hidden, config.activation, config.batch_norm,
            config.initializer, bool(config.l1), bool(config.l2), config.regularize_output, config.dropout,
            config.optimizer, config.weight_decay, config.batch_size, device,
            steps_per_call(config, dense_is_faster(config.inputs, device), -(-rows // config.batch_size)))


def _sums(model: Stepped, form: Form, first: tf.Tensor, last: tf.Tensor, batch_size: tf.Tensor,
          arrays: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor]:
    cost = keras.losses.binary_crossentropy if form.binary else keras.losses.sparse_categorical_crossentropy
    hit = keras.metrics.binary_accuracy if form.binary else keras.metrics.sparse_categorical_accuracy

    def add(step: tf.Tensor, total: tf.Tensor, right: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        x, y = form.cut(list(arrays), step, batch_size)
        predicted = model(x, training=False)
        total += tf.cast(tf.reduce_sum(cost(y, predicted)), tf.float64)
        right += tf.cast(tf.reduce_sum(tf.cast(hit(y, predicted), tf.float32)), tf.float64)
        return step + 1, total, right

    zero = tf.zeros((), tf.float64)
    _, total, right = tf.while_loop(lambda step, *_: step < last, add, (first, zero, zero), parallel_iterations=1)
    return total, right


def dense_is_faster(inputs: int, device: str) -> bool:
    """Whether reviews are better multiplied as dense rows, made inside the graph batch by batch.

    With few words nearly every second number is 1. On a graphics card the dense product costs next to nothing,
    while TensorFlow's sparse products there are not deterministic.
    """
    return device != "cpu" or inputs <= DENSE_INPUTS


def steps_per_call(config: RunConfig, dense: bool, steps: int) -> int:
    """How many steps one call into the graph takes: all of an epoch for small networks, few for large ones."""
    first = config.inputs * config.hidden[0]
    worked = first if dense or not config.info.is_words else WORDS_A_ROW * config.hidden[0]
    # Forward, and twice backward.
    step = 3 * config.batch_size * (config.parameters - first + worked) + UPDATE_PASSES * config.parameters
    calls = -(-steps * step // int(CALL_WORK))
    return -(-steps // max(1, min(steps, calls)))
