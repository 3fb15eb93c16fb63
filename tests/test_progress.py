"""The one progress protocol: what is told adds up, stages are renamed, and nobody looking on costs nothing."""

import ast
from pathlib import Path

import pytest

from codi_int.progress import count_up, rename_stage

PACKAGE = Path(__file__).parents[1] / "codi_int"


def test_counts_add_up() -> None:
    heard: list[tuple[str, int, int]] = []
    add = count_up(lambda *said: heard.append(said), "thoughts", 7)
    for count in (3, 0, 4):
        add(count)
    assert heard == [("thoughts", 3, 7), ("thoughts", 3, 7), ("thoughts", 7, 7)]
    count_up(None, "thoughts", 7)(3)


def test_stages_are_renamed_each_by_its_own_name() -> None:
    heard: list[tuple[str, int, int]] = []
    named = [rename_stage(lambda *said: heard.append(said), name) for name in ("a", "b")]
    for callback in named:
        assert callback is not None
        callback("thoughts", 1, 2)
    assert heard == [("a", 1, 2), ("b", 1, 2)]
    assert rename_stage(None, "a") is None


def test_an_error_of_the_listener_ends_the_work() -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count_up(stop, "thoughts", 7)(1)


def test_there_is_one_signature() -> None:
    """Every parameter called `progress` is a `Progress`; no module spells out a callable of its own for it."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.arg) and node.arg == "progress" and node.annotation is not None:
                said = ast.unparse(node.annotation)
                assert said in ("Progress", "Progress | None"), f"{path}:{node.lineno}: progress is {said}"
