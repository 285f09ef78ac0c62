"""The child: one process that trains one run and writes it to the store."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

from explorer import checkpoints, data, devices
from explorer.config import Demand, RunConfig
from explorer.settings import Settings
from explorer.store import DIVERGED, FAILED, FINISHED, INTERRUPTED, STOPPED, RunStore, Superseded

# Checkpoints may take up to this share of the training time; small networks are kept after every epoch.
CHECKPOINT_SHARE = 0.1
STOP = b"s"


def job_of(run_id: str, attempt: int, config: RunConfig, device: str, label: str, settings: Settings) -> dict[str, Any]:
    """What a child must be told, as JSON can carry it."""
    return {"run_id": run_id, "attempt": attempt, "config": config.canonical_json(), "device": device, "label": label,
            "settings": settings.as_dict()}


class _Asked(Exception):
    """Raised to leave before training has begun."""


class Line:
    """The child's end of the line to its worker: a byte says stop, silence for ever says that nobody is left."""

    def __init__(self, line: socket.socket):
        line.setblocking(False)
        self._line = line
        self.said: str | None = None

    def asked(self) -> str | None:
        """`STOPPED` or `INTERRUPTED` once the run is to end, else `None`."""
        if self.said is None:
            try:
                self.said = STOPPED if self._line.recv(1) == STOP else INTERRUPTED
            except BlockingIOError:
                pass
            except OSError:
                self.said = INTERRUPTED
        return self.said


def run(job: dict[str, Any], line: Line) -> None:
    """Train one run to its demands and leave its end in the store, whatever happens."""
    settings = Settings.from_dict(job["settings"])
    store = RunStore(settings.store_path)
    run_id, attempt = job["run_id"], job["attempt"]
    try:
        status, message = _train(job, store, settings, line)
        store.end(run_id, attempt, status, message, _peak_mb(), obeyed=bool(line.said))
    except _Asked:
        store.end(run_id, attempt, line.said, _farewell(line.said), _peak_mb(), obeyed=True)
    except Superseded:
        return
    except data.DataError as error:
        store.end(run_id, attempt, FAILED, str(error), _peak_mb())
    except Exception as error:
        traceback.print_exc()
        store.end(run_id, attempt, FAILED, _explain(error), _peak_mb())


def _train(job: dict[str, Any], store: RunStore, settings: Settings, line: Line) -> tuple[str, str]:
    run_id, attempt = job["run_id"], job["attempt"]
    config = RunConfig.from_json(job["config"])
    began = time.monotonic()
    phase = ""

    def tell(new_phase: str, progress: dict[str, int]) -> None:
        nonlocal phase
        phase = new_phase
        store.write_progress(run_id, attempt, phase, progress)

    def tell_or_leave(what: str, done: int, total: int) -> None:
        tell(what, {"done": done, "total": total})
        if line.asked():
            raise _Asked

    def over_time() -> bool:
        return time.monotonic() - began > settings.max_seconds

    tell("loading", {})
    prepared = data.load(config, settings, tell_or_leave)
    if line.asked():
        raise _Asked

    import tensorflow as tf

    devices.prepare(job["device"], settings.threads, tf)
    store.write_device(run_id, attempt, job["label"], settings.threads)
    from explorer import training

    def emit(kind: str, values: dict[str, Any]) -> None:
        if kind == "phase":
            tell(values["phase"], {})
        elif kind == "progress":
            tell(phase, values)
        elif kind == "epoch":
            store.write_epoch(run_id, attempt, values)
        else:
            store.write_score(run_id, attempt, values)

    def demands() -> Sequence[Demand]:
        return store.run(run_id).demands

    keeper = _Keeper(settings, run_id)
    resume, known = _resume(store, settings, run_id)
    outcome = training.train(
        config, prepared, demands, emit, lambda: bool(line.asked()) or over_time(), keeper, resume, known,
        job["device"])
    message = keeper.finish(outcome.state)
    if outcome.reason == "stopped":
        if line.said:
            return line.said, message or _farewell(line.said)
        return STOPPED, f"Stopped after {settings.max_seconds:,} seconds, the most one run may train at a time here."
    if outcome.reason == "diverged":
        return DIVERGED, (f"The loss stopped being a number in epoch {outcome.state.epoch}: the learning rate "
                          f"{config.learning_rate:g} is too large for these settings.")
    return FINISHED, message


def _farewell(said: str) -> str:
    return "The explorer ended while this run was training." if said == INTERRUPTED else ""


def _resume(store: RunStore, settings: Settings, run_id: str) -> tuple[Any, list[float | None]]:
    from explorer.training import State

    try:
        found = checkpoints.load(settings.checkpoints, run_id)
    except ValueError as error:
        # The same epochs come out again, to the last bit: a lost checkpoint costs time only.
        print(f"{error}; training starts over", file=sys.stderr)
        found = None
    known = [metrics["val_crossentropy"] for metrics in store.epochs(run_id)]
    if found is None or found[0] > len(known):
        return None, []
    return State(*found), known[: found[0]]


class _Keeper:
    """Keeps checkpoints as often as they cost little, and at the end."""

    def __init__(self, settings: Settings, run_id: str):
        self._settings, self._run_id = settings, run_id
        self._kept, self._cost, self._last = -1, 0.0, time.monotonic()
        self._failure = ""

    def __call__(self, state: Any) -> None:
        if (time.monotonic() - self._last) * CHECKPOINT_SHARE >= self._cost:
            self._save(state)

    def finish(self, state: Any) -> str:
        """Keep the last state. Returns: a message where it could not be kept, else an empty text."""
        if state.epoch != self._kept and state.epoch > 0:
            self._save(state)
        return self._failure

    def _save(self, state: Any) -> None:
        began = time.monotonic()
        try:
            checkpoints.save(self._settings.checkpoints, self._run_id, state.epoch, state.arrays)
            checkpoints.prune(self._settings.checkpoints, self._settings.checkpoint_mb, self._run_id)
            self._kept, self._failure = state.epoch, ""
        except OSError as error:
            self._failure = (f"The checkpoint could not be kept ({error.strerror}): the curve is stored, but "
                             "going on will start from the first epoch. Free some disk space.")
        self._last = time.monotonic()
        self._cost = self._last - began


def _explain(error: Exception) -> str:
    kind = type(error).__name__
    if isinstance(error, MemoryError) or kind == "ResourceExhaustedError":
        return "The device ran out of memory: use fewer units, fewer words or a smaller batch size."
    first = str(error).strip().splitlines()
    return f"Training failed unexpectedly ({kind}: {first[0][:200] if first else 'no message'})."


def _peak_mb() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    """A child of its own, for machines where a warm process cannot be forked: warm up, then wait for the job."""
    line = socket.socket(fileno=os.dup(0))
    import tensorflow  # noqa: F401  warming up is what a spare child is for

    from explorer import training  # noqa: F401

    text = b""
    while not text.endswith(b"\n"):
        piece = line.recv(65536)
        if not piece:
            return
        text += piece
    run(json.loads(text), Line(line))


if __name__ == "__main__":
    main()
