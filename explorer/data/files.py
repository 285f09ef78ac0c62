"""Where data files lie: a folder given by hand, then Keras's own folder, else Keras's downloader."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from explorer.config.datasets import DatasetInfo
from explorer.config.settings import Settings

# A connection that says nothing for so long has failed; the downloader itself would wait for ever.
SILENCE_SECONDS = 20
FETCHING = ".fetching-"

Report = Callable[[str, int, int], None]  # (what is being done, bytes so far, bytes in all)


class DataError(RuntimeError):
    """Data that cannot be had; the message says what is wrong and what to do."""


def keras_folder() -> Path:
    """The folder in which `keras.datasets` keeps its files, found as Keras does but without importing it."""
    base = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    return Path(base) / "datasets"


def folders(settings: Settings) -> list[Path]:
    return [*([settings.data_dir] if settings.data_dir else []), keras_folder()]


def find(info: DatasetInfo, settings: Settings) -> Path | None:
    """The file of a data set if it is on this machine."""
    for folder in folders(settings):
        path = folder / info.file
        try:
            if path.is_file():
                return path
        except OSError:  # a folder that may not be read holds nothing for us
            continue
    return None


def checksum(path: Path) -> str:
    """SHA-256 of a file, remembered as long as its size and time stay the same."""
    stat = path.stat()
    return _checksum(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=32)
def _checksum(path: str, size: int, mtime: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fetch(info: DatasetInfo, report: Report) -> Path:
    """Fetch the file with Keras's downloader, which compares its checksum.

    Args:
        info: a data set with a file.
        report: is told the bytes so far, about five times a second; may raise to leave.

    Raises:
        DataError: it cannot be reached, what came is not the file, or there is no place for it.
    """
    import keras

    report("downloading", 0, info.bytes)
    try:
        keras_folder().mkdir(parents=True, exist_ok=True)
        _sweep(keras_folder())
        # In a folder of its own until it is whole and checked: half a file is never taken for the file.
        private = Path(tempfile.mkdtemp(prefix=FETCHING, dir=keras_folder()))
    except OSError as error:
        raise DataError(f"{info.title} has no place to be fetched to: {keras_folder()} cannot be written "
                        f"({error.strerror}). Set KERAS_HOME to a folder that can.") from error
    failure: list[Exception] = []

    def download() -> None:
        try:
            keras.utils.get_file(
                info.file, origin=info.url, file_hash=info.sha256, cache_dir=str(keras_folder()),
                cache_subdir=private.name)
        except Exception as error:  # get_file wraps every failure in a bare Exception
            failure.append(error)

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE_SECONDS)
    try:
        # In a thread that can be left behind, should the run be stopped meanwhile.
        thread = threading.Thread(target=download, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.2)
            partial = private / info.file
            report("downloading", partial.stat().st_size if partial.exists() else 0, info.bytes)
        if failure:
            # Its words are for programmers; the cause stands behind the last dashes.
            text = str(failure[0])
            reason = text.splitlines()[0].split(" -- ")[-1][:200] if text else type(failure[0]).__name__
            raise DataError(
                f"{info.title} could not be fetched: {reason}. Connect this machine to the network, or put "
                f"{info.file} into a folder and start with EXPLORER_DATA_DIR set to it.") from failure[0]
        return (private / info.file).replace(keras_folder() / info.file)
    finally:
        socket.setdefaulttimeout(before)
        shutil.rmtree(private, ignore_errors=True)


def _sweep(folder: Path) -> None:
    # What a killed process had begun to fetch; no download takes a day.
    for path in folder.glob(f"{FETCHING}*"):
        if time.time() - path.stat().st_mtime > 86_400:
            shutil.rmtree(path, ignore_errors=True)


def unreadable(info: DatasetInfo, path: Path, reason: object) -> DataError:
    """The message for a file that is truncated, corrupt or not what its name says."""
    return DataError(
        f"{path.name} in {path.parent} cannot be used: {reason}. Delete it or put a sound copy in its "
        f"place (Keras's own file has {info.bytes:,} bytes)."
    )


def changed(info: DatasetInfo) -> DataError:
    """The message for a file that is another than the one that a run was asked for with."""
    return DataError(f"The data file of {info.title} was changed after this run had been asked for: trained now, it "
                     "would not be what it is called. Press Train again.")
