"""Patches by the engine against plain hooks on codi-mini, their controls, and what is refused."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from codi_int.data.stories import load_stories
from codi_int.errors import CodiError
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.patching.pairs import Pairing, find_pairs
from codi_int.interventions.patching.patch import contrast_values, participants, patch_edit, run_patch
from codi_int.interventions.patching.predicted import PredictedResult
from codi_int.interventions.patching.predictions import predict_patch
from codi_int.model.hooked import CodiModel
from codi_int.types import Problem, Site


def stories_of_few_lengths(n_lengths: int, limit: int) -> tuple[Problem, ...]:
    """Stories that run in few batches."""
    by_length: dict[int, list[Problem]] = {}
    for problem in load_stories("validation", limit=limit):
        by_length.setdefault(len(re.findall(r"\w+|[^\w\s]", problem.question)), []).append(problem)
    return sum(map(tuple, sorted(by_length.values(), key=len)[-n_lengths:]), ())


STORIES = stories_of_few_lengths(4, 300)
THOUGHT, RESIDUAL = Site(None, 1, "thought"), Site(9, 1)


def hooked_answers(model: CodiModel, site: Site, problems: tuple[Problem, ...], sources: tuple[int, ...]) -> list:
    """The whole model run again under one hook that replaces activations with the sources' captured ones."""
    values = model.think(problems, capture=[site]).at(site).values
    rows = {problem.id: row for row, problem in enumerate(problems)}

    def put(resid: torch.Tensor, context: object) -> torch.Tensor:
        out = resid.clone()
        for i, name in enumerate(context.problem_ids):  # type: ignore[attr-defined]
            if sources[rows[name]] >= 0:
                out[i] = values[sources[rows[name]]]
        return out

    with model.hooks({site: put}):
        return [completion.answer for completion in model.answer(problems)]


@pytest.mark.parametrize("site", [THOUGHT, RESIDUAL], ids=str)
def test_a_patch_is_what_a_plain_hook_does(mini: tuple, site: Site) -> None:
    model = mini[0]
    members = participants(STORIES, find_pairs(STORIES, "different", 1))
    predictions = predict_patch(members.problems, members.sources, 1)
    results = [
        run_patch(
            FeatureInterventionEngine(model, {site: None}, method=method), members, [site], predictions, controls=0
        )
        for method in ("suffix", "naive")
    ]
    expected = hooked_answers(model, site, members.problems, members.sources)
    for result in results:
        assert [outcome.answer for outcome in result.outcomes["intervened"]] == expected
    test = results[0].prediction
    assert test is not None
    hits = sum(row.informative and answer == row.answer for row, answer in zip(predictions.rows, expected, strict=True))
    assert (test.n_hits, test.n_tested) == (hits, predictions.n_informative)
    assert test.n_hits > test.n_hits_clean  # the finding itself, on a few problems: the value of step 1 is there


def test_several_sites_get_the_sources_clean_values(mini: tuple) -> None:
    model = mini[0]
    members = participants(STORIES[-16:], find_pairs(STORIES[-16:], "different", 1))
    sites = [Site(None, position, "thought") for position in range(6)]
    engine = FeatureInterventionEngine(model, dict.fromkeys(sites))
    result = run_patch(engine, members, sites, controls=0)
    values = {site: model.think(members.problems, capture=[site]).at(site).values for site in sites}
    rows = {problem.id: row for row, problem in enumerate(members.problems)}

    def putting(site: Site) -> Callable:
        def put(resid: torch.Tensor, context: object) -> torch.Tensor:
            out = resid.clone()
            for i, name in enumerate(context.problem_ids):  # type: ignore[attr-defined]
                source = members.sources[rows[name]]
                out[i] = values[site][source if source >= 0 else rows[name]]
            return out

        return put

    with model.hooks({site: putting(site) for site in sites}):
        expected = [completion.answer for completion in model.answer(members.problems)]
    assert [outcome.answer for outcome in result.outcomes["intervened"]] == expected


def test_features_that_are_all_exchanged_are_the_residual_without_the_saes_error(mini: tuple) -> None:
    model, sae = mini
    site = Site(14, 3)
    members = participants(STORIES[-16:], find_pairs(STORIES[-16:], "different", 2))
    values = model.think(members.problems, capture=[site]).at(site).values
    decoded = sae.decode(sae.encode(values).dense())
    result = run_patch(FeatureInterventionEngine(model, {site: sae}), members, [site], features=(), controls=0)
    source = torch.tensor([s if s >= 0 else i for i, s in enumerate(members.sources)])
    rows = {problem.id: row for row, problem in enumerate(members.problems)}

    def put(resid: torch.Tensor, context: object) -> torch.Tensor:
        chosen = torch.tensor([rows[name] for name in context.problem_ids])  # type: ignore[attr-defined]
        return resid + decoded[source[chosen]] - decoded[chosen]

    with model.hooks({site: put}):
        expected = [completion.answer for completion in model.answer(members.problems)]
    assert [outcome.answer for outcome in result.outcomes["intervened"]] == expected


def test_controls_are_random_problems_and_are_seeded(llama: CodiModel, problems: tuple[Problem, ...]) -> None:
    members = participants(problems, find_pairs(problems, "different", 1))
    engine = FeatureInterventionEngine(llama, {Site(2, 3): None})
    predictions = predict_patch(members.problems, members.sources, 1)
    first, again, other = (
        run_patch(engine, members, [Site(2, 3)], predictions, controls=4, seed=seed).prediction for seed in (0, 0, 1)
    )
    assert first is not None
    assert first == again
    assert first.controls is not None
    assert other is not None
    assert (first.controls.kind, len(first.controls.hit_rates)) == ("random sources", 4)


def test_only_targets_and_sources_take_part(llama: CodiModel, problems: tuple[Problem, ...]) -> None:
    sources = [-1] * len(problems)
    sources[3], sources[7] = 5, 3
    members = participants(problems, Pairing(tuple(sources), "mine", {}))
    assert [p.id for p in members.problems] == [problems[row].id for row in (3, 5, 7)]
    assert members.sources == (1, -1, 0)
    result = run_patch(FeatureInterventionEngine(llama, {Site(2, 3): None}), members, [Site(2, 3)])
    assert result.prediction is None
    assert result.effect.n == 3
    assert result.effect.n_touched == 2
    assert result.notes[-1] == "1 of the 3 problems only lend a value; nothing is changed in them."


def test_the_document_holds_the_prediction_but_not_every_problem(
    llama: CodiModel, problems: tuple[Problem, ...]
) -> None:
    members = participants(problems, find_pairs(problems, "different", 1))
    predictions = predict_patch(members.problems, members.sources, 1)
    engine = FeatureInterventionEngine(llama, {Site(2, 3): None})
    result = run_patch(engine, members, [Site(2, 3)], predictions, controls=0)
    document = result.to_dict()
    assert result.to_json()
    assert document["schema"] == "codi-int/result@2"
    assert document["prediction"]["n_informative"] == predictions.n_informative
    assert "predictions" not in document
    assert "outcomes" not in document


def patched(model: CodiModel, problems: tuple[Problem, ...], kind: str) -> PredictedResult:
    members = participants(problems, find_pairs(problems, kind, 1))
    predictions = predict_patch(members.problems, members.sources, 1)
    return run_patch(FeatureInterventionEngine(model, {RESIDUAL: None}), members, [RESIDUAL], predictions, controls=0)


def test_same_against_different_is_an_exact_test_on_common_targets(mini: tuple) -> None:
    same, different = (patched(mini[0], STORIES, kind) for kind in ("same", "different"))
    contrast = contrast_values(same, different)
    assert contrast is not None

    def changed(result: PredictedResult) -> dict[str, bool]:
        before = {o.problem_id: o.answer for o in result.outcomes["clean"]}
        targets = {row.problem_id for row in result.predictions if row.source_id}
        return {
            o.problem_id: o.answer != before[o.problem_id]
            for o in result.outcomes["intervened"]
            if o.problem_id in targets
        }

    one, two = changed(same), changed(different)
    both = sorted(set(one) & set(two))
    flips = np.array([[one[p], two[p]] for p in both])
    only = [int((flips == pattern).all(1).sum()) for pattern in ([True, False], [False, True])]
    assert (contrast.n, contrast.n_changed_same, contrast.n_changed_different) == (len(both), *flips.sum(0))
    assert contrast.p_value == pytest.approx(binomtest(only[0], sum(only)).pvalue)
    assert contrast.estimate == pytest.approx((only[1] - only[0]) / len(both))
    assert contrast.verdict.startswith("The value matters" if contrast.p_value < 0.05 else "That the value matters is")


def test_no_common_target_is_no_contrast(llama: CodiModel, problems: tuple[Problem, ...]) -> None:
    engine = FeatureInterventionEngine(llama, {Site(2, 3): None})
    results = []
    for target in (0, 1):
        sources = [-1] * len(problems)
        sources[target] = 5
        members = participants(problems, Pairing(tuple(sources), "mine", {}))
        predictions = predict_patch(members.problems, members.sources, 1)
        results.append(run_patch(engine, members, [Site(2, 3)], predictions, controls=0))
    assert contrast_values(*results) is None


def test_what_cannot_be_patched_teaches(llama: CodiModel, problems: tuple[Problem, ...]) -> None:
    members = participants(problems, find_pairs(problems, "different", 1))
    engine = FeatureInterventionEngine(llama, {Site(2, 3): None})
    with pytest.raises(CodiError, match="no site"):
        patch_edit([], members.sources)
    with pytest.raises(CodiError, match=r"no SAE at L2\.P3"):
        run_patch(engine, members, [Site(2, 3)], features=(3,))
    with pytest.raises(CodiError, match="cannot be negative"):
        run_patch(engine, members, [Site(2, 3)], controls=-1)
