"""Kill real processes at random moments, and compare what their runs end as with a run that nobody disturbed.

    python benchmarks/kills.py [--kills 200] [--commands screen,map] [--seed 0]

A run is begun, killed (SIGKILL) after a random part of the time that an undisturbed one takes, and begun again in the
same folder, until it comes to its end before the kill; then its tables and documents are held against the undisturbed
run's, byte for byte but for the seconds that they name, and the next run begins. Most processes are forked from one
that has loaded the libraries, so that kills fall into the work; every tenth is a new one, whose imports can be killed
too. Forked ones draw no figures.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

COMMANDS = {
    "screen": "screen --layer 14 --position 3-5 --feature 0-40 --limit 8 --confirm none",
    "map": "map --layer 14 --position 3-5 --limit 8 --confirm none",
    "curve": "curve --layer 14 --n 1,4 --draws 2 --order frequency --limit 8 --confirm none",
    "sae sweep": "sae sweep --layer 14 --k 2,4 --features 32,48 --epochs 1 --limit 600",
    "capture": "capture --layer 14,15 --position 1-3 --limit 700",
    "probe": "probe --target n_steps --layer 10 --position 1-3 --limit 60 --directions 0 --confirm none",
}
NOT_COMPARED = (".png", ".svg", "log.txt", "manifest.json")
"""figures are drawn from what is compared; log and manifest say when it ran"""
LEFT_OVERS = ("*.part", ".lock", "finished-units*")
FRESH = 10
"""every so many processes one is a new one"""


def main() -> None:
    """Kill and compare; exits with 1 where a run ended as something else."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    load_libraries()
    chance, rows = random.Random(given.seed), []
    names = given.commands.split(",")
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        for i, name in enumerate(names):
            n = given.kills // len(names) + (i < given.kills % len(names))
            rows.append(Killer(COMMANDS[name].split(), Path(place) / name.replace(" ", "-"), chance).run(name, n))
            print(json.dumps(rows[-1]), flush=True)
    sys.exit(any(row["differ"] for row in rows))


def load_libraries() -> None:
    """All that a command imports, once; figures are not drawn in processes that are forked from here."""
    import codi_int.cli.main as cli
    from codi_int.report import figures

    for _, entry in cli.all_commands():
        entry.load()
    import codi_int.interventions.kept
    import codi_int.model.loading
    import codi_int.probes.probing
    import codi_int.sae.site_sweep  # noqa: F401

    figures.save_figures = lambda *_: []  # type: ignore[assignment]
    figures.sweep_figures = lambda *_: []  # type: ignore[assignment]


class Killer:
    """One command, killed again and again."""

    def __init__(self, words: list[str], place: Path, chance: random.Random) -> None:
        self._words, self._place, self._chance = words, place, chance
        self._n = 0

    def run(self, name: str, kills: int) -> dict[str, Any]:
        """So many kills; how the runs ended."""
        whole = self._place / "whole"
        began = time.perf_counter()
        assert self._start(whole, fresh=False)() == 0, (whole / "stderr.txt").read_text()
        takes = time.perf_counter() - began
        row = {"command": name, "kills": 0, "before_anything": 0, "runs": 0, "most_kills_of_one": 0, "differ": []}
        while row["kills"] < kills:
            self._kill_until_done(whole, takes, kills, row)
        return row

    def _kill_until_done(self, whole: Path, takes: float, kills: int, row: dict[str, Any]) -> None:
        folder, of_this = self._place / str(row["runs"]), 0
        while True:
            self._n += 1
            wait = self._start(folder, fresh=self._n % FRESH == 0)
            moment = self._chance.uniform(0, takes) if row["kills"] < kills else None
            if wait(moment) == 0:
                break
            of_this += 1
            row["kills"] += 1
            row["before_anything"] += not (folder / "manifest.json").exists()
        row["runs"] += 1
        row["most_kills_of_one"] = max(row["most_kills_of_one"], of_this)
        row["differ"] += [f"{folder.name}: {words}" for words in differences(whole, folder)]
        shutil.rmtree(folder)

    def _start(self, folder: Path, fresh: bool) -> Callable[..., int]:
        """Begin a process; what is returned waits for it, kills it at a moment, and returns its exit code (-9)."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        words, log = [*self._words, "--out", str(folder)], folder.parent / "stderr.txt"
        if fresh:
            with log.open("w") as err:
                process = subprocess.Popen(
                    [sys.executable, "-m", "codi_int", *words], stdout=subprocess.DEVNULL, stderr=err
                )
            return lambda moment=None: _wait(process.pid, moment, process)
        pid = os.fork()
        if pid == 0:
            _be(words, log)
        return lambda moment=None: _wait(pid, moment)


def _be(words: list[str], log: Path) -> None:
    """The forked process: the command, and nothing after it."""
    try:
        for number, path, flags in ((1, os.devnull, os.O_WRONLY), (2, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)):
            os.dup2(os.open(path, flags), number)
        sys.argv = ["codi-int", *words]
        from codi_int.cli.main import run_words

        os._exit(run_words(words))
    finally:
        os._exit(70)


def _wait(pid: int, moment: float | None, process: "subprocess.Popen[bytes] | None" = None) -> int:
    if moment is not None:
        ends = time.perf_counter() + moment
        while time.perf_counter() < ends:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return _code(status, process)
            time.sleep(0.002)
        os.kill(pid, signal.SIGKILL)
    return _code(os.waitpid(pid, 0)[1], process)


def _code(status: int, process: "subprocess.Popen[bytes] | None") -> int:
    code = os.waitstatus_to_exitcode(status)
    if process is not None:
        process.returncode = code  # it has been waited for
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"a process ended with {code}")
    return code


def differences(whole: Path, other: Path) -> list[str]:
    """What differs between two folders of one command."""
    names = [
        {str(path.relative_to(folder)) for path in folder.rglob("*") if _counts(path)} for folder in (whole, other)
    ]
    found = [f"{name} is in one of them" for name in sorted(names[0] ^ names[1])]
    found += [f"{path.name} is left" for pattern in LEFT_OVERS for path in other.rglob(pattern)]
    for name in sorted(names[0] & names[1]):
        one, two = whole / name, other / name
        if name.endswith(".json"):
            same = _timeless(json.loads(one.read_text())) == _timeless(json.loads(two.read_text()))
        else:
            same = one.read_bytes() == two.read_bytes()
        found += [] if same else [f"{name} differs"]
    return found


def _counts(path: Path) -> bool:
    return path.is_file() and not path.name.endswith(NOT_COMPARED)


def _timeless(document: Any) -> Any:
    """A document without the seconds that it took."""
    if isinstance(document, dict):
        return {key: _timeless(value) for key, value in document.items() if key != "seconds"}
    return [_timeless(value) for value in document] if isinstance(document, list) else document


if __name__ == "__main__":
    main()
