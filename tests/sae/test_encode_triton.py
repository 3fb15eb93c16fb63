"""The Triton encoder against the reference: compiled where there is a GPU, else through the interpreter."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from codi_int.sae.kernels import encode_topk, reference
from codi_int.sae.kernels.autograd import encode_topk as triton_encode
from codi_int.sae.kernels.encode_triton import Tiles, select, select_wide

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SMALL = Tiles(rows=16, columns=32, inner=16, group=16, chunk=32)
"""so small that a handful of columns already spans several groups, chunks and tiles"""


def inputs(n: int, d_in: int, d_sae: int, dtype: torch.dtype = torch.float32, whole: bool = False):
    """x, W_enc, b_enc; with `whole` small whole numbers, whose sums are exact in any order and full of ties."""
    generator = torch.Generator().manual_seed(n + 7 * d_in + 31 * d_sae)

    def draw(*shape: int) -> Tensor:
        numbers = torch.randn(*shape, generator=generator)
        return (numbers.round() if whole else numbers).to(DEVICE, dtype)

    return draw(n, d_in), draw(d_in, d_sae), draw(d_sae)


def assert_same(found, expected):
    assert torch.equal(found.indices, expected.indices)
    torch.testing.assert_close(found.values, expected.values, atol=1e-5, rtol=1e-5, equal_nan=True)


SHAPES = [
    (1, 1, 1, 1),
    (3, 5, 7, 7),
    (2, 16, 32, 1),
    (2, 17, 33, 32),
    (2, 15, 31, 30),
    (17, 3, 33, 3),
    (2, 31, 65, 65),
    (3, 64, 127, 1),
    (2, 40, 129, 20),
    (2, 9, 257, 6),
]
"""n, d_in, d_sae, k: around the borders of tiles, groups and chunks, k = 1 and k = d_sae"""


@pytest.mark.parametrize("rule", ["relu", "abs"])
@pytest.mark.parametrize(("n", "d_in", "d_sae", "k"), SHAPES)
def test_equals_reference(n, d_in, d_sae, k, rule):
    arguments = inputs(n, d_in, d_sae)
    assert_same(encode_topk(*arguments, k, rule, impl="triton"), reference.encode_topk(*arguments, k, rule))


@pytest.mark.parametrize("tiles", [None, SMALL])
@pytest.mark.parametrize("rule", ["relu", "abs"])
@pytest.mark.parametrize(("n", "d_in", "d_sae", "k"), [(2, 3, 40, 5), (2, 20, 100, 2), (3, 4, 33, 33)])
def test_ties_are_broken_by_the_index(n, d_in, d_sae, k, rule, tiles):
    x, W, b = inputs(n, d_in, d_sae, whole=True)
    pre = reference.keys(x @ W + b, rule)
    assert (pre.sort(dim=1).values.diff(dim=1) == 0).any(), "there is something to break"
    assert_same(triton_encode(x, W, b, k=k, rule=rule, tiles=tiles), reference.encode_topk(x, W, b, k, rule))


@pytest.mark.parametrize("rule", ["relu", "abs"])
@pytest.mark.parametrize(("d_sae", "k"), [(33, 2), (64, 1), (200, 3), (100, 6), (97, 7), (130, 130)])
def test_wide_dictionaries_read_only_the_groups_that_can_qualify(d_sae, k, rule):
    arguments = inputs(2, 12, d_sae)
    assert_same(triton_encode(*arguments, k, rule, SMALL), reference.encode_topk(*arguments, k, rule))


@pytest.mark.parametrize("rule", ["relu", "abs"])
@pytest.mark.parametrize("tiles", [None, SMALL])
def test_all_equal_keys_take_the_first_features(rule, tiles):
    x, W, b = torch.zeros(1, 3, device=DEVICE), torch.zeros(3, 150, device=DEVICE), torch.ones(150, device=DEVICE)
    assert triton_encode(x, W, b, k=4, rule=rule, tiles=tiles).indices.tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("tiles", [None, SMALL])
@pytest.mark.parametrize("rule", ["relu", "abs"])
@pytest.mark.parametrize("k", [1, 4, 9])
def test_nan_and_inf_as_in_the_reference(rule, k, tiles):
    b = torch.linspace(-2, 2, 100)
    b[[3, 50, 97]] = math.nan
    b[[10, 60]], b[[20, 99]] = math.inf, -math.inf
    b[[30, 31]] = torch.tensor([0.0, -0.0])
    arguments = torch.zeros(1, 4, device=DEVICE), torch.ones(4, 100, device=DEVICE), b.to(DEVICE)
    assert_same(triton_encode(*arguments, k, rule, tiles), reference.encode_topk(*arguments, k, rule))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_broken_rows_stay_visible_and_alone(bad):
    x, W, b = inputs(3, 8, 40)
    x[1, 2] = bad
    found = encode_topk(x, W, b, 5, "abs", impl="triton")
    assert not found.values[1].isfinite().any()
    assert_same(found, reference.encode_topk(x, W, b, 5, "abs"))


def test_minus_zero_ties_with_zero():
    b = torch.tensor([-0.0, 0.0, -0.0, -1.0], device=DEVICE)
    found = encode_topk(
        torch.zeros(1, 2, device=DEVICE), torch.zeros(2, 4, device=DEVICE), b, k=2, rule="relu", impl="triton"
    )
    assert found.indices.tolist() == [[0, 1]]


def test_empty_batch():
    x, W, b = inputs(0, 6, 20)
    found = encode_topk(x, W, b, 4, impl="triton")
    assert found.values.shape == found.indices.shape == (0, 4)


@pytest.mark.parametrize("rule", ["relu", "abs"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bit_sets_are_exact(dtype, rule):
    x, W, b = inputs(3, 20, 70, dtype, whole=True)
    found, expected = encode_topk(x, W, b, k=6, rule=rule, impl="triton"), reference.encode_topk(x, W, b, 6, rule)
    assert found.values.dtype == dtype
    assert torch.equal(found.indices, expected.indices)
    assert torch.equal(found.values, expected.values)


@pytest.mark.parametrize("dtype", [torch.bfloat16])
def test_sixteen_bit_sets_outside_the_tie_band(dtype):
    x, W, b = inputs(4, 50, 90, dtype)
    found, expected = (encode_topk(x, W, b, k=9, rule="relu", impl=impl) for impl in ("triton", "reference"))
    exact = x.double() @ W.double() + b.double()
    border = exact.topk(9, dim=1).values[:, -1:]
    sure = exact > border + 0.05 * border.abs()
    for encoded in (found, expected):
        kept = torch.zeros_like(sure).scatter(1, encoded.indices, True)
        assert (kept | ~sure).all()


def test_inputs_of_any_strides():
    x, W, b = inputs(4, 12, 50)
    expected = reference.encode_topk(x, W, b, 5, "abs")
    strided = x.T.contiguous().T, W.T.contiguous().T, torch.stack([b, b], dim=1)[:, 0]
    assert not any(tensor.is_contiguous() for tensor in strided)
    assert_same(encode_topk(*strided, 5, "abs", impl="triton"), expected)


@pytest.mark.parametrize("tiles", [None, SMALL])
@pytest.mark.parametrize("rule", ["relu", "abs"])
@pytest.mark.parametrize(("n", "d_in", "d_sae", "k"), [(1, 1, 1, 1), (2, 17, 40, 6), (2, 33, 20, 20), (2, 300, 10, 1)])
def test_gradients_by_name(n, d_in, d_sae, k, rule, tiles):
    grads = []
    for encode in (lambda *a: triton_encode(*a, k, rule, tiles), lambda *a: reference.encode_topk(*a, k, rule)):
        arguments = [tensor.requires_grad_() for tensor in inputs(n, d_in, d_sae)]
        values = encode(*arguments).values
        weights = torch.linspace(-1, 2, values.numel(), device=DEVICE).reshape(values.shape)
        (values * weights).sum().backward()
        grads.append({name: tensor.grad for name, tensor in zip(("x", "W_enc", "b_enc"), arguments, strict=True)})
    for name in ("x", "W_enc", "b_enc"):
        torch.testing.assert_close(
            grads[0][name],
            grads[1][name],
            atol=1e-5,
            rtol=1e-5,
            msg=lambda text, name=name: f"{name}: {text}",
        )


@pytest.mark.parametrize("wanted", ["x", "W_enc", "b_enc"])
def test_each_gradient_alone(wanted):
    grads = []
    for encode in (triton_encode, reference.encode_topk):
        arguments = dict(zip(("x", "W_enc", "b_enc"), inputs(2, 5, 12), strict=True))
        arguments[wanted].requires_grad_()
        encode(*arguments.values(), 3, "abs").values.square().sum().backward()
        grads.append([tensor.grad for tensor in arguments.values()])
    torch.testing.assert_close(*grads, atol=1e-5, rtol=1e-5)


def test_no_gradient_through_what_relu_cut():
    x, W, b = torch.ones(1, 1, device=DEVICE), torch.ones(1, 3, device=DEVICE), torch.zeros(3, device=DEVICE)
    b += torch.tensor([-5.0, 1.0, -3.0], device=DEVICE)
    b.requires_grad_()
    encode_topk(x, W, b, 3, "relu", impl="triton").values.sum().backward()
    assert b.grad.tolist() == [0.0, 1.0, 0.0]


APART = replace(SMALL, fused=False)
"""the product by torch, and a pass of its own for the groups' maxima: what float32 takes on a GPU"""


@pytest.mark.parametrize("rule", ["relu", "abs"])
@pytest.mark.parametrize(("n", "d_in", "d_sae", "k"), [(2, 15, 31, 30), (5, 3, 33, 3), (2, 9, 257, 6)])
def test_with_the_product_apart(n, d_in, d_sae, k, rule):
    arguments = inputs(n, d_in, d_sae, whole=True)
    assert_same(triton_encode(*arguments, k, rule, APART), reference.encode_topk(*arguments, k, rule))


@pytest.mark.parametrize(
    ("dtype", "rule"), [(torch.bfloat16, "abs"), (torch.bfloat16, "relu"), (torch.float16, "relu")]
)
def test_keys_keep_the_order_of_every_16_bit_number(dtype, rule):
    """All numbers that 16 bits can be, among them inf, NaN and both zeros, in rows that fit registers and wider."""
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int16)
    order = torch.randperm(len(bits), generator=torch.Generator().manual_seed(0))
    pre = bits.view(dtype)[order].view(16, 4096).to(DEVICE)
    expected = reference.select(reference.keys(pre, rule), 40)
    assert torch.equal(select_wide(pre, 40, rule).indices, expected)
    narrow = pre[:, :2048].contiguous()
    assert torch.equal(select(narrow, 40, rule).indices, reference.select(reference.keys(narrow, rule), 40))


def test_the_old_switch_of_tf32_is_not_read(monkeypatch):
    """Once the newer `fp32_precision` was set, torch raises where somebody reads it."""

    class Sealed:
        @property
        def allow_tf32(self):
            raise RuntimeError("mix of the legacy and new APIs")

    monkeypatch.setattr(torch.backends.cuda, "matmul", Sealed())
    arguments = inputs(3, 16, 64)
    assert_same(encode_topk(*arguments, 4, "abs", impl="triton"), reference.encode_topk(*arguments, 4, "abs"))
