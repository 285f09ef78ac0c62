"""Cross-entropy and accuracy of a batch from its logits: Keras's formulas, in as few operations as they take.

Left to Keras's losses and metrics, a step of a small network spends half its time on starting operations that reshape,
count and divide scalars.
"""

from __future__ import annotations

import tensorflow as tf


def costs(y: tf.Tensor, logits: tf.Tensor, binary: bool) -> tf.Tensor:
    """Cross-entropy of each row in nats.

    Args:
        y: labels `(rows, 1)`: 0 and 1 of the logits' dtype, or class numbers.
        logits: the network's outputs before its sigmoid or softmax, `(…, rows, outputs)`.
        binary: whether there is one sigmoid output.

    Returns:
        Shape `(…, rows)`.
    """
    if binary:
        # A softplus would be one operation instead of ten; but this is what Keras calls, and its gradient is the same
        # to the last bit.
        labels = y if logits.shape.rank == 2 else tf.tile(y[tf.newaxis], (tf.shape(logits)[0], 1, 1))
        return tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)[..., 0]
    labels = y[:, 0] if logits.shape.rank == 2 else tf.tile(y[:, 0][tf.newaxis], (tf.shape(logits)[0], 1))
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def hits(y: tf.Tensor, logits: tf.Tensor, binary: bool) -> tf.Tensor:
    """1 for each row whose label is the likeliest, else 0; float32 `(…, rows)`, arguments as of `costs`."""
    if binary:
        # As Keras has it, by the probability: a logit of less than rounding counts as one half, which is no 1.
        found = tf.equal(tf.cast(tf.sigmoid(logits) > 0.5, y.dtype), y)[..., 0]
    else:
        found = tf.equal(tf.argmax(logits, -1, y.dtype), y[:, 0])
    return tf.cast(found, tf.float32)
