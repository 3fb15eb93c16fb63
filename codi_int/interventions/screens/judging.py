"""From measured arms to findings: the family, what it selects, the confirmation, and a word for each arm."""

import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from codi_int.data.problems import name_of_problems, problems_sha256
from codi_int.interventions.evidence.clusters import Clusters, read_clusters
from codi_int.interventions.evidence.conclusions import Findings, conclude, detectable_change
from codi_int.interventions.evidence.confirmation import Candidate, Confirmed, confirm, confirmation_power
from codi_int.interventions.evidence.equivalence import fewest_for_equivalence
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.evidence.family import ALPHA, Family, Flips, Member, find, for_means
from codi_int.interventions.evidence.flips import estimate_accuracy
from codi_int.interventions.evidence.paired import PairedCounts
from codi_int.interventions.screens.changes import ArmChange, measure_changes, part_of
from codi_int.interventions.screens.confirmed import Confirmation, Selection
from codi_int.interventions.screens.sides import Sides
from codi_int.records import ArmEffect, Estimate

Key = TypeVar("Key", bound=Hashable)
EQUIVALENCE = "bh"
"""corrects the equivalence tests of everything that was looked at, a family of their own"""


@dataclass(frozen=True)
class Measured:
    """One arm on the problems that select."""

    key: Hashable
    """what it is: a site and a feature, a cell"""
    effect: ArmEffect
    """on all of them"""
    flips: Flips
    """the same, problem by problem"""
    folds: tuple[ArmEffect, ...] = ()
    """on either fold, where two folds confirm each other"""


@dataclass(frozen=True)
class Again:
    """What was selected, run on the problems that confirm."""

    changes: Mapping[Hashable, ArmChange]
    """of every arm that was asked for"""
    n_correct: int
    """problems that are right without an edit"""


@dataclass(frozen=True)
class Measures:
    """How changes are turned into numbers; pairs of features measure what does not add up."""

    arms: Callable[[Sequence[ArmChange], int, float], list[ArmEffect]]
    """from changes on the same problems, a seed and the bound"""
    accuracy: Callable[[NDArray[np.float64], NDArray[np.int64]], Estimate]
    """of changes of accuracy and their clusters, alone"""


def _measure(changes: Sequence[ArmChange], seed: int, bound: float) -> list[ArmEffect]:
    return measure_changes(changes, seed, bound=bound)


EFFECTS = Measures(_measure, estimate_accuracy)


@dataclass(frozen=True)
class Judged:
    """What became of the arms, in their order."""

    effects: tuple[ArmEffect, ...]
    """with adjusted p-values and conclusions"""
    selected: tuple[bool, ...]
    """whether each is a finding of accuracy on the problems (in either fold) that select"""
    selected_logprob: tuple[bool, ...]
    """the same for the log-probability"""
    confirmations: tuple[Confirmation | None, ...]
    """of those that were selected, by either measure; where both folds confirm one, the less sure of the two"""
    selection: Selection
    """the whole"""


@dataclass(frozen=True)
class _Choice:
    """What some problems select among all arms."""

    family: Family
    """of accuracy"""
    logprob: tuple[float | None, ...]
    """adjusted p-values of the means"""

    def first(self, n: int) -> "_Choice":
        """The same choice, of the first n arms alone; the family stays what it was."""
        family = replace(self.family, p_adjusted=self.family.p_adjusted[:n], found=self.family.found[:n])
        return _Choice(family, self.logprob[:n])

    @property
    def found_logprob(self) -> tuple[bool, ...]:
        """Findings of the log-probability."""
        return tuple(p is not None and p < ALPHA for p in self.logprob)

    @property
    def places(self) -> list[int]:
        """Arms that either measure selects."""
        either = zip(self.family.found, self.found_logprob, strict=True)
        return [i for i, (a, b) in enumerate(either) if a or b]


def measure_arms(
    changes: Mapping[Key, ArmChange], sides: Sides, seed: int = 0, measures: Measures = EFFECTS
) -> dict[Key, Measured]:
    """Every arm on the problems that select, and on either fold where these confirm each other."""
    arms, bound = list(changes.values()), sides.plan.bound
    effects = measures.arms(arms, seed, bound)
    folds: list[list[ArmEffect]] = []
    if sides.folds is not None:
        for fold in (0, 1):
            parts = [part_of(change, sides.folds == fold) for change in arms]
            folds.append(measures.arms(parts, seed, bound))
    return {
        key: Measured(key, effect, Flips.of(change.accuracy), tuple(fold[i] for fold in folds))
        for i, (key, change, effect) in enumerate(zip(changes, arms, effects, strict=True))
    }


def judge(
    measured: Sequence[Measured],
    sides: Sides,
    again: Callable[[Sequence[Any]], Again] | None = None,
    seed: int = 0,
    measures: Measures = EFFECTS,
    besides: Sequence[Measured] = (),
) -> Judged:
    """Correct the family, confirm what it selects, and conclude.

    Args:
        measured: everything that was looked at.
        sides: who selects and who confirms.
        again: runs the arms of some keys on the confirming problems; called once, and only where something was
            selected and a set of its own confirms.
        seed: of resampling.
        measures: how the changes of confirming problems are turned into numbers.
        besides: what was looked at elsewhere, from which these were picked: it counts in the family, and no more.
    """
    everything, n = [*measured, *besides], len(measured)
    whole = _choose([(one.effect, one.flips) for one in everything], sides.groups, sides, seed).first(n)
    started = time.perf_counter()
    confirmed: dict[int, Confirmation] = {}
    n_correct = None
    if sides.folds is not None:
        choices = [_choose_in_fold(everything, sides, fold, seed).first(n) for fold in (0, 1)]
        confirmed = _confirm_folds(measured, choices, _sizes(sides))
    else:
        choices = [whole]
        if sides.confirming is not None and whole.places and again is not None:
            ran = again([measured[i].key for i in whole.places])
            confirmed, n_correct = _confirm_on_set(measured, whole, ran, sides, (seed, measures)), ran.n_correct
    selected = tuple(any(each) for each in zip(*(c.family.found for c in choices), strict=True))
    by_logprob = tuple(any(each) for each in zip(*(c.found_logprob for c in choices), strict=True))
    equivalence = adjust([one.effect.p_equivalence for one in everything], EQUIVALENCE)
    effects = _concluded(measured, whole, selected, confirmed, (sides, equivalence))
    summary = _summary(everything, whole, (selected, by_logprob), confirmed, sides)
    smallest = [_detectable(n, sides, one.family.critical) for n, one in zip(_sizes(sides), choices, strict=True)]
    return Judged(
        effects=effects,
        selected=selected,
        selected_logprob=by_logprob,
        confirmations=tuple(confirmed.get(i) for i in range(len(measured))),
        selection=replace(
            summary,
            # of two folds the blunter one: either selects
            minimum_detectable=None if None in smallest else max(one for one in smallest if one is not None),
            n_correct_confirming=n_correct,
            seconds=time.perf_counter() - started,
        ),
    )


def _sizes(sides: Sides) -> list[int]:
    """Problems that select: all of them, or those of either fold."""
    return [len(sides.problems)] if sides.folds is None else np.bincount(sides.folds, minlength=2).tolist()


def _detectable(n: int, sides: Sides, level: float) -> float | None:
    """What an edit that may change any answer would have to do to be found."""
    # as single effects count them: in problems worth as much as independent ones
    return detectable_change(PairedCounts(math.floor(n / sides.groups.design_effect), 0, 0), 1.0, level)


def _choose(arms: Sequence[tuple[ArmEffect, Flips]], groups: Clusters, sides: Sides, seed: int) -> _Choice:
    """What some problems select; flips are counted on them alone."""
    n, correction = groups.codes.size, sides.plan.correction
    members = [
        Member.of(effect.accuracy.p_value, flips.changes(n), groups, effect.testable is not False)
        for effect, flips in arms
    ]
    logprob = adjust([effect.logprob.p_value for effect, _ in arms], for_means(correction))
    return _Choice(find(members, correction, seed=seed), tuple(logprob))


def _choose_in_fold(measured: Sequence[Measured], sides: Sides, fold: int, seed: int) -> _Choice:
    assert sides.folds is not None
    inside = sides.folds == fold
    groups = read_clusters(sides.clusters[inside], int(inside.sum()))
    arms = [(one.folds[fold], Flips.of(one.flips.changes(inside.size)[inside])) for one in measured]
    return _choose(arms, groups, sides, seed)


def _confirm_on_set(
    measured: Sequence[Measured], choice: _Choice, ran: Again, sides: Sides, how: tuple[int, Measures]
) -> dict[int, Confirmation]:
    """What problems of their own say of everything selected."""
    (seed, measures), places, clusters = how, choice.places, sides.confirming_clusters
    changes = [ran.changes[measured[i].key] for i in places]
    effects = measures.arms(changes, seed, sides.plan.bound)
    here = _Arms([measured[i].effect for i in places], len(sides.problems))
    found = _confirm_fold(places, here, _Arms(effects, clusters.size), choice, n_folds=1)
    fresh = sides.fresh
    # nothing was left out, or what is left has no spread
    if fresh.all() or np.unique(clusters[fresh]).size < 2:
        return found
    return {
        i: replace(
            found[i],
            fresh=measures.accuracy(change.accuracy[fresh], clusters[fresh]),
            n_fresh=int(fresh.sum()),
        )
        for i, change in zip(places, changes, strict=True)
    }


def _confirm_folds(
    measured: Sequence[Measured], choices: Sequence[_Choice], sizes: Sequence[int]
) -> dict[int, Confirmation]:
    """Each fold's selection on the other; of what both confirm, the one that is less sure speaks."""
    found: dict[int, list[Confirmation]] = {}
    for fold, choice in enumerate(choices):
        here, there = (_Arms([measured[i].folds[k] for i in choice.places], sizes[k]) for k in (fold, 1 - fold))
        for i, one in _confirm_fold(choice.places, here, there, choice, n_folds=2).items():
            found.setdefault(i, []).append(replace(one, fold=fold))
    return {i: _speaking(several) for i, several in found.items()}


def _speaking(several: Sequence[Confirmation]) -> Confirmation:
    """Of one arm's confirmations what is reported; each measure's own, where these are of different folds."""

    # Were it the surer of two that are confirmed, its estimate would be selected once more, on what confirms it.
    def order(confirmed: bool | None, p_adjusted: float | None) -> tuple[bool, bool, float]:
        return (confirmed is None, not confirmed, 0.0 if p_adjusted is None else -p_adjusted)

    first = min(several, key=lambda one: order(one.confirmed, one.accuracy.p_adjusted))
    by_logprob = min(several, key=lambda one: order(one.confirmed_logprob, one.logprob.p_adjusted))
    if first.confirmed is None or by_logprob.confirmed_logprob is None:
        return by_logprob if first.confirmed is None else first
    return replace(first, logprob=by_logprob.logprob, confirmed_logprob=by_logprob.confirmed_logprob)


@dataclass(frozen=True)
class _Arms:
    """What was selected, on one side."""

    effects: Sequence[ArmEffect]
    """in the order of the places"""
    n: int
    """problems"""


def _confirm_fold(
    places: Sequence[int], here: _Arms, there: _Arms, choice: _Choice, n_folds: int
) -> dict[int, Confirmation]:
    """Arms that some problems selected (`here`), on others (`there`)."""
    pairs = list(zip(places, here.effects, there.effects, strict=True))
    accuracy = _confirmed(
        [
            Candidate(i, a.accuracy.value, b.accuracy.value, b.accuracy.p_value)
            for i, a, b in pairs
            if choice.family.found[i]
        ],
        n_folds,
    )
    logprob = _confirmed(
        [
            Candidate(i, a.logprob.value, b.logprob.value, b.logprob.p_value)
            for i, a, b in pairs
            if choice.found_logprob[i]
        ],
        n_folds,
    )
    equivalence = adjust([effect.p_equivalence for effect in there.effects], "holm")
    found = {}
    for (i, before, after), p in zip(pairs, equivalence, strict=True):
        flips = PairedCounts(here.n, before.n_broken, before.n_fixed)
        one = _confirmation(after, there.n, accuracy.get(i), logprob.get(i))
        found[i] = replace(
            one,
            # the same halved level as everything else that two folds say
            p_equivalence=None if p is None else min(p * n_folds, 1.0),
            power=confirmation_power(flips, there.n, len(accuracy), n_folds, ALPHA) if i in accuracy else None,
        )
    return found


def _confirmed(candidates: Sequence[Candidate], n_folds: int) -> dict[int, Confirmed]:
    # another fold's candidates do not enter this one's family: the folds share the level alone
    first, *_ = confirm([candidates, *[()] * (n_folds - 1)], ALPHA)
    return {int(str(one.key)): one for one in first}


def _confirmation(effect: ArmEffect, n: int, accuracy: Confirmed | None, logprob: Confirmed | None) -> Confirmation:
    return Confirmation(
        n=n,
        n_broken=effect.n_broken,
        n_fixed=effect.n_fixed,
        accuracy=replace(effect.accuracy, p_adjusted=None if accuracy is None else accuracy.p_adjusted),
        logprob=replace(effect.logprob, p_adjusted=None if logprob is None else logprob.p_adjusted),
        confirmed=None if accuracy is None else accuracy.confirmed,
        confirmed_logprob=None if logprob is None else logprob.confirmed,
        power=None,
    )


def _concluded(
    measured: Sequence[Measured],
    whole: _Choice,
    selected: Sequence[bool],
    confirmed: Mapping[int, Confirmation],
    more: tuple[Sides, Sequence[float | None]],
) -> tuple[ArmEffect, ...]:
    """The effects with their adjusted p-values and a word for each; `more` has the equivalence tests'."""
    sides, equivalence = more
    out = []
    for i, one in enumerate(measured):
        effect = replace(
            one.effect,
            accuracy=replace(one.effect.accuracy, p_adjusted=whole.family.p_adjusted[i]),
            logprob=replace(one.effect.logprob, p_adjusted=whole.logprob[i]),
            p_equivalence_adjusted=equivalence[i],
        )
        findings = _findings(effect, whole.family.found[i], selected[i], confirmed.get(i), sides)
        out.append(replace(effect, conclusion=conclude(findings, ALPHA).conclusion))
    return tuple(out)


def _findings(
    effect: ArmEffect, found: bool, selected: bool, confirmation: Confirmation | None, sides: Sides
) -> Findings:
    testable = effect.testable is not False and effect.n_touched > 0
    if selected and confirmation is not None:
        return Findings(
            p_change=confirmation.accuracy.p_adjusted,
            p_equivalence=confirmation.p_equivalence,
            testable=testable,
            confirmed=confirmation.confirmed,
        )
    # where selections are confirmed, nothing else is a change; the family's step-up decides, not its adjusted p-value
    changed = found and sides.confirmed_on is None
    return Findings(
        p_change=effect.accuracy.p_adjusted if changed else None,
        p_equivalence=effect.p_equivalence_adjusted,
        testable=testable,
    )


def _summary(
    measured: Sequence[Measured],
    whole: _Choice,
    selected: tuple[Sequence[bool], Sequence[bool]],
    confirmed: Mapping[int, Confirmation],
    sides: Sides,
) -> Selection:
    touching = sum(one.effect.n_touched > 0 for one in measured)
    n, confirming = len(sides.problems), sides.confirming
    named = sides.confirmed_on is not None
    return Selection(
        correction=sides.plan.correction,
        alpha=ALPHA,
        bound=sides.plan.bound,
        n_tested=whole.family.n_tests,
        n_untested=touching - whole.family.n_tests,
        n_selected=sum(selected[0]),
        n_confirmed=sum(one.confirmed is True for one in confirmed.values()) if named else None,
        n_selected_logprob=sum(selected[1]),
        n_confirmed_logprob=sum(one.confirmed_logprob is True for one in confirmed.values()) if named else None,
        minimum_detectable=None,
        # in problems as they come here, of which several may count as one
        fewest_for_equivalence=math.ceil(fewest_for_equivalence(sides.plan.bound, ALPHA) * sides.groups.design_effect),
        selected_on=name_of_problems(sides.problems),
        n_selecting=n,
        selected_sha256=problems_sha256(sides.problems),
        confirmed_on=sides.confirmed_on,
        n_confirming=None if confirming is None else len(confirming),
        confirmed_sha256=None if confirming is None else confirming.sha256,
    )
