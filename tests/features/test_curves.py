"""Curves over a sweep: the laws against statsmodels and closed forms, the points against their SAEs."""

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
import torch

from codi_int.errors import ConfigError
from codi_int.features.curves import (
    CurvePoint,
    bootstrap_seeds,
    curve_point,
    find_knee,
    fit_death_formula,
    fit_power_law,
    needed_thresholds,
    reconstruction_bias,
)
from codi_int.features.profiles import profile_rows
from codi_int.features.rule_table import RuleCell, RuleComparison
from codi_int.sae import Provenance, SAEConfig, TopKSAE
from codi_int.types import Site

K = np.repeat([2.0, 5.0, 10.0, 30.0], 3)
OF = np.array([400, 410, 390, 350, 300, 330, 280, 290, 260, 250, 240, 255])


def test_the_law_is_the_binomial_regression_with_logarithmic_link():
    hits = np.array([150, 160, 149, 60, 55, 57, 22, 25, 21, 9, 6, 8])
    found = fit_power_law(K, hits, OF, draws=200)
    x = sm.add_constant(np.log(K))
    theirs = sm.GLM(
        np.column_stack([hits, OF - hits]), x, family=sm.families.Binomial(link=sm.families.links.Log())
    ).fit(start_params=[-0.5, -0.5])
    assert np.log(found.scale) == pytest.approx(theirs.params[0], abs=1e-3)
    assert found.exponent.value == pytest.approx(theirs.params[1], abs=1e-3)
    assert found.dispersion == pytest.approx(theirs.pearson_chi2 / theirs.df_resid, rel=1e-3)
    assert found.exponent.low < found.exponent.value < found.exponent.high < -0.5
    assert found.share([2.0])[0] == pytest.approx(theirs.fittedvalues[0], rel=1e-3)
    # the claimed law has one number to fit, and of shares that obey it both say the same
    obeyed = np.round(0.6 / K * 10_000)
    exact = fit_power_law(K, obeyed, np.full(12, 10_000), draws=50)
    assert exact.exponent.value == pytest.approx(-1.0, abs=5e-3)
    assert exact.claimed_scale == pytest.approx(0.6, rel=1e-2)
    assert exact.claimed_misfit < 1e-3
    assert found.misfit < found.claimed_misfit


def test_the_interval_draws_saes_and_covers():
    rng, covered = np.random.default_rng(1), 0
    k = np.repeat([2.0, 4.0, 8.0, 16.0], 4)
    for draw in range(40):
        # between SAEs of one K the shares differ by more than coins do
        share = np.exp(-1.0 - 0.7 * np.log(k) + 0.2 * rng.normal(size=k.size))
        interval = fit_power_law(k, rng.binomial(300, share), np.full(k.size, 300), seed=draw, draws=60).exponent
        covered += interval.low <= -0.7 <= interval.high
    assert 33 <= covered <= 40


def test_what_tells_no_law_is_refused():
    with pytest.raises(ConfigError, match="1 different K"):
        fit_power_law([2, 2], [1, 1], [9, 9])
    with pytest.raises(ConfigError, match="0 specialized of 18 features"):
        fit_power_law([2, 3], [0, 0], [9, 9])


def test_the_formula_of_death_is_found_again_and_its_misfit_told():
    k, d = np.array([1, 2, 5, 20, 1, 5]), np.array([512, 512, 512, 512, 1024, 1024])
    dead = np.maximum(0.0, 1 - k * 6_000 / (d * 100.0))
    found = fit_death_formula(k, d, dead, 6_000)
    assert found.threshold == pytest.approx(100.0, rel=1e-3)
    assert (found.lowest, found.highest) == pytest.approx((100.0, 100.0))
    assert found.misfit < 1e-4
    np.testing.assert_allclose(found.share(k, d, 6_000), dead, atol=1e-4)
    # published cells of d = 512: K = 5 and 20 would need thresholds far apart
    needed = needed_thresholds([5, 20], [512, 512], [0.855, 0.59], 5_978)
    np.testing.assert_allclose(needed, [5 * 5_978 / 512 / 0.145, 20 * 5_978 / 512 / 0.41])
    missed = fit_death_formula([5, 20], [512, 512], [0.855, 0.30], 5_978)
    assert missed.lowest < missed.threshold < missed.highest
    assert abs(missed.worst) > missed.misfit > 0.02
    with pytest.raises(ConfigError, match="No SAE has a dead feature"):
        fit_death_formula([5], [512], [0.0], 10)


def test_the_knee_is_where_the_curve_leaves_its_chord_farthest():
    x = np.array([1, 2, 4, 8, 16])
    assert find_knee(x, [0.0, 0.5, 0.9, 0.95, 1.0]) == 4
    assert find_knee(x, [0.0, 0.8, 0.9, 0.95, 1.0]) == 2
    for bad in ([1, 2], [1, 3, 2]):
        with pytest.raises(ConfigError, match="three points whose x rise"):
            find_knee(bad, [0.0] * len(bad))


def test_seeds_are_drawn_within_their_group():
    found = bootstrap_seeds([[1.0, 3.0], [10.0, 10.0]], lambda means: float(means[1] - means[0]), draws=400)
    assert (found.value, found.low, found.high) == (8.0, 7.0, 9.0)


def test_the_bias_is_the_factor_of_least_squares():
    x = torch.randn(200, 6, generator=torch.Generator().manual_seed(0)) + 3.0
    short = x.mean(0) + 0.8 * (x - x.mean(0))
    assert reconstruction_bias(x, short) == pytest.approx(0.8, rel=1e-5)
    assert reconstruction_bias(x, x) == pytest.approx(1.0)


def test_a_point_says_what_its_sae_is():
    generator = torch.Generator().manual_seed(0)
    known = Provenance(site=Site(1, 2), seed=4, recipe={"architecture": "matryoshka"})
    sae = TopKSAE(SAEConfig(d_in=5, d_sae=7, k=2, rule="relu", provenance=known)).requires_grad_(False)
    for parameter in sae.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    x = torch.randn(60, 5, generator=generator)
    profiles = profile_rows(sae, x)
    cell = RuleCell(
        rule="tested",
        population="alive",
        n=7,
        n_specialized=3,
        share=3 / 7,
        low=0.1,
        high=0.9,
        n_operation=1,
        n_value=2,
        n_highly=0,
        n_length=0,
        n_untested=0,
        n_single=0,
        n_strong=1,
        n_also_tested=3,
    )
    band = replace(cell, population="0.01 to 0.1", n=2, n_specialized=1)
    point = curve_point(sae, x[:3], x, RuleComparison((), (0.01, 0.1), (cell, band)))
    fires = sae.encode(x).dense() != 0
    assert (point.trained_as, point.k, point.d_sae, point.seed) == ("matryoshka", 2, 7, 4)
    assert point.n_alive == len(profiles)
    assert point.l0_spread == pytest.approx(float(fires.sum(1).double().numpy().std()))
    assert point.dead_share == pytest.approx(float((~fires[:3].any(0)).double().mean()))
    assert point.n_bytes == 4 * (2 * 5 * 7 + 7 + 5)
    assert point.cell("tested").n_specialized == 3
    assert point.cell("tested", band=True).n == 2
    row = point.to_row()
    assert (row["site"], row["tested_alive_specialized"], row["tested_band_n"]) == ("L1.P2", 3, 2)
    assert isinstance(point, CurvePoint)
