"""The longer stories: up to six steps and 999, of their own streams; codi-mini's stories are not touched by them."""

import hashlib
from collections import Counter
from fractions import Fraction

import pytest

from codi_int.catalog import data_names
from codi_int.data import stories
from codi_int.data.problems import Problems, as_problems, load_problems
from codi_int.data.story_kinds import LONG, SHORT, story_kind
from codi_int.errors import DataError
from codi_int.interventions.screens.sides import _default


@pytest.fixture(scope="module")
def sample():
    return [stories.story("train", index, kind=LONG) for index in range(1500)]


def test_steps_calculate_and_reach_999(sample):
    for problem in sample:
        for s in problem.steps:
            exact = {
                "addition": Fraction(s.left + s.right),
                "subtraction": Fraction(s.left - s.right),
                "multiplication": Fraction(s.left * s.right),
                "division": Fraction(s.left, s.right or 1),
            }
            assert s.result == exact[s.operation]
            assert all(0 <= n <= 999 for n in (s.left, s.right, s.result))
        assert problem.answer == problem.steps[-1].result
    assert max(problem.answer for problem in sample) > 900
    assert sum(problem.answer > 99 for problem in sample) > 500


def test_one_to_six_steps_in_the_promised_shares(sample):
    counts = Counter(len(problem.steps) for problem in sample)
    assert set(counts) == set(LONG.step_weights)
    for steps, share in LONG.step_weights.items():
        assert counts[steps] / len(sample) == pytest.approx(share, abs=0.03), steps


def test_operations_have_the_shares_of_gsm8ks_steps_up_to_999(sample):
    counts = Counter(s.operation for p in sample for s in p.steps)
    share = {operation: n / sum(counts.values()) for operation, n in counts.items()}
    measured = {"multiplication": 0.38, "addition": 0.24, "subtraction": 0.21, "division": 0.17}
    assert share == pytest.approx(measured, abs=0.03)


def test_a_result_is_used_by_a_later_step(sample):
    for problem in sample:
        for number, step in enumerate(problem.steps[:-1], 1):
            later = [n for s in problem.steps[number:] for n in (s.left, s.right)]
            assert step.result in later, problem


def test_two_quantities_are_put_together_early_and_late(sample):
    """In six steps the joining, whose operands are both results, stands at many places."""
    places = Counter()
    for problem in sample:
        if len(problem.steps) == 6:
            results = [s.result for s in problem.steps]
            places.update(
                i
                for i, s in enumerate(problem.steps)
                if s.operation == "addition" and i > 1 and s.right == results[i - 1] and s.left in results[: i - 1]
            )
    assert len(places) >= 3


def test_the_split_stays_the_same_between_versions_and_machines():
    first = stories.load_stories("validation", 400, LONG)
    digest = hashlib.sha256(repr([(p.question, p.steps) for p in first]).encode()).hexdigest()
    assert digest == "88965f10492aecc1110f1978946126c9c9f4c30619714582a90802f1b329a8ac"
    assert first[0].id == "stories-6/held-out-0"


def test_streams_of_the_two_kinds_are_other_ones(sample):
    assert stories.story("train", 3, kind=LONG) == sample[3]
    assert stories.story("train", 3).id == "train-3"
    assert stories.story("train", 3).question != sample[3].question
    assert stories.load_stories("validation", 5) == stories.load_stories("validation", 5, SHORT)


def test_training_leaves_out_the_held_out_texts_of_its_kind(monkeypatch):
    first = stories.story("train", 0, kind=LONG)
    asked = []
    monkeypatch.setattr(stories, "held_out_texts", lambda kind: asked.append(kind) or frozenset({first.question}))
    assert next(stories.training_stories(kind=LONG)).id == "stories-6/train-1"
    assert asked == [LONG]


def test_they_are_loaded_by_name():
    problems = load_problems("stories-6:validation", limit=3)
    assert problems.name == "stories-6:validation"
    assert problems == stories.load_stories("validation", 3, LONG)
    assert load_problems("stories-6", limit=1).name == "stories-6:validation"
    assert {"stories-6:validation", "stories-6:sae", "stories-6:confirmation", "stories-6:train"} <= set(data_names())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stories-6:shifted-steps", "stories-6:shifted-steps does not exist"),
        ("stories-6:train", "stories-6:train has no end"),
        ("stories-7:validation", "There is no data set 'stories-7:validation'"),
    ],
)
def test_what_does_not_exist_is_refused_in_two_lines(name, message):
    with pytest.raises(DataError, match=message) as caught:
        load_problems(name)
    assert len(str(caught.value).splitlines()) == 2


def test_a_kind_that_does_not_exist_is_refused():
    with pytest.raises(DataError, match=r"kind 'stories-9'.*\n.*stories, stories-6"):
        story_kind("stories-9")
    with pytest.raises(DataError, match="is the name of a data set, no question"):
        as_problems("stories-6:validation")


def test_they_are_confirmed_by_stories_of_their_kind():
    one = stories.load_stories("validation", 1, LONG)
    assert _default(Problems(one, "stories-6:validation")) == "stories-6:confirmation"
    assert _default(Problems(one, "stories-6:confirmation/3[0:1]")) == "stories-6:confirmation/4"
    assert _default(Problems(one, "stories-60:validation")) == "folds"
