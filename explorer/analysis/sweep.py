"""A sweep: a grid of runs along one or two axes, around the settings of one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from explorer.config import labels as run_labels
from explorer.config.fields import Choice, FieldError, Layers
from explorer.config.limits import problems
from explorer.config.run_config import KINDS, Demand, RunConfig
from explorer.config.settings import Settings
from explorer.i18n import WRITTEN, count, say

MAX_RUNS = 64
# In the place of a second axis.
NOTHING = "nothing"
# Longer texts are no grids; they are cut before anything looks at them.
MAX_TEXT = 1_000

# What may lie along an axis, and the values that it opens with.
USUAL: dict[str, tuple[Any, ...]] = {
    "hidden": ((4, 4), (16, 16), (64, 64)),
    "l1": (0.0, 1e-5, 1e-4, 1e-3),
    "l2": (0.0, 1e-4, 1e-3, 1e-2),
    "dropout": (0.0, 0.25, 0.5),
    "train_samples": (300, 1_000, 4_000, None),
    "num_words": (100, 1_000, 10_000),
    "label_noise": (0.0, 0.1, 0.3),
    "learning_rate": (1e-4, 1e-3, 1e-2),
    "batch_size": (32, 128, 512),
    "optimizer": KINDS["optimizer"].options,
    "activation": ("relu", "tanh", "sigmoid", "gelu"),
    "seed": (0, 1, 2, 3),
}
# Further values to choose from; any other can be typed.
FURTHER: dict[str, tuple[Any, ...]] = {
    "hidden": ((16,), (64,), (512, 512)),
    "l1": (1e-6, 1e-2),
    "l2": (1e-5, 3e-4, 3e-3, 1e-1),
    "dropout": (0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8),
    "train_samples": (100, 500, 2_000, 8_000, 16_000),
    "num_words": (200, 500, 2_000, 5_000, 20_000),
    "label_noise": (0.05, 0.2, 0.4, 0.5),
    "learning_rate": (1e-5, 3e-4, 3e-3, 3e-2, 0.1, 1.0),
    "batch_size": (8, 16, 64, 256, 1_024),
    "optimizer": (),
    "activation": KINDS["activation"].options,
    "seed": tuple(range(4, 16)),
}

# How one run of a grid stands; every further word is a reason why it stands still before it is done.
DONE, MOVING, WAITING, EMPTY, DIVERGED = "done", "training", "waiting", "untrained", "diverged"
SOUND = (DONE, MOVING, WAITING, EMPTY)
MEASURES = ("best", "gap")


@dataclass(frozen=True)
class Axis:
    """A setting and the values that it takes, in the order in which they are drawn.

    Attributes:
        field: a name in `USUAL`.
        values: sound ones, each once, at least one.
    """

    field: str
    values: tuple[Any, ...]

    def title(self, language: str) -> str:
        return run_labels.title(self.field, language)

    def labels(self, language: str) -> list[str]:
        """The values as a person reads them."""
        return [run_labels.label(self.field, value, language) for value in self.values]

    @property
    def texts(self) -> list[str]:
        """The values as an address carries them."""
        return [KINDS[self.field].text(value) for value in self.values]


@dataclass(frozen=True)
class Grid:
    """One run for each combination of the values of its axes."""

    across: Axis
    down: Axis | None = None

    @property
    def axes(self) -> tuple[Axis, ...]:
        return (self.across,) if self.down is None else (self.across, self.down)

    @property
    def runs(self) -> int:
        return prod(len(axis.values) for axis in self.axes)

    @property
    def text(self) -> str:
        """The form that an address carries: `l2:0,0.001;dropout:0,0.5`, what lies across first."""
        return ";".join(f"{axis.field}:{','.join(axis.texts)}" for axis in self.axes)

    def configs(self, base: RunConfig) -> list[RunConfig]:
        """The runs, row by row; all that is on no axis is as in the base.

        Raises:
            FieldError: a value is not sound for this base.
        """
        rows = self.down.values if self.down else (None,)
        found = []
        for value, other in product(rows, self.across.values):
            changes = {self.across.field: other} | ({self.down.field: value} if self.down else {})
            found.append(base.with_(**changes))
        return found

    def words(self, number: int, language: str) -> str:
        """What is particular to one cell, counted row by row: `L2 strength 0.001 with dropout rate 0.25`."""
        row, column = divmod(number, len(self.across.values))
        found = f"{self.across.title(language)} {self.across.labels(language)[column]}"
        if self.down is None:
            return found
        return say("sweep.with", language, first=found,
                   second=f"{run_labels.lower(self.down.title(language))} {self.down.labels(language)[row]}")


@dataclass(frozen=True)
class CellState:
    """How one run of a grid stands, with cross-entropies unpenalised and in inference mode.

    Attributes:
        state: `done` (known as far as is wanted), `training`, `waiting`, `untrained` (never asked for),
            `diverged`, or another state of the store that says why it stands still.
        epochs: complete ones, no more than are wanted.
        best, best_epoch: lowest validation cross-entropy, and where; `None` before the first epoch.
        gap: validation minus training cross-entropy at the last of these epochs.
        accuracy: of validation at the best epoch.
        message: what the run itself says about its end.
        test_accuracy: on the test set after the best epoch; `None` where it is not known.
    """

    state: str = EMPTY
    epochs: int = 0
    best: float | None = None
    best_epoch: int | None = None
    gap: float | None = None
    accuracy: float | None = None
    message: str = ""
    test_accuracy: float | None = None

    def value(self, measure: str) -> float | None:
        return self.best if measure == "best" else self.gap


def state_words(state: str, language: str) -> str:
    """How a run stands, in words."""
    return say(f"state.{state}", language)


def fields_for(base: RunConfig) -> list[str]:
    """What may lie along an axis around this run: only reviews have words."""
    return [field for field in USUAL if field != "num_words" or base.info.is_words]


def opening(field: str, base: RunConfig, settings: Settings) -> list[str]:
    """The values that an axis opens with, as text, with the base's own among them."""
    return _in_order(field, [*USUAL[field], getattr(base, field)], base, settings)


def offered(field: str, base: RunConfig, settings: Settings) -> list[str]:
    """The values to choose from, as text."""
    return _in_order(field, [*USUAL[field], *FURTHER[field], getattr(base, field)], base, settings)


def placed(field: str, values: Sequence[str]) -> list[str]:
    """Values as a person has picked or typed them: lists are taken apart, and a number that comes last to others in
    order goes to its place."""
    parts = [part.strip() for value in values for part in value.replace(";", ",").split(",") if part.strip()]
    parts = list(dict.fromkeys(parts))
    if field not in KINDS:  # the setting may be gone before the page has heard of its values
        return parts
    ranks = [_rank(field, part) for part in parts]
    if len(parts) < 3 or None in ranks or ranks[:-1] != sorted(ranks[:-1]):
        return parts
    return [part for _, part in sorted(zip(ranks, parts, strict=True))]


def read(field: str, values: Iterable[str], base: RunConfig,
         settings: Settings) -> tuple[Axis | None, list[FieldError]]:
    """An axis from the texts of its values.

    Returns:
        The axis, with the nearest sound value for each that is not, or `None` where there is none; and at most one
        error, which names all that was not sound.
    """
    sound: dict[Any, None] = {}
    wrong: dict[str, FieldError] = {}
    for text in values:
        value: Any = text.strip()
        while value is not None:
            try:
                # A value is known by the run that it leads to: all examples are all of them, counted or not.
                sound[getattr(_checked(field, value, base, settings), field)] = None
                break
            except FieldError as error:
                wrong[text.strip()] = error
                value = error.nearest  # which another limit may still be below
    axis = Axis(field, tuple(sound)) if sound else None
    if not wrong:
        return axis, []
    allowed = next(iter(wrong.values())).allowed
    nearest = ", ".join(axis.labels(WRITTEN)) if axis else None
    return axis, [FieldError(f"grid: {field}", allowed, ", ".join(wrong), nearest)]


def parse(text: str, base: RunConfig, settings: Settings) -> tuple[Grid | None, list[FieldError]]:
    """Read what `Grid.text` wrote, or what somebody has made of it.

    Returns:
        The nearest sound grid of at most 64 runs, or `None`; with an error for each thing that was not sound. It
        never raises.
    """
    axes: list[Axis] = []
    errors: list[FieldError] = []
    for part in [part for part in text[:MAX_TEXT].split(";") if part.strip()][:3]:
        field, _, values = part.partition(":")
        field = field.strip()
        if len(axes) == 2 or field not in fields_for(base) or field in [axis.field for axis in axes]:
            errors.append(FieldError("grid", f"one or two different axes out of {', '.join(fields_for(base))}", field))
            continue
        axis, wrong = read(field, [value for value in values.split(",") if value.strip()][:MAX_RUNS], base, settings)
        errors += wrong
        if axis:
            axes.append(axis)
        elif not wrong:
            errors.append(FieldError(f"grid: {field}", KINDS[field].allowed, values))
    if not axes:
        if not errors:
            errors.append(FieldError("grid", "axes and values like l2:0,0.001;dropout:0,0.5", text))
        return None, errors
    grid = Grid(*axes)
    if grid.runs > MAX_RUNS:
        came = _size(grid)
        while grid.runs > MAX_RUNS:
            longest = max(axes, key=lambda axis: len(axis.values))
            axes[axes.index(longest)] = Axis(longest.field, longest.values[:-1])
            grid = Grid(*axes)
        errors.append(FieldError("grid", f"at most {MAX_RUNS} runs", came, f"its corner of {_size(grid)}"))
    return grid, errors


def explain(error: FieldError) -> str:
    """What was not sound, and what is used instead."""
    return f"{error} It is left out." if error.nearest is None else f"{error} {error.nearest} is used instead."


def sentence(grid: Grid, base: int | None, standings: Sequence[CellState], measure: str, language: str) -> str:
    """What the grid shows, with its numbers from the runs; empty where nothing was asked for.

    Args:
        grid: what was swept.
        base: the cell that holds the settings that the sweep began with, if one does.
        standings: one a cell, row by row.
        measure: a name in `MEASURES`.
    """
    total = len(standings)
    known = [n for n, one in enumerate(standings) if one.state == DONE and one.value(measure) is not None]
    if all(one.state == EMPTY for one in standings):
        return ""
    if len(known) < total:
        ended = Counter(one.state for one in standings if one.state not in SOUND)
        parts = [count("sweep.done", language, len(known), total=total),
                 *(f"{several} {state_words(state, language)}" for state, several in ended.items())]
        best = (say(f"sweep.so_far.{measure}", language, words=_told(grid, known, standings, measure, language)[1])
                if known else "")
        return f"{', '.join(parts)}{best}."
    best, words = _told(grid, known, standings, measure, language)
    found = say(f"sweep.found.{measure}", language, total=total, words=words)
    if base is None:
        return f"{found}."
    if base == best:
        return say("sweep.base.own", language, found=found)
    shown, reached = (number(standings[cell].value(measure)) for cell in (best, base))
    return say(f"sweep.base.{measure}" if reached != shown else f"sweep.base.{measure}.same", language, found=found,
               reached=reached)


def number(value: float) -> str:
    """Three digits."""
    return f"{value:.3f}" if abs(value) < 9.9995 else f"{value:.3g}"


def _told(grid: Grid, known: list[int], standings: Sequence[CellState], measure: str, language: str) -> tuple[int, str]:
    cell = min(known, key=lambda n: standings[n].value(measure))
    one = standings[cell]
    return cell, say(f"sweep.told.{measure}", language, cell=grid.words(cell, language), best=number(one.best),
                     best_epoch=one.best_epoch, gap=number(one.gap) if one.gap is not None else "", epochs=one.epochs)


def _size(grid: Grid) -> str:
    return " × ".join(str(len(axis.values)) for axis in grid.axes) + f" = {grid.runs} runs"


def _checked(field: str, value: Any, base: RunConfig, settings: Settings) -> RunConfig:
    config = base.with_(**{field: KINDS[field].check(field, value)})
    for problem in problems(config, Demand(), settings):
        # What is beyond the installation for the base itself is not this axis's fault.
        if problem.field == field:
            raise problem
    return config


def _in_order(field: str, values: list[Any], base: RunConfig, settings: Settings) -> list[str]:
    kept: dict[str, None] = {}
    for value in values:
        text = KINDS[field].text(value)
        try:
            _checked(field, text, base, settings)
        except FieldError:
            continue
        kept[text] = None
    if isinstance(KINDS[field], Choice):
        return list(kept)
    return sorted(kept, key=lambda text: _rank(field, text))


def _rank(field: str, text: str) -> Any:
    """Where a value lies among others of its kind; `None` for words, and for what is no value."""
    kind = KINDS[field]
    if isinstance(kind, Choice):
        return None
    try:
        value = kind.check(field, text)
    except FieldError:
        return None
    if isinstance(kind, Layers):
        return (max(value), len(value), value)
    return float("inf") if value is None else value
