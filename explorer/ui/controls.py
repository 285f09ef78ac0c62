"""The sidebar: six controls that matter, the rest folded, and the number of parameters as they move."""

from __future__ import annotations

import streamlit as st

from explorer import data, texts
from explorer.address import Parsed
from explorer.catalogue import DATASETS
from explorer.config import ACTIVATIONS, DECAYING, DEFAULT_WEIGHT_DECAY, DEMAND_KINDS, INITIALIZERS, KINDS, OPTIMIZERS
from explorer.engine import Engine
from explorer.fields import plain
from explorer.ui import lessons, state

EPOCHS = (1, 2, 3, 5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 500)
WORDS = (100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000)
SAMPLES = (50, 100, 200, 300, 500, 1_000, 2_000, 4_000, 8_000, 12_000, 16_000, 20_000, 30_000, 40_000, 50_000)
BATCHES = (8, 16, 32, 64, 100, 128, 256, 500, 512, 1_024, 2_048, 4_096, 8_192)


def show(engine: Engine) -> Parsed:
    """Draw the sidebar.

    Returns:
        The request that it stands for, always a sound one, with messages for what had to be changed.
    """
    with st.sidebar:
        lessons.choose(engine)
        _choice("dataset", tuple(DATASETS), on_change=state.dataset_changed,
                format_func=lambda name: DATASETS[name].title)
        info = DATASETS[st.session_state["dataset"]]
        st.caption(info.note if data.present(info.name, engine.settings)
                   else f"{info.note} Not on this machine yet: Train fetches {info.bytes / 1e6:.0f} MB first.")
        _choice("architecture", (*texts.ARCHITECTURES, state.FREE), label=texts.TITLES["hidden"],
                help=texts.HELP["hidden"])
        if st.session_state["architecture"] == state.FREE:
            st.text_input("Units of each hidden layer", key="hidden", help=texts.HELP["hidden"],
                          persist_state="session", placeholder="256-128", max_chars=60)
        # Told before the other controls are drawn, for it is what a move is watched by; they seldom change it.
        size, before = st.empty(), state.read(engine).config.parameters
        _tell_size(size, before)
        _choice("regularizer", tuple(texts.CHOICES["regularizer"]))
        # With no regularizer its strength stays in sight, but out of use: the controls do not jump about.
        kind = st.session_state["regularizer"]
        for name in ("l1", "l2"):
            if name in kind or (name, kind) == ("l2", "none"):
                label = texts.TITLES[name] if kind == "l1_l2" else "Strength"
                _steps(name, _logarithmic(-6, 0), label=label, disabled=kind == "none")
        _slider("dropout", 0.0, 0.9, 0.05, format="%.2f")
        _steps("epochs", [number for number in EPOCHS if number <= engine.settings.max_epochs])
        with st.expander("More about the data", icon=":material/database:"):
            _data(engine)
        with st.expander("More about the network", icon=":material/hub:"):
            _choice("activation", ACTIVATIONS)
            st.toggle(texts.TITLES["batch_norm"], key="batch_norm", help=texts.HELP["batch_norm"])
            st.toggle(texts.TITLES["regularize_output"], key="regularize_output",
                      disabled=st.session_state["regularizer"] == "none", help=texts.HELP["regularize_output"])
            _choice("initializer", INITIALIZERS)
        with st.expander("More about training", icon=":material/tune:"):
            _training(engine)
        lessons.choose_language()
        found = state.read(engine)
        if found.config.parameters != before:
            _tell_size(size, found.config.parameters)
    return found


def _tell_size(place, parameters: int) -> None:
    place.caption(f"**{plain(parameters)}** trainable parameters")


def _data(engine: Engine) -> None:
    info = DATASETS[st.session_state["dataset"]]
    most_words = min(info.vocabulary, engine.settings.max_words)
    if info.is_words:
        st.session_state["num_words"] = min(st.session_state["num_words"], most_words)
        _steps("num_words", [number for number in WORDS if number <= most_words] or [most_words], most=most_words)
    st.segmented_control(
        texts.TITLES["validation"], ("holdout", "test"), key="validation", required=True, width="stretch",
        help=texts.HELP["validation"],
        format_func=lambda name: {"holdout": "Held-out part", "test": "Test set"}[name])
    share = 0.0
    if st.session_state["validation"] == "holdout":
        _slider("share", KINDS["validation"].low, KINDS["validation"].high, 0.01, format="percent",
                label="Held-out share", help=texts.HELP["validation"])
        share = st.session_state["share"]
    room = min(info.train_rows - round(share * info.train_rows), engine.settings.max_samples)
    if (st.session_state["train_samples"] or 0) >= room:
        st.session_state["train_samples"] = None
    _steps("train_samples", [number for number in SAMPLES if number < room] + [None], most=room - 1,
           format_func=lambda number: f"all {plain(room)}" if number is None else plain(number))
    _slider("label_noise", KINDS["label_noise"].low, KINDS["label_noise"].high, 0.05, format="percent")


def _training(engine: Engine) -> None:
    _choice("optimizer", OPTIMIZERS, on_change=state.optimizer_changed)
    _steps("learning_rate", _logarithmic(-6, 1))
    if st.session_state["optimizer"] in DECAYING:
        _steps("weight_decay", sorted([0.0, *DEFAULT_WEIGHT_DECAY.values(), *_logarithmic(-6, 0)]))
    _steps("batch_size", BATCHES)
    st.toggle("Early stopping", key="early_stopping", help=texts.HELP["patience"])
    if st.session_state["early_stopping"]:
        _number("patience", DEMAND_KINDS["patience"], label="Patience in epochs")
    _number("seed", KINDS["seed"])
    st.fragment(_wait_for_hardware, run_every=1 if engine.hardware is None else None)(engine, engine.hardware is None)
    devices = ["auto", "cpu", *(f"gpu:{gpu.index}" for gpu in (engine.hardware.gpus if engine.hardware else ()))]
    if st.session_state["device"] not in devices:
        devices.append(st.session_state["device"])
    label = engine.hardware.label if engine.hardware else str.upper
    _choice("device", tuple(devices), format_func=lambda name: "Automatic" if name == "auto" else label(name))
    if engine.hardware:
        st.caption(f"{engine.hardware.cpu}, {engine.hardware.memory_mb / 1024:.0f} GB of memory, "
                   f"{len(engine.hardware.gpus) or 'no'} graphics card{'s' if len(engine.hardware.gpus) != 1 else ''}")


def _wait_for_hardware(engine: Engine, was_unknown: bool) -> None:
    if engine.is_broken:
        st.caption("The training process does not start: run `python -m explorer doctor` to see why.")
    elif engine.hardware is None:
        st.caption("Looking for the hardware …")
    elif was_unknown:
        st.rerun()


# -- one widget each, with the title and the help of its field ------------------------------------------------


def _choice(name: str, options: tuple, label: str = "", help: str = "", **more) -> None:
    words = texts.CHOICES.get(name, {})
    more.setdefault("format_func", lambda option: words.get(option, option))
    st.selectbox(label or texts.TITLES[name], options, key=name, help=help or texts.HELP[name],
                 persist_state="session", filter_mode=None, **more)


def _slider(name: str, low: float, high: float, step: float, label: str = "", help: str = "", **more) -> None:
    st.slider(label or texts.TITLES[name], float(low), float(high), step=step, key=name,
              help=help or texts.HELP[name], persist_state="session", **more)


def _number(name: str, kind, label: str = "") -> None:
    st.number_input(label or texts.TITLES[name], int(kind.low), int(kind.high), step=1, key=name,
                    help=texts.HELP[name], persist_state="session")


def _steps(name: str, options: list | tuple, label: str = "", most: int | None = None, **more) -> None:
    """A slider over the usual values, and the one from the address where it is not among them."""
    extra = st.session_state["extras"].get(name)
    options = list(options)
    if extra is not None and extra not in options and (most is None or extra <= most):
        options = [*sorted([*(o for o in options if o is not None), extra]), *(o for o in options if o is None)]
    if st.session_state[name] not in options:
        numbers = [o for o in options if o is not None]
        st.session_state[name] = min(numbers, key=lambda option: abs(option - st.session_state[name]))
    more.setdefault("format_func", plain)
    st.select_slider(label or texts.TITLES[name], options, key=name, help=texts.HELP[name],
                     persist_state="session", **more)


def _logarithmic(low: int, high: int) -> list[float]:
    """1, 2 and 5 times each power of ten, from 10^low to 10^high."""
    numbers = [float(f"{digit}e{power}") for power in range(low, high) for digit in (1, 2, 5)]
    return [*numbers, float(f"1e{high}")]
