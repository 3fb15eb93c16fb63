"""Which rows run together."""

import torch

from codi_int.interventions.engine.chunks import cut_chunks


def cut(counts: dict[int, int], max_rows: int = 512) -> list[tuple[int, list[int], list[int]]]:
    """(each, rows of the batch, pairs) of every chunk, where row r of the batch has so many pairs."""
    starts = torch.tensor([row for row, count in counts.items() for _ in range(count)])
    chunks = cut_chunks(torch.arange(len(starts)) + 100, starts, max_rows)
    for chunk in chunks:
        assert [int(starts[pair - 100]) for pair in chunk.pairs] == chunk.branches.rows.tolist()
    assert sorted(pair for chunk in chunks for pair in chunk.pairs.tolist()) == [100 + i for i in range(len(starts))]
    assert all(len(chunk.pairs) <= max_rows for chunk in chunks)
    return [(c.branches.each, c.branches.problems.tolist(), c.pairs.tolist()) for c in chunks]


def test_unequal_counts_are_taken_apart_into_powers_of_two() -> None:
    assert cut({4: 3, 2: 1, 9: 2}) == [(1, [2, 4], [103, 102]), (2, [4, 9], [100, 101, 104, 105])]


def test_many_problems_with_equally_many_rows_stay_whole() -> None:
    found = cut(dict.fromkeys(range(10), 13) | {20: 5})
    assert [(each, rows) for each, rows, _ in found] == [(1, [20]), (4, [20]), (13, list(range(10)))]
    assert [each for each, *_ in cut(dict.fromkeys(range(9), 13))] == [1, 4, 8]


def test_no_chunk_is_larger_than_asked_for() -> None:
    found = cut(dict.fromkeys(range(10), 13), max_rows=30)
    assert [(each, len(rows)) for each, rows, _ in found] == [(13, 2)] * 5
    assert [(each, rows) for each, rows, _ in cut({3: 7}, max_rows=2)] == [(1, [3]), (2, [3]), (2, [3]), (2, [3])]
    assert [(each, rows) for each, rows, _ in cut({3: 2, 4: 1}, max_rows=1)] == [(1, [3]), (1, [3]), (1, [4])]
