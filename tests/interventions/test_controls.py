"""Matched controls: who is drawn, and where an effect stands among them."""

import math

import numpy as np
import pytest
import torch

from codi_int.errors import ConfigError
from codi_int.interventions.engine.arms import ArmPlan
from codi_int.interventions.engine.controls import (
    FeatureStats,
    covariance_directions,
    difference_of_means,
    feature_stats,
    matched_features,
    principal_components,
    random_directions,
    rank_among,
    single_dimensions,
    single_neurons,
)
from codi_int.model.resume import SiteChange
from codi_int.types import Site

SITE = Site(1, 2)


def _stats(d_sae: int = 200) -> FeatureStats:
    generator = torch.Generator().manual_seed(0)
    rate = torch.rand(d_sae, generator=generator)
    rate[:20] = 0.0
    return FeatureStats(rate, (rate > 0) * (0.5 + torch.rand(d_sae, generator=generator)))


def test_stats_by_hand() -> None:
    latents = torch.tensor([[1.0, 0.0, -2.0], [3.0, 0.0, 0.0]])
    stats = feature_stats(latents, torch.tensor([1.0, 1.0, 0.5]))
    assert stats.firing_rate.tolist() == [1.0, 0.0, 0.5]
    assert stats.edit_size.tolist() == [2.0, 0.0, 1.0]
    assert stats.alive.tolist() == [True, False, True]


def test_controls_are_alive_unique_and_not_the_edited_feature() -> None:
    drawn = matched_features(_stats(), [50], draws=20, seed=0)
    assert len(drawn) == 20 == len(set(drawn))
    assert all(len(row) == 1 and row[0] != 50 and row[0] >= 20 for row in drawn)


def test_controls_fire_as_often_and_move_as_far_within_the_caliper() -> None:
    stats = _stats()
    chosen = [row[0] for row in matched_features(stats, [60], draws=20, seed=0)]
    ratios = [values[chosen] / values[60] for values in (stats.firing_rate, stats.edit_size)]
    assert all(bool(((ratio >= 1 / 1.5 - 1e-5) & (ratio <= 1.5 + 1e-5)).all()) for ratio in ratios)
    # all that are within are as likely
    within = sum(
        bool(i != 60 and i >= 20 and all(abs((v[i] / v[60]).log()) <= math.log(1.5) for v in vars(stats).values()))
        for i in range(200)
    )
    seen = {row[0] for seed in range(60) for row in matched_features(stats, [60], draws=20, seed=seed)}
    assert len(seen) == within > 20


def test_beyond_the_caliper_the_nearest_follow() -> None:
    rate = torch.tensor([0.30, 0.31, 0.01, 0.02, 0.10, 0.0, 0.9])
    stats = FeatureStats(rate, (rate > 0).float())
    assert sorted(row[0] for row in matched_features(stats, [0], draws=3, seed=0)) == [1, 4, 6]


def test_the_seed_decides_the_draw() -> None:
    stats = _stats()
    assert matched_features(stats, [60], seed=1) == matched_features(stats, [60], seed=1)
    assert matched_features(stats, [60], seed=1) != matched_features(stats, [60], seed=2)


def test_sets_of_features_get_a_stand_in_for_each() -> None:
    drawn = matched_features(_stats(), [50, 120], draws=20, seed=0)
    assert 10 <= len(drawn) <= 20
    assert all(len(set(row) | {50, 120}) == 4 for row in drawn)


def test_few_living_features_give_few_controls() -> None:
    stats = FeatureStats(torch.tensor([0.5, 0.5, 0.0, 0.4]), torch.tensor([1.0, 1.0, 0.0, 1.0]))
    assert sorted(matched_features(stats, [0], draws=20)) == [(1,), (3,)]


def test_rank_is_the_share_that_does_less() -> None:
    assert rank_among(-0.5, [0.1, -0.2, 0.6, 0.4]) == pytest.approx(0.75)
    assert rank_among(0.0, [0.0, 0.0]) == pytest.approx(0.5)
    assert rank_among(0.3, []) is None


def test_a_negative_number_of_controls_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be negative"):
        matched_features(_stats(), [50], draws=-1)


def test_random_directions_move_the_same_problems_as_far_each_another_way() -> None:
    delta = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    arm = ArmPlan("edit", torch.tensor([0, 2, 3, 7, 8]), (SiteChange(SITE, delta),), torch.ones(9, dtype=torch.bool))
    drawn = random_directions(arm, 200, seed=1)
    for plan in drawn:
        assert torch.equal(plan.rows, arm.rows)
        assert torch.allclose(plan.delta.norm(dim=1), delta.norm(dim=1), rtol=1e-5)
    units = torch.stack([plan.delta[0] / plan.delta[0].norm() for plan in drawn])
    cosines = units @ units.T - torch.eye(200)
    assert float(cosines.abs().max()) < 0.99
    assert float(cosines.mean()) == pytest.approx(0.0, abs=0.01)
    assert float(cosines.square().sum() / (200 * 199)) == pytest.approx(1 / 16, rel=0.1)  # that of random directions


@pytest.fixture
def scattered() -> tuple[ArmPlan, torch.Tensor, torch.Tensor]:
    """An arm of feature 1 on 40 problems, whose residuals are pushed along coordinate 2 where the feature fires."""
    generator = torch.Generator().manual_seed(3)
    latents = torch.zeros(40, 3)
    latents[:15, 1] = 1 + torch.rand(15, generator=generator)
    x = torch.randn(40, 8, generator=generator) * torch.linspace(0.1, 2.0, 8)
    x[:15, 2] += 30.0
    delta = torch.randn(15, 8, generator=generator)
    return ArmPlan("edit", torch.arange(15), (SiteChange(SITE, delta),), latents[:, 1] != 0), x, latents


def test_difference_of_means_moves_as_far_towards_those_that_do_not_fire(scattered: tuple) -> None:
    arm, x, latents = scattered
    plan = difference_of_means(arm, x, latents, [1])
    assert plan is not None
    assert torch.equal(plan.rows, arm.rows)
    assert torch.allclose(plan.delta.norm(dim=1), arm.delta.norm(dim=1), rtol=1e-5)
    gap = x[:15].numpy().mean(0) - x[15:].numpy().mean(0)
    expected = -gap / (gap**2).sum() ** 0.5  # every problem of the arm lies beyond the other mean here
    assert (plan.delta / plan.delta.norm(dim=1, keepdim=True)).numpy() == pytest.approx(
        expected[None].repeat(15, 0), abs=1e-5
    )
    before, after = x[:15], x[:15] + plan.delta
    other = x[15:].mean(0)
    assert bool(((after - other).norm(dim=1) < (before - other).norm(dim=1)).all())


@pytest.mark.parametrize("features", [[0], [0, 2]])
def test_no_difference_of_means_without_two_groups(scattered: tuple, features: list[int]) -> None:
    arm, x, latents = scattered
    assert difference_of_means(arm, x, latents, features) is None
    assert difference_of_means(arm, x, torch.ones(40, 3), features) is None


def test_single_neurons_put_one_coordinate_each_to_its_mean(scattered: tuple) -> None:
    arm, x, _ = scattered
    drawn = single_neurons(arm, x, 5, seed=0)
    assert len({plan.label for plan in drawn}) == 5
    for plan in drawn:
        (neuron,) = plan.delta.abs().sum(0).nonzero()[:, 0].tolist()
        after = x[arm.rows] + plan.delta
        assert after[:, neuron].tolist() == pytest.approx([float(x[:, neuron].mean())] * 15, abs=1e-5)


def test_neurons_come_from_those_that_move_as_far(scattered: tuple) -> None:
    arm, x, _ = scattered
    change = SiteChange(SITE, arm.delta / arm.delta.norm(dim=1, keepdim=True) * 0.08)
    (plan,) = single_neurons(ArmPlan("edit", arm.rows, (change,), arm.edited), x, 1, seed=0)
    sizes = (x.mean(0) - x[:15]).abs().mean(0)
    nearest = (sizes.log() - torch.tensor(0.08).log()).abs().argsort()[:3].tolist()
    assert plan.delta.abs().sum(0).argmax().item() in nearest
    assert single_neurons(arm, x, 0) == ()
    assert len(single_neurons(arm, x, 50)) == 8
    with pytest.raises(ConfigError, match="cannot be negative"):
        single_neurons(arm, x, -1)


def test_baselines_move_each_problem_as_far_as_the_edit_does(scattered: tuple) -> None:
    arm, x, _ = scattered
    plans = [
        *covariance_directions(arm, x, 3, seed=1),
        *principal_components(arm, x, 3),
        *single_dimensions(arm, x, 3, seed=1),
    ]
    assert len({plan.label for plan in plans}) == 9
    for plan in plans:
        assert torch.equal(plan.rows, arm.rows)
        assert torch.allclose(plan.delta.norm(dim=1), arm.delta.norm(dim=1), rtol=1e-5)
        # one direction for all problems, which may be taken either way
        units = plan.delta / plan.delta.norm(dim=1, keepdim=True)
        assert torch.allclose((units @ units[0]).abs(), torch.ones(15), atol=1e-5)
    for made in (covariance_directions, single_dimensions, principal_components):
        assert made(arm, x, 0) == ()
        with pytest.raises(ConfigError, match="cannot be negative"):
            made(arm, x, -1)


def test_covariance_directions_have_the_covariance_of_the_residual() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 6, generator=generator) @ torch.randn(6, 6, generator=generator) + 5.0
    arm = ArmPlan("edit", torch.arange(4), (SiteChange(SITE, torch.ones(4, 6)),), torch.arange(400) < 4)
    units = torch.stack([plan.delta[0] / plan.delta[0].norm() for plan in covariance_directions(arm, x, 3000)])
    # directions of a Gaussian with that covariance
    expected = np.random.default_rng(0).multivariate_normal(np.zeros(6), np.cov(x.numpy().T), 20_000)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert (units.T @ units / 3000).numpy() == pytest.approx(expected.T @ expected / 20_000, abs=0.03)


def test_principal_components_are_numpys_and_lead_towards_the_mean(scattered: tuple) -> None:
    arm, x, _ = scattered
    _, vectors = np.linalg.eigh(np.cov(x.numpy().T))
    for rank, plan in enumerate(principal_components(arm, x, 2), 1):
        unit = plan.delta[0] / plan.delta[0].norm()
        assert abs(float(unit @ torch.tensor(vectors[:, -rank], dtype=torch.float32))) == pytest.approx(1.0, abs=1e-4)
        beyond = (x[arm.rows] - x.mean(0)) @ unit
        assert bool((beyond * (plan.delta @ unit) < 0).all())
    assert len(principal_components(arm, x, 50)) == 8


def test_single_dimensions_are_drawn_without_repeating(scattered: tuple) -> None:
    arm, x, _ = scattered
    axes = [plan.delta.abs().sum(0).nonzero()[:, 0].tolist() for plan in single_dimensions(arm, x, 8, seed=2)]
    assert sorted(axes) == [[i] for i in range(8)]
