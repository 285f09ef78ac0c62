"""What hardware there is, which device a run gets, and how it is set up."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


class DeviceError(ValueError):
    """A device that this machine does not have; the message names those it has."""


@dataclass(frozen=True)
class Gpu:
    """A graphics card: its number, its name, its memory in megabytes (0 where unknown)."""

    index: int
    name: str
    memory_mb: int = 0


@dataclass(frozen=True)
class Hardware:
    """What the worker found.

    Attributes:
        cpu: name of the processor.
        cores: cores this process may use.
        memory_mb: main memory.
        gpus: graphics cards that TensorFlow can use.
    """

    cpu: str
    cores: int
    memory_mb: int = 0
    gpus: tuple[Gpu, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Hardware:
        return cls(values["cpu"], values["cores"], values["memory_mb"], tuple(Gpu(**gpu) for gpu in values["gpus"]))

    @property
    def names(self) -> list[str]:
        """The devices that can be asked for by hand."""
        return ["cpu", *(f"gpu:{gpu.index}" for gpu in self.gpus)]

    def label(self, device: str) -> str:
        """A device as the page shows it."""
        for gpu in self.gpus:
            if device == f"gpu:{gpu.index}":
                memory = f", {gpu.memory_mb / 1024:.0f} GB" if gpu.memory_mb else ""
                return f"GPU {gpu.index} ({gpu.name}{memory})"
        return f"CPU ({self.cores} core{'s' if self.cores != 1 else ''})"


def detect(tf: Any) -> Hardware:
    """Find the hardware; no graphics card is no fault.

    Args:
        tf: the tensorflow module (or a stand-in with its `config`).
    """
    gpus = []
    memory = _gpu_memory()
    for index, device in enumerate(tf.config.list_physical_devices("GPU")):
        try:
            name = tf.config.experimental.get_device_details(device).get("device_name", "GPU")
        except Exception:  # the details are for eyes only; some drivers give none
            name = "GPU"
        gpus.append(Gpu(index, name, memory[index] if index < len(memory) else 0))
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    return Hardware(_cpu_name(), cores, _memory_mb(), tuple(gpus))


def look() -> Hardware:
    """Find the hardware of this machine without talking to it: another process does, and starts the cards' drivers.

    On Linux it is forked from this one, which should have imported TensorFlow, and shares what that has read.
    """
    if sys.platform != "linux":
        answer = subprocess.run(
            [sys.executable, "-m", "explorer.workers.devices"], stdout=subprocess.PIPE, text=True, check=True)
        return Hardware.from_dict(json.loads(answer.stdout.splitlines()[-1]))
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            import tensorflow as tf

            os.write(writer, json.dumps(detect(tf).as_dict()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    return Hardware.from_dict(json.loads(text))


def choose(wanted: str, hardware: Hardware, busy: Iterable[str] = (), allowed: str = "any", suits: bool = True) -> str:
    """The device of a run.

    Args:
        wanted: `auto`, `cpu` or `gpu:N`.
        hardware: what there is.
        busy: devices of the runs that are being trained.
        allowed: `cpu` where an operator keeps the graphics cards for something else.
        suits: whether a graphics card is the faster one for it, see `explorer.config.cost_model.suits_card`.

    Returns:
        `cpu` or `gpu:N`; for `auto` the graphics card with the fewest runs, if there is one and it suits.

    Raises:
        DeviceError: the machine has no such device.
    """
    names = ["cpu"] if allowed == "cpu" else hardware.names
    if wanted == "auto":
        busy = list(busy)
        cards = names[1:]
        return min(cards, key=lambda name: (busy.count(name), names.index(name))) if cards and suits else "cpu"
    if wanted not in names:
        raise DeviceError(f"device: expected auto or one of {', '.join(names)} on this machine, received {wanted!r}.")
    return wanted


def prepare(device: str, threads: int, tf: Any) -> None:
    """Set TensorFlow up for one device, before its first operation.

    The thread count is pinned, for the sum of many numbers depends on how they are dealt out. On a graphics
    card memory grows as needed, so that others find room beside it, operations are made deterministic, and products
    keep all 24 bits of single precision: cards since Ampere would round what they multiply to 11 (TensorFloat-32), and
    a curve would differ from the processor's in its second digit after a few epochs.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    cards = tf.config.list_physical_devices("GPU")
    if device == "cpu":
        if cards:
            tf.config.set_visible_devices([], "GPU")
        return
    card = cards[int(device.removeprefix("gpu:"))]
    tf.config.set_visible_devices([card], "GPU")
    tf.config.experimental.set_memory_growth(card, True)
    tf.config.experimental.enable_op_determinism()
    tf.config.experimental.enable_tensor_float_32_execution(False)


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "CPU"


def _memory_mb() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (AttributeError, ValueError, OSError):
        return 0


def seen_by_driver() -> list[str]:
    """Names of the graphics cards that NVIDIA's driver tells of, whether TensorFlow can use them or not."""
    return [line.strip() for line in _ask_driver("name") if line.strip()]


def _gpu_memory() -> list[int]:
    # TensorFlow tells a card's memory only once it has taken some of it.
    try:
        return [int(line) for line in _ask_driver("memory.total")]
    except ValueError:
        return []


def _ask_driver(what: str) -> list[str]:
    try:
        answer = subprocess.run(["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits"],
                                capture_output=True, text=True, timeout=10, check=True)
        return answer.stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return []


if __name__ == "__main__":
    # Asked in a process of its own, for looking starts the drivers of the graphics cards.
    import tensorflow

    print(json.dumps(detect(tensorflow).as_dict()))
