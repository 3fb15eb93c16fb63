"""Real processes killed at random moments end as one that nobody disturbed; and so do curves and maps that stopped."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codi_int.errors import OutputError
from codi_int.unit_files import UNITS, UnitFiles

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
    whole = run(*words, "--out", str(tmp_path / "whole"))
    assert whole.code == 0, whole.err
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
    found = [json.loads((tmp_path / place / document).read_text()) for place in ("whole", "stopped")]
    for one in found:
        del one["environment"]["seconds"]
    assert found[0] == found[1]  # the work that is counted, too
    assert not list((tmp_path / "stopped").glob("finished-units*"))


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
