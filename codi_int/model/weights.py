"""Weights as a whole: their hash."""

import hashlib

import torch
from torch import nn


def hash_weights(hf: nn.Module, projection: nn.Module) -> str:
    """SHA-256 over names, shapes, types and bytes of all tensors of a model, in the order of their names."""
    digest = hashlib.sha256()
    tensors = {f"model.{k}": v for k, v in hf.state_dict().items()}
    tensors |= {f"projection.{k}": v for k, v in projection.state_dict().items()}
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
