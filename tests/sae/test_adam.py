"""Updates in pieces against torch.optim.Adam on whole tensors."""

import pytest
import torch
from torch import Tensor

from codi_int.sae import adam
from codi_int.sae.adam import Adam
from codi_int.sae.gradients import Weights

STACK, D_SAE, D_IN = 3, 21, 8


def drawn(seed: int) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((STACK, D_SAE, D_IN), (STACK, D_SAE), (STACK, D_SAE, D_IN), (STACK, D_IN))
    return Weights(*(torch.randn(shape, generator=generator) for shape in shapes))


def by_torch(rates: list[float], frozen: tuple[str, ...], unit_rows: bool, steps: int) -> Weights:
    """Every SAE with an optimizer of its own."""
    start = drawn(0)
    alone = [Weights(*(value[place].clone() for value in start)) for place in range(STACK)]
    adams = [
        torch.optim.Adam([value for name, value in weights._asdict().items() if name not in frozen], lr=rate)
        for weights, rate in zip(alone, rates, strict=True)
    ]
    for step in range(steps):
        grads = drawn(10 + step)
        for place, (weights, optimizer) in enumerate(zip(alone, adams, strict=True)):
            for value, grad in zip(weights, grads, strict=True):
                value.grad = grad[place]
            optimizer.step()
            if unit_rows:
                weights.D.data /= weights.D.norm(dim=1, keepdim=True)
    return Weights(*(torch.stack(values) for values in zip(*alone, strict=True)))


@pytest.mark.parametrize("piece_bytes", [1, 4 * D_IN * 5, 2**22, None], ids=["a row", "five rows", "a matrix", "whole"])
@pytest.mark.parametrize("rates", [[1e-2] * 3, [1e-2, 1e-3, 1e-2]], ids=["one rate", "two rates"])
@pytest.mark.parametrize(("frozen", "unit_rows"), [((), False), (("b_dec",), True)], ids=["plain", "frozen and unit"])
def test_pieces_are_updated_as_the_whole_would_be(monkeypatch, piece_bytes, rates, frozen, unit_rows):
    monkeypatch.setattr(adam, "PIECE_BYTES", piece_bytes)
    stack = Adam(drawn(0), rates, torch.bfloat16, frozen, unit_rows, whole=piece_bytes is None)
    for step in range(4):
        grads = drawn(10 + step)

        def grad(name: str, some: slice, grads: Weights = grads) -> Tensor:
            return getattr(grads, name)[:, some]

        stack.step(grad)
    expected = by_torch(rates, frozen, unit_rows, 4)
    for name, ours, theirs in zip(Weights._fields, stack.weights, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    assert torch.equal(stack.narrow.E, stack.weights.E.bfloat16())
    assert torch.equal(stack.narrow.D, stack.weights.D.bfloat16())


def test_without_narrow_products_there_is_no_copy():
    stack = Adam(drawn(0), [1e-3] * 3)
    assert stack.narrow.E is stack.weights.E
    assert stack.narrow.D is stack.weights.D
