"""The overfitting explorer: one page, from the controls to the curves."""

import streamlit as st

from explorer import data
from explorer.settings import SettingError
from explorer.ui import engines

engines.begin()  # while the page imports what it draws with, the worker imports what it trains with

from explorer.ui import comparison, controls, lessons, live, state, sweep  # noqa: E402

st.set_page_config(page_title="Overfitting explorer", page_icon="📉", layout="wide")
st.header("Overfitting explorer")

try:
    engine = engines.engine()
except SettingError as error:
    st.error(f"The explorer cannot start. {state.shown(str(error))}", icon=":material/error:")
    st.stop()

if engine.store.set_aside:
    st.warning(
        f"The store of runs was damaged. It was set aside as {engine.store.set_aside.name} and a new one begun.",
        icon=":material/warning:",
    )

state.open_address(engine, data.default_dataset(engine.settings))
lessons.load_asked(engine)
request = controls.show(engine)
unsound = dict.fromkeys([*st.session_state.pop("messages", []), *request.messages])
if unsound:
    st.warning("\n".join(f"- {state.shown(message)}" for message in unsound))
grid, unsound_grid = state.read_grid(engine, request.config)
state.write_address(engine, request.config, request.demand, grid)

lessons.show(engine)
live.show(engine, request.config, request.demand)
comparison.show(engine, request.config, request.demand)
sweep.show(engine, request.config, request.demand, grid, unsound_grid)

with st.expander("How to read the curves", icon=":material/help:"):
    st.markdown(
        "**Cross-entropy** is how surprised the network is by the right answer; lower is better. The **solid** line "
        "is measured on the examples it was trained on, the **dashed** one on examples it has never seen. Both are "
        "measured the same way: dropout switched off, the regularizer's penalty left out.\n\n"
        "While both lines fall, the network learns something that holds in general. Once the dashed line has "
        "turned, every further epoch makes it better only on what it has already seen: it **overfits**. The shaded "
        "area between them is the **gap**. A network whose lines both stay high **underfits**."
    )

engines.settle()
