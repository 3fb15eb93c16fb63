"""The notebook: its cells run one after the other, and show what is kept in it."""

import contextlib
import importlib.util
import io
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "notebooks" / "walkthrough.ipynb"


def script() -> Any:
    """benchmarks/walkthrough.py, which is no package."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location("walkthrough", ROOT / "benchmarks" / "walkthrough.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def test_the_notebook_shows_what_its_cells_give() -> None:
    walkthrough = script()
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
            assert found.get("data", {}).get("text/plain") == kept.get("data", {}).get("text/plain"), cell["id"]
    assert namespace["same"] is True


def test_the_readme_shows_a_picture_of_the_notebook() -> None:
    readme = (ROOT / "README.md").read_text()
    assert f"docs/results/images/{script().PICTURE}" in readme
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert sum("".join(cell["source"]).endswith(script().PICTURED) for cell in cells) == 1
