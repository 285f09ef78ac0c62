"""The benchmark's other libraries: that each learns, that all do the same, and what is said where one is missing."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from explorer.config.run_config import RunConfig
from tests.benchmarks import alternatives, trainer

WORDS = 60
WAYS = ("embedding_bag", "csr", "csr_transposed", "dense", "sklearn")
WORD_CONFIG = RunConfig(dataset="imdb", validation="test", num_words=WORDS)
IMAGE_CONFIG = RunConfig(dataset="mnist", validation="test", optimizer="adam", batch_norm=True)
ON_IMAGES = {"num_words": None, "hidden": [64], "optimizer": "adam", "epochs": 20}


def need(way: str) -> None:
    pytest.importorskip("sklearn" if way == "sklearn" else "torch", reason=f"{way} is measured only where it is")


def write_reviews(path: Path) -> None:
    """Reviews as Keras keeps them, object arrays of lists: the label shows in words that only its own class uses."""
    random = np.random.default_rng(0)
    parts = {}
    for part, rows in (("train", 640), ("test", 200)):
        labels = random.integers(0, 2, rows)
        reviews = np.empty(rows, object)
        # Words 1 to 9 tell the classes apart, the others do not; 90 and more are rare ones.
        reviews[:] = [[*random.choice(np.arange(1, 5) + 5 * label, 2).tolist(), *random.integers(10, 99, 12).tolist()]
                      for label in labels]
        parts |= {f"x_{part}": reviews, f"y_{part}": labels}
    np.savez(path, **parts)


def write_images(path: Path) -> None:
    random = np.random.default_rng(0)
    parts = {}
    for part, rows in (("train", 640), ("test", 200)):
        labels = random.integers(0, 10, rows).astype(np.uint8)
        images = random.integers(0, 60, (rows, 4, 4)).astype(np.uint8)
        images.reshape(rows, -1)[np.arange(rows), labels] = 255
        parts |= {f"x_{part}": images, f"y_{part}": labels}
    np.savez(path, **parts)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_reviews(folder / "imdb.npz")
    write_images(folder / "mnist.npz")
    return folder


def measure(way: str, file: Path, **changes: object) -> dict:
    given = {"way": way, "file": str(file), "num_words": WORDS, "hidden": [8, 8], "batch_norm": False,
             "optimizer": "rmsprop", "batch_size": 32, "epochs": 12, "seed": 1, **changes}
    done = subprocess.run([sys.executable, alternatives.__file__, json.dumps(given)], capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def on_reviews(data_dir: Path):
    """What a way measured on the reviews; each is measured once."""
    return cache(lambda way: measure(way, data_dir / "imdb.npz"))


@pytest.fixture
def hidden_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch and scikit-learn as if they were not installed, for the programs that a test starts."""
    for name in ("torch", "sklearn"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('hidden')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path) + os.pathsep + os.environ.get("PYTHONPATH", ""))


def test_words_are_those_of_the_plain_notebook():
    reviews = np.empty(3, object)
    reviews[:] = [[1, 5, 5, 40], [], [0, 6, 7]]
    words, offsets = alternatives.words_of(reviews, 10)
    rows = [sorted(words[begin:end].tolist()) for begin, end in zip(offsets, offsets[1:])]
    # Shifted by 3; 7 becomes 10, one too many, and is "unknown" as 40 is. An empty review still has its start.
    assert rows == [[1, 2, 4, 8], [1], [1, 2, 3, 9]]


def test_rows_in_another_order_keep_their_words():
    part = (np.array([1, 2, 1, 1, 5, 7], np.int32), np.array([0, 2, 3, 6], np.int32))
    words, offsets = alternatives.in_order(part, np.array([2, 0, 1]))
    assert (words.tolist(), offsets.tolist()) == ([1, 5, 7, 1, 2, 1], [0, 3, 5, 6])
    assert (alternatives.dense_of((words, offsets), 8) == alternatives.dense_of(part, 8)[[2, 0, 1]]).all()


@pytest.mark.parametrize("way", WAYS)
def test_each_way_learns(way, on_reviews):
    need(way)
    answer = on_reviews(way)
    for curve in ("crossentropy", "val_crossentropy", "val_accuracy"):
        assert len(answer[curve]) == 12
    assert answer["val_crossentropy"][0] > 0.5 > 0.3 > answer["val_crossentropy"][-1]
    assert answer["crossentropy"][-1] < answer["crossentropy"][0] / 2
    assert answer["val_accuracy"][-1] > 0.9
    assert 0 < answer["first"] < answer["fit"] and 0 < answer["steady"] < answer["fit"]
    assert answer["peak_mb"] > 50
    assert answer["optimizer"] == ("adam" if way == "sklearn" else "rmsprop")


@pytest.mark.parametrize("way", ["csr", "csr_transposed", "dense"])
def test_pytorchs_ways_compute_the_same(way, on_reviews):
    need(way)
    for curve in ("crossentropy", "val_crossentropy"):
        assert on_reviews(way)[curve] == pytest.approx(on_reviews("embedding_bag")[curve], rel=1e-3)


def test_images_are_learnt_with_batch_norm(data_dir):
    need("dense")
    answer = measure("dense", data_dir / "mnist.npz", batch_norm=True, **ON_IMAGES)
    assert answer["val_crossentropy"][-1] < answer["val_crossentropy"][0] / 2
    assert answer["val_accuracy"][-1] > 0.9


def test_scikit_learn_learns_images_but_says_that_it_has_no_batch_norm(data_dir):
    need("sklearn")
    assert measure("sklearn", data_dir / "mnist.npz", **ON_IMAGES)["val_accuracy"][-1] > 0.9
    assert measure("sklearn", data_dir / "mnist.npz", batch_norm=True, **ON_IMAGES) == {"lacks": "batch norm"}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_installed_is_said(way, data_dir, hidden_libraries):
    library = "scikit-learn" if way == "sklearn" else "torch"
    assert measure(way, data_dir / "imdb.npz") == {"missing": library}


# -- the tables ---------------------------------------------------------------------------------------


def numbers(**values: float) -> dict:
    return {"seconds": 2.0, "first": 0.5, "steady": 0.1, "later": [0.1, 0.1], "fit": 8.0, "peak_mb": 900.0,
            "optimizer": "rmsprop", "accuracy": 0.87, "val_accuracy": [0.87], **values}


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """The explorer's and the notebook's runs told instead of trained."""
    monkeypatch.setattr(trainer, "_explorer", lambda *_, **__: (numbers(), [numbers(first=0.225)]))
    monkeypatch.setattr(trainer, "memory", lambda *_: 123.4)
    monkeypatch.setattr(trainer, "plain", lambda *_: numbers())
    monkeypatch.setattr(trainer, "ROWS", [("words", WORD_CONFIG, 3, 1 / 8, 250), ("images", IMAGE_CONFIG, 3, 1, 400)])


def tables(text: str) -> list[list[dict[str, str]]]:
    """The printed tables, each a list of rows by the heads of their columns."""
    found: list[list[dict[str, str]]] = []
    head: list[str] | None = None
    for line in text.splitlines():
        row = [cell.strip() for cell in line.strip("| ").split(" | ")] if line.startswith("|") else None
        if row is None:
            head = None
        elif head is None:
            head = row
            found.append([])
        elif set("".join(row)) != {"-"}:
            assert len(row) == len(head), line
            found[-1].append(dict(zip(head, row)))
    return found


def test_the_tables_say_what_is_not_installed(light, data_dir, hidden_libraries, capsys):
    trainer.main(1, [0], data_dir)
    first, paces, fits = tables(capsys.readouterr().out)
    assert [first[0][head] for head in ("first epoch s", "start s", "start again s", "memory MB")] == [
        "0.50", "0.40", "0.12", "123"]
    for row in (paces[0], fits[0]):
        assert {row[head] for head in trainer.ALTERNATIVES.values()} == {"not installed"}
    assert paces[0]["share of the better PyTorch by itself"] == "–"
    assert paces[0]["explorer"] == "0.100"


def test_the_alternatives_can_be_switched_off(light, data_dir, monkeypatch, capsys):
    monkeypatch.setattr(trainer, "alternative", lambda *_: pytest.fail("an alternative was measured"))
    trainer.main(1, [], data_dir, alternatives=False)
    assert [len(table) for table in tables(capsys.readouterr().out)] == [2]


def test_all_are_run_in_turn_in_each_round(light, data_dir, monkeypatch):
    order = []
    monkeypatch.setattr(trainer, "_explorer", lambda settings, config, *_, **__: (
        order.append(("explorer", config.seed)), (numbers(), [numbers()]))[1])
    monkeypatch.setattr(trainer, "plain", lambda config, *_: (order.append(("plain", config.seed)), numbers())[1])
    monkeypatch.setattr(trainer, "alternative", lambda way, config, *_: (
        order.append((way, config.seed)), numbers())[1])
    trainer.main(2, [0], data_dir)
    names = ["explorer", "plain", *(way for way in trainer.ALTERNATIVES)]
    assert order == [(name, seed) for seed in (0, 1) for name in names]


def test_images_have_no_words_and_scikit_learn_no_batch_norm(light, data_dir, monkeypatch, capsys):
    monkeypatch.setattr(trainer, "alternative", lambda way, *_: (
        {"lacks": "batch norm"} if way == "sklearn" else numbers(steady=0.05, optimizer="adam")))
    trainer.main(1, [1], data_dir)
    pace = tables(capsys.readouterr().out)[1][0]
    assert [pace[trainer.ALTERNATIVES[way]] for way in WAYS] == ["–", "–", "–", "0.050", "no batch norm"]
    assert pace["share of the better PyTorch by itself"] == "2.0"  # the explorer takes twice as long, and it shows


def test_the_share_is_of_the_better_pytorch(light, data_dir, monkeypatch, capsys):
    paces = {"embedding_bag": 0.4, "csr": 0.3, "dense": 0.5, "csr_transposed": 0.2, "sklearn": 0.01}
    monkeypatch.setattr(trainer, "alternative", lambda way, *_: numbers(
        steady=paces[way], optimizer="adam" if way == "sklearn" else "rmsprop"))
    trainer.main(1, [0], data_dir)
    pace = tables(capsys.readouterr().out)[1][0]
    assert (pace["share of the better PyTorch by itself"], pace["share of the best PyTorch"]) == ("1/3.0", "1/2.0")
    assert pace["wanted"] == "1/2.0"
    assert pace["scikit-learn"] == "0.010 (adam)"


def test_an_alternative_that_fails_is_told_of_and_the_others_go_on(light, data_dir, monkeypatch, capsys):
    script = trainer._run

    def run(name: str, given: dict) -> str:
        if given["way"] == "csr":
            given = {**given, "file": "/nonexistent"}
        elif given["way"] != "dense":
            return json.dumps(numbers())
        else:
            return json.dumps({"missing": "torch"})
        return script(name, given)

    monkeypatch.setattr(trainer, "_run", run)
    need("csr")
    trainer.main(1, [0], data_dir)
    output = capsys.readouterr()
    pace = tables(output.out)[1][0]
    assert (pace["PyTorch CSR"], pace["PyTorch dense"], pace["PyTorch EmbeddingBag"]) == (
        "failed", "not installed", "0.100")
    assert "/nonexistent" in output.err


def test_large_networks_are_measured_for_fewer_epochs_and_the_fit_reckoned(monkeypatch):
    asked = []
    monkeypatch.setattr(trainer, "_run", lambda script, given: (
        asked.append(given["epochs"]), json.dumps(numbers(fit=given["epochs"] * 1.5, steady=1.5)))[1])
    large = RunConfig(dataset="imdb", validation="test", num_words=1_000, hidden=(512, 512))
    for config in (large, WORD_CONFIG):
        answer = trainer.alternative("csr", config, 20, Path("/data"))
        assert answer["fit"] == pytest.approx(30) and answer["accuracy"] == 0.87
    assert asked == [4, 20]


def test_every_row_has_something_to_compare_with():
    for title, config, *_ in trainer.ROWS:
        ways = {way for way in trainer.ALTERNATIVES if trainer.applies(way, config)}
        assert ways & set(trainer.BY_ITSELF) and "sklearn" in ways, title
        assert ("embedding_bag" in ways) == config.info.is_words
        assert ("dense" in ways) == (config.inputs <= 1_000)
        assert config.activation == "relu" and config.optimizer in ("adam", "rmsprop")  # all that they have


def test_a_worker_is_new_to_the_architecture_and_asked_again_with_other_seeds(settings, monkeypatch):
    events = []

    class Quiet:
        def __init__(self, given):
            events.append("open")

        def close(self):
            events.append("close")

    monkeypatch.setattr(trainer, "Engine", Quiet)
    monkeypatch.setattr(trainer, "settled", lambda engine: events.append("settled") or 0.0)
    monkeypatch.setattr(trainer, "ours", lambda engine, config, epochs: events.append((config, epochs)) or numbers())
    for seed, others in ((0, 2), (1, 5)):
        trainer._explorer(settings, WORD_CONFIG.with_(seed=seed), 20, others)
    each = [events[3:7], events[-5:-1]]
    warm_ups, runs = [events[2], events[-6]], [*each[0], *each[1]]
    assert [event for event in events if isinstance(event, str)] == ["open", "settled", "close"] * 2
    assert warm_ups[0] != warm_ups[1] and all(config.hidden != WORD_CONFIG.hidden for config, _ in warm_ups)
    again = trainer.AGAIN_EPOCHS
    assert runs == [(WORD_CONFIG.with_(seed=seed), epochs) for seed, epochs in (
        (0, 20), (2, again), (3, again), (4, again), (1, 20), (5, again), (6, again), (7, again))]


def test_memory_is_what_a_run_takes_above_an_idle_worker(settings, monkeypatch):
    held = iter([500.0, 500.0, *[520.0, 640.0, 610.0] * 10_000])

    class Quiet:
        hardware = object()

        def __init__(self, given):
            pass

        def close(self):
            pass

    monkeypatch.setattr(trainer, "Engine", Quiet)
    monkeypatch.setattr(trainer, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(trainer, "MEMORY_SECONDS", 0.001)
    monkeypatch.setattr(trainer, "held", lambda engine: next(held))
    asked = []

    def ours(engine, config, epochs):
        asked.append(config)
        time.sleep(0.1)

    monkeypatch.setattr(trainer, "ours", ours)
    assert trainer.memory(settings, WORD_CONFIG, 3) == 140.0
    # Neither is a run that the store knows: that would take no memory.
    assert len({*asked, WORD_CONFIG}) == 3


def test_one_epoch_has_no_steady_pace():
    assert math.isnan(trainer.middle([], "steady"))
    assert trainer.share(0.1, math.nan) == "–"
