"""A form that makes a link for a class: what it fixes, the address to copy, and the code that a telephone reads."""

from __future__ import annotations

import streamlit as st

from explorer import lessons
from explorer.config import labels
from explorer.config.fields import FieldError
from explorer.config.run_config import KINDS
from explorer.i18n import LANGUAGES
from explorer.lessons import class_links
from explorer.lessons.class_links import Link
from explorer.lessons.presets import LESSONS
from explorer.ui import state
from explorer.ui.translate import language, shown, t, told

FREE = ""
# Whole folds of the sidebar are chosen as easily as single controls.
_CHOICES = (class_links.ALL, *class_links.GROUPS, *class_links.CONTROLS)
CODE_WIDTH = 300


def show() -> None:
    """Draw the form, folded; not for a visitor whose own address an instructor has made."""
    if state.is_guided():
        return
    part = st.expander(t("links.title"), key="links", on_change="rerun", icon=":material/qr_code_2:")
    if part.open:
        with part:
            st.caption(t("links.what"))
            st.fragment(_form)(st.session_state["lesson"], st.session_state["lesson_part"])


def _form(lesson: str, part: int) -> None:
    if st.session_state.get("link_for") != (lesson, part):
        # It begins with what the page shows, and anew once that is another lesson.
        st.session_state.update(link_lesson=lesson, link_part=part, link_for=(lesson, part))
    form, result = st.columns((3, 2), gap="large")
    with form:
        made = _choose()
        problem = ""
        given = st.text_input(t("links.base"), value=_here(), key="link_base", max_chars=300, help=t("links.base.help"),
                              persist_state="session", placeholder="https://")
        try:
            address = made.address(class_links.base_of(given))
        except FieldError as error:
            problem = told(str(error))
    with result:
        if problem:
            st.warning(problem, icon=":material/warning:")
        elif len(address) > class_links.MAX_ADDRESS:
            st.warning(t("links.long", most=class_links.MAX_ADDRESS), icon=":material/warning:")
        else:
            st.code(address, language=None, wrap_lines=True)
            if class_links.is_here_only(address):
                st.warning(t("links.here_only"), icon=":material/warning:")
            st.image(class_links.picture(address), width=CODE_WIDTH, alt=t("links.code", address=shown(address)))
        st.caption(t("links.no_lock"))


def _choose() -> Link:
    name = st.selectbox(t("lesson.choose"), (FREE, *LESSONS), key="link_lesson", filter_mode=None,
                        persist_state="session", on_change=_turned,
                        format_func={FREE: t("lesson.none"), **{name: lessons.text(name, language()).title
                                                                for name in LESSONS}}.get)
    parts = range(len(LESSONS[name])) if name else range(1)
    if st.session_state.get("link_part", 0) not in parts:
        st.session_state["link_part"] = 0
    if len(parts) > 1:
        sources = [f"{number + 1}. {one.source or labels.short(one.runs[0][0], language())}"
                   for number, one in enumerate(LESSONS[name])]
        st.selectbox(t("links.part"), parts, key="link_part", format_func=sources.__getitem__, filter_mode=None,
                     persist_state="session")
    chosen = [_controls(word) for word in ("hide", "lock")]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        spoken = {FREE: t("links.language.own"), **LANGUAGES}
        st.selectbox(t("page.language"), list(spoken), key="link_language", format_func=spoken.get, filter_mode=None,
                     persist_state="session", width=220)
        st.number_input(t("control.seed"), 0, int(KINDS["seed"].high), value=None, step=1, key="link_seed", width=160,
                        placeholder=t("links.seed.own"), help=t("links.seed.help"), persist_state="session")
        st.toggle(t("predict.toggle"), value=True, key="link_predict", persist_state="session")
    hidden, locked = chosen
    return Link(name, st.session_state.get("link_part", 0) if len(parts) > 1 else 0, hidden, locked - hidden,
                st.session_state["link_language"], st.session_state["link_seed"], st.session_state["link_predict"])


def _turned() -> None:
    st.session_state["link_part"] = 0


def _controls(word: str) -> frozenset[str]:
    chosen = st.multiselect(t(f"links.{word}"), _CHOICES, key=f"link_{word}", persist_state="session",
                            format_func={name: _title(name) for name in _CHOICES}.get, select_all=False,
                            help=t(f"links.{word}.help"), placeholder=t("links.choose"))
    return class_links.named(chosen)


def _title(name: str) -> str:
    if name == class_links.ALL:
        return t("links.all")
    if name in class_links.GROUPS:
        return t("links.group", title=t(f"controls.{name}"))
    return t("lesson.choose") if name == "lesson" else labels.title(name, language())


def _here() -> str:
    """Where the browser says that the page is; nothing where that is no address for a link."""
    try:
        return class_links.base_of(st.context.url or "")
    except FieldError:
        return ""
