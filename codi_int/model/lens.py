"""The thought lens: what a residual says when it is read as if the next word were written from it.

Each thought at each layer goes through the final norm and the unembedding (the logit lens). Over a data set it is
counted how often the results of a problem's steps stand among the top tokens. A result is only counted where nothing
else gives it away: it must be a single token, stand nowhere in the question and be the result of no other step. Beside
each share stands the share by chance: how often the same problems show a result that belongs to another problem.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from codi_int.data.answers import to_number
from codi_int.errors import ConfigError, DataError
from codi_int.model.hooked import BATCH_SIZE, CodiModel
from codi_int.progress import Progress, count_up
from codi_int.proportions import wilson_interval
from codi_int.types import Number, Problem

CONFIDENCE = 0.95
# 05 and 00 are pieces of larger numbers, and no way to write 5 and 0
_WORD = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?")
_IN_QUESTION = re.compile(r"\d[\d,]*(?:\.\d+)?|\.\d+")


@dataclass(frozen=True)
class TopTokens:
    """The likeliest tokens at every layer and position of some problems."""

    ids: Int[Tensor, "n n_layers positions k"]
    """token ids, likeliest first"""
    probabilities: Float[Tensor, "n n_layers positions k"]
    """their probabilities, float32"""


@dataclass(frozen=True)
class LensToken:
    """One token that the lens shows."""

    text: str
    """as the tokenizer writes it, with its leading space"""
    id: int
    """its id"""
    probability: float
    """softmax over the whole vocabulary"""
    is_result: bool
    """whether it is a number that some step of the problem gives"""


@dataclass(frozen=True)
class LensGrid:
    """What the lens shows of one problem."""

    problem_id: str
    """which problem"""
    question: str
    """what it asks"""
    answer: Number
    """its true answer"""
    tokens: tuple[tuple[tuple[LensToken, ...], ...], ...]
    """[layer][position][rank]"""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": "codi-int/lens-grid@1", **asdict(self)}


@dataclass(frozen=True)
class LensCell:
    """How often a result is seen at one place."""

    layer: int
    """block"""
    position: int
    """0 for <bot>, then the thoughts"""
    hits: int
    """problems whose result is among the top tokens"""
    rate: float
    """share of all problems of the group"""
    low: float
    """lower end of Wilson's 95% interval"""
    high: float
    """upper end"""
    by_chance: float
    """share of the same problems that show the result of another problem of the group"""


@dataclass(frozen=True)
class LensGroup:
    """One result of every problem that has it: of the first step, the second, ... or the answer."""

    name: str
    """`step 1`, `step 2`, ... for intermediate results, `answer` for the last one"""
    n: int
    """problems whose result can be counted"""
    n_given_away: int
    """problems left out because the question or another step gives the same number"""
    n_not_one_token: int
    """problems left out because no single token is that number"""
    cells: tuple[LensCell, ...]
    """one for each layer and position, layer by layer"""

    @property
    def best(self) -> LensCell:
        """Where the result is seen most often beyond chance; of many places, so its own interval flatters it."""
        return max(self.cells, key=lambda cell: cell.rate - cell.by_chance)


@dataclass(frozen=True)
class LensReport:
    """How often results of steps are seen, over a data set."""

    model: str
    """name of the model"""
    data: str
    """name of the problems"""
    n_problems: int
    """how many"""
    top: int
    """among how many tokens a result counts as seen"""
    n_layers: int
    """blocks"""
    n_positions: int
    """<bot> and the thoughts"""
    groups: tuple[LensGroup, ...]
    """intermediate results in order, then the answer"""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": "codi-int/lens@1", "confidence": CONFIDENCE, **asdict(self)}


@dataclass(frozen=True)
class _Target:
    """A result to look for, and one of another problem beside it."""

    row: int
    """which problem"""
    tokens: tuple[int, ...]
    """ids that are the number"""
    other: tuple[int, ...]
    """ids that are another problem's number"""


@torch.no_grad()
def read_residuals(model: CodiModel, residuals: Float[Tensor, "n n_layers positions d_model"], top: int) -> TopTokens:
    """The likeliest tokens of `resid_post` at every layer and position; one layer and position at a time."""
    if not 1 <= top <= model.stack.vocab_size:
        raise ConfigError(f"top is {top}; it must be from 1 to {model.stack.vocab_size}.", "5 is usual.")
    ids = torch.empty(*residuals.shape[:3], top, dtype=torch.long)
    probabilities = torch.empty(*residuals.shape[:3], top)
    for layer in range(residuals.shape[1]):
        for position in range(residuals.shape[2]):
            logits = model.stack.unembed(model.stack.final_norm(residuals[:, layer, position]))
            best = logits.float().softmax(-1).topk(top)
            ids[:, layer, position], probabilities[:, layer, position] = best.indices.cpu(), best.values.cpu()
    return TopTokens(ids, probabilities)


def lens_grid(model: CodiModel, problem: Problem, top: int = 3) -> LensGrid:
    """What every thought at every layer says, for one problem."""
    residuals = model.think([problem], capture="all").residuals
    assert residuals is not None
    found = read_residuals(model, residuals, top)
    results = {step.result for step in problem.steps} | {problem.answer}

    def token(at: int, probability: float) -> LensToken:
        text = model.running_tokenizer.decode([at])
        return LensToken(text, at, probability, _as_number(text) in results)

    tokens = tuple(
        tuple(
            tuple(map(token, found.ids[0, layer, p].tolist(), found.probabilities[0, layer, p].tolist()))
            for p in range(residuals.shape[2])
        )
        for layer in range(residuals.shape[1])
    )
    return LensGrid(problem.id, problem.question, problem.answer, tokens)


def lens_frequencies(
    model: CodiModel,
    problems: Sequence[Problem],
    data: str = "unnamed",
    top: int = 5,
    batch_size: int = BATCH_SIZE,
    progress: Progress | None = None,
) -> LensReport:
    """How often results of the steps stand among the top tokens, by layer and position.

    Args:
        problems: some of them must have written steps.
        data: what to call them.
        top: how many tokens count as seen.
        progress: called after every batch.

    Raises:
        DataError: no result of any problem can be counted.
    """
    vocabulary = number_tokens(model)
    wanted = {name: _targets(problems, name, vocabulary) for name in _group_names(problems)}
    if not any(targets for targets, _, _ in wanted.values()):
        raise DataError(
            f"No result of the {len(problems)} problems can be counted: there are no written steps, or each result "
            "also stands in the question, or no single token is that number.",
            "Take problems with steps, such as gsm8k:test or stories:validation.",
        )
    shown = torch.cat(list(_top_ids(model, problems, top, batch_size, progress)))
    order = torch.tensor([row for batch in model.batches(problems, batch_size) for row in batch.rows])
    shown = shown[order.argsort()]
    groups = tuple(_count(name, shown, *found) for name, found in wanted.items() if found[0])
    return LensReport(
        model=model.name,
        data=data,
        n_problems=len(problems),
        top=top,
        n_layers=model.n_layers,
        n_positions=model.n_thoughts + 1,
        groups=groups,
    )


@torch.no_grad()
def read_results(
    model: CodiModel, problems: Sequence[Problem], residuals: Float[Tensor, "n n_layers positions d_model"], top: int
) -> dict[str, tuple[list[int], Bool[Tensor, "targets positions"]]]:
    """Which results of the steps some layer shows among its top tokens, position by position.

    Args:
        model: whose head reads.
        problems: one for each row.
        residuals: `resid_post`.
        top: how many tokens count as seen.

    Returns:
        by result (`step 1`, ..., `answer`): the rows whose result can be counted, and for each whether it is seen.
    """
    ids, vocabulary = read_residuals(model, residuals, top).ids, number_tokens(model)
    out = {}
    for name in _group_names(problems):
        targets, _, _ = _targets(problems, name, vocabulary)
        if targets:
            rows = [target.row for target in targets]
            out[name] = rows, _seen(ids[rows], [target.tokens for target in targets]).any(1)
    return out


def number_tokens(model: CodiModel) -> dict[Number, tuple[int, ...]]:
    """Every number that is a single token, with the ids of that token and of its forms with a space."""
    out: dict[Number, tuple[int, ...]] = {}
    for index in range(min(len(model.running_tokenizer), model.stack.vocab_size)):
        value = _as_number(model.running_tokenizer.decode([index]))
        if value is not None:
            out[value] = (*out.get(value, ()), index)
    return out


def _as_number(token: str) -> Number | None:
    text = token.strip()
    return to_number(text) if _WORD.fullmatch(text) else None


def _group_names(problems: Sequence[Problem]) -> list[str]:
    longest = max((len(problem.steps) for problem in problems), default=0)
    return [*(f"step {i}" for i in range(1, longest)), "answer"]


def _targets(
    problems: Sequence[Problem], name: str, vocabulary: Mapping[Number, tuple[int, ...]]
) -> tuple[list[_Target], int, int]:
    """What to look for in one group; how many problems are given away, and how many numbers are no single token."""
    found, given_away, not_one_token = [], 0, 0
    for row, problem in enumerate(problems):
        value = _result(problem, name)
        if value is None:
            continue
        if _numbers(problem).count(value) > 1:
            given_away += 1
        elif value not in vocabulary:
            not_one_token += 1
        else:
            found.append((row, value))
    targets = []
    for i, (row, value) in enumerate(found):
        own = set(_numbers(problems[row]))
        later = (found[(i + shift) % len(found)][1] for shift in range(1, len(found)))
        other = next((v for v in later if v not in own), None)
        targets.append(_Target(row, vocabulary[value], () if other is None else vocabulary[other]))
    return targets, given_away, not_one_token


def _result(problem: Problem, name: str) -> Number | None:
    """The result of a problem that belongs to a group; None where it has none."""
    if name == "answer":
        return problem.answer if problem.steps else None
    index = int(name.removeprefix("step ")) - 1
    return problem.steps[index].result if index < len(problem.steps) - 1 else None


def _numbers(problem: Problem) -> list[Number]:
    """All numbers of the question and all results; the answer once, though the last step gives it too."""
    results = [step.result for step in problem.steps[:-1]]
    return [*map(to_number, _IN_QUESTION.findall(problem.question)), *results, problem.answer]


def _top_ids(
    model: CodiModel, problems: Sequence[Problem], top: int, batch_size: int, progress: Progress | None
) -> Iterator[Tensor]:
    """[rows, n_layers, positions, top] for every batch, so that no more residuals are held than one batch has."""
    add = count_up(progress, "thoughts", len(problems))
    for batch in model.batches(problems, batch_size):
        residuals = model.think([problems[row] for row in batch.rows], capture="all", batch_size=batch_size).residuals
        assert residuals is not None
        yield read_residuals(model, residuals, top).ids
        add(len(batch.rows))


def _count(name: str, shown: Tensor, targets: list[_Target], given_away: int, not_one_token: int) -> LensGroup:
    ids = shown[[target.row for target in targets]]
    hits = _seen(ids, [target.tokens for target in targets]).sum(0)
    chance = _seen(ids, [target.other for target in targets]).float().mean(0)
    low, high = wilson_interval(hits.numpy(), len(targets), alpha=1 - CONFIDENCE)
    cells = tuple(
        LensCell(
            layer=layer,
            position=position,
            hits=int(hits[layer, position]),
            rate=int(hits[layer, position]) / len(targets),
            # the closed form leaves 1e-18 where nothing was hit, which would count as more than a chance of 0
            low=float(low[layer, position]) if hits[layer, position] else 0.0,
            high=float(high[layer, position]),
            by_chance=float(chance[layer, position]),
        )
        for layer in range(ids.shape[1])
        for position in range(ids.shape[2])
    )
    return LensGroup(
        name=name,
        n=len(targets),
        n_given_away=given_away,
        n_not_one_token=not_one_token,
        cells=cells,
    )


def _seen(ids: Tensor, tokens: list[tuple[int, ...]]) -> Tensor:
    """[n, n_layers, positions]: whether any of a row's tokens is among its ids."""
    width = max(1, max(map(len, tokens)))
    # rows have different numbers of tokens; -1 fills them up, which is no id
    wanted = torch.tensor([[*row, *[-1] * (width - len(row))] for row in tokens])
    # every id at every place against every token of its row: [n, n_layers, positions, top, width]
    same = rearrange(ids, "row layer position top -> row layer position top 1") == rearrange(
        wanted, "row token -> row 1 1 1 token"
    )
    return rearrange(same, "row layer position top token -> row layer position (top token)").any(-1)
