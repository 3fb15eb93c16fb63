"""Stories unlike those of training: in one way each, and in no other."""

import pytest

from codi_int.data import stories
from codi_int.data import wordings as w
from codi_int.data.chains import chain_of
from codi_int.data.story_tokenizer import build_tokenizer

SOME = 300


@pytest.mark.parametrize("split", stories.SHIFTED_SPLITS)
def test_nothing_is_taken_from_other_splits(split: str) -> None:
    whole = stories.load_stories(split)
    assert len({problem.question for problem in whole}) == len(whole) == 1495
    assert not {problem.question for problem in whole} & stories.held_out_texts()
    chains = {chain_of(p) for part in stories.held_out().values() for p in part if len(p.steps) > 1}
    assert not chains & {chain_of(problem) for problem in whole}
    assert stories.load_stories(split, 7) == whole[:7]


@pytest.mark.parametrize("split", stories.SHIFTED_SPLITS)
def test_the_vocabulary_is_that_of_training_and_steps_are_right(split: str) -> None:
    tokenizer = build_tokenizer()
    unknown = tokenizer.convert_tokens_to_ids("<unk>")
    for problem in stories.load_stories(split, SOME):
        assert unknown not in tokenizer(problem.question)["input_ids"]
        assert problem.answer == problem.steps[-1].result
        assert all(stories.calculate(s.left, s.operation, s.right) == s.result for s in problem.steps)


def test_operands_are_rare_ones() -> None:
    def share(split: str) -> float:
        right = [step.right for problem in stories.load_stories(split, SOME) for step in problem.steps]
        return sum(number not in w.NUMBER_WEIGHTS for number in right) / len(right)

    assert share("validation") < 0.15
    assert share("shifted-operands") > 0.5


def test_steps_are_five() -> None:
    assert stories.SHORT.max_steps < stories.MORE_STEPS
    assert {len(problem.steps) for problem in stories.load_stories("shifted-steps", SOME)} == {stories.MORE_STEPS}


def test_every_sentence_has_other_words_with_the_same_blanks() -> None:
    sentences = [one.text for book in (w.OPENINGS, w.CONTINUATIONS) for several in book.values() for one in several]
    sentences += [*w.QUESTIONS, *w.TOGETHER, *w.DIFFERENCE, *w.POOLING, *w.HOLDING, *w.TWO_PRODUCTS]
    assert set(w.REWORDED) == set(sentences)
    assert not set(w.REWORDED.values()) & set(sentences)
    for before, after in w.REWORDED.items():
        for operand in ("{a}", "{b}", "{d}", "{e}"):
            assert before.count(operand) == after.count(operand), before
    texts = [problem.question for problem in stories.load_stories("shifted-wording", SOME)]
    assert not any(" They " in text for text in texts)
