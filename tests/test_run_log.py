"""The log of a run, and what a manifest says of when and on what it ran."""

import json
import re
import shlex
import sys
from datetime import datetime
from pathlib import Path

import numpy
import pytest

from codi_int.errors import OutputError
from codi_int.interventions.kept import load_result
from codi_int.run_folder import Run, RunFolder, is_newer
from codi_int.run_log import LOG, RunLog

ABLATE = Run("ablate", {"--seed": 0}, words=("codi-int", "ablate"), device="cuda:1")


def begun(folder: Path, run: Run = ABLATE, force: bool = False) -> RunFolder:
    out = RunFolder(folder, run, force)
    out.check()
    out.log("said before\nthe folder is known")
    out.claim(model="m")
    return out


def test_what_was_said_before_the_folder_was_known_is_in_the_log(tmp_path: Path) -> None:
    out = begun(tmp_path)
    out.log("later")
    lines = (tmp_path / LOG).read_text().splitlines()
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  "
    assert [re.sub(rf"^{stamp}", "", line).split(" (process")[0] for line in lines] == [
        "said before the folder is known",
        "codi-int ablate",
        "later",
    ]
    assert all(re.match(stamp, line) for line in lines)


def test_a_run_that_left_nothing_leaves_no_log(tmp_path: Path) -> None:
    begun(tmp_path).release()
    assert not list(tmp_path.iterdir())


def test_a_manifest_says_when_on_what_and_with_which_versions(tmp_path: Path) -> None:
    out = begun(tmp_path)
    half = json.loads((tmp_path / "manifest.json").read_text())
    assert (half["finished"], half["ended"]) == (False, None)
    (tmp_path / "result.json").write_text("{}")
    out.note(units=3)
    out.finish(["result.json"])
    whole = json.loads((tmp_path / "manifest.json").read_text())
    assert whole["device"] == "cuda:1"
    assert whole["versions"]["python"] == sys.version.split()[0]
    assert whole["versions"]["numpy"] == numpy.__version__
    assert datetime.fromisoformat(whole["started"]) <= datetime.fromisoformat(whole["ended"])
    assert (whole["finished"], whole["units"]) == (True, 3)
    assert (whole["files"], list(whole["sha256"])) == (["result.json", LOG], ["result.json"])


def test_a_run_that_goes_on_began_when_it_first_began(tmp_path: Path) -> None:
    begun(tmp_path)
    (tmp_path / "finished.json").write_text("{}")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "started": "2026-01-02T03:04:05Z"}))
    out = begun(tmp_path)
    out.finish(["finished.json"])
    again = json.loads((tmp_path / "manifest.json").read_text())
    assert again["started"] == "2026-01-02T03:04:05Z"
    assert (tmp_path / LOG).read_text().count(shlex.join(ABLATE.words)) == 2
    begun(tmp_path).finish(["finished.json"])  # a finished one that is run anew began anew
    assert json.loads((tmp_path / "manifest.json").read_text())["started"] != "2026-01-02T03:04:05Z"


def test_the_log_of_a_run_that_is_replaced_goes_with_it(tmp_path: Path) -> None:
    first = begun(tmp_path)
    (tmp_path / "result.json").write_text("{}")
    first.log("of the first")
    first.finish(["result.json"])
    second = begun(tmp_path, Run("swap", words=("codi-int", "swap")), force=True)
    assert "of the first" in (tmp_path / LOG).read_text()  # its results are there as long
    second.log("of the second")
    second.finish(["result.json"])
    log = (tmp_path / LOG).read_text()
    assert "of the first" not in log
    assert log.count("codi-int swap") == log.count("of the second") == log.count("finished") == 1


def test_folders_and_documents_of_later_releases_are_refused_in_two_lines(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"schema": "codi-int/manifest@2"}')
    with pytest.raises(OutputError) as refused:
        RunFolder(tmp_path, ABLATE).check()
    assert str(refused.value).split("\n") == [
        f"{tmp_path / 'manifest.json'} is of schema 'codi-int/manifest@2', newer than this program's "
        "'codi-int/manifest@1'.",
        "Install the release that wrote it, or give another folder.",
    ]
    (tmp_path / "screen.json").write_text('{"schema": "codi-int/screen@2"}')
    with pytest.raises(Exception, match="'codi-int/screen@2', newer than this program knows"):
        load_result(tmp_path)
    assert is_newer("a@10", "a@9")
    assert not is_newer("a@9", "a@9")
    assert not is_newer("b@10", "a@9")
    assert not is_newer(None, "a@9")


def test_a_log_keeps_what_it_cannot_write_yet(tmp_path: Path) -> None:
    log = RunLog()
    log("one")
    assert not list(tmp_path.iterdir())
    log.begin(tmp_path, anew=True)
    assert (tmp_path / LOG).read_text().endswith("  one\n")
