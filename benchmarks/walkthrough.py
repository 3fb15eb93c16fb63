"""Run docs/notebooks/walkthrough.ipynb, keep what its cells show in it, and its picture for the README.

    python benchmarks/walkthrough.py

Needs no Jupyter: the cells run one after the other in one namespace, as a kernel would run them.
"""

import ast
import base64
import contextlib
import io
import json
from typing import Any

import _common as common

NOTEBOOK = common.ROOT / "docs" / "notebooks" / "walkthrough.ipynb"
PICTURE = "walkthrough-screen.png"
"""of the cell that ends in this call"""
PICTURED = "screen.plot()"


def run_cell(source: str, namespace: dict[str, Any]) -> Any:
    """Run a cell; returns the value of its last line where that is an expression, as a notebook shows it."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "walkthrough.ipynb", "exec"), namespace)
    return None if last is None else eval(compile(ast.Expression(last.value), "walkthrough.ipynb", "eval"), namespace)


def shown(value: Any, printed: str) -> list[dict[str, Any]]:
    """What Jupyter keeps of a cell: its prints, and its value as text, as HTML and as a picture."""
    outputs: list[dict[str, Any]] = []
    if printed:
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.splitlines(keepends=True)})
    if value is None:
        return outputs
    data: dict[str, Any] = {"text/plain": _text(value).splitlines(keepends=True)}
    # a figure of matplotlib has the method, and None to say with it
    if html := getattr(value, "_repr_html_", lambda: None)():
        data["text/html"] = html.splitlines(keepends=True)
    if hasattr(value, "_repr_png_"):
        data["image/png"] = base64.b64encode(value._repr_png_()).decode()
    return [*outputs, {"output_type": "execute_result", "data": data, "metadata": {}}]


def _text(value: Any) -> str:
    """A figure's repr is an address and a size; all others are their own."""
    return "<Figure>" if hasattr(value, "_repr_png_") else repr(value)


def main() -> None:
    notebook = json.loads(NOTEBOOK.read_text())
    namespace: dict[str, Any] = {}
    for number, cell in enumerate([cell for cell in notebook["cells"] if cell["cell_type"] == "code"], 1):
        source, printed = "".join(cell["source"]), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.chdir(common.ROOT):
            value = run_cell(source, namespace)
        cell["execution_count"], cell["outputs"] = number, shown(value, printed.getvalue())
        for output in cell["outputs"]:
            if output["output_type"] == "execute_result":
                output["execution_count"] = number
        if source.endswith(PICTURED):
            (common.IMAGES / PICTURE).write_bytes(value._repr_png_())
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
