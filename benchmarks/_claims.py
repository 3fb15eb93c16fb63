"""A row of the table of claims, and the claims that experiments which were run again decide; see claims.py."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import _common as common
import numpy as np
from scipy.stats import fisher_exact

YES, NO, UNKNOWN = "holds", "does not hold", "cannot be told"
REPRODUCE = "codi-int reproduce"
CURVES = "python benchmarks/specialization_curves.py"
RELEVANCE = "python benchmarks/relevance.py"
MATCHED = "codi-mini at the same K/d_model"


@dataclass(frozen=True)
class Verdict:
    """A row of the table."""

    id: str
    """of the claim"""
    verdict: str = ""
    """holds, does not hold, cannot be told; empty where nothing has decided it"""
    command: str = ""
    """which prints the numbers"""
    numbers: str = ""
    """the numbers themselves"""
    n: str = ""
    """of what"""
    power: str = ""
    """of the test, where the claim cannot be told"""
    reason: str = ""
    """why so, and where the evidence ends"""


def read_rows(name: str) -> list[dict[str, str]]:
    """A table of docs/results."""
    with (common.DOCS_RESULTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def in_words(values: Sequence[float]) -> str:
    """Mean and range of seeds."""
    return f"{np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def in_range(seeds: tuple[float, float, float]) -> str:
    """A mean with the least and the greatest."""
    return "{:.1f} ({:.1f} to {:.1f})".format(*seeds)


class Table:
    """What `codi-int reproduce NAME` printed."""

    def __init__(self, name: str) -> None:
        self.command = f"{REPRODUCE} {name}"
        self.rows = {(row["subject"], row["measure"]): row for row in read_rows(f"reproductions/{name}.csv")}

    def seeds(self, subject: str, measure: str) -> tuple[float, float, float]:
        """Mean, least and greatest of the seeds."""
        row = self.rows[subject, measure]
        return tuple(float(row[f"honest_{name}"]) for name in ("value", "low", "high"))  # type: ignore[return-value]

    def share(self, subject: str, measure: str) -> tuple[int, int]:
        """How many of how many, by the published rule."""
        row = self.rows[subject, measure]
        n = int(row["here_n"])
        return round(float(row["here"]) / 100 * n), n


def reproduced() -> Iterator[Verdict]:
    """Verdicts from the experiments that were run again, from annealed K and L1, and from all sites."""
    yield from _dictionaries()
    yield from _grid()
    yield from _activation_patterns()
    yield from _annealed_and_l1()
    yield from _all_sites()


def _dictionaries() -> Iterator[Verdict]:
    found, wide = Table("k50-specialization"), Table("dictionary-scaling")
    dead = [found.seeds(f"K={k}", "dead features") for k in (50, 100, 200)]
    yield Verdict(
        id="k50-05",
        verdict=NO if min(low for _, low, _ in dead[1:]) > 10 else "",
        command=found.command,
        numbers="dead at K = 50, 100, 200: " + ", ".join(map(in_range, dead)) + " %",
        n="9 dictionaries",
        reason=f"{MATCHED}, mean (range) of 3 seeds; more die here, at every K",
    )
    small, large, more = (
        wide.seeds(name, "explained variance") for name in ("K=50, d=250", "K=50, d=512", "K=100, d=512")
    )
    yield Verdict(
        id="dict-03",
        verdict=YES if small[2] < large[1] and large[0] - small[0] < (more[0] - large[0]) / 2 else "",
        command=wide.command,
        numbers=f"explained variance {in_range(small)} % at d = 250, {in_range(large)} at d = 512, "
        f"{in_range(more)} at K = 100",
        n="9 dictionaries",
        reason=f"{MATCHED}, mean (range) of 3 seeds: half the size costs less than a quarter of what half the K does",
    )


def _grid() -> Iterator[Verdict]:
    found = Table("topk-grid")
    variance = {name: found.seeds(name, measure) for name, measure in found.rows if measure == "explained variance"}
    best, worst = (choose(variance, key=lambda name: variance[name][0]) for choose in (max, min))
    claimed = variance["K=100, d=1024"]
    yield Verdict(
        id="grid-07",
        verdict=NO if variance[best][1] > claimed[2] else "",
        command=found.command,
        numbers=f"best {best}: {in_range(variance[best])} %; K=100, d=1024: {in_range(claimed)}; worst {worst}",
        n="24 dictionaries",
        reason="codi-mini at the published K itself, so far more of its width; range of 2 seeds; the worst is the same",
    )
    seconds = [float(row["seconds"]) for row in read_rows("curves.csv") if row["part"] == "grid"]
    yield Verdict(
        id="grid-14",
        verdict=YES if max(seconds) < 60 else NO,
        command=CURVES,
        numbers=f"{np.median(seconds):.1f} s in the middle, {max(seconds):.1f} at most for one dictionary",
        n=f"{len(seconds)} dictionaries",
        reason="two CPU cores, d_sae up to 1,024 and width 96; nothing was measured on an A100",
    )


def _activation_patterns() -> Iterator[Verdict]:
    found = Table("activation-patterns")
    for name, window, published in (
        ("act-01", "specialized, middle (ranks 50 to 200 of 508)", (1, 151)),
        ("act-03", "specialized, rare (ranks 400 to 508 of 508)", (5, 109)),
    ):
        hits, n = found.share("layer 14", window)
        row = found.rows["layer 14", window]
        table = [[hits, n - hits], [published[0], published[1] - published[0]]]
        p_value = float(fisher_exact(np.array(table)).pvalue)
        tested = [float(row[f"honest_{key}"]) for key in ("value", "low", "high")]
        share = 100 * published[0] / published[1]
        yield Verdict(
            id=name,
            verdict=NO if p_value < 0.05 or tested[1] > share else "",
            command=found.command,
            numbers=f"{hits}/{n} by the published rule against {published[0]}/{published[1]}: p = {p_value:.2g} "
            f"(Fisher); tested: {tested[0]:.1f} % ({tested[1]:.1f} to {tested[2]:.1f})",
            n=f"{n} features, 1,495 problems",
            reason=f"{MATCHED}, the same shares of the ranks, one seed; features of one dictionary are not independent",
        )


def _annealed_and_l1() -> Iterator[Verdict]:
    rows = read_rows("curves.csv")

    def of(part: str, measure: str, **settings: str) -> list[float]:
        own = [row for row in rows if row["part"] == part and all(row[k] == v for k, v in settings.items())]
        if measure == "tested":
            return [100 * float(row["tested_alive_specialized"]) / float(row["tested_alive_n"]) for row in own]
        return [100 * float(row["explained_variance"]) for row in own]

    annealed, small, large = (
        {"part": "anneal", "trained_as": "K 2 to 5"},
        {"part": "grid", "k": "2", "d_sae": "512"},
        {"part": "grid", "k": "5", "d_sae": "512"},
    )
    shares, quality = ([of(measure=name, **one) for one in (annealed, small, large)] for name in ("tested", "variance"))
    yield Verdict(
        id="k50-23",
        verdict=NO if max(shares[0]) < min(shares[1]) else "",
        command=CURVES,
        numbers=f"specialists by the tested rule {in_words(shares[0])} %, K = 50 throughout {in_words(shares[1])}, 100 "
        f"throughout {in_words(shares[2])}; explained variance {', '.join(map(in_words, quality))} %",
        n="9 dictionaries, 1,495 problems",
        reason=f"{MATCHED} (2, then 5), mean (range) of 3 seeds: it regains the reconstruction, not the specialists",
    )
    l1 = [row for row in rows if row["part"] == "l1"]
    bias, spread = ([float(row[key]) for row in l1] for key in ("bias", "l0_spread"))
    topk = [float(row["bias"]) for row in rows if row["part"] == "grid"]
    yield Verdict(
        id="grid-09",
        verdict=YES if max(bias) < min(topk) and min(spread) > 1 else "",
        command=CURVES,
        numbers="length of the reconstruction as a share of what fits best: "
        f"L1 {min(bias):.2f} to {max(bias):.2f}, TopK {min(topk):.2f} to {max(topk):.2f}; "
        f"spread of the active features: L1 {min(spread):.1f} to {max(spread):.1f}, TopK 0",
        n=f"{len(l1)} and {len(topk)} dictionaries",
        reason="codi-mini, L14.P3; penalties 5 to 80: magnitudes shrink and the number of active features varies",
    )


def _all_sites() -> Iterator[Verdict]:
    rows = json.loads((common.RESULTS / "relevance.json").read_text(encoding="utf-8"))["sites"]
    found = {row["measure"]: row for row in rows if row["effect"] == "probability"}

    def end(measure: str, name: str) -> float:
        return float(found[measure]["coefficient"][name])

    def said(measure: str) -> str:
        one = found[measure]["coefficient"]
        return f"{one['value']:+.2f} ({one['low']:+.2f} to {one['high']:+.2f})"

    variance, explained = "variance of the activations", "explained variance of the SAE"
    words = "codi-mini; effect: loss of the clean answer's probability with the site at its mean, later positions free"
    yield Verdict(
        id="sem-12",
        verdict=NO
        if found[explained]["coefficient"]["low"] > -0.1 and found["layer"]["coefficient"]["high"] < 0.1
        else "",
        command=RELEVANCE,
        numbers=f"rank correlation with the effect: explained variance {said(explained)}, layer {said('layer')}",
        n="111 sites, 500 problems",
        reason=f"{words}; the claim needs the first below 0 and the second above",
    )
    yield Verdict(
        id="sem-14",
        verdict=NO if end(variance, "high") < 0.3 else "",
        command=RELEVANCE,
        numbers=f"rank correlation of a site's variance with its effect: {said(variance)}",
        n="111 sites, 500 problems",
        reason=f"{words}; judged is what is drawn from the variance, not the variance itself",
    )
