"""Predict first: a learner's guesses about the runs of a lesson, asked for before they are seen and scored after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from explorer.analysis import prediction
from explorer.analysis.comparison import ComparedRun, Result
from explorer.analysis.prediction import ENDS, Prediction
from explorer.engine.engine import Engine
from explorer.engine.run_view import DONE
from explorer.lessons import Part
from explorer.store.sqlite import STORE_ERRORS
from explorer.ui import drawing, hidden_results
from explorer.ui import submit as submission
from explorer.ui.charts import comparison as comparison_chart
from explorer.ui.charts import prediction as prediction_chart
from explorer.ui.hidden_results import Key
from explorer.ui.translate import language, n, shown, t, told


def toggle() -> None:
    """The switch, in the sidebar below the choice of a lesson."""
    st.toggle(t("predict.toggle"), key="predict", help=t("predict.toggle.help"), persist_state="session")


def forget() -> None:
    """Ask for nothing: there is no lesson."""
    hidden_results.put_on(())


def show(engine: Engine, part: Part, names: Sequence[str]) -> None:
    """Ask what the learner expects of the runs of a lesson; in the lesson's panel.

    What is known already is covered until then, unless the learner has had it trained himself.

    Args:
        names: one a run of the lesson.
    """
    forget()
    st.session_state.pop("predict_sent", None)
    with st.container():
        problem = st.session_state.pop("predict_problem", None)
        if problem:
            st.error(told(problem), icon=":material/error:")
        if not st.session_state["predict"]:
            return
        entries, settled = part.entries(), hidden_results.settled()
        asked = [place for place, entry in enumerate(entries) if entry.key not in settled]
        hidden_results.put_on(entries[place].key for place in asked)
        try:
            views = submission.look(engine, [(entry.config, entry.asked) for entry in entries])
        except STORE_ERRORS:
            return  # the run below says so
        if asked:
            st.fragment(_form)(engine, entries, names, asked, [views[place].state == DONE for place in asked])
        elif any(settled.get(entry.key) for entry in entries):
            st.caption(t("predict.made"))


def guess_of(key: Key) -> int | None:
    """The epoch that is guessed to be a run's best, once the run has been asked for and while predictions are on."""
    if not (st.session_state.get("lesson") and st.session_state.get("predict")):
        return None
    made = hidden_results.settled().get(key)
    return made.best_epoch if made else None


def show_scores(part: Part, names: Sequence[str], results: Mapping[Any, Result | None]) -> None:
    """Each guess about a run that is done, beside what was measured.

    Args:
        names: one a run of the lesson.
        results: of the runs that are done, by their config and the epochs trained before.
    """
    if not st.session_state.get("predict"):
        return
    entries, settled, said = part.entries(), hidden_results.settled(), []
    reference = results.get(entries[0].key)
    for entry, name in zip(entries, names, strict=True):
        made = settled.get(entry.key)
        if made and entry.key in results:
            found = prediction.score(made, results[entry.key], reference, entry.demand.epochs)
            said.append(f"- **{shown(name)}**: {shown(prediction.sentence(made, found, language()))}")
    if said:
        st.markdown(f"**{t('predict.scores')}**")
        st.markdown("\n".join(said))


# -- what is remembered --------------------------------------------------------------------------------------


def _drafts() -> dict[Key, Prediction]:
    """Guesses that can still be changed."""
    return st.session_state.setdefault("predict_drafts", {})


# -- the form ------------------------------------------------------------------------------------------------


def _form(engine: Engine, entries: Sequence[ComparedRun], names: Sequence[str], asked: Sequence[int],
          known: Sequence[bool]) -> None:
    if st.session_state.pop("predict_sent", False):
        st.rerun()  # buttons, curves and timers belong to the page
    about = [entries[place].key for place in asked]
    # Streamlit forgets which run was open while the lesson is not on the page.
    if st.session_state.get("predict_about") != about or st.session_state.get("predict_run") not in asked:
        st.session_state["predict_about"] = about
        _open(asked[0])
    st.markdown(f"**{t('predict.title')}**")
    st.markdown(t("predict.ask"))
    if any(known):
        st.caption(n("predict.covered", sum(known)))
    if len(asked) > 1:
        done = {place for place in asked if _draft(entries, place).is_complete(place == 0)}
        st.segmented_control(
            t("predict.run"), asked, key="predict_run", required=True, label_visibility="collapsed",
            on_change=_turned,
            format_func=lambda place: f"{':material/check: ' if place in done else ''}{shown(names[place])}")
    else:
        st.markdown(f"**{shown(names[asked[0]])}**")
    place = st.session_state["predict_run"]
    entry, made = entries[place], _draft(entries, place)
    epochs, moves = entry.demand.epochs, st.session_state.setdefault("predict_moves", 0)
    # Whenever a run is opened it gets widgets of its own: what the browser still shows of the last one's guess would
    # be sent as this one's.
    strip, typed, sided = (f"predict_{name}_{st.session_state['predict_turn']}" for name in ("strip", "epoch", "ends"))
    drawing.draw(prediction_chart.frame(epochs, made.best_epoch, moves, language()),
                 _strip(epochs, comparison_chart.COLORS[entry.color],
                        language()), prediction_chart.titles(language()), strip,
                 t("predict.strip", epochs=epochs), on_select=lambda: _clicked(strip, entry))
    # The guess is what is remembered; the widgets show it, whichever of them it came from.
    st.session_state[typed] = made.best_epoch
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.number_input(t("predict.epoch"), 1, epochs, step=1, key=typed, width=150, on_change=_typed,
                        args=(typed, entry), help=t("predict.epoch.help", epochs=epochs))
        if place:
            st.session_state[sided] = made.ends
            st.segmented_control(t("predict.ends", reference=shown(names[0])), ENDS, key=sided, on_change=_sided,
                                 format_func=lambda side: t(f"predict.ends.{side}"), args=(sided, entry))
        elif len(entries) > 1:
            st.caption(t("predict.reference"), width="content")
    _buttons(engine, entries, asked, known, place)


def _buttons(engine: Engine, entries: Sequence[ComparedRun], asked: Sequence[int], known: Sequence[bool],
             place: int) -> None:
    more = len(asked) - sum(known)
    missing = [other for other in asked if not _draft(entries, other).is_complete(other == 0)]
    is_begun = any(_draft(entries, other).is_made for other in asked)
    others = sorted((other for other in missing if other != place), key=lambda other: (other < place, other))
    submit = {"on_click": _submit, "args": (engine, [entries[other] for other in asked], known)}
    with st.container(horizontal=True, vertical_alignment="center"):
        if others:
            st.button(t("predict.next"), key="predict_next", type="primary", disabled=place in missing,
                      icon=":material/arrow_forward:", on_click=_open, args=(others[0],))
        else:
            st.button(n("predict.train", more) if more else t("predict.uncover"), key="predict_train", type="primary",
                      disabled=bool(missing), icon=":material/play_arrow:", **submit)
        if missing:
            words = "predict" if more else "predict.uncover"
            st.button(t(f"{words}.rest" if is_begun else f"{words}.skip"), key="predict_skip", type="tertiary",
                      icon=":material/skip_next:", **submit)


def _draft(entries: Sequence[ComparedRun], place: int) -> Prediction:
    return _drafts().get(entries[place].key, Prediction())


def _change(entry: ComparedRun, **changes: Any) -> None:
    _drafts()[entry.key] = replace(_drafts().get(entry.key, Prediction()), **changes)


def _clicked(key: str, entry: ComparedRun) -> None:
    points = st.session_state[key]["selection"].get(prediction_chart.SELECTION, [])
    epoch = points[-1].get("epoch") if points and isinstance(points[-1], dict) else None
    if isinstance(epoch, int | float) and 1 <= epoch <= entry.demand.epochs:
        _change(entry, best_epoch=int(epoch))


def _typed(key: str, entry: ComparedRun) -> None:
    _change(entry, best_epoch=st.session_state[key])
    st.session_state["predict_moves"] += 1


def _sided(key: str, entry: ComparedRun) -> None:
    _change(entry, ends=st.session_state[key])


def _turned() -> None:
    st.session_state["predict_turn"] = st.session_state.get("predict_turn", 0) + 1


def _open(place: int) -> None:
    st.session_state["predict_run"] = place
    _turned()


def _submit(engine: Engine, asked: Sequence[ComparedRun], known: Sequence[bool]) -> None:
    """Ask for the runs that are not known; what was guessed of them stands from now on, and known ones are shown."""
    new = [entry for entry, is_known in zip(asked, known, strict=True) if not is_known]
    problem = submission.submit(engine, [(entry.config, entry.asked) for entry in new])
    st.session_state["predict_sent"] = True
    if problem:
        st.session_state["predict_problem"] = problem
    for entry, is_known in zip(asked, known, strict=True):
        if is_known or not problem:
            made = _drafts().pop(entry.key, None)
            hidden_results.settled()[entry.key] = made if made and made.is_made else None


@st.cache_data(show_spinner=False, max_entries=100)
def _strip(epochs: int, color: str, language: str) -> dict[str, Any]:
    return prediction_chart.strip(epochs, color, language)
