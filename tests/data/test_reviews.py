"""The generated reviews: the very same bytes each time, shaped like IMDB, with words that mean what they say."""

import hashlib

import numpy as np
import pytest

from explorer.data import reviews
from explorer.data._review_words import COMMON, FUNCTION, SENTIMENT, TOPICS

# Of each version's arrays. Other bytes need another VERSION, for caches and links carry its name.
SHA256 = {"reviews-1": "4db856c7650dc53f48b4dc7ce18b7ab745e4170ec314c5cd72e960ff57a6f531"}


@pytest.fixture(scope="module")
def parts():
    return reviews.generate()


@pytest.fixture(scope="module")
def words():
    return reviews.vocabulary()


@pytest.fixture(scope="module")
def leaning(parts):
    """Documents with each word, and the z-score of how many more of them are favourable than half."""
    indptr, indices, labels = parts[0]
    count = np.bincount(indices, minlength=10_000)
    favourable = np.bincount(indices[np.repeat(labels, np.diff(indptr)) == 1], minlength=10_000)
    return count, (favourable - count / 2) / np.sqrt(np.maximum(count, 1) / 4)


def digest(parts):
    found = hashlib.sha256()
    for part in parts:
        for array in part:
            found.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return found.hexdigest()


def test_the_bytes_are_those_of_the_version(parts):
    assert digest(parts) == SHA256[reviews.VERSION]


def test_it_makes_the_same_again(parts):
    reviews._model.cache_clear()
    np.random.seed(5)  # the global generator has no say
    assert digest(reviews.generate()) == digest(parts)


def test_the_arrays_have_the_promised_types_and_shapes(parts):
    for indptr, indices, labels in parts:
        assert (indptr.dtype, indices.dtype, labels.dtype) == (np.int64, np.int32, np.uint8)
        assert indptr.shape == (25_001,) and labels.shape == (25_000,)
        assert indptr[0] == 0 and indptr[-1] == len(indices)


def test_labels_are_balanced_and_in_random_order(parts):
    for _, _, labels in parts:
        assert set(labels) == {0, 1} and labels.sum() == 12_500
        assert abs(labels[20_000:].mean() - 0.5) < 0.03


def test_rows_hold_distinct_ascending_words_behind_the_start(parts):
    for indptr, indices, _ in parts:
        assert (indices[indptr[:-1]] == 1).all()
        step = np.diff(indices)
        step[indptr[1:-1] - 1] = 1  # from one row to the next
        assert (step > 0).all()
        assert not np.isin(indices, (0, 2, 3)).any() and indices.max() < 10_000


def test_reviews_are_as_long_as_imdbs(parts):
    for indptr, _, _ in parts:
        distinct = np.diff(indptr)
        assert 130 <= distinct.mean() <= 150
        assert 55 <= distinct.std() <= 85 and distinct.min() >= 20


def test_training_and_test_reviews_differ(parts):
    (indptr, indices, _), (other_indptr, other_indices, _) = parts
    rows = {indices[a:b].tobytes() for a, b in zip(indptr, indptr[1:])}
    assert len(rows) == 25_000
    assert not any(other_indices[a:b].tobytes() in rows for a, b in zip(other_indptr, other_indptr[1:]))


def test_the_vocabulary_names_each_index_once(words):
    assert len(words) == len(set(words)) == 10_000
    assert words[:4] == ["<padding>", "<start>", "<unknown>", "<unused>"]
    assert words[4] == "the"
    assert all(word == word.strip().lower() and " " not in word for word in words)
    listed = [*FUNCTION, *COMMON, *(word for some in (*SENTIMENT.values(), *TOPICS.values()) for word in some)]
    assert len(listed) == len(set(listed)) and set(listed) < set(words)


def test_frequencies_fall_with_rank(leaning):
    count = leaning[0][4:]
    assert count.min() > 0
    blocks = [count[a:b].mean() for a, b in ((0, 10), (10, 30), (30, 100), (100, 300), (300, 1000), (1000, 3000),
                                             (3000, 6000), (6000, 9996))]
    assert blocks == sorted(blocks, reverse=True)
    # Each word lies where its expected frequency puts it: chance alone moves it about.
    smooth = np.convolve(count, np.ones(25) / 25, "valid")
    assert (smooth[25:] <= smooth[:-25] * 1.25).all()
    assert 0.18 < count[85:105].mean() / 25_000 < 0.25 and 0.001 < count[-500:].mean() / 25_000 < 0.002


def test_words_of_sentiment_lean_as_stated(leaning, words):
    count, score = leaning
    place = {word: index for index, word in enumerate(words)}
    for strength, some in SENTIMENT.items():
        at = np.array([place[word] for word in some])
        frequent = at[count[at] >= 100]
        assert len(frequent) > 10
        assert (np.sign(score[frequent]) == np.sign(strength)).all()
        assert (np.sign(score[at]) == np.sign(strength)).mean() > 0.95
    assert score[place["excellent"]] > 10 and score[place["worst"]] < -10
    first = {strength: place[some[0]] for strength, some in SENTIMENT.items()}
    share = {strength: abs(score[index]) / np.sqrt(count[index]) for strength, index in first.items()}
    assert share[1] < share[2] < share[3] and share[-1] < share[-2] < share[-3]


def test_all_other_words_say_nothing(leaning, words):
    _, score = leaning
    telling = {word for some in SENTIMENT.values() for word in some}
    others = np.array([word not in telling for word in words])
    others[:4] = False
    topical = np.isin(words, [word for some in TOPICS.values() for word in some])
    for at in (others, topical):
        assert abs(score[at]).max() < 5 and 0.8 < np.sqrt((score[at] ** 2).mean()) < 1.1


def test_topics_keep_to_themselves(parts, words):
    indptr, indices, _ = parts[0]
    row = np.repeat(np.arange(25_000), np.diff(indptr))
    space, court = (np.unique(row[np.isin(indices, [words.index(word) for word in TOPICS[topic]])])
                    for topic in ("space", "courtroom"))
    assert 500 < len(space) < 1_500 and 500 < len(court) < 1_500
    assert not len(np.intersect1d(space, court))
