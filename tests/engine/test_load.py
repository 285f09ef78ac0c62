"""The programs that measure a class at one page: they see what a person sees, and count what went wrong."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import pytest

from tests._server import Server
from tests.benchmarks import load, soak
from tests.benchmarks.visitors import Visitor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory and open files are read from /proc")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    assert server.stop() == [] and "Traceback" not in server.log


@pytest.mark.slow
def test_a_small_class_trains_each_configuration_once_and_nobody_waits_in_vain(server: Server):
    report = load.Report(4, 2, 0.0)
    asyncio.run(load.measure(server, report, "reviews", within=0.2, seconds=2, epochs=8, browser=False))
    assert report.failures == [] and report.is_once
    assert sorted(run["asked"] for run in report.runs) == [1, 3]
    assert len(report.answers) == 4 and len(report.delays) == 4 * 8
    assert 0 < min(report.answers) <= max(report.answers) < 30
    assert {one.role for one in report.uses} == {"page", "worker", "child"} and report.page_mb > 50
    assert "trained exactly once: yes" in load.table(report)


@pytest.mark.slow
def test_a_visitor_keeps_what_the_address_says_and_stops_a_run(server: Server):
    async def visit() -> None:
        visitor = Visitor(server.port, "dataset=digits&epochs=500&dropout=0.35&seed=3")
        await visitor.come()
        assert await visitor.until(lambda one: one.button("train") and not one.is_running)
        assert visitor.press("train")
        assert await visitor.until(lambda one: len(one.shown) > 2)
        assert visitor.press("stop")
        assert await visitor.until(lambda one: one.button("continue") and not one.is_waiting)
        assert visitor.failures == [] and not visitor.press("no_such_button")
        assert visitor.failures == ["no button no_such_button"]
        visitor.leave()
        await asyncio.sleep(0.1)

    asyncio.run(visit())
    latest, *_ = server.store.latest(10, {})
    assert '"dropout":0.35' in latest.config and '"seed":3' in latest.config


@pytest.mark.slow
def test_sessions_that_come_and_go_train_what_they_asked_for(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(soak, "FORGOTTEN_SECONDS", 0.5)
    report = soak.Report(2, 3)
    asyncio.run(soak.soak(server, report, seconds=0.5))
    assert report.failures == [] and report.trained == 3
    assert "failures: 0" in soak.table(report)


def test_quantiles():
    assert load.quantile([3.0, 1.0, 2.0], 50) == 2.0 and load.quantile(range(1, 101), 95) == 95
    assert load.quantile([7.0], 95) == 7.0
    assert load.quantile([], 50) != load.quantile([], 50)  # no number


def test_the_configurations_differ():
    assert len(set(load.configs(11, "reviews"))) == 11
