"""The kernels of a Llama block, in Triton's interpreter, against torch's own and against their definitions."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaRMSNorm, apply_rotary_pos_emb

pytest.importorskip("triton")

from codi_int.model.kernels import kernels_for, llama_triton, reference
from codi_int.model.kernels.reference import Shared, Slots

DTYPES = (torch.float32, torch.bfloat16)
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 3e-2}


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", [16, 24, 100])
def test_norm_of_a_sum_is_hugging_faces(dtype: torch.dtype, d: int) -> None:
    norm = LlamaRMSNorm(d, eps=1e-5).to(dtype)
    norm.weight.data.copy_(drawn(d, dtype=dtype, seed=3))
    x, delta = drawn(2, 3, d, dtype=dtype), drawn(2, 3, d, dtype=dtype, seed=1)
    total, normed = llama_triton.add_norm(x, delta, norm.weight, 1e-5)
    # the interpreter cuts bfloat16 off where a GPU rounds to the nearest
    torch.testing.assert_close(total, x + delta, rtol=TOLERANCE[dtype] / 2, atol=0)
    torch.testing.assert_close(normed, norm(x + delta), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    same, alone = llama_triton.add_norm(x, None, norm.weight, 1e-5)
    assert same.data_ptr() == x.data_ptr()
    torch.testing.assert_close(alone, norm(x), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    torch.testing.assert_close(reference.add_norm(x, delta, norm.weight, 1e-5)[1], norm(x + delta), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gated_product(dtype: torch.dtype) -> None:
    gate, up = 4 * drawn(3, 700, dtype=dtype), drawn(3, 700, dtype=dtype, seed=1)
    expected = F.silu(gate) * up
    torch.testing.assert_close(llama_triton.silu_mul(gate, up), expected, rtol=TOLERANCE[dtype], atol=1e-6)
    assert torch.equal(reference.silu_mul(gate, up), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("each", "t", "by_row"), [(1, 1, False), (3, 2, True), (2, 5, False)])
def test_turned_keys_lie_in_their_slots(dtype: torch.dtype, each: int, t: int, by_row: bool) -> None:
    groups, heads, share, width, capacity, start = 2, 3, 2, 12, 9, 2
    rows = groups * each
    q, k, v = (drawn(rows, t, n, width, dtype=dtype, seed=seed) for seed, n in enumerate((heads * share, heads, heads)))
    angles = drawn(rows if by_row else 1, t, 1, width // 2, seed=7)
    angles = torch.cat([angles, angles], -1)
    rotary = angles.cos().to(dtype), angles.sin().to(dtype)
    buffers = drawn(*(2, groups, heads, each, capacity, width), dtype=dtype, seed=9)
    expected_q, expected_k = apply_rotary_pos_emb(q, k, rotary[0][:, :, 0], rotary[1][:, :, 0], unsqueeze_dim=2)
    for kernels in (reference, llama_triton):
        keys, values = buffers.clone()
        turned = kernels.rotate_store(q, k, v, rotary, Slots(keys, values, start))
        near = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
        torch.testing.assert_close(turned, expected_q, **near)
        for row in range(rows):
            group, place = divmod(row, each)
            for filled, new in ((keys, expected_k), (values, v)):
                mine = filled[group, :, place, start : start + t]
                torch.testing.assert_close(mine, new[row].transpose(0, 1), **near)
        untouched = [slot for slot in range(capacity) if not start <= slot < start + t]
        assert torch.equal(keys[:, :, :, untouched], buffers[0][:, :, :, untouched])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("groups", "each", "t", "prefix", "width"), [(2, 3, 1, 5, 16), (1, 9, 4, 33, 24), (3, 1, 2, 16, 8)]
)
def test_attention_over_prefix_and_own_slots(
    dtype: torch.dtype, groups: int, each: int, t: int, prefix: int, width: int
) -> None:
    """Against torch's attention on keys and values laid side by side, row by row."""
    heads, share, start, capacity = 2, 2, 1, 8
    q = drawn(groups * each, t, heads * share, width, dtype=dtype)
    far = drawn(2, groups, heads, prefix + 3, width, dtype=dtype, seed=1)[:, :, :, 1:-2]
    near = drawn(*(2, groups, heads, each, capacity, width), dtype=dtype, seed=2)
    first = torch.arange(groups) * 2 % prefix
    for group in range(groups):  # what padding holds must not matter
        far[:, group, :, : first[group]] = torch.nan
    shared, own = Shared(far[0], far[1], first), Slots(near[0], near[1], start)
    found = llama_triton.attend(q, shared, own, 0.3)
    rows = []
    for row in range(groups * each):
        group, place = divmod(row, each)
        keys, values = (
            torch.cat([f[group, :, first[group] :], n[group, :, place, : start + t]], 1)
            for f, n in zip(far, near, strict=True)
        )
        length = keys.shape[1]
        mask = torch.ones(t, length, dtype=torch.bool).tril(length - t)
        read = F.scaled_dot_product_attention(
            q[row].transpose(0, 1).float()[None],
            keys.repeat_interleave(share, 0).float()[None],
            values.repeat_interleave(share, 0).float()[None],
            attn_mask=mask,
            scale=0.3,
        )
        rows.append(read[0].transpose(0, 1))
    torch.testing.assert_close(found.float(), torch.stack(rows), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    if not far.isnan().any():
        torch.testing.assert_close(
            reference.attend(q, shared, own, 0.3).float(),
            torch.stack(rows),
            rtol=TOLERANCE[dtype],
            atol=TOLERANCE[dtype],
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_words", [2, 63, 64, 65, 300])
def test_one_read_of_the_logits(dtype: torch.dtype, n_words: int) -> None:
    logits = (8 * drawn(3, 2, n_words + 1, dtype=dtype))[..., :-1]  # a row's last column may be one that is left out
    ids = torch.tensor([[0, 1], [n_words - 1, n_words], [n_words + 5, 0]])  # some without a column
    found, wide = llama_triton.read_logits(logits, ids), logits.double()
    ordered = wide.sort(dim=-1, descending=True, stable=True)
    torch.testing.assert_close(found.logsumexp, wide.logsumexp(-1).float(), rtol=1e-6, atol=1e-6)
    assert torch.equal(found.choice, ordered.indices[..., 0])
    assert torch.equal(found.best.double(), ordered.values[..., 0])
    assert torch.equal(found.second.double(), ordered.values[..., 1])
    own = [[wide[i, j, min(int(ids[i, j]), n_words - 1)] for j in range(2)] for i in range(3)]
    assert found.own.tolist() == [[float(one) for one in row] for row in own]


def test_ties_and_broken_logits() -> None:
    logits = torch.zeros(4, 1, 200)
    logits[0, 0, [70, 150]] = 3.0
    logits[1] = -torch.inf
    logits[1, 0, 199] = 1.0
    logits[2, 0, 5] = torch.nan
    logits[3, 0, 9] = torch.inf
    ids = torch.zeros(4, 1, dtype=torch.long)
    found = llama_triton.read_logits(logits, ids)
    assert (int(found.choice[0]), float(found.best[0]), float(found.second[0])) == (70, 3.0, 3.0)
    assert (int(found.choice[1]), float(found.logsumexp[1]), float(found.second[1])) == (199, 1.0, -torch.inf)
    # a broken row stays one: what is made of it is no number
    assert not found.logsumexp[2:].isfinite().any()


def test_no_rows_no_launch() -> None:
    empty = torch.empty(0, 8)
    assert llama_triton.silu_mul(empty, empty).shape == (0, 8)
    assert llama_triton.add_norm(empty, empty, torch.ones(8), 1e-5)[1].shape == (0, 8)


def test_a_cpu_and_gradients_do_without() -> None:
    with torch.no_grad():
        assert kernels_for(torch.zeros(2, 3)) is None
