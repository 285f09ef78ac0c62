"""Check every value of a run that comes from elsewhere, and its checkpoint, before any of it is used."""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from explorer.config.metrics import COLUMNS
from explorer.config.run_config import DEMAND_KINDS, TRAINING_VERSION, RunConfig, identity, library_versions
from explorer.store.models import diverged
from explorer.store.store import DIVERGED, FINISHED, STOPPED, ExportedRun

# What one run may hold: more is refused before it is unpacked.
MAX_RUN = 32 << 20
# A checkpoint holds each parameter, at most two numbers of the optimizer for it, the parameter as it was after the best
# epoch, each of four bytes, and little else.
BYTES_A_PARAMETER, BYTES_BESIDES = 16, 1 << 20
MAX_ARRAYS = 200
# Columns that runs of an earlier day do not have.
LATER = ("weights", "zeros")
# Least and most of each number of an epoch or a score; a number that was not finite is stored as none.
_RANGES = {
    # By rounding, a cross-entropy may come out below zero.
    **dict.fromkeys((*COLUMNS, "test_crossentropy"), (-0.001, math.inf)),
    **dict.fromkeys(("accuracy", "train_accuracy", "val_accuracy", "test_accuracy", "zeros"), (0.0, 1.0 + 1e-6)),
}
_VERSION, _DATA = re.compile(r"[0-9A-Za-z.+_-]{1,40}"), re.compile(r"[0-9A-Za-z.:+_-]{1,128}")
# Names of devices are shown on the page, whose texts are Markdown.
_NO_NAME = re.compile(r"[^\w .,:;()/@+-]")


class InvalidRun(ValueError):
    """One run of a file that cannot be taken over; the message says why."""


def json_of(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
    """What a member says. Raises: InvalidRun: it is too large, or no JSON."""
    if member.file_size > MAX_RUN:
        raise InvalidRun(f"it would unpack to {member.file_size:,} bytes")

    def no(constant: str) -> None:
        raise InvalidRun(f"{constant} is no number")

    try:
        return json.loads(archive.read(member), parse_constant=no)
    except InvalidRun:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidRun(f"it is no JSON ({type(error).__name__})") from error


def run(values: Any, run_id: str) -> ExportedRun:
    """The run that some values are. Raises: InvalidRun: one of them is not sound, or it is another run than it says."""
    if not isinstance(values, dict):
        raise InvalidRun("expected an object")
    config = values.get("config")
    _require(isinstance(config, dict) and set(config) <= {field.name for field in fields(RunConfig)},
             "config", "the settings of a run")
    try:
        sound = RunConfig.from_json(json.dumps(config))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise InvalidRun(f"config: {str(error)[:200]}") from error
    canonical = json.loads(json.dumps(asdict(sound)))
    _require(all(type(canonical[name]) is type(value) and canonical[name] == value
                 for name, value in config.items()), "config", "settings in their canonical form")
    versions = values.get("versions")
    _require(isinstance(versions, dict) and set(versions) == set(library_versions())
             and all(_matches(_VERSION, version) for version in versions.values()), "versions", "those of libraries")
    _require(_matches(_DATA, values.get("data")), "data", "a version")
    training = _whole(values, "training", 1, 1_000_000)
    if training > TRAINING_VERSION:
        raise InvalidRun("it was trained by a newer version of the explorer")
    if values.get("run_id") != run_id or identity(config, values["data"], training, versions) != run_id:
        raise InvalidRun("its identity does not fit its content")
    epochs = _epochs(values.get("epochs"))
    status = values.get("status")
    _require(status in (FINISHED, STOPPED, DIVERGED), "status", "finished, stopped or diverged")
    device = values.get("device")
    _require(isinstance(device, str) and len(device) <= 200, "device", "a name")
    return ExportedRun(
        run_id, json.dumps(config, sort_keys=True, separators=(",", ":")), versions,
        _number(values, "created_at", 0, 1e11), status, diverged(sound, len(epochs)) if status == DIVERGED else "",
        _NO_NAME.sub(" ", device), _whole(values, "threads", 0, 65_536), _number(values, "seconds", 0, 1e9),
        _number(values, "peak_mb", 0, 1e9), epochs, _scores(values.get("scores"), len(epochs)))


def _epochs(rows: Any) -> list[dict[str, Any]]:
    most = int(DEMAND_KINDS["epochs"].high)
    _require(isinstance(rows, list) and 1 <= len(rows) <= most, "epochs", f"1 to {most:,} of them")
    found = []
    for number, row in enumerate(rows, 1):
        _require(isinstance(row, dict) and set(row) <= set(COLUMNS) and set(COLUMNS) - set(row) <= set(LATER),
                 f"epoch {number}", f"the numbers {', '.join(COLUMNS)}")
        _require(_whole(row, "epoch", 1, most) == number, f"epoch {number}", "epochs one after another")
        found.append({"epoch": number, **{name: _measured(row, name, needed=name == "seconds")
                                          for name in COLUMNS if name in row and name != "epoch"}})
    return found


def _scores(rows: Any, epochs: int) -> dict[int, dict[str, Any]]:
    _require(isinstance(rows, list) and len(rows) <= epochs, "scores", "at most one an epoch")
    found = {}
    for row in rows:
        _require(isinstance(row, dict) and set(row) == {"epoch", "test_crossentropy", "test_accuracy"}, "scores",
                 "epoch, test_crossentropy and test_accuracy")
        epoch = _whole(row, "epoch", 1, epochs)
        found[epoch] = {"epoch": epoch, **{name: _measured(row, name) for name in row if name != "epoch"}}
    return found


def state(archive: zipfile.ZipFile, member: zipfile.ZipInfo,
          carried: ExportedRun) -> tuple[int, list[np.ndarray], list[np.ndarray] | None]:
    """Epoch, arrays and best weights of a checkpoint: plain numbers, as many as its network has.

    Raises:
        InvalidRun: it holds others.
    """
    config = RunConfig.from_json(carried.config)
    most = BYTES_A_PARAMETER * config.parameters + BYTES_BESIDES
    if member.file_size > most:
        raise InvalidRun(f"its checkpoint would unpack to {member.file_size:,} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(archive.read(member))) as inner:
            if sum(info.file_size for info in inner.infolist()) > most or len(inner.infolist()) > 2 * MAX_ARRAYS + 1:
                raise InvalidRun("its checkpoint would unpack to more than its network has")
            about = json.loads(str(_array(inner, "about")))
            epoch, count = _whole(about, "epoch", 1, len(carried.epochs)), _whole(about, "arrays", 1, MAX_ARRAYS)
            _require(about.get("run_id") == carried.run_id, "checkpoint", "one of this run")
            arrays = [_array(inner, f"v{number:04d}") for number in range(count)]
            kept = _whole({"best": 0, **about}, "best", 0, count)
            best = [_array(inner, f"b{number:04d}") for number in range(kept)]
    except InvalidRun:
        raise
    except Exception as error:  # a hostile file can fail anywhere inside the decoders
        raise InvalidRun(f"its checkpoint is damaged ({type(error).__name__})") from error
    _require(all(array.dtype.kind in "fiu" for array in (*arrays, *best)), "checkpoint", "numbers")
    _require([one.shape for one in best] == [one.shape for one in arrays[:kept]], "checkpoint", "one of this network")
    widths = (config.inputs, *config.hidden, config.outputs)
    kernels = [array.shape for array in arrays if array.ndim == 2]
    _require(kernels[:len(widths) - 1] == list(zip(widths, widths[1:])), "checkpoint", "one of this architecture")
    return epoch, arrays, best or None


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    return np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)


def _require(is_sound: bool, name: str, expected: str) -> None:
    if not is_sound:
        raise InvalidRun(f"{name}: expected {expected}")


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and bool(pattern.fullmatch(value))


def _number(values: dict[str, Any], name: str, low: float, high: float) -> float:
    value = values.get(name)
    _require(isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
             and value < math.inf, name, "a number within bounds")
    return float(value)


def _whole(values: Any, name: str, low: int, high: int) -> int:
    value = values.get(name) if isinstance(values, dict) else None
    _require(type(value) is int and low <= value <= high, name, f"a whole number from {low:,} to {high:,}")
    return value


def _measured(row: dict[str, Any], name: str, needed: bool = False) -> float | None:
    if row[name] is None and not needed:
        return None
    try:
        return _number(row, name, *_RANGES[name])
    except OverflowError as error:  # a whole number beyond every float
        raise InvalidRun(f"{name}: expected a number within bounds") from error
