"""Pairs of features taken out together: is the joint effect the sum of the two?

Where only one of the two fires, the joint edit is the edit of that one: those problems are not run twice and depart
from the sum by exactly nothing. Only problems on which both fire can tell.
"""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from codi_int.errors import ConfigError
from codi_int.interventions.edits.basic import Ablate, check_features
from codi_int.interventions.engine.arms import ArmPlan
from codi_int.interventions.engine.engine import FeatureInterventionEngine, count_work
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.interventions.screens.additivity import PairRow, departure_of, judge_pairs, pair_row
from codi_int.interventions.screens.changes import ArmChange, arm_change, n_correct
from codi_int.interventions.screens.groups import group_by_rows, rows_per_group, run_groups
from codi_int.interventions.screens.judging import Again, measure_arms
from codi_int.interventions.screens.names import take_names
from codi_int.interventions.screens.screen import Screen, ScreenRow, assemble, judge_rows, place_rows, run_again
from codi_int.interventions.screens.screen_groups import Checkpoint, make_row
from codi_int.interventions.screens.sides import SelectionPlan, Sides, take_sides
from codi_int.progress import Progress, count_up
from codi_int.types import Problem, RunCounts, Site

Pair = tuple[int, int]
Keep = Callable[[Sequence[ScreenRow], Sequence[PairRow]], None]


def run_pairs(
    engine: FeatureInterventionEngine,
    problems: Sequence[Problem],
    pairs: Sequence[Pair],
    seed: int = 0,
    site: Site | None = None,
    checkpoint: Checkpoint | None = None,
    progress: Progress | None = None,
    selection: SelectionPlan | None = None,
    **names: Any,
) -> Screen:
    """Take out both features of every pair together and each alone; a screen of those features, with `pairs`.

    Args:
        engine: model, SAE and the way edits are made; its splice must be `add`.
        problems: on which problems.
        pairs: two features each; the same pair is run once, whichever way round.
        seed: of the resampling and of the matched features.
        site: which of the engine's sites; may be left out where it has one.
        checkpoint: of an earlier, interrupted run with the same settings, and where to keep what this one finishes.
        progress: called with (stage, done, total).
        selection: how families are corrected and on what they are confirmed.
        names: `data` and `sae_name`, where problems and SAE go by other names than their own.

    Raises:
        ConfigError: for no pair at all, a pair of a feature with itself, or a splice that drops the SAE's error.
        FeatureError: for a feature that the SAE does not have.
    """
    started = time.perf_counter()
    if engine.splice != "add":
        raise ConfigError(
            "Pairs need splice='add': without the SAE's error every arm has a cost of its own.",
            "Build the engine with splice='add'.",
        )
    wanted = check_pairs(pairs)
    sides = take_sides(problems, selection)
    context = engine.site_context(problems, site, progress)
    check_features([feature for pair in wanted for feature in pair], context.sae.d_sae)
    notes = engine.warn_at(context, [context.site])
    here = set(wanted)  # rows of other pairs, or of another site, must not join the family that is corrected
    work = _PairWorker(engine, context, sides, seed)
    checkpoint = checkpoint or Checkpoint()
    work.rows = {row.feature: row for row in checkpoint.rows if row.site == context.site}
    work.pairs = {
        (row.a, row.b): row for row in checkpoint.pairs if row.site == context.site and (row.a, row.b) in here
    }
    counts = work.run(wanted, checkpoint.keep, progress)
    features = sorted({feature for pair in wanted for feature in pair})
    found = assemble(
        engine,
        [context],
        place_rows([work.rows[feature] for feature in features], [context], seed),
        counts=[counts],
        kind="ablate",
        seed=seed,
        names=take_names(names, problems, engine.saes),
        started=started,
    )
    # last, for the clean pass of the confirming problems takes the place of the other one
    singles = judge_rows(found.rows, sides, lambda keys: run_again(engine, keys, sides, Ablate, progress), seed)
    rows, chosen = judge_pairs(
        [work.pairs[pair] for pair in wanted],
        sides,
        lambda keys: _pairs_again(engine, keys, sides, context.site, progress),
        seed,
    )
    return replace(
        found,
        rows=singles.rows,
        selection=singles.selection,
        pairs=rows,
        pair_selection=chosen,
        environment=replace(found.environment, seconds=time.perf_counter() - started),
        notes=(*notes, *sides.notes),
    )


def _pairs_again(
    engine: FeatureInterventionEngine, pairs: Sequence[Pair], sides: Sides, site: Site, progress: Progress | None
) -> Again:
    """What does not add up of some pairs, on the problems that confirm."""
    assert sides.confirming is not None
    context = engine.site_context(sides.confirming, site, progress)
    # nothing is selected there, so there is nothing to be confirmed or kept
    work = _PairWorker(engine, context, Sides(sides.confirming, SelectionPlan(confirm="none")), seed=0)
    advance = count_up(progress, "confirm", len(pairs))
    changes: dict[Hashable, ArmChange] = {}
    for pair in pairs:
        _, whole = work.changes_of([pair])
        changes[pair] = departure_of(whole[pair], (whole[pair[0],], whole[pair[1],]))
        advance(1)
    return Again(changes, n_correct(context.clean))


def check_pairs(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs without repeats, the smaller feature first; ConfigError where there is none, or one of equals."""
    if not pairs:
        raise ConfigError("There are no pairs to run.", "Give at least one pair of features.")
    for a, b in pairs:
        if a == b:
            raise ConfigError(f"Feature {a} cannot be paired with itself.", "Name two different features.")
    return list(dict.fromkeys((min(pair), max(pair)) for pair in pairs))


class _PairWorker:
    """Runs pairs in groups and collects the rows of pairs and of single features."""

    def __init__(self, engine: FeatureInterventionEngine, context: SiteContext, sides: Sides, seed: int) -> None:
        self._engine, self._context, self._sides, self._seed = engine, context, sides, seed
        self.rows: dict[int, ScreenRow] = {}
        self.pairs: dict[Pair, PairRow] = {}

    def run(self, wanted: Sequence[Pair], keep: Keep | None, progress: Progress | None) -> RunCounts:
        """All pairs; a group whose pairs are all finished is left out."""
        return run_groups(
            # a group needs nothing of another one: it plans the single features of its pairs itself
            group_by_rows(
                wanted,
                lambda pair: sum(len(plan.rows) for plan in self._plans([pair]).values()),
                rows_per_group(self._engine.model.device),
            ),
            score=self._score,
            is_finished=self._finished,
            keep=None if keep is None else lambda: keep(list(self.rows.values()), list(self.pairs.values())),
            advance=count_up(progress, "pairs", len(wanted)),
        )

    def _finished(self, group: Sequence[Pair]) -> bool:
        return set(group) <= self.pairs.keys() and {f for pair in group for f in pair} <= self.rows.keys()

    def _plans(self, group: Sequence[Pair]) -> dict[tuple[int, ...], ArmPlan]:
        """Each feature alone on its problems, and both together where both fire."""
        # in order and each once: a feature of several pairs is run alone once a group
        features = dict.fromkeys(feature for pair in group for feature in pair)
        singles = {(f,): self._engine.plan(self._context, Ablate(f)) for f in features}
        return singles | {pair: self._joint(pair) for pair in group}

    def _joint(self, pair: Pair) -> ArmPlan:
        plan = self._engine.plan(self._context, Ablate(pair))
        # Where only one of the two fires, ablating both is ablating that one: the same tensor, so the same answer. Such
        # rows are left out here and filled in from the single arm.
        both = (self._context.latents[:, list(pair)] != 0).all(1)[plan.rows.to(self._context.latents.device)]
        return plan.of(both)

    def changes_of(self, group: Sequence[Pair]) -> tuple[RunCounts, dict[tuple[int, ...], ArmChange]]:
        """The work, and the change of every pair and of every single feature of some pairs."""
        plans = self._plans(group)
        scores = dict(zip(plans, self._engine.score(self._context, list(plans.values())), strict=True))
        changes = {key: arm_change(self._context.clean, plan, scores[key]) for key, plan in plans.items()}
        changes |= {(a, b): _filled(changes[a, b], (changes[a,], changes[b,])) for a, b in group}
        return count_work(self._context, list(plans.values()), list(scores.values())), changes

    def _score(self, group: Sequence[Pair]) -> RunCounts:
        counts, changes = self.changes_of(group)
        self._keep_singles(changes)
        for a, b in group:
            self.pairs[a, b] = pair_row(
                (a, b),
                self._context.site,
                changes[a, b],
                (changes[a,], changes[b,]),
                sides=self._sides,
                seed=self._seed,
            )
        return counts

    def _keep_singles(self, changes: Mapping[tuple[int, ...], ArmChange]) -> None:
        new = {key[0]: change for key, change in changes.items() if len(key) == 1 and key[0] not in self.rows}
        for feature, measured in measure_arms(new, self._sides, self._seed).items():
            plan = self._engine.plan(self._context, Ablate(feature))
            self.rows[feature] = make_row(self._context, feature, plan, measured)


def _filled(both: ArmChange, parts: tuple[ArmChange, ArmChange]) -> ArmChange:
    """The joint change of all problems: measured where both fire, elsewhere that of the one that fires."""
    # touched by the joint arm = both fire; elsewhere at most one part differs from 0, so the sum is that part
    first, second = parts
    here = both.touched
    values = {
        name: whole + (getattr(first, name) + getattr(second, name)) * ~here
        for name in ("accuracy", "logprob", "margin", "probability")
        if (whole := getattr(both, name)) is not None
    }
    return replace(
        both,
        touched=first.touched | second.touched,
        answer=both.answer | ((first.answer | second.answer) & ~here),
        **values,
    )
