"""Real processes killed at random moments end as one that nobody disturbed; and so do curves and maps that stopped."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codi_int.cli.map import open_units
from codi_int.errors import OutputError
from codi_int.interventions.screens.map_cells import MapTask
from codi_int.runs.workers import Report, Workers
from codi_int.unit_files import UNITS, UnitFiles
from tests.cli.conftest import without_times

ROOT = Path(__file__).parents[2]


def test_killed_processes_lose_nothing_and_count_nothing_twice() -> None:
    """Eight kills of one run, one of them of a process that is still importing; see the script, which does 200."""
    words = [sys.executable, str(ROOT / "benchmarks" / "kills.py"), "--kills", "8", "--commands", "map"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["kills"], found["differ"]) == (8, [])


STOPPED = {
    "curve": ["--layer", "2", "--n", "1,2", "--draws", "1", "--order", "screen", "--confirm", "none"],
    "map": ["--layer", "2", "--position", "1-3", "--confirm", "none"],
    "patch": ["--layer", "2", "--auto", "different", "--step", "1", "--underpowered", "--controls", "2"],
}
FILES = {"patch": ("result.json", "outcomes.parquet", "predictions.parquet")}
"""document and tables; of others `<command>.json` and its table"""


@pytest.mark.parametrize("command", STOPPED)
def test_a_stopped_run_goes_on_to_the_same_end(
    run: Callable, shelf: Any, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [command, *STOPPED[command], "--model", shelf.model, "--data", shelf.data]
    ran = run(*words, "--out", str(tmp_path / "whole"))
    assert ran.code == 0, ran.err
    keep, kept = UnitFiles.keep, []

    def stop_at_the_second(self: UnitFiles, *given: Any) -> None:
        if kept:
            raise KeyboardInterrupt
        kept.append(given[0])
        keep(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(UnitFiles, "keep", stop_at_the_second)
        assert run(*words, "--out", str(tmp_path / "stopped")).code == 130
    assert len(list((tmp_path / "stopped" / UNITS).glob("*.npz"))) == 1
    other = run(*words, "--limit", "9", "--out", str(tmp_path / "stopped"))
    assert "holds another run" in other.err  # what is finished is not taken for that of another run
    new: list[str] = []
    monkeypatch.setattr(UnitFiles, "keep", lambda self, *given: (new.append(given[0]), keep(self, *given)))
    again = run(*words, "--out", str(tmp_path / "stopped"))
    assert again.code == 0, again.err
    assert "Going on: 1 unit" in again.err
    assert new
    assert not set(new) & set(kept)
    document, *tables = FILES.get(command, (f"{command}.json", f"{command}.parquet"))
    for name in tables:
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    whole, stopped = (json.loads((tmp_path / place / document).read_text()) for place in ("whole", "stopped"))
    assert without_times(whole) == without_times(stopped)  # the work that is counted, too
    assert not list((tmp_path / "stopped").glob("finished-units*"))


class FailingCrew:
    """Two workers in this process, neither of which can do the cells of one layer."""

    def __init__(self, options: Any) -> None:
        self._do = open_units(options).do
        self._said: list[Report] = []

    def start(self, slot: int) -> None:
        self._said.append(Report(slot, "ready"))

    def give(self, slot: int, task: MapTask) -> None:
        fails = task.cells[0].layer == 1 and task.laters != ("free",)
        self._said.append(
            Report(slot, "failed", words="ValueError: x") if fails else Report(slot, "done", self._do(task))
        )

    def wait(self) -> list[Report]:
        said, self._said = self._said, []
        return said

    def close(self) -> None: ...


def test_a_unit_that_fails_on_every_worker_ends_with_one_and_the_rest_is_kept(
    run: Callable, shelf: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["map", "--layer", "1,2", "--position", "5", "--confirm", "none"]
    words += ["--model", shelf.model, "--data", shelf.data, "--out", str(tmp_path)]
    with monkeypatch.context() as patch:
        patch.setattr("codi_int.cli._console.begin_worker", lambda: None)  # a worker of its own process says nothing
        patch.setattr(
            "codi_int.cli.map.open_workers", lambda options, *more: nullcontext(Workers(FailingCrew(options), 2))
        )
        ran = run(*words)
    assert ran.code == 1
    lines = ran.err.strip().splitlines()[-2:]
    assert lines[0].startswith("codi-int: 1 of 3 units failed on every worker: L1.P5 both mean+only; ")
    assert lines[0].endswith("says ValueError: x.")
    assert lines[1] == "All others are done and kept. Mend the cause and give the same command; it does these alone."
    again = run(*words)
    assert again.code == 0, again.err
    assert "Going on: 2 units of the map are finished" in again.err


def test_a_damaged_unit_is_two_lines(tmp_path: Path) -> None:
    files = UnitFiles(tmp_path)
    files.keep("a", {"b": [1, None, 2.5]}, {"x": np.arange(3)})
    (found,) = files.read_all()
    assert found[:2] == ("a", {"b": [1, None, 2.5]})
    assert found[2]["x"].tolist() == [0, 1, 2]
    (path,) = (tmp_path / UNITS).glob("*.npz")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(OutputError) as damaged:
        files.read("a")
    assert str(damaged.value) == f"{path} cannot be read.\nRemove it, or give another folder."
    files.remove()
    assert not list(tmp_path.iterdir())


def test_units_of_a_run_that_was_replaced_are_none(tmp_path: Path) -> None:
    UnitFiles(tmp_path).keep("a", None, {})
    (tmp_path / "finished-units.json").unlink()  # as --force does, which knows the files of a manifest alone
    assert len(UnitFiles(tmp_path)) == 0
