"""Who may know whom: what the page's process imports, and which rooms know Streamlit, Keras or neither."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("tensorflow", "keras")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "explorer").rglob("*.py"))
MAY_COMPUTE = {"explorer.batches", "explorer.child", "explorer.costs", "explorer.data.files", "explorer.devices",
               "explorer.fast", "explorer.fused", "explorer.layout", "explorer.libraries", "explorer.model",
               "explorer.plain", "explorer.stack", "explorer.together", "explorer.training", "explorer.worker"}
PURE = ("explorer.config", "explorer.history", "explorer.diagnosis", "explorer.verdict", "explorer.charts",
        "explorer.stopping",
        "explorer.address", "explorer.fields", "explorer.limits", "explorer.sweep", "explorer.heatmap",
        "explorer.comparison", "explorer.overlay", "explorer.causes", "explorer.suggestion", "explorer.words",
        "explorer.lessons.published", "explorer.layer_table", "explorer.portraits", "explorer.samples",
        "explorer.naming", "explorer.contrast", "explorer.prediction", "explorer.guesses", "explorer.wall",
        "explorer.links", "explorer.everybody")


def imported(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def source_of(module: str) -> str:
    path = ROOT / Path(*module.split("."))
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")


def loaded_after(statement: str) -> set[str]:
    """Top-level modules in a fresh process after a statement."""
    answer = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys; print(' '.join({{m.split('.')[0] for m in sys.modules}}))"],
        capture_output=True, text=True, check=True, cwd=ROOT)
    return set(answer.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("module", MODULES)
def test_only_the_ui_imports_streamlit_and_only_a_few_rooms_import_keras(module):
    names = imported(source_of(module))
    assert ("streamlit" in names) <= module.startswith("explorer.ui")
    assert bool(names & set(HEAVY)) <= (module in MAY_COMPUTE)


@pytest.mark.parametrize("module", MODULES)
def test_every_room_says_in_its_first_line_what_it_is_for(module):
    first = ast.get_docstring(ast.parse(source_of(module)))
    assert first and first.splitlines()[0].endswith((".", "?")), module


def test_the_page_and_all_that_it_reaches_leave_tensorflow_and_keras_alone():
    reached = loaded_after("import explorer.ui.controls, explorer.ui.live, explorer.ui.state, explorer.ui.sweep, "
                           "explorer.ui.comparison, explorer.ui.portrait, explorer.ui.engines, explorer.ui.wall, "
                           "explorer.ui.links")
    assert "streamlit" in reached
    assert not reached & set(HEAVY)


def test_the_worker_is_started_before_anything_is_imported_that_only_draws():
    assert not loaded_after("import explorer.engine") & {"pandas", "altair", "streamlit", *HEAVY}


@pytest.mark.parametrize("before", ["enable", "disable"])
def test_loading_the_libraries_leaves_the_collector_as_it_was_and_what_they_can_do_without_to_others(before):
    code = (f"import gc; gc.{before}()\nfrom explorer import libraries; libraries.load()\n"
            f"assert gc.isenabled() is {before == 'enable'}\nimport pandas, sklearn")
    assert {"tensorflow", "keras", "pandas", "sklearn"} <= loaded_after(code)


def test_pages_script_runs_without_tensorflow_in_its_process(tmp_path):
    code = (f"import os; os.environ['EXPLORER_HOME'] = {str(tmp_path)!r}\n"
            "from streamlit.testing.v1 import AppTest\n"
            "at = AppTest.from_file('streamlit_app.py', default_timeout=60).run()\n"
            "assert not at.exception, at.exception")
    assert not loaded_after(code) & set(HEAVY)


@pytest.mark.parametrize("module", PURE)
def test_pure_rooms_know_neither_page_nor_trainer_nor_store(module):
    reached = loaded_after(f"import {module}")
    assert not reached & {"streamlit", "sqlite3", *HEAVY}


def test_training_knows_no_page_and_no_store():
    assert not {"explorer.store", "explorer.engine", "explorer.ui"} & {
        node.module for node in ast.walk(ast.parse(source_of("explorer.training"))) if isinstance(node, ast.ImportFrom)}
