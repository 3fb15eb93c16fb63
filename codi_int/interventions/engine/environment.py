"""What a result depends on besides its experiment: versions, hashes, threads, time."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import torch

from codi_int.data.problems import problems_sha256
from codi_int.model.hooked import CodiModel
from codi_int.sae.base import SAE
from codi_int.types import Environment, Problem


def describe_environment(
    model: CodiModel, sae: SAE | Sequence[SAE], problems: Sequence[Problem], seconds: float
) -> Environment:
    """The record that goes with a result; `sae` may be one, several or none."""
    saes = [sae] if isinstance(sae, SAE) else sae
    return Environment(
        codi_int=package_version(),
        # torch's version is a class of its own, which JSON would not take
        torch=str(torch.__version__),
        model_sha256=model.sha256,
        sae_sha256=",".join(one.sha256 for one in saes),
        data_sha256=problems_sha256(problems),
        # the thread count decides the order of sums, and with it the last digits
        threads=torch.get_num_threads(),
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        seconds=round(seconds, 3),
    )


def package_version() -> str:
    """The installed version; `unknown` where the package runs from a bare source tree."""
    try:
        return version("codi-int")
    except PackageNotFoundError:
        return "unknown"
