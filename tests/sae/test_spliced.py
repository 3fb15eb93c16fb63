"""SAEs spliced in: arms whose result is known beforehand, and the definition by a plain loop."""

from dataclasses import replace

import pytest
import torch

from codi_int.data.stories import load_stories
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


def answers_through_hooks(model, replacement, problems, site) -> list:
    """What is answered with something else at the site, one problem at a time and by the whole model."""
    with torch.no_grad(), model.hooks({site: lambda x, context: replacement(x)}):
        return [model.answer([problem])[0].answer for problem in problems]


@pytest.mark.parametrize("site", [Site(0, 0), Site(2, 5), Site(1, 3, "mlp_out")])
def test_shares_of_right_answers_are_those_of_a_plain_loop(model, problems, site):
    rows = model.think(problems, capture=[site]).at(site).values
    mean, saes = rows.mean(dim=0), [trained(rows, k) for k in (1, 4)]
    clean = [completion.answer for completion in model.answer(problems)]
    others = [answers_through_hooks(model, new, problems, site) for new in (lambda x: mean.expand_as(x), *saes)]
    arms = [clean, *others]
    # A random model is never right by itself. Every fourth problem keeps its own answer; the others get what one of
    # three arms answers, so that every arm is right on some problems and wrong on some.
    told = [arms[i % 4][i] if i % 4 < 3 else None for i in range(len(problems))]
    problems = [
        replace(problem, answer=problem.answer if answer is None else answer)
        for problem, answer in zip(problems, told, strict=True)
    ]
    shares = [
        sum(given == problem.answer for given, problem in zip(arm, problems, strict=True)) / len(problems)
        for arm in arms
    ]
    assert all(0 < share < 1 for share in shares[:3])
    found = measure_spliced_all(model, saes, site, problems)
    assert [metrics.accuracy_clean for metrics in found] == pytest.approx([shares[0]] * 2)
    assert [metrics.accuracy_mean for metrics in found] == pytest.approx([shares[1]] * 2)
    assert [metrics.accuracy_spliced for metrics in found] == pytest.approx(shares[2:])


def test_between_two_equal_ends_nothing_can_be_recovered():
    found = SplicedMetrics(
        n_problems=4,
        accuracy_clean=0.5,
        accuracy_spliced=0.5,
        accuracy_mean=0.5,
        logprob_clean=-1.0,
        logprob_spliced=-1.5,
        logprob_mean=-2.0,
    )
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


@pytest.mark.parametrize(
    ("site", "message"), [(Site(9, 3), "Layer 9 does not exist"), (Site(1, 7), "Position 7 does not exist")]
)
def test_a_site_that_does_not_exist_is_refused_before_the_model_runs(model, problems, monkeypatch, site, message):
    """An SAE without provenance fits any site, so that the site has to be checked for itself."""

    def fail(*args, **kwargs):
        raise AssertionError("the model ran")

    monkeypatch.setattr(type(model), "think", fail)
    with pytest.raises(SiteError, match=message):
        measure_spliced(model, identity_sae(24), site, problems)


def problems_of_one_length(model) -> list:
    """Stories that share a batch."""
    by_length: dict[int, list] = {}
    for problem in load_stories("validation", limit=60):
        by_length.setdefault(len(model.encode_question(problem)), []).append(problem)
    return max(by_length.values(), key=len)


def test_a_row_that_writes_a_close_choice_is_that_of_the_whole_model(model, monkeypatch):
    """Rows that change their answer are close where they write it by a margin below the tolerance, and only there."""
    problems = problems_of_one_length(model)
    (batch,) = model.batches(problems)
    clean = model.rollout(batch, [SITE])
    sae = trained(clean.captured[SITE], 4)
    decode, verify, decoded = spliced.decode_rows, spliced.verify, []

    def no_close_clean_choice(*args):
        found = verify(*args)
        return replace(found, close=torch.zeros_like(found.close))

    # what the clean tokens say of closeness is left out: only the margins of what is written decide
    monkeypatch.setattr(spliced, "verify", no_close_clean_choice)
    monkeypatch.setattr(
        spliced, "decode_rows", lambda *args: decoded.append((args[2], *decode(*args))) or decoded[-1][1:]
    )
    monkeypatch.setitem(spliced.MARGIN_TOLERANCE, model.dtype, 0.0)
    fast = spliced._replaced_arm(model, clean, SITE, sae)
    ((rows, _, margins),) = decoded
    assert len(rows) > 1
    low, high = margins.sort().values[:2].tolist()
    close = int(rows[margins.argmin()])
    whole = spliced._Arm([1000 + row for row in range(len(problems))], torch.full((len(problems),), -77.0))
    monkeypatch.setattr(spliced, "_whole_arm", lambda *args: whole)
    monkeypatch.setitem(spliced.MARGIN_TOLERANCE, model.dtype, (low + high) / 2)
    found = spliced._replaced_arm(model, clean, SITE, sae)
    expected, logprobs = list(fast.answers), fast.logprobs.clone()
    expected[close], logprobs[close] = 1000 + close, -77.0
    assert list(found.answers) == expected
    assert torch.equal(found.logprobs, logprobs)


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
