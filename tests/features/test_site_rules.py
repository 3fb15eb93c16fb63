"""Several sites as one family: what is corrected over them, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from statsmodels.stats.multitest import multipletests

import codi_int as ci
from codi_int.data.stories import load_stories
from codi_int.errors import ConfigError, DataError
from codi_int.features.profiles import Profiles, profile_rows
from codi_int.features.rule_table import compare_rules
from codi_int.features.site_rules import compare_sites
from codi_int.features.specialization import specialization
from codi_int.features.specialization_records import SpecializationRow
from codi_int.sae import SAEConfig, TopKSAE
from codi_int.types import Problem

N = 300


def fires(problems: tuple[Problem, ...], seed: int) -> np.ndarray:
    """Two features for operations, one for a number, one for nothing."""
    rng = np.random.default_rng(seed)
    has = np.array(
        [
            [
                any(step.operation == "division" for step in p.steps),
                any(step.operation == "subtraction" for step in p.steps),
                any(12 in (step.left, step.right, step.result) for step in p.steps),
                False,
            ]
            for p in problems
        ]
    )
    return rng.random(has.shape) < np.where(has, 0.6, 0.08)


def profiled(values: np.ndarray, problems: tuple[Problem, ...], site: ci.Site, data: str = "made") -> Profiles:
    """An SAE whose features fire as told."""
    d = values.shape[1]
    sae = TopKSAE(SAEConfig(d_in=d, d_sae=d, k=d))
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(d))
        sae.W_dec.copy_(torch.eye(d))
    found = profile_rows(sae.requires_grad_(False), torch.tensor(values, dtype=torch.float32))
    return replace(found, problems=problems, data=data, site=site, by_feature={})


SELECTING, CONFIRMING = load_stories("validation", limit=N), load_stories("confirmation", limit=N)
FIRING = [(fires(SELECTING, seed), fires(CONFIRMING, 10 + seed)) for seed in (0, 1)]
SITES = (ci.Site(2, 3), ci.Site(3, 1))


def side(place: int) -> tuple[Profiles, Profiles]:
    here, there = FIRING[place]
    return profiled(here, SELECTING, SITES[place]), profiled(there, CONFIRMING, SITES[place], "others")


def whole() -> tuple[Profiles, Profiles]:
    """One SAE with the features of both."""
    here, there = (np.concatenate([FIRING[0][i], FIRING[1][i]], axis=1) for i in (0, 1))
    return profiled(here, SELECTING, SITES[0]), profiled(there, CONFIRMING, SITES[0], "others")


def levels(row: SpecializationRow) -> list[float]:
    """All adjusted p-values."""
    return [
        p for one in row.properties for p in (one.selected.p_adjusted, one.confirmation.p_adjusted) if p is not None
    ]


@pytest.mark.parametrize("folds", [False, True])
def test_sites_are_one_family_as_features_of_one_dictionary_are(folds: bool) -> None:
    sides = [(own, None if folds else other) for own, other in map(side, (0, 1))]
    found = compare_sites(sides)
    one, other = whole()
    together = specialization(one, "tested", None if folds else other)
    expected = {row.feature: row for row in together.rows}
    width = FIRING[0][0].shape[1]
    n_confirmed = 0
    for place, site in enumerate(found.sites):
        for row in site.tested.rows:
            twin = expected[row.feature + width * place]
            assert (row.type, row.label) == (twin.type, twin.label)
            assert [(one.name, one.confirmed) for one in row.properties] == [
                (one.name, one.confirmed) for one in twin.properties
            ]
            np.testing.assert_allclose(levels(row), levels(twin), rtol=1e-9)
            n_confirmed += len(row.confirmed)
    assert n_confirmed == together.n_confirmed == found.total("n_confirmed") > 0
    assert {site.tested.n_family for site in found.sites} == {together.n_tested} == {found.total("n_tested")}
    assert found.first.n_sites == 2


def test_holm_is_over_what_all_sites_selected() -> None:
    found = compare_sites([side(0), side(1)])
    evidence = [one for site in found.sites for row in site.tested.rows for one in row.properties]
    p_values = [one.confirmation.p_value for one in evidence]
    assert None not in p_values
    adjusted = multipletests(p_values, method="holm")[1]
    np.testing.assert_allclose([one.confirmation.p_adjusted for one in evidence], adjusted, rtol=1e-12)
    # alone a site's family is smaller, and so are its adjusted p-values
    alone = compare_rules(*side(0)).tested.rows[0].properties[0]
    assert alone.confirmation.p_adjusted < found.sites[0].tested.rows[0].properties[0].confirmation.p_adjusted


def test_the_published_rules_and_the_counts_are_those_of_each_site() -> None:
    told = []
    found = compare_sites([side(0), side(1)], band=(0.05, 0.3), done=lambda *args: told.append(args))
    assert told == [(1, 2), (2, 2)]
    for place, site in enumerate(found.sites):
        alone = compare_rules(*side(place), band=(0.05, 0.3))
        assert site.cells[0] == replace(alone.cells[0], n_also_tested=site.cells[0].n_also_tested)
        assert [cell.n for cell in site.cells] == [cell.n for cell in alone.cells]
    document = found.to_dict()
    assert document["schema"] == "codi-int/features-specialize-sites@1"
    assert [row["site"] for row in document["rows"]] == ["L2.P3"] * 4 + ["L3.P1"] * 4
    assert [one["site"]["layer"] for one in document["sites"]] == [2, 3]
    assert len(found.to_frame()) == 12
    assert found.cell("tested", band=True)[1][1] == found.sites[1].cells[5]


def test_what_is_no_family_is_refused() -> None:
    with pytest.raises(ConfigError, match="no site whose features"):
        compare_sites([])
    with pytest.raises(ConfigError, match=r"L2\.P3 stands twice"):
        compare_sites([side(0), side(0)])
    with pytest.raises(ConfigError, match=r"from a lower to a higher share, got 0\.5 to 0\.1"):
        compare_sites([side(0)], band=(0.5, 0.1))
    fewer = profiled(FIRING[1][0][:200], SELECTING[:200], SITES[1])
    with pytest.raises(ConfigError, match=r"at L3\.P1 are of other problems than those at L2\.P3"):
        compare_sites([(side(0)[0], None), (fewer, None)])
    with pytest.raises(ConfigError, match="of other problems"):
        compare_sites([side(0), (side(1)[0], None)])
    bare = tuple(replace(problem, steps=()) for problem in SELECTING)
    with pytest.raises(DataError, match="None of the 300 problems of made has written steps"):
        compare_sites([(profiled(FIRING[0][0], bare, SITES[0]), None)])
