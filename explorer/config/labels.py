"""What settings, their values and whole runs are called, in each language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from explorer.config.fields import plain
from explorer.config.run_config import KINDS, RunConfig
from explorer.i18n import count, has, say


def title(field: str, language: str) -> str:
    """A control's title: `Dropout rate`."""
    return say(f"control.{field}", language)


def help_of(field: str, language: str) -> str:
    """One sentence on what a control does to under- and overfitting."""
    return say(f"control.{field}.help", language)


def lower(words: str) -> str:
    """A title inside a sentence; `L2 strength` keeps its capital."""
    return words if words[1:2].isdigit() else words[:1].lower() + words[1:]


def option(field: str, value: str, language: str) -> str:
    """A choice by name: `RMSprop`."""
    key = f"choice.{field}.{value}"
    return say(key, language) if has(key) else value


def dataset(config: RunConfig, language: str) -> str:
    """The data set's title: `IMDB reviews`."""
    return say(f"dataset.{config.dataset}", language)


def value(field: str, config: RunConfig, language: str) -> str:
    """The value of one setting as a sentence has it."""
    found = getattr(config, field)
    if field == "train_samples":
        return plain(config.rows)
    if field == "dataset":
        return dataset(config, language)
    if field == "validation":
        return (say("name.test_set", language) if found == "test"
                else say("name.held_out", language, share=f"{100 * found:g}%"))
    if isinstance(found, bool):
        return say("name.on" if found else "name.off", language)
    return say("name.none", language) if found is None else label(field, found, language)


def label(field: str, found: Any, language: str) -> str:
    """A value as a person reads it on an axis."""
    if found is None:
        return say("name.all", language)
    if field == "label_noise":
        return f"{100 * found:g}%"
    if isinstance(found, (int, float)):
        return plain(found)
    return option(field, found, language) if isinstance(found, str) else KINDS[field].text(found)


def short(config: RunConfig, language: str) -> str:
    """Short name of a run: the architecture, and what was done against overfitting."""
    words = [_word(name, config, language) for name in _AGAINST]
    if config.train_samples:
        words.append(_word("train_samples", config, language))
    return " · ".join([_layers(config), *filter(None, words)])


def names(configs: Sequence[RunConfig], language: str) -> list[str]:
    """A short name for each run: its layers, and of the rest what is not the same in all of them.

    One alone is called what it is called by itself, see `short`.

    Settings that are off have no word, so that a comparison with one that is on reads `16-16` and
    `16-16 · L2 0.001`. Of different runs, no two names are the same.
    """
    if len(configs) == 1:
        return [short(configs[0], language)]
    varying = [name for name in _WORDS if len({getattr(config, name) for config in configs}) > 1]
    return [" · ".join([_layers(config), *filter(None, (_word(name, config, language) for name in varying))])
            for config in configs]


def duration(seconds: float, language: str) -> str:
    """Seconds as a person says them: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 60:
        return say("duration.seconds", language, seconds=f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}")
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return say("duration.minutes", language, minutes=minutes, seconds=rest)
    return say("duration.hours", language, hours=minutes // 60, minutes=minutes % 60)


def listed(parts: Sequence[str], language: str) -> str:
    """`one, two and three`."""
    if len(parts) == 1:
        return parts[0]
    return say("name.list", language, first=", ".join(parts[:-1]), last=parts[-1])


def epochs(number: int, language: str) -> str:
    """`1 epoch`, `20 epochs`."""
    return count("name.epochs", language, number)


def _layers(config: RunConfig) -> str:
    first, *others = config.hidden
    if len(others) > 2 and set(others) == {first}:
        return f"{first} × {len(config.hidden)}"
    return "-".join(map(str, config.hidden))


# What is done against overfitting; a run is named with it, where it is on.
_AGAINST = ("batch_norm", "l1", "l2", "dropout", "weight_decay", "label_noise")


def _number(name: str) -> Callable[[RunConfig], Any]:
    return lambda config: plain(getattr(config, name)) if getattr(config, name) else None


# The value that a run's word for a setting names, in the order in which a name has them; `None` where it is off.
_WORDS: dict[str, Callable[[RunConfig], Any]] = {
    "dataset": lambda config: config.dataset,
    "num_words": _number("num_words"),
    "train_samples": lambda config: plain(config.rows),
    "label_noise": lambda config: f"{100 * config.label_noise:g}%" if config.label_noise else None,
    "validation": lambda config: "test" if config.validation == "test" else f"{100 * config.validation:g}%",
    "activation": lambda config: config.activation,
    "batch_norm": lambda config: config.batch_norm or None,
    "l1": _number("l1"),
    "l2": _number("l2"),
    "regularize_output": lambda config: config.regularize_output or None,
    "dropout": _number("dropout"),
    "initializer": lambda config: config.initializer,
    "optimizer": lambda config: config.optimizer,
    "learning_rate": _number("learning_rate"),
    "weight_decay": _number("weight_decay"),
    "batch_size": _number("batch_size"),
    "seed": lambda config: str(config.seed),
}


def _word(name: str, config: RunConfig, language: str) -> str:
    found = _WORDS[name](config)
    if found is None:
        return ""
    if name == "dataset":
        return dataset(config, language)
    if name == "validation" and found == "test":
        return say("name.word.validation.test", language)
    if isinstance(found, str) and has(f"choice.{name}.{found}"):
        return option(name, found, language)
    return say(f"name.word.{name}", language, value=found)
