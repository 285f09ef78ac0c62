"""The queue on the page: what each visitor sees of it, and two who ask for the same run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

pytest.importorskip("streamlit")

from streamlit.testing.v1 import AppTest  # noqa: E402

from explorer.config.run_config import Demand, RunConfig  # noqa: E402
from explorer.config.url_params import query  # noqa: E402
from explorer.i18n import LANGUAGES, say  # noqa: E402
from explorer.lessons.presets import LESSONS, available  # noqa: E402
from explorer.store.store import FINISHED, QUEUED, STOPPED  # noqa: E402
from explorer.ui import resources
from explorer.ui.panels import lessons as lessons_on_the_page  # noqa: E402
from explorer.ui.panels import live  # noqa: E402
from explorer.ui.panels.lessons import ready_parts  # noqa: E402
from explorer.workers.devices import Hardware  # noqa: E402
from tests.conftest import ROOT  # noqa: E402

TINY, DEMAND = RunConfig(dataset="digits", hidden=(4,)), Demand(4)
NUMBERS = dict.fromkeys(("loss", "train_crossentropy", "val_crossentropy", "train_accuracy", "val_accuracy", "penalty"),
                        0.5)


@pytest.fixture
def engine(tmp_path, monkeypatch) -> Iterator:
    """An installation of its own that takes nothing from its queue: what is trained is put into the store here."""
    for name, folder in (("EXPLORER_HOME", "home"), ("EXPLORER_DATA_DIR", "data"), ("KERAS_HOME", "keras")):
        (tmp_path / folder).mkdir()
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setattr(resources.Engine, "_take_on", lambda self: None)
    monkeypatch.setattr(resources.Engine, "_start_worker", lambda self: None)
    # Nor does it take what the tests themselves train for the runs of an engine that has died.
    monkeypatch.setattr(resources.Engine, "_recover", lambda self: None)
    resources.engine.clear()
    lessons_on_the_page._ready.clear()
    made = resources.engine()
    made.hardware = Hardware("CPU", 2)
    yield made
    made.close()
    resources.engine.clear()


def _open(config: RunConfig, demand: Demand = DEMAND, language: str = "en") -> AppTest:
    at = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=60)
    for name, value in (query(config, demand) | {"lang": language}).items():
        at.query_params[name] = value
    return _sound(at.run())


def _sound(at: AppTest) -> AppTest:
    assert [part.message for part in at.exception] == []
    assert [part.value for part in at.error] == []
    return at


def _status(at: AppTest) -> str:
    return at.get("progress")[0].proto.text


def _keys(at: AppTest) -> list[str]:
    return [button.key for button in at.button]


def _trained(engine, config: RunConfig, demand: Demand, seconds: float = 0.5) -> None:
    run_id = engine.run_id(config)
    if not (engine.store.run(run_id) or engine.store.request(run_id, config, demand, {})).is_live:
        return
    run = engine.store.claim("o", [run_id])
    for epoch in range(1, demand.epochs + 1):
        engine.store.write_epoch(run_id, run.attempt, {"epoch": epoch, "seconds": seconds, **NUMBERS})
    engine.store.end(run_id, run.attempt, FINISHED, score={"epoch": demand.epochs, "test_crossentropy": 0.5,
                                                           "test_accuracy": 0.5})


def _forget(engine) -> None:
    """What is told as of a moment ago is looked up anew."""
    engine.forecasts.forget()
    lessons_on_the_page._ready.clear()


@pytest.mark.parametrize("language", LANGUAGES)
def test_who_waits_sees_their_place_and_an_estimate_once_there_is_something_to_measure_it_by(engine, language):
    for seed in (1, 2, 3):
        engine.submit(TINY.with_(seed=seed), DEMAND, "another")
    at = _open(TINY, language=language)
    at.button(key="train").click().run()
    none = say("live.status.about.none", language)
    # One run of the other is before the visitor's: they take turns.
    assert _status(at) == say("live.status.wait", language, duration=none, waiting=say(
        "live.status.queued.one" if language == "en" else "live.status.queued", language, number=1))
    _trained(engine, TINY.with_(seed=50), DEMAND, seconds=4.0)
    engine.store.ask_to_stop(engine.run_id(TINY.with_(seed=1)))
    engine.submit(TINY.with_(seed=60), Demand(20), "third")
    _forget(engine)
    (first, second) = (run.run_id for run in engine.store.queue(1)[1][:2])
    assert engine.run_id(TINY) in (first, second)
    engine.places = 1
    _forget(engine)
    text = _status(_sound(at.run()))
    assert text == say("live.status.wait", language, duration=say(
        "live.status.about", language, duration=say("duration.seconds", language, seconds=16)),
        waiting=say("live.status.queued.one" if language == "en" else "live.status.queued", language, number=1))


def test_two_visitors_who_ask_for_the_same_run_wait_for_one_and_both_see_it(engine):
    first, second = _open(TINY), _open(TINY)
    first.button(key="train").click().run()
    second.run()
    # The second visitor sees it waiting, and may want it longer.
    assert "stop" in _keys(second) and "train" not in _keys(second)
    longer = _open(TINY, Demand(6))
    assert "stop" in _keys(longer)
    assert engine.store.counts() == {QUEUED: 1}
    _trained(engine, TINY, DEMAND)
    for at in (first, second):
        _sound(at.run())
        assert "stop" not in _keys(at) and at.button(key="train").label == say("live.trained", "en")
    assert engine.store.run(engine.run_id(TINY)).attempt == 1


def test_visitors_who_press_at_the_same_moment_are_two_persons_and_one_run(engine):
    sessions = [_open(TINY), _open(TINY)]
    for at in sessions:
        at.button(key="train").click().run()
        _sound(at)
    persons = {at.session_state["person"] for at in sessions}
    assert len(persons) == 2 and all(len(person) == 32 for person in persons)
    with engine.store._read() as db:
        assert {row[0] for row in db.execute("SELECT person FROM wishes")} == persons
    assert engine.store.counts() == {QUEUED: 1}
    person = sessions[0].session_state["person"]
    _sound(sessions[0].run())
    assert sessions[0].session_state["person"] == person


@pytest.mark.parametrize("language", LANGUAGES)
def test_more_than_one_visitor_may_have_waiting_is_refused_in_words(engine, language):
    engine.settings = replace(engine.settings, max_queued_per_person=1)
    at = _open(TINY, language=language)
    at.button(key="train").click().run()
    for name, value in query(TINY.with_(seed=5), DEMAND).items():
        at.query_params[name] = value
    at.run()
    at.button(key="train").click().run()
    assert not at.exception and len(at.error) == 1
    expected = say("message.queue.person", language, most=1, more=1, waiting=1)
    assert at.error[0].value.replace("\\", "") == expected
    assert engine.store.waiting() == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_behind_a_long_queue_the_page_offers_the_lessons_that_are_known(engine, language):
    name = "dropout"
    for config, demand in available(name, 0, engine.settings).runs:
        _trained(engine, config, demand)
    assert ready_parts(engine) == {name: 0}
    # Taking turns, only others' runs of an earlier round are ahead: as many persons as it takes.
    for number in range(live.MANY_AHEAD):
        engine.submit(TINY.with_(seed=100 + number), DEMAND, f"person {number}")
    at = _open(TINY, language=language)
    at.button(key="train").click().run()
    assert say("live.meanwhile", language) not in [caption.value for caption in at.caption], "it is not long yet"
    engine.store.ask_to_stop(engine.run_id(TINY))
    engine.submit(TINY.with_(seed=200), DEMAND, "one more")
    _sound(at.run())
    at.button(key="train").click().run()
    _forget(engine)
    _sound(at.run())
    assert say("live.meanwhile", language) in [caption.value for caption in at.caption]
    assert [key for key in _keys(at) if key.startswith("meanwhile_")] == [f"meanwhile_{name}"]
    at.button(key=f"meanwhile_{name}").click().run()
    _sound(at.run())
    assert (at.session_state["lesson"], at.session_state["lesson_part"]) == (name, 0)
    # What it shows is covered until a guess, or until that is skipped; nothing has to be trained for it.
    at.button(key="predict_skip").click().run()
    _sound(at.run())
    assert at.button(key="train").label == say("live.trained", language)
    # The run keeps its place, and is still told of.
    assert engine.store.run(engine.run_id(TINY)).status == QUEUED
    assert f"show_{engine.run_id(TINY)}" in _keys(at)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_run_that_one_has_left_is_told_of_until_one_has_seen_its_end(engine, language):
    at = _open(TINY, language=language)
    at.button(key="train").click().run()
    run_id = engine.run_id(TINY)
    _sound(at.slider(key="dropout").set_value(0.5).run())
    about = {"run": say("live.run", language, name="4", dataset=say("dataset.digits", language)), "epochs": 4}

    def told() -> list[str]:
        return [caption.value for caption in at.caption if about["run"] in caption.value]

    assert f"stop_{run_id}" in _keys(at) and told() == [say("live.elsewhere", language, reached=0, **about)]
    _trained(engine, TINY, DEMAND)
    _sound(at.run())
    assert f"stop_{run_id}" not in _keys(at) and told() == [say("live.elsewhere.ended", language, reached=4, **about)]
    _sound(at.button(key=f"show_{run_id}").click().run())
    _sound(at.run())
    assert at.button(key="train").label == say("live.trained", language)
    _sound(at.slider(key="dropout").set_value(0.4).run())
    assert f"show_{run_id}" not in _keys(at), "its end has been seen"


def test_a_lesson_is_ready_only_when_every_run_is_known_as_far_as_it_shows_it(engine):
    runs = available("dropout", 0, engine.settings).runs
    for config, demand in runs[:-1]:
        _trained(engine, config, demand)
    assert ready_parts(engine) == {}
    config, demand = runs[-1]
    run_id = engine.run_id(config)
    engine.store.request(run_id, config, demand, {})
    run = engine.store.claim("o", [run_id])
    engine.store.write_epoch(run_id, run.attempt, {"epoch": 1, "seconds": 0.5, **NUMBERS})
    engine.store.end(run_id, run.attempt, STOPPED)
    assert ready_parts(engine) == {}


def test_all_lessons_are_looked_at_quickly(engine):
    for name, parts in LESSONS.items():
        for number in range(len(parts)):
            for config, demand in available(name, number, engine.settings).runs:
                _trained(engine, config, Demand(min(demand.epochs, 20)))
    start = time.perf_counter()
    found = ready_parts(engine)
    assert time.perf_counter() - start < 3
    assert "dropout" in found and "too-long" in found


@pytest.mark.parametrize("seconds, tells", [(None, True), (0.25, False), (2.0, True)])
def test_batches_are_told_of_in_the_first_epoch_and_in_long_ones(engine, seconds, tells):
    run_id = engine.store.request(engine.run_id(TINY), TINY, DEMAND, {}).run_id
    run, epoch = engine.store.claim(engine._owner.name, [run_id]), 1
    if seconds:
        engine.store.write_epoch(run_id, run.attempt, {"epoch": 1, "seconds": seconds, **NUMBERS})
        epoch = 2
    engine.store.write_progress(run_id, run.attempt, "training", {"epoch": epoch, "step": 2, "steps": 9})
    told = _status(_open(TINY))
    assert told.startswith(f"Epoch {epoch} of 4") and ("batch 2 of 9" in told) is tells
