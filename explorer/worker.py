"""The worker: a warm process that has imported TensorFlow and makes a killable child for each run.

It is started by the engine as a program of its own (`python -m explorer.worker`) and speaks JSON lines on its
standard input and output: it listens to its parent only. When that line closes, it stops its children and ends.
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
from typing import Any, TextIO

from explorer import child, data, devices
from explorer.config import RunConfig
from explorer.devices import Hardware
from explorer.settings import Settings

# How long children may take to keep a checkpoint when the parent is gone.
FAREWELL_SECONDS = 8.0


class Worker:
    """Children by run and attempt, and the line to the parent.

    A run may be asked for again before the process of its last attempt is quite gone, so the run alone would not
    tell the two apart.
    """

    def __init__(self, answers: TextIO, preparing: int | None = None):
        self._answers, self._preparing = answers, preparing
        self._selector = selectors.DefaultSelector()
        self._children: dict[tuple[str, int], tuple[int | subprocess.Popen, socket.socket]] = {}
        self._spare: tuple[subprocess.Popen, socket.socket] | None = None
        self._forks = False

    def _reap_preparer(self, end: bool = False) -> None:
        if self._preparing is None:
            return
        if end:
            os.kill(self._preparing, signal.SIGKILL)
        if os.waitpid(self._preparing, 0 if end else os.WNOHANG)[0]:
            self._preparing = None

    def serve(self) -> None:
        """Listen until the parent closes the line."""
        hardware = self._warm_up()
        self._say(event="ready", hardware=hardware.as_dict())
        self._selector.register(0, selectors.EVENT_READ)
        text = b""
        while True:
            ready = self._selector.select()
            self._reap_preparer()
            for key, _ in ready:
                if key.fd != 0:
                    self._bury(key.data)
                    continue
                piece = os.read(0, 65536)
                if not piece:
                    self._leave()
                    return
                *lines, text = (text + piece).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))

    def _warm_up(self) -> Hardware:
        import keras  # noqa: F401
        import tensorflow  # noqa: F401

        from explorer import training  # noqa: F401

        hardware = _look_for_hardware()
        # A process that has talked to a graphics card cannot be forked; elsewhere than on Linux, forking a
        # process with this many libraries is not safe either. Fresh children import for themselves, and a
        # spare one is kept warm.
        self._forks = sys.platform == "linux" and not hardware.gpus
        if self._forks:
            gc.collect()
            gc.freeze()  # so that children do not copy what they only read
        else:
            self._spare = _fresh_child()
        return hardware

    def _obey(self, order: dict[str, Any]) -> None:
        if order["do"] == "train":
            try:
                self._start(order["job"])
            except OSError as error:  # no more processes, no more memory: the others are not to suffer for it
                print(f"the run could not be started: {error}", file=sys.stderr)
                self._say(event="ended", run_id=order["job"]["run_id"], attempt=order["job"]["attempt"], code=1)
        elif (order["run_id"], order["attempt"]) in self._children:
            process, line = self._children[order["run_id"], order["attempt"]]
            if order["do"] == "stop":
                try:
                    line.send(child.STOP)
                except OSError:
                    pass  # it has just ended by itself
            elif order["do"] == "kill":
                os.kill(process if isinstance(process, int) else process.pid, signal.SIGKILL)

    def _start(self, job: dict[str, Any]) -> None:
        process: int | subprocess.Popen
        if self._forks:
            ours, theirs = socket.socketpair()
            process = os.fork()
            if process == 0:
                self._become_child(job, ours, theirs)
            theirs.close()
        else:
            process, ours = self._spare or _fresh_child()
            ours.sendall(json.dumps(job).encode() + b"\n")
            self._spare = _fresh_child()
        key = (job["run_id"], job["attempt"])
        self._children[key] = (process, ours)
        self._selector.register(ours, selectors.EVENT_READ, key)
        self._say(event="started", run_id=job["run_id"], attempt=job["attempt"],
                  pid=process if isinstance(process, int) else process.pid)

    def _become_child(self, job: dict[str, Any], ours: socket.socket, theirs: socket.socket) -> None:
        status = 1
        try:
            # Whatever the child kept open of these would hide the end of the others.
            ours.close()
            for _, line in self._children.values():
                line.close()
            os.close(self._answers.fileno())
            os.close(0)
            child.run(job, child.Line(theirs))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _bury(self, key: tuple[str, int]) -> None:
        process, line = self._children.pop(key)
        self._selector.unregister(line)
        line.close()
        if isinstance(process, int):
            code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        else:
            code = process.wait()
        self._say(event="ended", run_id=key[0], attempt=key[1], code=code)

    def _leave(self) -> None:
        self._reap_preparer(end=True)
        for _, line in self._children.values():
            line.shutdown(socket.SHUT_RDWR)
        if self._spare:
            self._spare[0].kill()
            self._spare[0].wait()
        deadline = time.monotonic() + FAREWELL_SECONDS
        for process, _ in self._children.values():
            pid = process if isinstance(process, int) else process.pid
            while time.monotonic() < deadline and os.waitpid(pid, os.WNOHANG) == (0, 0):
                time.sleep(0.02)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def _say(self, **message: Any) -> None:
        self._answers.write(json.dumps(message) + "\n")
        self._answers.flush()


def _look_for_hardware() -> Hardware:
    """Ask TensorFlow in a process of its own, for asking starts the drivers of the graphics cards."""
    if sys.platform != "linux":
        answer = subprocess.run(
            [sys.executable, "-m", "explorer.devices"], stdout=subprocess.PIPE, text=True, check=True)
        return Hardware.from_dict(json.loads(answer.stdout.splitlines()[-1]))
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            import tensorflow as tf

            os.write(writer, json.dumps(devices.detect(tf).as_dict()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    return Hardware.from_dict(json.loads(text))


def _fresh_child() -> tuple[subprocess.Popen, socket.socket]:
    ours, theirs = socket.socketpair()
    process = subprocess.Popen([sys.executable, "-m", "explorer.child"], stdin=theirs, stdout=sys.stderr)
    theirs.close()
    return process, ours


def _prepare_data(settings: Settings, answers: TextIO) -> int | None:
    """Put the data that a page opens with into the compact cache, beside the import of TensorFlow."""
    dataset = data.default_dataset(settings)
    if sys.platform != "linux" or data.is_prepared(dataset, settings):
        return None
    pid = os.fork()
    if pid == 0:
        try:
            # Kept open here, these would hide the worker's end from its parent.
            os.close(0)
            os.close(answers.fileno())
            data.load(RunConfig(dataset=dataset), settings)
        except data.DataError:
            pass  # the run that needs them will say so
        finally:
            os._exit(0)
    return pid


def main() -> None:
    # What libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Ctrl-C in a terminal reaches the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    preparing = _prepare_data(Settings.from_dict(json.loads(sys.argv[1])), answers) if len(sys.argv) > 1 else None
    Worker(answers, preparing).serve()


if __name__ == "__main__":
    main()
