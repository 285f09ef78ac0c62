"""`python -m explorer bench`: the trainer beside the tutorials' plain code, from a checkout with its tests."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from explorer.settings import Settings


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("bench", help="measure the trainer", description=(
        "Measure the trainer beside plain Keras, in turn, on the real IMDB and MNIST; prints medians. Takes minutes."))
    parser.add_argument("--rounds", type=int, default=3, help="how often each pair is run")
    parser.add_argument("--row", type=int, action="append", default=[], help="only this row of the table, from 0")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Measure. Returns: 2 where something that it needs is not here, else 0."""
    try:
        from tests.benchmarks import trainer
    except ImportError:
        print("bench: needs the folder tests/ of the project; run it in a checkout.", file=sys.stderr)
        return 2
    if settings.data_dir is None:
        print("bench: needs EXPLORER_DATA_DIR, the folder with imdb.npz and mnist.npz.", file=sys.stderr)
        return 2
    if not all(0 <= number < len(trainer.ROWS) for number in given.row) or given.rounds < 1:
        print(f"bench: expected rows from 0 to {len(trainer.ROWS) - 1} and at least one round.", file=sys.stderr)
        return 2
    trainer.main(given.rounds, given.row, settings.data_dir)
    return 0
