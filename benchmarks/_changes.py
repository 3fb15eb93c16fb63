"""Real change vectors: what ablating each feature of three sites does to every story, kept outside git.

The SAEs are the shipped ones, so that the vectors are the same wherever they are measured.
"""

from dataclasses import dataclass

import _common as common
import numpy as np
from numpy.typing import NDArray

import codi_int as ci
from codi_int.data.problems import Problems
from codi_int.interventions.engine.engine import FeatureInterventionEngine, SiteContext
from codi_int.interventions.screens.changes import ArmChange, arm_change
from codi_int.interventions.screens.groups import group_by_rows
from codi_int.types import Site

CACHE = common.ROOT / "build" / "calibration"
SITES = (Site(14, 3), Site(10, 1), Site(10, 5))


@dataclass(frozen=True)
class Vectors:
    """Changes of every feature that touches anything, one row per problem."""

    accuracy: NDArray[np.float64]
    """1 repaired, -1 broken, else 0. [n, features]"""
    logprob: NDArray[np.float64]
    """change of the clean answer's log-probability, nats. [n, features]"""
    probability: NDArray[np.float64]
    """change of its probability. [n, features]"""
    touched: NDArray[np.bool_]
    """whether the edit changed anything. [n, features]"""
    site: NDArray[np.int64]
    """place in `SITES`. [features]"""
    feature: NDArray[np.int64]
    """index within its SAE. [features]"""


def load_vectors(data: str = "stories:validation") -> Vectors:
    """The vectors on a data set: site by site from the cache, else measured once (some minutes)."""
    parts = []
    for i, site in enumerate(SITES):
        path = CACHE / f"{data.replace(':', '-').replace('/', '-')}-{site}.npz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(path, **vars(measure(i, ci.load_problems(data))))
            print(f"-> {path.relative_to(common.ROOT)}", flush=True)
        with np.load(path) as kept:
            parts.append({name: kept[name] for name in Vectors.__dataclass_fields__})
    return Vectors(**{name: np.concatenate([part[name] for part in parts], -1) for name in parts[0]})


def measure(place: int, problems: Problems) -> Vectors:
    """Ablate every feature of one of the sites on every problem."""
    site = SITES[place]
    engine = FeatureInterventionEngine(ci.load_model("codi-mini"), {site: ci.load_sae(f"codi-mini/{site}")})
    context = engine.site_context(problems, site)
    before = np.exp([outcome.answer_logprob for outcome in context.clean.outcomes])
    found = sorted(_each_feature(engine, context), key=lambda pair: pair[0])
    changes = [change for _, change in found]
    return Vectors(
        accuracy=np.stack([change.accuracy for change in changes], 1),
        logprob=np.stack([change.logprob for change in changes], 1),
        probability=np.stack([before * np.expm1(change.logprob) for change in changes], 1),
        touched=np.stack([change.touched for change in changes], 1),
        site=np.full(len(changes), place),
        feature=np.array([feature for feature, _ in found]),
    )


def _each_feature(engine: FeatureInterventionEngine, context: SiteContext) -> list[tuple[int, ArmChange]]:
    plans = ((feature, engine.plan(context, ci.Ablate(feature))) for feature in range(context.sae.d_sae))
    alive = ((feature, plan) for feature, plan in plans if len(plan.rows))
    found = []
    for group in group_by_rows(alive, lambda item: len(item[1].rows)):
        scores = engine.score(context, [plan for _, plan in group])
        found += [
            (feature, arm_change(context.clean, plan, score))
            for (feature, plan), score in zip(group, scores, strict=True)
        ]
    return found
