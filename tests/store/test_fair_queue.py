"""The queue is fair by person: whatever anyone presses, nobody waits more than a round for the others."""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as given_with
from hypothesis import strategies as st

from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.config.stacking import MAX_MEMBERS
from explorer.engine.engine import Engine, QueueFull
from explorer.engine.run_view import DONE
from explorer.engine.scheduler import share
from explorer.i18n import translated
from explorer.store import fair_queue, sqlite
from explorer.store.store import FAILED, FINISHED, QUEUED, RUNNING, STOPPED, Run, RunStore
from explorer.workers.devices import Hardware
from tests.engine.test_engine import CONFIG, GRID, LONG, ended, in_the_middle, wait_for

PEOPLE = "abcd"
# What happens in a queue: someone asks for one of a few runs, or for one of their own; a place is free; a run ends.
HAPPENINGS = st.lists(st.one_of(
    st.tuples(st.just("ask"), st.sampled_from(PEOPLE), st.sampled_from(["shared1", "shared2", "shared3"])),
    st.tuples(st.just("ask"), st.sampled_from(PEOPLE), st.just("")),
    st.tuples(st.just("grid"), st.sampled_from(PEOPLE), st.integers(2, 6)),
    st.tuples(st.just("claim"), st.just(""), st.just("")),
    st.tuples(st.just("stop"), st.sampled_from(PEOPLE), st.just("")),
), max_size=40)


@pytest.fixture
def store(place: Path | str) -> RunStore:
    return RunStore(place)


def _ask(store: RunStore, run_id: str, person: str = "", config: RunConfig | None = None) -> Run:
    return store.request(run_id, config or RunConfig(), Demand(), {}, person)


def _end(store: RunStore, run: Run) -> None:
    assert store.end(run.run_id, run.attempt, STOPPED)


def _served(store: RunStore, run: Run) -> str:
    with store._read() as db:
        return db.execute("SELECT person FROM wishes WHERE run_id = ? AND served", (run.run_id,)).fetchone()[0]


def _order(store: RunStore) -> list[str]:
    """Take everything that waits, each run ending before the next begins."""
    taken = []
    while run := store.claim("o"):
        taken.append(run.run_id)
        _end(store, run)
    return taken


# -- the order ------------------------------------------------------------------------------------------------


def test_who_asks_for_many_and_who_asks_for_one_take_turns(store):
    for number in range(4):
        _ask(store, f"a{number}", "a")
    _ask(store, "b0", "b")
    _ask(store, "c0", "c")
    _ask(store, "c1", "c")
    assert _order(store) == ["a0", "b0", "c0", "a1", "c1", "a2", "a3"]


def test_who_comes_later_waits_for_one_round_not_for_the_grid(store):
    for number in range(64):
        _ask(store, f"a{number}", "a")
    _end(store, store.claim("o"))
    _ask(store, "b0", "b")
    assert store.place("b0") == 1
    assert _order(store)[:3] == ["a1", "b0", "a2"]


def test_a_run_that_several_want_is_taken_at_the_first_of_their_turns_and_costs_the_others_none(store):
    for run_id in ("a0", "a1", "both"):
        _ask(store, run_id, "a")
    _ask(store, "both", "b")
    _ask(store, "b1", "b")
    _ask(store, "c0", "c")
    # b's turn takes what both want; a, who has lost nothing, goes on with the rest of theirs.
    assert _order(store) == ["a0", "both", "c0", "a1", "b1"]


def test_what_nobody_is_known_to_want_is_taken_too(store):
    _ask(store, "b0", "b")
    with store._write() as db:
        db.execute("DELETE FROM wishes")
    run = store.claim("o")
    assert run.run_id == "b0" and store.rivals("b0") == 0


def test_a_store_of_an_earlier_version_keeps_its_queue(tmp_path, monkeypatch):
    path = tmp_path / "runs.sqlite3"
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "SCHEMA", sqlite.SCHEMA[:2])
        RunStore(path)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
        db.executemany("INSERT INTO runs (run_id, config, versions, created_at, status, demands, ticket) "
                       "VALUES (?, ?, '{}', 0, 'queued', '[{\"epochs\": 3}]', ?)",
                       [(name, RunConfig().canonical_json(), ticket) for ticket, name in enumerate("xy")])
    store = RunStore(path)
    _ask(store, "new", "a")
    assert store.place("y") == 2
    assert _order(store) == ["x", "new", "y"], "what was there first is taken as one person's"


def test_a_run_that_never_began_gives_the_turn_back(store):
    for run_id, person in (("a0", "a"), ("b0", "b"), ("a1", "a")):
        _ask(store, run_id, person)
    run = store.claim("o")
    store.put_back(run.run_id, run.attempt)
    assert _order(store) == ["a0", "b0", "a1"]


def test_whoever_has_a_place_lets_others_go_first_and_no_place_stays_empty(store):
    for number in range(4):
        _ask(store, f"a{number}", "a")
    first, second = store.claim("o", None, 1), store.claim("o", None, 1)
    assert (first.run_id, second.run_id) == ("a0", "a1"), "alone, a has every place"
    _ask(store, "b0", "b")
    _ask(store, "b1", "b")
    # a is at the head of the ring, and has two places.
    assert store.claim("o", None, 1).run_id == "b0"
    assert store.claim("o", None, 1).run_id in ("a2", "b1"), "both have one: no place stays empty"


def test_nothing_is_left_behind_when_all_has_ended(store):
    for number in range(3):
        for person in PEOPLE:
            _ask(store, f"r{number}", person)
    _order(store)
    with store._read() as db:
        assert db.execute("SELECT COUNT(*) FROM wishes").fetchone()[0] == 0
        assert db.execute("SELECT COUNT(*) FROM persons").fetchone()[0] == 0


@given(HAPPENINGS)
@given_with(max_examples=30)
def test_between_two_turns_of_one_person_everybody_else_has_one_at_most(happenings):
    with tempfile.TemporaryDirectory() as folder:
        store, number = RunStore(Path(folder) / "runs.sqlite3"), 0
        # For each person who waits: how many turns the others have had since they last had one, or began to wait.
        since: dict[str, Counter] = {}
        for what, person, which in [*happenings, *[("claim", "", "")] * 40]:
            if what in ("ask", "grid"):
                for _ in range(which if what == "grid" else 1):
                    number += 1
                    _ask(store, which if what == "ask" and which else f"{person}{number}", person)
            elif what == "stop":
                own = [run.run_id for run in store.with_status(QUEUED) if run.run_id.startswith(person)]
                if own:
                    store.ask_to_stop(own[0])
            else:
                run = store.claim("o")
                if run is None:
                    continue
                served = _served(store, run)
                for other, counted in since.items():
                    counted[served] += other != served
                    assert max(counted.values(), default=0) <= 1, (other, counted)
                since[served] = Counter()
                _end(store, run)
            with store._read() as db:
                waiting = {row[0] for row in db.execute(
                    "SELECT person FROM wishes JOIN runs USING (run_id) WHERE status = 'queued'")}
            since = {one: since.get(one, Counter()) for one in waiting}


@given(st.lists(st.integers(1, 9), min_size=2, max_size=6), st.randoms(use_true_random=False))
@given_with(max_examples=60)
def test_while_all_have_something_waiting_their_turns_differ_by_one_at_most(numbers, random):
    wishes = [(f"{person}-{number}", str(person)) for person, count in enumerate(numbers) for number in range(count)]
    random.shuffle(wishes)
    ring = list(dict.fromkeys(person for _, person in wishes))
    order = fair_queue.order(wishes, {person: place for place, person in enumerate(ring)})
    assert sorted(run_id for run_id, _ in order) == sorted(run_id for run_id, _ in wishes)
    had, left = Counter({person: 0 for person in ring}), Counter(person for _, person in wishes)
    for _, person in order:
        had[person] += 1
        left[person] -= 1
        if all(left.values()):
            assert max(had.values()) - min(had.values()) <= 1
    # A person's own runs keep their order.
    for person in ring:
        assert ([run_id for run_id, whose in order if whose == person]
                == [run_id for run_id, whose in wishes if whose == person])


@given(st.lists(st.tuples(st.sampled_from(PEOPLE), st.integers(0, 9)), min_size=1, max_size=30))
@given_with(max_examples=25)
def test_a_place_is_what_happens_if_nobody_asks_for_more(asked):
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Path(folder) / "runs.sqlite3")
        for person, run in asked:
            _ask(store, f"r{run}", person)
        told = {run.run_id: store.place(run.run_id, 1) for run in store.with_status(QUEUED)}
        assert _order(store) == sorted(told, key=told.get) and sorted(told.values()) == list(range(len(told)))


# -- stacks ---------------------------------------------------------------------------------------------------


def _everything(run: Run) -> bool:
    return True


@given(st.lists(st.integers(1, 20), min_size=2, max_size=5), st.integers(1, MAX_MEMBERS))
@given_with(max_examples=15)
def test_what_is_taken_along_delays_nobody_and_holds_no_more_than_its_share(numbers, each):
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Path(folder) / "runs.sqlite3")
        for person, count in enumerate(numbers):
            for number in range(count):
                _ask(store, f"{person}-{number}", str(person))
        first = store.claim("o")
        before = {run.run_id: store.place(run.run_id) for run in store.with_status(QUEUED)}
        mates = store.claim_alike("o", first, _everything, MAX_MEMBERS - 1, each)
        counts = Counter(run.run_id.split("-")[0] for run in [first, *mates])
        assert max(counts.values()) <= each and len(mates) <= MAX_MEMBERS - 1
        for run in store.with_status(QUEUED):
            assert store.place(run.run_id) <= before[run.run_id]
        # No turn was used: the next is that of the next person who still has something.
        following = next((person for person in range(1, len(numbers)) if numbers[person] > counts[str(person)]), 0)
        run = store.claim("o")
        assert run is None or run.run_id.split("-")[0] == str(following)


class _Worker:
    """Takes every job and trains none."""

    def __init__(self) -> None:
        self.jobs: list[list[str]] = []

    def say(self, **message: object) -> bool:
        if message["do"] == "train":
            self.jobs.append([one["run_id"] for one in message["job"]["runs"]])
        return True

    def close(self) -> None:
        pass


def _dealt(engine: Engine) -> list[list[str]]:
    """The jobs that the engine deals out to its free places."""
    engine._worker = worker = _Worker()
    engine.hardware = Hardware("CPU", 2)
    with engine._asking:
        Engine._take_on(engine)
    return worker.jobs


def _grid(count: int, **changes) -> list[RunConfig]:
    return [RunConfig(num_words=500, hidden=(8,), l2=(1 + number) / 1_000, **changes) for number in range(count)]


def test_alone_a_grid_fills_every_place(idle):
    idle.submit_all(_grid(64), Demand(2), "a")
    assert sorted(map(len, _dealt(idle))) == [MAX_MEMBERS] * 2


def test_among_others_a_grid_gets_one_place_and_a_share_of_its_stack(idle):
    assert [share(rivals) for rivals in (1, 3, 7, 15, 40)] == [8, 4, 2, 1, 1]
    idle.submit_all(_grid(64), Demand(2), "a")
    wide = idle.submit(CONFIG.with_(hidden=(80,)), Demand(2), "b")
    first, second = _dealt(idle)
    assert len(first) == share(1) and second == [wide]


def test_a_class_that_tries_one_network_with_a_strength_each_is_trained_together(idle):
    ids = [idle.submit(config, Demand(2), f"person {number}") for number, config in enumerate(_grid(12))]
    assert _dealt(idle) == [ids]


@given(st.lists(st.sampled_from(["claim", "end", *PEOPLE]), max_size=60))
@given_with(max_examples=25)
def test_nobody_gets_a_second_place_while_one_without_any_waits(happenings):
    with tempfile.TemporaryDirectory() as folder:
        store, training, waiting = RunStore(Path(folder) / "runs.sqlite3"), [], Counter()
        for number, what in enumerate(happenings):
            if what == "claim":
                run = store.claim("o", None, 1)
                assert (run is not None) == bool(waiting.total()), "no place stays empty"
                if run:
                    person = run.run_id[0]
                    places = Counter(other.run_id[0] for other in training)
                    assert places[person] == 0 or all(places[other] for other in waiting if waiting[other])
                    waiting[person] -= 1
                    training.append(run)
            elif what == "end" and training:
                _end(store, training.pop(0))
            elif what in PEOPLE:
                _ask(store, f"{what}{number}", what)
                waiting[what] += 1


# -- limits ---------------------------------------------------------------------------------------------------


@pytest.fixture
def idle(settings) -> Engine:
    """An engine that takes nothing from the queue."""
    engine = Engine(replace(settings, runs_at_once=2), warm=False)
    engine._take_on = lambda: None
    engine._charges.look_after = lambda *_: None
    yield engine
    engine.close()


def test_what_was_claimed_when_the_store_went_away_gets_its_turn_again(idle, monkeypatch):
    run_id = idle.submit(GRID[0], Demand(epochs=2), "a")

    def gone(*args: object) -> int:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(idle.store, "rivals", gone)
        with pytest.raises(sqlite3.OperationalError):
            _dealt(idle)
    Engine._recover(idle)
    assert idle.store.run(run_id).status == QUEUED
    assert _dealt(idle) == [[run_id]]
    Engine._recover(idle)
    assert idle.store.run(run_id).status == RUNNING, "what is in hand stays there"
    idle._charges.clear()


def test_an_answer_that_nobody_understands_ends_its_own_run_and_holds_up_no_other(idle):
    run_id = idle.submit(GRID[0], Demand(epochs=2), "a")
    assert _dealt(idle) == [[run_id]]
    for message in ({"event": "started", "run_id": run_id, "attempt": 1}, {"event": "died", "code": 1}):
        idle._hear(message)
    wait_for(lambda: not idle._post)
    run = idle.store.run(run_id)
    assert run.status == FAILED and "could not be understood" in run.message and "understood" not in translated(
        run.message, "ko")
    assert idle._worker is None and not idle._post


def test_more_than_one_person_may_have_waiting_is_refused_with_the_remedy_in_both_languages(idle):
    idle.settings = replace(idle.settings, max_queued_per_person=3)
    demand = Demand(epochs=2)
    idle.submit_all(GRID[:2], demand, "a")
    with pytest.raises(QueueFull) as refused:
        idle.submit_all(GRID[2:], demand, "a")
    assert str(refused.value) == ("Expected at most 3 waiting runs of one person, received 2 more beside 2 that wait. "
                                  "Wait until some of them are trained, stop some, or ask for fewer.")
    told = translated(str(refused.value), "ko")
    assert "3개" in told and "2개" in told and "Expected" not in told
    assert idle.store.waiting() == 2, "all or none of them"
    # The others' wishes are the others'.
    idle.submit_all(GRID[2:], demand, "b")
    assert idle.store.waiting() == 4


def test_what_others_have_asked_for_already_counts_for_nothing(idle):
    idle.settings = replace(idle.settings, max_queued_per_person=3)
    demand = Demand(epochs=2)
    idle.submit_all(GRID[:3], demand, "a")
    idle.submit_all(GRID[:3], demand, "b")
    idle.submit_all([*GRID[:3], CONFIG], demand, "b")
    assert idle.store.waiting() == 4 and idle.store.waiting_for("b") == 1
    idle.submit_all(GRID, demand, "b")
    assert idle.store.waiting_for("a") == 3 and idle.store.waiting_for("b") == 2
    # What is taken back makes room.
    idle.stop(idle.run_id(GRID[0]))
    idle.submit(CONFIG.with_(seed=9), demand, "a")
    assert idle.store.waiting_for("a") == 3


def test_known_runs_never_wait_whatever_is_in_the_queue(idle):
    idle.settings = replace(idle.settings, max_queued_per_person=3)
    demand = Demand(epochs=2)
    run_id = idle.run_id(CONFIG)
    run = _claimed(idle, run_id)
    for epoch in (1, 2):
        idle.store.write_epoch(run_id, run.attempt, {"epoch": epoch, "seconds": 0.1, "val_crossentropy": 0.5})
    idle.store.end(run_id, run.attempt, FINISHED, score={"epoch": 2, "test_accuracy": 1, "test_crossentropy": 0})
    idle.submit_all(GRID[:3], demand, "a")
    assert idle.submit(CONFIG, demand, "a") == run_id and idle.look(run_id, demand).state == DONE
    assert idle.store.waiting() == 3


def _claimed(engine: Engine, run_id: str) -> Run:
    engine.store.request(run_id, CONFIG, Demand(epochs=2), {})
    return engine.store.claim("o", [run_id])


def test_a_wish_of_someone_else_is_served_before_a_grid_and_the_run_of_two_is_trained_once(tmp_path):
    engine = Engine(Settings(home=tmp_path, runs_at_once=1))
    try:
        first = engine.submit(CONFIG, LONG, "a")
        in_the_middle(engine, first, 1)
        demand = Demand(epochs=2)
        grid = [CONFIG.with_(seed=seed, hidden=(80,)) for seed in range(1, 4)]  # too wide for a stack
        engine.submit_all(grid, demand, "a")
        run_id = engine.submit(CONFIG.with_(seed=50), demand, "b")
        assert engine.submit(CONFIG.with_(seed=50), demand, "c") == run_id
        wait_for(lambda: engine.look(run_id, demand).place == 0)
        engine.stop(first)
        view = ended(engine, run_id, demand)
        assert view.state == DONE and view.run.attempt == 1
        assert [kind for kind, _ in engine.store.events(run_id)] == ["requested", "requested", "finished"]
        others = [ended(engine, engine.run_id(config), demand) for config in grid]
        assert [other.state for other in others] == [DONE] * 3
    finally:
        engine.close()


# -- speed ----------------------------------------------------------------------------------------------------


def test_two_hundred_waiting_runs_are_ordered_in_milliseconds(store):
    for number in range(200):
        _ask(store, f"r{number}", f"person {number % 20}")

    def milliseconds(act) -> float:
        taken = []
        for _ in range(15):
            start = time.perf_counter()
            act()
            taken.append(1_000 * (time.perf_counter() - start))
        return statistics.median(taken)

    # About 1 ms on an idle core; what is held here leaves room for a busy one.
    assert milliseconds(lambda: store.place("r199")) < 25
    assert milliseconds(lambda: store.claim("o")) < 25
