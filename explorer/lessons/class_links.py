"""Instructor links: an address that fixes a lesson, hides or locks controls, sets the language and the seed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import segno

from explorer.config.fields import FieldError
from explorer.config.run_config import DEMAND_KINDS, KINDS
from explorer.i18n import LANGUAGES, WRITTEN
from explorer.lessons.presets import LESSONS

# Folded controls, by the part of the sidebar that they lie in.
GROUPS: dict[str, tuple[str, ...]] = {
    "data": ("num_words", "validation", "train_samples", "label_noise"),
    "network": ("activation", "batch_norm", "regularize_output", "initializer"),
    "training": ("optimizer", "learning_rate", "weight_decay", "batch_size", "patience", "seed", "device"),
}
# Everything that can be hidden or locked, in the order of the sidebar: settings by the names of their fields, the kind
# of regularizer, and the choice of a lesson.
CONTROLS = ("lesson", "dataset", "hidden", "regularizer", "l1", "l2", "dropout", "epochs",
            *(name for group in GROUPS.values() for name in group))
ALL, BUT = "all", "-"
# Longer texts name no controls; they are cut before anything looks at them.
MAX_TEXT = 500
# A code of a longer address is too fine for a telephone at the back of a room.
MAX_ADDRESS = 300
MAX_BASE = 120
# Says the seed of a lesson's runs in an address that has a seed for the controls besides.
LESSON_SEED = "lesson_seed"


@dataclass(frozen=True)
class Link:
    """What an instructor fixes for a class. None of it is a limit: those are the engine's.

    Attributes:
        lesson: a name in `LESSONS`, or nothing.
        part: of the lesson, counted from 0.
        hidden: names in `CONTROLS` that are not drawn.
        locked: names in `CONTROLS` that are drawn and cannot be moved; what is hidden is not in it.
        language: a key of `LANGUAGES`, or nothing for the visitor's own.
        seed: of the lesson's runs, or of the controls where there is no lesson; `None` as they are.
        predict: whether predictions are asked for first.
    """

    lesson: str = ""
    part: int = 0
    hidden: frozenset[str] = frozenset()
    locked: frozenset[str] = frozenset()
    language: str = ""
    seed: int | None = None
    predict: bool = True

    @property
    def query(self) -> dict[str, str]:
        """The query parameters that open it."""
        found = {"lesson": self.lesson} if self.lesson else {}
        if self.lesson and self.part:
            found["part"] = str(self.part + 1)
        found |= restrictions(self.hidden, self.locked)
        if self.language:
            found["lang"] = self.language
        if self.seed is not None:
            found["seed"] = str(self.seed)
        if not self.predict:
            found["predict"] = "off"
        return found

    def address(self, base: str) -> str:
        """The whole address.

        Args:
            base: where the page is, as from `base_of`.
        """
        # Commas and colons need no escape in a query, and take a third of the room without.
        query = urlencode(self.query, safe=",:")
        return f"{base}?{query}" if query else base


def restrictions(hidden: Collection[str], locked: Collection[str]) -> dict[str, str]:
    """The query parameters that hide and lock controls."""
    # What is hidden is locked as well, if that makes it shorter to say.
    return {name: text for name, text in (("hide", _text(hidden, hidden)), ("lock", _text(locked, hidden))) if text}


def read(params: Mapping[str, Any], language: str = WRITTEN) -> tuple[Link, list[str]]:
    """Read query parameters.

    Args:
        params: names and texts; others than those of a link are ignored.
        language: the visitor's own, which stands in for one that is not known.

    Returns:
        The link, with the nearest sound value for each that is not, and a sentence for each of those. Of the seed it
        says nothing, for it is a setting as well, see `explorer.config.url_params.parse`. It never raises.
    """
    asked = {name: _one(value) for name, value in params.items()}
    messages: list[str] = []

    def unsound(name: str, allowed: str, instead: str = "", came: str | None = None) -> None:
        error = FieldError(name, allowed, asked[name] if came is None else came)
        messages.append(f"{error} {instead} is used instead." if instead else f"{error} It is left out.")

    lesson = asked.get("lesson", "")
    if lesson and lesson not in LESSONS:
        unsound("lesson", f"one of {', '.join(LESSONS)}")
        lesson = ""
    spoken = asked.get("lang", "")
    if "lang" in asked and spoken not in LANGUAGES:
        unsound("lang", f"one of {', '.join(LANGUAGES)}", language)
        spoken = ""
    number, parts = asked.get("part", "1"), len(LESSONS.get(lesson, ("",)))
    if number not in [str(one + 1) for one in range(parts)]:
        unsound("part", f"a whole number from 1 to {parts}", "1")
        number = "1"
    if asked.get("predict", "on") not in ("on", "off"):
        unsound("predict", "one of on, off", "on")
    chosen = {}
    for name in ("hide", "lock"):
        chosen[name], unknown = _read(asked.get(name, ""))
        if unknown:
            unsound(name, f"one of {', '.join((ALL, *GROUPS, *CONTROLS))}", came=", ".join(unknown))
    return Link(lesson, int(number) - 1, chosen["hide"], chosen["lock"] - chosen["hide"], spoken, _seed(asked, lesson),
                asked.get("predict") != "off"), messages


def named(names: Iterable[str]) -> frozenset[str]:
    """The controls that are meant by these names, of controls, of groups, or of all."""
    return _read(",".join(names))[0]


def is_here_only(address: str) -> bool:
    """Whether an address leads to the machine on which it is opened, whichever that is."""
    host = urlsplit(address).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.") or host.endswith(".localhost")


def base_of(address: str) -> str:
    """Where the page is, from an address of it or from what somebody has typed: no query, no fragment.

    Raises:
        FieldError: it is no web address, or a long one.
    """
    allowed = f"a web address of at most {MAX_BASE} characters that begins with http:// or https://"
    try:
        parts = urlsplit(address.strip())
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        sound = False
    if not sound:
        raise FieldError("address", allowed, address)
    base = f"{parts.scheme}://{parts.netloc}{parts.path or '/'}"
    if len(base) > MAX_BASE or not base.isprintable() or not base.isascii() or any(c in base for c in " <>\"'`\\"):
        raise FieldError("address", allowed, address)
    return base


def code(address: str) -> segno.QRCode:
    """The address as a QR code that may lose a seventh of its squares."""
    return segno.make(address, error="m", boost_error=False, micro=False)


def picture(address: str) -> str:
    """Its code as SVG: black on white on dark pages too, with the margin that a camera needs."""
    return code(address).svg_inline(scale=6, border=4, dark="#000", light="#fff")


def _one(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        value = value[-1] if value else ""
    return str(value)[:MAX_TEXT]


def _seed(asked: Mapping[str, str], lesson: str) -> int | None:
    """The seed that is meant for the lesson: one that comes without settings of the controls."""
    alone = not asked.keys() & ((KINDS.keys() | DEMAND_KINDS.keys()) - {"seed"})
    name = LESSON_SEED if lesson and LESSON_SEED in asked else "seed" if alone or not lesson else ""
    if name not in asked:
        return None
    try:
        return KINDS["seed"].check("seed", asked[name])
    except FieldError as error:
        return error.nearest


def _read(text: str) -> tuple[frozenset[str], list[str]]:
    """Names of controls out of an address, and what in it is none."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    chosen, unknown = set(), []
    # What is taken away is taken away last.
    for name in sorted(names, key=lambda name: name.startswith(BUT)):
        plain = name.removeprefix(BUT)
        meant = CONTROLS if plain == ALL else GROUPS.get(plain, (plain,) if plain in CONTROLS else ())
        if not meant:
            unknown.append(name)
        chosen = chosen - set(meant) if name.startswith(BUT) else chosen | set(meant)
    return frozenset(chosen), unknown


def _text(chosen: Collection[str], free: Collection[str]) -> str:
    """The shortest way to say these controls, those that are free named or not."""
    if not chosen:
        return ""
    rest = [name for name in CONTROLS if name not in chosen and name not in free]
    listed = ",".join(_short(chosen))
    but = ",".join([ALL, *(BUT + name for name in _short(rest))])
    return min(listed, but, key=len)


def _short(names: Iterable[str]) -> list[str]:
    """Names, with the group's in place of all that are in it."""
    names = set(names)
    whole = {name for name, group in GROUPS.items() if names.issuperset(group)}
    covered = {name for group in whole for name in GROUPS[group]}
    return [*(name for name in CONTROLS if name in names - covered), *(name for name in GROUPS if name in whole)]
