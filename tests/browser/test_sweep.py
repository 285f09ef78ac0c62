"""The sweep in a real browser: it fills in live, a click opens a run, and nothing blinks."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.parse import urlencode

import numpy as np
import pytest

from explorer.analysis import sweep
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.config.url_params import query
from tests._server import Server
from tests.browser.test_browser import NARROW, PATIENCE_SECONDS, WIDE, Tab, browser, server, shows, visit  # noqa: F401

try:
    from playwright.sync_api import expect
except ImportError:
    expect = None

pytestmark = pytest.mark.browser

BASE = RunConfig(dataset="digits", hidden=(8,), batch_size=32)
TEXT = "l2:0,0.001,0.1;dropout:0,0.5"
# Taller, so that curves and cells are in sight together.
TALL = {"width": WIDE["width"], "height": 1_900}


def _path(text: str, base: RunConfig, demand: Demand) -> str:
    return "?" + urlencode(query(base, demand) | {"grid": text})


def _configs(text: str, base: RunConfig) -> list[RunConfig]:
    return sweep.parse(text, base, Settings(home=None))[0].configs(base)


def _open(visit: Callable[..., Tab], text: str, base: RunConfig, demand: Demand, **context) -> Tab:  # noqa: F811
    tab = visit(_path(text, base, demand), **{"viewport": TALL, **context})
    expect(tab.page.locator("svg.marks")).to_have_count(3, timeout=30_000)
    return tab.settled()


def _words(tab: Tab) -> list[str]:
    """What is written in the cells, cell by cell, from left to right and from top to bottom."""
    found = tab.chart(2).locator("svg .mark-text.role-mark text").evaluate_all(
        "all => all.map(one => { const box = one.getBoundingClientRect(); "
        "return [one.textContent, box.x + box.width / 2, box.y + box.height / 2]; })")
    cells = _cells(tab)
    words = [""] * len(cells)
    for text, x, y in sorted(found, key=lambda one: one[2]):
        for number, (left, top, width, height) in enumerate(cells):
            if left <= x <= left + width and top <= y <= top + height:
                words[number] = f"{words[number]} {text}".strip()
    return words


def _cells(tab: Tab) -> list[list[float]]:
    """Where the cells are: left, top, width, height."""
    boxes = tab.chart(2).locator("svg .mark-rect.role-mark path[stroke-width='1.4']").evaluate_all(
        "all => all.map(one => { const box = one.getBoundingClientRect(); "
        "return [box.x, box.y, box.width, box.height]; })")
    return sorted(boxes, key=lambda box: (round(box[1]), box[0]))


def _click(tab: Tab, number: int, milliseconds: int = 0) -> None:
    left, top, width, height = _cells(tab)[number]
    tab.page.mouse.click(left + width / 2, top + height / 2, delay=milliseconds)


def _mark(tab: Tab) -> None:
    for number in range(3):
        tab.chart(number).locator("svg.marks").evaluate("(svg, number) => svg.dataset.mine = number", number)


def _marks(tab: Tab) -> list[str]:
    return tab.page.locator("svg.marks").evaluate_all("all => all.map(svg => svg.dataset.mine)")


def test_a_grid_fills_in_live_and_is_the_same_drawing_from_first_to_last(visit, server: Server):  # noqa: F811
    demand = Demand(40)
    tab = _open(visit, TEXT, BASE, demand)
    assert _words(tab) == [""] * 6
    _mark(tab)
    tab.page.evaluate("""() => {
        window.fewest = 99;
        const look = () => {
            window.fewest = Math.min(window.fewest,
                document.querySelectorAll('svg.marks')[2]?.querySelectorAll('.mark-rect.role-mark path').length ?? 0);
            requestAnimationFrame(look);
        };
        look();
    }""")
    tab.button("Train 6 runs").click()
    expect(tab.button("Stop all")).to_be_visible(timeout=10_000)
    seen: list[list[str]] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not tab.button("All 6 trained").is_visible():
        assert time.monotonic() < deadline, seen[-1:]
        words = _words(tab)
        if not seen or words != seen[-1]:
            seen.append(words)
        tab.page.wait_for_timeout(100)
    moving = [word for words in seen for word in words if re.fullmatch(r"\d\.\d{3} \d+ of 40", word)]
    assert len(set(moving)) >= 6, seen
    tab.settled()
    tab.page.wait_for_timeout(700)
    best = [min(row["val_crossentropy"] for row in curve) for curve in _curves(server, TEXT, BASE)]
    assert _words(tab) == [sweep.number(value) for value in best]
    assert f"validation cross-entropy {min(best):.3f} at epoch" in tab.texts() and "Best of 6: " in tab.texts()
    assert _marks(tab) == ["0", "1", "2"], "a chart was made anew"
    assert tab.page.evaluate("window.fewest") >= 6, "the cells were gone for a moment"


def _curves(server: Server, text: str, base: RunConfig) -> list[list[dict]]:  # noqa: F811
    found = {run.config: run.run_id for run in server.store.with_status("finished")}
    return [server.store.epochs(found[config]) for config in _configs(text, base)]


def test_a_click_opens_a_run_once(visit, server: Server):  # noqa: F811
    base, demand = BASE.with_(seed=1, batch_size=128), Demand(3)
    tab = _open(visit, TEXT, base, demand)
    tab.button("Train 6 runs").click()
    expect(tab.button("All 6 trained")).to_be_visible(timeout=PATIENCE_SECONDS * 1000)
    configs = _configs(TEXT, base)
    tab.settled()
    tab.page.wait_for_timeout(700)  # the results of the run above take their place
    _mark(tab)
    _click(tab, 4)
    tab.wait_for_address(**query(configs[4], demand))
    tab.trained().settled()
    shows(tab, configs[4], demand)
    assert tab.address()["grid"] == TEXT and _marks(tab)[:3] == ["0", "1", "2"], "a click made a chart anew"
    assert tab.address()["compare"].count("dataset:") == 1, "the cell is not kept in the comparison"

    # The sidebar moves on, and what was clicked does not come back.
    tab.press("dropout", "ArrowLeft")
    tab.wait_for_address(dropout="0.45")
    tab.page.wait_for_timeout(1_500)
    assert tab.address()["dropout"] == "0.45"
    # The same cell again opens it again.
    tab.press("dropout", "ArrowRight")
    tab.wait_for_address(dropout="0.5")
    tab.press("l2", "ArrowRight")
    tab.wait_for_address(l2="0.002")
    tab.press("l2", "ArrowLeft")
    tab.wait_for_address(l2="0.001")
    tab.page.wait_for_timeout(1_000)
    _click(tab, 0)
    tab.wait_for_address(grid=TEXT)
    _gone(tab, "l2", "dropout")
    _click(tab, 4)
    tab.wait_for_address(**query(configs[4], demand))
    _click(tab, 0)
    _gone(tab, "l2", "dropout")
    shows(tab, configs[0], demand)

    # A copied address opens the same page.
    other = visit(tab.page.url.removeprefix(f"{server.address}/"), viewport=TALL)
    # With the comparison, which holds the cells that were opened.
    expect(other.page.locator("svg.marks")).to_have_count(4, timeout=30_000)
    expect(other.button("All 6 trained")).to_be_visible(timeout=20_000)
    other.page.wait_for_timeout(500)
    assert _words(other) == _words(tab) and all(re.fullmatch(r"\d\.\d{3}", word) for word in _words(other))
    assert "Best of 6: " in other.texts()


def _gone(tab: Tab, *names: str) -> None:
    deadline = time.monotonic() + 20
    while set(names) & set(tab.address()):
        assert time.monotonic() < deadline, tab.address()
        tab.page.wait_for_timeout(20)


def test_a_cell_can_be_opened_and_left_while_others_train(visit):  # noqa: F811
    # So small batches that nothing is done before the end of this test.
    base = RunConfig(hidden=(64, 64, 64), num_words=1_000, train_samples=4_000, batch_size=8, seed=2)
    demand = Demand(60)
    tab = _open(visit, TEXT, base, demand)
    tab.button("Train 6 runs").click()
    expect(tab.page.get_by_text(re.compile(r"\d+ training"))).to_be_visible(timeout=PATIENCE_SECONDS * 1000)
    # By then the hint above the sweep has gone, and the sentence under the curves has its length.
    tab.wait_for_points(8)
    _mark(tab)
    _click(tab, 5, milliseconds=1_200)  # so slowly that the numbers change meanwhile
    tab.wait_for_address(l2="0.1", dropout="0.5")
    tab.wait_for_points(2)
    tab.press("dropout", "ArrowRight")
    tab.wait_for_address(l2="0.1", dropout="0.55")
    tab.page.wait_for_timeout(2_000)
    assert tab.address()["dropout"] == "0.55", "the timer has opened the clicked cell again"
    tab.button("Stop all").click()
    expect(tab.button("Train (the other )?[56] runs")).to_be_visible(timeout=20_000)


def test_it_is_opened_by_hand(visit):  # noqa: F811
    tab = visit("?" + urlencode(query(BASE.with_(seed=3), Demand(2))), viewport=TALL).ready()
    assert "grid" not in tab.address()
    tab.unfold("Sweep")
    expect(tab.page.locator("svg.marks")).to_have_count(3, timeout=20_000)
    tab.wait_for_address(grid="l2:0,0.0001,0.001,0.01;dropout:0,0.25,0.5")
    expect(tab.button("Train 12 runs")).to_be_visible()
    tab.choose("down", "Nothing")
    expect(tab.button("Train 4 runs")).to_be_visible(timeout=10_000)
    tab.choose("across", "Optimizer")
    tab.wait_for_address(grid="optimizer:adam,rmsprop,sgd,momentum,adamw")
    expect(tab.button("Train 5 runs")).to_be_visible()
    tab.unfold("Sweep")
    _gone(tab, "grid")


def test_it_fits_a_telephone(visit):  # noqa: F811
    tab = _open(visit, "seed:20,21,22,23,24,25,26,27;l2:0.01,0.1,0.2,0.3,0.4,0.5,0.6,0.7", BASE, Demand(2),
                viewport=NARROW)
    assert tab.page.evaluate("document.scrollingElement.scrollWidth <= window.innerWidth")
    cells = np.array(_cells(tab))
    assert len(cells) == 64 and cells[:, 0].min() >= 0 and (cells[:, 0] + cells[:, 2]).max() <= NARROW["width"]
    assert cells[:, 2].min() > 20 and cells[:, 3].min() > 20
    expect(tab.button("Train 64 runs")).to_be_visible()
