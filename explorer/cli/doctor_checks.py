"""What `doctor` looks at besides the versions: devices, data, store and cluster; each says what it finds."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import sys
from typing import Any

from explorer.config.datasets import DATASETS
from explorer.config.settings import SettingError, Settings, unusable_store
from explorer.data import files
from explorer.store.sqlite import STORE_ERRORS, DamagedStore
from explorer.store.store import RunStore
from explorer.workers.dask import client as dask_client
from explorer.workers.dask import remote as dask_remote
from explorer.workers.devices import Hardware, seen_by_driver

# Below this, a store or a checkpoint may not find room.
LITTLE_DISK_MB = 500


def look(settings: Settings, amiss: list[str]) -> None:
    """Print what is found, and add to `amiss` what is to be done."""
    _devices(amiss)
    _datasets(settings, amiss)
    _store(settings, amiss)
    _cluster(settings, amiss)


def _devices(amiss: list[str]) -> None:
    print("Devices")
    answer = subprocess.run([sys.executable, "-m", "explorer.workers.devices"], capture_output=True, text=True)
    try:
        hardware = Hardware.from_dict(json.loads(answer.stdout.splitlines()[-1]))
    except (IndexError, ValueError):
        last = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        amiss.append(f"TensorFlow does not start ({last}). Install it again: pip install --force-reinstall tensorflow")
        return
    print(f"  {hardware.cpu}, {hardware.cores} cores, {hardware.memory_mb:,} MB of memory")
    for gpu in hardware.gpus:
        print(f"  {hardware.label(f'gpu:{gpu.index}')}")
    if hardware.gpus:
        return
    unused = seen_by_driver()
    if unused:
        print(f"  {', '.join(unused)}: not used, for TensorFlow does not find it; the libraries that it needs for that "
              "come with pip install 'tensorflow[and-cuda]'")
    else:
        print("  no graphics card, which is fine: everything runs on the processor")


def _datasets(settings: Settings, amiss: list[str]) -> None:
    print("Data")
    for info in DATASETS.values():
        if not info.file:
            print(f"  {info.name}: embedded")
            continue
        path = files.find(info, settings)
        if path is None:
            print(f"  {info.name}: not here; fetched when first used ({info.bytes / 1e6:.0f} MB), or put {info.file} "
                  f"into {files.folders(settings)[0]}")
            continue
        same = files.checksum(path) == info.sha256
        verdict = "checksum as Keras's own" if same else "checksum differs from Keras's own file"
        print(f"  {info.name}: {path}, {path.stat().st_size:,} bytes, {verdict}")
        reason = _unreadable(info.name, path)
        if reason:
            amiss.append(str(files.unreadable(info, path, reason)))


def _unreadable(name: str, path: Any) -> str:
    from explorer.data import imdb, mnist

    try:
        (imdb if name == "imdb" else mnist).read(path)
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def _store(settings: Settings, amiss: list[str]) -> None:
    print("Store")
    try:
        existed = bool(settings.store) or settings.store_path.exists()
        store = RunStore(settings.store_place)
        counts, size = store.counts(), store.database.size()
    except DamagedStore as error:
        amiss.append(str(error))
        return
    except (OSError, *STORE_ERRORS) as error:
        amiss.append(str(unusable_store(settings, error)) if settings.store else
                     f"{settings.store_path} cannot be used ({error}). Set EXPLORER_HOME to a folder on a local disk.")
        return
    runs = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "no runs yet"
    print(f"  {store.database.where}, {size:,} bytes, {'' if existed else 'new, '}{runs}")
    settings.home.mkdir(parents=True, exist_ok=True)
    kept = list(settings.checkpoints.glob("*.npz"))
    print(f"  {len(kept)} checkpoints, {sum(path.stat().st_size for path in kept):,} bytes of at most "
          f"{settings.checkpoint_mb:,} MB")
    free = shutil.disk_usage(settings.home).free // 1_000_000
    print(f"  {free:,} MB free on its disk")
    if free < LITTLE_DISK_MB:
        amiss.append(f"Only {free:,} MB are free on the disk of {settings.home}: free some space.")


def _cluster(settings: Settings, amiss: list[str]) -> None:
    if not settings.scheduler:
        return
    print("Cluster")
    heard: queue.Queue[dict[str, Any]] = queue.Queue()
    try:
        dask_client.require()
        line = dask_client.DaskCluster(settings, heard.put)
    except SettingError as error:
        amiss.append(str(error))
        return
    try:
        # A worker that has just been started has to import its libraries first.
        message = heard.get(timeout=dask_remote.START_SECONDS + dask_client.NO_WORKER_SECONDS)
    except queue.Empty:
        message = {"event": "died", "why": f"The workers at {settings.scheduler} (EXPLORER_SCHEDULER) do not answer."}
    finally:
        line.close()
    if message["event"] == "died":
        amiss.append(message["why"])
        return
    hardware = Hardware.from_dict(message["hardware"])
    cards = ", ".join(hardware.label(f"gpu:{gpu.index}") for gpu in hardware.gpus) or "no graphics card"
    print(f"  {settings.scheduler}: {message['places']} runs at a time; {hardware.cpu}, {cards}")
