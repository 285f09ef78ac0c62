"""Lessons on the page: chosen at the top of the sidebar, their question above the run, their reading below it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import streamlit as st

from explorer import lessons
from explorer.analysis import comparison
from explorer.analysis.comparison import ComparedRun
from explorer.config import labels
from explorer.config.run_config import Demand, RunConfig
from explorer.engine.engine import Engine
from explorer.engine.run_view import DONE, look
from explorer.i18n import LANGUAGES
from explorer.lessons import FAILS, HOLDS, OPEN, SWITCHES, claims_text, facts
from explorer.lessons.measures import RunMeasures
from explorer.lessons.presets import LESSONS, available
from explorer.ui import hidden_results, state, submit
from explorer.ui.panels import own_runs
from explorer.ui.panels import prediction as prediction_panel
from explorer.ui.translate import language, shown, t

FREE = ""
# Which lessons are ready is told as of so many seconds ago at most.
READY_SECONDS = 10
_MARKS = {HOLDS: ":material/check_circle:", FAILS: ":material/cancel:", OPEN: ":material/pending:"}


def choose(engine: Engine) -> None:
    """The choice of a lesson, in the sidebar."""
    if not state.is_hidden("lesson"):
        st.selectbox(t("lesson.choose"), (FREE, *LESSONS), key="lesson", persist_state="session", filter_mode=None,
                     format_func={FREE: t("lesson.none"), **{name: lessons.text(name, language()).title
                                                             for name in LESSONS}}.get,
                     on_change=_opened, args=(engine,), help=t("lesson.help"), disabled=state.is_locked("lesson"))
    if st.session_state["lesson"] != FREE:
        prediction_panel.toggle()


def choose_language() -> None:
    """The language of the page, at the end of the sidebar."""
    st.segmented_control(t("page.language"), tuple(LANGUAGES), key="language", format_func=LANGUAGES.get,
                         required=True, persist_state="session")


def _opened(engine: Engine) -> None:
    st.session_state["lesson_part"] = 0
    if st.session_state["lesson"] == FREE:
        own_runs.give_back(engine)
    else:
        load(engine)


def load(engine: Engine, controls: bool = True) -> None:
    """Put the runs of the chosen part into the comparison, and the first of them into the controls."""
    if st.session_state["lesson"] == FREE:
        return
    if own_runs.is_in_lesson():
        own_runs.keep_runs(engine)
    chosen = state.lesson(engine)
    st.session_state["compared"] = chosen.entries()
    st.session_state["compared_measure"] = chosen.measure
    st.session_state["compared_sides"] = "both"
    for name in SWITCHES:
        st.session_state[f"compared_{name}"] = name in chosen.view
    if controls:
        state.fill(*chosen.runs[0])


def load_asked(engine: Engine) -> None:
    """Load the lesson that a new address asks for, if it does; where it asks for none, the last one's view goes."""
    controls = st.session_state.pop("lesson_to_load", None)
    if controls is not None:
        load(engine, controls)
    elif own_runs.is_in_lesson() and st.session_state["lesson"] == FREE:
        own_runs.give_view_back()


@st.cache_data(ttl=READY_SECONDS, show_spinner=False)
def _ready(_engine: Engine, home: str) -> dict[str, int]:
    return ready_parts(_engine)


def ready(engine: Engine) -> dict[str, int]:
    """The lessons that can be opened with nothing to train, each with the part that can."""
    return _ready(engine, str(engine.settings.home))


def stand(engine: Engine, config: RunConfig, demand: Demand) -> tuple[list[tuple[RunConfig, Demand]], list[str]]:
    """How the runs of the lesson stand, where the controls stand for one of them.

    Returns:
        Those that are neither trained nor training, and the ids of those that wait or train; nothing without a lesson,
        and where the controls have been moved to a run outside it.
    """
    if st.session_state["lesson"] == FREE:
        return [], []
    wanted = [(entry.config, replace(entry.asked, device=demand.device)) for entry in state.lesson(engine).entries()]
    if (config, demand) not in wanted:
        return [], []
    looked = list(zip(wanted, submit.look(engine, wanted), strict=True))
    return ([one for one, view in looked if view.state != DONE and not view.is_live],
            list(dict.fromkeys(engine.run_id(one[0]) for one, view in looked if view.is_live)))


def run_ids(engine: Engine) -> set[str]:
    """Of the runs of the lesson, which the comparison shows; none without a lesson."""
    if st.session_state["lesson"] == FREE:
        return set()
    return {engine.run_id(entry.config) for entry in state.lesson(engine).entries()}


def title(name: str) -> str:
    """What a lesson is called."""
    return lessons.text(name, language()).title


def open_ready(engine: Engine, name: str, part: int) -> None:
    """Choose a lesson; the run that the controls stood for waits and trains on."""
    state.put({"lesson": name, "lesson_part": part})
    load(engine)


def show(engine: Engine) -> None:
    """The question of the chosen lesson, its source, what to look for and, on request, the answer; nothing without a
    lesson."""
    name = st.session_state["lesson"]
    if name == FREE:
        prediction_panel.forget()
        return
    parts, number = LESSONS[name], st.session_state["lesson_part"]
    words = facts.filled(lessons.text(name, language()), state.lesson_parts(engine), number)
    with st.container(border=True, key="lesson_panel"):
        st.subheader(words.title, anchor=False)
        st.markdown(words.question)
        if len(parts) > 1 and not state.is_hidden("lesson"):
            # Two parts of one source differ in their runs, which then name them.
            titles = [f"{place + 1}. {one.source or ' / '.join(comparison.names(one.entries(), language()))}"
                      for place, one in enumerate(parts)]
            st.segmented_control(t("lesson.choose"), range(len(parts)), key="lesson_part", required=True,
                                 label_visibility="collapsed", format_func=titles.__getitem__, on_change=load,
                                 args=(engine,), persist_state="session", disabled=state.is_locked("lesson"))
        original, used = parts[number], state.lesson(engine)
        if original.source:
            st.caption(t("lesson.source", source=original.source))
        elif original.sources_say:
            st.caption(t(f"lesson.ours.{original.sources_say}"))
        if used.datasets != original.datasets:
            st.caption(t("lesson.instead", dataset=labels.dataset(used.runs[0][0], language())))
        st.markdown(f"**{t('lesson.look')}:** {words.look}")
        prediction_panel.show(engine, used, names(used.entries()))
        # One of its own for each part, so that none opens with the answer of the last.
        answer = st.expander(t("lesson.answer"), icon=":material/lightbulb:", key=_answer_key(),
                             on_change="rerun")
        answer.markdown(words.answer)


def is_riddle() -> bool:
    """Whether what differs between the runs of the lesson is still for the learner to find out."""
    name = st.session_state["lesson"]
    return (name != FREE and LESSONS[name][st.session_state["lesson_part"]].is_riddle
            and not st.session_state.get(_answer_key()))


def _answer_key() -> str:
    return f"lesson_answer_{st.session_state['lesson']}_{st.session_state['lesson_part']}"


def names(entries: Sequence[ComparedRun]) -> list[str]:
    """Names of compared runs, which do not give a riddle away."""
    return comparison.names(entries, language(), is_riddle())


def show_reading(engine: Engine, results: dict[Hashable, RunMeasures | None]) -> None:
    """Each claim of the lesson with its numbers; nothing without a lesson, or while a guess is asked for.

    Args:
        results: of the runs that are done, by their key in the comparison.
    """
    name = st.session_state["lesson"]
    if name == FREE:
        return
    used = state.lesson(engine)
    found: Sequence[RunMeasures | None] = [results.get(one.key) for one in used.entries()]
    titles = names(used.entries())
    st.markdown(f"**{t('lesson.claims')}**")
    if hidden_results.is_in_use():  # they say what there is to guess
        st.caption(t("predict.claims"))
        return
    st.markdown("\n".join(f"- {_MARKS[claim.verdict(found)]} "
                          f"{shown(claims_text.sentence(claim, titles, found, language()))}" for claim in used.claims))
    prediction_panel.show_scores(used, titles, results)


def ready_parts(engine: Engine) -> dict[str, int]:
    """Lessons with a part all of whose runs are known as far as it shows them, and the first such part.

    One question to the store for all of them; only what may be complete is then read.
    """
    wanted = {}
    for name, parts in LESSONS.items():
        for number in range(len(parts)):
            entries = available(name, number, engine.settings).entries()
            wanted[name, number] = {engine.run_id(entry.config): (entry.config, entry.asked) for entry in entries}
    reached = engine.store.reached({run_id for runs in wanted.values() for run_id in runs})
    found: dict[str, int] = {}
    for (name, number), runs in wanted.items():
        if name in found or not runs.keys() <= reached.keys():
            continue
        seen = engine.store.snapshots({run_id: config for run_id, (config, _) in runs.items()}, {})
        if all(look(*seen[run_id], demand).state == DONE for run_id, (_, demand) in runs.items() if run_id in seen):
            found[name] = number
    return found
