"""Lessons: every source's experiments with its settings, claims that only numbers decide, words in every language."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from explorer import comparison, contrast, lessons, limits
from explorer.comparison import Result
from explorer.config import RunConfig
from explorer.lessons import DIFFERENT, EQUAL, FAILS, FALLS, HOLDS, OPEN, RISES, Claim, presets, reading
from explorer.lessons.presets import LESSONS
from explorer.settings import Settings
from explorer.words import LANGUAGES

PARTS = [(name, number) for name, parts in LESSONS.items() for number in range(len(parts))]
FOLDER = Path(lessons.__file__).parent


def result(**values) -> Result:
    return Result(**{"epochs": 20, "best_epoch": 3, "best": 0.3, "best_accuracy": 0.8, "gap_at_best": 0.1, "gap": 0.2,
                     "last": 0.4, "accuracy": 0.8, "train_accuracy": 0.9} | values)


# -- the runs ------------------------------------------------------------------------------------------------


def test_parameter_counts_are_those_that_tutorial_7_prints():
    assert [config.parameters for config, _ in LESSONS["capacity"][0].runs] == [4_029, 16_305, 775_681]


@pytest.mark.parametrize(("name", "number"), PARTS)
def test_runs_of_a_part_are_within_the_default_limits_and_have_names_of_their_own(name, number):
    part = LESSONS[name][number]
    for config, demand in part.runs:
        assert not limits.problems(config, demand, Settings(home=None))
    names = comparison.names(part.entries(), "en")
    assert len(set(names)) == len(part.runs) <= comparison.MOST_RUNS


@pytest.mark.parametrize(("name", "number"), PARTS)
def test_runs_of_a_part_differ_from_the_first_in_one_thing(name, number):
    # The pair below differs in its very question: where the same pull on the weights comes from.
    first = LESSONS[name][number].runs[0][0]
    for config, _ in LESSONS[name][number].runs[1:]:
        found = set(contrast.differing(first, config)) - {"regularize_output"}
        if name == "same-penalty":
            assert found <= {"l2", "weight_decay", "optimizer"}
        else:
            assert len(found) == 1 or found == {"l1", "l2"}


@pytest.mark.parametrize(("name", "number"), PARTS)
def test_claims_speak_of_runs_and_measures_that_there_are(name, number):
    part = LESSONS[name][number]
    assert part.claims
    for claim in part.claims:
        assert claim.measure in lessons.MEASURES and claim.measure in Result.__dataclass_fields__
        assert len(claim.runs) >= 2 and set(claim.runs) <= set(range(len(part.runs)))


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
    words = {verdict: reading.sentence(claim, names, results, language) for verdict, results in (
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
            assert names[claim.runs[0]] in reading.sentence(claim, names, [None] * len(names), language)


# -- the words -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", LESSONS)
def test_every_lesson_has_a_title_a_question_and_what_to_look_for(name, language):
    words = lessons.text(name, language)
    assert words.title and words.question.count("?") and words.look
    hangul = bool(re.search("[가-힣]", words.question + words.look))
    assert hangul == (language == "ko")


def test_no_text_is_left_over_and_titles_are_not_the_same():
    for language in LANGUAGES:
        assert {path.stem for path in (FOLDER / language).glob("*.md")} == set(LESSONS)
        assert len({lessons.text(name, language).title for name in LESSONS}) == len(LESSONS)


def test_korean_is_written_in_the_formal_style():
    for name in LESSONS:
        words = lessons.text(name, "ko")
        for sentence in re.split(r"(?<=[.?])\s+", f"{words.question} {words.look}"):
            assert re.search(r"(니다|까요|입니다)[.?]$", sentence.strip()), sentence


def test_a_lessons_runs_come_back_from_an_address():
    entries = LESSONS["penalties"][1].entries()
    assert comparison.read(comparison.text(entries), Settings(home=None)) == (entries, [])
    assert entries[0].config == RunConfig(dataset="imdb", validation="test")
