"""The hand-written step against autograd through plain torch operations."""

from functools import partial

import pytest
import torch
from torch import Tensor

from codi_int.sae.gradients import Weights, _select, dense, sparse

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


def all_of(step) -> Weights:
    return Weights(*(step.grad(name, slice(None)) for name in Weights._fields))


def assert_same(step, expected):
    grads, loss, fired = expected
    for name, ours, theirs in zip(Weights._fields, all_of(step), grads, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
    torch.testing.assert_close(step.mse, loss)
    assert torch.equal(step.fired, fired)


@pytest.mark.parametrize("subtract", [False, True])
@pytest.mark.parametrize("rule", ["abs", "relu"])
@pytest.mark.parametrize("k", [1, K, D_SAE])
def test_one_sae(k, rule, subtract):
    x, w = rows(), weights()
    expected = by_autograd(w, x, k, rule, subtract)
    assert_same(dense(w, w, x, k=k, ks=None, rule=rule, subtract=subtract), expected)
    assert_same(sparse(w, w, x, k=k, rule=rule, subtract=subtract), expected)


@pytest.mark.parametrize("subtract", [False, True])
@pytest.mark.parametrize("rule", ["abs", "relu"])
def test_a_stack_with_a_k_of_its_own_for_each(rule, subtract):
    ks, xs, ws = [2, 5, 3], [rows(i) for i in range(3)], [weights(i) for i in range(3)]
    stacked = Weights(*(torch.stack(parts) for parts in zip(*ws, strict=True)))
    step = dense(
        stacked,
        stacked,
        torch.stack(xs),
        k=5,
        ks=torch.tensor(ks)[:, None, None],
        rule=rule,
        subtract=subtract,
    )
    for i in range(3):
        alone = type(step)(lambda name, some, i=i: step.grad(name, some)[i], step.mse[i], step.fired[i])
        assert_same(alone, by_autograd(ws[i], xs[i], ks[i], rule, subtract))


@pytest.mark.parametrize("way", [partial(dense, ks=None), sparse])
def test_products_in_bfloat16_stay_close(way):
    x, w = rows(), weights()
    narrow = w._replace(E=w.E.bfloat16(), D=w.D.bfloat16())
    step = way(w, narrow, x, k=K, rule="abs", subtract=False)
    grads, loss, _ = by_autograd(w, x, K, "abs", False)
    torch.testing.assert_close(step.mse, loss, rtol=0.02, atol=0)
    for ours, theirs in zip(all_of(step), grads, strict=True):
        assert (ours.float() - theirs).norm() < 0.1 * theirs.norm()


def test_rows_that_share_no_feature_with_a_dead_one():
    x, w = rows(), weights()
    w.b_enc[7] = 0.0
    w.E[7] = 0.0
    for way in (partial(dense, ks=None), sparse):
        step = way(w, w, x, k=K, rule="abs", subtract=False)
        assert step.fired[7] == 0
        assert not step.grad("E", slice(7, 8)).any()
        assert not step.grad("D", slice(7, 8)).any()


def test_selection_takes_the_lower_index():
    pre = torch.tensor([[1.0, -3.0, 3.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert _select(pre, 3, "abs").tolist() == [[1, 2, 0], [0, 1, 2]]
    assert _select(pre[None], 2, "relu").tolist() == [[[2, 0], [0, 1]]]


@pytest.mark.parametrize("way", [partial(dense, ks=None), sparse])
def test_gradients_of_some_features_are_rows_of_the_whole(way):
    step = way(weights(), weights(), rows(), k=K, rule="relu", subtract=True)
    for name, whole in zip(Weights._fields[:3], all_of(step), strict=False):
        parts = [step.grad(name, slice(start, start + 13)) for start in range(0, D_SAE, 13)]
        torch.testing.assert_close(torch.cat(parts), whole)


@pytest.mark.parametrize("k", [10, 40, 60])
def test_many_features(k):
    """Enough of them for the paths that small tests do not reach."""
    generator = torch.Generator().manual_seed(k)
    shapes = ((500, D_IN), (500,), (500, D_IN), (D_IN,))
    w, x = Weights(*(0.5 * torch.randn(*shape, generator=generator) for shape in shapes)), rows()
    for rule in ("abs", "relu"):
        assert_same(sparse(w, w, x, k=k, rule=rule, subtract=True), by_autograd(w, x, k, rule, True))
