"""How far single precision drifts: the fast path from the plain one, and the plain one from itself.

Use: python -m tests.benchmarks.drift [--epochs 5] [--row 0 --row 2 …]; needs EXPLORER_DATA_DIR.

Two correct computations that round differently drift apart. As long as they differ by rounding alone, they stay
together; but sooner or later the sum of some unit is 0 but for rounding, so that its ReLU is on in one of them and off
in the other, and from then on they train different weights (so does a weight at 0 under L1). The wider the network, the
sooner. So the fast path is held to what the plain one does to itself when nothing changes but the order in which it
adds up: with oneDNN switched off, and with the inputs in another order. Where those happen to stay together and the
fast path does not, the step in which a unit turned is looked for (`turns.py`). The last column is plain Keras as a
notebook would have it (`tests/reference/plain_keras.py`), with nothing of the explorer in it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from explorer.config.run_config import RunConfig
from explorer.config.settings import Settings
from tests.benchmarks.curves import ROOT, asked, command, rows
from tests.benchmarks.trainer import LARGE, ROWS

EPOCHS = 5
# What every row of the table is tried with.
OPTIONS = {
    "nothing": {}, "L1": {"l1": 1e-4}, "L2": {"l2": 1e-3}, "dropout": {"dropout": 0.5},
    "batch norm": {"batch_norm": True},
}
# Single precision is held to this where nothing amplifies it.
EXACT = 1e-5
# How far apart two computations are once they drift is what it happens to be: a difference of kind begins here.
SCATTER = 4
NAMES = ("loss", "accuracy", "train_crossentropy", "train_accuracy", "val_loss", "val_crossentropy", "val_accuracy",
         "penalty")
VALIDATION, TRAINING = NAMES.index("val_crossentropy"), NAMES.index("train_crossentropy")
# Seed of the other order of the inputs.
ORDER_SEED = 1


def variants(config: RunConfig) -> dict[str, RunConfig]:
    """A config with each of the options that it has not got already."""
    made = {name: replace(config, **changes) for name, changes in OPTIONS.items()}
    return {name: other for name, other in made.items() if name == "nothing" or other != config}


def curve(config: RunConfig, settings: Settings, way, epochs: int, measured: int | None = None) -> np.ndarray:
    """Train in this process: one row an epoch, its columns `NAMES`.

    Args:
        way: `explorer.training.graph_loop.TrainingSession` or one of its kind.
        measured: validate on so many rows only.
    """
    return np.array([[row[name] for name in NAMES] for row in rows(config, settings, way, epochs, measured)])


def curves(ways: Iterable[str], configs: Iterable[RunConfig], settings: Settings, epochs: int,
           measured: int | None = None, onednn: bool = True) -> list[list[np.ndarray]]:
    """Train in a process of its own: for each config the curve of each way (`fast`, `plain` or `reordered`)."""
    given = {"ways": list(ways), "configs": [config.canonical_json() for config in configs], "epochs": epochs,
             "measured": measured, "settings": settings.as_dict()}
    return [[np.array(curve) for curve in found]
            for found in asked("tests.benchmarks.drift", given, onednn)]


def notebook(config: RunConfig, settings: Settings, epochs: int) -> np.ndarray | None:
    """Validation cross-entropy of each epoch by plain Keras; `None` for a penalty that it does not know."""
    from explorer import data

    if config.l1:
        return None
    prepared = data.load(config, settings)
    # Bytes, where they are exact: Keras makes floats of them batch by batch.
    kind = (np.uint8,) if config.info.is_words else ()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "data.npz"
        np.savez(file, x=prepared.train.x.dense(*kind), y=prepared.train.y,
                 x_val=prepared.validation.x.dense(*kind), y_val=prepared.validation.y)
        given = {"file": str(file), "classes": config.info.classes, "epochs": epochs, **{
            name: getattr(config, name)
            for name in ("seed", "hidden", "l2", "batch_norm", "dropout", "optimizer", "batch_size")}}
        answer = subprocess.run([sys.executable, str(ROOT / "tests/reference/plain_keras.py"), json.dumps(given)],
                                cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return np.array([row["val_crossentropy"] for row in json.loads(answer.stdout.splitlines()[-1])])


def apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Largest difference over the epochs of validation and of training cross-entropy; 0 where there is none."""
    return np.abs(one - other)[:, [VALIDATION, TRAINING]].max(axis=0, initial=0)


def turned(config: RunConfig, settings: Settings, epochs: int) -> int | None:
    """The epoch, from 0, in which a unit turned that brought fast and plain apart; see `turns`."""
    return asked("tests.benchmarks.drift", {
        "turn": config.canonical_json(), "epochs": epochs, "settings": settings.as_dict()})


def main(chosen: list[int], epochs: int | None, data_dir: Path) -> None:
    """Train every chosen row with every option in every way, and print how far the curves lie apart."""
    epochs = epochs or EPOCHS
    print(f"Largest difference in cross-entropy over {epochs} epochs, validation / training:\n")
    print("| IMDB words × layers | with | fast from plain | plain with oneDNN off | plain with inputs in another order "
          "| fast path | explorer from a notebook, validation |")
    print("| --- " * 7 + "|")
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), data_dir=data_dir)
        for number in chosen or range(len(ROWS)):
            title, config, *_ = ROWS[number]
            for name, variant in variants(config).items():
                (fast, plain, reordered), = curves(("fast", "plain", "reordered"), [variant], settings, epochs)
                (switched,), = curves(("plain",), [variant], settings, epochs, onednn=False)
                ours, off, order = (apart(other, plain) for other in (fast, switched, reordered))
                theirs = notebook(variant, settings, epochs)
                beside = "—" if theirs is None else f"{np.abs(fast[:, VALIDATION] - theirs).max():.0e}"
                told = verdict(ours, np.maximum(off, order))
                if told.startswith("**") and variant.parameters <= LARGE:
                    turn = turned(variant, settings, epochs)
                    held = turn is None or (apart(fast[:turn], plain[:turn]) <= EXACT).all()
                    if turn is not None and held:
                        told = f"a unit turned in epoch {turn + 1}; within {EXACT:.0e} before"
                print(f"| {title} | {name} | {_pair(ours)} | {_pair(off)} | {_pair(order)} | {told} | {beside} |",
                      flush=True)


def verdict(ours: np.ndarray, own: np.ndarray) -> str:
    """Whether the fast path stays where the plain one is: exactly, or as far as the plain one from itself."""
    if (ours <= EXACT).all():
        return f"within {EXACT:.0e}"
    beyond = (ours / np.maximum(own, EXACT)).max()
    if beyond <= 1:
        return "within plain's own drift"
    return f"{beyond:.1f} × plain's own drift" if beyond <= SCATTER else f"**{beyond:.0f} × plain's own drift**"


def _pair(found: np.ndarray) -> str:
    return " / ".join(f"{value:.0e}" for value in found)


def _child(given: dict) -> Any:
    import tensorflow as tf

    from explorer import data
    from explorer.training import graph_loop
    from explorer.workers import devices
    from tests.reference import plain

    settings = Settings.from_dict(given["settings"])
    devices.prepare("cpu", settings.threads, tf)
    if "turn" in given:
        from tests.benchmarks.turns import first_turn

        config = RunConfig.from_json(given["turn"])
        return first_turn(config, data.load(config, settings), given["epochs"])

    class Reordered(plain.TrainingSession):
        """The plain path with inputs, and the kernel's rows with them, in another order: the same sums."""

        def __init__(self, config, data, device="cpu"):
            order = np.random.RandomState(ORDER_SEED).permutation(config.inputs)
            super().__init__(config, type(data)(*(_reordered(getattr(data, name), order)
                                                  for name in ("train", "validation", "test"))), device)
            kernel = self.network.layers[0].kernel
            kernel.assign(kernel.numpy()[order])

    ways = {"fast": graph_loop.TrainingSession, "plain": plain.TrainingSession, "reordered": Reordered}
    return [[curve(RunConfig.from_json(config), settings, ways[way], given["epochs"], given["measured"]).tolist()
             for way in given["ways"]] for config in given["configs"]]


def _reordered(examples, order: np.ndarray):
    x = examples.x
    if not hasattr(x, "indices"):
        return replace(examples, x=replace(x, values=x.values[:, order]))
    place = np.argsort(order).astype(x.indices.dtype)
    row_of = np.repeat(np.arange(len(x)), np.diff(x.indptr))
    words = place[x.indices]
    return replace(examples, x=replace(x, indices=words[np.lexsort((words, row_of))]))


if __name__ == "__main__":
    wanted, folder = command(__doc__, EPOCHS, _child)
    main(wanted.row, wanted.epochs, folder)
