"""Words: every text in every language, none missing, none left over, each with the same fields."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

from explorer import i18n
from explorer.analysis import comparison, history, prediction, sweep
from explorer.config.datasets import DATASETS
from explorer.config.run_config import KINDS, Demand, RunConfig
from explorer.config.settings import Settings
from explorer.config.url_params import parse
from explorer.engine import failure_messages
from explorer.i18n import LANGUAGES, WRITTEN, say, texts
from explorer.lessons import MEASURES
from explorer.store.store import FAILED, INTERRUPTED, STOPPED
from explorer.ui import state
from explorer.ui.charts import comparison as comparison_chart
from explorer.ui.charts import curves
from explorer.workers.trainer import DAMAGED_STORE, NO_SPACE, TOO_LARGE

ROOT = Path(__file__).resolve().parents[2]
OTHERS = sorted(set(LANGUAGES) - {WRITTEN})
LIMITS, UNLIMITED = Settings(home=ROOT, max_memory_mb=2_000), Settings(home=ROOT)
CONTROLS = [field.name for field in (*fields(RunConfig), *fields(Demand))] + ["regularizer"]
# Keys that the code puts together from a name; each must be there for every such name.
FAMILIES = {
    "control.{}": CONTROLS, "control.{}.help": CONTROLS, "metric.{}": (*curves.METRICS, *comparison_chart.MEASURES),
    "column.{}": history.COLUMNS, "dataset.{}": DATASETS, "dataset.{}.note": DATASETS,
    "architecture.{}": (*state.ARCHITECTURES, state.FREE), "claim.measure.{}": MEASURES,
    "predict.ends.{}": prediction.ENDS, "prediction.best.{}": (prediction.EXACT, prediction.CLOSE, "early", "late"),
    "prediction.ends.{}": (prediction.EQUAL, prediction.LOST, prediction.WAITING),
    **{f"prediction.ends.{verdict}.{{}}": prediction.ENDS for verdict in (prediction.RIGHT, prediction.WRONG)},
    "state.{}": (*sweep.SOUND, sweep.DIVERGED, FAILED, STOPPED, INTERRUPTED, "paused"),
    "phase.{}": ("starting", "loading", "downloading", "preparing", "building", "training", "testing"),
    **{f"sweep.{what}.{{}}": sweep.MEASURES for what in ("measure", "legend", "so_far", "found", "base", "told")},
    **{f"choice.{name}.{{}}": KINDS[name].options for name in ("optimizer", "activation", "initializer")},
}


@pytest.mark.parametrize("language", OTHERS)
def test_no_language_lacks_a_text_or_has_one_too_many(language):
    # Some languages have one form for one and for many.
    known = {key for key in texts(WRITTEN) if not key.endswith(".one")}
    assert {key for key in texts(language) if not key.endswith(".one")} == known


@pytest.mark.parametrize("language", OTHERS)
def test_a_text_has_the_same_fields_in_every_language(language):
    for key, text in texts(language).items():
        assert i18n.fields(text) == i18n.fields(texts(WRITTEN)[key]), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_empty_or_half_filled(language):
    for key, text in texts(language).items():
        assert text, key
        filled = text.format(**dict.fromkeys(i18n.fields(text), "1"))
        assert "{" not in filled and "}" not in filled, key


def test_korean_is_korean():
    # Names of things and bare fields are the same in both.
    for key, text in texts("ko").items():
        said = re.sub(r"\{\w+\}", "", text)
        if re.search(r"[a-z]{4}", said) and not re.search("[가-힣]", said):
            assert key.startswith(("choice.", "name.", "message.allowed")), (key, text)


def test_korean_sentences_are_in_the_formal_style():
    for key, text in texts("ko").items():
        for sentence in re.findall(r"[^.!?\n]*[가-힣][^.!?\n]*[.?](?=\s|$)", text):
            # A label that ends a sentence with a value says what it is after a colon.
            formal = re.search(r"(니다|시오|까요|니까)(\([^)]*\))?[.?]$", sentence.strip())
            assert formal or ":" in sentence or "{" in sentence, (key, sentence)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_control_choice_metric_and_state_has_its_words(family, language):
    for name in FAMILIES[family]:
        assert family.format(name) in texts(language)


def _literal_keys() -> set[str]:
    """Keys that stand in the code as they are, in calls of `say`, `count`, `t` and `n`."""
    found = set()
    for path in [*(ROOT / "explorer").rglob("*.py"), ROOT / "streamlit_app.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(getattr(node, "func", None), "id", getattr(getattr(node, "func", None), "attr", ""))
            if isinstance(node, ast.Call) and name in ("say", "count", "t", "n") and node.args:
                for part in ast.walk(node.args[0]):
                    if isinstance(part, ast.Constant) and re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", str(part.value)):
                        found.add(part.value)
    return found


def test_every_key_in_the_code_has_a_text():
    keys = _literal_keys()
    assert len(keys) > 100
    assert keys <= set(texts(WRITTEN)), keys - set(texts(WRITTEN))


@pytest.mark.parametrize("name", CONTROLS)
def test_help_is_one_sentence_in_english(name):
    text = say(f"control.{name}.help", "en")
    assert text.endswith(".") and ". " not in text


@pytest.mark.parametrize("name", sorted(set(CONTROLS) - {"device"}))
def test_help_says_what_a_control_does_to_under_and_overfitting(name):
    assert re.search(r"fit|memoriz|regulari|luck|learn", say(f"control.{name}.help", "en"))
    assert re.search("적합|외우|외워|규제|운|배", say(f"control.{name}.help", "ko"))


def test_an_unknown_key_says_which():
    with pytest.raises(KeyError, match="no text 'no.such' in explorer/i18n/ko"):
        say("no.such", "ko")


def test_one_thing_is_told_of_in_its_own_form():
    assert i18n.count("name.epochs", "en", 1) == "1 epoch" and i18n.count("name.epochs", "en", 2) == "2 epochs"
    assert i18n.count("name.epochs", "ko", 1) == "1 에포크"


# -- messages that are stored in English ---------------------------------------------------------------------


def test_a_stored_message_is_told_in_another_language_with_its_values():
    written = ("The training process was killed (signal 9, SIGKILL). Every finished epoch is kept; Continue goes on "
               "from there.")
    told = i18n.translated(written, "ko")
    assert "SIGKILL" in told and "signal" not in told and re.search("에포크는 모두 남아", told)
    assert i18n.translated(written, "en") == written


@pytest.mark.parametrize("written", [
    failure_messages.of_child(0, LIMITS), failure_messages.of_child(1, LIMITS), failure_messages.of_child(-9, LIMITS),
    failure_messages.of_child(NO_SPACE, LIMITS), failure_messages.of_child(TOO_LARGE, LIMITS),
    failure_messages.of_child(TOO_LARGE, UNLIMITED), f"{failure_messages.of_worker(-11)} {failure_messages.KEPT}",
    failure_messages.of_silence(300), failure_messages.of_holding(20.0),
    failure_messages.of_child(DAMAGED_STORE, LIMITS), failure_messages.NOT_UNDERSTOOD])
def test_every_ending_of_a_training_process_has_every_language(written):
    assert re.fullmatch(r"[^a-z]*", re.sub(r"SIG\w+|Continue|/\S+", "", i18n.translated(written, "ko")))


@pytest.mark.parametrize("params", [
    {"dropout": "7"}, {"l2": "x"}, {"hidden": "0-5"}, {"dataset": "zzz"}, {"epochs": "a"}, {"patience": "0"},
    {"validation": "9"}, {"batch_norm": "perhaps"}, {"seed": "-1"}])
def test_what_is_said_of_an_unsound_value_has_every_language(params):
    [message] = parse(params).messages
    told = i18n.translated(message, "ko")
    [value] = params.values()
    assert f"'{value}'" in told and next(iter(params)) in told
    assert "expected" not in told and "number" not in told and "used instead" not in told


def test_what_fits_no_message_stays_as_it_is():
    assert i18n.translated("database is locked", "ko") == "database is locked"


def test_what_a_visitor_sends_cannot_fill_a_text():
    # A value that looks like a field is a value.
    [message] = parse({"dataset": "{nearest} {0}"}).messages
    assert "{nearest} {0}" in i18n.translated(message, "ko")
    [message] = comparison.read("{x}:1", Settings(home=None))[1]
    assert "{x}:1" in i18n.translated(message, "ko")
