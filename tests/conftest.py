"""What all tests share: a home of their own, the real data where they are, and the slow ones on request."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from explorer.config.settings import Settings
from tests._stores import address, cluster, new_place, place  # noqa: F401  fixtures

ROOT = Path(__file__).resolve().parents[1]
# Libraries under test speak to nobody but pytest.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Numbers are compared within one process and between several, on the processor; what a graphics card makes of them is
# measured by `tests/benchmarks/cards.py`.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

# On a busy machine a sound test may take its time.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow tests too (CI always does)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow") or os.environ.get("CI"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow; run with --slow"))


@pytest.fixture(scope="session", autouse=True)
def _packages_are_read_once() -> Iterator[None]:
    """For each page that is opened, AppTest reads the descriptions of all installed packages; they stay the same."""
    with pytest.MonkeyPatch.context() as patch:
        if "streamlit.testing.v1" in sys.modules:
            from streamlit.components.v2 import manifest_scanner as scanner

            patch.setattr(scanner, "scan_component_manifests", functools.cache(scanner.scan_component_manifests))
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a home of their own and no data folder."""
    return Settings(home=tmp_path / "home")


@pytest.fixture
def no_keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Keras folder, so that what lies on this machine does not show."""
    folder = tmp_path / "keras"
    monkeypatch.setenv("KERAS_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real imdb.npz and mnist.npz; tests that need it skip without."""
    folder = Path(os.environ.get("EXPLORER_DATA_DIR") or "/nonexistent")
    missing = [name for name in ("imdb.npz", "mnist.npz") if not (folder / name).is_file()]
    if missing:
        pytest.skip(f"the real {' and '.join(missing)} are not here; set EXPLORER_DATA_DIR to their folder")
    return folder
