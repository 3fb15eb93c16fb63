"""The SAE in the model's place: arms whose result is known beforehand, and the definition by a plain loop."""

import pytest
import torch

from codi_int.errors import ConfigError, SAEError, SiteError
from codi_int.sae import SAEConfig, SAETrainingConfig, TopKSAE, spliced, train_sae
from codi_int.sae.base import SAE
from codi_int.sae.spliced import SplicedMetrics, measure_spliced, measure_spliced_all
from codi_int.types import Site

SITE = Site(1, 3)


def identity_sae(d_in: int) -> TopKSAE:
    """An SAE that gives back what it gets: one feature for each dimension, all kept."""
    sae = TopKSAE(SAEConfig(d_in, d_in, d_in))
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(d_in))
        sae.W_dec.copy_(torch.eye(d_in))
    return sae


def trained(rows: torch.Tensor, k: int) -> SAE:
    """A poor SAE of these rows."""
    return train_sae(rows, SAETrainingConfig(d_sae=32, k=k, epochs=3, batch_size=5)).sae


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


def through_hooks(model, sae, problems, site) -> tuple[float, float]:
    """Share right and mean log-probability of the clean answer with the whole model run again under a torch hook."""
    clean = model.answer(problems)
    n_correct, logprobs = 0, []
    for problem, written in zip(problems, clean, strict=True):
        (batch,) = model.batches([problem])
        ids = model.rollout(batch).decoded.ids
        with torch.no_grad(), model.hooks({site: lambda x, context: sae(x)}):
            rollout = model.rollout(batch)
        scores = model.teacher_force(rollout.state_at(model.n_thoughts), ids[:, :-1]).log_softmax(-1)
        logprobs.append(scores.gather(2, ids[..., None]).sum().item())
        n_correct += rollout.completions[0].answer == problem.answer
        assert written.problem_id == problem.id
    return n_correct / len(problems), sum(logprobs) / len(problems)


@pytest.mark.parametrize("site", [Site(0, 0), Site(2, 5), Site(1, 3, "mlp_out")])
def test_running_on_from_the_site_is_running_everything_again(model, problems, site):
    problems = problems[:5]
    rows = model.think(problems, capture=[site]).at(site).values
    saes = [trained(rows, k) for k in (1, 4)]
    found = measure_spliced_all(model, saes, site, problems)
    for sae, metrics in zip(saes, found, strict=True):
        share, logprob = through_hooks(model, sae, problems, site)
        assert metrics.accuracy_spliced == pytest.approx(share)
        assert metrics.logprob_spliced == pytest.approx(logprob, abs=1e-3)
    assert found[0].logprob_spliced != found[1].logprob_spliced
    assert found[0] == measure_spliced(model, saes[0], site, problems)


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


def test_rows_too_close_to_call_are_those_of_the_whole_model(model, problems, monkeypatch):
    """With a tolerance that no margin reaches every row is close, and the suffix decides nothing."""
    sae = trained(model.think(problems, capture=[SITE]).at(SITE).values, 4)
    seen = []
    whole = spliced._whole_arm
    monkeypatch.setattr(spliced, "_whole_arm", lambda *args: seen.append(whole(*args)) or seen[-1])
    usual = measure_spliced(model, sae, SITE, problems)
    n_usual = len(seen)
    monkeypatch.setitem(spliced.MARGIN_TOLERANCE, model.dtype, float("inf"))
    close = measure_spliced(model, sae, SITE, problems)
    arms = seen[n_usual:]
    assert len(arms) == 2 * len(list(model.batches(problems)))  # the mean and the SAE, in every batch
    total = sum(float(arm.logprobs.double().sum()) for arm in arms[1::2])
    assert close.logprob_spliced == total / len(problems)
    assert close.logprob_spliced == pytest.approx(usual.logprob_spliced, abs=1e-4)
    assert close.accuracy_spliced == usual.accuracy_spliced
