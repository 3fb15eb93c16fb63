"""Which rows run together: equally many of each problem, so that these share what they can."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from codi_int.model.branch import Branches

ENOUGH_ROWS = 128
"""rows that are worth a chunk of their own: below it, what a call costs whatever it computes weighs too much"""


@dataclass(frozen=True)
class Chunk:
    """Pairs that run together, equally many of each problem."""

    branches: Branches
    """rows of the batch that the pairs start from"""
    pairs: Int[Tensor, " rows"]
    """problem by problem"""


def cut_chunks(pairs: Int[Tensor, " pairs"], starts: Int[Tensor, " pairs"], max_rows: int) -> list[Chunk]:
    """Pairs of one batch in chunks.

    Problems that have equally many pairs, and enough of them, fill chunks of their own. All others are taken apart
    into powers of two, so that no row is run for nothing: of seven pairs four stand in one chunk, two and one in
    others.

    Args:
        pairs: their numbers.
        starts: the row of the batch that each one starts from.
        max_rows: most rows of a chunk.
    """
    of_problem: dict[int, list[int]] = {}
    for pair, start in zip(pairs.tolist(), starts.tolist(), strict=True):
        of_problem.setdefault(start, []).append(pair)
    alike: dict[int, list[int]] = {}
    # in the order of the batch: what neighbours share need not even be copied once
    for start in sorted(of_problem):
        alike.setdefault(len(of_problem[start]), []).append(start)
    by_size: dict[int, list[tuple[int, list[int]]]] = {}
    for count, rows in alike.items():
        sizes = [count] if count <= max_rows and count * len(rows) >= ENOUGH_ROWS else _powers_of_two(count, max_rows)
        for row in rows:
            waiting = iter(of_problem[row])
            for size in sizes:
                by_size.setdefault(size, []).append((row, [next(waiting) for _ in range(size)]))
    return [chunk for size in sorted(by_size) for chunk in _chunks_of(size, sorted(by_size[size]), max_rows)]


def _powers_of_two(count: int, most: int) -> list[int]:
    """Powers of two that sum to `count`, the largest first, none above `most`."""
    sizes: list[int] = []
    while count:
        size = 1 << (min(count, most).bit_length() - 1)
        sizes.append(size)
        count -= size
    return sizes


def _chunks_of(each: int, pieces: Sequence[tuple[int, list[int]]], max_rows: int) -> list[Chunk]:
    """Pieces of `each` pairs of one problem in chunks."""
    n = max(1, max_rows // each)
    chunks = []
    for first in range(0, len(pieces), n):
        some = pieces[first : first + n]
        branches = Branches(torch.tensor([start for start, _ in some]), each)
        chunks.append(Chunk(branches, torch.tensor([pair for _, part in some for pair in part])))
    return chunks
