"""What is written is read back as it was, for records made up from their annotations."""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from record_strategies import JSON, NUMBERS, WHOLE, WORDS, as_written, of_record, of_type

from codi_int.data.problems import read_jsonl, write_jsonl
from codi_int.features.pairs import SwapPairs, read_swap_pairs
from codi_int.interventions.engine.store import save_result
from codi_int.interventions.kept import KINDS, LATER_KINDS, load_result, save_finding
from codi_int.interventions.patching.predicted import PredictedResult
from codi_int.interventions.patching.predicted_store import save_predicted
from codi_int.interventions.patching.predictions import Prediction
from codi_int.interventions.screens.additivity import PairRow
from codi_int.interventions.screens.changes import ArmChange
from codi_int.interventions.screens.contexts import ContextChange
from codi_int.interventions.screens.map_cells import MapDone
from codi_int.interventions.screens.map_store import MapStore
from codi_int.interventions.screens.screen import ScreenRow
from codi_int.interventions.screens.screen_store import ScreenFolder
from codi_int.records import unflatten
from codi_int.run_folder import Run, RunFolder, read_kept
from codi_int.runs.plan import RunPlan
from codi_int.types import Outcome, Problem, Result, RunCounts, Site
from codi_int.unit_files import UnitFiles

# beartype draws from `random` to choose what it checks, which is no part of any example
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
KEPT = {kind.__name__: kind for _, kind in KINDS.values()}
KEPT |= {name: getattr(import_module(module), name) for _, module, name in LATER_KINDS.values()}


def times(n: int) -> Any:
    """So many examples, the same ones in every run."""
    health = list(HealthCheck)
    return settings(max_examples=n, deadline=None, derandomize=True, database=None, suppress_health_check=health)


def test_every_record_that_can_be_kept_is_tried_here() -> None:
    assert {"Screen", "ThoughtMap", "AblationCurve", "EarlyStopping", "RunComparison", "ProbeMap"} <= set(KEPT)


@pytest.mark.parametrize("name", KEPT)
@times(5)
@given(data=st.data())
def test_a_finding_is_read_back(name: str, tmp_path: Path, data: st.DataObject) -> None:
    found = data.draw(of_type(KEPT[name]))
    save_finding(found, tmp_path, force=True)
    again = load_result(tmp_path)
    assert again == as_written(found)
    assert again.to_dict() == found.to_dict()


def outcomes(n: int, arms: tuple[str, ...]) -> st.SearchStrategy[dict[str, tuple[Outcome, ...]]]:
    """As many of every arm."""
    rows = st.lists(of_type(Outcome), min_size=n, max_size=n).map(tuple)
    return st.fixed_dictionaries(dict.fromkeys(arms, rows))


@times(6)
@given(data=st.data())
def test_a_result_is_read_back_with_its_outcomes(tmp_path: Path, data: st.DataObject) -> None:
    n, arms = data.draw(st.integers(1, 3)), ("clean", "reconstructed", "intervened")
    found = data.draw(of_record(Result, outcomes=outcomes(n, arms)))
    save_result(found, tmp_path / "result")
    assert load_result(tmp_path / "result") == replace(as_written(found), outcomes=found.outcomes)


@times(6)
@given(data=st.data())
def test_predictions_are_read_back(tmp_path: Path, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 3))
    rows = st.lists(of_type(Prediction), min_size=n, max_size=n).map(tuple)
    found = data.draw(of_record(PredictedResult, outcomes=outcomes(n, ("clean", "intervened")), predictions=rows))
    save_predicted(found, tmp_path)
    again = load_result(tmp_path)
    assert again == replace(as_written(found), outcomes=found.outcomes, predictions=found.predictions)


@times(10)
@given(found=of_type(SwapPairs))
def test_pairs_are_read_back(tmp_path: Path, found: SwapPairs) -> None:
    (tmp_path / "features-pairs.json").write_text(json.dumps(found.to_dict(), allow_nan=False))
    assert read_swap_pairs(tmp_path) == as_written(found)


@times(10)
@given(found=of_type(RunPlan))
def test_a_plan_is_read_back(found: RunPlan) -> None:
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document.pop("schema") == "codi-int/plan@1"
    assert unflatten(RunPlan, document) == found


@times(10)
@given(data=st.data())
def test_finished_rows_of_a_screen_are_read_back(tmp_path: Path, data: st.DataObject) -> None:
    site, seed = data.draw(of_type(Site)), data.draw(st.integers())
    rows, pairs = (
        data.draw(st.lists(of_record(kind, site=st.just(site)), max_size=2).map(tuple)) for kind in (ScreenRow, PairRow)
    )
    for _ in range(2):  # there, and written over
        folder = ScreenFolder(tmp_path, {"seed": seed}, {site: "hash"})
        (tmp_path / "finished" / f"{site}.json").unlink(missing_ok=True)
        counts = data.draw(of_type(RunCounts))
        folder.count({site: counts})
        folder.keep(rows, pairs)
        again = ScreenFolder(tmp_path, {"seed": seed}, {site: "hash"}).finished()
        assert (again.rows, again.pairs) == (as_written(rows), as_written(pairs))
        # what holds nothing is not written
        assert again.counts == ({site: counts} if rows or pairs else {})


def changes(n: int) -> st.SearchStrategy[ArmChange]:
    """Of so many problems, with and without what may be missing."""
    numbers = st.lists(NUMBERS, min_size=n, max_size=n).map(lambda of: np.array(of, dtype=np.float64))
    flags = st.lists(st.booleans(), min_size=n, max_size=n).map(lambda of: np.array(of, dtype=np.bool_))
    whole = st.lists(WHOLE, min_size=n, max_size=n).map(lambda of: np.array(of, dtype=np.int64))
    known = {"touched": flags, "answer": flags, "clusters": st.none() | whole}
    known |= {name: st.none() | numbers for name in ("margin", "probability")}
    names = get_type_hints(ArmChange)
    return st.builds(ArmChange, **{name: known.get(name, numbers) for name in names})


@times(10)
@given(data=st.data())
def test_finished_units_of_a_map_are_read_back(tmp_path: Path, data: st.DataObject) -> None:
    keys = st.tuples(st.sampled_from(["free", "mean", "only"]), of_type(Site))
    cells = st.builds(ContextChange, changes(data.draw(st.integers(0, 3))), WHOLE)
    done = data.draw(st.builds(MapDone, st.dictionaries(keys, cells, max_size=2), of_type(RunCounts), WHOLE))
    store, name = MapStore(tmp_path), data.draw(WORDS)
    store.keep(name, done)
    again = MapStore(tmp_path).finished()[name]
    assert (again.counts, again.n_correct, list(again.changes)) == (done.counts, done.n_correct, list(done.changes))
    for key, one in done.changes.items():
        assert again.changes[key].n_correct == one.n_correct
        for part, value in vars(one.change).items():
            other = getattr(again.changes[key].change, part)
            assert np.array_equal(value, other) if value is not None else other is None


@times(15)
@given(name=WORDS, note=JSON)
def test_the_note_of_a_unit_is_read_back(tmp_path: Path, name: str, note: Any) -> None:
    UnitFiles(tmp_path).keep(name, note, {})
    assert UnitFiles(tmp_path).read(name) == (note, {})


@times(15)
@given(data=st.data())
def test_a_manifest_knows_its_own_run_and_no_other(tmp_path: Path, data: st.DataObject) -> None:
    given_settings = data.draw(st.dictionaries(WORDS, JSON, max_size=3))
    run = Run("ablate", given_settings, {"--model": data.draw(WORDS)}, words=tuple(data.draw(st.lists(WORDS))))
    (tmp_path / "result.json").write_text("{}")
    folder = RunFolder(tmp_path, run, force=True)
    folder.claim(model=data.draw(WORDS))
    folder.finish(["result.json"])
    kept = read_kept(tmp_path)
    assert kept is not None
    assert (kept.run["settings"], kept.run["names"]) == (run.settings, run.names)
    assert (kept.run["inputs"], kept.finished) == (folder.inputs, True)
    RunFolder(tmp_path, run).check()


# a question is read without blanks around it, and there is one
TEXTS = WORDS.map(str.strip).filter(bool)


@times(10)
@given(
    problems=st.lists(
        of_record(Problem, id=TEXTS, question=TEXTS), min_size=1, max_size=3, unique_by=lambda one: one.id
    )
)
def test_problems_are_read_back(tmp_path: Path, problems: list[Problem]) -> None:
    write_jsonl(problems, tmp_path / "problems.jsonl")
    assert list(read_jsonl(tmp_path / "problems.jsonl")) == problems
