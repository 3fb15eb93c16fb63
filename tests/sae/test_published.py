"""The published `.pt` checkpoints, against the published module itself."""

import pytest
import torch
from torch import nn

from codi_int.errors import ConfigError, OutputError, SAEError
from codi_int.sae import GatedSAE, Provenance, SAEConfig, TopKSAE, import_published, load_sae, save_sae
from codi_int.sae.published import export_published
from codi_int.types import Site


class PublishedSAE(nn.Module):
    """Their architecture: the k largest magnitudes with their sign, biases on both layers."""

    def __init__(self, d_in: int, d_sae: int, k: int) -> None:
        super().__init__()
        self.encoder, self.decoder, self.k = nn.Linear(d_in, d_sae), nn.Linear(d_sae, d_in), k

    def forward(self, x):
        pre = self.encoder(x)
        kept = pre.abs().topk(self.k, dim=-1).indices
        return self.decoder(torch.zeros_like(pre).scatter(-1, kept, pre.gather(-1, kept)))


@pytest.fixture
def theirs() -> PublishedSAE:
    torch.manual_seed(0)
    return PublishedSAE(20, 64, 7)


def checkpoint(theirs, **config):
    settings = {"input_dim": 20, "latent_dim": 64, "k": 7, "position": 3, "layer": 14, **config}
    return {"model_state_dict": theirs.state_dict(), "config": settings, "metrics": {"explained_variance": 0.87}}


def test_equal_output(tmp_path, theirs):
    torch.save(checkpoint(theirs), tmp_path / "sae.pt")
    ours, x = import_published(tmp_path / "sae.pt", model="codi-llama"), torch.randn(40, 20)
    torch.testing.assert_close(ours(x), theirs(x).detach(), atol=1e-5, rtol=1e-5)
    known = ours.config.provenance
    assert (known.site, known.model) == (Site(14, 3), "codi-llama")
    assert known.measures == {"published_explained_variance": 0.87}
    assert ours.config.rule == "abs"
    torch.testing.assert_close(load_sae(save_sae(ours, tmp_path / "sae"))(x), ours(x))


def test_flat_layout_without_biases(tmp_path, theirs):
    weights = {name: tensor for name, tensor in theirs.state_dict().items() if name.endswith("weight")}
    torch.save({**weights, "config": {"k": 7}}, tmp_path / "sae.pt")
    ours = import_published(tmp_path / "sae.pt")
    assert ours.site is None
    with torch.no_grad():
        theirs.encoder.bias.zero_()
        theirs.decoder.bias.zero_()
    x = torch.randn(40, 20)
    torch.testing.assert_close(ours(x), theirs(x).detach(), atol=1e-5, rtol=1e-5)


def test_their_layer_15_is_behind_the_final_norm(tmp_path, theirs):
    torch.save(checkpoint(theirs, layer=15), tmp_path / "sae.pt")
    assert import_published(tmp_path / "sae.pt").site == Site(None, 3, "final_norm")


class Evil:
    """A pickle that runs code when it is loaded."""

    def __reduce__(self):
        return (print, ("code ran",))


def test_pickles_with_code_are_refused(tmp_path, capsys):
    torch.save({"config": {"k": 1}, "encoder.weight": Evil()}, tmp_path / "sae.pt")
    with pytest.raises(SAEError, match="no checkpoint of tensors") as caught:
        import_published(tmp_path / "sae.pt")
    assert "never loaded" in caught.value.remedy
    assert "\n" not in caught.value.rule
    assert "weights_only" not in caught.value.rule
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda raw: raw.pop("config"), "no `config` with k"),
        (lambda raw: raw["config"].pop("k"), "no `config` with k"),
        (lambda raw: raw["config"].update(layer="x", position=3), "by whole numbers, not layer 'x'"),
        (lambda raw: raw["model_state_dict"].pop("decoder.weight"), r"lacks decoder\.weight"),
        (lambda raw: raw["model_state_dict"]["encoder.weight"].fill_(torch.nan), "NaN or inf"),
        (lambda raw: raw["model_state_dict"].update({"encoder.bias": torch.zeros(3)}), r"b_enc has shape \[3\]"),
    ],
)
def test_broken_checkpoints(tmp_path, theirs, change, says):
    raw = checkpoint(theirs)
    change(raw)
    torch.save(raw, tmp_path / "sae.pt")
    with pytest.raises(SAEError, match=says) as caught:
        import_published(tmp_path / "sae.pt")
    assert caught.value.remedy


def test_files_that_are_no_checkpoint(tmp_path, theirs):
    with pytest.raises(SAEError, match="is missing"):
        import_published(tmp_path / "nothing.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(SAEError, match="no checkpoint"):
        import_published(tmp_path / "text.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(SAEError, match="holds no dictionary"):
        import_published(tmp_path / "list.pt")
    torch.save(checkpoint(theirs, k=65), tmp_path / "sae.pt")
    with pytest.raises(ConfigError, match="k must lie in"):
        import_published(tmp_path / "sae.pt")


def random_sae(**settings) -> TopKSAE:
    sae = TopKSAE(SAEConfig(**{"d_in": 20, "d_sae": 64, "k": 7, "provenance": Provenance(Site(14, 3)), **settings}))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return sae


@pytest.mark.parametrize("settings", [{}, {"apply_b_dec_to_input": True}])
def test_exported_weights_run_in_the_published_module(tmp_path, theirs, settings):
    sae, x = random_sae(**settings), torch.randn(40, 20)
    raw = torch.load(export_published(sae, tmp_path / "new" / "sae.pt"), weights_only=True)
    theirs.load_state_dict(raw["model_state_dict"])
    torch.testing.assert_close(theirs(x).detach(), sae(x).detach(), atol=1e-4, rtol=1e-4)
    again = import_published(tmp_path / "new" / "sae.pt")
    assert (again.site, again.config.k, again.config.rule) == (Site(14, 3), 7, "abs")
    torch.testing.assert_close(again(x), sae(x).detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("site", "words"),
    [
        (Site(14, 3), {"layer": 14, "position": 3}),
        (Site(None, 2, "final_norm"), {"layer": 15, "position": 2}),
        (Site(15, 3), {}),
        (Site(14, 3, "mlp_out"), {}),
        (None, {}),
    ],
)
def test_sites_in_their_words(tmp_path, site, words):
    raw = torch.load(export_published(random_sae(provenance=Provenance(site)), tmp_path / "a.pt"), weights_only=True)
    assert {key: raw["config"][key] for key in ("layer", "position") if key in raw["config"]} == words
    back = import_published(tmp_path / "a.pt").site
    assert back == (site if words else None)


def test_what_their_code_would_run_differently(tmp_path):
    gated = GatedSAE(SAEConfig(20, 64, architecture="gated"))
    for sae, says in ((random_sae(rule="relu"), "TopK SAE with rule 'relu'"), (gated, "this is a gated SAE")):
        with pytest.raises(SAEError, match=says) as caught:
            export_published(sae, tmp_path / "a.pt")
        assert caught.value.remedy
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written to"):
        export_published(random_sae(), tmp_path / "file" / "a.pt")
