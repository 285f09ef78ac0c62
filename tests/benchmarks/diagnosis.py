"""How often the diagnosis is right, by kind of curve, and what its confidence is worth.

    python -m tests.benchmarks.diagnosis [--curves 200] [--histories FILE]

Counts are of curves that `tests/_simulated.py` makes, of the published histories of the lessons, and of histories of
other people's trainings (`tests/histories.json`, or any file of that form).
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from explorer.analysis.diagnosis import OVERFITTING, diagnose
from explorer.analysis.phases import Diagnosis
from tests._labeled import HISTORIES, labeled, published
from tests._simulated import KINDS

Judged = tuple[str, Diagnosis, bool]


def judged(curves: int, histories: Path) -> Iterator[Judged]:
    """Kind, diagnosis and whether it is right, of every curve."""
    for kind in KINDS:
        for history in kind.curves(curves):
            found = diagnose(history, 10)
            yield kind.name, found, found.phase == kind.phase
    for name, read in (("published", published()), ("other people's trainings", labeled(histories))):
        for one in read:
            found = diagnose(one.history, one.classes)
            yield name, found, one.is_right(found)


def false_overfitting(found: list[Judged]) -> float:
    """Share of the curves that do not show overfitting of which it is said."""
    others = {kind.name for kind in KINDS if kind.phase != OVERFITTING}
    said = [one.phase == OVERFITTING for name, one, _ in found if name in others]
    return sum(said) / len(said)


def reliability(found: list[Judged]) -> dict[str, tuple[int, float]]:
    """Number of findings and share of right ones by level of confidence."""
    levels = {level: [right for _, one, right in found if one.level == level] for level in ("high", "medium", "low")}
    return {level: (len(right), sum(right) / len(right)) for level, right in levels.items() if right}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=int, default=200, help="simulated curves of each kind")
    parser.add_argument("--histories", type=Path, default=HISTORIES)
    given = parser.parse_args()
    found = list(judged(given.curves, given.histories))
    print("| curves | number | right | said, where wrong |\n| --- | --- | --- | --- |")
    for name in dict.fromkeys(name for name, _, _ in found):
        own = [(one, right) for of, one, right in found if of == name]
        wrong = Counter(one.phase + (", high" if one.level == "high" else "") for one, right in own if not right)
        said = ", ".join(f"{phase} {count}" for phase, count in wrong.most_common())
        print(f"| {name} | {len(own)} | {sum(right for _, right in own) / len(own):.1%} | {said} |")
    print(f"\nOverfitting said of simulated curves that show none: {false_overfitting(found):.2%}\n")
    print("| confidence | findings | right |\n| --- | --- | --- |")
    for level, (count, share) in reliability(found).items():
        print(f"| {level} | {count} | {share:.1%} |")


if __name__ == "__main__":
    main()
