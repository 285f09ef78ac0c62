"""How often the page is drawn anew: as quickly as ever for a few, and never more than the process can do."""

from __future__ import annotations

import threading

import pytest
from streamlit.testing.v1 import AppTest

from explorer.ui import refresh_rate
from explorer.ui.refresh_rate import FEW, GONE_SECONDS, QUICKEST, SHARE, SLOWEST, Pace, interval


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("cost", [0.001, 0.01, 1.0])
@pytest.mark.parametrize("visitors", range(FEW + 1))
def test_a_few_are_drawn_as_quickly_as_one(visitors: int, cost: float):
    assert interval(visitors, cost) == QUICKEST


@pytest.mark.parametrize("visitors", [20, 50, 100])
@pytest.mark.parametrize("cost", [0.005, 0.01])
def test_drawing_takes_no_more_than_its_share_of_a_core(visitors: int, cost: float):
    seconds = interval(visitors, cost)
    assert visitors * cost / seconds <= SHARE + 1e-9
    assert QUICKEST <= seconds <= SLOWEST


def test_who_waits_for_a_turn_is_not_asked_for_again_before_it_comes():
    assert interval(2, 0.001, waited=1.0) >= 1.0
    assert interval(2, 0.001, waited=100.0) == SLOWEST


def test_the_pace_stays_where_it_is_about_right():
    before = interval(50, 0.0100)
    assert interval(50, 0.0095, before=before) == before
    assert interval(50, 0.0020, before=before) < before


def test_it_slows_down_when_many_come_and_is_quick_again_when_they_have_gone():
    clock, spent = Clock(), Clock()
    measured = Pace(clock, spent)
    for number in range(2_000):
        with measured.turn(f"visitor {number % 50}"):
            spent.now += 0.01
        clock.now += measured.seconds / 50
    assert measured.seconds > 2 * QUICKEST
    clock.now += GONE_SECONDS
    for _ in range(10):
        with measured.turn("visitor 1"):
            spent.now += 0.01
        clock.now += measured.seconds
    assert measured.seconds == QUICKEST


def test_one_is_drawn_after_another():
    measured, drawing, most, ready = Pace(), [], [], threading.Barrier(6)

    def draw(name: str) -> None:
        ready.wait()
        with measured.turn(name):
            drawing.append(name)
            most.append(len(drawing))
            drawing.remove(name)

    threads = [threading.Thread(target=draw, args=(str(number),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6


def test_nobody_waits_for_ever_behind_a_drawing_that_hangs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(refresh_rate, "MAX_WAIT", 0.05)
    measured, drawn, over = Pace(), threading.Event(), threading.Event()

    def hang() -> None:
        with measured.turn("one"):
            drawn.set()
            over.wait(10)

    hanging = threading.Thread(target=hang)
    hanging.start()
    drawn.wait(10)
    with measured.turn("another"):
        over.set()
    hanging.join()
    with measured.turn("a third"):  # the turn was given back once
        pass


def test_a_failed_drawing_gives_its_turn_back():
    measured = Pace()
    with pytest.raises(ValueError), measured.turn("one"):
        raise ValueError
    with measured.turn("another"):
        assert measured.seconds == QUICKEST


def test_the_installed_streamlit_lets_a_part_of_the_page_set_its_own_timer():
    def script() -> None:
        import streamlit as st
        from streamlit.runtime.scriptrunner import get_script_run_ctx

        from explorer.ui import refresh_rate

        context = get_script_run_ctx()
        sent, send = st.session_state.setdefault("sent", []), context.enqueue

        def note(message) -> None:
            if message.HasField("auto_rerun"):
                sent.append((message.auto_rerun.fragment_id, message.auto_rerun.interval))
            send(message)

        context.enqueue = note
        st.fragment(refresh_rate.keep, run_every=1.0)(2.5)

    page = AppTest.from_function(script, default_timeout=60).run()
    assert not page.exception
    (first, at_first), (again, later) = page.session_state["sent"]
    assert first and first == again and (at_first, later) == (1.0, 2.5)
