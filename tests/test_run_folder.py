"""The rule for folders of runs: another run is refused and named, the same goes on, force replaces and nothing else."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codi_int.errors import OutputError
from codi_int.run_folder import LOCK, Run, RunFolder, hold_folder, read_kept, write_manifest

ABLATE = Run("ablate", {"--feature": [449], "--seed": 0}, {"--data": "a"}, words=("codi-int", "ablate"))


def kept(folder: Path, run: Run = ABLATE, files: tuple[str, ...] = ("result.json",), **inputs: str) -> RunFolder:
    """A finished run."""
    first = RunFolder(folder, run)
    first.check()
    first.claim(**(inputs or {"model": "m", "data": "d"}))
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    first.finish(files)
    return first


def changed(run: Run = ABLATE, **more: Any) -> Run:
    return Run(**{**vars(run), **more})


def test_the_same_run_goes_on(tmp_path: Path) -> None:
    kept(tmp_path)
    again = RunFolder(tmp_path, ABLATE)
    again.check()
    again.claim(model="m", data="d")
    again.clear()
    assert (tmp_path / "result.json").exists()


def test_another_run_is_named_with_its_difference(tmp_path: Path) -> None:
    kept(tmp_path)
    other = RunFolder(tmp_path, changed(settings={"--feature": [449, 3], "--seed": 0}))
    with pytest.raises(OutputError) as refused:
        other.check()
    assert str(refused.value).split("\n") == [
        f"{tmp_path} holds another run: codi-int ablate (result.json); --feature is 449 there, 449,3 here.",
        "Give another folder, or add --force to replace what is there.",
    ]


def test_another_command_is_refused_whatever_its_settings(tmp_path: Path) -> None:
    kept(tmp_path)
    with pytest.raises(OutputError, match="holds another run: codi-int ablate"):
        RunFolder(tmp_path, changed(command="swap")).check()


@pytest.mark.parametrize(
    ("names", "inputs", "says"),
    [
        ({"--data": "b"}, {"model": "m", "data": "e"}, "--data is a there, b here"),
        ({"--data": "a"}, {"model": "m", "data": "e"}, "its data is d there, e here"),
        ({"--data": "a"}, {"model": "n", "data": "d"}, "its model is m there, n here"),
    ],
)
def test_hashes_decide_what_is_read(tmp_path: Path, names: dict, inputs: dict, says: str) -> None:
    kept(tmp_path)
    other = RunFolder(tmp_path, changed(names=names))
    other.check()
    with pytest.raises(OutputError, match=says):
        other.claim(**inputs)


def test_another_name_for_the_same_data_is_the_same_run(tmp_path: Path) -> None:
    kept(tmp_path)
    before = (tmp_path / "manifest.json").read_text()
    same = RunFolder(tmp_path, changed(names={"--data": "./a"}))
    same.check()
    same.claim(model="m", data="d")
    assert (tmp_path / "manifest.json").read_text() == before  # gone on with, not begun anew
    same.finish(["result.json"])
    assert json.loads((tmp_path / "manifest.json").read_text())["run"]["names"] == {"--data": "./a"}
    with pytest.raises(OutputError, match=r"--data is \./a there, a here"):
        RunFolder(tmp_path, ABLATE).claim(model="m", data="e")


def test_of_settings_that_are_mappings_the_entry_that_differs_is_named(tmp_path: Path) -> None:
    there = changed(settings={"the experiment": {"kind": "ablate", "features": [449], "seed": 0}})
    kept(tmp_path, there)
    with pytest.raises(OutputError) as refused:
        RunFolder(tmp_path, changed(settings={"the experiment": {"kind": "ablate", "features": [3]}})).check()
    assert str(refused.value).split("\n")[0].endswith("; features of the experiment is 449 there, 3 here.")


def test_what_a_run_has_replaced_is_not_cleared(tmp_path: Path) -> None:
    kept(tmp_path, files=("result.json", "effect.png"))
    forced = RunFolder(tmp_path, changed(command="swap"), force=True)
    forced.clear(keep=["result.json"])
    assert {path.name for path in tmp_path.iterdir()} == {"result.json"}


@pytest.mark.parametrize(("there", "here", "same"), [([1], [1, 2], True), ([1, 2], [1], False), ([], [1], False)])
def test_growing_settings_take_up_what_is_there(tmp_path: Path, there: list, here: list, same: bool) -> None:
    grown = changed(growing=("--feature",), settings={"--feature": there})
    kept(tmp_path, grown)
    larger = RunFolder(tmp_path, changed(grown, settings={"--feature": here}))
    if same:
        larger.check()
    else:
        with pytest.raises(OutputError, match="--feature is"):
            larger.check()
    RunFolder(tmp_path, changed(grown, settings={"--feature": []})).check()  # none given stands for all


def test_force_removes_the_kept_run_and_nothing_else(tmp_path: Path) -> None:
    kept(tmp_path, files=("result.json", "effect.png", "x2/result.json"))
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "x2" / "notes.txt").write_text("mine")
    forced = RunFolder(tmp_path, changed(command="swap"), force=True)
    forced.check()
    forced.claim(model="m", data="d")
    assert (tmp_path / "result.json").exists()  # until there is something in its place
    forced.clear()
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"notes.txt", "x2/notes.txt", "log.txt"}
    assert (tmp_path / "log.txt").read_text().count("\n") == 1  # the other run's lines went with it
    (tmp_path / "result.json").write_text("{}")
    forced.clear()
    assert (tmp_path / "result.json").exists()  # its own files are not removed


def test_a_run_that_goes_on_is_forced_to_begin_anew(tmp_path: Path) -> None:
    screen = changed(command="screen", own=("finished.json",))
    kept(tmp_path, screen, ("finished.json",))
    RunFolder(tmp_path, screen, force=True).claim(model="m", data="d")
    assert not (tmp_path / "finished.json").exists()


def test_folders_without_a_manifest_are_known_by_their_documents(tmp_path: Path) -> None:
    for name in ("finished.json", "screen.json", "screen.parquet", "notes.txt"):
        (tmp_path / name).write_text("{}")
    found = read_kept(tmp_path)
    assert found is not None
    assert set(found.files) == {"finished.json", "screen.json", "screen.parquet"}
    with pytest.raises(OutputError, match=r"another run: screen.json, finished.json, screen.parquet\."):
        RunFolder(tmp_path, ABLATE).check()
    RunFolder(tmp_path, changed(own=("finished.json", "screen.json"))).check()


def test_a_folder_of_other_things_is_free(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    RunFolder(tmp_path, ABLATE).check()


def test_a_run_that_left_nothing_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    stopped = RunFolder(tmp_path / "new", ABLATE)
    stopped.claim(model="m", data="d")
    RunFolder(tmp_path / "new", changed(command="swap")).check()  # nothing there yet, so nothing is refused
    stopped.release()
    assert not (tmp_path / "new").exists()
    kept(tmp_path / "old")
    RunFolder(tmp_path / "old", ABLATE).release()
    assert (tmp_path / "old" / "manifest.json").exists()


def test_without_a_folder_nothing_is_asked() -> None:
    none = RunFolder(None, ABLATE)
    none.check()
    none.claim(model="m")
    none.clear()
    none.release()
    none.finish(["result.json"])


def test_weights_are_listed_and_not_hashed(tmp_path: Path) -> None:
    for name in ("result.json", "layer00.safetensors"):
        (tmp_path / name).write_text("{}")
    write_manifest(tmp_path, ["result.json", "layer00.safetensors", "gone.png", "manifest.json"], ["codi-int"])
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["files"] == ["result.json", "layer00.safetensors"]
    assert list(manifest["sha256"]) == ["result.json"]


def test_a_broken_manifest_is_two_lines(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(OutputError, match="cannot be read as JSON"):
        RunFolder(tmp_path, ABLATE).check()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"files": 0.5}, "is no manifest of a run"),
        ({"files": [3]}, "names '3', which is no file of its folder"),
        ({"files": ["a" * 256]}, "names 'aaa"),
        ({"files": ["a\0b"]}, r"names 'a\\x00b', which"),
        ({"sha256": ["result.json"]}, "is no manifest of a run"),
        ({"command": 7}, "is no manifest of a run"),
        ({"run": {"command": "ablate"}}, "is no manifest of a run"),
        ({"run": {"command": "ablate", "settings": [], "names": {}, "inputs": {}}}, "is no manifest of a run"),
        ({"files": ["../kept.txt"]}, "names '../kept.txt', which is no file of its folder"),
        ({"sha256": {"/etc/passwd": ""}}, "names '/etc/passwd', which is no file of its folder"),
    ],
)
def test_a_damaged_manifest_is_refused_and_removes_nothing(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    folder = tmp_path / "run"
    kept(folder)
    (tmp_path / "kept.txt").write_text("mine")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | change))
    for force in (False, True):
        run = RunFolder(folder, ABLATE, force=force)
        with pytest.raises(OutputError, match=says) as refused:
            run.clear() if force else run.check()
        assert len(str(refused.value).splitlines()) == 2
    assert (tmp_path / "kept.txt").read_text() == "mine"


@pytest.mark.parametrize("there", [None, 3, {"a": 1}, [[14]]])
def test_a_setting_that_may_grow_is_compared_whatever_stands_there(tmp_path: Path, there: Any) -> None:
    run = changed(settings={"--layer": [14]}, growing=("--layer",))
    kept(tmp_path, run)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["run"]["settings"]["--layer"] = there
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(OutputError, match="--layer is"):
        RunFolder(tmp_path, run).check()


def test_a_second_writer_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    with (
        hold_folder(tmp_path, ["codi-int", "screen", "--out", "my runs"]),
        pytest.raises(OutputError, match=r"is being written to by codi-int screen --out 'my runs' \(process \d+ on "),
        hold_folder(tmp_path),
    ):
        pass
    # and nothing is left that would refuse the next one
    assert list(tmp_path.iterdir()) == []
    with hold_folder(tmp_path):
        assert (tmp_path / LOCK).exists()


def test_the_lock_of_a_process_that_was_killed_is_no_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from codi_int.run_folder import hold_folder\n"
        "with hold_folder(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(OutputError, match=f"another run .process {other.pid}"), hold_folder(tmp_path):
            pass
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
    assert (tmp_path / LOCK).exists()
    with hold_folder(tmp_path):
        pass


def test_a_lock_file_that_says_nothing_still_holds(tmp_path: Path) -> None:
    with hold_folder(tmp_path):
        (tmp_path / LOCK).write_text("")
        with pytest.raises(OutputError, match="written to by another process"), hold_folder(tmp_path):
            pass


def test_a_folder_that_a_command_holds_cannot_be_saved_to(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, Run("ablate"))
    with folder.hold(), pytest.raises(OutputError, match="being written to"), RunFolder(tmp_path, Run("screen")).hold():
        pass
    with RunFolder(None, Run("ablate")).hold():
        pass
