"""What every SAE shares: whether it fits a model and site, and sparse latents from dense ones."""

from dataclasses import dataclass

import pytest
import torch

from codi_int.errors import SAEError
from codi_int.sae import Provenance, SAEConfig, TopKSAE, check_fits
from codi_int.sae.base import sparsify
from codi_int.sae.config import BRIDGE_NAMES, hook_name_of
from codi_int.types import Site


@dataclass
class Host:
    """The part of a model that matters here."""

    d_model: int = 16
    sha256: str = "a" * 64


def sae_from(**known) -> TopKSAE:
    return TopKSAE(SAEConfig(d_in=16, d_sae=40, k=5, provenance=Provenance(**known)))


def test_fits():
    check_fits(sae_from(site=Site(14, 3), model_sha256="a" * 64), Host(), Site(14, 3))
    check_fits(sae_from(), Host(), Site(2, 1))
    check_fits(sae_from(hook_name="blocks.14.hook_resid_post"), Host(), Site(14, 5))


@pytest.mark.parametrize(
    ("name", "component"),
    [("hook_out", "resid_post"), ("attn.hook_out", "attn_out"), ("mlp.hook_out", "mlp_out")],
)
def test_names_of_transformer_bridge(name, component):
    check_fits(sae_from(hook_name=f"blocks.14.{name}"), Host(), Site(14, 5, component))
    with pytest.raises(SAEError, match=f"trained at blocks.13.{name}, not at blocks.14.hook_{component}"):
        check_fits(sae_from(hook_name=f"blocks.13.{name}"), Host(), Site(14, 5, component))


def test_the_bridge_calls_them_so():
    from transformer_lens.model_bridge.generalized_components import BlockBridge

    aliases = BlockBridge.hook_aliases
    for theirs, ours in BRIDGE_NAMES.items():
        assert aliases[ours] == theirs


@pytest.mark.parametrize(
    ("known", "host", "site", "says"),
    [
        ({}, Host(d_model=17), Site(14, 3), "width 16; the model's d_model is 17"),
        ({"model_sha256": "b" * 64, "model": "other"}, Host(), Site(14, 3), "belongs to model other"),
        ({"site": Site(14, 3)}, Host(), Site(14, 4), r"trained at L14\.P3, not at L14\.P4"),
        ({"site": Site(14, 3)}, Host(), Site(13, 3), r"trained at L14\.P3, not at L13\.P3"),
        ({"site": Site(14, 3)}, Host(), Site(14, 3, "mlp_out"), r"not at L14\.P3\.mlp_out"),
        ({"hook_name": "blocks.14.hook_mlp_out"}, Host(), Site(14, 3), "blocks.14.hook_mlp_out, not at"),
        ({"hook_name": "blocks.14.hook_out"}, Host(), Site(14, 3, "mlp_out"), "blocks.14.hook_out, not at"),
    ],
)
def test_does_not_fit(known, host, site, says):
    with pytest.raises(SAEError, match=says) as caught:
        check_fits(sae_from(**known), host, site)
    assert caught.value.remedy


def test_hook_names_exist_in_transformer_lens():
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    tiny = HookedTransformer(
        HookedTransformerConfig(n_layers=2, d_model=4, n_ctx=4, d_head=4, act_fn="relu", d_vocab=5, d_mlp=4)
    )
    for component in ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "head:1"):
        assert hook_name_of(Site(1, 3, component)) in tiny.hook_dict
    assert hook_name_of(Site(None, 3, "final_norm")) in tiny.hook_dict


def test_sparsify_keeps_everything_and_repeats_no_index():
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(20, 30, generator=generator)
    dense[torch.rand(20, 30, generator=generator) < 0.8] = 0
    dense[4] = 0
    latents = sparsify(dense)
    assert torch.equal(latents.dense(), dense)
    assert latents.values.shape[1] == int((dense != 0).sum(dim=1).max())
    assert all(len(set(row.tolist())) == len(row) for row in latents.indices)


def test_sparsify_nothing():
    assert sparsify(torch.zeros(3, 8)).values.shape == (3, 0)
    assert torch.equal(sparsify(torch.zeros(3, 8)).dense(), torch.zeros(3, 8))
    assert sparsify(torch.zeros(0, 8)).dense().shape == (0, 8)


def test_annotate_adds_and_keeps():
    sae = sae_from(model="codi-mini")
    sae.annotate(measures={"explained_variance": 0.8}, site=Site(14, 3))
    assert sae.config.provenance.model == "codi-mini"
    assert sae.site == Site(14, 3)
    assert sae.config.provenance.measures == {"explained_variance": 0.8}
