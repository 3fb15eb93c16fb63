"""How specialization, death and quality go with K and the size of the dictionary: points, and the laws claimed of them.

A point is one SAE. Laws are fitted to counts of features, and their intervals draw SAEs again, for features of one SAE
are not independent of each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from codi_int.errors import ConfigError
from codi_int.features.rule_table import RuleCell, RuleComparison
from codi_int.records import Estimate, flatten
from codi_int.sae.base import SAE
from codi_int.sae.metrics import measure
from codi_int.types import Site

Floats = NDArray[np.float64]
CLAIMED_EXPONENT = -1.0
"""of the published law: the specialized share is proportional to 1 / K"""
DRAWS = 500
CONFIDENCE = 0.95
_SMALLEST, _LARGEST = 1e-9, float(np.log(0.999))
_STEPS = 60
"""of Fisher's scoring; ten are enough unless shares come near 1"""


@dataclass(frozen=True)
class CurvePoint:
    """One SAE of a sweep."""

    site: Site | None
    """where"""
    trained_as: str
    """architecture of the training run, with what else tells it from others, such as `topk, K 2 to 5`"""
    k: int | None
    """features kept per row, where the architecture takes k"""
    d_sae: int
    """features"""
    seed: int | None
    """of the training run"""
    l0: float
    """features per held-out row, mean"""
    l0_spread: float
    """standard deviation of it over rows; 0 for TopK"""
    explained_variance: float
    """on held-out rows"""
    bias: float
    """relative reconstruction bias on held-out rows: below 1 the reconstructions are too short (shrinkage)"""
    dead_share: float
    """share of features that fire on no training row"""
    n_alive: int
    """features that fire on held-out rows"""
    n_bytes: int
    """of the weights"""
    seconds: float | None
    """of the processor that training took, where that was measured"""
    cells: tuple[RuleCell, ...]
    """each rule over all alive features, then in the common band of firing rates"""

    def cell(self, rule: str, band: bool = False) -> RuleCell:
        """What a rule makes of all alive features, or of those in the band."""
        return next(one for one in self.cells if one.rule == rule and (one.population != "alive") == band)

    def to_row(self) -> dict[str, Any]:
        """Plain JSON types, the cells flat: a row of a table."""
        row = {name: value for name, value in flatten(self).items() if name != "cells"}
        for cell in self.cells:
            where = f"{cell.rule.replace('-', '_')}_{'alive' if cell.population == 'alive' else 'band'}"
            row |= {f"{where}_n": cell.n, f"{where}_specialized": cell.n_specialized}
        return row | {"site": None if self.site is None else str(self.site)}


@torch.no_grad()
def curve_point(
    sae: SAE,
    train: Float[Tensor, "n d_in"],
    held_out: Float[Tensor, "m d_in"],
    rules: RuleComparison,
    trained_as: str = "",
    seconds: float | None = None,
) -> CurvePoint:
    """The point of one SAE.

    Args:
        sae: the SAE.
        train: rows that it was trained on.
        held_out: rows that it is measured on.
        rules: its features by the three rules.
        trained_as: what it is called; empty takes the architecture of its recipe.
        seconds: of the processor that training took.
    """
    found, known = measure(sae, held_out), sae.config.provenance
    latents, rebuilt = sae.encode(held_out), sae(held_out)
    fires = (latents.values != 0).sum(1).double()
    return CurvePoint(
        site=sae.site,
        trained_as=trained_as or str(known.recipe.get("architecture", sae.config.architecture)),
        k=sae.config.k,
        d_sae=sae.d_sae,
        seed=known.seed,
        l0=found.l0,
        l0_spread=float(fires.std(correction=0)),
        explained_variance=found.explained_variance,
        bias=reconstruction_bias(held_out, rebuilt),
        dead_share=measure(sae, train).dead_share,
        n_alive=found.n_alive,
        n_bytes=sum(tensor.nbytes for tensor in sae.state_dict().values()),
        seconds=seconds,
        cells=rules.cells,
    )


def reconstruction_bias(x: Float[Tensor, "n d_in"], rebuilt: Float[Tensor, "n d_in"]) -> float:
    """The factor that reconstructions, about the mean of x, are too long by: the one they are best divided by.

    Source: S. Rajamanoharan et al., Improving Dictionary Learning with Gated Sparse Autoencoders (2024), section 4.2.
    """
    mean = x.double().mean(0)
    a, b = x.double() - mean, rebuilt.double() - mean
    return float(b.square().sum() / (a * b).sum())


@dataclass(frozen=True)
class PowerLaw:
    """A share of features as a power of K, by maximum likelihood, beside the claimed 1 / K."""

    exponent: Estimate
    """share ~ K ^ exponent; the interval draws SAEs again"""
    scale: float
    """the fitted share at K = 1"""
    claimed_scale: float
    """of scale / K, the claimed law"""
    misfit: float
    """root mean square over SAEs of fitted minus observed share"""
    claimed_misfit: float
    """the same for the claimed law"""
    dispersion: float
    """Pearson's chi-squared by degrees of freedom: 1 where features are as independent as coins"""
    n: int
    """SAEs"""

    def share(self, k: ArrayLike) -> Floats:
        """The fitted share at some K."""
        return np.asarray(self.scale * np.asarray(k, dtype=np.float64) ** self.exponent.value)


def fit_power_law(k: ArrayLike, hits: ArrayLike, of: ArrayLike, seed: int = 0, draws: int = DRAWS) -> PowerLaw:
    """Fit a power of K to shares, and the claimed law to the same.

    Args:
        k: K of each SAE, or its mean number of features per row.
        hits: specialized features of each.
        of: features of each.
        seed: of the draws.
        draws: times that the SAEs are drawn again.

    Raises:
        ConfigError: fewer than two different K, no features, or none specialized anywhere.
    """
    x, y, n = (np.asarray(one, dtype=np.float64) for one in (k, hits, of))
    if np.unique(x).size < 2 or (n <= 0).any() or y.sum() == 0:
        raise ConfigError(
            f"{np.unique(x).size} different K with {int(y.sum())} specialized of {int(n.sum())} features tell no law.",
            "Give SAEs of two K at least, with features, some of them specialized.",
        )
    drawn = np.random.default_rng(seed).multinomial(x.size, np.full(x.size, 1 / x.size), size=draws).astype(np.float64)
    # a draw in which one K is left, or nothing specialized, has no law
    drawn = drawn[[np.unique(x[one > 0]).size > 1 and (one @ y) > 0 for one in drawn]]
    whole = np.ones((1, x.size))
    (log_scale,), (exponent,) = _fit(x, y, n, whole)
    (log_claimed,), _ = _fit(x, y, n, whole, claimed=True)
    low, high = np.quantile(_fit(x, y, n, drawn)[1], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    fitted, one = _shares(x, log_scale, exponent), _shares(x, log_claimed, CLAIMED_EXPONENT)
    chi = float(((y - n * fitted) ** 2 / (n * fitted * (1 - fitted))).sum())
    return PowerLaw(
        exponent=Estimate(float(exponent), float(low), float(high), method="percentile bootstrap of SAEs"),
        scale=float(np.exp(log_scale)),
        claimed_scale=float(np.exp(log_claimed)),
        misfit=float(np.sqrt(((y / n - fitted) ** 2).mean())),
        claimed_misfit=float(np.sqrt(((y / n - one) ** 2).mean())),
        dispersion=chi / max(x.size - 2, 1),
        n=int(x.size),
    )


def _shares(x: Floats, log_scale: Floats | float, exponent: Floats | float) -> Floats:
    """The law at some K, never quite 1. [..., SAEs]"""
    scale, power = np.asarray(log_scale)[..., None], np.asarray(exponent)[..., None]
    return np.asarray(np.exp(np.minimum(scale + power * np.log(x), _LARGEST)))


def _fit(x: Floats, y: Floats, n: Floats, weights: Floats, claimed: bool = False) -> tuple[Floats, Floats]:
    """Logarithm of the scale, and exponent, by Fisher's scoring of the binomial likelihood with logarithmic link.

    Args:
        x: K. [SAEs]
        y: specialized features. [SAEs]
        n: features. [SAEs]
        weights: how often each SAE counts. [draws, SAEs]
        claimed: leave the exponent at the claimed one.
    """
    across = np.log(x)
    power = np.full(len(weights), CLAIMED_EXPONENT if claimed else 0.0)
    scale = np.log((weights @ y) / (weights @ (n * x ** power[0])))
    for _ in range(_STEPS):
        share = _shares(x, scale, power)
        slope, curve = weights * (y - n * share) / (1 - share), weights * n * share / (1 - share)
        g, h = slope.sum(1), curve.sum(1)
        if claimed:
            move = g / h
        else:
            g1, h1, h2 = slope @ across, curve @ across, curve @ across**2
            apart = h * h2 - h1**2
            move, turn = (h2 * g - h1 * g1) / apart, (h * g1 - h1 * g) / apart
            power = power + turn.clip(-1, 1)
        scale = scale + move.clip(-1, 1)
    return scale, power


@dataclass(frozen=True)
class DeathFormula:
    """The published formula, dead = max(0, 1 - K n / (d_sae threshold)), and how it misses."""

    threshold: float
    """with the least squares of dead shares"""
    lowest: float
    """the smallest threshold that any SAE with dead features would need"""
    highest: float
    """the largest"""
    misfit: float
    """root mean square over SAEs of formula minus dead share"""
    worst: float
    """the largest difference, with its sign"""
    n: int
    """SAEs"""

    def share(self, k: ArrayLike, d_sae: ArrayLike, n_rows: int) -> Floats:
        """What the formula says."""
        return _dead(np.asarray(k, dtype=np.float64) * n_rows / np.asarray(d_sae), self.threshold)


def needed_thresholds(k: ArrayLike, d_sae: ArrayLike, dead: ArrayLike, n_rows: int) -> Floats:
    """The threshold that the formula would need for each dead share."""
    selected = np.asarray(k, dtype=np.float64) * n_rows / np.asarray(d_sae, dtype=np.float64)
    return np.asarray(selected / np.maximum(1 - np.asarray(dead, dtype=np.float64), _SMALLEST))


def fit_death_formula(k: ArrayLike, d_sae: ArrayLike, dead: ArrayLike, n_rows: int) -> DeathFormula:
    """Fit the published formula of feature death.

    Args:
        k: features kept per row, of each SAE.
        d_sae: size of each.
        dead: share of features that fire on no training row.
        n_rows: training rows.

    Raises:
        ConfigError: no SAE has a dead feature.
    """
    from scipy.optimize import minimize_scalar

    died = np.asarray(dead, dtype=np.float64)
    if not (died > 0).any():
        raise ConfigError("No SAE has a dead feature: there is nothing to fit.", "Give SAEs with smaller K.")
    selected = np.asarray(k, dtype=np.float64) * n_rows / np.asarray(d_sae, dtype=np.float64)
    needed = needed_thresholds(k, d_sae, died, n_rows)[died > 0]

    def missed(log_threshold: float) -> float:
        return float(((_dead(selected, float(np.exp(log_threshold))) - died) ** 2).sum())

    # several valleys are possible, since the formula is flat where it says 0: the best of a grid is polished
    grid = np.linspace(np.log(needed.min()) - 1, np.log(needed.max()) + 1, 400)
    best = float(grid[int(np.argmin([missed(one) for one in grid]))])
    width = float(grid[1] - grid[0])
    threshold = float(np.exp(minimize_scalar(missed, bounds=(best - width, best + width), method="bounded").x))
    difference = _dead(selected, threshold) - died
    return DeathFormula(
        threshold=threshold,
        lowest=float(needed.min()),
        highest=float(needed.max()),
        misfit=float(np.sqrt((difference**2).mean())),
        worst=float(difference[np.abs(difference).argmax()]),
        n=int(died.size),
    )


def _dead(selected: Floats, threshold: float) -> Floats:
    return np.asarray(np.maximum(0.0, 1 - selected / threshold))


def find_knee(x: ArrayLike, y: ArrayLike) -> float:
    """Where a rising curve bends most: the x, on a logarithmic axis, farthest above the line from its first to its last
    point.

    Args:
        x: positive numbers, rising.
        y: values there.

    Raises:
        ConfigError: fewer than three points, or x that do not rise.

    Source: V. Satopaa et al., Finding a "Kneedle" in a Haystack, ICDCS Workshops (2011).
    """
    across, up = np.log(np.asarray(x, dtype=np.float64)), np.asarray(y, dtype=np.float64)
    if across.size < 3 or (np.diff(across) <= 0).any():
        raise ConfigError(
            f"A knee needs three points whose x rise, got {across.size}.", "Give K of three SAEs or more."
        )
    along = (across - across[0]) / (across[-1] - across[0])
    above = up - (up[0] + along * (up[-1] - up[0]))
    return float(np.asarray(x, dtype=np.float64)[int(above.argmax())])


def bootstrap_seeds(
    groups: Sequence[Sequence[float]], statistic: Callable[[Floats], float], seed: int = 0, draws: int = DRAWS
) -> Estimate:
    """A statistic of means over seeds, with an interval that draws the seeds of every group again.

    Args:
        groups: values of each group's seeds.
        statistic: of the groups' means.
        seed: of the draws.
        draws: how many.
    """
    rng = np.random.default_rng(seed)
    values = [np.asarray(one, dtype=np.float64) for one in groups]
    drawn = [
        statistic(np.array([one[rng.integers(0, one.size, one.size)].mean() for one in values])) for _ in range(draws)
    ]
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    whole = statistic(np.array([one.mean() for one in values]))
    return Estimate(float(whole), float(low), float(high), method="percentile bootstrap of seeds")
