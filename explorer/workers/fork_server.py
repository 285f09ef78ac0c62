"""The worker: a warm process that has imported TensorFlow and keeps killable children that train.

It is started by the engine as a program of its own
(`python -m explorer.workers.fork_server SETTINGS [ahead] [database]`) and speaks JSON lines on its standard input and
output: it listens to its parent only. When that line closes, it stops its children and ends. A child trains one run
after another, so that data in memory and traced graphs are used again; when it dies it takes one run with it, and
another takes its place.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, TextIO

from explorer import data
from explorer.config import stacking
from explorer.config.run_config import RunConfig
from explorer.config.settings import Settings
from explorer.workers import devices, garbage, libraries, prefetch
from explorer.workers import trainer as trainer_process
from explorer.workers.channel import WorkerChannel
from explorer.workers.devices import Hardware
from explorer.workers.prefetch import Preparer
from explorer.workers.priority import step_back

# Elsewhere, forking a process with this many libraries is not safe, and children are fresh processes that import for
# themselves. This one never talks to a graphics card, which a fork would not survive; that is for its children.
FORKS = sys.platform == "linux"
# How long children may take to keep a checkpoint when the parent is gone.
FAREWELL_SECONDS = 8.0
# One that is set up for a share of the threads is of use to grids alone: so long it waits for another.
SHARE_IDLE_SECONDS = 60.0
# While data are being prepared, it is asked this often whether they are there.
PREPARING_SECONDS = 0.1
# Where a training process may take so much memory only, it is looked at this often.
MEMORY_SECONDS = 0.1

Key = tuple[str, int]


@dataclass(eq=False)
class _Child:
    """A process that trains.

    Attributes:
        keys: run and attempt of those in hand; a run may be asked for again before its last attempt is quite gone.
        setup: device and threads that it is set up for; `None` where it is for any.
        networks: what it has traced graphs of.
        leaving: it will take no other run.
        idle_since: when it had nothing more to do.
        most_mb: memory that it may take for what it has in hand; 0 for any.
        is_too_large: it was ended because it took more.
    """

    process: int | subprocess.Popen
    line: socket.socket
    keys: list[Key] = field(default_factory=list)
    setup: tuple[str, int] | None = None
    networks: set[Hashable] = field(default_factory=set)
    leaving: bool = False
    idle_since: float = field(default_factory=time.monotonic)
    most_mb: int = 0
    is_too_large: bool = False
    text: bytes = b""

    @property
    def is_free(self) -> bool:
        return not self.keys and not self.leaving

    @property
    def pid(self) -> int:
        return self.process if isinstance(self.process, int) else self.process.pid

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        if isinstance(self.process, int):
            return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        return self.process.wait()


class Worker:
    """Children, and the line to the parent.

    Args:
        settings: handed to the children.
        answers: where to speak to the parent.
        ahead: whether there is time before the first run, to warm up in.
        preparer: prepares data meanwhile.
        database: whether children will write to PostgreSQL, and share its libraries. Its address comes with each job.
    """

    def __init__(self, settings: Settings, answers: TextIO, ahead: bool = True, preparer: Preparer | None = None,
                 database: bool = False):
        self._settings, self._answers, self._ahead, self._preparer = settings, answers, ahead, preparer
        self._database = database
        self._library = data.Library(settings)
        self._selector = selectors.DefaultSelector()
        self._children: list[_Child] = []

    def serve(self) -> None:
        """Listen until the parent closes the line."""
        hardware = self._warm_up()
        step_back()
        self._say(event="ready", hardware=hardware.as_dict())
        self._selector.register(0, selectors.EVENT_READ)
        if not self._preparer:
            self._add_child(warm=self._ahead)
        text = b""
        while True:
            ready = self._selector.select(self._patience())
            self._take_over(warm=True)
            self._dismiss()
            self._end_too_large()
            for key, _ in ready:
                if key.fd != 0:
                    self._listen(key.data)
                    continue
                piece = os.read(0, 65536)
                if not piece:
                    self._leave()
                    return
                *lines, text = (text + piece).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))

    def _warm_up(self) -> Hardware:
        with garbage.left_alone():
            libraries.load()
            from explorer.training import graph_cache, train  # noqa: F401

            if self._database:
                from explorer.store import postgres  # noqa: F401
            hardware = devices.look()
            if FORKS:
                self._hold_data()
                gc.freeze()  # so that children do not copy what they only read
        return hardware

    def _take_over(self, warm: bool) -> None:
        """Once the data are there that were being prepared: hold them, for a first child to share.

        There is none before: it would warm up on the cores that a run's data need first.
        """
        if self._preparer and self._preparer.has_ended():
            self._preparer = None
            self._hold_data()
            if not self._children:
                self._add_child(warm)

    def _hold_data(self) -> None:
        # Children share the memory of what was read before they were forked.
        dataset = data.default_dataset(self._settings)
        if data.is_prepared(dataset, self._settings):
            self._library.hold(dataset)

    # -- orders ---------------------------------------------------------------------------------------

    def _obey(self, order: dict[str, Any]) -> None:
        if order["do"] == "train":
            try:
                self._start(order["job"])
            except OSError as error:  # no more processes, no more memory: the others are not to suffer for it
                print(f"the run could not be started: {error}", file=sys.stderr)
                self._say_ended(trainer_process.keys_of(order["job"]), 1)
            return
        for trainer in self._children:
            if (order["run_id"], order["attempt"]) in trainer.keys:
                if order["do"] == "kill":
                    os.kill(trainer.pid, signal.SIGKILL)
                else:
                    _tell(trainer, order)

    def _start(self, job: dict[str, Any]) -> None:
        configs, setup = [RunConfig.from_json(run["config"]) for run in job["runs"]], (job["device"], job["threads"])
        # What a child that has trained these has in memory: their graph, and the data cut for them.
        network = stacking.graph(configs, job["device"]), configs[0].key(without=data.NOT_IN_A_CUT)
        if self._preparer:
            self._preparer.wait_for(configs[0].dataset)
            self._take_over(warm=False)
        free = [one for one in self._children if one.is_free and one.setup in (None, setup)]
        # One that has this network's graph, else one that has not been used, else any.
        free.sort(key=lambda one: (network not in one.networks, bool(one.networks)))
        trainer = free[0] if free else self._add_child(warm=False)
        if not _tell(trainer, {"do": "train", "job": job}):
            # It has just died, and its end has not been read yet.
            trainer.leaving = True
            self._start(job)
            return
        trainer.keys, trainer.setup, trainer.most_mb = trainer_process.keys_of(
            job), setup, job["settings"]["max_memory_mb"]
        trainer.networks.add(network)
        for run_id, attempt in trainer.keys:
            self._say(event="started", run_id=run_id, attempt=attempt, pid=trainer.pid)

    # -- children -------------------------------------------------------------------------------------

    def _add_child(self, warm: bool = True) -> _Child:
        ours, theirs = socket.socketpair()
        process: int | subprocess.Popen
        if FORKS:
            process = os.fork()
            if process == 0:
                self._become_child(ours, theirs, warm)
        else:
            process = subprocess.Popen(
                [sys.executable, "-m", "explorer.workers.trainer", json.dumps(self._settings.as_dict())], stdin=theirs,
                stdout=sys.stderr)
        theirs.close()
        # Elsewhere than where it forks, it warms up no device.
        trainer = _Child(process, ours, setup=("cpu", self._settings.threads) if warm and FORKS else None)
        self._children.append(trainer)
        self._selector.register(ours, selectors.EVENT_READ, trainer)
        return trainer

    def _become_child(self, ours: socket.socket, theirs: socket.socket, warm: bool) -> None:
        status = 1
        try:
            # Whatever the child kept open of these would hide the end of the others.
            ours.close()
            for other in self._children:
                other.line.close()
            self._selector.close()
            os.close(self._answers.fileno())
            os.close(0)
            trainer_process.serve(WorkerChannel(theirs), trainer_process.TrainerState(self._library),
                                  self._settings.threads if warm else 0)
            status = 0
        except SystemExit as error:
            status = error.code
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _listen(self, trainer: _Child) -> None:
        try:
            piece = trainer.line.recv(65536)
        except OSError:
            piece = b""
        if not piece:
            self._bury(trainer)
            return
        *lines, trainer.text = (trainer.text + piece).split(b"\n")
        for message in map(json.loads, lines):
            if "tell" in message:
                self._say(event="told", **message)
                continue
            ended, trainer.keys, trainer.leaving = trainer.keys, [], not message["again"]
            trainer.idle_since = time.monotonic()
            self._say_ended(ended, 0)

    def _bury(self, trainer: _Child) -> None:
        self._children.remove(trainer)
        self._selector.unregister(trainer.line)
        trainer.line.close()
        code = trainer.wait()
        self._say_ended(trainer.keys, trainer_process.TOO_LARGE if trainer.is_too_large else code)
        if trainer.networks and not any(one.is_free for one in self._children):
            # Not for one that died before it had a run: that would go on for ever.
            self._add_child()

    def _shares(self) -> list[_Child]:
        # Those that are idle and have less than all threads.
        return [one for one in self._children
                if one.is_free and one.networks and one.setup and one.setup[1] < self._settings.threads]

    def _patience(self) -> float | None:
        until = [one.idle_since + SHARE_IDLE_SECONDS for one in self._shares()]
        waits = [max(0.0, min(until) - time.monotonic())] if until else []
        if self._preparer:
            waits.append(PREPARING_SECONDS)
        if any(one.keys and one.most_mb for one in self._children):
            waits.append(MEMORY_SECONDS)
        return min(waits, default=None)

    def _end_too_large(self) -> None:
        for one in self._children:
            if one.keys and one.most_mb and not one.is_too_large and trainer_process.resident_mb(one.pid) > one.most_mb:
                one.is_too_large = True
                _kill(one.pid)

    def _dismiss(self) -> None:
        for one in self._shares():
            if time.monotonic() - one.idle_since >= SHARE_IDLE_SECONDS:
                one.leaving = True
                one.line.shutdown(socket.SHUT_WR)  # it reads the end of its line, and ends

    def _leave(self) -> None:
        if self._preparer:
            self._preparer.end()
        for trainer in self._children:
            try:
                trainer.line.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has just ended by itself
        deadline = time.monotonic() + FAREWELL_SECONDS
        for trainer in self._children:
            if not trainer.keys:
                # It keeps nothing, and may be in the middle of an import.
                _kill(trainer.pid)
            while time.monotonic() < deadline and os.waitpid(trainer.pid, os.WNOHANG) == (0, 0):
                time.sleep(0.02)
            _kill(trainer.pid)

    def _say_ended(self, keys: list[Key], code: int) -> None:
        for run_id, attempt in keys:
            self._say(event="ended", run_id=run_id, attempt=attempt, code=code)

    def _say(self, **message: Any) -> None:
        self._answers.write(json.dumps(message) + "\n")
        self._answers.flush()


def _tell(trainer: _Child, order: dict[str, Any]) -> bool:
    try:
        trainer.line.sendall(json.dumps(order).encode() + b"\n")
        return True
    except OSError:
        return False


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def main() -> None:
    # What libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Ctrl-C in a terminal reaches the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = Settings.from_dict(json.loads(sys.argv[1]))
    ahead, database = (word in sys.argv[2:] for word in ("ahead", "database"))
    Worker(settings, answers, ahead, prefetch.start(settings, (0, answers.fileno())) if ahead else None,
           database).serve()


if __name__ == "__main__":
    main()
