"""Specialists on other problems: one that stays what it was, one that is lost, one that cannot be told."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import codi_int as ci
from codi_int.data.stories import load_stories
from codi_int.errors import ConfigError, DataError, SAEError
from codi_int.features.profiles import Profiles
from codi_int.features.shift import alive_on, measure_shift
from codi_int.features.specialization import specialization
from codi_int.features.specialization_records import RulePlan
from codi_int.types import Latents
from tests.features.test_specialization import N, made


@pytest.fixture(scope="module")
def found() -> ci.Specialization:
    first, other = load_stories("validation", limit=N), load_stories("sae", limit=N)
    return specialization(made(first, seed=0), "tested", made(other, seed=1, data="others"))


@pytest.fixture(scope="module")
def shifted() -> Profiles:
    """The feature for division fires on anything now, the one for 12 as before, that for four steps nearly never."""
    profiles = made(load_stories("confirmation", limit=N), seed=2, data="shifted")
    fires = profiles.firing(range(6))
    rng = np.random.default_rng(3)
    fires[:, 0] = rng.random(N) < 0.4
    fires[:, 2] = np.arange(N) < 3
    fires[:, 5] = np.arange(N) < 2  # never before
    latents = Latents(torch.tensor(fires, dtype=torch.float32), torch.arange(6).expand(N, 6), 6)
    rows = tuple(replace(row, n_firing=int(fires[:, row.feature].sum())) for row in profiles.rows)
    extra = replace(rows[0], feature=5, n_firing=2)
    return replace(profiles, latents=latents, rows=(*rows, extra), by_feature={})


def test_what_becomes_of_each_specialist(found: ci.Specialization, shifted: Profiles) -> None:
    shift = measure_shift(found, shifted, alive_in_training=[0, 1, 2, 3, 4])
    outcome = {one.feature: one.outcome for one in shift.specialists}
    assert outcome == {0: "lost", 1: "kept", 2: "untestable"}
    kept = next(one for one in shift.specialists if one.feature == 1)
    assert kept.name == "12"
    # the share is counted over calculations, the first problem of each
    chains: dict[str, int] = {}
    for i, problem in enumerate(shifted.problems):
        chains.setdefault(str([(s.left, s.operation, s.right) for s in problem.steps]), i)
    first = list(chains.values())
    fires = shifted.firing([1])[first, 0]
    has = np.array([any(12 in (s.left, s.right, s.result) for s in shifted.problems[i].steps) for i in first])
    assert (kept.after.n, kept.after.n_firing, kept.after.n_both) == (len(first), fires.sum(), (fires & has).sum())
    assert kept.after.difference == pytest.approx(has[fires].mean() - has.mean())
    assert kept.after.p_value <= kept.after.p_adjusted < 0.05
    assert [shift.count(one) for one in ("kept", "lost", "unresolved", "untestable")] == [1, 1, 0, 1]
    assert shift.to_dict()["n_kept"] == 1
    assert len(shift.to_frame()) == 3


def test_a_specialist_is_told_from_the_least_number_of_calculations_on(
    found: ci.Specialization, shifted: Profiles
) -> None:
    kept = next(one for one in measure_shift(found, shifted, range(5)).specialists if one.feature == 1)
    for more, outcome in ((0, "kept"), (1, "untestable")):
        plan = RulePlan(least_firing=kept.after.n_firing + more)
        again = measure_shift(replace(found, plan=plan), shifted, range(5))
        assert next(one.outcome for one in again.specialists if one.feature == 1) == outcome


def test_features_that_were_dead_and_wake(found: ci.Specialization, shifted: Profiles) -> None:
    shift = measure_shift(found, shifted, alive_in_training=[0, 1, 2, 3, 4])
    assert (shift.n_dead, shift.woken) == (1, (5,))
    assert shift.woken_share == pytest.approx(2 / sum(row.n_firing for row in shifted.rows))
    rows = torch.zeros(4, 6)
    rows[1, 2] = rows[3, 5] = 1.0
    assert alive_on(shifted.sae, rows) == (2, 5)


def test_what_does_not_belong_together_is_refused(found: ci.Specialization, shifted: Profiles) -> None:
    with pytest.raises(ConfigError, match="The rule published confirms nothing"):
        measure_shift(specialization(made(load_stories("validation", limit=50), 0), "published"), shifted, [0])
    with pytest.raises(SAEError, match=r"at L2\.P3, profiles of unnamed at L2\.P4"):
        measure_shift(found, replace(shifted, site=ci.Site(2, 4), by_feature={}), [0])
    bare = [replace(problem, steps=()) for problem in shifted.problems]
    with pytest.raises(DataError, match="has written steps"):
        measure_shift(found, replace(shifted, problems=bare, by_feature={}), [0])
