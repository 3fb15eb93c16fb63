"""Which rows run together: equally many of each problem, so that these share what they can."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from jaxtyping import Int
from torch import Tensor

ENOUGH_ROWS = 128
"""rows that are worth a chunk of their own: below it, what a call costs whatever it computes weighs too much"""
MOST_PROBLEMS = 128
"""problems of a chunk that takes them from several batches, for their keys and values are copied; as many as a batch"""
MOST_PROBLEMS_GPU = 1024
"""the same on a GPU, whose memory copies 2 GB of them in a millisecond"""


@dataclass(frozen=True)
class ChunkPart:
    """Problems of one batch."""

    batch: int
    """its number"""
    rows: Int[Tensor, " problems"]
    """which of its rows, in ascending order"""


@dataclass(frozen=True)
class Chunk:
    """Pairs that run together, equally many of each problem."""

    parts: tuple[ChunkPart, ...]
    """the problems, those of neighbouring batches after each other"""
    each: int
    """pairs of each problem"""
    pairs: Int[Tensor, " rows"]
    """problem by problem"""


@dataclass(frozen=True)
class _Piece:
    """Pairs of one problem that run together."""

    batch: int
    row: int
    pairs: tuple[int, ...]


def cut_chunks(
    pairs: Int[Tensor, " pairs"],
    batches: Int[Tensor, " pairs"],
    rows: Int[Tensor, " pairs"],
    max_rows: int,
    most_problems: int = MOST_PROBLEMS,
) -> list[Chunk]:
    """All pairs in chunks, which may hold problems of several batches.

    Problems that have equally many pairs, and enough of them, fill chunks of their own. All others are taken apart
    into powers of two, so that no row is run for nothing: of seven pairs four stand in one chunk, two and one in
    others. A batch fills chunks of its own first, which can read where its keys and values lie; what is left over joins
    what neighbouring batches have left.

    Args:
        pairs: their numbers.
        batches: the batch that each one starts from.
        rows: the row of that batch.
        max_rows: most rows of a chunk.
        most_problems: most problems of a chunk that takes them from several batches.
    """
    of_problem: dict[tuple[int, int], list[int]] = {}
    for pair, batch, row in zip(pairs.tolist(), batches.tolist(), rows.tolist(), strict=True):
        of_problem.setdefault((batch, row), []).append(pair)
    alike: dict[int, list[tuple[int, int]]] = {}
    # in the order of the batches: what neighbours share need not even be copied once
    for place in sorted(of_problem):
        alike.setdefault(len(of_problem[place]), []).append(place)
    by_size: dict[int, list[_Piece]] = {}
    for count, places in alike.items():
        whole = count <= max_rows and count * len(places) >= ENOUGH_ROWS
        sizes = [count] if whole else _powers_of_two(count, max_rows)
        for place in places:
            waiting = iter(of_problem[place])
            for size in sizes:
                piece = _Piece(*place, tuple(next(waiting) for _ in range(size)))
                by_size.setdefault(size, []).append(piece)
    return [chunk for size in sorted(by_size) for chunk in _chunks_of(size, by_size[size], max_rows, most_problems)]


def _powers_of_two(count: int, most: int) -> list[int]:
    """Powers of two that sum to `count`, the largest first, none above `most`."""
    sizes: list[int] = []
    while count:
        size = 1 << (min(count, most).bit_length() - 1)
        sizes.append(size)
        count -= size
    return sizes


def _chunks_of(each: int, pieces: Iterable[_Piece], max_rows: int, most_problems: int) -> Iterator[Chunk]:
    """Pieces of `each` pairs of one problem in chunks."""
    most = max(1, max_rows // each)
    left: list[_Piece] = []
    ordered = sorted(pieces, key=lambda piece: (piece.batch, piece.row))
    for _, of_batch in groupby(ordered, key=lambda piece: piece.batch):
        here = list(of_batch)
        full = len(here) // most * most
        yield from (_chunk(each, here[first : first + most]) for first in range(0, full, most))
        left += here[full:]
    joined = min(most, most_problems)
    yield from (_chunk(each, left[first : first + joined]) for first in range(0, len(left), joined))


def _chunk(each: int, pieces: Sequence[_Piece]) -> Chunk:
    parts = [
        ChunkPart(batch, torch.tensor([piece.row for piece in some]))
        for batch, some in groupby(pieces, key=lambda piece: piece.batch)
    ]
    return Chunk(tuple(parts), each, torch.tensor([pair for piece in pieces for pair in piece.pairs]))
