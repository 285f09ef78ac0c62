"""A graphics card: whether the trainer's numbers there are the plain path's and always the same, and at what pace.

Use: python -m tests.benchmarks.cards [--device gpu:0] [--epochs 5] [--row 0 --row 2 …]; needs EXPLORER_DATA_DIR and a
graphics card that TensorFlow sees.

Each way trains in a process of its own: the fast path on the card, the same a second time, the plain path on the card,
and the fast path on the processor. Rounding differs between the three, and how far it drives a curve is told by
`drift.py`; the second time has to be equal to the last bit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from explorer.config import Demand, RunConfig
from explorer.settings import Settings
from tests.benchmarks.drift import EPOCHS, NAMES, ROOT, apart, variants
from tests.benchmarks.trainer import ROWS

# Rows with every option; the others as they are.
WITH_OPTIONS = (0, 2)


def trained(config: RunConfig, settings: Settings, way: str, device: str, epochs: int) -> tuple[np.ndarray, float]:
    """Train in a process of its own.

    Args:
        way: `fast` or `plain`.
        device: `cpu` or `gpu:N`.

    Returns:
        One row an epoch with the columns `drift.NAMES`; and the median of the seconds of an epoch but for the first.
    """
    given = {"way": way, "device": device, "config": config.canonical_json(), "epochs": epochs,
             "settings": settings.as_dict()}
    answer = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.cards", "--child", json.dumps(given)], cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}, capture_output=True, text=True)
    if answer.returncode:
        raise RuntimeError(answer.stderr[-2_000:])
    rows = json.loads(answer.stdout.splitlines()[-1])
    return (np.array([[row[name] for name in NAMES] for row in rows]),
            statistics.median(row["seconds"] for row in rows[1:]))


def main(chosen: list[int], epochs: int, device: str, data_dir: Path) -> None:
    """Print a row for each config."""
    print(f"Cross-entropy over {epochs} epochs, validation / training: largest difference of the fast path on {device} "
          "from …; and seconds an epoch:\n")
    print("| IMDB words × layers | with | itself, again | plain, there | fast, processor | s, fast, there "
          "| s, plain, there | s, fast, processor |")
    print("| --- " * 8 + "|", flush=True)
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), data_dir=data_dir)
        for number in chosen or range(len(ROWS)):
            title, config, *_ = ROWS[number]
            for name, variant in variants(config).items():
                if number not in WITH_OPTIONS and name != "nothing":
                    continue
                ways = (("fast", device), ("fast", device), ("plain", device), ("fast", "cpu"))
                (ours, pace), *others = (trained(variant, settings, *way, epochs) for way in ways)
                equal = "equal" if (ours == others[0][0]).all() else "**other numbers**"
                differences = [" / ".join(f"{value:.0e}" for value in apart(ours, other)) for other, _ in others[1:]]
                print(f"| {title} | {name} | {equal} | {' | '.join(differences)} | {pace:.3f} | "
                      f"{' | '.join(f'{seconds:.3f}' for _, seconds in others[1:])} |", flush=True)


def _child(given: dict) -> list[dict]:
    import tensorflow as tf

    from explorer import data, devices, fast, plain
    from explorer.training import train

    settings, config = Settings.from_dict(given["settings"]), RunConfig.from_json(given["config"])
    devices.prepare(given["device"], settings.threads, tf)
    rows: list[dict] = []
    train(config, data.load(config, settings), lambda: [Demand(given["epochs"])],
          lambda kind, values: rows.append(values) if kind == "epoch" else None, lambda: False,
          device=given["device"], way={"fast": fast.Course, "plain": plain.Course}[given["way"]])
    return [{name: row[name] for name in (*NAMES, "seconds")} for row in rows]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="gpu:0")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--row", type=int, action="append", default=[], help="only this row of the table, from 0")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(_child(json.loads(asked.child))))
    elif "EXPLORER_DATA_DIR" in os.environ:
        main(asked.row, asked.epochs, asked.device, Path(os.environ["EXPLORER_DATA_DIR"]))
    else:
        parser.error("needs EXPLORER_DATA_DIR, the folder with imdb.npz and mnist.npz")
