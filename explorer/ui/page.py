"""The page, from the controls to the curves; it is run anew for every visitor and every click."""

import streamlit as st

from explorer import data
from explorer.config.settings import SettingError
from explorer.ui import resources, state
from explorer.ui.panels import (
    class_links as class_links_panel,
)
from explorer.ui.panels import (
    class_wall as class_wall_panel,
)
from explorer.ui.panels import (
    comparison as comparison_panel,
)
from explorer.ui.panels import (
    controls,
    live,
    own_runs,
)
from explorer.ui.panels import (
    lessons as lessons_panel,
)
from explorer.ui.panels import (
    samples as samples_panel,
)
from explorer.ui.panels import (
    sweep as sweep_panel,
)
from explorer.ui.translate import t, told


def show() -> None:
    """Draw it for the visitor whose script this is."""
    st.set_page_config(page_title=t("page.title"), page_icon="📉", layout="wide")
    st.header(t("page.title"))

    try:
        engine = resources.engine()
    except SettingError as error:
        st.error(t("page.no_start", why=told(str(error))), icon=":material/error:")
        st.stop()

    # Whatever comes and goes here and below, what follows keeps its place: the page is updated by it.
    notices = st.container()
    if engine.store.set_aside:
        notices.warning(t("page.set_aside", name=engine.store.set_aside.name), icon=":material/warning:")

    state.open_address(engine, data.default_dataset(engine.settings))
    lessons_panel.load_asked(engine)
    request = controls.show(engine)
    unsound = dict.fromkeys([*st.session_state.pop("messages", []), *request.messages])
    if unsound:
        notices.warning("\n".join(f"- {told(message)}" for message in unsound))
    grid, unsound_grid = state.read_grid(engine, request.config)
    state.write_address(engine, request.config, request.demand, grid)
    own_runs.note(request.config, request.demand)

    with st.container():
        lessons_panel.show(engine)
    with st.container():
        live.show(engine, request.config, request.demand)
    with st.container():
        # A click on its map adds to the comparison, which must not push the map away.
        sweep_panel.show(engine, request.config, request.demand, grid, unsound_grid)
    with st.container():
        class_wall_panel.show(engine, request.config)
    with st.container():
        comparison_panel.show(engine, request.config)
    with st.container():
        samples_panel.show(engine, request.config, request.demand)

    with st.expander(t("page.reading"), icon=":material/help:"):
        st.markdown(t("page.reading.text"))

    class_links_panel.show()

    resources.settle()
