"""The page in a real browser, served by the real server, training real networks."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import numpy as np
import pytest

from explorer.analysis import diagnosis, diagnosis_text, history
from explorer.config.run_config import Demand, RunConfig
from explorer.config.url_params import query
from explorer.ui.charts import curves
from tests._server import BROWSER_OPTIONS, Server, alive, chromium, outliving
from tests.ui.test_app import _told

try:
    from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
except ImportError:
    sync_playwright = None

pytestmark = pytest.mark.browser

# A run of the data set that the page opens with, slow enough to be caught in the middle on a fast machine.
LIVE = RunConfig(dataset="reviews", num_words=500, hidden=(8,), batch_size=8)
TINY = RunConfig(dataset="digits", hidden=(4,))
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 400, "height": 800}
PATIENCE_SECONDS = 120

# Runs in each page before anything else: it remembers what must never be there, however briefly.
_WATCH = """
window.seen = [];
new MutationObserver(() => {
  for (const name of ['stException', 'stErrorElementStack']) {
    if (document.querySelector(`[data-testid="${name}"]`) && !window.seen.includes(name)) window.seen.push(name);
  }
}).observe(document, {childList: true, subtree: true});
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium()
    missing = "the playwright package" if sync_playwright is None else "Chromium" if path is None else ""
    if missing:
        if os.environ.get("CI"):
            pytest.fail(f"{missing} is missing, and CI must not pass without the tests in a browser")
        pytest.skip(f"{missing} is not installed; the tests in a browser need it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=BROWSER_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    assert server.stop() == [], "processes outlive the server"
    assert "Traceback" not in server.log, server.log


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Callable[..., Tab]]:
    """Open tabs, each in a context of its own; at the end none of them has seen anything go wrong."""
    tabs: list[Tab] = []

    def start(path: str = "", at: Server = server, **context) -> Tab:
        tabs.append(Tab(browser, at, path, **context))
        return tabs[-1]

    yield start
    seen = [tab.close() for tab in tabs]
    assert not any(seen), seen


class Tab:
    """One browser with one page, as someone sees it."""

    def __init__(self, browser: Browser, server: Server, path: str, **context):
        self.server = server
        self.context = browser.new_context(**{"viewport": WIDE, **context})
        self.page: Page = self.context.new_page()
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.add_init_script(_WATCH)
        self.page.on("dialog", self._dialog)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.opened = time.monotonic()
        self.page.goto(f"{server.address}/{path}")

    def _dialog(self, dialog) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def close(self) -> list[str]:
        if not self.page.is_closed():
            self.problems += self.page.evaluate("window.seen")
        self.context.close()
        return self.problems

    # -- what is on the page ------------------------------------------------------------------------------------

    def button(self, words: str) -> Locator:
        """A button that can be seen (Streamlit draws one with a tooltip twice, for wide and narrow screens)."""
        return self.page.locator("[data-testid=stMain] button:visible").filter(
            has_text=re.compile(rf"(^|\s|_arrow|stop|check){words}"))

    def ready(self) -> Tab:
        """The page is there, with its charts."""
        expect(self.page.locator("svg.marks")).to_have_count(2, timeout=30_000)
        return self.settled()

    def settled(self) -> Tab:
        """The page has answered whatever was asked of it."""
        expect(self.page.locator("[data-test-script-state=notRunning]").first).to_be_attached(timeout=30_000)
        return self

    def trained(self) -> Tab:
        expect(self.button("Trained")).to_be_visible(timeout=PATIENCE_SECONDS * 1000)
        return self

    def chart(self, number: int = 0) -> Locator:
        return self.page.locator("[data-testid=stVegaLiteChart]").nth(number)

    def points(self, number: int = 0) -> dict[tuple[str, int], tuple[float, float, float]]:
        """The dots of a chart by line and epoch: the value that a dot says it has, and where it is drawn."""
        found = self.chart(number).locator("svg .mark-symbol.role-mark path").evaluate_all(
            "marks => marks.map(mark => [mark.getAttribute('aria-label'), mark.getAttribute('transform')])")
        dots = {}
        for label, place in found:
            said = re.match(r"epoch: (\d+); [^:]+: ([\d.e−-]+); part: (\w+)", label or "")
            if said and place:
                x, y = re.findall(r"-?[\d.]+(?:e-?\d+)?", place)[:2]
                dots[said[3], int(said[1])] = (float(said[2].replace("−", "-")), float(x), float(y))
        return dots

    def wait_for_points(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(self.points()) < count:
            assert time.monotonic() < deadline, f"{len(self.points())} points instead of {count}"
            time.sleep(0.02)

    def metrics(self) -> dict[str, str]:
        """The numbers of the result by their titles, once they are there."""
        deadline = time.monotonic() + 10
        while True:
            # In one look: between two, another one may have been drawn.
            found = dict(self.page.locator("[data-testid=stMetric]").evaluate_all("""all => all.map(one => [
                one.querySelector('[data-testid=stMetricLabel]')?.innerText,
                one.querySelector('[data-testid=stMetricValue]')?.innerText])"""))
            if "Epochs" in found or time.monotonic() > deadline:
                return found
            time.sleep(0.05)

    def texts(self) -> str:
        return self.page.locator("[data-testid=stMain]").inner_text()

    def warnings(self) -> list[str]:
        return self.page.locator("[data-testid=stAlert]").all_inner_texts()

    def address(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.page.url).query))

    def wait_for_address(self, **wanted: str) -> None:
        deadline = time.monotonic() + 20
        while not wanted.items() <= self.address().items():
            assert time.monotonic() < deadline, f"{self.address()} instead of {wanted}"
            self.page.wait_for_timeout(20)

    # -- what can be done ---------------------------------------------------------------------------------------

    def choose(self, key: str, option: str) -> None:
        box = self.page.locator(f".st-key-{key}")
        box.scroll_into_view_if_needed()
        box.locator("input").click()
        self.page.get_by_role("option", name=option, exact=True).click()

    def slider(self, key: str) -> Locator:
        return self.page.locator(f".st-key-{key} input[type=range]")

    def press(self, key: str, *keys: str) -> None:
        """Move a slider with the keyboard."""
        slider = self.slider(key)
        slider.scroll_into_view_if_needed()
        for name in keys:
            slider.press(name)

    def unfold(self, title: str) -> None:
        self.page.locator("[data-testid=stExpander] summary", has_text=title).click()


def path_of(config: RunConfig, demand: Demand) -> str:
    return "?" + urlencode(query(config, demand))


def stored(server: Server, config: RunConfig):
    """The run of a config in the server's store, with its table and its scores."""
    store = server.store
    found = [run for run in store.with_status("queued", "running", "finished", "stopped", "interrupted", "failed")
             if run.config == config]
    assert len(found) == 1, f"{len(found)} runs of {config}"
    run, epochs, scores = store.snapshot(found[0].run_id)
    return run, history.table(epochs), scores


def shows(tab: Tab, config: RunConfig, demand: Demand) -> None:
    """Every number on the page is the one in the store."""
    run, table, scores = stored(tab.server, config)
    table = table.head(demand.epochs)
    tab.wait_for_points(2 * len(table))
    for number, metric in enumerate(curves.METRICS):
        dots = _settled(lambda number=number: tab.points(number), 2 * len(table))
        expected = {(part, int(row["epoch"])): row[f"{column}_{metric}"] for _, row in table.iterrows()
                    for part, column in (("training", "train"), ("validation", "val"))}
        assert set(dots) == set(expected)
        values, across, down = np.array([dots[key] for key in expected]).T
        assert np.allclose(values, list(expected.values()), rtol=1e-9, atol=1e-12)
        # Each dot lies where its epoch and its value put it: across and down are straight functions of them.
        for said, drawn in (([epoch for _, epoch in expected], across), (values, down)):
            if len(table) > 2:
                slope, start = np.polyfit(said, drawn, 1)
                assert np.abs(slope * np.array(said) + start - drawn).max() < 0.3
    assert diagnosis_text.sentence(diagnosis.diagnose(table, config.info.classes)) in tab.texts()
    metrics = tab.metrics()
    assert metrics["Epochs"] == str(len(table)) and metrics["Device"] == run.device
    best = int(table["epoch"][table["val_crossentropy"].idxmin()])
    assert _told(scores, best, len(table)).items() <= metrics.items()


def _settled(look: Callable[[], dict], count: int) -> dict:
    """The second chart is drawn a moment after the first."""
    deadline = time.monotonic() + 10
    while len(found := look()) != count and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


# -- a run ------------------------------------------------------------------------------------------------------


def test_a_run_is_watched_stopped_and_continued(visit, server: Server):
    demand = Demand(16)
    tab = visit(path_of(LIVE, demand)).ready()
    _mark(tab)
    tab.button("Train").click()
    growth = _watch(tab, lambda seen: len(seen) >= 4)
    # One drawing a chart while the run trains.
    assert _marks(tab) == ["0", "1"]
    assert growth == sorted(growth) and growth[0] < 12, growth
    expect(tab.page.locator("[data-testid=stProgress]")).to_contain_text(re.compile(r"Epoch \d+ of 16 · "))

    pressed = time.monotonic()
    tab.button("Stop").click()
    expect(tab.button("Continue to epoch 16")).to_be_visible(timeout=20_000)
    print(f"\nstopped {time.monotonic() - pressed:.2f} s after Stop was pressed")
    run, table, _ = stored(server, LIVE)
    kept = len(table)
    assert run.status == "stopped" and 1 <= kept < 16
    expect(tab.page.get_by_text(f"{kept} epoch")).to_be_visible()
    shows(tab, LIVE, demand)
    time.sleep(1)
    assert len(stored(server, LIVE)[1]) == kept, "it trains on although it was stopped"

    tab.button("Continue").click()
    # Where training has ended the axis ends, and where it goes on there is room again: each time a new drawing.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(tab.points()) <= 2 * kept:
        assert time.monotonic() < deadline, "nothing is added to what was kept"
        tab.page.wait_for_timeout(50)
    _mark(tab)
    _watch(tab, lambda seen: seen[-1] >= 2 * 16)
    tab.trained()
    _, complete, scores = stored(server, LIVE)
    assert complete["epoch"].tolist() == list(range(1, 17)) and 16 in scores
    assert complete.head(kept).equals(table)
    shows(tab, LIVE, demand)
    assert tab.metrics()["Epochs"] == "16"
    assert _marks(tab) == ["0", "1"]


def _mark(tab: Tab) -> None:
    for number in range(2):
        tab.chart(number).locator("svg.marks").evaluate("(svg, number) => svg.dataset.mine = number", number)


def _marks(tab: Tab) -> list[str]:
    return tab.page.locator("svg.marks").evaluate_all("all => all.map(svg => svg.dataset.mine)")


def _watch(tab: Tab, enough: Callable[[list[int]], bool]) -> list[int]:
    """The numbers of points that were on the screen one after another; the drawing is never taken back."""
    seen: list[int] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not seen or not enough(seen):
        assert time.monotonic() < deadline, seen
        count = len(tab.points())
        if count and (not seen or count != seen[-1]):
            assert not seen or count > seen[-1], f"points vanish: {[*seen, count]}"
            seen.append(count)
        tab.page.wait_for_timeout(20)
    return seen


def test_the_end_of_a_run_takes_nothing_from_the_screen(visit):
    demand = Demand(8)
    config = LIVE.with_(seed=1, batch_size=32)
    tab = visit(path_of(config, demand)).ready()
    tab.page.evaluate("""() => {
        window.counts = [];
        const look = () => {
            const count = document.querySelectorAll('svg.marks')[0]?.querySelectorAll(
                '.mark-symbol.role-mark path').length ?? -1;
            if (count !== window.counts.at(-1)) window.counts.push(count);
            requestAnimationFrame(look);
        };
        look();
    }""")
    tab.button("Train").click()
    tab.trained()
    shows(tab, config, demand)
    tab.page.wait_for_timeout(500)
    counts = tab.page.evaluate("window.counts")
    assert counts == sorted(counts) and counts[-1] > 16, f"the chart was blank or shrank for a moment: {counts}"


def test_a_copied_address_opens_the_known_run(visit, server: Server):
    tab = visit(path_of(TINY, Demand(3))).ready()
    tab.press("dropout", "ArrowRight")
    tab.wait_for_address(dropout="0.05")
    tab.press("dropout", "ArrowRight")
    tab.wait_for_address(dropout="0.1")
    tab.press("epochs", "ArrowRight")
    tab.wait_for_address(epochs="5")
    tab.choose("regularizer", "L2")
    tab.wait_for_address(l2="0.001")
    tab.press("l2", "ArrowRight")
    tab.wait_for_address(l2="0.002")
    tab.unfold("More about training")
    tab.choose("optimizer", "Adam")
    tab.wait_for_address(optimizer="adam")
    config, demand = TINY.with_(dropout=0.1, l2=0.002, optimizer="adam"), Demand(5)
    assert tab.address() == query(config, demand)
    tab.button("Train").click()
    tab.trained()
    shows(tab, config, demand)

    other = visit(tab.page.url.removeprefix(f"{server.address}/"))
    other.wait_for_points(2 * 5)
    print(f"\na known run is drawn {time.monotonic() - other.opened:.2f} s after it was asked for")
    other.ready().trained()
    shows(other, config, demand)
    assert other.address() == query(config, demand)
    other.unfold("More about training")
    expect(other.page.locator(".st-key-optimizer input")).to_have_value("Adam")
    sidebar = other.page.locator("[data-testid=stSidebar]")
    assert sidebar.inner_text() == tab.page.locator("[data-testid=stSidebar]").inner_text() or (
        _values(other) == _values(tab))
    assert other.warnings() == []


def _values(tab: Tab) -> list[str]:
    return tab.page.locator("[data-testid=stSidebar] input[type=range]").evaluate_all(
        "all => all.map(slider => slider.getAttribute('aria-valuetext') ?? slider.getAttribute('aria-valuenow'))")


def test_back_and_forward_move_the_controls(visit):
    tab = visit(path_of(TINY, Demand(3))).ready()
    tab.press("epochs", "ArrowRight")
    tab.wait_for_address(epochs="5")
    # An old address that arrives right after a move is a late one; later, it is someone going back.
    tab.page.wait_for_timeout(4_000)
    for step, epochs in ((tab.page.go_back, "3"), (tab.page.go_forward, "5")):
        step()
        tab.wait_for_address(epochs=epochs)
        expect(tab.slider("epochs")).to_have_attribute("aria-valuetext", epochs, timeout=10_000)
        tab.page.wait_for_timeout(500)
        assert tab.address()["epochs"] == epochs
        tab.page.wait_for_timeout(4_000)


def test_controls_moved_in_quick_succession_all_count(visit):
    tab = visit(path_of(TINY, Demand(3))).ready()
    tab.page.wait_for_timeout(1_000)
    for pause in (0, 40, 80, 120):
        tab.press("dropout", "Home")
        expect(tab.slider("dropout")).to_have_attribute("aria-valuetext", "0.00")
        tab.page.wait_for_timeout(600)
        assert "dropout" not in tab.address()
        tab.press("dropout", "ArrowRight")
        tab.page.wait_for_timeout(pause)
        tab.press("dropout", "ArrowRight")
        tab.page.wait_for_timeout(800)
        found = tab.slider("dropout").get_attribute("aria-valuetext"), tab.address().get("dropout")
        assert found == ("0.10", "0.1"), f"the second of two moves {pause} ms apart was taken back"


def test_the_server_killed_in_the_middle_loses_no_epoch(visit, server: Server, tmp_path: Path):
    mortal = Server(tmp_path / "mortal")
    config, demand = LIVE.with_(seed=2), Demand(24)
    try:
        tab = visit(path_of(config, demand), at=mortal).ready()
        tab.button("Train").click()
        tab.wait_for_points(2 * 4)
        drawn = len(tab.points()) // 2
        below = mortal.kill()
        assert (below or sys.platform != "linux") and not alive(mortal.process.pid)
        assert outliving(below) == [], "the worker or its child lives on without its server"
        _, table, _ = stored(mortal, config)
        assert len(table) >= drawn
        tab.close()

        mortal.start()
        again = visit(path_of(config, demand), at=mortal).ready()
        expect(again.button("Continue to epoch 24")).to_be_visible(timeout=20_000)
        again.wait_for_points(2 * len(table))
        shows(again, config, demand)
        warnings = " ".join(again.warnings())
        assert re.search("ended|interrupted|closed", warnings) and f"{len(table)} epochs are kept" in warnings
        assert stored(mortal, config)[0].status == "interrupted"
        again.button("Continue").click()
        again.trained()
        _, complete, _ = stored(mortal, config)
        assert len(complete) == 24 and complete.head(len(table)).equals(table)
        shows(again, config, demand)
        again.close()
    finally:
        assert mortal.stop() == []


def test_a_page_that_loses_its_server_says_so(visit, tmp_path: Path):
    mortal = Server(tmp_path / "mortal")
    tab = visit(path_of(TINY, Demand(3)), at=mortal).ready()
    assert mortal.stop() == []
    expect(tab.page.get_by_text(re.compile("connect", re.IGNORECASE)).first).to_be_visible(timeout=20_000)


# -- addresses --------------------------------------------------------------------------------------------------


def test_a_hostile_address_is_answered_with_warnings(visit):
    tab = visit("?" + urlencode({
        "dropout": "9", "hidden": "<script>alert(1)</script>", "epochs": "-5", "dataset": "../../etc/passwd",
        "activation": "<img src=x onerror=alert(2)>", "optimizer": "[x](javascript:alert(3))",
        "initializer": "x" * 5_000})).ready()
    warnings = " ".join(tab.warnings())
    for words in ("dropout: expected a number from 0 to 0.9, received '9'", "hidden: expected 1 to 8 layers",
                  "<script>alert(1)</script>", "epochs: expected a whole number", "'-5'", "dataset: expected one of",
                  "'../../etc/passwd'", "<img src=x onerror=alert(2)>"):
        assert words in warnings
    assert "Traceback" not in tab.texts()
    tab.page.wait_for_timeout(500)
    assert tab.problems == []
    assert tab.address()["dataset"] in ("reviews", "imdb")
    assert {"hidden", "activation", "optimizer", "initializer"}.isdisjoint(tab.address())


def test_what_came_is_shown_as_it_came_and_not_as_markup(visit):
    values = {"activation": "![x](https://example.org/x.png)", "optimizer": "[click here](https://example.org)",
              "initializer": "**bold** and `code`", "dataset": "$x^2$ :red[x] https://example.org"}
    tab = visit("?" + urlencode(values)).ready()
    warnings = " ".join(tab.warnings())
    for value in values.values():
        assert value in warnings
    alerts = tab.page.locator("[data-testid=stAlertContentWarning]")
    assert alerts.locator("a, img, strong, .katex").count() == 0
    assert [url for url in tab.requests if urlsplit(url).hostname == "example.org"] == []


# -- how it looks -----------------------------------------------------------------------------------------------


def test_it_fits_a_telephone(visit):
    tab = visit(path_of(TINY, Demand(3)), viewport=NARROW).ready()
    assert tab.page.evaluate("document.scrollingElement.scrollWidth <= window.innerWidth")
    train = tab.button("Train")
    expect(train).to_be_in_viewport()
    box = train.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= NARROW["width"]
    for number in range(2):
        frame = tab.chart(number).bounding_box()
        drawing = tab.chart(number).locator("svg.marks").bounding_box()
        assert frame["x"] >= 0 and drawing["x"] + drawing["width"] <= NARROW["width"]
        assert drawing["width"] > 200 and drawing["height"] > 200
    train.click()
    tab.trained()
    tab.page.wait_for_timeout(300)
    assert tab.page.evaluate("document.scrollingElement.scrollWidth <= window.innerWidth")
    assert tab.page.evaluate(
        "[...document.querySelectorAll('[data-testid=stMetricValue]')].every(e => e.scrollWidth <= e.clientWidth)")

    assert not tab.page.locator(".st-key-dropout").is_visible() or _left(tab, ".st-key-dropout") < 0
    tab.page.locator("[data-testid=stExpandSidebarButton]").click()
    for key in ("dataset", "architecture", "regularizer", "dropout", "epochs"):
        control = tab.page.locator(f".st-key-{key}")
        control.scroll_into_view_if_needed()
        expect(control).to_be_in_viewport()
        place = control.bounding_box()
        assert place["x"] >= 0 and place["x"] + place["width"] <= NARROW["width"]
    tab.press("dropout", "ArrowRight")
    tab.wait_for_address(dropout="0.05")


def _left(tab: Tab, selector: str) -> float:
    return tab.page.locator(selector).bounding_box()["x"]


def test_light_and_dark_follow_the_system(visit):
    grounds = {}
    for scheme in ("light", "dark"):
        tab = visit(path_of(TINY, Demand(3)), color_scheme=scheme).ready()
        app = tab.page.locator("[data-testid=stApp]")
        grounds[scheme] = app.evaluate("app => getComputedStyle(app).backgroundColor")
        ink = tab.page.locator("[data-testid=stHeading] h2").evaluate("text => getComputedStyle(text).color")
        assert abs(_brightness(ink) - _brightness(grounds[scheme])) > 120
        assert tab.chart().locator("svg.marks").evaluate(
            "svg => getComputedStyle(svg).backgroundColor") in (grounds[scheme], "rgba(0, 0, 0, 0)")
    assert _brightness(grounds["light"]) > 200 and _brightness(grounds["dark"]) < 60


def _brightness(color: str) -> float:
    red, green, blue = map(int, re.findall(r"\d+", color)[:3])
    return 0.3 * red + 0.59 * green + 0.11 * blue


def test_the_page_asks_nobody_but_its_own_server(visit):
    tab = visit(path_of(TINY, Demand(3))).ready()
    tab.page.wait_for_timeout(1_000)
    foreign = {url for url in tab.requests if not url.startswith((tab.server.address, "data:", "blob:"))}
    assert foreign == set()


def test_controls_answer_without_delay(visit):
    tab = visit(path_of(TINY, Demand(3))).ready()
    times = {}
    for key, steps, wanted in (("dropout", ["ArrowRight"], {"dropout": "0.05"}), ("epochs", ["End"], {"epochs": "500"}),
                               ("dropout", ["End"], {"dropout": "0.9"})):
        tab.page.wait_for_timeout(500)
        began = time.monotonic()
        tab.press(key, *steps)
        tab.wait_for_address(**wanted)
        times[key, steps[0]] = time.monotonic() - began
    print(f"\nanswers of controls: { {' '.join(name): f'{seconds:.2f} s' for name, seconds in times.items()} }")
    assert min(times.values()) < 2
