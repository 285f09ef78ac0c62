"""RunConfig: everything that changes a run's numbers, as one frozen value with an identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Hashable
from dataclasses import Field, dataclass, fields, replace
from functools import cache
from importlib import metadata
from typing import Any

from explorer.config.datasets import DATASETS, DatasetInfo
from explorer.config.fields import Choice, FieldError, Flag, Layers, Number, Share

# Raise it when a module of `training`, or `data/splits.py`, changes what a config computes: old runs then stay
# readable under their own identity, and nothing new is mistaken for them.
TRAINING_VERSION = 2
# The settings whose values always make an identity, whatever they are: those of the day on which identities became
# sparse. It stays as it is for good; a setting that is added later is none of them, see `identity`.
ALWAYS_IDENTIFYING = frozenset({
    "dataset", "num_words", "train_samples", "label_noise", "validation", "hidden", "activation", "batch_norm",
    "l1", "l2", "regularize_output", "dropout", "initializer", "optimizer", "learning_rate", "weight_decay",
    "batch_size", "seed"})

OPTIMIZERS = ("adam", "rmsprop", "sgd", "momentum", "adamw")
ACTIVATIONS = ("relu", "tanh", "sigmoid", "elu", "selu", "gelu")
INITIALIZERS = ("glorot_uniform", "he_normal")
# Keras's own defaults, so that a config that names only the optimizer does what a notebook would do.
DEFAULT_LEARNING_RATE = {"adam": 0.001, "rmsprop": 0.001, "sgd": 0.01, "momentum": 0.01, "adamw": 0.001}
DEFAULT_WEIGHT_DECAY = {"adamw": 0.004}
# Decoupled weight decay is a setting of these; for the others it is always 0.
DECAYING = ("adamw", "sgd", "momentum")

KINDS: dict[str, Any] = {
    "dataset": Choice(tuple(DATASETS)),
    "num_words": Number(10, max(info.vocabulary for info in DATASETS.values()), whole=True, empty="default"),
    "train_samples": Number(50, 60_000, whole=True, empty="all"),
    "label_noise": Number(0, 0.5),
    "validation": Share(),
    "hidden": Layers(),
    "activation": Choice(ACTIVATIONS),
    "batch_norm": Flag(),
    "l1": Number(1e-6, 1, zero=True),
    "l2": Number(1e-6, 1, zero=True),
    "regularize_output": Flag(),
    "dropout": Number(0, 0.9),
    "initializer": Choice(INITIALIZERS),
    "optimizer": Choice(OPTIMIZERS),
    "learning_rate": Number(1e-6, 10, empty="default"),
    "weight_decay": Number(1e-6, 1, zero=True, empty="default"),
    "batch_size": Number(8, 8_192, whole=True),
    "seed": Number(0, 2**31 - 1, whole=True),
}
DEMAND_KINDS: dict[str, Any] = {
    "epochs": Number(1, 100_000, whole=True),
    "patience": Number(1, 1_000, whole=True, empty="off"),
    "device": Choice(("auto", "cpu", *(f"gpu:{index}" for index in range(16)))),
}


@dataclass(frozen=True)
class RunConfig:
    """What is trained. Two configs with the same values are the same run.

    Attributes:
        dataset: a name in `DATASETS`.
        num_words: inputs of a multi-hot review (words ranked beyond it become "unknown");
            `None` for images, 10,000 where none is given.
        train_samples: examples that are fitted, the first ones of the training data; `None` for all.
        label_noise: share of the training labels that are flipped, 0 to 0.5; validation stays clean.
        validation: share of the training data that is held out (its last rows), or `test`.
        hidden: units of each hidden layer.
        activation: of the hidden layers.
        batch_norm: batch normalization between each hidden layer and its activation.
        l1, l2: strengths of the kernel penalties λ₁Σ|w| and λ₂Σw².
        regularize_output: whether the output layer pays the penalty too.
        dropout: rate after each hidden activation.
        initializer: of the kernels; biases start at zero.
        optimizer: `momentum` is SGD with momentum 0.9.
        learning_rate: `None` for Keras's default of that optimizer.
        weight_decay: decoupled decay a step; `None` for the optimizer's default (0.004 for AdamW, else 0).
        batch_size: examples a step.
        seed: of initialization, shuffling, dropout and label noise.

    Raises:
        FieldError: a value outside its limits.
    """

    dataset: str = "reviews"
    num_words: int | None = None
    train_samples: int | None = None
    label_noise: float = 0.0
    validation: float | str = 0.2
    hidden: tuple[int, ...] = (16, 16)
    activation: str = "relu"
    batch_norm: bool = False
    l1: float = 0.0
    l2: float = 0.0
    regularize_output: bool = False
    dropout: float = 0.0
    initializer: str = "glorot_uniform"
    optimizer: str = "rmsprop"
    learning_rate: float | None = None
    weight_decay: float | None = None
    batch_size: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            self._set(field.name, KINDS[field.name].check(field.name, getattr(self, field.name)))
        info = self.info
        if not info.is_words:
            self._set("num_words", None)
        else:
            words = Number(10, info.vocabulary, whole=True)
            given = min(10_000, info.vocabulary) if self.num_words is None else self.num_words
            self._set("num_words", words.check("num_words", given))
        room = self.available_rows
        if self.train_samples is not None:
            count = Number(50, room, whole=True, empty="all").check("train_samples", self.train_samples)
            # All of them is all of them, whether counted or not.
            self._set("train_samples", None if count == room else count)
        if self.learning_rate is None:
            self._set("learning_rate", DEFAULT_LEARNING_RATE[self.optimizer])
        decays = self.optimizer in DECAYING
        if self.weight_decay is None or not decays:
            self._set("weight_decay", DEFAULT_WEIGHT_DECAY.get(self.optimizer, 0.0) if decays else 0.0)
        if not (self.l1 or self.l2):
            self._set("regularize_output", False)  # it has nothing to act on: the same run

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def info(self) -> DatasetInfo:
        return DATASETS[self.dataset]

    @property
    def inputs(self) -> int:
        """Length of one input vector."""
        return self.num_words if self.num_words is not None else self.info.features

    @property
    def outputs(self) -> int:
        """Units of the output layer: one sigmoid for two classes, else a softmax."""
        return 1 if self.info.classes == 2 else self.info.classes

    @property
    def held_out(self) -> int:
        """Rows of the training data that are held out for validation."""
        return 0 if self.validation == "test" else round(self.validation * self.info.train_rows)

    @property
    def available_rows(self) -> int:
        """Most rows that can be fitted."""
        return self.info.train_rows - self.held_out

    @property
    def rows(self) -> int:
        """Rows that are fitted."""
        return self.train_samples or self.available_rows

    @property
    def parameters(self) -> int:
        """Number of trainable parameters, as Keras counts them."""
        total, width = 0, self.inputs
        for units in self.hidden:
            # Batch normalization learns a scale and a shift per unit.
            total += (width + 1) * units + (2 * units if self.batch_norm else 0)
            width = units
        return total + (width + 1) * self.outputs

    @property
    def regularizer(self) -> str:
        """`none`, `l1`, `l2` or `l1_l2`, as the strengths say."""
        return {(False, False): "none", (True, False): "l1", (False, True): "l2"}.get(
            (bool(self.l1), bool(self.l2)), "l1_l2"
        )

    def key(self, without: Collection[str] = ()) -> Hashable:
        """What two runs must have in common to share something that is made for one of them: a graph, data, a pace.

        Every setting is part of it but those that are named, so that one which is added later, and which nobody has
        thought of here, makes another key and never lends its value to another's run.

        Args:
            without: settings that may differ; who names them says why.

        Raises:
            ValueError: one of the names is no setting.
        """
        return _key(self, without)

    def identifying(self) -> dict[str, Any]:
        """The settings that make the identity, as JSON has them; see `identity`."""
        return _sparse(self, {field.name for field in fields(self)})

    def canonical_json(self) -> str:
        """The config in one form only: sorted names, numbers normalized; without what its identity is made without.

        So an earlier version of the explorer, on the same database or with an export, reads what it knows.
        """
        return json.dumps(self.identifying(), sort_keys=True, separators=(",", ":"))

    def run_id(self, data_version: str) -> str:
        """Identity of the run: 16 hexadecimal digits.

        Args:
            data_version: fingerprint of the data set's content (`explorer.data.version`).
        """
        return _digest(self.identifying(), data_version, TRAINING_VERSION, library_versions())

    @classmethod
    def from_json(cls, text: str) -> RunConfig:
        """Read what `canonical_json` wrote, of this version or an earlier one."""
        values = json.loads(text)
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})

    @classmethod
    def knows(cls, text: str) -> bool:
        """Whether every setting that `canonical_json` has written is known here: a later version may set others."""
        return set(json.loads(text)) <= {field.name for field in fields(cls)}

    def with_(self, **changes: Any) -> RunConfig:
        """The config with some values changed; defaults that hang on them follow."""
        if "optimizer" in changes and changes["optimizer"] != self.optimizer:
            changes = {"learning_rate": None, "weight_decay": None, **changes}
        if "dataset" in changes and changes["dataset"] != self.dataset:
            changes = {"num_words": None, "train_samples": None, **changes}
        return replace(self, **changes)


def identity(config: dict[str, Any], data_version: str, training: int, libraries: dict[str, str]) -> str:
    """The `run_id` of settings that some version of the explorer has trained; see `RunConfig.run_id`.

    It is sparse: of the settings that an earlier version did not have, only those enter it whose value is not the one
    that a run has which does not name them. So a setting that is added changes the identity of no run that has been
    trained without it, in whatever store, file name, export or address that identity stands; and each of its other
    values makes a run of its own. The settings of `ALWAYS_IDENTIFYING` enter it always, as they have from the first.

    Args:
        config: settings by name, as JSON has them; later ones at their default or left out are the same run.
    """
    try:
        known = RunConfig.from_json(json.dumps(config))
    except (ValueError, TypeError, KeyError):
        return _digest(config, data_version, training, libraries)  # of a version whose settings this one cannot read
    kept = _sparse(known, config)
    return _digest({name: value for name, value in config.items()
                    if name in kept or name not in RunConfig.__dataclass_fields__}, data_version, training, libraries)


def _sparse(config: RunConfig, given: Collection[str]) -> dict[str, Any]:
    def is_default(field: Field) -> bool:
        # What a setting is where it is not given may hang on others: the config itself says what it would be.
        value = getattr(config, field.name)
        return value == field.default or getattr(replace(config, **{field.name: field.default}), field.name) == value

    return {field.name: getattr(config, field.name) for field in fields(config) if field.name in given
            and (field.name in ALWAYS_IDENTIFYING or not is_default(field))}


def _digest(settings: dict[str, Any], data_version: str, training: int, libraries: dict[str, str]) -> str:
    values = {"config": settings, "data": data_version, "training": training, "libraries": libraries}
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _key(values: Any, without: Collection[str]) -> Hashable:
    names = {field.name for field in fields(values)}
    unknown = set(without) - names
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: no fields of {type(values).__name__}")
    return tuple((name, getattr(values, name)) for name in sorted(names - set(without)))


@dataclass(frozen=True)
class Demand:
    """How far a run is wanted; no part of its identity.

    Attributes:
        epochs: train to at least this epoch.
        patience: early stopping: enough once validation cross-entropy has not improved for so many epochs.
        device: `auto`, `cpu` or `gpu:N`.
    """

    epochs: int = 20
    patience: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, kind in DEMAND_KINDS.items():
            object.__setattr__(self, name, kind.check(name, getattr(self, name)))

    def key(self, without: Collection[str] = ()) -> Hashable:
        """What two demands must have in common for one to stand for the other; as `RunConfig.key`."""
        return _key(self, without)


@cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that compute, read without importing them."""
    versions = {}
    for library, names in {"tensorflow": ("tensorflow", "tensorflow-cpu"), "keras": ("keras",)}.items():
        versions[library] = "missing"
        for name in names:
            try:
                versions[library] = metadata.version(name)
                break
            except metadata.PackageNotFoundError:
                continue
    return versions


__all__ = ["RunConfig", "Demand", "FieldError", "KINDS", "DEMAND_KINDS", "identity", "library_versions",
           "TRAINING_VERSION"]
