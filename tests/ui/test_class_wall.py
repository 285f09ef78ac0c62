"""The class wall: cheap to read however many look, a picture that never changes but for its data, and a way in."""

from __future__ import annotations

import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as some

from explorer.config import labels
from explorer.config.run_config import Demand, RunConfig
from explorer.engine import recent_runs
from explorer.engine.recent_runs import Point, RecentRuns
from explorer.i18n import LANGUAGES, count, say
from explorer.store.store import FINISHED, RunStore
from explorer.ui.charts import class_wall as class_wall_chart

BASE = RunConfig(dataset="digits", hidden=(8,))


@pytest.fixture
def store(place):
    made = RunStore(place)
    yield made
    made.close()


def identify(config: RunConfig) -> str:
    return config.run_id("v")


def begin(store: RunStore, config: RunConfig, epochs: int = 20) -> int:
    store.request(identify(config), config, Demand(epochs), {})
    return store.claim("me", [identify(config)]).attempt


def train(store: RunStore, config: RunConfig, attempt: int, *values: float, first: int = 1) -> None:
    for epoch, value in enumerate(values, first):
        store.write_epoch(identify(config), attempt, {"epoch": epoch, "val_crossentropy": value, "seconds": 0.1})


def of(store: RunStore) -> RecentRuns:
    clock = iter(range(0, 10_000, 100))
    return RecentRuns(store.latest, identify, lambda: next(clock))


# -- what is read --------------------------------------------------------------------------------------------


def test_it_fills_in_and_remembers_the_best(store):
    found = of(store)
    assert found.points() == []
    attempt = begin(store, BASE)
    assert found.points() == [], "nothing is reached yet"
    train(store, BASE, attempt, 0.5, 0.3, 0.4)
    [point] = found.points()
    assert (point.best, point.best_epoch, point.epochs, point.is_live, point.demand) == (0.3, 2, 3, True, Demand(20))
    train(store, BASE, attempt, math.nan, 0.2, first=4)
    store.end(identify(BASE), attempt, "stopped")
    [after] = found.points()
    assert (after.best, after.best_epoch, after.epochs, after.is_live) == (0.2, 5, 5, False)
    # What is over is opened as it is, so that nothing has to be trained to be looked at.
    assert (after.number, after.demand, after.config) == (point.number, Demand(5), BASE)


def test_a_run_that_is_continued_goes_on_from_where_it_was(store):
    found, attempt = of(store), begin(store, BASE, 2)
    train(store, BASE, attempt, 0.5, 0.4)
    store.end(identify(BASE), attempt, FINISHED)
    found.points()
    attempt = begin(store, BASE, 4)
    train(store, BASE, attempt, 0.3, 0.35, first=3)
    store.end(identify(BASE), attempt, FINISHED)
    [point] = found.points()
    assert (point.best, point.best_epoch, point.epochs, point.is_live) == (0.3, 3, 4, False)


def test_of_what_is_over_nothing_is_read_again(store):
    attempt = begin(store, BASE, 2)
    train(store, BASE, attempt, 0.5, 0.4)
    store.end(identify(BASE), attempt, FINISHED)
    [first] = store.latest(10, {})
    assert first.config and len(first.further) == 2
    [again] = store.latest(10, {first.run_id: (first.status, first.ticket, 2)})
    assert again.config == "" and again.further == () and again.status == FINISHED


def test_however_many_look_the_store_is_asked_once_a_second():
    asked, now = [], [0.0]
    found = RecentRuns(lambda most, held: asked.append(most) or [], identify, lambda: now[0])
    for _ in range(50):
        found.points()
    assert asked == [recent_runs.MAX_RUNS]
    now[0] = 1.0
    found.points()
    assert len(asked) == 2


def test_the_latest_come_first_and_no_more_than_are_wanted(store):
    configs = [BASE.with_(seed=seed) for seed in range(5)]
    for config in configs:
        train(store, config, begin(store, config), 0.5)
    assert [one.run_id for one in store.latest(3, {})] == [identify(one) for one in configs[:1:-1]]
    begin_again = store.request(identify(configs[0]), configs[0], Demand(30), {})
    assert begin_again.demands and len(of(store).points()) == 5


def test_runs_of_earlier_code_and_unreadable_ones_are_left_out(store):
    store.request("0" * 16, BASE, Demand(3), {})
    train_id, attempt = "0" * 16, store.claim("me").attempt
    store.write_epoch(train_id, attempt, {"epoch": 1, "val_crossentropy": 0.4, "seconds": 0.1})
    with store._write() as db:
        db.execute("INSERT INTO runs (run_id, config, versions, created_at, status) "
                   "VALUES ('x', '[]', '', 0, 'failed')")
    found = of(store)
    assert found.points() == [] and found.points() == []


def test_five_hundred_runs_are_read_quickly_and_then_hardly_at_all(store):
    epochs = [(epoch, json.dumps({"epoch": epoch, **{f"metric{n}": 0.123456789 for n in range(12)},
                                  "val_crossentropy": 1 / epoch})) for epoch in range(1, 31)]
    with store._write() as db:
        for seed in range(600):
            config = BASE.with_(seed=seed)
            db.execute("INSERT INTO runs (run_id, config, versions, created_at, status, ticket) VALUES (?,?,'',0,?,?)",
                       (identify(config), config.canonical_json(), FINISHED, seed))
            db.executemany("INSERT INTO epochs VALUES (?, ?, ?)", [(identify(config), *epoch) for epoch in epochs])
    found = of(store)
    began = time.perf_counter()
    assert len(found.points()) == 500
    first = time.perf_counter() - began
    began = time.perf_counter()
    assert len(found.points()) == 500
    second = time.perf_counter() - began
    assert first < 3 and second < 0.5 and second < first, (first, second)


# -- what is drawn -------------------------------------------------------------------------------------------

POINTS = [Point(1, BASE, Demand(5), 5, 0.4, 3, False), Point(2, BASE.with_(l1=0.001), Demand(5), 2, 0.5, 2),
          Point(7, BASE.with_(l1=0.001, l2=0.01, dropout=0.5), Demand(5), 5, 90.0, 3, False)]


def test_a_row_says_what_a_run_is_and_nothing_of_anybody():
    rows = class_wall_chart.frame(POINTS, BASE)
    assert list(rows["regularizer"]) == ["None", "L1", "L1 + L2"] and list(rows["is_live"]) == [False, True, False]
    assert list(rows["dropout"]) == ["no dropout", "no dropout", "dropout"]
    assert list(rows["opened"]) == [True, False, False] and list(rows["parameters"]) == [BASE.parameters] * 3
    assert rows["height"][2] == class_wall_chart.edge("digits") < rows["best"][2] == 90
    words = rows.to_json()
    assert not any(identify(point.config) in words for point in POINTS)
    assert set(rows) == {"point", "parameters", "height", "best", "best_epoch", "regularizer", "dropout", "is_live",
                         "opened", "run", "data", "state", "epochs"}


def of_all(*configs: RunConfig) -> list[Point]:
    return [Point(number, config, Demand(5), 5, 0.4, 3, number == 2) for number, config in enumerate(configs, 1)]


WORDS = RunConfig(dataset="reviews", num_words=1_000, validation="test")


@pytest.mark.parametrize("changes", [
    {"num_words": 100}, {"validation": 0.2}, {"validation": 0.4}, {"train_samples": 500}, {"label_noise": 0.2}],
    ids=lambda changes: " ".join(map(str, changes.items())))
def test_runs_that_do_not_compare_are_on_no_wall_together(changes):
    other = WORDS.with_(hidden=(64, 64), **changes)
    points = of_all(WORDS.with_(l2=0.01), other, WORDS.with_(hidden=(4,), seed=3), BASE)
    found = class_wall_chart.comparable(points, "reviews", WORDS)
    assert [point.number for point in found.points] == [1, 3] and found.left_out == 1
    assert found.differing == tuple(changes)
    mine = class_wall_chart.comparable(points, "reviews", other)
    assert [point.number for point in mine.points] == [2] and mine.left_out == 2


def test_all_that_a_network_may_be_or_may_be_trained_with_compares():
    changes = {"hidden": (4,), "activation": "tanh", "batch_norm": True, "l1": 0.01, "l2": 0.01, "dropout": 0.5,
               "optimizer": "adam", "learning_rate": 0.1, "batch_size": 64, "seed": 5, "initializer": "he_normal"}
    points = of_all(*(WORDS.with_(**{name: value}) for name, value in changes.items()))
    found = class_wall_chart.comparable(points, "reviews", WORDS)
    assert len(found.points) == len(changes) and not found.left_out and not found.differing


def test_of_other_data_the_largest_group_that_compares_is_shown():
    points = of_all(WORDS, WORDS.with_(num_words=50), WORDS.with_(num_words=50, seed=1))
    found = class_wall_chart.comparable(points, "reviews", BASE)
    assert [point.number for point in found.points] == [2, 3] and found.left_out == 1
    assert class_wall_chart.comparable(points, "mnist", BASE).like is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_wall_says_what_it_shows_and_how_many_it_leaves_out(language):
    points = of_all(WORDS, WORDS.with_(seed=1), WORDS.with_(num_words=50), WORDS.with_(validation=0.4))
    said = class_wall_chart.sentence(class_wall_chart.comparable(points, "reviews", WORDS), language)
    assert "1,000" in said and count("wall.runs", language, 2) in said and count("wall.live", language, 1) in said
    titles = [labels.lower(labels.title(name, language)) for name in ("num_words", "validation")]
    assert count("wall.left_out", language, 2, settings=labels.listed(titles, language)) in said
    alone = class_wall_chart.sentence(class_wall_chart.comparable(points[:2], "reviews", WORDS), language)
    assert said.startswith(alone) and alone != said
    nobody = class_wall_chart.comparable([], "reviews", WORDS)
    assert class_wall_chart.sentence(nobody, language) == say("wall.empty", language)
    # Others' runs are there, but none that compares: nobody's is the first, and nothing is shown.
    none = class_wall_chart.sentence(class_wall_chart.comparable(points[2:], "reviews", WORDS), language)
    assert say("wall.empty", language) not in none
    assert none.startswith(say("wall.alone", language, what="").split(":")[0])
    assert say("wall.shown", language, what="").rstrip(".")[:8] not in none
    nobody = class_wall_chart.comparable([], "mnist", WORDS)
    assert class_wall_chart.sentence(nobody, language) == say("wall.empty", language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_picture_is_one_and_the_same_whatever_lies_on_it(language):
    made = class_wall_chart.spec(language)
    assert "data" not in made and made == class_wall_chart.spec(language)
    drawn = json.dumps(made, ensure_ascii=False)
    names = set(class_wall_chart.frame(POINTS, BASE, language))
    assert {part["field"] for part in _parts(made) if "field" in part} <= names
    for key in ("wall.parameters", "wall.dropout.with", "control.regularizer"):
        assert say(key, language) in drawn
    assert class_wall_chart.describe(language) == say("wall.describe", language)


def _parts(made):
    if isinstance(made, dict):
        yield made
    for one in made.values() if isinstance(made, dict) else made if isinstance(made, list) else ():
        yield from _parts(one)


@given(some.lists(some.builds(
    Point, some.integers(1, 10**6), some.sampled_from([BASE, RunConfig(), BASE.with_(dropout=0.3, l2=0.1)]),
    some.just(Demand()), some.integers(1, 500), some.floats(1e-9, 1e9), some.integers(1, 500), some.booleans())))
def test_every_run_can_be_drawn(points):
    rows = class_wall_chart.frame(points)
    assert len(rows) == len(points) and (rows["height"] > 0).all() and rows["height"].le(rows["best"]).all()
