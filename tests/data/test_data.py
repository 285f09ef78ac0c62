"""Data files: the same rows as Keras gives, nothing executed, and words that help when a file is no good."""

import functools
import hashlib
import http.server
import io
import os
import pickle
import socket
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib import format as npy

from explorer import data
from explorer.config.datasets import DATASETS
from explorer.config.run_config import RunConfig
from explorer.config.settings import Settings
from explorer.data import DataError, WordRows, cache, digits, imdb, mnist
from explorer.data.safe_npz import UnsafeFile, read_npz
from explorer.data.splits import flip

MEMBERS = ("x_train", "y_train", "x_test", "y_test")
relaxed = hypothesis.settings(deadline=None)


def _reviews(count: int, seed: int) -> np.ndarray:
    """Lists of word ranks from 1 on, as in Keras's file: most are small, some beyond every vocabulary."""
    generator = np.random.RandomState(seed)
    rows = np.empty(count, dtype=object)
    for number in range(count):
        ranks = np.minimum(generator.zipf(1.3, size=generator.randint(1, 60)), 88_584 + generator.randint(0, 5))
        rows[number] = [int(rank) for rank in ranks]
    rows[1] = []
    return rows


def _imdb(path: Path, train: int = 100, test: int = 40, **changed: np.ndarray) -> Path:
    """A small file in the layout of Keras's imdb.npz."""
    generator = np.random.RandomState(5)
    arrays = {"x_train": _reviews(train, 1), "y_train": generator.randint(0, 2, train),
              "x_test": _reviews(test, 2), "y_test": generator.randint(0, 2, test)}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{name: array for name, array in (arrays | changed).items() if array is not None})
    return path


def _mnist(path: Path) -> Path:
    generator = np.random.RandomState(0)
    np.savez(path, x_train=generator.randint(0, 256, (100, 28, 28)).astype(np.uint8), y_train=np.arange(100) % 10,
             x_test=generator.randint(0, 256, (40, 28, 28)).astype(np.uint8), y_test=np.arange(40) % 10)
    return path


@pytest.fixture
def here(tmp_path: Path, no_keras_home: Path) -> Settings:
    """Settings with an empty data folder and an empty Keras folder."""
    (tmp_path / "data").mkdir()
    return Settings(home=tmp_path / "home", data_dir=tmp_path / "data")


@pytest.fixture
def small(here: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A data folder with an imdb.npz of 100 and 40 reviews, and a catalogue that knows it so."""
    monkeypatch.setitem(DATASETS, "imdb", replace(DATASETS["imdb"], train_rows=100, test_rows=40))
    _imdb(here.data_dir / "imdb.npz")
    return here


IMDB = {"dataset": "imdb", "num_words": 1_000}


def _same(one: data.Prepared, other: data.Prepared) -> bool:
    return all(np.array_equal(a.x.dense(), b.x.dense()) and np.array_equal(a.y, b.y)
               for a, b in ((one.train, other.train), (one.validation, other.validation), (one.test, other.test)))


# -- the same rows as keras.datasets ----------------------------------------------------------------------


def _keras_imdb(path: Path, num_words: int, monkeypatch: pytest.MonkeyPatch):
    import keras.src.datasets.imdb as module

    monkeypatch.setattr(module, "get_file", lambda *_, **__: str(path))
    return module.load_data(num_words=num_words)


def _assert_rows_are_keras_rows(arrays, num_words, loaded, most=None):
    for split, (sequences, labels) in zip(("train", "test"), loaded, strict=True):
        rows = WordRows(arrays[f"{split}_indptr"], arrays[f"{split}_indices"], 100_000).truncate(num_words)
        assert len(rows) == len(sequences)
        np.testing.assert_array_equal(arrays[f"{split}_y"], labels)
        first = rows.take(np.arange(min(len(rows), most or len(rows))))
        expected = np.zeros((len(first), num_words), np.float32)
        for number, sequence in enumerate(sequences[: len(first)]):
            row = first.indices[first.indptr[number]: first.indptr[number + 1]]
            assert row.tolist() == sorted(set(sequence))
            expected[number, sequence] = 1
        np.testing.assert_array_equal(first.dense(), expected)


@pytest.mark.parametrize("num_words", [10, 100, 5_000, 88_586, 88_600])
def test_imdb_rows_are_those_of_keras(num_words, tmp_path, monkeypatch):
    path = _imdb(tmp_path / "imdb.npz")
    _assert_rows_are_keras_rows(imdb.read(path), num_words, _keras_imdb(path, num_words, monkeypatch))


def test_the_real_imdb_gives_the_rows_of_keras(real_data, monkeypatch):
    path = real_data / "imdb.npz"
    _assert_rows_are_keras_rows(imdb.read(path), 10_000, _keras_imdb(path, 10_000, monkeypatch), most=200)


def test_the_real_imdb_has_the_known_size_and_balance(real_data, tmp_path):
    found = data.load(RunConfig(dataset="imdb"), Settings(home=tmp_path, data_dir=real_data))
    assert [len(part) for part in (found.train, found.validation, found.test)] == [20_000, 5_000, 25_000]
    assert {part.x.inputs for part in (found.train, found.validation, found.test)} == {10_000}
    assert int(found.train.y.sum()) + int(found.validation.y.sum()) == 12_500 == int(found.test.y.sum())
    assert found.train.x.take(np.arange(10)).dense()[:, [0, 1]].tolist() == [[0, 1]] * 10  # padding never, start always


def test_the_real_mnist_is_read_as_it_is(real_data, tmp_path):
    found = data.load(RunConfig(dataset="mnist"), Settings(home=tmp_path, data_dir=real_data))
    with np.load(real_data / "mnist.npz") as raw:
        np.testing.assert_array_equal(found.train.x.values, raw["x_train"][:48_000].reshape(48_000, 784))
        np.testing.assert_array_equal(found.validation.y, raw["y_train"][48_000:])
        np.testing.assert_array_equal(found.test.x.values, raw["x_test"].reshape(10_000, 784))
    assert np.bincount(np.concatenate([found.train.y, found.validation.y])).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    pixels = found.train.x.take(np.arange(5)).dense()
    assert pixels.dtype == np.float32 and (pixels.min(), pixels.max()) == (0, 1)


# -- nothing in a file is executed ------------------------------------------------------------------------


def _armed(path: Path, stream: bytes, count: int = 1) -> Path:
    """An npz whose x_train is an object array with this pickle."""
    member = io.BytesIO()
    npy.write_array_header_1_0(member, {"descr": "|O", "fortran_order": False, "shape": (count,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", member.getvalue() + stream)
        for name in MEMBERS[1:]:
            plain = io.BytesIO()
            npy.write_array(plain, np.zeros(count, np.int64))
            archive.writestr(f"{name}.npy", plain.getvalue())
    return path


class _Call:
    """Calls a function as soon as it is unpickled."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def _objects(item) -> np.ndarray:
    array = np.empty(1, dtype=object)
    array[0] = item
    return array


def _touch(name: str) -> str:
    return f"__import__('pathlib').Path({name!r}).touch()"


ATTACKS = {
    "a shell command": lambda name: _Call(os.system, f"touch {name}"),
    "eval": lambda name: _Call(eval, _touch(name)),
    "exec, deep in lists": lambda name: [1, [2, [3, [_Call(exec, _touch(name))]]]],
    "open": lambda name: _Call(open, name, "w"),
    "partial": lambda name: _Call(functools.partial(eval, _touch(name))),
    "numpy's own writer": lambda name: _Call(np.memmap, name, "uint8", "w+", 0, (3,)),
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_file_that_would_run_something_is_refused_and_runs_nothing(attack, protocol, tmp_path):
    mark = tmp_path / "was-here"
    stream = pickle.dumps(_objects(ATTACKS[attack](str(mark))), protocol=protocol)
    path = _armed(tmp_path / "imdb.npz", stream)
    with pytest.raises(UnsafeFile, match="it asks for .* only numbers, lists and arrays are admitted"):
        imdb.read(path)
    assert not mark.exists()
    np.load(path, allow_pickle=True)["x_train"]  # numpy itself would have been had
    assert mark.exists()


@pytest.mark.parametrize("name", [
    "numpy\nload", "numpy\nfromfile", "numpy\nndarray.tofile", "numpy\ndtype.__class__",
    "numpy._core.multiarray\nfromfile", "numpy.core.multiarray\narray", "builtins\nprint", "__builtin__\neval",
    "posix\nsystem", "nt\nsystem", "copyreg\n_reconstructor",
])
def test_any_other_name_is_refused_even_one_of_numpy(name, tmp_path):
    for stream in (b"c" + name.encode() + b"\n.", pickle.PROTO + b"\x04" + b"".join(
            pickle.SHORT_BINUNICODE + bytes([len(part)]) + part.encode() for part in name.split("\n")) + b"\x93."):
        with pytest.raises(UnsafeFile, match=f"it asks for {name.replace(chr(10), '.')}"):
            read_npz(_armed(tmp_path / "imdb.npz", stream), MEMBERS)


def test_a_reference_to_something_outside_the_file_is_refused(tmp_path):
    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            return "elsewhere" if item == "me" else None

    stream = io.BytesIO()
    Pickler(stream).dump(_objects(["me"]))
    with pytest.raises(UnsafeFile, match="outside the file"):
        read_npz(_armed(tmp_path / "imdb.npz", stream.getvalue()), MEMBERS)


def test_a_hostile_file_gets_a_message_that_names_it(here, tmp_path):
    path = _armed(here.data_dir / "imdb.npz", pickle.dumps(_objects(_Call(os.system, f"touch {tmp_path}/was-here"))))
    with pytest.raises(DataError, match="imdb.npz in .*data cannot be used: it asks for .*system.* Delete it or put"):
        data.load(RunConfig(**IMDB), here)
    assert not (tmp_path / "was-here").exists() and path.exists()


def test_a_file_that_claims_to_unpack_to_more_than_a_gigabyte_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "imdb.npz", "w") as archive:
        archive.writestr("x_train.npy", b"")
        archive.infolist()[0].file_size = (1 << 30) + 1  # written into the directory at the end
    with pytest.raises(UnsafeFile, match="x_train would unpack to 1,073,741,825 bytes"):
        imdb.read(tmp_path / "imdb.npz")


def test_a_file_that_unpacks_to_more_than_it_claims_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "imdb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", bytes(1 << 23))
        archive.infolist()[0].file_size = 1_000
    with pytest.raises(ValueError, match="cut short or damaged"):
        imdb.read(tmp_path / "imdb.npz")


# -- files that are no good -------------------------------------------------------------------------------


def _spoiled(kind: str, path: Path) -> None:
    sound = _imdb(path).read_bytes()
    ones = np.ones(100, np.int64)
    if kind == "truncated":
        path.write_bytes(sound[: len(sound) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "flipped bytes":
        middle = len(sound) // 4
        path.write_bytes(sound[:middle] + bytes(255 - byte for byte in sound[middle: middle + 8]) + sound[middle + 8:])
    elif kind == "text":
        path.write_text("<html>not found</html>")
    elif kind == "mnist under another name":
        _mnist(path)
    elif kind == "no labels":
        _imdb(path, y_train=None)
    elif kind == "labels of 7":
        _imdb(path, y_train=ones * 7)
    elif kind == "labels that are no numbers":
        _imdb(path, y_train=np.array(["good"] * 100))
    elif kind == "more labels than reviews":
        _imdb(path, y_train=np.ones(101, np.int64))
    elif kind == "reviews as text":
        _imdb(path, x_train=np.array(["a film"] * 100, dtype=object))
    elif kind == "negative words":
        _imdb(path, x_train=np.array([[-5]] * 100 + [[1, 2]], dtype=object)[:100])
    elif kind == "too few rows":
        pass  # sound, but of 100 reviews instead of 25,000


@pytest.mark.parametrize("kind, reason", [
    ("truncated", "cut short or damaged"), ("empty", "cut short or damaged"), ("flipped bytes", "damaged"),
    ("text", "cut short or damaged"), ("mnist under another name", "x_train and y_train are not two lists"),
    ("no labels", "it has no array named y_train"), ("labels of 7", "y_train holds something else than 0 and 1"),
    ("labels that are no numbers", "y_train holds something else than 0 and 1"),
    ("more labels than reviews", "not two lists of the same length"), ("reviews as text", "not a list of word ranks"),
    ("negative words", "not a list of word ranks"), ("too few rows", "100 training rows where 25,000 are needed"),
])
def test_a_file_that_is_no_good_is_named_with_the_reason_and_what_to_do(kind, reason, here):
    path = here.data_dir / "imdb.npz"
    _spoiled(kind, path)
    with pytest.raises(DataError) as caught:
        data.load(RunConfig(**IMDB), here)
    message = str(caught.value)
    assert message.startswith(f"imdb.npz in {here.data_dir} cannot be used: ") and reason in message
    assert "Delete it or put a sound copy in its place (Keras's own file has 17,464,789 bytes)." in message


def test_imdb_under_the_name_of_mnist_is_told(here):
    _imdb(here.data_dir / "mnist.npz")
    with pytest.raises(DataError, match="mnist.npz in .* cannot be used: x_train is not a list of 28×28 images"):
        data.load(RunConfig(dataset="mnist"), here)


def test_mnist_with_labels_beyond_nine_is_told(tmp_path):
    _mnist(tmp_path / "mnist.npz")
    with np.load(tmp_path / "mnist.npz") as raw:
        arrays = dict(raw)
    np.savez(tmp_path / "mnist.npz", **arrays | {"y_test": arrays["y_test"] + 1})
    with pytest.raises(ValueError, match="y_test is not one digit an image"):
        mnist.read(tmp_path / "mnist.npz")


@pytest.mark.parametrize("rank", [2**31 - 3, 2**32 + 5, 2**63 - 1, 2**64 - 10])
def test_a_word_rank_that_no_vocabulary_has_is_told(rank, tmp_path):
    rows = _reviews(100, 1)
    rows[7] = [1, 2, rank]
    with pytest.raises(ValueError, match="impossible word rank|not a list of word ranks"):
        imdb.read(_imdb(tmp_path / "imdb.npz", x_train=rows))


def test_no_flipped_byte_goes_unnoticed_or_breaks_anything(tmp_path):
    path = _imdb(tmp_path / "imdb.npz", train=6, test=4)
    sound, expected = path.read_bytes(), imdb.read(path)
    for position in range(len(sound)):
        for mask in (0x01, 0xFF):
            path.write_bytes(sound[:position] + bytes([sound[position] ^ mask]) + sound[position + 1:])
            try:
                found = imdb.read(path)
            except (ValueError, OSError):  # what `data.load` turns into a message
                continue
            for name, array in expected.items():  # only what is no content, such as a date, may pass
                np.testing.assert_array_equal(found[name], array)


# -- the cache --------------------------------------------------------------------------------------------


def _cached(settings: Settings) -> Path:
    (path,) = settings.cache.glob("imdb-*.npz")
    return path


def test_a_second_load_reads_the_cache_and_not_the_source(small):
    source, told = small.data_dir / "imdb.npz", []
    first = data.load(RunConfig(**IMDB), small, lambda *what: told.append(what[0]))
    assert told == ["preparing"]
    stat = source.stat()
    source.write_bytes(bytes(stat.st_size))  # of the same size and time, but nothing that could be read
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert _same(data.load(RunConfig(**IMDB), small, lambda *what: told.append(what[0])), first)
    assert told == ["preparing"]


def test_one_cache_serves_every_number_of_words(small):
    data.load(RunConfig(**IMDB), small)
    stamp = _cached(small).stat().st_mtime_ns
    found = data.load(RunConfig(dataset="imdb", num_words=50), small)
    assert found.train.x.inputs == 50 and found.train.x.indices.max() < 50
    assert _cached(small).stat().st_mtime_ns == stamp


def test_the_cache_holds_no_pickles(small):
    data.load(RunConfig(**IMDB), small)
    with np.load(_cached(small), allow_pickle=False) as archive:
        assert len(archive.files) == 6
        assert not any(archive[name].dtype.hasobject for name in archive.files)


def _npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize("damage", [
    lambda sound: sound[: len(sound) // 2], lambda sound: b"", lambda sound: b"nonsense" * 100,
    lambda sound: sound[:300] + bytes(200) + sound[500:], lambda sound: pickle.dumps([1]),
    lambda sound: _npz(train_y=np.arange(3)),
], ids=["truncated", "empty", "nonsense", "a hole", "a pickle", "arrays missing"])
def test_a_damaged_cache_is_made_again(damage, small):
    first = data.load(RunConfig(**IMDB), small)
    path = _cached(small)
    sound = path.read_bytes()
    path.write_bytes(damage(sound))
    assert _same(data.load(RunConfig(**IMDB), small), first)
    with np.load(path) as archive:
        assert len(archive.files) == 6


@pytest.mark.parametrize("layout", [cache.LAYOUT, cache.LAYOUT + 1])
def test_a_data_set_takes_the_place_of_its_own_other_versions_alone(tmp_path, monkeypatch, layout):
    versions = {"imdb": ["a" * 64, "b" * 64], "imdb-small": ["c" * 64], "imdb2": ["d" * 64], "imdb-imdb": ["e" * 64],
                "reviews": ["reviews-1", "reviews-2"], "reviews-long": ["reviews-long-1"], "small": ["f" * 64]}
    for dataset, (first, *_) in versions.items():
        cache.save(tmp_path, dataset, first, {"y": np.arange(3)})
    (tmp_path / "imdb-notes.npz").touch()
    before = {path.name for path in tmp_path.iterdir()}
    assert len(before) == len(versions) + 1
    gone = {cache.path_of(tmp_path, dataset, versions[dataset][0]).name for dataset in ("imdb", "reviews")}
    monkeypatch.setattr(cache, "LAYOUT", layout)
    for dataset in ("imdb", "reviews"):
        cache.save(tmp_path, dataset, versions[dataset][1], {"y": np.arange(3)})
    made = {cache.path_of(tmp_path, dataset, versions[dataset][1]).name for dataset in ("imdb", "reviews")}
    assert {path.name for path in tmp_path.iterdir()} == before - gone | made


def test_no_flipped_byte_in_a_cache_stops_a_run(tmp_path):
    cache.save(tmp_path, "imdb", "1", {"train_y": np.arange(50, dtype=np.uint8), "test_y": np.arange(9)})
    path = cache.path_of(tmp_path, "imdb", "1")
    names = ("train_y", "test_y")
    sound, expected = path.read_bytes(), cache.load(path, names)
    for position in range(len(sound)):
        for mask in (0x01, 0x08, 0xFF):
            path.write_bytes(sound[:position] + bytes([sound[position] ^ mask]) + sound[position + 1:])
            found = cache.load(path, names)
            if found is not None:
                assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_where_no_cache_can_be_written_the_run_goes_on(small):
    small.home.mkdir()
    small.cache.write_text("a file where the folder should be")
    assert len(data.load(RunConfig(**IMDB), small).train) == 80


def test_a_changed_file_is_another_version_and_the_old_cache_goes(small):
    data.load(RunConfig(**IMDB), small)
    before, old = data.version("imdb", small), _cached(small)
    _imdb(small.data_dir / "imdb.npz", y_test=np.ones(40, np.int64))
    assert data.version("imdb", small) != before
    assert data.load(RunConfig(**IMDB), small).test.y.all()
    assert _cached(small) != old


# -- where files are searched -----------------------------------------------------------------------------


def test_the_given_folder_comes_before_that_of_keras(small, no_keras_home):
    _imdb(no_keras_home / "datasets" / "imdb.npz", y_test=np.ones(40, np.int64))
    digest = hashlib.sha256((small.data_dir / "imdb.npz").read_bytes()).hexdigest()
    assert data.version("imdb", small) == digest
    assert not data.load(RunConfig(**IMDB), small).test.y.all()
    (small.data_dir / "imdb.npz").unlink()
    assert data.version("imdb", small) != digest
    assert data.load(RunConfig(**IMDB), small).test.y.all()


def test_the_page_opens_with_imdb_only_where_its_file_is(here, no_keras_home):
    assert data.default_dataset(here) == "reviews" and not data.present("imdb", here)
    assert data.present("digits", here) and data.present("reviews", here)
    assert data.version("imdb", here) == DATASETS["imdb"].sha256
    _imdb(no_keras_home / "datasets" / "imdb.npz")
    assert data.default_dataset(here) == "imdb" and data.present("imdb", here)


class _Site:
    """A web site on this machine with one file, of which the second half waits to be let go."""

    def __init__(self, content: bytes):
        self.content, self.go, self.requests = content, threading.Event(), 0
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                site.requests += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(site.content)))
                self.end_headers()
                half = len(site.content) // 2
                self.wfile.write(site.content[:half])
                site.go.wait(10)
                self.wfile.write(site.content[half:])

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.go.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def online(here, no_keras_home, tmp_path, monkeypatch):
    """A site with a small imdb.npz, known to the catalogue; nothing of it on this machine yet."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    no_keras_home.mkdir()
    # Large enough to be written in several pieces.
    content = _imdb(tmp_path / "source.npz", padding=np.random.RandomState(0).bytes(400_000)).read_bytes()
    with _Site(content) as site:
        monkeypatch.setitem(DATASETS, "imdb", replace(
            DATASETS["imdb"], url=f"http://127.0.0.1:{site.server.server_port}/imdb.npz", train_rows=100, test_rows=40,
            sha256=hashlib.sha256(content).hexdigest(), bytes=len(content)))
        yield site


def test_a_missing_file_is_fetched_once_with_progress_into_the_folder_of_keras(online, here, no_keras_home):
    told = []

    def report(phase, done, total):
        told.append((phase, done, total))
        if phase == "downloading" and done:
            online.go.set()

    found = data.load(RunConfig(**IMDB), here, report)
    size = len(online.content)
    assert ("downloading", 0, size) in told and told[-1][0] == "preparing"
    assert any(phase == "downloading" and 0 < done < size and total == size for phase, done, total in told)
    assert (no_keras_home / "datasets" / "imdb.npz").read_bytes() == online.content
    assert _same(data.load(RunConfig(**IMDB), here, report), found) and online.requests == 1


def test_half_a_download_is_not_taken_for_the_file(online, here):
    seen = []

    def report(phase, done, total):
        if phase == "downloading" and done and not online.go.is_set():
            seen.append((data.present("imdb", here), data.version("imdb", here)))
            online.go.set()

    data.load(RunConfig(**IMDB), here, report)
    assert seen == [(False, DATASETS["imdb"].sha256)]


def test_two_runs_that_need_the_same_download_both_get_it(online, here):
    begun, found, errors = threading.Event(), [], []

    def load(report):
        try:
            found.append(data.load(RunConfig(**IMDB), here, report))
        except Exception as error:
            errors.append(error)

    first = threading.Thread(target=load, args=(lambda _, done, __: begun.set() if done else None,))
    second = threading.Thread(target=load, args=(lambda *_: None,))
    first.start()
    assert begun.wait(10)
    second.start()
    time.sleep(0.3)
    online.go.set()
    first.join(10), second.join(10)
    assert errors == [] and _same(*found)


def test_what_was_fetched_but_is_another_file_is_refused_now_and_later(online, here, monkeypatch):
    monkeypatch.setitem(DATASETS, "imdb", replace(DATASETS["imdb"], sha256="0" * 64))
    online.go.set()
    for _ in range(2):  # the second time, what the first has fetched must not pass for the file
        with pytest.raises(DataError, match="IMDB reviews could not be fetched: .*hash.*EXPLORER_DATA_DIR"):
            data.load(RunConfig(**IMDB), here)


def test_without_a_network_the_message_comes_soon_and_says_what_to_do(online, here, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: refused at once
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/imdb.npz"
        monkeypatch.setitem(DATASETS, "imdb", replace(DATASETS["imdb"], url=url))
        began = time.monotonic()
        with pytest.raises(DataError, match="could not be fetched: .*[Rr]efused.* Connect this machine to the network, "
                                            "or put imdb.npz into a folder and start with EXPLORER_DATA_DIR set to it"):
            data.load(RunConfig(**IMDB), here)
    assert time.monotonic() - began < 5
    assert not data.present("imdb", here)


# -- digits -----------------------------------------------------------------------------------------------


def test_digits_are_split_into_1297_and_500_with_every_class_in_both():
    arrays = digits.read()
    for split, rows in (("train", 1_297), ("test", 500)):
        pixels, labels = arrays[f"{split}_pixels"], arrays[f"{split}_y"]
        assert pixels.shape == (rows, 64) and labels.shape == (rows,) and pixels.dtype == labels.dtype == np.uint8
        assert (pixels.min(), pixels.max()) == (0, 16)
        assert np.bincount(labels).min() > rows / 15 and len(np.bincount(labels)) == 10


def test_digits_pixels_run_from_0_to_1(settings):
    found = data.load(RunConfig(dataset="digits"), settings)
    pixels = found.train.x.dense()
    assert pixels.dtype == np.float32 and (pixels.min(), pixels.max()) == (0, 1)
    np.testing.assert_array_equal(pixels * 16, found.train.x.values)


# -- split, cut and disturb -------------------------------------------------------------------------------


def _digits(settings, **changes):
    return data.load(RunConfig(dataset="digits", **changes), settings)


def test_runs_on_more_and_fewer_examples_are_validated_on_the_same_rows(settings):
    whole = _digits(settings)
    assert (len(whole.train), len(whole.validation), len(whole.test)) == (1_038, 259, 500)
    for count in (50, 700):
        part = _digits(settings, train_samples=count)
        assert len(part.train) == count
        np.testing.assert_array_equal(part.train.x.values, whole.train.x.values[:count])
        np.testing.assert_array_equal(part.validation.x.values, whole.validation.x.values)
        np.testing.assert_array_equal(part.validation.y, whole.validation.y)
    np.testing.assert_array_equal(  # the last rows of the training data, none of them fitted
        np.concatenate([whole.train.x.values, whole.validation.x.values]), digits.read()["train_pixels"])


def test_validation_on_the_test_set_leaves_all_training_rows_to_be_fitted(settings):
    found = _digits(settings, validation="test")
    assert len(found.train) == 1_297 and len(found.validation) == 500
    np.testing.assert_array_equal(found.validation.x.values, found.test.x.values)
    np.testing.assert_array_equal(found.validation.y, found.test.y)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5])
def test_exactly_the_asked_share_of_labels_is_flipped_and_validation_stays_clean(share, settings):
    clean, noisy = _digits(settings), _digits(settings, label_noise=share)
    assert (clean.train.y != noisy.train.y).sum() == round(share * 1_038)
    assert noisy.train.y.max() <= 9
    for part in ("validation", "test"):
        np.testing.assert_array_equal(getattr(noisy, part).y, getattr(clean, part).y)
    np.testing.assert_array_equal(noisy.train.x.values, clean.train.x.values)


@pytest.mark.parametrize("dataset, classes", [("digits", 10), ("reviews", 2)])
def test_more_noise_flips_the_same_labels_and_some_more(dataset, classes):
    labels = np.random.RandomState(3).randint(0, classes, 997).astype(np.uint8)
    some, more = (flip(labels, RunConfig(dataset=dataset, label_noise=noise)) for noise in (0.2, 0.4))
    flipped = some != labels
    np.testing.assert_array_equal(more[flipped], some[flipped])
    assert flipped.sum() == 199 and (more != labels).sum() == 399
    assert set(np.unique(more)) == set(range(classes)) and more.dtype == np.uint8


def test_a_flipped_label_becomes_each_of_the_other_classes():
    labels = np.zeros(2_000, np.uint8)
    noisy = flip(labels, RunConfig(dataset="digits", label_noise=0.5))
    counts = np.bincount(noisy, minlength=10)
    assert counts[0] == 1_000 and counts[1:].min() > 70


def test_another_seed_flips_other_labels_and_the_same_seed_the_same():
    labels = np.zeros(1_000, np.uint8)
    one, again, other = (flip(labels, RunConfig(label_noise=0.3, seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any() and not labels.any()


@st.composite
def _word_rows(draw) -> tuple[list[list[int]], int]:
    inputs = draw(st.integers(10, 40))
    return draw(st.lists(st.sets(st.integers(0, inputs - 1)).map(sorted), max_size=8)), inputs


def _pack(rows: list[list[int]], inputs: int) -> WordRows:
    return WordRows(np.cumsum([0, *map(len, rows)], dtype=np.int64),
                    np.array([word for row in rows for word in row], np.int32), inputs)


def _unpack(packed: WordRows) -> list[list[int]]:
    return [packed.indices[start:end].tolist() for start, end in zip(packed.indptr, packed.indptr[1:])]


@relaxed
@given(_word_rows(), st.data())
def test_taking_rows_gives_them_in_the_given_order(given_rows, draw):
    rows, inputs = given_rows
    chosen = draw.draw(st.lists(st.integers(0, len(rows) - 1))) if rows else []
    taken = _pack(rows, inputs).take(np.array(chosen, int))
    assert (_unpack(taken), taken.inputs, len(taken)) == ([rows[number] for number in chosen], inputs, len(chosen))


@relaxed
@given(_word_rows(), st.integers(10, 50))
def test_words_beyond_the_vocabulary_become_the_unknown_word(given_rows, num_words):
    rows, inputs = given_rows
    cut = _pack(rows, inputs).truncate(num_words)
    assert _unpack(cut) == [sorted({word if word < num_words else 2 for word in row}) for row in rows]
    assert cut.inputs == num_words and cut.indices.dtype == (np.uint16 if num_words < inputs else np.int32)


@relaxed
@given(_word_rows())
def test_the_dense_matrix_has_a_one_for_each_word(given_rows):
    rows, inputs = given_rows
    matrix = _pack(rows, inputs).dense()
    assert matrix.shape == (len(rows), inputs) and matrix.dtype == np.float32
    assert [np.flatnonzero(row).tolist() for row in matrix] == rows
    assert set(np.unique(matrix)) <= {0.0, 1.0}
