"""A diagnosis in words: in full, in one line while a run moves, and what each finding rests on."""

from __future__ import annotations

import math

from explorer.analysis.diagnosis import DIVERGED, MIN_EPOCHS, NOISY, TOO_SHORT, UNSTABLE, Diagnosis
from explorer.i18n import say

# Beyond so many times the cross-entropy of a guess, a network is not said to be close to it, but worse.
CLOSE = 1.2


def sentence(found: Diagnosis, language: str = "en") -> str:
    """What it shows in a few words, with the numbers of the run; empty before the first epoch.

    Args:
        language: a key of `explorer.i18n.LANGUAGES`.
    """
    if found.best_epoch is None:
        return say("diagnosis.never", language) if found.epochs else ""
    key = found.phase
    numbers = found.grounds["phase"].numbers
    is_worse = found.train > CLOSE * found.guessing
    if found.is_stuck:
        key = "worse" if is_worse else "stuck"
    elif found.phase == UNSTABLE and is_worse:
        key = "unstable.worse"
    elif found.is_lagging:
        key = "lagging"
    elif found.is_unsettled:
        key = "unsettled"
    elif found.phase == NOISY and "risen" in numbers:
        key = "unclear"
    elif found.phase == DIVERGED and "lost" not in numbers:
        key = "broken"
    said = say(
        f"diagnosis.{key}", language, best=found.best_epoch, value=_number(found.best_crossentropy),
        epochs=int(numbers.get("epochs", found.epochs)), fewest=MIN_EPOCHS, onset=found.onset,
        gap=_number(found.gap), gap_at_best=_number(found.gap_at_best), rise=_number(found.rise),
        last=_number(found.last_rise), noise=_number(numbers.get("apart", found.noise)), fall=_small(-found.slope),
        train=_number(found.train), guessing=_number(found.guessing),
        least_train=_number(numbers.get("least_train", math.nan)),
        **{name: f"{numbers.get(name, math.nan):.1%}" for name in ("train_accuracy", "printed_accuracy")})
    if "set_aside" in numbers:
        said = f"{said} {say('diagnosis.set_aside', language, rise=_number(found.last_rise))}"
    if found.phase in (TOO_SHORT, DIVERGED):
        return said
    return f"{said} {say(f'diagnosis.sure.{found.level}', language)}"


def brief(found: Diagnosis, language: str = "en") -> str:
    """The same in one short line, for a run that is still moving: its length hardly changes."""
    if found.best_epoch is None:
        return ""
    phase = say(f"diagnosis.phase.{found.phase}", language)
    if found.onset is not None:
        phase = say("diagnosis.brief.since", language, phase=phase, onset=found.onset)
    return say("diagnosis.brief", language, best=found.best_epoch, value=_number(found.best_crossentropy),
               gap=_number(found.gap), phase=phase)


def grounds(found: Diagnosis, language: str) -> list[dict[str, str]]:
    """What each finding rests on, as rows of a table: `finding`, `value`, `numbers` and `confidence`."""
    values = {"phase": say(f"diagnosis.phase.{found.phase}", language), "best_epoch": str(found.best_epoch),
              "onset": str(found.onset), "gap": _number(found.gap),
              "slope": say("diagnosis.slope", language, slope=_small(found.slope))}
    rows = []
    for name, ground in found.grounds.items():
        numbers = ", ".join(f"{say(f'diagnosis.number.{key}', language)} {_plain(value)}"
                            for key, value in ground.numbers.items() if math.isfinite(value))
        rows.append({"finding": say(f"diagnosis.finding.{name}", language), "value": values[name], "numbers": numbers,
                     "confidence": say("diagnosis.confidence", language, score=f"{ground.confidence:.2f}",
                                       level=say(f"diagnosis.level.{ground.level}", language))})
    return rows


def _plain(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1_000_000 else f"{value:.3g}"


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1_000 else f"{value:.1e}"


def _small(value: float) -> str:
    return f"{value:.2g}" if 1e-4 <= abs(value) < 1_000 else f"{value:.1e}"
