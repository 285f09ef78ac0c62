"""Plain Keras, as a notebook would have it, without any code of the explorer: the reference of the trainer.

Use: python plain_keras.py '{"data": …, "num_words": …, …}'; prints a JSON list with one dictionary an epoch.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402


def main() -> None:
    given = json.loads(sys.argv[1])
    arrays = np.load(given["file"])
    x, y, x_val, y_val = (arrays[name] for name in ("x", "y", "x_val", "y_val"))
    binary = given["classes"] == 2
    kind = np.float32 if binary else np.int32
    y, y_val = y.reshape(-1, 1).astype(kind), y_val.reshape(-1, 1).astype(kind)

    keras.utils.set_random_seed(given["seed"])
    model = keras.Sequential([keras.Input((x.shape[1],))])
    for units in given["hidden"]:
        model.add(keras.layers.Dense(
            units, kernel_regularizer=keras.regularizers.L2(given["l2"]) if given["l2"] else None))
        if given["batch_norm"]:
            model.add(keras.layers.BatchNormalization())
        model.add(keras.layers.Activation("relu"))
        if given["dropout"]:
            model.add(keras.layers.Dropout(given["dropout"]))
    model.add(keras.layers.Dense(1, activation="sigmoid") if binary
              else keras.layers.Dense(given["classes"], activation="softmax"))
    name = "binary_crossentropy" if binary else "sparse_categorical_crossentropy"
    model.compile(optimizer=given["optimizer"], loss=name, metrics=["accuracy", name])
    # As often as a notebook's cell is run; each history counts its epochs from 1.
    histories = [model.fit(x, y, batch_size=given["batch_size"], epochs=given["epochs"],
                           validation_data=(x_val, y_val), verbose=0).history for _ in range(given.get("fits", 1))]
    print(json.dumps([
        {"loss": history["loss"][i], "accuracy": history["accuracy"][i], "val_loss": history["val_loss"][i],
         "val_crossentropy": history[f"val_{name}"][i], "val_accuracy": history["val_accuracy"][i]}
        for history in histories for i in range(given["epochs"])]))


main()
