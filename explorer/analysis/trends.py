"""What a validation curve does beyond its jitter: how far it has risen since its lowest stretch, how far it may fall.

Both are numbers with an error, from all epochs and not from single ones: of n epochs with jitter, the lowest lies two
standard deviations below the rest by chance alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from explorer.analysis import robust_stats
from explorer.analysis.robust_stats import LATEST, Jitter, latest, sound, times

# Validation has turned when it stays this far above its best value, as a share of it: less is not to be seen in a
# chart, and another seed moves the curve as much. Nor does it count below so much cross-entropy: below the first number
# while few epochs show it, below the second in any case.
RISE_SHARE, FEW_RISE, MIN_RISE = 0.03, 0.01, 0.002
# Next to nothing is left to be learned once training has fallen to this share of the best validation value.
MEMORIZED_SHARE = 0.3
# Widths of the stretches that are compared: single numbers for short runs, shares of the epochs for long ones.
WIDTHS, WIDTH_SHARES = (2, 3, 5), (10, 5, 3)
# Shorter stretches than this share of the epochs are not looked at: there are too many of them.
MIN_SHARE = 15
# A stretch at the end lies above the lowest one by chance by √(2 ln(n / width)) standard errors, for the lowest is
# chosen among n / width of them; a rise needs so many more. Settled curves with 3 % jitter are then taken for
# overfitting in 4 of 100 cases of 15 to 100 epochs, in 1 of 100 of more, and none with high confidence; a rise of 5 to
# 10 % under that jitter is seen in 7 of 10. At 2.2 it would be 3 of 100, and 6 of 10 (simulated).
RISE_ERRORS = 1.55
# Of n epochs the jitter itself is uncertain by about this over √n, as a share of it.
DOUBT = 0.85
# The jitter at the lowest stretch is that of the n epochs since, where there are so many and it is plainly less than
# what went before the turn: by more than this over √n of it, which is twice its standard error.
MIN_SINCE, CALMER = 7, 2.5
# Jitter of a part and of the whole are taken for the same within this factor.
ALIKE = 3.0
# A turn with too few epochs after it for stretches: every one of at least so many lies that much above the best, as a
# share of it, half of them twice as much, and before the best the curve fell without turning back.
FEW_SINCE, FAR_SHARE = 4, 0.08

# What is yet to come is read off so large a part of the latest epochs, but of so many at least.
PART, MIN_PART = 0.6, 8
# What goes on falling is at its lowest now, but for so many standard errors.
LOWEST_ERRORS = 0.5
# Times over which the fall may fade away, as shares of that part: from nearly over to a straight line.
FADINGS = np.array([0.1, 0.15, 0.25, 0.4, 0.7, 1.2, 3.0, 10.0])


@dataclass(frozen=True)
class Curve:
    """The sound rows of a history, one value an epoch in each array; accuracies and printed numbers may be NaN."""

    epoch: np.ndarray
    train: np.ndarray
    val: np.ndarray
    val_accuracy: np.ndarray
    train_accuracy: np.ndarray
    loss: np.ndarray
    penalty: np.ndarray
    accuracy: np.ndarray

    def head(self, count: int) -> Curve:
        return Curve(*(getattr(self, field.name)[:count] for field in fields(self)))

    @cached_property
    def at(self) -> int:
        """The place of the best epoch."""
        return int(self.val.argmin())

    @cached_property
    def best(self) -> float:
        return float(self.val[self.at])

    @cached_property
    def visible(self) -> float:
        """The least rise above the best that counts."""
        is_new = len(self.val) - 1 - self.at < LATEST
        return max(RISE_SHARE * abs(self.best), FEW_RISE if is_new else MIN_RISE)

    @cached_property
    def end(self) -> np.ndarray:
        """The places of the latest epochs since the best one, or its own."""
        after = np.arange(self.at + 1, len(self.val))[-LATEST:]
        return after if len(after) else np.array([self.at])

    @cached_property
    def jitter(self) -> Jitter:
        """Of validation."""
        return Jitter(self.val)

    @cached_property
    def noise(self) -> float:
        """Jitter around the best epoch."""
        return self.jitter.around(self.at)

    @cached_property
    def is_memorized(self) -> bool:
        """Whether next to nothing is left to be learned from the training data."""
        return latest(self.train) <= MEMORIZED_SHARE * self.best

    @cached_property
    def limit(self) -> float:
        """How far the level of the latest epochs lies above a single best one by chance."""
        noise = noise_since(self.jitter, self.at, is_memorized=self.is_memorized)
        return max(self.visible, chance(len(self.val)) * noise)


@dataclass(frozen=True)
class Rise:
    """How far validation lies above its lowest stretch.

    Attributes:
        size: mean of the last stretch minus that of the lowest, in the unit of the values.
        limit: what jitter and visibility explain.
        width: epochs of a stretch; 0 where single epochs were looked at.
    """

    size: float = 0.0
    limit: float = math.inf
    width: int = 0

    @property
    def margin(self) -> float:
        """How many times the limit the rise is; above 1 it counts."""
        return times(self.size, self.limit)


@dataclass(frozen=True)
class Outlook:
    """What training on would bring: the fall to come, and its standard error, in the unit of the values."""

    gain: float
    error: float


def rise(jitter: Jitter, visible: float, is_memorized: bool = False) -> Rise:
    """The plainest rise of the end above the lowest stretch, over all widths.

    Args:
        jitter: of the curve.
        visible: the least rise that counts.
        is_memorized: see `noise_since`.
    """
    values, count = jitter.values, len(jitter.values)
    sums = np.concatenate([[0.0], values.cumsum()])
    doubt = 1 + DOUBT / math.sqrt(count)
    found = Rise()
    for width in sorted({*WIDTHS, *(count // share for share in WIDTH_SHARES)}):
        if not max(2, count // MIN_SHARE) <= width <= count // 2:
            continue
        means = (sums[width:] - sums[:-width]) / width
        lowest = int(means[:-width].argmin())
        size = float(means[-1] - means[lowest])
        if size <= visible:
            continue
        reach = max(robust_stats.NOISE_REACH, width)
        low, end = noise_since(jitter, lowest + width - 1, reach, is_memorized), _pooled(
            jitter, count - 2 * reach - 1, count)
        by_chance = math.sqrt(2 * math.log(count / width)) * low + RISE_ERRORS * math.sqrt((low**2 + end**2) / 2)
        one = Rise(size, max(visible, by_chance * doubt / math.sqrt(width)), width)
        found = max(found, one, key=lambda rise: rise.margin)
    return found


def chance(count: int) -> float:
    """How many times the jitter may lie between the least of so many values and a few others by chance.

    That is about √(2 ln n) standard deviations, and one more; of few epochs the jitter itself is not well known.
    """
    return (1 + math.sqrt(2 * math.log(count))) * (1 + DOUBT / math.sqrt(count))


def noise_since(jitter: Jitter, at: int, reach: int = robust_stats.NOISE_REACH, is_memorized: bool = False) -> float:
    """Jitter at a place from which a curve may have risen, from `reach` epochs before and twice as many after it.

    What went before the turn says nothing of what comes after it, but only where the two are plainly different: of few
    epochs the jitter comes out too low as easily as too high.

    Args:
        jitter: of the curve.
        at: the place.
        reach: how far to look.
        is_memorized: whether nothing is left to be learned from the training data, so that a turn has to be expected:
            what went before it is then left out in any case.
    """
    both = _pooled(jitter, *robust_stats.around(len(jitter.values), at, reach))
    after = min(2 * reach, len(jitter.values) - at - 1)
    if after < MIN_SINCE:
        return max(both, jitter.of())
    since = jitter.of(at + 1, at + 1 + after)
    if is_memorized or since < (1 - CALMER / math.sqrt(after)) * both:
        return since
    return max(_pooled(jitter, at + 1, at + 1 + after), both)


def _pooled(jitter: Jitter, low: int, high: int) -> float:
    """Jitter of a part, from all values besides where these are not plainly different."""
    here, everywhere = jitter.of(low, high), jitter.of()
    return math.sqrt(here * everywhere) if ALIKE * here > everywhere > here / ALIKE else here


def few_since(values: np.ndarray, at: int) -> Rise:
    """A rise after a turn that few, jumping epochs follow: all of them lie far above a best that was reached smoothly.

    Args:
        values: one an epoch.
        at: the place of the least of them.
    """
    since, before = values[at + 1:], values[:at + 1]
    best = float(values[at])
    if len(since) < FEW_SINCE or (np.diff(before) >= 0).any():
        return Rise()
    far = FAR_SHARE * abs(best)
    return Rise(min(float(since.min()) - best, (robust_stats.middle(since) - best) / 2), far)


def outlook(jitter: Jitter, more: float) -> Outlook:
    """The fall over so many more epochs, if the curve goes on fading away as it does.

    A level plus an exponential fading is fitted by least squares to the latest epochs, for each of `FADINGS`; the
    falls that these predict are averaged with the weight exp(-squares / (2 jitter²)) of each fit.
    """
    count = len(jitter.values)
    part = jitter.values[-max(MIN_PART, round(PART * count)):]
    n = len(part)
    error = jitter.of(count - n) * (1 + DOUBT / math.sqrt(n))
    shapes = np.exp(-np.arange(1.0 - n, 1.0) / (FADINGS[:, None] * n))
    shapes = shapes - shapes.mean(axis=1, keepdims=True)
    squares = (shapes**2).sum(axis=1)
    heights = shapes @ (part - part.mean()) / squares
    left = ((part - part.mean() - heights[:, None] * shapes) ** 2).sum(axis=1)
    least = max(error, 1e-9 * float(abs(part).max()), 1e-300)
    weights = np.exp(-(left - left.min()) / least / least / 2)
    weights /= weights.sum()
    # The heights are those at the last epoch; what of them will be gone after so many more.
    share = 1 - np.exp(-more / (FADINGS * n))
    falls = heights * share
    gain = float(weights @ falls)
    variance = float(weights @ ((error * share) ** 2 / squares + (falls - gain) ** 2))
    return Outlook(sound(gain), math.sqrt(sound(variance)))


def ends_lowest(jitter: Jitter) -> bool:
    """Whether no earlier fifth of the values lies lower than the last one, but for half its standard error."""
    values = jitter.values
    width = max(2, len(values) // WIDTH_SHARES[1])
    if len(values) < 2 * width:
        return True
    means = np.convolve(values, np.full(width, 1 / width), "valid")
    allowed = LOWEST_ERRORS * jitter.of(len(values) - 5 * width) / math.sqrt(width)
    return bool(means[-1] - means[:-width].min() <= allowed)


def falls_throughout(values: np.ndarray, fewest: int) -> bool:
    """Whether every one of at least so many values is lower than the one before."""
    return len(values) >= fewest and bool((np.diff(values) < 0).all())
