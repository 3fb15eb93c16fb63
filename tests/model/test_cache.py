import pytest
import torch

from codi_int.model.cache import CachePart, CacheShape, KVCache

SHAPE = CacheShape(n_layers=2, n_kv_heads=1, head_dim=3, dtype=torch.float32, device=torch.device("cpu"))


def filled(batch: int, lengths: list[int], capacity: int = 2, seed: int = 0) -> tuple[KVCache, torch.Tensor]:
    """A cache that grew step by step, and what was written to it as [layer, batch, head, slot, head_dim]."""
    generator = torch.Generator().manual_seed(seed)
    cache = KVCache.empty(SHAPE, batch, capacity)
    steps = []
    for count in lengths:
        cache.extend(count)
        new = torch.randn(2, batch, 1, count, 3, generator=generator)
        for layer in range(2):
            cache.write(layer, new[layer], -new[layer])
        steps.append(new)
    return cache, torch.cat(steps, 3)


def test_what_was_written_is_read_back_also_after_growing() -> None:
    cache, written = filled(2, [1, 40, 1, 1])
    assert cache.length == 43
    for layer in range(2):
        torch.testing.assert_close(cache.keys[layer][:, :, :43], written[layer])
        torch.testing.assert_close(cache.values[layer][:, :, :43], -written[layer])


def test_gather_repeats_and_reorders_rows_and_shares_nothing() -> None:
    cache, written = filled(3, [4])
    picked = cache.gather(torch.tensor([2, 0, 2]))
    torch.testing.assert_close(picked.keys[1][:, :, :4], written[1][[2, 0, 2]])
    picked.keys[1].zero_()
    torch.testing.assert_close(cache.keys[1][:, :, :4], written[1])


def test_upper_layers_of_the_last_slot_are_written_again_and_lower_ones_stay() -> None:
    cache, written = filled(2, [5])
    picked = cache.gather(torch.tensor([0, 1]), length=3)
    keys, _ = picked.write(1, torch.full((2, 1, 1, 3), 9.0), torch.full((2, 1, 1, 3), 9.0))
    assert keys.shape[2] == 3
    assert (keys[:, :, 2] == 9).all()
    torch.testing.assert_close(keys[:, :, :2], written[1][:, :, :2])
    torch.testing.assert_close(picked.keys[0][:, :, :3], written[0][:, :, :3])


def test_positions_count_real_tokens_only() -> None:
    cache = KVCache.empty(SHAPE, 2, 8)
    cache.extend(4, torch.tensor([[False, False, True, True], [True, True, True, True]]))
    cache.extend(1)
    assert cache.positions[:, :5].tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 3, 4]]
    assert cache.real_tokens.tolist() == [3, 5]


def test_padding_can_have_positions_of_its_own_and_be_forgotten() -> None:
    cache = KVCache.empty(SHAPE, 1, 4)
    cache.extend(3, torch.tensor([[False, True, True]]), count_padding=True)
    assert cache.positions[0, :3].tolist() == [0, 1, 2]
    assert cache.padded
    cache.forget_padding()
    cache.extend(1)
    assert not cache.padded
    assert cache.real_tokens.tolist() == [4]


def test_rows_of_several_caches_are_joined_behind_padding() -> None:
    (short, a), (long, b) = filled(2, [3]), filled(2, [5], seed=1)
    parts = [CachePart(short, torch.tensor([1]), 3), CachePart(long, torch.tensor([1, 0]), 4)]
    both = KVCache.join(parts, length=5, room=2)
    assert (both.length, both.capacity, both.padded) == (5, 7, True)
    assert both.real_tokens.tolist() == [3, 4, 4]
    assert both.positions.tolist() == [[0, 0, 0, 1, 2, 3, 4], *[[0, 0, 1, 2, 3, 4, 5]] * 2]
    torch.testing.assert_close(both.keys[0][0, :, 2:5], a[0][1])
    torch.testing.assert_close(both.keys[0][1:, :, 1:5], b[0][[1, 0], :, :4])
    assert not both.keys[0][0, :, :2].any()
    # nothing is shared, and equal lengths need no mask
    both.keys[0].zero_()
    torch.testing.assert_close(short.keys[0][:, :, :3], a[0])
    assert not KVCache.join([CachePart(long, torch.tensor([0]), 5)] * 2).padded


def test_a_cut_cache_goes_on_where_it_was_cut() -> None:
    cache, written = filled(1, [4])
    cache.truncate(2).extend(1)
    cache.write(0, torch.ones(1, 1, 1, 3), torch.ones(1, 1, 1, 3))
    torch.testing.assert_close(cache.keys[0][:, :, :2], written[0][:, :, :2])
    assert (cache.keys[0][:, :, 2] == 1).all()
    with pytest.raises(ValueError, match="cannot cut"):
        cache.truncate(4)


def test_gradients_flow_through_written_slots() -> None:
    cache, _ = filled(1, [3])
    cache.extend(1)
    new = torch.ones(1, 1, 1, 3, requires_grad=True)
    keys, _ = cache.write(0, 2 * new, new)
    cache.extend(1)
    later, _ = cache.write(0, torch.zeros(1, 1, 1, 3), torch.zeros(1, 1, 1, 3))
    (keys.sum() + later.sum()).backward()
    assert new.grad is not None
    assert (new.grad == 4).all()
