"""The class wall in a real browser: it fills in while others train, and a click takes a run to one's own page."""

from __future__ import annotations

import re

import pytest

from explorer.config.run_config import Demand, RunConfig
from explorer.config.url_params import query
from explorer.lessons import class_links
from tests.browser.test_browser import NARROW, PATIENCE_SECONDS, WIDE, browser, path_of, server, shows, visit  # noqa: F401

try:
    from playwright.sync_api import expect
except ImportError:
    expect = None

pytestmark = pytest.mark.browser

TALL = {"width": WIDE["width"], "height": 2_000}
TINY = RunConfig(dataset="digits", hidden=(4,), batch_size=32, seed=9_200)
WALL = "Class wall"


def _open(visit, config: RunConfig, demand: Demand, **context):  # noqa: F811
    tab = visit(path_of(config, demand), **{"viewport": TALL, **context}).ready()
    tab.unfold(WALL)
    expect(tab.page.locator("svg.marks")).to_have_count(3, timeout=20_000)
    return tab.settled()


def test_the_wall_fills_in_and_a_click_opens_a_run(visit):  # noqa: F811
    demand = Demand(8)
    mine, yours = TINY, TINY.with_(hidden=(64, 64), l2=0.001, dropout=0.2)
    watcher = _open(visit, TINY.with_(seed=9_201), demand)
    for number, config in enumerate((mine, yours), 1):
        tab = visit(path_of(config, demand)).ready()
        tab.button("Train").first.click()
        tab.trained()
        expect(watcher.page.get_by_text(re.compile(rf"^{number} runs?[ .]"))).to_be_visible(timeout=20_000)
        if config is mine:
            # Streamlit makes a chart anew when it gets its very first row; from then on it is the same drawing.
            watcher.settled().page.wait_for_timeout(1_000)
            watcher.chart(2).locator("svg.marks").evaluate("svg => svg.dataset.mine = 'first'")
    assert watcher.chart(2).locator("svg.marks").evaluate("svg => svg.dataset.mine") == "first", "the wall blinked"
    words = watcher.chart(2).inner_html()
    assert "64-64 · L2 0.001 · dropout 0.2" in words and "seed" not in words
    boxes = [one.bounding_box() for one in watcher.chart(2).locator("svg .mark-symbol.role-mark path").all()]
    place = max(boxes, key=lambda box: box["x"])  # the one with more parameters
    watcher.page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    watcher.wait_for_address(**query(yours, demand))
    watcher.trained().settled()
    shows(watcher, yours, demand)
    assert watcher.address()["compare"].count("dataset:") == 1, "it is not kept in the comparison"
    # The sidebar moves on, and what was clicked does not come back with the timer.
    watcher.press("dropout", "ArrowRight")
    watcher.wait_for_address(dropout="0.25")
    watcher.page.wait_for_timeout(3_000)
    assert watcher.address()["dropout"] == "0.25"


def test_it_fits_a_telephone(visit):  # noqa: F811
    tab = _open(visit, TINY.with_(seed=9_202), Demand(2), viewport=NARROW)
    assert tab.page.evaluate("document.scrollingElement.scrollWidth <= window.innerWidth")


def test_the_code_on_the_page_is_that_of_the_address(visit):  # noqa: F811
    tab = visit("?lesson=capacity&lang=en", viewport=TALL)
    expect(tab.page.locator("svg.marks").first).to_be_visible(timeout=30_000)
    tab.settled().unfold("Make a link for a class")
    picture = tab.page.locator("[data-testid=stExpander] [data-testid=stImage] img")
    expect(picture).to_be_visible(timeout=20_000)
    address = tab.page.locator("[data-testid=stCode]").last.inner_text().strip()
    assert address == f"{tab.server.address}/?lesson=capacity"
    matrix = class_links.code(address).matrix
    # Each square as the browser draws it, in the middle.
    dark = picture.evaluate("""async (img, side) => {
        await img.decode();
        const canvas = Object.assign(document.createElement('canvas'), {width: side * 10, height: side * 10});
        const pen = canvas.getContext('2d');
        pen.drawImage(img, 0, 0, side * 10, side * 10);
        return [...Array(side).keys()].map(y => [...Array(side).keys()].map(
            x => +(pen.getImageData(x * 10 + 5, y * 10 + 5, 1, 1).data[0] < 128)));
    }""", len(matrix) + 8)
    assert [row[4:-4] for row in dark[4:-4]] == [list(row) for row in matrix]
    assert not any(map(any, dark[:4] + dark[-4:])), "there is no margin"
