"""Optimizers that update a weight matrix with one kernel where Keras's own make ten passes over it."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf


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
    """Adam with one kernel a weight matrix; Keras's formula and Keras's state.

    The kernel takes 1 − β from a β that is already rounded to the weights' precision: 1 − 0.999 is off in its fifth
    digit then, and with it every step. What that does to the averages is known, and is taken out of the rate again.
    """

    def apply(self, grads, trainable_variables=None):
        # The same for all weights of a step, and made of as many operations as the rest of a small network's.
        self._rates = {}
        return super().apply(grads, trainable_variables)

    def update_step(self, gradient: tf.Tensor, variable, learning_rate: tf.Tensor) -> None:
        index = self._get_variable_index(variable)
        kind = np.dtype(tf.as_dtype(variable.dtype).as_numpy_dtype)
        if kind not in self._rates:
            self._rates[kind] = self._rates_of(kind, learning_rate)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable), m=_handle(self._momentums[index]), v=_handle(self._velocities[index]),
            beta1=tf.constant(self.beta_1, kind), beta2=tf.constant(self.beta_2, kind), grad=gradient,
            use_nesterov=False, **self._rates[kind])

    def _rates_of(self, kind: np.dtype, learning_rate: tf.Tensor) -> dict[str, tf.Tensor]:
        step = tf.cast(self.iterations + 1, kind)
        # Keras rounds the decay rates to single precision for their powers, and only there.
        powers = [tf.pow(tf.cast(beta, kind), step) for beta in (self.beta_1, self.beta_2)]
        first, second = (self._excess(beta, kind) for beta in (self.beta_1, self.beta_2))
        return {"beta1_power": powers[0], "beta2_power": powers[1],
                "lr": tf.cast(tf.cast(learning_rate, tf.float64) * tf.sqrt(second) / first, kind),
                "epsilon": tf.cast(self.epsilon * tf.sqrt(second), kind)}

    def _excess(self, beta: float, kind: np.dtype) -> tf.Tensor:
        # The kernel's running average of a constant, over Keras's, after this step.
        step = tf.cast(self.iterations + 1, tf.float64)
        kernels, kerass = (-tf.math.expm1(step * np.log1p(-float(share)))
                           for share in (kind.type(1) - kind.type(beta), kind.type(1 - beta)))
        return kernels / kerass


def fused(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer with fused updates where there is one, else itself."""
    for plain, fast in ((keras.optimizers.RMSprop, FusedRMSprop), (keras.optimizers.Adam, FusedAdam)):
        if type(optimizer) is plain:
            return fast.from_config(optimizer.get_config())
    return optimizer


def _handle(variable) -> tf.Tensor:
    # Keras hands over its own variables or TensorFlow's inside them.
    return (variable if isinstance(variable, tf.Variable) else variable.value).handle
