"""The page, run without a browser: each control, the address, training, and data that are not there."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

pytest.importorskip("streamlit")

from streamlit.dataframe_util import convert_arrow_bytes_to_pandas_df  # noqa: E402
from streamlit.testing.v1 import AppTest  # noqa: E402

from explorer.analysis import diagnosis, diagnosis_text, history
from explorer.config import labels as run_labels  # noqa: E402
from explorer.config.datasets import DATASETS  # noqa: E402
from explorer.config.fields import plain  # noqa: E402
from explorer.config.run_config import DEFAULT_LEARNING_RATE, DEFAULT_WEIGHT_DECAY, KINDS, Demand, RunConfig  # noqa: E402
from explorer.config.url_params import parse, query  # noqa: E402
from explorer.i18n import say  # noqa: E402
from explorer.lessons.class_links import GROUPS  # noqa: E402
from explorer.lessons.presets import LESSONS  # noqa: E402
from explorer.store.store import FAILED  # noqa: E402
from explorer.ui import resources  # noqa: E402
from explorer.ui.charts import curves
from explorer.ui.state import ARCHITECTURES  # noqa: E402
from tests.conftest import ROOT  # noqa: E402

# The module has an empty data folder of its own; this is the one it was started with.
REAL_DATA = Path(os.environ.get("EXPLORER_DATA_DIR") or "/nonexistent")
WIDGETS = ("selectbox", "select_slider", "slider", "toggle", "number_input", "text_input", "segmented_control")
# Long enough for a worker that imports TensorFlow on a busy machine.
PATIENCE_SECONDS = 150
# The smallest real run; its own seed for each test that trains, so that none finds the run of another.
TINY = RunConfig(dataset="digits", hidden=(4,))


# -- an engine for the module, and what it leaves behind --------------------------------------------------------


def _children() -> set[int]:
    """Processes that this one has started and that still live (Linux only; elsewhere none are seen)."""
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        try:
            found |= {int(pid) for pid in task.read_text().split()}
        except OSError:
            continue  # the thread has ended meanwhile
    return found


class _Page:
    """Sessions of one installation with a home of its own; its engine starts with the first of them."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, **variables: str):
        self._before = _children()
        (folder / "keras").mkdir(parents=True)
        (folder / "data").mkdir()
        patch.setenv("EXPLORER_HOME", str(folder / "home"))
        patch.setenv("EXPLORER_DATA_DIR", str(folder / "data"))
        patch.setenv("KERAS_HOME", str(folder / "keras"))
        # Whatever is fetched is asked of a port where nobody answers, on machines with a network too.
        for name in ("https_proxy", "HTTPS_PROXY"):
            patch.setenv(name, "http://127.0.0.1:9")
        for name, value in variables.items():
            patch.setenv(name, value)
        resources.engine.clear()

    @property
    def engine(self):
        return resources.engine()

    def open(self, address: dict[str, str] | None = None, unfold: bool = True) -> AppTest:
        at = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=30)
        for name in GROUPS if unfold else ():
            at.session_state[f"more_{name}"] = True
        for name, value in (address or {}).items():
            at.query_params[name] = value
        return at.run()

    def open_run(self, config: RunConfig, demand: Demand) -> AppTest:
        return self.open(query(config, demand))

    def wait(self, at: AppTest, *labels: str) -> AppTest:
        """Look again until a button with one of these labels is there; the timer of a fragment does not tick here."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not set(labels) & set(_labels(at)):
            assert time.monotonic() < deadline, f"{_labels(at)} after {PATIENCE_SECONDS} s, {_texts(at)}"
            time.sleep(0.2)
            sound(at.run())
        return at

    def close(self) -> None:
        resources.engine().close()
        resources.engine.clear()
        left = _children() - self._before
        assert not left, f"processes {left} outlive the engine"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Page]:
    with pytest.MonkeyPatch.context() as patch:
        made = _Page(tmp_path_factory.mktemp("page"), patch)
        yield made
        made.close()


@pytest.fixture
def own_page(page: _Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """Another installation for one test, with variables of its own; the module's comes back afterwards."""
    kept = page.engine
    # Its worker starts a moment after it; until then it would be taken for one of the other installation's.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while kept._worker is None:
        assert time.monotonic() < deadline, "the module's engine has started no worker"
        time.sleep(0.05)
    made: list[_Page] = []

    def start(**variables: str) -> _Page:
        made.append(_Page(tmp_path / "own", monkeypatch, **variables))
        return made[0]

    yield start
    for other in made:
        other.close()
    monkeypatch.undo()
    resources.engine.clear()
    # The cached function would start a second engine for the module: it is given the first one again.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resources, "Engine", lambda settings, **_: kept)
        assert resources.engine() is kept


def _labels(at: AppTest) -> list[str]:
    return [button.label for button in at.button]


def _plain(text: str) -> str:
    """Text as a person sees it, without the backslashes that keep it from being markup."""
    return re.sub(r"\\(.)", r"\1", text)


def _texts(at: AppTest) -> list[str]:
    return [part.value for kind in ("error", "warning", "info", "markdown", "caption") for part in getattr(at, kind)]


def _widgets(at: AppTest) -> dict[str, object]:
    return {widget.key: widget for kind in WIDGETS for widget in getattr(at, kind)}


def sound(at: AppTest) -> AppTest:
    """Neither a traceback nor an error box."""
    assert [part.message for part in at.exception] == []
    assert [part.value for part in at.error] == []
    return at


def stands_for(at: AppTest, config: RunConfig, demand: Demand) -> None:
    """The page is about exactly this request, and says so in its address and its parameter counts."""
    sound(at)
    assert at.session_state["address"] == query(config, demand)
    assert dict(at.query_params) == query(config, demand)
    found = parse(at.session_state["address"])
    assert (found.config, found.demand, found.messages) == (config, demand, [])
    captions = [caption.value for caption in at.caption]
    assert f"**{plain(config.parameters)}** trainable parameters" in captions
    assert f"{plain(config.parameters)} parameters · {plain(config.rows)} examples to fit" in captions


# -- opening ----------------------------------------------------------------------------------------------------


def test_it_opens_with_sound_defaults(page: _Page):
    at = page.open()
    stands_for(at, RunConfig(dataset="reviews"), Demand())
    assert [warning.value for warning in at.warning] == []
    assert "Train" in _labels(at)
    assert len(at.get("vega_lite_chart")) == 2


def test_the_sidebar_opens_with_the_controls_that_matter(page: _Page):
    at = page.open(unfold=False)
    drawn = ["lesson", "dataset", "architecture", "regularizer", "l2", "dropout", "epochs"]
    first = [child.key for child in at.sidebar if getattr(child, "key", None)]
    assert [key for key in first if not key.startswith("more_")][:7] == drawn
    assert all(not block.proto.expanded for block in at.expander)


def test_folded_controls_hold_whether_or_not_they_are_in_sight(page: _Page):
    config = RunConfig(dataset="reviews", num_words=500, batch_norm=True, seed=7, train_samples=100, validation=0.3)
    address = query(config, Demand(3))
    at = page.open(address, unfold=False)
    assert "batch_norm" not in _widgets(at) and "seed" not in _widgets(at)
    stands_for(at, config, Demand(3))
    for name in GROUPS:
        at.session_state[f"more_{name}"] = True
    widgets = _widgets(sound(at.run()))
    assert widgets["batch_norm"].value is True and widgets["seed"].value == 7 and widgets["num_words"].value == 500
    widgets["seed"].set_value(8)
    sound(at.run())
    for name in GROUPS:
        at.session_state[f"more_{name}"] = False
    sound(at.run())
    assert "seed" not in _widgets(at)
    # Another control is moved while they are folded away.
    _widgets(at)["dropout"].set_value(0.5)
    stands_for(sound(at.run()), config.with_(seed=8, dropout=0.5), Demand(3))


@pytest.mark.skipif(not (REAL_DATA / "imdb.npz").is_file(), reason="imdb.npz is not here; set EXPLORER_DATA_DIR")
def test_imdb_opens_where_its_file_is(own_page):
    at = own_page(EXPLORER_DATA_DIR=str(REAL_DATA)).open()
    stands_for(at, RunConfig(dataset="imdb"), Demand())


def test_a_variable_that_cannot_be_used_is_named(own_page):
    fixture = own_page(EXPLORER_MAX_EPOCHS="many")
    at = fixture.open()
    assert not at.exception
    assert len(at.error) == 1
    assert all(word in _plain(at.error[0].value) for word in ("EXPLORER_MAX_EPOCHS", "whole number", "'many'"))
    fixture.close = lambda: None  # there is no engine to close


def test_a_home_that_cannot_be_written_is_named(own_page, tmp_path):
    (tmp_path / "file").write_text("no folder")
    fixture = own_page(EXPLORER_HOME=str(tmp_path / "file" / "home"))
    at = fixture.open()
    assert not at.exception
    assert len(at.error) == 1
    assert all(word in _plain(at.error[0].value) for word in ("EXPLORER_HOME", "can be written", "home"))
    fixture.close = lambda: None  # there is no engine to close


# -- one control at a time --------------------------------------------------------------------------------------

_REVIEWS = RunConfig(dataset="reviews")


def _case(name: str, steps: list[tuple[str, object]], changed: set[str], base: RunConfig = _REVIEWS,
          demand: dict | None = None, **config) -> pytest.param:
    """Steps on widgets, the names in the address that they may change, and what the page stands for afterwards."""
    return pytest.param(steps, changed, base, base.with_(**config), Demand(**(demand or {})), id=name)


_CASES = [
    *(_case(f"data-{name}", [("dataset", name)], {"dataset"}, dataset=name) for name in DATASETS if name != "reviews"),
    *(_case(f"architecture-{hidden[0]}-{len(hidden)}", [("architecture", name)],
            {"hidden"} if hidden != (16, 16) else set(), hidden=hidden)
      for name, hidden in ARCHITECTURES.items()),
    _case("architecture-free", [("architecture", "Free")], set()),
    _case("architecture-free-one-layer", [("architecture", "Free"), ("hidden", "32")], {"hidden"}, hidden=(32,)),
    _case("architecture-free-layers", [("architecture", "Free"), ("hidden", " 256, 128 - 7")], {"hidden"},
          hidden=(256, 128, 7)),
    _case("regularizer-l1", [("regularizer", "l1")], {"l1"}, l1=1e-4),
    _case("regularizer-l2", [("regularizer", "l2")], {"l2"}, l2=1e-3),
    _case("regularizer-both", [("regularizer", "l1_l2")], {"l1", "l2"}, l1=1e-4, l2=1e-3),
    _case("regularizer-and-back", [("regularizer", "l1_l2"), ("regularizer", "none")], set()),
    _case("strength-l1", [("regularizer", "l1"), ("l1", 0.02)], {"l1"}, l1=0.02),
    _case("strength-l2", [("regularizer", "l2"), ("l2", 1.0)], {"l2"}, l2=1.0),
    _case("strength-lowest", [("regularizer", "l2"), ("l2", 1e-6)], {"l2"}, l2=1e-6),
    _case("dropout", [("dropout", 0.35)], {"dropout"}, dropout=0.35),
    _case("dropout-most", [("dropout", 0.9)], {"dropout"}, dropout=0.9),
    _case("epochs-one", [("epochs", 1)], {"epochs"}, demand={"epochs": 1}),
    _case("epochs-most", [("epochs", 500)], {"epochs"}, demand={"epochs": 500}),
    _case("words", [("num_words", 500)], {"num_words"}, num_words=500),
    _case("examples", [("train_samples", 300)], {"train_samples"}, train_samples=300),
    _case("flipped-labels", [("label_noise", 0.25)], {"label_noise"}, label_noise=0.25),
    _case("validation-test", [("validation", "test")], {"validation"}, validation="test"),
    _case("validation-share", [("share", 0.4)], {"validation"}, validation=0.4),
    _case("validation-smallest-share", [("share", 0.02)], {"validation"}, validation=0.02),
    _case("validation-and-back", [("validation", "test"), ("validation", "holdout")], set()),
    *(_case(f"activation-{name}", [("activation", name)], {"activation"}, activation=name)
      for name in KINDS["activation"].options if name != "relu"),
    _case("batch-norm", [("batch_norm", True)], {"batch_norm"}, batch_norm=True),
    _case("output-layer", [("regularizer", "l2"), ("regularize_output", True)], {"l2", "regularize_output"},
          l2=1e-3, regularize_output=True),
    _case("initial-weights", [("initializer", "he_normal")], {"initializer"}, initializer="he_normal"),
    *(_case(f"optimizer-{name}", [("optimizer", name)], {"optimizer"}, optimizer=name)
      for name in KINDS["optimizer"].options if name != "rmsprop"),
    _case("learning-rate", [("learning_rate", 0.05)], {"learning_rate"}, learning_rate=0.05),
    _case("learning-rate-most", [("learning_rate", 10.0)], {"learning_rate"}, learning_rate=10),
    _case("weight-decay", [("optimizer", "adamw"), ("weight_decay", 0.1)], {"optimizer", "weight_decay"},
          optimizer="adamw", weight_decay=0.1),
    _case("weight-decay-off", [("optimizer", "adamw"), ("weight_decay", 0.0)], {"optimizer", "weight_decay"},
          optimizer="adamw", weight_decay=0.0),
    _case("batch-size", [("batch_size", 64)], {"batch_size"}, batch_size=64),
    _case("early-stopping", [("early_stopping", True)], {"patience"}, demand={"patience": 5}),
    _case("patience", [("early_stopping", True), ("patience", 2)], {"patience"}, demand={"patience": 2}),
    _case("seed", [("seed", 42)], {"seed"}, seed=42),
    _case("seed-most", [("seed", 2**31 - 1)], {"seed"}, seed=2**31 - 1),
    _case("device", [("device", "cpu")], {"device"}, demand={"device": "cpu"}),
]


def _move(at: AppTest, key: str, value: object) -> AppTest:
    widgets = _widgets(at)
    assert key in widgets, f"no control {key} among {sorted(widgets)}"
    return sound(widgets[key].set_value(value).run())


@pytest.mark.parametrize(("steps", "changed", "before", "config", "demand"), _CASES)
def test_a_control_changes_its_own_setting_and_nothing_else(
        page: _Page, steps, changed, before: RunConfig, config: RunConfig, demand: Demand):
    at = page.open_run(before, Demand())
    stands_for(at, before, Demand())
    start = dict(at.session_state["address"])
    for key, value in steps:
        _move(at, key, value)
    stands_for(at, config, demand)
    end = at.session_state["address"]
    assert {name for name in {*start, *end} if start.get(name) != end.get(name)} == changed
    assert [warning.value for warning in at.warning] == []
    # The controls hold still: the next run of the page changes nothing.
    stands_for(at.run(), config, demand)


def test_every_control_is_varied_above(page: _Page):
    shown: set[str] = set()
    for steps, _, before, _, _ in (case.values for case in _CASES):
        if len(steps) == 1 or steps[0][0] in ("architecture", "regularizer", "optimizer", "early_stopping"):
            at = page.open_run(before, Demand())
            shown |= {key for key, widget in _widgets(at).items()}
            at = _move(at, *steps[0])
            shown |= {key for key, widget in _widgets(at).items()}
    # Lessons have tests of their own below.
    assert shown - {"lesson", "language", "live_lines"} == {key for case in _CASES for key, _ in case.values[0]}


def test_every_control_says_in_its_help_what_it_does_to_fitting(page: _Page):
    everything = {"l1": "0.001", "l2": "0.001", "optimizer": "adamw", "patience": "3", "hidden": "7-7"}
    at = page.open({"dataset": "reviews", **everything})
    widgets = _widgets(at)
    assert len(widgets) == 28
    for key, widget in widgets.items():
        if key == "language":
            continue  # it does nothing to fitting, and its title says in both languages what it is
        assert len(widget.proto.help) > 20, key
        assert widget.proto.help.endswith(".") and widget.label, key
    for button in at.button:
        assert button.proto.help, button.label


def test_a_control_that_has_no_effect_is_out_of_use(page: _Page):
    widgets = _widgets(page.open())
    assert widgets["l2"].disabled and widgets["regularize_output"].disabled
    assert "weight_decay" not in widgets and "hidden" not in widgets and "patience" not in widgets
    assert "num_words" not in _widgets(page.open_run(TINY, Demand()))


def test_another_optimizer_starts_from_its_own_defaults(page: _Page):
    at = page.open_run(_REVIEWS.with_(learning_rate=0.5), Demand())
    for name in ("sgd", "adamw", "momentum", "adam", "rmsprop"):
        _move(at, "optimizer", name)
        assert _widgets(at)["learning_rate"].value == DEFAULT_LEARNING_RATE[name]
        stands_for(at, RunConfig(optimizer=name), Demand())
        if name == "adamw":
            assert _widgets(at)["weight_decay"].value == DEFAULT_WEIGHT_DECAY["adamw"]
            _move(at, "weight_decay", 0.5)


def test_data_sets_there_and_back_keep_a_sound_state(page: _Page):
    at = page.open_run(_REVIEWS.with_(train_samples=4_000, dropout=0.5, l1=0.002), Demand(epochs=30))
    kept = {"dropout": 0.5, "l1": 0.002}
    for name in ("digits", "reviews", "imdb", "mnist", "digits", "imdb", "reviews"):
        _move(at, "dataset", name)
        stands_for(at, RunConfig(dataset=name, **kept), Demand(epochs=30))
        assert [warning.value for warning in at.warning] == []


def test_as_many_examples_as_there_are_left_for_fitting(page: _Page):
    at = page.open_run(RunConfig(dataset="digits", train_samples=1_000), Demand())
    slider = _widgets(at)["train_samples"]
    assert slider.options[-1] == "all 1,038" and slider.value == 1_000
    _move(at, "share", 0.5)  # leaves 649
    slider = _widgets(at)["train_samples"]
    assert slider.options[-2:] == ["500", "all 649"]
    stands_for(at, RunConfig(dataset="digits", validation=0.5), Demand())
    _move(at, "validation", "test")
    assert _widgets(at)["train_samples"].options[-1] == "all 1,297"
    stands_for(at, RunConfig(dataset="digits", validation="test"), Demand())


def test_no_step_of_a_slider_lies_beyond_what_the_data_have(page: _Page):
    at = page.open_run(RunConfig(dataset="imdb", num_words=15_000, train_samples=18_000), Demand())
    _move(at, "dataset", "reviews")
    assert _widgets(at)["num_words"].options[-1] == "10,000"
    _move(at, "dataset", "digits")
    assert _widgets(at)["train_samples"].options[-2:] == ["1,000", "all 1,038"]


@pytest.mark.parametrize("written", ["", "   ", "-", "abc", "16-", "0", "16-0", "99999", "1-2-3-4-5-6-7-8-9", "1e9",
                                     "<b>16</b>", "16.5", "inf", "nan", "４", "'; drop table runs;--"])
def test_what_is_typed_for_the_architecture_cannot_break_the_page(page: _Page, written: str):
    at = page.open_run(RunConfig(dataset="digits", hidden=(5,)), Demand())
    _move(at, "hidden", written)
    found = parse(at.session_state["address"])
    assert found.messages == []
    stands_for(at, found.config, found.demand)
    if written != "４":  # a digit in other scripts is a digit
        assert len(at.warning) == 1
        assert all(word in _plain(at.warning[0].value) for word in ("hidden", "1 to 8 layers", "4,096"))
    # The way out is to type something sound.
    _move(at, "hidden", "6-6")
    stands_for(at, RunConfig(dataset="digits", hidden=(6, 6)), Demand())
    assert not at.warning


def test_a_network_that_is_too_large_is_made_smaller_with_a_word_about_it(page: _Page):
    at = page.open_run(RunConfig(dataset="mnist", hidden=(5,)), Demand())
    _move(at, "hidden", "4096-4096-4096")
    found = parse(at.session_state["address"])
    assert 1 < found.config.parameters <= page.engine.settings.max_parameters
    stands_for(at, found.config, Demand())
    assert len(at.warning) == 1
    said = _plain(at.warning[0].value)
    assert "20,000,000 parameters" in said and "4096-4096-4096" in said


def test_limits_of_an_installation_are_the_ends_of_its_controls(own_page):
    own = own_page(EXPLORER_MAX_EPOCHS="30", EXPLORER_MAX_WORDS="2000", EXPLORER_MAX_SAMPLES="1000")
    at = own.open()
    sound(at)
    widgets = _widgets(at)
    assert widgets["epochs"].options[-1] == "30"
    assert widgets["num_words"].options[-1] == "2,000"
    assert widgets["train_samples"].options[-1] == "all 1,000" or widgets["train_samples"].options[-1] == "1,000"
    # Nobody has asked for anything that is not allowed here: there is nothing to warn of.
    assert [warning.value for warning in at.warning] == []
    _move(at, "dropout", 0.5)
    assert [warning.value for warning in at.warning] == []
    for name in ("imdb", "digits", "mnist", "reviews"):
        _move(at, "dataset", name)
        assert [warning.value for warning in at.warning] == []
        found = parse(at.session_state["address"])
        assert found.config.rows <= 1_000 and (found.config.num_words or 0) <= 2_000 and found.demand.epochs <= 30


# -- the address ------------------------------------------------------------------------------------------------

_FULL = [
    (RunConfig(dataset="imdb", num_words=1_234, train_samples=777, label_noise=0.13, validation=0.33,
               hidden=(33, 7, 12), activation="gelu", batch_norm=True, l1=3e-5, l2=0.0123, regularize_output=True,
               dropout=0.42, initializer="he_normal", optimizer="adamw", learning_rate=0.0037, weight_decay=0.0456,
               batch_size=77, seed=123_456), Demand(17, 4, "cpu")),
    (RunConfig(dataset="mnist", validation="test", train_samples=59_999, optimizer="momentum", learning_rate=10,
               weight_decay=1e-6, batch_size=8_192, hidden=(1,) * 8, dropout=0.9, label_noise=0.5, l1=1.0),
     Demand(500, 1_000)),
    (RunConfig(dataset="reviews", num_words=10, train_samples=50, validation=0.02, batch_size=8,
               learning_rate=1e-6, l2=1e-6, optimizer="adam"), Demand(1, 1)),
    (RunConfig(dataset="digits", hidden=(100,) * 6, activation="selu", optimizer="sgd", seed=2**31 - 1), Demand(123)),
]


@pytest.mark.parametrize(("config", "demand"), _FULL, ids=[config.dataset for config, _ in _FULL])
def test_an_address_reopens_every_setting(page: _Page, config: RunConfig, demand: Demand):
    at = page.open_run(config, demand)
    stands_for(at, config, demand)
    assert [warning.value for warning in at.warning] == []
    widgets = _widgets(at)
    shown = {name: widgets[name].value for name in ("learning_rate", "batch_size", "epochs", "dropout", "seed")}
    assert shown == {"learning_rate": config.learning_rate, "batch_size": config.batch_size, "epochs": demand.epochs,
                     "dropout": config.dropout, "seed": config.seed}
    stands_for(at.run(), config, demand)
    # One control moved leaves unusual values of the others as they are.
    _move(at, "activation", "tanh")
    stands_for(at, config.with_(activation="tanh"), demand)
    _move(at, "dropout", 0.05)
    stands_for(at, config.with_(activation="tanh", dropout=0.05), demand)


def test_an_address_that_comes_late_takes_no_move_back(page: _Page):
    at = page.open_run(TINY, Demand(3))
    before = dict(at.query_params)
    _move(at, "dropout", 0.05)
    # Moved again at once, a browser still sends the address from before the first move.
    at.query_params.clear()
    at.query_params.update(before)
    _move(at, "dropout", 0.1)
    stands_for(at, TINY.with_(dropout=0.1), Demand(3))
    between = dict(at.query_params)
    _move(at, "epochs", 5)
    _move(at, "regularizer", "l2")
    at.query_params.clear()
    at.query_params.update(between)
    _move(at, "seed", 3)
    stands_for(at, TINY.with_(dropout=0.1, l2=1e-3, seed=3), Demand(5))


def test_pressing_train_right_after_a_move_trains_what_is_shown(page: _Page):
    at = page.open_run(TINY.with_(seed=11), Demand(1))
    before = dict(at.query_params)
    _move(at, "dropout", 0.4)
    at.query_params.clear()
    at.query_params.update(before)
    at.button(key="train").click()
    at.run()
    config = TINY.with_(seed=11, dropout=0.4)
    stands_for(at, config, Demand(1))
    assert page.engine.store.run(page.engine.run_id(config)) is not None
    page.wait(at, "Trained")


@pytest.mark.parametrize("field", [*query(*_FULL[0])])
def test_each_field_of_an_address_is_read(page: _Page, field: str):
    given = {"dataset": "imdb", field: query(*_FULL[0])[field]}
    if field == "regularize_output":
        given["l1"] = "0.001"
    if field == "weight_decay":
        given["optimizer"] = "adamw"
    at = page.open(given)
    sound(at)
    assert at.session_state["address"] == given
    assert not at.warning


_SCRIPT = "<script>alert(1)</script>"
_LONG = "9" * 5_000
_UNSOUND = [
    ("dataset", "../../etc/passwd", "one of reviews, imdb, digits, mnist"),
    ("dataset", _SCRIPT, "one of reviews, imdb, digits, mnist"),
    ("num_words", "9", "from 10 to 88,587"),
    ("num_words", "50000", "at most 20,000"),
    ("num_words", "1e309", "from 10 to 88,587"),
    ("train_samples", "49", "from 50 to 60,000"),
    ("train_samples", "24000", "from 50 to 20,000"),
    ("train_samples", "all of them", "from 50 to 60,000"),
    ("label_noise", "0.51", "from 0 to 0.5"),
    ("label_noise", "-1", "from 0 to 0.5"),
    ("validation", "0.9", "from 0.02 to 0.5"),
    ("validation", "0", "from 0.02 to 0.5"),
    ("validation", "Test", "test or a share"),
    ("hidden", _SCRIPT, "1 to 8 layers"),
    ("hidden", "16-16-x", "1 to 8 layers"),
    ("hidden", "9999", "1 to 4,096 units"),
    ("hidden", "-".join(["4"] * 9), "1 to 8 layers"),
    ("hidden", "", "1 to 8 layers"),
    ("activation", "cosine", "one of relu"),
    ("activation", "[click](javascript:alert(1))", "one of relu"),
    ("batch_norm", "perhaps", "true or false"),
    ("l1", "2", "from 1e-06 to 1"),
    ("l1", "nan", "from 1e-06 to 1"),
    ("l2", "-0.1", "from 1e-06 to 1"),
    ("l2", "1e-9", "from 1e-06 to 1"),
    ("regularize_output", _LONG, "true or false"),
    ("dropout", "9", "from 0 to 0.9"),
    ("dropout", "inf", "from 0 to 0.9"),
    ("dropout", "0,5", "from 0 to 0.9"),
    ("initializer", "\x00", "one of glorot_uniform, he_normal"),
    ("optimizer", "lion", "one of adam, rmsprop"),
    ("learning_rate", "11", "from 1e-06 to 10"),
    ("learning_rate", "0", "from 1e-06 to 10"),
    ("weight_decay", "2", "from 1e-06 to 1"),
    ("batch_size", "7", "from 8 to 8,192"),
    ("batch_size", "1.5", "from 8 to 8,192"),
    ("seed", "-1", "from 0 to 2,147,483,647"),
    ("seed", _LONG, "from 0 to 2,147,483,647"),
    ("epochs", "-5", "from 1 to 100,000"),
    ("epochs", "99999", "at most 500"),
    ("epochs", "ten", "from 1 to 100,000"),
    ("patience", "0", "from 1 to 1,000"),
    ("device", "tpu", "one of auto, cpu"),
    ("device", "$(reboot)", "one of auto, cpu"),
]


@pytest.mark.parametrize(("field", "value", "limits"), _UNSOUND,
                         ids=[f"{field}-{number}" for number, (field, _, _) in enumerate(_UNSOUND)])
def test_an_unsound_value_is_replaced_and_named(page: _Page, field: str, value: str, limits: str):
    at = page.open({"dataset": "imdb", "activation": "tanh", field: value})
    sound(at)
    warnings = [_plain(warning.value) for warning in at.warning]
    # A value that is beyond every limit may also be beyond one of this installation.
    assert 1 <= len(warnings) <= 2, _texts(at)
    assert all(field in warning[:len(field) + 4] and len(warning) < 400 for warning in warnings)
    assert any(limits in warning or " here, received" in warning for warning in warnings)
    received = value if len(value) <= 60 else value[:57]
    seen = [warning.replace("\\", "") for warning in warnings]
    assert any(received.replace("\x00", "x00") in text or _formatted(value) in text for text in seen), warnings
    # What stands there instead is sound, and everything else is as it was asked for.
    found = parse(at.session_state["address"])
    assert found.messages == []
    stands_for(at, found.config, found.demand)
    if field not in ("dataset", "activation"):
        assert (found.config.dataset, found.config.activation) == ("imdb", "tanh")


def _formatted(value: str) -> str:
    try:
        return plain(float(value))
    except (ValueError, OverflowError):
        return value


def test_names_that_are_no_settings_are_passed_over(page: _Page):
    at = page.open({"dataset": "digits", "utm_source": "x", "__proto__": "1", "embed": "true"})
    sound(at)
    assert not at.warning
    assert {**at.session_state["address"], "embed": "true"} == {"dataset": "digits", "embed": "true"}


def test_a_graphics_card_that_is_not_here_is_named(page: _Page):
    page.wait(page.open_run(TINY, Demand(1)), "Train")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while page.engine.hardware is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    if "gpu:9" in page.engine.hardware.names:
        pytest.skip("this machine has ten graphics cards")
    at = page.open({"dataset": "digits", "device": "gpu:9"})
    sound(at)
    assert all(word in _plain(at.warning[0].value) for word in ("device", "gpu:9"))
    stands_for(at, RunConfig(dataset="digits"), Demand())


# -- training ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(page: _Page) -> SimpleNamespace:
    """A run of four epochs with its page, trained by pressing the button."""
    config, demand = TINY.with_(seed=1), Demand(4)
    at = page.open_run(config, demand)
    assert [button.label for button in at.button if button.key == "train"] == ["Train"]
    assert len(at.info) == 1 and "Press **Train**" in at.info[0].value
    at.button(key="train").click()
    sound(at.run())
    assert "Stop" in _labels(at) and len(at.progress) == 1
    page.wait(at, "Trained")
    run_id = page.engine.run_id(config)
    run, epochs, scores = page.engine.store.snapshot(run_id)
    return SimpleNamespace(at=at, config=config, demand=demand, run=run, epochs=epochs, scores=scores,
                           table=history.table(epochs))


def _best(epochs: list[dict]) -> int:
    return min(epochs, key=lambda row: row["val_crossentropy"])["epoch"]


def _told(scores: dict[int, dict], best: int, last: int) -> dict[str, str]:
    """The test scores as the page has them, each with the epoch that it belongs to."""
    names = ({best: f"epoch {best}, the best and the last"} if best == last
             else {best: f"best epoch {best}", last: f"last epoch {last}"})
    return {text: value for epoch, name in names.items() if epoch in scores
            for text, value in ((f"Test accuracy ({name})", f"{scores[epoch]['test_accuracy']:.1%}"),
                                (f"Test cross-entropy ({name})", f"{scores[epoch]['test_crossentropy']:.3f}"))}


def _metrics(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def _rows(chart) -> pd.DataFrame:
    proto = chart.proto
    sets = [entry.data.data for entry in proto.datasets] or [proto.data.data]
    assert len(sets) == 1
    rows = convert_arrow_bytes_to_pandas_df(sets[0]).reset_index(drop=True)
    # By the fields of the chart; its columns bear the names that a person reads.
    made = {step["calculate"]: step["as"] for step in json.loads(proto.spec)["transform"]}
    return rows.rename(columns={name: made.get(f"datum[{json.dumps(name)}]", name) for name in rows})


def _charts_show(at: AppTest, table: pd.DataFrame) -> None:
    found = at.get("vega_lite_chart")
    assert len(found) == 2
    columns = ["epoch", "train_crossentropy", "val_crossentropy", "train_accuracy", "val_accuracy"]
    for chart, metric in zip(found, curves.METRICS, strict=True):
        pd.testing.assert_frame_equal(_rows(chart)[columns], table[columns], check_exact=True)
        assert chart.proto.alt.startswith(say(f"metric.{metric}", "en"))


def test_pressing_train_shows_the_numbers_of_the_store(trained: SimpleNamespace):
    at = trained.at
    assert len(trained.epochs) == 4 and sorted(trained.scores) == sorted({4, _best(trained.epochs)})
    found = diagnosis.diagnose(trained.table, trained.config.info.classes)
    assert diagnosis_text.sentence(found) in [part.value for part in at.markdown]
    lowest = min(trained.epochs, key=lambda row: row["val_crossentropy"])
    assert f"Best at epoch {lowest['epoch']}, validation cross-entropy {lowest['val_crossentropy']:.3f}" in (
        diagnosis_text.sentence(found))
    assert _metrics(at) == {
        **_told(trained.scores, _best(trained.epochs), 4),
        "Epochs": "4",
        "Duration": run_labels.duration(sum(row["seconds"] for row in trained.epochs), "en"),
        "Device": trained.run.device,
    }
    assert "CPU" in trained.run.device or "GPU" in trained.run.device
    assert not at.info and not at.warning and len(at.progress) == 1


def test_the_curves_are_the_rows_of_the_store(trained: SimpleNamespace):
    _charts_show(trained.at, trained.table)
    best = _rows(trained.at.get("vega_lite_chart")[0]).set_index("epoch")["best"]
    assert list(best[best].index) == [trained.table.set_index("epoch")["val_crossentropy"].idxmin()]


def test_a_chart_is_the_same_one_with_other_rows(page: _Page, trained: SimpleNamespace):
    # A browser draws a chart afresh as soon as anything but its rows changes, which blinks.
    fixed = {(chart.proto.id, chart.proto.spec, chart.proto.alt) for chart in trained.at.get("vega_lite_chart")}
    for config in (trained.config, trained.config.with_(seed=77)):
        at = page.open_run(config, trained.demand)
        assert {(chart.proto.id, chart.proto.spec, chart.proto.alt) for chart in at.get("vega_lite_chart")} == fixed


def test_the_table_holds_every_epoch_and_is_drawn_once_it_is_opened(page: _Page, trained: SimpleNamespace):
    at = page.open_run(trained.config, trained.demand)
    assert not at.dataframe
    at.session_state["numbers"] = True
    shown = sound(at.run()).dataframe[0].value.reset_index(drop=True)
    assert shown["epoch"].tolist() == [1, 2, 3, 4]
    numbers = shown[["train_crossentropy", "val_crossentropy"]].to_numpy(dtype=float)
    assert (numbers == trained.table[["train_crossentropy", "val_crossentropy"]].to_numpy()).all()


def test_another_session_sees_a_known_run_at_once(page: _Page, trained: SimpleNamespace):
    at = sound(page.open_run(trained.config, trained.demand))
    assert "Trained" in _labels(at) and at.button(key="train").disabled
    _charts_show(at, trained.table)
    assert _metrics(at) == _metrics(trained.at)


def test_other_settings_show_nothing_of_it(page: _Page, trained: SimpleNamespace):
    at = page.open_run(trained.config, trained.demand)
    _move(at, "dropout", 0.85)
    assert "Train" in _labels(at) and not at.metric
    assert all(_rows(chart).empty for chart in at.get("vega_lite_chart"))
    _move(at, "dropout", 0.0)
    assert "Trained" in _labels(at)
    _charts_show(at, trained.table)


def test_fewer_epochs_show_a_slice_of_a_known_run(page: _Page, trained: SimpleNamespace):
    at = sound(page.open_run(trained.config, Demand(2)))
    _charts_show(at, trained.table.head(2))
    assert "Trained" in _labels(at)
    metrics = _metrics(at)
    assert metrics["Epochs"] == "2"
    best = _best(trained.epochs[:2])
    assert {name: value for name, value in metrics.items() if name.startswith("Test ")} == (
        _told({} if 2 in trained.scores else trained.scores, best, 2))
    scored = ", ".join(map(str, sorted(trained.scores)))
    assert any(f"The test set was scored after epoch {scored}:" in caption.value for caption in at.caption)
    found = diagnosis.diagnose(trained.table.head(2), trained.config.info.classes)
    assert diagnosis_text.sentence(found) in [part.value for part in at.markdown]


def test_more_epochs_go_on_from_there(page: _Page):
    config = TINY.with_(seed=2)
    at = page.open_run(config, Demand(2))
    at.button(key="train").click()
    page.wait(at.run(), "Trained")
    first = page.engine.store.epochs(page.engine.run_id(config))
    _move(at, "epochs", 5)
    assert "Continue to epoch 5" in _labels(at)
    _charts_show(at, history.table(first))
    at.button(key="continue").click()
    sound(at.run())
    page.wait(at, "Trained")
    every = page.engine.store.epochs(page.engine.run_id(config))
    assert every[:2] == first and len(every) == 5
    _charts_show(at, history.table(every))
    assert _metrics(at)["Epochs"] == "5"


def test_validated_on_the_test_set_each_epoch_has_its_score(page: _Page):
    config = TINY.with_(seed=3, validation="test")
    at = page.open_run(config, Demand(3))
    at.button(key="train").click()
    page.wait(at.run(), "Trained")
    at = page.open_run(config, Demand(2))
    rows = page.engine.store.epochs(page.engine.run_id(config))[:2]
    scores = {row["epoch"]: {"test_accuracy": row["val_accuracy"], "test_crossentropy": row["val_crossentropy"]}
              for row in rows}
    assert _told(scores, _best(rows), 2).items() <= _metrics(at).items()


def test_early_stopping_ends_where_it_says(page: _Page):
    # With a step far too long, validation soon stops improving.
    config = TINY.with_(seed=4, optimizer="sgd", learning_rate=5.0)
    at = page.open_run(config, Demand(50, patience=1))
    at.button(key="train").click()
    page.wait(at.run(), "Trained")
    reached = len(page.engine.store.epochs(page.engine.run_id(config)))
    assert 2 <= reached < 50 and _metrics(at)["Epochs"] == str(reached)
    marked = _rows(at.get("vega_lite_chart")[0]).set_index("epoch")["stop"]
    assert list(marked[marked].index) == [reached]


def test_stop_keeps_what_was_reached_and_offers_to_go_on(page: _Page):
    config = TINY.with_(seed=5, batch_size=8)
    at = page.open_run(config, Demand(500))
    at.button(key="train").click()
    sound(at.run())
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not at.metric and not page.engine.store.epochs(page.engine.run_id(config)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    at.run()
    at.button(key="stop").click()
    page.wait(at.run(), "Continue to epoch 500")
    kept = page.engine.store.epochs(page.engine.run_id(config))
    assert 1 <= len(kept) < 500
    assert any(f"{len(kept)} epoch" in info.value and "kept" in info.value for info in at.info)
    _charts_show(at, history.table(kept))
    assert _metrics(at)["Epochs"] == str(len(kept))


def test_two_sessions_follow_one_run(page: _Page):
    config = TINY.with_(seed=6)
    first, second = page.open_run(config, Demand(3)), page.open_run(config, Demand(3))
    first.button(key="train").click()
    first.run()
    second.button(key="train").click()  # pressed in ignorance of the other
    page.wait(second.run(), "Trained")
    page.wait(first.run(), "Trained")
    run_id = page.engine.run_id(config)
    assert page.engine.store.run(run_id).attempt == 1
    table = history.table(page.engine.store.epochs(run_id))
    _charts_show(first, table)
    _charts_show(second, table)


def test_a_loss_that_is_no_number_ends_with_a_remedy(page: _Page):
    config = TINY.with_(seed=7, hidden=(64, 64), activation="elu", optimizer="sgd", learning_rate=10.0,
                        initializer="he_normal", l2=1.0)
    at = page.open_run(config, Demand(20))
    at.button(key="train").click()
    page.wait(at.run(), "Trained", "Continue to epoch 20", "Train")
    run = page.engine.store.run(page.engine.run_id(config))
    if run.status != "diverged":
        pytest.skip(f"this run is {run.status}, its loss stayed a number")
    assert "Trained" in _labels(at)
    assert any("learning rate" in text and "10" in text for text in _texts(at))
    sound(at)


def test_a_full_queue_is_said_once_and_the_page_goes_on(page: _Page):
    at = page.open_run(TINY.with_(seed=8), Demand(2))
    engine = page.engine
    strict = replace(engine.settings, max_queue=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "settings", strict)
        at.button(key="train").click()
        at.run()
    assert not at.exception
    assert len(at.error) == 1 and "waiting" in at.error[0].value
    sound(at.run())
    assert "Train" in _labels(at)


def test_a_failed_run_says_why_and_can_be_tried_again(page: _Page):
    config = TINY.with_(seed=9)
    run_id = page.engine.run_id(config)
    store = page.engine.store
    store.request(run_id, config, Demand(2), {})
    store.ask_to_stop(run_id)
    with store._write() as db:
        db.execute("UPDATE runs SET status = ?, phase = 'training', message = ? WHERE run_id = ?",
                   (FAILED, "The device ran out of memory: use fewer units.", run_id))
    at = page.open_run(config, Demand(2))
    assert not at.exception
    assert [_plain(error.value) for error in at.error] == ["The device ran out of memory: use fewer units."]
    assert "Train" in _labels(at)


# -- data that are not here -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dataset", "instead"), [("imdb", "reviews"), ("mnist", "digits")])
def test_data_that_cannot_be_fetched_leave_a_way_on(page: _Page, dataset: str, instead: str):
    config, info = RunConfig(dataset=dataset, hidden=(4,), seed=10, dropout=0.5), DATASETS[dataset]
    at = page.open_run(config, Demand(2))
    assert any("Not on this machine yet" in caption.value for caption in at.caption)
    at.button(key="train").click()
    sound(at.run())
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not at.error:
        assert time.monotonic() < deadline, _texts(at)
        time.sleep(0.2)
        at.run()
    assert not at.exception
    assert len(at.error) == 1 and not at.warning
    message = _plain(at.error[0].value)
    assert all(word in message for word in (info.title, "could not be fetched", f"{dataset}.npz", "EXPLORER_DATA_DIR"))
    assert "Traceback" not in message
    way_on = at.button(key="embedded")
    assert DATASETS[instead].title in way_on.label
    way_on.click()
    at.run()
    stands_for(at, config.with_(dataset=instead), Demand(2))
    assert "Train" in _labels(at) and not at.error



# -- comparison and lessons -------------------------------------------------------------------------------------


def _press(at: AppTest, key: str) -> AppTest:
    return sound(at.button(key=key).click().run())


def test_a_run_is_compared_with_one_click_and_stays_in_the_address(page: _Page):
    at = page.open_run(TINY, Demand(3))
    assert "Comparison" not in [header.value for header in at.subheader]
    _press(at, "compare")
    assert "In the comparison" in _labels(at)
    at = _press(sound(at.slider(key="dropout").set_value(0.5).run()), "compare")
    assert [at.button(key=f"open_{place}").label for place in (0, 1)] == ["4", "4 · dropout 0.5"]
    assert dict(at.query_params)["compare"].count(";") == 1
    elsewhere = sound(page.open(dict(at.query_params)))
    assert [elsewhere.button(key=f"open_{place}").label for place in (0, 1)] == ["4", "4 · dropout 0.5"]
    _press(elsewhere, "without_0")
    assert "compare" in elsewhere.query_params and ";" not in elsewhere.query_params["compare"]
    _press(elsewhere, "without_0")
    assert "compare" not in elsewhere.query_params


def test_compared_runs_are_trained_with_one_press_and_told_apart(page: _Page):
    address = {"compare": "dataset:digits,hidden:4,epochs:2,seed:71;dataset:digits,hidden:32,epochs:2,seed:71"}
    at = page.open(address)
    assert "Train the 2 that are not known yet" in _labels(at)
    _press(at, "compared_train")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any("best validation cross-entropy" in text and "32" in text for text in map(_plain, _texts(at))):
        assert time.monotonic() < deadline, _texts(at)
        time.sleep(0.2)
        sound(at.run())
    assert any("architecture 4 against 32" in _plain(text) for text in _texts(at))
    states = at.dataframe[0].value["state"].tolist()
    assert len(states) == 2


def test_a_run_of_the_comparison_that_the_store_has_let_go_can_be_trained_again(page: _Page):
    configs = [TINY.with_(seed=72), TINY.with_(seed=72, hidden=(5,))]
    demand = Demand(2)
    run_ids = page.engine.submit_all(configs, demand)
    at = page.open(query(configs[0], demand) | {
        "compare": ";".join(f"dataset:digits,hidden:{config.hidden[0]},epochs:2,seed:72" for config in configs)})
    page.wait(at, "Trained")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(page.engine.look(run_id, demand).is_live for run_id in run_ids):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    store = page.engine.store
    others = set(store.run_ids()) - set(run_ids)
    assert sorted(store.prune(len(others), spared=lambda: others)) == sorted(run_ids)
    sound(at.run())
    assert "Train" in _labels(at) and "Trained" not in _labels(at)
    assert len([button for button in at.button if (button.key or "").startswith("open_")]) == 2
    at.button(key="train").click()
    page.wait(sound(at.run()), "Trained")
    assert store.run(run_ids[0]).attempt == 1


def test_a_lesson_opens_from_its_address_and_from_the_sidebar(page: _Page):
    at = sound(page.open({"lesson": "capacity"}))
    assert "Capacity" in [header.value for header in at.subheader]
    # IMDB is not on this machine: the page says what it uses instead.
    assert any("not on this machine" in text and "generated" in text for text in _texts(at))
    assert [at.button(key=f"open_{place}").label for place in range(3)] == ["4-4", "16-16", "512-512"]
    assert "compare" not in at.query_params and at.query_params["lesson"] == "capacity"
    sound(at.selectbox(key="lesson").select("dropout").run())
    assert [at.button(key=f"open_{place}").label for place in range(2)] == ["16-16", "16-16 · dropout 0.5"]
    assert at.query_params["lesson"] == "dropout"


@pytest.mark.parametrize("name", LESSONS)
def test_every_part_of_every_lesson_opens(page: _Page, name):
    for number in range(len(LESSONS[name])):
        at = sound(page.open({"lesson": name, "part": str(number + 1), "lang": "ko", "predict": "off"}))
        assert len(at.session_state["compared"]) == len(LESSONS[name][number].runs)
        assert any("모두 훈련해야 알 수 있습니다" in text for text in _texts(at))


def test_a_lesson_opens_with_the_view_of_its_source_and_the_next_one_with_its_own(page: _Page):
    at = sound(page.open({"lesson": "early-stopping"}))
    assert at.toggle(key="compared_panels").value
    assert [at.button(key=f"open_{place}").label for place in range(4)] == [
        "16-16", "16-16 · L2 0.001", "16-16 · L2 0.001 · early stopping", "16-16 · dropout 0.5"]
    sound(at.selectbox(key="lesson").select("tiny-data").run())
    assert at.toggle(key="compared_panels").value and at.selectbox(key="compared_measure").value == "accuracy"
    sound(at.selectbox(key="lesson").select("too-long").run())
    assert not at.toggle(key="compared_panels").value and at.toggle(key="compared_log_x").value


def test_nothing_tells_what_is_wrong_before_the_answer_does(page: _Page):
    at = sound(page.open({"lesson": "warm-start"}))
    [answer] = [found for found in at.expander if found.label == "Show the answer"]
    assert not answer.proto.expanded
    assert at.button(key="open_1").label == "16-16 · the other curve"
    assert not any("epochs trained before" in _plain(text) for text in _texts(at))
    at.session_state["lesson_answer_warm-start_0"] = True
    sound(at.run())
    assert at.button(key="open_1").label == "16-16 · fit again"
    assert any("epochs trained before" in _plain(text) for text in _texts(at))


def test_controls_that_were_moved_on_from_a_lesson_come_back_with_the_address(page: _Page):
    at = sound(page.open({"lesson": "capacity", "dataset": "digits", "hidden": "7"}))
    assert at.session_state["hidden"] == "7"
    assert at.button(key="open_2").label == "512-512"


def test_lessons_are_told_in_the_language_of_the_address(page: _Page):
    at = sound(page.open({"lesson": "dropout", "lang": "ko"}))
    assert "드롭아웃" in [header.value for header in at.subheader]


@pytest.mark.parametrize(("name", "value", "words"), [
    ("lesson", "<b>nothing</b>", "one of capacity"), ("part", "7", "a whole number from 1 to"),
    ("lang", "tlh", "one of en, ko"), ("compare", "x;y", "runs such as")])
def test_an_unsound_comparison_or_lesson_is_named(page: _Page, name, value, words):
    at = sound(page.open({name: value}))
    assert any(words in _plain(warning.value) for warning in at.warning)


# -- the language, and what to try next ----------------------------------------------------------------------

# Names of things, which are the same in every language, and what a learner may meet in a notebook.
_NAMES = r"Keras|IMDB|MNIST|scikit-learn|ReLU|RMSprop|Adam\w*|Language|English|L1|L2|CE|CPU|GB|MB|Dense|Python|explorer"


def _page_words(at: AppTest) -> list[str]:
    widgets = [widget.label for widget in (*_widgets(at).values(), *at.button, *at.expander)]
    parts = [*at.title, *at.header, *at.subheader, *at.markdown, *at.caption, *at.info]
    return [_plain(text) for text in [*widgets, *(part.value for part in parts)] if text]


def test_the_page_speaks_korean_from_top_to_bottom(page: _Page):
    at = sound(page.open({"lesson": "capacity", "lang": "ko", "grid": "l2:0,0.001", "l2": "0.001"}))
    assert at.header[0].value == "과적합 탐색기" and at.query_params["lang"] == "ko"
    assert not [text for text in _page_words(at)
                if re.search("[a-z]{3}", re.sub(rf"{_NAMES}|\(.*?\)|https?\S+|TensorFlow.*|Deep.*", "", text))
                and not re.search("[가-힣]", text)]
    english = sound(at.segmented_control(key="language").set_value("en").run())
    assert english.header[0].value == "Overfitting explorer"
    assert not [text for text in _page_words(english) if re.search("[가-힣]", text.replace("한국어", "").replace(
        "언어", ""))]


def test_a_widget_keeps_its_value_when_the_language_changes(page: _Page):
    at = sound(page.open({"dataset": "reviews", "optimizer": "sgd", "dropout": "0.35", "hidden": "512-512"}))
    sound(at.segmented_control(key="language").set_value("ko").run())
    config = RunConfig(dataset="reviews", optimizer="sgd", dropout=0.35, hidden=(512, 512))
    assert dict(at.query_params) == query(config, Demand()) | {"lang": "ko"}
    assert f"훈련되는 파라미터 **{plain(config.parameters)}**개" in [caption.value for caption in at.caption]


def test_after_a_run_one_thing_is_suggested_and_its_button_sets_it(page: _Page):
    config, demand = TINY.with_(seed=81), Demand(4)
    at = page.wait(_press(page.open_run(config, demand), "train"), "Trained")
    [button] = [button for button in at.button if button.key == "suggestion"]
    at = sound(button.click().run())
    changed = parse(dict(at.query_params))
    before = {"config": config, "demand": demand}
    differing = [name for name in before if getattr(changed, name) != before[name]]
    assert len(differing) == 1
    assert "Trained" not in _labels(at)
