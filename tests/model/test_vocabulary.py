"""Words that a tokenizer does not know are counted by question; hooks that change nothing are told."""

import warnings
from dataclasses import replace
from typing import Any

import pytest

from codi_int.errors import CodiWarning
from codi_int.model.vocabulary import vocabulary_notes
from codi_int.types import Problem, Site

QUESTIONS = ("Tom has 3 zebras and 4 zebras.", "Tom has 3 apples.", "Ann has 2 kayaks and zebras.")
PROBLEMS = tuple(Problem(f"q{i}", text, 7, ()) for i, text in enumerate(QUESTIONS))


@pytest.fixture(scope="module")
def mini() -> Any:
    import codi_int

    return codi_int.load_model("codi-mini")


def test_questions_with_unknown_words_are_counted_and_the_words_named(mini: Any) -> None:
    (note,) = vocabulary_notes(mini, PROBLEMS)
    assert note.startswith("2 of 3 questions hold words that codi-mini does not know (zebras, kayaks):")
    assert vocabulary_notes(mini, PROBLEMS[1:2]) == ()
    assert vocabulary_notes(mini, ()) == ()


def test_blanks_are_cleaned_as_the_model_cleans_them(mini: Any) -> None:
    (note,) = vocabulary_notes(mini, [replace(PROBLEMS[0], question="  Tom has  3 zebras. ")])
    assert "(zebras)" in note


def test_an_end_token_that_is_also_the_unknown_one_says_nothing(mini: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini, "config", replace(mini.config, eos_id=mini.tokenizer.unk_token_id))
    assert vocabulary_notes(mini, PROBLEMS) == ()


def write_in_place(tensor: Any, context: Any) -> Any:
    return tensor.zero_()


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        (lambda tensor, context: tensor, True),
        (lambda tensor, context: 1.0 * tensor, True),
        (lambda tensor, context: None, False),
        (lambda tensor, context: -tensor, False),
        # zero for the first batch of one length, and not for the next
        (lambda tensor, context: tensor + len(context.problem_ids) - 1, False),
        (write_in_place, False),
    ],
)
def test_a_hook_that_changes_nothing_is_told_once(mini: Any, hook: Any, told: bool) -> None:
    texts = ("Tom has 3 apples.", "Tom has 3 apples and 2 apples.", "Tom has 4 apples and 2 apples.")
    problems = [Problem(f"q{i}", text, 7, ()) for i, text in enumerate(texts)]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with mini.hooks({Site(14, 3): hook}):
            mini.think(problems)
            mini.think(problems)
    found = [(one.category, str(one.message), one.filename) for one in seen]
    words = "The hook at L14.P3 changed nothing: every tensor that came back was the one that was handed over."
    assert found == ([(CodiWarning, words, __file__)] if told else [])
