"""Sparse decoding in Triton against the reference, forward and each gradient by name."""

import pytest
import torch

from codi_int.sae.kernels import decode_topk, reference
from codi_int.sae.kernels.sparse_triton import dot_rows, gather_rows, scatter_rows

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SHAPES = [
    (1, 1, 1, 1),
    (3, 5, 7, 7),
    (4, 16, 40, 15),
    (3, 17, 30, 16),
    (2, 255, 20, 17),
    (2, 257, 9, 1),
    (5, 40, 33, 33),
]
"""n, d_in, d_sae, k: around 16 entries and 256 columns"""


def inputs(n: int, d_in: int, d_sae: int, k: int, dtype: torch.dtype = torch.float32):
    """values, indices, W_dec, b_dec."""
    generator = torch.Generator().manual_seed(n + 7 * d_in + 31 * d_sae)
    values, W, b = (torch.randn(*shape, generator=generator) for shape in ((n, k), (d_sae, d_in), (d_in,)))
    indices = torch.stack([torch.randperm(d_sae, generator=generator)[:k] for _ in range(n)])
    return values.to(DEVICE, dtype), indices.to(DEVICE), W.to(DEVICE, dtype), b.to(DEVICE, dtype)


@pytest.mark.parametrize("impl", ["triton", "eager"])
@pytest.mark.parametrize(("n", "d_in", "d_sae", "k"), SHAPES)
def test_equals_reference(n, d_in, d_sae, k, impl):
    arguments = inputs(n, d_in, d_sae, k)
    torch.testing.assert_close(
        decode_topk(*arguments, impl=impl), reference.decode_topk(*arguments), atol=1e-5, rtol=1e-5
    )


def test_reference_by_definition():
    values, indices, W, b = inputs(4, 6, 12, 5)
    for row in range(4):
        expected = b + sum(values[row, j] * W[indices[row, j]] for j in range(5))
        torch.testing.assert_close(reference.decode_topk(values, indices, W, b)[row], expected)


def test_sixteen_bit_is_summed_in_float32():
    values, indices, W, b = inputs(3, 30, 50, 40, torch.bfloat16)
    found = decode_topk(values, indices, W, b, impl="triton")
    assert found.dtype == torch.bfloat16
    dense = torch.zeros(3, 50, device=DEVICE, dtype=torch.float64).scatter(1, indices, values.double())
    exact = torch.addmm(b.double(), dense, W.double())
    one_unit = 2**-7  # the interpreter truncates where a GPU rounds
    torch.testing.assert_close(found.double(), exact, rtol=one_unit, atol=1e-4)


@pytest.mark.parametrize("impl", ["triton", "eager"])
@pytest.mark.parametrize(("n", "d_in", "d_sae", "k"), SHAPES)
def test_gradients_by_name(n, d_in, d_sae, k, impl):
    grads = []
    for decode in (lambda *a: decode_topk(*a, impl=impl), reference.decode_topk):
        values, indices, W, b = inputs(n, d_in, d_sae, k)
        leaves = {"values": values, "W_dec": W, "b_dec": b}
        for tensor in leaves.values():
            tensor.requires_grad_()
        out = decode(values, indices, W, b)
        (out * torch.linspace(-1, 2, out.numel(), device=DEVICE).reshape(out.shape)).sum().backward()
        grads.append({name: tensor.grad for name, tensor in leaves.items()})
    for name in grads[0]:
        torch.testing.assert_close(
            grads[0][name],
            grads[1][name],
            atol=1e-4,
            rtol=1e-4,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def test_a_feature_that_fires_everywhere_and_one_that_never_does():
    values, _, W, b = inputs(20, 6, 5, 2)
    indices = torch.tensor([[3, 1]], device=DEVICE).repeat(20, 1)
    W.requires_grad_()
    decode_topk(values, indices, W, b, impl="triton").sum().backward()
    torch.testing.assert_close(W.grad[3], values[:, 0].sum().expand(6))
    assert not W.grad[[0, 2, 4]].any()


@pytest.mark.parametrize("impl", ["triton", "eager", "reference"])
def test_empty_batch(impl):
    values, indices, W, b = inputs(2, 6, 12, 3)
    W.requires_grad_()
    out = decode_topk(values[:0], indices[:0], W, b, impl=impl)
    assert out.shape == (0, 6)
    out.sum().backward()
    assert not W.grad.any()


def test_rows_of_a_transposed_matrix():
    values, indices, W, b = inputs(3, 20, 30, 4)
    transposed = W.T.contiguous().T
    assert not transposed.is_contiguous()
    torch.testing.assert_close(gather_rows(values, indices, transposed, b), gather_rows(values, indices, W, b))
    grad = torch.randn(3, 20, device=DEVICE)
    torch.testing.assert_close(dot_rows(grad, indices, transposed), (grad @ W.T).gather(1, indices))


def test_scatter_adds_rows_and_weights():
    values, indices, _, _ = inputs(6, 20, 9, 4)
    source = torch.randn(6, 20, device=DEVICE)
    found = scatter_rows(values, indices, source, 9)
    dense = torch.zeros(6, 9, device=DEVICE).scatter(1, indices, values)
    torch.testing.assert_close(found.rows, dense.T @ source)
    torch.testing.assert_close(found.totals, dense.sum(dim=0))
