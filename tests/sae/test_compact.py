"""Many SAEs in one file: what is rounded, what is read, and every way in which the file may be broken."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from codi_int import catalog
from codi_int.catalog import INDEX_FILE
from codi_int.errors import SAEError
from codi_int.sae import Provenance, SAEConfig, TopKSAE, load_sae, save_sae
from codi_int.sae.compact import STACK_FILE, rounded, save_compact
from codi_int.sae.formats import config_to_json
from codi_int.types import Site

SITES = (Site(0, 0), Site(2, 3), Site(10, 1))


def random_sae(site: Site | None, seed: int = 0, **settings) -> TopKSAE:
    known = Provenance(
        site=site,
        model="codi-mini",
        model_sha256="ab" * 32,
        training_data="stories:sae",
        seed=0,
        recipe={"epochs": 25},
        measures={"explained_variance": 0.5 + seed / 10},
    )
    sae = TopKSAE(SAEConfig(**{"d_in": 16, "d_sae": 40, "k": 5, "provenance": known, **settings}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return sae.requires_grad_(False)


def some_saes() -> list[TopKSAE]:
    return [random_sae(site, seed) for seed, site in enumerate(SITES)]


@pytest.fixture
def assets(tmp_path, monkeypatch) -> Path:
    """A package that ships a model `mini` with a compact file of three SAEs and a folder L2.P3 with another one."""
    folder = tmp_path / "mini" / "sae"
    save_compact(some_saes(), folder)
    save_sae(random_sae(Site(2, 3), seed=9), folder / "L2.P3")
    monkeypatch.setattr(catalog, "ASSETS", tmp_path)
    return folder


def test_what_comes_back_is_the_rounded_sae(assets):
    before = some_saes()[2]
    sae = load_sae("mini/L10.P1")
    assert sae.W_enc.dtype == torch.float32
    for name, weight in before.state_dict().items():
        assert torch.equal(sae.state_dict()[name], weight.half().float()), name
    assert not torch.equal(sae.W_enc, before.W_enc)
    assert sae.config == before.config
    assert sae.name == "mini/L10.P1"
    assert not any(parameter.requires_grad for parameter in sae.parameters())
    assert load_sae("mini/L0.P0").config.provenance.measures == {"explained_variance": 0.5}


def test_rounding_moves_no_weight_by_more_than_a_2048th():
    before, after = random_sae(SITES[0]), rounded(random_sae(SITES[0]))
    error = (after.W_dec - before.W_dec).abs() / before.W_dec.abs()
    assert 0 < float(error.max()) <= 2**-11


def test_the_index_notes_the_hash_that_results_name(assets):
    index = json.loads((assets / INDEX_FILE).read_text())
    assert index["sites"]["L0.P0"]["sha256"] == load_sae("mini/L0.P0").sha256
    assert index["cfg"]["metadata"]["recipe"] == {"epochs": 25}
    assert set(index["sites"]["L0.P0"]["metadata"]) == {"site", "hook_name", "measures"}


def test_sixteen_bits_a_weight(assets):
    n_weights = 3 * (2 * 16 * 40 + 16 + 40)
    assert 2 * n_weights < (assets / STACK_FILE).stat().st_size < 2 * n_weights + 600
    assert {tensor.dtype for tensor in load_file(assets / STACK_FILE).values()} == {torch.float16}


def test_one_site_is_read_without_the_others(assets, monkeypatch):
    from codi_int.sae import compact

    asked = []

    class Watched:
        def __init__(self, path, framework):
            self.file = safe_open(path, framework=framework)

        def __enter__(self):
            self.file.__enter__()
            return self

        def __exit__(self, *error):
            return self.file.__exit__(*error)

        def keys(self):
            return self.file.keys()

        def get_slice(self, name):
            stack = self.file.get_slice(name)

            class Slice:
                def get_shape(self):
                    return stack.get_shape()

                def __getitem__(self, row):
                    asked.append((name, row))
                    return stack[row]

            return Slice()

    monkeypatch.setattr(compact, "safe_open", Watched)
    load_sae("mini/L10.P1")
    assert sorted(asked) == [("W_dec", 2), ("W_enc", 2), ("b_dec", 2), ("b_enc", 2)]


def test_names_in_the_order_of_layers_and_the_folder_wins(assets):
    assert catalog.shipped_saes() == ("mini/L0.P0", "mini/L2.P3", "mini/L10.P1")
    assert load_sae("mini/L2.P3").sha256 == random_sae(Site(2, 3), seed=9).sha256
    assert catalog.shipped_folder("mini/L2.P3") == assets / "L2.P3"
    assert catalog.shipped_folder("mini/L10.P1") is None


def test_settings_are_told_without_weights(assets):
    (assets / STACK_FILE).unlink()
    for sae, name in zip(some_saes()[::2], ("mini/L0.P0", "mini/L10.P1"), strict=True):
        assert catalog.shipped_config(name) == json.loads(json.dumps(config_to_json(sae.config)))
    assert catalog.shipped_config("mini/L2.P3")["metadata"]["site"] == "L2.P3"
    assert catalog.shipped_config("mini/L3.P3") == {}
    assert catalog.shipped_config("nowhere") == {}


def test_listing_loads_no_torch():
    words = "import sys; from codi_int.catalog import shipped_saes; names = shipped_saes(); "
    subprocess.run(
        [sys.executable, "-c", words + "assert 'codi-mini/L14.P3' in names; assert 'torch' not in sys.modules"],
        check=True,
    )


def test_a_site_that_is_not_there(assets):
    with pytest.raises(SAEError, match=r"There is no SAE for L3\.P3 .*L0\.P0 to L10\.P1, 3 in all") as caught:
        load_sae("mini/L3.P3")
    assert caught.value.remedy == "Choose another layer or position."
    with pytest.raises(SAEError, match=r"No SAE 'other/L3\.P3'.*shipped: mini/L0\.P0, mini/L2\.P3, mini/L10\.P1\)"):
        load_sae("other/L3.P3")


def test_a_folder_called_like_a_site_that_is_not_shipped(assets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_sae(random_sae(Site(3, 3), seed=5), tmp_path / "mini" / "L3.P3")
    save_sae(random_sae(Site(0, 0), seed=6), tmp_path / "mini" / "L0.P0")
    assert load_sae("mini/L3.P3").sha256 == random_sae(Site(3, 3), seed=5).sha256
    assert load_sae("mini/L0.P0").sha256 != random_sae(Site(0, 0), seed=6).sha256  # a shipped name wins
    assert load_sae("./mini/L0.P0").sha256 == random_sae(Site(0, 0), seed=6).sha256


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def edit_index(folder: Path, change) -> None:
    index = json.loads((folder / INDEX_FILE).read_text())
    change(index)
    (folder / INDEX_FILE).write_text(json.dumps(index))


def drop_site(folder: Path) -> None:
    stacks = load_file(folder / STACK_FILE)
    save_file({name: stack[1:].contiguous() for name, stack in stacks.items()}, folder / STACK_FILE)


BROKEN = {
    "cut": (
        lambda f: (f / STACK_FILE).write_bytes((f / STACK_FILE).read_bytes()[:-2]),
        "is cut or no safetensors file",
    ),
    "empty": (lambda f: (f / STACK_FILE).write_bytes(b""), "is cut or no safetensors file"),
    "missing": (lambda f: (f / STACK_FILE).unlink(), "sites.safetensors is missing"),
    "last bit of the first site's b_dec": (
        lambda f: flip(f / STACK_FILE, first_byte(f, "b_dec")),
        r"is cut or altered: L0\.P0 hashes to",
    ),
    "a site too few": (drop_site, "does not hold 3 SAEs"),
    "another hash": (
        lambda f: edit_index(f, lambda i: i["sites"]["L0.P0"].update(sha256="0" * 64)),
        "is cut or altered",
    ),
    "no hash": (lambda f: edit_index(f, lambda i: i["sites"]["L0.P0"].pop("sha256")), "does not describe"),
    "no settings": (lambda f: edit_index(f, lambda i: i.pop("cfg")), "does not describe"),
    "another k": (lambda f: edit_index(f, lambda i: i["cfg"].update(k=50)), r"k must lie in 1\.\.40"),
    "another size": (lambda f: edit_index(f, lambda i: i["cfg"].update(d_sae=50)), "W_dec has shape"),
    "sites exchanged": (
        lambda f: edit_index(f, lambda i: i.update(sites=dict(reversed(i["sites"].items())))),
        "is cut or altered",
    ),
    "no JSON": (lambda f: (f / INDEX_FILE).write_text("{"), "cannot be read as JSON"),
    "no object": (lambda f: (f / INDEX_FILE).write_text("[]"), "holds no JSON object"),
    "no sites": (lambda f: (f / INDEX_FILE).write_text("{}"), r"There is no SAE for L0\.P0"),
}


def first_byte(folder: Path, name: str) -> int:
    raw = (folder / STACK_FILE).read_bytes()
    length = int.from_bytes(raw[:8], "little")
    return 8 + length + json.loads(raw[8 : 8 + length])[name]["data_offsets"][0]


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(assets, name):
    damage, says = BROKEN[name]
    damage(assets)
    with pytest.raises(SAEError, match=says) as caught:
        load_sae("mini/L0.P0")
    assert caught.value.remedy, "the second line says what to do"
    assert "\n" not in caught.value.rule


def test_another_site_is_not_harmed(assets):
    flip(assets / STACK_FILE, first_byte(assets, "b_dec"))
    assert load_sae("mini/L10.P1").sha256 == rounded(some_saes()[2]).sha256


def test_what_cannot_be_packed(tmp_path):
    one, two, three = some_saes()
    for saes, says in (
        ([], "known, different sites"),
        ([random_sae(None)], "known, different sites"),
        ([one, one], "known, different sites"),
        ([one, random_sae(Site(3, 3), k=6)], "differ in shape or settings"),
        ([one, random_sae(Site(3, 3), d_sae=50)], "differ in shape or settings"),
    ):
        with pytest.raises(SAEError, match=says):
            save_compact(saes, tmp_path)
    with torch.no_grad():
        two.b_enc[3] = 70_000
    with pytest.raises(SAEError, match=r"b_enc of codi-mini/L2\.P3 has values beyond torch\.float16"):
        save_compact([one, two, three], tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_differs_stands_with_its_site(tmp_path):
    one, two, _ = some_saes()
    two.config = replace(two.config, provenance=replace(two.config.provenance, seed=7))
    save_compact([one, two], tmp_path)
    index = json.loads((tmp_path / INDEX_FILE).read_text())
    assert "seed" not in index["cfg"]["metadata"]
    assert [entry["metadata"]["seed"] for entry in index["sites"].values()] == [0, 7]
