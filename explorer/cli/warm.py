"""`python -m explorer warm`: the lessons' runs trained ahead of a workshop, through the page's engine and store."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from explorer.analysis.comparison import SEEDS
from explorer.cli.common import Bar
from explorer.config import labels, stacking
from explorer.config.datasets import DATASETS
from explorer.config.fields import FieldError
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings, unusable_store
from explorer.data import EMBEDDED
from explorer.engine.engine import Engine, QueueFull
from explorer.engine.run_view import DONE, UNKNOWN, RunView
from explorer.i18n import WRITTEN
from explorer.lessons import presets, protected
from explorer.store.sqlite import STORE_ERRORS
from explorer.store.store import DIVERGED, QUEUED

POLL_SECONDS = 0.1
# Where others fill the queue, it is asked again after so long.
FULL_SECONDS = 2.0


@dataclass
class Piece:
    """A run of the lessons, and how far they want it.

    Attributes:
        demands: of lessons that want it by the same rule, the longest.
        name: what it is called beside the others.
        run_id: its identity on this machine.
        is_ours: whether it was asked for here; one that somebody else waits for is not stopped.
        fraction: of it that is done.
    """

    config: RunConfig
    demands: list[Demand] = field(default_factory=list)
    name: str = ""
    run_id: str = ""
    is_ours: bool = True
    fraction: float = 0.0

    def ask(self, demand: Demand) -> None:
        """Take a lesson's demand along; of those that differ in epochs only, the longest covers the others."""
        rule = [known for known in self.demands if known.key(("epochs",)) == demand.key(("epochs",))]
        longest = max([demand, *rule], key=lambda known: known.epochs)
        self.demands = [known for known in self.demands if known not in rule] + [longest]


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = commands.add_parser("warm", help="train every lesson's runs ahead", description=(
        "Train every lesson's runs ahead of a workshop, so that they are there at once. What is known is not trained "
        "again; Ctrl-C keeps what was reached, and the same command goes on from there."))
    parser.add_argument("--lesson", action="append", default=[], choices=tuple(presets.LESSONS),
                        help="only this lesson; may be given several times")
    parser.add_argument("--seeds", type=int, default=SEEDS[0], choices=SEEDS,
                        help="train each run with so many seeds, as the page's comparison offers them (default: 1)")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Train what the lessons show. Returns: 1 where something failed or was stopped, else 0."""
    lessons = given.lesson or list(presets.LESSONS)
    pieces = wanted(lessons, given.seeds, settings)
    for dataset in sorted(_left_out(lessons, settings)):
        print(f"{DATASETS[dataset].file} is not on this machine: lessons on {dataset} use the embedded "
              f"{EMBEDDED[dataset]}, as the page does while it is not here.")
    try:
        engine = Engine(settings, warm=False, own_only=True, protected=protected.run_ids)
    except (OSError, *STORE_ERRORS) as error:
        raise unusable_store(settings, error) from error
    try:
        return _Warming(engine, pieces).train()
    finally:
        engine.close()


def wanted(lessons: Iterable[str], seeds: int, settings: Settings) -> list[Piece]:
    """The runs of some lessons, each once, with the data that lie on this machine."""
    found: dict[RunConfig, Piece] = {}
    for name in dict.fromkeys(lessons):
        for number in range(len(presets.LESSONS[name])):
            for entry in presets.available(name, number, settings).entries():
                for config in entry.configs(seeds):
                    found.setdefault(config, Piece(config)).ask(entry.asked)
    for piece, name in zip(found.values(), labels.names(list(found), WRITTEN)):
        piece.name = name
    return list(found.values())


def _left_out(lessons: Iterable[str], settings: Settings) -> set[str]:
    """Data sets of the lessons that are not on this machine."""
    return {dataset for name in lessons for number, part in enumerate(presets.LESSONS[name])
            for dataset in part.datasets - presets.available(name, number, settings).datasets}


class _Warming:
    """The runs on their way: a few are asked for at a time, so that visitors of the page wait behind those only."""

    def __init__(self, engine: Engine, pieces: Sequence[Piece]):
        self._engine, self._all = engine, len(pieces)
        self._bar, self._began, self._ended = Bar(), time.monotonic(), 0
        self._trained, self._known, self._failed, self._stopped = 0, 0, [], 0
        self._active: list[Piece] = []
        self._not_before, self._said_full, self._stopping = 0.0, False, False
        self._groups = self._grouped(pieces)

    def train(self) -> int:
        while self._groups or self._active:
            try:
                self._ask_for_more()
                for piece in list(self._active):
                    self._see(piece)
                self._draw()
                time.sleep(POLL_SECONDS)
            except KeyboardInterrupt:
                if self._stopping:
                    raise
                self._stop()
        self._bar.clear()
        took = labels.duration(time.monotonic() - self._began, WRITTEN)
        print(f"{self._all} runs: {self._trained} trained, {self._known} known already, {len(self._failed)} failed, "
              f"{self._stopped} left for another time; {took}.", flush=True)
        for name, why in self._failed:
            print(f"{name}: {why}", file=sys.stderr)
        if self._stopped:
            print("What was reached is kept. The same command goes on from there.", file=sys.stderr)
        return 1 if self._failed or self._stopped else 0

    def _grouped(self, pieces: Iterable[Piece]) -> list[list[Piece]]:
        """Runs that are to be trained, those that can be trained together side by side."""
        groups: dict[Hashable, list[Piece]] = {}
        for piece in pieces:
            piece.run_id = self._engine.run_id(piece.config)
            views = self._views(piece)
            if all(view.state == DONE for view in views):
                if views[0].run.status == DIVERGED:
                    self._fail(piece, views[0].run.message)
                else:
                    self._end(piece, new=False)
                continue
            shared = stacking.key(piece.config)
            key = piece.run_id if shared is None else (shared, *piece.demands)
            groups.setdefault(key, []).append(piece)
        most = self._engine.settings.max_queue
        return [group[first:first + most] for group in groups.values() for first in range(0, len(group), most)]

    def _views(self, piece: Piece) -> list[RunView]:
        return [self._engine.look(piece.run_id, demand) for demand in piece.demands]

    def _ask_for_more(self) -> None:
        if not self._groups or time.monotonic() < self._not_before or any(
                view.state == QUEUED for piece in self._active for view in self._views(piece)):
            return
        group = self._groups.pop(0)
        for piece in group:
            piece.is_ours = not any(view.is_live for view in self._views(piece))
        # Before they are asked for: Ctrl-C between the two is to find them.
        self._active += group
        try:
            for demand in group[0].demands:
                self._engine.submit_all([piece.config for piece in group], demand)
        except QueueFull as error:
            self._active = [piece for piece in self._active if piece not in group]
            self._groups.insert(0, group)
            self._not_before = time.monotonic() + FULL_SECONDS
            if not self._said_full:
                self._say(f"waiting for others: {error}")
            self._said_full = True
        except FieldError as error:
            self._active = [piece for piece in self._active if piece not in group]
            if len(group) > 1:  # a limit may stand against one of them only
                self._groups[:0] = [[piece] for piece in group]
            else:
                self._fail(group[0], str(error))

    def _see(self, piece: Piece) -> None:
        views = self._views(piece)
        piece.fraction = min(view.fraction for view in views)
        if any(view.is_live for view in views):
            return
        self._active.remove(piece)
        run = views[0].run
        if run and run.status == DIVERGED:
            self._fail(piece, run.message)
        elif all(view.state == DONE for view in views):
            self._end(piece, new=True)
        elif self._stopping:
            self._stopped += 1
        else:
            self._fail(piece, (run and run.message) or f"ended as {views[0].state if run else UNKNOWN}")

    def _end(self, piece: Piece, new: bool) -> None:
        self._trained, self._known = self._trained + new, self._known + (not new)
        self._ended += 1
        if new:
            longest = max(self._views(piece), key=lambda view: len(view.epochs))
            seconds = labels.duration(sum(row["seconds"] for row in longest.epochs), WRITTEN)
            self._say(f"{piece.name}: {labels.epochs(len(longest.epochs), WRITTEN)}, {seconds}")

    def _fail(self, piece: Piece, why: str) -> None:
        self._failed.append((piece.name, why))
        self._ended += 1
        self._say(f"{piece.name}: failed")

    def _stop(self) -> None:
        self._stopping = True
        self._stopped += sum(map(len, self._groups))
        self._groups = []
        for piece in list(self._active):
            if piece.is_ours:
                self._engine.stop(piece.run_id)
            else:
                self._active.remove(piece)
                self._stopped += 1

    def _say(self, line: str) -> None:
        self._bar.clear()
        print(f"[{self._ended}/{self._all}] {line}", flush=True)

    def _draw(self) -> None:
        done = self._ended + sum(piece.fraction for piece in self._active)
        names = ", ".join(piece.name for piece in self._active[:1])
        more = f" and {len(self._active) - 1} more" if len(self._active) > 1 else ""
        doing = "stopping" if self._stopping else f"{names}{more}"
        self._bar.draw(done / max(1, self._all), f"{self._ended} of {self._all} runs  {doing}")
