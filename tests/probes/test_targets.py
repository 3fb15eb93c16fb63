"""Targets as they are typed, labels of problems, the control task, and what cannot be probed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from codi_int.errors import ConfigError
from codi_int.probes.targets import Labels, Target, label_problems, parse_target, question_note
from codi_int.types import Problem


def labels_of(text: str, problems: Sequence[Problem], correct: Sequence[bool] | None = None) -> Labels:
    return label_problems(parse_target(text), problems, correct)


def assert_refused(says: str, text: str, problems: Sequence[Problem], **more: Sequence[bool]) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        labels_of(text, problems, **more)
    assert len(str(caught.value).splitlines()) == 2


def test_targets_are_read_as_they_are_typed() -> None:
    assert parse_target("operation:1") == Target("operation", 1)
    assert parse_target("n_steps") == Target("n_steps", None)
    for text in ("result:2", "answer"):
        assert (str(parse_target(text)), parse_target(text).kind) == (text, "numbers")
    for text in ("operation", "operation:0", "n_steps:1", "result:x", "sum:1", "", "result:-1"):
        with pytest.raises(ConfigError, match="operation:N"):
            parse_target(text)


def test_labels_are_those_of_the_steps(stories: Sequence[Problem]) -> None:
    found = labels_of("operation:1", stories)
    assert [found.classes[int(value)] for value in found.values] == [p.steps[0].operation for p in stories]
    assert list(found.types) == [p.steps[0].left for p in stories]
    second = labels_of("result:2", stories)
    assert list(second.values) == [p.steps[1].result for p in stories if len(p.steps) > 1]
    assert [stories[i].steps[1].result for i in second.rows] == list(second.values)
    assert list(second.types) == list(second.values)
    steps = labels_of("n_steps", stories)
    assert [steps.classes[int(value)] for value in steps.values] == [str(len(p.steps)) for p in stories]
    right = [i % 3 > 0 for i in range(len(stories))]
    assert labels_of("correct", stories, right).classes == ("right", "wrong")


def test_a_target_that_stands_in_the_question_is_said(stories: Sequence[Problem]) -> None:
    (note,) = question_note(labels_of("left:1", stories))
    assert "left:1 stands in the question of" in note
    assert question_note(labels_of("operation:1", stories)) == ()
    hidden = [replace(p, question=f"{p.question} 3.{int(p.answer)}7 x{int(p.answer)}") for p in stories]
    # parts of other numbers and words are no such number
    before, after = (labels_of("answer", group).in_question for group in (stories, hidden))
    assert before == after


def test_control_labels_depend_on_the_type_alone(stories: Sequence[Problem]) -> None:
    found = labels_of("operation:1", stories)
    given = found.control(0, seed=0)
    assert set(given) == set(found.types)
    assert given == found.control(0, seed=0)
    assert given != found.control(1, seed=0)
    assert set(given.values()) == set(found.values), "no class is missing"
    share = Counter(given.values())[0.0] / len(given)
    assert abs(share - (found.values == 0).mean()) < 0.15
    numbers = labels_of("answer", stories)
    swapped = numbers.control(0, seed=0)
    assert sorted(swapped.values()) == sorted(swapped)
    assert any(value != given for value, given in swapped.items())


def test_what_cannot_be_probed_is_refused_in_two_lines(stories: Sequence[Problem]) -> None:
    bare = [replace(p, steps=()) for p in stories]
    assert_refused("needs written steps, and none", "operation:1", bare)
    assert_refused("needs written steps, and none", "n_steps", bare)
    assert labels_of("answer", bare).rows.size == len(stories)
    assert_refused(r"0 of 80 problems have a target result:9 \(the longest has 4\)", "result:9", stories)
    one = [p for p in stories if p.steps[0].operation == "addition"]
    other = next(p for p in stories if p.steps[0].operation == "division")
    assert_refused("is addition in all", "operation:1", one * 3)
    assert_refused("Class division of target operation:1 has 1 of", "operation:1", [*one * 3, other])
    assert_refused("answer is 7 in all", "answer", [replace(p, answer=7) for p in stories])
    assert_refused("is right in all", "correct", stories, correct=[True] * len(stories))
