"""Whether the statistics keep their promises on real change vectors: docs/explanation/calibration.md.

    python benchmarks/calibration.py            # measures the vectors once (build/calibration), then simulates
    python benchmarks/calibration.py --quick    # few draws; the page is left alone
    python benchmarks/calibration.py --only verdicts shares    # some tables; the others stay as they are

The vectors are what ablating each feature of three sites does to every story of `stories:validation`. Nulls are made of
them: signs of whole clusters re-drawn, in all features at once, so that their dependence stays; and clusters drawn
again with replacement, for which the vector's own mean is the truth. Effects of known size are planted on top.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import _common as common
import numpy as np
from _changes import Vectors, load_vectors
from _subgroups import beside_controls, contrasts, shares_of_patches
from _verdicts import Flips, simulate_verdicts
from numpy.typing import NDArray

import codi_int as ci
from codi_int.data.chains import cluster_problems
from codi_int.interventions.evidence.betting import estimate_bounded_many
from codi_int.interventions.evidence.clusters import Clusters, read_clusters
from codi_int.interventions.evidence.confirmation import Candidate, confirm, confirmed_keys
from codi_int.interventions.evidence.equivalence import BOUND, equivalence_by_cluster
from codi_int.interventions.evidence.families import adjust
from codi_int.interventions.evidence.flips import (
    attainable_p_values,
    cluster_score_interval,
    flip_distribution,
    is_testable,
    sign_flip_test,
)
from codi_int.interventions.evidence.max_t import max_t
from codi_int.interventions.evidence.mean import MIN_EFFECTIVE, bootstrap_t, effective_problems

PAGE = common.ROOT / "docs" / "explanation" / "calibration.md"
N_EFFECTIVE = (1, 2, 3, 5, 7, 8.5, 10, 12, 15, 40)
TOUCHED = (15, 40, 120, 400, 1496)
PER_BAND = 16
SET_SIZES = (2, 3, 4, 6, 8, 12, 16, 32, 64, 128)
METHODS = ("holm", "bh", "discrete-bh", "discrete-bh-step-down", "heyse")
PLANTED = (0.004, 0.008, 0.016)
N_PLANTED = 8
LEVEL = 0.05


@dataclass(frozen=True)
class Draws:
    """How often each thing is simulated."""

    coverage: int
    inner: int
    null: int
    pipeline: int
    verdicts: int
    beside: int


FULL = Draws(coverage=400, inner=999, null=1000, pipeline=300, verdicts=45, beside=60)
QUICK = Draws(coverage=10, inner=99, null=20, pipeline=5, verdicts=2, beside=5)


@dataclass(frozen=True)
class World:
    """The real vectors by cluster."""

    vectors: Vectors
    groups: Clusters
    accuracy: NDArray[np.float64]
    """sums over clusters. [clusters, features]"""
    testable: NDArray[np.int64]
    """features that touch enough clusters. [tested]"""


def load() -> World:
    """The vectors and the clusters of their problems."""
    vectors = load_vectors()
    groups = read_clusters(cluster_problems(ci.load_problems("stories:validation")), vectors.accuracy.shape[0])
    tested = [i for i, column in enumerate(vectors.touched.T) if is_testable(column, groups)]
    return World(vectors, groups, groups.sums(vectors.accuracy), np.array(tested))


def error_of(share: float, n: int) -> float:
    """Standard error of a simulated share."""
    return float(np.sqrt(share * (1 - share) / n))


def bands(values: NDArray[np.float64], edges: Sequence[float]) -> list[tuple[str, NDArray[np.int64]]]:
    """Named groups of places by value."""
    found = ((f"{a:g} to {b:g}", np.flatnonzero((values >= a) & (values < b))) for a, b in pairwise(edges))
    return [(name, places) for name, places in found if places.size]


def mean_vectors(world: World, generator: np.random.Generator) -> NDArray[np.float64]:
    """Log-probability changes of single features, and of random sets of features of a site (their sums)."""
    sums = world.groups.sums(world.vectors.logprob)
    several = [sums[:, (world.vectors.touched.sum(0) >= TOUCHED[0])]]
    for site in np.unique(world.vectors.site):
        members = np.flatnonzero(world.vectors.site == site)
        sets = (generator.choice(members, size, replace=False) for size in SET_SIZES for _ in range(100))
        several.append(np.stack([sums[:, chosen].sum(1) for chosen in sets], 1))
    return np.concatenate(several, 1)


def coverage_of_means(world: World, draws: Draws) -> list[dict[str, object]]:
    """Bootstrap-t by how many problems carry the mean."""
    generator = np.random.default_rng(0)
    every = mean_vectors(world, generator)
    effective = effective_problems(every)
    chosen = np.concatenate([generator.permutation(places)[:PER_BAND] for _, places in bands(effective, N_EFFECTIVE)])
    sums, effective = every[:, chosen], effective[chosen]
    truth = sums.sum(0) / world.groups.sizes.sum()
    covered, printed = np.zeros((2, draws.coverage, chosen.size), dtype=np.bool_)
    for draw in range(draws.coverage):
        picked = generator.integers(0, len(sums), len(sums))
        again, sizes = sums[picked], world.groups.sizes[picked]
        some = np.flatnonzero(again.any(0))
        found = bootstrap_t(again[:, some], sizes, null=truth[some], draws=draws.inner, seed=draw)
        covered[draw, some] = [low <= t <= high for (low, high, _), t in zip(found, truth[some], strict=True)]
        printed[draw] = effective_problems(again) >= MIN_EFFECTIVE
    rows = []
    for name, here in bands(effective, N_EFFECTIVE):
        share = float(covered[:, here].mean())
        shown = printed[:, here]
        rows.append(
            {
                "n_eff": name,
                "vectors": here.size,
                "coverage": share,
                "worst": float(covered[:, here].mean(0).min()),
                "printed": float(shown.mean()),
                "given_printed": float(covered[:, here][shown].mean()) if shown.any() else None,
            }
        )
    return rows


def coverage_of_bounded(world: World, draws: Draws) -> list[dict[str, object]]:
    """Intervals of accuracy and probability, and of effect minus control, by how many problems are touched."""
    generator = np.random.default_rng(1)
    touched = world.vectors.touched.sum(0)
    chosen = np.concatenate([generator.permutation(here)[:PER_BAND] for _, here in bands(touched, TOUCHED)])
    other = generator.permutation(chosen)
    parts = {"accuracy": world.vectors.accuracy, "probability": world.vectors.probability}
    columns = {name: values[:, chosen] for name, values in parts.items()}
    columns["difference"] = columns["accuracy"] - parts["accuracy"][:, other]
    truth = {name: values.mean(0) for name, values in columns.items()}
    covered: dict[str, list[list[bool]]] = {name: [] for name in ("tango", *columns)}
    codes = world.groups.codes
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(world.groups.sizes)])
    for _ in range(draws.coverage):
        picked = generator.integers(0, world.groups.sizes.size, world.groups.sizes.size)
        rows = np.concatenate([order[starts[c] : starts[c + 1]] for c in picked])
        # a cluster that is drawn twice is two clusters
        labels = np.repeat(np.arange(picked.size), world.groups.sizes[picked])
        for name, values in columns.items():
            found = estimate_bounded_many(values[rows], 2.0 if name == "difference" else 1.0, clusters=labels)
            covered[name].append([e.low <= t <= e.high for e, t in zip(found, truth[name], strict=True)])
        groups = read_clusters(labels, rows.size)
        intervals = [cluster_score_interval(column, groups) for column in columns["accuracy"][rows].T]
        covered["tango"].append([i.low <= t <= i.high for i, t in zip(intervals, truth["accuracy"], strict=True)])
    shares = {name: np.array(values).mean(0) for name, values in covered.items()}
    return [
        {"touched": name, "vectors": here.size, **{kind: float(share[here].mean()) for kind, share in shares.items()}}
        for name, here in bands(touched[chosen], TOUCHED)
    ]


def flips_of_sets(world: World) -> NDArray[np.float64]:
    """Flips of random sets of features, a cluster counted where any of them flips it: more flips, and more shared."""
    generator, sets = np.random.default_rng(6), []
    for size in SET_SIZES[4:]:
        for _ in range(40):
            chosen = generator.choice(world.accuracy.shape[1], size, replace=False)
            sets.append(world.accuracy[:, chosen].any(1).astype(np.float64))
    return np.stack(sets, 1)


class NullFlips:
    """P-values of every tested feature when the signs of clusters are drawn anew, the same in all features."""

    def __init__(self, sums: NDArray[np.float64]) -> None:
        self.sizes = np.abs(sums)
        self.supports = [attainable_p_values(column[column > 0]) for column in self.sizes.T]
        self._tables: list[dict[int, float]] = [{} for _ in self.supports]

    def draw(self, generator: np.random.Generator) -> list[float]:
        """One null, [features]."""
        signs = generator.choice((-1.0, 1.0), self.sizes.shape[0])
        totals = np.abs(signs @ self.sizes).astype(int).tolist()
        return [self.p_of(i, total) for i, total in enumerate(totals)]

    def p_of(self, i: int, total: int) -> float:
        table = self._tables[i]
        if total not in table:
            support, chances = flip_distribution(self.sizes[:, i].astype(np.int64))
            table[total] = float(min(chances[np.abs(support) >= total].sum(), 1.0))
        return table[total]


def false_findings(world: World, draws: Draws) -> list[dict[str, object]]:
    """How often anything is found where nothing is true."""
    rows: list[dict[str, object]] = []
    families = {"all three sites": world.accuracy[:, world.testable], "sets of features": flips_of_sets(world)}
    for site, name in enumerate(("L14.P3", "L10.P1", "L10.P5")):
        families[name] = world.accuracy[:, world.testable[world.vectors.site[world.testable] == site]]
    for family, sums in families.items():
        nulls, generator = NullFlips(sums), np.random.default_rng(2)
        found = dict.fromkeys(METHODS, 0)
        single = 0.0
        for _ in range(draws.null):
            p_values = nulls.draw(generator)
            single += float(np.mean(np.array(p_values) < LEVEL))
            for method in METHODS:
                supports = None if method in ("holm", "bh") else nulls.supports
                found[method] += min(adjust(p_values, method, supports=supports)) <= LEVEL  # type: ignore[type-var]
        flips = float(np.median((sums != 0).sum(0)))
        shares = {method: count / draws.null for method, count in found.items()}
        head = {"family": family, "tests": sums.shape[1], "median_flips": flips, "single_test": single / draws.null}
        rows.append({**head, **shares})
    return rows


def max_t_errors(world: World, draws: Draws) -> list[dict[str, object]]:
    """Family-wise error of max-T where changes are symmetric, and where they are re-centred but skewed."""
    rows = []
    for name in ("accuracy", "logprob"):
        sums = world.groups.sums(getattr(world.vectors, name))
        centred = sums - world.groups.sizes[:, None] * (sums.sum(0) / world.groups.sizes.sum())
        generator, wrong = np.random.default_rng(3), np.zeros(2)
        n = max(draws.null // 5, 1)
        for seed in range(n):
            flipped = sums * generator.choice((-1.0, 1.0), len(sums))[:, None]
            again = centred[generator.integers(0, len(sums), len(sums))]
            for k, changes in enumerate((flipped, again)):
                wrong[k] += min(p for p in max_t(changes, draws=999, seed=seed) if p is not None) <= LEVEL
        rows.append(
            {"measure": name, "signs redrawn": wrong[0] / n, "re-centred and resampled": wrong[1] / n, "draws": n}
        )
    return rows


def pipeline(world: World, draws: Draws) -> list[dict[str, object]]:
    """Screen, selection, confirmation, with planted losses: what is found, and what of it is false."""
    touched = world.groups.sums(world.vectors.touched) > 0
    rows = []
    for size in PLANTED:
        generator = np.random.default_rng(4)
        members = world.testable
        nulls = NullFlips(world.accuracy[:, members])
        room = np.flatnonzero(touched[:, members].sum(0) >= 100)
        tally = {method: np.zeros(4) for method in ("bh", "discrete-bh")}
        for _ in range(draws.pipeline):
            planted = generator.choice(room, N_PLANTED, replace=False)
            screen, fresh = (_planted_p(nulls, touched[:, members], planted, size, generator) for _ in range(2))
            for method, counts in tally.items():
                supports = None if method == "bh" else screen[1]
                adjusted = adjust(screen[0], method, supports=supports)
                selected = {i for i, p in enumerate(adjusted) if p is not None and p <= LEVEL}
                candidates = [Candidate(i, screen[2][i], fresh[2][i], fresh[0][i]) for i in sorted(selected)]
                kept = confirmed_keys(confirm([candidates]))
                true = set(planted.tolist())
                counts += (
                    len(selected - true) / max(len(selected), 1),
                    bool(kept - true),
                    len(selected & true) / N_PLANTED,
                    len(kept & true) / N_PLANTED,
                )
        for method, counts in tally.items():
            names = ("false_share_selected", "any_false_confirmed", "power_selected", "power_confirmed")
            rows.append(
                {"planted": size, "method": method, **dict(zip(names, (counts / draws.pipeline).tolist(), strict=True))}
            )
    return rows


def _planted_p(
    nulls: NullFlips,
    touched: NDArray[np.bool_],
    planted: NDArray[np.int64],
    size: float,
    generator: np.random.Generator,
) -> tuple[list[float], list[NDArray[np.float64]], list[float]]:
    """(p-values, supports, totals) of one sample: nulls everywhere, and losses in the planted features besides."""
    signs = generator.choice((-1.0, 1.0), nulls.sizes.shape[0])
    sums = signs[:, None] * nulls.sizes[:, planted]
    reach = touched[:, planted]
    lost = generator.random(sums.shape) < size * len(touched) / reach.sum(0)
    sums = np.where((sums == 0) & reach & lost, -1.0, sums)
    totals = signs @ nulls.sizes
    p_values = [nulls.p_of(i, abs(int(total))) for i, total in enumerate(totals)]
    supports = list(nulls.supports)
    totals[planted] = sums.sum(0)
    for column, i in zip(sums.T, planted.tolist(), strict=True):
        p_values[i], supports[i] = sign_flip_test(column), attainable_p_values(column[column != 0])
    return p_values, supports, totals.tolist()


def equivalence_claims(world: World, draws: Draws) -> list[dict[str, object]]:
    """How often equivalence is claimed at the bound, where it is false, and below it."""
    rows = []
    groups = world.groups
    for loss, noise in ((BOUND, 0.0), (BOUND, 0.001), (BOUND, 0.005), (0.0, 0.0), (0.0, 0.001), (0.001, 0.001)):
        generator, claimed = np.random.default_rng(5), 0
        chances = (loss + noise, noise, 1.0 - loss - 2 * noise)
        for _ in range(draws.null):
            # a cluster's problems share their fate, the worst that clusters can do
            fate = generator.choice((-1.0, 1.0, 0.0), p=chances, size=groups.sizes.size)
            claimed += equivalence_by_cluster(fate[groups.codes], groups.codes).equivalent
        rows.append({"true_change": -loss, "noise": noise, "claimed": claimed / draws.null, "draws": draws.null})
    return rows


def verdicts(world: World, draws: Draws) -> list[dict[str, object]]:
    """The screen's own code from flips to verdicts, without a true effect and with planted ones."""
    real = Flips(world.vectors.accuracy[:, world.testable], world.vectors.touched[:, world.testable])
    return [
        simulate_verdicts(real, confirm, size, n_planted=N_PLANTED, draws=n, seed=7)
        for confirm in ("set", "folds")
        # nulls are where false findings are counted
        for size, n in ((0.0, draws.verdicts), (PLANTED[1], max(draws.verdicts // 3, 2)))
    ]


def table(rows: Sequence[dict[str, object]]) -> str:
    """Rows as a Markdown table."""
    heads = list(rows[0])
    lines = [" | ".join(heads), " | ".join("---" for _ in heads)]
    lines += [" | ".join(_cell(row[head]) for head in heads) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def facts(world: World, draws: Draws) -> list[dict[str, object]]:
    """Of what everything below is made."""
    effective = effective_problems(world.groups.sums(world.vectors.logprob))
    return [
        {
            "features": effective.size,
            "tested": world.testable.size,
            "with_interval": int((effective >= MIN_EFFECTIVE).sum()),
            "median_n_eff": float(np.median(effective)),
            "clusters": world.groups.sizes.size,
        }
    ]


PARTS: dict[str, Callable[[World, Draws], list[dict[str, object]]]] = {
    "facts": facts,
    "means": coverage_of_means,
    "bounded": coverage_of_bounded,
    "nulls": false_findings,
    "max-t": max_t_errors,
    "pipeline": pipeline,
    "equivalence": equivalence_claims,
    "verdicts": verdicts,
    "contrasts": lambda world, draws: contrasts(world.vectors.accuracy, 8 * draws.beside),
    "controls": lambda world, draws: beside_controls(world.vectors.accuracy, world.vectors.touched, draws.beside),
    "shares": lambda world, draws: shares_of_patches(24 * draws.beside),
}


def main() -> None:
    """Simulate part by part; each is kept, and put into the page, as it is finished."""
    parser = common.arguments(__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, help="some tables; the others stay as they are")
    given = parser.parse_args()
    draws, world = QUICK if given.quick else FULL, load()
    kept = (common.QUICK if given.quick else common.RESULTS) / "calibration.json"
    out: dict[str, object] = json.loads(kept.read_text()) if given.only and kept.exists() else {}
    for name in given.only or PARTS:
        started = time.perf_counter()
        rows = PARTS[name](world, draws)
        seconds = time.perf_counter() - started
        print(f"\n{name}: {seconds:.0f} s\n{table(rows)}", flush=True)
        out |= {"draws": asdict(draws), name: rows}
        common.write("calibration", out, given.quick)
        if not given.quick:
            common.fill_page(PAGE, name, table(rows), code=False)


if __name__ == "__main__":
    main()
