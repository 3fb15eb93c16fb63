"""Is what is frequent, clean or readable also what matters? Rank correlations with what removing features did.

Over the features of a site the features are given and the problems vary: groups of calculations are left out one by
one, and both the measure and the effect are those of the problems that stay. (Drawing problems again with replacement
does not serve: a rare feature that is missed has neither, so that every draw agrees better than the sample.) Over
sites, layers are drawn again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from codi_int.data.chains import cluster_problems, split_folds
from codi_int.data.problems import as_problems
from codi_int.errors import ConfigError
from codi_int.features.decoder import read_directions
from codi_int.features.profiles import Profiles
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.evidence.concordance import bca_interval, rank_correlation
from codi_int.interventions.screens.screen import Checkpoint, run_screen
from codi_int.interventions.screens.sides import NONE, SelectionPlan
from codi_int.progress import Progress
from codi_int.records import Alias, Estimate, flatten
from codi_int.shown import Shown
from codi_int.types import OPERATIONS, Problem, Site, SiteLike

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
SCHEMA = "codi-int/relevance@1"
DRAWS, GROUPS = 1_000, 40
CONFIDENCE = 0.95
METHOD = "delete-a-group jackknife of calculations, on Fisher's z"
_ALMOST_ONE = 1 - 1e-12
FEWEST = 10
"""features or sites below which no correlation is worked out"""
OVER_ALL, WHERE_FIRING, ACCURACY = "probability", "probability where it fires", "accuracy"
EFFECTS = (OVER_ALL, WHERE_FIRING, ACCURACY)
"""sizes of effects: mean change of the clean answer's probability over all problems, over those on which the feature
fires, and mean change of accuracy"""
OTHER_HALF = "the same effect on the other half of the problems"
"""r, how far an effect on one half of the problems tells that on the other: a measure that knew the true effects could
be expected to reach about the square root of 2 r / (1 + r)"""


@dataclass(frozen=True, eq=False)
class FeatureEffects:
    """What removing each feature of a site changed, problem by problem."""

    site: Site
    """where"""
    features: tuple[int, ...]
    """those that touch any problem"""
    probability: Floats
    """change of the clean answer's probability. [n, features]"""
    accuracy: Floats
    """1 repaired, -1 broken, else 0. [n, features]"""


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's coefficient of a measure and the size of an effect."""

    measure: str
    """what is ranked"""
    effect: str
    """against the size of what"""
    n: int
    """features or sites"""
    coefficient: Estimate
    """with its interval; 0 without one where either does not differ"""

    value = Alias[float]("coefficient.value")
    low = Alias[float | None]("coefficient.low")
    high = Alias[float | None]("coefficient.high")
    method = Alias[str]("coefficient.method")

    columns = ("measure", "effect", "n", "value", "low", "high", "method")


@dataclass(frozen=True, repr=False)
class Relevance(Shown):
    """All rank correlations of a site's features."""

    site: Site
    """where"""
    sae: str
    """name of the SAE"""
    data: str
    """name of the problems"""
    n_problems: int
    """how many"""
    n_features: int
    """features that touch any"""
    rows: tuple[RankCorrelation, ...]
    """one for each measure and effect; the last for each effect is `OTHER_HALF`"""

    schema = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"schema": self.schema, **flatten(self), "rows": [flatten(row) for row in self.rows]}

    def to_frame(self) -> "pd.DataFrame":
        """One row per measure and effect, as pandas' data frame."""
        import pandas as pd

        return pd.DataFrame([flatten(row) for row in self.rows], columns=list(RankCorrelation.columns))


def measure_effects(
    engine: FeatureInterventionEngine,
    problems: Sequence[Problem],
    site: SiteLike,
    progress: Progress | None = None,
) -> FeatureEffects:
    """Ablate every feature of a site and keep what changed on each problem.

    Args:
        engine: the model and its SAEs.
        problems: on which problems.
        site: where.
        progress: called with (stage, done, total).

    Raises:
        SiteError: a site that the engine has no SAE for.
    """
    place, problems = Site.parse(site), as_problems(problems)
    found: dict[int, tuple[Floats, Floats]] = {}

    def watch(changes: Mapping[Any, Any]) -> None:
        for (_, feature), change in changes.items():
            if change.touched.any():
                found[feature] = change.probability, change.accuracy

    run_screen(
        engine,
        problems,
        site=place,
        checkpoint=Checkpoint(watch=watch),
        progress=progress,
        selection=SelectionPlan(confirm=NONE),
    )
    features = tuple(sorted(found))
    columns = [np.stack([found[feature][i] for feature in features], 1) for i in range(2)]
    return FeatureEffects(place, features, *columns)


def relate_features(
    profiles: Profiles,
    effects: FeatureEffects,
    rows: Float[Tensor, "n d_model"] | None = None,
    seed: int = 0,
    groups: int = GROUPS,
) -> Relevance:
    """Rank correlations over the features of a site.

    Args:
        profiles: of the SAE's features, on the problems that the effects were measured on.
        effects: what removing each of them did.
        rows: activations of the problems at the site; None lets the model think again.
        seed: of the groups.
        groups: of calculations, left out one after the other for the intervals.

    Raises:
        ConfigError: effects of another site or of other problems, or too few features.
    """
    n = len(effects.probability)
    if profiles.site != effects.site or profiles.n_problems != n or not len(profiles.problems):
        raise ConfigError(
            f"The effects are of {n} problems at {effects.site}, the profiles of {profiles.n_problems} at "
            f"{profiles.site}.",
            "Profile the same problems at the same site.",
        )
    if len(effects.features) < FEWEST:
        raise ConfigError(
            f"{len(effects.features)} features touch any problem; a rank correlation takes {FEWEST}.",
            "Take an SAE with more features that fire, or more problems.",
        )
    parts = _Parts.of(profiles, effects, rows)
    left_out = _leave_out(cluster_problems(profiles.problems), groups, seed)
    found = []
    for effect in EFFECTS:
        for measure in (*parts.measures, OTHER_HALF):
            columns, statistic = parts.compare(measure, effect)
            coefficient = _jackknife(columns, statistic, left_out)
            found.append(RankCorrelation(measure, effect, len(effects.features), coefficient))
    return Relevance(
        site=effects.site,
        sae=profiles.sae.name,
        data=profiles.data,
        n_problems=n,
        n_features=len(effects.features),
        rows=tuple(found),
    )


def _leave_out(clusters: NDArray[np.int64], groups: int, seed: int) -> Floats:
    """Which problems count: all of them, then all but each group of calculations. [1 + groups, n]"""
    order = np.random.default_rng(seed).permutation(int(clusters.max()) + 1)
    group = (order % min(groups, order.size))[clusters]
    return np.vstack([np.ones(clusters.size), group != np.arange(group.max() + 1)[:, None]])


def _jackknife(columns: Floats, statistic: Callable[[Floats], Floats], left_out: Floats) -> Estimate:
    """A coefficient of means over problems with its interval.

    Source: P. Kott, The delete-a-group jackknife, Journal of Official Statistics 17 (2001) 521-526.
    """
    from scipy.special import stdtrit  # Student's quantile

    found = statistic(left_out @ columns / left_out.sum(1)[:, None])
    value, others = float(found[0]), found[1:]
    if not np.isfinite(found).all():
        return Estimate(0.0 if not np.isfinite(value) else value, None, None, method="none: one of the two is constant")
    z = np.arctanh(np.clip(found, -_ALMOST_ONE, _ALMOST_ONE))
    n = others.size
    reach = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2) * np.sqrt((n - 1) / n * ((z[1:] - z[1:].mean()) ** 2).sum()))
    return Estimate(value, float(np.tanh(z[0] - reach)), float(np.tanh(z[0] + reach)), method=METHOD)


@dataclass(frozen=True, eq=False)
class _Parts:
    """What measures and effects are means of, problem by problem. [n, features]"""

    fires: Floats
    size: Floats
    gained: Floats
    effects: FeatureEffects
    fold: NDArray[np.int64]
    fixed: Mapping[str, Floats]
    """measures that do not depend on which problems are drawn. [features]"""

    measures = ("firing rate", "mean activation", "variance explained", "lens", "probe")

    @classmethod
    def of(cls, profiles: Profiles, effects: FeatureEffects, x: Tensor | None) -> "_Parts":
        latents = np.stack([profiles.column(feature) for feature in effects.features], 1).astype(np.float64)
        model, rows = profiles.model, profiles.sae.W_dec[list(effects.features)]
        lens = [0.0] * len(rows) if model is None else [one[0].probability for one in read_directions(model, rows, 1)]
        return cls(
            fires=(latents != 0).astype(np.float64),
            size=np.abs(latents),
            gained=_gained(profiles, effects.features, x),
            effects=effects,
            fold=split_folds(profiles.problems),
            fixed={"lens": np.array(lens), "probe": read_by_probe(latents, profiles.problems)},
        )

    def compare(self, measure: str, effect: str) -> tuple[Floats, Callable[[Floats], Floats]]:
        """Columns whose means over problems tell a measure and an effect, and the coefficient of such means."""
        changed = self.effects.accuracy if effect == ACCURACY else self.effects.probability
        per = self.fires if effect == WHERE_FIRING else np.ones_like(self.fires)
        f = changed.shape[1]
        if measure == OTHER_HALF:
            first, second = (changed * (self.fold == fold)[:, None] for fold in (0, 1))
            one, two = (per * (self.fold == fold)[:, None] for fold in (0, 1))
            columns = np.hstack([first, one, second, two])
            return columns, lambda means: rank_correlation(
                np.abs(_ratio(means[:, :f], means[:, f : 2 * f])),
                np.abs(_ratio(means[:, 2 * f : 3 * f], means[:, 3 * f :])),
            )
        above, below = {
            "firing rate": (self.fires, np.ones_like(self.fires)),
            "mean activation": (self.size, self.fires),
            "variance explained": (self.gained, np.ones_like(self.fires)),
        }.get(measure, (np.tile(self.fixed.get(measure, np.zeros(f)), (len(changed), 1)), np.ones_like(self.fires)))
        columns = np.hstack([changed, per, above, below])
        return columns, lambda means: rank_correlation(
            _ratio(means[:, 2 * f : 3 * f], means[:, 3 * f :]),
            np.abs(_ratio(means[:, :f], means[:, f : 2 * f])),
        )


def _ratio(above: Floats, below: Floats) -> Floats:
    """0 where a feature fires on none of the problems that were drawn."""
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)


@torch.no_grad()
def _gained(profiles: Profiles, features: Sequence[int], x: Tensor | None) -> Floats:
    """How much longer the SAE's error becomes, squared, without each feature: what it explains. [n, features]"""
    if x is None:
        if profiles.model is None or profiles.site is None:
            raise ConfigError("These profiles do not know their activations.", "Make them with profile_features.")
        x = profiles.model.think(profiles.problems, capture=[profiles.site]).at(profiles.site).values
    error = (x - profiles.sae.decode(profiles.latents)).double()
    rows = profiles.sae.W_dec[list(features)].double()
    latents = torch.from_numpy(np.stack([profiles.column(feature) for feature in features], 1)).double()
    # |error + a d|^2 - |error|^2
    return np.asarray((2 * latents * (error @ rows.T) + latents**2 * rows.square().sum(1)).cpu().numpy())


def read_by_probe(latents: Floats, problems: Sequence[Problem]) -> Floats:
    """The largest share of variance that each latent alone explains linearly of something that is written. [features]

    Asked for are the results of the first three steps, whether each operation occurs, and the number of steps; each on
    the problems that have it.
    """
    wanted = [
        *([p.steps[i].result if len(p.steps) > i else np.nan for p in problems] for i in range(3)),
        *([float(any(step.operation == one for step in p.steps)) for p in problems] for one in OPERATIONS),
        [float(len(p.steps)) for p in problems],
    ]
    best = np.zeros(latents.shape[1])
    for values in np.array(wanted, dtype=np.float64):
        known = np.isfinite(values)
        if known.sum() < FEWEST or np.ptp(values[known]) == 0:
            continue
        x, y = latents[known] - latents[known].mean(0), values[known] - values[known].mean()
        spread = np.sqrt((x**2).sum(0) * (y**2).sum())
        best = np.maximum(best, _ratio((x.T @ y), spread) ** 2)
    return best


def relate_sites(
    measures: Mapping[str, ArrayLike],
    effects: Mapping[str, ArrayLike],
    layers: Sequence[int] | NDArray[np.int64],
    seed: int = 0,
    draws: int = DRAWS,
) -> tuple[RankCorrelation, ...]:
    """Rank correlations over sites: each measure against the size of each effect.

    Args:
        measures: name to a number for each site; NaN leaves the site out of that measure.
        effects: name to a change for each site; its size counts.
        layers: of each site; whole layers are drawn again, for the sites of one are alike.
        seed: of the draws.
        draws: how many.

    Raises:
        ConfigError: columns of another length than the layers, or too few sites.
    """
    rows = []
    for effect, changes in effects.items():
        for measure, values in measures.items():
            a, b = np.asarray(values, dtype=np.float64), np.abs(np.asarray(changes, dtype=np.float64))
            if a.shape != b.shape or a.shape != (len(layers),):
                raise ConfigError(
                    f"{measure} has {a.size} values and {effect} {b.size} for {len(layers)} sites.",
                    "Give a number for each site, in one order.",
                )
            known = np.isfinite(a) & np.isfinite(b)
            if known.sum() < FEWEST:
                raise ConfigError(
                    f"{measure} and {effect} are known at {int(known.sum())} sites; a rank correlation takes {FEWEST}.",
                    "Give more sites.",
                )
            found = _over_layers(a[known], b[known], np.asarray(layers)[known], seed, draws)
            rows.append(RankCorrelation(measure, effect, int(known.sum()), found))
    return tuple(rows)


def _over_layers(a: Floats, b: Floats, layers: NDArray[Any], seed: int, draws: int) -> Estimate:
    value = float(rank_correlation(a, b))
    rng, names = np.random.default_rng(seed), np.unique(layers)
    if not np.isfinite(value):
        return Estimate(0.0, None, None, method="none: one of the two does not differ")
    if names.size < 3:
        return Estimate(value, None, None, method="none: too few layers to be drawn again")
    places = [np.flatnonzero(layers == name) for name in names]

    def coefficient(chosen: Sequence[NDArray[np.int64]]) -> float:
        rows = np.concatenate(chosen)
        return float(rank_correlation(a[rows], b[rows]))

    drawn = np.array([coefficient([places[i] for i in rng.integers(0, names.size, names.size)]) for _ in range(draws)])
    left = np.array([coefficient([p for j, p in enumerate(places) if j != i]) for i in range(names.size)])
    interval = bca_interval(value, drawn, left)
    low, high = (None, None) if interval is None else interval
    return Estimate(value, low, high, method="BCa bootstrap of layers")
