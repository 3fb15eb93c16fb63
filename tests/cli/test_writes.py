"""Nothing is written outside of --out and the cache: the system calls of a command, and what lies about afterwards."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

WRITES = {"os.mkdir": 0, "os.rename": 1, "os.remove": 0, "os.rmdir": 0, "os.symlink": 1, "os.link": 1, "shutil.move": 1}
"""events of Python's audit hooks that change a file system, with the argument that says where"""
SEEN: list[str] = []
WATCHING: list[bool] = []


def watch(event: str, given: tuple) -> None:
    if not WATCHING:
        return
    if event == "open":
        path, mode, flags = given
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if isinstance(path, str | bytes | os.PathLike) and (writes or (mode and set(str(mode)) & set("wax+"))):
            SEEN.append(os.path.abspath(os.fsdecode(path)))
    elif event in WRITES:
        SEEN.append(os.path.abspath(os.fsdecode(given[WRITES[event]])))


def test_a_command_writes_where_it_was_told_and_nowhere_else(
    run: Callable, shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("home", "tmp", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path / "here")
    sys.addaudithook(watch)  # it stays for the rest of the process, and sees nothing there
    out = tmp_path / "out"
    words = ["screen", "--layer", "2", "--feature", f"3,{shelf.living}", "--confirm", "none", "--out", str(out)]
    WATCHING.append(True)
    try:
        ran = run(*words, "--model", shelf.model, "--data", shelf.data)
    finally:
        WATCHING.clear()
    assert ran.code == 0, ran.err
    assert any(path.startswith(str(out)) for path in SEEN)
    caches = [str(tmp_path / "home" / ".cache"), os.environ.get("MPLCONFIGDIR", str(tmp_path / "home" / ".cache"))]
    caches += [str(tmp_path / "home" / ".config")]  # matplotlib makes its folder there, empty
    compiled = "__pycache__"
    elsewhere = [
        path for path in SEEN if not path.startswith((str(out), "/dev/", "/proc/", *caches)) and compiled not in path
    ]
    assert not elsewhere
    # also by what is written without Python knowing of it
    assert not list((tmp_path / "here").iterdir())
    assert not list((tmp_path / "tmp").iterdir())
    assert {path.name for path in (tmp_path / "home").iterdir()} <= {".cache", ".config"}
