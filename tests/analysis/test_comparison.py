"""The comparison: in the address, in names and words, over seeds, and as a chart."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from explorer.analysis import comparison, history, run_diff
from explorer.analysis.comparison import ComparedRun, Result
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.i18n import LANGUAGES, say
from explorer.lessons.presets import LESSONS
from explorer.ui.charts import comparison as comparison_chart
from explorer.ui.charts import theme

FREE = Settings(home=None)
PLAIN, L2 = RunConfig(dataset="imdb"), RunConfig(dataset="imdb", l2=0.001)
SHORT = Demand(5)


def entries(*configs: RunConfig, demand: Demand = SHORT) -> list[ComparedRun]:
    found: list[ComparedRun] = []
    for config in configs:
        found = comparison.with_run(found, config, demand)
    return found


def curve(val: list[float], train: list[float] | None = None, accuracy: float = 0.8) -> pd.DataFrame:
    train = train or [0.1] * len(val)
    return history.table({"epoch": n + 1, "train_crossentropy": t, "val_crossentropy": v, "train_accuracy": accuracy,
                          "val_accuracy": accuracy, "penalty": 0.5, "weights": 9.0, "zeros": 0.25, "seconds": 0.25}
                         for n, (t, v) in enumerate(zip(train, val, strict=True)))


# -- in the address ------------------------------------------------------------------------------------------


def test_a_comparison_comes_back_from_its_address_as_it_was():
    there = comparison.toggled(entries(PLAIN, L2, RunConfig(dataset="mnist", validation="test", hidden=(8, 4, 2))), 1)
    back, unsound = comparison.read(comparison.text(there), FREE)
    assert back == there
    assert not unsound


def test_each_run_of_an_address_is_compared_once_and_no_more_than_there_are_colors():
    text = ";".join(f"dataset:digits,seed:{n}" for n in (0, 0, *range(20)))
    back, unsound = comparison.read(text, FREE)
    assert [entry.config.seed for entry in back] == list(range(comparison.MAX_RUNS))
    assert len({entry.color for entry in back}) == comparison.MAX_RUNS
    assert "at most 8 runs" in unsound[0] and "20" in unsound[0]


def test_what_is_not_sound_in_an_address_is_named_and_replaced():
    back, unsound = comparison.read("dataset:digits,dropout:7;../../etc/passwd;", FREE)
    assert [entry.config.dropout for entry in back] == [0.9]
    assert "dropout" in unsound[0] and "'7'" in unsound[0] and "0.9" in unsound[0]
    assert "compare" in unsound[1] and "left out" in unsound[1]


def test_an_address_cannot_ask_for_more_than_the_installation_allows():
    tight = Settings(home=None, max_parameters=1_000, max_epochs=7)
    back, unsound = comparison.read("dataset:digits,hidden:4096-4096,epochs:90000", tight)
    assert back[0].config.parameters <= 1_000 and back[0].demand.epochs == 7
    assert len(unsound) == 2


@pytest.mark.parametrize("seed", range(20))
def test_no_address_raises(seed):
    chance = np.random.default_rng(seed)
    alphabet = list("-:;,.=0123456789e") + ["dataset", "digits", "hidden", "l2", "seed", "test", "é", "\0", "<b>", "%"]
    for _ in range(100):
        text = "".join(chance.choice(alphabet, size=chance.integers(0, 80)))
        back, _ = comparison.read(text, FREE)
        assert len(back) <= comparison.MAX_RUNS
        assert comparison.read(comparison.text(back), FREE) == (back, [])


# -- changing it ---------------------------------------------------------------------------------------------


def test_a_run_keeps_its_color_while_others_come_go_and_move():
    there = entries(PLAIN, L2, PLAIN.with_(seed=1))
    color = there[2].color
    there = comparison.moved_up(comparison.without(there, 0), 1)
    assert [entry.config for entry in there] == [PLAIN.with_(seed=1), L2]
    assert there[0].color == color
    there = comparison.with_run(there, PLAIN, SHORT)
    assert len({entry.color for entry in there}) == 3 and there[0].color == color


def test_moving_the_first_run_up_takes_it_to_the_end():
    assert [entry.config for entry in comparison.moved_up(entries(PLAIN, L2), 0)] == [L2, PLAIN]


def test_a_run_that_is_compared_already_is_only_wanted_for_longer():
    there = comparison.with_run(entries(PLAIN, L2), PLAIN, Demand(9, device="cpu"))
    assert [(entry.config, entry.demand) for entry in there] == [(PLAIN, Demand(9)), (L2, SHORT)]


def test_a_full_comparison_says_so():
    full = entries(*(PLAIN.with_(seed=n) for n in range(comparison.MAX_RUNS)))
    with pytest.raises(ValueError, match="holds 8 runs.*remove one"):
        comparison.with_run(full, L2, SHORT)


# -- in words ------------------------------------------------------------------------------------------------


def test_runs_are_named_by_what_differs():
    assert comparison.names(entries(PLAIN, L2), "en") == ["16-16", "16-16 · L2 0.001"]
    assert comparison.names(entries(L2, L2.with_(hidden=(4, 4))), "en") == ["16-16", "4-4"]
    assert comparison.names(entries(PLAIN, PLAIN.with_(seed=3)), "en") == ["16-16 · seed 0", "16-16 · seed 3"]


def test_l2_in_one_and_decay_in_the_other_are_one_thing_done_in_two_ways():
    for pair in (LESSONS["same-penalty"][number].entries() for number in (0, 1)):
        assert {"l2", "weight_decay"} <= set(run_diff.differing(pair[0].config, pair[1].config))
        assert run_diff.warning(*pair, "en") == run_diff.warning(*pair, "ko") == ""
    plain = PLAIN.with_(optimizer="sgd")
    assert run_diff.warning(*entries(plain, plain.with_(l2=0.001, weight_decay=0.01)), "en"), "neither, both: two"
    both = plain.with_(l2=0.001, weight_decay=0.01)
    assert run_diff.warning(*entries(both, both.with_(l2=0.01, weight_decay=0.001)), "en"), "both, both: two"
    adam = PLAIN.with_(optimizer="adam", l2=0.001)
    assert run_diff.warning(*entries(adam, PLAIN.with_(optimizer="adamw")), "en") == "", "at its default decay, too"


def test_one_run_alone_is_not_called_by_less_than_it_is():
    assert comparison.names(entries(L2.with_(dropout=0.5)), "en") == ["16-16 · L2 0.001 · dropout 0.5"]


def test_many_equal_layers_are_counted():
    deep = [PLAIN.with_(hidden=hidden) for hidden in ((100,) * 6, (100,) * 3, (100, 100, 100, 50))]
    assert comparison.names(entries(*deep), "en") == ["100 × 6", "100-100-100", "100-100-100-50"]


def test_no_two_runs_have_the_same_name():
    one = RunConfig(dataset="imdb", l2=0.01)
    configs = [one, *(one.with_(**change) for change in (
        {"seed": 1}, {"dropout": 0.5}, {"optimizer": "sgd"}, {"validation": "test"}, {"num_words": 500},
        {"regularize_output": True}, {"batch_norm": True}))]
    assert len(set(comparison.names(entries(*configs), "en"))) == len(configs)


def test_what_only_follows_from_another_setting_is_not_counted_as_a_difference():
    sgd = PLAIN.with_(optimizer="sgd")
    assert PLAIN.learning_rate != sgd.learning_rate
    assert run_diff.differing(PLAIN, sgd) == ["optimizer"]
    assert not run_diff.warning(*entries(PLAIN, sgd), "en")
    assert run_diff.differing(PLAIN, PLAIN.with_(optimizer="sgd", learning_rate=0.5)) == [
        "optimizer", "learning_rate"]
    assert run_diff.differing(PLAIN, RunConfig(dataset="digits")) == ["dataset"]
    assert run_diff.differing(PLAIN, L2.with_(regularize_output=True)) == ["l2"]


def test_the_sentence_on_the_settings_has_their_values_and_the_warning_counts_them():
    titles = comparison.names(entries(PLAIN, L2), "en")
    words = run_diff.settings_sentence(*entries(PLAIN, L2), titles, "en")
    assert words == "16-16 and 16-16 · L2 0.001 differ in L2 strength 0 against 0.001."
    assert not run_diff.warning(*entries(PLAIN, L2), "en")
    both = L2.with_(dropout=0.5)
    assert run_diff.warning(*entries(PLAIN, both), "en").startswith(
        "Two things differ between these two (L2 strength and dropout")
    assert "the test set" in run_diff.settings_sentence(
        *entries(PLAIN, PLAIN.with_(validation="test")), "ab", "en")


def test_the_sentence_on_the_results_says_which_way_they_went():
    one = comparison.result(curve([0.5, 0.3, 0.4, 0.6]))
    other = comparison.result(curve([0.5, 0.4, 0.35, 0.36]))
    words = run_diff.results_sentence(one, other, ("A", "B"), "en")
    assert "B reaches a higher best validation cross-entropy, 0.350 against 0.300" in words
    assert "at epoch 3 instead of 2" in words
    assert "the gap at the end is narrower, 0.260 against 0.500" in words
    back = run_diff.results_sentence(other, one, ("B", "A"), "en")
    assert "A reaches a lower best" in back and "wider" in back
    same = run_diff.results_sentence(one, one, ("A", "B"), "en")
    assert "Both reach" in same and "higher" not in same and "lower" not in same


def test_runs_that_are_shown_to_different_epochs_say_so():
    one, other = comparison.result(curve([0.5, 0.3])), comparison.result(curve([0.5, 0.3, 0.2]))
    assert "different epochs, 3 and 2" in run_diff.results_sentence(one, other, ("A", "B"), "en")


def test_a_result_is_read_from_the_history():
    found = comparison.result(curve([0.5, 0.25, 0.75]), {"test_accuracy": 0.7}, "CPU")
    assert found == Result(3, 2, 0.25, 0.8, pytest.approx(0.15), pytest.approx(0.65), 0.75, 0.8, 0.8, 0.7, 0.75, "CPU",
                           9.0, 0.25)
    assert comparison.result(curve([])) is None
    assert comparison.result(curve([float("nan")])) is None


# -- over several seeds --------------------------------------------------------------------------------------


def test_a_run_over_seeds_is_itself_and_those_that_follow():
    assert [config.seed for config in ComparedRun(PLAIN.with_(seed=7), SHORT).configs(3)] == [7, 8, 9]
    last = PLAIN.with_(seed=2**31 - 1)
    assert [config.seed for config in ComparedRun(last, SHORT).configs(2)] == [2**31 - 1, 0]


def test_mean_and_range_cover_the_epochs_that_all_seeds_have():
    found = comparison.over_seeds([curve([0.5, 0.3, 0.2]), curve([0.7, 0.1])], ["val_crossentropy"])
    assert found["epoch"].tolist() == [1, 2]
    assert found["val_crossentropy"].tolist() == pytest.approx([0.6, 0.2])
    assert found["val_crossentropy_low"].tolist() == [0.5, 0.1]
    assert found["val_crossentropy_high"].tolist() == [0.7, 0.3]


def test_a_difference_is_real_only_beyond_the_spread_of_the_seeds():
    assert comparison.is_real([0.30, 0.31, 0.32], [0.40, 0.41, 0.42])[2]
    assert not comparison.is_real([0.30, 0.31, 0.45], [0.40, 0.41, 0.42])[2]
    assert "likely real" in run_diff.seeds_sentence([0.30, 0.31], [0.40, 0.41], ("A", "B"), "en")
    luck = run_diff.seeds_sentence([0.30, 0.40], [0.31, 0.42], ("A", "B"), "en")
    assert "may be luck" in luck and "0.350" in luck and "0.365" in luck and "0.110" in luck
    assert run_diff.seeds_sentence([0.3], [0.4], ("A", "B"), "en") == ""


@pytest.mark.parametrize(("seeds", "share"), [(3, 0.05), (5, 0.0023)])
def test_chance_alone_seldom_passes_for_a_difference(seeds, share):
    chance = np.random.default_rng(0)
    found = np.mean([comparison.is_real(*chance.normal(size=(2, seeds)).tolist())[2] for _ in range(20_000)])
    assert found == pytest.approx(share, rel=0.4)


def _false_alarms(seeds: int, runs: int, times: float) -> float:
    """How often chance alone sets any two of some runs apart by so many of their spreads, simulated."""
    made = np.random.default_rng(seeds * 10 + runs).normal(size=(20_000, runs, seeds))
    means, spreads = made.mean(2), np.ptp(made, axis=2)
    found = np.zeros(len(made), bool)
    for one, other in itertools.combinations(range(runs), 2):
        found |= abs(means[:, one] - means[:, other]) > times * np.maximum(spreads[:, one], spreads[:, other])
    return found.mean()


@pytest.mark.parametrize("runs", range(2, comparison.MAX_RUNS + 1))
@pytest.mark.parametrize("seeds", [2, 3, 4, 5])
def test_among_many_runs_and_with_few_seeds_chance_passes_no_more_often_and_no_more_is_asked_than_that(seeds, runs):
    times = comparison.spreads_needed(seeds, runs)
    assert _false_alarms(seeds, runs, times) <= comparison.FALSE_ALARMS + 0.005
    assert times == 1 or _false_alarms(seeds, runs, 0.9 * times) > comparison.FALSE_ALARMS


def test_the_same_difference_is_worth_less_among_many_runs_and_the_sentence_says_so():
    one, other = [0.30, 0.31, 0.32], [0.33, 0.34, 0.35]
    assert comparison.is_real(one, other)[2] and not comparison.is_real(one, other, runs=6)[2]
    said = run_diff.seeds_sentence(one, other, ("A", "B"), "en", runs=6)
    assert "not larger than 2.2 times the seeds' spread of 0.020" in said and "Among 6 runs" in said
    assert "5 of 100" in said and "probably" not in said


# -- the chart -----------------------------------------------------------------------------------------------


def test_the_chart_has_a_column_for_each_line_and_a_field_for_each_column():
    histories = [comparison_chart.with_gap(curve(values)) for values in ([0.5, 0.3, 0.4], [0.6, 0.2])]
    table = comparison_chart.frame(histories, "crossentropy")
    assert table.columns.tolist() == ["epoch", "t0", "v0", "t1", "v1"]
    assert table["v0"].tolist() == [0.5, 0.3, 0.4]
    assert table["v1"].tolist()[:2] == [0.6, 0.2] and np.isnan(table["v1"].iloc[2])
    lines = [comparison_chart.Line("16-16", 0), comparison_chart.Line("16-16 · L2 0.001", 3)]
    text = json.dumps(comparison_chart.spec(comparison_chart.chart(lines, "crossentropy", 3)))
    assert all(f'"{name}"' in text for name in ("t0", "v0", "t1", "v1"))
    colors = comparison_chart.COLORS
    assert colors[0] in text and colors[3] in text and colors[1] not in text


def test_bands_are_columns_of_their_own():
    both = comparison.over_seeds([curve([0.5, 0.3]), curve([0.7, 0.1])], ["penalty"])
    assert comparison_chart.frame([both], "penalty").columns.tolist() == ["epoch", "v0", "vlow0", "vhigh0"]
    drawn = comparison_chart.spec(comparison_chart.chart([comparison_chart.Line("a", 0)], "penalty", 2, bands=True))
    assert "area" in {layer["mark"]["type"] for layer in drawn["layer"]}
    plain = comparison_chart.spec(comparison_chart.chart([comparison_chart.Line("a", 0)], "penalty", 2))
    assert "area" not in {layer["mark"]["type"] for layer in plain["layer"]}


def test_smoothing_is_a_centered_mean_and_off_by_default():
    shown = curve([0.0, 3.0, 6.0, 3.0])
    assert comparison_chart.frame([shown], "crossentropy")["v0"].tolist() == [0.0, 3.0, 6.0, 3.0]
    assert comparison_chart.frame([shown], "crossentropy", 3)["v0"].tolist() == [1.5, 3.0, 4.0, 4.5]


@pytest.mark.parametrize("measure", comparison_chart.MEASURES)
def test_logarithmic_axes_are_where_they_make_sense(measure):
    drawn = comparison_chart.spec(comparison_chart.chart(
        [comparison_chart.Line("a", 0)], measure, 20, log_x=True, log_y=True))
    assert drawn["encoding"]["x"]["scale"]["type"] == "log"
    y = drawn["layer"][0]["encoding"]["y"]["scale"]
    assert y.get("type", "linear") == ("linear" if measure in comparison_chart.SHARES else "log")


# -- published curves, one side, fit again --------------------------------------------------------------------


def test_published_lines_are_columns_of_their_own_and_never_smoothed():
    printed = curve([0.4, 0.3, 0.5])
    table = comparison_chart.frame([curve([0.5, 0.2])], "crossentropy", 3, [printed])
    assert table.columns.tolist() == ["epoch", "t0", "v0", "pt0", "pv0"]
    assert table["pv0"].tolist() == [0.4, 0.3, 0.5]
    assert comparison_chart.frame([curve([0.5])], "penalty", 1, [printed]).columns.tolist() == ["epoch", "v0"]


def test_published_lines_are_thin_gray_and_named():
    drawn = json.dumps(comparison_chart.spec(comparison_chart.chart(
        [comparison_chart.Line("a", 0)], "crossentropy", 3, published=["a book"])))
    assert comparison_chart.PUBLISHED_COLOR in drawn and '"a book"' in drawn
    many = [f"book {n}" for n in range(comparison_chart.MAX_NAMED + 1)]
    drawn = comparison_chart.spec(comparison_chart.chart(
        [comparison_chart.Line("a", 0)], "crossentropy", 3, published=many))
    assert not [layer for layer in drawn["layer"] if layer["mark"]["type"] == "text"]
    assert "book 2" in json.dumps(drawn)  # told when an epoch is pointed at


@pytest.mark.parametrize(("sides", "kept"), [("both", ["t0", "v0"]), ("training", ["t0"]), ("validation", ["v0"])])
def test_one_side_alone_can_be_drawn(sides, kept):
    assert comparison_chart.frame([curve([0.5, 0.2])], "crossentropy", 1, (),
                                  sides).columns.tolist() == ["epoch", *kept]
    text = json.dumps(comparison_chart.spec(comparison_chart.chart(
        [comparison_chart.Line("a", 0)], "crossentropy", 3, sides=sides)))
    assert {name for name in ("t0", "v0") if f'"{name}"' in text} == set(kept)


def frames(*curves: list[float]) -> list[pd.DataFrame]:
    return [comparison_chart.frame([curve(values)], "crossentropy") for values in curves]


def scale_of(span: tuple[float, float], log_y: bool = False) -> dict:
    drawn = comparison_chart.spec(comparison_chart.chart(
        [comparison_chart.Line("a", 0)], "crossentropy", 3, log_y=log_y, span=span))
    scales = [layer["encoding"]["y"]["scale"] for layer in drawn["layer"] if "y" in layer["encoding"]]
    assert all(scale == scales[0] for scale in scales)
    return scales[0]


@pytest.mark.parametrize(("curves", "top"), [
    (([0.5, 0.3], [0.9, 1.0]), 1), (([0.5, 0.3], [2.3, 1.7]), 5), (([1.7, 1.1], [0.9]), 2), (([175.6, 30.0],), 200),
    (([],), 1), (([float("nan"), 0.2],), 1)])
@pytest.mark.parametrize("log_y", [False, True])
def test_nothing_in_a_panel_is_drawn_at_a_value_that_it_does_not_have(curves, top, log_y):
    made = frames(*curves)
    low, high = comparison_chart.span_of(made, log_y)
    values = pd.concat(made).drop(columns="epoch").stack().dropna()
    assert high == top and low <= values.min() if len(values) else high == top
    scale = scale_of((low, high), log_y)
    assert scale["domain"] == [low, high] and not scale.get("clamp")
    assert scale["type"] == ("log" if log_y else "linear") and (low == 0 or log_y)


def test_panels_of_nothing_but_zeros_have_an_axis():
    assert comparison_chart.span_of(frames([0.0, 0.0])) == (0.0, 1.0)


@pytest.mark.parametrize("log_y", [False, True])
def test_no_chart_of_the_comparison_clamps_or_clips(log_y):
    drawn = json.dumps(comparison_chart.spec(comparison_chart.chart(
        [comparison_chart.Line("a", 0)], "crossentropy", 3, log_y=log_y, bands=True, published=["a book"],
        span=(0.1, 5))))
    assert "clamp" not in drawn and "clip" not in drawn


def test_what_a_logarithmic_axis_has_no_place_for_is_counted():
    [made] = frames([0.5, 0.0, -0.1])
    assert comparison_chart.without_place(made[["epoch", "v0"]]) == 2
    assert comparison_chart.without_place(frames([0.5, float("nan")])[0]) == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_columns_of_a_comparison_bear_the_names_of_its_runs(language):
    lines = [comparison_chart.Line('16-16 · L2 0.001', 0), comparison_chart.Line('a[0]."b"', 1),
             comparison_chart.Line('a[0]."b"', 2)]
    both = comparison.over_seeds([curve([0.5, 0.3]), curve([0.7, 0.1])], comparison_chart.columns("crossentropy"))
    made = comparison_chart.frame([both] * 3, "crossentropy", 1, [curve([0.4, 0.3])])
    titles = comparison_chart.titles(made, lines, "crossentropy", language, ["a book"])
    assert set(titles) == set(made) and len(set(titles.values())) == len(titles)
    training, validation = say("metric.training", language), say("metric.validation", language)
    assert titles["t0"] == f"16-16 · L2 0.001 · {training}" and titles["pv0"] == f"a book · {validation}"
    assert titles["vlow0"] == f"16-16 · L2 0.001 · {validation} · {say('data.lowest', language)}"
    assert titles["v2"] == f"{titles['v1']} (2)"
    spec = theme.titled(comparison_chart.spec(comparison_chart.chart(
        lines, "crossentropy", 2, bands=True, published=["a book"])), titles)
    shown = theme.with_titles(made, titles)
    assert list(shown) == list(titles.values())
    assert {step["as"]: json.loads(step["calculate"][len("datum["):-1]) for step in spec["transform"]} == titles


def test_a_second_fit_is_the_rest_of_a_longer_run_counted_from_1():
    entry = ComparedRun(PLAIN, Demand(2), again=3)
    assert entry.asked.epochs == 5
    shown = entry.shown(curve([0.5, 0.4, 0.3, 0.2, 0.1]))
    assert shown["epoch"].tolist() == [1, 2] and shown["val_crossentropy"].tolist() == [0.2, 0.1]
    assert entry.shown(curve([0.5, 0.4])).empty
    back, unsound = comparison.read(comparison.text([ComparedRun(PLAIN, Demand(2)), entry]), FREE)
    assert not unsound and [one.again for one in back] == [0, 3] and back[1].demand == Demand(2)
    names = comparison.names(back, "en")
    assert names == ["16-16", "16-16 · fit again"]
    assert "trained before" in run_diff.settings_sentence(*back, names, "en")


def test_what_was_trained_before_counts_among_the_epochs_that_are_allowed():
    back, _ = comparison.read("dataset:digits,epochs:400,again:400", Settings(home=None, max_epochs=500))
    assert back[0].asked.epochs == 500 and back[0].demand.epochs == 400
    back, unsound = comparison.read("dataset:digits,again:x", FREE)
    assert back[0].again == 0 and "again" in unsound[0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_exists_in_every_language_with_the_same_numbers(language):
    one, other = comparison.result(curve([0.5, 0.3, 0.4, 0.6])), comparison.result(curve([0.5, 0.4, 0.35]))
    words = run_diff.results_sentence(one, other, ("A", "B"), language)
    assert all(number in words for number in ("0.350", "0.300", "0.500", "0.250", "3", "2"))
    settings = run_diff.settings_sentence(*entries(PLAIN, L2), ("A", "B"), language)
    assert "0.001" in settings and "L2" in settings
    assert run_diff.warning(*entries(PLAIN, L2.with_(dropout=0.5)), language)
    assert "0.350" in run_diff.seeds_sentence([0.30, 0.40], [0.31, 0.42], ("A", "B"), language)
