"""What differs between two runs, in words: their settings, their results, and whether seeds alone would do as much."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import fields

from explorer.analysis.comparison import FALSE_ALARMS, ComparedRun, Result, is_real, spreads_needed
from explorer.config import labels
from explorer.config.run_config import DECAYING, DEFAULT_LEARNING_RATE, DEFAULT_WEIGHT_DECAY, RunConfig
from explorer.i18n import count, say

# Titles of two runs, the first one first.
Titles = Sequence[str]


def differing(one: RunConfig, other: RunConfig) -> list[str]:
    """Names of the settings in which two runs differ.

    What only follows from another setting is not counted apart: each optimizer's own default of learning rate and
    weight decay, and the number of words where the data are others.
    """
    found = [field.name for field in fields(RunConfig) if getattr(one, field.name) != getattr(other, field.name)]
    if "optimizer" in found:
        for name, default in (("learning_rate", lambda config: DEFAULT_LEARNING_RATE[config.optimizer]),
                              ("weight_decay", lambda config: DEFAULT_WEIGHT_DECAY.get(config.optimizer, 0.0)
                               if config.optimizer in DECAYING else 0.0)):
            if name in found and all(getattr(config, name) == default(config) for config in (one, other)):
                found.remove(name)
    if "dataset" in found and "num_words" in found and None in (one.num_words, other.num_words):
        found.remove("num_words")
    if "regularize_output" in found and not all(config.l1 or config.l2 for config in (one, other)):
        found.remove("regularize_output")
    return found


def settings_sentence(one: ComparedRun, other: ComparedRun, titles: Titles, language: str) -> str:
    """What differs in the settings of two runs; values are the first's against the second's."""
    parts = [say("contrast.setting", language, title=labels.lower(labels.title(name, language)),
                 one=labels.value(name, one.config, language), other=labels.value(name, other.config, language))
             for name in differing(one.config, other.config)]
    if one.again != other.again:
        parts.append(say("contrast.again", language, one=one.again, other=other.again))
    if not parts:
        return say("contrast.same", language, one=titles[0], other=titles[1])
    return say("contrast.differ", language, one=titles[0], other=titles[1], parts=labels.listed(parts, language))


def warning(one: ComparedRun, other: ComparedRun, language: str) -> str:
    """A warning where more than one thing differs; else empty."""
    fields = differing(one.config, other.config)
    if _is_other_pull(one.config, other.config, fields):
        fields = ["l2"]
    found = [labels.lower(labels.title(name, language)) for name in fields]
    if one.again != other.again:
        found.append(say("contrast.start", language))
    if len(found) < 2:
        return ""
    words = say(f"contrast.count.{len(found)}", language) if len(found) < 6 else str(len(found))
    return say("contrast.warning", language, count=words, things=labels.listed(found, language))


def _is_other_pull(one: RunConfig, other: RunConfig, fields: Sequence[str]) -> bool:
    """Whether weights are kept small by L2 alone in one and by decay alone in the other: one thing, done in two ways.

    AdamW is Adam with such a decay.
    """
    allowed = {"l2", "weight_decay"}
    if {one.optimizer, other.optimizer} == {"adam", "adamw"}:
        allowed.add("optimizer")
    by_l2, by_decay = ([bool(config.l2), bool(config.weight_decay)] for config in (one, other))
    return set(fields) <= allowed and sorted([by_l2, by_decay]) == [[False, True], [True, False]]


def results_sentence(one: Result, other: Result, titles: Titles, language: str) -> str:
    """What the settings changed in the results, from the first run to the second; numbers are those of the runs."""
    values = {"other": titles[1], "best": number(other.best), "before": number(one.best)}
    if values["best"] == values["before"]:
        best = say("contrast.best.same", language, **values)
    else:
        best = say("contrast.best.lower" if other.best < one.best else "contrast.best.higher", language, **values)
    when = (say("contrast.when.same", language) if one.best_epoch == other.best_epoch
            else say("contrast.when", language, epoch=other.best_epoch, before=one.best_epoch))
    gaps = {"gap": number(other.gap), "before": number(one.gap)}
    if gaps["gap"] == gaps["before"]:
        gap = say("contrast.gap.same", language, **gaps)
    else:
        gap = say("contrast.gap.narrower" if other.gap < one.gap else "contrast.gap.wider", language, **gaps)
    found = say("contrast.results", language, best=best, when=when, gap=gap)
    if one.epochs == other.epochs:
        return found
    return f"{found} {say('contrast.uneven', language, one=other.epochs, other=one.epochs)}"


def seeds_sentence(one: Sequence[float], other: Sequence[float], titles: Titles, language: str, runs: int = 2) -> str:
    """Whether the difference in best validation cross-entropy is more than the seeds make; empty with one seed.

    Args:
        runs: how many runs are compared, these two among them.
    """
    seeds = min(len(one), len(other))
    if seeds < 2:
        return ""
    change, spread, real = is_real(one, other, runs)
    times = spreads_needed(seeds, runs)
    limit = say("contrast.seeds.spread" if times == 1 else "contrast.seeds.spreads", language, times=f"{times:g}",
                spread=number(spread))
    return count("contrast.seeds.real" if real else "contrast.seeds.luck", language, seeds, one=titles[0],
                 other=titles[1], first=number(statistics.fmean(one)), second=number(statistics.fmean(other)),
                 change=number(abs(change)), limit=limit, share=f"{100 * FALSE_ALARMS:g}", runs=max(runs, 2))


def number(value: float) -> str:
    """Three decimals, or three digits where there are many before the point."""
    return f"{value:.3f}" if not math.isfinite(value) or abs(value) < 1_000 else f"{value:.1e}"
