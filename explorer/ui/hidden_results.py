"""Results of a lesson's runs that are hidden from a visitor until a guess about them has been made.

Every part of the page that tells what a run did passes it through `view`, or leaves out what is covered.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import streamlit as st

from explorer.analysis.comparison import ComparedRun
from explorer.analysis.prediction import Prediction
from explorer.config.run_config import Demand, RunConfig
from explorer.engine.run_view import UNKNOWN, RunView
from explorer.ui.translate import t

# A run, as the comparison tells runs apart: `ComparedRun.key`.
Key = tuple[RunConfig, int, bool]


def settled() -> dict[Key, Prediction | None]:
    """Guesses about runs that the visitor has asked for since, `None` where there was nothing to guess."""
    return st.session_state.setdefault("predict_settled", {})


def trained(config: RunConfig, demand: Demand) -> None:
    """The visitor has a run trained himself: there is nothing to guess about it any more."""
    settled().setdefault(ComparedRun(config, demand).key, None)


def put_on(keys: Iterable[Key]) -> None:
    """Cover these runs, and no others."""
    st.session_state["predict_asked"] = tuple(keys)


def is_in_use() -> bool:
    """Whether anything is covered."""
    return bool(_asked())


def is_on(config: RunConfig) -> bool:
    """Whether a run is covered, whichever way it is looked at."""
    return any(config == other for other, *_ in _asked())


def hides(entry: ComparedRun) -> bool:
    """Whether a run is covered as it stands in the comparison.

    With and without early stopping it is guessed apart; but what goes on from trained weights is of the same curve.
    """
    return any(key == entry.key or (key[0] == entry.config and key[1] != entry.again) for key in _asked())


def view(config: RunConfig, found: RunView) -> RunView:
    """A run as the visitor may see it."""
    return RunView(UNKNOWN, found.demand) if is_on(config) else found


def why_not(*configs: RunConfig) -> str | None:
    """Why one of these runs is not trained yet, for the help of its button; `None` where nothing is in the way."""
    return t("predict.first") if any(map(is_on, configs)) else None


def _asked() -> tuple[Any, ...]:
    return st.session_state.get("predict_asked", ())
