"""ReLU-L1, JumpReLU and Gated: equal to sae_lens' classes, through disk in both directions."""

import pytest
import sae_lens
import torch
from sae_lens.registry import get_sae_class

from codi_int.errors import SAEError
from codi_int.sae import GatedSAE, JumpReLUSAE, SAEConfig, StandardSAE, load_sae, save_sae

CLASSES = {"standard": StandardSAE, "jumprelu": JumpReLUSAE, "gated": GatedSAE}


def random_sae(architecture: str, **settings):
    sae = CLASSES[architecture](SAEConfig(d_in=16, d_sae=40, architecture=architecture, **settings))
    fill(sae)
    return sae


def fill(module) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))


def rows() -> torch.Tensor:
    return torch.randn(30, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("apply_b_dec", [False, True])
@pytest.mark.parametrize("architecture", CLASSES)
def test_ours_runs_in_sae_lens(tmp_path, architecture, apply_b_dec):
    ours, x = random_sae(architecture, apply_b_dec_to_input=apply_b_dec), rows()
    theirs = sae_lens.SAE.load_from_disk(save_sae(ours, tmp_path))
    assert theirs.cfg.architecture() == architecture
    torch.testing.assert_close(theirs.encode(x), ours.encode(x).dense(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(theirs(x), ours(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", CLASSES)
def test_theirs_runs_in_ours(tmp_path, architecture):
    module, config = get_sae_class(architecture)
    theirs, x = module(config(d_in=16, d_sae=40)), rows()
    fill(theirs)
    theirs.save_model(tmp_path)
    ours = load_sae(tmp_path)
    assert type(ours) is CLASSES[architecture]
    torch.testing.assert_close(ours.encode(x).dense(), theirs.encode(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", CLASSES)
def test_round_trip(tmp_path, architecture):
    sae = random_sae(architecture, dtype="float64")
    loaded = load_sae(save_sae(sae, tmp_path))
    assert loaded.config == sae.config
    assert loaded.sha256 == sae.sha256


def test_jumprelu_by_definition():
    sae, x = random_sae("jumprelu"), rows()
    pre = x @ sae.W_enc + sae.b_enc
    expected = torch.where((pre > sae.threshold) & (pre > 0), pre, 0.0)
    torch.testing.assert_close(sae.encode(x).dense(), expected)
    assert (sae.threshold < 0).any(), "negative thresholds let nothing negative through"


@pytest.mark.parametrize("architecture", CLASSES)
def test_gradients_flow_through_latents(architecture):
    sae, x = random_sae(architecture), rows()
    (x - sae(x)).square().sum().backward()
    assert sae.W_enc.grad.abs().sum() > 0
    assert sae.W_dec.grad.abs().sum() > 0


def test_width_is_checked():
    with pytest.raises(SAEError, match="width 16, not 15"):
        random_sae("gated").encode(torch.zeros(2, 15))
