"""Who does which unit, and what happens where workers fail or die; the crew is a list of what it is to answer."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from codi_int.errors import ConfigError, DataError, UnitError
from codi_int.runs.workers import MOST_DEATHS, Bench, Report, Work, Workers, program_version
from codi_int.units import Unit, run_here

UNITS = [Unit(f"unit {i}", i) for i in range(6)]


class ScriptedCrew:
    """Answers at once; what it answers is a function of worker, task and how often the task was given."""

    def __init__(self, answer: Callable[[int, int, int], Report], ready: Callable[[int, int], Report] | None = None):
        self._answer, self._ready = answer, ready or (lambda slot, n: Report(slot, "ready", words=f"process {n}"))
        self._said: list[Report] = []
        self.given: list[tuple[int, int]] = []
        self.n_started = 0

    def start(self, slot: int) -> None:
        self.n_started += 1
        self._said.append(self._ready(slot, self.n_started))

    def give(self, slot: int, task: int) -> None:
        self.given.append((slot, task))
        self._said.append(self._answer(slot, task, sum(t == task for _, t in self.given)))

    def wait(self) -> Sequence[Report]:
        assert self._said, "nobody is left who could say anything"
        said, self._said = self._said, []
        return said

    def close(self) -> None: ...


def square(slot: int, task: int, times: int) -> Report:
    return Report(slot, "done", task**2)


def ran(crew: ScriptedCrew, n: int = 2, units: Sequence[Unit] = UNITS) -> tuple[dict[str, Any], list[str], Workers]:
    found: dict[str, Any] = {}
    lines: list[str] = []

    def keep(unit: Unit, value: Any) -> None:
        assert unit.name not in found, "kept twice"
        found[unit.name] = value

    workers = Workers(crew, n, lines.append)
    try:
        workers(units, keep)
    except UnitError as error:
        lines.append(str(error))
    return found, lines, workers


def test_every_unit_is_done_once_and_the_log_names_its_worker() -> None:
    found, lines, workers = ran(ScriptedCrew(square))
    assert found == {f"unit {i}": i**2 for i in range(6)}
    assert {record.name for record in workers.done} == set(found)
    assert sum("done by worker 1 (process 1)" in line for line in lines) == 3
    assert sum("done by worker 2 (process 2)" in line for line in lines) == 3


def test_the_same_workers_do_the_next_list() -> None:
    crew = ScriptedCrew(square)
    workers = Workers(crew, 2)
    for _ in range(2):
        workers(UNITS, lambda unit, value: None)
    assert (crew.n_started, len(workers.done)) == (2, 12)


def test_no_more_workers_are_started_than_there_are_units() -> None:
    crew = ScriptedCrew(square)
    ran(crew, n=5, units=UNITS[:2])
    assert crew.n_started == 2


def test_a_worker_that_dies_is_replaced_and_its_unit_done_by_another() -> None:
    def answer(slot: int, task: int, times: int) -> Report:
        return Report(slot, "died", words="exit code -9") if (task, times) == (2, 1) else square(slot, task, times)

    crew = ScriptedCrew(answer)
    found, lines, _ = ran(crew)
    assert found == {f"unit {i}": i**2 for i in range(6)}
    assert crew.n_started == 3
    assert "worker 1 has died: exit code -9" in lines


def test_a_unit_that_one_worker_cannot_do_goes_to_the_other() -> None:
    def answer(slot: int, task: int, times: int) -> Report:
        return Report(slot, "failed", words="no") if slot == 0 and task == 0 else square(slot, task, times)

    crew = ScriptedCrew(answer)
    found, _, _ = ran(crew)
    assert len(found) == 6
    assert [slot for slot, task in crew.given if task == 0] == [0, 1]


def test_a_unit_that_fails_on_every_worker_is_said_once_and_the_rest_goes_on() -> None:
    def answer(slot: int, task: int, times: int) -> Report:
        return Report(slot, "failed", words="ValueError: seven") if task in (1, 4) else square(slot, task, times)

    crew = ScriptedCrew(answer)
    found, lines, _ = ran(crew)
    assert found == {f"unit {i}": i**2 for i in (0, 2, 3, 5)}
    assert sorted(slot for slot, task in crew.given if task == 1) == [0, 1]
    assert lines[-1].split("\n") == [
        "2 of 6 units failed on every worker: unit 1, unit 4; unit 1 says ValueError: seven.",
        "All others are done and kept. Mend the cause and give the same command; it does these alone.",
    ]


def test_a_unit_that_kills_its_workers_is_given_up() -> None:
    def answer(slot: int, task: int, times: int) -> Report:
        return Report(slot, "died", words="exit code -9") if task == 3 else square(slot, task, times)

    crew = ScriptedCrew(answer)
    found, lines, _ = ran(crew)
    assert (len(found), sum(task == 3 for _, task in crew.given)) == (5, MOST_DEATHS)
    assert "1 of 6 units failed on every worker: unit 3; unit 3 says exit code -9." in lines[-1]


def test_workers_that_never_get_ready_end_the_run() -> None:
    crew = ScriptedCrew(square, ready=lambda slot, n: Report(slot, "died", words="exit code 1"))
    _, lines, _ = ran(crew, n=1)
    assert lines[-1].startswith(f"{MOST_DEATHS} workers one after the other died while they started: exit code 1.")
    assert crew.n_started == MOST_DEATHS


def test_a_refusal_is_the_error_that_the_worker_had() -> None:
    refusal = ("ConfigError", "A worker has codi-int 0.", "Install the same version.")
    crew = ScriptedCrew(square, ready=lambda slot, n: Report(slot, "refused", refusal))
    with pytest.raises(ConfigError) as refused:
        Workers(crew, 1)(UNITS, lambda unit, value: None)
    assert str(refused.value) == "A worker has codi-int 0.\nInstall the same version."


def open_here(settings: dict[str, str]) -> Bench:
    return Bench(lambda task: task, settings)


def test_workers_with_another_program_or_other_inputs_are_refused() -> None:
    opener = f"{__name__}:open_here"
    same = Work.of(opener, {"model": "m" * 64}, {"model": "m" * 64})
    assert same.open()(7) == 7
    other = Work.of(opener, {"model": "m" * 64}, {"model": "n" * 64})
    with pytest.raises(DataError, match=r"has read another model: m{12}, not n{12}\.") as refused:
        other.open()
    assert refused.value.remedy == "Put the same model in the same place on every machine."
    older = Work(opener, same.settings, same.inputs, same.threads, "0.0.1 (00000000)")
    with pytest.raises(ConfigError, match=r"has codi-int .*, and this is 0\.0\.1 \(00000000\)\.") as refused_too:
        older.open()
    assert refused_too.value.remedy == "Install the same version on every machine."
    assert program_version() == same.program


def test_one_process_does_the_same() -> None:
    found: dict[str, int] = {}
    run_here(lambda task: task**2)(UNITS, lambda unit, value: found.update({unit.name: value}))
    assert found == {f"unit {i}": i**2 for i in range(6)}
