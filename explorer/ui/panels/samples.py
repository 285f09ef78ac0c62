"""Look inside: one training example as the network gets it, the layers, and the time on each device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
import streamlit as st

from explorer import data
from explorer.analysis import model_summary
from explorer.config.fields import FieldError, plain
from explorer.config.run_config import Demand, RunConfig
from explorer.data import preview
from explorer.engine import device_times
from explorer.engine.device_times import Timing
from explorer.engine.engine import Engine, QueueFull
from explorer.engine.run_view import UNKNOWN
from explorer.i18n import count, has, say, translated
from explorer.store.sqlite import STORE_ERRORS
from explorer.store.store import FAILED, INTERRUPTED, STOPPED
from explorer.ui import drawing, hidden_results, visitor
from explorer.ui.charts import samples as samples_chart
from explorer.ui.error_boundary import unusable
from explorer.ui.translate import language as the_language
from explorer.ui.translate import shown
from explorer.workers.devices import DeviceError

REFRESH_SECONDS, WAIT_SECONDS = 1.0, 2.0
_COUNTS = {"parameters": "localized", "fixed": "localized"}
_FORMATS = {"per_epoch": "%.3f", "seconds": "%.1f", "epochs": "%d", "threads": "%d"}


def show(engine: Engine, config: RunConfig, demand: Demand) -> None:
    """Draw the look inside the data and the network; nothing of it is computed while it is folded."""
    language = the_language()
    part = st.expander(say("portrait.title", language), key="portrait", on_change="rerun",
                       icon=":material/frame_inspect:")
    if not part.open:
        return
    with part:
        # The worker prepares the data that a page opens with; nobody need press anything to see them then.
        waits = data.present(config.dataset, engine.settings) and not data.is_prepared(config.dataset, engine.settings)
        st.fragment(_example, run_every=WAIT_SECONDS if waits else None)(engine, config, language, waits)
        _layers(config, language)
        try:
            _devices(engine, config, demand, language)
        except STORE_ERRORS as error:
            st.error(shown(unusable(error)), icon=":material/error:")


# -- one training example ------------------------------------------------------------------------------------


def _example(engine: Engine, config: RunConfig, language: str, waits: bool) -> None:
    info = config.info
    st.markdown(f"**{say('portrait.example', language)}**")
    if not data.present(info.name, engine.settings):
        title = say(f"dataset.{info.name}", language)
        st.info(say("portrait.absent", language, title=title), icon=":material/database:")
        return
    if waits and data.is_prepared(info.name, engine.settings):
        st.rerun()  # the timer belongs to the page
    if waits:
        st.info(say("portrait.unprepared", language), icon=":material/hourglass_empty:")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        number = st.number_input(say("portrait.number", language, most=preview.MOST), 1, preview.MOST, step=1,
                                 key="portrait_number", persist_state="session", width=220)
        st.button(say("portrait.another", language), key="portrait_another", icon=":material/skip_next:",
                  on_click=_next)
    sample = preview.read(config, number - 1, engine.settings)
    if sample is None:
        st.info(say("portrait.unprepared", language), icon=":material/hourglass_empty:")
        return
    label = _label(config, sample.label, language)
    st.markdown(say("portrait.flipped" if sample.told != sample.label else "portrait.label", language, label=label,
                    told=_label(config, sample.told, language)))
    if info.is_words:
        _review(sample, config, language)
    else:
        _image(sample, language)


def _next() -> None:
    st.session_state["portrait_number"] = st.session_state["portrait_number"] % preview.MOST + 1


def _label(config: RunConfig, label: int, language: str) -> str:
    key = ("portrait.negative", "portrait.positive")[label] if config.info.is_words else "portrait.digit"
    return say(key, language, digit=label)


def _review(sample: preview.Sample, config: RunConfig, language: str) -> None:
    st.caption(say("portrait.vector", language, inputs=plain(sample.inputs), ones=plain(len(sample.indices)),
                   zeros=plain(sample.inputs - len(sample.indices)), columns=samples_chart.columns(sample.inputs)))
    drawing.draw(samples_chart.vector_frame(sample, sample.inputs), _vector_spec(sample.inputs, language),
                 samples_chart.vector_titles(language), "chart_vector", say("portrait.vector_alt", language))
    if sample.words:
        words = [word for index, word in zip(sample.indices, sample.words) if index not in preview.MARKS]
        st.markdown(say("portrait.words", language, number=plain(len(words)),
                        words=" · ".join(map(shown, words))))
        if config.dataset == "reviews":
            st.caption(say("portrait.made_up", language))
    else:
        st.markdown(say("portrait.indices", language, number=plain(len(sample.indices)),
                        indices=", ".join(map(plain, sample.indices))))
        st.caption(say("portrait.unnamed", language, file=preview.WORD_INDEX))


def _image(sample: preview.Sample, language: str) -> None:
    rows = samples_chart.image_frame(sample)
    for column, scaled in zip(st.columns(2), (False, True), strict=True):
        with column:
            word = "after" if scaled else "before"
            drawing.draw(rows, _image_spec(len(sample.pixels), sample.scale, scaled, language),
                         samples_chart.image_titles(language), f"chart_image_{word}", say(f"portrait.{word}", language),
                         "content")
    st.caption(say("portrait.scaled", language, scale=sample.scale, inputs=plain(sample.inputs)))


@st.cache_data(show_spinner=False, max_entries=50)
def _vector_spec(inputs: int, language: str) -> dict[str, Any]:
    return samples_chart.spec(samples_chart.vector(inputs, language))


@st.cache_data(show_spinner=False, max_entries=50)
def _image_spec(side: int, scale: int, scaled: bool, language: str) -> dict[str, Any]:
    return samples_chart.spec(samples_chart.image(side, scale, scaled, language))


def _columns(names: Iterable[str], language: str) -> dict[str, Any]:
    formats = _COUNTS | _FORMATS
    return {name: st.column_config.NumberColumn(say(f"portrait.column.{name}", language), format=formats[name])
            if name in formats else st.column_config.TextColumn(say(f"portrait.column.{name}", language))
            for name in names}


# -- the network ---------------------------------------------------------------------------------------------


def _layers(config: RunConfig, language: str) -> None:
    st.markdown(f"**{say('portrait.layers', language)}**")
    table = model_summary.table(config)
    table["layer"] = table["layer"].replace(model_summary.TOTAL, say("portrait.total", language))
    columns = [name for name in model_summary.COLUMNS if name != "fixed" or table["fixed"].any()]
    st.dataframe(table[columns], hide_index=True, key="portrait_layers", height="content",
                 column_config=_columns(columns, language))
    st.caption(say("portrait.layers_note", language, inputs=plain(config.inputs)))


# -- the time of this run on each device ---------------------------------------------------------------------


def _devices(engine: Engine, config: RunConfig, demand: Demand, language: str) -> None:
    st.markdown(f"**{say('portrait.devices', language)}**")
    is_known = engine.hardware is not None
    wanted, found = _look(engine, config, demand) if is_known else (demand, [])
    run_id = engine.run_id(config)
    is_live = (not is_known and not engine.is_broken) or any(one.view and one.view.is_live for one in found)
    _carry_on(engine, run_id, wanted, found)
    is_live = is_live or "timing" in st.session_state
    missing = [one for one in found if one.is_missing and one.config != config]
    if missing and _is_trained(found, config) and not is_live:
        st.button(say("portrait.time", language), key="portrait_time", icon=":material/timer:",
                  on_click=_time, args=(run_id, [one.device for one in missing]),
                  help=say("portrait.time_help", language))
    problem = st.session_state.pop("portrait_problem", None)
    if problem:
        st.error(shown(translated(problem, language)), icon=":material/error:")
    panel = st.fragment(_times, run_every=REFRESH_SECONDS if is_live else None)
    panel(engine, config, demand, language, is_known, is_live)


def _look(engine: Engine, config: RunConfig, demand: Demand) -> tuple[Demand, list[Timing]]:
    """What is asked of each device, and how far it is known."""
    hardware = engine.hardware
    names = ["cpu"] if engine.settings.device == "cpu" else hardware.names
    own = hidden_results.view(config, engine.look(engine.run_id(config), demand))
    # As many epochs as the run itself has, should early stopping have ended it.
    wanted = Demand(len(own.epochs) if own.epochs and not own.is_live else demand.epochs)
    # Where there is but one device, nothing is to be looked for.
    others = device_times.candidates(config)[1:] if len(names) > 1 else []
    looked = [(config, own), *((one, engine.look(engine.run_id(one), wanted)) for one in others)]
    return wanted, device_times.timings({name: hardware.label(name) for name in names}, looked)


def _is_trained(found: list[Timing], config: RunConfig) -> bool:
    return any(one.config == config and one.seconds is not None for one in found)


def _time(run_id: str, devices: list[str]) -> None:
    st.session_state["timing"] = (run_id, devices)


def _carry_on(engine: Engine, run_id: str, wanted: Demand, found: list[Timing]) -> None:
    """Ask for the next device that is to be timed; one after another, for side by side they would slow each other."""
    asked, devices = st.session_state.get("timing", (run_id, []))
    if asked != run_id or not devices:
        st.session_state.pop("timing", None)  # the controls have moved on, or all are asked for
        return
    if any(one.view and one.view.is_live for one in found):
        return
    device, rest = devices[0], devices[1:]
    st.session_state["timing"] = (run_id, rest)
    for one in found:
        if one.device == device and one.is_missing:
            try:
                asked_for = engine.submit(one.config, Demand(wanted.epochs, device=device), visitor.person())
                st.session_state["timed"] = (run_id, asked_for, one.label)
            except (FieldError, DeviceError, QueueFull) as error:
                st.session_state["portrait_problem"] = str(error)
                del st.session_state["timing"]


def _times(engine: Engine, config: RunConfig, demand: Demand, language: str, was_known: bool, was_live: bool) -> None:
    if engine.hardware is None:
        st.caption(translated(engine.why_broken, language) if engine.why_broken else
                   say("portrait.broken" if engine.is_broken else "portrait.looking", language))
        return
    try:
        _, found = _look(engine, config, demand)
        failed = _failed(engine, config, demand)
    except STORE_ERRORS as error:
        st.error(shown(unusable(error)), icon=":material/error:")
        return
    if not was_known or any(one.view and one.view.is_live for one in found) != was_live:
        st.rerun()  # the button and the timer belong to the page, and so does the next device
    st.dataframe(pd.DataFrame([_row(one, config, language) for one in found]).astype(dict.fromkeys(_FORMATS, float)),
                 hide_index=True, key="portrait_devices", height="content", placeholder="–",
                 column_config=_columns(("device", *_FORMATS, "run", "state"), language))
    if failed:
        device, reason = failed
        st.warning(say("portrait.failed", language, device=shown(device),
                       reason=shown(translated(reason, language))), icon=":material/warning:")
    if not _is_trained(found, config):
        st.caption(say("portrait.untrained", language))
    if len(engine.hardware.names) == 1 or engine.settings.device == "cpu":
        st.caption(say("portrait.one_device", language))
    elif any(one.config is None for one in found):
        st.caption(count("portrait.no_seed", language, device_times.MAX_SEEDS))
    else:
        st.caption(say("portrait.other_seeds", language))


def _failed(engine: Engine, config: RunConfig, demand: Demand) -> tuple[str, str] | None:
    """The device that was timed last and why it has no time; a run that fails early does not even name its device."""
    run_id, timed, device = st.session_state.get("timed", ("", "", ""))
    run = engine.look(timed, demand).run if run_id == engine.run_id(config) else None
    return (device, run.message) if run and run.status in (FAILED, INTERRUPTED, STOPPED) else None


def _row(one: Timing, config: RunConfig, language: str) -> dict[str, Any]:
    row: dict[str, Any] = {"device": one.label, **dict.fromkeys(_FORMATS), "run": None, "state": _state(one, language)}
    if one.view is not None:
        row |= {"per_epoch": one.view.seconds_per_epoch, "seconds": one.seconds,
                "epochs": len(one.view.epochs) or None, "threads": one.view.run.threads or None}
        row["run"] = (say("portrait.this_run", language) if one.config == config
                      else say("portrait.seed", language, seed=plain(one.config.seed)))
    return row


def _state(one: Timing, language: str) -> str:
    word = one.view.state if one.view else UNKNOWN
    return say(f"portrait.state.{word}", language) if has(f"portrait.state.{word}") else word
