"""A graphics card: whether the trainer's numbers there are the plain path's and always the same, and at what pace.

Use: python -m tests.benchmarks.cards [--device gpu:0] [--epochs 5] [--row 0 --row 2 …]; needs EXPLORER_DATA_DIR and a
graphics card that TensorFlow sees.

The fast and the plain path train on the card, the fast one there a second time in another process and once on the
processor. Rounding differs between the three ways, and how far it drives a curve is told by `drift.py`; the second time
has to be equal to the last bit. The last column is what *Automatic* takes.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from explorer.config.cost_model import suits_card
from explorer.config.run_config import RunConfig
from explorer.config.settings import Settings
from tests.benchmarks.curves import asked, command, rows
from tests.benchmarks.drift import EPOCHS, NAMES, apart, variants
from tests.benchmarks.trainer import ROWS

# Rows with every option; the others as they are.
WITH_OPTIONS = (0, 2)


def trained(ways: Sequence[str], configs: Sequence[RunConfig], settings: Settings, device: str,
            epochs: int) -> list[list[tuple[np.ndarray, float]]]:
    """Train in a process of its own.

    Args:
        ways: `fast` or `plain`.
        device: `cpu` or `gpu:N`.

    Returns:
        For each config and way one row an epoch with the columns `drift.NAMES`, and the median of the seconds of an
        epoch but for the first.
    """
    given = {"ways": ways, "device": device, "configs": [config.canonical_json() for config in configs],
             "epochs": epochs, "settings": settings.as_dict()}
    return [[(np.array([[row[name] for name in NAMES] for row in rows]),
              statistics.median(row["seconds"] for row in rows[1:])) for rows in found]
            for found in asked("tests.benchmarks.cards", given)]


def main(chosen: list[int], epochs: int, device: str, data_dir: Path) -> None:
    """Print a row for each config."""
    named = [(ROWS[number][0], name, variant) for number in chosen or range(len(ROWS))
             for name, variant in variants(ROWS[number][1]).items() if number in WITH_OPTIONS or name == "nothing"]
    configs = [variant for *_, variant in named]
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), data_dir=data_dir)
        there = trained(("fast", "plain"), configs, settings, device, epochs)
        again = trained(("fast",), configs, settings, device, epochs)
        here = trained(("fast",), configs, settings, "cpu", epochs)
    print(f"Cross-entropy over {epochs} epochs, validation / training: largest difference of the fast path on {device} "
          f"from …; and seconds an epoch, the processor's with {settings.threads} threads:\n")
    print("| IMDB words × layers | with | itself, again | plain, there | fast, processor | fast there, s "
          "| plain there, s | fast, processor, s | automatic |")
    print("| --- " * 9 + "|")
    for (title, name, config), ((ours, pace), (plain, its)), [(second, _)], [(cpu, most)] in zip(
            named, there, again, here, strict=True):
        equal = "equal" if (ours == second).all() else "**other numbers**"
        differences = [" / ".join(f"{value:.0e}" for value in apart(ours, other)) for other in (plain, cpu)]
        automatic = "card" if suits_card([config], settings.threads) else "processor"
        print(f"| {title} | {name} | {equal} | {' | '.join(differences)} | {pace:.3f} | {its:.3f} | {most:.3f} "
              f"| {automatic} |", flush=True)


def _child(given: dict) -> list[list[list[dict]]]:
    import tensorflow as tf

    from explorer.training import graph_loop
    from explorer.workers import devices
    from tests.reference import plain

    settings = Settings.from_dict(given["settings"])
    ways = {"fast": graph_loop.TrainingSession, "plain": plain.TrainingSession}
    devices.prepare(given["device"], settings.threads, tf)
    return [[[{name: row[name] for name in (*NAMES, "seconds")} for row in rows(
        RunConfig.from_json(config), settings, ways[way], given["epochs"], device=given["device"])]
             for way in given["ways"]] for config in given["configs"]]


if __name__ == "__main__":
    wanted, folder = command(__doc__, EPOCHS, _child, "device=gpu:0")
    main(wanted.row, wanted.epochs, wanted.device, folder)
