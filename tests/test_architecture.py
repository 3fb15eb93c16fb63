"""The shape of the code: which room may import which, and that importing does nothing but import."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "codi_int"
# A room may import the rooms of its own level and of the levels before it.
LEVELS = (
    {"errors", "proportions", "records", "types", "files", "progress"},
    {"data"},
    {"model"},
    {"training", "sae"},
    {"features", "interventions", "probes"},
    {"runs", "report"},
    {"cli"},
)
# The same inside the largest room.
INNER_LEVELS = ({"edits"}, {"evidence"}, {"engine"}, {"screens", "patching"})
ALLOWED = {room: set().union(*LEVELS[: i + 1]) for i, level in enumerate(LEVELS) for room in level}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(tree):
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import on line {node.lineno}"
            names = [node.module or ""]
        for name in names:
            first, *rest = name.split(".")
            assert first not in {"tests", "benchmarks"}
            if first == "codi_int" and rest:
                yield rest[0], node.lineno


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    if room_of(path) == "__init__":
        return
    for room, line in imported_rooms(ast.parse(path.read_text())):
        assert room in ALLOWED[room_of(path)], f"{path}:{line}: {room_of(path)} must not import {room}"


def test_the_rooms_of_interventions_go_one_way():
    inner = PACKAGE / "interventions"
    for i, level in enumerate(INNER_LEVELS):
        later = {room for rest in INNER_LEVELS[i + 1 :] for room in rest}
        for path in (path for room in level for path in (inner / room).glob("*.py")):
            siblings = {room for room in level if not path.is_relative_to(inner / room)}
            text = path.read_text()
            for room in later | siblings:
                assert f"codi_int.interventions.{room}." not in text, f"{path} must not import {room}"
    assert {path.name for path in inner.iterdir() if path.is_dir()} - {"__pycache__"} == set().union(*INNER_LEVELS)


def test_every_room_has_a_level():
    assert {room_of(path) for path in MODULES} - {"__init__"} <= set(ALLOWED)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_runs_at_import(path):
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            pytest.fail(f"{path}:{node.lineno}: a call at module level")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print" or room_of(path) == "cli", f"{path}:{node.lineno}: print outside the CLI"


def test_files_stay_readable():
    long = {str(p.relative_to(PACKAGE)): n for p in MODULES if (n := p.read_text().count("\n")) > 400}
    assert not long


def test_tests_mirror_the_source():
    """Every test module stands in the folder of a room that exists."""
    for path in Path(__file__).parent.rglob("test_*.py"):
        room = path.parent.name
        assert path.parent == Path(__file__).parent or (PACKAGE / room).is_dir(), path
