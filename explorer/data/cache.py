"""The compact cache: plain arrays, no pickles, so that a later start needs neither time nor memory."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np

# Raise it when the arrays change their meaning.
LAYOUT = 1


def path_of(folder: Path, dataset: str, version: str) -> Path:
    return folder / f"{dataset}-{version[:16]}-{LAYOUT}.npz"


def load(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays, or `None` where there are none or they are damaged (they are then made again)."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write the arrays as a whole or not at all; a full disk costs the cache, not the run."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as stream:
            np.savez(stream, **arrays)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        return
    # Other versions of the same data set are of no more use.
    for other in path.parent.glob(f"{path.name.split('-')[0]}-*.npz"):
        if other != path:
            other.unlink(missing_ok=True)
