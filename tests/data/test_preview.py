"""One training example: the same as the run gets, read in passing, and none where the data are not at hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from explorer import data
from explorer.config.run_config import RunConfig
from explorer.config.settings import Settings
from explorer.data import cache, preview, reviews


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An installation whose compact cache holds the embedded data."""
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    for dataset in ("reviews", "digits"):
        data.load(RunConfig(dataset=dataset), settings)
    return settings


def _home_with(tmp_path: Path, dataset: str, **arrays: np.ndarray) -> Settings:
    """An installation whose compact cache holds what is given."""
    settings = Settings(home=tmp_path / "home", data_dir=tmp_path)
    cache.save(settings.cache, dataset, data.version(dataset, settings), arrays)
    return settings


def _some_imdb(tmp_path: Path, *rows: list[int]) -> Settings:
    return _home_with(
        tmp_path, "imdb", train_y=np.zeros(25_000, np.uint8), train_indices=np.concatenate(rows).astype(np.int32),
        train_indptr=np.cumsum([0, *map(len, rows), *[0] * (25_000 - len(rows))]))


@pytest.mark.parametrize("num_words", [10, 1_000, 10_000])
@pytest.mark.parametrize("number", [0, 7, preview.MOST - 1])
def test_a_review_is_the_row_that_the_network_gets(prepared, num_words, number):
    config = RunConfig(dataset="reviews", num_words=num_words)
    found = preview.read(config, number, prepared)
    row = data.load(config, prepared).train.slice(number, number + 1)
    assert np.array_equal(np.flatnonzero(row.x.dense()[0]), found.indices)
    assert (found.label, found.told, found.inputs) == (row.y[0], row.y[0], num_words)
    words = reviews.vocabulary()
    assert found.words == tuple(words[index] for index in found.indices)
    assert found.words[0] == "<start>" and ("<unknown>" in found.words) == (num_words < 10_000)


@pytest.mark.parametrize("number", [0, preview.MOST - 1])
def test_a_digit_is_the_row_that_the_network_gets(prepared, number):
    config = RunConfig(dataset="digits")
    found = preview.read(config, number, prepared)
    row = data.load(config, prepared).train.slice(number, number + 1)
    assert found.pixels.shape == (8, 8) and found.pixels.max() <= found.scale == 16
    assert np.array_equal(found.scaled.ravel(), row.x.dense()[0])
    assert found.label == row.y[0] and found.words == ()


def test_a_flipped_label_is_told_from_the_true_one(prepared):
    config = RunConfig(dataset="digits", label_noise=0.5, seed=3)
    told = data.load(config, prepared).train.y
    found = [preview.read(config, number, prepared) for number in range(preview.MOST)]
    assert [one.told for one in found] == told[:preview.MOST].tolist()
    assert any(one.told != one.label for one in found) and any(one.told == one.label for one in found)


def test_no_data_no_sample(settings, no_keras_home):
    for dataset in data.DATASETS:
        assert preview.read(RunConfig(dataset=dataset), 0, settings) is None


@pytest.mark.parametrize("number", [-1, preview.MOST])
def test_only_the_first_examples_can_be_looked_at(prepared, number):
    assert preview.read(RunConfig(dataset="digits"), number, prepared) is None


@pytest.mark.parametrize("harm", [
    lambda path: path.write_bytes(b""), lambda path: path.write_bytes(path.read_bytes()[:300]),
    lambda path: np.savez(path, train_y=np.zeros(9)), lambda path: (path.unlink(), path.mkdir())])
def test_a_damaged_cache_is_no_cache(prepared, tmp_path, harm):
    settings = replace(prepared, home=tmp_path)
    path = cache.path_of(settings.cache, "digits", data.version("digits", settings))
    path.parent.mkdir()
    path.write_bytes(cache.path_of(prepared.cache, "digits", data.version("digits", settings)).read_bytes())
    assert preview.read(RunConfig(dataset="digits"), 0, settings)
    harm(path)
    assert preview.read(RunConfig(dataset="digits"), 0, settings) is None


def test_imdbs_words_come_from_keras_list(tmp_path, no_keras_home):
    settings = _some_imdb(tmp_path, [1, 4, 6, 7, 50_000], [1, 5])
    config = RunConfig(dataset="imdb", num_words=100)
    assert preview.read(config, 0, settings).indices == (1, 2, 4, 6, 7)
    assert preview.read(config, 0, settings).words == ()
    (tmp_path / preview.WORD_INDEX).write_text(json.dumps({"the": 1, "and": 2, "of": 4}))
    # What the list does not name has its number for a name.
    assert preview.read(config, 0, settings).words == ("<start>", "<unknown>", "the", "#6", "of")
    assert preview.read(config, 1, settings).words == ("<start>", "and")


@pytest.mark.parametrize("text", [
    "", "[]", "{", "[" * 100_000, '{"a": "b"}', '{"a": -1, "b": true, "c": 1e9}', '{"a": 99999999999}',
    json.dumps({"x" * 1_000: 1}), "\xff", "9" * 5_000])
def test_a_list_of_words_that_is_none_leaves_the_numbers(tmp_path, no_keras_home, text):
    settings = _some_imdb(tmp_path, [1, 4])
    (tmp_path / preview.WORD_INDEX).write_text(text, encoding="latin-1")
    assert preview.read(RunConfig(dataset="imdb"), 0, settings).words == ()


def test_a_list_of_words_that_is_too_large_is_left_alone(tmp_path, no_keras_home, monkeypatch):
    settings = _some_imdb(tmp_path, [1, 4])
    (tmp_path / preview.WORD_INDEX).write_text(json.dumps({"the": 1}))
    monkeypatch.setattr(preview, "MAX_BYTES", 5)
    assert preview.read(RunConfig(dataset="imdb"), 0, settings).words == ()


def test_the_first_rows_of_an_array_are_read_without_the_rest(tmp_path):
    path = tmp_path / "some.npz"
    values = np.arange(30, dtype=np.int32).reshape(10, 3)
    np.savez(path, values=values, objects=np.array([{}]), turned=np.asfortranarray(values))
    assert np.array_equal(cache.head(path, "values", 4), values[:4])
    assert np.array_equal(cache.head(path, "values", 99), values)
    assert [cache.head(path, name, 1) for name in ("objects", "turned", "none")] == [None] * 3
