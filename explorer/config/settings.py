"""Settings: what an operator may change, read from EXPLORER_* environment variables."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

# A limit below the smallest run would allow none; none at all is 0 where that may be.
SMALLEST = {"max_samples": 50, "max_words": 10, "max_memory_mb": 0}
# It becomes part of a header: nothing that could end it, or begin another rule.
_ORIGIN = re.compile(r"https?://(\*\.)?[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*(:\d{1,5})?")
_SCHEDULER = re.compile(r"(tcp|tls)://([0-9A-Za-z.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
APP_FOLDER = "overfitting-explorer"
# Strict, so that it is known which part is the password: what is not understood is not shown.
_ADDRESS = re.compile(
    r"(?P<scheme>postgres(?:ql)?://)(?:(?P<user>[^:@/?#\s]*)(?::[^:@/?#\s]*)?@)?"
    r"(?P<hosts>(?:[\w.%-]*|\[[0-9A-Fa-f:.%]+\])(?::\d{1,5})?(?:,(?:[\w.%-]+|\[[0-9A-Fa-f:.%]+\])(?::\d{1,5})?)*)"
    r"(?P<name>/[^:@/?#\s]*)?(?:\?[^@#?\s]*)?")


# A training process that has imported its libraries and holds a small network takes some 450 MB.
MIN_MEMORY_MB = 500


class SettingError(ValueError):
    """An environment variable that cannot be used; the message names it, what is allowed, what came."""


class UnusableStore(SettingError):
    """The store cannot be opened where a variable says that it is."""


def unusable_store(settings: Settings, error: Exception, to_visitors: bool = False) -> UnusableStore:
    """What is said where the store cannot be opened; visitors are not told where a database is."""
    if getattr(error, "says_all", False):  # see `explorer.store.sqlite.StoreError`
        return UnusableStore(str(error))
    if settings.store and not isinstance(error, OSError):
        if to_visitors:
            return UnusableStore(f"EXPLORER_STORE: expected a PostgreSQL database that can be used ({error}).")
        return UnusableStore(f"EXPLORER_STORE: expected a PostgreSQL database that can be used, received "
                             f"{shown_address(settings.store)!r} ({getattr(error, 'why', error)}).")
    return UnusableStore(f"EXPLORER_HOME: expected a folder on a local disk that can be written, received "
                         f"{str(settings.home)!r} ({error}).")


def default_home(environ: Mapping[str, str], platform: str = sys.platform) -> Path:
    """The user's data folder by the platform's convention, with the explorer's own folder in it.

    Args:
        environ: environment variables.
        platform: as `sys.platform`.

    Returns:
        `~/Library/Application Support/…` on macOS, `%LOCALAPPDATA%\\…` on Windows,
        `$XDG_DATA_HOME/…` (default `~/.local/share/…`) elsewhere.
    """
    user = Path(environ.get("HOME") or environ.get("USERPROFILE") or Path.home())
    if platform == "darwin":
        return user / "Library" / "Application Support" / APP_FOLDER
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or user / "AppData" / "Local") / APP_FOLDER
    # The XDG specification says that a relative path is to be ignored.
    given = environ.get("XDG_DATA_HOME", "")
    return (Path(given) if os.path.isabs(given) else user / ".local" / "share") / APP_FOLDER


def shown_address(address: str) -> str:
    """The address of a database without its password and its options, for people and logs."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return "postgresql://…"
    return found["scheme"] + (f"{found['user']}@" if found["user"] else "") + found["hosts"] + (found["name"] or "")


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity to ask
        return os.cpu_count() or 1


@dataclass(frozen=True)
class Settings:
    """Folders and limits of one installation. Every limit is enforced in the engine.

    Attributes:
        home: folder of the store, the checkpoints and the data cache.
        store: `postgresql://…` of a database that is the store instead; it may hold a password, and is not shown.
        data_dir: folder that is searched first for `imdb.npz` and `mnist.npz`.
        max_parameters: most trainable parameters of one network.
        max_epochs: most epochs of one run.
        max_samples: most training examples of one run.
        max_words: most words of a multi-hot vector.
        max_seconds: most seconds that one run may train before it is stopped (it can be continued).
        max_silent_seconds: a training process that has shown no sign of going on for so long is ended.
        max_memory_mb: most memory of one training process, in megabytes; 0 sets no limit. Where the system tells how
            much a process has (Linux).
        max_queue: most runs that wait at a time.
        max_queued_per_person: most of them that one person has asked for.
        max_running_per_person: whoever has so many runs (or stacks of runs) training lets others go first, who have
            fewer. Nobody's place stays empty for that: with nobody else waiting, one person has the whole machine.
        runs_at_once: runs trained side by side.
        threads: threads of one run; results are compared bit for bit on one number only.
        max_runs: most runs in the store; those that nobody has asked for for the longest time go first, the lessons'
            own last, and none that waits or trains.
        checkpoint_mb: disk space for checkpoints, in megabytes; the oldest go first, the lessons' own last.
        device: `any`, or `cpu` to leave graphics cards alone.
        frame_ancestors: who may show the page in a frame: `self`, `none`, `any`, or others
            besides by their origins, as `https://huggingface.co https://*.hf.space`.
        class_wall: whether the page shows everybody's runs on one picture.
        scheduler: address of the Dask scheduler whose workers train; this machine does where there is none.
    """

    home: Path
    store: str = field(default="", repr=False)
    data_dir: Path | None = None
    max_parameters: int = 20_000_000
    max_epochs: int = 500
    max_samples: int = 60_000
    max_words: int = 20_000
    max_seconds: int = 3_600
    max_silent_seconds: int = 300
    max_memory_mb: int = 0
    max_queue: int = 200
    max_queued_per_person: int = 64
    max_running_per_person: int = 1
    runs_at_once: int = min(2, _cores())
    threads: int = _cores()
    max_runs: int = 100_000
    checkpoint_mb: int = 2_000
    device: str = "any"
    frame_ancestors: str = "self"
    class_wall: bool = True
    scheduler: str = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings.

        Raises:
            SettingError: a variable holds something else than a whole number that is large enough
                (or what EXPLORER_STORE, EXPLORER_DEVICE, EXPLORER_FRAME_ANCESTORS, EXPLORER_CLASS_WALL and
                EXPLORER_SCHEDULER allow).
        """
        environ = os.environ if environ is None else environ
        values: dict[str, object] = {}
        for one in fields(cls):
            name = f"EXPLORER_{one.name.upper()}"
            text = environ.get(name, "").strip()
            if not text:
                continue
            if one.name in ("home", "data_dir"):
                values[one.name] = Path(text).expanduser().absolute()
            elif one.name == "store":
                if not _ADDRESS.fullmatch(text):
                    raise SettingError(
                        f"{name}: expected postgresql://user:password@host/database, with %40 for @, %2F for / and so "
                        "on in the password; what was received is not shown, for it may hold a password. Without "
                        "this variable the store is a file in EXPLORER_HOME.")
                values[one.name] = text
            elif one.name == "device":
                if text not in ("any", "cpu"):
                    raise SettingError(f"{name}: expected any or cpu, received {text!r}.")
                values[one.name] = text
            elif one.name == "frame_ancestors":
                if text not in ("self", "none", "any") and not all(map(_ORIGIN.fullmatch, text.split())):
                    raise SettingError(f"{name}: expected self, none, any, or origins like https://huggingface.co, "
                                       f"received {text!r}.")
                values[one.name] = " ".join(text.split())
            elif one.name == "class_wall":
                if text not in ("on", "off"):
                    raise SettingError(f"{name}: expected on or off, received {text!r}.")
                values[one.name] = text == "on"
            elif one.name == "scheduler":
                if not _SCHEDULER.fullmatch(text):
                    raise SettingError(f"{name}: expected the address of a Dask scheduler like tcp://10.0.0.5:8786 or "
                                       f"tls://10.0.0.5:8786, received {text!r}.")
                values[one.name] = text
            else:
                least = SMALLEST.get(one.name, 1)
                if not text.isascii() or not text.isdigit() or len(text) > 15 or int(text) < least:
                    raise SettingError(f"{name}: expected a whole number of {least} or more, received {text!r}.")
                if one.name == "max_memory_mb" and 0 < int(text) < MIN_MEMORY_MB:
                    raise SettingError(f"{name}: expected 0 for no limit, or a whole number of {MIN_MEMORY_MB} or "
                                       f"more, for a training process takes nearly as much before it has a network; "
                                       f"received {text!r}.")
                values[one.name] = int(text)
        values.setdefault("home", default_home(environ))
        return cls(**values)

    def remarks(self) -> list[str]:
        """What can be used but is hardly meant: sentences for an operator."""
        known = {f"EXPLORER_{one.name.upper()}" for one in fields(self)}
        found = []
        for name in sorted(os.environ):
            if name.startswith("EXPLORER_") and name not in known:
                near = difflib.get_close_matches(name, known, 1)
                found.append(f"{name} means nothing to the explorer and has no effect"
                             f"{f'; {near[0]} would have one' if near else ''}.")
        if self.data_dir and not self.data_dir.is_dir():
            found.append(f"EXPLORER_DATA_DIR: expected a folder with imdb.npz and mnist.npz, received "
                         f"{str(self.data_dir)!r}, which is none.")
        return found

    def as_dict(self) -> dict[str, object]:
        """The settings as JSON can carry them to another process, on a command line that everybody may read.

        `store` is left out, for its password; see `explorer.workers.trainer.job_of`.
        """
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()
                if name != "store"}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Settings:
        """Read what `as_dict` gave."""
        folders = {name: Path(values[name]) if values[name] else None for name in ("home", "data_dir")}
        return cls(**{**values, **folders})

    @property
    def store_path(self) -> Path:
        """The file that the store is, where it is one."""
        return self.home / "runs.sqlite3"

    @property
    def store_place(self) -> Path | str:
        """The store: a file, or the address of a database."""
        return self.store or self.store_path

    @property
    def engines(self) -> Path:
        return self.home / "engines"

    @property
    def checkpoints(self) -> Path:
        return self.home / "checkpoints"

    @property
    def cache(self) -> Path:
        return self.home / "cache"
