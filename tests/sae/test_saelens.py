"""SAE objects of SAELens that plug in as they are, and ours as objects of theirs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import sae_lens
import torch
from hub_stand_in import taken_for_the_hub
from sae_lens.registry import get_sae_class, get_sae_training_class

from codi_int.errors import SAEError
from codi_int.interventions.edits.basic import Ablate
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.runs.hub import push
from codi_int.sae import SAE, GatedSAE, JumpReLUSAE, Provenance, SAEConfig, StandardSAE, TopKSAE, load_sae, save_sae
from codi_int.sae.store import as_sae
from codi_int.types import Site

RULES = {"topk": "relu", "abstopk": "abs"}
D_IN, D_SAE = 24, 40


def rows(n: int = 30) -> torch.Tensor:
    return torch.randn(n, D_IN, generator=torch.Generator().manual_seed(1))


def fill(module: torch.nn.Module) -> None:
    """Random weights, the same every time; thresholds that some pre-activations pass."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
            if name == "threshold":
                parameter.abs_()


def theirs_of(name: str, **settings):
    """An SAE object of SAELens with a hook name, as its own trainer would leave it."""
    module, config = get_sae_class(name)
    more = {"k": 5} if name in RULES else {}
    metadata = sae_lens.saes.sae.SAEMetadata(
        model_name="gpt2",
        hook_name="blocks.1.hook_resid_post",
        context_size=128,
        dataset_path="a/b",
    )
    theirs = module(config(d_in=D_IN, d_sae=D_SAE, metadata=metadata, **more, **settings))
    fill(theirs)
    return theirs


def check_equal(ours: SAE, theirs) -> None:
    """Encode, decode and forward alike, with some features that fire and some that do not."""
    x = rows()
    latents = ours.encode(x).dense()
    assert 0 < int((latents != 0).sum()) < latents.numel()
    torch.testing.assert_close(latents, theirs.encode(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.decode(latents), theirs.decode(latents), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("apply_b_dec", [False, True])
@pytest.mark.parametrize("name", ["topk", "abstopk", "standard", "jumprelu", "gated"])
def test_their_object_is_ours(name, apply_b_dec):
    theirs = theirs_of(name, apply_b_dec_to_input=apply_b_dec)
    ours = as_sae(theirs)
    check_equal(ours, theirs)
    assert ours.config.rule == RULES.get(name, "abs")
    assert ours.config.apply_b_dec_to_input is apply_b_dec
    assert ours.config.provenance.hook_name == "blocks.1.hook_resid_post"
    assert ours.name == "gpt2/blocks.1.hook_resid_post"
    assert not any(parameter.requires_grad for parameter in ours.parameters())


def test_the_object_is_copied_and_left_as_it_was():
    theirs = theirs_of("topk")
    before = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    ours = as_sae(theirs)
    with torch.no_grad():
        ours.W_dec.zero_()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert theirs.W_dec.requires_grad


def test_features_ranked_by_scaled_activations():
    theirs = theirs_of("topk", rescale_acts_by_decoder_norm=True)
    ours, x = as_sae(theirs), rows()
    torch.testing.assert_close(ours.encode(x).dense(), theirs.encode(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


def test_their_training_class_is_ours():
    module, config = get_sae_training_class("topk")
    theirs = module(config(d_in=D_IN, d_sae=D_SAE, k=5, rescale_acts_by_decoder_norm=False))
    fill(theirs)
    check_equal(as_sae(theirs), theirs)


def test_the_dtype_is_that_of_the_weights():
    theirs = theirs_of("topk").double()
    assert theirs.cfg.dtype == "float32"
    assert as_sae(theirs).W_dec.dtype == torch.float64


@pytest.mark.parametrize("name", ["topk", "abstopk"])
def test_the_engine_takes_their_object(model, problems, tmp_path, name):
    site, theirs = Site(1, 3), theirs_of(name)
    theirs.save_model(tmp_path)
    loaded = load_sae(tmp_path)
    x = model.think(problems, capture=[site]).at(site).values
    feature = int((loaded.encode(x).dense() != 0).sum(dim=0).argmax())
    as_object, as_file, as_name = (
        FeatureInterventionEngine(model, {site: sae}).run(Ablate(feature), problems, controls=3)
        for sae in (theirs, loaded, str(tmp_path))
    )
    assert as_object.effect.n_touched > 0
    assert as_object.outcomes == as_file.outcomes == as_name.outcomes
    assert as_object.effect == as_file.effect
    assert as_object.controls == as_file.controls
    assert as_object.environment.sae_sha256 == as_file.environment.sae_sha256
    assert as_file.experiment.sae == as_name.experiment.sae == str(tmp_path)
    assert as_object.experiment.sae == "gpt2/blocks.1.hook_resid_post"


@pytest.mark.parametrize("apply_b_dec", [False, True])
@pytest.mark.parametrize("name", ["topk", "abstopk", "standard", "jumprelu", "gated"])
def test_there_and_back_again(tmp_path, name, apply_b_dec):
    theirs = theirs_of(name, apply_b_dec_to_input=apply_b_dec)
    theirs.save_model(tmp_path)
    again = load_sae(tmp_path).to_saelens()
    assert type(again) is type(theirs)
    x = rows()
    assert torch.equal(again.encode(x), theirs.encode(x))
    assert torch.equal(again.decode(again.encode(x)), theirs.decode(theirs.encode(x)))
    old, new = theirs.cfg.to_dict(), again.cfg.to_dict()
    assert old.pop("metadata").items() <= new.pop("metadata").items()
    assert old == new


@pytest.mark.parametrize("rule", ["relu", "abs"])
def test_ours_as_theirs_is_what_they_load(tmp_path, rule):
    known = Provenance(site=Site(14, 3), model="codi-mini", recipe={"epochs": 2}, measures={"l0": 5.0})
    ours = TopKSAE(SAEConfig(d_in=D_IN, d_sae=D_SAE, k=5, rule=rule, provenance=known))
    fill(ours)
    theirs = ours.to_saelens()
    loaded = sae_lens.SAE.load_from_disk(save_sae(ours, tmp_path))
    assert theirs.cfg.to_dict() == loaded.cfg.to_dict()
    assert theirs.cfg.metadata.site == "L14.P3"
    assert theirs.cfg.metadata.hook_name == "blocks.14.hook_resid_post"
    assert torch.equal(theirs(rows()), loaded(rows()))
    check_equal(ours, theirs)
    again = as_sae(theirs)
    assert again.config == ours.config
    assert again.sha256 == ours.sha256
    with torch.no_grad():
        theirs.W_dec.zero_()
    assert bool((ours.W_dec != 0).any())


@pytest.mark.parametrize("kind", [StandardSAE, JumpReLUSAE, GatedSAE])
def test_the_others_as_theirs(kind):
    name = {StandardSAE: "standard", JumpReLUSAE: "jumprelu", GatedSAE: "gated"}[kind]
    ours = kind(SAEConfig(d_in=D_IN, d_sae=D_SAE, architecture=name))
    fill(ours)
    assert ours.to_saelens().cfg.architecture() == name
    check_equal(ours, ours.to_saelens())


def test_their_metadata_is_handed_on(tmp_path):
    theirs = theirs_of("topk")
    ours = as_sae(theirs)
    assert ours.config.provenance.noted["context_size"] == 128
    metadata = load_sae(save_sae(ours, tmp_path)).to_saelens().cfg.metadata
    assert (metadata.context_size, metadata.dataset_path) == (128, "a/b")


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("layer_norm", "normalize_activations='none'"),
        ("constant_norm_rescale", "normalize_activations='none'"),
        ("expected_average_only_in", r"fold_activation_norm_scaling_factor\(factor\)"),
        ("covariance_whitening", r"fold_activation_whitening\(mean, matrix, inverse\)"),
    ],
)
def test_normalised_input_is_refused(kind, remedy):
    with pytest.raises(SAEError, match=f"'{kind}' is not supported") as caught:
        as_sae(theirs_of("topk", normalize_activations=kind))
    assert "normalize_activations" in caught.value.rule
    assert re.search(remedy, caught.value.remedy)


def test_the_remedies_work():
    """What the messages advise gives an SAE that runs here as it ran there."""
    scaled = theirs_of("topk", normalize_activations="expected_average_only_in", apply_b_dec_to_input=False)
    x = rows()
    expected = scaled(2.5 * x) / 2.5
    scaled.fold_activation_norm_scaling_factor(2.5)
    torch.testing.assert_close(as_sae(scaled)(x), expected, atol=1e-5, rtol=1e-5)

    whitened = theirs_of("topk", normalize_activations="covariance_whitening")
    matrix = torch.eye(D_IN) + 0.1 * torch.randn(D_IN, D_IN, generator=torch.Generator().manual_seed(3))
    mean, inverse = x.mean(dim=0), torch.linalg.inv(matrix)
    expected = whitened((x - mean) @ matrix) @ inverse + mean
    whitened.fold_activation_whitening(mean, matrix, inverse)
    torch.testing.assert_close(as_sae(whitened)(x), expected, atol=1e-3, rtol=1e-3)


def test_heads_are_refused():
    theirs = theirs_of("topk")
    theirs.cfg.reshape_activations = "hook_z"
    with pytest.raises(SAEError, match="reshape_activations='hook_z' is not supported") as caught:
        as_sae(theirs)
    assert "hook_resid_post" in caught.value.remedy


def test_what_is_no_sae_of_ours():
    with pytest.raises(SAEError, match="Linear is no SAE"):
        as_sae(torch.nn.Linear(3, 4))

    class Own(type(theirs_of("topk"))):
        pass

    own = theirs_of("topk")
    own.__class__ = Own
    with pytest.raises(SAEError, match="Own is derived from an SAE of SAELens"):
        as_sae(own)
    broken = theirs_of("topk")
    with torch.no_grad():
        broken.W_dec[0, 0] = torch.nan
    with pytest.raises(SAEError, match="W_dec contains NaN or inf"):
        as_sae(broken)
    module, config = get_sae_class("skip_transcoder")
    transcoder = module(config(d_in=D_IN, d_sae=D_SAE, d_out=D_IN, apply_b_dec_to_input=False))
    with pytest.raises(SAEError, match="'skip_transcoder' is not supported"):
        as_sae(transcoder)


def test_sae_lens_is_imported_only_when_asked_for():
    program = (
        "import sys, codi_int as ci; sae = ci.load_sae('codi-mini/L14.P3'); "
        "assert 'sae_lens' not in sys.modules; theirs = sae.to_saelens(); "
        "assert 'sae_lens' in sys.modules; print(theirs.cfg.architecture())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "abstopk"


def test_a_loaded_sae_keeps_the_name_it_was_asked_for(tmp_path):
    assert load_sae("codi-mini/L14.P3").name == "codi-mini/L14.P3"
    bare = TopKSAE(SAEConfig(d_in=D_IN, d_sae=D_SAE, k=5))
    assert bare.name == "unnamed"
    assert load_sae(save_sae(bare, tmp_path / "mine")).name == str(tmp_path / "mine")
    bare.annotate(model="gpt2", site=Site(1, 2))
    assert bare.name == "gpt2/L1.P2"


def test_the_name_stands_in_results(model, problems, tmp_path):
    sae = TopKSAE(SAEConfig(d_in=D_IN, d_sae=D_SAE, k=5))
    fill(sae)
    loaded = load_sae(save_sae(sae, tmp_path))
    run = FeatureInterventionEngine(model, {Site(1, 3): loaded}).run
    assert run(Ablate(3), problems, controls=None).experiment.sae == str(tmp_path)
    assert run(Ablate(3), problems, controls=None, sae_name="mine").experiment.sae == "mine"


def test_saelens_reads_what_was_pushed_as_the_card_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = load_sae("codi-mini/L14.P3")
    with taken_for_the_hub(monkeypatch, tmp_path) as hub:
        push("codi-mini/L14.P3", "me/saes")
        card = hub.files["models", "me/saes"]["README.md"].decode()
        assert '`SAE.from_pretrained("me/saes", "L14.P3")`' in card
        theirs = sae_lens.SAE.from_pretrained("me/saes", "L14.P3")
    x = torch.randn(20, own.d_in, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(theirs(x), own(x), atol=1e-5, rtol=1e-5)
