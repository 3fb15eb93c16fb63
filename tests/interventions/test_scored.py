"""Arms that were scored once are found again by what they do, and only by that."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from codi_int.interventions.edits.basic import Ablate
from codi_int.interventions.engine.arms import ArmPlan, ArmScores
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.scored import ScoredArms, digest_of
from codi_int.model.resume import SiteChange
from codi_int.types import Problem, Site

SITE = Site(2, 3)


def plan_of(seed: int, rows: int = 3, site: Site = SITE, value: bool = False) -> ArmPlan:
    delta = torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed))
    change = SiteChange(site, delta, delta + 1.0 if value else None)
    return ArmPlan(f"arm {seed}", torch.arange(rows), (change,), torch.ones(8, dtype=torch.bool))


def scores_of(plan: ArmPlan) -> ArmScores:
    flags = torch.zeros(len(plan.rows), dtype=torch.bool)
    sums = plan.delta.sum(1)
    return ArmScores(sums, tuple(range(len(plan.rows))), changed=flags, rerun=flags, margins=sums)


class Counted:
    """Scores arms and remembers which it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, plans: Sequence[ArmPlan]) -> list[ArmScores]:
        self.asked.append([plan.label for plan in plans])
        return [scores_of(plan) for plan in plans]


def test_only_what_is_unknown_is_scored_and_that_together() -> None:
    kept, score = ScoredArms(), Counted()
    a, b, c = (plan_of(seed) for seed in (1, 2, 3))
    kept.scores([a, b], "how", score)
    found = kept.scores([c, replace(a, label="of another name"), b, c], "how", score)
    assert score.asked == [["arm 1", "arm 2"], ["arm 3"]]
    assert [torch.equal(one.logprobs, p.delta.sum(1)) for one, p in zip(found, (c, a, b, c), strict=True)] == [True] * 4
    kept.scores([a], "another way", score)
    assert score.asked[2:] == [["arm 1"]]


@pytest.mark.parametrize(
    "other",
    [
        plan_of(2),
        plan_of(1, site=Site(1, 3)),
        plan_of(1, value=True),
        replace(plan_of(1), rows=torch.tensor([0, 1, 3])),
        replace(plan_of(1), changes=plan_of(1).changes * 2),
    ],
    ids=["numbers", "site", "value", "problems", "sites"],
)
def test_arms_that_do_something_else_are_others(other: ArmPlan) -> None:
    assert digest_of(other) != digest_of(plan_of(1))


def test_what_was_asked_for_last_is_kept_within_the_bound() -> None:
    kept, score = ScoredArms(most_rows=7), Counted()
    a, b, c = (plan_of(seed) for seed in (1, 2, 3))
    for plans in ([a], [b], [a], [c]):
        kept.scores(plans, "how", score)
        assert kept.n_rows <= 7
    # b was asked for longest ago
    kept.scores([a, c, b], "how", score)
    assert score.asked == [["arm 1"], ["arm 2"], ["arm 3"], ["arm 2"]]
    # more than the bound at once: all are answered
    assert len(kept.scores([plan_of(seed, rows=5) for seed in (7, 8, 9)], "how", score)) == 3
    assert kept.n_rows == 5


def test_the_next_feature_of_a_site_runs_only_what_is_new(
    engine_at: Callable[..., FeatureInterventionEngine],
    right: tuple[Problem, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warm, cold = engine_at(SITE), engine_at(SITE)
    asked: list[list[str]] = []
    plain = FeatureInterventionEngine.score

    def counted(self: FeatureInterventionEngine, context: Any, plans: Any, progress: Any = None) -> Any:
        asked.append([plan.label for plan in plans])
        return plain(self, context, plans, progress)

    want = cold.run(Ablate(17), right)
    monkeypatch.setattr(FeatureInterventionEngine, "score", counted)
    warm.run(Ablate(4), right)
    first = set(asked[-1])  # its controls
    asked.clear()
    got = warm.run(Ablate(17), right)
    (edit, new) = asked if len(asked) == 2 else (asked[0], [])
    shared = set(want.controls["random_features"].labels) & first
    assert shared
    assert edit == ["ablate 17"]
    assert not set(new) & first
    assert set(new) | shared == set(want.controls["random_features"].labels)
    # to the last bit for the edit; what shared chunks with the controls may decide their last digits
    assert got.outcomes == want.outcomes
    assert got.effect == want.effect
    a, b = got.controls["random_features"], want.controls["random_features"]
    assert (a.labels, a.estimates, a.p_value, a.difference) == (b.labels, b.estimates, b.p_value, b.difference)
    assert a.logprob_estimates == pytest.approx(b.logprob_estimates, abs=1e-5)
    asked.clear()
    assert warm.run(Ablate(17), right).outcomes == want.outcomes
    assert asked == []
