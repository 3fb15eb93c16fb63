"""The hand-written step against autograd through plain torch operations."""

import pytest
import torch
from torch import Tensor

from codi_int.sae.gradients import Batch, Weights, _select, dense, sparse

N, D_IN, D_SAE, K = 30, 12, 40, 6


def weights(seed: int = 0) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((D_SAE, D_IN), (D_SAE,), (D_SAE, D_IN), (D_IN,))
    return Weights(*(0.5 * torch.randn(*shape, generator=generator) for shape in shapes))


def rows(seed: int = 1) -> Tensor:
    return torch.randn(N, D_IN, generator=torch.Generator().manual_seed(seed))


def by_autograd(w: Weights, x: Tensor, k: int, rule: str, subtract: bool) -> tuple[Weights, Tensor, Tensor]:
    """Gradients, loss and firing counts, from the formula alone."""
    leaves = Weights(*(tensor.clone().requires_grad_() for tensor in w))
    pre = (x - leaves.b_dec if subtract else x) @ leaves.E.T + leaves.b_enc
    kept = (pre.abs() if rule == "abs" else pre).topk(k, dim=1).indices
    f = torch.zeros_like(pre).scatter(1, kept, pre.gather(1, kept))
    f = f if rule == "abs" else f.relu()
    loss = ((f @ leaves.D + leaves.b_dec - x) ** 2).mean()
    loss.backward()
    return Weights(*(leaf.grad for leaf in leaves)), loss.detach(), (f != 0).sum(dim=0)


def assert_same(step, expected):
    grads, loss, fired = expected
    for name, ours, theirs in zip(Weights._fields, step.grads, grads, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
    torch.testing.assert_close(step.mse, loss)
    assert torch.equal(step.fired, fired)


@pytest.mark.parametrize("subtract", [False, True])
@pytest.mark.parametrize("rule", ["abs", "relu"])
@pytest.mark.parametrize("k", [1, K, D_SAE])
def test_one_sae(k, rule, subtract):
    x, w = rows(), weights()
    expected = by_autograd(w, x, k, rule, subtract)
    assert_same(dense(w, Batch(x, x), k, None, rule, subtract), expected)
    assert_same(sparse(w, Batch(x, x), k, rule, subtract), expected)


@pytest.mark.parametrize("subtract", [False, True])
@pytest.mark.parametrize("rule", ["abs", "relu"])
def test_a_stack_with_a_k_of_its_own_for_each(rule, subtract):
    ks, xs, ws = [2, 5, 3], [rows(i) for i in range(3)], [weights(i) for i in range(3)]
    stacked = Weights(*(torch.stack(parts) for parts in zip(*ws, strict=True)))
    batch = Batch(torch.stack(xs), torch.stack(xs))
    step = dense(stacked, batch, 5, torch.tensor(ks)[:, None, None], rule, subtract)
    for i in range(3):
        alone = type(step)(Weights(*(grad[i] for grad in step.grads)), step.mse[i], step.fired[i])
        assert_same(alone, by_autograd(ws[i], xs[i], ks[i], rule, subtract))


@pytest.mark.parametrize("way", [lambda *a: dense(*a[:3], None, *a[3:]), sparse])
def test_products_in_bfloat16_stay_close(way):
    x, w = rows(), weights()
    step = way(w, Batch(x, x.bfloat16()), K, "abs", False)
    grads, loss, _ = by_autograd(w, x, K, "abs", False)
    torch.testing.assert_close(step.mse, loss, rtol=0.02, atol=0)
    for ours, theirs in zip(step.grads, grads, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.1 * theirs.norm()


def test_rows_that_share_no_feature_with_a_dead_one():
    x, w = rows(), weights()
    w.b_enc[7] = 0.0
    w.E[7] = 0.0
    for step in (dense(w, Batch(x, x), K, None, "abs", False), sparse(w, Batch(x, x), K, "abs", False)):
        assert step.fired[7] == 0
        assert not step.grads.E[7].any()
        assert not step.grads.D[7].any()


def test_selection_takes_the_lower_index():
    pre = torch.tensor([[1.0, -3.0, 3.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert _select(pre, 3, "abs").tolist() == [[1, 2, 0], [0, 1, 2]]
    assert _select(pre[None], 2, "relu").tolist() == [[[2, 0], [0, 1]]]
