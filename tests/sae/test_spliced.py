"""The SAE in the model's place: arms whose result is known beforehand, and the definition by a plain loop."""

import pytest
import torch

from codi_int.errors import ConfigError, SAEError, SiteError
from codi_int.sae import SAEConfig, TopKSAE
from codi_int.sae.spliced import SplicedMetrics, measure_spliced
from codi_int.types import Site

SITE = Site(1, 3)


def identity_sae(d_in: int) -> TopKSAE:
    """An SAE that gives back what it gets: one feature for each dimension, all kept."""
    sae = TopKSAE(SAEConfig(d_in, d_in, d_in))
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(d_in))
        sae.W_dec.copy_(torch.eye(d_in))
    return sae


def test_a_perfect_sae_costs_nothing(model, problems):
    found = measure_spliced(model, identity_sae(24), SITE, problems)
    assert found.n_problems == len(problems)
    assert found.accuracy_spliced == found.accuracy_clean
    assert found.logprob_spliced == pytest.approx(found.logprob_clean, abs=1e-4)
    assert found.logprob_mean < found.logprob_clean - 0.01
    assert found.loss_recovered == pytest.approx(1.0, abs=1e-3)


def test_an_sae_that_says_nothing_but_the_mean_recovers_nothing(model, problems):
    sae = identity_sae(24)
    with torch.no_grad():
        sae.W_dec.zero_()
        sae.b_dec.copy_(model.think(problems, capture=[SITE]).at(SITE).values.mean(dim=0))
    found = measure_spliced(model, sae, SITE, problems)
    assert found.logprob_spliced == pytest.approx(found.logprob_mean, abs=1e-5)
    assert found.loss_recovered == pytest.approx(0.0, abs=1e-4)


def test_clean_logprob_and_accuracy_by_hand(model, problems):
    found = measure_spliced(model, identity_sae(24), SITE, problems)
    logprobs, correct = [], 0
    for problem, completion in zip(problems, model.answer(problems), strict=True):
        (batch,) = model.batches([problem])
        logprobs.append(model.rollout(batch).decoded.total_logprob.item())
        correct += completion.answer == problem.answer
    assert found.logprob_clean == pytest.approx(sum(logprobs) / len(problems), abs=1e-4)
    assert found.accuracy_clean == pytest.approx(correct / len(problems))


def test_between_two_equal_ends_nothing_can_be_recovered():
    found = SplicedMetrics(4, 0.5, 0.5, 0.5, -1.0, -1.5, -2.0)
    assert found.accuracy_recovered is None
    assert found.loss_recovered == 0.5


def test_no_hook_is_left(model, problems):
    measure_spliced(model, identity_sae(24), SITE, problems[:2])
    assert model.n_hooks == 0


def test_what_does_not_fit(model, problems):
    with pytest.raises(SAEError, match="width 23"):
        measure_spliced(model, identity_sae(23), SITE, problems)
    with pytest.raises(SiteError, match="Layer 9 does not exist"):
        measure_spliced(model, identity_sae(24), Site(9, 3), problems)
    with pytest.raises(ConfigError, match="no problems"):
        measure_spliced(model, identity_sae(24), SITE, ())
