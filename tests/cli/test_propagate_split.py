"""--propagate split: one edit, taken apart by path."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def words(shelf) -> tuple[str, ...]:
    return ("--layer", "2", "--model", shelf.model, "--data", shelf.data, "--propagate", "split")


@pytest.mark.parametrize("command", [("ablate",), ("amplify", "--factor", "5")])
def test_each_road_is_what_that_road_alone_gives(
    run: Callable, shelf, words: tuple[str, ...], command: tuple[str, ...], tmp_path: Path
) -> None:
    given = (*command, "--feature", str(shelf.living), *words)
    document = json.loads(run(*given, "--json", "--out", str(tmp_path)).out)
    assert json.loads((tmp_path / "roads.json").read_text()) == document
    for path in ("both", "cache", "recurrence"):
        alone = json.loads(run(*given[:-1], path, "--controls", "0", "--json").out)["effect"]
        for name in ("estimate", "n_broken", "n_fixed", "n_answer_changed", "n_touched", "p_value"):
            assert document[path][name] == alone[name], (path, name)
        assert document[path]["logprob"]["estimate"] == pytest.approx(alone["logprob"]["estimate"], abs=1e-5)
    page = run(*given).page
    assert "by the recurrence alone" in page
    assert "both - (cache + recurrence)" in page


def test_what_cannot_be_split_teaches(run: Callable, shelf, words: tuple[str, ...]) -> None:
    dead = run("ablate", "--feature", str(shelf.dead), *words)
    assert (dead.code, "changes nothing on these problems" in dead.err) == (2, True)
    several = run("amplify", "--feature", "1", "--factor", "2,5", *words)
    assert (several.code, "both, cache, recurrence" in several.err) == (2, True)
