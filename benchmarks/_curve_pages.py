"""Tables and the first figure of docs/results/curves.md, from the points of specialization_curves.py."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from codi_int.errors import ConfigError
from codi_int.features.curves import bootstrap_seeds, find_knee, fit_death_formula, fit_power_law, needed_thresholds
from codi_int.features.specialization_records import RULES
from codi_int.report.panels import k_axis
from codi_int.report.style import MARKERS, PAGE, SERIES, new_figure, styled

N_TRAIN, WIDTH, PUBLISHED_WIDTH = 5_978, 96, 2_048
SIZE = 512
PUBLISHED = {2: 50, 5: 100, 9: 200, 23: 500}
"""K here -> K of the reports that is the same share of the width"""
Point = dict[str, Any]


def flat(point: Point) -> Point:
    """A row of the CSV."""
    row = {name: value for name, value in point.items() if name not in ("name", "cells")}
    for cell in point["cells"]:
        where = f"{cell['rule'].replace('-', '_')}_{'alive' if cell['population'] == 'alive' else 'band'}"
        row |= {f"{where}_n": cell["n"], f"{where}_specialized": cell["n_specialized"]}
    return row


def of(points: Sequence[Point], part: str, **wanted: Any) -> list[Point]:
    """Points of a part with these values, by K and seed."""
    chosen = [p for p in points if p["part"] == part and all(p[name] == value for name, value in wanted.items())]
    return sorted(chosen, key=lambda p: (p["d_sae"], p["k"] or 0, p["seed"] or 0))


def grid(points: Sequence[Point]) -> list[Point]:
    """TopK SAEs of all sizes at the main site, by size, K and seed."""
    return sorted(of(points, "grid") + of(points, "large"), key=lambda p: (p["d_sae"], p["k"], p["seed"]))


def counted(point: Point, rule: str, in_band: bool = False) -> tuple[int, int]:
    """(specialized, features) of a rule."""
    cell = next(c for c in point["cells"] if c["rule"] == rule and (c["population"] != "alive") == in_band)
    return cell["n_specialized"], cell["n"]


def share(point: Point, rule: str, in_band: bool = False) -> float:
    hits, n = counted(point, rule, in_band)
    return hits / n if n else float("nan")


def spread(values: Sequence[float], scale: float = 100.0, digits: int = 1) -> str:
    """Mean over seeds and the ends."""
    if not values:
        return ""
    array = scale * np.asarray(values, dtype=np.float64)
    if array.size == 1:
        return f"{array[0]:.{digits}f}"
    return f"{array.mean():.{digits}f} ({array.min():.{digits}f} to {array.max():.{digits}f})"


def groups(points: Sequence[Point]) -> list[tuple[int, list[Point]]]:
    """Points of one size by K."""
    ks = sorted({p["k"] for p in points})
    return [(k, [p for p in points if p["k"] == k]) for k in ks]


def specialization(points: Sequence[Point]) -> list[str]:
    """Each rule over all alive features, by K, with n."""
    lines = ["| K | as published | EV % | alive | published % | ties counted % | tested % | of a single problem |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for k, seeds in groups(of(points, "grid", d_sae=SIZE)):
        single = sum(c["n_single"] for p in seeds for c in p["cells"][:1])
        total = sum(counted(p, "published")[0] for p in seeds)
        cells = [spread([share(p, rule) for p in seeds]) for rule in RULES]
        lines.append(
            f"| {k} | {PUBLISHED.get(k, '')} | {spread([p['explained_variance'] for p in seeds])} | "
            f"{spread([p['n_alive'] for p in seeds], 1, 0)} | {' | '.join(cells)} | {single} of {total} |"
        )
    return lines


def band(points: Sequence[Point]) -> list[str]:
    """The same in one band of firing rates."""
    lines = ["| K | features in the band | published % | ties counted % | tested % |", "|---|---|---|---|---|"]
    for k, seeds in groups(of(points, "grid", d_sae=SIZE)):
        n = spread([counted(p, "tested", True)[1] for p in seeds], 1, 0)
        lines.append(f"| {k} | {n} | {' | '.join(spread([share(p, r, True) for p in seeds]) for r in RULES)} |")
    return lines


def laws(points: Sequence[Point]) -> list[str]:
    """A power of K and the claimed 1/K, rule by rule."""
    lines = ["| rule | features | d_sae | share ~ K to the power of | misfit, points | of 1/K, points | dispersion |"]
    lines.append("|---|---|---|---|---|---|---|")
    for rule in RULES:
        for size, in_band in ((SIZE, False), (SIZE, True), (1024, False)):
            chosen = [p for p in of(points, "grid", d_sae=size) if counted(p, rule, in_band)[1]]
            hits, n = zip(*(counted(p, rule, in_band) for p in chosen), strict=True)
            where = "in the band" if in_band else "all alive"
            try:
                found = fit_power_law([p["k"] for p in chosen], hits, n)
            except ConfigError as error:
                lines.append(f"| {rule} | {where} | {size} | {error.rule} | | | |")
                continue
            e = found.exponent
            lines.append(
                f"| {rule} | {where} | {size} | {e.value:+.2f} ({e.low:+.2f} to {e.high:+.2f}) | "
                f"{100 * found.misfit:.1f} | {100 * found.claimed_misfit:.1f} | {found.dispersion:.1f} |"
            )
    return lines


def death(points: Sequence[Point]) -> list[str]:
    """Dead shares by K and size, the thresholds that the published formula would need, and the best one's misfit."""
    every = grid(points)
    sizes = sorted({p["d_sae"] for p in every})
    lines = [f"| K | {' | '.join(f'd {d:,}' for d in sizes)} |", "|---|" + "---|" * len(sizes)]
    for k in sorted({p["k"] for p in every}):
        cells = [spread([p["dead_share"] for p in every if (p["k"], p["d_sae"]) == (k, d)]) for d in sizes]
        lines.append(f"| {k} | {' | '.join(cells)} |")
    k, d, dead = ([p[name] for p in every] for name in ("k", "d_sae", "dead_share"))
    found = fit_death_formula(k, d, dead, N_TRAIN)
    some = needed_thresholds(k, d, dead, N_TRAIN)[np.asarray(dead) > 0]
    lines += [
        "",
        f"The published formula, 1 - K n / (d_sae threshold) with n = {N_TRAIN:,}, fits best with a threshold of "
        f"{found.threshold:,.0f}: off by {100 * found.misfit:.0f} points in the mean (root mean square of {found.n} "
        f"SAEs), by {100 * found.worst:+.0f} at worst. The {some.size} SAEs with dead features would each need another "
        f"one, from {found.lowest:,.0f} to {found.highest:,.0f}.",
    ]
    one = [(p["k"] / p["d_sae"], p) for p in every]
    ratios = sorted({ratio for ratio, _ in one if len({q["d_sae"] for r, q in one if r == ratio}) > 1})
    lines += ["", "| K / d_sae | dead %, by d_sae |", "|---|---|"]
    for ratio in ratios:
        cells = [
            f"{d:,}: {spread([p['dead_share'] for r, p in one if r == ratio and p['d_sae'] == d])}"
            for d in sizes
            if any(r == ratio and p["d_sae"] == d for r, p in one)
        ]
        lines.append(f"| {ratio:.4f} | {' · '.join(cells)} |")
    return lines


def knee(points: Sequence[Point]) -> list[str]:
    """Where quality bends, size by size."""
    lines = ["| d_sae | knee of EV, K | 95% interval over seeds | EV % from K to K |", "|---|---|---|---|"]
    every = grid(points)
    longest = len({p["k"] for p in every})
    for size in sorted({p["d_sae"] for p in every}):
        seeds = groups([p for p in every if p["d_sae"] == size])
        if len(seeds) < longest:
            continue  # the knee depends on where the axis begins and ends
        ks = [k for k, _ in seeds]
        values = [[p["explained_variance"] for p in these] for _, these in seeds]
        found = bootstrap_seeds(values, lambda means, ks=ks: find_knee(ks, means))
        means = [float(np.mean(one)) for one in values]
        gains = " ".join(f"{b}: {100 * (y - x):+.1f}" for (_, x), (b, y) in pairwise(zip(ks, means, strict=True)))
        lines.append(f"| {size:,} | {found.value:g} | {found.low:g} to {found.high:g} | {gains} |")
    return lines


def schedule(points: Sequence[Point]) -> list[str]:
    """K annealed, the mirror, and fixed."""
    rows = [("fixed 2 (published 50)", of(points, "grid", d_sae=SIZE, k=2))]
    rows += [
        ("5 to 2 in ten epochs", of(points, "anneal", k=2)),
        ("fixed 5 (100)", of(points, "grid", d_sae=SIZE, k=5)),
    ]
    rows += [("2 to 5 in ten epochs", of(points, "anneal", k=5))]
    lines = ["| K | EV % | dead % | alive | published % | ties counted % | tested % |", "|---|---|---|---|---|---|---|"]
    for name, seeds in rows:
        lines.append(
            f"| {name} | {spread([p['explained_variance'] for p in seeds])} | "
            f"{spread([p['dead_share'] for p in seeds])} | {spread([p['n_alive'] for p in seeds], 1, 0)} | "
            f"{' | '.join(spread([share(p, rule) for p in seeds]) for rule in RULES)} |"
        )
    return lines


def against_l1(points: Sequence[Point]) -> list[str]:
    """TopK and L1: bias, spread of L0, and how the penalty sets both."""
    lines = ["| d 512 | L0 | spread of L0 | EV % | bias | dead % | tested % | s | KiB |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    named = [(f"TopK {k}", seeds) for k, seeds in groups(of(points, "grid", d_sae=SIZE))]
    penalties = dict.fromkeys(p["trained_as"] for p in of(points, "l1"))
    named += [(name, of(points, "l1", trained_as=name)) for name in penalties]
    for name, seeds in named:
        lines.append(
            f"| {name} | {spread([p['l0'] for p in seeds], 1)} | {spread([p['l0_spread'] for p in seeds], 1)} | "
            f"{spread([p['explained_variance'] for p in seeds])} | {spread([p['bias'] for p in seeds], 1, 3)} | "
            f"{spread([p['dead_share'] for p in seeds])} | {spread([share(p, 'tested') for p in seeds])} | "
            f"{np.mean([p['seconds'] for p in seeds]):.1f} | {seeds[0]['n_bytes'] / 1024:.0f} |"
        )
    return lines


def sites(points: Sequence[Point]) -> list[str]:
    """K by layer, and the landscape over all sites."""
    lines = ["| d 512 | K | EV % | dead % | alive | published % | ties counted % | tested % |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for site in ("L3.P3", "L10.P5", "L14.P3"):
        part = "grid" if site == "L14.P3" else "layers"
        for k in (2, 5, 9, 23):
            seeds = of(points, part, site=site, k=k, d_sae=SIZE)
            lines.append(
                f"| {site} | {k} | {spread([p['explained_variance'] for p in seeds])} | "
                f"{spread([p['dead_share'] for p in seeds])} | {spread([p['n_alive'] for p in seeds], 1, 0)} | "
                f"{' | '.join(spread([share(p, rule) for p in seeds]) for rule in RULES)} |"
            )
    took = [p["seconds_rules"] for p in points if p["d_sae"] == SIZE]
    lines += [
        "",
        f"Profiles and the three rules of an SAE of {SIZE} features on 1,495 problems, confirmed on as many others: "
        f"{np.median(took):.1f} s of the processor in the middle, {max(took):.1f} s at most.",
    ]
    return lines


def matching(saes: Path) -> list[str]:
    """Alive features of one K with a decoder row like an alive one of another K's."""
    import codi_int as ci
    from codi_int.sae import load_sae
    from codi_int.sae.captures import open_capture

    model, problems = ci.load_model("codi-mini"), ci.load_problems("stories:validation")
    x = open_capture(saes.parent / "held-out", model, problems).at(ci.Site(14, 3)).values
    ks, rows = (2, 5, 9, 23, 48), {}
    for k in ks:
        for seed in (0, 1):
            sae = load_sae(saes / f"topk_L14.P3_d{SIZE}_k{k}_s{seed}")
            alive = (sae.encode(x).dense() != 0).any(0)
            rows[k, seed] = torch.nn.functional.normalize(sae.W_dec[alive], dim=1)
    lines = [f"| of K, seed 0 | {' | '.join(f'in K {k}' for k in ks)} |", "|---|" + "---|" * len(ks)]
    for k in ks:
        pairs = [(like(rows[k, 0], rows[b, 0]), like(rows[k, 0], rows[b, 1])) for b in ks]
        cells = [
            f"{'' if b == k else f'{100 * same:.0f} / '}{100 * other:.0f}"
            for b, (same, other) in zip(ks, pairs, strict=True)
        ]
        lines.append(f"| {k} | {' | '.join(cells)} |")
    return lines


def like(first: torch.Tensor, second: torch.Tensor) -> float:
    """Share of rows with a cosine of 0.7 or more with some row of the other dictionary."""
    return float(((first @ second.T).max(1).values >= 0.7).double().mean())


@styled
def figure(points: Sequence[Point]) -> Figure:
    """Specialization by three rules with the claimed law, death by size, quality by size."""
    text = (
        "codi-mini, layer 14, position 3; points are means of three seeds, bars the smallest and largest. Left: alive "
        "features of d_sae 512 that each rule calls specialized, and 1/K fitted to the published rule (dashed). "
        "Middle: features that fire on no training row, by d_sae. Right: explained variance on held-out rows, by d_sae."
    )
    out = new_figure(PAGE, 2.6, "Specialization, death and quality against K", text)
    left, middle, right = out.subplots(1, 3)
    seeds = of(points, "grid", d_sae=SIZE)
    ks = sorted({p["k"] for p in seeds})
    for i, rule in enumerate(RULES):
        draw(left, ks, [[100 * share(p, rule) for p in seeds if p["k"] == k] for k in ks], i, rule.replace("-", " "))
    hits, n = zip(*(counted(p, RULES[0]) for p in seeds), strict=True)
    claimed = fit_power_law([p["k"] for p in seeds], hits, n).claimed_scale
    left.plot(ks, [100 * min(1.0, claimed / k) for k in ks], "--", color=SERIES[0], linewidth=0.8, label="claimed 1/K")
    for i, size in enumerate(sorted({p["d_sae"] for p in of(points, "grid")})):
        here = of(points, "grid", d_sae=size)
        for axis, name in ((middle, "dead_share"), (right, "explained_variance")):
            draw(axis, ks, [[100 * p[name] for p in here if p["k"] == k] for k in ks], i, f"{size:,}")
    for axis, words in ((left, "specialized (%)"), (middle, "dead (%)"), (right, "explained variance (%)")):
        axis.set_xscale("log")
        axis.set_xlabel("K")
        axis.set_ylabel(words)
        k_axis(axis, [1, 2, 5, 9, 23, 48])
        axis.legend()
    left.set_ylim(0, 175)  # room for the legend
    left.set_yticks(range(0, 101, 20))
    return out


def draw(axis: Any, ks: Sequence[int], values: Sequence[Sequence[float]], i: int, label: str) -> None:
    """One series with the ends over seeds."""
    means = [float(np.mean(one)) for one in values]
    reach = [
        [m - min(one) for m, one in zip(means, values, strict=True)],
        [max(one) - m for m, one in zip(means, values, strict=True)],
    ]
    axis.errorbar(ks, means, yerr=reach, color=SERIES[i], marker=MARKERS[i], markersize=3, linewidth=1, label=label)
