"""A store that is damaged under a running engine: the run that finds it says so, others go on, the file stays."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from explorer.config.run_config import Demand
from explorer.engine.engine import Engine
from explorer.store.sqlite import DamagedStore
from explorer.store.store import RunStore
from tests.engine.test_engine import CONFIG, LONG, ended, in_the_middle, wait_for

SLOW = CONFIG.with_(batch_size=16)


def fill(path: Path) -> None:
    """Put something into the store that no explorer reads."""
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE filler (x)")
        db.executemany("INSERT INTO filler VALUES (?)", [("a filler " * 400,)] * 30)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def damage(path: Path) -> bytes:
    """Overwrite that: who checks the file finds it damaged, who reads his own rows does not. Returns: the file."""
    content = path.read_bytes()
    first = content.index(b"a filler a filler")
    page = 4096 * (first // 4096)
    with open(path, "r+b") as file:
        file.seek(page)
        file.write(b"\xff" * 4096)
    return path.read_bytes()


@pytest.fixture
def damaged(settings):
    RunStore(settings.store_path).close()
    fill(settings.store_path)
    engine = Engine(replace(settings, runs_at_once=2))
    yield engine
    engine.close()


def test_the_run_that_finds_it_says_so_others_go_on_and_the_file_stays(damaged):
    path = damaged.settings.store_path
    first = damaged.submit(SLOW, LONG)
    in_the_middle(damaged, first)
    damage(path)
    second = damaged.submit(SLOW.with_(seed=1), Demand(epochs=2))
    view = ended(damaged, second, Demand(epochs=2))
    assert view.state == "failed" and view.reached == 0
    assert view.run.message == (f"The store of runs is damaged: {path}. It was left as it is. Start the explorer's "
                                "server anew, which keeps this file under another name and begins a new store.")
    reached = damaged.look(first, LONG).reached
    wait_for(lambda: damaged.look(first, LONG).reached > reached + 2)
    damaged.stop(first)
    assert ended(damaged, first, LONG).state == "stopped"
    assert path.exists() and list(path.parent.glob("*-damaged-*")) == []


def test_only_a_servers_start_sets_it_aside(settings):
    path = settings.store_path
    RunStore(path).request("a", CONFIG, Demand(), {})
    fill(path)
    content = damage(path)
    for open_it in (lambda: RunStore(path), lambda: Engine(settings, warm=False)):
        with pytest.raises(DamagedStore, match="damaged"):
            open_it()
    assert path.read_bytes() == content and list(path.parent.glob("*-damaged-*")) == []
    engine = Engine(settings, warm=False, may_set_aside=True)
    try:
        assert engine.store.set_aside.read_bytes() == content and engine.store.counts() == {}
    finally:
        engine.close()


def test_what_is_found_in_the_middle_of_reading_is_told_in_the_same_words(settings):
    store = RunStore(settings.store_path)
    store.request("a", CONFIG, Demand(), {})
    store.close()
    content = settings.store_path.read_bytes()
    settings.store_path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    for act in (store.run_ids, lambda: store.request("b", CONFIG, Demand(), {})):
        with pytest.raises(DamagedStore, match="It was left as it is"):
            act()


def _page() -> None:
    from pathlib import Path

    import streamlit as st

    from explorer.store.sqlite import DamagedStore, StoreError
    from explorer.ui.error_boundary import guarded

    st.query_params["lang"] = st.session_state["spoken"]

    @guarded
    def draw() -> None:
        raise DamagedStore(Path("/srv/runs.sqlite3")) if st.session_state["damaged"] else StoreError("it is away")

    draw()


@pytest.mark.parametrize(("language", "damaged", "words"), [
    ("en", True, ["The store of runs is damaged", "runs.sqlite3", "server anew"]),
    ("ko", True, ["저장소가 손상되었습니다", "runs.sqlite3", "다시 시작하십시오"]),
    ("en", False, ["cannot be used just now", "it is away"]), ("ko", False, ["지금은 실행 저장소를 쓸 수 없습니다"])])
def test_the_page_says_which_file_and_what_to_do_and_nothing_of_waiting(language, damaged, words):
    from streamlit.testing.v1 import AppTest

    page = AppTest.from_function(_page, default_timeout=60)
    page.session_state["spoken"], page.session_state["damaged"] = language, damaged
    [error] = page.run().error
    said = error.value.replace("\\", "")
    assert all(word in said for word in words)
    assert damaged != any(word in said for word in ("wait a moment", "잠시 뒤에"))
