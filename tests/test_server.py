"""The server of a host: an engine before the first visit, its health, its headers, and what it is set to."""

from __future__ import annotations

import json
import os
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from explorer.settings import SettingError, Settings
from explorer.ui.server import headers

from ._server import Server, descendants

ROOT = Path(__file__).resolve().parents[1]


def test_the_servers_settings_hold():
    found = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert found["client"]["showErrorDetails"] == "none"  # a traceback tells paths and versions to a visitor
    assert found["browser"]["gatherUsageStats"] is False
    assert found["runner"]["postScriptGC"] is False
    assert found["server"]["maxUploadSize"] == 0 and found["server"]["maxWidgetStateSize"] == 1  # megabytes
    assert "enableXsrfProtection" not in found["server"] and "enableCORS" not in found["server"]  # on by default


@pytest.mark.parametrize(("given", "policy", "frame"), [
    ("self", "frame-ancestors 'self'", "SAMEORIGIN"), ("none", "frame-ancestors 'none'", "DENY"), ("any", None, None),
    ("https://huggingface.co https://*.hf.space", "frame-ancestors 'self' https://huggingface.co https://*.hf.space",
     None)])
def test_who_may_show_the_page_in_a_frame(given, policy, frame):
    found = headers(Settings.from_environment({"EXPLORER_FRAME_ANCESTORS": given}).frame_ancestors)
    assert found.get("Content-Security-Policy") == policy and found.get("X-Frame-Options") == frame
    assert found["X-Content-Type-Options"] == "nosniff" and found["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("given", [
    "everybody", "https://a; script-src *", "https://a\r\nSet-Cookie: x", "'self'", "*", "https://a/path"])
def test_what_is_no_origin_is_named(given):
    with pytest.raises(SettingError, match="EXPLORER_FRAME_ANCESTORS: expected self, none, any, or origins"):
        Settings.from_environment({"EXPLORER_FRAME_ANCESTORS": given})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    assert server.stop() == []


def test_the_engine_is_there_before_anybody_comes(server: Server):
    deadline = time.monotonic() + 90
    while True:
        with urllib.request.urlopen(f"{server.address}/healthz", timeout=5) as answer:
            found = json.load(answer)
        assert found["status"] == "ok"
        if found["worker"] == "ready":
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (server.home / "runs.sqlite3").exists() and descendants(server.process.pid)
    assert "Traceback" not in server.log


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's list of sockets")
def test_no_port_is_open_but_the_pages(server: Server):
    listening = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/udp6"):
        for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else ():
            fields = line.split()
            if "udp" in table or fields[3] == "0A":
                listening[f"socket:[{fields[9]}]"] = int(fields[1].rpartition(":")[2], 16)
    ports = set()
    for pid in [server.process.pid, *descendants(server.process.pid)]:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                ports.add(listening.get(os.readlink(descriptor)))
            except OSError:
                continue  # closed meanwhile
    assert ports - {None} == {server.port}


@pytest.mark.parametrize("path", ["/", "/healthz", "/_stcore/health", "/nowhere"])
def test_every_answer_has_the_headers(server: Server, path: str):
    try:
        answer = urllib.request.urlopen(server.address + path, timeout=5)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        for name, value in headers("self").items():
            assert answer.headers.get_all(name) == [value]


def test_without_a_store_it_is_not_well(tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    server = Server(tmp_path, EXPLORER_HOME=str(tmp_path / "file" / "home"))
    try:
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"{server.address}/healthz", timeout=5)
        assert error.value.code == 503 and json.load(error.value) == {"status": "no store"}
    finally:
        server.stop()
