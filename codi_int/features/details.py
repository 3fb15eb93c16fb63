"""One feature in full: where it fires most, on what kinds of problems, and what its decoder row says."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codi_int.data.steps import write_step
from codi_int.features.decoder import DirectionToken, Neighbour, nearest_features, read_directions
from codi_int.features.profiles import FeatureProfile, Profiles
from codi_int.features.properties import Property, PropertyKind, read_properties
from codi_int.proportions import wilson_interval
from codi_int.records import flatten
from codi_int.shown import Shown
from codi_int.types import Number

SCHEMA = "codi-int/feature@1"
LEAST = 5
"""problems that a number needs to have a row of its own"""
NUMBERS: tuple[PropertyKind, ...] = ("value", "result", "answer")
"""kinds of which only those with at least `LEAST` problems are listed"""


@dataclass(frozen=True)
class TopProblem:
    """A problem on which a feature fires strongly."""

    problem_id: str
    """which problem"""
    activation: float
    """the latent, with its sign"""
    question: str
    """what it asks"""
    steps: tuple[str, ...]
    """its written steps, such as <<20*3=60>>; empty where it has none"""
    answer: Number
    """its true answer"""
    correct: bool | None
    """whether the undisturbed model answers it right; None where it was not asked"""


@dataclass(frozen=True)
class ActivationGroup:
    """A feature on the problems of which some property holds."""

    kind: PropertyKind
    """operation, operation of step, pattern, n_steps, value, result, answer, correct"""
    name: str
    """which of that kind"""
    n: int
    """problems of which it holds"""
    n_firing: int
    """on how many of these the feature fires"""
    firing_rate: float
    """the share of the two"""
    low: float
    """lower end of its 95% interval (Wilson; problems taken as independent)"""
    high: float
    """upper end"""
    share_of_firing: float | None
    """of the problems on which the feature fires, the share that has the property; None where it never fires"""
    base_rate: float
    """of all problems, the share that has the property"""
    mean_activation: float | None
    """mean of the latent, with its sign, where it fires; None where it does not"""


@dataclass(frozen=True, repr=False)
class FeatureDetail(Shown):
    """All that is known of one feature on some problems."""

    profile: FeatureProfile
    """how often and how strongly it fires; rank 0 and no activation where it fires on none of the problems"""
    site: str
    """where its SAE reads"""
    model: str
    """name of the model"""
    sae: str
    """name of the SAE"""
    data: str
    """name of the problems"""
    top: tuple[TopProblem, ...]
    """where it fires most strongly, by magnitude"""
    groups: tuple[ActivationGroup, ...]
    """by property; numbers where at least five problems have them"""
    promotes: tuple[DirectionToken, ...]
    """what the logit lens reads off its decoder row; empty without a model"""
    suppresses: tuple[DirectionToken, ...]
    """what it reads off the row turned round: what a negative latent writes"""
    nearest: tuple[Neighbour, ...]
    """features whose decoder rows are most alike"""
    missing: tuple[str, ...] = ()
    """what could not be told, and why"""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": SCHEMA, **flatten(self)}


def describe_feature(profiles: Profiles, feature: int, top: int = 5) -> FeatureDetail:
    """One feature in full.

    Args:
        profiles: of its SAE.
        feature: its index; it may be one that never fires.
        top: problems, tokens and neighbours to name.

    Raises:
        SAEError: no feature of that index.
    """
    column = profiles.column(feature)
    near = nearest_features(profiles.sae.W_dec, [feature], top)[0]
    row, model = profiles.sae.W_dec[[feature]], profiles.model
    profile = profiles.by_feature.get(feature) or _silent(feature, profiles.n_problems, near[0])
    return FeatureDetail(
        profile=profile,
        site=str(profiles.site),
        model="" if model is None else model.name,
        sae=profiles.sae.name,
        data=profiles.data,
        top=top_problems(profiles, column, top),
        groups=activation_groups(profiles, column),
        promotes=() if model is None else read_directions(model, row, top)[0],
        suppresses=() if model is None else read_directions(model, -row, top)[0],
        nearest=near,
        missing=_missing(profiles, profile),
    )


def activation_groups(profiles: Profiles, column: NDArray[np.float32]) -> tuple[ActivationGroup, ...]:
    """How a feature behaves on the problems that have each property.

    Args:
        profiles: whose problems.
        column: its latent on each of them. [n]
    """
    table = read_properties(profiles.problems, profiles.correct)
    if not table.properties:
        return ()
    n, firing = table.present.sum(0), (column != 0).astype(np.float64)
    present = table.present.astype(np.float64)
    n_firing, sums = firing @ present, column.astype(np.float64) @ present
    return tuple(
        _group(one, size, fires, total=total, fires=int(firing.sum()), of=len(column))
        for one, size, fires, total in zip(
            table.properties, n.tolist(), n_firing.astype(int).tolist(), sums.tolist(), strict=True
        )
        if one.kind not in NUMBERS or size >= LEAST
    )


def _group(one: Property, n: int, n_firing: int, *, total: float, fires: int, of: int) -> ActivationGroup:
    low, high = wilson_interval(n_firing, n)
    return ActivationGroup(
        kind=one.kind,
        name=one.name,
        n=n,
        n_firing=n_firing,
        firing_rate=n_firing / n,
        low=float(low),
        high=float(high),
        share_of_firing=n_firing / fires if fires else None,
        base_rate=n / of,
        mean_activation=total / n_firing if n_firing else None,
    )


def top_problems(profiles: Profiles, column: NDArray[np.float32], top: int) -> tuple[TopProblem, ...]:
    """Where a feature fires most strongly, by magnitude.

    Args:
        profiles: whose problems.
        column: its latent on each of them. [n]
        top: how many at most.
    """
    # stable: of equal activations the first problem comes first
    order = np.argsort(-np.abs(column), kind="stable")[:top].tolist()
    rows = [i for i in order if column[i] != 0 and i < len(profiles.problems)]
    return tuple(
        TopProblem(
            problem_id=problem.id,
            activation=float(column[i]),
            question=problem.question,
            steps=tuple(map(write_step, problem.steps)),
            answer=problem.answer,
            correct=None if profiles.correct is None else bool(profiles.correct[i]),
        )
        for i in rows
        for problem in (profiles.problems[i],)
    )


def _silent(feature: int, n: int, near: Neighbour) -> FeatureProfile:
    """The profile of a feature that fires on none of the problems."""
    return FeatureProfile(
        rank=0,
        feature=feature,
        firing_rate=0.0,
        n_firing=0,
        n_problems=n,
        mean_activation=0.0,
        max_activation=0.0,
        nearest=near.feature,
        nearest_cosine=near.cosine,
    )


def _missing(profiles: Profiles, profile: FeatureProfile) -> tuple[str, ...]:
    words = []
    if not profile.n_firing:
        words.append(f"feature {profile.feature} fires on none of these problems: nothing is known of where it would.")
    if not profiles.problems:
        words.append("only activations were given: top problems and properties are not known.")
    elif not profiles.has_steps:
        words.append("no problem has written steps: operations, numbers and patterns are not known.")
    if profiles.correct is None:
        words.append("the model was not asked to answer: right and wrong answers are not told apart.")
    if profiles.model is None:
        words.append("no model was given: its decoder row is not read as words.")
    return tuple(words)
