"""Every text of the page by key and language: Markdown files, one folder per language, one section per text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

LANGUAGES = {"en": "English", "ko": "한국어"}
# What the engine, the store and the command line write; other languages are made of it when it is shown.
WRITTEN = "en"


def say(key: str, language: str, **values: Any) -> str:
    """A text, filled with values.

    Args:
        key: a section of one of the language's files, such as `live.train`.
        language: a key of `LANGUAGES`.
        values: for the `{named}` fields in it.

    Raises:
        KeyError: there is no such text, or a field has no value.
    """
    found = texts(language).get(key)
    if found is None:
        raise KeyError(f"no text {key!r} in explorer/i18n/{language}")
    return found.format(**values) if values else found


def has(key: str) -> bool:
    """Whether there is such a text."""
    return key in texts(WRITTEN)


def count(key: str, language: str, number: int, **values: Any) -> str:
    """A text about a number of things: section `<key>.one` for one of them where the language has it, else `<key>`."""
    one = f"{key}.one"
    return say(one if number == 1 and one in texts(language) else key, language, number=number, **values)


@cache
def texts(language: str) -> Mapping[str, str]:
    """All texts of a language by their key: what stands below each `## key` of its files."""
    found: dict[str, str] = {}
    for path in sorted((Path(__file__).parent / language).glob("*.md")):
        for section in re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            key, _, text = section.partition("\n")
            if key.strip() in found:
                raise ValueError(f"{path}: a second text {key.strip()!r}")
            found[key.strip()] = text.strip()
    return found


def fields(text: str) -> set[str]:
    """Names of the fields in a text."""
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def translated(written: str, language: str) -> str:
    """A message that was written in English, in another language: one that no `message.` text fits stays as it is.

    Runs and their messages are shared by people of all languages, so they are stored in one.
    """
    if language == WRITTEN or not written:
        return written
    for key, pattern in _patterns():
        found = pattern.fullmatch(written)
        if found:
            values = {name: translated(value, language) for name, value in found.groupdict().items()}
            return texts(language)[key].format(**values)
    return written


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    made = []
    for key, text in texts(WRITTEN).items():
        if key.startswith("message."):
            seen: set[str] = set()
            pattern = ""
            for literal, name, _, _ in Formatter().parse(text):
                pattern += re.escape(literal)
                if name:
                    pattern += f"(?P={name})" if name in seen else f"(?P<{name}>.*?)"
                    seen.add(name)
            made.append((key, re.compile(pattern, re.DOTALL)))
    # The more of a text is fixed, the surer the match.
    return sorted(made, key=lambda one: -len(re.sub(r"\(\?P.*?\)", "", one[1].pattern)))
