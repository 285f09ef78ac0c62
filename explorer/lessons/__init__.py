"""Lessons: a question, a few runs that differ in one thing, and claims that are held against what the runs measure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from explorer.analysis.comparison import ComparedRun
from explorer.config.run_config import Demand, RunConfig
from explorer.lessons.measures import RunMeasures

# What a claim says of the values of its runs, in the order in which it names them.
RISES, FALLS, EQUAL, DIFFERENT = "rises", "falls", "equal", "different"
HOLDS, FAILS, OPEN = "holds", "fails", "open"
# Measures that a claim may rest on: fields of `explorer.lessons.measures.RunMeasures`.
MEASURES = ("best_epoch", "best", "best_accuracy", "last", "gap", "accuracy_gap", "test_accuracy", "accuracy",
            "train_accuracy", "epochs", "weights", "zeros", "first", "train", "by_heart", "above", "gap_at",
            "accuracy_gap_at", "train_accuracy_at")
# Of those that a claim has after an epoch of its own: where all of them are.
_AT = {"gap_at": "gaps", "accuracy_gap_at": "accuracy_gaps", "train_accuracy_at": "train_accuracies"}
# Switches of the comparison that a part may open with, see `explorer.ui.panels.comparison`.
SWITCHES = ("panels", "log_x", "log_y", "printed")


@dataclass(frozen=True)
class Claim:
    """Something that the runs of a lesson are said to show.

    Attributes:
        measure: a name in `MEASURES`.
        runs: places of the runs, two or more.
        relation: from each run to the next the measure rises or falls; or all are equal to within `tolerance`, or not.
        tolerance: how far apart equal values may lie.
        epoch: of measures that end in `_at`, the epoch after which they are taken.
        of_source: whether it is claimed of the source's own data alone, and not of those that stand in for them.
    """

    measure: str
    runs: tuple[int, ...]
    relation: str
    tolerance: float = 0.0
    epoch: int | None = None
    of_source: bool = False

    def values(self, results: Sequence[RunMeasures | None]) -> list[float | None]:
        """The measure of its runs, in their order; `None` where it is not known yet."""
        return [self._value(results[place]) for place in self.runs]

    def _value(self, found: RunMeasures | None) -> float | None:
        if found is None:
            return None
        if self.epoch is None:
            return getattr(found, self.measure)
        values = getattr(found, _AT[self.measure])
        return values[self.epoch - 1] if self.epoch <= len(values) else None

    def verdict(self, results: Sequence[RunMeasures | None]) -> str:
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
        again: for each run, the epochs that were trained before the first one shown, see `ComparedRun`; empty where
            there are none.
        view: switches of the comparison that are on when it opens, of `SWITCHES`.
        is_riddle: whether what differs is what the learner is asked, so that nothing tells it before the answer does.
        sources_say: what the sources say of it where none of them shows it, the end of a text's key: `lesson.ours.<…>`.
    """

    source: str
    runs: tuple[tuple[RunConfig, Demand], ...]
    claims: tuple[Claim, ...]
    measure: str = "crossentropy"
    again: tuple[int, ...] = ()
    view: tuple[str, ...] = ()
    is_riddle: bool = False
    sources_say: str = ""

    def entries(self) -> list[ComparedRun]:
        """Its runs as a comparison."""
        return [ComparedRun(config, demand, color=place, again=self.again[place] if self.again else 0)
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
        """The same runs with other data, for where the source's own are not to be had, and what is claimed of both."""
        if dataset not in self.datasets:
            return self
        runs = tuple((config.with_(dataset=instead, num_words=config.num_words, train_samples=config.train_samples)
                      if config.dataset == dataset else config, demand) for config, demand in self.runs)
        return replace(self, runs=runs, claims=tuple(claim for claim in self.claims if not claim.of_source))


@dataclass(frozen=True)
class Text:
    """What a lesson says in one language, Markdown; numbers of its runs are fields, see `explorer.lessons.facts`.

    Attributes:
        title: its name.
        question: what a learner is to predict before the runs are trained.
        look: where to look, and which control of the page shows it.
        answer: what is seen there as a rule, and why; hidden until it is asked for.
    """

    title: str
    question: str
    look: str
    answer: str


@cache
def text(name: str, language: str) -> Text:
    """Read a lesson's words: a title after `#`, a question, and below two headings what to look for and the answer.

    Raises:
        FileNotFoundError: there is none in this language.
    """
    words = (Path(__file__).parent / language / f"{name}.md").read_text(encoding="utf-8")
    begin, look, answer = re.split(r"^## .*$", words, flags=re.MULTILINE)
    title, _, question = begin.partition("\n")
    return Text(title.removeprefix("# ").strip(), question.strip(), look.strip(), answer.strip())
