"""Memory and disk: what is needed is what is written, and too little is said in two lines."""

import shutil
from pathlib import Path

import pytest
import torch

from codi_int.errors import ConfigError
from codi_int.sae import SAEConfig, TopKSAE, save_sae
from codi_int.sae import memory as module
from codi_int.sae.grid import SweepGrid, sae_folder
from codi_int.sae.memory import available_memory, check_disk, check_memory, sae_bytes, site_bytes
from codi_int.types import Site

GRID = SweepGrid(ks=(2, 4), d_saes=(64, 128))


def test_need_of_saes_is_the_size_of_their_files(tmp_path: Path) -> None:
    sites = [Site(1, 3), Site(2, 3)]
    need, weights = sae_bytes(GRID, sites, 32, tmp_path), 0
    for config in GRID.configs():
        sae = TopKSAE(SAEConfig(32, config.d_sae, config.k))
        weights += len(sites) * sum(tensor.numel() * 4 for tensor in sae.state_dict().values())
    assert need == pytest.approx(weights, rel=0.01)
    save_sae(TopKSAE(SAEConfig(32, 64, 2)), sae_folder(tmp_path, sites[0], GRID.configs()[0]))
    assert sae_bytes(GRID, sites, 32, tmp_path) == need - 4 * (2 * 32 + 1) * 64, "what is there takes no more space"


def test_disk_that_does_not_suffice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_disk(tmp_path / "not" / "yet", 1, "The files")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2**31, 2**30, 2**30))
    check_disk(tmp_path, 2**30, "The files")
    with pytest.raises(ConfigError, match=r"The files take 2\.00 GiB; 1\.00 GiB are free") as caught:
        check_disk(tmp_path / "not" / "yet", 2**31, "The files")
    assert caught.value.remedy


def test_memory_that_does_not_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    free = available_memory()
    assert free is None or free > torch.zeros(1000).numel() * 4
    monkeypatch.setattr(module, "available_memory", lambda device: 2**30)
    check_memory(2**30, "The rows")
    with pytest.raises(ConfigError, match=r"The rows take 2\.00 GiB of memory; 1\.00 GiB are available") as caught:
        check_memory(site_bytes(2**18, 2**10), "The rows")
    assert caught.value.remedy
    monkeypatch.setattr(module, "available_memory", lambda device: None)
    check_memory(2**60, "The rows")
