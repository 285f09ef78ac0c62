"""Robust statistics of a curve: its jitter, slope and level, and how sure a number is beside another."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

# Jitter is measured on so many epochs to each side of the place in question, since curves get wilder as they rise.
NOISE_REACH = 10
# Jitter turns back; a step that does not is a bend or a fall. Of independent errors of standard deviation 1 the
# reversals come to REVERSAL on average once the largest tenth is left out (simulated, 20 epochs), and the second
# differences to √6.
REVERSAL = 0.33
# Second differences tell the jitter twice as exactly as reversals do, but take a bend for it: they count for no more
# than so many times what the reversals say. Single ones count for no more than so many times the median of all.
MAX_REVERSALS, MAX_DIFFERENCE = 2.5, 2.5
# What cutting off at MAX_DIFFERENCE leaves of the standard deviation (simulated).
CUT = 0.95
# The median of the absolute values of normal errors, as a share of their standard deviation.
MEDIAN_ERROR = 0.6745
# The state at the end is that of so many of the latest epochs: the median, which two outliers do not move.
LATEST = 5
# A value so many times the jitter away from both of its neighbors is a spike.
SPIKE = 4.0


def noise(values: np.ndarray) -> float:
    """Standard deviation of the jitter of a piece of a curve, 0 for a smooth one.

    From second differences (`x[i-1] - 2 x[i] + x[i+1]`, whose variance is 6 times that of independent errors), large
    ones cut off, and from the reversals of direction, without which there is no jitter, however sharp the bend. Of
    20 values the standard error is 22 %, of 10 about 34 % (simulated).
    """
    if len(values) < 4:
        return 0.0
    steps = values[1:] - values[:-1]
    first, then = steps[:-1], steps[1:]
    turns = np.where(first * then < 0, np.minimum(abs(first), abs(then)), 0.0)
    turns.sort()
    kept = len(turns) - max(1, round(len(turns) / 10))
    reversals = float(turns[:kept].sum()) / (kept * REVERSAL) if kept else 0.0
    if not reversals > 0:
        return 0.0
    second = abs(then - first) / math.sqrt(6)
    cut = np.minimum(second, MAX_DIFFERENCE * middle(second) / MEDIAN_ERROR)
    return sound(min(math.sqrt(float(cut @ cut) / len(cut)) / CUT, MAX_REVERSALS * reversals))


def around(count: int, at: int, reach: int = NOISE_REACH) -> tuple[int, int]:
    """Begin and end of the places around one of `count`, `reach` to each side; near an end more on the other side."""
    low = max(0, min(at - reach, count - 1 - 2 * reach))
    return low, min(count, low + 2 * reach + 1)


def unspiked(values: np.ndarray) -> np.ndarray:
    """The values, single spikes replaced by the median of three."""
    if len(values) < 3:
        return values
    before, here, after = values[:-2], values[1:-1], values[2:]
    middles = np.maximum(np.minimum(before, here), np.minimum(np.maximum(before, here), after))
    apart = abs(here - middles)
    if not apart.any():
        return values
    found = values.copy()
    found[1:-1] = np.where(apart > SPIKE * noise(values), middles, here)
    return found


class Jitter:
    """The jitter of parts of a curve, each measured once.

    Args:
        values: one an epoch.

    Attributes:
        values: the same, single spikes replaced.
    """

    def __init__(self, values: np.ndarray):
        self.values = unspiked(values)
        self._found: dict[tuple[int, int], float] = {}

    def of(self, low: int = 0, high: int | None = None) -> float:
        """Standard deviation of the jitter from place `low` up to, and without, `high`."""
        low, high = max(low, 0), len(self.values) if high is None else min(high, len(self.values))
        if (low, high) not in self._found:
            self._found[low, high] = noise(self.values[low:high])
        return self._found[low, high]

    def around(self, at: int, reach: int = NOISE_REACH) -> float:
        """That around a place."""
        return self.of(*around(len(self.values), at, reach))


@cache
def _pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(count, 1)


def slope(epoch: np.ndarray, values: np.ndarray) -> float:
    """Median of the slopes between all pairs, after Theil and Sen: up to 29 % of the epochs may be outliers."""
    if len(values) < 2:
        return math.nan
    early, late = _pairs(len(values))
    return float(np.median((values[late] - values[early]) / (epoch[late] - epoch[early])))


def middle(values: np.ndarray) -> float:
    """Median; of an even number the lower one of the middle two, so that of two both must lie high."""
    return float(np.sort(values)[(len(values) - 1) // 2])


def latest(values: np.ndarray) -> float:
    """The state at the end: the median of the `LATEST` values, of a shorter history the last one."""
    value = middle(values[-LATEST:] if len(values) >= LATEST else values[-1:])
    return value if math.isfinite(value) else math.nan


def times(value: float, unit: float) -> float:
    """How many times a unit a value is."""
    if not value > 0:
        return 0.0
    return value / unit if unit > 0 else math.inf


def sure(times: float) -> float:
    """From 0 towards 1: a half at 1, three quarters at 2."""
    return sound(1 - 2.0 ** -max(times, 0.0))


def sound(value: float) -> float:
    """The value, or 0 where it is none."""
    return value if math.isfinite(value) else 0.0
