"""What the benchmarks of curves share: training in this process or in another, and their command line."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def rows(config: RunConfig, settings: Settings, way: Any, epochs: int, measured: int | None = None,
         device: str = "cpu") -> list[dict[str, Any]]:
    """Train in this process; what is told of each epoch.

    Args:
        way: `explorer.training.graph_loop.TrainingSession` or one of its kind.
        measured: validate on so many rows only.
        device: as it has been prepared.
    """
    from explorer import data
    from explorer.training.train import train

    prepared = data.load(config, settings)
    if measured is not None:
        part = prepared.validation.slice(0, measured)
        prepared = replace(prepared, validation=part, test=part)
    found: list[dict[str, Any]] = []
    train(config, prepared, lambda: [Demand(epochs)],
          lambda kind, values: found.append(values) if kind == "epoch" else None, lambda: False, device=device, way=way)
    return found


def asked(module: str, given: dict[str, Any], onednn: bool = True) -> Any:
    """What a process of its own answers that is started as this module with `--child`."""
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": str(int(onednn)), "TF_CPP_MIN_LOG_LEVEL": "3"}
    answer = subprocess.run([sys.executable, "-m", module, "--child", json.dumps(given)], cwd=ROOT, env=environment,
                            capture_output=True, text=True)
    if answer.returncode:
        raise RuntimeError(answer.stderr[-2_000:])
    return json.loads(answer.stdout.splitlines()[-1])


def command(description: str, epochs: int, child: Callable[[dict[str, Any]], Any],
            *others: str) -> tuple[argparse.Namespace, Path]:
    """Read the command line; a process that `asked` has started answers, and ends here.

    Args:
        others: further options `name=default`.

    Returns:
        What was given, and the folder of the data.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--row", type=int, action="append", default=[], help="only this row of the table, from 0")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    for name, default in (other.split("=") for other in others):
        parser.add_argument(f"--{name}", default=default)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(child(json.loads(given.child))))
        sys.exit()
    if "EXPLORER_DATA_DIR" not in os.environ:
        parser.error("needs EXPLORER_DATA_DIR, the folder with imdb.npz and mnist.npz")
    return given, Path(os.environ["EXPLORER_DATA_DIR"])
