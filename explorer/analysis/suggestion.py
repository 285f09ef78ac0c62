"""From a diagnosis to the one thing to try next: a single setting changed, within what the installation allows."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from explorer.analysis.causes import CAUSES, Case, Cause
from explorer.analysis.diagnosis import Diagnosis
from explorer.analysis.run_diff import number
from explorer.config import labels
from explorer.config.fields import FieldError, plain
from explorer.config.limits import problems
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.i18n import say

DEMANDED = {one.name for one in fields(Demand)}


@dataclass(frozen=True)
class Suggestion:
    """One thing to try next.

    Attributes:
        key: names its texts, `suggestion.<key>` and `suggestion.<key>.why`.
        field: the one setting that changes, of the config or of the demand; an optimizer brings its own rate.
        config, demand: what would be trained.
        values: for its texts: numbers of the run, `old` and `new`, or how a word is said in a language.
    """

    key: str
    field: str
    config: RunConfig
    demand: Demand
    values: dict[str, Any] = field(default_factory=dict, compare=False)

    def label(self, language: str = "en") -> str:
        """What a button says."""
        return self._say(f"suggestion.{self.key}", language)

    def why(self, language: str = "en") -> str:
        """What in this run speaks for it, and what to expect of it."""
        return self._say(f"suggestion.{self.key}.why", language)

    def _say(self, key: str, language: str) -> str:
        values = dict(self.values)
        if self.field in ("activation", "optimizer"):
            values |= {name: labels.option(self.field, values[name], language) for name in ("old", "new")}
        return say(key, language, **{**values, "optimizer": labels.option("optimizer", values["optimizer"], language)})


def suggest(found: Diagnosis, config: RunConfig, demand: Demand, settings: Settings) -> Suggestion | None:
    """The remedy of the first cause that curve and settings show and that may be changed here.

    Args:
        found: what the run shows.
        config, demand: the run.
        settings: limits that the suggestion keeps to.

    Returns:
        `None` where nothing need change, where it is too early to say, or where no cause is known.
    """
    case = Case(found, config, demand, settings)
    sign = case.sign
    for cause in CAUSES:
        offered = _sound(cause, case) if sign in cause.signs and cause.shows(case) else None
        if offered:
            return offered
    return None


def _sound(cause: Cause, case: Case) -> Suggestion | None:
    """The suggestion, if it may be trained here and is not the run itself."""
    config, demand, name, value = case.config, case.demand, cause.setting, cause.remedy(case)
    if name == "train_samples" and case.settings.max_samples < (value or config.available_rows):
        value = case.settings.max_samples
        if value <= config.rows:
            return None
    try:
        if name in DEMANDED:
            changed, wanted = config, replace(demand, **{name: value})
        else:
            changed, wanted = config.with_(**{name: value}), demand
    except FieldError:
        return None
    if (changed, wanted) == (config, demand) or problems(changed, wanted, case.settings):
        return None
    return Suggestion(cause.key, name, changed, wanted, _values(name, case, changed, wanted))


def _values(name: str, case: Case, changed: RunConfig, wanted: Demand) -> dict[str, Any]:
    """What the texts may name."""
    found, config = case.found, case.config
    before, after = (case.demand, wanted) if name in DEMANDED else (config, changed)
    rates = sorted((config.learning_rate, case.default_rate))
    return {
        "old": _shown(name, before), "new": _shown(name, after), "name": name.upper(),
        "optimizer": config.optimizer, "rate": plain(changed.learning_rate), "default": plain(case.default_rate),
        "times": plain(round(rates[1] / rates[0])), "layers": len(config.hidden), "narrowest": min(config.hidden),
        "train": number(found.train), "guessing": number(found.guessing), "value": number(found.best_crossentropy),
        "best": found.best_epoch, "epochs": found.epochs, "wanted": plain(case.demand.epochs),
        "noise": number(found.noise), "steps": plain(case.steps()), "rows": plain(config.held_out),
        "more_rows": plain(changed.held_out), "more_steps": plain(case.steps(changed.batch_size)),
        "share": f"{config.label_noise if name == 'label_noise' else config.dropout:.0%}",
        "stop": (found.best_epoch or 0) + (wanted.patience or 0),
    }


def _shown(name: str, of: RunConfig | Demand) -> str:
    value = of.rows if name == "train_samples" else getattr(of, name)
    if isinstance(value, tuple):
        return "-".join(map(str, value))
    return plain(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
