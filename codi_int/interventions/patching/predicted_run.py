"""Runs of edits for which somebody said beforehand what they should do, with control edits that should not do it."""

import time
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch

from codi_int.data.chains import cluster_problems
from codi_int.interventions.edits.basic import MovableEdit
from codi_int.interventions.edits.combined import AtSites
from codi_int.interventions.engine.controls import Controls, as_controls, feature_stats, matched_features
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.site_context import SiteContext
from codi_int.interventions.engine.summary import arm_outcomes
from codi_int.interventions.patching.predicted import PredictedResult, PredictionTest, check_power
from codi_int.interventions.patching.prediction_scores import score_prediction
from codi_int.interventions.patching.predictions import Predictions
from codi_int.progress import Progress
from codi_int.types import Outcome, Problem, Result, Site

MATCHED = "the same edit of matched random features"


@torch.no_grad()
def run_predicted(
    engine: FeatureInterventionEngine,
    edit: MovableEdit,
    problems: Sequence[Problem],
    predictions: Predictions,
    seed: int = 0,
    controls: Controls | int | None = 20,
    progress: Progress | None = None,
    underpowered: bool = False,
    **settings: Any,
) -> PredictedResult:
    """Do one edit of features on all problems and compare the answers with those predicted.

    Args:
        engine: the engine, of one site.
        edit: such as `Swap(162, 165)`.
        problems: on which problems.
        predictions: what the answers should become, one for each problem; see `predict_answers`.
        seed: of the controls.
        controls: how many matched random features get the same edit, and are held against the prediction; the other
            controls of the record are run, too, and get no prediction.
        progress: called with (stage, done, total).
        underpowered: run even where too few informative problems are touched to answer the question.
        settings: `data`, `sae_name` and `bound`, as `FeatureInterventionEngine.run` takes them, and the deprecated
            `directions`.

    Raises:
        ConfigError: where too few informative problems are touched; an edit that touches no problem at all is an answer
            and no error.
        CodiError: as `FeatureInterventionEngine.run`.
    """
    started = time.perf_counter()
    asked = as_controls(controls, {"directions": settings.pop("directions", None)})
    context = engine.site_context(problems, None, progress)
    # refused before anything runs: with three informative problems no outcome could answer the question
    rows = engine.plan(context, edit).rows.tolist()
    if rows and not underpowered:
        informative = sum(predictions.rows[row].informative for row in rows)
        check_power(
            informative, f"of the {len(rows):,} touched problems have a predicted answer that is not the true one"
        )
    result = engine.run(
        edit,
        problems,
        seed=seed,
        controls=asked,
        progress=progress,
        **settings,
    )
    matched_controls = edited_outcomes(
        engine, problems, _matched(context, edit, asked.features, seed) if rows else [], None, progress
    )
    arms = result.outcomes
    tested = score_prediction(
        predictions,
        arms["clean"],
        arms["intervened"],
        controls=matched_controls,
        control_kind=MATCHED,
        clusters=cluster_problems(problems),
    )
    return with_prediction(result, predictions, tested, started)


def edited_outcomes(
    engine: FeatureInterventionEngine,
    problems: Sequence[Problem],
    edits: Sequence[Any],
    site: Site | None = None,
    progress: Progress | None = None,
) -> list[tuple[Outcome, ...]]:
    """The outcomes of all problems under each of some edits that share their sites, by the engine's clean pass."""
    if not edits:
        return []
    sites = edits[0].sites if isinstance(edits[0], AtSites) else ()
    context = engine.site_context(problems, sites[0] if sites else site, edited=sites)
    plans = engine.plan_all(context, edits)
    scores = engine.score(context, plans, progress)
    return [arm_outcomes(context.clean, plan, score) for plan, score in zip(plans, scores, strict=True)]


def with_prediction(
    result: Result,
    predictions: Predictions | None,
    tested: PredictionTest | None,
    started: float,
    notes: Sequence[str] = (),
) -> PredictedResult:
    """A result with what was predicted for it.

    Args:
        result: of the edit.
        predictions: what was predicted.
        tested: what came of it.
        started: `time.perf_counter()` before everything, so that the controls' time counts.
        notes: what a reader should know besides.
    """
    # a PredictedResult is a Result with more: its fields are taken over, whatever they are
    known = {f.name: getattr(result, f.name) for f in fields(Result)}
    rows = predictions.rows if predictions else ()
    known["notes"] = (*result.notes, *notes)
    known["environment"] = replace(result.environment, seconds=round(time.perf_counter() - started, 3))
    return PredictedResult(**known, prediction=tested, predictions=rows)


def _matched(context: SiteContext, edit: MovableEdit, draws: int, seed: int) -> list[Any]:
    """The same edit on features that fire as often and move the residual as far: those that the engine draws, too."""
    # the same draw as the engine's own controls (same statistics, same seed), so that a page speaks of one set
    stats = feature_stats(context.latents, context.sae.W_dec.float().norm(dim=1))
    return [edit.moved_to(features) for features in matched_features(stats, edit.features, draws, seed)]
