"""A verdict for each claim of the published reports, where a printed number supports one: docs/results/claims.csv.

    python benchmarks/claims.py            # writes the table and fills in docs/results/published-experiments.md
    python benchmarks/claims.py --check    # prints what it would write

The numbers are those of the reports (experiments/published.csv), and of tables that other scripts have left in
docs/results: nothing is run here. A claim that none of them decides stands in the table without a verdict.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import _common as common
import numpy as np
from _claims import NO, UNKNOWN, YES, Verdict, in_words, read_rows, reproduced
from _claims_more import more
from published_reports import Published, findings
from scipy.stats import binom, fisher_exact

TABLE = common.DOCS_RESULTS / "claims.csv"
PAGE = common.DOCS_RESULTS / "published-experiments.md"
CLAIMS = {"k50": 23, "dict": 21, "grid": 19, "act": 19, "sem": 18}
"""how many claims each report makes; they are numbered from 01 in the order of the report"""
REPORTS = "python benchmarks/published_reports.py"
CURVES = "python benchmarks/specialization_curves.py"
SITES = "python benchmarks/sae_sites.py"
SCREEN = "python benchmarks/causal_map.py"
OWN = "python benchmarks/claims.py"
TOP, RARE = 20, 0.028
"""features that count as most frequent, and the firing rate up to which the reports call features rare"""


# claim, finding of published_reports.py that contradicts it, and why that decides it
ARITHMETIC = (
    ("k50-02", "inverse-k", "The reports' own points lie on no such curve"),
    ("k50-03", "ten-times", "The two shares have different windows and layers"),
    (
        "k50-12",
        "swap-pairs",
        "By the need that the earlier report states; the exact power stands in docs/results/features.md",
    ),
    ("k50-21", "k75-forecast", "Both forecasts missed"),
    ("dict-05", "five-k-necessary", "The report's own table has the counterexample"),
    ("dict-07", "five-k-enough", "Two larger dictionaries of the grid at K=100 have dead features"),
    ("dict-08", "active-share", "The share is that of the other dictionary"),
    ("grid-01", "pareto", "One dictionary is beaten in every respect"),
    ("grid-03", "larger-better", "K=100 falls from d=1,024 to 2,048"),
    ("grid-05", "active-range", "The range leaves out two of the three sizes"),
    ("grid-08", "death-formula", "No one threshold gives the published cells"),
    (
        "act-13",
        "k200-against-death",
        "There is nothing to reduce; whether specialists become fewer is not decided by that",
    ),
    ("sem-05", "efficiency-death", "The measure prefers the worst dictionary"),
)


def arithmetic() -> Iterator[Verdict]:
    """Claims that the published numbers themselves decide."""
    known = {one.name: one for one in findings()}
    for name, finding, reason in ARITHMETIC:
        yield Verdict(name, NO, REPORTS, known[finding].numbers, "published numbers", reason=reason)


def counts(p: Published) -> Iterator[Verdict]:
    """Claims about counts, by the exact tests that these counts allow."""
    parts = [
        p.of("act", f"specialized_{name}", 100, 512, layer)
        for name, layer in (("middle", 14), ("early", 3), ("rare", 14))
    ]
    hits, n = (sum(column) for column in zip(*parts, strict=True))
    yield Verdict(
        id="act-10",
        verdict=YES,
        command=OWN,
        numbers=f"{hits}/{n} = {100 * hits / n:.1f} %",
        n=f"{n} features",
        reason="As a sum; it pools two layers and windows of different firing rates",
    )
    for name, one, other in (("act-02", parts[1], parts[0]), ("act-04", parts[0], parts[2])):
        yield _two_shares(name, one, other)
    fires = [p.of("act", f"fires_on_{feature}", 100, 512)[0] for feature in (332, 194, 392, 350, 487)]
    least = min(2 * 0.5**count for count in fires)
    words = f"the five fire on {', '.join(map(str, fires))} problems; the smallest p that any can reach is {least:.4f}"
    for name, verdict in (("act-08", YES), ("k50-18", NO)):
        yield Verdict(
            id=name,
            verdict=verdict,
            command=OWN,
            numbers=words,
            n="1,495 problems",
            power="0.00",
            reason="An exact test of accuracy at 5 % cannot reject even if every problem on which one fires flips",
        )
    total = fires[2] + fires[3]
    yield Verdict(
        id="act-15",
        verdict=UNKNOWN,
        command=OWN,
        numbers=f"{total} problems; the smallest p of an exact test is {2 * 0.5**total:.2f}",
        n=f"{total} problems",
        power="0.00",
        reason="Too few problems for any outcome to be significant at 5 %",
    )
    sizes = {d: 2 * 2048 * d + 2048 + d for d in (512, 1024, 2048)}
    yield Verdict(
        id="grid-13",
        verdict=NO,
        command=OWN,
        numbers=f"d=512 has {sizes[512]:,} weights at K = 5, 10, 20 and 100 alike",
        n="12 dictionaries",
        reason="K does not change how large a dictionary is, so K=20 is not the smallest",
    )


def _two_shares(name: str, one: tuple[int, int], other: tuple[int, int]) -> Verdict:
    """Whether two published shares differ, and how likely a test would see it if they are what was found."""
    p_value = _fisher(one, other)
    power = fisher_power(one, other)
    verdict = YES if p_value < 0.05 else UNKNOWN if power < 0.5 else ""
    return Verdict(
        id=name,
        verdict=verdict,
        command=OWN,
        numbers=f"{one[0]}/{one[1]} against {other[0]}/{other[1]}: p = {p_value:.2g} (Fisher, two-sided)",
        n=f"{one[1] + other[1]} features",
        power=f"{power:.2f}",
        reason="Published counts by the published rule; power at the shares that were found",
    )


def fisher_power(one: tuple[int, int], other: tuple[int, int], alpha: float = 0.05) -> float:
    """Power of Fisher's exact test where the true shares are those found: the sum over all tables that reject."""
    (a, n), (b, m) = one, other
    chance_one, chance_other = binom.pmf(range(n + 1), n, a / n), binom.pmf(range(m + 1), m, b / m)
    likely = [[i for i, chance in enumerate(some) if chance > 1e-7] for some in (chance_one, chance_other)]
    return float(
        sum(chance_one[i] * chance_other[j] for i in likely[0] for j in likely[1] if _fisher((i, n), (j, m)) < alpha)
    )


def _fisher(one: tuple[int, int], other: tuple[int, int]) -> float:
    return float(fisher_exact(np.array([[hits, n - hits] for hits, n in (one, other)])).pvalue)


MATCHED_K = {25: 1, 50: 2, 100: 5, 200: 9}
"""published K, of width 2,048, to the K that is the same share of codi-mini's 96"""


class Curves:
    """The grid of docs/results/curves.csv: sizes, K at the published share of the width, three seeds."""

    def __init__(self) -> None:
        self.rows = [row for row in read_rows("curves.csv") if row["part"] == "grid"]

    def values(self, measure: Callable[[dict[str, str]], float], k: int, d_sae: int = 512) -> list[float]:
        """A measure of each seed."""
        return [measure(row) for row in self.rows if (int(row["k"]), int(row["d_sae"])) == (k, d_sae)]


def _variance(row: dict[str, str]) -> float:
    return 100 * float(row["explained_variance"])


def _dead(row: dict[str, str]) -> float:
    return 100 * float(row["dead_share"])


def _published(row: dict[str, str]) -> float:
    return 100 * float(row["published_alive_specialized"]) / float(row["published_alive_n"])


def _rises(groups: list[list[float]]) -> bool:
    """Whether every seed of a group lies above every seed of the one before."""
    return all(max(low) < min(high) for low, high in pairwise(groups))


def curves() -> Iterator[Verdict]:
    """Claims about K and size, at the same share of the width, on codi-mini."""
    found = Curves()
    matched = "codi-mini at the same K/d_model (2, 5, 9 for 50, 100, 200), mean (range) of 3 seeds; "
    series = [found.values(_variance, k) for k in (9, 5, 2)]
    yield Verdict(
        id="k50-04",
        verdict=YES if _rises(series[::-1]) else NO,
        command=CURVES,
        numbers="explained variance " + ", ".join(map(in_words, series)) + " % at K = 200, 100, 50",
        n="9 dictionaries, 1,495 problems",
        reason=matched + "no seeds of two K overlap",
    )
    shares = [found.values(_published, MATCHED_K[k]) for k in (50, 100, 200)]
    yield Verdict(
        id="k50-01",
        verdict=YES if _rises(shares[::-1]) else NO if min(shares[2]) > max(shares[0]) else "",
        command=CURVES,
        numbers="specialized by the published rule, all alive features: "
        + ", ".join(map(in_words, shares))
        + " % at K = 50, 100, 200",
        n="9 dictionaries, 1,495 problems",
        reason=matched + "over all alive features, so that the denominators are alike",
    )
    ks, sizes = (1, 2, 5, 9, 23), (256, 512, 1024)
    dead = {(k, d): found.values(_dead, k, d) for k in ks for d in sizes}
    down = all(_rises([dead[k, d] for k in reversed(ks)]) for d in sizes)
    up = all(_rises([dead[k, d] for d in sizes]) for k in ks)
    yield Verdict(
        id="grid-04",
        verdict=YES if down and up else NO,
        command=CURVES,
        numbers="dead at d = 256, 512, 1,024: "
        + "; ".join(f"K={k} " + ", ".join(f"{np.mean(dead[k, d]):.1f}" for d in sizes) for k in ks)
        + " %",
        n=f"{3 * len(dead)} dictionaries",
        reason=f"mean of 3 seeds; falls with K without overlap of seeds: {down}; rises with d: {up}",
    )
    by_k = [np.mean(found.values(_variance, 23, d)) - np.mean(found.values(_variance, 5, d)) for d in sizes]
    by_d = [np.mean(found.values(_variance, k, 1024)) - np.mean(found.values(_variance, k, 256)) for k in ks]
    yield Verdict(
        id="grid-02",
        verdict=YES if min(by_k) > max(by_d) else NO,
        command=CURVES,
        numbers=f"K 5 to 23 (4.6 times): {min(by_k):+.1f} to {max(by_k):+.1f} points of explained variance; d 256 to "
        f"1,024 (4 times): {min(by_d):+.1f} to {max(by_d):+.1f}",
        n="45 dictionaries",
        reason="codi-mini, mean of 3 seeds; every gain by K is compared with the largest by d",
    )


def sizes_of_dictionaries() -> Iterator[Verdict]:
    """Claims about the size of the dictionary at K=50, at the same share of the width (2), on codi-mini."""
    found, sizes = Curves(), (256, 512, 1024)
    dead, variance, share = ([found.values(measure, 2, d) for d in sizes] for measure in (_dead, _variance, _published))
    words = "codi-mini, K = 2 (the share of the width that K=50 was), d = 256, 512, 1,024, mean (range) of 3 seeds"

    def row(name: str, verdict: str, numbers: str, reason: str) -> Verdict:
        return Verdict(name, verdict, CURVES, numbers, "9 dictionaries, 1,495 problems", reason=f"{words}; {reason}")

    shown = {name: ", ".join(map(in_words, some)) + " %" for name, some in (("dead", dead), ("EV", variance))}
    shares = "specialized by the published rule, all alive features: " + ", ".join(map(in_words, share)) + " %"
    fewer = YES if _rises(dead[:2]) and min(dead[0]) > 0 else NO
    yield row("dict-01", fewer, f"dead {shown['dead']}", "the smaller has fewer dead features, and some")
    yield row("dict-18", YES if min(map(min, dead)) > 10 else NO, f"dead {shown['dead']}", "no size comes near none")
    more = min(share[0]) > max(share[1]) / 2
    yield row("dict-02", NO if more else "", shares, "every seed of 256 keeps more than half of what any of 512 has")
    fifth = max(share[2]) < 20
    yield row("dict-15", NO if fifth else "", shares, "no seed of the largest reaches a fifth")
    one, two = found.values(_dead, 1, 256), found.values(_dead, 2, 512)
    apart = max(two) < min(one) or max(one) < min(two)
    yield Verdict(
        id="dict-04",
        verdict=YES if apart else "",
        command=CURVES,
        numbers=f"K/d = 1/256: {in_words(one)} % dead at K=1, {in_words(two)} % at K=2",
        n="6 dictionaries, 1,495 problems",
        reason="codi-mini, mean (range) of 3 seeds; one ratio, two shares of dead features",
    )
    few = found.values(_published, MATCHED_K[25])
    for name, least in (("k50-15", 40), ("dict-19", 30)):
        yield Verdict(
            id=name,
            verdict=NO if max(few) < least else "",
            command=CURVES,
            numbers=f"specialized by the published rule at K = 1: {in_words(few)} %",
            n="3 dictionaries, 1,495 problems",
            reason=f"codi-mini at the share of the width that K=25 was, d = 512; more than {least} % was predicted. "
            "K=10 would be less than one feature",
        )


def screens() -> Iterator[Verdict]:
    """Claims about ablations, from the screen of codi-mini's L14.P3 on 1,495 problems."""
    rows = sorted(
        (row for row in read_rows("causal-map/screen.csv") if float(row["firing_rate"]) > 0), key=_rate, reverse=True
    )
    top, rare = rows[:TOP], [row for row in rows if _rate(row) <= RARE]
    words = "codi-mini, L14.P3, the shipped SAE; zero ablation, later positions free"
    least = min(float(row["low"]) for row in top)
    hits = sum(float(row["high"]) < -0.1 for row in top)
    yield Verdict(
        id="act-16",
        verdict=NO if least > -0.1 else "",
        command=SCREEN,
        numbers=f"{hits} of {TOP} lose 10 points; the lowest end of their 95 % intervals is {100 * least:.2f} points",
        n="1,495 problems",
        reason=f"{words}; the most frequent features fire on {100 * _rate(top[-1]):.0f} to {100 * _rate(top[0]):.0f} "
        "%, not on 87 % and more",
    )
    within = sum(float(row["low"]) > -0.01 and float(row["high"]) < 0.01 for row in rare)
    yield Verdict(
        id="act-17",
        verdict=YES if within == len(rare) else NO,
        command=SCREEN,
        numbers=f"{within} of {len(rare)} features that fire on at most {100 * RARE:.1f} % have a 95 % "
        "interval within 1 point",
        n="1,495 problems",
        reason=words + "; so do frequent ones there, so rarity is not what decides it",
    )


def _rate(row: dict[str, str]) -> float:
    return float(row["firing_rate"])


def sites() -> Iterator[Verdict]:
    """Claims about depth, from the SAEs of all sites of codi-mini."""
    groups: dict[str, list[float]] = {"0-5": [], "6-9": [], "10-15": []}
    for row in read_rows("sae-sites.csv"):
        layer, position = (int(part) for part in row["site"][1:].split(".P"))
        if position < 6:  # the reports' positions 0 to 5
            name = next(name for name in groups if layer <= int(name.split("-")[1]))
            groups[name].append(_variance(row))
    means = [float(np.mean(values)) for values in groups.values()]
    yield Verdict(
        id="sem-07",
        verdict=YES if means == sorted(means, reverse=True) else NO,
        command=SITES,
        numbers="explained variance "
        + ", ".join(f"{mean:.1f} (layers {name})" for name, mean in zip(groups, means, strict=True))
        + " %",
        n=f"{sum(map(len, groups.values()))} dictionaries",
        reason="codi-mini, positions 0 to 5, K = 16, d_sae 512, one seed; the order holds, the published fall of 20 "
        "points does not",
    )


def verdicts() -> list[Verdict]:
    """A row for each claim, in the order of the reports."""
    p = Published()
    parts = (arithmetic(), counts(p), curves(), sizes_of_dictionaries(), screens(), sites(), reproduced(), more())
    known = {one.id: one for part in parts for one in part if one.verdict}
    ids = [f"{report}-{number:02d}" for report, n in CLAIMS.items() for number in range(1, n + 1)]
    return [known.get(name, Verdict(name)) for name in ids]


def section(rows: list[Verdict]) -> str:
    """How many claims are decided, report by report, as Markdown."""
    lines = ["| report | claims | hold | do not hold | cannot be told | undecided |", "|---|---|---|---|---|---|"]
    for name in (*CLAIMS, "all"):
        mine = Counter(one.verdict for one in rows if name in ("all", one.id.split("-")[0]))
        lines.append(f"| {name} | {mine.total()} | {mine[YES]} | {mine[NO]} | {mine[UNKNOWN]} | {mine['']} |")
    return "\n".join(lines)


def unsettled(rows: list[Verdict]) -> str:
    """What is open, and why, as Markdown: claims that cannot be told, then those that no printed number decides."""
    lines = ["| claim | why it cannot be told | power |", "|---|---|---|"]
    lines += [
        f"| {one.id} | {one.numbers}. {one.reason} | {one.power or '-'} |" for one in rows if one.verdict == UNKNOWN
    ]
    left = ", ".join(one.id for one in rows if not one.verdict)
    return "\n".join([*lines, "", f"Without a verdict, because nothing printed here decides them yet: {left}."])


def write(rows: list[Verdict], path: Path) -> None:
    """The table, all as text."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(Verdict.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(one) for one in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    given = parser.parse_args()
    rows = verdicts()
    for one in rows:
        if one.verdict:
            print(f"{one.id}: {one.verdict} (n: {one.n}; power: {one.power or '-'})\n  {one.numbers}\n  {one.reason}")
    print(section(rows))
    if not given.check:
        write(rows, TABLE)
        common.fill_page(PAGE, "claims", section(rows), code=False)
        common.fill_page(PAGE, "open", unsettled(rows), code=False)


if __name__ == "__main__":
    main()
