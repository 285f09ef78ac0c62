"""Generated film reviews: 25,000 + 25,000 sets of words that overfit like IMDB's, for when IMDB is not at hand.

Nobody wrote these reviews: each is a bag of words drawn from fixed probabilities. Words of sentiment lean on the
label, words of a topic (courtroom, boxing, ...) do not, and function words are everywhere. The real words, some
1,600, end where a hand-made list ends; the rest of the 10,000 are made up ("nimedex") and stand for the long tail
of names and rare words, which carry nothing but which a network can learn by heart. A share of the reviews has a
label that contradicts its words. The numbers below are set so that the learning curves behave like those of Keras's
IMDB; only statistics were taken from there, no word and no review.
"""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

import numpy as np

from explorer.data._review_words import COMMON, FUNCTION, SENTIMENT, TOPICS

# Name of these very bytes; any change to words or numbers needs a new one.
VERSION = "reviews-1"
# As many rows in each part, and words, as Keras's IMDB has in its usual task.
ROWS, VOCABULARY = 25_000, 10_000
# Keras's numbering: these come before the words, and every review begins with the start.
SPECIAL, START = ("<padding>", "<start>", "<unknown>", "<unused>"), 1
# Any fixed number does; each part of the data takes its own stream.
SEED_TRAIN, SEED_TEST, SEED_WORDS = 1, 2, 3

# Words a review, repetitions included: log-normal; gives some 136 distinct ones, as spread out as IMDB's.
LENGTH_MEDIAN, LENGTH_SIGMA = 165, 0.6
# Lengths that are told apart, equally probable; few enough to compute expected frequencies exactly.
LENGTHS = 64
# The neutral word of rank r has weight (r + ZIPF_SHIFT) ** -ZIPF_POWER: in 22 % of IMDB's reviews at rank 100,
# in 2 % at rank 1,000, in 0.1 % at rank 10,000.
ZIPF_SHIFT, ZIPF_POWER = 4.0, 1.16
# Share of a review's words that come from its topic, and the same law within the topic's short, so flatter, list.
TOPIC_SHARE = 0.04
TOPIC_SHIFT, TOPIC_POWER = 3.0, 1.0
# Share of a review's words that carry sentiment: with LEANING it sets the accuracy that can be reached.
SENTIMENT_SHARE = 0.048
# The law within the words of one strength, and how much commoner mild words are than strong ones: together they
# spread the words from rank 90 to 6,600, so that a smaller vocabulary costs accuracy.
SENTIMENT_SHIFT, SENTIMENT_POWER = 1.0, 1.0
MILDNESS = {1: 12.0, 2: 5.0, 3: 1.5}
# How decidedly reviews speak, equally probable; the lukewarm ones cannot be told apart, only learnt by heart.
STANCES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
# Log-odds of a word of strength 1 between a favourable and an unfavourable review of stance 1.
LEANING = 1.3
# Share of the reviews whose words say the contrary of the label; more of them deepens the fall after the best epoch.
CONTRARY = 0.0175
# Expected frequencies closer than this count as equal, lest rounding decide about the order of words.
DECIMALS = 12

# Reviews drawn at a time: a table of 1,000 × 10,000 bytes stays small.
BLOCK = 1_000
# Letters of made-up words: three syllables and an ending that real words hardly have.
CONSONANTS, VOWELS, ENDINGS = "bdlmnrtv", "aeiou", "xz"


@lru_cache(maxsize=1)
def _model() -> tuple[list[str], np.ndarray, np.ndarray]:
    """The words by descending expected frequency, and the cumulative probabilities of each stance and topic.

    Shapes: stances `(2 * len(STANCES), words)`, negative ones first; topics `(len(TOPICS), words)`.
    """
    neutral = FUNCTION + COMMON
    telling = [word for some in (*SENTIMENT.values(), *TOPICS.values()) for word in some]
    neutral = neutral + _made_up(VOCABULARY - len(SPECIAL) - len(neutral) - len(telling), {*neutral, *telling})
    words = neutral + telling
    place = {word: number for number, word in enumerate(words)}

    plain, weight, strengths = np.zeros(len(words)), np.zeros(len(words)), np.zeros(len(words))
    plain[:len(neutral)] = _zipf(len(neutral), ZIPF_SHIFT, ZIPF_POWER)
    for strength, some in SENTIMENT.items():
        at = [place[word] for word in some]
        weight[at] = MILDNESS[abs(strength)] * _zipf(len(some), SENTIMENT_SHIFT, SENTIMENT_POWER)
        strengths[at] = strength
    stances = np.array([-stance for stance in STANCES] + list(STANCES))
    leaning = weight * np.exp(LEANING / 2 * np.outer(stances, strengths))
    spoken = (1 - SENTIMENT_SHARE) * plain + SENTIMENT_SHARE * leaning / leaning.sum(axis=1, keepdims=True)
    topics = np.zeros((len(TOPICS), len(words)))
    for row, some in zip(topics, TOPICS.values()):
        row[[place[word] for word in some]] = _zipf(len(some), TOPIC_SHIFT, TOPIC_POWER)

    # Stance and topic are independent, so at a given length their chances to miss a word multiply.
    lengths = _lengths()
    expected = np.zeros(len(words))
    for length, about in zip(lengths, _about(lengths)):
        missed = ((1 - spoken) ** (length - about)).mean(axis=0) * ((1 - topics) ** about).mean(axis=0)
        expected += (1 - missed) / LENGTHS
    order = np.argsort(-expected.round(DECIMALS), kind="stable")
    return [words[number] for number in order], spoken[:, order].cumsum(axis=1), topics[:, order].cumsum(axis=1)


def _zipf(count: int, shift: float, power: float) -> np.ndarray:
    """Probabilities of `count` words, the commonest first."""
    weights = (np.arange(1.0, count + 1) + shift) ** -power
    return weights / weights.sum()


def _lengths() -> np.ndarray:
    """The lengths in words, ascending, int64."""
    normal = NormalDist(np.log(LENGTH_MEDIAN), LENGTH_SIGMA)
    return np.exp([normal.inv_cdf((i + 0.5) / LENGTHS) for i in range(LENGTHS)]).astype(np.int64)


def _about(lengths: np.ndarray) -> np.ndarray:
    """How many of the words come from the topic."""
    return np.rint(TOPIC_SHARE * lengths).astype(np.int64)


def _made_up(count: int, taken: set[str]) -> list[str]:
    """Pronounceable words that mean nothing."""
    syllables = [consonant + vowel for consonant in CONSONANTS for vowel in VOWELS]
    base = len(syllables)
    found = []
    for number in np.random.RandomState(SEED_WORDS).permutation(base ** 3 * len(ENDINGS)):
        number, ending = divmod(int(number), len(ENDINGS))
        word = "".join(syllables[number // base ** power % base] for power in range(3)) + ENDINGS[ending]
        if len(found) == count:
            break
        if word not in taken:
            found.append(word)
    return found


def vocabulary() -> list[str]:
    """Word of each index, 10,000 in all: four special marks, then by descending expected frequency."""
    return [*SPECIAL, *_model()[0]]


def generate() -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The training and the test reviews, always the same, in random order.

    Returns:
        For each part `(indptr, indices, labels)`: the distinct words of review `i`, ascending, are
        `indices[indptr[i]:indptr[i + 1]]` (int32; `indptr` is int64 of shape `(25_001,)`), its label is
        `labels[i]` (uint8, 1 for a favourable one; half of them).
    """
    return _part(SEED_TRAIN), _part(SEED_TEST)


def _part(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One part of the data."""
    _, spoken, topics = _model()
    generator = np.random.RandomState(seed)
    labels = (generator.permutation(ROWS) % 2).astype(np.uint8)
    says = labels ^ (generator.random_sample(ROWS) < CONTRARY)
    stance = says * len(STANCES) + (generator.random_sample(ROWS) * len(STANCES)).astype(np.int64)
    topic = (generator.random_sample(ROWS) * len(TOPICS)).astype(np.int64)
    length = _lengths()[(generator.random_sample(ROWS) * LENGTHS).astype(np.int64)]
    about = _about(length)
    counts, indices, rows = np.zeros(ROWS, np.int64), [], np.arange(BLOCK)
    for first in range(0, ROWS, BLOCK):
        # Marking words in a table finds the distinct ones, in order, faster than sorting them.
        holds = np.zeros((BLOCK, VOCABULARY), bool)
        holds[:, START] = True
        at = slice(first, first + BLOCK)
        for table, choice, number in ((spoken, stance[at], length[at] - about[at]), (topics, topic[at], about[at])):
            holds[np.repeat(rows, number), len(SPECIAL) + _draw(table, np.repeat(choice, number), generator)] = True
        counts[at] = holds.sum(axis=1)
        indices.append((np.flatnonzero(holds) % VOCABULARY).astype(np.int32))
    return np.concatenate([[0], counts.cumsum()]), np.concatenate(indices), labels


def _draw(table: np.ndarray, choice: np.ndarray, generator: np.random.RandomState) -> np.ndarray:
    """One word for each element of `choice`, from that row of cumulative probabilities."""
    # All rows in one ascending line, row i between i and i + 1, so that one search serves them all.
    line = (table / table[:, -1:] + np.arange(len(table))[:, None]).ravel()
    found = np.searchsorted(line, choice + generator.random_sample(len(choice)), side="right")
    # A draw next to 1 may round up into the row after.
    return np.minimum(found - choice * table.shape[1], table.shape[1] - 1)
