"""verify: greedy choices against clean answers, by hand."""

import pytest
import torch

from codi_int.errors import ConfigError
from codi_int.model.chain import Decoded
from codi_int.model.hooked import CodiModel
from codi_int.model.resume import make_resume_point
from codi_int.model.scoring import verify
from codi_int.types import Site


def clean_answers() -> Decoded:
    """Two answers over five words: [3, 1, 0] with its end token, [2] and padding behind."""
    ids = torch.tensor([[3, 1, 0], [2, 0, 0]])
    empty = torch.zeros(2, 3)
    return Decoded(ids, torch.tensor([3, 2]), torch.tensor([True, True]), empty, empty)


def logits_that_choose(choices: list[list[int]], margin: float = 1.0) -> torch.Tensor:
    logits = torch.zeros(len(choices), len(choices[0]), 5)
    for row, words in enumerate(choices):
        for step, word in enumerate(words):
            logits[row, step, word] = margin
    return logits


def test_agreement_counts_only_the_answers_own_tokens() -> None:
    found = verify(logits_that_choose([[3, 1, 0], [2, 0, 4]]), clean_answers(), torch.tensor([0, 1]), 0.1)
    assert found.changed.tolist() == [False, False]
    assert found.close.tolist() == [False, False]


def test_rows_are_compared_with_the_row_they_belong_to() -> None:
    found = verify(logits_that_choose([[2, 0, 4], [3, 1, 0], [3, 2, 0]]), clean_answers(), torch.tensor([1, 0, 0]), 0.1)
    assert found.changed.tolist() == [False, False, True]


def test_logprob_is_that_of_the_clean_tokens() -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    found = verify(logits, clean_answers(), torch.tensor([0, 1]), 0.1)
    by_hand = [
        sum(float(logits[0, step].log_softmax(-1)[word]) for step, word in enumerate([3, 1, 0])),
        sum(float(logits[1, step].log_softmax(-1)[word]) for step, word in enumerate([2, 0])),
    ]
    assert torch.allclose(found.logprobs, torch.tensor(by_hand), atol=1e-6)


def test_margin_is_the_least_preference_for_a_clean_token() -> None:
    logits = torch.zeros(2, 3, 5)
    # [3, 1, 0]: preferred by 2, by 0.5, and not at all: another word is better by 0.25
    logits[0, 0, 3], logits[0, 0, 1] = 3.0, 1.0
    logits[0, 1, 1] = 0.5
    logits[0, 2, 0], logits[0, 2, 4] = 1.0, 1.25
    # [2, 0]; behind it is filling
    logits[1, 0, 2], logits[1, 1, 0], logits[1, 2, 4] = 4.0, 1.5, 99.0
    found = verify(logits, clean_answers(), torch.tensor([0, 1]), 0.1)
    assert found.margins.tolist() == [-0.25, 1.5]


def test_close_choices_count_up_to_the_first_that_differs() -> None:
    logits = logits_that_choose([[3, 1, 0], [4, 0, 0]])
    logits[1, 1, 1] = 0.999
    assert verify(logits, clean_answers(), torch.tensor([0, 1]), 0.1).close.tolist() == [False, False]
    logits[0, 2, 4] = 0.999
    assert verify(logits, clean_answers(), torch.tensor([0, 1]), 0.1).close.tolist() == [True, False]
    logits[1, 0, 3] = 0.95
    assert verify(logits, clean_answers(), torch.tensor([0, 1]), 0.1).close.tolist() == [True, True]


@pytest.mark.parametrize("component", ["attn_out", "resid_mid", "head:1"])
def test_inside_the_last_block_no_later_key_or_value_is_made(llama: CodiModel, component: str) -> None:
    """The last block's own keys and values come before its attention's output: by the cache nothing can go on."""
    last = llama.n_layers - 1
    with pytest.raises(ConfigError, match=f"L{last}.P3.{component}"):
        make_resume_point(llama, Site(last, 3, component), "cache")
    assert make_resume_point(llama, Site(last - 1, 3, component), "cache").propagate == "cache"
