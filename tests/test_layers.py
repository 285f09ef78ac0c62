"""Who may import whom: the packages of the explorer, Streamlit, Keras, and what the page's process loads."""

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
# Each package and those that it may import besides itself, all of them above it.
MAY_IMPORT = {
    "i18n": (),
    "config": ("i18n",),
    "data": ("config",),
    "analysis": ("i18n", "config"),
    "lessons": ("i18n", "config", "data", "analysis"),
    "training": ("config", "data"),
    "store": ("config", "data"),
    "workers": ("config", "data", "training", "store"),
    "engine": ("config", "data", "store", "workers"),
    "cli": ("i18n", "config", "data", "analysis", "lessons", "store", "workers", "engine"),
    "ui": ("i18n", "config", "data", "analysis", "lessons", "store", "workers", "engine"),
}
# The command line begins here and knows what may go wrong before any command is there.
STARTS = {"explorer.__main__": ("config", "store", "cli")}
# These import TensorFlow or Keras although they are no part of `training`.
MAY_COMPUTE = {"explorer.data.files", "explorer.workers.trainer", "explorer.workers.devices",
               "explorer.workers.fork_server", "explorer.workers.libraries"}
# Neither the page nor the trainer nor the store is loaded with these.
PURE = tuple(module for module in MODULES
             if module.split(".")[1:2] in (["i18n"], ["analysis"]) or module.startswith("explorer.ui.charts"))


def imported(module: str) -> set[str]:
    """Top-level packages that a module imports."""
    return {name.split(".")[0] for name in imports_of(module)}


def imports_of(module: str) -> set[str]:
    """Modules that a module imports anywhere, functions included, but for those that it needs for types only."""
    tree, names = ast.parse(source_of(module)), set()
    for_types = {inner for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
                 for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: a relative import"
            names |= {full if (full := f"{node.module}.{alias.name}") in MODULES else node.module
                      for alias in node.names}
    return names


def package_of(module: str) -> str:
    return module.split(".")[1] if module.startswith("explorer.") else ""


def source_of(module: str) -> str:
    path = ROOT / Path(*module.split("."))
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")


def loaded_after(statement: str) -> set[str]:
    """Top-level modules in a fresh process after a statement."""
    answer = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys; print(' '.join({{m.split('.')[0] for m in sys.modules}}))"],
        capture_output=True, text=True, check=True, cwd=ROOT)
    return set(answer.stdout.splitlines()[-1].split())


def test_the_top_of_the_explorer_holds_its_packages_and_nothing_else():
    here = {path.name for path in (ROOT / "explorer").iterdir() if path.name != "__pycache__"}
    assert here == {*MAY_IMPORT, "pictures", "__init__.py", "__main__.py"}


@pytest.mark.parametrize("module", [module for module in MODULES if module != "explorer"])
def test_a_package_imports_only_those_above_it(module):
    own = package_of(module)
    allowed = {own, *(STARTS.get(module) or MAY_IMPORT[own])}
    found = {name: package_of(name) for name in imports_of(module) if package_of(name)}
    assert not {name for name, package in found.items() if package not in allowed}, f"{own} may import {allowed}"


def test_the_table_itself_has_no_import_that_runs_upwards():
    order = list(MAY_IMPORT)
    assert all(order.index(above) < order.index(package) for package, given in MAY_IMPORT.items() for above in given)


def test_no_modules_import_each_other_in_a_circle():
    waiting = {module: {name for name in imports_of(module) if name in MODULES} - {module} for module in MODULES}
    while ready := [module for module, needs in waiting.items() if not needs & waiting.keys()]:
        for module in ready:
            del waiting[module]
    assert not waiting, sorted(waiting)


@pytest.mark.parametrize("module", MODULES)
def test_only_the_ui_imports_streamlit_and_only_training_and_a_few_more_import_keras(module):
    names = imported(module)
    assert ("streamlit" in names) <= (package_of(module) == "ui" and ".charts" not in module)
    assert bool(names & set(HEAVY)) <= (package_of(module) == "training" or module in MAY_COMPUTE)


@pytest.mark.parametrize("module", MODULES)
def test_every_room_says_in_its_first_line_what_it_is_for(module):
    first = ast.get_docstring(ast.parse(source_of(module)))
    assert first and first.splitlines()[0].endswith((".", "?")), module


def test_the_page_and_all_that_it_reaches_leave_tensorflow_and_keras_alone():
    modules = [module for module in MODULES if package_of(module) == "ui"]
    reached = loaded_after(f"import {', '.join(modules)}")
    assert "streamlit" in reached
    assert not reached & set(HEAVY)


def test_the_worker_is_started_before_anything_is_imported_that_only_draws():
    drawing = {"pandas", "altair", *HEAVY}
    assert not loaded_after("import explorer.engine.engine") & {*drawing, "streamlit"}
    # Streamlit itself is there when a page's script begins.
    assert not loaded_after("import explorer.ui.resources") & drawing - loaded_after("import streamlit")


@pytest.mark.parametrize("before", ["enable", "disable"])
def test_loading_the_libraries_leaves_the_collector_as_it_was_and_what_they_can_do_without_to_others(before):
    code = (f"import gc; gc.{before}()\nfrom explorer.workers import libraries; libraries.load()\n"
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
