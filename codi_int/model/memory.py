"""Answering within a memory budget: batches as large as fit, halved where they do not fit after all."""

import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from codi_int.errors import ConfigError
from codi_int.model.chain import Padding
from codi_int.model.hooked import BATCH_SIZE, CodiModel
from codi_int.progress import Progress, count_up
from codi_int.types import Completion, Problem

LARGEST_BATCH = 512
"""beyond it nothing gets faster"""
SHARE_OF_FREE = 0.7
"""of the memory that is free, how much a batch may take"""
CPU_BUDGET = 4 * 1024**3
"""bytes that a batch may take in main memory, where more is free"""


@dataclass(frozen=True)
class AnswerRun:
    """Answers to some problems, and what it took."""

    completions: tuple[Completion, ...]
    """in the order of the problems"""
    batch_size: int
    """most problems of a batch, after any halving"""
    n_halved: int
    """how often a batch did not fit and was halved"""
    seconds: float
    """wall time of all answers, without loading the model"""

    @property
    def problems_per_second(self) -> float:
        """Throughput."""
        return len(self.completions) / self.seconds


def answer_within_memory(
    model: CodiModel,
    problems: Sequence[Problem],
    batch_size: int | None = None,
    padding: Padding = "masked",
    progress: Progress | None = None,
) -> AnswerRun:
    """Answer all problems; a batch that runs out of memory is halved, and what was done before stays done.

    Args:
        batch_size: most problems of a batch; None takes what fits (`fitting_batch_size`), or with `official` padding,
            whose results depend on the batches, the published size.
        padding: see `CodiModel.think`.
        progress: called after every batch.

    Raises:
        ConfigError: one problem does not fit by itself.
    """
    if batch_size is None:
        batch_size = BATCH_SIZE if padding == "official" else fitting_batch_size(model, problems)
    started = time.perf_counter()
    waiting = deque(batch.rows for batch in model.batches(problems, batch_size, padding))
    done: dict[int, Completion] = {}
    n_halved = 0
    add = count_up(progress, "answers", len(problems))
    while waiting:
        rows = waiting.popleft()
        answers = _answer(model, [problems[row] for row in rows], padding)
        if answers is not None:
            done.update(zip(rows, answers, strict=True))
            add(len(rows))
            continue
        batch_size, n_halved = _half(model, problems, rows), n_halved + 1
        waiting = deque(part for group in (rows, *waiting) for part in _cut(group, batch_size))
    seconds = time.perf_counter() - started
    return AnswerRun(tuple(done[row] for row in range(len(problems))), batch_size, n_halved, seconds)


def fitting_batch_size(model: CodiModel, problems: Sequence[Problem], budget: int | None = None) -> int:
    """How many problems as long as the longest fit into a budget of bytes (default: `memory_budget`); at least 1."""
    longest = max((len(model.encode_question(problem)) for problem in problems), default=1)
    budget = memory_budget(model.device) if budget is None else budget
    return max(1, min(LARGEST_BATCH, budget // bytes_per_problem(model, longest)))


def bytes_per_problem(model: CodiModel, n_tokens: int) -> int:
    """What one problem with so many tokens takes at most while it is answered, weights left out; an estimate.

    Keys and values of question, thoughts and answer (twice, for a cache that grows is copied), the activations of one
    block over the whole question, its attention scores, and the logits of one token in float32.
    """
    stack, size = model.stack, torch.finfo(model.dtype).bits // 8
    length = min(stack.max_positions, n_tokens + model.n_thoughts + 2 + model.config.max_new_tokens)
    cache = 2 * 2 * stack.n_layers * stack.n_kv_heads * stack.head_dim * length
    inner = getattr(stack.hf.config, "intermediate_size", None) or 4 * stack.d_model
    block = n_tokens * (8 * stack.d_model + 3 * inner) + stack.n_heads * n_tokens * n_tokens
    return size * (cache + block) + 4 * 4 * stack.vocab_size


def bytes_per_slot(model: CodiModel) -> int:
    """Keys and values of one token at all layers."""
    stack = model.stack
    return 2 * stack.n_layers * stack.n_kv_heads * stack.head_dim * torch.finfo(model.dtype).bits // 8


def memory_budget(device: torch.device) -> int:
    """Bytes that a batch may take on a device."""
    if device.type == "cuda":
        return int(SHARE_OF_FREE * torch.cuda.mem_get_info(device)[0])
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system tells
        return CPU_BUDGET
    return min(CPU_BUDGET, int(SHARE_OF_FREE * free))


def _answer(model: CodiModel, problems: Sequence[Problem], padding: Padding) -> list[Completion] | None:
    """The answers of one batch; None where memory ran out."""
    try:
        return model.answer(problems, padding, len(problems))
    except RuntimeError as error:  # torch.OutOfMemoryError is one; the CPU's allocator raises the plain kind
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
    # out of the except block, for the error holds the tensors that filled the memory
    if model.device.type == "cuda":
        torch.cuda.empty_cache()
    return None


def _half(model: CodiModel, problems: Sequence[Problem], rows: Sequence[int]) -> int:
    if len(rows) == 1:
        raise ConfigError(
            f"Problem {problems[rows[0]].id!r} does not fit into the memory of {model.device} by itself.",
            "Free some memory, load the model as bfloat16, or leave the longest problems out.",
        )
    return (len(rows) + 1) // 2


def _cut(rows: tuple[int, ...], size: int) -> list[tuple[int, ...]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
