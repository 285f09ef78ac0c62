"""From a diagnosis to the one thing to try next: a single setting changed, within what the installation allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from explorer.config import DEFAULT_LEARNING_RATE, Demand, RunConfig
from explorer.diagnosis import DIVERGED, NOISY, OVERFITTING, UNDERFITTING, Diagnosis
from explorer.fields import FieldError, plain
from explorer.limits import problems
from explorer.settings import Settings
from explorer.words import say

# A layer from this width on is halved before anything else holds overfitting back; below the least it is left.
WIDE, LEAST_UNITS = 64, 4
# A network that has learned nothing is widened up to here.
MOST_UNITS = 512
# Strengths that the sources use to begin with; beyond the strongest a network hardly learns at all.
FIRST_L2, STRONGEST_L2, STRONGEST_L1 = 0.001, 0.01, 0.001
FULL_DROPOUT = 0.5
# In a network that has learned nothing, strengths from these on may be what holds it back.
HEAVY_PENALTY, HEAVY_DROPOUT = 0.01, 0.5
# Fewer examples a step than that make the gradient noisy; a batch takes no more than this share of the examples.
CALM_BATCH, BATCH_SHARE = 2_048, 0.25
# The rate stays within a hundredth and ten times Keras's default of the optimizer, except where training broke down.
SLOWEST, FASTEST = 0.01, 10.0
# Layers from this number on learn badly with saturating activations or without normalisation.
DEEP = 4
PATIENCE = 5


@dataclass(frozen=True)
class Suggestion:
    """One thing to try next.

    Attributes:
        key: names its texts, `suggestion.<key>` and `suggestion.<key>.why`.
        field: the one setting that changes, of the config or of the demand.
        config, demand: what would be trained.
        values: for its texts, `old` and `new` among them.
    """

    key: str
    field: str
    config: RunConfig
    demand: Demand
    values: dict[str, Any] = field(default_factory=dict, compare=False)

    def label(self, language: str = "en") -> str:
        """What a button says."""
        return say(f"suggestion.{self.key}", language, **self.values)

    def why(self, language: str = "en") -> str:
        """One sentence on why it may help."""
        return say(f"suggestion.{self.key}.why", language, **self.values)


def suggest(found: Diagnosis, config: RunConfig, demand: Demand, settings: Settings) -> Suggestion | None:
    """The first of the usual remedies that this run has not used up.

    Args:
        found: what the run shows.
        config, demand: the run.
        settings: limits that the suggestion keeps to.

    Returns:
        `None` where nothing need change (`good`), where it is too early to say, or where every remedy is used up.
    """
    remedies = {OVERFITTING: _against_overfitting, DIVERGED: _against_divergence, NOISY: _against_noise,
                UNDERFITTING: _against_standstill if found.is_stuck else _for_more}.get(found.phase)
    for key, name, value in remedies(found, config, demand) if remedies else ():
        offered = _sound(key, name, value, config, demand, settings)
        if offered:
            return offered
    return None


_Remedies = Iterator[tuple[str, str, Any]]


def _against_overfitting(found: Diagnosis, config: RunConfig, demand: Demand) -> _Remedies:
    if config.train_samples:
        doubled = 2 * config.train_samples
        yield "more_data", "train_samples", None if doubled >= config.available_rows else doubled
    if config.label_noise:
        yield "clean_labels", "label_noise", 0.0
    if max(config.hidden) >= WIDE:
        yield "smaller", "hidden", _scaled(config, 1, 2)
    if not (config.l1 or config.l2 or config.weight_decay):
        yield "l2", "l2", FIRST_L2
    if config.dropout < FULL_DROPOUT:
        yield "dropout", "dropout", FULL_DROPOUT
    if 0 < config.l2 < STRONGEST_L2:
        yield "stronger", "l2", min(_rounded(config.l2 * 10), STRONGEST_L2)
    elif 0 < config.l1 < STRONGEST_L1:
        yield "stronger", "l1", min(_rounded(config.l1 * 10), STRONGEST_L1)
    if max(config.hidden) > LEAST_UNITS:
        yield "smaller", "hidden", _scaled(config, 1, 2)
    if demand.patience is None:
        yield "stop_early", "patience", PATIENCE


def _for_more(found: Diagnosis, config: RunConfig, demand: Demand) -> _Remedies:
    if found.epochs < demand.epochs and demand.patience is None:
        return  # it has not been trained as far as it is wanted: first that
    if found.epochs < demand.epochs:
        yield "patience", "patience", 2 * demand.patience
    else:
        yield "longer", "epochs", 2 * demand.epochs
    if config.learning_rate < _rate(config, FASTEST):
        yield "faster", "learning_rate", min(_rounded(config.learning_rate * 3), _rate(config, FASTEST))


def _against_standstill(found: Diagnosis, config: RunConfig, demand: Demand) -> _Remedies:
    for name in ("l1", "l2"):
        if getattr(config, name) >= HEAVY_PENALTY:
            yield "weaker", name, _rounded(getattr(config, name) / 10)
    if config.dropout >= HEAVY_DROPOUT:
        yield "less_dropout", "dropout", _rounded(config.dropout / 2)
    if config.learning_rate > _rate(config, FASTEST):
        yield "slower", "learning_rate", _rounded(config.learning_rate / 10)
    if config.learning_rate < _rate(config, 1):
        yield "faster", "learning_rate", min(_rounded(config.learning_rate * 10), _rate(config, 1))
    if len(config.hidden) >= DEEP and config.activation in ("sigmoid", "tanh"):
        yield "relu", "activation", "relu"
    if len(config.hidden) >= DEEP and not config.batch_norm:
        yield "batch_norm", "batch_norm", True
    if max(config.hidden) < MOST_UNITS:
        yield "bigger", "hidden", _scaled(config, 2, 1)
    yield from _for_more(found, config, demand)


def _against_divergence(found: Diagnosis, config: RunConfig, demand: Demand) -> _Remedies:
    yield "slower", "learning_rate", _rounded(config.learning_rate / 10)


def _against_noise(found: Diagnosis, config: RunConfig, demand: Demand) -> _Remedies:
    if config.learning_rate > _rate(config, 1):
        yield "calmer", "learning_rate", max(_rounded(config.learning_rate / 10), _rate(config, 1))
    if 2 * config.batch_size <= min(CALM_BATCH, BATCH_SHARE * config.rows):
        yield "larger_batch", "batch_size", 2 * config.batch_size
    if config.learning_rate > _rate(config, SLOWEST):
        yield "calmer", "learning_rate", max(_rounded(config.learning_rate / 3), _rate(config, SLOWEST))


def _sound(key: str, name: str, value: Any, config: RunConfig, demand: Demand,
           settings: Settings) -> Suggestion | None:
    """The suggestion, if it may be trained here and is not the run itself."""
    try:
        if name in ("epochs", "patience"):
            if name == "epochs":
                value = min(value, settings.max_epochs)
                if value <= demand.epochs:
                    return None
            changed, wanted = config, replace(demand, **{name: value})
        else:
            if name == "train_samples" and settings.max_samples < (value or config.available_rows):
                value = settings.max_samples
                if value <= config.rows:
                    return None
            changed, wanted = config.with_(**{name: value}), demand
    except FieldError:
        return None
    if (changed, wanted) == (config, demand) or problems(changed, wanted, settings):
        return None
    before, after = (demand, wanted) if changed == config else (config, changed)
    return Suggestion(key, name, changed, wanted,
                      {"name": name.upper() if name in ("l1", "l2") else name,
                       "old": _shown(name, before), "new": _shown(name, after)})


def _shown(name: str, of: RunConfig | Demand) -> str:
    value = of.rows if name == "train_samples" else getattr(of, name)
    if isinstance(value, tuple):
        return "-".join(map(str, value))
    return plain(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def _scaled(config: RunConfig, times: int, by: int) -> tuple[int, ...]:
    """Every layer wider or narrower by the same factor, none narrower than it may become."""
    return tuple(max(min(units, LEAST_UNITS), units * times // by) for units in config.hidden)


def _rate(config: RunConfig, times: float) -> float:
    return _rounded(DEFAULT_LEARNING_RATE[config.optimizer] * times)


def _rounded(value: float) -> float:
    """Three digits, so that no 0.00030000000000000003 is offered."""
    return float(f"{value:.3g}")
