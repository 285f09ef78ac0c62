"""`python -m explorer train`: one run from the command line, through the same engine and store as the page."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import fields
from typing import Any

from explorer.analysis import diagnosis, diagnosis_text, history
from explorer.cli.common import Bar
from explorer.config import labels
from explorer.config.fields import FieldError, Flag
from explorer.config.limits import require
from explorer.config.plan import best_epoch
from explorer.config.run_config import DEMAND_KINDS, KINDS, Demand, RunConfig
from explorer.config.settings import Settings, unusable_store
from explorer.data import default_dataset
from explorer.engine.engine import Engine, QueueFull
from explorer.engine.run_view import DONE, RunView
from explorer.i18n import WRITTEN, say
from explorer.lessons import protected
from explorer.store.sqlite import STORE_ERRORS
from explorer.store.store import DIVERGED, FAILED, RUNNING
from explorer.workers.devices import DeviceError

POLL_SECONDS = 0.05


def add_to(commands: Any) -> None:
    """Add the command with every field of a request as an option of the same name."""
    parser = commands.add_parser(
        "train", help="train one run", description="Train one run, or show it if it is known already.")
    defaults = {field.name: field.default for field in (*fields(RunConfig), *fields(Demand))}
    for name, kind in {**KINDS, **DEMAND_KINDS}.items():
        words = f"{labels.help_of(name, WRITTEN)} Allowed: {kind.allowed}."
        if name != "dataset" and defaults[name] is not None:
            words += f" Default: {kind.text(defaults[name])}."
        option = "--" + name.replace("_", "-")
        if isinstance(kind, Flag):
            parser.add_argument(option, dest=name, nargs="?", const="true", metavar="true|false", help=_escaped(words))
        else:
            parser.add_argument(option, dest=name, metavar=name.upper(), help=_escaped(words))
    parser.add_argument("--json", action="store_true",
                        help="print one JSON object an epoch on standard output, and a last one with the result")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Train; Ctrl-C stops within one batch and keeps what was reached."""
    try:
        config, demand = _request(given, settings)
        require(config, demand, settings)
    except FieldError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        # A device by hand is checked against the machine, so the worker has to look first.
        engine = Engine(settings, warm=demand.device.startswith("gpu"), own_only=True,
                        protected=protected.run_ids)
    except (OSError, *STORE_ERRORS) as error:
        raise unusable_store(settings, error) from error
    try:
        while demand.device.startswith("gpu") and engine.hardware is None and not engine.is_broken:
            time.sleep(POLL_SECONDS)
        try:
            run_id = engine.submit(config, demand)
        except (FieldError, DeviceError, QueueFull) as error:
            print(error, file=sys.stderr)
            return 2
        return _follow(engine, run_id, config, demand, given.json)
    finally:
        engine.close()


def _request(given: argparse.Namespace, settings: Settings) -> tuple[RunConfig, Demand]:
    values = {name: getattr(given, name) for name in KINDS if getattr(given, name) is not None}
    wanted = {name: getattr(given, name) for name in DEMAND_KINDS if getattr(given, name) is not None}
    values.setdefault("dataset", default_dataset(settings))
    return RunConfig(**values), Demand(**wanted)


def _follow(engine: Engine, run_id: str, config: RunConfig, demand: Demand, as_json: bool) -> int:
    told, stopping = 0, False
    bar = Bar(enabled=not as_json)
    while True:
        try:
            view = engine.look(run_id, demand)
            for row in view.epochs[told:]:
                bar.clear()
                print(json.dumps(row) if as_json else _line(row, demand), flush=True)
            told = len(view.epochs)
            if not view.is_live:
                bar.clear()
                return _end(view, config, as_json)
            bar.draw(view.fraction, _doing(view))
            time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            if stopping:
                raise
            stopping = True
            engine.stop(run_id)


def _end(view: RunView, config: RunConfig, as_json: bool) -> int:
    run = view.run
    score, best = view.score or {}, view.best_score or {}
    if as_json:
        print(json.dumps({
            "run_id": run.run_id, "status": view.state if view.state != DONE else "finished",
            "epochs": len(view.epochs), "test_crossentropy": score.get("test_crossentropy"),
            "test_accuracy": score.get("test_accuracy"),
            "best_epoch": best_epoch(row["val_crossentropy"] for row in view.epochs),
            "best_test_crossentropy": best.get("test_crossentropy"),
            "best_test_accuracy": best.get("test_accuracy"), "parameters": config.parameters, "device": run.device,
            "threads": run.threads, "seconds": sum(row["seconds"] for row in view.epochs),
            "peak_mb": run.peak_mb, "message": run.message,
        }), flush=True)
    else:
        found = diagnosis.diagnose(history.table(view.epochs), config.info.classes, config.batch_norm)
        words = diagnosis_text.sentence(found)
        if words:
            print(words)
        found = {one["epoch"]: one for one in (best, score) if one}
        for epoch, one in found.items():
            which = " and ".join(word for word, of in (("best", best), ("last", score)) if of.get("epoch") == epoch)
            print(f"After epoch {epoch}, the {which} one: test cross-entropy {_number(one, 'test_crossentropy')}, "
                  f"test accuracy {_number(one, 'test_accuracy')}.")
    if run.message:
        print(run.message, file=sys.stderr)
    return 1 if view.state != DONE or run.status in (FAILED, DIVERGED) else 0


def _line(row: dict[str, Any], demand: Demand) -> str:
    return (f"epoch {row['epoch']:>3}/{demand.epochs}  training {_number(row, 'train_crossentropy')}  "
            f"validation {_number(row, 'val_crossentropy')}  accuracy {_number(row, 'val_accuracy')}  "
            f"{row['seconds']:.2f} s")


def _number(row: dict[str, Any], name: str) -> str:
    return "not a number" if row[name] is None else f"{row[name]:.4f}"


def _doing(view: RunView) -> str:
    if view.state != RUNNING:
        text = f"waiting, {view.place} ahead"
        return text if view.wait is None else f"{text}, about {labels.duration(view.wait, WRITTEN)}"
    text = say(f"phase.{view.run.phase}", WRITTEN)
    if view.seconds_left is not None:
        text += f", about {labels.duration(view.seconds_left, WRITTEN)} left"
    return text


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
