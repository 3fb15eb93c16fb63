"""Contrasts, effects beside their controls, and shares of patches, on changes whose truth is known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

import codi_int as ci
from codi_int.data.chains import cluster_problems
from codi_int.data.problems import Problems
from codi_int.interventions.evidence.clusters import Clusters, read_clusters
from codi_int.interventions.evidence.contrasts import contrast_accuracy
from codi_int.interventions.evidence.controlled import compare_with_controls
from codi_int.interventions.evidence.flips import sign_flip_test
from codi_int.interventions.evidence.shares import share_interval
from codi_int.interventions.patching.pairs import find_pairs
from codi_int.records import Estimate

LEVEL = 0.05
SETS = (16, 64, 128)
FEWEST_FLIPS = 6
N_CONTROLS = 20
LOSSES = (0.01, 0.02, 0.04)
HIT_RATES = (0.01, 0.05, 0.3, 0.5, 0.9)
SHARED = (0.0, 0.25, 0.5)
ALIKE = 0.02
"""what both sides of a contrast lose where they do not differ"""


@dataclass(frozen=True)
class Kind:
    """One contrast: who are the members, and within which strata."""

    name: str
    """in words"""
    members: NDArray[np.bool_]
    """[n]"""
    strata: NDArray[np.int64] | None
    """[n]"""


def kinds(problems: Sequence[ci.Problem]) -> list[Kind]:
    """A frequent and a rare operation, stratified by steps, and two numbers of steps, as results have them."""
    steps = np.array([len(problem.steps) for problem in problems], dtype=np.int64)
    uses = {
        operation: np.array([any(step.operation == operation for step in p.steps) for p in problems])
        for operation in ("addition", "division")
    }
    found = [Kind(operation, members, steps) for operation, members in uses.items()]
    return [*found, *(Kind(f"{n} step{'s' * (n > 1)}", steps == n, None) for n in (1, 4))]


def flips_of(accuracy: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Columns with enough flips: single features, and random sets of features (a problem's change is their sign)."""
    generator = np.random.default_rng(seed)
    several = [accuracy]
    for size in SETS:
        chosen = (generator.choice(accuracy.shape[1], size, replace=False) for _ in range(8))
        several.append(np.stack([np.sign(accuracy[:, some].sum(1)) for some in chosen], 1))
    every = np.concatenate(several, 1)
    return every[:, (every != 0).sum(0) >= FEWEST_FLIPS]


def contrasts(accuracy: NDArray[np.float64], draws: int, seed: int = 8) -> list[dict[str, object]]:
    """Size and power of the permutation test, and coverage of its interval, kind by kind.

    Nulls: the sign of every cluster is drawn anew, so that neither side changes in the mean, though one side may flip
    far more often than the other; and, besides, either side loses the same share of its problems. Resampled: clusters
    of either side of each stratum drawn again with replacement; the vector's own contrast is the truth. Planted:
    members lose a share of their problems besides the null flips.
    """
    problems = ci.load_problems("stories:validation")
    columns, groups = flips_of(accuracy, seed), read_clusters(cluster_problems(problems), len(problems))
    rows: list[dict[str, object]] = []
    for kind in kinds(problems):
        generator, tally = np.random.default_rng(seed), dict[str, list[float]]()
        for draw in range(draws):
            column = columns[:, int(generator.integers(columns.shape[1]))]
            signs = generator.choice((-1.0, 1.0), groups.sizes.size)[groups.codes]
            null = column * signs
            found = _contrast(null, kind, groups.codes, draw)
            _add(tally, "size", found.p_value < LEVEL)
            _add(tally, "covers_null", found.low <= 0.0 <= found.high)
            # whatever a problem would have done, so that the means of both sides stay equal
            lost = generator.random(null.size) < ALIKE
            found = _contrast(np.where(lost, -1.0, null), kind, groups.codes, draw)
            _add(tally, "size_alike", found.p_value < LEVEL)
            again, codes, members, strata = _resample(column, groups, kind, generator)
            resampled = Kind(kind.name, members, strata)
            if again.any():
                truth, found = _plain_contrast(column, kind), _contrast(again, resampled, codes, draw)
                _add(tally, "covers", found.low <= truth <= found.high)
            for loss in LOSSES:
                lost = kind.members & (null == 0) & (generator.random(null.size) < loss)
                found = _contrast(np.where(lost, -1.0, null), kind, groups.codes, draw)
                _add(tally, f"power {loss:g}", found.p_value < LEVEL and found.value < 0)
        shares = {name: float(np.mean(values)) for name, values in tally.items()}
        rows.append({"contrast": kind.name, "members": int(kind.members.sum()), "draws": draws, **shares})
    return rows


@dataclass(frozen=True)
class _Contrast:
    """A contrast whose open ends are infinite."""

    value: float
    low: float
    high: float
    p_value: float


def _contrast(changes: NDArray[np.float64], kind: Kind, codes: NDArray[np.int64], seed: int) -> _Contrast:
    found = contrast_accuracy(changes, kind.members, kind.strata, clusters=codes, seed=seed)
    assert found is not None
    assert found.p_value is not None
    low, high = -np.inf if found.low is None else found.low, np.inf if found.high is None else found.high
    return _Contrast(found.value, low, high, found.p_value)


def _plain_contrast(changes: NDArray[np.float64], kind: Kind) -> float:
    """The stratified difference, with the weights of Mantel and Haenszel."""
    strata = np.zeros(changes.size, dtype=np.int64) if kind.strata is None else kind.strata
    total, weight = 0.0, 0.0
    for layer in np.unique(strata):
        sides = [(strata == layer) & side for side in (kind.members, ~kind.members)]
        n1, n0 = (int(side.sum()) for side in sides)
        if n1 and n0:
            one = n1 * n0 / (n1 + n0)
            total += one * float(changes[sides[0]].mean() - changes[sides[1]].mean())
            weight += one
    return total / weight


def _resample(
    changes: NDArray[np.float64], groups: Clusters, kind: Kind, generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64] | None]:
    """Clusters of each side of each stratum, drawn again; (changes, clusters, members, strata)."""
    strata = np.zeros(changes.size, dtype=np.int64) if kind.strata is None else kind.strata
    first = np.unique(groups.codes, return_index=True)[1]
    place = strata[first] * 2 + kind.members[first]
    picked = np.concatenate(
        [generator.choice(here, here.size) for value in np.unique(place) for here in [np.flatnonzero(place == value)]]
    )
    rows, labels = _rows_of(groups, picked)
    return changes[rows], labels, kind.members[rows], None if kind.strata is None else strata[rows]


def _rows_of(groups: Clusters, picked: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Problems of the clusters that were picked, and their labels; one that is picked twice is two clusters."""
    order = np.argsort(groups.codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(groups.codes))])
    rows = np.concatenate([order[starts[c] : starts[c + 1]] for c in picked])
    return rows, np.repeat(np.arange(picked.size), np.bincount(groups.codes)[picked])


def beside_controls(
    accuracy: NDArray[np.float64], touched: NDArray[np.bool_], draws: int, seed: int = 9
) -> list[dict[str, object]]:
    """Effect minus the mean of twenty controls that touch about as many problems.

    Nulls: signs of clusters drawn anew, the same in the edit and its controls. Resampled: clusters drawn again; the
    difference of the vectors themselves is the truth. Planted: the edit loses a share of all problems besides.
    """
    problems = ci.load_problems("stories:validation")
    groups = read_clusters(cluster_problems(problems), len(problems))
    rows: list[dict[str, object]] = []
    for name, alike in _bands(touched):
        generator, tally = np.random.default_rng(seed), dict[str, list[float]]()
        for _ in range(draws):
            # any of them may be the edit: the others are its controls
            chosen = generator.choice(alike, 1 + N_CONTROLS, replace=False)
            columns = accuracy[:, chosen].T
            null = columns * generator.choice((-1.0, 1.0), groups.sizes.size)[groups.codes]
            found = compare_with_controls(null[0], null[1:], groups.codes)
            _add(tally, "size", _excludes(found.difference, 0.0))
            _add(tally, "rank_size", found.rank_p < LEVEL)
            again, labels = _rows_of(groups, generator.integers(0, groups.sizes.size, groups.sizes.size))
            some = columns[:, again]
            truth = float(columns[0].mean() - columns[1:].mean())
            found = compare_with_controls(some[0], some[1:], labels)
            _add(tally, "covers", not _excludes(found.difference, truth))
            reach = touched[:, chosen[0]]
            for loss in LOSSES:
                lost = reach & (null[0] == 0) & (generator.random(reach.size) < loss * reach.size / reach.sum())
                found = compare_with_controls(np.where(lost, -1.0, null[0]), null[1:], groups.codes)
                _add(tally, f"power {loss:g}", _excludes(found.difference, 0.0) and found.difference.value < 0)
        shares = {key: float(np.mean(values)) for key, values in tally.items()}
        rows.append({"touched": name, "features": alike.size, "draws": draws, **shares})
    return rows


def _excludes(found: Estimate, value: float) -> bool:
    assert found.low is not None
    assert found.high is not None
    return not found.low <= value <= found.high


def _bands(touched: NDArray[np.bool_]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    counts = touched.sum(0)
    for low, high in ((60, 120), (120, 400), (400, 1496)):
        alike = np.flatnonzero((counts >= low) & (counts < high))
        if alike.size > N_CONTROLS:
            yield f"{low} to {high}", alike


def shares_of_patches(draws: int, seed: int = 10) -> list[dict[str, object]]:
    """Coverage of a share's interval, and size of the paired test, on the pairs that `patch --auto different` finds.

    Whether a pair hits is a normal number below a threshold, of which `shared` is what the target's chain contributes
    and as much the source's; at 0.5 nothing is the pair's own. For the test a pair's change has either sign as often.
    """
    rows: list[dict[str, object]] = []
    for name, members in _pairs():
        groups = [read_clusters(column, len(members)) for column in members.T]
        for shared in SHARED:
            generator = np.random.default_rng(seed)
            covered, wrong = np.zeros((2, len(HIT_RATES))), np.zeros(2)
            for _ in range(draws):
                latent = _latent(members, shared, generator)
                for i, rate in enumerate(HIT_RATES):
                    hits = latent < ndtri(rate)
                    for j, labels in enumerate((None, members)):
                        found = share_interval(hits, labels)
                        covered[j, i] += found.low <= rate <= found.high
                changes = (latent < ndtri(0.25)) * 1.0 - (latent > ndtri(0.75))
                p_values = [sign_flip_test(one.sums(changes)) for one in groups]
                wrong += [p_values[0] < LEVEL, max(p_values) < LEVEL]
            rows.append(
                {
                    "pairs": f"{name} ({len(members):,})",
                    "shared": shared,
                    "draws": draws,
                    "wilson": float(covered[0].mean() / draws),
                    "worst": float(covered[0].min() / draws),
                    "by_cluster": float(covered[1].mean() / draws),
                    "worst_by_cluster": float(covered[1].min() / draws),
                    "size_by_target": wrong[0] / draws,
                    "size_by_either": wrong[1] / draws,
                }
            )
    return rows


def _latent(members: NDArray[np.int64], shared: float, generator: np.random.Generator) -> NDArray[np.float64]:
    targets, sources = generator.normal(size=(2, int(members.max()) + 1))
    own = np.sqrt(1.0 - 2.0 * shared) * generator.normal(size=len(members))
    return np.asarray(np.sqrt(shared) * (targets[members[:, 0]] + sources[members[:, 1]]) + own)


def _pairs() -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Chains of target and source of every pair. [pairs, 2]"""
    stories = ci.load_problems("stories:validation")
    short = Problems([problem for problem in stories if len(problem.steps) == 1], "stories of one step")
    for name, problems in (("all stories", stories), ("stories of one step", short)):
        labels, sources = cluster_problems(problems), np.array(find_pairs(problems, "different", 1).sources)
        targets = np.flatnonzero(sources >= 0)
        yield name, np.stack([labels[targets], labels[sources[targets]]], 1)


def _add(tally: dict[str, list[float]], name: str, value: bool) -> None:
    tally.setdefault(name, []).append(float(value))
