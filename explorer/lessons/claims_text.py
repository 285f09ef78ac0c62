"""Each claim of a lesson in words: its numbers, and whether they bear it out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from explorer.analysis.run_diff import number
from explorer.i18n import say
from explorer.lessons import Claim
from explorer.lessons.measures import BY_HEART, RunMeasures

# Measures that are counted, or so large that fractions say nothing.
_WHOLE = ("best_epoch", "epochs", "by_heart", "above", "weights")


def sentence(claim: Claim, names: Sequence[str], results: Sequence[RunMeasures | None], language: str) -> str:
    """A claim, the measured values run by run, and the verdict.

    Args:
        names, results: one a run of the lesson; `None` for a run that is not done.
        language: a key of `explorer.i18n.LANGUAGES`.
    """
    measure = say(f"claim.measure.{claim.measure}", language, epoch=claim.epoch, share=f"{BY_HEART:.0%}")
    said = say(f"claim.{claim.relation}", language, measure=measure, tolerance=f"{claim.tolerance:g}")
    values = ", ".join(f"{names[place]}: {_shown(claim.measure, value, language)}"
                       for place, value in zip(claim.runs, claim.values(results), strict=True))
    verdict = say(f"claim.verdict.{claim.verdict(results)}", language)
    return f"{said[0].upper()}{said[1:]} ({values}). {verdict}"


def _shown(measure: str, value: float | None, language: str) -> str:
    if value is None or value != value:
        return "…"
    if math.isinf(value):
        return say("claim.never", language)
    if measure in _WHOLE:
        return f"{value:,.0f}"
    return f"{value:.1%}" if "accuracy" in measure or measure == "zeros" else number(value)
