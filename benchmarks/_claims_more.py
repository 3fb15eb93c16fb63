"""Claims that the tables of all sites, large dictionaries, swaps and Matryoshka SAEs decide; see claims.py.

Questions of the reports have verdicts too: "holds" where the answer is yes.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import _common as common
import numpy as np
from _claims import CURVES, MATCHED, NO, RELEVANCE, REPRODUCE, UNKNOWN, YES, Verdict, in_words, read_rows
from scipy.stats import beta

LANDSCAPE = "python benchmarks/landscape.py"
LABORATORY = "python benchmarks/sae_laboratory.py"
WHOLE = "python benchmarks/whole_map.py"
ABSOLUTE = (
    "A claim about K itself at width 2,048: codi-mini is 96 wide and K is matched by its share of the width, so it "
    "stays open here; the published sweep with seeds would settle it"
)
K_OF = {2: 50, 5: 100, 9: 200, 23: 500}
"""K of codi-mini, and the published K that is the same share of the width"""


def read_json(name: str) -> dict[str, Any]:
    """What a benchmark left."""
    found: dict[str, Any] = json.loads((common.RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


class Sizes:
    """TopK SAEs of L14.P3 (or another site) by K and size, three seeds each."""

    def __init__(self) -> None:
        self.rows = [row for row in read_rows("curves.csv") if row["part"] in ("grid", "large", "layers")]

    def of(self, measure: Callable[[dict[str, str]], float], k: int, d_sae: int, site: str = "L14.P3") -> list[float]:
        """A measure of each seed."""
        wanted = (str(k), str(d_sae), site)
        return [measure(row) for row in self.rows if (row["k"], row["d_sae"], row["site"]) == wanted]


def explained(row: dict[str, str]) -> float:
    """Explained variance, percent."""
    return 100 * float(row["explained_variance"])


def dead(row: dict[str, str]) -> float:
    """Share of features that fire on no training row, percent."""
    return 100 * float(row["dead_share"])


def tested(row: dict[str, str]) -> float:
    """Specialists by the tested rule among the alive, percent."""
    return 100 * float(row["tested_alive_specialized"]) / float(row["tested_alive_n"])


def published(row: dict[str, str]) -> float:
    """Specialists by the published rule among the alive, percent."""
    return 100 * float(row["published_alive_specialized"]) / float(row["published_alive_n"])


def more() -> Iterator[Verdict]:
    """Verdicts beyond those of `claims.py` and `_claims.py`."""
    yield from absolute()
    yield from sizes()
    yield from other_sites()
    yield from matryoshka()
    yield from causes()


def absolute() -> Iterator[Verdict]:
    """Claims about K itself, with what the same share of the width gives."""
    found = Sizes()
    shown = ", ".join(f"{in_words(found.of(dead, k, 512))}" for k in (2, 5, 9, 23))
    for name in ("k50-06", "dict-06", "dict-09"):
        yield Verdict(
            id=name,
            verdict=UNKNOWN,
            command=CURVES,
            numbers=f"at the same share of the width, dead at K = 50, 100, 200, 500: {shown} %",
            n="12 dictionaries",
            reason=ABSOLUTE,
        )


def sizes() -> Iterator[Verdict]:
    """Claims about K and size together."""
    found, large, n = Sizes(), (512, 2048, 8192), "dictionaries of 1,495 problems, 3 seeds each"
    words = f"{MATCHED}, mean (range) of 3 seeds"
    gone = found.of(dead, 2, 256)
    yield Verdict(
        id="k50-07",
        verdict=NO if min(gone) > 10 else "",
        command=CURVES,
        numbers=f"dead at K = 50, d = 256: {in_words(gone)} %",
        n="3 dictionaries",
        reason=f"{words}; with half the size the dead features do not go away",
    )
    few, half = found.of(explained, 1, 512), found.of(explained, 2, 512)
    yield Verdict(
        id="k50-16",
        verdict=NO if min(few) > 0.75 * max(half) else YES,
        command=CURVES,
        numbers=f"explained variance at K = 25: {in_words(few)} %, at K = 50: {in_words(half)} %",
        n="6 dictionaries",
        reason=f"{words}; called a collapse where less than three quarters are left. K = 10 would be less than one "
        "feature",
    )
    shares = {k: [found.of(tested, k, d) for d in large] for k in K_OF}
    falls = {k: max(some[-1]) < min(some[0]) for k, some in shares.items()}
    said = "; ".join(f"K={K_OF[k]} {', '.join(map(in_words, some))}" for k, some in shares.items())
    shown = f"specialists by the tested rule at d = 512, 2,048, 8,192: {said} %"
    yield Verdict(
        id="dict-10",
        verdict=NO if falls[2] else "",
        command=CURVES,
        numbers=shown,
        n=f"36 {n}",
        reason=f"{words}; at the share of K = 50 the tested rule finds a smaller share in larger dictionaries",
    )
    yield Verdict(
        id="dict-21",
        verdict=YES if all(falls.values()) else NO,
        command=CURVES,
        numbers=shown,
        n=f"36 {n}",
        reason=f"{words}; the share falls with d at every K; no formula for d was found (docs/results/curves.md)",
    )
    small, usual = found.of(published, 2, 256), found.of(published, 2, 512)
    yield Verdict(
        id="dict-13",
        verdict=NO if max(small) >= min(usual) else "",
        command=CURVES,
        numbers=f"specialists by the published rule at K = 50: {in_words(small)} % (d = 256), {in_words(usual)} % "
        "(d = 512)",
        n="6 dictionaries",
        reason=f"{words}; the smaller dictionary is not shown to cost specialists",
    )
    alive = [found.of(dead, k, 256) for k in (5, 9)]
    yield Verdict(
        id="dict-14",
        verdict=NO if min(map(min, alive)) > 1 else YES,
        command=CURVES,
        numbers=f"dead at d = 256: {in_words(alive[0])} % (K = 100), {in_words(alive[1])} % (K = 200)",
        n="6 dictionaries",
        reason=f"{words}; even the smaller dictionary has dead features",
    )
    spread = {k: [float(np.mean(found.of(explained, k, d))) for d in (256, 512, 1024)] for k in (5, 9)}
    widest = max(max(some) - min(some) for some in spread.values())
    yield Verdict(
        id="dict-16",
        verdict=YES if widest < 1 else NO,
        command=CURVES,
        numbers="explained variance at d = 256, 512, 1,024: "
        + "; ".join(f"K={K_OF[k]} " + ", ".join(f"{one:.1f}" for one in some) for k, some in spread.items())
        + " %",
        n="18 dictionaries",
        reason=f"{words}; called the same within one point",
    )
    quality = {k: [found.of(explained, k, d) for d in (512, 4096, 8192)] for k in K_OF}
    more_dead = {k: [found.of(dead, k, d) for d in (512, 4096, 8192)] for k in K_OF}
    rises = all(min(some[-1]) > max(some[0]) for some in (*quality.values(), *more_dead.values()))
    yield Verdict(
        id="grid-18",
        verdict=YES if rises else NO,
        command=CURVES,
        numbers="explained variance, and dead, at d = 512, 4,096, 8,192: "
        + "; ".join(
            f"K={K_OF[k]} "
            + ", ".join(f"{np.mean(a):.1f} and {np.mean(b):.0f}" for a, b in zip(quality[k], more_dead[k], strict=True))
            for k in K_OF
        )
        + " %",
        n=f"36 {n}",
        reason=f"{words}; asked is whether quality and death both go on rising with d: at the share of K = 500 quality "
        "does not",
    )


def other_sites() -> Iterator[Verdict]:
    """Claims about layers and positions."""
    found = Sizes()
    by_site = {site: found.of(tested, 2, 512, site) for site in ("L3.P3", "L10.P5", "L14.P3")}
    apart = min(map(max, by_site.values())) < max(map(min, by_site.values()))
    yield Verdict(
        id="k50-22",
        verdict=NO if apart else YES,
        command=CURVES,
        numbers="specialists by the tested rule at K = 50: "
        + ", ".join(f"{in_words(some)} % ({site})" for site, some in by_site.items()),
        n="9 dictionaries, 1,495 problems",
        reason=f"{MATCHED}, mean (range) of 3 seeds; 'equally' fails where no seed of one site reaches any of another",
    )
    rows = [row for row in read_rows("landscape.csv") if row["population"] == "alive" and row["rule"] == "tested"]
    low, high = (max(rows, key=lambda row: sign * float(row["share"])) for sign in (-1, 1))
    words = [
        "{} {:.0f} % ({:.0f} to {:.0f})".format(
            row["site"], *(100 * float(row[key]) for key in ("share", "low", "high"))
        )
        for row in (low, high)
    ]
    differ = float(low["high"]) < float(high["low"])
    for name, reason in (
        (
            "k50-11",
            "at one K the share depends on the site: no consequence of K alone; features taken as independent",
        ),
        ("grid-15", "asked is whether what holds at one site holds at all: the share of specialists does not"),
    ):
        yield Verdict(
            id=name,
            verdict=NO if differ else "",
            command=LANDSCAPE,
            numbers=f"specialists by the tested rule, K = 16 of 512 at every site: least {words[0]}, most {words[1]}",
            n=f"{len(rows)} dictionaries, 1,495 problems",
            reason=f"codi-mini, one seed; {reason}",
        )
    own = next(
        row
        for row in read_rows("landscape.csv")
        if (row["site"], row["rule"], row["population"]) == ("L14.P3", "published-ties-counted", "alive")
    )
    yield Verdict(
        id="act-05",
        verdict=NO if int(own["n_value"]) else YES,
        command=LANDSCAPE,
        numbers=f"{own['n_value']} of {own['n']} features stand for a number and no operation, ties counted",
        n=f"{own['n']} features, 1,495 problems",
        reason="codi-mini, L14.P3, K = 16, published criteria with ties counted, all alive features",
    )
    both = {(row["subject"], row["measure"]): row for row in read_rows("reproductions/activation-patterns.csv")}
    gap = both["layer 14 minus layer 3", "specialized"]
    value, least, most = (float(gap[f"honest_{key}"]) for key in ("value", "low", "high"))
    yield Verdict(
        id="sem-08",
        verdict=NO if least > 0 else "",
        command=f"{REPRODUCE} activation-patterns",
        numbers=f"specialists by the tested rule, layer 14 minus layer 3: {value:+.1f} points ({least:+.1f} to "
        f"{most:+.1f})",
        n=f"{gap['honest_n']} features, 1,495 problems",
        reason="codi-mini, one seed; features taken as independent. Ten features a layer, as published, cannot tell",
    )


def matryoshka() -> Iterator[Verdict]:
    """TopK beside Matryoshka at one K and size, from the printed page, and what either tells of errors."""
    page = (common.DOCS_RESULTS / "sae-grid.md").read_text(encoding="utf-8")
    names = r"(matryoshka|L14\.P3/d512_k20_s\d)"
    variance = {name: 100 * float(value) for name, value in re.findall(rf"^{names} +512 +20 +([\d.]+)", page, re.M)}
    others = re.findall(rf"^{names} +(?:matryoshka|topk) +([\d.]+) +[\d.]+ +(\d+) +[\d.]+ +([\d.]+)", page, re.M)
    share, ratio = {name: float(one) for name, one, _, _ in others}, {name: float(one) for name, _, _, one in others}
    topk = [name for name in variance if name != "matryoshka"]
    gain = max(variance[name] for name in topk) - variance["matryoshka"]
    numbers = (
        f"explained variance {', '.join(f'{variance[name]:.1f}' for name in topk)} % (TopK, two seeds), "
        f"{variance['matryoshka']:.1f} % (Matryoshka); dead {', '.join(f'{share[name]:.1f}' for name in topk)} % and "
        f"{share['matryoshka']:.1f} %; per active feature {', '.join(f'{ratio[name]:.2f}' for name in topk)} times its"
    )
    words = (
        "codi-mini, L14.P3, K = 20 and 512 features for both, one Matryoshka seed; the published two differ in K and d"
    )
    for name, verdict in (
        ("sem-01", NO if gain < 1 else YES),
        ("sem-02", NO if gain < 1 else YES),
        ("sem-03", NO if gain <= 0 else ""),
        ("sem-04", NO if max(ratio[name] for name in topk) < 1.5 else YES),
    ):
        yield Verdict(name, verdict, LABORATORY, numbers, "3 dictionaries, 1,495 rows", reason=words)
    lines = {line.split("|")[1].strip(): line.split("|")[2:] for line in read_json("error_prediction")["lines"]}
    n, command = read_json("error_prediction")["n"], "python benchmarks/error_prediction.py"
    apart = [float(one) for one in re.findall(r"[+-]?\d\.\d+", lines["all"][2])]
    yield Verdict(
        id="sem-17",
        verdict=NO if apart[2] < 0.05 else "",
        command=command,
        numbers=f"all latents: TopK {lines['all'][0].strip()}, Matryoshka {lines['all'][1].strip()}, difference "
        f"{lines['all'][2].strip()}",
        n=f"{n} problems, half of them wrong",
        reason="codi-mini, area under the curve; no gain of five points; both rebuild these stories equally well",
    )
    beyond = lines["beyond the question's words"]
    top = float(re.findall(r"[+-]?\d\.\d+", beyond[0])[2])
    yield Verdict(
        id="grid-16",
        verdict=NO if top < 0.05 else "",
        command=command,
        numbers=f"TopK latents {lines['all'][0].strip()}; beyond the question's words {beyond[0].strip()}",
        n=f"{n} problems, half of them wrong",
        reason="codi-mini, area under the curve; they tell wrong answers, no better than the question's words do",
    )


def causes() -> Iterator[Verdict]:
    """Claims about effects."""
    rows = [row for row in read_rows("causal-map/screen.csv") if float(row["firing_rate"]) > 0]
    first = max(rows, key=lambda row: float(row["firing_rate"]))
    value, low, high = (100 * float(first[key]) for key in ("estimate", "low", "high"))
    yield Verdict(
        id="act-11",
        verdict=NO if low > -1 else "",
        command="codi-int screen --layer 14",
        numbers=f"feature {first['feature']}: {value:+.2f} points ({low:+.2f} to {high:+.2f})",
        n="1,495 problems",
        reason=f"codi-mini, L14.P3: the most frequent one, on {100 * float(first['firing_rate']):.0f} % of problems; "
        "later positions free",
    )
    found = read_json("relevance")["features"]["L14.P3"]["correlations"]["rows"]
    rate = next(one for one in found if (one["measure"], one["effect"]) == ("firing rate", "probability"))
    yield Verdict(
        id="act-18",
        verdict=NO if rate["high"] < 0.9 else "",
        command=RELEVANCE,
        numbers=f"rank correlation {rate['value']:+.2f} ({rate['low']:+.2f} to {rate['high']:+.2f})",
        n=f"{rate['n']} features, 1,495 problems",
        reason="codi-mini, L14.P3, effect on the clean answer's probability: related, not the same order (0.9 asked)",
    )
    swaps = [one["swap"]["prediction"] for one in read_json("swaps")["sites"] if one["swap"]]
    tried, true = (sum(one[key] for one in swaps) for key in ("n_tested", "n_hits"))
    upper = max(one["high"] for one in swaps)
    for name in ("k50-13", "act-14"):
        yield Verdict(
            id=name,
            verdict=NO if upper < 0.05 else "",
            command="python benchmarks/swaps.py",
            numbers=f"{true} of {tried:,} answers became what the exchanged operation gives; at no site more than "
            f"{100 * upper:.1f} % (95 %)",
            n=f"{min(one['n_tested'] for one in swaps)} to {max(one['n_tested'] for one in swaps)} problems at each of "
            f"{len(swaps)} sites",
            reason="codi-mini: the best pair of tested specialists of each site, answers predicted beforehand",
        )
    ablated = {
        row["measure"]: row for row in read_rows("reproductions/causal-validation.csv") if "ablated" in row["subject"]
    }
    own = ablated["multiplication"]
    n, value = int(own["here_n"]), float(own["here"])
    most = 100 * float(beta.ppf(0.95, 1, n))
    yield Verdict(
        id="act-19",
        verdict=NO if value == 0 and most < 1 else "",
        command=f"{REPRODUCE} causal-validation",
        numbers=f"no answer flips on {n:,} problems with multiplication: at most {most:.2f} points (95 %)",
        n="1,495 problems",
        reason="codi-mini: the most frequent multiplication feature of L14.P3; later positions free",
    )
    cells = read_rows("causal-map/map.csv")
    by_position = {
        p: -100 * float(np.mean([float(row["estimate"]) for row in cells if re.fullmatch(rf"L\d+\.P{p}", row["site"])]))
        for p in range(7)
    }
    yield Verdict(
        id="sem-13",
        verdict=YES if max(by_position, key=lambda p: by_position[p]) == 5 else NO,
        command="python benchmarks/causal_map.py",
        numbers="points lost, mean over layers: " + ", ".join(f"{loss:.1f} (P{p})" for p, loss in by_position.items()),
        n="1,495 problems, 111 sites",
        reason="codi-mini, each site at its mean, later positions free; position 5 is first, 1 second: late ones are "
        "not all first",
    )
    sites = read_json("whole_map")["rows"]
    early, late = (
        [sum(row[key] for row in sites if row["layer"] in layers) for key in ("change_an_answer", "alive")]
        for layers in (range(6), range(10, 16))
    )
    shares = [100 * hits / n for hits, n in (early, late)]
    yield Verdict(
        id="sem-16",
        verdict=NO if shares[0] > shares[1] else "",
        command=WHOLE,
        numbers=f"features that change an answer when ablated: {shares[0]:.1f} % of {early[1]:,} in layers 0 to 5, "
        f"{shares[1]:.1f} % of {late[1]:,} in layers 10 to 15",
        n="1,495 problems",
        reason="codi-mini, later positions free: late layers are not where single features do more. Which are clean is "
        "another question",
    )
