"""Whether what is about to be made fits into memory and on the disk: the need and the limit, before anything runs."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from codi_int.errors import ConfigError
from codi_int.sae.grid import SweepGrid, sae_folder
from codi_int.types import Site

GIB = 2**30
CPU = torch.device("cpu")
COPIES_OF_ROWS = 2
"""the activations themselves, and the residual while they are measured"""


def check_disk(folder: Path, need: int, what: str) -> None:
    """ConfigError where `need` bytes are not free where `folder` lies or will lie.

    Args:
        what: what takes the space, as the start of a sentence in the plural.
    """
    # the folder may not exist yet; its nearest parent that does lies on the same disk
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if need > free:
        raise ConfigError(
            f"{what} take {need / GIB:.2f} GiB; {free / GIB:.2f} GiB are free at {there}.",
            "Free some disk, choose another folder, or ask for less.",
        )


def check_memory(need: int, what: str, device: torch.device = CPU) -> None:
    """ConfigError where `need` bytes are more than is available; on systems that do not tell, nothing is checked."""
    free = available_memory(device)
    if free is not None and need > free:
        raise ConfigError(
            f"{what} take {need / GIB:.2f} GiB of memory; {free / GIB:.2f} GiB are available on {device}.",
            "Free some memory, or ask for fewer problems.",
        )


def available_memory(device: torch.device = CPU) -> int | None:
    """Bytes that can be had on a device without swapping; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        return 1024 * int(fields["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return None


def sae_bytes(grid: SweepGrid, sites: Sequence[Site], d_in: int, out: Path) -> int:
    """Disk that the SAEs of a sweep take, without those that are there already."""
    # float32: an encoder column, a decoder row and a bias; the decoder's bias and the headers are too small to count
    per_feature = 4 * (2 * d_in + 1)
    return sum(
        per_feature * config.d_sae
        for site in sites
        for config in grid.configs()
        if not sae_folder(out, site, config).exists()
    )


def site_bytes(n_rows: int, d_in: int) -> int:
    """Memory that the activations of one site take while its SAEs are trained and measured."""
    return 4 * COPIES_OF_ROWS * n_rows * d_in
