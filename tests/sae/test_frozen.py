"""Dictionaries in which nothing can be found, frozen and random: only training recovers planted directions."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from codi_int.errors import ConfigError
from codi_int.sae import AuxK, SAETrainingConfig, Sparsity, train_sae
from codi_int.sae.compare import directions
from codi_int.sae.many import SAEJob, train_many
from codi_int.sae.metrics import explained_variance
from codi_int.sae.recipe import read_noted, whole_recipe
from codi_int.sae.topk import TopKSAE

PLANTED, D_IN = 24, 32
CONFIG = SAETrainingConfig(d_sae=48, k=3, rule="relu", epochs=20, batch_size=128, learning_rate=1e-2, tied_init=True)


@pytest.fixture(scope="module")
def planted() -> tuple[Tensor, Tensor]:
    """Rows that are sums of three of some directions, with their weights between 1 and 2; and the directions."""
    generator = torch.Generator().manual_seed(1)
    truth = torch.nn.functional.normalize(torch.randn(PLANTED, D_IN, generator=generator), dim=1)
    chosen = torch.rand(1500, PLANTED, generator=generator).topk(3, dim=1).indices
    weights = torch.zeros(1500, PLANTED).scatter_(1, chosen, 1 + torch.rand(1500, 3, generator=generator))
    return weights @ truth, truth


def recovered(sae: TopKSAE, truth: Tensor) -> float:
    """Share of the planted directions that some decoder row has at a cosine of 0.9 or more."""
    return float(((truth @ directions(sae).T).amax(dim=1) >= 0.9).double().mean())


def test_planted_directions_are_found_by_training_and_by_no_frozen_or_random_decoder(planted) -> None:
    x, truth = planted
    jobs = [SAEJob(x, replace(CONFIG, freeze=freeze)) for freeze in ("none", "decoder", "all")]
    trained, frozen, drawn = (found.sae for found in train_many(jobs))
    assert recovered(trained, truth) >= 0.9
    assert recovered(frozen, truth) == recovered(drawn, truth) == 0.0
    # what the control is for: it explains variance all the same, without having found anything
    assert explained_variance(x, frozen(x)) > 0.3


@pytest.mark.parametrize("architecture", ["topk", "batchtopk", "matryoshka", "jumprelu", "gated", "standard"])
@pytest.mark.parametrize("freeze", ["decoder", "encoder"])
def test_what_is_frozen_is_what_was_drawn_and_the_rest_moves(planted, architecture: str, freeze: str) -> None:
    x, _ = planted
    takes_k = architecture in ("topk", "batchtopk", "matryoshka")
    more = {} if takes_k else {"k": None, "sparsity": Sparsity(0.1)}
    config = replace(CONFIG, architecture=architecture, epochs=1, tied_init=False, **more)
    before = train_sae(x, replace(config, learning_rate=1e-30)).sae.state_dict()
    after = train_sae(x, replace(config, freeze=freeze)).sae
    frozen = ("W_dec",) if freeze == "decoder" else ("W_enc", "b_enc", "b_gate", "b_mag")
    for name, value in after.state_dict().items():
        same = torch.equal(value, before[name])
        if name in frozen:
            assert same, name
        # of batchtopk one threshold is set at the end
        elif name in ("W_dec", "W_enc", "b_dec"):
            assert not same, name
    assert after.config.provenance.recipe["freeze"] == freeze


@pytest.mark.parametrize("freeze", ["decoder", "encoder", "all"])
@pytest.mark.parametrize("k", [3, 20])  # the sparse way of a step and the dense one
def test_a_stack_freezes_what_training_alone_freezes(planted, freeze: str, k: int) -> None:
    x, _ = planted
    config = replace(CONFIG, freeze=freeze, epochs=2, k=k, decoder_norm="unit")
    (stacked,) = train_many([SAEJob(x, config)])
    alone = train_sae(x, config)
    for name, value in stacked.sae.state_dict().items():
        torch.testing.assert_close(value, alone.sae.state_dict()[name], rtol=1e-4, atol=1e-5)
    drawn = train_sae(x, replace(config, learning_rate=1e-30, decoder_norm="init")).sae
    name = "W_dec" if freeze != "encoder" else "W_enc"
    torch.testing.assert_close(stacked.sae.state_dict()[name], drawn.state_dict()[name])
    assert len(stacked.curve) == (1 if freeze == "all" else 2)
    assert stacked.curve[-1].mse == pytest.approx(alone.curve[-1].mse, rel=1e-4)


def test_random_directions_encode_and_decode_around_the_mean(planted) -> None:
    x = planted[0] + 5.0
    for more in ({}, {"apply_b_dec_to_input": True}, {"decoder_bias": False}):
        sae = train_sae(x, replace(CONFIG, freeze="all", seed=4, rule="abs", **more)).sae
        unit = directions(sae)
        # a latent is the length of the row along the direction, whatever the mean
        latents = sae.encode(x[:50])
        along = (x[:50] - x.mean(dim=0)) @ unit.T
        torch.testing.assert_close(latents.values, along.gather(1, latents.indices), rtol=1e-4, atol=1e-4)
        # all of one length, and none is better
        lengths = sae.W_dec.norm(dim=1)
        torch.testing.assert_close(lengths, lengths[:1].expand(len(lengths)))
        error = (sae(x) - x).square().sum()
        for factor in (0.97, 1.03):
            bias = sae.b_dec
            assert ((sae(x) - bias) * factor + bias - x).square().sum() > error
    assert not torch.equal(unit, directions(train_sae(x, replace(CONFIG, freeze="all", seed=5)).sae))


def test_what_cannot_be_frozen_is_refused() -> None:
    with pytest.raises(ConfigError, match="freeze 'both' does not exist"):
        replace(CONFIG, freeze="both")
    with pytest.raises(ConfigError, match="would have to learn"):
        SAETrainingConfig(d_sae=4, architecture="standard", sparsity=Sparsity(), freeze="all")


def test_a_noted_recipe_is_read_back_whole() -> None:
    from dataclasses import asdict

    config = replace(CONFIG, architecture="matryoshka", widths=(8, 16), aux=AuxK(k=2))
    noted = asdict(config)
    assert read_noted(noted) == config
    older = {name: value for name, value in noted.items() if name not in ("freeze", "products")}
    assert read_noted(older) == config
    assert whole_recipe(older) == whole_recipe(noted)
    assert whole_recipe({}) == {}
    with pytest.raises(ConfigError, match="No recipe is noted"):
        read_noted({})
    with pytest.raises(ConfigError, match="No recipe is noted"):
        read_noted({"d_sae": 3, "who": 1})
