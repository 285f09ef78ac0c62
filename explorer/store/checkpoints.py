"""Checkpoints: the state of each run as plain arrays in a file, within a limit of disk space."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np


def path_of(folder: Path, run_id: str) -> Path:
    return folder / f"{run_id}.npz"


def save(folder: Path, run_id: str, epoch: int, arrays: list[np.ndarray],
         best: list[np.ndarray] | None = None) -> None:
    """Write the state as a whole or not at all.

    Args:
        best: see `train.State`. They lie beside the state: who knows nothing of them reads it as ever.

    Raises:
        OSError: the disk is full or the folder cannot be written; an older checkpoint stays as it was.
    """
    with _whole(folder, run_id) as stream:
        about = {"run_id": run_id, "epoch": epoch, "arrays": len(arrays), **({"best": len(best)} if best else {})}
        np.savez(stream, about=np.array(json.dumps(about)),
                 **{f"v{number:04d}": array for number, array in enumerate(arrays)},
                 **{f"b{number:04d}": array for number, array in enumerate(best or ())})


def load(folder: Path, run_id: str) -> tuple[int, list[np.ndarray], list[np.ndarray] | None] | None:
    """Epoch, arrays and best weights of a run as `save` had them, or `None` where there is no checkpoint.

    Raises:
        ValueError: the file is damaged or belongs to another run.
    """
    path = path_of(folder, run_id)
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            about = json.loads(str(archive["about"]))
            if about["run_id"] != run_id:
                raise ValueError("it belongs to another run")
            best = [archive[f"b{number:04d}"] for number in range(about.get("best", 0))]
            return int(about["epoch"]), [archive[f"v{number:04d}"] for number in range(about["arrays"])], best or None
    except Exception as error:  # a damaged file can fail anywhere inside the decoders
        raise ValueError(f"the checkpoint of run {run_id} is damaged: {error}") from error


def epoch_of(folder: Path, run_id: str) -> int | None:
    """The epoch of a run's checkpoint; `None` where there is none that can be read."""
    try:
        with np.load(path_of(folder, run_id), allow_pickle=False) as archive:
            about = json.loads(str(archive["about"]))
            return int(about["epoch"]) if about["run_id"] == run_id else None
    except Exception:  # a damaged file can fail anywhere inside the decoders
        return None


def epoch_in(content: bytes, run_id: str) -> int:
    """The epoch of a checkpoint that has come from another machine.

    Raises:
        ValueError: it is no checkpoint of this run, or holds anything but plain numbers.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > len(content):
                raise ValueError("it would unpack to more than it is")
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            about = json.loads(str(archive["about"]))
            if about["run_id"] != run_id or int(about["epoch"]) < 1:
                raise ValueError("it belongs to another run")
            if any(archive[f"{kind}{number:04d}"].dtype.kind not in "fiu"
                   for kind, count in (("v", about["arrays"]), ("b", about.get("best", 0))) for number in range(count)):
                raise ValueError("it holds something else than numbers")
            return int(about["epoch"])
    except Exception as error:  # as above
        raise ValueError(f"the checkpoint of run {run_id} that arrived cannot be used: {error}") from error


def receive(folder: Path, run_id: str, content: bytes) -> None:
    """Keep the content of a checkpoint's file as a whole or not at all.

    Raises:
        OSError: the disk is full or the folder cannot be written; an older checkpoint stays as it was.
    """
    with _whole(folder, run_id) as stream:
        stream.write(content)


@contextmanager
def _whole(folder: Path, run_id: str) -> Iterator[BinaryIO]:
    folder.mkdir(parents=True, exist_ok=True)
    target = path_of(folder, run_id)
    unfinished = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with open(unfinished, "wb") as stream:
            yield stream
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def delete(folder: Path, run_id: str) -> None:
    """Forget the state of a run; nothing happens where there is none."""
    path_of(folder, run_id).unlink(missing_ok=True)


def prune(folder: Path, most_mb: int, keep: Collection[str] = (),
          spared: Callable[[], Collection[str]] = tuple) -> None:
    """Delete the oldest checkpoints until the folder is within its limit.

    Args:
        keep: runs whose checkpoints stay.
        spared: asked for runs whose checkpoints go last, if there is anything to delete.
    """
    files = []
    for path in folder.glob("*.npz"):
        try:
            files.append((path.stat().st_mtime, path.stat().st_size, path))
        except FileNotFoundError:  # another process prunes too
            continue
    total = sum(size for _, size, _ in files)
    if total <= most_mb * 1_000_000:
        return
    last = set(spared())
    for _, size, path in sorted(files, key=lambda file: (file[2].stem in last, file)):
        if total <= most_mb * 1_000_000:
            return
        if path.stem not in keep:
            path.unlink(missing_ok=True)
            total -= size
