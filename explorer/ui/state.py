"""The page's state: from the address into the widgets, and from the widgets back into the address."""

from __future__ import annotations

import time

import streamlit as st

from explorer.analysis import comparison, sweep
from explorer.config.fields import FieldError
from explorer.config.run_config import (
    DECAYING,
    DEFAULT_LEARNING_RATE,
    DEFAULT_WEIGHT_DECAY,
    DEMAND_KINDS,
    KINDS,
    Demand,
    RunConfig,
)
from explorer.config.url_params import Parsed, explain, parse, query
from explorer.engine.engine import Engine
from explorer.lessons import Part, class_links
from explorer.lessons.presets import all_available, available
from explorer.ui.translate import browsers

# Sizes by name, and the name of every other size; `hidden` itself is in the address.
ARCHITECTURES = {
    "tiny": (4, 4), "small": (16, 16), "medium": (64, 64), "large": (512, 512), "huge": (1024, 1024),
    "deep": (100,) * 6,
}
FREE = "free"
# Longer than this after it was left, an address is one that somebody has gone back to.
LATE_SECONDS = 3.0


def open_address(engine: Engine, default_dataset: str) -> None:
    """Put the address's settings into the widgets when it is new to this session."""
    asked = st.query_params.to_dict()
    if st.session_state.get("address") == asked:
        return
    # A control that is moved before the browser has heard of the last move still sends the address before it.
    left = st.session_state.get("left", {}).get(str(sorted(asked.items())))
    if left is not None and time.monotonic() - left < LATE_SECONDS:
        return
    found = parse(asked, RunConfig(dataset=default_dataset)).within(engine.settings)
    demand, errors = found.demand, found.errors
    if engine.hardware and demand.device != "auto" and demand.device not in engine.hardware.names:
        names = ", ".join(engine.hardware.names)
        errors = [*errors, FieldError("device", f"auto or one of {names} on this machine", demand.device, "auto")]
        demand = Demand(demand.epochs, demand.patience)
    st.session_state["messages"] = [explain(error) for error in errors]
    st.session_state["left"] = {}
    fill(found.config, demand)
    fill_grid(asked.get("grid", ""), engine, found.config)
    st.session_state["compared"], unsound = comparison.read(asked.get("compare", ""), engine.settings)
    st.session_state["messages"] += unsound
    _fill_lesson(asked)
    st.session_state["address"] = asked


def _fill_lesson(asked: dict[str, str]) -> None:
    """Set the lesson, the language and what an instructor has fixed to those of an address; a lesson's runs are loaded
    where it names none."""
    link, unsound = class_links.read(asked, browsers())
    st.session_state["messages"] += unsound
    st.session_state.update(lesson=link.lesson, lesson_part=link.part, language=link.language or browsers(),
                            predict=link.predict, lesson_seed=link.seed if link.lesson else None,
                            hidden_controls=link.hidden, locked_controls=link.locked)
    if link.lesson and "compare" not in asked:
        # Controls that the address names stay as they are: the learner had gone on from the lesson's own runs. A seed
        # alone is the lesson's.
        st.session_state["lesson_to_load"] = not asked.keys() & ((KINDS.keys() | DEMAND_KINDS.keys()) - {"seed"})


def lesson(engine: Engine) -> Part:
    """The chosen part of the chosen lesson, as it is trained here, with the seed that an instructor has fixed."""
    state = st.session_state
    return available(state["lesson"], state["lesson_part"], engine.settings, state["lesson_seed"])


def lesson_parts(engine: Engine) -> list[Part]:
    """All parts of the chosen lesson, as they are trained here."""
    state = st.session_state
    return all_available(state["lesson"], engine.settings, state["lesson_seed"])


def is_hidden(control: str) -> bool:
    """Whether the address that the page was opened with leaves a control out."""
    return control in st.session_state["hidden_controls"]


def is_locked(control: str) -> bool:
    """Whether it keeps a control from being moved."""
    return control in st.session_state["locked_controls"]


def is_guided() -> bool:
    """Whether an instructor has made the address that the page was opened with, as far as can be seen."""
    return bool(st.session_state["hidden_controls"] or st.session_state["locked_controls"])


def fill(config: RunConfig, demand: Demand) -> None:
    """Set every widget to a request; a slider gets a step of its own for a value between its usual ones."""
    st.session_state["extras"] = {
        "l1": config.l1 or None, "l2": config.l2 or None, "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay, "batch_size": config.batch_size, "epochs": demand.epochs,
        "num_words": config.num_words, "train_samples": config.train_samples,
    }
    names = {hidden: name for name, hidden in ARCHITECTURES.items()}
    put({
        "dataset": config.dataset,
        "num_words": config.num_words or 10_000,
        "train_samples": config.train_samples,
        "label_noise": config.label_noise,
        "validation": "test" if config.validation == "test" else "holdout",
        "share": 0.2 if config.validation == "test" else config.validation,
        "architecture": names.get(config.hidden, FREE),
        "hidden": "-".join(map(str, config.hidden)),
        "activation": config.activation,
        "batch_norm": config.batch_norm,
        "regularizer": config.regularizer,
        "l1": config.l1 or 1e-4,
        "l2": config.l2 or 1e-3,
        "regularize_output": config.regularize_output,
        "dropout": config.dropout,
        "initializer": config.initializer,
        "optimizer": config.optimizer,
        "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay,
        "batch_size": config.batch_size,
        "seed": config.seed,
        "epochs": demand.epochs,
        "early_stopping": demand.patience is not None,
        "patience": demand.patience or 5,
        "device": demand.device,
    })


def put(values: dict[str, object]) -> None:
    """Set widgets, in a callback or before they are drawn."""
    st.session_state.update(values)
    st.session_state["put"] = st.session_state.get("put", {}) | values


def rerun_if_put() -> None:
    """In a part of the page that is drawn by itself: where it has just set widgets, they belong to the page."""
    if st.session_state.get("put"):
        st.rerun()


def put_again() -> None:
    """Before the widgets are drawn: set those that have been put once more.

    A timer of the page may have sent what they held before that, and a run of the script that is asked for meanwhile
    would take it for the newer.
    """
    st.session_state.update(st.session_state.get("put", {}))
    st.session_state["put"] = {}


def read(engine: Engine) -> Parsed:
    """The request that the widgets stand for, with a message for whatever in it is not sound."""
    state = st.session_state
    regularizer = state["regularizer"]
    hidden = state["hidden"] if state["architecture"] == FREE else ARCHITECTURES[state["architecture"]]
    values = {
        "dataset": state["dataset"],
        "label_noise": state["label_noise"],
        "validation": "test" if state["validation"] == "test" else state["share"],
        "hidden": hidden if isinstance(hidden, str) else "-".join(map(str, hidden)),
        "activation": state["activation"],
        "batch_norm": state["batch_norm"],
        "l1": state["l1"] if regularizer in ("l1", "l1_l2") else 0,
        "l2": state["l2"] if regularizer in ("l2", "l1_l2") else 0,
        "regularize_output": state["regularize_output"],
        "dropout": round(state["dropout"], 6),
        "initializer": state["initializer"],
        "optimizer": state["optimizer"],
        "learning_rate": state["learning_rate"],
        "batch_size": state["batch_size"],
        "seed": state["seed"],
        "epochs": state["epochs"],
        "device": state["device"],
    }
    if "num_words" in state:
        values["num_words"] = state["num_words"]
    if state["train_samples"] is not None:
        values["train_samples"] = state["train_samples"]
    if state["optimizer"] in DECAYING:
        values["weight_decay"] = state["weight_decay"]
    if state["early_stopping"]:
        values["patience"] = state["patience"]
    return parse(values).within(engine.settings)


def fill_grid(text: str, engine: Engine, base: RunConfig) -> None:
    """Set the widgets of the sweep to the grid of an address; without one, it is folded."""
    found, errors = sweep.parse(text, base, engine.settings) if text else (None, [])
    st.session_state["messages"] += [sweep.explain(error) for error in errors]
    st.session_state["sweep"] = found is not None
    if found is None:
        found = sweep.Grid(*(sweep.read(field, sweep.opening(field, base, engine.settings), base, engine.settings)[0]
                             for field in ("l2", "dropout")))
    for side, axis in (("across", found.across), ("down", found.down)):
        st.session_state[side] = axis.field if axis else sweep.NOTHING
        st.session_state[f"{side}_values"] = axis.texts if axis else []


def read_grid(engine: Engine, base: RunConfig) -> tuple[sweep.Grid | None, list[str]]:
    """The grid that the sweep's widgets stand for, `None` while one of its axes has no value, and what is not sound
    in it. Where the data do not have what lay along an axis, another one does."""
    state = st.session_state
    fields = sweep.fields_for(base)
    if state["across"] not in fields:
        state["across"] = next(field for field in fields if field != state["down"])
        axis_changed("across", engine, base)
    if state["down"] != sweep.NOTHING and (state["down"] not in fields or state["down"] == state["across"]):
        state["down"], state["down_values"] = sweep.NOTHING, []
    axes, messages = [], []
    for side in ("across", "down"):
        if state[side] != sweep.NOTHING:
            axis, errors = sweep.read(state[side], state[f"{side}_values"][:sweep.MAX_RUNS], base, engine.settings)
            axes.append(axis)
            messages += [sweep.explain(error) for error in errors]
    return None if None in axes else sweep.Grid(*axes), messages


def axis_changed(side: str, engine: Engine, base: RunConfig) -> None:
    """Another setting along an axis starts with its usual values."""
    field = st.session_state[side]
    st.session_state[f"{side}_values"] = [] if field == sweep.NOTHING else sweep.opening(field, base, engine.settings)


def values_changed(side: str) -> None:
    """What was typed is taken apart, and numbers keep their order."""
    st.session_state[f"{side}_values"] = sweep.placed(st.session_state[side], st.session_state[f"{side}_values"])


def write_address(engine: Engine, config: RunConfig, demand: Demand, grid: sweep.Grid | None = None) -> None:
    """Let the address say what the page shows, so that it can be copied at any time; a grid while it is open."""
    wanted = query(config, demand)
    if grid and st.session_state["sweep"] and grid.runs <= sweep.MAX_RUNS:
        wanted["grid"] = grid.text
    name, part, seed = (st.session_state[key] for key in ("lesson", "lesson_part", "lesson_seed"))
    compared = comparison.text(st.session_state["compared"])
    wanted |= class_links.restrictions(st.session_state["hidden_controls"], st.session_state["locked_controls"])
    if name:
        wanted["lesson"] = name
        if seed is not None:
            wanted[class_links.LESSON_SEED] = str(seed)
        if part:
            wanted["part"] = str(part + 1)
        if not st.session_state["predict"]:
            wanted["predict"] = "off"
    # A lesson's own runs need not be named: the address stays short enough to be read out.
    if compared and not (name and compared == comparison.text(lesson(engine).entries())):
        wanted["compare"] = compared
    if st.session_state["language"] != browsers():
        wanted["lang"] = st.session_state["language"]
    foreign = {name: value for name, value in st.query_params.to_dict().items() if name.startswith("embed")}
    wanted = {**foreign, **wanted}
    before = st.session_state["address"]
    if before != wanted:
        now = time.monotonic()
        recent = {text: at for text, at in st.session_state["left"].items() if now - at < LATE_SECONDS}
        st.session_state["left"] = recent | {str(sorted(before.items())): now}
    if st.query_params.to_dict() != wanted:
        st.query_params.from_dict(wanted)
    st.session_state["address"] = wanted


def compare(config: RunConfig, demand: Demand) -> None:
    """Add a run to the comparison, or say why it cannot be."""
    try:
        st.session_state["compared"] = comparison.with_run(st.session_state["compared"], config, demand)
    except comparison.Full as error:
        st.session_state["problem"] = str(error)


def keep(config: RunConfig, demand: Demand) -> None:
    """Add a run to the comparison if there is room for it."""
    try:
        st.session_state["compared"] = comparison.with_run(st.session_state["compared"], config, demand)
    except comparison.Full:
        pass


def optimizer_changed() -> None:
    """Another optimizer starts from its own defaults."""
    optimizer = st.session_state["optimizer"]
    st.session_state["learning_rate"] = DEFAULT_LEARNING_RATE[optimizer]
    st.session_state["weight_decay"] = DEFAULT_WEIGHT_DECAY.get(optimizer, 0.0)


def dataset_changed() -> None:
    """Another data set has rows of its own to choose from."""
    st.session_state["train_samples"] = None
