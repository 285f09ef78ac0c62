"""Robust statistics of a curve: its jitter, slope and level, and how sure a number is beside another."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

# Jitter is measured on so many epochs to each side of the place in question, since curves get wilder as they rise.
NOISE_REACH = 10
# Where jitter hides the level, a rise shows as a trend since the best epoch: this many standard errors, from so many
# epochs on, and only where training has fallen meanwhile.
TREND_ERRORS, TREND_FROM = 2.5, 6
# Of independent errors of standard deviation 1, the reversals below come to 0.37 on average (simulated, 20 epochs).
REVERSAL = 0.37
# Of n epochs the jitter is uncertain by about this over √n, as a share of it. Settled curves with a jitter of 3 % of
# their value are then taken for overfitting in 10 of 100 cases after 20 epochs, 3 after 50, 1 after 300 (simulated,
# 400 each); 1 in 8,000 over all jitters up to 12 % and 10 to 300 epochs has high confidence.
DOUBT = 1.0


def chance(count: int) -> float:
    """How many times the noise may lie between the least of so many values and a few others by chance.

    That is about √(2 ln n) standard deviations, and one more; of few epochs the noise itself is not well known.
    """
    return (1 + math.sqrt(2 * math.log(count))) * (1 + DOUBT / math.sqrt(count))


def climb(epoch: np.ndarray, val: np.ndarray, visible: float, most: int) -> float:
    """How many times a rising trend is more than jitter explains; 0 where it is not to be seen.

    Args:
        visible: the least rise that counts.
        most: points that the slope is taken from.
    """
    if len(val) < TREND_FROM:
        return 0.0
    places = np.linspace(0, len(val) - 1, min(len(val), most)).astype(int)
    climb = slope(epoch[places], val[places]) * float(epoch[-1] - epoch[0])
    # The error of a straight line's slope through n points evenly over a span is σ√(12/n) / span.
    error = noise(val, len(val) - 1, len(val)) * math.sqrt(12 / len(places))
    return times(climb, max(visible, TREND_ERRORS * error))


def noise(val: np.ndarray, at: int, reach: int = NOISE_REACH) -> float:
    """Standard deviation of the jitter around a place, 0 for a smooth curve.

    Jitter turns back: where two steps in a row have opposite signs, the smaller one is taken, elsewhere 0. So a bend
    is no jitter, however sharp. The place itself is left out, for at its best every curve turns, and so is the largest
    tenth (at least one), for a single bad epoch is no noise either.
    """
    low = max(0, at - reach)
    steps = np.diff(val[low:at + reach + 1])
    turns = np.where(steps[:-1] * steps[1:] < 0, np.minimum(abs(steps[:-1]), abs(steps[1:])), 0.0)
    if 0 <= at - low - 1 < len(turns):
        turns = np.delete(turns, at - low - 1)
    kept = np.sort(turns)[:len(turns) - max(1, round(len(turns) / 10))]
    return sound(float(kept.mean()) / REVERSAL) if len(kept) else 0.0


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


def times(value: float, unit: float) -> float:
    """How many times a unit a value is."""
    if value <= 0:
        return 0.0
    return value / unit if unit > 0 else math.inf


def sure(times: float) -> float:
    """From 0 towards 1: a half at 1, three quarters at 2."""
    return sound(1 - 2.0 ** -max(times, 0.0))


def sound(value: float) -> float:
    """The value, or 0 where it is none."""
    return value if math.isfinite(value) else 0.0
