"""Devices: which hardware is seen, which of it a run gets, and what is set up there."""

from types import SimpleNamespace

import pytest

from explorer.workers import devices
from explorer.workers.devices import DeviceError, Gpu, Hardware, choose, detect, prepare


class _TensorFlow:
    """A stand-in for tensorflow with some graphics cards; notes what was set."""

    def __init__(self, cards: int, details=lambda card: {"device_name": f"H{card[-1]}00"}):
        self.calls: list[tuple] = []
        names = [f"/physical_device:GPU:{number}" for number in range(cards)]

        def note(name):
            return lambda *values: self.calls.append((name, *values))

        self.config = SimpleNamespace(
            list_physical_devices=lambda kind: names if kind == "GPU" else ["/physical_device:CPU:0"],
            set_visible_devices=note("visible"),
            threading=SimpleNamespace(set_intra_op_parallelism_threads=note("intra"),
                                      set_inter_op_parallelism_threads=note("inter")),
            experimental=SimpleNamespace(get_device_details=details, set_memory_growth=note("growth"),
                                         enable_op_determinism=note("determinism"),
                                         enable_tensor_float_32_execution=note("tf32")))


def _hardware(cards: int) -> Hardware:
    return Hardware("A CPU", 2, 8_000, tuple(Gpu(number, "H100", 81_920) for number in range(cards)))


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Puts a program named nvidia-smi first in the path, which prints the given text."""

    def install(text: str, code: int = 0) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\nprintf '{text}'\nexit {code}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return install


# -- detection --------------------------------------------------------------------------------------------


def test_a_machine_without_graphics_cards_is_no_fault(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi
    found = detect(_TensorFlow(0))
    assert found.gpus == () and found.names == ["cpu"]
    assert found.cores >= 1 and found.memory_mb > 0 and found.cpu


@pytest.mark.parametrize("cards", [1, 3])
def test_graphics_cards_are_named_with_their_memory(cards, nvidia_smi):
    nvidia_smi("81920\\n40960\\n24576\\n")
    found = detect(_TensorFlow(cards))
    assert found.gpus == (Gpu(0, "H000", 81_920), Gpu(1, "H100", 40_960), Gpu(2, "H200", 24_576))[:cards]
    assert found.names == ["cpu", "gpu:0", "gpu:1", "gpu:2"][: cards + 1]


@pytest.mark.parametrize("text, code", [("[N/A]\\n", 0), ("", 0), ("81920\\n", 9)])
def test_memory_that_cannot_be_known_is_left_out(text, code, nvidia_smi):
    nvidia_smi(text, code)
    found = detect(_TensorFlow(1))
    assert found.gpus == (Gpu(0, "H000", 0),) and found.label("gpu:0") == "GPU 0 (H000)"


def test_a_driver_that_gives_no_name_is_no_fault(nvidia_smi):
    nvidia_smi("81920\\n")

    def broken(card):
        raise RuntimeError("no details")

    assert detect(_TensorFlow(1, broken)).gpus[0].name == "GPU"
    assert detect(_TensorFlow(1, lambda card: {})).gpus[0].name == "GPU"


def test_labels_say_what_it_is():
    hardware = _hardware(2)
    assert hardware.label("gpu:1") == "GPU 1 (H100, 80 GB)" and hardware.label("cpu") == "CPU (2 cores)"
    assert Hardware("A CPU", 1).label("cpu") == "CPU (1 core)"


def test_hardware_travels_as_plain_values():
    assert Hardware.from_dict(_hardware(3).as_dict()) == _hardware(3)


# -- choice -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cards, busy, device", [
    (0, [], "cpu"), (0, ["cpu", "cpu"], "cpu"), (1, [], "gpu:0"), (1, ["gpu:0"], "gpu:0"), (3, [], "gpu:0"),
    (3, ["gpu:0"], "gpu:1"), (3, ["gpu:0", "gpu:1"], "gpu:2"), (3, ["gpu:0", "gpu:1", "gpu:2"], "gpu:0"),
    (3, ["gpu:0", "gpu:0", "gpu:1", "gpu:2", "gpu:2"], "gpu:1"), (3, ["cpu", "gpu:0"], "gpu:1"),
])
def test_auto_takes_the_graphics_card_with_the_fewest_runs(cards, busy, device):
    assert choose("auto", _hardware(cards), iter(busy)) == device


@pytest.mark.parametrize("cards", [0, 1, 3])
def test_auto_leaves_to_the_processor_what_it_trains_faster(cards):
    assert choose("auto", _hardware(cards), suits=False) == "cpu"


@pytest.mark.parametrize("wanted", ["cpu", "gpu:0", "gpu:2"])
@pytest.mark.parametrize("suits", [True, False])
def test_a_device_asked_for_by_hand_is_taken_however_busy(wanted, suits):
    assert choose(wanted, _hardware(3), [wanted] * 5, suits=suits) == wanted


@pytest.mark.parametrize("wanted, cards, names", [
    ("gpu:0", 0, "cpu"), ("gpu:1", 1, "cpu, gpu:0"), ("gpu:3", 3, "cpu, gpu:0, gpu:1, gpu:2"), ("tpu", 0, "cpu"),
])
def test_an_unknown_device_is_refused_with_those_that_are_here(wanted, cards, names):
    with pytest.raises(DeviceError) as caught:
        choose(wanted, _hardware(cards))
    assert str(caught.value) == (
        f"device: expected auto or one of {names} on this machine, received '{wanted}'.")


def test_graphics_cards_kept_for_something_else_are_not_used():
    assert choose("auto", _hardware(3), allowed="cpu") == choose("cpu", _hardware(3), allowed="cpu") == "cpu"
    with pytest.raises(DeviceError, match="expected auto or one of cpu on this machine, received 'gpu:0'"):
        choose("gpu:0", _hardware(3), allowed="cpu")


# -- setting up -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("device, cards", [("cpu", 0), ("cpu", 3), ("gpu:0", 1), ("gpu:2", 3)])
def test_threads_are_pinned_before_anything_else(device, cards, threads):
    tf = _TensorFlow(cards)
    prepare(device, threads, tf)
    assert tf.calls[:2] == [("intra", threads), ("inter", threads)]


def test_on_a_machine_without_graphics_cards_nothing_else_is_set():
    tf = _TensorFlow(0)
    prepare("cpu", 2, tf)
    assert len(tf.calls) == 2


def test_a_run_on_the_cpu_does_not_see_the_graphics_cards():
    tf = _TensorFlow(3)
    prepare("cpu", 2, tf)
    assert tf.calls[2:] == [("visible", [], "GPU")]


@pytest.mark.parametrize("index, cards", [(0, 1), (0, 3), (2, 3)])
def test_a_run_on_a_graphics_card_sees_that_one_grows_in_it_and_is_deterministic_and_precise(index, cards):
    tf = _TensorFlow(cards)
    prepare(f"gpu:{index}", 2, tf)
    card = f"/physical_device:GPU:{index}"
    assert tf.calls[2:] == [("visible", [card], "GPU"), ("growth", card, True), ("determinism",),
                            ("tf32", False)]


def test_the_real_tensorflow_has_every_setting_that_is_used():
    import tensorflow as tf

    found = detect(tf)
    assert [gpu.index for gpu in found.gpus] == list(range(len(tf.config.list_physical_devices("GPU"))))
    for name in ("set_visible_devices", "threading.set_intra_op_parallelism_threads",
                 "threading.set_inter_op_parallelism_threads", "experimental.set_memory_growth",
                 "experimental.enable_op_determinism", "experimental.enable_tensor_float_32_execution",
                 "experimental.get_device_details"):
        holder = tf.config
        for part in name.split("."):
            holder = getattr(holder, part)
        assert callable(holder)
    assert devices.choose("auto", found) in found.names
