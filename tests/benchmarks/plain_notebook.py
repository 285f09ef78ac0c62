"""The tutorials' way: a float64 matrix, `fit` with `validation_data`. Prints seconds of `fit` and peak memory as JSON.

Use: python plain_notebook.py '{"file": …, "num_words": …, "hidden": …, "optimizer": …, "epochs": …}'
"""

import json
import os
import resource
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402


def multi_hot(sequences, num_words):
    matrix = np.zeros((len(sequences), num_words))
    for row, words in enumerate(sequences):
        matrix[row, [word + 3 if word + 3 < num_words else 2 for word in words]] = 1.0
        matrix[row, 1] = 1.0
    return matrix


def main():
    given = json.loads(sys.argv[1])
    with np.load(given["file"], allow_pickle=True) as arrays:
        x, y, x_val, y_val = (arrays[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    binary = given["num_words"] is not None
    began = time.perf_counter()
    if binary:
        x, x_val = multi_hot(x, given["num_words"]), multi_hot(x_val, given["num_words"])
        y, y_val = y.astype("float32").reshape(-1, 1), y_val.astype("float32").reshape(-1, 1)
    else:
        x, x_val = x.reshape(len(x), -1) / 255.0, x_val.reshape(len(x_val), -1) / 255.0
    prepared = time.perf_counter()
    keras.utils.set_random_seed(given["seed"])
    model = keras.Sequential([keras.Input((x.shape[1],))])
    for units in given["hidden"]:
        if given["batch_norm"]:
            model.add(keras.layers.Dense(units))
            model.add(keras.layers.BatchNormalization())
            model.add(keras.layers.Activation("relu"))
        else:
            model.add(keras.layers.Dense(units, activation="relu"))
    model.add(keras.layers.Dense(1, activation="sigmoid") if binary else keras.layers.Dense(10, activation="softmax"))
    model.compile(optimizer=given["optimizer"], metrics=["accuracy"],
                  loss="binary_crossentropy" if binary else "sparse_categorical_crossentropy")
    ends = []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    model.fit(x, y, epochs=given["epochs"], batch_size=given["batch_size"], validation_data=(x_val, y_val), verbose=0,
              callbacks=[clock])
    steady = np.median(np.diff(ends)) if len(ends) > 1 else ends[0] - prepared
    print(json.dumps({
        "prepare": prepared - began, "fit": ends[-1] - prepared, "first": ends[0] - prepared, "steady": steady,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


main()
