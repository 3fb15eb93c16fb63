"""The entry point of the SAE kernels: one function per kernel, one `impl=` argument, one definition (`reference`)."""

import importlib.util
from types import ModuleType

import torch
from jaxtyping import Float, Int
from torch import Tensor

from codi_int.errors import ConfigError
from codi_int.sae.config import RULES, check_choice, check_k
from codi_int.sae.kernels import eager, reference
from codi_int.sae.kernels.reference import EncodedTopK

__all__ = ["IMPLS", "EncodedTopK", "decode_topk", "encode_topk"]

IMPLS = ("reference", "eager", "triton")
"""`reference` is the definition, `eager` the fast plain torch, `triton` the kernels"""

SPARSE_FROM = 32
"""d_sae / k from which gathering k rows beats a dense product on a GPU (estimate, docs/explanation/kernels.md)"""


def encode_topk(
    x: Float[Tensor, "n d_in"],
    W_enc: Float[Tensor, "d_W d_sae"],
    b_enc: Float[Tensor, " d_b"],
    k: int,
    rule: str = "abs",
    impl: str | None = None,
) -> EncodedTopK:
    """The k features that a TopK encoder keeps of each row.

    Args:
        x: activations [n, d_in], without the decoder bias where the SAE subtracts it.
        W_enc: encoder weights [d_in, d_sae].
        b_enc: encoder bias [d_sae].
        k: features to keep, 1..d_sae.
        rule: `abs` keeps the k largest magnitudes with their sign; `relu` the k largest values, then ReLU.
        impl: one of `IMPLS`; None takes the kernels on a GPU that has them and `eager` elsewhere.

    Returns:
        `values, indices`, both [n, k], largest key first, equal keys by ascending index. NaN counts as
        the largest key and stays in the values. Differentiable in x, W_enc and b_enc.

    Raises:
        ConfigError: unknown impl or rule, k outside 1..d_sae, shapes or dtypes that do not fit together,
            `triton` where it cannot run.
    """
    # checked here once, so that no implementation has to; a kernel given a misfit would read past the end
    check_choice("rule", rule, RULES)
    if not (x.ndim == W_enc.ndim == 2 and x.shape[1] == W_enc.shape[0] and b_enc.shape == W_enc.shape[1:]):
        raise _misfit({"x": x, "W_enc": W_enc, "b_enc": b_enc}, "x [n, d_in], W_enc [d_in, d_sae], b_enc [d_sae]")
    _check_dtypes({"x": x, "W_enc": W_enc, "b_enc": b_enc})
    check_k(k, W_enc.shape[1])
    encoded: EncodedTopK = _module(impl, x).encode_topk(x, W_enc, b_enc, k, rule)
    return encoded


def decode_topk(
    values: Float[Tensor, "n k"],
    indices: Int[Tensor, "m j"],
    W_dec: Float[Tensor, "d_sae d_in"],
    b_dec: Float[Tensor, " d_b"],
    impl: str | None = None,
) -> Float[Tensor, "n d_in"]:
    """`b_dec + sum_j values[:, j] * W_dec[indices[:, j]]`.

    Args:
        values: activations [n, k].
        indices: their features [n, k], in 0..d_sae-1.
        W_dec: decoder weights [d_sae, d_in].
        b_dec: decoder bias [d_in].
        impl: one of `IMPLS`; None takes the sparse kernels on a GPU where few features fire, else `eager`.

    Returns:
        Reconstructions [n, d_in], differentiable in values, W_dec and b_dec.

    Raises:
        ConfigError: unknown impl, shapes or dtypes that do not fit together, `triton` where it cannot run.
    """
    if not (values.shape == indices.shape and W_dec.ndim == 2 and b_dec.shape == W_dec.shape[1:]):
        tensors = {"values": values, "indices": indices, "W_dec": W_dec, "b_dec": b_dec}
        raise _misfit(tensors, "values and indices [n, k], W_dec [d_sae, d_in], b_dec [d_in]")
    _check_dtypes({"values": values, "W_dec": W_dec, "b_dec": b_dec})
    # with few features to choose from a dense product re-uses each row of W_dec across the batch, gathering does not
    if impl is None and values.shape[1] * SPARSE_FROM > W_dec.shape[0]:
        impl = "eager"
    decoded: Tensor = _module(impl, values).decode_topk(values, indices, W_dec, b_dec)
    return decoded


def _module(impl: str | None, x: Tensor) -> ModuleType:
    """The implementation that `impl` names, or the best one for x where it names none."""
    if impl is None:
        impl = "triton" if x.is_cuda and _obstacle(x) is None else "eager"
    check_choice("impl", impl, IMPLS)
    if impl != "triton":
        return reference if impl == "reference" else eager
    obstacle = _obstacle(x)
    if obstacle is not None:
        raise ConfigError(f"The Triton kernels cannot run here: {obstacle}.", "Leave impl at None, or use 'eager'.")
    # imported here and not above, because triton is installed on Linux only
    from codi_int.sae.kernels import autograd

    return autograd


def _obstacle(x: Tensor) -> str | None:
    """Why the Triton kernels cannot work on x; None where they can."""
    if x.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return f"they take float32, bfloat16 and float16, not {x.dtype}"
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    if x.is_cuda:
        return None
    # `triton.jit` decides when it decorates whether a kernel is interpreted: ask a kernel, as the environment may
    # have changed since
    from triton.runtime.interpreter import InterpretedFunction

    from codi_int.sae.kernels.select_triton import _narrow_kernel

    if isinstance(_narrow_kernel, InterpretedFunction):
        return None
    return f"the data is on {x.device.type} and TRITON_INTERPRET=1 was not set before triton was imported"


def _check_dtypes(tensors: dict[str, Tensor]) -> None:
    """ConfigError unless all have one floating dtype."""
    found = {tensor.dtype for tensor in tensors.values()}
    if len(found) > 1 or not next(iter(found)).is_floating_point:
        listed = ", ".join(f"{name} {tensor.dtype}" for name, tensor in tensors.items())
        raise ConfigError(f"The dtypes differ or are no floats: {listed}.", "Cast all to one floating dtype.")


def _misfit(tensors: dict[str, Tensor], expected: str) -> ConfigError:
    """The error that names the shapes that were given and those that fit."""
    listed = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
    return ConfigError(f"Shapes do not fit together: {listed}.", f"Give {expected}.")
