"""Which features inside a continuous chain of thought cause the answer, and how sure are we?

Every name below is loaded when it is first used, so that `import codi_int` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codi_int.data.answers import extract_answer, is_right, parse_steps
    from codi_int.data.problems import Problems, load_problems
    from codi_int.errors import CodiError, CodiWarning
    from codi_int.features.details import FeatureDetail, describe_feature
    from codi_int.features.pairs import SwapPairs, swap_pairs
    from codi_int.features.profiles import FeatureProfile, Profiles, profile_features, profile_sites
    from codi_int.features.rule_table import RuleComparison, compare_rules
    from codi_int.features.site_rules import RulesBySite, compare_sites
    from codi_int.features.specialization import specialization
    from codi_int.features.specialization_records import Specialization
    from codi_int.interventions.edits.basic import Ablate, Amplify, Swap
    from codi_int.interventions.edits.combined import AtSites, Together
    from codi_int.interventions.edits.residual import InterchangeResidual, ReplaceByMean, SteerAlong
    from codi_int.interventions.edits.values import Clamp, ClampAtPercentile, Interchange, Steer
    from codi_int.interventions.engine.controls import Controls
    from codi_int.interventions.engine.engine import FeatureInterventionEngine
    from codi_int.interventions.engine.later_effects import look_later
    from codi_int.interventions.evidence.compare import compare_paired
    from codi_int.interventions.evidence.families import adjust
    from codi_int.interventions.evidence.mean import estimate_mean
    from codi_int.interventions.kept import load_result
    from codi_int.interventions.patching.pairs import find_pairs, read_pairs
    from codi_int.interventions.patching.patch import participants, run_patch
    from codi_int.interventions.patching.predicted_run import run_predicted
    from codi_int.interventions.patching.predictions import parse_claim, predict_answers, predict_patch
    from codi_int.interventions.screens.agreement import agreement
    from codi_int.interventions.screens.attribution import attribute_sites
    from codi_int.interventions.screens.curves import AblationCurve, run_curve
    from codi_int.interventions.screens.interactions import run_pairs
    from codi_int.interventions.screens.mapping import run_map
    from codi_int.interventions.screens.paths import split_effect
    from codi_int.interventions.screens.rankings import rank_features
    from codi_int.interventions.screens.screen import Screen, run_screen
    from codi_int.interventions.screens.thought_map import MapPlan, ThoughtMap
    from codi_int.interventions.stopping import EarlyStopping, run_stop
    from codi_int.model.early import answer_after
    from codi_int.model.hooked import CodiModel
    from codi_int.model.hooks import HookPoint
    from codi_int.model.loading import load_model
    from codi_int.model.parity import check_parity
    from codi_int.model.store import save_model
    from codi_int.probes.probing import probe
    from codi_int.probes.records import ProbeMap
    from codi_int.probes.task import ProbeSettings
    from codi_int.report.figures import save_figures
    from codi_int.sae.captures import capture_to_disk, open_capture
    from codi_int.sae.kernels import encode_topk
    from codi_int.sae.recipe import SAETrainingConfig
    from codi_int.sae.store import load_sae, save_sae
    from codi_int.sae.training import train_sae
    from codi_int.sites import Site
    from codi_int.types import (
        Completion,
        Effect,
        Latents,
        Outcome,
        Problem,
        Result,
        SiteActivations,
        Step,
        ThoughtBatch,
    )

__version__ = "0.1.0"

_HOMES = {
    "Ablate": "interventions.edits.basic",
    "AblationCurve": "interventions.screens.curves",
    "Amplify": "interventions.edits.basic",
    "AtSites": "interventions.edits.combined",
    "Clamp": "interventions.edits.values",
    "ClampAtPercentile": "interventions.edits.values",
    "CodiError": "errors",
    "CodiModel": "model.hooked",
    "CodiWarning": "errors",
    "Completion": "types",
    "Controls": "interventions.engine.controls",
    "EarlyStopping": "interventions.stopping",
    "Effect": "types",
    "FeatureDetail": "features.details",
    "FeatureInterventionEngine": "interventions.engine.engine",
    "FeatureProfile": "features.profiles",
    "HookPoint": "model.hooks",
    "Interchange": "interventions.edits.values",
    "InterchangeResidual": "interventions.edits.residual",
    "Latents": "types",
    "MapPlan": "interventions.screens.thought_map",
    "Outcome": "types",
    "ProbeMap": "probes.records",
    "ProbeSettings": "probes.task",
    "Problem": "types",
    "Problems": "data.problems",
    "Profiles": "features.profiles",
    "ReplaceByMean": "interventions.edits.residual",
    "Result": "types",
    "RuleComparison": "features.rule_table",
    "RulesBySite": "features.site_rules",
    "RunComparison": "runs.compare",
    "SAETrainingConfig": "sae.recipe",
    "Screen": "interventions.screens.screen",
    "Site": "sites",
    "SiteActivations": "types",
    "Specialization": "features.specialization_records",
    "Steer": "interventions.edits.values",
    "SteerAlong": "interventions.edits.residual",
    "Step": "types",
    "Swap": "interventions.edits.basic",
    "SwapPairs": "features.pairs",
    "ThoughtBatch": "types",
    "ThoughtMap": "interventions.screens.thought_map",
    "Together": "interventions.edits.combined",
    "adjust": "interventions.evidence.families",
    "agreement": "interventions.screens.agreement",
    "answer_after": "model.early",
    "attribute_sites": "interventions.screens.attribution",
    "capture_to_disk": "sae.captures",
    "check_parity": "model.parity",
    "compare_paired": "interventions.evidence.compare",
    "compare_rules": "features.rule_table",
    "compare_runs": "runs.compare",
    "compare_sites": "features.site_rules",
    "describe_feature": "features.details",
    "encode_topk": "sae.kernels",
    "estimate_mean": "interventions.evidence.mean",
    "extract_answer": "data.answers",
    "find_pairs": "interventions.patching.pairs",
    "is_right": "data.answers",
    "load_model": "model.loading",
    "load_problems": "data.problems",
    "load_result": "interventions.kept",
    "load_sae": "sae.store",
    "look_later": "interventions.engine.later_effects",
    "open_capture": "sae.captures",
    "parse_claim": "interventions.patching.predictions",
    "parse_steps": "data.answers",
    "participants": "interventions.patching.patch",
    "predict_answers": "interventions.patching.predictions",
    "predict_patch": "interventions.patching.predictions",
    "probe": "probes.probing",
    "profile_features": "features.profiles",
    "profile_sites": "features.profiles",
    "published_specialization": "features.published",
    "rank_features": "interventions.screens.rankings",
    "read_pairs": "interventions.patching.pairs",
    "run_curve": "interventions.screens.curves",
    "run_map": "interventions.screens.mapping",
    "run_pairs": "interventions.screens.interactions",
    "run_patch": "interventions.patching.patch",
    "run_predicted": "interventions.patching.predicted_run",
    "run_screen": "interventions.screens.screen",
    "run_stop": "interventions.stopping",
    "save_figures": "report.figures",
    "save_model": "model.store",
    "save_sae": "sae.store",
    "specialization": "features.specialization",
    "split_effect": "interventions.screens.paths",
    "swap_pairs": "features.pairs",
    "train_sae": "sae.training",
}

__all__ = [
    "Ablate",
    "AblationCurve",
    "Amplify",
    "AtSites",
    "Clamp",
    "ClampAtPercentile",
    "CodiError",
    "CodiModel",
    "CodiWarning",
    "Completion",
    "Controls",
    "EarlyStopping",
    "Effect",
    "FeatureDetail",
    "FeatureInterventionEngine",
    "FeatureProfile",
    "HookPoint",
    "Interchange",
    "InterchangeResidual",
    "Latents",
    "MapPlan",
    "Outcome",
    "ProbeMap",
    "ProbeSettings",
    "Problem",
    "Problems",
    "Profiles",
    "ReplaceByMean",
    "Result",
    "RuleComparison",
    "RulesBySite",
    "RunComparison",
    "SAETrainingConfig",
    "Screen",
    "Site",
    "SiteActivations",
    "Specialization",
    "Steer",
    "SteerAlong",
    "Step",
    "Swap",
    "SwapPairs",
    "ThoughtBatch",
    "ThoughtMap",
    "Together",
    "adjust",
    "agreement",
    "answer_after",
    "attribute_sites",
    "capture_to_disk",
    "check_parity",
    "compare_paired",
    "compare_rules",
    "compare_runs",
    "compare_sites",
    "describe_feature",
    "encode_topk",
    "estimate_mean",
    "extract_answer",
    "find_pairs",
    "is_right",
    "load_model",
    "load_problems",
    "load_result",
    "load_sae",
    "look_later",
    "open_capture",
    "parse_claim",
    "parse_steps",
    "participants",
    "predict_answers",
    "predict_patch",
    "probe",
    "profile_features",
    "profile_sites",
    "published_specialization",
    "rank_features",
    "read_pairs",
    "run_curve",
    "run_map",
    "run_pairs",
    "run_patch",
    "run_predicted",
    "run_screen",
    "run_stop",
    "save_figures",
    "save_model",
    "save_sae",
    "specialization",
    "split_effect",
    "swap_pairs",
    "train_sae",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'codi_int' has no attribute {name!r}")
    return getattr(import_module(f"codi_int.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
