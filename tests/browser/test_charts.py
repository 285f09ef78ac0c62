"""What charts show, in a real browser: in full screen all of them is in the window, axes end where training did, and
who downloads the data of a chart finds names that a person reads."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from explorer.config.run_config import Demand, RunConfig
from tests.browser.test_browser import NARROW, TINY, Tab, browser, expect, path_of, server, visit  # noqa: F401

pytestmark = pytest.mark.browser

DESK = {"width": 1440, "height": 900}
COMPARED = ";".join(f"dataset:digits,hidden:{hidden},epochs:3" for hidden in ("4", "8-8", "16-16,dropout:0.25,l2:0.01"))
NAMES = ["4", "8-8", "16-16 · L2 0.01 · dropout 0.25"]
# Streamlit would ask the browser where to save, which nobody answers here.
_NO_QUESTIONS = "delete window.showSaveFilePicker;"


def _compared(visit) -> Tab:  # noqa: F811
    tab = visit(f"{path_of(TINY, Demand(3))}&compare={COMPARED}", viewport=DESK)
    tab.page.evaluate(_NO_QUESTIONS)
    expect(tab.page.locator("svg.marks")).to_have_count(3, timeout=30_000)
    tab.settled()
    train = tab.page.locator(".st-key-compared_train button")
    if train.count():
        train.click()
        expect(tab.page.locator(".st-key-compared_train button")).to_have_count(0, timeout=120_000)
    return tab.settled()


def _frame(tab: Tab, number: int):
    return tab.page.locator("[data-testid=stFullScreenFrame]").filter(
        has=tab.page.locator("[data-testid=stVegaLiteChart]")).nth(number)


def _in_full_screen(tab: Tab, number: int) -> list[str]:
    """The texts of a chart in full screen, all of which lie within the window."""
    frame = _frame(tab, number)
    frame.scroll_into_view_if_needed()
    frame.hover()
    frame.get_by_role("button", name=re.compile("Fullscreen")).first.click()
    tab.page.wait_for_timeout(1_000)
    found = frame.locator("svg text").evaluate_all("""all => all.map(one => {
        const box = one.getBoundingClientRect();
        return [one.textContent, box.left, box.top, box.right, box.bottom];
    }).filter(([text]) => text)""")
    width, height = (tab.page.viewport_size[side] for side in ("width", "height"))
    outside = [one for one in found if one[1] < 0 or one[2] < 0 or one[3] > width + 1 or one[4] > height + 1]
    assert found and not outside, outside
    scrolled = frame.evaluate("one => one.scrollHeight - one.clientHeight")
    assert scrolled <= 1, f"{scrolled} pixels of the chart lie below the window"
    tab.page.keyboard.press("Escape")
    return [text for text, *_ in found]


@pytest.mark.parametrize("size", [DESK, NARROW], ids=["desk", "telephone"])
def test_in_full_screen_a_comparison_has_its_axes_and_the_names_of_its_runs(visit, size):  # noqa: F811
    tab = _compared(visit)
    tab.page.set_viewport_size(size)
    texts = _in_full_screen(tab, 2)
    assert {"epoch", "Cross-entropy", "training", "validation", *NAMES} <= set(texts)


@pytest.mark.parametrize("size", [DESK, NARROW], ids=["desk", "telephone"])
def test_in_full_screen_the_wall_has_its_axes_and_its_legends(visit, size):  # noqa: F811
    tab = _compared(visit)
    tab.unfold("Class wall")
    expect(_frame(tab, 3)).to_be_visible(timeout=30_000)
    tab.page.set_viewport_size(size)
    tab.page.wait_for_timeout(1_000)
    texts = _in_full_screen(tab, 2)
    assert {"Trainable parameters", "Best validation cross-entropy", "no dropout", "dropout"} <= set(texts)


def test_who_downloads_the_data_of_a_comparison_finds_the_names_of_its_runs(visit):  # noqa: F811
    tab = _compared(visit)
    frame = _frame(tab, 2)
    frame.scroll_into_view_if_needed()
    frame.hover()
    frame.get_by_role("button", name=re.compile("Show data")).click()
    tab.page.locator("[data-testid=stDataFrame]").first.hover()
    with tab.page.expect_download() as told:
        tab.page.get_by_role("button", name=re.compile("Download as CSV:")).click()
    head, *rows = csv.reader(Path(told.value.path()).read_text(encoding="utf-8-sig").splitlines())
    assert head == ["Epoch", *(f"{name} · {side}" for name in NAMES for side in ("training", "validation"))]
    assert [row[0] for row in rows] == ["1", "2", "3"] and all(float(value) > 0 for row in rows for value in row)


def _ticks(tab: Tab, number: int = 0) -> list[int]:
    """The epochs that the axis of a chart names."""
    texts = tab.chart(number).locator("svg .role-axis-label text").all_text_contents()
    return sorted(int(text) for text in texts if re.fullmatch(r"[1-9]\d*", text))


def _marks(tab: Tab) -> list[tuple[str, int]]:
    """Where the best epoch and early stopping are marked, in pixels across."""
    found = tab.chart(0).locator("svg .role-mark text").evaluate_all(
        "all => all.map(one => [one.textContent, one.getAttribute('transform')])")
    return [(text, round(float(re.search(r"[\d.]+", place)[0]))) for text, place in found if place]


def test_the_axis_ends_where_training_ended_and_the_marks_stay_whatever_the_lines_show(visit):  # noqa: F811
    config = RunConfig(dataset="digits", hidden=(32,), l2=0.01, learning_rate=0.05, batch_size=32, train_samples=200)
    tab = visit(path_of(config, Demand(500, patience=2)), viewport=DESK).ready()
    assert _ticks(tab)[-1] == 500
    tab.button("Train$").click()
    tab.trained()
    reached = int(tab.metrics()["Epochs"])
    tab.wait_for_points(2 * reached)
    assert reached < 100 and reached - 20 < _ticks(tab)[-1] <= reached
    dots = tab.points()
    middle = max(x for _, x, _ in dots.values())
    assert middle > 0.9 * tab.chart(0).locator("svg").bounding_box()["width"] - 80, "the last epoch is at the edge"
    before = _marks(tab)
    assert [text for text, _ in before] == ["best", "stop"]
    tab.page.get_by_text("As Keras prints them").click()
    expect(tab.chart(0).locator("svg")).to_contain_text("Loss, as Keras prints it", timeout=30_000)
    tab.page.wait_for_timeout(500)
    assert [text for text, _ in _marks(tab)] == [text for text, _ in before]
    assert all(abs(one - two) <= 12 for (_, one), (_, two) in zip(before, _marks(tab), strict=True))
