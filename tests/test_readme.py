"""The README tells the truth."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from explorer.catalogue import DATASETS
from explorer.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DATASETS)
def test_the_readme_names_every_data_set(name):
    assert f"`{name}`" in README


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
def test_the_readme_names_every_setting_with_its_default(name):
    assert f"`EXPLORER_{name.upper()}`" in README


@pytest.mark.parametrize("requirement", (ROOT / "requirements.txt").read_text().split("\n"))
def test_the_readme_gives_every_dependency_a_reason(requirement):
    name = re.match(r"[\w-]*", requirement).group()
    assert not name or f"| {name} |" in README


def test_the_readme_lists_every_room_and_no_other():
    listed = re.findall(r"^  (\w+\.py|\w+/)  +\S", README, re.M)
    here = [path for path in (ROOT / "explorer").iterdir() if not path.name.startswith("_")]
    rooms = {path.name if path.is_file() else f"{path.name}/" for path in here}
    assert set(listed) == rooms - {"pictures/"} and len(listed) == len(set(listed))
