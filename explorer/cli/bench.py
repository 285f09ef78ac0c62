"""`python -m explorer bench`: the trainer beside the tutorials' plain code, from a checkout with its tests."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from explorer.config.settings import Settings


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("bench", help="measure the trainer", description=(
        "Measure the trainer beside plain Keras, in turn, on the real IMDB and MNIST; prints medians. Takes minutes."))
    parser.add_argument("--rounds", type=int, default=3, help="how often each pair is run")
    parser.add_argument("--row", type=int, action="append", default=[], help="only this row of the table, from 0")
    parser.add_argument("--no-alternatives", action="store_true", help="leave PyTorch and scikit-learn out")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--drift", action="store_true",
                         help="instead: how far rounding drives a run from plain Keras, and plain Keras from itself")
    instead.add_argument("--growth", action="store_true",
                         help="instead: cost of an epoch and of the store as they grow, beside the machine's floor")
    instead.add_argument("--sweep", action="store_true", help="instead: a grid of eight beside one run after another")
    parser.add_argument("--picture", type=Path, help="with --growth: write the picture to this file")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Measure. Returns: 2 where something that it needs is not here, else 0."""
    try:
        from tests.benchmarks import drift, growth, sweep, trainer
    except ImportError:
        print("bench: needs the folder tests/ of the project; run it in a checkout.", file=sys.stderr)
        return 2
    if given.rounds < 1:
        print(f"rounds: expected at least 1, received {given.rounds}.", file=sys.stderr)
        return 2
    for number in given.row:
        if not 0 <= number < len(trainer.ROWS):
            print(f"row: expected a number from 0 to {len(trainer.ROWS) - 1}, received {number}.", file=sys.stderr)
            return 2
    if given.picture and not given.growth:
        print("picture: expected only together with --growth.", file=sys.stderr)
        return 2
    if settings.data_dir is None or not settings.data_dir.is_dir():
        print("bench: needs EXPLORER_DATA_DIR, the folder with imdb.npz and mnist.npz.", file=sys.stderr)
        return 2
    if given.drift:
        drift.main(given.row, None, settings.data_dir)
    elif given.growth:
        growth.main(settings.data_dir, given.rounds, given.picture)
    elif given.sweep:
        sweep.main(given.rounds, settings.data_dir)
    else:
        trainer.main(given.rounds, given.row, settings.data_dir, alternatives=not given.no_alternatives)
    return 0
