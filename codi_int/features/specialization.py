"""Which features are specialists, by three rules: the published one, the same with ties counted, and a tested one.

The tested rule asks of every feature and every property (operations anywhere and of a step, two steps in a row, whole
numbers, how many steps) whether the property is more frequent where the feature fires than it is overall. What is
selected on some problems is tested again on others, and there number of steps by number of steps: a feature that fires
on long problems has every operation more often, and is a specialist of none. Units are chains of calculations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codi_int.data.chains import cluster_problems, split_folds
from codi_int.errors import ConfigError, DataError, SAEError
from codi_int.features.profiles import Profiles
from codi_int.features.properties import Property
from codi_int.features.published import Ties, published_counts, published_specialization
from codi_int.features.specialization_records import (
    RULES,
    FeatureType,
    PropertyEvidence,
    Rule,
    RulePlan,
    Share,
    Specialization,
    SpecializationRow,
)
from codi_int.features.units import Units, count_table, share_of, units_of
from codi_int.interventions.evidence.confirmation import Candidate, Confirmed, confirm
from codi_int.interventions.evidence.enrichment import Enrichment, measure_enrichment, stratified_p
from codi_int.interventions.evidence.grid import step_down

PUBLISHED_SAMPLES = 100
"""problems that the published rule looks at: those on which the feature fires most strongly"""
OPERATION_KINDS = ("operation", "operation of step", "pattern")


def check_steps(profiles: Profiles) -> None:
    """DataError where no problem has a written step: nothing can be told of what features are specialized in."""
    if not profiles.has_steps:
        raise DataError(
            f"None of the {profiles.n_problems:,} problems of {profiles.data or 'these profiles'} has written steps, "
            "so what a feature is specialized in cannot be told.",
            "Take problems with steps, such as stories:validation; features rank and show work without.",
        )


def specialization(
    profiles: Profiles,
    rule: str = "tested",
    confirming: Profiles | None = None,
    plan: RulePlan | None = None,
) -> Specialization:
    """What a rule makes of every alive feature.

    Args:
        profiles: of the features, on problems with written steps.
        rule: `published`, `published-ties-counted` or `tested`.
        confirming: for `tested`: profiles of the same SAE on other problems, which confirm; None lets two folds of
            `profiles` select and confirm each other.
        plan: settings of `tested`.

    Raises:
        ConfigError: an unknown rule.
        DataError: no problem has written steps, or problems that confirm have selected.
        SAEError: confirming profiles of another SAE.
    """
    if rule not in RULES:
        raise ConfigError(f"There is no rule {rule!r}.", f"Rules: {', '.join(RULES)}.")
    check_steps(profiles)
    if confirming is not None:
        check_steps(confirming)
    if rule == "tested":
        return _tested([(profiles, confirming)], plan or RulePlan())[0]
    rows = _published(profiles, "dropped" if rule == "published" else "counted")
    return Specialization(rule=_as_rule(rule), rows=rows, **_about(profiles))


def _as_rule(rule: str) -> Rule:
    return next(one for one in RULES if one == rule)


def _about(profiles: Profiles) -> dict[str, Any]:
    return {
        "site": profiles.site,
        "model": "" if profiles.model is None else profiles.model.name,
        "sae": profiles.sae.name,
        "data": profiles.data,
        "n_problems": profiles.n_problems,
        "n_chains": int(cluster_problems(profiles.problems).max()) + 1,
    }


def _published(profiles: Profiles, ties: Ties) -> tuple[SpecializationRow, ...]:
    rows = []
    for one in profiles:
        size = np.abs(profiles.column(one.feature))
        top = np.argsort(-size, kind="stable")[: min(one.n_firing, PUBLISHED_SAMPLES)]
        operations, values = published_counts([profiles.problems[i] for i in top.tolist()])
        found = published_specialization(operations, values, len(top), ties)
        rows.append(
            SpecializationRow(
                rank=one.rank,
                feature=one.feature,
                firing_rate=one.firing_rate,
                n_firing=one.n_firing,
                n_active=found.n_active,
                type=found.type,
                label=found.label,
            )
        )
    return tuple(rows)


@dataclass(frozen=True, eq=False)
class _Selected:
    """What some units select, and what others make of it."""

    n_tested: int
    """pairs of the family"""
    properties: frozenset[Property]
    """that could be tested"""
    found: dict[tuple[int, Property], Share]
    """place of the feature and property -> on the selecting units"""
    confirming: dict[tuple[int, Property], tuple[Share, Share | None]] = field(default_factory=dict)
    """the same on the confirming units, and on those whose chain selected nothing"""


def specialization_of_sites(
    sides: Sequence[tuple[Profiles, Profiles | None]], plan: RulePlan | None = None
) -> tuple[Specialization, ...]:
    """The rule `tested` at several sites as one family: what is selected and confirmed is so over all of them.

    Args:
        sides: of each site the profiles that select and those that confirm, as in `specialization`; at all sites on
            the same problems.
        plan: settings.

    Returns:
        one for each site; their `n_tested` add up to `n_family`.

    Raises:
        ConfigError: no site, or sites on different problems.
        DataError, SAEError: as `specialization`.
    """
    if not sides:
        raise ConfigError("There is no site whose features could be tested.", "Give the profiles of one site or more.")
    for both in sides:
        for profiles in both:
            if profiles is not None:
                check_steps(profiles)
    first, first_confirming = sides[0]
    for profiles, confirming in sides[1:]:
        if profiles.problems != first.problems or not _alike(confirming, first_confirming):
            raise ConfigError(
                f"The profiles at {profiles.site} are of other problems than those at {first.site}: no family.",
                "Profile the same problems at every site.",
            )
    return _tested(sides, plan or RulePlan())


def _alike(confirming: Profiles | None, other: Profiles | None) -> bool:
    if confirming is None or other is None:
        return confirming is other
    return confirming.problems == other.problems


@dataclass(frozen=True, eq=False)
class _Sides:
    """What of a site selects and what confirms."""

    profiles: Profiles
    """of its alive features"""
    units: Units
    """all of them"""
    folds: tuple[tuple[Units, Units], ...]
    """(selecting, confirming) units; two pairs where two folds confirm each other"""
    on: str
    """name of the problems that confirm"""
    n_confirming: int
    """how many these are"""
    notes: tuple[str, ...] = ()
    """what a reader should know"""


def _take_sides(profiles: Profiles, confirming: Profiles | None, plan: RulePlan) -> _Sides:
    features = profiles.alive
    units = units_of(profiles, features)
    if confirming is not None:
        _check_confirming(profiles, confirming)
        folds = ((units, units_of(confirming, features)),)
        return _Sides(
            profiles=profiles,
            units=units,
            folds=folds,
            on=confirming.data or "other problems",
            n_confirming=confirming.n_problems,
        )
    steps = [problem for problem in profiles.problems if problem.steps]
    _, first = np.unique(cluster_problems(steps), return_index=True)
    fold = split_folds([steps[i] for i in first.tolist()])
    one, other = (units.part(fold == side) for side in (0, 1))
    notes: tuple[str, ...] = ()
    if min(len(half.strata) for half in (one, other)) < 2 * plan.least_present:
        notes = (f"{len(units.strata):,} chains are too few for two folds that confirm each other.",)
    return _Sides(
        profiles=profiles,
        units=units,
        folds=((one, other), (other, one)),
        on="folds",
        n_confirming=profiles.n_problems,
        notes=notes,
    )


def _tested(sides: Sequence[tuple[Profiles, Profiles | None]], plan: RulePlan) -> tuple[Specialization, ...]:
    """One family: p-values of all sites are corrected together, and so is everything that was selected."""
    sites = [_take_sides(profiles, confirming, plan) for profiles, confirming in sides]
    folds = []
    for number in range(len(sites[0].folds)):
        pairs = [site.folds[number] for site in sites]
        selected = _select([units for units, _ in pairs], plan)
        folds.append([_confirm(one, *both) for one, both in zip(selected, pairs, strict=True)])
    judged = confirm(
        [[one for place, site in enumerate(fold) for one in _candidates(site, place)] for fold in folds], plan.alpha
    )
    n_family = sum(one.n_tested for fold in folds for one in fold)
    found = []
    for place, site in enumerate(sites):
        own = [[one for one in fold if _place_of(one) == place] for fold in judged]
        found.append(_site_found(site, [fold[place] for fold in folds], own, plan))
    return tuple(replace(one, n_family=n_family, n_sites=len(sites)) for one in found)


def _place_of(one: Confirmed) -> int:
    assert isinstance(one.key, tuple)
    return int(one.key[0])


def _site_found(
    site: _Sides, folds: Sequence[_Selected], judged: Sequence[Sequence[Confirmed]], plan: RulePlan
) -> Specialization:
    evidence = _gather(folds, judged, plan)
    n_chains = site.units.firing.sum(0).tolist()
    rows = (_row(one, n_chains[place], tuple(evidence.get(place, ())), plan) for place, one in enumerate(site.profiles))
    return Specialization(
        rule="tested",
        rows=tuple(rows),
        plan=plan,
        n_tested=sum(fold.n_tested for fold in folds),
        n_properties=len(frozenset().union(*(fold.properties for fold in folds))),
        n_selected=sum(len(fold.found) for fold in folds),
        n_confirmed=sum(one.confirmed for fold in judged for one in fold),
        confirmed_on=site.on,
        n_confirming=site.n_confirming,
        notes=site.notes,
        **_about(site.profiles),
    )


def _check_confirming(profiles: Profiles, confirming: Profiles) -> None:
    if confirming.sae.sha256 != profiles.sae.sha256 or confirming.site != profiles.site:
        raise SAEError(
            "The profiles that should confirm are of another SAE or site: feature numbers mean other things there.",
            "Profile the same SAE on other problems.",
        )
    asked = {problem.question for problem in profiles.problems}
    both = sum(problem.question in asked for problem in confirming.problems)
    if both:
        raise DataError(
            f"{both:,} of the {confirming.n_problems:,} problems that should confirm have selected.",
            "Profile other problems, or leave confirming out for two folds.",
        )


def _select(sites: Sequence[Units], plan: RulePlan) -> list[_Selected]:
    """What the units of each site select, corrected over all sites together."""
    found = [
        measure_enrichment(units.firing, units.table.present, plan.least_firing, plan.least_present, alpha=plan.alpha)
        for units in sites
    ]
    tested = [~np.isnan(one.p_values) for one in found]
    p_values = np.concatenate([one.p_values[mask] for one, mask in zip(found, tested, strict=True)])
    adjusted = step_down(p_values, np.sum([one.null_sums for one in found], axis=0))
    ends = np.cumsum([mask.sum() for mask in tested])[:-1]
    parts = np.split(adjusted, ends)
    return [
        _selected(units, one, mask, part, plan.alpha)
        for units, one, mask, part in zip(sites, found, tested, parts, strict=True)
    ]


def _selected(
    units: Units, found: Enrichment, tested: NDArray[np.bool_], p_adjusted: NDArray[np.float64], alpha: float
) -> _Selected:
    adjusted = np.full(tested.shape, np.inf)
    adjusted[tested] = p_adjusted
    properties = units.table.properties
    out = {}
    for i, j in np.argwhere(adjusted < alpha).tolist():
        p, q = float(found.p_values[i, j]), float(adjusted[i, j])
        out[i, properties[j]] = share_of(found.table(i, j), p, q)
    return _Selected(
        n_tested=int(tested.sum()),
        properties=frozenset(properties[j] for j in np.flatnonzero(tested.any(0)).tolist()),
        found=out,
    )


def _confirm(selected: _Selected, units: Units, others: Units) -> _Selected:
    """Everything selected on other units, given the number of steps."""
    place = {one: j for j, one in enumerate(others.table.properties)}
    known = set(units.chains)
    fresh = np.array([chain not in known for chain in others.chains], dtype=np.bool_)
    strata = [others.strata == steps for steps in np.unique(others.strata).tolist()]
    none = np.zeros(len(others.strata), dtype=np.bool_)
    for i, one in selected.found:
        firing = others.firing[:, i]
        present = others.table.present[:, place[one]] if one in place else none
        whole = count_table(firing, present, none | True)
        parts = [whole] if one.kind == "n_steps" else [count_table(firing, present, stratum) for stratum in strata]
        again = None
        if not fresh.all() and fresh.any():
            again = share_of(count_table(firing, present, fresh), None, None)
        selected.confirming[i, one] = (share_of(whole, stratified_p(parts), None), again)
    return selected


def _candidates(fold: _Selected, site: int) -> list[Candidate]:
    return [
        Candidate((site, key), share.difference, fold.confirming[key][0].difference, fold.confirming[key][0].p_value)
        for key, share in fold.found.items()
    ]


def _gather(
    folds: Sequence[_Selected], judged: Sequence[Sequence[Confirmed]], plan: RulePlan
) -> Mapping[int, list[PropertyEvidence]]:
    """By place of the feature; what selected most strongly comes first, confirmed before not confirmed."""
    out: dict[int, list[PropertyEvidence]] = {}
    for number, (fold, found) in enumerate(zip(folds, judged, strict=True)):
        for (key, share), one in zip(fold.found.items(), found, strict=True):
            i, prop = key
            again, fresh = fold.confirming[key]
            values = {**vars(again), "p_adjusted": one.p_adjusted}
            out.setdefault(i, []).append(
                PropertyEvidence(
                    kind=prop.kind,
                    name=prop.name,
                    selected=share,
                    confirmation=Share(**values),
                    confirmed=one.confirmed,
                    strong=one.confirmed and again.difference >= plan.margin,
                    fresh=fresh,
                    fold=number if len(folds) > 1 else None,
                )
            )
    for rows in out.values():
        rows.sort(key=lambda one: (not one.confirmed, -one.selected.difference))
    return out


def _row(one: Any, n_chains: int, evidence: tuple[PropertyEvidence, ...], plan: RulePlan) -> SpecializationRow:
    confirmed = [found for found in evidence if found.confirmed]
    kinds = {found.kind for found in confirmed}
    operation, value = bool(kinds & set(OPERATION_KINDS)), "value" in kinds
    kind: FeatureType = "general" if n_chains >= plan.least_firing else "untested"
    if operation and value:
        kind = "highly-specialized"
    elif operation or value:
        kind = "operation-specialized" if operation else "value-specialized"
    elif confirmed:
        kind = "length-specialized"
    return SpecializationRow(
        rank=one.rank,
        feature=one.feature,
        firing_rate=one.firing_rate,
        n_firing=one.n_firing,
        n_active=n_chains,
        type=kind,
        label=_label(confirmed),
        properties=evidence,
    )


def _label(confirmed: Sequence[PropertyEvidence]) -> str:
    """The strongest operation (else number of steps) and the strongest number, as the published labels are."""
    if not confirmed:
        return "mixed patterns"
    named: dict[str, str] = {}
    for found in confirmed:
        group = "value" if found.kind == "value" else "steps" if found.kind == "n_steps" else "operation"
        named.setdefault(group, f"number {found.name}" if group == "value" else found.name)
    if "operation" in named:
        named.pop("steps", None)
    return " + ".join(named[group] for group in ("operation", "steps", "value") if group in named)
