"""Several small runs trained as one network in one graph: the members of a grid that share data and shapes.

A 16-16 network on 10,000 words is too small to keep a processor busy: most of a step is spent on starting operations
and on waiting for memory. Members stand side by side in the same matrices: their first kernels are columns of one
kernel, so the words of a batch are read once for all; their later kernels are slices of one array that is multiplied
at one go; optimizers work element by element and do not notice. No member sees another: each has its own penalty, its
own dropout masks, its own loss, so its gradients are those it would have alone, and only the order of summation
differs.

`StackedSession` is to many what `graph_loop.TrainingSession` is to one. Each member's weights and slots come out as the
state of a run of its own, so a member can be continued alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from explorer.config import cost_model
from explorer.config.run_config import RunConfig
from explorer.data.splits import Prepared
from explorer.training import graph_loop
from explorer.training.batching import BatchedSplit, SparseBatch, fit_order
from explorer.training.losses import costs, hits
from explorer.training.model import make_optimizer, network, redraw
from explorer.training.optimizers import fused


class StackedModel(graph_loop.Looped):
    """The members' networks as one.

    A first kernel has shape `(inputs, members · units)`, a later one `(members, units, units)`; what belongs to single
    units (biases, batch normalization) has shape `(members · units,)`.

    Args:
        members: configs that agree in `explorer.config.stacking.key`.
        networks: one for each member, with its weights drawn.
        fitted: the training data, in the order of their visits.

    Attributes:
        count: number of members.
        matched: its trainable variables in the order of a member's own.
    """

    def __init__(self, members: Sequence[RunConfig], networks: Sequence[keras.Sequential], fitted: BatchedSplit):
        super().__init__(fitted, (len(members),))
        self.count, self._config = len(members), members[0]
        kernels, biases, norms = _joint(networks)
        self._kernels, self._biases = ([self._variable(values) for values in joint] for joint in (kernels, biases))
        self._norms = [keras.layers.BatchNormalization() for _ in norms]
        for norm, (gamma, *_) in zip(self._norms, norms, strict=True):
            norm.build((None, len(gamma)))
        # Masks are drawn by the members' own layers, from their own seeds.
        self._masks = [_of(inner, keras.layers.Dropout) for inner in networks]
        self.matched = [variable for i, pair in enumerate(zip(self._kernels, self._biases, strict=True))
                        for variable in (*pair, *(self._norms[i].trainable_variables if self._norms[i:] else ()))]
        # Keras passes a strength through single precision, whatever the weights are.
        self._strengths = {name: tf.Variable(tf.zeros((self.count,)), trainable=False) for name in _SUMS
                           if any(getattr(config, name) for config in members)}
        self._output_share = tf.Variable(tf.zeros((self.count,)), trainable=False)
        self.begin(members, networks)

    def begin(self, members: Sequence[RunConfig], networks: Sequence[keras.Sequential]) -> None:
        """Take over the weights of these networks, and the strengths of these configs, alike in `stacking.shape`."""
        kernels, biases, norms = _joint(networks)
        for variable, values in zip((*self._kernels, *self._biases), (*kernels, *biases), strict=True):
            variable.assign(values)
        for norm, joint in zip(self._norms, norms, strict=True):
            for variable, values in zip(norm.variables, joint, strict=True):
                variable.assign(values)
        for name, strengths in self._strengths.items():
            strengths.assign([getattr(config, name) for config in members])
        self._output_share.assign([float(config.regularize_output) for config in members])

    def forward(self, x: SparseBatch | tf.Tensor, training: bool) -> tf.Tensor:
        """All members' outputs for a batch before the last activation, shape `(members, rows, outputs)`."""
        h = graph_loop.product(x, self._kernels[0]) if isinstance(x, SparseBatch) else tf.matmul(x, self._kernels[0])
        h = self._apart(tf.nn.bias_add(h, self._biases[0]))
        for i, (kernel, bias) in enumerate(zip(self._kernels[1:], self._biases[1:], strict=True)):
            if self._norms:
                h = self._apart(self._norms[i](self._side_by_side(h), training=training))
            h = keras.activations.get(self._config.activation)(h)
            if training and any(self._masks):
                h = tf.stack([own[i](part, training=True) if own else part
                              for own, part in zip(self._masks, tf.unstack(h), strict=True)])
            h = tf.matmul(h, kernel) + tf.reshape(bias, (self.count, 1, -1))
        return h

    def penalty(self) -> tf.Tensor:
        """Each member's L1 and L2, shape `(members,)`; Keras's formula."""
        total = tf.zeros((self.count,), self._kernels[0].dtype)
        for name, strengths in self._strengths.items():
            for kernel in self._kernels:
                sums = _SUMS[name](tf.convert_to_tensor(kernel))
                share = strengths * self._output_share if kernel is self._kernels[-1] else strengths
                total += tf.cast(share, sums.dtype) * tf.reduce_sum(tf.reshape(sums, (self.count, -1)), 1)
        return total

    def one_step(self, x: SparseBatch | tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
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

    def joined(self, inner: keras.Sequential) -> list[keras.Variable | None]:
        """Where each variable of a member's own network lies; `None` for one that is its own in here as well."""
        places = {}
        for i, dense in enumerate(_of(inner, keras.layers.Dense)):
            places |= {id(dense.kernel): self._kernels[i], id(dense.bias): self._biases[i]}
        for i, norm in enumerate(_of(inner, keras.layers.BatchNormalization)):
            places |= {id(own): joint for own, joint in zip(norm.variables, self._norms[i].variables, strict=True)}
        return [places.get(id(variable)) for variable in inner.variables]

    def part(self, array: np.ndarray, member: int) -> np.ndarray:
        """What belongs to one member of a variable's values, or of an optimizer's slot for it; a view."""
        if array.ndim == 3:
            return array[member]
        units = array.shape[-1] // self.count if array.ndim else 0
        return array[..., member * units:(member + 1) * units] if units else array

    def _apart(self, h: tf.Tensor) -> tf.Tensor:
        # (rows, members · units) → (members, rows, units)
        return tf.transpose(tf.reshape(h, (-1, self.count, h.shape[1] // self.count)), (1, 0, 2))

    def _side_by_side(self, h: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.transpose(h, (1, 0, 2)), (-1, self.count * h.shape[2]))

    def _variable(self, values: np.ndarray) -> keras.Variable:
        return self.add_weight(shape=values.shape, dtype=str(values.dtype))


class StackedSession:
    """The members' way through their data.

    Args:
        members: configs that agree in `explorer.config.stacking.key`.
        data: what each is trained on.
        device: `cpu` or `gpu:N`.

    Attributes:
        model: what `fit` is called on.
        steps, steps_a_call: batches an epoch, and how many of them one call into the graph takes.
        variables: how many each member's own network has, which come first in its state.
    """

    def __init__(self, members: Sequence[RunConfig], data: Prepared, device: str = "cpu"):
        shared = members[0]
        self._kind, self._parts = cost_model.kind(shared, device), {}
        self._networks = _drawn(members)
        self.variables = [len(inner.variables) for inner in self._networks]
        fitted = self._take(shared, data)
        self.steps_a_call = cost_model.steps_per_call(
            replace(shared, hidden=tuple(units * len(members) for units in shared.hidden)), device, self.steps)
        self.model = StackedModel(members, self._networks, fitted)
        self.model.steps_a_call = self.steps_a_call
        self.model.compile(fused(make_optimizer(shared)), jit_compile=False)
        self.model.optimizer.build(self.model.matched)
        numbers = [tf.TensorSpec((), tf.int32)] * 3
        self._sums = tf.function(
            lambda first, last, size, *arrays: graph_loop.sums(
                self.model, first, last, size, arrays, tf.zeros((len(members),), tf.float64)),
            numbers + [tf.TensorSpec((None, *a.shape[1:]), a.dtype) for a in fitted.measured], autograph=False)

    def restart(self, members: Sequence[RunConfig], data: Prepared) -> None:
        """Begin with others of the same `stacking.shape`, without tracing anew; see `TrainingSession.restart`."""
        # The members' own layers are in the graph: theirs are the masks.
        for inner, config in {id(inner): (inner, config) for inner, config in zip(self._networks, members)}.values():
            redraw(inner, config)
        self.model.begin(members, self._networks)
        graph_loop.reset(self.model.optimizer, members[0])
        if data is self._data and members[0].seed == self._config.seed:
            return
        if data is not self._data:
            self.rest()
        self._parts.pop("train", None)
        self.model.empty()
        self.model.refill(self._take(members[0], data))

    def rest(self) -> None:
        """Let go of all data until `restart`; the traced graph stays."""
        self._parts, self._data = {}, None
        self.model.empty()

    def dataset(self) -> tf.data.Dataset:
        """What `fit` iterates over: the number of the first step of each call into the graph."""
        return graph_loop.step_numbers(self.steps, self.steps_a_call)

    def measure(self, name: str, between: Callable[[], None] = lambda: None) -> np.ndarray:
        """Cross-entropy and accuracy of each member as `TrainingSession.measure`, shape `(members, 2)`."""
        if name not in self._parts:
            self._parts[name] = self._part(
                getattr(self._data, name), cost_model.measured_rows(self._config, self.model.count))
        part = self._parts[name]
        totals = np.zeros((2, self.model.count))
        steps = max(1, self.steps_a_call * self._config.batch_size // part.batch_size)
        for first in range(0, part.steps, steps):
            last = min(first + steps, part.steps)
            totals += [total.numpy() for total in self._sums(
                *(tf.constant(number) for number in (first, last, part.batch_size)), *part.measured)]
            between()
        return totals.T / part.rows

    def measure_with(self, name: str, weights: Mapping[int, Sequence[np.ndarray]]) -> np.ndarray:
        """As `measure`, with other weights for some members; afterwards all is as it was, to the last bit.

        Args:
            weights: of members by their number, the arrays of their own networks.
        """
        held = {id(joint): (joint, np.asarray(joint.value.numpy())) for joint in self.model.variables}
        other = {key: np.array(values) for key, (_, values) in held.items()}
        touched = set()
        for member, arrays in weights.items():
            inner = self._networks[member]
            for joint, array in zip(self.model.joined(inner), arrays, strict=True):
                if joint is not None:
                    self.model.part(other[id(joint)], member)[...] = array
                    touched.add(id(joint))
        try:
            for key in touched:
                held[key][0].assign(other[key])
            return self.measure(name)
        finally:
            for key in touched:
                held[key][0].assign(held[key][1])

    def states(self) -> list[list[np.ndarray]]:
        """Each member's arrays as `train.State` has them for a run of its own; views of what all share."""
        def values(variable) -> np.ndarray:
            return np.asarray(variable.value.numpy())

        now = {id(joint): values(joint) for joint in self.model.variables}
        slots = [values(slot) for slot in self.model.optimizer.variables]
        return [[values(own) if joint is None else self.model.part(now[id(joint)], member)
                 for own, joint in zip(inner.variables, self.model.joined(inner), strict=True)]
                + [self.model.part(slot, member) for slot in slots]
                for member, inner in enumerate(self._networks)]

    def _take(self, config: RunConfig, data: Prepared) -> BatchedSplit:
        self._config, self._data = config, data
        fitted = self._part(data.train, config.batch_size, fit_order(len(data.train), config.seed))
        self.steps, self._parts["train"] = fitted.steps, fitted
        return fitted

    def _part(self, examples, batch_size: int, order: np.ndarray | None = None) -> BatchedSplit:
        return BatchedSplit(examples, batch_size, order, kind=self._kind, binary=self._config.outputs == 1,
                            dtype=keras.config.floatx(), fitted=order is not None)


def _drawn(members: Sequence[RunConfig]) -> list[keras.Sequential]:
    # One seed draws the same weights for all. Only where there is dropout has each a state of its own: its masks.
    plain = network(members[0].with_(dropout=0.0))
    return [network(config) if config.dropout else plain for config in members]


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


def _joint(networks: Sequence[keras.Sequential]) -> tuple[list[np.ndarray], list[np.ndarray], list[list[np.ndarray]]]:
    """All members' kernels, biases and batch-norm variables as `StackedModel` holds them."""
    first, *others = zip(*(_of(inner, keras.layers.Dense) for inner in networks), strict=True)
    kernels = [np.concatenate([np.array(dense.kernel) for dense in first], axis=1)]
    kernels += [np.stack([np.array(dense.kernel) for dense in same]) for same in others]
    biases = [np.concatenate([np.array(dense.bias) for dense in same]) for same in (first, *others)]
    norms = zip(*(_of(inner, keras.layers.BatchNormalization) for inner in networks), strict=True)
    return kernels, biases, [[np.concatenate([np.array(variable) for variable in same])
                              for same in zip(*(layer.variables for layer in layers), strict=True)]
                             for layers in norms]


_SUMS = {"l1": _absolute_sums, "l2": _square_sums}

