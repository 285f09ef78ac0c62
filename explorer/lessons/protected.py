"""Which runs are deleted last where room runs out: the lessons' own."""

from __future__ import annotations

from explorer import data
from explorer.config.settings import Settings


def run_ids(settings: Settings) -> frozenset[str]:
    """The lessons' runs with the data that lie on this machine, and with every seed that *Is it real?* repeats them."""
    # Hardly ever needed, and they take their time to load.
    from explorer.analysis.comparison import SEEDS
    from explorer.lessons.presets import LESSONS, available

    configs = {config for name, parts in LESSONS.items() for number in range(len(parts))
               for entry in available(name, number, settings).entries() for config in entry.configs(SEEDS[-1])}
    versions = {dataset: data.version(dataset, settings) for dataset in {config.dataset for config in configs}}
    return frozenset(config.run_id(versions[config.dataset]) for config in configs)
