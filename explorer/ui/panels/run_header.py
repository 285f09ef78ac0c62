"""The head of a run: what it is called, its buttons and what they do, and runs of one's own that train elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from explorer.config import labels
from explorer.config.fields import FieldError, plain
from explorer.config.run_config import Demand, RunConfig
from explorer.engine.engine import Engine, QueueFull
from explorer.engine.run_view import DONE, RunView
from explorer.store.sqlite import STORE_ERRORS
from explorer.ui import hidden_results, state, submit, visitor
from explorer.ui.error_boundary import guarded, unusable
from explorer.ui.panels import lessons as lessons_panel
from explorer.ui.translate import language, n, t, told
from explorer.workers.devices import DeviceError

# Runs that train while another is on the page are looked at this often; of those that have ended, so many are told of.
ELSEWHERE_SECONDS, MAX_ENDED = 1.0, 3


def _title(config: RunConfig) -> str:
    return t("live.run", name=labels.short(config, language()), dataset=labels.dataset(config, language()))


def show(engine: Engine, config: RunConfig, demand: Demand, run_id: str, view: RunView) -> None:
    """Draw what the run is called, and its buttons."""
    with st.container():
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            words = t("live.words", words=plain(config.num_words)) if config.num_words else ""
            with st.container(width="stretch", gap=None):
                st.markdown(f"{_title(config)}{words}")
                st.caption(t("live.size", parameters=plain(config.parameters), rows=plain(config.rows)))
            with st.container(horizontal=True, width="content"):
                _buttons(engine, config, demand, run_id, view)
        problem = st.session_state.pop("problem", None)
        if problem:
            st.error(told(problem), icon=":material/error:")


def _buttons(engine: Engine, config: RunConfig, demand: Demand, run_id: str, view: RunView) -> None:
    held = hidden_results.why_not(config)
    ask = {"on_click": _submit, "args": (engine, config, demand), "type": "primary", "disabled": bool(held)}
    missing, live = lessons_panel.stand(engine, config, demand)
    if view.is_live and len(live) > 1:
        st.button(n("live.stop_lesson", len(live)), key="stop", icon=":material/stop:", on_click=_stop,
                  args=(engine, *live), help=t("live.stop.help"))
    elif view.is_live:
        st.button(t("live.stop"), key="stop", icon=":material/stop:", on_click=_stop, args=(engine, run_id),
                  disabled=bool(view.run and view.run.stop), help=t("live.stop.help"))
    elif missing and missing != [(config, demand)]:
        # A lesson is about all of its runs: one alone would answer nothing.
        held = hidden_results.why_not(*(one for one, _ in missing))
        st.button(n("live.train_lesson", len(missing)), key="train", icon=":material/play_arrow:", type="primary",
                  on_click=_submit_all, args=(engine, missing), disabled=bool(held),
                  help=held or t("live.train_lesson.help"))
    elif view.state == DONE:
        st.button(t("live.trained"), key="train", icon=":material/check:", disabled=True, help=t("live.trained.help"))
    elif view.reached:
        st.button(t("live.continue", epochs=demand.epochs), key="continue", icon=":material/play_arrow:",
                  help=held or t("live.continue.help", reached=view.reached), **ask)
    else:
        st.button(t("live.train"), key="train", icon=":material/play_arrow:", help=held or t("live.train.help"), **ask)
    beside = any(entry.config == config and not entry.again for entry in st.session_state["compared"])
    st.button(t("live.compared" if beside else "live.compare"), key="compare", icon=":material/stacked_line_chart:",
              on_click=_compare, args=(config, demand), disabled=beside, help=t("live.compare.help"))


def _submit(engine: Engine, config: RunConfig, demand: Demand) -> None:
    try:
        run_id = engine.submit(config, demand, visitor.person())
    except (FieldError, DeviceError, QueueFull) as error:
        st.session_state["problem"] = str(error)
    except STORE_ERRORS as error:
        st.session_state["problem"] = unusable(error)
    else:
        st.session_state.setdefault("mine", {})[run_id] = (config, demand)
        hidden_results.trained(config, demand)
    _draw_others()


def _submit_all(engine: Engine, wanted: Sequence[tuple[RunConfig, Demand]]) -> None:
    problem = submit.submit(engine, wanted)
    if problem:
        st.session_state["problem"] = problem
    else:
        st.session_state.setdefault("mine", {}).update((engine.run_id(config), (config, demand))
                                                       for config, demand in wanted)
    _draw_others()


def _draw_others() -> None:
    """After a press: where other parts of the page show runs too, the whole of it is drawn."""
    shown = st.session_state
    shown["draw_whole_page"] = bool(shown["compared"] or shown["lesson"] or shown["sweep"] or shown.get("portrait"))


def _compare(config: RunConfig, demand: Demand) -> None:
    state.compare(config, demand)
    st.session_state["draw_whole_page"] = True


def _stop(engine: Engine, *run_ids: str) -> None:
    try:
        for run_id in run_ids:
            engine.stop(run_id)
    except STORE_ERRORS as error:
        st.session_state["problem"] = f"The run could not be stopped just now ({error}). Try again."
    _draw_others()


def elsewhere(engine: Engine, run_id: str) -> None:
    """Runs that this visitor has started and moved away from: while they train on, and until he has seen their end."""
    mine = st.session_state.get("mine", {})
    views = _left(engine, run_id, fresh=True)
    ended = [other for other, view in views.items() if not view.is_live]
    for other in ended[:-MAX_ENDED]:
        del mine[other], views[other]
    for other in mine.keys() & ({run_id} | lessons_panel.run_ids(engine)):
        if not engine.look(other, mine[other][1]).is_live:
            del mine[other]  # its end is seen where it is shown
    if not views:
        return  # even an empty part of the page takes room
    is_live = any(view.is_live for view in views.values())
    st.fragment(_elsewhere, run_every=ELSEWHERE_SECONDS if is_live else None)(engine, run_id, is_live)


def _left(engine: Engine, run_id: str, fresh: bool = False) -> dict[str, RunView]:
    """How the visitor's runs stand, but for the one that is on the page, and a lesson's, which it compares."""
    shown = {run_id} | lessons_panel.run_ids(engine)
    return {other: engine.view(other, engine.sight(other, fresh), demand)
            for other, (_, demand) in st.session_state.get("mine", {}).items() if other not in shown}


@guarded
def _elsewhere(engine: Engine, run_id: str, was_live: bool) -> None:
    state.rerun_if_put()
    mine, views = st.session_state.get("mine", {}), _left(engine, run_id)
    if was_live and not any(view.is_live for view in views.values()):
        st.rerun()  # the timer belongs to the page
    for other, view in views.items():
        config, demand = mine[other]
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(t("live.elsewhere" if view.is_live else "live.elsewhere.ended", run=_title(config),
                         reached=view.reached, epochs=demand.epochs), width="content")
            st.button(t("live.elsewhere.show"), key=f"show_{other}", type="tertiary", on_click=state.fill,
                      args=(config, demand))
            if view.is_live:
                st.button(t("live.elsewhere.stop"), key=f"stop_{other}", type="tertiary", on_click=_stop,
                          args=(engine, other))
