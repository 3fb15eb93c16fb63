"""The pairs of a run: every row of every plan, numbered through all plans, with what is done to it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from codi_int.interventions.edits.combined import reach_order
from codi_int.interventions.engine.arms import ArmPlan
from codi_int.model.resume import SiteChange
from codi_int.types import Site


@dataclass(frozen=True)
class Changes:
    """What is done at each site, for the pairs of all plans one after the other."""

    # a pair is (plan, one of its rows); pairs are numbered through all plans, and every tensor below is in that order
    problems: Int[Tensor, " pairs"]
    """the problem of each pair"""
    sites: tuple[SiteChange, ...]
    """one change for each site, the one at which runs begin first; [pairs, d_model]"""

    def of(self, pairs: Int[Tensor, " chosen"], there: Int[Tensor, " chosen"] | None = None) -> "Changes":
        """The same for some of the pairs; `there` are their numbers where the changes lie."""
        chosen = pairs.to(self.sites[0].delta.device) if there is None else there
        return Changes(self.problems[pairs], tuple(change.of(chosen) for change in self.sites))


def changes_of(plans: Sequence[ArmPlan]) -> Changes:
    """The changes of plans that begin at one site; 0 at the later sites that only other plans have."""
    # A run resumes at one site, so all plans have to begin there; where they go on may differ.
    first = plans[0].site
    later = {change.site for plan in plans for change in plan.changes} - {first}
    sites = (first, *sorted(later, key=reach_order))
    changes = [_join_changes([_change_at(plan, site) for plan in plans]) for site in sites]
    # At the first site a value is not put but added, like everything else: the clean activation arrives there bit for
    # bit, so the sum is off by one rounding at most. Later sites are reached by arithmetic that rounds as it likes.
    changes[0] = replace(changes[0], value=None)
    return Changes(torch.cat([plan.rows for plan in plans]), tuple(changes))


def _change_at(plan: ArmPlan, site: Site) -> SiteChange:
    """What a plan does at a site; adds 0 where it does nothing."""
    for change in plan.changes:
        if change.site == site:
            return change
    return SiteChange(site, torch.zeros_like(plan.delta))


def _join_changes(changes: Sequence[SiteChange]) -> SiteChange:
    """The changes of all plans at one site, one after the other."""
    site, delta = changes[0].site, torch.cat([change.delta for change in changes])  # [pairs, d_model]
    if all(change.value is None for change in changes):
        return SiteChange(site, delta)
    # NaN: no value in this row, so that its delta is added
    values = [torch.full_like(c.delta, torch.nan) if c.value is None else c.value for c in changes]
    return SiteChange(site, delta, torch.cat(values))
