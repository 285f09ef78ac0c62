"""The data sets: which exist, which version lies here, and their rows for a run."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from explorer.config.datasets import DATASETS, DatasetInfo
from explorer.config.run_config import RunConfig
from explorer.config.settings import Settings
from explorer.data import cache, digits, files, reviews
from explorer.data.files import DataError, Report, changed
from explorer.data.rows import Examples, PixelRows, WordRows
from explorer.data.splits import Prepared, prepare

__all__ = [
    "DATASETS", "DataError", "DatasetInfo", "Library", "Prepared", "changed", "default_dataset", "is_prepared",
    "load", "present", "version"]

# Shown with each failure of a file; the page makes a button of it.
EMBEDDED = {"imdb": "reviews", "mnist": "digits"}
# What changes no row of a run's data: it is about the network that is fitted to them.
NOT_IN_DATA = ("hidden", "activation", "batch_norm", "l1", "l2", "regularize_output", "dropout", "initializer",
               "optimizer", "learning_rate", "weight_decay", "batch_size")
# What is done to a data set only after it has been cut to its words: it is split, and labels are flipped.
NOT_IN_A_CUT = (*NOT_IN_DATA, "train_samples", "validation", "label_noise", "seed")
# Versions of what is not a file; tests hold them to the bytes.
_MADE = {"reviews": reviews.VERSION, "digits": digits.VERSION}


def present(dataset: str, settings: Settings) -> bool:
    """Whether the data set can be used without the network."""
    info = DATASETS[dataset]
    return not info.file or files.find(info, settings) is not None


def default_dataset(settings: Settings) -> str:
    """IMDB when its file is already on the machine, else the generated reviews."""
    return "imdb" if present("imdb", settings) else "reviews"


def version(dataset: str, settings: Settings) -> str:
    """Fingerprint of the content that a run on this machine would see; part of its identity.

    For a file, its SHA-256; for one that is still to be fetched, the one that Keras demands of it.
    """
    info = DATASETS[dataset]
    if not info.file:
        return _MADE[dataset]
    path = files.find(info, settings)
    try:
        return files.checksum(path) if path else info.sha256
    except OSError:
        return info.sha256


def is_prepared(dataset: str, settings: Settings) -> bool:
    """Whether the compact cache holds the data set already."""
    return cache.path_of(settings.cache, dataset, version(dataset, settings)).exists()


def load(config: RunConfig, settings: Settings, report: Report = lambda *_: None) -> Prepared:
    """The rows of a run; from the compact cache after the first time.

    Args:
        config: what is trained.
        settings: where files may lie.
        report: is told what is being done, and bytes so far and in all while downloading.

    Raises:
        DataError: the data cannot be had; the message says why and what to do.
    """
    return Library(settings).load(config, report)


class Library:
    """Data in the memory of one process: whole data sets that it holds for those it forks, and what runs had last.

    Args:
        settings: where files may lie.
        shelf: how many runs' rows are kept for the next run on the same.
    """

    def __init__(self, settings: Settings, shelf: int = 2):
        self._settings, self._most = settings, shelf
        self._held: dict[tuple[str, str], dict[str, np.ndarray]] = {}
        self._shelf: dict[Hashable, Prepared] = {}
        # What the rows on the shelf are views of: the last data set, cut to its words.
        self._cut: tuple[Hashable, tuple[Examples, Examples]] | None = None

    def hold(self, dataset: str) -> None:
        """Keep a data set that is prepared already in memory."""
        key = (dataset, version(dataset, self._settings))
        arrays = cache.load(cache.path_of(self._settings.cache, *key), _names(DATASETS[dataset]))
        if arrays is not None:
            self._held[key] = arrays

    def prepare(self, dataset: str) -> None:
        """Put a data set into the compact cache, if it is not there.

        Raises:
            DataError: it cannot be had.
        """
        self._arrays(DATASETS[dataset], lambda *_: None)

    def load(self, config: RunConfig, report: Report = lambda *_: None) -> Prepared:
        """As `explorer.data.load`; the same rows again are the same object."""
        # Without noise nothing about the rows is left to chance; their order is each run's own.
        without = NOT_IN_DATA if config.label_noise else (*NOT_IN_DATA, "seed")
        key = config.key(without=without), version(config.dataset, self._settings)
        prepared = self._shelf.pop(key, None) or self._prepare(config, report)
        self._shelf[key] = prepared
        while len(self._shelf) > self._most:
            del self._shelf[next(iter(self._shelf))]
        return prepared

    def _prepare(self, config: RunConfig, report: Report) -> Prepared:
        info = config.info
        key = config.key(without=NOT_IN_A_CUT), version(config.dataset, self._settings)
        if self._cut is None or self._cut[0] != key:
            self._cut = None
            arrays = self._arrays(info, report)
            train, test = (_examples(info, arrays, split) for split in ("train", "test"))
            if config.num_words is not None:
                train, test = (Examples(part.x.truncate(config.num_words), part.y) for part in (train, test))
            self._cut = key, (train, test)
        try:
            return prepare(config, *self._cut[1])
        except ValueError as error:
            path = files.find(info, self._settings) or files.keras_folder() / info.file
            raise files.unreadable(info, path, error) from error

    def _arrays(self, info: DatasetInfo, report: Report) -> dict[str, np.ndarray]:
        source = None
        if info.file:
            source = files.find(info, self._settings) or files.fetch(info, report)
        key = (info.name, version(info.name, self._settings))
        if key in self._held:
            return self._held[key]
        cached = cache.path_of(self._settings.cache, *key)
        arrays = cache.load(cached, _names(info))
        if arrays is None:
            report("preparing", 0, 0)
            arrays = _read(info, source)
            if version(info.name, self._settings) != key[1]:
                raise changed(info)  # while it was read: what is there now must not be kept under the name of what was
            cache.save(self._settings.cache, *key, arrays)
        return arrays


def _names(info: DatasetInfo) -> tuple[str, ...]:
    kinds = ("indptr", "indices", "y") if info.is_words else ("pixels", "y")
    return tuple(f"{split}_{kind}" for split in ("train", "test") for kind in kinds)


def _read(info: DatasetInfo, source: files.Path | None) -> dict[str, np.ndarray]:
    if source is None:
        if info.name == "digits":
            return digits.read()
        made = {}
        for split, (indptr, indices, labels) in zip(("train", "test"), reviews.generate(), strict=True):
            # Its words fit into two bytes each; the cache, the worker and its children all hold them.
            made |= {f"{split}_indptr": indptr, f"{split}_indices": indices.astype(np.uint16), f"{split}_y": labels}
        return made
    from explorer.data import imdb, mnist

    try:
        return (imdb if info.is_words else mnist).read(source)
    except (ValueError, OSError, MemoryError, TypeError) as error:
        raise files.unreadable(info, source, error) from error


def _examples(info: DatasetInfo, arrays: dict[str, np.ndarray], split: str) -> Examples:
    if info.is_words:
        indices = arrays[f"{split}_indices"]
        # A file given by hand may name words beyond Keras's vocabulary; truncation makes them unknown.
        inputs = max(info.vocabulary, int(indices.max(initial=0)) + 1)
        return Examples(WordRows(arrays[f"{split}_indptr"], indices, inputs), arrays[f"{split}_y"])
    scale = digits.SCALE if info.name == "digits" else 255
    return Examples(PixelRows(arrays[f"{split}_pixels"], scale), arrays[f"{split}_y"])
