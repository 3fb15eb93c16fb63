"""How much of the answer depends on the thoughts at all.

The residuals of some positions are replaced by their mean over the data set, at every layer and at the input of the
first: what those positions say about this problem is gone, what they say about problems in general stays. Where
accuracy does not fall, nothing that the thoughts compute is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from codi_int.data.answers import extract_answer, is_right
from codi_int.model.hooked import CodiModel
from codi_int.model.hooks import HookContext, HookFunction, HookPoint
from codi_int.progress import Progress
from codi_int.types import Problem, Site


@dataclass(frozen=True)
class ThoughtDependence:
    """Which problems are still answered rightly once thoughts are replaced by their mean."""

    positions: tuple[int, ...]
    """the positions that were replaced, together"""
    correct: tuple[bool, ...]
    """one for each problem, in order"""

    @property
    def accuracy(self) -> float:
        """Share of problems answered rightly."""
        return sum(self.correct) / len(self.correct)


def mean_residuals(model: CodiModel, problems: Sequence[Problem]) -> dict[Site, Tensor]:
    """Mean over the problems of `resid_pre` at layer 0 and `resid_post` at every layer, for each thought: [d_model]."""
    # Position 0 is the pass over <bot>, which ends the question: it is no thought and stays.
    sites = [site for p in range(1, model.n_thoughts + 1) for site in _list_sites(model, p)]
    batch = model.think(problems, capture=sites)
    # [n, d_model] -> [d_model]
    return {site: batch.captured[site].mean(0) for site in sites}


def replace_thoughts(
    model: CodiModel,
    problems: Sequence[Problem],
    positions: Sequence[int],
    means: dict[Site, Tensor],
    progress: Progress | None = None,
    rule: str | None = None,
) -> ThoughtDependence:
    """Answer all problems with the residuals of `positions` replaced by `means` (see `mean_residuals`).

    Args:
        progress: called after every batch.
        rule: how a number is read from an answer; None takes the model's own rule.
    """
    # Every layer at once: were only one replaced, the layers above would read the question again through attention, and
    # the keys and values of the layers below would still speak of this problem.
    table: dict[Site | HookPoint | str, HookFunction] = {
        s: _make_constant_hook(means[s]) for p in positions for s in _list_sites(model, p)
    }
    with torch.no_grad(), model.hooks(table):
        completions = model.answer(problems, progress=progress)
    read = rule or model.config.answer_rule
    pairs = zip(completions, problems, strict=True)
    correct = tuple(is_right(extract_answer(c.text, read), p.answer) for c, p in pairs)
    return ThoughtDependence(tuple(positions), correct)


def _list_sites(model: CodiModel, position: int) -> list[Site]:
    # `resid_pre` of block 0 as well, or that block would make its keys and values from the very thought. With it, all
    # keys and values of the position come from means.
    return [Site(0, position, "resid_pre"), *(Site(layer, position) for layer in range(model.n_layers))]


def _make_constant_hook(value: Tensor) -> HookFunction:
    def hook(tensor: Tensor, context: HookContext) -> Tensor:
        # [d_model] -> the hook's [batch, d_model]; a view, so no hook behind it may write into it
        return value.to(tensor.dtype).expand_as(tensor)

    return hook
