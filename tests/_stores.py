"""Where a store may be: a file, or a database of a PostgreSQL that the tests start for themselves and end."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
# Passwords are asked of this user alone.
GUARDED, PASSWORD = "guarded", "s3cret-word"
_numbers = count(1)


class Cluster:
    """A PostgreSQL of one's own, reached through a socket in a temporary folder.

    Args:
        lasting: whether it waits for the disk, as one does that people rely on.
    """

    def __init__(self, lasting: bool = False) -> None:
        self._options = "" if lasting else " -c fsync=off -c full_page_writes=off"
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path has 100 characters at most
        # It refuses to be run by root.
        self._user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        if self._user:
            shutil.chown(self.folder, "postgres", "postgres")
        self._data = self.folder / "data"
        self._run("initdb", "--pgdata", self._data, "--username", "ada", "--auth", "trust", "--encoding", "UTF8",
                  "--no-locale", "--no-sync")
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"local all {GUARDED} scram-sha-256\nlocal all all trust\n")
        self.start()
        self.tell(f"CREATE USER {GUARDED} SUPERUSER PASSWORD '{PASSWORD}'")

    def start(self) -> None:
        self._run("pg_ctl", "start", "--wait", "--silent", "--pgdata", self._data, "--log", self.folder / "log",
                  "--options", f"-c listen_addresses='' -c unix_socket_directories={self.folder} "
                               f"-c max_connections=60 -c shared_buffers=32MB{self._options}")

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "--wait", "--silent", "--pgdata", self._data, "--mode", "immediate")

    def end(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def new(self) -> str:
        """The address of a new, empty database."""
        name = f"runs{next(_numbers)}"
        self.tell(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY wal_log")
        return self.address(name)

    def address(self, name: str, user: str = "ada") -> str:
        return f"postgresql://{user}@/{name}?host={self.folder}"

    def tell(self, statement: str, name: str = "postgres") -> list[tuple]:
        import psycopg

        with psycopg.connect(self.address(name), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _run(self, program: str, *arguments: object) -> None:
        done = subprocess.run([BINARIES[-1] / program, *map(str, arguments)], cwd=self.folder, text=True,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **self._user)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Debian's PostgreSQL, in CI always; elsewhere the tests that need it skip where it is missing."""
    missing = None if BINARIES else "PostgreSQL is not installed (apt-get install postgresql)"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        missing = "psycopg is not installed (tests/requirements.txt)"
    if missing:
        assert not os.environ.get("CI"), missing
        pytest.skip(missing)
    made = Cluster()
    yield made
    made.end()


@pytest.fixture
def address(cluster: Cluster) -> str:
    """The address of an empty database."""
    return cluster.new()


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Path | str]:
    """Gives the place of a further empty store with each call; once with files, once with databases."""
    if request.param == "SQLite":
        return lambda: tmp_path / f"home{next(_numbers)}" / "runs.sqlite3"
    return request.getfixturevalue("cluster").new


@pytest.fixture
def place(new_place: Callable[[], Path | str]) -> Path | str:
    """The place of an empty store, once a file and once a database."""
    return new_place()
