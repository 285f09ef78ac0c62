"""The server of a host: an engine before the first visit, its health, its headers, and what it is set to."""

from __future__ import annotations

import json
import os
import signal
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from explorer import data
from explorer.config.run_config import Demand, RunConfig, library_versions
from explorer.config.settings import SettingError, Settings
from explorer.store.store import FAILED, FINISHED
from explorer.ui.server import headers
from tests._server import Server, descendants

ROOT = Path(__file__).resolve().parents[2]


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


# -- a worker that no longer starts, below a path of the host's own ------------------------------------------------


def _asked(address: str) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs Linux's list of processes")
def test_a_worker_that_no_longer_starts_is_told_below_the_hosts_path_and_beside_it(tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    server = Server(tmp_path / "server", STREAMLIT_SERVER_BASE_URL_PATH="class/one", PYTHONPATH=str(hidden))
    root = server.address.removesuffix("/class/one")
    addresses = [f"{root}/healthz", f"{root}/class/one/healthz", f"{root}/healthz/", f"{root}/class/one/healthz/"]

    def wait_until(status: int, said: dict) -> None:
        deadline = time.monotonic() + 120
        while any(_asked(address) != (status, said) for address in addresses):
            assert time.monotonic() < deadline, (status, [_asked(address) for address in addresses], server.log)
            time.sleep(0.1)

    try:
        assert root != server.address
        wait_until(200, {"status": "ok", "worker": "ready"})
        # A file that hides TensorFlow: from now on importing it fails, as where it has been taken away.
        (hidden / "tensorflow.py").write_text("raise ImportError('not here')")
        [worker] = [pid for pid in descendants(server.process.pid)
                    if "explorer.workers.fork_server" in Path(f"/proc/{pid}/cmdline").read_text()
                    and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1] == str(server.process.pid)]
        os.kill(worker, signal.SIGKILL)
        wait_until(503, {"status": "training does not start"})
        # Who asks for a run is told so, and does not wait for ever.
        config, demand = RunConfig(dataset="digits", hidden=(4,)), Demand(epochs=1)
        run_id = config.run_id(data.version("digits", Settings(home=server.home)))
        server.store.request(run_id, config, demand, library_versions(), "ada")
        deadline = time.monotonic() + 30
        while (run := server.store.run(run_id)).is_live:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert run.status == FAILED and run.message.startswith("The training process does not start: see ")
        (hidden / "tensorflow.py").unlink()
        wait_until(200, {"status": "ok", "worker": "ready"})
        server.store.request(run_id, config, demand, library_versions(), "ada")
        while (run := server.store.run(run_id)).is_live:
            assert time.monotonic() < deadline + 90
            time.sleep(0.1)
        assert run.status == FINISHED
    finally:
        assert server.stop() == []
