"""Batches within a memory budget: halving keeps what was done and gives the same answers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from codi_int.errors import ConfigError
from codi_int.model.memory import answer_within_memory, bytes_per_problem, fitting_batch_size, memory_budget


@pytest.fixture
def small_memory(llama: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """small_memory(limit, error) -> the sizes of the batches that were tried, on a model that holds `limit` rows."""
    real, tried = type(llama).answer, []

    def limited(limit: int, error: RuntimeError) -> list[int]:
        def answer(problems: Any, *rest: Any, **named: Any) -> Any:
            tried.append(len(problems))
            if len(problems) > limit:
                raise error
            return real(llama, problems, *rest, **named)

        monkeypatch.setattr(llama, "answer", answer, raising=False)
        return tried

    return limited


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")])
def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_done_twice(
    llama: Any, problems: list[Any], small_memory: Callable[..., list[int]], error: RuntimeError
) -> None:
    expected = llama.answer(problems, "official", 7)
    alone = llama.answer(problems)
    tried = small_memory(2, error)
    counted: list[tuple[int, int]] = []
    run = answer_within_memory(llama, problems, 7, progress=lambda *heard: counted.append(heard[1:]))
    assert run.completions == tuple(alone)
    assert counted[-1] == (7, 7)
    assert sum(size for size in tried if size <= 2) == 7
    assert (run.batch_size, run.n_halved) == (2, 1)
    assert run.problems_per_second == pytest.approx(7 / run.seconds)
    tried.clear()
    leaking = answer_within_memory(llama, problems, 7, "official")
    assert tried == [7, 4, 2, 2, 2, 1]
    assert leaking.n_halved == 2
    assert [c.problem_id for c in leaking.completions] == [c.problem_id for c in expected]


def test_one_problem_too_large_is_said_and_other_errors_pass(
    llama: Any, problems: list[Any], small_memory: Callable[..., list[int]]
) -> None:
    small_memory(0, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(ConfigError, match=r"'p\d' does not fit into the memory of cpu by itself"):
        answer_within_memory(llama, problems, 2)
    small_memory(0, RuntimeError("sizes do not match"))
    with pytest.raises(RuntimeError, match="sizes do not match"):
        answer_within_memory(llama, problems, 2)


def test_official_padding_takes_the_published_batches(llama: Any, problems: list[Any]) -> None:
    run = answer_within_memory(llama, problems, padding="official")
    assert (run.batch_size, run.n_halved) == (128, 0)
    assert run.completions == tuple(llama.answer(problems, "official", 128))


def test_the_batch_size_follows_the_budget(llama: Any, problems: list[Any]) -> None:
    longest = max(len(llama.encode_question(p)) for p in problems)
    each = bytes_per_problem(llama, longest)
    assert [fitting_batch_size(llama, problems, n) for n in (0, each, 3 * each + 1, 10**15)] == [1, 1, 3, 512]
    assert 2**20 < memory_budget(torch.device("cpu")) <= 4 * 2**30
    # keys and values alone: 4 layers, 2 heads of 8, float32, as the cache itself counts them
    cache = llama.stack.new_cache(1, longest + 6)
    assert each > sum(t.numel() * t.element_size() for t in (*cache.keys, *cache.values))
    assert bytes_per_problem(llama, 2 * longest) > each
