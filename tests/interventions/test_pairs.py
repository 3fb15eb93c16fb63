"""Pairs from files, with every way to get one wrong, and pairs that are found."""

from pathlib import Path

import pytest

from codi_int.data.reexecution import number_range, put_result
from codi_int.data.stories import load_stories
from codi_int.errors import ConfigError, DataError
from codi_int.interventions.patching.pairs import find_pairs, random_sources, read_pairs, third_value_sources
from codi_int.types import Problem

STORIES = load_stories("validation", limit=200)
FOUR = tuple(Problem(name, "How many?", 1, ()) for name in ("a", "b", "c", "7"))
AB = '{"target": "a", "source": "b"}\n'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pairs.jsonl", '{"target": "a", "source": "c"}\n\n{"target": "c", "source": 7}\n'),
        ("pairs.csv", "target,source\na,c\nc,7\n"),
        ("pairs.csv", "source,why,target\nc,because,a\n 7 ,,c\n"),
    ],
)
def test_files_are_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    pairing = read_pairs(tmp_path / name, FOUR)
    assert (pairing.sources, pairing.n_pairs) == ((2, -1, 3, -1), 2)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("p.jsonl", AB + '{"target": "x", "source": "b"}\n', "line 2: no problem has the id 'x'"),
        ("p.jsonl", '{"target": "a", "source": "z"}\n', "line 1: no problem has the id 'z'"),
        ("p.jsonl", '{"target": "a", "source": "a"}\n', "line 1: 'a' is paired with itself"),
        ("p.jsonl", AB + '\n{"target": "a", "source": "c"}\n', "line 3: the target 'a' stands in line 1"),
        ("p.jsonl", '{"target": "a"}\n', "line 1: 'target' and 'source' are wanted, got target"),
        ("p.jsonl", '{"target": "a", "source": null}\n', "line 1: 'target' and 'source' are wanted"),
        ("p.jsonl", "a,b\n", "line 1: no JSON"),
        ("p.jsonl", '["a", "b"]\n', "line 1: an object is wanted, not list"),
        ("p.jsonl", "\n", "holds no pairs"),
        ("p.csv", "target,source\na,b\nb,b\n", "line 3: 'b' is paired with itself"),
        ("p.jsonl", '{"target": "a", "\\u2028": 1}\n', r"got target, \\u2028\."),
        ("p.csv", "a,b\nb,c\n", "line 2: 'target' and 'source' are wanted, got a, b"),
        ("p.csv", "target,source\na\n", "line 2: 'target' and 'source' are wanted"),
        ("p.csv", "target,source\n", "holds no pairs"),
        ("p.csv", None, "cannot be read"),
    ],
)
def test_files_that_are_wrong_name_the_line(tmp_path: Path, name: str, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=says) as refused:
        read_pairs(tmp_path / name, FOUR)
    assert len(str(refused.value).splitlines()) == 2 or "list" in says


@pytest.mark.parametrize("step", [1, 2, 3])
def test_same_pairs_agree_in_the_step_and_differ_in_the_answer_where_they_can(step: int) -> None:
    pairing = find_pairs(STORIES, "same", step)
    assert pairing.n_pairs > 15
    pairs = [(STORIES[t], STORIES[s]) for t, s in enumerate(pairing.sources) if s >= 0]
    assert all(t.id != s.id and t.steps[step - 1].result == s.steps[step - 1].result for t, s in pairs)
    assert all(t.steps[step - 1].operation == s.steps[step - 1].operation for t, s in pairs)
    if step == 1:
        assert sum(t.answer != s.answer for t, s in pairs) > 0.6 * len(pairs)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_different_pairs_predict_another_answer(step: int) -> None:
    pairing = find_pairs(STORIES, "different", step)
    numbers = number_range(STORIES)
    pairs = [(STORIES[t], STORIES[s]) for t, s in enumerate(pairing.sources) if s >= 0]
    assert len(pairs) > 0.8 * sum(len(p.steps) >= step for p in STORIES)
    for target, source in pairs:
        again = put_result(target.steps, step - 1, source.steps[step - 1].result, numbers)
        assert again.answer not in (None, target.answer)
    assert sum(pairing.matched.values()) == pairing.n_pairs


def test_the_best_match_comes_first() -> None:
    pairing = find_pairs(STORIES, "different", 1)
    assert pairing.matched["the same operations in the same order"] > 0.4 * pairing.n_pairs


def test_pairs_are_seeded() -> None:
    first, again, other = (find_pairs(STORIES[:60], "different", 2, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("kind", "step", "says"),
    [
        ("equal", 1, "Kinds: same, different"),
        ("same", 5, "No problem has a step 5; the longest has 4"),
        ("same", 0, "No problem has a step 0"),
    ],
)
def test_pairs_that_cannot_be_found_teach(kind: str, step: int, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        find_pairs(STORIES, kind, step)


def test_no_pair_at_all_is_said() -> None:
    with pytest.raises(ConfigError, match="No two problems have the same result in step 1"):
        find_pairs(STORIES[:1], "same", 1)


def test_pairs_of_the_same_value_share_no_operand_unless_asked() -> None:
    def sharing(shared: bool) -> list[bool]:
        found = find_pairs(STORIES, "same", 1, shared_operands=shared)
        ends = [(STORIES[t].steps[0], STORIES[s].steps[0]) for t, s in enumerate(found.sources) if s >= 0]
        return [bool({a.left, a.right} & {b.left, b.right}) for a, b in ends]

    assert len(sharing(False)) > 50
    assert not any(sharing(False))
    assert any(sharing(True))


@pytest.mark.parametrize("kind", ["same", "different"])
def test_control_sources_have_a_third_value_and_the_same_match(kind: str) -> None:
    pairing = find_pairs(STORIES, kind, 1)
    drawn = third_value_sources(STORIES, pairing.sources, 1, 5, seed=0)
    in_class = 0
    for sources in drawn:
        for target, (real, control) in enumerate(zip(pairing.sources, sources, strict=True)):
            assert (real < 0) == (control < 0)
            if real < 0:
                continue
            results = {STORIES[row].steps[0].result for row in (target, real)}
            assert STORIES[control].steps[0].result not in results
            order = [_order(STORIES[row]) for row in (target, real, control)]
            thirds = [p for p in STORIES if _order(p) == order[0] and p.steps[0].result not in results]
            # where somebody of the same order has a third result, nobody else is taken
            if order[0] == order[1] and thirds:
                in_class += 1
                assert order[2] == order[0]
    assert in_class > 50
    assert drawn == third_value_sources(STORIES, pairing.sources, 1, 5, seed=0)
    assert len(set(drawn)) == 5


def _order(problem: Problem) -> list[str]:
    return [step.operation for step in problem.steps]


def test_controls_that_cannot_be_teach() -> None:
    two = [STORIES[row] for row in (0, 1)]
    with pytest.raises(ConfigError, match="No problem has a third result of step 1"):
        third_value_sources(two, (1, 0), 1, 1)
    assert third_value_sources(two, (1, 0), 1, 0) == ()


def test_random_sources_are_other_problems() -> None:
    own = (3, -1, 0, 1, 2)
    drawn = random_sources(own, 400, seed=0)
    for row, source in enumerate(own):
        got = {sources[row] for sources in drawn}
        assert got == ({-1} if source < 0 else set(range(5)) - {row, source})
    assert drawn == random_sources(own, 400, seed=0)
    assert random_sources((1, 0), 0) == ()
    with pytest.raises(ConfigError, match="take a third problem"):
        random_sources((1, 0), 1)
