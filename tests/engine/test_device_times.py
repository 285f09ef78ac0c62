"""Timing: the run tells of its own device, and another seed of each other one."""

from __future__ import annotations

from explorer.config.run_config import Demand, RunConfig
from explorer.engine import device_times
from explorer.engine.run_view import DONE, UNKNOWN, RunView
from explorer.store.store import FAILED, QUEUED, RUNNING, Run

CONFIG = RunConfig(dataset="digits", hidden=(4,), seed=5)
DEVICES = {"cpu": "CPU (2 cores)", "gpu:0": "GPU 0 (Card)"}
WANTED = Demand(2)


def _view(state: str, device: str = "", asked: str = "auto") -> RunView:
    if state == UNKNOWN:
        return RunView(UNKNOWN, WANTED)
    run = Run("0", CONFIG, 0.0, state, "", (Demand(2, device=asked),), 0, "", 1, False, device, 2, "", {}, 0.0, 0.0)
    rows = [{"seconds": 1.5}, {"seconds": 0.5}] if state == DONE else []
    return RunView(state, WANTED, run, rows, len(rows))


def _timings(*views: RunView, devices: dict[str, str] = DEVICES) -> list[device_times.Timing]:
    return device_times.timings(devices, list(zip(device_times.candidates(CONFIG), views)))


def test_candidates_are_the_run_and_its_next_seeds():
    assert [one.seed for one in device_times.candidates(CONFIG)] == list(range(5, 6 + device_times.MAX_SEEDS))
    assert device_times.candidates(CONFIG.with_(seed=2**31 - 1)) == [CONFIG.with_(seed=2**31 - 1)]


def test_the_run_tells_of_its_own_device_and_the_next_seed_is_to_tell_of_the_other():
    cpu, gpu = _timings(_view(DONE, "CPU (2 cores)"), _view(UNKNOWN))
    assert (cpu.config, cpu.seconds, cpu.is_missing) == (CONFIG, 2.0, False)
    assert (gpu.config, gpu.view, gpu.seconds, gpu.is_missing) == (CONFIG.with_(seed=6), None, None, True)


def test_a_seed_that_is_known_on_this_device_is_not_trained_on_another():
    cpu, gpu = _timings(_view(DONE, "CPU (2 cores)"), _view(DONE, "CPU (2 cores)"), _view(UNKNOWN))
    assert cpu.config == CONFIG and gpu.config.seed == 7


def test_a_run_that_waits_for_a_device_counts_as_its_own():
    for state in (QUEUED, RUNNING):
        gpu = _timings(_view(DONE, "CPU (2 cores)"), _view(state, asked="gpu:0"))[1]
        assert gpu.config.seed == 6 and gpu.view.is_live and not gpu.is_missing


def test_a_finished_seed_goes_before_one_that_failed():
    gpu = _timings(_view(DONE, "CPU (2 cores)"), _view(FAILED, "GPU 0 (Card)"), _view(DONE, "GPU 0 (Card)"))[1]
    assert gpu.config.seed == 7


def test_where_every_seed_is_taken_nothing_is_asked_for():
    gpu = _timings(*[_view(DONE, "CPU (2 cores)")] * (1 + device_times.MAX_SEEDS))[1]
    assert gpu.config is None and not gpu.is_missing


def test_a_device_that_is_gone_keeps_its_row():
    gone, cpu = _timings(_view(DONE, "CPU (64 cores)"), _view(UNKNOWN), devices={"cpu": "CPU (2 cores)"})
    assert (gone.label, gone.seconds, gone.is_missing) == ("CPU (64 cores)", 2.0, False)
    assert cpu.config.seed == 6


def test_one_device_needs_no_other_seed():
    (cpu,) = _timings(_view(DONE, "CPU (2 cores)"), devices={"cpu": "CPU (2 cores)"})
    assert cpu.config == CONFIG and not cpu.is_missing
