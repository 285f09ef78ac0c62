"""Guard a part of the page: where the store cannot be read, it says so instead."""

from __future__ import annotations

import functools
from collections.abc import Callable

import streamlit as st

from explorer.i18n import translated
from explorer.store.sqlite import STORE_ERRORS, DamagedStore
from explorer.ui.translate import language, shown, t


def unusable(why: object) -> str:
    """What the page says where the store cannot be used: that it may be over in a while, but for one that is damaged.

    Args:
        why: the error, or what it says.
    """
    said = translated(str(why), language())
    return said if str(why).startswith(DamagedStore.BEGINS) else t("page.no_store", why=said)


def guarded(draw: Callable[..., None]) -> Callable[..., None]:
    """Where the store cannot be read, the page says so in one sentence."""

    @functools.wraps(draw)
    def guarded(*args: object) -> None:
        try:
            draw(*args)
        except STORE_ERRORS as error:
            st.error(shown(unusable(error)), icon=":material/error:")

    return guarded
