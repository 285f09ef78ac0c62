"""The container file, line by line: nothing is built, and each line is run as a script on what it would copy."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests._server import descendants, free_port, outliving

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="the container's lines are for a shell")

# Stands for pip in the container: takes the list of packages as pip would, and has them looked for here.
PIP = """#!/bin/sh
[ "$*" = "install --no-cache-dir -r /dev/stdin" ] && cat > "$REQUIREMENTS"
"""


# Another user without any right but to read: Python may lie where only its owner may look.
ANOTHER = ("setpriv", "--reuid={}", "--regid={}", "--clear-groups", "--inh-caps=-all,+dac_read_search",
           "--ambient-caps=-all,+dac_read_search")


def _instructions() -> list[tuple[str, str]]:
    """The lines that do something, as (what, with what)."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(None, 1)) for line in lines]


class _Container:
    """What the lines have made so far, in a folder that stands for the container's root."""

    def __init__(self, root: Path):
        self.root, self.folder = root, root
        self.environment = {"PATH": os.pathsep.join([str(root / "bin"), str(Path(sys.executable).parent),
                                                     os.environ["PATH"]]),
                            "REQUIREMENTS": str(root / "requirements.installed")}
        self.user: int | None = None
        self.is_another = False  # whether what runs is run as that user, where this one may choose
        self.volumes: list[Path] = []
        self.ports: list[str] = []
        self.health, self.command = "", ""
        (root / "bin").mkdir()
        (root / "bin" / "pip").write_text(PIP)
        (root / "bin" / "pip").chmod(0o755)

    def inside(self, text: str) -> str:
        """Paths of the container, in the folder that stands for it."""
        return re.sub(r"(?<![\w.:/])/(data|app)\b", lambda found: f"{self.root}/{found[1]}", text)

    def start(self, command: str, **more) -> subprocess.Popen:
        who = [word.format(self.user) for word in ANOTHER] if self.is_another else []
        return subprocess.Popen([*who, "/bin/sh", "-c", command], cwd=self.folder, env=self.environment, **more)

    def run(self, command: str) -> int:
        return self.start(command, stderr=subprocess.DEVNULL).wait(60)

    # -- one for each kind of line ------------------------------------------------------------------------

    def do_from(self, given: str) -> None:
        version = re.fullmatch(r"python:(\d+\.\d+)-slim", given)[1]
        allowed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
        assert version in SpecifierSet(allowed)

    def do_workdir(self, given: str) -> None:
        self.folder = Path(self.inside(given))
        self.folder.mkdir(parents=True)

    def do_copy(self, given: str) -> None:
        *sources, target = given.split()
        place = self.folder / target
        for source in sources:
            tracked = subprocess.run(["git", "ls-files", source], cwd=ROOT, capture_output=True, text=True,
                                     check=True).stdout.split("\n")[:-1]
            assert tracked, f"{source} is not there to be copied"
            for name in tracked:
                path = place / Path(name).relative_to(source) if (ROOT / source).is_dir() else place / name
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, path)

    def do_run(self, given: str) -> None:
        assert self.run(self.inside(given)) == 0, given

    def do_env(self, given: str) -> None:
        self.environment |= dict(pair.split("=", 1) for pair in shlex.split(self.inside(given)))

    def do_volume(self, given: str) -> None:
        self.volumes.append(Path(self.inside(given)))

    def do_user(self, given: str) -> None:
        self.user = int(given)
        self.is_another = os.getuid() == 0 and shutil.which(ANOTHER[0]) is not None

    def do_expose(self, given: str) -> None:
        self.ports.append(given)

    def do_healthcheck(self, given: str) -> None:
        self.health = given.split("CMD ", 1)[1]

    def do_cmd(self, given: str) -> None:
        self.command = given


@pytest.fixture(scope="module")
def container() -> Iterator[_Container]:
    # Not in pytest's own folder, which is closed to others than who runs it.
    root = Path(tempfile.mkdtemp(prefix="container-"))
    root.chmod(0o755)
    made = _Container(root)
    for what, given in _instructions():
        getattr(made, f"do_{what.lower()}")(given)  # a line of a kind that is not known here fails
    yield made
    shutil.rmtree(root)


def test_what_it_installs_is_what_the_tests_run_with(container):
    wanted = [Requirement(line) for line in Path(container.environment["REQUIREMENTS"]).read_text().splitlines()
              if line.strip() and not line.startswith("#")]
    names = [requirement.name for requirement in wanted]
    assert "streamlit" in names and "tensorflow-cpu" in names and "tensorflow" not in names
    for requirement in wanted:
        name = requirement.name.removesuffix("-cpu")
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = importlib.metadata.version(requirement.name)
        assert found in requirement.specifier, requirement


def _is_ready(port: str) -> bool:
    """Whether the training process is there, too."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
        return json.load(answer)["worker"] == "ready"


def test_it_serves_the_page_as_somebody_without_rights_and_ends_when_it_is_told_to(container):
    assert container.user == 1000 and container.ports == [container.environment["PORT"]] == ["7860"]
    container.environment["PORT"] = port = str(free_port())
    before = {path for path in container.root.rglob("*") if not path.is_relative_to(container.root / "data")}
    assert container.run(container.health) != 0, "nothing is there yet"
    with open(container.root.parent / f"{container.root.name}.log", "w+b") as log:
        server = container.start(container.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 90
            while container.run(container.health) != 0 or not _is_ready(port):
                assert server.poll() is None and time.monotonic() < deadline, Path(log.name).read_text()
                time.sleep(0.2)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                assert answer.status == 200 and answer.headers["X-Content-Type-Options"] == "nosniff"
            if container.is_another:
                assert os.stat(f"/proc/{server.pid}").st_uid == 1000
            below = descendants(server.pid)
            assert below, "the worker starts with the server"
            assert (container.volumes[0] / "explorer" / "runs.sqlite3").exists()
            server.send_signal(signal.SIGTERM)  # as `docker stop` does
            server.wait(30)
            assert outliving(below) == []
        finally:
            server.kill()
            server.wait()
            Path(log.name).unlink()
    # It has written to its volume only.
    after = {path for path in container.root.rglob("*") if not path.is_relative_to(container.volumes[0])}
    assert {path for path in after - before if "__pycache__" not in path.parts} == set()
