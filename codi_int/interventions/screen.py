"""The screen: the same edit on every feature of a site, exactly, with the tests corrected over all of them."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from codi_int.interventions.arms import ArmPlan, ArmScores
from codi_int.interventions.clean import CleanPass, Progress, same_number
from codi_int.interventions.continuous import logprob_effect
from codi_int.interventions.controls import feature_stats, matched_features, rank_among
from codi_int.interventions.edits import Ablate, MovableEdit, check_features
from codi_int.interventions.engine import FeatureInterventionEngine, Scene, count_work, edit_kind
from codi_int.interventions.environment import describe_environment
from codi_int.interventions.families import adjust
from codi_int.interventions.paired import PairedCounts, mcnemar_exact, score_interval
from codi_int.types import Environment, Problem, RunCounts, Site

ROWS_PER_GROUP = 4096
"""(feature, problem) rows that are scored before their features count as finished"""
RESAMPLES = 999


@dataclass(frozen=True)
class ScreenRow:
    """What the edit of one feature did."""

    feature: int
    """which feature"""
    firing_rate: float
    """share of problems on which it fires"""
    edit_size: float
    """mean norm of what the edit adds to a touched residual"""
    n_touched: int
    """problems on which the edit changed anything at all"""
    n_broken: int
    """right before, wrong after"""
    n_fixed: int
    """wrong before, right after"""
    n_answer_changed: int
    """problems that got another answer"""
    estimate: float
    """change of accuracy"""
    low: float
    """lower end of its interval"""
    high: float
    """upper end of its interval"""
    p_value: float | None
    """exact McNemar; None for a dead feature"""
    p_adjusted: float | None
    """Benjamini-Hochberg over the features of the screen that fire"""
    logprob: float
    """mean change of the clean answer's log-probability, nats"""
    logprob_low: float
    """lower end of its interval"""
    logprob_high: float
    """upper end of its interval"""
    logprob_p: float | None
    """Wilcoxon signed ranks; None for a dead feature"""
    logprob_p_adjusted: float | None
    """Benjamini-Hochberg over the features that fire"""
    rank: float | None = None
    """share of matched features whose change of accuracy is smaller in magnitude"""
    rank_logprob: float | None = None
    """the same for the log-probability"""


@dataclass(frozen=True)
class Screen:
    """A finished screen."""

    kind: str
    """what was done to each feature"""
    site: Site
    """where"""
    model: str
    """name of the model"""
    sae: str
    """name of the SAE"""
    data: str
    """name of the problems"""
    n_problems: int
    """how many"""
    n_correct: int
    """right answers of the undisturbed model"""
    seed: int
    """of the bootstrap and of the matched features"""
    rows: tuple[ScreenRow, ...]
    """one per feature, in the order of the features"""
    counts: RunCounts
    """work done and saved"""
    environment: Environment
    """versions, hashes, time"""

    schema = "codi-int/screen@1"

    def ranked(self) -> tuple[ScreenRow, ...]:
        """Strongest effects first: by accuracy's p-value, then by the log-probability's size."""
        return tuple(sorted(self.rows, key=lambda r: (1.0 if r.p_value is None else r.p_value, -abs(r.logprob))))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": self.schema, **asdict(self)}


def run_screen(
    engine: FeatureInterventionEngine,
    problems: Sequence[Problem],
    features: Sequence[int] | None = None,
    make_edit: Callable[[int], MovableEdit] = Ablate,
    seed: int = 0,
    site: Site | None = None,
    data: str = "unnamed",
    sae_name: str = "unnamed",
    done: Mapping[int, ScreenRow] | None = None,
    keep: Callable[[Sequence[ScreenRow]], None] | None = None,
    progress: Progress | None = None,
) -> Screen:
    """Do one edit on every feature and measure each.

    Args:
        engine: model, SAE and the way edits are made.
        problems: on which problems.
        features: which features, in the order in which they are run; default all.
        make_edit: from a feature to its edit; default zero ablation.
        seed: of the bootstrap and of the matched features.
        site: which of the engine's sites; may be left out where it has one.
        data, sae_name: what to call the problems and the SAE.
        done: rows of an earlier, interrupted screen with the same settings; they are taken as they are.
        keep: called with all finished rows whenever more of them are finished.
        progress: called with (stage, done, total).

    Raises:
        FeatureError: for a feature that the SAE does not have.
    """
    started = time.perf_counter()
    scene = engine.scene(problems, site, progress)
    wanted = list(range(scene.sae.d_sae)) if features is None else check_features(features, scene.sae.d_sae)
    rows = {f: row for f, row in (done or {}).items() if f in set(wanted)}
    plans = {f: engine.plan(scene, make_edit(f)) for f in wanted}
    # grouped before finished ones are left out: what shares a batch, and so rounding, is the same on a second try
    groups = [group for group in _groups(plans) if not set(group) <= rows.keys()]
    plans = {f: plans[f] for group in groups for f in group}
    scored: list[ArmScores] = []
    total = sum(len(plan.rows) for plan in plans.values())
    for group in groups:
        scores = engine.score(scene, [plans[f] for f in group])
        rows |= {f: _measure(scene.clean, f, plans[f], s, seed) for f, s in zip(group, scores, strict=True)}
        scored += scores
        if keep:
            keep(list(rows.values()))
        if progress:
            progress("screen", sum(len(score.answers) for score in scored), total)
    return Screen(
        kind=edit_kind(make_edit(wanted[0])),
        site=scene.site,
        model=engine.model.name,
        sae=sae_name,
        data=data,
        n_problems=len(scene.clean.problems),
        n_correct=sum(outcome.correct for outcome in scene.clean.outcomes),
        seed=seed,
        rows=_finished([rows[f] for f in sorted(wanted)], scene, seed),
        counts=count_work(scene, list(plans.values()), scored),
        environment=describe_environment(engine.model, scene.sae, scene.clean.problems, time.perf_counter() - started),
    )


def _groups(plans: Mapping[int, ArmPlan]) -> Iterator[list[int]]:
    """Features in groups of about `ROWS_PER_GROUP` rows: enough for full batches, few enough to save in between."""
    group: list[int] = []
    size = 0
    for feature, plan in plans.items():
        group.append(feature)
        size += len(plan.rows)
        if size >= ROWS_PER_GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def _measure(clean: CleanPass, feature: int, plan: ArmPlan, scores: ArmScores, seed: int) -> ScreenRow:
    """One feature's effect; p-values are adjusted once all are known."""
    places = plan.rows.tolist()
    before = [clean.outcomes[i] for i in places]
    right = [same_number(answer, clean.problems[i].answer) for answer, i in zip(scores.answers, places, strict=True)]
    counts = PairedCounts(
        len(clean.problems),
        sum(b.correct and not r for b, r in zip(before, right, strict=True)),
        sum(r and not b.correct for b, r in zip(before, right, strict=True)),
    )
    change = np.zeros(len(clean.problems))
    change[places] = scores.logprobs.double().numpy() - np.array([b.answer_logprob for b in before])
    interval = score_interval(counts)
    logprob = logprob_effect(change, seed=seed, method="wilcoxon", resamples=RESAMPLES)
    return ScreenRow(
        feature=feature,
        firing_rate=plan.firing_rate,
        edit_size=plan.edit_size,
        n_touched=len(places),
        n_broken=counts.broken,
        n_fixed=counts.fixed,
        n_answer_changed=sum(a != b.answer for a, b in zip(scores.answers, before, strict=True)),
        estimate=counts.estimate,
        low=interval.low if places else 0.0,
        high=interval.high if places else 0.0,
        p_value=mcnemar_exact(counts) if places else None,
        p_adjusted=None,
        logprob=logprob.estimate,
        logprob_low=logprob.low,
        logprob_high=logprob.high,
        logprob_p=logprob.p_value,
        logprob_p_adjusted=None,
    )


def _finished(rows: Sequence[ScreenRow], scene: Scene, seed: int) -> tuple[ScreenRow, ...]:
    """The rows with p-values adjusted over all of them, and each placed among features like it."""
    accuracy = adjust([row.p_value for row in rows], "benjamini-hochberg")
    logprob = adjust([row.logprob_p for row in rows], "benjamini-hochberg")
    stats = feature_stats(scene.latents, scene.sae.W_dec.detach().float().norm(dim=1))
    of = {row.feature: row for row in rows}
    out = []
    for row, p, q in zip(rows, accuracy, logprob, strict=True):
        drawn = [f for (f,) in matched_features(stats, [row.feature], seed=seed) if f in of] if row.n_touched else []
        rank = rank_among(row.estimate, [of[f].estimate for f in drawn])
        rank_logprob = rank_among(row.logprob, [of[f].logprob for f in drawn])
        out.append(replace(row, p_adjusted=p, logprob_p_adjusted=q, rank=rank, rank_logprob=rank_logprob))
    return tuple(out)
