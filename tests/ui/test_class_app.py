"""The class wall and links for a class, on the page."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from explorer.config.run_config import Demand, RunConfig
from explorer.config.url_params import query
from explorer.i18n import LANGUAGES, say
from explorer.lessons import class_links
from explorer.lessons.presets import available
from tests.ui.test_app import _labels, _Page, _plain, _texts, _widgets, own_page, page, sound  # noqa: F401

TINY = RunConfig(dataset="digits", hidden=(4,), seed=9_100)
# Widgets of the sidebar that stand for a control.
CONTROLS = {"lesson", "dataset", "architecture", "regularizer", "l2", "dropout", "epochs", "num_words", "validation",
            "share", "train_samples", "label_noise", "activation", "batch_norm", "regularize_output", "initializer",
            "optimizer", "learning_rate", "batch_size", "early_stopping", "seed", "device"}


def _unfold(at, key: str):
    at.session_state[key] = True
    return sound(at.run())


# -- the wall ------------------------------------------------------------------------------------------------


def _open_wall(page, config: RunConfig):  # noqa: F811
    return _unfold(page.open_run(config, Demand(2)), "wall")


def test_the_wall_costs_nothing_while_it_is_folded(page: _Page):  # noqa: F811
    at = sound(page.open_run(TINY, Demand(2)))
    assert "wall_open" not in _widgets(at) and len(at.get("vega_lite_chart")) == 2


def test_a_run_that_somebody_trains_is_on_everybodys_wall_and_opens_there(page: _Page):  # noqa: F811
    nobody = _open_wall(page, TINY)
    assert any(text.startswith(say("wall.empty", "en")) for text in _texts(nobody))
    assert nobody.selectbox(key="wall_open").disabled
    trained = page.open_run(TINY, Demand(2))
    next(button for button in trained.button if button.label == "Train").click().run()
    page.wait(trained, "Trained")
    other = _open_wall(page, TINY.with_(seed=9_101))
    while not any(text.startswith("1 run.") for text in _texts(other)):  # it is read once a second
        sound(other.run())
    box = other.selectbox(key="wall_open")
    assert len(box.options) == 1 and box.options[0].endswith("· 4")
    sound(box.select_index(0).run())
    kept = {"compare": "dataset:digits,hidden:4,seed:9100,epochs:2"}
    assert dict(other.query_params) == query(TINY, Demand(2)) | kept
    assert other.selectbox(key="wall_open").value is None and "Trained" in _labels(other)
    # Runs of other data lie on another wall.
    sound(other.selectbox(key="wall_dataset").select("reviews").run())
    assert say("wall.empty", "en") in _texts(other)


def test_an_operator_can_take_the_wall_away(own_page):  # noqa: F811
    at = sound(own_page(EXPLORER_CLASS_WALL="off").open())
    titles = [block.label for block in at.expander]
    assert say("wall.title", "en") not in titles and say("links.title", "en") in titles


# -- what a link does ----------------------------------------------------------------------------------------


def test_a_locked_control_is_in_sight_and_cannot_be_moved(page: _Page):  # noqa: F811
    at = sound(page.open({"lesson": "capacity", "lock": "all,-dropout"}))
    found = _widgets(at)
    drawn = CONTROLS - {"share"}  # the lesson validates on the test set
    assert found.keys() >= drawn
    assert {key for key in drawn if not found[key].disabled} == {"dropout"}
    assert at.segmented_control(key="lesson_part").disabled
    assert at.query_params["lock"] == "all,-dropout" and at.query_params["lesson"] == "capacity"
    # What is free moves, and the lock stays.
    sound(at.slider(key="dropout").set_value(0.5).run())
    assert at.query_params["dropout"] == "0.5" and at.query_params["lock"] == "all,-dropout"
    assert _widgets(at)["epochs"].disabled


def test_a_hidden_control_is_not_drawn_and_stays_as_the_lesson_has_it(page: _Page):  # noqa: F811
    free = sound(page.open({"lesson": "penalties"}))
    at = sound(page.open({"lesson": "penalties", "hide": "all"}))
    assert not CONTROLS & _widgets(at).keys() and "lesson_part" not in _widgets(at)
    assert say("controls.training", "en") not in [block.label for block in at.expander]
    assert dict(at.query_params) == dict(free.query_params) | {"hide": "all"}
    sound(at.run())
    assert dict(at.query_params) == dict(free.query_params) | {"hide": "all"}


@pytest.mark.parametrize("name", class_links.CONTROLS)
def test_each_control_can_be_hidden_by_itself(page: _Page, name):  # noqa: F811
    at = sound(page.open({"dataset": "reviews", "l1": "0.01", "l2": "0.01", "optimizer": "adamw", "patience": "3",
                          "hide": name}))
    shown = _widgets(at).keys()
    gone = {"hidden": {"architecture"}, "validation": {"validation", "share"},
            "patience": {"early_stopping", "patience"}}.get(name, {name})
    assert (CONTROLS | {"l1", "weight_decay", "patience"}) - shown == gone
    assert at.query_params["hide"] == name and at.query_params["patience"] == "3"


def test_a_seed_beside_a_lesson_is_the_seed_of_its_runs(page: _Page):  # noqa: F811
    at = sound(page.open({"lesson": "capacity", "seed": "7"}))
    part = available("capacity", 0, page.engine.settings, 7)
    assert [entry.config for entry in at.session_state["compared"]] == [config for config, _ in part.runs]
    assert {config.seed for config, _ in part.runs} == {7} and _widgets(at)["seed"].value == 7
    assert "compare" not in at.query_params and at.query_params["lesson_seed"] == "7"
    # Another part of it has the same seed, and so has the page that a copied address opens.
    sound(at.segmented_control(key="lesson_part").set_value(1).run())
    assert {entry.config.seed for entry in at.session_state["compared"]} == {7}
    sound(at.number_input(key="seed").set_value(3).run())
    other = sound(page.open(dict(at.query_params)))
    assert other.session_state["compared"] == at.session_state["compared"] and _widgets(other)["seed"].value == 3
    assert dict(other.query_params) == dict(at.query_params)


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_unknown_control_is_named_and_left_out(page: _Page, language):  # noqa: F811
    at = page.open({"hide": "dropout,<b>x</b>", "lang": language})
    [warning] = [_plain(part.value) for part in at.warning]
    assert "'<b>x</b>'" in warning and "hide" in warning
    assert at.query_params["hide"] == "dropout" and "dropout" not in _widgets(at)


# -- the form ------------------------------------------------------------------------------------------------


def _address(at) -> str:
    return at.code[0].value


def test_the_form_makes_an_address_that_opens_what_was_chosen(page: _Page):  # noqa: F811
    at = _unfold(page.open({"lesson": "dropout"}), "links")
    sound(at.text_input(key="link_base").set_value("https://a.example/class?x=1").run())
    assert _address(at) == "https://a.example/class?lesson=dropout"
    at.multiselect(key="link_hide").set_value(["network", "training"])
    at.multiselect(key="link_lock").set_value(["all"])
    at.selectbox(key="link_language").set_value("ko")
    at.number_input(key="link_seed").set_value(7)
    at.toggle(key="link_predict").set_value(False)
    sound(at.selectbox(key="link_lesson").set_value("capacity").run())
    assert _address(at) == ("https://a.example/class?lesson=capacity&hide=network,training&lock=all&lang=ko&seed=7"
                            "&predict=off")
    assert at.image and say("links.no_lock", "en") in _texts(at)
    opened = sound(page.open(dict(parse_qsl(urlsplit(_address(at)).query))))
    assert opened.session_state["predict"] is False and opened.session_state["language"] == "ko"
    assert _widgets(opened)["dropout"].disabled and "optimizer" not in _widgets(opened)
    # A visitor whom the link has brought has no use for the form.
    assert say("links.title", "ko") not in [block.label for block in opened.expander]


def test_the_form_says_what_is_no_address(page: _Page):  # noqa: F811
    at = _unfold(page.open(), "links")
    at.text_input(key="link_base").set_value("javascript:alert(1)").run()
    assert not at.exception and not at.code and not at.image
    assert "address: expected a web address" in _plain(at.warning[0].value)
