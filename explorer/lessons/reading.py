"""The reading of a lesson: each claim with the numbers it rests on, and whether they bear it out, in each language."""

from __future__ import annotations

from collections.abc import Sequence

from explorer.comparison import Result, number
from explorer.lessons import DIFFERENT, EQUAL, FAILS, FALLS, HOLDS, OPEN, RISES, Claim

_MEASURES = {
    "en": {"best_epoch": "the best epoch", "best": "the best validation cross-entropy",
           "last": "the validation cross-entropy at the end", "gap": "the gap at the end",
           "test_accuracy": "the test accuracy", "accuracy": "the validation accuracy at the end",
           "train_accuracy": "the training accuracy at the end", "epochs": "the number of epochs"},
    "ko": {"best_epoch": "가장 좋은 에포크", "best": "가장 낮은 검증 교차 엔트로피",
           "last": "마지막 검증 교차 엔트로피", "gap": "마지막 간격", "test_accuracy": "테스트 정확도",
           "accuracy": "마지막 검증 정확도", "train_accuracy": "마지막 훈련 정확도", "epochs": "에포크 수"},
}
_RELATIONS = {
    "en": {RISES: "{measure} rises from run to run", FALLS: "{measure} falls from run to run",
           EQUAL: "{measure} is the same to within {tolerance}",
           DIFFERENT: "{measure} differs by more than {tolerance}"},
    "ko": {RISES: "{measure}: 차례로 커진다", FALLS: "{measure}: 차례로 작아진다",
           EQUAL: "{measure}: 차이가 {tolerance} 이내이다", DIFFERENT: "{measure}: 차이가 {tolerance}보다 크다"},
}
_VERDICTS = {
    "en": {HOLDS: "It holds here.", FAILS: "It does not hold here.", OPEN: "Not known until all of these are trained."},
    "ko": {HOLDS: "여기에서도 그렇습니다.", FAILS: "여기에서는 그렇지 않습니다.",
           OPEN: "모두 학습해야 알 수 있습니다."},
}


def sentence(claim: Claim, names: Sequence[str], results: Sequence[Result | None], language: str) -> str:
    """A claim, the measured values run by run, and the verdict.

    Args:
        names, results: one a run of the lesson; `None` for a run that is not done.
        language: a key of `LANGUAGES`.
    """
    measure = _MEASURES[language][claim.measure]
    said = _RELATIONS[language][claim.relation].format(measure=measure, tolerance=f"{claim.tolerance:g}")
    values = ", ".join(f"{names[place]}: {_shown(claim.measure, value)}"
                       for place, value in zip(claim.runs, claim.values(results), strict=True))
    return f"{said[0].upper()}{said[1:]} ({values}). {_VERDICTS[language][claim.verdict(results)]}"


def _shown(measure: str, value: float | None) -> str:
    if value is None:
        return "…"
    if measure in ("best_epoch", "epochs"):
        return str(int(value))
    return f"{value:.1%}" if measure.endswith("accuracy") else number(value)
