"""Words: every control has its title and one sentence of help, and the README tells the truth."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from explorer import texts
from explorer.catalogue import DATASETS
from explorer.config import KINDS, Demand, RunConfig
from explorer.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTROLS = [field.name for field in (*fields(RunConfig), *fields(Demand))] + ["regularizer"]


@pytest.mark.parametrize("name", CONTROLS)
def test_every_control_has_a_title_and_one_sentence_of_help(name):
    assert texts.TITLES[name]
    assert texts.HELP[name].endswith(".") and ". " not in texts.HELP[name]


@pytest.mark.parametrize("name", sorted(set(CONTROLS) - {"device"}))
def test_help_says_what_a_control_does_to_under_and_overfitting(name):
    assert re.search(r"fit|memoris|regulari|luck|learn", texts.HELP[name])


@pytest.mark.parametrize("name", ["optimizer", "activation", "initializer"])
def test_every_choice_has_a_name(name):
    assert set(texts.CHOICES[name]) == set(KINDS[name].options)


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
