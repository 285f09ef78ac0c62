"""Every lesson's runs trained for real with several seeds, beside what the sources published, and what becomes of each
claim.

Use: python -m tests.benchmarks.lessons [--seeds 3] [--lesson capacity …] [--out lessons.json] [--show]; needs
EXPLORER_DATA_DIR or the files where Keras keeps them.

It takes about half an hour on two cores, half of it for the network that is trained for 300 epochs. Each finished run
is kept in the file, so that it may be interrupted and goes on where it was; with `--show` nothing is trained, and the
table is made of what is there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from explorer import data
from explorer.analysis import comparison, history
from explorer.analysis.comparison import ComparedRun  # noqa: E402
from explorer.config import labels, plan  # noqa: E402
from explorer.config.run_config import Demand, RunConfig  # noqa: E402
from explorer.config.settings import Settings  # noqa: E402
from explorer.i18n import WRITTEN  # noqa: E402
from explorer.lessons import FAILS, HOLDS, OPEN, Part, claims_text, reference_curves  # noqa: E402
from explorer.lessons.measures import RunMeasures, measured  # noqa: E402
from explorer.lessons.presets import LESSONS  # noqa: E402

# A run as it is kept: its epochs, and the test score after each epoch at which some demand ended.
Kept = dict[str, Any]
_MARKS = {HOLDS: "holds", FAILS: "FAILS", OPEN: "open"}


class Runs:
    """The runs that are trained already, in a file.

    Args:
        path: of a JSON file, which need not be there yet.
        settings: where the data lie.
    """

    def __init__(self, path: Path, settings: Settings):
        self._path, self._settings = path, settings
        self._kept: dict[str, Kept] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def get(self, config: RunConfig, demands: Iterable[Demand]) -> Kept | None:
        """The run, if it is known as far as each of these demands."""
        found = self._kept.get(self._name(config))
        curve = [row["val_crossentropy"] for row in found["epochs"]] if found else []
        return found if found and plan.satisfied(curve, demands) else None

    def put(self, config: RunConfig, run: Kept) -> None:
        self._kept[self._name(config)] = run
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps(self._kept), encoding="utf-8")
        draft.replace(self._path)

    def _name(self, config: RunConfig) -> str:
        return config.run_id(data.version(config.dataset, self._settings))


def wanted(lessons: Sequence[str], seeds: int) -> dict[RunConfig, set[Demand]]:
    """Each run once, with all that the lessons want of it; small ones first."""
    found: dict[RunConfig, set[Demand]] = {}
    for seed in range(seeds):
        for name in lessons:
            for part in LESSONS[name]:
                for entry in part.entries():
                    found.setdefault(entry.config.with_(seed=seed), set()).add(entry.asked)
    return dict(sorted(found.items(), key=lambda one: _work(*one)))


def _work(config: RunConfig, demands: Iterable[Demand]) -> float:
    return config.parameters * config.rows * max(demand.epochs for demand in demands)


def train(runs: Runs, missing: dict[RunConfig, set[Demand]], settings: Settings) -> None:
    """Train what is missing, one run after another in this process."""
    from explorer.training import train as training_loop
    from explorer.training.graph_cache import GraphCache

    courses, library = GraphCache(), data.Library(settings)
    for number, (config, demands) in enumerate(missing.items(), start=1):
        rows: list[dict[str, Any]] = []
        scores: dict[int, dict[str, Any]] = {}

        def emit(kind: str, values: dict[str, Any], rows: list = rows, scores: dict = scores) -> None:
            if kind == "epoch":
                rows.append(values)
            elif kind == "score":
                scores[values["epoch"]] = values

        began = time.perf_counter()
        outcome = training_loop.train(config, library.load(config), lambda wanted=tuple(demands): wanted, emit,
                                      lambda: False, way=courses)
        seconds = time.perf_counter() - began
        runs.put(config, {"epochs": rows, "scores": scores, "seconds": seconds, "ended": outcome.reason})
        print(f"{number} of {len(missing)}: {labels.short(config, WRITTEN)}, {config.dataset}, seed {config.seed}: "
              f"{len(rows)} epochs in {seconds:.1f} s, {outcome.reason}", flush=True)


def read(runs: Runs, entry: ComparedRun) -> tuple[Any, RunMeasures] | None:
    """What is shown of a run, and what is read off it; `None` while it is not trained so far."""
    kept = runs.get(entry.config, [entry.asked])
    if kept is None:
        return None
    table = history.table(kept["epochs"], entry.asked.epochs)
    shown = entry.shown(table)
    score = kept["scores"].get(str(len(table))) or kept["scores"].get(len(table))
    found = measured(shown, entry, score)
    return (shown.head(found.epochs), found) if found else None


def _published(entry: ComparedRun, shown: Sequence[Any], title: str) -> str:
    """Best value as a source printed it, its epoch, and how far each seed is from it."""
    if entry.again:
        printed = [one for one in reference_curves.histories() if one.is_warm_started and one.config == entry.config]
    else:
        printed = reference_curves.of(entry.config)
    # Several sources published the same settings: each lesson compares with its own.
    printed = [one for one in printed if one.title == title and (one.patience == entry.demand.patience)]
    if not printed:
        return "–"
    off = [found for found in (reference_curves.distance(printed[0], one) for one in shown) if found]
    kind = "val_loss" if printed[0].is_penalised else "val. CE"
    if not off:
        return "–"
    return (f"{kind} {off[0].best:.3f} at {off[0].best_epoch}; here "
            f"{_each(f'{one.measured_best - one.best:+.3f}' for one in off)}")


def _each(values: Iterable[str]) -> str:
    return " / ".join(values)


def _number(value: float | None) -> str:
    return "never" if value == math.inf else "–" if value is None else f"{value:.3f}"


def table(runs: Runs, lessons: Sequence[str], seeds: int) -> str:
    """The lessons as Markdown: a row for each run, the seeds beside one another, then the claims."""
    lines = []
    for name in lessons:
        for number, part in enumerate(LESSONS[name], start=1):
            lines += [f"### {name}, part {number}: {part.source or 'no source shows it'}", "",
                      "| run | best epoch | best val. CE | best val_loss | gap at the end | train acc. | test acc. | "
                      "first training acc. ≥ 0.99 | near zero | sum of w | seconds | published, and distance |",
                      "| --- " * 12 + "|"]
            names = comparison.names(part.entries(), WRITTEN)
            by_seed = [[read(runs, replace(entry, config=entry.config.with_(seed=seed))) for entry in part.entries()]
                       for seed in range(seeds)]
            for place, entry in enumerate(part.entries()):
                known = [found[place] for found in by_seed if found[place]]
                lines.append(f"| {names[place]} | {_row(entry, known, part)} |")
            lines += ["", *(f"- {_claim(part, names, by_seed, claim)}" for claim in part.claims), ""]
    return "\n".join(lines)


def _row(entry: ComparedRun, known: Sequence[tuple[Any, RunMeasures]], part: Part) -> str:
    reached = [found for _, found in known]
    return " | ".join([
        _each(str(one.best_epoch) for one in reached), _each(f"{one.best:.3f}" for one in reached),
        _each(f"{shown['val_loss'].min():.3f}" for shown, _ in known), _each(f"{one.gap:.3f}" for one in reached),
        _each(f"{one.train_accuracy:.3f}" for one in reached), _each(_number(one.test_accuracy) for one in reached),
        _each("never" if one.by_heart == math.inf else f"{one.by_heart:.0f}" for one in reached),
        _each(f"{one.zeros:.3f}" for one in reached), _each(f"{one.weights:.0f}" for one in reached),
        f"{statistics.median(one.seconds for one in reached):.1f}" if reached else "–",
        _published(entry, [shown for shown, _ in known], part.source)])


def _claim(part: Part, names: Sequence[str], by_seed: Sequence[Sequence[Any]], claim: Any) -> str:
    results = [[one[1] if one else None for one in found] for found in by_seed]
    said = claims_text.sentence(claim, names, results[0], WRITTEN).rsplit(").", 1)[0]
    return f"{said}): {_each(_MARKS[claim.verdict(found)] for found in results)}"


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--seeds", type=int, default=3)
    given.add_argument("--lesson", action="append", choices=list(LESSONS))
    given.add_argument("--out", type=Path, default=Path("lessons.json"))
    given.add_argument("--show", action="store_true")
    options = given.parse_args()
    lessons = options.lesson or list(LESSONS)
    with tempfile.TemporaryDirectory() as home:
        settings = replace(Settings.from_environment(), home=Path(home))
        runs = Runs(options.out, settings)
        if not options.show:
            missing = {config: demands for config, demands in wanted(lessons, options.seeds).items()
                       if runs.get(config, demands) is None}
            train(runs, missing, settings)
        print(table(runs, lessons, options.seeds))


if __name__ == "__main__":
    main()
