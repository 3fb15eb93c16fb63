"""sae import and sae export: round trips against SAELens' class and the published module, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import sae_lens
import torch
from torch import nn

from codi_int.sae import SAEConfig, TopKSAE, load_sae, save_sae
from codi_int.types import Site


def published(weights: dict[str, torch.Tensor], k: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Their forward pass: the k largest magnitudes with their sign."""
    d_sae, d_in = weights["encoder.weight"].shape
    encoder, decoder = nn.Linear(d_in, d_sae), nn.Linear(d_sae, d_in)
    encoder.load_state_dict({name.split(".")[1]: w for name, w in weights.items() if name.startswith("encoder")})
    decoder.load_state_dict({name.split(".")[1]: w for name, w in weights.items() if name.startswith("decoder")})

    def forward(x: torch.Tensor) -> torch.Tensor:
        pre = encoder(x)
        kept = pre.abs().topk(k, dim=-1).indices
        return decoder(torch.zeros_like(pre).scatter(-1, kept, pre.gather(-1, kept))).detach()

    return forward


def rows(n: int = 30, d_in: int = 24) -> torch.Tensor:
    return torch.randn(n, d_in, generator=torch.Generator().manual_seed(1))


def test_published_out_and_in_again(run: Callable, shelf, tmp_path: Path) -> None:
    ran = run("sae", "export", shelf.sae, "--format", "published", "--out", str(tmp_path / "x" / "sae.pt"))
    assert ran.code == 0, ran.err
    raw = torch.load(tmp_path / "x" / "sae.pt", weights_only=True)
    assert (raw["config"]["layer"], raw["config"]["position"], raw["config"]["k"]) == (2, 3, 10)
    sae, x = load_sae(shelf.sae), rows()
    torch.testing.assert_close(published(raw["model_state_dict"], 10)(x), sae(x), atol=1e-5, rtol=1e-5)
    back = run("sae", "import", str(tmp_path / "x" / "sae.pt"), "--model", shelf.model, "--out", str(tmp_path / "back"))
    assert back.code == 0, back.err
    again = load_sae(tmp_path / "back")
    assert again.sha256 == sae.sha256
    assert (again.site, again.config.provenance.model_sha256) == (sae.site, sae.config.provenance.model_sha256)


@pytest.mark.parametrize("name", ["shelf", "codi-mini/L14.P3"])
def test_saelens_runs_what_is_exported(run: Callable, shelf, tmp_path: Path, name: str) -> None:
    name = shelf.sae if name == "shelf" else name
    ran = run("sae", "export", name, "--out", str(tmp_path / "sae"), "--json")
    assert json.loads(ran.out)["rule"] == "abs"
    ours, theirs = load_sae(name), sae_lens.SAE.load_from_disk(tmp_path / "sae")
    x = rows(d_in=ours.d_in)
    torch.testing.assert_close(theirs(x), ours(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", ["topk", "abstopk", "jumprelu", "gated", "standard"])
def test_a_folder_of_saelens_comes_in(run: Callable, tmp_path: Path, architecture: str) -> None:
    from sae_lens.registry import get_sae_class

    module, config = get_sae_class(architecture)
    theirs = module(config(d_in=24, d_sae=40, **({"k": 5} if "topk" in architecture else {})))
    theirs.save_model(tmp_path / "theirs")
    ran = run(
        "sae", "import", str(tmp_path / "theirs"), "--layer", "1", "--position", "4", "--out", str(tmp_path / "ours")
    )
    assert ran.code == 0, ran.err
    assert "L1.P4" in ran.page
    ours, x = load_sae(tmp_path / "ours"), rows()
    assert ours.site == Site(1, 4)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


def test_rule_of_a_published_file(run: Callable, shelf, tmp_path: Path) -> None:
    run("sae", "export", shelf.sae, "--format", "published", "--out", str(tmp_path / "sae.pt"))
    ran = run("sae", "import", str(tmp_path / "sae.pt"), "--rule", "relu", "--out", str(tmp_path / "sae"))
    assert ran.code == 0, ran.err
    assert load_sae(tmp_path / "sae").config.rule == "relu"


def test_what_cannot_be_exchanged(run: Callable, shelf, tmp_path: Path) -> None:
    relu = save_sae(TopKSAE(SAEConfig(24, 32, 4, "relu")), tmp_path / "relu")
    (tmp_path / "broken.pt").write_bytes(b"no pickle")
    out = str(tmp_path / "out")
    for words, says in (
        (("export", str(relu), "--format", "published", "--out", f"{out}.pt"), "this is a TopK SAE with rule 'relu'"),
        (("export", shelf.sae, "--format", "published", "--out", out), "is no .pt file"),
        (("export", shelf.sae, "--format", "onnx", "--out", out), "saelens, published"),
        (("export", "nowhere", "--out", out), "neither a folder nor shipped"),
        (("import", str(tmp_path / "broken.pt"), "--out", out), "is no checkpoint of tensors"),
        (("import", str(tmp_path / "missing.pt"), "--out", out), "is missing"),
        (("import", shelf.sae, "--layer", "1", "--out", out), "was trained at L2.P3, not at L1.P3"),
        (("import", shelf.sae, "--rule", "relu", "--model", "codi-mini", "--out", out), "width 24"),
        (("import", shelf.sae, "--rule", "sum", "--out", out), "--rule 'sum' does not exist."),
        (("import", str(relu), "--layer", "1", "--out", out), "Give --layer and --position"),
    ):
        ran = run("sae", *words)
        assert ran.code == 2
        assert says in ran.err
        assert len(ran.err.strip().splitlines()) == 2
    assert not Path(out).exists()


@pytest.mark.parametrize(
    ("site", "says"),
    [(None, None), (Site(1, 3), None), (Site(9, 3), "Layer 9 does not exist")],
    ids=["no site", "a site of the model", "a site that the model lacks"],
)
def test_an_sae_is_held_against_the_model_it_is_imported_for(
    run: Callable, shelf, site: Site | None, says: str | None, tmp_path: Path
) -> None:
    sae = TopKSAE(SAEConfig(24, 32, 4))
    if site is not None:
        sae.annotate(site=site)
    save_sae(sae, tmp_path / "sae")
    ran = run("sae", "import", str(tmp_path / "sae"), "--model", shelf.model, "--out", str(tmp_path / "out"))
    assert ran.code == (2 if says else 0), ran.err
    assert (tmp_path / "out").exists() == (says is None)
    assert says is None or says in ran.err


@pytest.mark.parametrize("verb", ["import", "export"])
def test_another_sae_is_replaced_only_by_force(run: Callable, shelf, tmp_path: Path, verb: str) -> None:
    other = save_sae(TopKSAE(SAEConfig(24, 32, 4, "relu")), tmp_path / "other")
    out = tmp_path / "out"
    first = ("sae", verb, shelf.sae, "--out", str(out))
    assert run(*first).code == 0
    assert run(*first).code == 0  # the same SAE again
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert set(before) == {"cfg.json", "sae_weights.safetensors", "manifest.json", "log.txt"}
    refused = run("sae", verb, str(other), "--out", str(out))
    assert refused.code == 2
    rule, remedy = refused.err.splitlines()
    assert f"{out} holds another run: codi-int sae {verb} {shelf.sae}" in rule
    assert rule.endswith(f"; the source is {shelf.sae} there, {other} here.")
    assert remedy == "Give another folder, or add --force to replace what is there."
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert run("sae", verb, str(other), "--out", str(out), "--force").code == 0
    assert load_sae(out).config.rule == "relu"
    assert json.loads((out / "manifest.json").read_text())["run"]["names"] == {"the source": str(other)}
    # and what another command has left there is not overwritten either
    assert run("eval", "--model", shelf.model, "--data", shelf.data, "--out", str(tmp_path / "eval")).code == 0
    assert "holds another run: codi-int eval" in run("sae", verb, shelf.sae, "--out", str(tmp_path / "eval")).err
