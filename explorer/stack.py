"""Several small runs trained as one network in one graph: the members of a grid that share data and shapes.

A 16-16 network on 10,000 words is too small to keep a processor busy: most of a step is spent on starting operations
and on waiting for memory. Members stand side by side in the same matrices: their first kernels are columns of one
kernel, so the words of a batch are read once for all; their later kernels are slices of one array that is multiplied
at one go; optimizers work element by element and do not notice. No member sees another: each has its own penalty, its
own dropout masks, its own loss, so its gradients are those it would have alone, and only the order of summation
differs.

`Stack` is to many what `explorer.fast.Course` is to one. Each member's weights and slots come out as the state of a run
of its own, so a member can be continued alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from explorer import fast
from explorer.batches import fit_order
from explorer.config import RunConfig
from explorer.costs import costs, hits
from explorer.data.prepare import Prepared
from explorer.fused import fused
from explorer.layout import Part, Words
from explorer.model import make_optimizer, network


class Stacked(fast.Looped):
    """The members' networks as one.

    A first kernel has shape `(inputs, members · units)`, a later one `(members, units, units)`; what belongs to single
    units (biases, batch normalisation) has shape `(members · units,)`.

    Args:
        members: configs that agree in `explorer.stacking.key`.
        networks: one for each member, with its weights drawn.
        fitted: the training data, in the order of their visits.

    Attributes:
        count: number of members.
        matched: its trainable variables in the order of a member's own.
    """

    def __init__(self, members: Sequence[RunConfig], networks: Sequence[keras.Sequential], fitted: Part):
        super().__init__(fitted, (len(members),))
        self.count, self._config = len(members), members[0]
        first, *others = zip(*(_of(inner, keras.layers.Dense) for inner in networks), strict=True)
        self._kernels = [self._variable(np.concatenate([np.array(dense.kernel) for dense in first], axis=1))]
        self._kernels += [self._variable(np.stack([np.array(dense.kernel) for dense in same])) for same in others]
        self._biases = [self._variable(np.concatenate([np.array(dense.bias) for dense in same]))
                        for same in (first, *others)]
        norms = zip(*(_of(inner, keras.layers.BatchNormalization) for inner in networks), strict=True)
        self._norms = [_norm(same) for same in norms]
        # Masks are drawn by the members' own layers, from their own seeds.
        self._masks = [_of(inner, keras.layers.Dropout) for inner in networks]
        self.matched = [variable for i, pair in enumerate(zip(self._kernels, self._biases, strict=True))
                        for variable in (*pair, *(self._norms[i].trainable_variables if self._norms[i:] else ()))]
        # Keras passes a strength through single precision, whatever the weights are.
        sums = {"l1": _absolute_sums, "l2": _square_sums}
        self._strengths = [(sums[name], tf.constant([getattr(config, name) for config in members], tf.float32))
                           for name in sums if any(getattr(config, name) for config in members)]
        self._output_share = tf.constant([float(config.regularize_output) for config in members])

    def forward(self, x: Words | tf.Tensor, training: bool) -> tf.Tensor:
        """All members' outputs for a batch before the last activation, shape `(members, rows, outputs)`."""
        h = fast.product(x, self._kernels[0]) if isinstance(x, Words) else tf.matmul(x, self._kernels[0])
        h = tf.nn.bias_add(h, self._biases[0])
        for i, (kernel, bias) in enumerate(zip(self._kernels[1:], self._biases[1:], strict=True)):
            if self._norms:
                h = self._norms[i](h, training=training)
            h = keras.activations.get(self._config.activation)(h)
            if training and any(self._masks):
                parts = tf.split(h, self.count, axis=1)
                h = tf.concat([own[i](part, training=True) if own else part
                               for own, part in zip(self._masks, parts, strict=True)], axis=1)
            h = tf.matmul(self._apart(h), kernel)
            h = tf.reshape(tf.transpose(h, (1, 0, 2)), (-1, self.count * h.shape[2]))
            h = tf.nn.bias_add(h, bias)
        return self._apart(h)

    def penalty(self) -> tf.Tensor:
        """Each member's L1 and L2, shape `(members,)`; Keras's formula."""
        total = tf.zeros((self.count,), self._kernels[0].dtype)
        for amount, strengths in self._strengths:
            for kernel in self._kernels:
                sums = amount(tf.convert_to_tensor(kernel))
                share = strengths * self._output_share if kernel is self._kernels[-1] else strengths
                total += tf.cast(share, sums.dtype) * tf.reduce_sum(tf.reshape(sums, (self.count, -1)), 1)
        return total

    def one_step(self, x: Words | tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = self.forward(x, training=True)
            each, penalty = costs(y, logits, self.form.binary), self.penalty()
        share = 1 / tf.cast(tf.shape(each)[1], each.dtype)
        found = tape.gradient([each, penalty], self.matched, [tf.fill(tf.shape(each), share), tf.ones_like(penalty)])
        self.optimizer.apply_gradients(zip(found, self.matched, strict=True))
        return (tf.reduce_sum(each, 1) * share + penalty,
                tf.reduce_sum(hits(y, logits, self.form.binary), 1))

    def get_metrics_result(self) -> dict[str, tf.Tensor]:
        return {}  # Keras has room for one number each

    def deal(self, networks: Sequence[keras.Sequential]) -> None:
        """Give every member's own network its values."""
        for member, inner in enumerate(networks):
            for i, dense in enumerate(_of(inner, keras.layers.Dense)):
                dense.kernel.assign(self.part(self._kernels[i], member))
                dense.bias.assign(self.part(self._biases[i], member))
            for i, norm in enumerate(_of(inner, keras.layers.BatchNormalization)):
                for own, joined in zip(norm.variables, self._norms[i].variables, strict=True):
                    own.assign(self.part(joined, member))

    def part(self, values, member: int) -> np.ndarray:
        """What belongs to one member of a variable, or of an optimizer's slot for it."""
        array = np.array(values)
        if array.ndim == 3:
            return array[member]
        return array if array.ndim == 0 else np.split(array, self.count, axis=-1)[member]

    def _apart(self, h: tf.Tensor) -> tf.Tensor:
        # (rows, members · units) → (members, rows, units)
        return tf.transpose(tf.reshape(h, (-1, self.count, h.shape[1] // self.count)), (1, 0, 2))

    def _variable(self, values: np.ndarray) -> keras.Variable:
        variable = self.add_weight(shape=values.shape, dtype=str(values.dtype))
        variable.assign(values)
        return variable


class Stack:
    """The members' way through their data.

    Args:
        members: configs that agree in `explorer.stacking.key`.
        data: what each is trained on.
        device: `cpu` or `gpu:N`.

    Attributes:
        model: what `fit` is called on.
        steps, steps_a_call: batches an epoch, and how many of them one call into the graph takes.
    """

    def __init__(self, members: Sequence[RunConfig], data: Prepared, device: str = "cpu"):
        shared = members[0]
        self._config, self._data = shared, data
        self._kind = fast.kind(shared, device)
        self._networks = [network(config) for config in members]
        fitted = self._part(data.train, shared.batch_size, fit_order(len(data.train), shared.seed))
        self.steps = fitted.steps
        self.steps_a_call = fast.steps_per_call(
            replace(shared, hidden=tuple(units * len(members) for units in shared.hidden)), self._kind, self.steps)
        self.model = Stacked(members, self._networks, fitted)
        self.model.steps_a_call = self.steps_a_call
        self.model.compile(fused(make_optimizer(shared)), jit_compile=False)
        self.model.optimizer.build(self.model.matched)
        self._parts = {"train": fitted}
        numbers = [tf.TensorSpec((), tf.int32)] * 3
        self._sums = tf.function(
            lambda first, last, size, *arrays: fast.sums(
                self.model, first, last, size, arrays, tf.zeros((len(members),), tf.float64)),
            numbers + [tf.TensorSpec((None, *a.shape[1:]), a.dtype) for a in fitted.measured], autograph=False)

    def dataset(self) -> tf.data.Dataset:
        """What `fit` iterates over: the number of the first step of each call into the graph."""
        return fast.step_numbers(self.steps, self.steps_a_call)

    def measure(self, name: str, between: Callable[[], None] = lambda: None) -> np.ndarray:
        """Cross-entropy and accuracy of each member as `Course.measure`, shape `(members, 2)`."""
        if name not in self._parts:
            self._parts[name] = self._part(
                getattr(self._data, name), fast.measured_rows(self._config, self.model.count))
        part = self._parts[name]
        totals = np.zeros((2, self.model.count))
        steps = max(1, self.steps_a_call * self._config.batch_size // part.batch_size)
        for first in range(0, part.steps, steps):
            last = min(first + steps, part.steps)
            totals += [total.numpy() for total in self._sums(
                *(tf.constant(number) for number in (first, last, part.batch_size)), *part.measured)]
            between()
        return totals.T / part.rows

    def states(self) -> list[list[np.ndarray]]:
        """Each member's arrays as `explorer.training.State` has them for a run of its own."""
        self.model.deal(self._networks)
        slots = [np.array(variable) for variable in self.model.optimizer.variables]
        return [[*map(np.array, inner.variables), *(self.model.part(slot, member) for slot in slots)]
                for member, inner in enumerate(self._networks)]

    def _part(self, examples, batch_size: int, order: np.ndarray | None = None) -> Part:
        return Part(examples, batch_size, order, kind=self._kind, binary=self._config.outputs == 1,
                    dtype=keras.config.floatx(), fitted=order is not None)


# Sums over the inputs of each unit. Left to itself, TensorFlow would pass over the kernel three times as often for the
# gradients, and kernels as wide as these are what a step waits for.
@tf.custom_gradient
def _square_sums(kernel: tf.Tensor):
    return tf.reduce_sum(tf.square(kernel), -2), lambda upstream: kernel * (2 * upstream)[..., tf.newaxis, :]


@tf.custom_gradient
def _absolute_sums(kernel: tf.Tensor):
    return tf.reduce_sum(tf.abs(kernel), -2), lambda upstream: tf.sign(kernel) * upstream[..., tf.newaxis, :]


def _of(inner: keras.Sequential, kind: type) -> list:
    return [layer for layer in inner.layers if isinstance(layer, kind)]


def _norm(own: Sequence[keras.layers.BatchNormalization]) -> keras.layers.BatchNormalization:
    joined = keras.layers.BatchNormalization()
    joined.build((None, sum(layer.gamma.shape[0] for layer in own)))
    for i, variable in enumerate(joined.variables):
        variable.assign(np.concatenate([np.array(layer.variables[i]) for layer in own]))
    return joined
