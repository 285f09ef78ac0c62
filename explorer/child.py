"""The child: a process that trains one run after another and writes them to the store."""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from explorer import checkpoints, data, devices
from explorer.config import Demand, RunConfig
from explorer.settings import Settings
from explorer.store import DIVERGED, FAILED, FINISHED, INTERRUPTED, STOPPED, RunStore, Superseded

# Checkpoints may take up to this share of the training time; small networks are kept after every epoch.
CHECKPOINT_SHARE = 0.1
# A child is renewed when it has become so large, or has trained so many runs: each leaves a little behind.
MOST_MB, MOST_RUNS = 1_500, 50
# A run that was waiting for the worker comes in less than this; what comes later finds the child warm.
WARM_UP_DELAY, FOREVER = 0.05, 3_600.0


def job_of(run_id: str, attempt: int, config: RunConfig, device: str, label: str, settings: Settings) -> dict[str, Any]:
    """What a child must be told, as JSON can carry it."""
    return {"run_id": run_id, "attempt": attempt, "config": config.canonical_json(), "device": device, "label": label,
            "settings": settings.as_dict()}


class _Asked(Exception):
    """Raised to leave before training has begun."""


class Line:
    """The child's end of the line to its worker: jobs and stops come in, one line of JSON each; an end goes out.

    Silence for ever says that nobody is left.
    """

    def __init__(self, line: socket.socket):
        line.setblocking(False)
        self._line = line
        self._text, self._jobs, self._stops = b"", deque(), set()
        self._key: tuple[str, int] | None = None
        self._closed = False
        self.said: str | None = None

    def has_job(self, patience: float) -> bool:
        """Whether a run comes within so many seconds, or has come."""
        self._read()
        if not self._jobs and not self._closed:
            select.select([self._line], [], [], patience)
            self._read()
        return bool(self._jobs) or self._closed

    def next_job(self) -> dict[str, Any] | None:
        """The next run, or `None` where there will be none."""
        while not self.has_job(FOREVER):
            pass
        if self._closed:
            return None
        job = self._jobs.popleft()
        self._key, self.said = (job["run_id"], job["attempt"]), None
        return job

    def asked(self) -> str | None:
        """`STOPPED` or `INTERRUPTED` once the run in hand is to end, else `None`."""
        if self.said is None:
            self._read()
            if self._key in self._stops:
                self.said = STOPPED
            elif self._closed:
                self.said = INTERRUPTED
        return self.said

    def done(self, again: bool) -> None:
        """Say that the run in hand has ended, and whether this process will take another."""
        run_id, attempt = self._key
        try:
            self._line.sendall(json.dumps({"run_id": run_id, "attempt": attempt, "again": again}).encode() + b"\n")
        except OSError:
            self._closed = True
        self._stops.clear()

    def _read(self) -> None:
        while not self._closed:
            try:
                piece = self._line.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                piece = b""
            if not piece:
                self._closed = True
                return
            *lines, self._text = (self._text + piece).split(b"\n")
            for order in map(json.loads, lines):
                if order["do"] == "train":
                    self._jobs.append(order["job"])
                else:
                    self._stops.add((order["run_id"], order["attempt"]))


class Desk:
    """What a child keeps from one run to the next: data in memory, traced graphs, and the device it is set up for.

    Args:
        library: the data; what the process that forked this one has read is in it already.
    """

    def __init__(self, library: data.Library):
        self.library = library
        self._device: str | None = None
        self._courses: Any = None

    def prepare(self, device: str, threads: int) -> None:
        """Set TensorFlow up, once in the life of a process."""
        if self._device is None:
            import tensorflow as tf

            devices.prepare(device, threads, tf)
            self._device = device
        elif self._device != device:
            raise RuntimeError(f"this process is set up for {self._device}, not for {device}")

    @property
    def courses(self) -> Any:
        if self._courses is None:
            from explorer.courses import Courses

            self._courses = Courses()
        return self._courses


def serve(line: Line, desk: Desk, warm: int = 0) -> None:
    """Train what comes until the line closes, or until this process has had its day.

    Args:
        warm: threads to warm up with while no run is waiting; 0 for none.
    """
    if warm and not line.has_job(WARM_UP_DELAY):
        from explorer.courses import warm_up

        desk.prepare("cpu", warm)
        warm_up()
    runs = 0
    while job := line.next_job():
        runs += 1
        sound = run(job, line, desk)
        again = sound and runs < MOST_RUNS and _resident_mb() < MOST_MB
        line.done(again)
        if not again:
            return


def run(job: dict[str, Any], line: Line, desk: Desk) -> bool:
    """Train one run to its demands and leave its end in the store, whatever happens.

    Returns:
        Whether the process is fit for another run.
    """
    settings = Settings.from_dict(job["settings"])
    store = RunStore(settings.store_path)
    run_id, attempt = job["run_id"], job["attempt"]
    try:
        status, message, score = _train(job, store, settings, line, desk)
        store.end(run_id, attempt, status, message, _peak_mb(), obeyed=bool(line.said), score=score)
    except _Asked:
        store.end(run_id, attempt, line.said, _farewell(line.said), _peak_mb(), obeyed=True)
    except Superseded:
        pass
    except data.DataError as error:
        store.end(run_id, attempt, FAILED, str(error), _peak_mb())
    except Exception as error:
        traceback.print_exc()
        store.end(run_id, attempt, FAILED, _explain(error), _peak_mb())
        return False
    return True


def _train(job: dict[str, Any], store: RunStore, settings: Settings, line: Line, desk: Desk) -> tuple[
        str, str, dict[str, Any] | None]:
    run_id, attempt = job["run_id"], job["attempt"]
    config = RunConfig.from_json(job["config"])
    began = time.monotonic()
    phase, score = "", {}

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
    prepared = desk.library.load(config, tell_or_leave)
    if line.asked():
        raise _Asked

    desk.prepare(job["device"], settings.threads)
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
            score.update(values)

    def demands() -> Sequence[Demand]:
        return store.run(run_id).demands

    keeper = _Keeper(settings, run_id)
    resume, known = _resume(store, settings, run_id)
    outcome = training.train(
        config, prepared, demands, emit, lambda: bool(line.asked()) or over_time(), keeper, resume, known,
        job["device"], desk.courses)
    message = keeper.finish(outcome.state)
    if outcome.reason == "stopped":
        if line.said:
            return line.said, message or _farewell(line.said), None
        return STOPPED, (f"Stopped after {settings.max_seconds:,} seconds, the most one run may train at a time "
                         "here."), None
    if outcome.reason == "diverged":
        return DIVERGED, (f"The loss stopped being a number in epoch {outcome.state.epoch}: the learning rate "
                          f"{config.learning_rate:g} is too large for these settings."), None
    return FINISHED, message, score


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


def _resident_mb() -> float:
    try:
        fields = Path("/proc/self/statm").read_text().split()
    except OSError:
        return _peak_mb()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """A child of its own, for machines where a warm process cannot be forked: warm up, then wait for jobs."""
    line = Line(socket.socket(fileno=os.dup(0)))
    import tensorflow  # noqa: F401  warming up is what a spare child is for

    from explorer import training  # noqa: F401

    serve(line, Desk(data.Library(Settings.from_dict(json.loads(sys.argv[1])))))


if __name__ == "__main__":
    main()
