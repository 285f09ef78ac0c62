"""Lessons: every source's experiments with its settings, claims that only numbers decide, words in every language."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from explorer import lessons
from explorer.analysis import comparison, history, run_diff
from explorer.analysis.comparison import ComparedRun
from explorer.config import limits
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.i18n import LANGUAGES, texts
from explorer.lessons import DIFFERENT, EQUAL, FAILS, FALLS, HOLDS, OPEN, RISES, SWITCHES, Claim, claims_text, presets
from explorer.lessons.measures import RunMeasures, measured
from explorer.lessons.presets import AIMERS, DLWP, FROM_SCRATCH, LESSONS, PREPROCESSING, TUTORIAL_7
from explorer.ui.charts import comparison as comparison_chart

PARTS = [(name, number) for name, parts in LESSONS.items() for number in range(len(parts))]
FOLDER = Path(lessons.__file__).parent


def result(**values) -> RunMeasures:
    return RunMeasures(**{"epochs": 20, "best_epoch": 3, "best": 0.3, "best_accuracy": 0.8, "gap_at_best": 0.1,
                          "gap": 0.2, "last": 0.4, "accuracy": 0.8, "train_accuracy": 0.9} | values)


def table(**columns) -> pd.DataFrame:
    epochs = len(next(iter(columns.values())))
    flat = {"loss": 0.5, "val_loss": 0.6, "train_crossentropy": 0.4, "train_accuracy": 0.9, "val_crossentropy": 0.5,
            "val_accuracy": 0.8, "seconds": 0.1}
    return history.table(pd.DataFrame({"epoch": range(1, epochs + 1), **flat, **columns}).to_dict("records"))


# -- the runs ------------------------------------------------------------------------------------------------


def test_parameter_counts_are_those_that_tutorial_7_prints():
    assert [config.parameters for config, _ in LESSONS["capacity"][0].runs] == [4_029, 16_305, 775_681]


@pytest.mark.parametrize(("name", "number"), PARTS)
def test_runs_of_a_part_are_within_the_default_limits_and_have_names_of_their_own(name, number):
    part = LESSONS[name][number]
    for config, demand in part.runs:
        assert not limits.problems(config, demand, Settings(home=None))
    names = comparison.names(part.entries(), "en")
    assert len(set(names)) == len(part.runs) <= comparison.MAX_RUNS


def imdb(num_words: int, optimizer: str, hidden: tuple[int, ...] = (16, 16), **more) -> RunConfig:
    return RunConfig(**{"dataset": "imdb", "num_words": num_words, "optimizer": optimizer, "hidden": hidden,
                        "validation": "test", "batch_size": 512, "learning_rate": 0.001} | more)


def aimers(*hidden: int, **more) -> RunConfig:
    return imdb(100, "adam", hidden, batch_size=500, **more)


def from_scratch(**more) -> RunConfig:
    return RunConfig(dataset="mnist", train_samples=300, validation="test", hidden=(100,) * 6, optimizer="sgd",
                     learning_rate=0.01, batch_size=100, initializer="he_normal", **more)


def digits(**more) -> RunConfig:
    return RunConfig(dataset="mnist", validation="test", hidden=(128, 128), optimizer="adam", batch_size=128, **more)


# Every experiment of every source, as the sources describe them: what is trained, and for how many epochs.
EXPERIMENTS = {
    TUTORIAL_7: [
        (imdb(1_000, "adam"), 20), (imdb(1_000, "adam", (4, 4)), 20), (imdb(1_000, "adam", (512, 512)), 20),
        (imdb(1_000, "adam", l2=0.001), 20), (imdb(1_000, "adam", dropout=0.5), 20)],
    DLWP: [
        (imdb(10_000, "rmsprop"), 20), (imdb(10_000, "rmsprop", (6, 6)), 20),
        (imdb(10_000, "rmsprop", (1024, 1024)), 20), (imdb(10_000, "rmsprop", l2=0.001), 20),
        (imdb(10_000, "rmsprop", l1=0.0001), 20), (imdb(10_000, "rmsprop", l1=0.0001, l2=0.0001), 20),
        (imdb(10_000, "rmsprop", dropout=0.5), 20)],
    PREPROCESSING: [
        (imdb(10_000, "rmsprop"), 20), (imdb(10_000, "rmsprop", l2=0.001), 20),
        (imdb(10_000, "rmsprop", l2=0.001), 200), (imdb(10_000, "rmsprop", dropout=0.5), 20)],
    AIMERS: [
        (aimers(256, 128), 20), (aimers(1024, 512, 512, 512), 300), (aimers(128, 128), 20),
        (aimers(128, 128, l1=0.001), 20), (aimers(128, 128, l2=0.001), 20), (aimers(128, 128, dropout=0.3), 20),
        (digits(), 20), (digits(batch_norm=True), 20)],
    FROM_SCRATCH: [
        (from_scratch(), 201), (from_scratch(l2=0.05, regularize_output=True), 201), (from_scratch(dropout=0.2), 301)],
}


def test_the_ten_lessons_are_there():
    assert list(LESSONS) == ["capacity", "penalties", "dropout", "too-long", "batch-norm", "early-stopping",
                             "tiny-data", "more-data", "warm-start", "same-penalty"]


@pytest.mark.parametrize("source", EXPERIMENTS)
def test_every_experiment_of_a_source_is_in_a_lesson_with_its_settings_and_nothing_else_is(source):
    found = {(config, demand.epochs) for parts in LESSONS.values() for part in parts if part.source == source
             for config, demand in part.runs}
    assert found == set(EXPERIMENTS[source])


def test_no_part_has_a_source_that_is_none_of_the_five():
    assert {part.source for parts in LESSONS.values() for part in parts} - {""} == set(EXPERIMENTS)


def test_early_stopping_waits_as_long_as_the_source_did():
    patience = {entry.demand for part in LESSONS["early-stopping"] for entry in part.entries()}
    assert patience == {Demand(20), Demand(200, patience=20)}


def test_the_same_network_learns_from_more_data_and_from_worse_labels():
    sizes, noises = ([config for config, _ in part.runs] for part in LESSONS["more-data"])
    assert [config.rows for config in sizes] == [500, 2_000, 8_000, 25_000]
    assert [config.label_noise for config in noises] == [0, 0.2, 0.4]
    assert len({config.with_(train_samples=None, label_noise=0.0) for config in sizes + noises}) == 1


def test_decay_pulls_as_l2_does():
    # The gradient of λΣw² is 2λw; decay subtracts its rate times w.
    for part in LESSONS["same-penalty"]:
        (penalised, _), (decayed, _) = part.runs
        assert penalised.l2 * 2 == decayed.weight_decay and penalised.regularize_output
        assert penalised.learning_rate == decayed.learning_rate


@pytest.mark.parametrize(("name", "number"), PARTS)
def test_runs_of_a_part_differ_from_the_first_in_one_thing(name, number):
    """In its settings, or in what came before, or in when it ends; with three exceptions.

    `same-penalty` asks where the same pull comes from, so that one thing goes and another comes. The long run of
    `too-long` is larger and longer, as in its source. In `early-stopping`, L2 stands there with and without.
    """
    first, *rest = LESSONS[name][number].entries()
    for entry in rest:
        # The output layer pays where weight decay in the source is on every matrix.
        found = set(run_diff.differing(first.config, entry.config)) - {"regularize_output"}
        if name == "same-penalty":
            assert found <= {"l2", "weight_decay", "optimizer"}
        elif name == "warm-start":
            assert not found and entry.again and entry.demand == first.demand
        else:
            assert len(found) == 1 or found == {"l1", "l2"}
            longer = entry.demand.epochs - first.demand.epochs
            assert not longer or name in ("too-long", "early-stopping") or entry.config.dropout


def test_a_run_stands_beside_itself_with_early_stopping_and_each_has_its_name():
    entries = LESSONS["early-stopping"][0].entries()
    assert comparison.names(entries, "en") == [
        "16-16", "16-16 · L2 0.001", "16-16 · L2 0.001 · early stopping", "16-16 · dropout 0.5"]
    assert comparison.read(comparison.text(entries), Settings(home=None)) == (entries, [])
    # Compared again with another patience, it is the one that stops early which changes.
    config = entries[2].config
    changed = comparison.with_run(entries, config, Demand(200, 5))
    assert [one.demand.patience for one in changed] == [None, None, 5, None]
    assert comparison.with_run(entries, config, Demand(30))[1].demand == Demand(30)


def test_a_riddle_is_not_given_away_by_a_name():
    entries = LESSONS["warm-start"][0].entries()
    assert comparison.names(entries, "en") == ["16-16", "16-16 · fit again"]
    assert comparison.names(entries, "en", is_riddle=True) == ["16-16", "16-16 · the other curve"]


@pytest.mark.parametrize(("name", "number"), PARTS)
def test_a_part_opens_with_what_the_comparison_has(name, number):
    part = LESSONS[name][number]
    assert part.measure in comparison_chart.MEASURES and set(part.view) <= set(SWITCHES)
    assert "panels" not in part.view or part.measure in comparison_chart.TWO_SIDED
    source = (Path(lessons.__file__).parents[1] / "ui" / "panels" / "comparison.py").read_text(encoding="utf-8")
    assert all(f'key="compared_{switch}"' in source for switch in SWITCHES)


@pytest.mark.parametrize(("name", "number"), PARTS)
def test_claims_speak_of_runs_and_measures_that_there_are(name, number):
    part = LESSONS[name][number]
    assert part.claims
    for claim in part.claims:
        assert claim.measure in lessons.MEASURES
        assert claim.measure.endswith("_at") == (claim.epoch is not None)
        assert claim.epoch or claim.measure in RunMeasures.__dataclass_fields__
        assert len(claim.runs) >= 2 and set(claim.runs) <= set(range(len(part.runs)))
        assert not claim.epoch or all(claim.epoch <= part.runs[place][1].epochs for place in claim.runs)


def test_parts_after_a_source_validate_as_it_does():
    assert all(config.validation == "test" for parts in LESSONS.values() for part in parts if part.source
               for config, _ in part.runs)


def test_without_the_sources_data_a_lesson_runs_on_embedded_data(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    nowhere = Settings(home=tmp_path, data_dir=tmp_path)
    capacity, tiny = (presets.available(name, 0, nowhere) for name in ("capacity", "tiny-data"))
    assert {(config.dataset, config.num_words) for config, _ in capacity.runs} == {("reviews", 1_000)}
    assert {(config.dataset, config.train_samples) for config, _ in tiny.runs} == {("digits", 300)}


# -- the claims ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("relation", "values", "verdict"), [
    (RISES, (1, 2, 3), HOLDS), (RISES, (1, 3, 2), FAILS), (RISES, (1, 1, 2), FAILS),
    (FALLS, (3, 2, 1), HOLDS), (FALLS, (3, 3, 1), FAILS),
    (EQUAL, (0.300, 0.301), HOLDS), (EQUAL, (0.300, 0.303), FAILS),
    (DIFFERENT, (0.300, 0.303), HOLDS), (DIFFERENT, (0.300, 0.301), FAILS)])
def test_numbers_alone_decide_a_claim(relation, values, verdict):
    claim = Claim("best", tuple(range(len(values))), relation, 0.002)
    assert claim.verdict([result(best=value) for value in values]) == verdict


def test_a_claim_is_open_while_a_run_is_missing_or_its_number_is_none():
    claim = Claim("test_accuracy", (0, 1), FALLS)
    assert claim.verdict([result(test_accuracy=0.9), None]) == OPEN
    assert claim.verdict([result(test_accuracy=0.9), result()]) == OPEN
    assert claim.verdict([result(test_accuracy=float("nan")), result(test_accuracy=0.1)]) == OPEN


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_reading_has_the_numbers_and_the_verdict_that_they_bear_out(language):
    claim = Claim("best_epoch", (0, 1), FALLS)
    names = ["4-4", "16-16"]
    words = {verdict: claims_text.sentence(claim, names, results, language) for verdict, results in (
        (HOLDS, [result(best_epoch=12), result(best_epoch=4)]),
        (FAILS, [result(best_epoch=4), result(best_epoch=12)]), (OPEN, [None, result()]))}
    assert "4-4: 12, 16-16: 4" in words[HOLDS] and "4-4: 4, 16-16: 12" in words[FAILS] and "…" in words[OPEN]
    assert len(set(words.values())) == 3


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_claim_of_every_lesson_has_words(language):
    for name, number in PARTS:
        part = LESSONS[name][number]
        names = comparison.names(part.entries(), "en")
        for claim in part.claims:
            assert names[claim.runs[0]] in claims_text.sentence(claim, names, [None] * len(names), language)


def test_a_gap_at_an_epoch_is_open_until_there():
    claim = Claim("gap_at", (0, 1), FALLS, epoch=2)
    assert claim.verdict([result(gaps=(0.1, 0.3)), result(gaps=(0.2, 0.2))]) == HOLDS
    assert claim.verdict([result(gaps=(0.1, 0.3)), result(gaps=(0.2,))]) == OPEN
    assert "after epoch 2" in claims_text.sentence(claim, "ab", [None, None], "en")


def test_what_never_comes_about_comes_later_than_all_that_does():
    claim = Claim("by_heart", (0, 1), RISES)
    found = [result(by_heart=97.0), result()]
    assert claim.verdict(found) == HOLDS and claim.verdict(found[::-1]) == FAILS
    assert claim.verdict([result(), result()]) == FAILS
    assert "a: 97, b: never" in claims_text.sentence(claim, "ab", found, "en")


# -- what they rest on ---------------------------------------------------------------------------------------


ENTRY = ComparedRun(RunConfig(dataset="digits", validation="test"), Demand(4))


def test_the_curves_are_read_in_inference_mode_and_as_printed():
    found = measured(table(
        train_crossentropy=[0.9, 0.5, 0.2, 0.1], val_crossentropy=[0.8, 0.6, 0.7, 0.9], loss=[1.1, 0.9, 0.6, 0.3],
        val_loss=[1.0, 0.8, 0.9, 1.1], train_accuracy=[0.5, 0.98, 0.99, 0.985]), ENTRY)
    assert (found.first, found.train, found.by_heart, found.above) == (0.9, 0.1, 3.0, 2)
    assert found.gaps == pytest.approx((-0.1, 0.1, 0.5, 0.8))
    assert (found.accuracy_gap, found.accuracy_gaps[1]) == pytest.approx((0.185, 0.18))
    assert (found.best_epoch, found.last, found.test_accuracy) == (2, 0.9, 0.8)
    assert measured(table(train_accuracy=[0.5, 0.6]), ENTRY).by_heart == float("inf")
    assert measured(table(val_crossentropy=[float("nan")]), ENTRY) is None
    assert measured(history.table([]), ENTRY) is None


def test_epochs_beyond_early_stopping_are_not_read():
    curve = table(val_crossentropy=[0.8, 0.6, 0.7, 0.7, 0.5], val_accuracy=[0.1, 0.2, 0.3, 0.4, 0.5])
    stopped = ComparedRun(ENTRY.config, Demand(5, patience=2))
    found = measured(curve, stopped, {"epoch": 5, "test_accuracy": 0.5})
    assert (found.epochs, found.best, found.last, found.test_accuracy) == (4, 0.6, 0.7, 0.4)
    assert measured(curve, ComparedRun(ENTRY.config, Demand(5)), {"epoch": 5, "test_accuracy": 0.5}).epochs == 5
    held_out = ComparedRun(RunConfig(dataset="digits"), Demand(5, patience=2))
    assert measured(curve, held_out, {"epoch": 5, "test_accuracy": 0.5}).test_accuracy is None


# -- the words -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", LESSONS)
def test_every_lesson_has_a_title_a_question_what_to_look_for_and_an_answer(name, language):
    words = lessons.text(name, language)
    assert words.title and words.question.count("?") and words.look and words.answer
    for said in (words.question, words.look, words.answer):
        assert bool(re.search("[가-힣]", said)) == (language == "ko")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", LESSONS)
def test_what_a_lesson_names_in_bold_is_on_the_page_in_its_language(name, language):
    words = lessons.text(name, language)
    named = re.findall(r"\*\*(.+?)\*\*", f"{words.question} {words.look} {words.answer}")
    assert set(named) <= set(texts(language).values()), named


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_riddle_is_told_in_the_answer_alone(language):
    words = lessons.text("warm-start", language)
    assert "fit" in words.answer and "fit" not in words.question + words.look


def test_no_text_is_left_over_and_titles_are_not_the_same():
    for language in LANGUAGES:
        assert {path.stem for path in (FOLDER / language).glob("*.md")} == set(LESSONS)
        assert len({lessons.text(name, language).title for name in LESSONS}) == len(LESSONS)


def test_korean_is_written_in_the_formal_style():
    for name in LESSONS:
        words = lessons.text(name, "ko")
        for sentence in re.split(r"(?<=[.?])\s+", f"{words.question} {words.look} {words.answer}"):
            assert re.search(r"(니다|까요)(\([^)]*\))?[.?]\)?$", sentence.strip()), sentence


def test_a_lessons_runs_come_back_from_an_address():
    entries = LESSONS["penalties"][1].entries()
    assert comparison.read(comparison.text(entries), Settings(home=None)) == (entries, [])
    assert entries[0].config == RunConfig(dataset="imdb", validation="test")
