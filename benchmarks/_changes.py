"""Real change vectors: what ablating each feature of three sites does to every story, kept outside git.

L14.P3 has the shipped SAE; L10.P1 and L10.P5, where more is at stake, get theirs by `codi-int sae sweep`.
"""

from dataclasses import dataclass
from pathlib import Path

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
TRAIN = ("sae", "sweep", "--layer", "10", "--position", "1,5", "--k", "16", "--features", "512")


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
    """The vectors on a data set: from the cache, else measured once (some minutes)."""
    path = CACHE / f"{data.replace(':', '-').replace('/', '-')}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        found = measure(ci.load_problems(data))
        np.savez_compressed(path, **{name: getattr(found, name) for name in Vectors.__dataclass_fields__})
    with np.load(path) as kept:
        return Vectors(**{name: kept[name] for name in Vectors.__dataclass_fields__})


def measure(problems: Problems) -> Vectors:
    """Ablate every feature of the sites on every problem."""
    folder = CACHE / "saes"
    if not folder.exists():
        common.run_command(*TRAIN, "--out", str(folder.relative_to(common.ROOT)))
    model = ci.load_model("codi-mini")
    saes = {site: ci.load_sae(_sae_at(site, folder)) for site in SITES}
    engine = FeatureInterventionEngine(model, saes)
    columns = []
    for i, site in enumerate(SITES):
        context = engine.site_context(problems, site)
        before = np.exp([outcome.answer_logprob for outcome in context.clean.outcomes])
        for feature, change in sorted(_each_feature(engine, context), key=lambda pair: pair[0]):
            columns.append((i, feature, change, before * np.expm1(change.logprob)))
        print(f"{site}: {len(columns)} features so far", flush=True)
    return Vectors(
        accuracy=np.stack([change.accuracy for _, _, change, _ in columns], 1),
        logprob=np.stack([change.logprob for _, _, change, _ in columns], 1),
        probability=np.stack([p for _, _, _, p in columns], 1),
        touched=np.stack([change.touched for _, _, change, _ in columns], 1),
        site=np.array([i for i, _, _, _ in columns]),
        feature=np.array([feature for _, feature, _, _ in columns]),
    )


def _sae_at(site: Site, folder: Path) -> str:
    if site == SITES[0]:
        return f"codi-mini/{site}"
    (found,) = (folder / str(site)).iterdir()
    return str(found)


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
