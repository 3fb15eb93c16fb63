"""TopKSAE against sae_lens' own classes on the same weights, and its definition row by row."""

import pytest
import torch
from torch import Tensor

from codi_int.errors import ConfigError, SAEError
from codi_int.sae import SAEConfig, TopKSAE
from codi_int.sae.kernels import encode_topk
from codi_int.types import Latents


def random_sae(seed: int = 0, **settings) -> TopKSAE:
    """A TopK SAE with normal weights; 24 -> 80 features, k 7 unless told otherwise."""
    sae = TopKSAE(SAEConfig(**{"d_in": 24, "d_sae": 80, "k": 7, **settings}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return sae


def rows(n: int, d: int = 24, seed: int = 1) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def sae_lens_twin(sae: TopKSAE):
    """sae_lens' own module with the same weights."""
    from sae_lens.saes.abstopk_sae import AbsTopKSAE, AbsTopKSAEConfig
    from sae_lens.saes.topk_sae import TopKSAE as TheirTopKSAE
    from sae_lens.saes.topk_sae import TopKSAEConfig

    kinds = {"relu": (TheirTopKSAE, TopKSAEConfig), "abs": (AbsTopKSAE, AbsTopKSAEConfig)}
    module, config = kinds[sae.config.rule]
    twin = module(config(d_in=sae.d_in, d_sae=sae.d_sae, k=sae.k, apply_b_dec_to_input=sae.config.apply_b_dec_to_input))
    twin.load_state_dict(sae.state_dict())
    return twin


@pytest.mark.parametrize("apply_b_dec", [False, True])
@pytest.mark.parametrize("rule", ["relu", "abs"])
def test_equals_sae_lens(rule, apply_b_dec):
    sae = random_sae(rule=rule, apply_b_dec_to_input=apply_b_dec)
    x, twin = rows(50), sae_lens_twin(sae)
    torch.testing.assert_close(sae.encode(x).dense(), twin.encode(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sae(x), twin(x), atol=1e-5, rtol=1e-5)


def test_relu_rule_zeroes_negatives_that_made_the_top_k():
    sae = random_sae(rule="relu", k=60)
    latents = sae.encode(rows(20))
    assert (latents.values >= 0).all()
    assert (latents.values == 0).any(), "with k=60 of 80 some kept pre-activations are negative"


def test_abs_rule_keeps_signs():
    values = random_sae(rule="abs").encode(rows(20)).values
    assert (values < 0).any()
    assert (values > 0).any()


def test_dense_and_sparse_latents_decode_alike():
    sae = random_sae()
    latents = sae.encode(rows(9))
    torch.testing.assert_close(sae.decode(latents), sae.decode(latents.dense()))


def test_an_empty_batch_is_no_special_case():
    sae = random_sae()
    latents = sae.encode(torch.empty(0, 24))
    assert latents.values.shape == (0, 7)
    assert sae.decode(latents).shape == (0, 24)


def test_other_width_is_refused():
    with pytest.raises(SAEError, match="width 24, not 23"):
        random_sae().encode(torch.zeros(2, 23))
    with pytest.raises(SAEError, match="79 features"):
        random_sae().decode(torch.zeros(2, 79))


def test_latents_of_another_sae_are_refused():
    with pytest.raises(SAEError, match="81 features"):
        random_sae().decode(Latents(torch.zeros(1, 2), torch.tensor([[0, 80]]), 81))


@pytest.mark.parametrize("k", [0, -1, 81, None])
def test_impossible_k(k):
    with pytest.raises(ConfigError, match=r"k must lie in 1\.\.80") as caught:
        SAEConfig(d_in=24, d_sae=80, k=k)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "bad", [{"d_in": 0}, {"d_sae": -3}, {"rule": "max"}, {"dtype": "int8"}, {"architecture": "mlp"}]
)
def test_impossible_config(bad):
    with pytest.raises(ConfigError) as caught:
        SAEConfig(**{"d_in": 24, "d_sae": 80, "k": 7, **bad})
    assert str(next(iter(bad.values()))) in str(caught.value)
    assert caught.value.remedy


def test_k_belongs_to_topk_only():
    with pytest.raises(ConfigError, match="Only 'topk' takes k"):
        SAEConfig(d_in=24, d_sae=80, k=7, architecture="jumprelu")


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_weights_keep_their_dtype(dtype):
    sae = random_sae(dtype=dtype)
    x = rows(5)
    assert sae.encode(x).values.dtype == sae.config.torch_dtype
    assert sae(x).dtype == sae.config.torch_dtype


def test_one_entry_point():
    sae = random_sae(apply_b_dec_to_input=True)
    x = rows(11)
    kept = encode_topk(x - sae.b_dec, sae.W_enc, sae.b_enc, sae.k, "abs", impl="reference")
    latents = sae.encode(x)
    assert torch.equal(latents.values, kept.values)
    assert torch.equal(latents.indices, kept.indices)
