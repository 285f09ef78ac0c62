"""Comparison and lessons in a real browser: curves lie over one another, live, and a link carries them elsewhere."""

from __future__ import annotations

import pytest

from explorer.config.run_config import Demand, RunConfig
from tests.browser.test_browser import NARROW, PATIENCE_SECONDS, WIDE, browser, path_of, server, visit  # noqa: F401

try:
    from playwright.sync_api import expect
except ImportError:
    expect = None

pytestmark = pytest.mark.browser

TALL = {"width": WIDE["width"], "height": 2_000}
TINY = RunConfig(dataset="digits", hidden=(4,), seed=81)


def _lines(tab) -> int:
    return tab.chart(2).locator("svg .mark-line.role-mark path").count()


def _compare(tab) -> None:
    button = tab.page.locator(".st-key-compare button:visible").filter(has_text="Compare")
    expect(button).to_be_enabled(timeout=30_000)
    tab.settled()
    button.click()


def test_runs_are_laid_over_one_another_and_travel_in_a_link(visit):  # noqa: F811
    tab = visit(path_of(TINY, Demand(4)), viewport=TALL).ready()
    _compare(tab)
    expect(tab.page.locator("svg.marks")).to_have_count(3, timeout=30_000)
    tab.choose("architecture", "Medium · 64-64")
    _compare(tab)
    expect(tab.page.locator(".st-key-compared_1")).to_contain_text("64-64", timeout=30_000)
    tab.button("Train the 2 that are not known yet").click()
    expect(tab.page.locator("[data-testid=stMain]")).to_contain_text(
        "best validation cross-entropy", timeout=PATIENCE_SECONDS * 1000)
    expect(tab.button("Train the")).to_have_count(0, timeout=PATIENCE_SECONDS * 1000)
    # Training and validation of each of the two.
    expect(tab.chart(2).locator("svg .mark-line.role-mark path")).to_have_count(4, timeout=30_000)
    tab.settled()
    other = visit(tab.page.url.partition("/?")[2].join(["?", ""]), viewport=TALL)
    expect(other.chart(2).locator("svg .mark-line.role-mark path")).to_have_count(4, timeout=30_000)
    other.page.locator(".st-key-toggled_0 button").first.click()
    expect(other.chart(2).locator("svg .mark-line.role-mark path")).to_have_count(2, timeout=30_000)
    assert _lines(tab) == 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_lesson_fits_on_a_telephone(visit, scheme):  # noqa: F811
    tab = visit("?lesson=capacity&lang=ko", viewport=NARROW, color_scheme=scheme)
    expect(tab.page.locator(".st-key-lesson_panel")).to_contain_text("신경망", timeout=30_000)
    # One of the charts is the strip on which the best epoch is guessed.
    expect(tab.page.locator("svg.marks")).to_have_count(4, timeout=30_000)
    tab.settled()
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    boxes = [tab.page.locator(f".st-key-compared_{place}").bounding_box() for place in range(3)]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= NARROW["width"] for box in boxes)
