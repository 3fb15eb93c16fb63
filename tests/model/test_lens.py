"""The thought lens against plain Hugging Face modules, TransformerLens' bridge and counts made by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.stats import binomtest

from codi_int.errors import ConfigError, DataError
from codi_int.model.lens import lens_frequencies, lens_grid, number_tokens, read_residuals
from codi_int.types import Problem, Step


def plain_softmax(hf: Any, residual: torch.Tensor) -> torch.Tensor:
    """Final norm, unembedding and softmax by Hugging Face's own modules."""
    norm = hf.transformer.ln_f if hf.config.model_type == "gpt2" else hf.model.norm
    return hf.lm_head(norm(residual)).softmax(-1)


def stories() -> list[Problem]:
    """Two results each; one intermediate result stands in its question, one is the answer too, one has three digits."""
    chains = [(3, 4, 2), (5, 6, 3), (7, 8, 2), (9, 1, 4), (6, 5, 2), (50, 60, 1), (4, 4, 0)]
    out = []
    for i, (a, b, c) in enumerate(chains):
        first = Step(a, "addition", b, a + b)
        last = Step(a + b, "subtraction", c, a + b - c)
        text = f"Tom has {a} apples and {b} more and gives {c} away."
        out.append(Problem(f"s{i}", text if i != 1 else text + " 11 left.", a + b - c, (first, last)))
    return out


def test_every_place_equals_norm_and_head_of_hugging_face(model: Any, problems: list[Any]) -> None:
    residuals = model.think(problems[:2], capture="all").residuals
    found = read_residuals(model, residuals, 4)
    expected = plain_softmax(model.hf, residuals).topk(4)
    torch.testing.assert_close(found.probabilities, expected.values, rtol=1e-4, atol=1e-6)
    assert (found.ids == expected.indices).float().mean() > 0.99
    grid = lens_grid(model, problems[0], top=4)
    assert [t.id for t in grid.tokens[2][3]] == found.ids[0, 2, 3].tolist()
    assert grid.tokens[2][3][0].text == model.tokenizer.decode([int(found.ids[0, 2, 3, 0])])


def test_it_equals_transformer_lens_unembed(llama: Any, problems: list[Any]) -> None:
    bridge = llama.to_transformer_lens()
    residuals = llama.think(problems[:1], capture="all").residuals
    found = read_residuals(llama, residuals, 3)
    expected = bridge.unembed(bridge.ln_final(residuals[0])).softmax(-1).topk(3)
    torch.testing.assert_close(found.probabilities[0], expected.values, rtol=1e-4, atol=1e-6)


def test_frequencies_equal_a_count_by_hand(llama: Any) -> None:
    problems = stories()
    seen = []
    report = lens_frequencies(llama, problems, top=20, batch_size=2, progress=lambda *heard: seen.append(heard))
    step, answer = report.groups
    # s1's 11 stands in its question, s6's 8 is its answer too, s5's 110 is no token of the stories' vocabulary
    assert (step.name, step.n, step.n_given_away, step.n_not_one_token) == ("step 1", 4, 2, 1)
    assert answer.name == "answer"
    assert seen[-1] == ("thoughts", 7, 7)
    counted = [p for i, p in enumerate(problems) if i not in (1, 5, 6)]
    residuals = llama.think(counted, capture="all").residuals
    top = plain_softmax(llama.hf, residuals).topk(20).indices
    words = [[{llama.tokenizer.decode([t]) for t in place} for place in row.flatten(0, 1).tolist()] for row in top]
    own = [str(p.steps[0].result) for p in counted]
    for place, cell in enumerate(step.cells):
        assert (cell.layer, cell.position) == divmod(place, 7)
        assert cell.hits == sum(own[i] in words[i][place] for i in range(4))
        # by chance: the next problem's result, for none of these four stands among another one's numbers
        assert cell.by_chance == sum(own[(i + 1) % 4] in words[i][place] for i in range(4)) / 4
        interval = binomtest(cell.hits, 4).proportion_ci(method="wilson")
        assert (cell.low, cell.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
        assert (cell.low == 0) == (cell.hits == 0)
    assert 0 < sum(cell.hits for cell in step.cells) < 4 * len(step.cells)


def test_a_result_that_a_layer_is_made_to_say_is_found_there_and_only_there(llama: Any) -> None:
    from codi_int.types import Site

    problems = stories()[:1]
    want = llama.tokenizer.convert_tokens_to_ids("7")
    direction = 50 * llama.hf.lm_head.weight[want]
    clean = lens_grid(llama, problems[0], top=1)
    with llama.hooks({Site(3, 5): lambda r, c: direction.expand_as(r)}):
        grid = lens_grid(llama, problems[0], top=1)
    assert (grid.tokens[3][5][0].id, grid.tokens[3][5][0].is_result) == (want, True)
    assert grid.tokens[3][:5] == clean.tokens[3][:5]
    assert grid.tokens[:3][0][:6] == clean.tokens[:3][0][:6]


def test_numbers_are_found_with_and_without_a_space(make_official: Callable[..., Any], llama: Any) -> None:
    vocabulary = number_tokens(llama)
    assert sorted(vocabulary)[:3] == [0, 1, 2]
    assert [llama.tokenizer.decode([i]) for i in vocabulary[42]] == ["42"]


def test_nothing_to_count_is_said(llama: Any, problems: list[Any]) -> None:
    with pytest.raises(DataError, match="No result of the 7 problems can be counted"):
        lens_frequencies(llama, problems)
    with pytest.raises(ConfigError, match="top is 0"):
        lens_frequencies(llama, stories(), top=0)
