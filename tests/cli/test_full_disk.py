"""A full disk under every command that writes: two lines with need, place and what is kept, and no half files."""

import errno
import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.test_train_codi import TINY

COMMANDS = {
    "screen": "screen --layer 2 --feature 1,2",
    "capture": "capture --layer 2",
    "lens": "lens",
    "sae train": "sae train --layer 2 --k 2 --features 16 --recipe {recipe} --held-out {data}",
    "sae sweep": "sae sweep --layer 2 --k 2 --features 16 --recipe {recipe} --held-out {data}",
}


@pytest.fixture
def command(shelf, tmp_path: Path) -> Callable[[str], list[str]]:
    """The words of a command that writes to `tmp_path / "out"`."""
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"batch_size": 4, "epochs": 1}))

    def words(name: str) -> list[str]:
        own = COMMANDS[name].format(recipe=recipe, data=shelf.data).split()
        return [*own, "--model", shelf.model, "--data", shelf.data, "--out", str(tmp_path / "out")]

    return words


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """The system itself refuses to make a file longer, in this process and in those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def check(err: str, place: Path) -> None:
    """The end of what was said is the rule with need and place, and a remedy with what is kept."""
    rule, remedy = err.strip().splitlines()[-2:]
    assert f"{place}" in rule
    assert "cannot be written to: " in rule
    assert " needed, " in rule
    assert "Free some space or give another folder. " in remedy
    assert "No half file is left" in remedy or "kept" in remedy
    assert "bug" not in err
    assert not list(place.rglob("*.part"))


@pytest.mark.parametrize("name", COMMANDS)
def test_not_a_byte_more(run: Callable, command: Callable, name: str, tmp_path: Path) -> None:
    with files_of_at_most(0):
        ran = run(*command(name))
    assert (ran.code, ran.out) == (2, "")
    check(ran.err, tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    # and with room again the same command does all of it
    assert run(*command(name)).code == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_full_before_the_last_file(
    run: Callable, command: Callable, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, written = os.replace, []

    def count(source: str, target: str) -> None:
        written.append(target)
        whole(source, target)

    monkeypatch.setattr(os, "replace", count)
    assert run(*command(name)).code == 0
    before = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    left = len(written)
    (tmp_path / "out").rename(tmp_path / "first")

    def full(source: str, target: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        whole(source, target)

    monkeypatch.setattr(os, "replace", full)
    ran = run(*command(name))
    assert ran.code == 2
    check(ran.err, tmp_path / "out")
    now = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert before - now <= {Path(written[-1]).name}
    assert now <= before


def test_figures(run: Callable, command: Callable, tmp_path: Path) -> None:
    assert run(*command("screen")).code == 0
    with files_of_at_most(0):
        ran = run("figures", str(tmp_path / "out"), "--out", str(tmp_path / "drawn"))
    assert (ran.code, ran.out) == (2, "")
    check(ran.err, tmp_path / "drawn")


def test_train_codi(run: Callable, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps(TINY.to_dict()))
    words = ("train-codi", "--recipe", str(tmp_path / "recipe.json"), "--workers", "1", "--name", "tiny")
    # enough for the curve and for what starting a process takes, not for a checkpoint
    with files_of_at_most(4096):
        ran = run(*words, "--out", str(tmp_path / "out"))
    assert (ran.code, ran.out) == (2, "")
    check(ran.err, tmp_path / "out")
    assert not (tmp_path / "out" / "checkpoint.pt").exists()


def test_a_capture_takes_its_blocks_before_it_writes_a_row(
    run: Callable, command: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def full(file: int, offset: int, length: int) -> None:
        taken.append((offset, length, os.fstat(file).st_size))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    ran = run(*command("capture"))
    assert (ran.code, ran.out) == (2, "")
    check(ran.err, tmp_path / "out")
    ((offset, length, size),) = taken
    assert (offset, length) == (0, size)
    assert length > 12 * 7 * 24 * 4
    assert not list((tmp_path / "out").rglob("*"))
