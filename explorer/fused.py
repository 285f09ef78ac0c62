"""Optimizers that update a weight matrix with one kernel where Keras's own make ten passes over it."""

from __future__ import annotations

import keras
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


def fused(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer with fused updates where there is one, else itself."""
    for plain, fast in ((keras.optimizers.RMSprop, FusedRMSprop), (keras.optimizers.Adam, FusedAdam)):
        if type(optimizer) is plain:
            return fast.from_config(optimizer.get_config())
    return optimizer


def _handle(variable) -> tf.Tensor:
    # Keras hands over its own variables or TensorFlow's inside them.
    return (variable if isinstance(variable, tf.Variable) else variable.value).handle
