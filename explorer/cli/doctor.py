"""`python -m explorer doctor`: what this installation has, and what to do about anything amiss."""

from __future__ import annotations

import argparse
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

from explorer.config.settings import Settings

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"
# Either of them will do.
INSTEAD = {"tensorflow": "tensorflow-cpu"}


def add_to(commands: Any) -> None:
    parser = commands.add_parser("doctor", help="check this installation", description="Check this installation.")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace, settings: Settings) -> int:
    """Print the findings. Returns: 1 where something is amiss, else 0."""
    amiss: list[str] = []
    is_complete = _versions(REQUIREMENTS, amiss)
    amiss += settings.remarks()
    if is_complete:
        from explorer.cli import doctor_checks  # it needs what has just been looked for

        doctor_checks.look(settings, amiss)
    print("\nAll is well." if not amiss else "\nTo do:")
    for remedy in amiss:
        print(f"  - {remedy}")
    return 1 if amiss else 0


def _versions(requirements: Path, amiss: list[str]) -> bool:
    """Whether everything is there that the explorer needs, of whatever version."""
    print("Versions")
    print(f"  Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    if not requirements.is_file():
        amiss.append(f"{requirements} is not there, so versions cannot be compared: clone the project as a whole.")
        return True
    missing, others = [], []
    for line in requirements.read_text(encoding="utf-8").splitlines():
        wanted = re.match(r"([A-Za-z0-9-]+)(\S*)", line)
        if not wanted:
            continue
        name, versions = wanted.groups()
        found = _version(name) or _version(INSTEAD.get(name, name))
        if not found:
            missing.append(name)
            continue
        print(f"  {' '.join(found)}")
        if not _is_within(found[1], versions):
            others.append(f"{name}{versions} (found {found[1]})")
    if missing:
        amiss.append(f"Missing: {', '.join(missing)}. Run: pip install -r requirements.txt")
    if others:
        amiss.append(f"Of another version than the explorer is made for: {', '.join(others)}. Run: pip install -r "
                     "requirements.txt")
    return not missing


def _version(name: str) -> tuple[str, str] | None:
    try:
        return name, metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _is_within(version: str, wanted: str) -> bool:
    """Whether a version is in a range like `>=1.67,<2`, of these two signs alone."""
    have = _numbers(version)
    for limit in filter(None, wanted.split(",")):
        number = _numbers(limit.lstrip("<>="))
        if not (have >= number if limit.startswith(">=") else have[:len(number)] < number):
            return False
    return True


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.match(r"[0-9.]*", version)[0].split(".") if part]
