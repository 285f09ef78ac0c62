"""The page, from the controls to the curves; it is run anew for every visitor and every click."""

import streamlit as st

from explorer import data
from explorer.settings import SettingError
from explorer.ui import comparison, controls, engines, lessons, links, live, own, portrait, state, sweep, wall
from explorer.ui.speech import t, told


def show() -> None:
    """Draw it for the visitor whose script this is."""
    st.set_page_config(page_title=t("page.title"), page_icon="📉", layout="wide")
    st.header(t("page.title"))

    try:
        engine = engines.engine()
    except SettingError as error:
        st.error(t("page.no_start", why=told(str(error))), icon=":material/error:")
        st.stop()

    # Whatever comes and goes here and below, what follows keeps its place: the page is updated by it.
    notices = st.container()
    if engine.store.set_aside:
        notices.warning(t("page.set_aside", name=engine.store.set_aside.name), icon=":material/warning:")

    state.open_address(engine, data.default_dataset(engine.settings))
    lessons.load_asked(engine)
    request = controls.show(engine)
    unsound = dict.fromkeys([*st.session_state.pop("messages", []), *request.messages])
    if unsound:
        notices.warning("\n".join(f"- {told(message)}" for message in unsound))
    grid, unsound_grid = state.read_grid(engine, request.config)
    state.write_address(engine, request.config, request.demand, grid)
    own.note(request.config, request.demand)

    with st.container():
        lessons.show(engine)
    with st.container():
        live.show(engine, request.config, request.demand)
    with st.container():
        # A click on its map adds to the comparison, which must not push the map away.
        sweep.show(engine, request.config, request.demand, grid, unsound_grid)
    with st.container():
        wall.show(engine, request.config)
    with st.container():
        comparison.show(engine, request.config)
    with st.container():
        portrait.show(engine, request.config, request.demand)

    with st.expander(t("page.reading"), icon=":material/help:"):
        st.markdown(t("page.reading.text"))

    links.show()

    engines.settle()
