"""Predict first in a real browser: a click on the strip, training, and the guess on the charts and in words."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from tests.browser.test_browser import NARROW, PATIENCE_SECONDS, WIDE, browser, server, visit  # noqa: F401

try:
    from playwright.sync_api import expect
except ImportError:
    expect = None

pytestmark = pytest.mark.browser

# Its runs are on the handwritten digits that are always there.
LESSON = "?lesson=batch-norm"
FIELD = "[class*=st-key-predict_epoch] input"
TALL = {"width": WIDE["width"], "height": 1_600}


def _strip(tab):
    return tab.page.locator(".st-key-lesson_panel svg.marks")


def _field(tab):
    return tab.page.locator(FIELD)


def _cell(tab, epoch: int):
    return _strip(tab).locator(".mark-rect.role-mark path").nth(epoch - 1)


def _click(tab, epoch: int) -> None:
    """A click on the strip, answered in the field below it and on the strip itself."""
    expect(_strip(tab)).to_be_visible(timeout=30_000)
    tab.settled()
    _cell(tab, epoch).scroll_into_view_if_needed()
    box = _cell(tab, epoch).bounding_box()
    tab.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 4)
    _is_guessed(tab, epoch)


def _is_guessed(tab, epoch: int) -> None:
    expect(_field(tab)).to_have_value(str(epoch), timeout=30_000)
    expect(_strip(tab)).to_contain_text(f": {epoch}", timeout=30_000)


def _bands(tab, number: int) -> list[str]:
    return tab.chart(number).locator("svg .mark-rule.role-mark line").evaluate_all(
        "lines => lines.map(line => line.getAttribute('aria-label')).filter(said => /guess|예측/.test(said || ''))")


def _press(tab, key: str) -> None:
    tab.settled()
    tab.page.locator(f".st-key-{key} button:visible").first.click()


def _press_until(tab, key: str, done: Callable[[], bool]) -> None:
    """Press a button until the page has answered: a click that falls into a redrawing is lost, as a person's is."""
    button = tab.page.locator(f"[class*=st-key-{key}] button:visible").first
    for _ in range(6):
        tab.settled()
        if button.is_enabled():
            button.click()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if done():
                return
            tab.page.wait_for_timeout(100)
    raise AssertionError(f"{key} was pressed and nothing followed")


def test_a_guess_is_clicked_trained_drawn_and_scored(visit):  # noqa: F811
    tab = visit(LESSON, viewport=TALL)
    _click(tab, 7)
    _click(tab, 15)
    # The keyboard sets the same guess, and a click on the epoch that was clicked last still counts after that.
    field = _field(tab)
    field.fill("3")
    field.press("Enter")
    _is_guessed(tab, 3)
    _click(tab, 15)
    # For a moment, the field of the part before is still there beside that of the next.
    _press_until(tab, "predict_next", lambda: _field(tab).count() == 1 and not _field(tab).input_value())
    _click(tab, 15)
    train = tab.page.locator(".st-key-predict_train button").first
    _press_until(tab, "predict_ends", train.is_enabled)
    _press(tab, "predict_train")
    expect(_strip(tab)).to_have_count(0, timeout=30_000)
    live = tab.chart(0)
    expect(live.locator("svg")).to_contain_text("your guess", timeout=30_000)
    # While the runs train, the charts are never made anew: this one is still the one that was marked.
    live.locator("svg").evaluate("svg => { svg.marked = true; }")
    expect(tab.page.locator("[data-testid=stMain]")).to_contain_text("Your guesses", timeout=PATIENCE_SECONDS * 1000)
    score = tab.page.locator("[data-testid=stMain] li").filter(has_text=re.compile("you said 15"))
    expect(score).to_have_count(2, timeout=PATIENCE_SECONDS * 1000)
    tab.settled()
    assert live.locator("svg").evaluate("svg => svg.marked === true")
    assert _bands(tab, 0) == ["your guess: 15"] and _bands(tab, 2) == ["your guess: 15"] * 2
    # Whoever comes with the same link is asked as well, before he sees what the runs did.
    later = visit(LESSON, viewport=TALL)
    expect(later.page.locator(".st-key-lesson_panel")).to_contain_text("stays covered until you have guessed",
                                                                       timeout=30_000)
    later.settled()
    expect(later.page.locator(".stVegaLiteChart .mark-symbol.role-mark path")).to_have_count(0)
    _press(later, "predict_skip")
    expect(later.page.locator(".stVegaLiteChart .mark-symbol.role-mark path").first).to_be_visible(timeout=30_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_guess_is_tapped_on_a_telephone(visit, scheme):  # noqa: F811
    tab = visit("?lesson=dropout", viewport=NARROW, color_scheme=scheme, has_touch=True, locale="ko-KR")
    expect(_strip(tab)).to_contain_text("누르십시오", timeout=30_000)
    tab.settled()
    _cell(tab, 5).scroll_into_view_if_needed()
    box = _cell(tab, 5).bounding_box()
    tab.page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    _is_guessed(tab, 5)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
