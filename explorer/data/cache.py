"""The compact cache: plain arrays, no pickles, so that a later start needs neither time nor memory."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

# Raise it when the arrays change their meaning.
LAYOUT = 1
# A version as `explorer.data.version` gives it: a checksum, of which the name of a file keeps the beginning, or, where
# nothing is read from a file, the name of the data set with a number.
_CHECKSUM = "[0-9a-f]{16}"


def path_of(folder: Path, dataset: str, version: str) -> Path:
    return folder / f"{dataset}-{version[:16]}-{LAYOUT}.npz"


def load(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray] | None:
    """The arrays, or `None` where they are not there, not all there or damaged (they are then made again)."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except Exception:  # a damaged file can fail anywhere inside the decoders
        return None


def head(path: Path, name: str, rows: int) -> np.ndarray | None:
    """The first rows of one array, read without the rest of it; fewer where it has no more.

    Returns:
        The rows, or `None` where the file or the array is not there or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
            npy.read_magic(stream)
            shape, by_columns, dtype = npy.read_array_header_1_0(stream)
            if dtype.hasobject or (by_columns and len(shape) > 1):
                return None
            wanted = (min(rows, shape[0]), *shape[1:])
            values = np.frombuffer(stream.read(int(np.prod(wanted)) * dtype.itemsize), dtype)
            return values.reshape(wanted)
    except Exception:  # as above
        return None


def save(folder: Path, dataset: str, version: str, arrays: dict[str, np.ndarray]) -> None:
    """Write the arrays as a whole or not at all; a full disk costs the cache, not the run.

    Other versions of the same data set are of no more use, and are removed.
    """
    path = path_of(folder, dataset, version)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as stream:
            np.savez(stream, **arrays)
        partial.replace(path)
    except OSError:
        try:
            partial.unlink(missing_ok=True)
        except OSError:
            pass  # there is not even a folder
        return
    for other in _versions_of(folder, dataset):
        if other != path:
            other.unlink(missing_ok=True)


def _versions_of(folder: Path, dataset: str) -> list[Path]:
    """The files of a data set alone, in whatever layout: its name may be how another's begins.

    What is not understood is left where it is.
    """
    name = re.escape(dataset)
    ours = re.compile(rf"{name}-(?:{_CHECKSUM}|{re.escape(f'{dataset}-'[:16])}[0-9]*)-[0-9]+\.npz")
    return [path for path in folder.glob("*.npz") if ours.fullmatch(path.name)]
