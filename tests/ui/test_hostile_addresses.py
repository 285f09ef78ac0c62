"""Ten thousand addresses that nobody would type: no traceback, no run above the limits, no trace outside the store."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import parse_qs, quote, urlencode

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as given_with
from hypothesis import strategies as some

from explorer.analysis import comparison, sweep
from explorer.config.fields import FieldError
from explorer.config.limits import problems, require
from explorer.config.run_config import DEMAND_KINDS, KINDS, Demand, RunConfig
from explorer.config.settings import Settings
from explorer.config.url_params import parse, query
from explorer.i18n import translated
from explorer.lessons import class_links
from explorer.lessons.presets import LESSONS, available

pytest.importorskip("streamlit")

from tests.browser.test_browser import browser, server, visit  # noqa: E402, F401
from tests.ui.test_app import _Page  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
# In all: most are read as the page reads them, the others go through the page itself.
ADDRESSES, ON_THE_PAGE = 10_000, 200
# Stricter than any default, so that what is asked for lies above as often as below.
STRICT = {"max_parameters": 50_000, "max_epochs": 40, "max_samples": 5_000, "max_words": 2_000}
SETTINGS = Settings(home=Path("nowhere"), **STRICT)

NAMES = [*KINDS, *DEMAND_KINDS, "compare", "grid", "lesson", "part", "hide", "lock", "lang", "predict", "lesson_seed"]
SOUND = [*(query(config, demand) for name in LESSONS for config, demand in available(name, 0, SETTINGS).runs),
         {"grid": "l2:0,0.001;dropout:0,0.5"}, {"compare": "dataset:digits,hidden:16-16;dataset:reviews,l2:0.001"},
         *({"lesson": name, "lock": "all,-dropout", "lang": "ko", "seed": "7"} for name in LESSONS)]
NASTY = [
    "", " ", "nan", "inf", "-inf", "1e400", "-1", "-0", "0", "1e-320", "99999999999999999999", "9" * 5_000,
    "1_000", "0x10",
    "１６", "٣", "½", "true", "None", "null", "undefined", "[]", "{}", "{0}", "{nearest}", "%s%n", "${7*7}", "{{7*7}}",
    "../../etc/passwd", "/etc/passwd", "..\\..\\windows", "file:///etc/passwd", "C:\\", "~/.ssh/id_rsa", "con",
    "' OR 1=1 --", "1; DROP TABLE runs", "\" UNION SELECT * FROM runs --", "0/**/OR/**/1",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "javascript:alert(1)", "[a](javascript:alert(1))",
    "![x](https://example.org/x.png)", "<svg/onload=alert(1)>", "'\"><b>", "$\\alpha$", ":material/home:", ":red[x]",
    "https://example.org", "//example.org", "a@example.org", "$(reboot)", "`reboot`", "| cat /etc/passwd",
    "\x00", "\r\nSet-Cookie: x=1", "\u202e", "\ufeff", "\ud800", "𝕏" * 50, "é" * 300, "🙂", "한국어", "a" * 100_000,
    "16-" * 3_000, "-".join(["4096"] * 8), "all", "test", "off", "default", "gpu:99999999", "gpu:-1", "gpu:०",
    "l2:0;l2:0;l2:0", "l2:" + ",".join(map(str, range(2_000))), "seed:" + ",".join(map(str, range(200))) + ";epochs:1",
    ";" * 5_000, "," * 5_000, ":" * 5_000, "dataset:digits;" * 500, "hidden:4096-4096,again:-5",
    "!dataset:imdb,again:1e9", "num_words:9999999;hidden:4096-4096,16", "train_samples:all,50;num_words:10,20000",
    "all," * 500, "-all,all,-", "capacity", "capacity/../../x", "0123456789abcdef", "16", "16-16", "imdb", "0.5", "7",
]
_value = (some.sampled_from(NASTY) | some.text(max_size=20) | some.floats().map(str) | some.integers().map(str)
          | some.lists(some.sampled_from([text[:60] for text in NASTY]), min_size=2, max_size=4).map("".join)
          | some.sampled_from([value for address in SOUND for value in address.values()]))
_name = some.sampled_from(NAMES + NAMES + ["embed", "__proto__", "run_id", "id", ""])
_pairs = some.builds(lambda sound, more: [*sound.items(), *more], some.sampled_from([{}, {}, *SOUND]),
                     some.lists(some.tuples(_name, _value), min_size=1, max_size=6))


def _encoded(pairs: list[tuple[str, str]], twice: bool) -> str:
    """As a browser would send it; with what has been encoded already encoded once more."""
    clean = [(name, value.encode("utf-8", "replace").decode()) for name, value in pairs]
    return urlencode([(name, quote(value)) for name, value in clean] if twice else clean)


def _read(address: str) -> dict[str, str]:
    """As Streamlit hands it on: the last of several values."""
    return {name: values[-1] for name, values in parse_qs(address, keep_blank_values=True).items()}


_seen: list[str] = []


@given(_pairs, some.sampled_from([False, False, False, True]))
@given_with(max_examples=ADDRESSES - ON_THE_PAGE, deadline=None, database=None, derandomize=False,
            suppress_health_check=list(HealthCheck))
def test_whatever_an_address_holds_is_read_as_something_sound(pairs, twice):
    address = _encoded(pairs, twice)
    _seen.append(address)
    asked = _read(address)
    found = parse(asked).within(SETTINGS)
    link, unsound = class_links.read(asked)
    compared, unsound_runs = comparison.read(asked.get("compare", ""), SETTINGS)
    text = asked.get("grid", "")
    grid, errors = sweep.parse(text, found.config, SETTINGS) if text else (None, [])

    wanted: list[tuple[RunConfig, Demand]] = [(found.config, found.demand)]
    wanted += [(entry.config, entry.asked) for entry in compared]
    for config in grid.configs(found.config) if grid else ():
        if problems(config, found.demand, SETTINGS):
            # Each of its values is allowed by itself; where several together are too much, the engine takes none of it.
            with pytest.raises(FieldError):
                require(config, found.demand, SETTINGS)
        else:
            wanted.append((config, found.demand))
    if link.lesson:
        available(link.lesson, link.part, SETTINGS, link.seed)
    assert len(wanted) <= 1 + comparison.MAX_RUNS + sweep.MAX_RUNS
    for config, demand in wanted:
        assert problems(config, demand, SETTINGS) == []
    # What it comes to can be said again, and stays what it is.
    again = parse(query(found.config, found.demand)).within(SETTINGS)
    assert (again.config, again.demand, again.messages) == (found.config, found.demand, [])
    assert class_links.read(link.query) == (link, [])
    for message in [*found.messages, *unsound, *unsound_runs, *map(sweep.explain, errors)]:
        assert len(message) < 2_000 and translated(message, "ko")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Page]:
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        made = _Page(folder, patch, **{f"EXPLORER_{name.upper()}": str(value) for name, value in STRICT.items()})
        made.folder = folder
        yield made
        made.close()


def _files(folder: Path, *but: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and time; Python's own of compiled modules aside."""
    found = {}
    for path in folder.rglob("*"):
        own = {"__pycache__", ".git", ".hypothesis", ".pytest_cache"} & set(path.parts)
        if path.is_file() and not own and not any(path.is_relative_to(other) for other in but):
            stat = path.stat()
            found[str(path)] = stat.st_size, stat.st_mtime_ns
    return found


def test_the_page_opens_whatever_its_address_holds(page: _Page):
    at = page.open()
    deadline = time.monotonic() + 150
    while page.engine.hardware is None:  # until then the worker writes its caches
        assert time.monotonic() < deadline
        time.sleep(0.1)
    store = page.folder / "home"
    places = [(ROOT, ()), (page.folder, (store,))]
    before = [_files(folder, *but) for folder, but in places]
    asked: list[str] = []

    @given(_pairs, some.sampled_from([False, False, False, True]))
    @given_with(max_examples=ON_THE_PAGE, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def opens(pairs, twice):
        address = _encoded(pairs, twice)
        asked.append(address)
        at.query_params.clear()
        for name, value in _read(address).items():
            if name:  # Streamlit itself knows no parameter without a name
                at.query_params[name] = value
        at.run()
        assert [part.message for part in at.exception] == [] and [part.value for part in at.error] == []
        shown = at.session_state["address"]
        found = parse(shown)
        assert found.messages == [] and problems(found.config, found.demand, SETTINGS) == []
        # A lesson's own runs are what their source says; the engine takes none that is too large for this installation.
        for entry in at.session_state["compared"] if not at.session_state["lesson"] else ():
            assert problems(entry.config, entry.asked, SETTINGS) == []
        for warning in at.warning:  # nothing of it is markup
            assert not re.search(r"(?<!\\)<script|(?<!\\)\]\(javascript", warning.value)

    opens()
    assert len(asked) >= ON_THE_PAGE
    assert page.engine.store.counts() == {}, "an address trains nothing"
    assert [_files(folder, *but) for folder, but in places] == before
    assert {path.stem for path in store.iterdir()} <= {"runs", "worker", "engines", "cache", "checkpoints"}


def test_there_were_ten_thousand_of_them():
    assert len(_seen) + ON_THE_PAGE >= ADDRESSES
    assert len(set(_seen)) > 0.8 * len(_seen)


# -- a real server ------------------------------------------------------------------------------------------------

MARKUP = {
    "dataset": "<img src=x onerror=document.title=1>", "hidden": "[a](javascript:document.title=1)",
    "activation": "<script>document.title=1</script>", "l1": "![x](https://example.org/x.png)",
    "grid": "<svg/onload=document.title=1>:1", "compare": "<b>bold</b>;<iframe src=javascript:document.title=1>",
    "lesson": "'\"><img src=x onerror=document.title=1>", "hide": "<u>under</u>", "lang": "<i>"}


@pytest.mark.browser
@pytest.mark.parametrize("language", ["en", "ko"])
def test_markup_in_an_address_is_shown_as_the_text_that_it_is(visit, language):  # noqa: F811
    tab = visit("?" + urlencode(MARKUP | {"lang": language} if language != "en" else MARKUP)).ready()
    seen = tab.page.locator("[data-testid=stAlert]").first.inner_text()
    for value in (MARKUP["dataset"], MARKUP["activation"], MARKUP["hidden"], MARKUP["l1"], "<u>under</u>"):
        assert value[:20] in seen
    found = tab.page.evaluate("""() => [document.title,
        document.querySelectorAll('[data-testid=stAlert] :is(img, b, u, i, script, iframe, svg[onload])').length,
        document.querySelectorAll('a[href^=javascript], img[src*="example.org"], iframe[src^=javascript]').length]""")
    assert found[0] != "1" and found[1:] == [0, 0]


@pytest.mark.browser
def test_an_open_page_takes_no_file(visit):  # noqa: F811
    # Streamlit has a door for files whether a page asks for one or not; it is open to whoever has a session.
    tab = visit("").ready()
    answers = tab.page.evaluate("""async () => {
        const names = await new Promise(done => {
            const socket = window.keptOpen = new WebSocket(`ws://${location.host}/_stcore/stream`, ["streamlit"]);
            socket.binaryType = "arraybuffer";
            socket.onopen = () => socket.send(new Uint8Array([0x5a, 0]));
            socket.onmessage = message => {
                const text = new TextDecoder("latin1").decode(message.data);
                const found = text.match(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g) || [];
                if (found.length > 1) done(found);  // its run of the script has a name as well
            };
        });
        const token = (document.cookie.match(/_streamlit_xsrf=([^;]+)/) || [])[1] || "";
        const answers = [];
        for (const name of names) {
            const form = new FormData();
            form.append("file", new Blob(["x".repeat(10000)]), "a.bin");
            answers.push((await fetch(`/_stcore/upload_file/${name}/one`,
                                      {method: "PUT", headers: {"X-Xsrftoken": token}, body: form})).status);
        }
        return answers;
    }""")
    assert 413 in answers and 204 not in answers


@pytest.mark.browser
@pytest.mark.parametrize("target", [
    "/../../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd",
    "/media/../../etc/passwd", "/app/static/../../../etc/passwd", "/component/x/../../../etc/passwd", "/runs.sqlite3",
    "/explorer/config/settings.py", "/.streamlit/config.toml", "/?hidden=" + "9" * 50_000,
    "/?seed=1&seed=2&seed=%00&seed=%ff", "/?" + "a=b&" * 5_000, "/_stcore/upload_file/x/y"])
def test_no_path_of_an_address_leads_to_a_file(server, target):  # noqa: F811
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    assert answer.status < 500
    assert not any(part in body for part in (b"root:", b"SQLite format", b"EXPLORER_", b"[server]"))
