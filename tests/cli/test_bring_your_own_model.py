"""The page "Bring your own CODI model": its commands, run as written on the golden folders, print what it shows."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "own-model.md"
GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the golden folders as `checkpoints/`."""
    if not GOLDEN.is_dir():
        pytest.skip("the golden checkpoints are not here")
    for name in ("codi-gpt2-tiny", "codi-llama-tiny"):
        shutil.copytree(GOLDEN / name, tmp_path / "checkpoints" / name)
    for path in (tmp_path / "checkpoints").rglob("*"):
        path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(page: str) -> list[tuple[str, list[str]]]:
    """Every command of the page with the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line.rstrip())
    return found


def assert_printed(said: list[str], printed: str, command: str) -> None:
    """Every line that the page shows was printed, in this order; `...` stands for anything."""
    pattern = "".join(r"[\s\S]*" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + "\n" for line in said)
    text = "\n".join(line.rstrip() for line in printed.splitlines()) + "\n"
    assert re.fullmatch(pattern, text), f"{command}\nthe page says\n{pattern}\nprinted was\n{text}"


def test_every_command_prints_what_the_page_shows(folder: Path, run: Callable) -> None:
    page = PAGE.read_text()
    for command, said in commands(page):
        if not command.startswith("codi-int "):
            subprocess.run(command, shell=True, check=True, cwd=folder)
            continue
        ran = run(*shlex.split(command)[1:])
        refused = bool(said) and said[0].startswith("codi-int: ")
        assert ran.code == (2 if refused else 0), ran.err
        assert_printed(said, ran.err + ran.out, command)


def test_the_python_runs(folder: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, PAGE.name, "exec"), names)
    assert len(names["chains"]) == 2  # type: ignore[arg-type]
