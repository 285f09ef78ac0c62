"""Which lessons can be opened with nothing left to train."""

from __future__ import annotations

from explorer.engine import Engine
from explorer.lessons.presets import LESSONS, available
from explorer.view import DONE, look


def ready_parts(engine: Engine) -> dict[str, int]:
    """Lessons with a part all of whose runs are known as far as it shows them, and the first such part.

    One question to the store for all of them; only what may be complete is then read.
    """
    wanted = {}
    for name, parts in LESSONS.items():
        for number in range(len(parts)):
            entries = available(name, number, engine.settings).entries()
            wanted[name, number] = {engine.run_id(entry.config): (entry.config, entry.asked) for entry in entries}
    reached = engine.store.reached({run_id for runs in wanted.values() for run_id in runs})
    found: dict[str, int] = {}
    for (name, number), runs in wanted.items():
        if name in found or not runs.keys() <= reached.keys():
            continue
        seen = engine.store.snapshots({run_id: config for run_id, (config, _) in runs.items()}, {})
        if all(look(*seen[run_id], demand).state == DONE for run_id, (_, demand) in runs.items() if run_id in seen):
            found[name] = number
    return found
