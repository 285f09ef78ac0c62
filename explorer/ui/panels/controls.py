"""The sidebar: six controls that matter, the rest folded, and the number of parameters as they move."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st

from explorer import data
from explorer.config import labels as run_labels
from explorer.config.datasets import DATASETS
from explorer.config.fields import plain
from explorer.config.run_config import (
    ACTIVATIONS,
    DECAYING,
    DEFAULT_WEIGHT_DECAY,
    DEMAND_KINDS,
    INITIALIZERS,
    KINDS,
    OPTIMIZERS,
)
from explorer.config.url_params import Parsed, query
from explorer.engine.engine import Engine
from explorer.lessons import class_links
from explorer.ui import state
from explorer.ui.panels import lessons as lessons_panel
from explorer.ui.translate import labels, language, n, t, told

EPOCHS = (1, 2, 3, 5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 500)
WORDS = (100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000)
SAMPLES = (50, 100, 200, 300, 500, 1_000, 2_000, 4_000, 8_000, 12_000, 16_000, 20_000, 30_000, 40_000, 50_000)
BATCHES = (8, 16, 32, 64, 100, 128, 256, 500, 512, 1_024, 2_048, 4_096, 8_192)
# The setting that a widget of another name stands for.
_FIELDS = {"architecture": "hidden", "share": "validation", "early_stopping": "patience"}


def show(engine: Engine) -> Parsed:
    """Draw the sidebar.

    Returns:
        The request that it stands for, always a sound one, with messages for what had to be changed.
    """
    state.put_again()
    with st.sidebar:
        lessons_panel.choose(engine)
        _choice("dataset", tuple(DATASETS), on_change=state.dataset_changed,
                format_func=labels("dataset.{}", DATASETS))
        info = DATASETS[st.session_state["dataset"]]
        note = t(f"dataset.{info.name}.note")
        st.caption(note if data.present(info.name, engine.settings)
                   else t("controls.fetch", note=note, megabytes=f"{info.bytes / 1e6:.0f}"))
        sizes = (*state.ARCHITECTURES, state.FREE)
        _choice("architecture", sizes, label=t("control.hidden"), help=t("control.hidden.help"),
                format_func=labels("architecture.{}", sizes))
        if st.session_state["architecture"] == state.FREE and not state.is_hidden("hidden"):
            st.text_input(t("architecture.free.units"), key="hidden", help=t("control.hidden.help"),
                          persist_state="session", placeholder="256-128", max_chars=60,
                          disabled=state.is_locked("hidden"))
        # Told before the other controls are drawn, for it is what a move is watched by; they seldom change it.
        size, before = st.empty(), state.read(engine).config.parameters
        _tell_size(size, before)
        _choice("regularizer", ("none", "l1", "l2", "l1_l2"))
        # With no regularizer its strength stays in sight, but out of use: the controls do not jump about.
        kind = st.session_state["regularizer"]
        for name in ("l1", "l2"):
            if name in kind or (name, kind) == ("l2", "none"):
                label = t(f"control.{name}") if kind == "l1_l2" else t("control.strength")
                _steps(name, _logarithmic(-6, 0), label=label, disabled=kind == "none")
        _slider("dropout", 0.0, 0.9, 0.05, format="%.2f")
        _steps("epochs", [number for number in EPOCHS if number <= engine.settings.max_epochs])
        _settle_rows(engine)
        asked = state.read(engine)
        for name, icon, draw in (("data", "database", _data), ("network", "hub", _network),
                                 ("training", "tune", _training)):
            _folded(name, icon, draw, engine, asked)
        lessons_panel.choose_language()
        found = state.read(engine)
        if found.config.parameters != before:
            _tell_size(size, found.config.parameters)
    return found


def _tell_size(place, parameters: int) -> None:
    place.caption(t("controls.parameters", number=plain(parameters)))


def _settle_rows(engine: Engine) -> None:
    """What another data set or share leaves room for, whether or not its controls are in sight."""
    state, info = st.session_state, DATASETS[st.session_state["dataset"]]
    if info.is_words:
        state["num_words"] = min(state["num_words"], info.vocabulary, engine.settings.max_words)
    if (state["train_samples"] or 0) >= _room(engine):
        state["train_samples"] = None


def _room(engine: Engine) -> int:
    """The most rows there are to train on."""
    state, rows = st.session_state, DATASETS[st.session_state["dataset"]].train_rows
    share = state["share"] if state["validation"] == "holdout" else 0.0
    return min(rows - round(share * rows), engine.settings.max_samples)


def _data(engine: Engine) -> None:
    info = DATASETS[st.session_state["dataset"]]
    if info.is_words:
        most_words = min(info.vocabulary, engine.settings.max_words)
        _steps("num_words", [number for number in WORDS if number <= most_words] or [most_words], most=most_words)
    if not state.is_hidden("validation"):
        st.segmented_control(
            t("control.validation"), ("holdout", "test"), key="validation", required=True, width="stretch",
            help=t("control.validation.help"), format_func=labels("choice.validation.{}", ("holdout", "test")),
            persist_state="session", disabled=state.is_locked("validation"))
    if st.session_state["validation"] == "holdout":
        _slider("share", KINDS["validation"].low, KINDS["validation"].high, 0.01, format="percent",
                label=t("control.share"), help=t("control.validation.help"))
    room = _room(engine)
    every = t("control.train_samples.all", rows=plain(room))
    _steps("train_samples", [number for number in SAMPLES if number < room] + [None], most=room - 1,
           format_func=lambda number: every if number is None else plain(number))
    _slider("label_noise", KINDS["label_noise"].low, KINDS["label_noise"].high, 0.05, format="percent")


def _network(engine: Engine) -> None:
    _choice("activation", ACTIVATIONS)
    _toggle("batch_norm")
    _toggle("regularize_output", disabled=st.session_state["regularizer"] == "none")
    _choice("initializer", INITIALIZERS)


def _training(engine: Engine) -> None:
    _choice("optimizer", OPTIMIZERS, on_change=state.optimizer_changed)
    _steps("learning_rate", _logarithmic(-6, 1))
    if st.session_state["optimizer"] in DECAYING:
        _steps("weight_decay", sorted([0.0, *DEFAULT_WEIGHT_DECAY.values(), *_logarithmic(-6, 0)]))
    _steps("batch_size", BATCHES)
    _toggle("early_stopping", help=t("control.patience.help"))
    if st.session_state["early_stopping"]:
        _number("patience", DEMAND_KINDS["patience"], label=t("control.early_stopping.patience"))
    _number("seed", KINDS["seed"])
    if state.is_hidden("device"):
        return
    st.fragment(_wait_for_hardware, run_every=1 if engine.hardware is None else None)(engine, engine.hardware is None)
    devices = ["auto", "cpu", *(f"gpu:{gpu.index}" for gpu in (engine.hardware.gpus if engine.hardware else ()))]
    if st.session_state["device"] not in devices:
        devices.append(st.session_state["device"])
    label, automatic = engine.hardware.label if engine.hardware else str.upper, t("choice.device.auto")
    _choice("device", tuple(devices), format_func=lambda name: automatic if name == "auto" else label(name))
    if engine.hardware:
        cards = len(engine.hardware.gpus)
        st.caption(t("controls.hardware", cpu=engine.hardware.cpu, memory=f"{engine.hardware.memory_mb / 1024:.0f}",
                     cards=n("controls.cards", cards) if cards else t("controls.cards.none")))


def _wait_for_hardware(engine: Engine, was_unknown: bool) -> None:
    if engine.is_broken:
        st.caption(told(engine.why_broken) if engine.why_broken else t("controls.broken"))
    elif engine.hardware is None:
        st.caption(t("controls.looking"))
    elif was_unknown:
        st.rerun()


# -- one widget each, with the title and the help of its field ------------------------------------------------


def _folded(name: str, icon: str, draw: Callable[[Engine], None], engine: Engine, asked: Parsed) -> None:
    """Controls that are folded; where all of them are hidden, no place for them.

    They are sent once they are opened: what is not there, no move of another control draws again. While they are
    folded, those that have been moved are told, so that none is at work unseen.
    """
    if all(map(state.is_hidden, class_links.GROUPS[name])):
        return
    place = st.expander(t(f"controls.{name}"), icon=f":material/{icon}:", key=f"more_{name}", on_change="rerun")
    if place.open:
        with place:
            draw(engine)
        return
    moved = query(asked.config, asked.demand)
    words = [f"{run_labels.title(field, language())}: {_value(field, asked)}" for field in class_links.GROUPS[name]
             if field in moved and not state.is_hidden(field)]
    if words:
        st.caption(t("controls.changed", settings=" · ".join(words)))


def _value(field: str, asked: Parsed) -> str:
    if field in DEMAND_KINDS:
        return DEMAND_KINDS[field].text(getattr(asked.demand, field))
    return run_labels.value(field, asked.config, language())


def _is_drawn(name: str, more: dict[str, Any]) -> bool:
    """Whether a widget is drawn; where it is locked, without its use."""
    field = _FIELDS.get(name, name)
    more["disabled"] = more.get("disabled", False) or state.is_locked(field)
    return not state.is_hidden(field)


def _choice(name: str, options: tuple, label: str = "", help: str = "", **more) -> None:
    if not _is_drawn(name, more):
        return
    more.setdefault("format_func", partial(_option, name, language()))
    st.selectbox(label or t(f"control.{name}"), options, key=name, help=help or t(f"control.{name}.help"),
                 persist_state="session", filter_mode=None, **more)


def _option(name: str, language: str, option: str) -> str:
    return run_labels.option(name, option, language)


def _toggle(name: str, help: str = "", **more) -> None:
    if _is_drawn(name, more):
        st.toggle(t(f"control.{name}"), key=name, help=help or t(f"control.{name}.help"), persist_state="session",
                  **more)


def _slider(name: str, low: float, high: float, step: float, label: str = "", help: str = "", **more) -> None:
    if not _is_drawn(name, more):
        return
    st.slider(label or t(f"control.{name}"), float(low), float(high), step=step, key=name,
              help=help or t(f"control.{name}.help"), persist_state="session", **more)


def _number(name: str, kind, label: str = "", **more) -> None:
    if _is_drawn(name, more):
        st.number_input(label or t(f"control.{name}"), int(kind.low), int(kind.high), step=1, key=name,
                        help=t(f"control.{name}.help"), persist_state="session", **more)


def _steps(name: str, options: list | tuple, label: str = "", most: int | None = None, **more) -> None:
    """A slider over the usual values, and the one from the address where it is not among them."""
    if not _is_drawn(name, more):
        return
    extra = st.session_state["extras"].get(name)
    options = list(options)
    if extra is not None and extra not in options and (most is None or extra <= most):
        options = [*sorted([*(o for o in options if o is not None), extra]), *(o for o in options if o is None)]
    if st.session_state[name] not in options:
        numbers = [o for o in options if o is not None]
        st.session_state[name] = min(numbers, key=lambda option: abs(option - st.session_state[name]))
    more.setdefault("format_func", plain)
    st.select_slider(label or t(f"control.{name}"), options, key=name, help=t(f"control.{name}.help"),
                     persist_state="session", **more)


def _logarithmic(low: int, high: int) -> list[float]:
    """1, 2 and 5 times each power of ten, from 10^low to 10^high."""
    numbers = [float(f"{digit}e{power}") for power in range(low, high) for digit in (1, 2, 5)]
    return [*numbers, float(f"1e{high}")]
