"""Lessons: a question, a few runs that differ in one thing, and claims that are held against what the runs measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from explorer.comparison import Entry, Result
from explorer.config import Demand, RunConfig

# What a claim says of the values of its runs, in the order in which it names them.
RISES, FALLS, EQUAL, DIFFERENT = "rises", "falls", "equal", "different"
HOLDS, FAILS, OPEN = "holds", "fails", "open"
# Measures that a claim may rest on: fields of `Result`.
MEASURES = ("best_epoch", "best", "last", "gap", "test_accuracy", "accuracy", "train_accuracy", "epochs")


@dataclass(frozen=True)
class Claim:
    """Something that the runs of a lesson are said to show.

    Attributes:
        measure: a name in `MEASURES`.
        runs: places of the runs, two or more.
        relation: from each run to the next the measure rises or falls; or all are equal to within `tolerance`, or not.
        tolerance: how far apart equal values may lie.
    """

    measure: str
    runs: tuple[int, ...]
    relation: str
    tolerance: float = 0.0

    def values(self, results: Sequence[Result | None]) -> list[float | None]:
        """The measure of its runs, in their order; `None` where it is not known yet."""
        return [getattr(results[place], self.measure, None) for place in self.runs]

    def verdict(self, results: Sequence[Result | None]) -> str:
        """`holds`, `fails`, or `open` while a run is missing. Nothing but the numbers decides.

        Args:
            results: one a run of the lesson, `None` for one that is not done.
        """
        values = self.values(results)
        if any(value is None or value != value for value in values):
            return OPEN
        pairs = list(zip(values, values[1:]))
        if self.relation == RISES:
            found = all(before < after for before, after in pairs)
        elif self.relation == FALLS:
            found = all(before > after for before, after in pairs)
        else:
            found = (max(values) - min(values) <= self.tolerance) == (self.relation == EQUAL)
        return HOLDS if found else FAILS


@dataclass(frozen=True)
class Part:
    """The runs of one source in a lesson.

    Attributes:
        source: its title; empty where none of the five sources shows it.
        runs: what is trained, and how far.
        claims: what the runs are said to show.
        measure: what the chart opens with.
        again: for each run, the epochs that were trained before the first one shown, see `Entry`; empty where there are
            none.
    """

    source: str
    runs: tuple[tuple[RunConfig, Demand], ...]
    claims: tuple[Claim, ...]
    measure: str = "crossentropy"
    again: tuple[int, ...] = ()

    def entries(self) -> list[Entry]:
        """Its runs as a comparison."""
        return [Entry(config, demand, colour=place, again=self.again[place] if self.again else 0)
                for place, (config, demand) in enumerate(self.runs)]

    @property
    def datasets(self) -> set[str]:
        return {config.dataset for config, _ in self.runs}

    def seeded(self, seed: int | None) -> Part:
        """The same runs with another seed; as they are without one."""
        if seed is None:
            return self
        return replace(self, runs=tuple((config.with_(seed=seed), demand) for config, demand in self.runs))

    def on(self, dataset: str, instead: str) -> Part:
        """The same runs with other data, for where the source's own are not to be had."""
        runs = tuple((config.with_(dataset=instead, num_words=config.num_words, train_samples=config.train_samples)
                      if config.dataset == dataset else config, demand) for config, demand in self.runs)
        return replace(self, runs=runs)


@dataclass(frozen=True)
class Text:
    """What a lesson says in one language, Markdown: its title, its question, and what to look for."""

    title: str
    question: str
    look: str


@cache
def text(name: str, language: str) -> Text:
    """Read a lesson's words: a title after `#`, a question, and after `## ` what to look for.

    Raises:
        FileNotFoundError: there is none in this language.
    """
    lines = (Path(__file__).parent / language / f"{name}.md").read_text(encoding="utf-8").splitlines()
    heading = next(number for number, line in enumerate(lines) if line.startswith("## "))
    return Text(lines[0].removeprefix("# ").strip(), "\n".join(lines[1:heading]).strip(),
                "\n".join(lines[heading + 1:]).strip())
