"""From a RunConfig to a Keras model, and how it is compiled."""

from __future__ import annotations

import random

import keras

from explorer.config.run_config import RunConfig

MOMENTUM = 0.9


def network(config: RunConfig) -> keras.Sequential:
    """The network of a run, its weights drawn from the config's seed.

    Layers are made in the order Dense, batch norm, activation, dropout, so that a notebook which does the same after
    `keras.utils.set_random_seed(config.seed)` draws the same weights and the same dropout masks.

    Args:
        config: what is trained.

    Returns:
        A model for inputs of shape `(batch, config.inputs)`, not compiled.
    """
    # What Keras draws its layers' seeds from. Setting all seeds would throw away the kernels that TensorFlow has ready.
    random.seed(config.seed)
    layers: list[keras.layers.Layer] = [keras.Input((config.inputs,))]
    for units in config.hidden:
        layers.append(keras.layers.Dense(
            units, kernel_initializer=config.initializer, kernel_regularizer=_penalty(config)))
        if config.batch_norm:
            layers.append(keras.layers.BatchNormalization())
        layers.append(keras.layers.Activation(config.activation))
        if config.dropout:
            layers.append(keras.layers.Dropout(config.dropout))
    layers.append(keras.layers.Dense(
        config.outputs,
        activation="sigmoid" if config.outputs == 1 else "softmax",
        kernel_initializer=config.initializer,
        kernel_regularizer=_penalty(config) if config.regularize_output else None,
    ))
    return keras.Sequential(layers)


def redraw(model: keras.Sequential, config: RunConfig) -> None:
    """Leave a network as `network(config)` would make it, without making one: Keras takes longer for its layers than
    TensorFlow for their numbers.

    Args:
        model: made by `network` from a config that differs in the seed and in the penalty's strengths alone.
        config: what is trained next.
    """
    random.seed(config.seed)
    for layer in model.layers:
        # Each of these draws its seed as it is made, in the order of the layers.
        if isinstance(layer, keras.layers.Dense):
            _fill(layer.kernel, keras.initializers.get(config.initializer))
            _fill(layer.bias, layer.bias_initializer)
            if layer.kernel_regularizer is not None:
                layer.kernel_regularizer = _penalty(config)
        elif isinstance(layer, keras.layers.Dropout):
            layer.seed_generator.state.assign(keras.random.SeedGenerator().state)
        elif isinstance(layer, keras.layers.BatchNormalization):
            for variable, initializer in (
                    (layer.gamma, layer.gamma_initializer), (layer.beta, layer.beta_initializer),
                    (layer.moving_mean, layer.moving_mean_initializer),
                    (layer.moving_variance, layer.moving_variance_initializer)):
                _fill(variable, initializer)


def _fill(variable: keras.Variable, initializer: keras.initializers.Initializer) -> None:
    variable.assign(initializer(variable.shape, dtype=variable.dtype))


def compiled(
    model: keras.Model, config: RunConfig, optimizer: keras.optimizers.Optimizer | None = None,
) -> keras.Model:
    """Compile a model as the config says.

    Args:
        model: the network, or a model around it.
        config: what is trained.
        optimizer: in place of the config's own.

    Returns:
        The model, for labels of shape `(batch, 1)`. Its metrics are `accuracy` and `crossentropy`; its loss is the
        cross-entropy plus the penalty.
    """
    if config.outputs == 1:
        loss: keras.losses.Loss = keras.losses.BinaryCrossentropy()
        metrics = [keras.metrics.BinaryAccuracy("accuracy"), keras.metrics.BinaryCrossentropy("crossentropy")]
    else:
        loss = keras.losses.SparseCategoricalCrossentropy()
        metrics = [keras.metrics.SparseCategoricalAccuracy("accuracy"),
                   keras.metrics.SparseCategoricalCrossentropy("crossentropy")]
    # XLA costs 2 to 3 s of compilation and gains these small networks nothing.
    model.compile(optimizer or make_optimizer(config), loss, metrics=metrics, jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def _penalty(config: RunConfig) -> keras.regularizers.Regularizer | None:
    if config.regularizer == "none":
        return None
    return keras.regularizers.L1L2(config.l1, config.l2)


def make_optimizer(config: RunConfig) -> keras.optimizers.Optimizer:
    """The optimizer that the config names."""
    rate, decay = config.learning_rate, config.weight_decay or None
    if config.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    if config.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(rate)
    if config.optimizer == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)
    return keras.optimizers.SGD(
        rate, momentum=MOMENTUM if config.optimizer == "momentum" else 0.0, weight_decay=decay)
