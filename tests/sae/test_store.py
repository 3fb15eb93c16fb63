"""Files: both ways through sae_lens, and every broken file with its two-line error."""

import json

import pytest
import sae_lens
import torch
from safetensors.torch import load_file, save_file

from codi_int.catalog import shipped_saes
from codi_int.errors import OutputError, SAEError
from codi_int.sae import Provenance, SAEConfig, TopKSAE, load_sae, save_sae
from codi_int.sae.store import CONFIG_FILE, WEIGHTS_FILE, find_sae
from codi_int.types import Site


def random_sae(**settings) -> TopKSAE:
    known = Provenance(
        site=Site(14, 3),
        model="codi-mini",
        model_sha256="ab" * 32,
        training_data="stories:sae",
        data_sha256="cd" * 32,
        seed=5,
        recipe={"epochs": 25, "learning_rate": 1e-3},
        measures={"explained_variance": 0.83},
    )
    sae = TopKSAE(SAEConfig(**{"d_in": 16, "d_sae": 40, "k": 5, "provenance": known, **settings}))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return sae


def rows(n: int = 30) -> torch.Tensor:
    return torch.randn(n, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("apply_b_dec", [False, True])
@pytest.mark.parametrize("rule", ["relu", "abs"])
def test_ours_runs_in_sae_lens(tmp_path, rule, apply_b_dec):
    sae = random_sae(rule=rule, apply_b_dec_to_input=apply_b_dec)
    save_sae(sae, tmp_path)
    theirs = sae_lens.SAE.load_from_disk(tmp_path)
    assert theirs.cfg.architecture() == {"relu": "topk", "abs": "abstopk"}[rule]
    assert theirs.cfg.metadata.site == "L14.P3"
    assert theirs.cfg.metadata.hook_name == "blocks.14.hook_resid_post"
    x = rows()
    torch.testing.assert_close(theirs.encode(x), sae.encode(x).dense(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(theirs(x), sae(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("apply_b_dec", [False, True])
@pytest.mark.parametrize("rule", ["relu", "abs"])
def test_theirs_runs_in_ours(tmp_path, rule, apply_b_dec):
    from sae_lens.registry import get_sae_class

    module, config = get_sae_class({"relu": "topk", "abs": "abstopk"}[rule])
    theirs = module(config(d_in=16, d_sae=40, k=5, apply_b_dec_to_input=apply_b_dec))
    torch.nn.init.normal_(theirs.b_enc)
    torch.nn.init.normal_(theirs.b_dec)
    theirs.save_model(tmp_path)
    ours, x = load_sae(tmp_path), rows()
    assert ours.site is None
    torch.testing.assert_close(ours.encode(x).dense(), theirs.encode(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


def test_their_features_ranked_by_scaled_activations(tmp_path):
    from sae_lens.registry import get_sae_class

    module, config = get_sae_class("topk")
    theirs = module(config(d_in=16, d_sae=40, k=5, rescale_acts_by_decoder_norm=True))
    torch.nn.init.normal_(theirs.W_dec)
    theirs.save_model(tmp_path)
    ours, x = load_sae(tmp_path), rows()
    torch.testing.assert_close(ours.encode(x).dense(), theirs.encode(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


def test_their_training_class_saves_for_us(tmp_path):
    from sae_lens.registry import get_sae_training_class

    module, config = get_sae_training_class("topk")
    theirs = module(config(d_in=16, d_sae=40, k=5))
    theirs.save_inference_model(tmp_path)
    ours, x = load_sae(tmp_path), rows()
    torch.testing.assert_close(ours(x), sae_lens.SAE.load_from_disk(tmp_path)(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"rule": "relu", "dtype": "bfloat16"}, {"decoder_bias": False}])
def test_round_trip_keeps_every_bit_and_every_field(tmp_path, settings):
    sae = random_sae(**settings)
    loaded = load_sae(save_sae(sae, tmp_path / "new" / "folder"))
    assert loaded.config == sae.config
    assert loaded.sha256 == sae.sha256
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]


def test_hash_sees_every_weight():
    sae, other = random_sae(), random_sae()
    assert sae.sha256 == other.sha256
    with torch.no_grad():
        other.b_dec[3] += 1e-7
    assert sae.sha256 != other.sha256


def test_smallest_config(tmp_path):
    sae = random_sae(rule="relu", apply_b_dec_to_input=True)
    save_sae(sae, tmp_path)
    (tmp_path / CONFIG_FILE).write_text('{"architecture": "topk", "d_in": 16, "d_sae": 40, "k": 5, "dtype": "float32"}')
    assert torch.equal(load_sae(tmp_path)(rows()), sae(rows()))


def edit_config(folder, **changes):
    raw = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps({**raw, **changes}))


def edit_weights(folder, change):
    weights = load_file(folder / WEIGHTS_FILE)
    change(weights)
    save_file(weights, folder / WEIGHTS_FILE)


BROKEN = {
    "no config": (lambda f: (f / CONFIG_FILE).unlink(), "cfg.json is missing"),
    "no weights": (lambda f: (f / WEIGHTS_FILE).unlink(), "sae_weights.safetensors is missing"),
    "truncated weights": (
        lambda f: (f / WEIGHTS_FILE).write_bytes((f / WEIGHTS_FILE).read_bytes()[:-100]),
        "truncated or no safetensors file",
    ),
    "empty weights": (lambda f: (f / WEIGHTS_FILE).write_bytes(b""), "truncated or no safetensors file"),
    "no JSON": (lambda f: (f / CONFIG_FILE).write_text("{"), "cannot be read"),
    "JSON list": (lambda f: (f / CONFIG_FILE).write_text("[]"), "holds no JSON object"),
    "unknown architecture": (lambda f: edit_config(f, architecture="temporal"), "'temporal' is not supported"),
    "k too large": (lambda f: edit_config(f, k=41), r"k must lie in 1\.\.40"),
    "k missing": (lambda f: edit_config(f, k=None), r"k must lie in 1\.\.40"),
    "wrong d_in": (
        lambda f: edit_config(f, d_in=17),
        r"has shape \[[16, 40]+\]; cfg.json makes it",
    ),
    "d_sae missing": (lambda f: (f / CONFIG_FILE).write_text('{"architecture": "topk", "d_in": 4}'), "d_sae missing"),
    "normalised input": (lambda f: edit_config(f, normalize_activations="layer_norm"), "'layer_norm' is not supported"),
    "bad site": (lambda f: edit_config(f, metadata={"site": "layer 3"}), "'layer 3' is no site"),
    "huge layer": (lambda f: edit_config(f, metadata={"site": f"L{'9' * 5000}.P3"}), "999... is no site"),
    "NaN": (lambda f: edit_weights(f, lambda w: w["W_dec"][3].fill_(torch.nan)), "W_dec contains NaN or inf"),
    "inf": (lambda f: edit_weights(f, lambda w: w["b_enc"][:1].fill_(torch.inf)), "b_enc contains NaN or inf"),
    "tensor missing": (lambda f: edit_weights(f, lambda w: w.pop("b_dec")), "this architecture needs"),
    "tensor too many": (lambda f: edit_weights(f, lambda w: w.update(threshold=torch.zeros(40))), "holds W_dec"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(tmp_path, name):
    damage, says = BROKEN[name]
    save_sae(random_sae(), tmp_path)
    damage(tmp_path)
    with pytest.raises(SAEError, match=says) as caught:
        load_sae(tmp_path)
    assert caught.value.remedy, "the second line says what to do"
    assert "\n" not in caught.value.rule


def test_unknown_name_lists_the_shipped_ones(tmp_path):
    with pytest.raises(SAEError, match="neither a folder nor shipped") as caught:
        load_sae(str(tmp_path / "nowhere"))
    assert CONFIG_FILE in caught.value.remedy


def test_shipped_names_resolve():
    assert shipped_saes()
    for name in shipped_saes():
        assert str(load_sae(name).site) == name.split("/")[1]
    assert (find_sae("codi-mini/L14.P3") / CONFIG_FILE).is_file()


def test_unwritable_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written to") as caught:
        save_sae(random_sae(), tmp_path / "file")
    assert caught.value.remedy
