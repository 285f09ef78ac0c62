"""Which runs tell how long one run takes on each device, and which would have to be trained to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from explorer.config.run_config import KINDS, RunConfig
from explorer.engine.run_view import DONE, UNKNOWN, RunView

# A run's numbers do not depend on its device, so it is trained once. What it takes on another device is measured on
# the same settings with one of the next seeds: as many steps on as many rows.
MAX_SEEDS = 12


@dataclass(frozen=True)
class Timing:
    """What is known of one device.

    Attributes:
        device: as it is asked for, `cpu` or `gpu:N`; empty for one that this machine does not have any more.
        label: as the page shows it.
        config: the run that tells; or, while there is none, the one to train; `None` where every seed is taken.
        view: how that run stands, `None` while there is none.
    """

    device: str
    label: str
    config: RunConfig | None
    view: RunView | None = None

    @property
    def is_missing(self) -> bool:
        """Whether training would tell more."""
        return bool(self.device) and self.config is not None and (
            self.view is None or not (self.view.state == DONE or self.view.is_live))

    @property
    def seconds(self) -> float | None:
        """Of all epochs together; `None` before the first."""
        return sum(row["seconds"] for row in self.view.epochs) if self.view and self.view.epochs else None


def candidates(config: RunConfig) -> list[RunConfig]:
    """The run itself, then the same with the seeds that follow its own."""
    last = min(config.seed + MAX_SEEDS, int(KINDS["seed"].high))
    return [config.with_(seed=seed) for seed in range(config.seed, last + 1)]


def timings(devices: Mapping[str, str], looked: Sequence[tuple[RunConfig, RunView]]) -> list[Timing]:
    """One row a device.

    Args:
        devices: those that can be asked for, and how the page shows them.
        looked: the candidates and how they stand, the run itself first.

    Returns:
        The devices in their order; before them that of the run itself, if it is one that is no longer here.
    """
    free = [config for config, view in looked[1:] if view.state == UNKNOWN]
    found = []
    own, view = looked[0]
    if view.epochs and view.run.device not in devices.values():
        found.append(Timing("", view.run.device, own, view))
    for device, label in devices.items():
        there = [(config, view) for config, view in looked if _is_on(view, device, label)]
        # The run itself before others, then whatever is done, or will be.
        there.sort(key=lambda one: (one[0] != own, one[1].state != DONE, not one[1].is_live))
        if there:
            found.append(Timing(device, label, *there[0]))
        else:
            found.append(Timing(device, label, free.pop(0) if free else None))
    return found


def _is_on(view: RunView, device: str, label: str) -> bool:
    if view.run is None:
        return False
    if view.run.device:
        return view.run.device == label
    return view.is_live and bool(view.run.demands) and view.run.demands[-1].device == device
