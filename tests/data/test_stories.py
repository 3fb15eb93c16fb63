"""The stories: reproducible, disjoint, arithmetically right, with the statistics that the generator promises."""

import hashlib
from collections import Counter
from fractions import Fraction

import pytest

from codi_int.data import stories
from codi_int.data.problems import load_problems
from codi_int.errors import DataError

SIGN = {"addition": "+", "subtraction": "-", "multiplication": "*", "division": "/"}


@pytest.fixture(scope="module")
def sample():
    return stories.load_stories("train", 4000)


def test_a_story_is_a_pure_function_of_stream_and_index():
    assert stories.story("train", 17) == stories.story("train", 17)
    assert stories.story("train", 17) != stories.story("train", 18)
    assert stories.story("train", 3).question.startswith(stories.story("train", 3).question.split()[0])


def test_known_story_stays_the_same_between_versions_and_machines():
    problem = stories.load_stories("validation", 1)[0]
    assert problem.id == "held-out-0"
    assert problem.answer == problem.steps[-1].result
    assert {split: stories.problems_fingerprint(split) for split in stories.FINGERPRINTS} == stories.FINGERPRINTS
    assert set(stories.FINGERPRINTS) == {
        *("validation", "sae", "confirmation", "confirmation/2"),
        *stories.SHIFTED_SPLITS,
    }


def test_held_out_splits_have_the_published_sizes_and_share_no_text(sample):
    validation, sae = stories.load_stories("validation"), stories.load_stories("sae")
    assert (len(validation), len(sae)) == (1495, 5978)
    texts = [p.question for p in (*validation, *sae)]
    assert len(set(texts)) == len(texts)
    assert not set(texts) & {p.question for p in sample}


def test_confirmation_shares_no_text_and_no_longer_chain_with_what_selects():
    """Chains are compared as steps here, not by the function that the generator itself uses."""
    draws = [stories.load_stories(name) for name in ("confirmation", "confirmation/2", "confirmation/3")]
    assert [len(draw) for draw in draws] == [1495] * 3
    selecting = [*stories.load_stories("validation"), *stories.load_stories("sae")]
    texts = [p.question for split in (selecting, *draws) for p in split]
    assert len(set(texts)) == len(texts)
    chains = {p.steps for p in selecting}
    for draw in draws:
        assert not chains & {p.steps for p in draw if len(p.steps) > 1}
        assert len({p.id for p in draw}) == 1495
        assert Counter(len(p.steps) for p in draw).keys() == {1, 2, 3, 4}
    # single calculations are the same ones, or the split would hold other problems
    assert chains & {p.steps for p in draws[0] if len(p.steps) == 1}


def test_confirmation_by_name_is_what_the_name_says():
    assert stories.load_stories("confirmation", 3) == stories.load_stories("confirmation")[:3]
    assert stories.load_stories("confirmation/2", 1)[0].id.startswith("confirmation/2-")
    assert load_problems("stories:confirmation/2", limit=2).name == "stories:confirmation/2"


@pytest.mark.parametrize(
    "split", ["confirmation/1", "confirmation/0", "confirmation/02", "confirmation/", "confirmation/x"]
)
def test_a_draw_has_one_name(split):
    with pytest.raises(DataError, match=r"no split .*confirmation"):
        stories.load_stories(split)


def test_training_leaves_out_a_text_that_is_held_out(monkeypatch):
    first = stories.story("train", 0).question
    monkeypatch.setattr(stories, "held_out_texts", lambda kind: frozenset({first}))
    assert next(stories.training_stories()).id == "train-1"


def test_steps_calculate_and_stay_in_range(sample):
    for problem in sample:
        for s in problem.steps:
            value = {"+": s.left + s.right, "-": s.left - s.right, "*": s.left * s.right}.get(SIGN[s.operation])
            assert s.result == (Fraction(s.left, s.right) if s.operation == "division" else value)
            assert all(0 <= n <= 99 for n in (s.left, s.right, s.result))
        assert problem.answer == problem.steps[-1].result


def test_every_step_but_the_last_is_used_and_every_number_of_the_text_counts(sample):
    for problem in sample:
        results = [s.result for s in problem.steps[:-1]]
        operands = [n for s in problem.steps for n in (s.left, s.right)]
        assert all(operands.count(r) >= 1 for r in results), problem


def test_operations_have_gsm8ks_shares(sample):
    counts = Counter(s.operation for p in sample for s in p.steps)
    share = {operation: n / sum(counts.values()) for operation, n in counts.items()}
    measured = {"multiplication": 0.42, "addition": 0.22, "subtraction": 0.19, "division": 0.17}
    assert share == pytest.approx(measured, abs=0.025)


def test_small_numbers_lead_as_in_gsm8k(sample):
    operands = Counter(n for p in sample for s in p.steps for n in (s.left, s.right))
    leading = {n for n, _ in operands.most_common(12)}
    assert len(leading & {2, 3, 4, 5, 10, 20, 6, 12, 8, 30, 60, 15}) >= 10
    assert operands.most_common(3)[0][0] == 2
    assert set(range(1, 100)) <= set(operands)


def test_stories_of_one_to_four_steps_of_both_kinds(sample):
    steps = Counter(len(p.steps) for p in sample)
    assert set(steps) == {1, 2, 3, 4}
    assert min(steps.values()) > 0.12 * len(sample)
    products_then_sum = [
        p for p in sample if [s.operation for s in p.steps] == ["multiplication", "multiplication", "addition"]
    ]
    branching = [p for p in products_then_sum if p.steps[2].left == p.steps[0].result]
    assert len(branching) > 50


def test_wrong_split_and_endless_train_are_refused():
    with pytest.raises(DataError, match="no split 'test'"):
        stories.load_stories("test")
    with pytest.raises(DataError, match="has no end"):
        stories.load_stories("train")


def test_the_stories_are_those_that_codi_mini_and_its_saes_were_made_with():
    """Every number in the docs speaks of these problems; a change of the generator makes them other ones."""
    problems = stories.load_stories("validation")
    digest = hashlib.sha256(repr([(p.question, p.steps) for p in problems]).encode()).hexdigest()
    assert len(problems) == 1495
    assert digest == "a5c76339fad4e67b5fff0e5ebcc5c37597394644d1112e9d9d7834fb8ae76c35"


def test_nothing_is_divided_by_nothing():
    assert stories.calculate(6, "division", 0) is None
    assert stories.calculate(0, "division", 6) == 0
    assert stories.calculate(7, "division", 2) is None
