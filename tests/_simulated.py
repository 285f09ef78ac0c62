"""Curves made by chance, of which it is known what they show: for the diagnosis, its confidence and its benchmark.

Validation is a smooth curve times (1 + jitter), jitter normal and independent from epoch to epoch; training falls and
jitters a fifth as much. Levels, speeds, the place of the turn and the number of epochs (15 to 100 unless said
otherwise, evenly on a logarithmic scale) are drawn anew for each curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from explorer.analysis.diagnosis import GOOD, NOISY, OVERFITTING, UNDERFITTING, UNSTABLE
from explorer.analysis.history import table

Random = np.random.Generator
Curves = tuple[np.ndarray, np.ndarray]


def frame(train, val, accuracy=None, val_accuracy=None, printed=None) -> pd.DataFrame:
    """A history of these numbers; `printed` is the running accuracy of `fit`."""
    nothing = [None] * len(val)
    rows = zip(train, val, accuracy or nothing, val_accuracy or nothing, printed or nothing, strict=True)
    return table({"epoch": number, "train_crossentropy": one, "val_crossentropy": other, "train_accuracy": right,
                  "val_accuracy": val_right, "accuracy": shown}
                 for number, (one, other, right, val_right, shown) in enumerate(rows, start=1))


def _epochs(draw: Random, low: int = 15, high: int = 100) -> np.ndarray:
    return np.arange(1, round(math.exp(draw.uniform(math.log(low), math.log(high)))) + 1)


def _jittered(draw: Random, values: np.ndarray, share: float | np.ndarray) -> np.ndarray:
    return values * (1 + share * draw.normal(size=len(values)))


def _training(draw: Random, epochs: np.ndarray, start: float, end: float, jitter: float) -> np.ndarray:
    fading = np.exp(-(epochs - 1) / (len(epochs) * draw.uniform(0.2, 0.5)))
    return _jittered(draw, end + (start - end) * fading, jitter / 5)


def _settled(draw: Random, jitter: float, low: int = 15, high: int = 100) -> Curves:
    epochs, level = _epochs(draw, low, high), draw.uniform(0.1, 1.2)
    fading = np.exp(-(epochs - 1) / (len(epochs) * draw.uniform(0.03, 0.15)))
    val = level * (1 + draw.uniform(0.2, 1.0) * fading)
    return (_training(draw, epochs, 1.1 * val[0], level * draw.uniform(0.3, 0.9), jitter),
            _jittered(draw, val, jitter))


def _falling(draw: Random, jitter: float) -> Curves:
    """Another quarter of the epochs would lower validation by 3 to 15 % of what it is at the end: evenly, or fading."""
    epochs, level, more = _epochs(draw), draw.uniform(0.1, 1.2), draw.uniform(0.03, 0.15)
    count = len(epochs)
    if draw.random() < 0.5:
        val = 1 + 4 * more * (1 - epochs / count)
    else:
        speed = draw.uniform(1.0, 3.5)
        val = 1 + more / (1 - math.exp(-speed / 4)) * (np.exp(speed * (1 - epochs / count)) - 1)
    val = level * val
    return _jittered(draw, val * draw.uniform(0.8, 1), jitter / 5), _jittered(draw, val, jitter)


def _turned(draw: Random, jitter: float, low_rise: float, high_rise: float, grows: float = 0.0, low: int = 15,
            high: int = 100) -> Curves:
    """A fall, and a rise by so large a share of the lowest value; the jitter may grow with it."""
    epochs, level, rise = _epochs(draw, low, high), draw.uniform(0.1, 1.2), draw.uniform(low_rise, high_rise)
    count = len(epochs)
    turn = count * draw.uniform(0.15, 0.55)
    risen = (np.maximum(epochs - turn, 0) / (count - turn)) ** draw.uniform(0.7, 1.3)
    fallen = draw.uniform(0.2, 1.0) * np.exp(-(epochs - 1) / (turn * draw.uniform(0.15, 0.35)))
    val = level * (1 + rise * risen + fallen)
    return (_training(draw, epochs, 1.1 * val[0], level * draw.uniform(0.02, 0.6), jitter),
            _jittered(draw, val, jitter + grows * rise * risen))


def _spiked(draw: Random) -> Curves:
    """One to six spikes of 0.3 to 3 times the best value before a smooth turn."""
    train, val = _turned(draw, 0.005, 0.1, 0.6, low=20)
    before = np.arange(1, max(3, int(0.8 * val.argmin())))
    hit = draw.choice(before, min(int(draw.integers(1, 7)), len(before)), replace=False)
    val[hit] += val.min() * draw.uniform(0.3, 3, len(hit))
    return train, val


def _jumping(draw: Random) -> Curves:
    """Jitter before the turn, none after it."""
    train, val = _turned(draw, 0.003, 0.1, 0.6, low=20)
    before = int(0.8 * val.argmin())
    val[:before] *= 1 + 0.2 * abs(draw.normal(size=before))
    return train, val


def _few(draw: Random) -> Curves:
    """Five to nine epochs, the turn at the latest four before the end, a rise of 8 % an epoch and more."""
    count = int(draw.integers(5, 10))
    epochs, turn, level = np.arange(1, count + 1), int(draw.integers(1, max(2, count - 3))), draw.uniform(0.1, 1.2)
    val = level * np.where(epochs <= turn, 1 + 0.4 * (turn - epochs) / turn,
                           1 + draw.uniform(0.08, 0.2) * (epochs - turn))
    return (_training(draw, epochs, 1.4 * level, level * draw.uniform(0.05, 0.4), 0.01),
            _jittered(draw, val, draw.uniform(0, 0.03)))


def _slow(draw: Random) -> Curves:
    """A straight fall of 2 to 10 % in all, without jitter."""
    epochs = _epochs(draw)
    val = draw.uniform(0.3, 2) * (1 - draw.uniform(0.02, 0.1) * epochs / len(epochs))
    return 0.99 * val, val


def _guessing(draw: Random) -> Curves:
    count, jitter = len(_epochs(draw)), draw.uniform(0, 0.01)
    level = np.full(count, math.log(10))
    return _jittered(draw, level, jitter / 3), _jittered(draw, 1.002 * level, jitter)


def _lost(draw: Random) -> Curves:
    """Learned within a fifth to two fifths of the epochs, and lost again."""
    epochs, guess, least = _epochs(draw), math.log(10), draw.uniform(0.1, 0.4)
    turn = draw.uniform(0.2, 0.4) * len(epochs)
    learned = least + (guess - least) * np.exp(-epochs / (0.3 * turn))
    lost = guess - (guess - least) * np.exp(-(epochs - turn) / (len(epochs) * draw.uniform(0.05, 0.15)))
    val = _jittered(draw, np.where(epochs < turn, learned, lost), 0.03)
    return 0.97 * val, val


def _together(draw: Random) -> Curves:
    _, val = _turned(draw, 0.01, 0.15, 0.4)
    return _jittered(draw, 0.97 * val, 0.003), val


@dataclass(frozen=True)
class Kind:
    """A kind of curve.

    Attributes:
        name: what it is called.
        draw: makes one.
        phase: what it shows.
        wanted: share that is to be judged right at least.
    """

    name: str
    draw: Callable[[Random], Curves]
    phase: str
    wanted: float

    def curves(self, count: int) -> Iterator[pd.DataFrame]:
        """So many of them, always the same."""
        for number in range(count):
            yield frame(*self.draw(np.random.default_rng([number, *self.name.encode()])))


KINDS = (
    Kind("settled, 3 % jitter", lambda draw: _settled(draw, 0.03), GOOD, 0.95),
    Kind("settled, 1 % jitter", lambda draw: _settled(draw, 0.01), GOOD, 0.97),
    Kind("settled, 100 to 400 epochs", lambda draw: _settled(draw, draw.uniform(0.005, 0.04), 100, 400), GOOD, 0.95),
    Kind("falling by 3 to 15 % more, 3 % jitter", lambda draw: _falling(draw, 0.03), UNDERFITTING, 0.85),
    Kind("falling slowly, no jitter", _slow, UNDERFITTING, 0.95),
    Kind("guessing", _guessing, UNDERFITTING, 0.98),
    Kind("U-shape of +5 to 10 %, 3 % jitter", lambda draw: _turned(draw, 0.03, 0.05, 0.1), OVERFITTING, 0.7),
    Kind("U-shape, jitter grows with the rise",
         lambda draw: _turned(draw, 0.01, 0.1, 0.6, draw.uniform(0.2, 0.5)), OVERFITTING, 0.85),
    Kind("U-shape, spikes before the turn", _spiked, OVERFITTING, 0.98),
    Kind("U-shape, jitter before the turn", _jumping, OVERFITTING, 0.95),
    Kind("U-shape, no jitter", lambda draw: _turned(draw, 0, 0.06, 1.0), OVERFITTING, 0.99),
    Kind("U-shape of small values, 4 to 8 % jitter",
         lambda draw: tuple(values / 10 for values in _turned(draw, draw.uniform(0.04, 0.08), 0.3, 0.8)),
         OVERFITTING, 0.95),
    Kind("U-shape, 150 to 400 epochs",
         lambda draw: _turned(draw, draw.uniform(0.01, 0.05), 0.15, 0.8, low=150, high=400), OVERFITTING, 0.98),
    Kind("few epochs after the turn", _few, OVERFITTING, 0.95),
    Kind("8 to 20 % jitter", lambda draw: _settled(draw, draw.uniform(0.08, 0.2)), NOISY, 0.95),
    Kind("training and validation rise together", _together, NOISY, 0.95),
    Kind("learned and lost again", _lost, UNSTABLE, 0.95),
)
