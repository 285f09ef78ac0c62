"""Words: every sentence that is filled from a run, by key and language, out of Markdown."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

LANGUAGES = {"en": "English", "ko": "한국어"}


def say(key: str, language: str, **values: Any) -> str:
    """A text with its values filled in.

    Args:
        key: the heading of its section, such as `diagnosis.good`.
        language: a key of `LANGUAGES`.
        values: for the `{named}` places in the text; those that the text does not name are left out.

    Raises:
        KeyError: there is no such text in this language, or it names a value that is not given.
    """
    texts = _texts(language)
    if key not in texts:
        raise KeyError(f"No text {key!r} in language {language!r}.")
    return texts[key].format(**values)


@cache
def _texts(language: str) -> dict[str, str]:
    if language not in LANGUAGES:
        raise KeyError(f"No language {language!r}: expected one of {', '.join(LANGUAGES)}.")
    found: dict[str, str] = {}
    for path in sorted((Path(__file__).parent / language).glob("*.md")):
        for section in f"\n{path.read_text(encoding='utf-8')}".split("\n## ")[1:]:
            key, _, text = section.partition("\n")
            found[key.strip()] = text.strip()
    return found
