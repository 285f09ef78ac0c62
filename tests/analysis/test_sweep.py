"""Sweeps: the grid and its text, the heat map, the store's answer for many runs, and the page without a browser."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as some

from explorer.analysis import sweep
from explorer.analysis.sweep import DONE, MOVING, WAITING, Axis, CellState, Grid
from explorer.config import labels
from explorer.config.run_config import KINDS, Demand, RunConfig
from explorer.config.settings import Settings
from explorer.config.url_params import query
from explorer.i18n import say
from explorer.store.queries import BRIEF
from explorer.store.store import DIVERGED, FAILED, FINISHED, RunStore
from explorer.ui.charts import sweep as sweep_chart
from tests.ui.test_app import _labels, _move, _Page, _plain, _rows, _texts, sound

HERE = Settings(home=Path("nowhere"))
REVIEWS = RunConfig()
DIGITS = RunConfig(dataset="digits", hidden=(4,))
GRID = Grid(Axis("l2", (0.0, 0.001, 0.01)), Axis("dropout", (0.0, 0.5)))


# -- the grid ---------------------------------------------------------------------------------------------------


def test_a_grid_holds_every_combination_around_the_base_row_by_row():
    base = REVIEWS.with_(hidden=(8,), seed=3, l1=0.001)
    configs = GRID.configs(base)
    assert [(one.l2, one.dropout) for one in configs] == [
        (0, 0), (0.001, 0), (0.01, 0), (0, 0.5), (0.001, 0.5), (0.01, 0.5)]
    assert {(one.hidden, one.seed, one.l1) for one in configs} == {((8,), 3, 0.001)}
    assert len({one.run_id("data") for one in configs}) == GRID.runs == 6
    assert GRID.words(4, "en") == "L2 strength 0.001 with dropout rate 0.5"
    assert Grid(Axis("dropout", (0.1,)), Axis("l1", (0.01,))).words(0, "en") == "Dropout rate 0.1 with L1 strength 0.01"
    assert Grid(Axis("train_samples", (300, None))).words(1, "en") == "Training examples all"


@pytest.mark.parametrize("field", sweep.USUAL)
@pytest.mark.parametrize("base", [REVIEWS, DIGITS, RunConfig(dataset="mnist"), REVIEWS.with_(train_samples=77, seed=9)],
                         ids=["reviews", "digits", "mnist", "odd"])
def test_every_axis_opens_with_sound_values_and_the_base_among_them(field: str, base: RunConfig):
    if field not in sweep.fields_for(base):
        assert field == "num_words" and not base.info.is_words
        return
    opening, offered = sweep.opening(field, base, HERE), sweep.offered(field, base, HERE)
    assert 2 <= len(opening) <= 8 and set(opening) <= set(offered) and len(set(offered)) == len(offered)
    axis, errors = sweep.read(field, opening, base, HERE)
    assert errors == [] and axis.texts == opening
    assert base in Grid(axis).configs(base)
    assert sweep.parse(Grid(axis).text, base, HERE) == (Grid(axis), [])


def test_numbers_stand_in_order_and_words_as_they_are_usual():
    assert sweep.opening("l2", REVIEWS.with_(l2=0.0005), HERE) == ["0", "0.0001", "0.0005", "0.001", "0.01"]
    assert sweep.opening("hidden", REVIEWS.with_(hidden=(32, 32)), HERE) == ["4-4", "16-16", "32-32", "64-64"]
    assert sweep.opening("train_samples", DIGITS, HERE) == ["300", "1000", "all"]
    assert sweep.opening("optimizer", REVIEWS, HERE)[0] == "adam"


def test_an_installation_offers_only_what_it_allows():
    small = Settings(home=Path("nowhere"), max_words=500, max_parameters=40_000)
    base = REVIEWS.with_(num_words=500)
    assert max(map(int, sweep.offered("num_words", base, small))) == 500
    assert "512-512" not in sweep.offered("hidden", base, small) and "64-64" in sweep.offered("hidden", base, small)
    axis, (error,) = sweep.read("num_words", ["100", "2000"], base, small)
    assert axis.values == (100, 500) and "at most 500 here" in str(error)


def test_typed_values_are_taken_apart_and_find_their_place():
    assert sweep.placed("l2", ["0", "0.001", "0.01", "0.003"]) == ["0", "0.001", "0.003", "0.01"]
    assert sweep.placed("l2", ["0", "0.1, 0.2;0.3"]) == ["0", "0.1", "0.2", "0.3"]
    assert sweep.placed("l2", ["0.01", "0.001", "0"]) == ["0.01", "0.001", "0"], "who wants it downwards gets it so"
    assert sweep.placed("optimizer", ["sgd", "adam"]) == ["sgd", "adam"]
    assert sweep.placed("nothing", ["0, 1", "2"]) == ["0", "1", "2"], "the setting may be gone before its values"
    assert sweep.placed("dropout", ["0", "0.5", "much"]) == ["0", "0.5", "much"]


# -- its text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "l2:0,0.0001,0.001;dropout:0,0.25,0.5", "hidden:4-4,512-512", "train_samples:50,all;seed:0,7",
    "optimizer:sgd,adamw;activation:relu,gelu", "learning_rate:1e-06,10;batch_size:8,8192", "dropout:0.5,0",
    "num_words:10,10000;label_noise:0,0.5", "l1:1e-06,1"])
def test_a_text_comes_back_as_it_was(text: str):
    grid, errors = sweep.parse(text, REVIEWS, HERE)
    assert errors == [] and grid.text == text


@pytest.mark.parametrize(("text", "left", "words"), [
    ("l2:0,5", "l2:0,1", ("grid: l2", "from 1e-06 to 1", "'5'", "0, 1 is used")),
    ("l2:0,much;dropout:0,0.5", "l2:0;dropout:0,0.5", ("grid: l2", "'much'", "0 is used")),
    ("dropout:x,y", None, ("grid: dropout", "from 0 to 0.9", "'x, y'", "left out")),
    ("units:4;l2:0,1", "l2:0,1", ("grid:", "different axes out of hidden, l1, l2", "'units'", "left out")),
    ("l2:0;l2:1", "l2:0", ("grid:", "different axes", "'l2'")),
    ("l2:0,1;dropout:0;seed:1", "l2:0,1;dropout:0", ("grid:", "one or two", "'seed'")),
    ("l2", None, ("grid: l2", "from 1e-06 to 1", "''")),
    ("dataset:imdb,digits", None, ("grid:", "'dataset'")),
    (" ; ;", None, ("grid:", "l2:0,0.001;dropout:0,0.5")),
    ("train_samples:100,99999999", "train_samples:100,all", ("grid: train_samples", "'99999999'")),
])
def test_what_is_unsound_in_a_text_is_named_and_the_rest_kept(text: str, left: str | None, words: tuple):
    grid, errors = sweep.parse(text, REVIEWS, HERE)
    assert (grid and grid.text) == left
    assert len(errors) == 1 and all(word in sweep.explain(errors[0]) for word in words), sweep.explain(errors[0])


def test_words_are_no_axis_for_pictures():
    grid, errors = sweep.parse("num_words:100,1000;l2:0,0.1", DIGITS, HERE)
    assert grid.text == "l2:0,0.1" and "'num_words'" in str(errors[0])


def test_more_than_64_runs_are_cut_to_a_corner():
    numbers = ",".join(map(str, range(20)))
    grid, errors = sweep.parse(f"seed:{numbers};l2:0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9", REVIEWS, HERE)
    assert grid.runs <= 64 and grid.across.values == tuple(range(len(grid.across.values)))
    assert "at most 64 runs" in str(errors[0]) and "20 × 10 = 200 runs" in str(errors[0])
    assert f"= {grid.runs} runs is used" in sweep.explain(errors[0])
    assert sweep.parse("seed:" + ",".join(map(str, range(64))), REVIEWS, HERE)[0].runs == 64


@given(some.one_of(some.text(max_size=80), some.from_regex(r"(l2|seed|hidden|optimizer)?:?[0-9a-z,.;:\-]{0,60}"),
                   some.text(alphabet="l2:0,;-e1\x00", max_size=5_000)))
def test_no_text_raises_or_asks_for_too_much(text: str):
    for base in (REVIEWS, DIGITS):
        grid, errors = sweep.parse(text, base, HERE)
        assert len(errors) <= 4 and all(len(sweep.explain(error)) < 800 for error in errors)
        assert grid or errors
        if grid:
            assert grid.runs == len(grid.configs(base)) <= 64
            assert sweep.parse(grid.text, base, HERE) == (grid, [])


def test_of_an_endless_text_only_the_beginning_is_read():
    for text in ("seed:" + "9" * 1_000_000, "l2:" + "0," * 500_000, ";" * 1_000_000, "hidden:" + "9-" * 500_000):
        (grid, errors), (shorter, others) = (
            sweep.parse(part, REVIEWS, HERE) for part in (text, text[:sweep.MAX_TEXT]))
        assert grid == shorter and [str(error) for error in errors] == [str(error) for error in others]


# -- what is said -----------------------------------------------------------------------------------------------


def _done(best: float, gap: float = 0.1, epoch: int = 9) -> CellState:
    return CellState(DONE, 20, best, epoch, gap, 0.9)


STANDINGS = [_done(0.312), _done(0.285, epoch=7), _done(0.4), _done(0.3, gap=0.01), _done(0.31), _done(0.5)]


def test_the_sentence_names_the_best_run_and_the_base():
    assert sweep.sentence(GRID, 0, STANDINGS, "best", "en") == (
        "Best of 6: L2 strength 0.001 with dropout rate 0, validation cross-entropy 0.285 at epoch 7; the base "
        "settings reach 0.312.")
    assert sweep.sentence(GRID, None, STANDINGS, "best", "en").endswith("0.285 at epoch 7.")
    assert "built around" in sweep.sentence(GRID, 1, STANDINGS, "best", "en")
    assert sweep.sentence(GRID, 0, STANDINGS, "gap", "en") == (
        "Smallest gap of 6: L2 strength 0 with dropout rate 0.5, gap 0.010 at epoch 20, where the best validation "
        "cross-entropy was 0.300; the base settings have 0.100.")


def test_the_sentence_claims_no_best_before_all_are_done():
    assert sweep.sentence(GRID, 0, [CellState()] * 6, "best", "en") == ""
    moving = [*STANDINGS[:2], CellState(MOVING, 4, 0.1, 4, 0.0), CellState(WAITING), CellState(), STANDINGS[5]]
    words = sweep.sentence(GRID, 0, moving, "best", "en")
    assert words.startswith("3 of 6 runs are done; the best so far: L2 strength 0.001") and "0.285" in words
    ended = [*STANDINGS[:4], CellState("diverged", 2, 0.01, 1, 9.0), CellState("failed")]
    assert sweep.sentence(GRID, 0, ended, "best", "en").startswith(
        "4 of 6 runs are done, 1 diverged, 1 failed; the best so far: ")
    assert sweep.sentence(GRID, 0, [CellState(WAITING)] * 6, "best", "en") == "0 of 6 runs are done."


# -- the heat map -----------------------------------------------------------------------------------------------

MIXED = [_done(0.3), CellState(MOVING, 4, 0.5, 3, 0.2), CellState(WAITING), CellState(),
         CellState("diverged", 3, 0.2, 2), CellState("stopped", 5, 0.25, 5, 0.0)]


def test_a_cell_shows_a_number_only_when_it_is_done_or_marked_as_moving():
    rows = sweep_chart.frame(GRID, MIXED, 20, opened=1)
    assert rows["text"].tolist() == ["0.300", "0.500", "waiting", "", "diverged", "stopped"]
    assert rows["kind"].tolist() == ["done", "moving", "moving", "empty", "trouble", "halted"]
    assert rows["note"].tolist() == ["", "4 of 20", "", "", "3 of 20", "5 of 20"]
    assert rows["shade"].notna().tolist() == [True, True, False, False, False, False]
    assert rows["opened"].tolist() == [False, True, False, False, False, False]
    assert rows[["across", "down"]].to_numpy().tolist() == [
        ["0", "0"], ["0.001", "0"], ["0.01", "0"], ["0", "0.5"], ["0.001", "0.5"], ["0.01", "0.5"]]
    assert sweep_chart.frame(GRID, MIXED, 20, "gap")["text"].tolist()[:2] == ["0.100", "0.200"]


def test_one_run_far_off_does_not_take_the_whole_scale():
    rows = sweep_chart.frame(GRID, [*STANDINGS[:5], _done(2_000.0)], 20)
    assert rows["shade"].max() == 0.4 and rows["value"].max() == 2_000 and rows["text"].iloc[5] == "2e+03"
    assert sweep_chart.frame(GRID, STANDINGS, 20)["shade"].tolist() == [one.best for one in STANDINGS]


@pytest.mark.parametrize("measure", sweep.MEASURES)
@pytest.mark.parametrize("grid", [GRID, Grid(Axis("seed", tuple(range(64)))), Grid(Axis("hidden", ((512,) * 8,)))],
                         ids=["two", "long", "single"])
def test_the_chart_depends_on_nothing_that_a_run_changes(grid: Grid, measure: str):
    made = sweep_chart.spec(grid, measure)
    assert "data" not in made and "description" not in made and json.dumps(made) == json.dumps(
        sweep_chart.spec(Grid(grid.across, grid.down), measure))
    assert [param["name"] for param in made["params"]] == [sweep_chart.SELECTION]
    assert say(f"sweep.legend.{measure}", "en") in json.dumps(made)
    assert grid.across.title("en") in json.dumps(made)


@pytest.mark.parametrize("standings", [
    [CellState()] * 6, STANDINGS, MIXED, [_done(float("inf"))] * 6, [_done(1e-30)] * 6], ids=list("abcde"))
def test_the_chart_is_drawn_for_every_standing(standings: list[CellState]):
    convert = pytest.importorskip("vl_convert")
    rows = sweep_chart.frame(GRID, standings, 20)
    made = sweep_chart.spec(GRID) | {"data": {"values": json.loads(rows.to_json(orient="records"))}, "width": 400}
    drawn = convert.vegalite_to_svg(json.dumps(made))
    assert "L2 strength" in drawn and "Dropout rate" in drawn
    for text in rows["text"]:
        assert not text or text == "inf" or f">{text}<" in drawn
    assert "NaN" not in drawn


# -- the store, asked for many at once --------------------------------------------------------------------------


def _stored(folder: Path, epochs: int, runs: int = 64) -> tuple[RunStore, dict[str, RunConfig]]:
    store = RunStore(folder / "runs.sqlite3")
    configs = {one.run_id("x"): one for one in (REVIEWS.with_(seed=seed) for seed in range(runs))}
    row = {"loss": 0.512345678, "accuracy": 0.81234567, "train_accuracy": 0.9123456, "val_loss": 0.3123456789,
           "val_accuracy": 0.88, "penalty": 0.0123456, "seconds": 0.12345678}
    for run_id, config in configs.items():
        store.request(run_id, config, Demand(epochs), {})
        run = store.claim("owner")
        with store._write() as db:
            db.executemany("INSERT INTO epochs VALUES (?, ?, ?)", [
                (run_id, epoch, json.dumps(row | {"epoch": epoch, "train_crossentropy": 1 / epoch,
                                                  "val_crossentropy": 0.3 + config.seed}))
                for epoch in range(1, epochs + 1)])
        if config.seed % 2:
            store.end(run_id, run.attempt, FINISHED, score={"epoch": epochs, "test_accuracy": 0.9})
    return store, configs


def test_many_snapshots_tell_what_single_ones_tell(tmp_path: Path):
    store, configs = _stored(tmp_path, 3, runs=4)
    found = store.snapshots(configs | {"unknown": REVIEWS}, {})
    assert found.keys() == configs.keys()
    for run_id, (run, epochs, scores) in found.items():
        single, rows, told = store.snapshot(run_id)
        assert run == single and list(scores) == list(told)
        assert epochs == [{name: row[name] for name in BRIEF} for row in rows]
    first = next(iter(configs))
    later = store.snapshots(configs, {first: 2})
    assert [row["epoch"] for row in later[first][1]] == [3]


# -- the page ---------------------------------------------------------------------------------------------------

TEXT = "l2:0,0.01;dropout:0,0.5"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Page]:
    with pytest.MonkeyPatch.context() as patch:
        made = _Page(tmp_path_factory.mktemp("page"), patch)
        yield made
        made.close()


def _open(page: _Page, text: str = TEXT, base: RunConfig = DIGITS, epochs: int = 2):
    return page.open(query(base, Demand(epochs)) | {"grid": text})


def _heatmap(at) -> pd.DataFrame:
    return _rows(at.get("vega_lite_chart")[2])


def test_it_is_folded_until_it_is_asked_for(page: _Page):
    at = sound(page.open_run(DIGITS, Demand(2)))
    assert len(at.get("vega_lite_chart")) == 2 and "grid" not in at.session_state["address"]
    assert not any("run" in label for label in _labels(at))


def test_an_address_opens_the_grid_and_keeps_it(page: _Page):
    at = sound(_open(page))
    assert at.session_state["address"] == query(DIGITS, Demand(2)) | {"grid": TEXT} == dict(at.query_params)
    assert not at.warning and "Train 4 runs" in _labels(at)
    assert _heatmap(at)["kind"].tolist() == ["empty"] * 4
    again = sound(page.open(dict(at.query_params)))
    assert (again.session_state["across"], again.session_state["across_values"]) == ("l2", ["0", "0.01"])
    assert (again.session_state["down"], again.session_state["down_values"]) == ("dropout", ["0", "0.5"])


@pytest.mark.parametrize(("text", "words"), [
    ("<script>alert(1)</script>:1", "<script>alert(1)</script>"), ("l2:" + "9" * 300, "grid: l2"),
    ("seed:" + ",".join(map(str, range(40))) + ";l2:0,0.1,1", "at most 64 runs"),
    ("num_words:100,200", "num_words"), ("\x00;:,", "grid"), ("dropout:[x](https://example.org)", "example.org"),
])
def test_a_hostile_grid_is_named_and_costs_nothing(page: _Page, text: str, words: str):
    at = sound(_open(page, text))
    assert any(words in _plain(warning.value) for warning in at.warning), _texts(at)
    assert all(len(warning.value) < 1_500 for warning in at.warning)
    assert page.engine.store.counts().get("queued", 0) == 0


def test_the_number_of_runs_follows_the_controls(page: _Page):
    at = _open(page)
    _move(at, "down", sweep.NOTHING)
    assert "Train 2 runs" in _labels(sound(at)) and at.session_state["address"]["grid"] == "l2:0,0.01"
    at.multiselect(key="across_values").set_value(["0", "0.001", "0.01"])
    sound(at.run())
    assert "Train 3 runs" in _labels(at)
    _move(at, "down", "activation")
    assert "Train 12 runs" in _labels(sound(at))
    assert at.session_state["address"]["grid"] == "l2:0,0.001,0.01;activation:relu,tanh,sigmoid,gelu"
    at.multiselect(key="across_values").set_value([])
    sound(at.run())
    assert not any("run" in label for label in _labels(at))
    assert any("at least one value" in info.value for info in at.info)


def test_more_than_64_runs_are_refused_before_they_are_asked_for(page: _Page):
    at = _open(page, "seed:0,1,2,3,4,5,6,7;l2:0,0.1,0.2,0.3,0.4,0.5,0.6,0.7")
    assert "Train 64 runs" in _labels(sound(at))
    at.multiselect(key="across_values").set_value([str(seed) for seed in range(9)])
    sound(at.run())
    assert any("72 runs" in warning.value and "at most 64" in warning.value for warning in at.warning)
    assert not any("72 run" in label for label in _labels(at)) and "grid" not in at.session_state["address"]


@pytest.mark.parametrize("field", sweep.USUAL)
def test_every_axis_can_be_chosen(page: _Page, field: str):
    base = RunConfig(dataset="reviews", num_words=100, train_samples=500)
    at = _open(page, "weight:1", base)  # folded
    at.session_state["sweep"] = True
    at.run()
    _move(at, "down", sweep.NOTHING)
    if field != "l2":
        _move(at, "across", field)
    sound(at)
    values = sweep.opening(field, base, page.engine.settings)
    assert at.session_state["address"]["grid"] == f"{field}:{','.join(values)}"
    assert _heatmap(at)["across"].tolist() == [
        labels.label(field, KINDS[field].check(field, text), "en") for text in values]
    assert f"Train {len(values)} runs" in _labels(at)


def test_other_data_take_an_axis_along_only_where_they_have_it(page: _Page):
    base = RunConfig(dataset="reviews", num_words=100, hidden=(4,))
    at = _open(page, "num_words:50,100;l2:0,0.1", base)
    _move(at, "dataset", "digits")
    sound(at)
    assert "num_words" not in at.session_state["address"]["grid"] and "l2:0,0.1" in at.session_state["address"]["grid"]


def test_a_typed_value_that_is_none_is_said_and_left_out(page: _Page):
    at = _open(page)
    at.multiselect(key="across_values").set_value(["0", "0.01", "**lots**"])
    sound(at.run())
    assert any("grid: l2" in _plain(one.value) and "'**lots**'" in _plain(one.value) for one in at.warning)
    assert "Train 4 runs" in _labels(at) and at.session_state["address"]["grid"] == TEXT


def test_all_are_asked_for_at_once_and_the_numbers_are_the_stores(page: _Page):
    at = _open(page)
    at.button(key="sweep_train").click()
    sound(at.run())
    assert "Stop all" in _labels(at)
    page.wait(at, "All 4 trained")
    assert at.button(key="sweep_train").disabled
    configs = sweep.parse(TEXT, DIGITS, page.engine.settings)[0].configs(DIGITS)
    curves = [page.engine.store.epochs(page.engine.run_id(config)) for config in configs]
    best = [min(row["val_crossentropy"] for row in curve) for curve in curves]
    rows = _heatmap(at)
    assert rows["value"].tolist() == best and rows["kind"].tolist() == ["done"] * 4
    assert rows["text"].tolist() == [f"{value:.3f}" for value in best]
    assert rows["opened"].tolist() == [True, False, False, False]
    words = next(part.value for part in at.markdown if part.value.startswith("Best of 4: "))
    assert f"validation cross-entropy {min(best):.3f} at epoch " in words
    assert best.index(min(best)) == 0 or f"the base settings reach {best[0]:.3f}." in words

    at.segmented_control(key="measure").set_value("gap")
    sound(at.run())
    gaps = [curve[-1]["val_crossentropy"] - curve[-1]["train_crossentropy"] for curve in curves]
    assert _heatmap(at)["value"].tolist() == gaps
    assert any(part.value.startswith("Smallest gap of 4: ") for part in at.markdown)

    # More epochs are more to do; fewer are known already.
    _move(at, "epochs", 3)
    assert "Train 4 runs" in _labels(sound(at))
    assert _heatmap(at)["note"].tolist() == ["2 of 3"] * 4 and _heatmap(at)["value"].isna().all()
    _move(at, "epochs", 1)
    assert "All 4 trained" in _labels(sound(at))
    assert _heatmap(at)["best"].tolist() == [curve[0]["val_crossentropy"] for curve in curves]


def test_the_chart_stays_the_same_one_while_it_fills(page: _Page):
    at = _open(page, "l2:0,0.02;dropout:0.1", epochs=3)
    seen = set()
    at.button(key="sweep_train").click()
    at.run()
    deadline = time.monotonic() + 150
    while "All 2 trained" not in _labels(at):
        assert time.monotonic() < deadline
        chart = at.get("vega_lite_chart")[2].proto
        seen.add((chart.id, chart.spec, chart.alt))
        time.sleep(0.1)
        sound(at.run())
    chart = at.get("vega_lite_chart")[2].proto
    assert seen == {(chart.id, chart.spec, chart.alt)}


def test_all_are_stopped_and_the_rest_can_be_trained_later(page: _Page):
    base = DIGITS.with_(batch_size=8)
    at = _open(page, "l2:0,0.03;seed:50,51", base, epochs=500)
    at.button(key="sweep_train").click()
    sound(at.run())
    at.button(key="sweep_stop").click()
    page.wait(at.run(), "Train 4 runs")
    assert set(_heatmap(at)["state"]) == {"stopped"} and _heatmap(at)["value"].isna().all()
    assert page.engine.store.counts().get("queued", 0) == page.engine.store.counts().get("running", 0) == 0


def test_a_full_queue_is_said_once(page: _Page, monkeypatch: pytest.MonkeyPatch):
    at = _open(page, "l2:0,0.04;dropout:0.2,0.3")
    monkeypatch.setattr(page.engine, "settings", replace(page.engine.settings, max_queue=3))
    at.button(key="sweep_train").click()
    at.run()
    monkeypatch.undo()
    assert not at.exception and len(at.error) == 1
    assert "None of the runs" in at.error[0].value and "may wait here" in _plain(at.error[0].value)
    assert "Train 4 runs" in _labels(sound(at.run()))


def test_what_went_wrong_stands_on_the_cell_and_below(page: _Page):
    grid, _ = sweep.parse("l2:0.05,0.06,0.07", DIGITS, page.engine.settings)
    store, ids = page.engine.store, [page.engine.run_id(config) for config in grid.configs(DIGITS)]
    for run_id, config in zip(ids, grid.configs(DIGITS), strict=True):
        store.request(run_id, config, Demand(2), {})
        store.ask_to_stop(run_id)
    with store._write() as db:
        for run_id, status in zip(ids, (FAILED, DIVERGED, FAILED), strict=True):
            db.execute("UPDATE runs SET status = ?, message = ? WHERE run_id = ?",
                       (status, "The device ran out of <b>memory</b>.", run_id))
    at = sound(_open(page, grid.text))
    assert _heatmap(at)["text"].tolist() == ["failed", "diverged", "failed"]
    assert [text for text in map(_plain, _texts(at)) if "<b>memory</b>" in text] == [
        "The device ran out of <b>memory</b>."]
    assert any(re.match("0 of 3 runs are done, 2 failed, 1 diverged", text) for text in _texts(at))
    assert "Train 2 runs" in " ".join(_labels(at)).replace("the other ", "")
