"""The fast path: the numbers of Dense on a dense matrix, computed from the words alone.

A multi-hot review is 10,000 numbers of which 130 are 1. `fit` on the dense matrix spends its time on moving and
multiplying zeros, on copying batches, and on asking Python for each of them. The fast path takes these away, one
by one, and leaves the rest to Keras:

1. **Rows are cut into batches once.** Under a fixed seed `fit` visits the rows in the same shuffled order in every
   epoch (`batches.fit_order`), so the words of each batch can be laid out once, one after the other, and a batch is
   a view of that block. The data that `fit` iterates over are the numbers 0, 1, 2, … of the steps; the batch itself
   is cut inside the graph. A notebook that calls `keras.utils.set_random_seed(seed)` sees the same curve.
2. **The first layer adds up rows of its kernel.** x·W for a multi-hot x is the sum of the rows of W that belong to
   its words (`product`). It is the same sum in another order; only rounding differs.
3. **Several steps run in one call** (`steps_per_execution`), few enough that Stop and progress stay quick.
4. **One kernel updates a weight matrix** where Keras's optimizer makes ten passes over it (`fused`).
5. **Both parts are measured by a loop inside the graph** (`Course.measure`), in large batches.

What is trained is an ordinary `keras.Sequential`: `Stepped` is only the `keras.Model` around it whose steps know where
the batches are, so weights, `fit`, `compile`, callbacks and saving are Keras's own. `plain.py` does the same slowly;
the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.ops.linalg.sparse import sparse_csr_matrix_ops as csr_ops

from explorer.batches import fit_order
from explorer.config import RunConfig
from explorer.data.prepare import Prepared
from explorer.data.rows import Examples, WordRows
from explorer.model import compiled, make_optimizer, network

# Sparse products below so many units, CSR products with a dense gradient from there on.
CSR_UNITS = 32
# With so few words nearly every second number is 1, and the dense product is the faster one.
DENSE_INPUTS = 300
# Blocks begin at multiples of so many entries (64 bytes): only then a slice is a view and not a copy.
ALIGNED = 16
# Rows at a time where nothing is learnt from them.
MEASURED_ROWS = 5_000
# Multiplications that one call into the graph may take: a Stop then waits for a tenth of a second or so.
CALL_WORK = 4e9
# Words of a review, about; and passes over the weights that one update amounts to.
WORDS_A_ROW, UPDATE_PASSES = 140, 8


class Part:
    """One part of the data, laid out so that a batch is a slice.

    Args:
        examples: the rows, in the order in which they are visited.
        batch_size: rows a batch; the last may be shorter.
        binary: whether labels become floats (one sigmoid output) or stay class numbers (softmax).
        dense: whether reviews leave as dense rows rather than as words.
        dtype: of the inputs.
    """

    def __init__(self, examples: Examples, batch_size: int, *, binary: bool, dense: bool, dtype: str = "float32"):
        self.rows, self.batch_size, self.inputs = len(examples), batch_size, examples.x.inputs
        self.steps = -(-self.rows // batch_size)
        self._dtype = tf.as_dtype(dtype)
        self._y = tf.constant(examples.y.reshape(-1, 1).astype(dtype if binary else np.int32))
        self._dense = dense
        self.is_words = isinstance(examples.x, WordRows)
        if self.is_words:
            self._lay_out(examples.x)
        else:
            self._pixels, self._scale = tf.constant(examples.x.values), float(examples.x.scale)

    def batch(self, step: tf.Tensor) -> tuple[tf.SparseTensor | tf.Tensor, tf.Tensor]:
        """Inputs and labels of one step, inside the graph: words as a SparseTensor of ones, or dense rows."""
        step = tf.cast(step, tf.int32)
        first = step * self.batch_size
        last = tf.minimum(first + self.batch_size, self.rows)
        y = self._y[first:last]
        if not self.is_words:
            return tf.cast(self._pixels[first:last], self._dtype) / self._scale, y
        begin, end = self._starts[step], self._starts[step + 1]
        places = tf.reshape(self._places[2 * begin:2 * end], (-1, 2))
        shape = tf.stack([tf.cast(last - first, tf.int64), tf.constant(self.inputs, tf.int64)])
        x = tf.SparseTensor(places, tf.cast(self._ones[begin:end], self._dtype), shape)
        if self._dense:
            dense = tf.zeros(tf.cast(shape, tf.int32), self._dtype)
            # The padding adds 0 to a place that is there already.
            return tf.ensure_shape(tf.tensor_scatter_nd_add(dense, places, x.values), (None, self.inputs)), y
        return x, y

    def _lay_out(self, x: WordRows) -> None:
        edges = np.minimum(np.arange(self.steps + 1) * self.batch_size, self.rows)
        cut = x.indptr[edges]
        starts = np.concatenate([[0], np.cumsum(-(-np.diff(cut) // ALIGNED) * ALIGNED)])
        places, ones = np.empty((starts[-1], 2), np.int64), np.zeros(starts[-1], np.float32)
        lengths = np.diff(x.indptr)
        for step in range(self.steps):
            begin, end = starts[step], starts[step + 1]
            filled = begin + cut[step + 1] - cut[step]
            rows = lengths[edges[step]:edges[step + 1]]
            places[begin:filled, 0] = np.repeat(np.arange(len(rows)), rows)
            places[begin:filled, 1] = x.indices[cut[step]:cut[step + 1]]
            # Padding has weight 0 and sits on the last row: CSR wants rows in order.
            places[filled:end] = (len(rows) - 1, 0)
            ones[begin:filled] = 1
        self._places, self._ones = tf.constant(places.ravel()), tf.constant(ones)
        self._starts = tf.constant(starts.astype(np.int32))


def product(words: tf.SparseTensor, kernel: tf.Tensor) -> tf.Tensor:
    """`words @ kernel` with a dense gradient for the kernel; shape `(rows, units)`."""
    kernel = tf.convert_to_tensor(kernel)
    units = kernel.shape[1]
    if units < CSR_UNITS:
        return tf.sparse.sparse_dense_matmul(words, kernel)
    rows = csr_ops.sparse_tensor_to_csr_sparse_matrix(words.indices, words.values, words.dense_shape)

    @tf.custom_gradient
    def multiply(weights: tf.Tensor):
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            columns = csr_ops.sparse_matrix_transpose(rows, type=weights.dtype)
            return tf.ensure_shape(csr_ops.sparse_matrix_mat_mul(columns, upstream), weights.shape)

        return csr_ops.sparse_matrix_mat_mul(rows, weights), gradient

    return tf.ensure_shape(multiply(kernel), (None, units))


class Stepped(keras.Model):
    """The `keras.Model` around a network whose steps know where the batches are.

    Args:
        inner: the layers; the first one is Dense.
        fitted: the training data, in the order of their visits.
    """

    def __init__(self, inner: keras.Sequential, fitted: Part):
        super().__init__(autocast=False)
        self.inner, self.fitted = inner, fitted

    def call(self, x: tf.SparseTensor | tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if not isinstance(x, tf.SparseTensor):
            return self.inner(x, training=training)
        first, *others = self.inner.layers
        h = first.activation(tf.nn.bias_add(product(x, first.kernel), first.bias))
        for layer in others:
            h = layer(h, training=training) if layer._call_has_training_arg else layer(h)
        return h

    def train_step(self, step: tf.Tensor) -> dict[str, tf.Tensor]:
        return super().train_step(self.fitted.batch(step))


class Course:
    """One run's way through its data: what is fitted and how both sides are measured.

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
        self.network = network(config)
        self._config, self._data = config, data
        self._dense = dense_is_faster(config.inputs, device)
        binary = config.outputs == 1
        fitted = Part(data.train.take(fit_order(len(data.train))), config.batch_size, binary=binary, dense=self._dense,
                      dtype=self.network.compute_dtype)
        self.steps = fitted.steps
        calls = steps_per_call(config, self._dense, self.steps)
        self.model = compiled(Stepped(self.network, fitted), config, fused(make_optimizer(config)), calls)
        self._rows_a_call = calls * config.batch_size
        # The training data are laid out already; measuring them in that order gives the same sums.
        self._parts: dict[str, tuple[Part, Callable]] = {"train": self._measured(fitted)}
        # Loss and metrics make their variables now: a step that makes variables would be traced twice.
        y, predicted = tf.zeros((1, 1)), tf.fill((1, config.outputs), 0.5)
        self.model.compute_loss(x=None, y=y, y_pred=predicted)
        self.model.compute_metrics(None, y, predicted)
        self.model.reset_metrics()

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
            self._parts[name] = self._measured(Part(
                getattr(self._data, name), MEASURED_ROWS, binary=self._config.outputs == 1, dense=self._dense,
                dtype=self.network.compute_dtype))
        part, sums = self._parts[name]
        totals, steps_a_call = np.zeros(2), max(1, self._rows_a_call // part.batch_size)
        for first in range(0, part.steps, steps_a_call):
            last = min(first + steps_a_call, part.steps)
            totals += [float(total) for total in sums(tf.constant(first), tf.constant(last))]
            between()
        return float(totals[0]) / part.rows, float(totals[1]) / part.rows

    def _measured(self, part: Part) -> tuple[Part, Callable]:
        # Rewriting the loop by AutoGraph would take longer than the first epoch.
        return part, tf.function(lambda first, last: _sums(self.model, part, first, last), autograph=False)


def _sums(model: Stepped, part: Part, first: tf.Tensor, last: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    binary = model.inner.output_shape[-1] == 1
    cost = keras.losses.binary_crossentropy if binary else keras.losses.sparse_categorical_crossentropy
    hit = keras.metrics.binary_accuracy if binary else keras.metrics.sparse_categorical_accuracy

    def add(step: tf.Tensor, total: tf.Tensor, right: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        x, y = part.batch(step)
        predicted = model(x, training=False)
        total += tf.cast(tf.reduce_sum(cost(y, predicted)), tf.float64)
        right += tf.cast(tf.reduce_sum(tf.cast(hit(y, predicted), tf.float32)), tf.float64)
        return step + 1, total, right

    zero = tf.zeros((), tf.float64)
    _, total, right = tf.while_loop(lambda step, *_: step < last, add, (first, zero, zero), parallel_iterations=1)
    return total, right


class FusedRMSprop(keras.optimizers.RMSprop):
    """RMSprop with one kernel a weight matrix; Keras's formula and Keras's state."""

    def build(self, variables: list) -> None:
        if not self.built:
            super().build(variables)
            # The kernel writes its momentum even where that is 0; what it writes is never read.
            self._scrap = [tf.Variable(tf.zeros(v.shape, v.dtype), trainable=False) for v in variables]

    def update_step(self, gradient: tf.Tensor, variable, learning_rate: tf.Tensor) -> None:
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyRMSProp(
            var=_handle(variable), ms=_handle(self._velocities[index]), mom=self._scrap[index].handle,
            lr=tf.cast(learning_rate, variable.dtype), rho=tf.constant(self.rho, variable.dtype),
            momentum=tf.zeros((), variable.dtype), epsilon=tf.constant(self.epsilon, variable.dtype), grad=gradient)


class FusedAdam(keras.optimizers.Adam):
    """Adam with one kernel a weight matrix; Keras's formula and Keras's state."""

    def update_step(self, gradient: tf.Tensor, variable, learning_rate: tf.Tensor) -> None:
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, variable.dtype)
        # Keras rounds the decay rates to single precision for their powers, and only there.
        powers = [tf.pow(tf.cast(beta, variable.dtype), step) for beta in (self.beta_1, self.beta_2)]
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable), m=_handle(self._momentums[index]), v=_handle(self._velocities[index]),
            beta1_power=powers[0], beta2_power=powers[1], lr=tf.cast(learning_rate, variable.dtype),
            beta1=tf.constant(self.beta_1, variable.dtype), beta2=tf.constant(self.beta_2, variable.dtype),
            epsilon=tf.constant(self.epsilon, variable.dtype), grad=gradient, use_nesterov=False)


def _handle(variable) -> tf.Tensor:
    # Keras hands over its own variables or TensorFlow's inside them.
    return (variable if isinstance(variable, tf.Variable) else variable.value).handle


def fused(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer with fused updates where there is one, else itself."""
    for plain, fast in ((keras.optimizers.RMSprop, FusedRMSprop), (keras.optimizers.Adam, FusedAdam)):
        if type(optimizer) is plain:
            return fast.from_config(optimizer.get_config())
    return optimizer


def dense_is_faster(inputs: int, device: str) -> bool:
    """Whether reviews are better multiplied as dense rows, made inside the graph batch by batch.

    With few words nearly every second number is 1. On a graphics card the dense product costs next to nothing,
    while TensorFlow's sparse products there are not deterministic.
    """
    return device != "cpu" or inputs < DENSE_INPUTS


def steps_per_call(config: RunConfig, dense: bool, steps: int) -> int:
    """How many steps one call into the graph takes: all of an epoch for small networks, few for large ones."""
    first = config.inputs * config.hidden[0]
    worked = first if dense or not config.info.is_words else WORDS_A_ROW * config.hidden[0]
    # Forward, and twice backward.
    step = 3 * config.batch_size * (config.parameters - first + worked) + UPDATE_PASSES * config.parameters
    calls = -(-steps * step // int(CALL_WORK))
    return -(-steps // max(1, min(steps, calls)))
