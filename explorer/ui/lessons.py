"""Lessons on the page: chosen at the top of the sidebar, their question above the run, their reading below it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from explorer import comparison, lessons
from explorer.comparison import Result
from explorer.engine import Engine
from explorer.lessons import FAILS, HOLDS, OPEN, reading
from explorer.lessons.presets import LESSONS, available
from explorer.ui import state

FREE = ""
_TITLES = {"en": "Lesson", "ko": "수업"}
_FREE = {"en": "None: explore freely", "ko": "없음: 자유롭게 살펴보기"}
_SOURCE = {"en": "After: {source}. Like the source, it validates on the test set.",
           "ko": "출처: {source}. 출처와 같이 테스트 세트로 검증합니다."}
_OURS = {"en": "The sources recommend it; none of them shows it.",
         "ko": "출처들이 권하지만 보여 주지는 않는 실험입니다."}
_INSTEAD = {"en": "The data of the source are not on this machine: {title} are used instead, so numbers differ.",
            "ko": "출처의 데이터가 이 컴퓨터에 없어 {title} 데이터를 대신 씁니다. 숫자가 출처와 다를 수 있습니다."}
_LOOK = {"en": "What to look for", "ko": "살펴볼 것"}
_CLAIMS = {"en": "What the runs say", "ko": "실행이 말하는 것"}
_MARKS = {HOLDS: ":material/check_circle:", FAILS: ":material/cancel:", OPEN: ":material/pending:"}


def choose(engine: Engine) -> None:
    """The choice of a lesson, in the sidebar, in the visitor's language."""
    language = st.session_state["language"]
    st.selectbox(_TITLES[language], (FREE, *LESSONS), key="lesson", persist_state="session", filter_mode=None,
                 format_func=lambda name: lessons.text(name, language).title if name else _FREE[language],
                 on_change=_opened, args=(engine,),
                 help="Loads the runs of one of the sources' experiments into the comparison; all controls stay free.")


def choose_language() -> None:
    """The language of the lessons, at the end of the sidebar."""
    st.segmented_control("Language of the lessons · 수업 언어", tuple(lessons.LANGUAGES), key="language",
                         format_func=lessons.LANGUAGES.get, required=True, persist_state="session")


def _opened(engine: Engine) -> None:
    st.session_state["lesson_part"] = 0
    load(engine)


def load(engine: Engine, controls: bool = True) -> None:
    """Put the runs of the chosen part into the comparison, and the first of them into the controls."""
    name = st.session_state["lesson"]
    if name == FREE:
        return
    chosen = available(name, st.session_state["lesson_part"], engine.settings)
    st.session_state["compared"] = chosen.entries()
    st.session_state["compared_measure"] = chosen.measure
    if controls:
        state.fill(*chosen.runs[0])


def load_asked(engine: Engine) -> None:
    """Load the lesson that a new address asks for, if it does."""
    controls = st.session_state.pop("lesson_to_load", None)
    if controls is not None:
        load(engine, controls)


def show(engine: Engine) -> None:
    """The question of the chosen lesson, its source and what to look for; nothing without a lesson."""
    name, language = st.session_state["lesson"], st.session_state["language"]
    if name == FREE:
        return
    words, parts = lessons.text(name, language), LESSONS[name]
    with st.container(border=True, key="lesson_panel"):
        st.subheader(words.title, anchor=False)
        st.markdown(words.question)
        if len(parts) > 1:
            # Two parts of one source differ in their runs, which then name them.
            titles = [f"{number + 1}. {one.source or ' / '.join(comparison.names(one.entries()))}"
                      for number, one in enumerate(parts)]
            st.segmented_control(_TITLES[language], range(len(parts)), key="lesson_part", required=True,
                                 label_visibility="collapsed", format_func=titles.__getitem__, on_change=load,
                                 args=(engine,), persist_state="session")
        original = parts[st.session_state["lesson_part"]]
        used = available(name, st.session_state["lesson_part"], engine.settings)
        if original.source:
            st.caption(_SOURCE[language].format(source=original.source))
        else:
            st.caption(_OURS[language])
        if used != original:
            title = used.runs[0][0].info.title
            st.caption(_INSTEAD[language].format(title=title))
        st.markdown(f"**{_LOOK[language]}:** {words.look}")


def show_reading(engine: Engine, results: dict[object, Result | None]) -> None:
    """Each claim of the lesson with its numbers; nothing without a lesson.

    Args:
        results: of the runs that are done, by their config.
    """
    name, language = st.session_state["lesson"], st.session_state["language"]
    if name == FREE:
        return
    used = available(name, st.session_state["lesson_part"], engine.settings)
    found: Sequence[Result | None] = [results.get(config) for config, _ in used.runs]
    names = comparison.names(used.entries())
    st.markdown(f"**{_CLAIMS[language]}**")
    st.markdown("\n".join(f"- {_MARKS[claim.verdict(found)]} "
                          f"{state.shown(reading.sentence(claim, names, found, language))}" for claim in used.claims))
