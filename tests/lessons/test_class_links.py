"""Instructor links: to an address and back, whatever is asked for, and the code that a telephone reads."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
import segno
from hypothesis import given
from hypothesis import strategies as some

from explorer import i18n
from explorer.config.fields import FieldError
from explorer.config.run_config import DEMAND_KINDS, KINDS
from explorer.lessons import class_links
from explorer.lessons.class_links import CONTROLS, GROUPS, Link
from explorer.lessons.presets import LESSONS

BASE = "https://explorer.example.org/class/"


def _texts(names) -> list[str]:
    return sorted(names, key=CONTROLS.index)


@some.composite
def sound_links(draw) -> Link:
    lesson = draw(some.sampled_from(["", *LESSONS]))
    hidden = draw(some.frozensets(some.sampled_from(CONTROLS)))
    return Link(lesson, draw(some.integers(0, len(LESSONS[lesson]) - 1)) if lesson else 0, hidden,
                draw(some.frozensets(some.sampled_from(CONTROLS))) - hidden, draw(some.sampled_from(["", "en", "ko"])),
                draw(some.none() | some.integers(0, 2**31 - 1)), draw(some.booleans()))


@given(sound_links())
def test_a_link_comes_back_from_its_address_and_is_short(link):
    address = link.address(BASE)
    assert class_links.read(dict(parse_qsl(urlsplit(address).query))) == (link, [])
    assert len(address) < class_links.MAX_ADDRESS
    assert class_links.code(address).version <= 13


TEXTS = some.text(max_size=30) | some.sampled_from(["all", "all,-all", "-", ",,", "lesson,-data", "capacity", "7"])


ANY = TEXTS | some.lists(TEXTS, max_size=3) | some.integers() | some.none()
NAMES = some.sampled_from(["lesson", "part", "hide", "lock", "lang", "seed", "predict", "lesson_seed"])


@given(some.dictionaries(NAMES | some.text(max_size=5), ANY))
def test_whatever_is_asked_for_a_link_is_read(params):
    link, messages = class_links.read(params)
    assert link.hidden <= set(CONTROLS) and link.locked <= set(CONTROLS) - link.hidden
    assert link.lesson in ("", *LESSONS) and link.language in ("", "en", "ko")
    assert all(isinstance(message, str) and len(message) < 1_000 for message in messages)
    assert class_links.read(link.query) == (link, [])


@pytest.mark.parametrize("params, query", [
    ({"lesson": "capacity", "lock": "all"}, "lesson=capacity&lock=all"),
    ({"hide": "training,network"}, "hide=network,training"),
    ({"lock": "dropout,epochs", "lang": "ko"}, "lock=dropout,epochs&lang=ko"),
    ({"lock": "all,-dropout"}, "lock=all,-dropout"),
    ({"hide": "all", "lock": "all"}, "hide=all"),
    ({"hide": "data,training", "lock": "all,-l2"}, "hide=data,training&lock=all,-l2"),
    ({"lesson": "dropout", "seed": "7", "predict": "off"}, "lesson=dropout&seed=7&predict=off"),
])
def test_an_address_says_it_in_the_shortest_way(params, query):
    link, messages = class_links.read(params)
    assert messages == [] and link.address(BASE) == f"{BASE}?{query}"


def test_every_setting_is_a_control_and_in_one_place():
    assert set(CONTROLS) == {*KINDS, *DEMAND_KINDS, "lesson", "regularizer"}
    assert len(CONTROLS) == len(set(CONTROLS)) and not set(CONTROLS) & {*GROUPS, class_links.ALL}


@pytest.mark.parametrize("params, said", [
    ({"hide": "dropout,<b>x</b>,y"}, "hide: expected one of all, data"), ({"lock": "-nothing"}, "received '-nothing'"),
    ({"lesson": "zzz"}, "lesson: expected one of capacity"),
    ({"part": "9", "lesson": "capacity"}, "1 is used instead."),
    ({"lang": "tlh"}, "en is used instead."), ({"predict": "perhaps"}, "on is used instead.")])
def test_what_is_not_sound_is_named_in_every_language(params, said):
    _, [message] = class_links.read(params)
    assert said in message
    told = i18n.translated(message, "ko")
    assert "expected" not in told and "used instead" not in told and "left out" not in told


def test_a_seed_beside_settings_is_a_setting_and_no_seed_of_the_lesson():
    assert class_links.read({"lesson": "capacity", "seed": "7"})[0].seed == 7
    assert class_links.read({"lesson": "capacity", "seed": "7", "dataset": "digits"})[0].seed is None
    assert class_links.read({"lesson": "capacity", "seed": "7", "dataset": "digits", "lesson_seed": "9"})[0].seed == 9
    assert class_links.read({"seed": "7"})[0].seed == 7


@pytest.mark.parametrize("given, base", [
    ("https://a.example/x/?lesson=dropout#top", "https://a.example/x/"), (" http://localhost:8501 ", "http://localhost:8501/")])
def test_where_the_page_is(given, base):
    assert class_links.base_of(given) == base


@pytest.mark.parametrize("given", ["", "a.example", "javascript:alert(1)", "http://", "http://[", "ftp://a.example/x",
                                   "https://me:secret@a.example/", "https://a.example/<b>", "http://a b/",
                                   "https://a.example/" + "x" * 200])
def test_what_is_no_web_address_makes_no_link(given):
    with pytest.raises(FieldError, match="address: expected a web address of at most 120 characters"):
        class_links.base_of(given)


def test_the_code_is_that_of_the_address_with_its_margin():
    address = Link("capacity", locked=frozenset(CONTROLS)).address(BASE)
    made = class_links.code(address)
    assert made.error == "M" and not made.is_micro
    assert made.matrix == segno.make_qr(address, error="M", boost_error=False).matrix
    drawn = class_links.picture(address)
    size = 6 * (len(made.matrix) + 8)
    assert f'width="{size}" height="{size}"' in drawn and "#fff" in drawn and "http" not in drawn


def test_the_matrix_is_the_one_of_the_standard_for_a_known_text():
    # The three corners, the dark module and the format bits of level M.
    matrix = class_links.code("HELLO WORLD").matrix
    finder = [[1] * 7, [1, 0, 0, 0, 0, 0, 1], [1, 0, 1, 1, 1, 0, 1]]
    assert len(matrix) == 21 and matrix[13][8] == 1
    for rows, columns in ((slice(0, 3), slice(0, 7)), (slice(0, 3), slice(14, 21)), (slice(14, 17), slice(0, 7))):
        assert [list(row[columns]) for row in matrix[rows]] == finder
    # Format bits are masked by 101010000010010; level M is 00.
    assert [matrix[8][0] ^ 1, matrix[8][1] ^ 0] == [0, 0]


@pytest.mark.parametrize("address, is_here_only", [
    ("http://localhost:8501/?seed=1", True), ("http://127.0.0.1/", True), ("http://[::1]:8501/", True),
    ("http://page.localhost/", True), ("http://192.168.1.7:8501/", False), ("https://localhost.example.org/", False),
    ("https://example.org/127.0.0.1", False)])
def test_an_address_that_no_telephone_opens_is_known(address, is_here_only):
    assert class_links.is_here_only(address) == is_here_only
