"""Which rows run together."""

import torch

from codi_int.interventions.engine.chunks import cut_chunks

Place = tuple[int, int]
"""batch and row"""


def cut(counts: dict[Place, int], max_rows: int = 512) -> list[tuple[int, list[Place], list[int]]]:
    """(each, problems, pairs) of every chunk, where the problem in a batch's row has so many pairs."""
    places = [place for place, count in counts.items() for _ in range(count)]
    pairs = torch.arange(len(places)) + 100
    batches, rows = torch.tensor(places).T
    chunks = cut_chunks(pairs, batches, rows, max_rows)
    found = []
    for chunk in chunks:
        problems = [(part.batch, row) for part in chunk.parts for row in part.rows.tolist()]
        listed = chunk.pairs.tolist()
        assert [places[pair - 100] for pair in listed] == [place for place in problems for _ in range(chunk.each)]
        found.append((chunk.each, problems, listed))
    assert sorted(pair for chunk in chunks for pair in chunk.pairs.tolist()) == pairs.tolist()
    assert all(len(chunk.pairs) <= max_rows for chunk in chunks)
    return found


def in_batch(batch: int, counts: dict[int, int]) -> dict[Place, int]:
    return {(batch, row): count for row, count in counts.items()}


def test_unequal_counts_are_taken_apart_into_powers_of_two() -> None:
    found = cut(in_batch(0, {4: 3, 2: 1, 9: 2}))
    assert found == [(1, [(0, 2), (0, 4)], [103, 102]), (2, [(0, 4), (0, 9)], [100, 101, 104, 105])]


def test_many_problems_with_equally_many_rows_stay_whole() -> None:
    found = cut(in_batch(0, dict.fromkeys(range(10), 13) | {20: 5}))
    assert [(each, len(problems)) for each, problems, _ in found] == [(1, 1), (4, 1), (13, 10)]
    assert [each for each, *_ in cut(in_batch(0, dict.fromkeys(range(9), 13)))] == [1, 4, 8]
    # wherever they stand
    spread = in_batch(0, dict.fromkeys(range(5), 13)) | in_batch(3, dict.fromkeys(range(5), 13))
    assert [(each, len(problems)) for each, problems, _ in cut(spread)] == [(13, 10)]


def test_no_chunk_is_larger_than_asked_for() -> None:
    found = cut(in_batch(0, dict.fromkeys(range(10), 13)), max_rows=30)
    assert [(each, len(problems)) for each, problems, _ in found] == [(13, 2)] * 5
    found = cut(in_batch(0, {3: 7}), max_rows=2)
    assert [(each, problems) for each, problems, _ in found] == [(1, [(0, 3)]), *[(2, [(0, 3)])] * 3]
    found = cut(in_batch(0, {3: 2, 4: 1}), max_rows=1)
    assert [(each, problems) for each, problems, _ in found] == [(1, [(0, 3)]), (1, [(0, 3)]), (1, [(0, 4)])]


def test_what_batches_leave_over_runs_together() -> None:
    # four rows of two problems fill a chunk: each batch fills one alone, and the odd ones of three batches join
    found = cut(in_batch(0, {0: 2, 1: 2, 5: 2}) | in_batch(1, {7: 2, 8: 2, 9: 2}) | in_batch(4, {0: 2}), max_rows=4)
    assert [problems for _, problems, _ in found] == [
        [(0, 0), (0, 1)],
        [(1, 7), (1, 8)],
        [(0, 5), (1, 9)],
        [(4, 0)],
    ]


def test_problems_that_are_copied_are_as_many_as_a_batch_holds() -> None:
    found = cut({(batch, row): 1 for batch in range(4) for row in range(100)})
    assert [len(problems) for _, problems, _ in found] == [128, 128, 128, 16]
    assert [len({batch for batch, _ in problems}) for _, problems, _ in found] == [2, 2, 2, 1]
