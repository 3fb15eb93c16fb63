"""The map of thoughts against plain hooks on the whole model, and its corrections against scipy."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from statsmodels.stats.multitest import multipletests

from codi_int.data.chains import split_folds
from codi_int.errors import ConfigError, SiteError
from codi_int.interventions.evidence.family import Family, Member
from codi_int.interventions.screens import map_cells
from codi_int.interventions.screens.mapping import run_map, whole_grid
from codi_int.interventions.screens.sides import SelectionPlan
from codi_int.interventions.screens.thought_map import MapCell, MapPlan, ThoughtMap
from codi_int.model.hooked import CodiModel
from codi_int.types import Problem, Site

SITES = (Site(0, 1), Site(2, 3), Site(3, 5), Site(1, 0), Site(2, 6), Site(3, 6), Site(None, 2, "thought"))
PARTS = tuple(
    Site(layer, 3, component)
    for layer in (1, 2)
    for component in ("resid_pre", "resid_mid", "attn_out", "mlp_out", "head:0", "head:3")
)


@pytest.fixture(scope="module")
def right(model: CodiModel, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """The problems, with the model's own answers as the truth: a replaced residual can then break some."""
    return with_own_answers(model, problems[:12])


@pytest.fixture(scope="module")
def own(llama: CodiModel, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """The same for the one architecture."""
    return with_own_answers(llama, problems[:12])


def with_own_answers(model: CodiModel, problems: Sequence[Problem]) -> tuple[Problem, ...]:
    answers = model.answer(problems)
    return tuple(p if a.answer is None else replace(p, answer=a.answer) for p, a in zip(problems, answers, strict=True))


def correct_under_hooks(
    model: CodiModel, problems: Sequence[Problem], sites: Sequence[Site], kind: str = "mean", propagate: str = "both"
) -> np.ndarray:
    """Which problems are right with the sites' activations replaced by hooks."""
    clean = model.think(problems, capture=list(sites))
    means = {site: clean.captured[site].mean(0) * (kind == "mean") for site in sites}
    table = {site: lambda resid, context, m=mean: m.expand_as(resid) for site, mean in means.items()}
    with torch.no_grad(), model.hooks(table, propagate=propagate):  # type: ignore[arg-type]
        answers = model.answer(problems)
    return np.array([a.answer == p.answer for a, p in zip(answers, problems, strict=True)])


def flips(model: CodiModel, problems: Sequence[Problem], after: np.ndarray) -> tuple[int, int]:
    before = np.array([a.answer == p.answer for a, p in zip(model.answer(problems), problems, strict=True)])
    return int((before & ~after).sum()), int((~before & after).sum())


def cell_of(found: ThoughtMap, site: Site, path: str = "both") -> MapCell:
    return next(cell for cell in found.cells if (cell.site, cell.propagate) == (site, path))


@pytest.mark.parametrize("kind", ["mean", "zero"])
def test_a_cell_is_what_a_hook_does(model: CodiModel, right: tuple[Problem, ...], kind: str) -> None:
    found = run_map(model, right, MapPlan((*SITES, *PARTS[4:]), kind))
    total = 0
    for site in (*SITES, *PARTS[4:]):
        cell = cell_of(found, site)
        if site == Site(3, 6):
            continue
        broken, fixed = flips(model, right, correct_under_hooks(model, right, [site], kind))
        assert (cell.n_broken, cell.n_fixed) == (broken, fixed), site
        assert cell.estimate == (fixed - broken) / len(right)
        assert cell.n_replaced == 1
        total += broken
    assert total > 2
    assert found.n_correct == sum(a.answer == p.answer for a, p in zip(model.answer(right), right, strict=True))


@pytest.mark.parametrize(
    ("direction", "site", "positions"),
    [
        ("onwards", Site(2, 3), (3, 4, 5, 6)),
        ("upto", Site(2, 3), (1, 2, 3)),
        ("upto", Site(1, 0), (0,)),
        ("onwards", Site(3, 4), (4, 5)),
        ("onwards", Site(None, 3, "thought"), (3, 4, 5)),
    ],
)
def test_cumulative_cells_replace_several_positions(
    llama: CodiModel, own: tuple[Problem, ...], direction: str, site: Site, positions: tuple[int, ...]
) -> None:
    found = run_map(llama, own, MapPlan((site,), cumulative=True, direction=direction))
    (cell,) = found.cells
    after = correct_under_hooks(llama, own, [replace(site, position=p) for p in positions])
    assert (cell.n_broken, cell.n_fixed) == flips(llama, own, after)
    assert cell.n_replaced == len(positions)  # the last block at the last position leads nowhere and is left alone
    assert (found.cumulative, found.direction) == (True, direction)


@pytest.mark.parametrize("path", ["cache", "recurrence"])
def test_a_cut_road_is_what_hooks_with_that_road_do(llama: CodiModel, own: tuple[Problem, ...], path: str) -> None:
    found = run_map(llama, own, MapPlan((Site(2, 3), Site(0, 5)), "zero", propagate=path))
    for cell in found.cells:
        after = correct_under_hooks(llama, own, [cell.site], "zero", path)
        assert (cell.n_broken, cell.n_fixed) == flips(llama, own, after)


def test_the_suffix_path_and_the_whole_model_agree(llama: CodiModel, own: tuple[Problem, ...]) -> None:
    for plan in (
        MapPlan(SITES[1:], propagate="recurrence"),
        MapPlan(SITES[:2], "zero", cumulative=True),
        MapPlan(PARTS),
        MapPlan((PARTS[4], PARTS[8]), later="only"),
    ):
        fast, slow = (run_map(llama, own, plan, method=method) for method in ("suffix", "naive"))
        for one, other in zip(fast.cells, slow.cells, strict=True):
            assert (one.site, one.n_broken, one.n_fixed, one.n_answer_changed) == (
                other.site,
                other.n_broken,
                other.n_fixed,
                other.n_answer_changed,
            )
            if one.has_path:
                assert one.logprob == pytest.approx(other.logprob, abs=5e-4)


@pytest.mark.parametrize("cumulative", [False, True])
def test_layers_that_share_batches_give_what_each_gives_alone(
    llama: CodiModel, own: tuple[Problem, ...], cumulative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites = (*(Site(layer, p) for layer in range(4) for p in (2, 4)), Site(None, 4, "thought"))
    together = run_map(llama, own, MapPlan(sites, "zero", cumulative=cumulative))
    monkeypatch.setattr(map_cells, "POOL_BYTES", 0)
    alone = run_map(llama, own, MapPlan(sites, "zero", cumulative=cumulative))
    assert together.counts.suffix_rows == alone.counts.suffix_rows == len(sites) * len(own)
    for one, other in zip(together.cells, alone.cells, strict=True):
        assert (one.n_broken, one.n_fixed, one.n_answer_changed) == (
            other.n_broken,
            other.n_fixed,
            other.n_answer_changed,
        )
        assert one.logprob == pytest.approx(other.logprob, abs=5e-4)


def test_where_no_road_leads_no_number_is_given(llama: CodiModel, problems: tuple[Problem, ...]) -> None:
    found = run_map(llama, problems[:8], MapPlan(SITES, propagate="split"))
    closed = {(str(cell.site), cell.propagate) for cell in found.cells if not cell.has_path}
    assert closed == {
        ("L3.P6", "both"),
        ("L3.P6", "cache"),
        ("L3.P6", "recurrence"),
        ("L2.P6", "recurrence"),
        ("L3.P5", "cache"),
        ("P2.thought", "cache"),
    }
    for cell in found.cells:
        assert (cell.estimate is None) == (cell.logprob is None) == (cell.p_adjusted is None) == (not cell.has_path)
        assert cell.has_path or "no path" in cell.note


def test_roads_are_split_and_what_is_left_over_is_tested(llama: CodiModel, problems: tuple[Problem, ...]) -> None:
    found = run_map(llama, problems[:8], MapPlan(SITES, propagate="split"))
    assert [split.site for split in found.splits] == [Site(0, 1), Site(2, 3), Site(1, 0)]
    for split in found.splits:
        both, cache, recurrence = (cell_of(found, split.site, path) for path in ("both", "cache", "recurrence"))
        left = both.logprob - cache.logprob - recurrence.logprob
        assert split.logprob.estimate == pytest.approx(left, abs=1e-9)
        assert split.accuracy.estimate == pytest.approx(both.estimate - cache.estimate - recurrence.estimate)
    # eight problems carry no mean, so the log-probability has no test; whole departures have an exact one
    assert all(split.logprob.p_value is None for split in found.splits)
    assert all(split.accuracy.p_value is not None for split in found.splits)


def test_p_values_are_adjusted_over_all_cells_with_a_road(llama: CodiModel, problems: tuple[Problem, ...]) -> None:
    found = run_map(llama, problems[:8], MapPlan(SITES), selection=SelectionPlan(correction="holm", confirm="none"))
    tested = [cell for cell in found.cells if cell.has_path]
    expected = multipletests([cell.p_value for cell in tested], method="holm")[1]
    assert [cell.p_adjusted for cell in tested] == pytest.approx(list(expected))
    assert len(tested) == len(SITES) - 1


def test_selected_cells_are_run_again_with_the_same_vectors(
    llama: CodiModel, own: tuple[Problem, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from codi_int.interventions.screens import judging

    # of six problems next to nothing can be found: everything that changes an answer is to count here
    monkeypatch.setattr(judging, "find", lambda members, correction, seed: _all_found(members))
    plan, sites = SelectionPlan(confirm=own[6:]), (Site(1, 1), Site(2, 3))
    found = run_map(llama, own[:6], MapPlan(sites), selection=plan)
    assert found.selection is not None
    assert (found.selection.n_selected, found.selection.n_confirming) == (2, 6)
    for cell in found.cells:
        vector = llama.think(own[:6], capture=[cell.site]).at(cell.site).values.mean(0)
        with torch.no_grad(), llama.hooks({cell.site: lambda resid, _, v=vector: v.to(resid).expand_as(resid)}):
            answers = llama.answer(own[6:])
        clean = llama.answer(own[6:])
        broken = sum(c.answer == p.answer != a.answer for a, c, p in zip(answers, clean, own[6:], strict=True))
        assert cell.confirmation_broken == broken


def test_departures_of_the_paths_are_confirmed_on_a_set(
    llama: CodiModel, own: tuple[Problem, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from codi_int.interventions.screens import judging

    monkeypatch.setattr(judging, "find", lambda members, correction, seed: _all_found(members))
    plan = SelectionPlan(confirm=own[6:])
    found = run_map(llama, own[:6], MapPlan((Site(1, 1), Site(2, 3)), propagate="split"), selection=plan)
    assert found.split_selection is not None
    assert (found.split_selection.n_tested, found.split_selection.n_confirming) == (2, 6)
    for split in found.splits:
        # the cells of a map are what hooks do, there as well
        there = {path: cell_of(found, split.site, path).confirmation for path in ("both", "cache", "recurrence")}
        both, cache, recurrence = (there[path].accuracy.value for path in ("both", "cache", "recurrence"))
        assert split.confirmation is not None
        assert split.confirmation.accuracy.value == pytest.approx(both - cache - recurrence)
        assert (split.selected, split.confirmation.n, split.confirmation.fold) == (True, 6, None)


def test_departures_of_the_paths_are_confirmed_in_folds(
    llama: CodiModel, own: tuple[Problem, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from codi_int.interventions.screens import judging

    monkeypatch.setattr(judging, "find", lambda members, correction, seed: _all_found(members))
    # zeros in a residual's place are the same whichever problems run
    plan = MapPlan((Site(1, 1),), kind="zero", propagate="split")
    found = run_map(llama, own, plan, selection=SelectionPlan(confirm="folds"))
    (split,) = found.splits
    assert found.split_selection is not None
    assert found.split_selection.confirmed_on == "folds"
    assert split.confirmation is not None
    other = [p for p, fold in zip(own, split_folds(own), strict=True) if fold != split.confirmation.fold]
    (alone,) = run_map(llama, other, plan, selection=SelectionPlan(confirm="none")).splits
    assert split.confirmation.n == len(other)
    assert split.confirmation.accuracy.value == pytest.approx(alone.accuracy.estimate)
    assert (alone.selected, alone.confirmation) == (True, None)


def test_nothing_confirms_departures_where_nothing_should(llama: CodiModel, own: tuple[Problem, ...]) -> None:
    plan = SelectionPlan(confirm="none")
    found = run_map(llama, own[:8], MapPlan((Site(1, 1),), propagate="split"), selection=plan)
    assert found.split_selection is not None
    assert (found.split_selection.confirmed_on, found.splits[0].confirmation) == (None, None)
    assert run_map(llama, own[:4], MapPlan((Site(1, 1),)), selection=plan).split_selection is None


def _all_found(members: Sequence[Member]) -> Family:
    n = len(members)
    return Family("discrete", tuple(one.p_value for one in members), (True,) * n, n, 0.05)


def test_one_problem_is_its_own_mean(llama: CodiModel, problems: tuple[Problem, ...]) -> None:
    found = run_map(llama, problems[:1], MapPlan((Site(2, 3),)))
    assert (found.cells[0].n_answer_changed, found.cells[0].logprob) == (0, pytest.approx(0.0, abs=1e-4))


def test_the_whole_grid_has_a_row_of_thoughts(llama: CodiModel) -> None:
    assert len(whole_grid(llama)) == 5 * 7
    assert len(whole_grid(llama, thoughts=False)) == 4 * 7
    assert whole_grid(llama)[-1] == Site(None, 6, "thought")


def test_maps_that_cannot_be_are_refused(llama: CodiModel, problems: tuple[Problem, ...]) -> None:
    for wrong in ({"kind": "median"}, {"propagate": "air"}, {"direction": "sideways"}, {"sites": ()}):
        with pytest.raises(ConfigError):
            MapPlan(**{"sites": SITES, **wrong})
    with pytest.raises(SiteError, match="layers 0 to 3"):
        run_map(llama, problems, MapPlan((Site(4, 1),)))
    with pytest.raises(ConfigError, match="Nothing later reads"):
        run_map(llama, problems, MapPlan((Site(3, 6), Site(2, 6)), propagate="recurrence"))
