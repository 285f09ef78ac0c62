"""The look inside on the page: folded it costs nothing; open, it shows an example, the layers and the devices."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

pytest.importorskip("streamlit")

from streamlit.testing.v1 import AppTest  # noqa: E402

from explorer import data
from explorer.config.run_config import Demand, RunConfig  # noqa: E402
from explorer.config.url_params import query  # noqa: E402
from explorer.data import preview  # noqa: E402
from explorer.engine.engine import QueueFull  # noqa: E402
from explorer.i18n import LANGUAGES, say  # noqa: E402
from explorer.store.store import FAILED, FINISHED  # noqa: E402
from explorer.ui import resources  # noqa: E402
from explorer.workers.devices import Gpu  # noqa: E402
from tests.conftest import ROOT  # noqa: E402

PATIENCE_SECONDS = 150
TINY, DEMAND = RunConfig(dataset="digits", hidden=(4,), seed=71), Demand(3)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """An installation of its own whose hardware is known."""
    folder = tmp_path_factory.mktemp("portrait")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPLORER_HOME", str(folder / "home"))
        patch.setenv("EXPLORER_DATA_DIR", str(folder))
        patch.setenv("KERAS_HOME", str(folder / "keras"))
        resources.engine.clear()
        made = resources.engine()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while made.hardware is None:
            assert time.monotonic() < deadline, "the worker found no hardware"
            time.sleep(0.1)
        yield made
        made.close()
        resources.engine.clear()


def _open(config: RunConfig = TINY, demand: Demand = DEMAND, language: str = "en", is_open: bool = True) -> AppTest:
    at = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=30)
    for name, value in (query(config, demand) | {"lang": language}).items():
        at.query_params[name] = value
    at.session_state["portrait"] = is_open
    return _sound(at.run())


def _sound(at: AppTest) -> AppTest:
    assert [part.message for part in at.exception] == []
    assert [part.value for part in at.error] == []
    return at


def _texts(at: AppTest) -> str:
    return "\n".join(part.value for kind in ("markdown", "caption", "info") for part in getattr(at, kind))


def _table(at: AppTest, column: str):
    return next(table.value for table in at.dataframe if column in table.value.columns)


def _charts(at: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in at.get("vega_lite_chart")]


def _claimed(engine, config: RunConfig, demand: Demand):
    """A run in the store that the engine believes to be trained by itself."""
    with engine._asking:  # meanwhile it takes none from the queue
        run_id = engine.store.request(engine.run_id(config), config, demand, {}).run_id
        return engine.store.claim(engine._owner.name, [run_id])


def _trained(engine, config: RunConfig, device: str) -> None:
    """Put a finished run into the store, as if it had been trained on this device."""
    run = _claimed(engine, config, DEMAND)
    engine.store.write_device(run.run_id, run.attempt, device, 2)
    for epoch in range(1, DEMAND.epochs + 1):
        engine.store.write_epoch(run.run_id, run.attempt, {
            "epoch": epoch, "seconds": 0.25, **dict.fromkeys(
                ("loss", "train_crossentropy", "val_crossentropy", "train_accuracy", "val_accuracy", "penalty"), 0.5)})
    engine.store.write_score(run.run_id, run.attempt, {
        "epoch": DEMAND.epochs, "test_crossentropy": 0.5, "test_accuracy": 0.5})
    engine.store.end(run.run_id, run.attempt, FINISHED)


def test_folded_nothing_of_it_is_computed(engine, monkeypatch):
    monkeypatch.setattr(preview, "read", lambda *_: pytest.fail("it is folded"))
    assert "layer" not in [column for table in _open(is_open=False).dataframe for column in table.value.columns]


def test_data_that_are_not_prepared_yet_are_waited_for(engine, monkeypatch):
    monkeypatch.setattr(data, "is_prepared", lambda *_: False)
    at = _open()
    assert say("portrait.unprepared", "en") in [info.value for info in at.info]
    assert "portrait_number" not in [widget.key for widget in at.number_input]
    monkeypatch.undo()
    data.load(TINY, engine.settings)
    assert "portrait_number" in [widget.key for widget in _sound(at.run()).number_input]


def test_a_cache_that_cannot_be_read_is_waited_for_too(engine, monkeypatch):
    data.load(TINY, engine.settings)
    monkeypatch.setattr(preview, "read", lambda *_: None)
    assert say("portrait.unprepared", "en") in [info.value for info in _open().info]


@pytest.mark.parametrize("language", LANGUAGES)
def test_before_the_first_run_a_sentence_stands_for_the_example(engine, language):
    at = _open(RunConfig(dataset="mnist"), language=language)
    assert any(info.value.startswith(say("portrait.absent", language, title="MNIST")[:5]) for info in at.info)
    assert len(_charts(at)) == 2


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_digit_stands_before_and_after_scaling(engine, language):
    data.load(TINY, engine.settings)
    at = _open(language=language)
    assert [chart["title"]["text"] for chart in _charts(at)[2:]] == [
        say("portrait.before", language), say("portrait.after", language)]
    before = _texts(at)
    at.button(key="portrait_another").click().run()
    assert at.number_input(key="portrait_number").value == 2
    assert _texts(_sound(at)) != before


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_review_stands_as_picture_and_words(engine, language):
    config = RunConfig(dataset="reviews", num_words=500, label_noise=0.5)
    data.load(config, engine.settings)
    at = _open(config, language=language)
    assert len(_charts(at)) == 3
    sample = preview.read(config, 0, engine.settings)
    assert sample.words[-1] in _texts(at)
    at.number_input(key="portrait_number").set_value(preview.MOST).run()
    _sound(at)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("hidden, parameters", [((16, 16), 16_305), ((4, 4), 4_029), ((512, 512), 775_681)])
def test_the_layer_table_ends_with_the_number_of_parameters(engine, hidden, parameters, language):
    at = _open(RunConfig(dataset="reviews", num_words=1_000, hidden=hidden), language=language)
    last = _table(at, "layer").iloc[-1]
    assert (last["layer"], last["parameters"]) == (say("portrait.total", language), parameters)


def test_on_a_machine_with_one_device_there_is_one_row(engine, monkeypatch):
    monkeypatch.setattr(engine, "hardware", replace(engine.hardware, gpus=()))
    _trained(engine, TINY, engine.hardware.label("cpu"))
    at = _open()
    (row,) = _table(at, "per_epoch").to_dict("records")
    assert (row["per_epoch"], row["seconds"], row["epochs"], row["run"]) == (0.25, 0.75, 3, "this run")
    assert "portrait_time" not in [button.key for button in at.button]
    assert say("portrait.one_device", "en") in _texts(at)


def test_an_untrained_run_has_no_time_and_no_button(engine, monkeypatch):
    monkeypatch.setattr(engine, "hardware", replace(engine.hardware, gpus=(Gpu(0, "Card"),)))
    at = _open(TINY.with_(seed=500))
    assert _table(at, "per_epoch")["per_epoch"].isna().tolist() == [True, True]
    assert "portrait_time" not in [button.key for button in at.button]
    assert say("portrait.untrained", "en") in _texts(at)


def test_other_devices_are_timed_one_after_another_on_the_next_seeds(engine, monkeypatch):
    config = TINY.with_(seed=900)
    monkeypatch.setattr(engine, "hardware", replace(engine.hardware, gpus=(Gpu(0, "Card"), Gpu(1, "Card"))))
    _trained(engine, config, engine.hardware.label("cpu"))
    _trained(engine, config.with_(seed=901), engine.hardware.label("cpu"))
    asked = []

    def submit(config: RunConfig, demand: Demand, person: str) -> str:
        # This machine may have no such cards: what they would have done is put into the store.
        asked.append((config.seed, demand))
        _trained(engine, config, engine.hardware.label(demand.device))
        return engine.run_id(config)

    monkeypatch.setattr(engine, "submit", submit)
    at = _open(config)
    assert [str(run) for run in _table(at, "per_epoch")["run"].fillna("")] == ["this run", "", ""]
    at.button(key="portrait_time").click().run()
    for _ in range(3):
        _sound(at.run())
    assert asked == [(902, Demand(3, device="gpu:0")), (903, Demand(3, device="gpu:1"))]
    made = _table(at, "per_epoch")
    assert made["run"].tolist() == ["this run", "seed 902", "seed 903"]
    assert made["seconds"].tolist() == [0.75] * 3
    assert "timing" not in at.session_state and "portrait_time" not in [button.key for button in at.button]


def test_a_refused_timing_says_why(engine, monkeypatch):
    config = TINY.with_(seed=1_200)
    monkeypatch.setattr(engine, "hardware", replace(engine.hardware, gpus=(Gpu(0, "Card"),)))
    _trained(engine, config, engine.hardware.label("cpu"))

    def submit(config: RunConfig, demand: Demand, person: str) -> str:
        raise QueueFull("10 runs are waiting")

    monkeypatch.setattr(engine, "submit", submit)
    at = _open(config)
    at.button(key="portrait_time").click().run()
    assert not at.exception
    assert ["10 runs are waiting" in error.value for error in at.error] == [True]
    assert "timing" not in at.session_state


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_timing_that_fails_early_says_why(engine, monkeypatch, language):
    config = TINY.with_(seed=1_500)
    monkeypatch.setattr(engine, "hardware", replace(engine.hardware, gpus=(Gpu(0, "Card"),)))
    _trained(engine, config, engine.hardware.label("cpu"))

    def submit(config: RunConfig, demand: Demand, person: str) -> str:
        run = _claimed(engine, config, demand)
        engine.store.end(run.run_id, run.attempt, FAILED, "The card has gone.")
        return run.run_id

    monkeypatch.setattr(engine, "submit", submit)
    at = _open(config, language=language)
    at.button(key="portrait_time").click().run()
    (warning,) = _sound(at.run()).warning
    assert "The card has gone" in warning.value and "Card" in warning.value
    assert "portrait_time" in [button.key for button in at.button]
