"""What a Llama block does between its products, in one call each: definitions in torch, kernels for a GPU.

`reference` is the definition and what a CPU's tests compare with; `llama_triton` and `attend_triton` are the kernels. A
block then takes 12 launches, and nothing of a weight is copied, so weights may be changed in place.
"""

import importlib.util
from types import ModuleType

import torch
from torch import Tensor

KERNEL_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def kernels_for(x: Tensor) -> ModuleType | None:
    """The kernels where they can run on x and gradients are not asked for, else None."""
    if not x.is_cuda or torch.is_grad_enabled() or x.dtype not in KERNEL_DTYPES:
        return None
    if importlib.util.find_spec("triton") is None:
        return None
    # imported here, because triton is installed on Linux only
    from codi_int.model.kernels import llama_triton

    return llama_triton
