"""The door to the SAE kernels: one function per kernel, one `impl=` argument, one definition (`reference`)."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from codi_int.errors import ConfigError
from codi_int.sae.config import RULES, check_choice, check_k
from codi_int.sae.kernels import eager, reference
from codi_int.sae.kernels.reference import EncodedTopK

__all__ = ["IMPLS", "EncodedTopK", "encode_topk"]

IMPLS = ("reference", "eager", "triton")
"""`reference` is the definition, `eager` the fast plain torch, `triton` the kernels"""

Encoder = Callable[[Tensor, Tensor, Tensor, int, str], EncodedTopK]


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
        ConfigError: unknown impl or rule, k outside 1..d_sae, shapes or dtypes that do not fit together.
    """
    check_choice("rule", rule, RULES)
    _check_shapes(x, W_enc, b_enc)
    check_k(k, W_enc.shape[1])
    return _encoder(impl, x)(x, W_enc, b_enc, k, rule)


def _encoder(impl: str | None, x: Tensor) -> Encoder:
    """The implementation that `impl` names, or the best one for x where it names none."""
    if impl is None:
        impl = "eager"
    check_choice("impl", impl, IMPLS)
    if impl == "triton":
        raise ConfigError("The Triton kernels are not available.", "Use impl=None.")
    return reference.encode_topk if impl == "reference" else eager.encode_topk


def _check_shapes(x: Tensor, W_enc: Tensor, b_enc: Tensor) -> None:
    """ConfigError unless x [n, d_in], W_enc [d_in, d_sae] and b_enc [d_sae] fit together."""
    fits = x.ndim == 2 and W_enc.ndim == 2 and x.shape[1] == W_enc.shape[0] and b_enc.shape == W_enc.shape[1:]
    if not fits:
        raise ConfigError(
            f"x {list(x.shape)}, W_enc {list(W_enc.shape)} and b_enc {list(b_enc.shape)} do not fit together.",
            "Give x [n, d_in], W_enc [d_in, d_sae] and b_enc [d_sae].",
        )
    if not x.dtype == W_enc.dtype == b_enc.dtype or not x.is_floating_point():
        raise ConfigError(
            f"x, W_enc and b_enc have dtypes {x.dtype}, {W_enc.dtype} and {b_enc.dtype}.",
            "Cast all three to one floating dtype.",
        )
