"""The documents tell the truth: README.md, README.ko.md, CONTRIBUTING.md and docs/."""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path

import pytest

from explorer.__main__ import COMMANDS, Settings, main
from explorer.data import DATASETS
from explorer.lessons.presets import LESSONS

ROOT = Path(__file__).resolve().parents[1]
CODE = ROOT / "explorer"
DOCUMENTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
             for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))}
README, KOREAN = DOCUMENTS["README.md"], DOCUMENTS["README.ko.md"]
SETTINGS, ARCHITECTURE, CLI = (DOCUMENTS[f"docs/{name}.md"] for name in ("settings", "architecture", "cli"))
# What describes the code of today; the changelog tells of earlier days, too.
CURRENT = {name: text for name, text in DOCUMENTS.items() if name != "CHANGELOG.md"}
START = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/streamlit run streamlit_app.py"
TEST = ".venv/bin/pip install -r tests/requirements.txt && .venv/bin/python -m pytest -n 2 --dist loadfile"
MAX_README_LINES = 150
# Defaults that depend on the machine, and that of a folder, are told in words.
IN_WORDS = {"home", "store", "data_dir", "runs_at_once", "threads", "scheduler"}
VARIABLE = re.compile(r"\bEXPLORER_[A-Z]+(?:_[A-Z]+)*\b(?!_)")


def blocks(text: str) -> list[str]:
    """The code blocks of a document."""
    return re.findall(r"^ *```\w*\n(.*?)^ *```$", text, re.M | re.S)


def prose(text: str) -> str:
    """A document without its code blocks."""
    return re.sub(r"^ *```\w*\n.*?^ *```$", "", text, flags=re.M | re.S)


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ .+$", prose(text), re.M)


def anchors(text: str) -> set[str]:
    """The names by which a link reaches a heading, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", heading.lstrip("# ").lower()).replace(" ", "-") for heading in headings(text)}


def links(text: str) -> list[str]:
    """Where a document leads to, pictures included."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(text))


def snippets(text: str) -> list[str]:
    """Everything that is set as code: lines of blocks, and what stands between backquotes."""
    return [*(line for block in blocks(text) for line in block.splitlines()),
            *(found.replace("\n", " ") for found in re.findall(r"`([^`]+)`", prose(text)))]


def commands(text: str) -> list[list[str]]:
    """What a document calls after `python -m explorer`, word by word, and `doctor`, `runs list` and the like alone."""
    found = []
    for snippet in snippets(text):
        called = re.search(r"python -m explorer (.+)", snippet)
        words = shlex.split(called[1] if called else snippet, posix=False) if called or snippet[:1].isalpha() else []
        if words and words[0] in COMMANDS:
            found.append(words)
    return found


@cache
def options(*command: str) -> frozenset[str]:
    """The options of a command, as its help lists them."""
    from contextlib import redirect_stdout
    from io import StringIO

    with redirect_stdout(StringIO()) as said, pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    assert end.value.code == 0, command
    return frozenset(re.findall(r"--[a-z][a-z0-9-]*", said.getvalue())) - {"--help"}


def names_in(path: Path) -> set[str]:
    """What a module defines: functions, classes, methods and names that are set at its top."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    for node in tree.body:
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            found |= {part.id for part in ast.walk(target) if isinstance(part, ast.Name)} if target else set()
    return found


# -- README.md and README.ko.md ------------------------------------------------------------------------------------


def test_the_readme_can_be_read_at_once():
    assert len(README.splitlines()) <= MAX_README_LINES


@pytest.mark.parametrize("command", [START, TEST])
def test_the_readme_has_the_command_that_opens_the_page_and_the_one_that_passes_the_tests(command):
    assert f"{command}\n" in blocks(README)
    for path in re.findall(r"[\w./]+\.(?:txt|py)\b", command):
        assert (ROOT / path).is_file()


def test_ci_runs_the_command_that_the_readme_gives_for_the_tests():
    pytest_call = TEST.partition(".venv/bin/python ")[2]
    assert f'"$venv/.venv/bin/python" {pytest_call}\n' in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert f"{TEST}\n" in blocks(DOCUMENTS["CONTRIBUTING.md"])


def test_the_korean_readme_has_the_same_commands():
    assert blocks(KOREAN) == blocks(README)


def test_the_korean_readme_has_the_same_headings_tables_and_lists():
    def outline(text: str) -> list[str]:
        return [found[0] for found in re.findall(r"^(#+ |\| |- |\d\. |!\[)", prose(text), re.M)]

    assert [heading.count("#") for heading in headings(KOREAN)] == [heading.count("#") for heading in headings(README)]
    assert outline(KOREAN) == outline(README)


def test_the_korean_readme_leads_to_the_same_places_and_names_the_same_things():
    assert sorted(links(KOREAN)) == sorted("README.md" if to == "README.ko.md" else to for to in links(README))
    assert set(re.findall(r"`([^`]+)`", prose(KOREAN))) == set(re.findall(r"`([^`]+)`", prose(README)))


def test_the_korean_readme_is_korean_in_the_formal_style():
    plain = re.sub(r"\([^()]*\)", "", re.sub(r"\]\([^)]*\)", "]", prose(KOREAN)))
    found = re.findall(r"[가-힣][^.?!\n]*[.?](?=\s)", plain)
    assert len(found) > 40
    for end in found:
        assert re.search(r"(니다|시오|까요)[.?]$", end), end


@pytest.mark.parametrize("text", [README, KOREAN], ids=["en", "ko"])
def test_the_readme_names_every_data_set(text):
    for name in DATASETS:
        assert f"| `{name}` |" in text


@pytest.mark.parametrize("text", [README, KOREAN], ids=["en", "ko"])
def test_the_readme_names_every_lesson_in_the_order_of_the_page(text):
    listed = re.findall(r"^\| `([a-z-]+)` \|", text, re.M)
    assert [name for name in listed if name not in DATASETS] == list(LESSONS)


def test_there_are_as_many_lessons_and_tutorials_as_the_readme_says():
    tutorials = {part.source for parts in LESSONS.values() for part in parts} - {""}
    assert (len(LESSONS), len(tutorials)) == (10, 5)
    assert "Ten lessons reproduce experiments from five\ntutorials" in README
    assert "실습 열 개는 튜토리얼 다섯 편의 실험" in KOREAN


def test_the_readme_leads_to_every_document():
    assert {name for name in DOCUMENTS if name != "README.md"} <= set(links(README))


# -- links and pictures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_and_picture_leads_somewhere(name):
    folder = (ROOT / name).parent
    for link in links(DOCUMENTS[name]):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (folder / path).resolve() if path else ROOT / name
        assert target.is_file() and target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def test_every_picture_is_shown():
    shown = {((ROOT / name).parent / link).resolve() for name, text in DOCUMENTS.items() for link in links(text)}
    assert set((CODE / "pictures").iterdir()) <= shown


# -- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
def test_every_setting_has_a_row_with_its_default(field):
    row = re.search(rf"^\| `EXPLORER_{field.name.upper()}` \| (.+?) \| (.+) \|$", SETTINGS, re.M)
    assert row, field.name
    if field.name in IN_WORDS:
        return
    assert field.default is not MISSING
    shown = {True: "on", False: "off"}[field.default] if isinstance(field.default, bool) else field.default
    shown = f"{shown:,}" if isinstance(shown, int) else f"`{shown}`"
    assert re.match(rf"{re.escape(shown)}(,|$)", row[1]), row[0]


def test_every_variable_of_the_code_is_documented_and_every_one_that_is_documented_is_known():
    sources = [*CODE.rglob("*.py"), ROOT / "streamlit_app.py", ROOT / "Dockerfile", ROOT / ".ci" / "run"]
    known = {f"EXPLORER_{field.name.upper()}" for field in fields(Settings)}
    used = {name for path in sources for name in VARIABLE.findall(path.read_text(encoding="utf-8"))}
    documented = {name for text in CURRENT.values() for name in VARIABLE.findall(text)}
    assert used <= known and known <= set(VARIABLE.findall(SETTINGS))
    assert documented == known


@pytest.mark.parametrize("name", ["KERAS_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"])
def test_other_variables_that_the_code_reads_are_documented(name):
    assert any(name in path.read_text(encoding="utf-8") for path in CODE.rglob("*.py"))
    assert name in SETTINGS


# -- the command line ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_section_with_all_its_options(command):
    section = re.search(rf"^## {command}\n(.*?)(?=^## |\Z)", CLI, re.M | re.S)
    assert section, command
    wanted = options(command)
    for action in ("list", "export", "import") if command == "runs" else ():
        assert f"`{command} {action}" in section[1]
        wanted |= options(command, action)
    assert wanted <= set(re.findall(r"--[a-z][a-z0-9-]*", section[1]))


@pytest.mark.parametrize("name", CURRENT)
def test_every_command_that_a_document_gives_is_understood(name):
    for words in commands(CURRENT[name]):
        action = words[:2] if words[0] == "runs" and len(words) > 1 else words[:1]
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= options(*action), words


def test_the_run_that_the_readme_trains_is_a_valid_one():
    [words] = [words for words in commands(README) if words[0] == "train" and len(words) > 1]
    given = {name.removeprefix("--").replace("-", "_"): text
             for name, text in zip(words[1::2], words[2::2], strict=True)}
    assert int(given.pop("epochs")) <= Settings.max_epochs
    some = LESSONS["capacity"][0].runs[0][0]
    config = type(some)(**given)  # it raises where a value is none
    assert (config.dataset, config.inputs, config.hidden, config.l2) == ("imdb", 10_000, (16, 16), 0.001)


@pytest.mark.parametrize("name", CURRENT)
def test_every_benchmark_that_a_document_names_is_there(name):
    for module in re.findall(r"python -m (tests\.[\w.]+)", CURRENT[name]):
        path = ROOT / Path(*module.split(".")).with_suffix(".py")
        assert path.is_file() and '__name__ == "__main__"' in path.read_text(encoding="utf-8"), module


@pytest.mark.parametrize("name", CURRENT)
def test_every_path_that_a_document_names_is_there(name):
    for snippet in snippets(CURRENT[name]):
        for path in re.findall(r"(?<![\w/.])(?:explorer|tests|docs|\.ci|\.streamlit)/[\w./-]*", snippet):
            assert (ROOT / path.rstrip(".")).exists(), path


# -- the architecture ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("requirement", (ROOT / "requirements.txt").read_text().split("\n"))
def test_every_dependency_has_a_reason(requirement):
    name = re.match(r"[\w-]*", requirement).group()
    assert not name or f"| {name} |" in ARCHITECTURE


def listed_modules() -> list[str]:
    """The modules of the tree under *Modules*, by their paths."""
    found, folders = [], []
    [tree] = [block for block in blocks(ARCHITECTURE) if block.startswith("explorer/\n")]
    for indent, name in re.findall(r"^((?:  )+)([\w/.]+)", tree, re.M):
        folders[len(indent) // 2 - 1:] = []
        if name.endswith("/"):
            folders.append(name)
        else:
            found.append("".join([*folders, name]))
    return found


def test_the_architecture_lists_every_module_and_no_other():
    listed = listed_modules()
    here = {path.relative_to(CODE).as_posix() for path in CODE.rglob("*.py")
            if not path.name.startswith("_") and path.parent != CODE}
    # A package's own module is listed where it holds more than its first line.
    own = {name for name in listed if name.endswith("__init__.py")}
    assert set(listed) - own == here and len(listed) == len(set(listed))
    assert all((CODE / name).is_file() for name in own)


def test_the_architecture_has_a_row_for_every_package_and_no_other():
    rows = re.findall(r"^\| `(\w+)` \|", ARCHITECTURE, re.M)
    folders = {path.name for path in CODE.iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert set(rows) == folders - {"pictures"} and len(rows) == len(set(rows))


def test_a_name_that_the_architecture_gives_is_in_the_code():
    given = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", ARCHITECTURE)
    assert len(given) > 40
    for path, name in given:
        module = next(base / path for base in (CODE, ROOT) if (base / path).is_file())
        assert not name or name in names_in(module), f"{path}::{name}"
