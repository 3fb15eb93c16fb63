"""No number escapes: blocks are what a script wrote, commands are ones that exist, Python is run somewhere."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from benchmark_scripts import benchmark_script

from codi_int.cli._lazy import _loaded
from codi_int.cli.main import all_commands

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXECUTED = {
    "README.md": "cli/test_walkthrough.py",
    "docs/tutorial.md": "cli/test_tutorial.py",
    "docs/guides/edits.md": "test_docs.py",
    "docs/guides/own-data.md": "test_docs.py",
    "docs/guides/own-sae.md": "test_docs.py",
    "docs/guides/sharing.md": "test_docs.py",
    "docs/guides/patching.md": "test_docs.py",
    "docs/guides/own-model.md": "cli/test_bring_your_own_model.py",
    "docs/explanation/kernels.md": "test_docs.py",
}
"""which test runs the Python of a page"""
GENERATED = ROOT / "docs" / "reference"
"""written from the code: its blocks are signatures"""


def name(page: Path) -> str:
    """The path as it stands in messages."""
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def common() -> Iterator[ModuleType]:
    """benchmarks/_common.py."""
    with benchmark_script("_common") as module:
        yield module


def escaped(page: Path, known: dict[str, str], common: ModuleType) -> list[str]:
    """The blocks of a page that no script wrote as they stand."""
    digests = {
        f"{name(page)}#{marker}": common.digest_of_block(text) for marker, text in common.blocks_of(page).items()
    }
    return [block for block, digest in digests.items() if known.get(block) != digest]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_are_what_a_script_wrote(page: Path, common: ModuleType) -> None:
    """A block is written by `fill_page` of benchmarks/_common.py, which records its digest."""
    assert escaped(page, common.recorded_blocks(), common) == []
    marks = re.findall(r"<!-- ([\w.-]+): (begin|end) -->", page.read_text(encoding="utf-8"))
    assert marks == [(marker, side) for marker in common.blocks_of(page) for side in ("begin", "end")]


def test_no_block_is_recorded_that_is_gone(common: ModuleType) -> None:
    there = {f"{name(page)}#{marker}" for page in PAGES for marker in common.blocks_of(page)}
    assert set(common.recorded_blocks()) - there == set()


def test_a_number_changed_by_hand_is_found(common: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    page.write_text("# A\n<!-- one: begin -->\n<!-- one: end -->\n")
    monkeypatch.setattr(common, "ROOT", tmp_path)
    monkeypatch.setattr(common, "BLOCKS", tmp_path / "blocks.txt")
    monkeypatch.setattr("test_pages.ROOT" if __name__ == "test_pages" else f"{__name__}.ROOT", tmp_path)
    common.fill_page(page, "one", "-3.4 points")
    assert escaped(page, common.recorded_blocks(), common) == []
    page.write_text(page.read_text().replace("-3.4", "-3.5"))
    assert escaped(page, common.recorded_blocks(), common) == ["docs/page.md#one"]


def commands_of(page: Path) -> list[list[str]]:
    """The words of every `codi-int ...` in a page's blocks of code, its continued lines joined."""
    found = []
    for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            call = re.match(r"(?:\$ )?(?:srun )?(?:\.venv/bin/)?codi-int (.*)", line)
            if call and "..." not in call[1]:
                found.append(shlex.split(call[1], comments=True))
    return found


def wrong(words: list[str]) -> str:
    """What of a command does not exist; empty where all does."""
    known = dict(all_commands())
    command = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in known), None)
    if command is None:
        return "" if words[:1] in (["--help"], ["--version"]) else f"no command {words[0]}"
    options = {
        one for parameter in _loaded(known[command]).params for one in (*parameter.opts, *parameter.secondary_opts)
    }
    given = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    return ", ".join(f"{command} has no {word}" for word in given if word not in {*options, "--help"})


@pytest.mark.parametrize("page", [page for page in PAGES if commands_of(page)], ids=name)
def test_commands_that_are_shown_exist(page: Path) -> None:
    assert [fault for fault in map(wrong, commands_of(page)) if fault] == []


def test_a_command_that_does_not_exist_is_found() -> None:
    assert wrong(["ablat", "--feature", "1"]) == "no command ablat"
    assert wrong(["ablate", "--feature", "1", "--layr=3"]) == "ablate has no --layr"
    assert wrong(["sae", "train", "--out", "x", "--k", "3"]) == ""


def test_python_that_is_shown_is_run() -> None:
    shown = {name(page) for page in PAGES if not page.is_relative_to(GENERATED) and "\n```python\n" in page.read_text()}
    assert shown == set(EXECUTED)
    for page, test in EXECUTED.items():
        assert Path(page).name in (ROOT / "tests" / test).read_text(encoding="utf-8"), page
