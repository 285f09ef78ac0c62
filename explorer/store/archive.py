"""Runs in one file: written by one installation, read by another without executing or unpacking anything."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from explorer import data
from explorer.config.run_config import TRAINING_VERSION, RunConfig, identity, library_versions
from explorer.config.settings import Settings
from explorer.store import archive_checks, checkpoints
from explorer.store.archive_checks import InvalidRun
from explorer.store.store import BUSY, DIVERGED, FINISHED, KNOWN, LONGER, NEW, OTHER, STOPPED, ExportedRun, RunStore

KIND, FORMAT = "overfitting-explorer runs", 1
ABOUT = "about.json"
# What a file may hold: more is refused before it is unpacked.
MAX_FILE, MAX_RUNS, MAX_TEXT = 8 << 30, 20_000, 512 << 20
_RUN_MEMBER = re.compile(r"runs/([0-9a-f]{16})\.json")
_CHECKPOINT_MEMBER = re.compile(r"checkpoints/([0-9a-f]{16})\.npz")


class CorruptArchive(ValueError):
    """The file is none, is cut short, or holds more than such a file may."""


@dataclass(frozen=True)
class ImportReport:
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


def origin(carried: ExportedRun, settings: Settings) -> tuple[str, int] | None:
    """The data version and the training version that a stored run's identity was made of; `None` where neither the
    data on this machine nor those that Keras publishes give it."""
    config = json.loads(carried.config)
    name = config["dataset"]
    for version in dict.fromkeys((data.version(name, settings), data.DATASETS[name].sha256)):
        for training in range(TRAINING_VERSION, 0, -1):
            if version and identity(config, version, training, carried.versions) == carried.run_id:
                return version, training
    return None


def unseen(carried: ExportedRun, settings: Settings) -> str:
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


def _content(carried: ExportedRun, version: str, training: int) -> dict[str, Any]:
    # Messages stay behind: they speak of the machine on which they came up.
    status = carried.status if carried.status in (FINISHED, DIVERGED) else STOPPED
    return {**asdict(carried), "config": json.loads(carried.config), "status": status, "data": version,
            "training": training, "scores": list(carried.scores.values())}


def _add_checkpoint(archive: zipfile.ZipFile, settings: Settings, carried: ExportedRun) -> bool:
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


def read(path: Path, store: RunStore, settings: Settings) -> ImportReport:
    """Take the runs of a file over. All of it is looked at before the first is stored.

    Raises:
        CorruptArchive: the file cannot be read; nothing has been changed.
        OSError: the file cannot be opened.
        sqlite3.Error, StoreError: the store cannot be written; nothing has been changed.
    """
    with open(path, "rb") as stream:
        if os.fstat(stream.fileno()).st_size > MAX_FILE:
            raise CorruptArchive(f"it is larger than {MAX_FILE >> 30} GB")
        try:
            with zipfile.ZipFile(stream) as archive:
                sound, states, refused = _checked(archive)
        except (CorruptArchive, OSError):
            raise
        except Exception as error:  # a hostile file can fail anywhere inside the decoders
            raise CorruptArchive(f"it is cut short or damaged ({type(error).__name__})") from error
        became = store.adopt(sound)
        taken = [carried for carried in sound if became[carried.run_id] in (NEW, LONGER, OTHER)]
        for carried in taken:
            if became[carried.run_id] == OTHER:  # the state that was here is that of another curve
                checkpoints.path_of(settings.checkpoints, carried.run_id).unlink(missing_ok=True)
        with zipfile.ZipFile(stream) as archive:
            kept = sum(_keep_state(archive, states[carried.run_id], carried, settings)
                       for carried in taken if carried.run_id in states)
    reasons = ((carried.run_id, unseen(carried, settings)) for carried in taken)
    return ImportReport(
        tuple(carried.run_id for carried in taken),
        tuple(run_id for run_id, what in became.items() if what == KNOWN),
        tuple(run_id for run_id, what in became.items() if what == BUSY),
        tuple(refused), tuple(pair for pair in reasons if pair[1]), kept)


def _checked(archive: zipfile.ZipFile) -> tuple[list[ExportedRun], dict[str, zipfile.ZipInfo], list[tuple[str, str]]]:
    """The sound runs, the members with their states, and what is refused."""
    sound, states, refused = [], {}, []
    runs, checkpoint_members = _members(archive)
    for run_id, member in runs.items():
        try:
            carried = archive_checks.run(archive_checks.json_of(archive, member), run_id)
            if run_id in checkpoint_members:
                archive_checks.state(archive, checkpoint_members[run_id], carried)
                states[run_id] = checkpoint_members[run_id]
            sound.append(carried)
        except InvalidRun as error:
            refused.append((run_id, str(error)))
    return sound, states, refused


def _keep_state(archive: zipfile.ZipFile, member: zipfile.ZipInfo, carried: ExportedRun, settings: Settings) -> bool:
    try:
        checkpoints.save(settings.checkpoints, carried.run_id, *archive_checks.state(archive, member, carried))
    except (InvalidRun, OSError):
        return False  # no room: the curve is here, and going on starts over
    return True


def _members(archive: zipfile.ZipFile) -> tuple[dict[str, zipfile.ZipInfo], dict[str, zipfile.ZipInfo]]:
    """Runs and checkpoints by `run_id`. Names of members choose among them and go nowhere else."""
    runs: dict[str, zipfile.ZipInfo] = {}
    states: dict[str, zipfile.ZipInfo] = {}
    infos = archive.infolist()
    if len(infos) > 2 * MAX_RUNS + 1:
        raise CorruptArchive(f"it holds more than {MAX_RUNS:,} runs")
    if sum(info.file_size for info in infos if not info.filename.endswith(".npz")) > MAX_TEXT:
        raise CorruptArchive(f"its runs would unpack to more than {MAX_TEXT >> 20} MB")
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
            raise CorruptArchive(f"it holds {info.filename[:60]!r}, which is no part of such a file")
    try:
        said = archive_checks.json_of(archive, about) if about else None
    except InvalidRun as error:
        raise CorruptArchive(str(error)) from error
    if not isinstance(said, dict) or said.get("kind") != KIND:
        raise CorruptArchive("it holds no runs of the explorer")
    if said.get("format") != FORMAT:
        raise CorruptArchive("it was written by another version of the explorer, in a form that is not known here")
    return runs, states


def runs_of(store: RunStore) -> Iterator[ExportedRun]:
    """Every run of a store, one after another."""
    for run_id in store.run_ids():
        carried = store.carried(run_id)
        if carried is not None:
            yield carried
