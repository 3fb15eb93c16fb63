"""Agreement of attribution with exact effects, against scipy and by hand."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from scipy.stats import kendalltau, spearmanr

from codi_int.errors import ConfigError
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.screens.agreement import agreement
from codi_int.interventions.screens.attribution import Attribution, attribute
from codi_int.interventions.screens.screen import Screen, run_screen
from codi_int.model.hooked import CodiModel
from codi_int.sae import TopKSAE
from codi_int.types import Problem, Site

SITE = Site(2, 3)


@pytest.fixture(scope="module")
def engine(llama: CodiModel, sae_at: Callable[[CodiModel, Site], TopKSAE]) -> FeatureInterventionEngine:
    sae = sae_at(llama, SITE)
    sae.W_enc.data[:, 31] = 0.0
    return FeatureInterventionEngine(llama, {SITE: sae})


@pytest.fixture(scope="module")
def screen(engine: FeatureInterventionEngine, problems: tuple[Problem, ...]) -> Screen:
    return run_screen(engine, problems)


def test_correlations_are_scipys(
    engine: FeatureInterventionEngine, problems: tuple[Problem, ...], screen: Screen
) -> None:
    predicted = attribute(engine, engine.site_context(problems))
    found = agreement(predicted, screen)
    alive = [row for row in screen.rows if row.n_touched]
    assert found.n == len(alive) == 31
    sizes = [abs(float(predicted.effects[row.feature])) for row in alive], [abs(row.logprob) for row in alive]
    assert found.spearman == pytest.approx(spearmanr(*sizes).statistic)
    assert found.kendall == pytest.approx(kendalltau(*sizes).statistic)
    assert found.spearman > 0.5


def made_up(screen: Screen, measured: list[float]) -> Screen:
    rows = [
        replace(row, effect=replace(row.effect, n_touched=1, logprob=replace(row.effect.logprob, value=value)))
        for row, value in zip(screen.rows, measured, strict=False)
    ]
    return replace(screen, rows=tuple(rows))


def test_a_perfect_prediction_finds_everything(screen: Screen) -> None:
    measured = [(-1) ** i * (i + 1) / 10 for i in range(32)]
    effects = torch.tensor(measured)
    found = agreement(Attribution(effects, effects.abs(), 1), made_up(screen, measured))
    assert (found.spearman, found.kendall, found.same_sign) == (pytest.approx(1), pytest.approx(1), 1.0)
    assert [(r.k, r.share) for r in found.recall] == [(5, 1.0), (10, 1.0), (20, 1.0)]


def test_recall_and_the_worst_by_hand(screen: Screen) -> None:
    measured = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    effects = torch.tensor([6.0, 5.0, -4.0, 3.0, 0.1, 1.0])
    found = agreement(Attribution(effects, effects.abs(), 1), made_up(screen, measured))
    (five,) = found.recall
    assert (five.k, five.share, five.by_chance) == (5, 0.8, 5 / 6)  # feature 4 is missed
    assert found.same_sign == 5 / 6
    first, second = found.worst[:2]
    assert (first.feature, first.predicted, first.measured) == (2, -4.0, 4.0)
    assert (second.feature, second.rank_predicted, second.rank_measured) == (4, 6, 5)


def test_what_cannot_be_compared_is_refused(screen: Screen) -> None:
    effects = torch.zeros(32)
    flat = Attribution(effects, effects, 1)
    assert agreement(flat, screen).spearman is None
    with pytest.raises(ConfigError, match="this screen did amplify"):
        agreement(flat, replace(screen, kind="amplify"))
    with pytest.raises(ConfigError, match="at least two"):
        agreement(flat, made_up(screen, [0.5]))
    with pytest.raises(ConfigError, match=r"has 0 at L1\.P1"):
        agreement(flat, screen, Site(1, 1))
