"""Runs in one file: written by one installation, read by another without executing or unpacking anything."""

from __future__ import annotations

import io
import json
import math
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from explorer import checkpoints, data
from explorer.config import DEMAND_KINDS, TRAINING_VERSION, RunConfig, identity, library_versions
from explorer.history import COLUMNS
from explorer.record import diverged
from explorer.settings import Settings
from explorer.store import BUSY, DIVERGED, FINISHED, KNOWN, LONGER, NEW, OTHER, STOPPED, Carried, RunStore

KIND, FORMAT = "overfitting-explorer runs", 1
ABOUT = "about.json"
# What a file may hold: more is refused before it is unpacked.
MOST_FILE, MOST_RUNS, MOST_RUN, MOST_TEXT = 8 << 30, 20_000, 32 << 20, 512 << 20
# A checkpoint holds each parameter and at most three numbers of the optimizer for it, of four bytes, and little else.
BYTES_A_PARAMETER, BYTES_BESIDES = 16, 1 << 20
MOST_ARRAYS = 200
# Columns that runs of an earlier day do not have.
LATER = ("weights", "zeros")
# Least and most of each number of an epoch or a score; a number that was not finite is stored as none.
_RANGES = {
    # By rounding, a cross-entropy may come out below zero.
    **dict.fromkeys((*COLUMNS, "test_crossentropy"), (-0.001, math.inf)),
    **dict.fromkeys(("accuracy", "train_accuracy", "val_accuracy", "test_accuracy", "zeros"), (0.0, 1.0 + 1e-6)),
}
_RUN_MEMBER = re.compile(r"runs/([0-9a-f]{16})\.json")
_CHECKPOINT_MEMBER = re.compile(r"checkpoints/([0-9a-f]{16})\.npz")
_RUN_ID, _VERSION, _DATA = (re.compile(text) for text in (
    "[0-9a-f]{16}", r"[0-9A-Za-z.+_-]{1,40}", r"[0-9A-Za-z.:+_-]{1,128}"))
# Names of devices are shown on the page, whose texts are Markdown.
_NO_NAME = re.compile(r"[^\w .,:;()/@+-]")


class Damaged(ValueError):
    """The file is none, is cut short, or holds more than such a file may."""


class Refused(ValueError):
    """One run of a file that cannot be taken over; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """What became of the runs of a file.

    Attributes:
        taken: runs that are new here, or longer than what was here.
        kept: runs that are here already and as long; nothing was changed.
        busy: runs that wait or train here; nothing was changed.
        refused: `(member, reason)` of what cannot be taken over.
        unseen: `(run_id, reason)` of those taken that the page of this machine does not find.
        with_checkpoints: how many of those taken can be continued.
    """

    taken: tuple[str, ...]
    kept: tuple[str, ...]
    busy: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    unseen: tuple[tuple[str, str], ...]
    with_checkpoints: int


# -- identity --------------------------------------------------------------------------------------------------


def origin(carried: Carried, settings: Settings) -> tuple[str, int] | None:
    """The data version and the training version that a stored run's identity was made of; `None` where neither the
    data on this machine nor those that Keras publishes give it."""
    config = json.loads(carried.config)
    name = config["dataset"]
    for version in dict.fromkeys((data.version(name, settings), data.DATASETS[name].sha256)):
        for training in range(TRAINING_VERSION, 0, -1):
            if version and identity(config, version, training, carried.versions) == carried.run_id:
                return version, training
    return None


def unseen(carried: Carried, settings: Settings) -> str:
    """Why the page of this machine does not find a run, although it is in the store; empty where it does."""
    if RunConfig.from_json(carried.config).run_id(
            data.version(json.loads(carried.config)["dataset"], settings)) == carried.run_id:
        return ""
    here = library_versions()
    if carried.versions != here:
        return (f"trained with {_named(carried.versions)}; here is {_named(here)}")
    return "trained on other data, or by another version of the explorer"


def _named(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


# -- writing ---------------------------------------------------------------------------------------------------


def write(path: Path, store: RunStore, settings: Settings, with_checkpoints: bool = True,
          tell: Callable[[int, int], None] = lambda done, total: None) -> tuple[int, int, list[str]]:
    """Write every run that has an epoch to a file, as a whole or not at all.

    Args:
        tell: is told how many runs are written, and of how many.

    Returns:
        How many runs and checkpoints it holds, and the runs that are left out because it is not known on which data
        they were trained.

    Raises:
        OSError: the file cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    written, kept, left_out = 0, 0, []
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(ABOUT, json.dumps({"kind": KIND, "format": FORMAT}))
            known = store.run_ids()
            for number, run_id in enumerate(known):
                tell(number, len(known))
                carried = store.carried(run_id)
                if carried is None or not carried.epochs:
                    continue
                found = origin(carried, settings)
                if found is None:
                    left_out.append(run_id)
                    continue
                archive.writestr(f"runs/{run_id}.json", json.dumps(_content(carried, *found)))
                written += 1
                if with_checkpoints and not carried.is_live:
                    kept += _add_checkpoint(archive, settings, carried)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return written, kept, left_out


def _content(carried: Carried, version: str, training: int) -> dict[str, Any]:
    # Messages stay behind: they speak of the machine on which they came up.
    status = carried.status if carried.status in (FINISHED, DIVERGED) else STOPPED
    return {**asdict(carried), "config": json.loads(carried.config), "status": status, "data": version,
            "training": training, "scores": list(carried.scores.values())}


def _add_checkpoint(archive: zipfile.ZipFile, settings: Settings, carried: Carried) -> bool:
    try:
        found = checkpoints.load(settings.checkpoints, carried.run_id)
        if found is None or found[0] > len(carried.epochs):
            return False
        archive.write(checkpoints.path_of(settings.checkpoints, carried.run_id),
                      f"checkpoints/{carried.run_id}.npz", zipfile.ZIP_STORED)
    except (ValueError, FileNotFoundError):
        return False  # damaged, or pruned in this moment: the curve goes along without it
    return True


# -- reading ---------------------------------------------------------------------------------------------------


def read(path: Path, store: RunStore, settings: Settings) -> Outcome:
    """Take the runs of a file over. All of it is looked at before the first is stored.

    Raises:
        Damaged: the file cannot be read; nothing has been changed.
        OSError: the file cannot be opened.
        sqlite3.Error, StoreError: the store cannot be written; nothing has been changed.
    """
    with open(path, "rb") as stream:
        if os.fstat(stream.fileno()).st_size > MOST_FILE:
            raise Damaged(f"it is larger than {MOST_FILE >> 30} GB")
        try:
            with zipfile.ZipFile(stream) as archive:
                sound, states, refused = _checked(archive)
        except (Damaged, OSError):
            raise
        except Exception as error:  # a hostile file can fail anywhere inside the decoders
            raise Damaged(f"it is cut short or damaged ({type(error).__name__})") from error
        became = store.adopt(sound)
        taken = [carried for carried in sound if became[carried.run_id] in (NEW, LONGER, OTHER)]
        for carried in taken:
            if became[carried.run_id] == OTHER:  # the state that was here is that of another curve
                checkpoints.path_of(settings.checkpoints, carried.run_id).unlink(missing_ok=True)
        with zipfile.ZipFile(stream) as archive:
            kept = sum(_keep_state(archive, states[carried.run_id], carried, settings)
                       for carried in taken if carried.run_id in states)
    reasons = ((carried.run_id, unseen(carried, settings)) for carried in taken)
    return Outcome(
        tuple(carried.run_id for carried in taken),
        tuple(run_id for run_id, what in became.items() if what == KNOWN),
        tuple(run_id for run_id, what in became.items() if what == BUSY),
        tuple(refused), tuple(pair for pair in reasons if pair[1]), kept)


def _checked(archive: zipfile.ZipFile) -> tuple[list[Carried], dict[str, zipfile.ZipInfo], list[tuple[str, str]]]:
    """The sound runs, the members with their states, and what is refused."""
    sound, states, refused = [], {}, []
    runs, checkpoint_members = _members(archive)
    for run_id, member in runs.items():
        try:
            carried = _run(_json(archive, member), run_id)
            if run_id in checkpoint_members:
                _state(archive, checkpoint_members[run_id], carried)
                states[run_id] = checkpoint_members[run_id]
            sound.append(carried)
        except Refused as error:
            refused.append((run_id, str(error)))
    return sound, states, refused


def _keep_state(archive: zipfile.ZipFile, member: zipfile.ZipInfo, carried: Carried, settings: Settings) -> bool:
    try:
        epoch, arrays = _state(archive, member, carried)
        checkpoints.save(settings.checkpoints, carried.run_id, epoch, arrays)
    except (Refused, OSError):
        return False  # no room: the curve is here, and going on starts over
    checkpoints.hold_to_limit(settings, carried.run_id)
    return True


def _members(archive: zipfile.ZipFile) -> tuple[dict[str, zipfile.ZipInfo], dict[str, zipfile.ZipInfo]]:
    """Runs and checkpoints by `run_id`. Names of members choose among them and go nowhere else."""
    runs: dict[str, zipfile.ZipInfo] = {}
    states: dict[str, zipfile.ZipInfo] = {}
    infos = archive.infolist()
    if len(infos) > 2 * MOST_RUNS + 1:
        raise Damaged(f"it holds more than {MOST_RUNS:,} runs")
    if sum(info.file_size for info in infos if not info.filename.endswith(".npz")) > MOST_TEXT:
        raise Damaged(f"its runs would unpack to more than {MOST_TEXT >> 20} MB")
    about = None
    for info in infos:
        run, state = _RUN_MEMBER.fullmatch(info.filename), _CHECKPOINT_MEMBER.fullmatch(info.filename)
        if info.filename == ABOUT and about is None:
            about = info
        elif run and run[1] not in runs:
            runs[run[1]] = info
        elif state and state[1] not in states:
            states[state[1]] = info
        else:
            raise Damaged(f"it holds {info.filename[:60]!r}, which is no part of such a file")
    try:
        said = _json(archive, about) if about else None
    except Refused as error:
        raise Damaged(str(error)) from error
    if not isinstance(said, dict) or said.get("kind") != KIND:
        raise Damaged("it holds no runs of the explorer")
    if said.get("format") != FORMAT:
        raise Damaged("it was written by another version of the explorer, in a form that is not known here")
    return runs, states


def _json(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
    if member.file_size > MOST_RUN:
        raise Refused(f"it would unpack to {member.file_size:,} bytes")

    def no(constant: str) -> None:
        raise Refused(f"{constant} is no number")

    try:
        return json.loads(archive.read(member), parse_constant=no)
    except Refused:
        raise
    except (ValueError, RecursionError) as error:
        raise Refused(f"it is no JSON ({type(error).__name__})") from error


def _run(values: Any, run_id: str) -> Carried:
    if not isinstance(values, dict):
        raise Refused("expected an object")
    config = values.get("config")
    _require(isinstance(config, dict) and set(config) <= {field.name for field in fields(RunConfig)},
             "config", "the settings of a run")
    try:
        sound = RunConfig.from_json(json.dumps(config))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise Refused(f"config: {str(error)[:200]}") from error
    canonical = json.loads(sound.canonical_json())
    _require(all(type(canonical[name]) is type(value) and canonical[name] == value
                 for name, value in config.items()), "config", "settings in their canonical form")
    versions = values.get("versions")
    _require(isinstance(versions, dict) and set(versions) == set(library_versions())
             and all(_matches(_VERSION, version) for version in versions.values()), "versions", "those of libraries")
    _require(_matches(_DATA, values.get("data")), "data", "a version")
    training = _whole(values, "training", 1, 1_000_000)
    if training > TRAINING_VERSION:
        raise Refused("it was trained by a newer version of the explorer")
    if values.get("run_id") != run_id or identity(config, values["data"], training, versions) != run_id:
        raise Refused("its identity does not fit its content")
    epochs = _epochs(values.get("epochs"))
    status = values.get("status")
    _require(status in (FINISHED, STOPPED, DIVERGED), "status", "finished, stopped or diverged")
    device = values.get("device")
    _require(isinstance(device, str) and len(device) <= 200, "device", "a name")
    return Carried(
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


def _state(archive: zipfile.ZipFile, member: zipfile.ZipInfo, carried: Carried) -> tuple[int, list[np.ndarray]]:
    """Epoch and arrays of a checkpoint: plain numbers, as many as its network has."""
    config = RunConfig.from_json(carried.config)
    most = BYTES_A_PARAMETER * config.parameters + BYTES_BESIDES
    if member.file_size > most:
        raise Refused(f"its checkpoint would unpack to {member.file_size:,} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(archive.read(member))) as inner:
            if sum(info.file_size for info in inner.infolist()) > most or len(inner.infolist()) > MOST_ARRAYS + 1:
                raise Refused("its checkpoint would unpack to more than its network has")
            about = json.loads(str(_array(inner, "about")))
            epoch, count = _whole(about, "epoch", 1, len(carried.epochs)), _whole(about, "arrays", 1, MOST_ARRAYS)
            _require(about.get("run_id") == carried.run_id, "checkpoint", "one of this run")
            arrays = [_array(inner, f"v{number:04d}") for number in range(count)]
    except Refused:
        raise
    except Exception as error:  # a hostile file can fail anywhere inside the decoders
        raise Refused(f"its checkpoint is damaged ({type(error).__name__})") from error
    _require(all(array.dtype.kind in "fiu" for array in arrays), "checkpoint", "numbers")
    widths = (config.inputs, *config.hidden, config.outputs)
    kernels = [array.shape for array in arrays if array.ndim == 2]
    _require(kernels[:len(widths) - 1] == list(zip(widths, widths[1:])), "checkpoint", "one of this architecture")
    return epoch, arrays


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    return np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)


def _require(is_sound: bool, name: str, expected: str) -> None:
    if not is_sound:
        raise Refused(f"{name}: expected {expected}")


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
        raise Refused(f"{name}: expected a number within bounds") from error


def runs_of(store: RunStore) -> Iterator[Carried]:
    """Every run of a store, one after another."""
    for run_id in store.run_ids():
        carried = store.carried(run_id)
        if carried is not None:
            yield carried
