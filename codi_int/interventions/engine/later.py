"""What the later positions of an edited layer do while an edit runs: the context in which its effect is meant.

A place that later positions can stand in for looks idle by itself (backup behaviour: McGrath et al., arXiv:2307.15771).
So an effect can be asked for given that these say nothing of their problem, or that they stay as they were.

Either is a run of the same model with hooks at these positions, set around everything that the engine does. The clean
pass under them is the baseline, and all that holds of the model holds of the model with these hooks: an edit that
leaves the latents of a problem as they are leaves its whole run as the baseline has it, so exact skipping stays exact.
The hooks act by both paths, whatever paths the edit may take.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.errors import ConfigError
from codi_int.model.hooked import CodiModel
from codi_int.model.hooks import HookContext, HookFunction, HookSession
from codi_int.model.resume import make_resume_point
from codi_int.types import Later, Site

LATERS: tuple[Later, ...] = ("free", "mean", "clean")


@dataclass(frozen=True)
class Held:
    """Which later positions are held, and at what."""

    later: Later
    """`mean`: each at the mean over the problems of the run; `clean`: at what the problem has there undisturbed;
    `free`: at nothing"""
    sites: tuple[Site, ...]
    """in the order in which the model reaches them; empty where nothing is held"""

    @property
    def words(self) -> str:
        """`L14.P4 to L14.P6 held at their means`; empty where nothing is held."""
        if not self.sites:
            return ""
        value = {"mean": "means over the problems", "clean": "clean values"}[self.later]
        runs = [list(run) for _, run in groupby(self.sites, key=lambda site: (site.layer, site.component))]
        named = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
        its = "its" if len(self.sites) == 1 else "their"
        return f"{', '.join(named)} held at {its} {value if its == 'their' else value.replace('s', '', 1)}"

    @property
    def condition(self) -> str:
        """What a verdict says first: `Given that later positions say nothing (...):`; empty where nothing is held."""
        what = {"mean": "later positions say nothing", "clean": "later positions stay as they were", "free": ""}
        return f"Given that {what[self.later]} ({self.words}):" if self.sites else ""


@dataclass(frozen=True, eq=False)
class Background:
    """Later positions that are held while everything runs."""

    held: Held
    """which, at what"""
    session: HookSession
    """the hooks that hold them"""
    n_correct: int
    """right answers of the undisturbed model, in which nothing is held"""


def hold_after(model: CodiModel, edited: Sequence[Site], later: Later) -> Held:
    """The positions behind the last one that is edited, layer by layer, of which something later reads."""
    if later == "free":
        return Held(later, ())
    last: dict[Site, int] = {}
    for site in edited:
        line = replace(site, position=0)
        last[line] = max(last.get(line, 0), site.position)
    sites = [replace(line, position=p) for line, at in last.items() for p in range(at + 1, model.n_thoughts + 1)]
    return Held(later, tuple(site for site in sites if _is_read(model, site)))


def make_background(
    model: CodiModel,
    held: Held,
    activations: Mapping[Site, Float[Tensor, "n d_model"]],
    problem_ids: Sequence[str],
    n_correct: int,
) -> Background:
    """The hooks that hold some sites.

    Args:
        model: the model.
        held: which sites, at what.
        activations: of the undisturbed model at these sites.
        problem_ids: one for each row of them.
        n_correct: right answers of the undisturbed model.
    """
    index = {name: row for row, name in enumerate(problem_ids)}
    table: dict[Site, HookFunction] = {
        site: _put(activations[site].float().mean(0)) if held.later == "mean" else _put_back(activations[site], index)
        for site in held.sites
    }
    return Background(held, model.session(table), n_correct)


def _put(vector: Float[Tensor, " d_model"]) -> HookFunction:
    return lambda x, context: vector.to(x).expand_as(x)


def _put_back(values: Float[Tensor, "n d_model"], index: Mapping[str, int]) -> HookFunction:
    def put(x: Tensor, context: HookContext) -> Tensor:
        # rows of many edits share a batch, in any order: each finds its problem's values by name
        rows = torch.tensor([index[name] for name in context.problem_ids], device=values.device)
        return values[rows].to(x)

    return put


def _is_read(model: CodiModel, site: Site) -> bool:
    try:
        make_resume_point(model, site)
    except ConfigError:
        return False
    return True
