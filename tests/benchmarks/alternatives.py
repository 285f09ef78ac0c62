"""What a person might use instead of the explorer, on the same rows: PyTorch and scikit-learn. Prints one JSON line.

Use: python alternatives.py '{"way": "csr", "file": …, "num_words": …, "hidden": …, "batch_norm": …, "optimizer": …,
"batch_size": …, "epochs": …, "seed": …}', where `num_words` is null for images. The ways:

- `embedding_bag`: PyTorch, `nn.EmbeddingBag(mode="sum")` as the first layer. Its gradient is dense: PyTorch's RMSprop
  refuses a sparse one, and one made dense by hand gains a third at 16 units and loses twofold at 1,024.
- `csr`: PyTorch, a sparse CSR batch times a dense weight; PyTorch finds the gradient by itself.
- `csr_transposed`: the same product with a gradient written by hand. PyTorch's own sorts the entries of the batch anew
  in every step; here each batch is transposed once.
- `dense`: PyTorch, a dense product with a float32 matrix.
- `sklearn`: `MLPClassifier` on a SciPy CSR matrix, or on a dense one for images. It has neither batch norm nor RMSprop
  (Adam stands in), and it draws biases where the others begin at zero.

An epoch does what an epoch of the plain notebook's `fit` does: each training row once, in shuffled batches, then
cross-entropy and accuracy of the test rows. Like `fit` under a seed, all visit the rows in the same shuffled order in
every epoch (`partial_fit` shuffles too: alike, as long as `random_state` is a number), so PyTorch's batches are cut
once. Cutting counts as part of the first epoch; reading and laying out the data do not count, neither in the seconds
nor in the peak memory. Optimizers have Keras's settings.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

# Rows at a time where nothing is learnt from them.
MEASURED_ROWS = 5_000
LEARNING_RATE, EPSILON = 0.001, 1e-7
Words = tuple[np.ndarray, np.ndarray]  # the words of all rows one after the other; where each row begins, and the end


def read(file: str, num_words: int | None) -> Iterator[tuple[Words | np.ndarray, np.ndarray]]:
    """The training part, then the test part; one at a time, for a review as a Python list takes much memory."""
    with np.load(file, allow_pickle=True) as arrays:
        for part in ("train", "test"):
            x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
            yield (x.reshape(len(x), -1) / np.float32(255) if num_words is None else words_of(x, num_words)), y


def words_of(sequences: np.ndarray, num_words: int) -> Words:
    """Distinct words of each review, as in the plain notebook: shifted by 3, 1 is the start, 2 is any rare word."""
    rows = np.repeat(np.arange(len(sequences)), [len(words) for words in sequences])
    words = np.fromiter(chain.from_iterable(sequences), np.int64, len(rows)) + 3
    words[words >= num_words] = 2
    keys = np.concatenate([rows * num_words + words, np.arange(len(sequences)) * num_words + 1])
    rows, words = np.divmod(np.unique(keys), num_words)
    return words.astype(np.int32), np.searchsorted(rows, np.arange(len(sequences) + 1)).astype(np.int32)


def dense_of(part: Words, num_words: int) -> np.ndarray:
    words, offsets = part
    matrix = np.zeros((len(offsets) - 1, num_words), np.float32)
    matrix[np.repeat(np.arange(len(matrix)), np.diff(offsets)), words] = 1
    return matrix


def in_order(part: Words, order: np.ndarray) -> Words:
    """The rows in another order."""
    words, offsets = part
    lengths = np.diff(offsets)[order]
    begins = np.concatenate([[0], np.cumsum(lengths)])
    taken = np.repeat(offsets[order] - begins[:-1], lengths) + np.arange(begins[-1])
    return words[taken], begins.astype(np.int32)


class Record:
    """Notes the end of each epoch; clock and peak memory begin when the data lie ready."""

    def __init__(self) -> None:
        try:
            Path("/proc/self/clear_refs").write_text("5")  # forget the peak that reading left
        except OSError:
            pass  # then the peak is that of everything
        self._began, self._ends = time.perf_counter(), []
        self.curves: dict[str, list[float]] = {"crossentropy": [], "val_crossentropy": [], "val_accuracy": []}

    def epoch(self, **measured: float) -> None:
        self._ends.append(time.perf_counter() - self._began)
        for name, value in measured.items():
            self.curves[name].append(float(value))

    def result(self) -> dict[str, Any]:
        paces = np.diff(self._ends)
        return {"fit": self._ends[-1], "first": self._ends[0],
                "steady": float(np.median(paces)) if len(paces) else self._ends[0], "peak_mb": peak_mb(), **self.curves}


def peak_mb() -> float:
    """Most memory that this program has held."""
    try:
        # What `getrusage` says may be the peak of the program that started this one.
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def fit_torch(given: dict[str, Any]) -> dict[str, Any]:
    """PyTorch: every way but scikit-learn's."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(given["seed"])
    torch.set_num_threads(cores())
    torch.set_flush_denormal(True)  # TensorFlow does it too; the slots of rare words come to such numbers
    way, inputs, binary = given["way"], given["num_words"], given["num_words"] is not None
    (x, y), (x_test, y_test) = read(given["file"], inputs)
    if way == "dense" and binary:
        x, x_test = dense_of(x, inputs), dense_of(x_test, inputs)
    if way == "dense":
        inputs = x.shape[1]
    torch.optim.Adam([torch.zeros(1)])  # half of PyTorch is imported only now, and imports do not count
    record = Record()

    def csr(words: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        return torch.sparse_csr_tensor(offsets, words, torch.ones(len(words)), (len(offsets) - 1, inputs))

    def cut(x: Words | np.ndarray, y: np.ndarray, rows: int) -> list[tuple[Any, torch.Tensor]]:
        labels = torch.from_numpy(y.astype(np.float32)[:, None] if binary else y.astype(np.int64))
        batches: list[tuple[Any, torch.Tensor]] = []
        for begin in range(0, len(y), rows):
            end = min(begin + rows, len(y))
            if way == "dense":
                batch = torch.from_numpy(x[begin:end])
            else:
                offsets = x[1][begin : end + 1]
                words, offsets = (torch.from_numpy(part) for part in (x[0][offsets[0] : offsets[-1]],
                                                                      offsets - offsets[0]))
                batch = (words, offsets) if way == "embedding_bag" else csr(words, offsets)
            batches.append((batch, labels[begin:end]))
        return batches

    class Product(torch.autograd.Function):
        """x·W, where xᵀ is at hand for the gradient xᵀ·G of W."""

        @staticmethod
        def forward(context, x, transposed, weight):
            context.transposed = transposed
            return x @ weight

        @staticmethod
        def backward(context, gradient):
            return None, None, context.transposed @ gradient

    def transposed(x: torch.Tensor) -> torch.Tensor:
        turned = x.t().to_sparse_csr()
        # PyTorch's library for sparse products counts in 32 bits, and would convert in every step.
        return torch.sparse_csr_tensor(
            turned.crow_indices().int(), turned.col_indices().int(), turned.values(), turned.shape)

    order = np.random.default_rng(given["seed"]).permutation(len(y))
    train = cut(x[order] if way == "dense" else in_order(x, order), y[order], given["batch_size"])
    test = cut(x_test, y_test, MEASURED_ROWS)

    first_units, *units = [*given["hidden"], 1 if binary else 10]
    # The weight lies the same way round in all ways; Glorot's bounds do not ask.
    bag = nn.EmbeddingBag(inputs, first_units, mode="sum", include_last_offset=True)
    weight, bias = nn.init.xavier_uniform_(bag.weight), nn.Parameter(torch.zeros(first_units))
    if way == "csr_transposed":
        train = [((batch, transposed(batch)), labels) for batch, labels in train]
        test = [((batch, None), labels) for batch, labels in test]

    def first(batch: Any) -> torch.Tensor:
        if way == "embedding_bag":
            return bag(*batch) + bias
        if way == "csr_transposed":
            return Product.apply(*batch, weight) + bias
        return torch.addmm(bias, batch, weight) if way == "dense" else batch @ weight + bias

    rest = nn.Sequential()
    for before, after in zip([first_units, *units], units):
        if given["batch_norm"]:
            rest.append(nn.BatchNorm1d(before, eps=1e-3, momentum=0.01))
        rest.append(nn.ReLU())
        rest.append(nn.Linear(before, after))
        nn.init.xavier_uniform_(rest[-1].weight)
        nn.init.zeros_(rest[-1].bias)

    parameters = [weight, bias, *rest.parameters()]
    optimizer = {
        "rmsprop": lambda: torch.optim.RMSprop(parameters, lr=LEARNING_RATE, alpha=0.9, eps=EPSILON),
        "adam": lambda: torch.optim.Adam(parameters, lr=LEARNING_RATE, eps=EPSILON, fused=True),
    }[given["optimizer"]]()
    crossentropy = functional.binary_cross_entropy_with_logits if binary else functional.cross_entropy
    for _ in range(given["epochs"]):
        rest.train()
        running = torch.zeros(())
        for batch, labels in train:
            optimizer.zero_grad()
            loss = crossentropy(rest(first(batch)), labels)
            loss.backward()
            optimizer.step()
            running += loss.detach() * len(labels)
        rest.eval()
        total, right = 0.0, 0
        with torch.inference_mode():
            for batch, labels in test:
                logits = rest(first(batch))
                total += crossentropy(logits, labels, reduction="sum").item()
                found = logits > 0 if binary else logits.argmax(1)
                right += (found == labels).sum().item()
        record.epoch(crossentropy=running.item() / len(y), val_crossentropy=total / len(y_test),
                     val_accuracy=right / len(y_test))
    return {**record.result(), "optimizer": given["optimizer"]}


def fit_sklearn(given: dict[str, Any]) -> dict[str, Any]:
    """scikit-learn; `partial_fit` is one epoch that keeps Adam's state, where `fit` with `warm_start` drops it."""
    from scipy.sparse import csr_matrix
    from sklearn.neural_network import MLPClassifier

    if given["batch_norm"]:
        return {"lacks": "batch norm"}

    def laid_out(x: Words | np.ndarray) -> Any:
        if given["num_words"] is None:
            return x
        words, offsets = x
        return csr_matrix((np.ones(len(words), np.float32), words, offsets), (len(offsets) - 1, given["num_words"]))

    (x, y), (x_test, y_test) = ((laid_out(x), y) for x, y in read(given["file"], given["num_words"]))
    record = Record()
    model = MLPClassifier(tuple(given["hidden"]), solver="adam", alpha=0, batch_size=min(given["batch_size"], len(y)),
                          learning_rate_init=LEARNING_RATE, epsilon=EPSILON, random_state=given["seed"])
    classes = np.unique(y)
    for _ in range(given["epochs"]):
        model.partial_fit(x, y, classes=classes)
        found = model.predict_proba(x_test)
        of_label = found[np.arange(len(y_test)), np.searchsorted(classes, y_test)]
        record.epoch(crossentropy=model.loss_, val_accuracy=np.mean(classes[found.argmax(1)] == y_test),
                     val_crossentropy=-np.mean(np.log(np.clip(of_label, 1e-7, 1))))
    return {**record.result(), "optimizer": "adam"}


def cores() -> int:
    """Cores that this program may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main() -> None:
    given = {"batch_norm": False, "seed": 0, **json.loads(sys.argv[1])}
    library, fit = ("scikit-learn", fit_sklearn) if given["way"] == "sklearn" else ("torch", fit_torch)
    try:
        answer = fit(given)
    except ImportError:
        answer = {"missing": library}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
