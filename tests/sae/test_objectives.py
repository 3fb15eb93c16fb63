"""Losses and gradients against sae_lens' training classes on the same weights and batch."""

import pytest
import torch
from sae_lens.registry import get_sae_training_class
from sae_lens.saes.sae import TrainStepInput
from sae_lens.saes.topk_sae import act_times_W_dec, calculate_topk_aux_acts

from codi_int.sae import Anneal, AuxK, Provenance, SAETrainingConfig, Sparsity
from codi_int.sae.objectives import OBJECTIVES, DeadFeatures, aux_loss

D_IN, D_SAE = 12, 40


@pytest.fixture
def batch() -> torch.Tensor:
    return torch.randn(50, D_IN, generator=torch.Generator().manual_seed(7))


def objective_with_weights(config: SAETrainingConfig):
    objective = OBJECTIVES[config.architecture](config, D_IN, Provenance())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in objective.sae.named_parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
            if name == "threshold":
                parameter.abs_()
    return objective


def their_twin(name: str, objective, **settings):
    module, config = get_sae_training_class(name)
    twin = module(
        config(d_in=D_IN, d_sae=D_SAE, apply_b_dec_to_input=objective.config.apply_b_dec_to_input, **settings)
    )
    ours = objective.sae.state_dict()
    with torch.no_grad():
        for key, parameter in twin.named_parameters():
            parameter.copy_(ours[key])
    return twin


def their_step(twin, batch, **coefficients):
    step = TrainStepInput(
        sae_in=batch, coefficients=coefficients, dead_neuron_mask=None, n_training_steps=0, is_logging_step=False
    )
    return twin.training_forward_pass(step)


def assert_same_gradients(objective, twin, loss, their_loss):
    torch.testing.assert_close(loss, their_loss, atol=1e-5, rtol=1e-5)
    loss.backward()
    their_loss.backward()
    theirs = dict(twin.named_parameters())
    for name, parameter in objective.sae.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(
                parameter.grad, theirs[name].grad, atol=1e-4, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
            )


@pytest.mark.parametrize("apply_b_dec", [False, True])
@pytest.mark.parametrize("architecture", ["standard", "gated"])
def test_l1_architectures(batch, architecture, apply_b_dec):
    config = SAETrainingConfig(
        d_sae=D_SAE, architecture=architecture, sparsity=Sparsity(coefficient=0.7), apply_b_dec_to_input=apply_b_dec
    )
    objective = objective_with_weights(config)
    twin = their_twin(architecture, objective)
    assert_same_gradients(objective, twin, objective.loss(batch, None).total, their_step(twin, batch, l1=0.7).loss)


@pytest.mark.parametrize(("target", "mode"), [(None, "step"), (5.0, "quadratic")])
def test_jumprelu(batch, target, mode):
    sparsity = Sparsity(coefficient=0.3, bandwidth=0.4, target_l0=target)
    objective = objective_with_weights(SAETrainingConfig(d_sae=D_SAE, architecture="jumprelu", sparsity=sparsity))
    twin = their_twin("jumprelu", objective, jumprelu_bandwidth=0.4, jumprelu_sparsity_loss_mode=mode, target_l0=target)
    assert_same_gradients(objective, twin, objective.loss(batch, None).total, their_step(twin, batch, l0=0.3).loss)
    assert objective.sae.threshold.grad.abs().max() > 0


@pytest.mark.parametrize(("name", "rule"), [("topk", "relu"), ("abstopk", "abs")])
def test_topk(batch, name, rule):
    objective = objective_with_weights(SAETrainingConfig(d_sae=D_SAE, k=6, rule=rule))
    twin = their_twin(name, objective, k=6, rescale_acts_by_decoder_norm=False)
    ours, theirs = objective.loss(batch, 6), their_step(twin, batch)
    assert_same_gradients(objective, twin, ours.total * D_IN, theirs.losses["mse_loss"])
    assert torch.equal(ours.fired, (theirs.feature_acts != 0).sum(dim=0))


def test_batchtopk(batch):
    objective = objective_with_weights(SAETrainingConfig(d_sae=D_SAE, k=3, architecture="batchtopk"))
    with torch.no_grad():
        objective.sae.threshold.zero_()
    twin = their_twin("batchtopk", objective, k=3, rescale_acts_by_decoder_norm=False)
    ours, theirs = objective.loss(batch, 3), their_step(twin, batch)
    assert int(ours.fired.sum()) == 3 * len(batch)
    assert_same_gradients(objective, twin, ours.total * D_IN, theirs.losses["mse_loss"])


def test_matryoshka(batch):
    """Their nested losses; the rows' features come from BatchTopK there, so k = d_sae makes both the same."""
    config = SAETrainingConfig(d_sae=D_SAE, k=D_SAE, architecture="matryoshka", widths=(10, 20), rule="relu")
    objective = objective_with_weights(config)
    twin = their_twin(
        "matryoshka_batchtopk",
        objective,
        k=D_SAE,
        matryoshka_widths=[10, 20, D_SAE],
        rescale_acts_by_decoder_norm=False,
    )
    assert_same_gradients(objective, twin, objective.loss(batch, D_SAE).total * D_IN, their_step(twin, batch).loss)


def test_aux_loss(batch):
    sae = objective_with_weights(SAETrainingConfig(d_sae=D_SAE, k=2, rule="relu", aux=AuxK())).sae
    residual = (batch - sae(batch)).detach()
    dead = torch.arange(D_SAE) % 3 == 0
    acts = calculate_topk_aux_acts(6, batch @ sae.W_enc + sae.b_enc, dead).relu()
    expected = (act_times_W_dec(acts, sae.W_dec, False) - residual).pow(2).mean()
    torch.testing.assert_close(aux_loss(sae, batch, residual, dead, aux_k=6, rule="relu"), expected)


@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
def test_aux_loss_counts_only_when_something_is_dead(batch, architecture):
    config = SAETrainingConfig(
        d_sae=D_SAE, k=1, architecture=architecture, rule="relu", aux=AuxK(coefficient=1.0, dead_after=3)
    )
    objective = objective_with_weights(config)
    losses = [objective.loss(batch[:4], 1) for _ in range(3)]
    assert losses[0].total == losses[0].mse == losses[1].total
    assert losses[2].total > losses[2].mse, "from the third silent step on some features are dead"


def test_dead_features_come_back_when_they_fire():
    dead = DeadFeatures(3, dead_after=2)
    assert dead.update(torch.tensor([1, 0, 0])).tolist() == [False, False, False]
    assert dead.update(torch.tensor([1, 0, 5])).tolist() == [False, True, False]
    assert dead.update(torch.tensor([0, 2, 0])).tolist() == [False, False, False]


def test_penalty_warms_up():
    sparsity = Sparsity(coefficient=2.0, warmup_steps=4)
    objective = objective_with_weights(SAETrainingConfig(d_sae=D_SAE, architecture="standard", sparsity=sparsity))
    assert [objective.penalty_weight() for _ in range(6)] == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]


def test_annealed_k_is_the_k_of_the_loss(batch):
    objective = objective_with_weights(SAETrainingConfig(d_sae=D_SAE, k=9, anneal=Anneal(k_start=2)))
    assert int(objective.loss(batch, 2).fired.sum()) == 2 * len(batch)
