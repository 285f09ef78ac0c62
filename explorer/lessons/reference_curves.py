"""What the sources printed: 16 histories, the runs that they belong to, and how far a measured run lies from them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from explorer.config.run_config import RunConfig

# As Keras names them in a history, and as they are named here.
_COLUMNS = {"loss": "loss", "accuracy": "accuracy", "val_loss": "val_loss", "val_accuracy": "val_accuracy",
            "binary_crossentropy": "crossentropy", "val_binary_crossentropy": "val_crossentropy"}


@dataclass(frozen=True, eq=False)
class Published:
    """One history as a source printed it.

    Attributes:
        source: short name of the source, such as `dlwp-4.4`.
        title: the source's title.
        experiment: its name there.
        config: the same run here; a source names no seed, and sets everything else to Keras's defaults.
        epochs: that the source asked for.
        patience: of its early stopping, if it had one; on `val_loss`, the penalty inside.
        is_warm_started: whether training went on with weights that were trained already, so that its first epoch is
            no first epoch.
        history: `epoch`, `loss`, `accuracy`, `val_loss`, `val_accuracy`, and `crossentropy` and `val_crossentropy`
            without the penalty, NaN throughout where the source printed none and the run has a penalty. `loss`,
            `accuracy` and `crossentropy` are Keras's running means while training.
    """

    source: str
    title: str
    experiment: str
    config: RunConfig
    epochs: int
    patience: int | None
    is_warm_started: bool
    history: pd.DataFrame

    @property
    def is_penalised(self) -> bool:
        """Whether only losses with the penalty inside were printed."""
        return bool(self.history["val_crossentropy"].isna().all())

    @property
    def measure(self) -> str:
        """The column of a measured history that compares with it: like with like."""
        return "val_loss" if self.is_penalised else "val_crossentropy"

    def table(self) -> pd.DataFrame:
        """Its numbers under the names of `explorer.analysis.history.table`, for the diagnosis.

        Both sides have the penalty inside where only such losses were printed.
        """
        history = self.history
        return pd.DataFrame({
            "epoch": history["epoch"], "loss": history["loss"], "accuracy": history["accuracy"],
            "train_crossentropy": history["loss"] if self.is_penalised else history["crossentropy"],
            "train_accuracy": history["accuracy"], "val_loss": history["val_loss"],
            "val_crossentropy": history[self.measure], "val_accuracy": history["val_accuracy"],
        })


@dataclass(frozen=True)
class Distance:
    """How a measured run lies to a published one, both read over the epochs that both have.

    Attributes:
        epochs: that both have; the rest is left out.
        best_epoch, measured_best_epoch: the published and the measured epoch with the lowest value.
        best, measured_best: the value there.
        last, measured_last: the value after the last of these epochs.
        is_penalised: whether the values are `val_loss`, with the penalty inside, for want of others; else they are
            validation cross-entropies.
    """

    epochs: int
    best_epoch: int
    measured_best_epoch: int
    best: float
    measured_best: float
    last: float
    measured_last: float
    is_penalised: bool


@cache
def _all() -> tuple[Published, ...]:
    entries = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return tuple(_published(entry) for entry in entries)


def _published(entry: dict) -> Published:
    settings, printed = entry["settings"], entry["history"]
    config = RunConfig(
        dataset=settings["dataset"], num_words=settings["num_words"], hidden=tuple(settings["hidden"]),
        optimizer=settings["optimizer"], batch_size=settings["batch_size"], l1=settings.get("l1", 0.0),
        l2=settings.get("l2", 0.0), dropout=settings.get("dropout", 0.0), validation="test")
    frame = pd.DataFrame({name: printed.get(key) for key, name in _COLUMNS.items()}, dtype="float64")
    frame.insert(0, "epoch", range(1, len(frame) + 1))
    if config.regularizer == "none":
        # Without a penalty the loss is the cross-entropy, whether it was printed twice or not.
        frame["crossentropy"] = frame["crossentropy"].fillna(frame["loss"])
        frame["val_crossentropy"] = frame["val_crossentropy"].fillna(frame["val_loss"])
    return Published(entry["source"], entry["title"], entry["experiment"], config, settings["epochs"],
                     settings.get("early_stopping_patience"), entry["warm_started"], frame)


def histories() -> list[Published]:
    """All of them, in the order of the sources."""
    return list(_all())


def of(config: RunConfig) -> list[Published]:
    """What was published for exactly these settings; several sources may have the same.

    The seed does not count, nor does early stopping, which changes not the curve but where it ends. A history that was
    started from trained weights belongs to no fresh run.
    """
    return [found for found in _all()
            if not found.is_warm_started and found.config == config.with_(seed=found.config.seed)]


def distance(published: Published, measured: pd.DataFrame) -> Distance | None:
    """How a measured run lies to a published one.

    Args:
        measured: as from `explorer.analysis.history.table`.

    Returns:
        `None` where they have no epoch in common that is a number in the measured one.
    """
    name = published.measure
    both = published.history[["epoch", name]].merge(
        measured[["epoch", name]], on="epoch", suffixes=("", "_measured")).dropna()
    if both.empty:
        return None
    theirs, ours = both[name], both[f"{name}_measured"]
    return Distance(
        len(both), int(both["epoch"][theirs.idxmin()]), int(both["epoch"][ours.idxmin()]), float(theirs.min()),
        float(ours.min()), float(theirs.iloc[-1]), float(ours.iloc[-1]), published.is_penalised)
