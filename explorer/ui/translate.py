"""The visitor's language: what the page says, in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import streamlit as st

from explorer import i18n


def language() -> str:
    """The language that was chosen, or the browser's where the explorer speaks it, else English."""
    chosen = st.session_state.get("language") or st.query_params.get("lang")
    return chosen if chosen in i18n.LANGUAGES else browsers()


def browsers() -> str:
    """The browser's language where the explorer speaks it, else English."""
    spoken = (st.context.locale or i18n.WRITTEN).split("-")[0].lower()
    return spoken if spoken in i18n.LANGUAGES else i18n.WRITTEN


def t(key: str, **values: Any) -> str:
    """A text."""
    return i18n.say(key, language(), **values)


def n(key: str, number: int, **values: Any) -> str:
    """A text about a number of things."""
    return i18n.count(key, language(), number, **values)


def labels(pattern: str, options: Iterable[str]) -> Callable[[str], str]:
    """What each option of a widget is called: the text whose key the pattern makes of it.

    In the language of this moment: a widget may ask for it later, where nobody knows the visitor any more.
    """
    return {option: t(pattern.format(option)) for option in options}.__getitem__


def told(message: str) -> str:
    """What the engine, the store or a check has said, safe to show as Markdown."""
    return shown(i18n.translated(message, language()))


def shown(text: str) -> str:
    """Text that may hold what a visitor sent, as Markdown that shows it as it came."""
    parts = re.split(r"(\S*(?:://|www\.|@)\S*)", text)
    # Whatever looks like an address becomes a link even behind backslashes, but not in a code span.
    return "".join(_code(part) if number % 2 else re.sub(r"([\\`*_{}\[\]()#+\-.!|$:<>~&=])", r"\\\1", part)
                   for number, part in enumerate(parts))


def _code(text: str) -> str:
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}"
