"""Patches: something of one problem's thoughts put into another problem's, and what the answers should become.

If a site holds the result of a step, a patch from a problem with another result there should turn the answer into the
one that the target's own steps give with that result; a patch from a problem with the same result should change
nothing. The two are each other's control. A third control puts problems with a third result in the sources' place, as
like the targets as the sources are, and counts how often that gives the answers that were predicted for the real ones.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codi_int.data.answers import is_right
from codi_int.data.chains import cluster_problems
from codi_int.data.problems import Problems
from codi_int.errors import ConfigError
from codi_int.interventions.edits.combined import AtSites
from codi_int.interventions.edits.residual import InterchangeResidual
from codi_int.interventions.edits.values import Interchange
from codi_int.interventions.engine.controls import Controls, as_controls
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.evidence.clusters import Clusters, read_clusters
from codi_int.interventions.evidence.flips import accuracy_by_cluster
from codi_int.interventions.evidence.shares import least_sure
from codi_int.interventions.evidence.verdicts import p_words
from codi_int.interventions.patching.pairs import Pairing, random_sources, third_value_sources
from codi_int.interventions.patching.predicted import PredictedResult
from codi_int.interventions.patching.predicted_run import edited_outcomes, with_prediction
from codi_int.interventions.patching.prediction_scores import score_prediction
from codi_int.interventions.patching.predictions import Predictions
from codi_int.progress import Progress
from codi_int.records import Alias, Estimate, flatten
from codi_int.types import Outcome, Problem, Site

RANDOM_SOURCES, THIRD_VALUE = "random sources", "sources with a third value"


@dataclass(frozen=True)
class Participants:
    """The problems that a patch needs, and no others: targets and sources."""

    problems: tuple[Problem, ...]
    """in the order in which they stood"""
    sources: tuple[int, ...]
    """for each of them the row of its source, or -1 for one that only lends"""
    step: int | None = None
    """the step whose result is exchanged, from 1; None where none was named"""


@dataclass(frozen=True)
class ValueContrast:
    """Patches of another value against patches of the same value, on the problems that got both."""

    n: int
    """problems that were the target of both"""
    n_changed_different: int
    """answers that became another one under the patch of another value"""
    n_changed_same: int
    """the same under the patch of the same value"""
    difference: Estimate
    """of the two shares; exact sign flips by cluster of the targets and of either source: the least sure of them"""
    confidence: float
    """level of the interval"""
    verdict: str
    """the finding in words"""

    estimate = Alias[float]("difference.value")
    low = Alias[float]("difference.low")
    high = Alias[float]("difference.high")
    p_value = Alias[float]("difference.p_value")

    columns = (
        "n",
        "n_changed_different",
        "n_changed_same",
        "estimate",
        "low",
        "high",
        "confidence",
        "p_value",
        "verdict",
    )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return dict(flatten(self))


def participants(problems: Sequence[Problem], pairing: Pairing, step: int | None = None) -> Participants:
    """Targets and sources of some pairs; `step` is the one whose result they exchange."""
    targets = [row for row, source in enumerate(pairing.sources) if source >= 0]
    # in the order of the data, so that a patch runs on the same problems in the same order whatever the pairing
    needed = sorted({*targets, *(pairing.sources[row] for row in targets)})
    # -1 (no source) maps to itself: problems that only lend their values are in the run and are not edited
    place = {row: i for i, row in enumerate(needed)} | {-1: -1}
    chosen = tuple(problems[row] for row in needed)
    if isinstance(problems, Problems):
        chosen = Problems(chosen, problems.name)
    return Participants(chosen, tuple(place[pairing.sources[row]] for row in needed), step)


def patch_edit(sites: Sequence[Site], sources: Sequence[int], features: Sequence[int] | None = None) -> Any:
    """The edit that a patch is.

    Args:
        sites: where; at several, each gets what the source's clean run has there.
        sources: for each problem the row of its source, or -1.
        features: the latents that are exchanged, `()` for all of them; None for the activation itself.

    Raises:
        ConfigError: for features of a place that no SAE reads, or no site at all.
    """
    if not sites:
        raise ConfigError("A patch at no site changes nothing.", "Name at least one.")
    rows = tuple(sources)
    edit: Any = InterchangeResidual(rows) if features is None else Interchange(tuple(features) or None, rows)
    return edit if len(sites) == 1 else AtSites(tuple((site, edit) for site in sites))


@torch.no_grad()
def run_patch(
    engine: FeatureInterventionEngine,
    members: Participants,
    sites: Sequence[Site],
    predictions: Predictions | None = None,
    features: Sequence[int] | None = None,
    controls: Controls | int | None = 20,
    seed: int = 0,
    progress: Progress | None = None,
    **names: Any,
) -> PredictedResult:
    """Patch all targets, with what was predicted and the controls.

    Args:
        engine: the engine, which knows the sites; it needs their SAEs only for `features`.
        members: targets and sources; see `participants`.
        sites: where; a site of the component `thought` takes the whole vector that is fed next.
        predictions: what the answers should become, one for each problem of `members`; see `predict_patch`.
        features: the latents that are exchanged, `()` for all; None for the activation itself.
        controls: how many times problems with a third result (without a step: random ones) take the sources' place, and
            where features are named, how many
            matched ones are exchanged instead; a record asks for the engine's other controls besides.
        seed: of the controls.
        progress: called with (stage, done, total).
        names: `data` and `sae_name`, as `FeatureInterventionEngine.run` takes them.

    Raises:
        CodiError: as `FeatureInterventionEngine.run`.
    """
    started = time.perf_counter()
    asked = as_controls(controls)
    edit = patch_edit(sites, members.sources, features)
    predicts = predictions is not None and predictions.n_informative > 0
    # Control sources answer "does any other problem's activation bring the predicted answer?"; they are no arms of the
    # effect and are drawn only where something was predicted.
    drawn = _control_sources(members, asked.features, seed) if predicts else ()
    place = sites[0] if len(sites) == 1 else None
    result = engine.run(
        edit,
        members.problems,
        seed=seed,
        # the same exchange of other features needs features to be named
        controls=asked if features else replace(asked, features=0),
        site=place,
        progress=progress,
        **names,
    )
    tested = None
    if predictions is not None and predicts:
        matched_controls = edited_outcomes(
            engine, members.problems, [patch_edit(sites, sources, features) for sources in drawn], place, progress
        )
        arms = result.outcomes
        tested = score_prediction(
            predictions,
            arms["clean"],
            arms["intervened"],
            controls=matched_controls,
            control_kind=RANDOM_SOURCES if members.step is None else THIRD_VALUE,
            clusters=pair_clusters(members),
        )
    return with_prediction(result, predictions, tested, started, _sources_note(members))


def _control_sources(members: Participants, draws: int, seed: int) -> tuple[tuple[int, ...], ...]:
    if members.step is None:
        return random_sources(members.sources, draws, seed)
    return third_value_sources(members.problems, members.sources, members.step, draws, seed)


def pair_clusters(members: Participants) -> NDArray[np.int64]:
    """Clusters of each problem and of its source, its own where it has none. [n, 2]"""
    own = cluster_problems(members.problems)
    sources = np.array([row if source < 0 else source for row, source in enumerate(members.sources)], dtype=np.int64)
    return np.stack([own, own[sources]], axis=1)


@dataclass(frozen=True)
class PairedAnswers:
    """Whether answers changed under two patches, on the problems that got both."""

    before: NDArray[np.float64]
    """1 where it did with a source of the same value. [n]"""
    after: NDArray[np.float64]
    """the same of another value. [n]"""
    found: Estimate
    """of the difference of the two shares"""


def compare_values(
    same: PredictedResult,
    different: PredictedResult,
    confidence: float = 0.95,
    problems: Sequence[Problem] | None = None,
    only: frozenset[str] | None = None,
) -> PairedAnswers | None:
    """Answers that change when the value is another one, against those that change when it is the same.

    Args:
        same: with sources of the same value.
        different: with sources of another one.
        confidence: of the interval.
        problems: all of them: those that ask for the same calculations are one cluster, by the targets, by the sources
            of the same value and by those of another one, of which the least sure is given.
        only: ids of the problems that count; all by default.

    Returns:
        None where no problem got both patches.
    """
    changes = [_changed(result) for result in (same, different)]
    both = [problem for problem in changes[0] if problem in changes[1] and (only is None or problem in only)]
    if not both:
        return None
    before, after = (np.array([change[problem] for problem in both], dtype=np.float64) for change in changes)
    # "answer changed" takes the place of "right": sign flips compare any two yes-or-no outcomes of the same problems
    kinds = [None] if problems is None else _labels(problems, both, (same, different))
    groups = [read_clusters(None, len(both)) if labels is None else _clusters(labels) for labels in kinds]
    found = least_sure([accuracy_by_cluster(after - before, one, confidence) for one in groups])
    return PairedAnswers(before, after, found)


def _clusters(labels: NDArray[np.int64]) -> Clusters:
    # of the problems that got both, which may be a single cluster: its p-value is then 1
    return Clusters(labels, np.bincount(labels)).within(np.ones(labels.size, dtype=np.bool_))


def contrast_values(
    same: PredictedResult,
    different: PredictedResult,
    confidence: float = 0.95,
    problems: Sequence[Problem] | None = None,
) -> ValueContrast | None:
    """How many more answers change when the value is another one; None where no problem got both patches.

    By which clusters is said at `compare_values`.
    """
    both = compare_values(same, different, confidence, problems)
    if both is None:
        return None
    n, after, before = both.before.size, int(both.after.sum()), int(both.before.sum())
    p_value = 1.0 if both.found.p_value is None else both.found.p_value
    return ValueContrast(
        n=n,
        n_changed_different=after,
        n_changed_same=before,
        difference=both.found,
        confidence=confidence,
        verdict=_contrast_words(n, after, before, p_value, 1.0 - confidence),
    )


def _labels(
    problems: Sequence[Problem], ids: Sequence[str], results: Sequence[PredictedResult]
) -> list[NDArray[np.int64] | None]:
    """Clusters of some problems by their ids, and of the source that each of them has in each result."""
    known = dict(zip((problem.id for problem in problems), cluster_problems(problems).tolist(), strict=True))
    sources = [{row.problem_id: row.source_id or row.problem_id for row in result.predictions} for result in results]
    everybody = [list(ids), *([of[name] for name in ids] for of in sources)]
    return [np.array([known[name] for name in names], dtype=np.int64) for names in everybody]


def _changed(result: PredictedResult) -> dict[str, bool]:
    """Target -> whether its answer became another one."""
    targets = {row.problem_id for row in result.predictions if row.source_id is not None}
    pairs = zip(result.outcomes["clean"], result.outcomes["intervened"], strict=True)
    return {a.problem_id: not _alike(a, b) for a, b in pairs if a.problem_id in targets}


def _alike(before: Outcome, after: Outcome) -> bool:
    # two answers without a number are alike, and a number is unlike none
    if before.answer is None or after.answer is None:
        return before.answer is after.answer
    return is_right(after.answer, before.answer)


def _contrast_words(n: int, different: int, same: int, p_value: float, alpha: float) -> str:
    counts = f"{different} of {n:,} answers change with another value and {same} with the same one ({p_words(p_value)})"
    if p_value >= alpha:
        return f"That the value matters is not shown: {counts}."
    return f"The value matters: {counts}." if different > same else f"The same value disturbs more: {counts}."


def _sources_note(members: Participants) -> tuple[str, ...]:
    count = sum(source < 0 for source in members.sources)
    if not count:
        return ()
    return (f"{count:,} of the {len(members.problems):,} problems only lend a value; nothing is changed in them.",)
