"""`python -m explorer runs`: list the stored runs, and carry them to another machine in one file."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from explorer.cli.common import Bar
from explorer.config import labels
from explorer.config.run_config import RunConfig
from explorer.config.settings import Settings, unusable_store
from explorer.i18n import WRITTEN
from explorer.lessons import protected
from explorer.store import archive, checkpoints
from explorer.store.sqlite import STORE_ERRORS
from explorer.store.store import RunStore

UNREADABLE = "its settings cannot be read by this version of the explorer"
UNSEEN = "They stay in the store under their own identity; the page on this machine does not find them."


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = commands.add_parser("runs", help="list, export and import runs", description=(
        "List the stored runs, or carry them to another machine in one file."))
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="one line a run")
    listing.set_defaults(run=_list)
    export = actions.add_parser("export", help="write every run with an epoch to one file")
    export.add_argument("file", type=Path)
    export.add_argument("--no-checkpoints", action="store_true",
                        help="leave out what a run is continued from: a fraction of the size")
    export.set_defaults(run=_export)
    taking = actions.add_parser("import", help="take over the runs of such a file", description=(
        "Take over the runs of such a file. Nothing in it is executed, and a run that is here as long stays as it is."))
    taking.add_argument("file", type=Path)
    taking.set_defaults(run=_import)


def _opened(settings: Settings) -> RunStore:
    try:
        return RunStore(settings.store_place)
    except (OSError, *STORE_ERRORS) as error:
        raise unusable_store(settings, error) from error


def _list(given: argparse.Namespace, settings: Settings) -> int:
    store = _opened(settings)
    known, configs = list(archive.runs_of(store)), {}
    for carried in known:
        try:
            configs[carried.run_id] = RunConfig.from_json(carried.config)
        except (ValueError, TypeError, KeyError):
            continue
    names = dict(zip(configs, labels.names(list(configs.values()), WRITTEN)))
    reasons = {carried.run_id: archive.unseen(carried, settings) if carried.run_id in configs else UNREADABLE
               for carried in known}
    for carried in known:
        kept = "checkpoint" if checkpoints.path_of(settings.checkpoints, carried.run_id).exists() else ""
        print(f"{carried.run_id}  {carried.status:<11}  {len(carried.epochs):>5} epochs  {kept:<10}  "
              f"{names.get(carried.run_id, '')}{'  (!)' if reasons[carried.run_id] else ''}")
    print(f"{_runs(len(known))} in {store.database.where}")
    _warn(reasons.values())
    store.close()
    return 0


def _export(given: argparse.Namespace, settings: Settings) -> int:
    store, bar = _opened(settings), Bar()
    try:
        written, kept, left_out = archive.write(
            given.file, store, settings, not given.no_checkpoints,
            lambda done, total: bar.draw(done / total, f"{done} of {total} runs"))
    except OSError as error:
        bar.clear()
        print(f"{given.file}: cannot be written ({error.strerror or error}).", file=sys.stderr)
        return 1
    finally:
        store.close()
    bar.clear()
    print(f"{given.file}: {_runs(written)}, {kept} with a checkpoint, {given.file.stat().st_size:,} bytes")
    for run_id in left_out:
        print(f"{run_id}: left out, for the data on which it was trained are no longer here.", file=sys.stderr)
    return 0


def _import(given: argparse.Namespace, settings: Settings) -> int:
    store = _opened(settings)
    try:
        found = archive.read(given.file, store, settings)
    except archive.CorruptArchive as error:
        print(f"{given.file}: {error}. Nothing has been changed.", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{given.file}: {error.strerror or error}.", file=sys.stderr)
        return 1
    except STORE_ERRORS as error:
        print(f"{store.database.where}: cannot be written ({getattr(error, 'why', error)}). Nothing has been changed.",
              file=sys.stderr)
        return 1
    finally:
        store.close()
    checkpoints.prune(settings.checkpoints, settings.checkpoint_mb, spared=partial(protected.run_ids, settings))
    print(f"{_runs(len(found.taken))} taken over, {found.with_checkpoints} with a checkpoint; {len(found.kept)} here "
          f"already, {len(found.busy)} being trained here, {len(found.refused)} refused.")
    for run_id, why in found.refused:
        print(f"{run_id}: refused: {why}.", file=sys.stderr)
    _warn(reason for _, reason in found.unseen)
    return 1 if found.refused else 0


def _warn(reasons: Iterable[str]) -> None:
    counts = Counter(filter(None, reasons))
    for reason, count in counts.items():
        print(f"(!) {_runs(count)}: {reason}.")
    if counts:
        print(UNSEEN)


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count:,} runs"
