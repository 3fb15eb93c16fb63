"""What an edit changes at later thoughts: features that it switches there, results that the lens reads there.

The touched problems run once more with the edit and once without, in the same chunks, so that a difference is never one
of rounding between two shapes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from codi_int.data.problems import ProblemsLike
from codi_int.interventions.edits.combined import AtSites, as_table
from codi_int.interventions.engine.arms import ArmPlan
from codi_int.interventions.engine.baselines import matched_edits
from codi_int.interventions.engine.engine import AnyEdit, FeatureInterventionEngine
from codi_int.interventions.engine.planning import Unedited
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.interventions.evidence.clusters import Clusters
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.evidence.flips import accuracy_by_cluster
from codi_int.interventions.evidence.shares import share_interval
from codi_int.model.hooked import CodiModel
from codi_int.model.lens import read_results
from codi_int.records import Estimate
from codi_int.sae.base import SAE, check_fits
from codi_int.sae.store import as_sae
from codi_int.types import FeatureTurn, LaterEffects, Problem, Result, ResultRead, Site, SiteLike

AnyResult = TypeVar("AnyResult", bound=Result)
SHOWN = 20
"""features that a record names"""
TOP = 5
"""tokens among which a result counts as read"""
CONTROLS = 5
"""matched random features whose edit stands beside"""


@torch.no_grad()
def look_later(
    engine: FeatureInterventionEngine,
    edit: AnyEdit,
    problems: ProblemsLike,
    result: AnyResult,
    saes: Mapping[SiteLike, SAE | Any],
    controls: int = CONTROLS,
) -> AnyResult:
    """The result of an edit with what it changes at later thoughts, in `side_effects.later`.

    Args:
        engine: the engine that ran it.
        edit: the edit.
        problems: the same problems.
        result: what came of it.
        saes: of sites, or their names; those at later positions than the edit's are looked at.
        controls: how many matched random features get the same edit, for how many features any edit switches.

    Raises:
        SAEError: for an SAE that was made for another site, width or model.
    """
    site = result.experiment.site
    later = _later_sites(engine, site)
    if result.side_effects is None or not later:
        return result
    named = {Site.parse(where): sae for where, sae in saes.items()}
    table = {where: as_sae(sae) for where, sae in named.items() if where.position > site.position}
    for where, sae in table.items():
        check_fits(sae, engine.model, where)
    context = engine.site_context(problems, site, edited=result.experiment.sites)
    moved = _moved(context, edit, controls, result.experiment.seed) if table else []
    arm, *others = engine.plan_all(context, [edit, *moved])
    seen = _look(engine, context, arm, tuple(dict.fromkeys((*later, *table))))
    rates = [
        _total([turn.on | turn.off for turn in _turns(table, _look(engine, context, other, tuple(table))).values()])
        for other in others
        if bool(other.edited.any())
    ]
    found = _later_effects(engine.model, _Touched.of(context, arm), seen, _turns(table, seen))
    found = replace(found, controls=float(np.median(rates)) if rates else None, n_controls=len(rates))
    return replace(result, side_effects=replace(result.side_effects, later=found))


@dataclass(frozen=True)
class _Touched:
    """The problems that an edit touches."""

    problems: tuple[Problem, ...]
    clusters: NDArray[np.int64]

    @classmethod
    def of(cls, context: SiteContext, arm: ArmPlan) -> "_Touched":
        rows = arm.edited.nonzero()[:, 0].tolist()
        return cls(tuple(context.clean.problems[row] for row in rows), context.clean.clusters[rows])

    def of_them(self, rows: Sequence[int]) -> Clusters:
        """Clusters of some of them; a single one has no spread, and a p-value of 1."""
        _, codes, sizes = np.unique(self.clusters[list(rows)], return_inverse=True, return_counts=True)
        return Clusters(codes.astype(np.int64), sizes.astype(np.int64))


@dataclass(frozen=True)
class _Turn:
    """Which features of one site fire on which touched problems."""

    before: Bool[Tensor, "m d_sae"]
    """without the edit"""
    after: Bool[Tensor, "m d_sae"]
    """with it"""

    @property
    def on(self) -> Bool[Tensor, "m d_sae"]:
        """Switched on."""
        return self.after & ~self.before

    @property
    def off(self) -> Bool[Tensor, "m d_sae"]:
        """Switched off."""
        return self.before & ~self.after


def _later_sites(engine: FeatureInterventionEngine, site: Site) -> list[Site]:
    """The residual behind every block at every later position, position by position."""
    positions = range(site.position + 1, engine.model.n_thoughts + 1)
    return [Site(layer, position) for position in positions for layer in range(engine.model.n_layers)]


def _moved(context: SiteContext, edit: AnyEdit, controls: int, seed: int) -> Sequence[Any]:
    """The same edit of matched random features; none where the edit has no features, or several sites."""
    table = as_table(edit, context.site)
    if not (controls and table.features and table.movable and len(table.sites) == 1):
        return []
    return matched_edits(table, [context], controls, seed)


def _look(
    engine: FeatureInterventionEngine, context: SiteContext, plan: ArmPlan, sites: Sequence[Site]
) -> dict[Site, list[Tensor]]:
    """What the touched problems of an arm have at some sites, [m, d_model] without the edit and with it."""
    touched = plan.edited.nonzero()[:, 0]
    own = plan.of(torch.isin(plan.rows, touched))
    if engine.splice == "replace" and context.place.sae is not None:
        whole = engine.reconstruction(context, AtSites(((context.site, Unedited()),)))
        still = whole.of(torch.isin(whole.rows, touched))
    else:
        # 0 is added: the undisturbed model, in the very shapes in which the edited rows run
        nothing = tuple(replace(one, delta=torch.zeros_like(one.delta), value=None) for one in own.changes)
        still = ArmPlan("nothing", own.rows, nothing, own.edited)
    with context.holding(engine.model):
        return engine.runner(context).capture_all([still, own], sites)


def _turns(table: Mapping[Site, SAE], seen: Mapping[Site, Sequence[Tensor]]) -> dict[Site, _Turn]:
    return {site: _Turn(*(sae.encode(x).dense() != 0 for x in seen[site])) for site, sae in table.items()}


def _total(switched: Sequence[Bool[Tensor, "m d_sae"]]) -> float:
    """How many features of all sites, mean over the problems."""
    return sum(float(one.sum(1).double().mean()) for one in switched)


def _later_effects(
    model: CodiModel, touched: _Touched, seen: Mapping[Site, Sequence[Tensor]], turns: Mapping[Site, _Turn]
) -> LaterEffects:
    sites = [*turns.values()]
    return LaterEffects(
        n_sites=len(turns),
        n_features=sum(int((turn.before | turn.after).any(0).sum()) for turn in sites),
        fires=_total([turn.before for turn in sites]) if turns else None,
        turns_on=_total([turn.on for turn in sites]) if turns else None,
        turns_off=_total([turn.off for turn in sites]) if turns else None,
        controls=None,
        n_controls=0,
        features=_most_switched(turns, touched),
        results=_read(model, touched, seen),
        top=TOP,
    )


def _most_switched(turns: Mapping[Site, _Turn], touched: _Touched) -> tuple[FeatureTurn, ...]:
    """The features that are switched on the most problems; of equal ones the earlier site's and the lower index."""
    counts = [
        (-int(number), place, feature)
        for place, turn in enumerate(turns.values())
        for feature, number in enumerate((turn.on | turn.off).sum(0).tolist())
        if number
    ]
    sites = list(turns)
    return tuple(_feature_turn(sites[place], feature, turns, touched) for _, place, feature in sorted(counts)[:SHOWN])


def _feature_turn(site: Site, feature: int, turns: Mapping[Site, _Turn], touched: _Touched) -> FeatureTurn:
    turn = turns[site]
    on, off = (one[:, feature].cpu().numpy() for one in (turn.on, turn.off))
    found = share_interval(on | off, touched.clusters)
    return FeatureTurn(
        site=site,
        feature=feature,
        n_before=int(turn.before[:, feature].sum()),
        n_on=int(on.sum()),
        n_off=int(off.sum()),
        share=Estimate(float((on | off).mean()), found.low, found.high, method=found.method),
    )


def _read(model: CodiModel, touched: _Touched, seen: Mapping[Site, Sequence[Tensor]]) -> tuple[ResultRead, ...]:
    """Every result at every later thought, corrected together."""
    positions = sorted({site.position for site in seen})
    arms = []
    for arm in (0, 1):
        columns = [torch.stack([seen[Site(layer, p)][arm] for layer in range(model.n_layers)], 1) for p in positions]
        # [m, n_layers, positions, d_model]
        arms.append(read_results(model, touched.problems, torch.stack(columns, 2), TOP))
    rows = []
    for name, (who, before) in arms[0].items():
        after = arms[1][name][1]
        for i, position in enumerate(positions):
            change = (after[:, i].double() - before[:, i].double()).numpy()
            rows.append(
                ResultRead(
                    result=name,
                    thought=position,
                    n=len(who),
                    n_before=int(before[:, i].sum()),
                    n_after=int(after[:, i].sum()),
                    change=accuracy_by_cluster(change, touched.of_them(who)),
                )
            )
    adjusted = adjust([row.change.p_value for row in rows])
    return tuple(replace(row, change=replace(row.change, p_adjusted=p)) for row, p in zip(rows, adjusted, strict=True))
