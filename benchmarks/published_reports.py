"""What the published reports' own numbers contradict, for docs/results/published-experiments.md.

    python benchmarks/published_reports.py           # prints the section and fills it in
    python benchmarks/published_reports.py --check   # prints it, and leaves the page alone

Reads experiments/published.csv, where every number of the five reports that is used here stands with the report and the
section that it comes from; no model and no data are needed.
"""

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import _common as common
from scipy.stats import fisher_exact

PAGE = common.DOCS_RESULTS / "published-experiments.md"
NUMBERS = common.ROOT / "experiments" / "published.csv"
D_IN, BYTES = 2048, 4
GRID_K, GRID_D = (5, 10, 20, 100), (512, 1024, 2048)


@dataclass(frozen=True)
class Finding:
    """One place where the reports' numbers do not go together."""

    name: str
    """by which other pages point at it"""
    reports: tuple[str, ...]
    """k50, dict, grid, act, sem, or scores (the per-feature scores that were published beside them)"""
    said: str
    """what is written there"""
    numbers: str
    """what the published numbers give"""

    @property
    def within(self) -> bool:
        """Whether a single report contradicts itself."""
        return len(set(self.reports) - {"scores"}) == 1


class Published:
    """The table of numbers; a number that is not in it is an error."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, ...], float] = {}
        self.counts: dict[tuple[str, ...], int] = {}
        with NUMBERS.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                key = tuple(row[name] for name in ("report", "quantity", "k", "d", "layer"))
                if key in self.values and self.values[key] != float(row["value"]):
                    raise ValueError(f"{NUMBERS.name} has two values for {key}")
                self.values[key] = float(row["value"])
                if row["n"]:
                    self.counts[key] = int(row["n"])

    def __call__(
        self, report: str, quantity: str, k: int | str = "", d: int | str = "", layer: int | str = 14
    ) -> float:
        """One number."""
        return self.values[report, quantity, str(k), str(d), str(layer)]

    def of(self, report: str, quantity: str, k: int, d: int, layer: int = 14) -> tuple[int, int]:
        """A count and what it is a count of."""
        key = report, quantity, str(k), str(d), str(layer)
        return int(self.values[key]), self.counts[key]


def specialization(p: Published) -> Iterator[Finding]:
    """Shares of specialists and their denominators."""
    hits = {"K=50": p.of("k50", "specialized", 50, 512), "K=50, d=250": p.of("dict", "specialized", 50, 250)}
    hits |= {"K=75": p.of("scores", "specialized", 75, 512), "K=100": p.of("scores", "specialized", 100, 512)}
    alive = {
        "K=50": p("k50", "alive", 50, 512),
        "K=50, d=250": p("dict", "alive", 50, 250),
        "K=75": 512 - p("dict", "dead", 75, 512),
        "K=100": p("scores", "last_rank", 100, 512),
    }
    # at K=100 two windows were looked at, and the middle one adds a specialist
    found = {name: hit for name, (hit, _) in hits.items()}
    found["K=100"] += p.of("act", "specialized_middle", 100, 512)[0]
    windows = ", ".join(f"{100 * n / alive[name]:.0f} % ({name})" for name, (_, n) in hits.items())
    shares = ", ".join(f"{100 * found[name] / alive[name]:.1f} % ({name})" for name in hits)
    yield Finding(
        "windows",
        ("k50", "dict", "act", "scores"),
        "19.5, 7.4, 19.2 and 4.6 % of features are specialized, as if these had one denominator",
        f"the windows of ranks cover {windows} of the alive features; over all alive ones at least {shares}",
    )
    rate = p("k50", "specialized_percent", 50, 512)
    law = ", ".join(f"{rate * 50 / k:.1f}" for k in (75, 100, 200))
    yield Finding(
        "inverse-k",
        ("k50", "dict"),
        "the specialized share is proportional to 1/K",
        f"from K=50 that predicts {law} % at K = 75, 100, 200; reported "
        f"{p('dict', 'specialized_percent', 75, 512):.1f}, "
        f"{p('k50', 'specialized_percent', 100, 512):.1f}, {p('k50', 'specialized_percent', 200, 512):.1f}",
    )
    small, large = p.of("dict", "specialized", 50, 250), p.of("k50", "specialized", 50, 512)
    whole = _fisher((small[0], int(alive["K=50, d=250"])), (large[0], int(alive["K=50"])))
    yield Finding(
        "dictionary-size",
        ("dict",),
        "the smaller dictionary loses more than half of its specialists",
        f"{small[0]}/{small[1]} against {large[0]}/{large[1]} in the windows has p = {_fisher(small, large):.3f} "
        f"(Fisher); over the alive features, {small[0]}/{alive['K=50, d=250']:.0f} against "
        f"{large[0]}/{alive['K=50']:.0f}, p = {whole:.3f}",
    )
    total, pooled = p("k50", "earlier_specialized_percent", 100, 512), p.of("k50", "specialized", 100, 512)
    yield Finding(
        "ten-times",
        ("k50", "act"),
        f"K=50 has {p('k50', 'times'):.0f} times the specialists of K=100",
        f"{rate} / {total} divides by 6/341, which pools three windows and two layers; like window by like window "
        f"({pooled[0]}/{pooled[1]}) it is {rate / p('k50', 'specialized_percent', 100, 512):.1f}",
    )
    early, middle = p.of("act", "specialized_early", 100, 512, 3), p.of("act", "specialized_middle", 100, 512)
    yield Finding(
        "early-general",
        ("act", "sem"),
        "early layers are more general than late ones; both layers are equally interpretable",
        f"{early[0]}/{early[1]} against {middle[0]}/{middle[1]} has p = {_fisher(early, middle):.2g} "
        f"(Fisher), in windows "
        f"of different firing rates; the later report calls the layers a tie, "
        f"{p('sem', 'patterned', 100, 512, 3):.0f} of "
        f"10 each",
    )
    top = p("act", "top_to_rank", 100, 512)
    yield Finding(
        "top-200",
        ("act",),
        f"the top {top:.0f} features are {p('act', 'top_general_percent', 100, 512)} % general",
        f"ranks {p('act', 'rank_from_middle', 100, 512):.0f} to {p('act', 'rank_to_middle', 100, 512):.0f} were looked "
        f"at; ranks 1 to {p('act', 'rank_from_middle', 100, 512) - 1:.0f} were not",
    )


def single_features(p: Published) -> Iterator[Finding]:
    """What is said of single features, and on how many problems it rests."""
    rows = p("k50", "validation_rows")
    rates = [p("k50", f"rate_percent_of_{feature}", 50, 512) for feature in (162, 165, 452)]
    least, most = (f"{rate / 100 * rows:.1f}" for rate in (min(rates), max(rates)))
    yield Finding(
        "swap-pairs",
        ("k50", "act"),
        "K=50 makes swap experiments feasible",
        f"its features fire on {min(rates)} to {max(rates)} % of problems, {least} to {most} of {rows:,.0f}; the other "
        f"report demands {p('act', 'needed_firing', 100, 512):.0f} to 50 and calls "
        f"{p('act', 'too_weak_firing', 100, 512):.0f} too few",
    )
    yield Finding(
        "449",
        ("act", "sem"),
        "feature 449 is a multiplication feature; feature 449 fires on all operations",
        f"it fires on {p.of('act', 'fires_on_449', 100, 512)[0]:,} of {rows:,.0f} problems, so whether it fires "
        f"tells no operation from another; eight of ten such features count as clearly patterned at "
        f"either layer, where the "
        f"rule of the other report finds {p.of('act', 'specialized_early', 100, 512, 3)[0]} of 81 and "
        f"{p.of('act', 'specialized_middle', 100, 512)[0]} of 151",
    )
    yield Finding(
        "addition-332",
        ("act",),
        "feature 332 is an addition specialist, feature 350 stands for addition with 50",
        f"{p('act', 'samples_of_332_that_multiply', 100, 512):.0f} of "
        f"{p('act', 'samples_of_332', 100, 512):.0f} printed "
        f"samples of 332 multiply as well; 50 is {p('act', 'numbers_of_350_equal_to_50', 100, 512):.0f} of the numbers "
        f"in the sample of 350 and the inside of {p('act', 'numbers_of_350_with_50_inside', 100, 512):.0f} larger ones",
    )
    n = p("scores", "features_with_n_active_100", 100, 512, 3)
    yield Finding(
        "denominators",
        ("act", "scores"),
        "the firing rates and the shares of operations stand in one table",
        f"for all {n:.0f} features of layer 3 the shares are of 100 problems, while the rates are of {rows:,.0f}; "
        f"feature 332 fires on {p.of('act', 'fires_on_332', 100, 512)[0]} problems and its shares are of "
        f"{p('scores', 'n_active_of_332', 100, 512):.0f}",
    )


def death(p: Published) -> Iterator[Finding]:
    """Dead features and the laws about them."""
    ratio, dead = p("dict", "d_per_k", 200, 512), p("dict", "dead_percent", 200, 512)
    yield Finding(
        "five-k-necessary",
        ("dict",),
        "a dictionary of at least 5K is necessary for no dead feature",
        f"K=200 has d/K = {ratio} in the same table and {dead:.0f} % dead",
    )
    grid = {d: p("grid", "dead_percent", 100, d) for d in GRID_D}
    yield Finding(
        "five-k-enough",
        ("dict", "grid"),
        "from K=100 on a dictionary of at least 5K has no dead feature",
        f"K=100: {grid[1024]} % dead at d=1,024 and {grid[2048]} % at d=2,048",
    )
    low, high, forecast = (
        p("k50", f"forecast_{name}", 75, 512)
        for name in ("specialized_percent_from", "specialized_percent_to", "dead_percent")
    )
    yield Finding(
        "k75-forecast",
        ("k50", "dict"),
        f"K=75 will have {low:.0f} to {high:.0f} % specialists and {forecast:.0f} % dead",
        f"{p('dict', 'specialized_percent', 75, 512)} % and {p('dict', 'dead_percent', 75, 512)} % came",
    )
    yield Finding(
        "active-share",
        ("dict",),
        f"K=50 in a dictionary of 250 has {p('dict', 'active_percent', 50, 250)} % active features",
        f"50/250 is {100 * 50 / 250:.0f} %; {100 * 50 / 512:.1f} % is 50/512",
    )
    thresholds = sorted(thresholds_of(p).values())
    yield Finding(
        "death-formula",
        ("grid",),
        "the dead share is 1 - K n / (d t) with one threshold t",
        f"solved for t, the cells with dead features give {thresholds[0]:.0f} to {thresholds[-1]:.0f}",
    )
    last = p("scores", "last_rank", 100, 512)
    yield Finding(
        "ranks-end",
        ("act", "scores"),
        "all 512 features of K=100 are active; ranks 400 to 512 were looked at",
        f"the ranks end at {last:.0f} and hold {p.of('act', 'specialized_rare', 100, 512)[1]} features: "
        f"{512 - last:.0f} fire on no validation problem",
    )
    yield Finding(
        "least-rate",
        ("k50",),
        f"the lowest firing rate is {p('k50', 'least_rate_percent_panel', 200, 512)} % for all three K",
        f"for K=200 it is above {p('k50', 'least_rate_percent_curve', 200, 512)} % in the next figure",
    )
    yield Finding(
        "k200-against-death",
        ("act", "k50"),
        f"K={p('act', 'proposed_k_against_death'):.0f} would reduce the dead features of K=100",
        f"K=100 has {p('k50', 'dead_percent', 100, 512):.0f} %",
    )
    active = ", ".join(f"{d * (1 - grid[d] / 100):,.0f}" for d in GRID_D)
    yield Finding(
        "active-range",
        ("grid",),
        f"K=100 has {p('grid', 'alive_from', 100):,.0f} to {p('grid', 'alive_to', 100):,.0f} active features",
        f"its shares of dead features give {active} at d = 512, 1,024, 2,048",
    )


def quality(p: Published) -> Iterator[Finding]:
    """Explained variance, Pareto fronts, efficiency."""
    three, two = pareto(p, with_death=True), pareto(p, with_death=False)
    losing = "d=2,048 with K=100 is below d=1,024 with K=100 in all of them"
    yield Finding(
        "pareto",
        ("grid",),
        "all 12 dictionaries are Pareto-optimal",
        f"{len(three)} are on (explained variance, K, dead share) and {len(two)} on (explained variance, K); {losing}",
    )
    cells = [p("grid", "ev_percent", 100, d) for d in GRID_D]
    yield Finding(
        "larger-better",
        ("grid",),
        "at fixed K a larger dictionary always reconstructs better",
        f"K=100: {cells[0]}, {cells[1]}, {cells[2]} % at d = 512, 1,024, 2,048",
    )
    apart = {d: (p("grid", "ev_percent", 20, d) - p("sem", "ev_percent", 20, d)) for d in (1024, 2048)}
    deaths = {d: (p("grid", "dead_percent", 20, d) - p("sem", "dead_percent", 20, d)) for d in (1024, 2048)}
    yield Finding(
        "trained-twice",
        ("grid", "sem"),
        "differences of 0.1 to 0.5 points of explained variance are findings",
        f"K=20 with d = 1,024 and 2,048 is reported twice, {apart[1024]:.1f} and {apart[2048]:.1f} points of explained "
        f"variance and {deaths[1024]:.1f} and {deaths[2048]:.1f} points of dead features apart; no "
        f"report repeats a seed",
    )
    yield Finding(
        "two-numbers",
        ("sem",),
        "K=100, d=512 explains 87.8 %, and 88.1 %",
        f"one dictionary, two numbers, {p('sem', 'ev_percent_again', 100, 512) - p('sem', 'ev_percent', 100, 512):.1f} "
        f"points apart; its gain is {p('sem', 'gain', 100, 512)} and {p('sem', 'gain_again', 100, 512)} points",
    )
    drop = p("dict", "ev_percent", 50, 250) - p("dict", "ev_percent", 50, 512)
    yield Finding(
        "worse-negligible",
        ("dict",),
        "the smaller dictionary reconstructs worse; the difference is negligible",
        f"both are said of {drop:+.1f} points, one seed each",
    )
    jumps = [p("grid", "ev_percent", 100, d) - p("grid", "ev_percent", 20, d) for d in GRID_D]
    yield Finding(
        "quality-jump",
        ("grid",),
        "from K=20 to K=100 explained variance gains 6 to 7 points",
        f"{', '.join(f'{jump:.1f}' for jump in jumps)} points at d = 512, 1,024, 2,048",
    )
    times = [efficiency / _matryoshka(p) for efficiency in _efficiencies(p)]
    yield Finding(
        "efficiency-range",
        ("sem",),
        f"TopK is {p('sem', 'times_from')} to {p('sem', 'times_to')} times as efficient",
        f"its three rows give {', '.join(f'{one:.1f}' for one in times)}",
    )
    best = max(product(GRID_K, GRID_D), key=lambda cell: p("grid", "ev_percent", *cell) / _alive(p, *cell))
    rank = sorted(product(GRID_K, GRID_D), key=lambda cell: p("grid", "ev_percent", *cell)).index(best) + 1
    yield Finding(
        "efficiency-death",
        ("sem", "grid"),
        "explained variance per active feature says how good a dictionary is",
        f"the measure rewards dead features: of the grid it prefers K={best[0]}, d={best[1]}, number "
        f"{rank} from below in "
        f"explained variance, {p('grid', 'dead_percent', *best)} % dead",
    )


def advice(p: Published) -> Iterator[Finding]:
    """Recommendations that exclude each other, and evidence for something else."""
    yield Finding(
        "dead-waste-reserve",
        ("k50", "dict"),
        f"dead features are waste, take d={p('k50', 'advised_d', 50):.0f} for K=50; dead features are a reserve",
        f"the second report advises d={p('dict', 'advised_d', 50):.0f} or more for the same K",
    )
    best = ", ".join(f"{p(report, 'advised_k'):.0f}" for report in ("grid", "dict", "k50"))
    yield Finding(
        "best-k",
        ("grid", "dict", "k50"),
        "one K is best for interpretability",
        f"it is {best}, report by report",
    )
    low, high = (p("k50", f"forecast_specialized_percent_{end}", 25, 512) for end in ("from", "to"))
    yield Finding(
        "k25-forecast",
        ("k50", "dict"),
        "how many features K=25 will specialize",
        f"{low:.0f} to {high:.0f} % in one report, more than "
        f"{p('dict', 'forecast_specialized_percent_from', 25, 512):.0f} % in the other",
    )
    yield Finding(
        "balanced",
        ("grid",),
        "the balanced configuration is K=20",
        f"with d={p('grid', 'balanced_d_in_summary', 20):,.0f} in the summary and "
        f"d={p('grid', 'balanced_d', 20):,.0f} in "
        f"the recommendations",
    )
    sizes = {d: checkpoint_mb(d) for d in (512, 250)}
    stated = {512: p("k50", "checkpoint_mb", 50, 512), 250: p("dict", "checkpoint_mb", 50, 250)}
    yield Finding(
        "checkpoints",
        ("k50", "dict"),
        f"the checkpoints are {stated[512]:.0f} and {stated[250]:.0f} MB",
        f"weights of d = 512 and 250 are {sizes[512]:.1f} and {sizes[250]:.1f} MB in float32, "
        f"{stated[512] / sizes[512]:.0f} and {stated[250] / sizes[250]:.0f} times less",
    )
    yield Finding(
        "position-layer",
        ("sem",),
        "late layers matter most for the answer",
        f"the evidence ({p('sem', 'importance_percent', layer='')} % at position "
        f"{p('sem', 'critical_position', layer=''):.0f}) is of late positions, and the variance of layer 15 is that of "
        f"another quantity: it was read behind the final norm",
    )


def thresholds_of(p: Published) -> dict[tuple[int, int], float]:
    """The death formula solved for its threshold, in every cell of the grid that has dead features."""
    n = p("grid", "death_rows")
    shares = {cell: p("grid", "dead_percent", *cell) / 100 for cell in product(GRID_K, GRID_D)}
    return {(k, d): k * n / (d * (1 - share)) for (k, d), share in shares.items() if share}


def pareto(p: Published, with_death: bool) -> list[tuple[int, int]]:
    """The cells of the grid that no other one beats: as good in everything and better in something."""
    points = {
        (k, d): (-p("grid", "ev_percent", k, d), k, p("grid", "dead_percent", k, d) if with_death else 0.0)
        for k, d in product(GRID_K, GRID_D)
    }

    def beaten(cell: tuple[int, int]) -> bool:
        mine = points[cell]
        return any(other != mine and all(a <= b for a, b in zip(other, mine, strict=True)) for other in points.values())

    return [cell for cell in points if not beaten(cell)]


def checkpoint_mb(d_sae: int) -> float:
    """An SAE's two matrices and two biases in float32, in millions of bytes."""
    return (2 * D_IN * d_sae + D_IN + d_sae) * BYTES / 1e6


def _alive(p: Published, k: int, d: int) -> float:
    return d * (1 - p("grid", "dead_percent", k, d) / 100)


def _matryoshka(p: Published) -> float:
    return p("sem", "matryoshka_ev_percent") / p("sem", "matryoshka_alive")


def _efficiencies(p: Published) -> list[float]:
    cells = ((20, 1024), (20, 2048), (100, 512))
    return [p("sem", "ev_percent", *cell) / p("sem", "alive", *cell) for cell in cells]


def _fisher(one: tuple[int, int], other: tuple[int, int]) -> float:
    """Two-sided p of Fisher's exact test of two shares."""
    return float(fisher_exact([[hits, n - hits] for hits, n in (one, other)]).pvalue)


def findings() -> list[Finding]:
    """All of them, what contradicts within one report first."""
    p = Published()
    parts = (specialization, single_features, death, quality, advice)
    return sorted((one for part in parts for one in part(p)), key=lambda one: not one.within)


def section(found: list[Finding]) -> str:
    """The page's opening section, as Markdown."""
    within = [one for one in found if one.within]
    between = [one for one in found if not one.within]
    lines = [f"{len(found)} contradictions, {len(within)} within a report and {len(between)} between reports.", ""]
    for title, rows in (("Within a report", within), ("Between reports", between)):
        lines += [f"### {title}", "", "| name | reports | what is said | what the numbers give |", "|---|---|---|---|"]
        lines += [f"| {one.name} | {', '.join(one.reports)} | {one.said} | {one.numbers} |" for one in rows]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="leave the page alone")
    given = parser.parse_args()
    text = section(findings())
    print(text)
    if not given.check:
        common.fill_page(PAGE, "reports", text, code=False)


if __name__ == "__main__":
    main()
