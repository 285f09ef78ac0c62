"""Predict first, on the page: asked for before a lesson's runs are trained, skipped, switched off, and scored."""

from __future__ import annotations

import json
import re
import time

import pytest

pytest.importorskip("streamlit")

from streamlit.testing.v1 import AppTest  # noqa: E402

from explorer.config.labels import short  # noqa: E402
from explorer.config.run_config import Demand, RunConfig  # noqa: E402
from explorer.config.url_params import query  # noqa: E402
from explorer.engine.engine import QueueFull  # noqa: E402
from explorer.engine.run_view import DONE  # noqa: E402
from explorer.i18n import say  # noqa: E402
from explorer.lessons import RISES, Claim, Part  # noqa: E402
from explorer.lessons.presets import LESSONS  # noqa: E402
from tests.ui.test_app import PATIENCE_SECONDS, _plain, _texts, page, sound  # noqa: E402, F401

LESSON = {"lesson": "dropout"}


@pytest.fixture
def lesson(request, monkeypatch):
    """The lesson with two tiny runs of a seed that no other test has."""
    seed = 9_000 + sum(map(ord, request.node.name))
    runs = tuple((RunConfig(dataset="digits", hidden=(4,), dropout=dropout, seed=seed), Demand(3))
                 for dropout in (0.0, 0.5))
    part = Part("", runs, (Claim("last", (0, 1), RISES),))
    monkeypatch.setitem(LESSONS, "dropout", (part,))
    return part


def _keys(at: AppTest) -> set[str]:
    """Keys of the widgets, those of the form without the number of the turn."""
    return {re.sub(r"_\d+$", "", widget.key) for kind in ("button", "number_input", "segmented_control", "toggle")
            for widget in getattr(at, kind) if widget.key}


def _epoch(at: AppTest):
    return next(widget for widget in at.number_input if (widget.key or "").startswith("predict_epoch"))


def _ends(at: AppTest):
    return next(widget for widget in at.segmented_control if (widget.key or "").startswith("predict_ends"))


def _button(at: AppTest, key: str):
    return at.button(key=key)


def _press(at: AppTest, key: str) -> AppTest:
    assert not _button(at, key).disabled
    return sound(_button(at, key).click().run())


def _states(at: AppTest) -> list[str]:
    """How the compared runs stand, by their table."""
    return list(at.dataframe[0].value["state"])


def _scores(at: AppTest) -> str:
    """What is told of the guesses once the runs are done."""
    deadline, title = time.monotonic() + PATIENCE_SECONDS, f"**{say('predict.scores', 'en')}**"
    while True:
        said = [part.value for part in at.markdown]
        if title in said and said[said.index(title) + 1].count("\n") == 1:
            return _plain(said[said.index(title) + 1])
        assert time.monotonic() < deadline, _texts(at)
        time.sleep(0.2)
        sound(at.run())


def _wait_for_training(at: AppTest) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any(button.label == "Trained" for button in at.button):
        assert time.monotonic() < deadline, _texts(at)
        time.sleep(0.2)
        sound(at.run())


def _bands(at: AppTest) -> list[int]:
    """Epochs of the guesses on the charts, in the order of the page."""
    specs = [json.loads(chart.proto.spec) for chart in at.get("vega_lite_chart")]
    return [layer["data"]["values"][0]["epoch"] for spec in specs for layer in spec["layer"]
            if "values" in layer.get("data", {}) and layer["mark"]["type"] == "rule"]


def test_guesses_are_asked_for_one_run_after_the_other_then_trained_drawn_and_scored(page, lesson):  # noqa: F811
    at = sound(page.open(LESSON))
    assert _button(at, "train").disabled and _button(at, "compared_train").disabled
    assert _button(at, "train").help == say("predict.first", "en")
    assert _button(at, "predict_next").disabled and "predict_train" not in _keys(at)
    # Of the reference, nothing but the best epoch is asked.
    assert "predict_ends" not in _keys(at)
    sound(_epoch(at).set_value(2).run())
    assert _bands(at) == []
    _press(at, "predict_next")
    assert at.segmented_control(key="predict_run").value == 1 and _epoch(at).value is None
    sound(_epoch(at).set_value(3).run())
    assert _button(at, "predict_train").disabled
    sound(_ends(at).set_value("above").run())
    # A guess can be looked at again, and changed, until the runs are trained.
    sound(at.segmented_control(key="predict_run").set_value(0).run())
    assert _epoch(at).value == 2
    sound(at.segmented_control(key="predict_run").set_value(1).run())
    assert (_epoch(at).value, _ends(at).value) == (3, "above")
    _press(at, "predict_train")
    assert "predict_epoch" not in _keys(at)
    # One on the curve of the run that is shown, and one for each run in the comparison.
    assert _bands(at) == [2, 2, 3]
    said = _scores(at)
    assert "you said 2" in said and "you said 3" in said and "reference" in said
    assert any(caption.value == say("predict.made", "en") for caption in at.caption)
    assert _bands(at) == [2, 2, 3]


def test_guessing_can_be_skipped(page, lesson):  # noqa: F811
    at = sound(page.open(LESSON))
    _press(at, "predict_skip")
    assert "predict_skip" not in _keys(at) and _bands(at) == []
    _wait_for_training(at)
    assert not any(say("predict.scores", "en") in text for text in _texts(at))


def test_what_others_have_trained_is_covered_until_one_has_guessed(page, lesson):  # noqa: F811
    first = sound(page.open(LESSON))
    _press(first, "predict_skip")
    _wait_for_training(first)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while set(_states(first)) != {say("state.done", "en")}:
        assert time.monotonic() < deadline
        time.sleep(0.2)
        sound(first.run())
    # Another visitor of the same server, in the same class.
    later = sound(page.open(LESSON))
    assert say("predict.covered", "en", number=2) in [caption.value for caption in later.caption]
    assert say("predict.claims", "en") in [caption.value for caption in later.caption]
    assert _button(later, "train").label == "Train" and _button(later, "train").disabled
    assert _button(later, "compared_repeat").disabled
    assert set(_states(later)) == {say("predict.state", "en")} and _bands(later) == []
    assert not any("Best at epoch" in text for text in _texts(later))
    assert _button(later, "predict_skip").label == say("predict.uncover.skip", "en")
    sound(_epoch(later).set_value(2).run())
    _press(later, "predict_next")
    sound(_epoch(later).set_value(3).run())
    sound(_ends(later).set_value("above").run())
    assert _button(later, "predict_train").label == say("predict.uncover", "en")
    _press(later, "predict_train")
    assert _button(later, "train").label == "Trained" and _bands(later) == [2, 2, 3]
    assert "you said 2" in _scores(later) and any("Best at epoch" in text for text in _texts(later))
    # Without predictions, what anyone has trained is there at once.
    without = sound(page.open({**LESSON, "predict": "off"}))
    assert _button(without, "train").label == "Trained"


def _known(engine, lesson) -> None:
    """Somebody else has the runs of the lesson trained."""
    for config, demand in lesson.runs:
        run_id = engine.submit(config, demand)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while engine.look(run_id, demand).state != DONE:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_covered_run_is_told_of_nowhere_on_the_page(page, lesson):  # noqa: F811
    _known(page.engine, lesson)
    at = sound(page.open({**LESSON, "grid": "dropout:0,0.5"}))
    for part in ("sweep", "wall", "portrait"):
        at.session_state[part] = True
    sound(at.run())
    views = [page.engine.look(page.engine.run_id(config), demand) for config, demand in lesson.runs]
    best = [f"{min(row['val_crossentropy'] for row in view.epochs):.3f}" for view in views]
    on_wall = {f"{number} · {short(config, 'en')}" for number, (config, _) in zip(best, lesson.runs, strict=True)}

    def wall() -> set[str]:
        return set(at.selectbox(key="wall_open").options)

    # Runs of other tests may have the same numbers; on the wall, names stand beside them.
    boxes = [box for box in at.selectbox if box.key != "wall_open"]
    told = " ".join([*_texts(at), *(f"{box.options} {box.value}" for box in boxes),
                     *(str(frame.value) for frame in at.dataframe),
                     *(chart.proto.spec for chart in at.get("vega_lite_chart"))])
    assert not any(number in told for number in best) and not on_wall & wall()
    assert _button(at, "sweep_train").disabled
    _press(at, "predict_skip")
    sound(at.run())
    assert on_wall <= wall()
    assert _button(at, "sweep_train").disabled, "nothing is left to train"


def test_what_one_has_trained_oneself_is_not_asked_for(page, lesson):  # noqa: F811
    config, demand = lesson.runs[0]
    at = sound(page.open(query(config, demand)))
    _press(at, "train")
    _wait_for_training(at)
    sound(at.selectbox(key="lesson").select("dropout").run())
    asked = at.session_state["predict_asked"]
    assert [other for other, *_ in asked] == [lesson.runs[1][0]]
    # What is left to train of the lesson is asked for first.
    assert _button(at, "train").label == "Train 1 more run" and _button(at, "train").disabled
    assert at.dataframe[0].value["state"].tolist()[0] == say("state.done", "en")


def test_a_queue_that_is_full_keeps_nothing_known_covered(page, lesson, monkeypatch):  # noqa: F811
    _known(page.engine, lesson)
    at = sound(page.open(LESSON))

    def full(*args):
        raise QueueFull("Too many runs wait.")

    monkeypatch.setattr(page.engine, "submit_each", full)
    _press(at, "predict_skip")
    assert _button(at, "train").label == "Trained"


def test_some_guesses_are_enough(page, lesson):  # noqa: F811
    at = sound(page.open(LESSON))
    sound(_epoch(at).set_value(1).run())
    assert _button(at, "predict_skip").label == say("predict.rest", "en")
    _press(at, "predict_skip")
    assert _bands(at) == [1, 1]


def test_it_can_be_switched_off_and_the_address_keeps_it_so(page, lesson):  # noqa: F811
    at = sound(page.open(LESSON))
    assert at.toggle(key="predict").value and "predict" not in at.query_params
    sound(at.toggle(key="predict").set_value(False).run())
    assert dict(at.query_params)["predict"] == "off"
    assert "predict_epoch" not in _keys(at) and not _button(at, "train").disabled
    elsewhere = sound(page.open({**LESSON, "predict": "off"}))
    assert not elsewhere.toggle(key="predict").value and not _button(elsewhere, "compared_train").disabled


def test_without_a_lesson_nothing_is_asked(page, lesson):  # noqa: F811
    at = sound(page.open({"dataset": "digits", "hidden": "4", "seed": "77"}))
    assert "predict" not in _keys(at) and not _button(at, "train").disabled
    sound(at.selectbox(key="lesson").select("dropout").run())
    assert "predict_epoch" in _keys(at)
    sound(at.selectbox(key="lesson").select("").run())
    assert "predict_epoch" not in _keys(at) and not _button(at, "train").disabled


def test_an_unsound_switch_is_named(page, lesson):  # noqa: F811
    at = sound(page.open({**LESSON, "predict": "maybe"}))
    assert any("one of on, off" in _plain(warning.value) for warning in at.warning)
    assert at.toggle(key="predict").value


def test_a_lesson_asks_in_korean(page, lesson):  # noqa: F811
    at = sound(page.open({**LESSON, "lang": "ko"}))
    assert any("띠에서" in text for text in _texts(at))
    assert _button(at, "predict_skip").label == say("predict.skip", "ko")


def test_a_lesson_that_is_left_and_opened_again_asks_as_before(page, lesson):  # noqa: F811
    at = sound(page.open(LESSON))
    asked = _keys(at)
    assert "predict_run" in asked
    at.query_params.clear()
    at.query_params["dataset"] = "digits"
    assert "predict_run" not in _keys(sound(at.run()))
    at.query_params["lesson"] = "dropout"
    del at.query_params["dataset"]
    assert asked <= _keys(sound(at.run()))
