"""The definition itself, against a plain Python loop over every row and against torch.topk."""

import math

import pytest
import torch

from codi_int.errors import ConfigError
from codi_int.sae.kernels import encode_topk, reference


def by_hand(pre: list[float], k: int, rule: str) -> tuple[list[float], list[int]]:
    """One row, by Python's own stable sort: largest key first, ties to the lower index, NaN on top."""

    def rank(index: int) -> tuple[float, float]:
        key = abs(pre[index]) if rule == "abs" else pre[index]
        return (0.0, 0.0) if math.isnan(key) else (1.0, -key)

    kept = sorted(range(len(pre)), key=rank)[:k]
    return [pre[i] if rule == "abs" else max(pre[i], 0.0) for i in kept], kept


def through_identity(pre: torch.Tensor, k: int, rule: str, impl: str):
    """encode_topk with an identity encoder, so that the pre-activations are exactly `pre`."""
    d = pre.shape[1]
    return encode_topk(pre, torch.eye(d, dtype=pre.dtype), torch.zeros(d, dtype=pre.dtype), k=k, rule=rule, impl=impl)


@pytest.mark.parametrize("impl", ["reference", "eager"])
@pytest.mark.parametrize("rule", ["relu", "abs"])
@pytest.mark.parametrize("k", [1, 2, 5, 12])
def test_by_hand_with_many_ties(impl, rule, k):
    pre = torch.randint(-3, 4, (40, 12), generator=torch.Generator().manual_seed(k)).float()
    values, indices = through_identity(pre, k, rule, impl)
    for row in range(len(pre)):
        expected_values, expected_indices = by_hand(pre[row].tolist(), k, rule)
        assert indices[row].tolist() == expected_indices
        assert values[row].tolist() == expected_values


@pytest.mark.parametrize("impl", ["reference", "eager"])
def test_without_ties_equal_to_torch_topk(impl):
    generator = torch.Generator().manual_seed(0)
    x, W = torch.randn(64, 32, generator=generator), torch.randn(32, 200, generator=generator)
    b = torch.randn(200, generator=generator)
    values, indices = encode_topk(x, W, b, k=13, rule="relu", impl=impl)
    top = torch.addmm(b, x, W).topk(13, dim=1)
    assert torch.equal(indices, top.indices)
    torch.testing.assert_close(values, top.values.relu())


@pytest.mark.parametrize("impl", ["reference", "eager"])
@pytest.mark.parametrize("rule", ["relu", "abs"])
def test_nan_and_inf_stay_visible(impl, rule):
    nan, inf = math.nan, math.inf
    W = torch.ones(1, 5)
    rows = torch.tensor([[0.0]])
    pre = torch.tensor([1.0, nan, -inf, inf, nan])
    values, indices = encode_topk(rows, W, pre, k=4, rule=rule, impl=impl)
    if rule == "abs":
        assert indices.tolist() == [[1, 4, 2, 3]], "both infinities have one magnitude: the lower index first"
        assert values[0, 2:].tolist() == [-inf, inf]
    else:
        assert indices.tolist() == [[1, 4, 3, 0]]
        assert values[0, 2:].tolist() == [inf, 1.0]
    assert values[0, :2].isnan().all()


@pytest.mark.parametrize("impl", ["reference", "eager"])
@pytest.mark.parametrize("rule", ["relu", "abs"])
def test_gradients_against_finite_differences(impl, rule):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(4, 6, dtype=torch.float64, generator=generator).requires_grad_()
    W = torch.randn(6, 11, dtype=torch.float64, generator=generator).requires_grad_()
    b = torch.randn(11, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(lambda *args: encode_topk(*args, 4, rule, impl).values, (x, W, b))


def test_sixteen_bit_input_is_summed_in_float32():
    generator = torch.Generator().manual_seed(5)
    x, W, b = (torch.randn(*shape, generator=generator).bfloat16() for shape in ((8, 300), (300, 40), (40,)))
    pre = reference.preactivations(x, W, b)
    exact = x.double() @ W.double() + b.double()
    assert pre.dtype == torch.bfloat16
    torch.testing.assert_close(pre.double(), exact, rtol=2**-8, atol=1e-4)


@pytest.mark.parametrize("impl", ["fast", "Triton", ""])
def test_unknown_impl_names_the_known_ones(impl):
    with pytest.raises(ConfigError, match=r"Known: reference, eager, triton"):
        encode_topk(torch.zeros(1, 2), torch.zeros(2, 3), torch.zeros(3), 1, impl=impl)


@pytest.mark.parametrize(
    ("x", "W", "b", "k", "rule", "says"),
    [
        ((1, 2), (2, 3), (3,), 4, "abs", "k must lie in 1..3"),
        ((1, 2), (2, 3), (3,), 0, "abs", "k must lie in 1..3"),
        ((1, 2), (3, 3), (3,), 1, "abs", "do not fit together: x \\[1, 2\\], W_enc \\[3, 3\\]"),
        ((1, 2), (2, 3), (4,), 1, "abs", "do not fit together"),
        ((1, 2), (2, 3), (3,), 1, "top", "rule 'top' does not exist"),
    ],
)
def test_arguments_that_cannot_work(x, W, b, k, rule, says):
    with pytest.raises(ConfigError, match=says) as caught:
        encode_topk(torch.zeros(x), torch.zeros(W), torch.zeros(b), k, rule)
    assert caught.value.remedy


def test_dtypes_must_agree():
    with pytest.raises(ConfigError, match="The dtypes differ"):
        encode_topk(torch.zeros(1, 2), torch.zeros(2, 3).double(), torch.zeros(3), 1)
