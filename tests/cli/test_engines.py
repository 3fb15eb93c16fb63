"""--engine: the same run by one process, by two and by two workers of Ray, byte for byte, though one is killed."""

import importlib.util
import json
import os
import pickle
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codi_int.interventions.screens import groups
from codi_int.runs import processes, ray_cluster, workers

NO_RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: codi-int[ray]")
CREWS = {"processes": processes.ProcessCrew, "ray": ray_cluster.RayCrew}


@pytest.fixture
def words(shelf) -> tuple[str, ...]:
    return ("screen", "--layer", "2", "--model", shelf.model, "--data", shelf.data, "--confirm", "none")


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[int]]:
    """Makes the first worker that gets a unit die over it."""

    def kill_the_first(engine: str) -> list[int]:
        crew, pids, killed = CREWS[engine], {}, []
        hears, give = workers.Workers.hears, crew.give

        def note(self: Any, report: workers.Report) -> None:
            if report.kind == "ready":
                pids[report.slot] = int(re.findall(r"process (\d+)", report.words)[0])
            hears(self, report)

        def give_and_kill(self: Any, slot: int, task: Any) -> None:
            if not killed:
                killed.append(pids[slot])
                os.kill(pids[slot], signal.SIGKILL)
            give(self, slot, task)

        monkeypatch.setattr(workers.Workers, "hears", note)
        monkeypatch.setattr(crew, "give", give_and_kill)
        return killed

    return kill_the_first


@pytest.mark.parametrize("engine", ["processes", pytest.param("ray", marks=NO_RAY)])
def test_a_screen_is_the_same_by_whomever_it_is_done(
    run: Callable, words: tuple, killed: Callable, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # workers are told their groups, so this holds for them too
    monkeypatch.setattr(groups, "ROWS_PER_GROUP", 30)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert run(*words, "--out", str(tmp_path / "local")).code == 0
    dead = killed(engine)
    ran = run(*words, "--engine", engine, "--out", str(tmp_path / engine))
    assert ran.code == 0, ran.err
    for name in ("screen.parquet", "finished/L2.P3.json"):
        assert (tmp_path / engine / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    documents = [json.loads((tmp_path / name / "screen.json").read_text()) for name in ("local", engine)]
    for document in documents:
        document["environment"].pop("seconds")
        document["selection"].pop("seconds")
    assert documents[0] == documents[1]

    log = (tmp_path / engine / "log.txt").read_text()
    assert log.count(" has died: ") == 1
    assert f"(process {dead[0]} on " in log
    done = json.loads((tmp_path / engine / "manifest.json").read_text())["workers"]
    assert (done["engine"], done["n"]) == (engine, 2)
    assert len({unit["name"] for unit in done["units"]}) == len(done["units"]) > 2
    for unit in done["units"]:
        assert log.count(f"{unit['name']}: done by {unit['worker']} in ") == 1
    assert not (tmp_path / "home" / ".ray").exists()
    assert not (tmp_path / engine / ".ray").exists()


SAME = {
    "map": (["--layer", "1,2", "--position", "2-3", "--propagate", "split"], ["map.parquet", "splits.parquet"]),
    "map --later": (["--layer", "2", "--position", "3", "--later", "each"], ["map.parquet", "contexts.parquet"]),
    "sae sweep": (["--layer", "1-2", "--k", "2,3", "--features", "8,12", "--epochs", "1"], ["grid.csv"]),
    "capture": (
        ["--layer", "1,3", "--position", "0,3", "--dtype", "bfloat16"],
        ["layer01.safetensors", "layer03.safetensors"],
    ),
}


class CrewOfThisProcess:
    """Two workers that open the work, and are told and answer in pickles, as others do; without the time it takes."""

    def __init__(self, work: workers.Work, gpus: float) -> None:
        self._work, self._said = work, []
        self._do: dict[int, Callable[[Any], Any]] = {}

    def start(self, slot: int) -> None:
        self._do[slot] = pickle.loads(pickle.dumps(self._work)).open()
        self._said.append(workers.Report(slot, "ready", words="here"))

    def give(self, slot: int, task: Any) -> None:
        done = pickle.dumps(self._do[slot](pickle.loads(pickle.dumps(task))))
        self._said.insert(0, workers.Report(slot, "done", pickle.loads(done)))  # the last one ends first

    def wait(self) -> list[workers.Report]:
        said, self._said = self._said, []
        return said

    def close(self) -> None: ...


@pytest.mark.parametrize("command", SAME)
def test_other_commands_are_the_same_by_two_workers(
    run: Callable, shelf, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "ProcessCrew", CrewOfThisProcess)
    monkeypatch.setattr("codi_int.cli._console.begin_worker", lambda: None)
    own, names = SAME[command]
    words = [*command.split(" --")[0].split(), *own, "--model", shelf.model, "--data", shelf.data]
    if command == "sae sweep":
        (tmp_path / "recipe.json").write_text(json.dumps({"batch_size": 4}))
        words += ["--held-out", shelf.data, "--recipe", str(tmp_path / "recipe.json")]
    here = run(*words, "--out", str(tmp_path / "local"))
    assert here.code == 0, here.err
    ran = run(*words, "--engine", "processes", "--out", str(tmp_path / "processes"))
    assert ran.code == 0, ran.err
    for name in names:
        assert (tmp_path / "processes" / name).read_bytes() == (tmp_path / "local" / name).read_bytes(), name
    for path in (tmp_path / "local").glob("L*/*/*.safetensors"):
        assert (tmp_path / "processes" / path.relative_to(tmp_path / "local")).read_bytes() == path.read_bytes()
    assert "done by worker " in (tmp_path / "processes" / "log.txt").read_text()
    assert not list((tmp_path / "processes").glob("finished-units*"))


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (["--workers", "3"], "--workers 3 says how other processes work, and --engine is local."),
        (["--engine", "processes", "--address", "a:1"], "--address a:1 is that of a Ray cluster"),
        (["--engine", "processes", "--against", "frozen"], "--against frozen runs in one process"),
    ],
)
def test_options_that_do_not_go_together(run: Callable, words: tuple, given: list[str], rule: str) -> None:
    ran = run(*words, *given)
    assert ran.code == 2
    assert ran.err.startswith(f"codi-int: {rule}")
    assert len(ran.err.splitlines()) == 2


def test_without_ray_the_error_says_what_to_install(
    run: Callable, words: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert run(*words, "--engine", "ray").err.splitlines() == [
        "codi-int: --engine ray needs Ray, which is not installed.",
        "Install it: pip install 'codi-int[ray]'; --engine processes needs nothing.",
    ]


@pytest.mark.parametrize(
    ("address", "says"),
    [("127.0.0.1:1", "no Ray cluster answers there (connection refused)"), ("there", "is no HOST:PORT")],
)
def test_an_address_without_a_cluster(
    run: Callable, words: tuple, address: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "require_ray", lambda: None)
    ran = run(*words, "--engine", "ray", "--address", address)
    assert ran.code == 2
    assert f"--address {address}" in ran.err
    assert says in ran.err
    assert len(ran.err.splitlines()) == 2


@NO_RAY
def test_a_cluster_of_this_machine_needs_a_folder(run: Callable, words: tuple) -> None:
    ran = run(*words, "--engine", "ray")
    assert ran.code == 2
    assert "--engine ray keeps its token and its temporary files in the run's folder, and --out is missing." in ran.err
