"""What lessons state: numbers are read off the runs as they are trained here; claims hold on embedded data too."""

from __future__ import annotations

import argparse
import re

import pytest

from explorer import data, lessons
from explorer.analysis import history
from explorer.analysis.comparison import ComparedRun
from explorer.cli import train
from explorer.config.datasets import DATASETS
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.i18n import LANGUAGES, fields, say, texts
from explorer.lessons import EQUAL, FAILS, HOLDS, Claim, facts, presets, reference_curves
from explorer.lessons.measures import RunMeasures, measured
from explorer.lessons.presets import LESSONS, all_available

PARTS = [(name, number) for name, parts in LESSONS.items() for number in range(len(parts))]
# Beginnings and ends of scales, and what a method is: these are no figures of any run.
BARE = {"0", "1"}
# Numbers in words, which no field fills: figures of a run that somebody wrote in advance.
IN_WORDS = {
    "en": r"\b(hundreds?|thousands?|thousandths?|millions?|dozens?|half|thirds|quarters?|fifths?|tenths?|percent|"
          r"twice|double[sd]?|twenty|thirty|forty|fifty|sixty|eighty|ninety)\b|"
          r"\b(two|three|four|five|six|seven|eight|nine|ten) "
          r"(epochs|digits|reviews|examples|times|weights|words|units)|"
          r"\b(first|last) (two|three|four|five|six|seven|eight|nine|ten)\b|%",
    "ko": r"퍼센트|%|절반|분의|[수몇][십백천만]|[백천만]\s?개|천분의|두 배|세 배|"
          r"(?<![가-힣])(두|세|네|다섯|여섯|일곱|여덟|아홉|열) (에포크|장|번(?!째)|배)|"
          r"[일이삼사오육칠팔구]?십 (에포크|개|장)",
}
# What the loss of weight decay is made of (½·λ·Σw²): a formula, no figure.
FORMULAS = {"tiny-data": {"절반"}}


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    """A machine without the sources' data, which is how the explorer is installed."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return Settings(home=tmp_path, data_dir=tmp_path)


def _whole(name: str, language: str) -> str:
    text = lessons.text(name, language)
    return " ".join((text.title, text.question, text.look, text.answer))


def _words(name: str, language: str) -> str:
    """What a lesson says, without its fields, the names of penalties, and code."""
    return re.sub(r"\{[^}]*\}|`[^`]*`|\bL[12]|2λw", " ", _whole(name, language))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", LESSONS)
def test_no_lesson_has_a_number_that_is_not_read_off_its_runs(name, language):
    words = _words(name, language)
    assert set(re.findall(r"\d[\d,.]*\d|\d", words)) <= BARE
    found = {match.group() for match in re.finditer(IN_WORDS[language], words, re.IGNORECASE)}
    assert found <= FORMULAS.get(name, set())


@pytest.mark.parametrize("sentence", [
    "some 130,000 weights", "about three quarters of the new ones", "after about a hundred epochs",
    "a few tenths of a percent", "both end at about two thirds", "better after the first three epochs",
    "more than a million weights", "twice as many"])
def test_figures_that_once_stood_in_a_lesson_would_be_found(sentence):
    assert re.search(r"[2-9]|\d\d", sentence) or re.search(IN_WORDS["en"], sentence)


@pytest.mark.parametrize("sentence", [
    "가중치가 약 13만 개인데", "새 숫자는 약 4분의 3을", "1퍼센트도 되지 않는", "약 3분의 2에서", "백만 개가 넘는",
    "몇천에서", "유닛의 절반을", "처음 세 에포크"])
def test_figures_that_once_stood_in_a_korean_lesson_would_be_found(sentence):
    assert re.search(r"[2-9]|\d\d", sentence) or re.search(IN_WORDS["ko"], sentence)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_about_a_claim_has_a_number_of_its_own(language):
    for key, text in texts(language).items():
        if key.startswith(("claim.", "lesson.")):
            assert set(re.findall(r"\d+|%", re.sub(r"\{\w+\}", "", text))) <= BARE, key


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("name", "number"), PARTS)
def test_every_field_of_a_lesson_is_filled_with_what_is_trained_here(name, number, language, settings):
    parts = all_available(name, settings)
    text = facts.filled(lessons.text(name, language), parts, number)
    for said in (text.question, text.look, text.answer):
        assert "{" not in said and "}" not in said and "None" not in said
    # A field of a setting that a run does not have would be filled with nothing; one part has no wrong labels at all.
    text = lessons.text(name, language)
    for field in fields(f"{text.question} {text.look} {text.answer}") - {"parts[1].noise[0]"}:
        made = f"{{{field}}}".format(here=facts.Facts(parts[number]), parts=[facts.Facts(part) for part in parts])
        assert re.search("[1-9]", made), field


@pytest.mark.parametrize("language", LANGUAGES)
def test_tiny_data_tells_of_the_digits_that_it_is_trained_with(settings, language):
    def told(parts):
        text = facts.filled(lessons.text("tiny-data", language), parts, 0)
        return " ".join((text.question, text.look, text.answer))

    here, there = told(all_available("tiny-data", settings)), told(list(LESSONS["tiny-data"]))
    assert "58,010" in here and re.search(r"(?<!\d)500(?!\d)", here) and "300" in here
    assert "130,010" in there and "10,000" in there
    assert not re.search(r"130,|10,000", here)


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_of_the_other_lessons_are_those_of_their_runs(settings, language):
    def told(name, number=0):
        text = facts.filled(lessons.text(name, language), all_available(name, settings), number)
        return " ".join((text.question, text.look, text.answer))

    assert all(number in told("capacity") for number in ("4,029", "775,681", "193", "25,000", "1,000"))
    assert all(number in told("capacity", 1) for number in ("60,055", "11,291,649", "188", "10,000"))
    assert all(number in told("more-data")
               for number in ("500", "2,000", "8,000", "25,000", "20%", "40%", "0.6", "0.51", "0.22"))
    assert "0.69" in told("too-long") and "300" in told("too-long") and "0.69" in told("warm-start")
    assert all(number in told("warm-start") for number in ("21", "40"))
    assert "0.2%" in told("batch-norm") and "500" in told("batch-norm")
    assert all(number in told("same-penalty") for number in ("0.001", "0.002"))
    assert "50%" in told("dropout") and "20%" in told("tiny-data") and "0.05" in told("tiny-data")


def test_notes_on_the_data_state_the_rows_that_there_are():
    for info in DATASETS.values():
        for said in (info.note, *(say(f"dataset.{info.name}.note", language) for language in LANGUAGES)):
            assert f"{info.train_rows + info.test_rows:,}" in said


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_part_that_no_source_shows_says_what_the_sources_say_of_it(language):
    captions = {name: say(f"lesson.ours.{LESSONS[name][number].sources_say}", language) for name, number in PARTS
                if not LESSONS[name][number].source}
    assert set(captions) == {"more-data", "same-penalty"}
    assert set(captions.values()) == {text for key, text in texts(language).items() if key.startswith("lesson.ours")}
    assert ("recommend" if language == "en" else "권하지만") in captions["more-data"]
    assert not re.search("recommend|권하", captions["same-penalty"])


# -- what must be said ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "language", "said", "unsaid"), [
    ("capacity", "en", "less room", "no room"), ("capacity", "ko", "여유가 적어", "자리가 없으므로"),
    ("penalties", "en", "usually uses large weights", "needs large weights"),
    ("penalties", "ko", "대개 큰 가중치", "값을 치르"),
    ("penalties", "en", "In Keras, `val_loss` contains it too", "$^"),
    ("penalties", "ko", "Keras의 `val_loss`에도 벌점이 들어", "$^"),
    ("dropout", "en", "scaled up", "for many epochs"), ("dropout", "ko", "키웁니다", "여러 에포크 동안"),
    ("dropout", "en", "more than one explanation", "knowing by heart is made of"),
    ("dropout", "ko", "한 가지로 설명되지 않습니다", "$^"),
    ("batch-norm", "en", "a scale and a shift that are learned", "the next layer has to follow"),
    ("batch-norm", "ko", "학습되는 크기와 이동", "다음 층은 그때마다"),
    ("batch-norm", "en", "running averages", "$^"), ("batch-norm", "ko", "이동 평균", "$^"),
    ("batch-norm", "en", "still debated", "$^"), ("batch-norm", "ko", "논의되고", "$^"),
    ("early-stopping", "en", "watch `val_loss`, which contains the penalty", "$^"),
    ("early-stopping", "ko", "벌점이 들어 있는 `val_loss`", "$^"),
    ("early-stopping", "en", "best epoch plus the patience", "$^"),
    ("early-stopping", "ko", "최적 에포크에 인내를 더한", "$^"),
    ("tiny-data", "en", "Here it mainly delays", "In Keras"),
    ("tiny-data", "ko", "과적합을 늦출 뿐", "시간을 늦춥니다"),
    ("more-data", "en", "−ln", "no regularizer"), ("more-data", "ko", "−ln", "어떤 규제도"),
    ("same-penalty", "en", "plain SGD", "With SGD"),
    ("same-penalty", "ko", "단순한 SGD", "(?<!단순한 )SGD에서는 두 실행"),
    ("same-penalty", "en", "momentum", "$^"), ("same-penalty", "ko", "모멘텀", "$^"),
    ("too-long", "en", "Best epoch", "serve it well"),
    ("too-long", "ko", "최적 에포크", "셋 모두 새 리뷰에 도움이 됩니다"),
])
def test_a_lesson_says_what_is_so_and_no_longer_what_is_not(name, language, said, unsaid):
    assert said in _whole(name, language) and not re.search(unsaid, _whole(name, language))


@pytest.mark.parametrize(("language", "without", "watched"), [
    ("en", "without the penalty", "`val_loss`, penalty included"), ("ko", "벌점을 뺀", "벌점이 들어 있는 `val_loss`")])
def test_where_patience_is_set_it_says_what_is_watched_here_and_in_keras(language, without, watched):
    told = say("control.patience.help", language)
    assert without in told and watched in told and "EarlyStopping" in told


def test_the_command_line_says_so_too():
    parser = argparse.ArgumentParser()
    train.add_to(parser.add_subparsers())
    told = parser._subparsers._group_actions[0].choices["train"].format_help()
    assert "without the penalty" in " ".join(told.split()) and "`val_loss`" in told


@pytest.mark.parametrize(("language", "said"), [("en", "close to zero"), ("ko", "0 가까이")])
def test_l1_brings_weights_close_to_zero_and_not_to_it(language, said):
    assert said in say("control.regularizer.help", language)


@pytest.mark.parametrize(("language", "said"), [("en", "generalizes best"), ("ko", "일반화가 가장 잘되는")])
def test_a_sweep_is_announced_as_what_its_map_opens_with(language, said):
    assert said in say("sweep.title", language)


@pytest.mark.parametrize(("language", "said"), [
    ("en", "more confident in its mistakes"), ("ko", "틀린 답을 점점 더 확신")])
def test_how_to_read_the_curves_says_why_the_loss_climbs_while_the_accuracy_hardly_moves(language, said):
    assert said in say("page.reading.text", language)


# -- the best hardly moves -----------------------------------------------------------------------------------


def _as_good(part) -> list[Claim]:
    return [claim for claim in part.claims if claim.measure in ("best", "best_accuracy") and claim.relation == EQUAL]


@pytest.mark.parametrize(("name", "number"), [one for one in PARTS if one[0] in ("capacity", "penalties", "dropout")])
def test_that_the_best_hardly_moves_is_claimed_and_the_published_figures_bear_it_out(name, number):
    part = LESSONS[name][number]
    claims = _as_good(part)
    assert {claim.measure for claim in claims} >= {"best_accuracy"}
    printed = []
    for config, _ in part.runs:
        [found] = [one for one in reference_curves.of(config) if one.title == part.source]
        printed.append(found)
    for claim in claims:
        results = []
        for one in printed:
            curve = one.history[one.measure]
            # A loss with the penalty inside bears nothing out, but the accuracy where it is lowest does.
            best = float("nan") if one.is_penalised else curve.min()
            results.append(RunMeasures(20, 1, best, float(one.history["val_accuracy"][curve.idxmin()]), 0, 0, 0, 0, 0))
        assert claim.verdict(results) == HOLDS, (claim, [(one.best, one.best_accuracy) for one in results])


def test_runs_whose_best_differs_do_not_confirm_it():
    [claim] = [claim for claim in _as_good(LESSONS["dropout"][0]) if claim.measure == "best"]
    found = [RunMeasures(20, 1, best, 0.8, 0, 0, 0, 0, 0) for best in (0.30, 0.35)]
    assert claim.verdict(found) == FAILS
    assert "Not confirmed" in say(f"claim.verdict.{claim.verdict(found)}", "en")


def test_what_is_claimed_of_the_sources_data_alone_is_not_claimed_of_embedded_data(settings):
    for name, number in PARTS:
        own, here = LESSONS[name][number], presets.available(name, number, settings)
        assert here.claims and set(here.claims) == {claim for claim in own.claims if not claim.of_source}


def _trained(config: RunConfig, demand: Demand, library: data.Library) -> RunMeasures | None:
    from explorer.training import train as training_loop

    rows: list[dict] = []
    training_loop.train(config, library.load(config), lambda: (demand,),
                        lambda kind, values: rows.append(values) if kind == "epoch" else None, lambda: False)
    entry = ComparedRun(config, demand)
    return measured(entry.shown(history.table(rows, demand.epochs)), entry)


@pytest.mark.parametrize(("name", "number"), [
    ("batch-norm", 0), *(pytest.param(name, number, marks=pytest.mark.slow) for name, number in (
        ("tiny-data", 0), ("penalties", 0), ("penalties", 1), ("dropout", 0), ("dropout", 1), ("more-data", 0),
        ("more-data", 1), ("same-penalty", 0), ("same-penalty", 1), ("too-long", 1)))])
def test_what_a_lesson_claims_holds_on_the_embedded_data(name, number, settings):
    """All lessons but those whose largest networks take minutes; of these see `tests.benchmarks.lessons`."""
    part = presets.available(name, number, settings)
    library = data.Library(settings)
    results = [_trained(config, demand, library) for config, demand in part.runs]
    verdicts = {(claim.measure, claim.runs): claim.verdict(results) for claim in part.claims}
    assert set(verdicts.values()) == {HOLDS}, verdicts


def test_fields_of_lessons_are_facts():
    known = {name for name in vars(facts.Facts) if not name.startswith("_")}
    for name in LESSONS:
        for language in LANGUAGES:
            text = lessons.text(name, language)
            for field in fields(f"{text.question} {text.look} {text.answer}"):
                assert re.fullmatch(rf"(here|parts\[\d\])\.({'|'.join(known)})(\[\d\])?", field), field
