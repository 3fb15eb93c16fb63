"""Data unlike that of training: what an SAE still explains, which dead features wake, which specialists stay ones.

A specialist keeps its meaning where the property that it was confirmed for is more frequent among the shifted problems
on which it fires than among all of them, given the number of steps: the test that confirmed it, on other problems.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from codi_int.errors import ConfigError, SAEError
from codi_int.features.profiles import Profiles
from codi_int.features.specialization import check_steps
from codi_int.features.specialization_records import PropertyEvidence, RulePlan, Share, Specialization
from codi_int.features.units import Units, count_table, share_of, units_of
from codi_int.interventions.evidence.enrichment import stratified_p
from codi_int.interventions.evidence.families import adjust
from codi_int.records import flatten
from codi_int.sae.base import SAE
from codi_int.sae.metrics import measure
from codi_int.shown import Shown
from codi_int.types import Site

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "codi-int/shift@1"
Outcome = Literal["kept", "lost", "unresolved", "untestable"]
OUTCOMES: tuple[Outcome, ...] = ("kept", "lost", "unresolved", "untestable")


@dataclass(frozen=True)
class KeptMeaning:
    """A specialist on shifted problems."""

    feature: int
    """its index"""
    kind: str
    """of the property that it is called by"""
    name: str
    """the property"""
    before: Share
    """on the problems that confirmed it"""
    after: Share | None
    """on the shifted ones, its p-value Holm's over all specialists; None where it could not be tested"""
    outcome: Outcome
    """kept: found again; lost: the interval of the difference lies below half of what it was; unresolved: neither;
    untestable: it fires on too few calculations, or the property holds of too few or of nearly all"""


@dataclass(frozen=True, repr=False)
class Shift(Shown):
    """An SAE on shifted problems."""

    site: Site | None
    """where"""
    sae: str
    """name of the SAE"""
    data: str
    """name of the shifted problems"""
    n_problems: int
    """how many"""
    n_chains: int
    """different calculations among them"""
    explained_variance: float | None
    """by the SAE on them"""
    n_alive: int
    """features that fire on them"""
    n_dead: int
    """features that fire on no training row"""
    woken: tuple[int, ...]
    """of those, the ones that fire here"""
    woken_share: float
    """firings of woken features, of all firings here"""
    specialists: tuple[KeptMeaning, ...]
    """one for each feature that the tested rule calls specialized"""

    schema = SCHEMA

    def count(self, outcome: Outcome) -> int:
        """Specialists with this outcome."""
        return sum(one.outcome == outcome for one in self.specialists)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": self.schema, **flatten(self), **{f"n_{one}": self.count(one) for one in OUTCOMES}}

    def to_frame(self) -> "pd.DataFrame":
        """One row per specialist, as pandas' data frame."""
        import pandas as pd

        return pd.DataFrame([flatten(one) for one in self.specialists])


def alive_on(sae: SAE, rows: Float[Tensor, "n d_in"]) -> tuple[int, ...]:
    """Features that fire on some rows, such as those of training."""
    return tuple(torch.nonzero(measure(sae, rows).activation_frequency).flatten().tolist())


def measure_shift(found: Specialization, shifted: Profiles, alive_in_training: Sequence[int]) -> Shift:
    """What shifted problems do to an SAE and to its specialists.

    Args:
        found: by the tested rule, on problems like those of training.
        shifted: profiles of the same SAE on shifted problems with written steps.
        alive_in_training: features that fire on training rows; see `alive_on`.

    Raises:
        ConfigError: specialists by another rule than the tested one.
        SAEError: profiles of another SAE or site.
        DataError: shifted problems without steps.
    """
    if found.plan is None:
        raise ConfigError(
            f"The rule {found.rule} confirms nothing, so nothing can be kept.", "Take specialization(rule='tested')."
        )
    if found.site != shifted.site or found.sae != shifted.sae.name:
        raise SAEError(
            f"The specialists are of {found.sae} at {found.site}, profiles of {shifted.sae.name} at {shifted.site}.",
            "Profile the same SAE on the shifted problems.",
        )
    check_steps(shifted)
    called = [(row.feature, row.confirmed[0]) for row in found.rows if row.confirmed]
    units = units_of(shifted, [feature for feature, _ in called])
    dead = sorted(set(range(shifted.d_sae)) - set(alive_in_training))
    woken = tuple(sorted(set(dead) & set(shifted.alive)))
    firings = sum(row.n_firing for row in shifted)
    return Shift(
        site=shifted.site,
        sae=shifted.sae.name,
        data=shifted.data,
        n_problems=shifted.n_problems,
        n_chains=len(units.chains),
        explained_variance=shifted.explained_variance,
        n_alive=len(shifted),
        n_dead=len(dead),
        woken=woken,
        woken_share=sum(shifted.by_feature[one].n_firing for one in woken) / firings if firings else 0.0,
        specialists=_kept(called, units, found.plan),
    )


def _kept(called: Sequence[tuple[int, PropertyEvidence]], units: Units, plan: RulePlan) -> tuple[KeptMeaning, ...]:
    shares = [_again(i, one, units, plan) for i, (_, one) in enumerate(called)]
    p_values = adjust([share.p_value for share in shares if share is not None], "holm")
    adjusted = iter(p_values)
    out = []
    for (feature, one), share in zip(called, shares, strict=True):
        after = None if share is None else Share(**{**vars(share), "p_adjusted": next(adjusted)})
        out.append(
            KeptMeaning(
                feature=feature,
                kind=one.kind,
                name=one.name,
                before=one.confirmation,
                after=after,
                outcome=_outcome(one.confirmation, after, plan),
            )
        )
    return tuple(out)


def _again(place: int, one: PropertyEvidence, units: Units, plan: RulePlan) -> Share | None:
    """The specialist's property on the shifted units; None where neither yes nor no could come out."""
    names = {(str(prop.kind), prop.name): j for j, prop in enumerate(units.table.properties)}
    column = names.get((one.kind, one.name))
    if column is None:
        return None
    firing, present = units.firing[:, place], units.table.present[:, column]
    everywhere = np.ones(len(units.strata), dtype=np.bool_)
    whole = count_table(firing, present, everywhere)
    if whole.firing < plan.least_firing or min(whole.present, whole.n - whole.present) < plan.least_present:
        return None
    strata = [units.strata == steps for steps in np.unique(units.strata).tolist()]
    parts = [whole] if one.kind == "n_steps" else [count_table(firing, present, stratum) for stratum in strata]
    return share_of(whole, stratified_p(parts), None)


def _outcome(before: Share, after: Share | None, plan: RulePlan) -> Outcome:
    if after is None or after.p_adjusted is None:
        return "untestable"
    if after.difference > 0 and after.p_adjusted < plan.alpha:
        return "kept"
    return "lost" if after.high is not None and after.high < before.difference / 2 else "unresolved"
