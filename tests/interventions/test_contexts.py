"""Cells of the map given what other positions do, against plain hooks on the whole model and where it is planted."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from codi_int.errors import ConfigError
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.screens.contexts import LineArm, arms_of, line_of
from codi_int.interventions.screens.map_cells import ReplaceWithConstant
from codi_int.interventions.screens.mapping import run_map
from codi_int.interventions.screens.sides import NONE, SelectionPlan
from codi_int.interventions.screens.thought_map import MapCell, MapPlan, ThoughtMap
from codi_int.model.hooked import CodiModel
from codi_int.types import Problem, Site
from tests.interventions.planted import PLACE, STAND_IN, planted_model, planted_problems, telling

CELLS = (Site(1, 3), Site(3, 6), Site(None, 4, "thought"))
SELECT = SelectionPlan(confirm=NONE)


@pytest.fixture(scope="module")
def own(llama: CodiModel, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """Problems with the model's own answers as the truth, so that some can break."""
    some = problems[:18:3]  # of one length
    return tuple(replace(p, answer=a.answer or 0) for p, a in zip(some, llama.answer(some), strict=True))


def right_under_hooks(
    model: CodiModel, problems: Sequence[Problem], replaced: Sequence[Site], kept: Sequence[Site] = ()
) -> np.ndarray:
    """Which problems are right with some sites at their means and others put back to their clean values."""
    clean = model.think(problems, capture=[*replaced, *kept])
    rows = {problem.id: i for i, problem in enumerate(problems)}

    def put(values: torch.Tensor, mean: bool) -> Any:
        return lambda x, c: values.mean(0).expand_as(x) if mean else values[[rows[name] for name in c.problem_ids]]

    table = {site: put(clean.captured[site], site in replaced) for site in (*replaced, *kept)}
    with torch.no_grad(), model.hooks(table):
        answers = model.answer(problems)
    return np.array([a.answer == p.answer for a, p in zip(answers, problems, strict=True)])


def rows_of(found: ThoughtMap) -> dict[tuple[str, Site], MapCell]:
    return {(cell.later, cell.site): cell for cell in (*found.cells, *found.contexts)}


@pytest.mark.parametrize("kept", ["clean", "each"])
def test_conditions_are_what_hooks_do(llama: CodiModel, own: tuple[Problem, ...], kept: str) -> None:
    rows, broken = rows_of(run_map(llama, own, MapPlan(CELLS, later=kept), selection=SELECT)), 0
    assert {later for later, _ in rows} == ({"clean"} if kept == "clean" else {"free", "mean", "only"})
    for (later, cell), row in rows.items():
        if cell == Site(3, 6):
            assert (row.note[:7], row.n_correct_before) == ("no path", None)
            continue
        line = [replace(cell, position=p) for p in range(7) if replace(cell, position=p) not in UNREAD]
        behind = [site for site in line if site.position > cell.position]
        others = [site for site in line if site != cell]
        before, after = {
            "free": (((), ()), ((cell,), ())),
            "mean": ((behind, ()), ((cell, *behind), ())),
            "clean": (((), behind), ((cell,), behind)),
            "only": ((others, (cell,)), (line, ())),
        }[later]
        was, now = (right_under_hooks(llama, own, *arm) for arm in (before, after))
        assert (row.n_broken, row.n_fixed) == (int((was & ~now).sum()), int((~was & now).sum())), (later, cell)
        assert row.n_correct_before == int(was.sum())
        broken += row.n_broken
    assert broken > 0


UNREAD = (Site(3, 6), Site(None, 6, "thought"))


def test_the_map_and_the_engine_mean_the_same_condition(llama: CodiModel, own: tuple[Problem, ...]) -> None:
    cell = Site(1, 3)
    (row,) = run_map(llama, own, MapPlan((cell,), later="mean"), selection=SELECT).cells
    engine = FeatureInterventionEngine(llama, {cell: None}, later="mean")
    mean = llama.think(own, capture=[cell]).at(cell).values.mean(0)
    result = engine.run(ReplaceWithConstant(mean, "mean"), own, controls=None)
    assert (row.n_broken, row.n_fixed) == (result.effect.n_broken, result.effect.n_fixed)
    assert row.n_correct_before == result.arms["clean"].n_correct


def test_the_naive_path_gives_the_same_cells(llama: CodiModel, own: tuple[Problem, ...]) -> None:
    plan = MapPlan(CELLS[:1], "zero", later="only")
    fast, slow = (run_map(llama, own, plan, method=method, selection=SELECT) for method in ("suffix", "naive"))
    for one, other in zip(fast.cells, slow.cells, strict=True):
        flips = [(cell.n_broken, cell.n_fixed, cell.n_answer_changed) for cell in (one, other)]
        assert flips[0] == flips[1]
        assert one.logprob == pytest.approx(other.logprob, abs=5e-4)


def test_a_redundant_place_is_idle_alone_and_everything_in_either_context() -> None:
    model = planted_model()
    with model.hooks(telling()):
        rows = rows_of(run_map(model, planted_problems(), MapPlan((PLACE, STAND_IN), later="each"), selection=SELECT))
    found = {(later, site): (row.n_correct_before, row.n_broken) for (later, site), row in rows.items()}
    assert found == {
        ("free", PLACE): (20, 0),
        ("free", STAND_IN): (20, 0),
        # the stand-in silent, everything depends on the place; behind the stand-in there is nothing to silence
        ("mean", PLACE): (20, 20),
        ("mean", STAND_IN): (20, 0),
        # either one is enough by itself
        ("only", PLACE): (20, 20),
        ("only", STAND_IN): (20, 20),
    }


def test_cells_of_a_layer_share_arms(llama: CodiModel) -> None:
    line = line_of(llama, Site(1, 3))
    assert [site.position for site in line] == list(range(7))
    assert [site.position for site in line_of(llama, Site(3, 0))] == list(range(6))  # nothing reads L3.P6
    at3, before3 = arms_of(Site(1, 3), line, "mean")
    at4, _ = arms_of(Site(1, 4), line, "mean")
    assert before3 == at4
    assert at3.sites == line[3:]
    assert arms_of(Site(1, 6), line, "mean")[1] is None
    assert arms_of(Site(1, 3), line, "only")[0] == arms_of(Site(1, 5), line, "only")[0] == LineArm(line)
    assert arms_of(Site(1, 3), line, "clean") == (LineArm((line[3],), line[4:]), None)


def test_what_cannot_be_combined_is_refused() -> None:
    for settings, word in (({"cumulative": True}, "--cumulative"), ({"propagate": "split"}, "--propagate split")):
        with pytest.raises(ConfigError, match=f"--later mean says what other positions do, and so does {word}"):
            MapPlan((PLACE,), later="mean", **settings)
    with pytest.raises(ConfigError, match="later='none' does not exist"):
        MapPlan((PLACE,), later="none")
