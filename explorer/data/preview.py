"""One training example of a data set as a person may look at it, read without the rest of the data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from explorer import data
from explorer.config.run_config import RunConfig
from explorer.config.settings import Settings
from explorer.data import cache, digits, files, reviews
from explorer.data.rows import WordRows
from explorer.data.splits import flip

# These lie at the beginning of the file: looking at them costs no more than reading so many. Every run has them all.
MOST = 50
# Keras's list of IMDB's words by rank; it has 1.6 MB.
WORD_INDEX = "imdb_word_index.json"
MAX_BYTES, MAX_WORDS, MAX_WORD = 16_000_000, 200_000, 60
# Keras's numbering: a rank in that list is shifted by so many, for these stand for no word of a review.
INDEX_FROM = 3
MARKS = {0: "<padding>", 1: "<start>", 2: "<unknown>", 3: "<unused>"}


@dataclass(frozen=True)
class Sample:
    """One training example.

    Attributes:
        number: its place in the training data, from 0.
        label: its class.
        told: the class that the run is told; another one where the label was flipped.
        inputs: length of the vector that the network gets.
        indices: of a review: places of the ones in the multi-hot vector, ascending.
        words: of a review: what these stand for; empty where only the numbers are known.
        pixels: of an image: the bytes as stored, uint8, shape `(side, side)`.
        scale: of an image: the byte that becomes 1.0.
    """

    number: int
    label: int
    told: int
    inputs: int
    indices: tuple[int, ...] = ()
    words: tuple[str, ...] = ()
    pixels: np.ndarray | None = None
    scale: int = 0

    @property
    def scaled(self) -> np.ndarray:
        """The image as the network gets it, float32 from 0 to 1."""
        return self.pixels.astype(np.float32) / np.float32(self.scale)


def read(config: RunConfig, number: int, settings: Settings) -> Sample | None:
    """One of the first training examples as a run sees it.

    Args:
        config: of the run; it decides about the words that are known and the labels that are flipped.
        number: from 0 to `MOST - 1`.
        settings: where the compact cache lies.

    Returns:
        The example, or `None` where the compact cache does not hold the data: it comes with the first run on them.
    """
    info = config.info
    path = cache.path_of(settings.cache, info.name, data.version(info.name, settings))
    labels = cache.head(path, "train_y", info.train_rows)
    if labels is None or len(labels) < config.rows or not 0 <= number < MOST:
        return None
    told = int(flip(labels[:config.rows], config)[number])
    label = int(labels[number])
    if info.is_words:
        starts = cache.head(path, "train_indptr", MOST + 1)
        indices = None if starts is None or number + 1 >= len(starts) else cache.head(
            path, "train_indices", int(starts[number + 1]))
        if indices is None:
            return None
        row = indices[starts[number]:]
        known = WordRows(np.array([0, len(row)]), row, int(max(info.vocabulary, row.max(initial=0) + 1)))
        found = tuple(map(int, known.truncate(config.num_words).indices))
        return Sample(number, label, told, config.inputs, found, _named(found, _vocabulary(info.name, settings)))
    pixels = cache.head(path, "train_pixels", number + 1)
    if pixels is None or len(pixels) <= number or pixels.shape[1] != info.features:
        return None
    side = round(info.features ** 0.5)
    return Sample(number, label, told, config.inputs, pixels=pixels[number].reshape(side, side),
                  scale=digits.SCALE if info.name == "digits" else 255)


def _named(indices: tuple[int, ...], words: tuple[str, ...]) -> tuple[str, ...]:
    if not words:
        return ()
    # A list given by hand may have gaps, or end early.
    return tuple((words[index] if index < len(words) else "") or f"#{index}" for index in indices)


def _vocabulary(dataset: str, settings: Settings) -> tuple[str, ...]:
    """The word of each index; empty where they are not known on this machine."""
    if dataset == "reviews":
        return _generated()
    for folder in files.folders(settings):
        path = folder / WORD_INDEX
        try:
            stat = path.stat()
        except OSError:
            continue
        if stat.st_size <= MAX_BYTES:
            return _listed(path, stat.st_size, stat.st_mtime_ns)
    return ()


@lru_cache(maxsize=1)
def _generated() -> tuple[str, ...]:
    return tuple(reviews.vocabulary())


@lru_cache(maxsize=1)
def _listed(path: Path, size: int, mtime: int) -> tuple[str, ...]:
    """Keras's file of word → rank as a list by index; empty where it is something else."""
    try:
        ranks = json.loads(path.read_bytes())
        if not isinstance(ranks, dict):
            return ()
        known = {rank + INDEX_FROM: word for word, rank in ranks.items()
                 if type(rank) is int and 0 < rank <= MAX_WORDS and len(word) <= MAX_WORD}
    except (OSError, ValueError, RecursionError, MemoryError):
        return ()
    if not known:
        return ()
    known |= MARKS
    return tuple(known.get(index, "") for index in range(max(known) + 1))
