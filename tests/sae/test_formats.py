"""What other versions and classes of SAELens write, against their own loaders and exporters."""

import json

import pytest
import sae_lens
import torch
from sae_lens.registry import get_sae_training_class
from safetensors.torch import load_file, save_file

from codi_int.errors import SAEError
from codi_int.sae import JumpReLUSAE, SAEConfig, StandardSAE, TopKSAE, load_sae, save_sae
from codi_int.sae.formats import config_from_json, config_to_json


def rows() -> torch.Tensor:
    return torch.randn(30, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("name", ["batchtopk", "matryoshka_batchtopk"])
def test_their_training_checkpoints_equal_their_own_export(tmp_path, name, rescale):
    module, config = get_sae_training_class(name)
    more = {"matryoshka_widths": [10, 40]} if name.startswith("matryoshka") else {}
    theirs = module(config(d_in=16, d_sae=40, k=3, rescale_acts_by_decoder_norm=rescale, **more))
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
        theirs.topk_threshold.fill_(0.8)
    theirs.save_model(tmp_path / "checkpoint")
    theirs.save_inference_model(tmp_path / "export")
    ours, x = load_sae(tmp_path / "checkpoint"), rows()
    export = sae_lens.SAE.load_from_disk(tmp_path / "export")
    assert isinstance(ours, JumpReLUSAE)
    torch.testing.assert_close(ours.encode(x).dense(), export.encode(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours(x), export(x), atol=1e-5, rtol=1e-5)


def test_log_threshold_of_older_checkpoints(tmp_path):
    sae = JumpReLUSAE(SAEConfig(d_in=16, d_sae=40, architecture="jumprelu"))
    torch.nn.init.normal_(sae.W_enc)
    torch.nn.init.normal_(sae.W_dec)
    torch.nn.init.constant_(sae.threshold, 0.7)
    save_sae(sae, tmp_path)
    weights = load_file(tmp_path / "sae_weights.safetensors")
    weights["log_threshold"] = weights.pop("threshold").log()
    save_file(weights, tmp_path / "sae_weights.safetensors")
    torch.testing.assert_close(load_sae(tmp_path)(rows()), sae(rows()))


@pytest.mark.parametrize(
    ("old", "kind"),
    [
        ({"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 5}}, TopKSAE),
        ({"architecture": "topk", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 5}}, TopKSAE),
        ({"activation_fn_str": "relu", "architecture": "standard"}, StandardSAE),
        ({"normalize_activations": False}, StandardSAE),
        ({"normalize_activations": None, "activation_fn_str": "relu"}, StandardSAE),
    ],
)
def test_configs_from_before_version_6(tmp_path, old, kind):
    more = {"k": 5, "rule": "relu"} if kind is TopKSAE else {"architecture": "standard"}
    sae = kind(SAEConfig(16, 40, apply_b_dec_to_input=True, **more))
    torch.nn.init.normal_(sae.W_enc)
    torch.nn.init.normal_(sae.W_dec)
    save_sae(sae, tmp_path)
    raw = {
        "d_in": 16,
        "d_sae": 40,
        "dtype": "float32",
        "hook_name": "blocks.3.hook_resid_post",
        "model_name": "gpt2",
        **old,
    }
    (tmp_path / "cfg.json").write_text(json.dumps(raw))
    ours, theirs = load_sae(tmp_path), sae_lens.SAE.load_from_disk(tmp_path)
    assert type(ours) is kind
    assert ours.config.provenance.hook_name == "blocks.3.hook_resid_post"
    assert ours.config.provenance.model == "gpt2"
    torch.testing.assert_close(ours(rows()), theirs(rows()), atol=1e-5, rtol=1e-5)


def test_hook_point_of_the_first_versions():
    raw = {"d_in": 4, "d_sae": 8, "hook_point": "blocks.2.hook_resid_post", "model_name": "gpt2"}
    assert config_from_json(raw).provenance.hook_name == "blocks.2.hook_resid_post"


def test_normalisation_as_yes_or_no():
    with pytest.raises(SAEError, match="'expected_average_only_in' is not supported"):
        config_from_json({"d_in": 4, "d_sae": 8, "normalize_activations": True})


def test_unknown_activation_function():
    with pytest.raises(SAEError, match="'tanh-relu' is not supported"):
        config_from_json({"d_in": 4, "d_sae": 8, "activation_fn_str": "tanh-relu"})


@pytest.mark.parametrize(
    "config",
    [
        SAEConfig(4, 8, 2, "relu"),
        SAEConfig(4, 8, 2, "abs", apply_b_dec_to_input=True, decoder_bias=False, dtype="bfloat16"),
        SAEConfig(4, 8, architecture="gated"),
    ],
)
def test_config_survives_json(config):
    assert config_from_json(json.loads(json.dumps(config_to_json(config)))) == config
