"""The notebook: its cells run one after the other, and show what is kept in it."""

import contextlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from benchmark_scripts import benchmark_script

ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e-?\d+)?")
NOTEBOOK = ROOT / "docs" / "notebooks" / "walkthrough.ipynb"


def read(lines: list[str]) -> tuple[list[str], list[float]]:
    """Words and numbers of an output: log-probabilities near nothing, and what follows from them, differ by machine."""
    text = " ".join(lines)
    return NUMBER.sub("#", text).split(), [float(number) for number in NUMBER.findall(text)]


@pytest.fixture
def walkthrough() -> Iterator[ModuleType]:
    """benchmarks/walkthrough.py."""
    with benchmark_script("walkthrough") as module:
        yield module


def test_the_notebook_shows_what_its_cells_give(walkthrough: ModuleType) -> None:
    namespace: dict[str, Any] = {}
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            value = walkthrough.run_cell("".join(cell["source"]), namespace)
        shown = walkthrough.shown(value, printed.getvalue())
        assert len(shown) == len(cell["outputs"]), cell["id"]
        for found, kept in zip(shown, cell["outputs"], strict=True):
            assert found.get("text") == kept.get("text"), cell["id"]
            assert set(found.get("data", {})) == set(kept.get("data", {})), cell["id"]
            words, numbers = read(found.get("data", {}).get("text/plain", []))
            kept_words, kept_numbers = read(kept.get("data", {}).get("text/plain", []))
            assert words == kept_words, cell["id"]
            assert numbers == pytest.approx(kept_numbers, abs=0.06), cell["id"]
    assert namespace["same"] is True


def test_the_readme_shows_a_picture_of_the_notebook(walkthrough: ModuleType) -> None:
    readme = (ROOT / "README.md").read_text()
    assert f"docs/results/images/{walkthrough.PICTURE}" in readme
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert sum("".join(cell["source"]).endswith(walkthrough.PICTURED) for cell in cells) == 1
