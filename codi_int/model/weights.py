"""Weights as a whole: their hash."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def hash_weights(hf: nn.Module, projection: nn.Module) -> str:
    """SHA-256 over names, shapes, types and bytes of all tensors of a model, in the order of their names."""
    return hash_tensors(hf.state_dict(), projection.state_dict())


def hash_file_weights(model: Mapping[str, Tensor], projection: Mapping[str, Tensor]) -> str:
    """The hash that these tensors of a file have when they are loaded in float32, whatever they are cast to."""
    # float32 holds every bfloat16 and float16 exactly, so one file has one identity
    return hash_tensors({k: v.float() for k, v in model.items()}, {k: v.float() for k, v in projection.items()})


def hash_tensors(model: Mapping[str, Tensor], projection: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes, types and bytes, in the order of names."""
    digest = hashlib.sha256()
    tensors = {f"model.{k}": v for k, v in model.items()}
    tensors |= {f"projection.{k}": v for k, v in projection.items()}
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
