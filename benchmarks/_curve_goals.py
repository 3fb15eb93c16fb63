"""Two parts of docs/results/curves.md: how everything goes with size, and which K and size serve which goal."""

from collections.abc import Callable, Sequence
from typing import Any

import _curve_pages as pages
import numpy as np
from matplotlib.figure import Figure

from codi_int.report.panels import k_axis, log_ticks
from codi_int.report.style import PAGE, new_figure, styled

Point = dict[str, Any]
Place = tuple[int, int]
"""(d_sae, K)"""
SHOWN_KS = (2, 5, 9, 23)
"""the published 50, 100, 200 and 500"""


def sizes(points: Sequence[Point]) -> list[str]:
    """Every size at the published K, seeds together: quality, death, specialists, and what an SAE costs."""
    lines = ["| K (published) | d_sae | times the width | EV % | dead % | alive | tested % | s | KiB |"]
    lines.append("|" + "---|" * 9)
    for k in SHOWN_KS:
        for size, seeds in by_size(points, k):
            lines.append(
                f"| {k} ({pages.PUBLISHED[k]}) | {size:,} | {size / pages.WIDTH:.1f} | "
                f"{pages.spread([p['explained_variance'] for p in seeds])} | "
                f"{pages.spread([p['dead_share'] for p in seeds])} | "
                f"{pages.spread([p['n_alive'] for p in seeds], 1, 0)} | "
                f"{pages.spread([pages.share(p, 'tested') for p in seeds])} | "
                f"{np.mean([p['seconds'] for p in seeds]):.1f} | {seeds[0]['n_bytes'] / 1024:,.0f} |"
            )
    return lines


def by_size(points: Sequence[Point], k: int) -> list[tuple[int, list[Point]]]:
    """The seeds of each size at one K."""
    own = [point for point in pages.grid(points) if point["k"] == k]
    return [(size, [p for p in own if p["d_sae"] == size]) for size in sorted({p["d_sae"] for p in own})]


def goals(points: Sequence[Point]) -> list[str]:
    """For each goal the configuration that serves it, what it gives, and by how much it is ahead of what comes next."""
    table = {
        place: [p for p in pages.grid(points) if (p["d_sae"], p["k"]) == place]
        for place in sorted({(p["d_sae"], p["k"]) for p in pages.grid(points)})
    }
    lines = ["| goal | K | d_sae | EV % | dead % | alive | tested specialists | evidence |", "|" + "---|" * 8]
    for goal, place, evidence in _chosen(table):
        if place is None:
            lines.append(f"| {goal} | none of these | | | | | | {evidence} |")
            continue
        seeds = table[place]
        found = np.mean([pages.counted(p, "tested")[0] for p in seeds])
        lines.append(
            f"| {goal} | {place[1]} | {place[0]:,} | {_mean(seeds, _ev):.1f} | {_mean(seeds, _dead):.1f} | "
            f"{_mean(seeds, _alive):.0f} | {found:.0f} ({_mean(seeds, _share):.0f} %) | {evidence} |"
        )
    return lines


def _chosen(table: dict[Place, list[Point]]) -> list[tuple[str, Place | None, str]]:
    good = [place for place, seeds in table.items() if _mean(seeds, _ev) >= 90.0]
    alive = [place for place, seeds in table.items() if _mean(seeds, _dead) <= 1.0]
    least_k = min(good, key=lambda c: (c[1], c[0]), default=None)
    smallest = min(good, default=None)
    return [
        ("most features that are tested specialists", *_best(table, list(table), _specialists, "specialists")),
        ("largest share of specialists among alive features", *_best(table, list(table), _share, "share %")),
        ("EV of 90 % with the smallest K", least_k, _short_of(table, least_k, lambda c, best: c[1] < best[1])),
        ("no more than 1 % dead, EV as large as can be", *_best(table, alive, _ev, "EV %")),
        ("smallest file with EV of 90 %", smallest, _short_of(table, smallest, lambda c, best: c[0] < best[0])),
    ]


def _best(
    table: dict[Place, list[Point]], places: Sequence[Place], of: Callable[[Point], float], name: str
) -> tuple[Place | None, str]:
    """The configuration with the largest mean over seeds, and how far the next one is."""
    ordered = sorted(places, key=lambda place: -_mean(table[place], of))
    if not ordered:
        return None, ""
    words = f"{name} {_seeds(table[ordered[0]], of)}"
    if len(ordered) > 1:
        words += f"; next: {_seeds(table[ordered[1]], of)} with K {ordered[1][1]} of {ordered[1][0]:,}"
    return ordered[0], words


def _short_of(table: dict[Place, list[Point]], best: Place | None, smaller: Callable[[Place, Place], bool]) -> str:
    """Of all configurations that are smaller, the one that explains most."""
    if best is None:
        return ""
    words = f"EV % {_seeds(table[best], _ev)}"
    below = [place for place in table if smaller(place, best)]
    if not below:
        return f"{words}; nothing smaller was trained"
    most = max(below, key=lambda place: _mean(table[place], _ev))
    return f"{words}; of what is smaller at most {_seeds(table[most], _ev)}, with K {most[1]} of {most[0]:,}"


def _seeds(points: Sequence[Point], of: Callable[[Point], float]) -> str:
    return pages.spread([of(p) for p in points], 1)


def _mean(points: Sequence[Point], of: Callable[[Point], float]) -> float:
    return float(np.mean([of(p) for p in points]))


def _ev(point: Point) -> float:
    return 100 * float(point["explained_variance"])


def _dead(point: Point) -> float:
    return 100 * float(point["dead_share"])


def _alive(point: Point) -> float:
    return float(point["n_alive"])


def _share(point: Point) -> float:
    return 100 * pages.share(point, "tested")


def _specialists(point: Point) -> float:
    return float(pages.counted(point, "tested")[0])


@styled
def size_figure(points: Sequence[Point]) -> Figure:
    """Against size, at the published K: quality, death, specialists, seconds."""
    text = (
        "codi-mini, layer 14, position 3; points are means of three seeds, bars the smallest and largest; K = 2, 5, 9 "
        "and 23 of a width of 96 are 50, 100, 200 and 500 of 2,048. Seconds of one processor, 25 epochs of 5,978 rows."
    )
    out = new_figure(PAGE, 2.5, "Against the size of the dictionary", text)
    panels: tuple[tuple[str, Callable[[Point], float]], ...] = (
        ("explained variance (%)", _ev),
        ("dead (%)", _dead),
        ("tested specialists\n(% of alive)", _share),
        ("training (s)", lambda point: float(point["seconds"])),
    )
    for axis, (words, of) in zip(out.subplots(1, len(panels)), panels, strict=True):
        for i, k in enumerate(SHOWN_KS):
            own = by_size(points, k)
            pages.draw(axis, [s for s, _ in own], [[of(p) for p in seeds] for _, seeds in own], i, f"K {k}")
        names = [size for size, _ in by_size(points, SHOWN_KS[0])]
        k_axis(axis, names)
        axis.set_xticks(names, [f"{n // 1024}k" if n >= 1024 else str(n) for n in names])
        axis.set_xlabel("d_sae")
        axis.set_title(words)
    out.axes[-1].set_yscale("log")
    log_ticks(out.axes[-1])
    out.axes[-1].legend(loc="upper left")
    return out


@styled
def l1_figure(points: Sequence[Point]) -> Figure:
    """TopK beside L1, against the number of features a story: quality, shrinkage, spread of L0."""
    text = (
        "codi-mini, layer 14, position 3, 512 features; TopK by K (means and ends of three seeds), L1 by penalty. "
        "Bias: the factor that reconstructions are too long by, below 1 where they shrink. Spread: standard deviation "
        "over stories of how many features fire."
    )
    out = new_figure(PAGE, 2.5, "TopK and L1", text)
    panels: tuple[tuple[str, Callable[[Point], float]], ...] = (
        ("explained variance (%)", _ev),
        ("bias", lambda point: float(point["bias"])),
        ("spread of L0", lambda point: float(point["l0_spread"])),
    )
    topk = [(k, seeds) for k, seeds in pages.groups(pages.of(points, "grid", d_sae=pages.SIZE))]
    l1: dict[str, list[Point]] = {}
    for point in pages.of(points, "l1"):
        l1.setdefault(point["trained_as"], []).append(point)
    other = sorted(l1.values(), key=lambda seeds: _mean(seeds, _l0))
    for axis, (words, of) in zip(out.subplots(1, len(panels)), panels, strict=True):
        for i, (label, groups) in enumerate((("TopK", [seeds for _, seeds in topk]), ("L1", other))):
            where = [_mean(seeds, _l0) for seeds in groups]
            pages.draw(axis, where, [[of(p) for p in seeds] for seeds in groups], i, label)
        axis.set_xscale("log")
        log_ticks(axis, "x")
        axis.set_xlabel("features a story (L0)")
        axis.set_title(words)
    out.axes[0].legend()
    return out


def _l0(point: Point) -> float:
    return float(point["l0"])
