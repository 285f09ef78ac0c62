"""A lesson on the page: its Train trains all of its runs, and leaving it gives back what was there before."""

from __future__ import annotations

import time

import pytest

from explorer.analysis import comparison
from explorer.analysis.comparison import ComparedRun
from explorer.config.run_config import Demand, RunConfig
from explorer.config.url_params import query
from explorer.engine.run_view import DONE
from explorer.i18n import LANGUAGES, say
from explorer.lessons import RISES, Claim, Part, class_links
from explorer.lessons.presets import LESSONS
from tests.ui.test_app import PATIENCE_SECONDS, _plain, _press, _texts, _widgets, page, sound  # noqa: F401

# What a visitor has set up before opening a lesson, all of it in closed folds or easily overlooked.
MINE = RunConfig(dataset="digits", hidden=(7,), dropout=0.25, validation=0.3, optimizer="sgd", learning_rate=0.05,
                 batch_size=64, seed=11)
OTHER = RunConfig(dataset="digits", hidden=(9,), seed=12)
WANTED = Demand(30, patience=3)
ADDRESS = query(MINE, WANTED) | {"compare": comparison.text(
    [ComparedRun(OTHER, Demand(2)), ComparedRun(MINE, WANTED, color=1)])}


@pytest.fixture
def lesson(request, monkeypatch) -> Part:
    """The lesson with three tiny runs of a seed that no other test has; they validate on the test set."""
    seed = 19_000 + sum(map(ord, request.node.name))
    runs = tuple((RunConfig(dataset="digits", hidden=(4,), dropout=dropout, seed=seed, validation="test"), Demand(2))
                 for dropout in (0.0, 0.3, 0.5))
    part = Part("", runs, (Claim("last", (0, 1), RISES),), measure="accuracy", view=("log_x",))
    monkeypatch.setitem(LESSONS, "dropout", (part,))
    return part


def _open(at, name: str):
    return sound(at.selectbox(key="lesson").select(name).run())


def _wait(at, engine, runs) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not all(engine.look(engine.run_id(config), demand).state == DONE for config, demand in runs):
        assert time.monotonic() < deadline, _texts(at)
        time.sleep(0.2)
    sound(at.run())


# -- its Train -----------------------------------------------------------------------------------------------


def test_train_trains_all_runs_of_a_lesson(page, lesson):  # noqa: F811
    at = sound(page.open({"lesson": "dropout", "predict": "off"}))
    button = at.button(key="train")
    assert button.label == say("live.train_lesson", "en", number=3) and button.proto.type == "primary"
    _press(at, "train")
    _wait(at, page.engine, lesson.runs)
    assert at.button(key="train").label == "Trained" and at.button(key="train").disabled
    assert set(at.dataframe[0].value["state"]) == {say("state.done", "en")}


def test_a_lessons_runs_are_stopped_together_and_told_of_once_it_is_left(page, monkeypatch):  # noqa: F811
    runs = tuple((RunConfig(dataset="reviews", num_words=500, hidden=(8,), batch_size=8, seed=seed), Demand(200))
                 for seed in (19_701, 19_702))
    monkeypatch.setitem(LESSONS, "dropout", (Part("", runs, (Claim("last", (0, 1), RISES),)),))
    at = sound(page.open({"lesson": "dropout", "predict": "off"}))
    _press(at, "train")
    told = say("live.elsewhere", "en", run="", reached="", epochs="").split(":")[0]
    assert at.button(key="stop").label == say("live.stop_lesson", "en", number=2)
    # In the lesson they are compared below; outside it, they still train.
    assert not any(told in text for text in map(_plain, _texts(at)))
    _open(at, "")
    assert sum(told in text for text in map(_plain, _texts(at))) == 2
    _open(at, "dropout")
    _press(at, "stop")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(page.engine.look(page.engine.run_id(config), demand).is_live for config, demand in runs):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    sound(at.run())
    _open(at, "")
    assert not any(say("live.elsewhere.ended", "en", run="", reached="", epochs="").split(":")[0] in text
                   for text in map(_plain, _texts(at)))


def test_train_asks_for_those_that_are_missing_alone(page, lesson):  # noqa: F811
    [first, second, third] = lesson.runs
    page.engine.submit(*first)
    page.engine.submit(*second)
    at = sound(page.open({"lesson": "dropout", "predict": "off"}))
    _wait(at, page.engine, [first, second])
    assert at.button(key="train").label == say("live.train_lesson.one", "en", number=1)
    _press(at, "train")
    _wait(at, page.engine, lesson.runs)
    assert page.engine.store.run(page.engine.run_id(first[0])).attempt == 1
    assert at.button(key="train").label == "Trained"


def test_another_run_beside_a_lesson_is_trained_by_itself(page, lesson):  # noqa: F811
    at = sound(page.open({"lesson": "dropout", "predict": "off"}))
    sound(at.slider(key="dropout").set_value(0.1).run())
    assert at.button(key="train").label == "Train"
    _press(at, "train")
    _wait(at, page.engine, [(lesson.runs[0][0].with_(dropout=0.1), Demand(2))])
    assert all(page.engine.look(page.engine.run_id(config), demand).run is None for config, demand in lesson.runs)


def test_a_second_fit_is_trained_with_the_first(page, monkeypatch):  # noqa: F811
    config = RunConfig(dataset="digits", hidden=(4,), seed=19_777)
    part = Part("", ((config, Demand(2)), (config, Demand(2))), (Claim("last", (0, 1), RISES),), again=(0, 2))
    monkeypatch.setitem(LESSONS, "warm-start", (part,))
    at = sound(page.open({"lesson": "warm-start", "predict": "off"}))
    assert at.button(key="train").label == say("live.train_lesson", "en", number=2)
    _press(at, "train")
    _wait(at, page.engine, [(config, Demand(4))])


def test_before_a_guess_the_lessons_train_waits(page, lesson):  # noqa: F811
    at = sound(page.open({"lesson": "dropout"}))
    assert at.button(key="train").disabled and at.button(key="train").help == say("predict.first", "en")


# -- leaving it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["capacity", "early-stopping", "tiny-data"])
def test_leaving_a_lesson_gives_settings_and_comparison_back(page, name):  # noqa: F811
    at = sound(page.open(ADDRESS))
    view = {key: value for key, value in (("compared_measure", "gap"), ("compared_seeds", 3))}
    sound(at.selectbox(key="compared_measure").select("gap").run())
    sound(at.segmented_control(key="compared_seeds").set_value(3).run())
    before = dict(at.query_params)
    _open(at, name)
    assert at.session_state["validation"] == "test" and dict(at.query_params) != before
    _open(at, "")
    assert dict(at.query_params) == before
    assert at.session_state["compared"] == [ComparedRun(OTHER, Demand(2)), ComparedRun(MINE, WANTED, color=1)]
    assert {key: at.session_state[key] for key in view} == view
    assert not any(at.session_state[f"compared_{switch}"] for switch in ("panels", "log_x", "log_y", "printed"))
    # The controls hold still.
    assert dict(sound(at.run()).query_params) == before


def test_leaving_a_lesson_that_the_page_was_opened_with_leaves_nothing_of_it(page):  # noqa: F811
    fresh = sound(page.open())
    at = sound(page.open({"lesson": "early-stopping"}))
    assert at.session_state["validation"] == "test" and at.session_state["compared_panels"]
    _open(at, "")
    assert dict(at.query_params) == dict(fresh.query_params)
    kept = {key: at.session_state[key] for key in _widgets(fresh) if key not in ("lesson", "language")}
    assert kept == {key: fresh.session_state[key] for key in kept}
    assert at.session_state["compared"] == [] and not at.session_state["compared_panels"]


def test_from_lesson_to_lesson_and_out_leads_back_to_where_one_began(page):  # noqa: F811
    at = sound(page.open(ADDRESS))
    before = dict(at.query_params)
    for name in ("capacity", "tiny-data", "too-long"):
        _open(at, name)
    sound(at.segmented_control(key="lesson_part").set_value(1).run())
    _open(at, "")
    assert dict(at.query_params) == before


def test_runs_of_ones_own_are_not_lost_in_a_lesson(page, lesson):  # noqa: F811
    at = sound(page.open(query(OTHER, Demand(2)) | {"compare": comparison.text([ComparedRun(OTHER, Demand(2))])}))
    _open(at, "dropout")
    sound(at.toggle(key="predict").set_value(False).run())
    # One is compared, another is trained and not compared; the lesson's own are found in the lesson.
    sound(at.slider(key="dropout").set_value(0.1).run())
    _press(at, "compare")
    sound(at.slider(key="dropout").set_value(0.15).run())
    _press(at, "train")
    _open(at, "capacity")
    _open(at, "")
    own = [OTHER, *(lesson.runs[0][0].with_(dropout=rate) for rate in (0.1, 0.15))]
    assert [entry.config for entry in at.session_state["compared"]] == own
    assert at.session_state["validation"] == "holdout"


def test_the_sweep_is_again_what_it_was(page):  # noqa: F811
    at = sound(page.open(query(OTHER, Demand(2)) | {"grid": "dropout:0,0.5"}))
    before = dict(at.query_params)
    _open(at, "capacity")
    sound(at.selectbox(key="across").select("num_words").run())
    _open(at, "")
    assert dict(at.query_params) == before


def test_going_back_in_the_browser_leaves_the_view_of_a_lesson_too(page):  # noqa: F811
    at = sound(page.open(ADDRESS))
    before = dict(at.query_params)
    _open(at, "early-stopping")
    assert at.session_state["compared_panels"]
    at.query_params.clear()
    for name, value in before.items():
        at.query_params[name] = value
    at.session_state["left"] = {}  # as if some time had passed since
    sound(at.run())
    assert dict(at.query_params) == before and not at.session_state["compared_panels"]


def test_the_form_for_a_link_follows_the_page(page):  # noqa: F811
    at = sound(page.open({"lesson": "capacity"}))
    at.session_state["links"] = True
    sound(at.run())
    assert at.selectbox(key="link_lesson").value == "capacity"
    _open(at, "")
    assert at.selectbox(key="link_lesson").value == ""


# -- nothing is at work unseen -------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_set_in_a_closed_fold_is_told_below_it(page, language):  # noqa: F811
    config = RunConfig(dataset="reviews", validation="test", num_words=1_000, optimizer="adam", batch_norm=True)
    at = sound(page.open(query(config, Demand(20, patience=4)) | {"lang": language}, unfold=False))
    said = [_plain(caption.value) for caption in at.sidebar.caption]
    start = _plain(say("controls.changed", language, settings=""))
    told = [text for text in said if text.startswith(start.strip())]
    assert len(told) == 3
    assert say("name.test_set", language) in told[0] and "1,000" in told[0]
    assert say("control.batch_norm", language) in told[1]
    assert "Adam" in told[2] and ": 4" in told[2]
    # In sight, the controls speak for themselves; and at their defaults there is nothing to tell.
    at.session_state["more_data"] = True
    assert say("name.test_set", language) not in " ".join(
        _plain(caption.value) for caption in sound(at.run()).sidebar.caption)
    plain = sound(page.open({"dataset": "reviews", "lang": language}, unfold=False))
    assert not [text for text in plain.sidebar.caption if _plain(text.value).startswith(start.strip())]


@pytest.mark.parametrize("name", [field for group in class_links.GROUPS.values() for field in group])
def test_every_setting_in_a_fold_is_told_there(page, name):  # noqa: F811
    values = {"num_words": "500", "validation": "test", "train_samples": "500", "label_noise": "0.2",
              "activation": "tanh", "batch_norm": "true", "regularize_output": "true", "initializer": "he_normal",
              "optimizer": "sgd", "learning_rate": "0.02", "weight_decay": "0.1", "batch_size": "64", "patience": "3",
              "seed": "5", "device": "cpu"}
    more = {"weight_decay": {"optimizer": "adamw"}, "regularize_output": {"l2": "0.01"}}.get(name, {})
    at = sound(page.open({"dataset": "reviews", name: values[name], **more}, unfold=False))
    assert any(say(f"control.{name}", "en") in _plain(caption.value) for caption in at.sidebar.caption)
