"""Which features inside a continuous chain of thought cause the answer, and how sure are we?

Every name below is loaded when it is first used, so that `import codi_int` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codi_int.data.answers import extract_answer, parse_steps
    from codi_int.data.problems import load_problems
    from codi_int.errors import CodiError
    from codi_int.interventions.agreement import agreement
    from codi_int.interventions.attribution import attribute_sites
    from codi_int.interventions.combined import AtSites, Together
    from codi_int.interventions.curves import AblationCurve, run_curve
    from codi_int.interventions.edits import Ablate, Amplify, Swap
    from codi_int.interventions.engine import FeatureInterventionEngine
    from codi_int.interventions.interactions import run_pairs
    from codi_int.interventions.mapping import run_map
    from codi_int.interventions.pairs import find_pairs, read_pairs
    from codi_int.interventions.patching import participants, run_patch
    from codi_int.interventions.predicted_run import run_predicted
    from codi_int.interventions.predictions import parse_claim, predict_answers, predict_patch
    from codi_int.interventions.rankings import rank_features
    from codi_int.interventions.residual_edits import InterchangeResidual, ReplaceByMean, SteerAlong
    from codi_int.interventions.roads import split_effect
    from codi_int.interventions.screen import Screen, run_screen
    from codi_int.interventions.statistics import compare_paired
    from codi_int.interventions.thought_map import MapPlan, ThoughtMap
    from codi_int.interventions.values import Clamp, Interchange, Steer
    from codi_int.model.hooked import CodiModel
    from codi_int.model.loading import load_model
    from codi_int.model.store import save_model
    from codi_int.report.figures import save_figures
    from codi_int.sae.kernels import encode_topk
    from codi_int.sae.store import load_sae
    from codi_int.types import (
        Completion,
        Effect,
        Latents,
        Outcome,
        Problem,
        Result,
        Site,
        SiteActivations,
        Step,
        ThoughtBatch,
    )

__version__ = "0.1.0"

_HOMES = {
    "Ablate": "interventions.edits",
    "AblationCurve": "interventions.curves",
    "Amplify": "interventions.edits",
    "AtSites": "interventions.combined",
    "Clamp": "interventions.values",
    "CodiError": "errors",
    "CodiModel": "model.hooked",
    "Completion": "types",
    "Effect": "types",
    "FeatureInterventionEngine": "interventions.engine",
    "Interchange": "interventions.values",
    "InterchangeResidual": "interventions.residual_edits",
    "Latents": "types",
    "MapPlan": "interventions.thought_map",
    "Outcome": "types",
    "Problem": "types",
    "ReplaceByMean": "interventions.residual_edits",
    "Result": "types",
    "Screen": "interventions.screen",
    "Site": "types",
    "SiteActivations": "types",
    "Steer": "interventions.values",
    "SteerAlong": "interventions.residual_edits",
    "Step": "types",
    "Swap": "interventions.edits",
    "ThoughtBatch": "types",
    "ThoughtMap": "interventions.thought_map",
    "Together": "interventions.combined",
    "agreement": "interventions.agreement",
    "attribute_sites": "interventions.attribution",
    "compare_paired": "interventions.statistics",
    "encode_topk": "sae.kernels",
    "extract_answer": "data.answers",
    "find_pairs": "interventions.pairs",
    "load_model": "model.loading",
    "load_problems": "data.problems",
    "load_sae": "sae.store",
    "parse_claim": "interventions.predictions",
    "parse_steps": "data.answers",
    "participants": "interventions.patching",
    "predict_answers": "interventions.predictions",
    "predict_patch": "interventions.predictions",
    "rank_features": "interventions.rankings",
    "read_pairs": "interventions.pairs",
    "run_curve": "interventions.curves",
    "run_map": "interventions.mapping",
    "run_pairs": "interventions.interactions",
    "run_patch": "interventions.patching",
    "run_predicted": "interventions.predicted_run",
    "run_screen": "interventions.screen",
    "save_figures": "report.figures",
    "save_model": "model.store",
    "split_effect": "interventions.roads",
}

__all__ = [
    "Ablate",
    "AblationCurve",
    "Amplify",
    "AtSites",
    "Clamp",
    "CodiError",
    "CodiModel",
    "Completion",
    "Effect",
    "FeatureInterventionEngine",
    "Interchange",
    "InterchangeResidual",
    "Latents",
    "MapPlan",
    "Outcome",
    "Problem",
    "ReplaceByMean",
    "Result",
    "Screen",
    "Site",
    "SiteActivations",
    "Steer",
    "SteerAlong",
    "Step",
    "Swap",
    "ThoughtBatch",
    "ThoughtMap",
    "Together",
    "agreement",
    "attribute_sites",
    "compare_paired",
    "encode_topk",
    "extract_answer",
    "find_pairs",
    "load_model",
    "load_problems",
    "load_sae",
    "parse_claim",
    "parse_steps",
    "participants",
    "predict_answers",
    "predict_patch",
    "rank_features",
    "read_pairs",
    "run_curve",
    "run_map",
    "run_pairs",
    "run_patch",
    "run_predicted",
    "run_screen",
    "save_figures",
    "save_model",
    "split_effect",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'codi_int' has no attribute {name!r}")
    return getattr(import_module(f"codi_int.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
