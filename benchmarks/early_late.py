"""Do features at late layers do more than those at early ones? docs/results/features.md, "Early against late layers".

    python benchmarks/early_late.py    # from the rows that benchmarks/whole_map.py has kept in runs/whole-map

Every feature of every site was ablated by itself there; its effect is the size of the mean change of the clean answer's
probability. Layers 0 to 7 are early, 8 to 15 late. Also kept: docs/results/early-late.csv with a row for each layer.
"""

import json
from pathlib import Path
from typing import Any

import _common as common
import _feature_figures as figures
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from codi_int.features.depth import DepthContrast, compare_depths
from codi_int.report.panels import log_ticks
from codi_int.report.style import BLUE, GREY, ORANGE, PAGE, new_figure, styled
from codi_int.types import Site

PAGE_FILE = common.DOCS_RESULTS / "features.md"
RUN = common.ROOT / "runs" / "whole-map" / "finished"
SPLIT, SHOWN = 8, ("L3.P3", "L10.P5", "L14.P3")
"""the first late layer, and the sites whose features are drawn one by one"""
BAND = (0.01, 0.1)
N_SITES = 111
"""all but the last position of the last layer, which nothing reads"""
FLOOR = 1e-6
"""points; what is less is rounding"""
Effects = dict[tuple[int, int], NDArray[np.float64]]
Rows = list[dict[str, Any]]


def read_rows(folder: Path) -> Rows:
    """Features that touch any problem."""
    rows = []
    for path in sorted(folder.glob("L*.json")):
        rows += [row for row in json.loads(path.read_text())["rows"] if row["n_touched"]]
    return rows


def effects_of(rows: Rows, chosen: str) -> Effects:
    """Sizes of effects in points by (layer, position), of some of the features."""
    out: dict[tuple[int, int], list[float]] = {}
    for row in rows:
        site = Site.parse(row["site"])
        if site.layer is None or (chosen == "common" and not BAND[0] <= row["firing_rate"] <= BAND[1]):
            continue
        size = 100 * abs(row["probability"])
        # per problem on which it fires: what fires more often has more problems to do anything on
        size = size / row["firing_rate"] if chosen == "where it fires" else size
        out.setdefault((site.layer, site.position), []).append(size)
    return {place: np.array(values) for place, values in out.items()}


POPULATIONS = {
    "all": "all that fire",
    "common": "those that fire on 1 to 10 % of stories",
    "where it fires": "all, by story on which they fire",
}


def measured(rows: Rows) -> dict[str, DepthContrast]:
    """The contrast of each population."""
    return {name: compare_depths(effects_of(rows, name), SPLIT) for name in POPULATIONS}


def contrast_table(found: dict[str, DepthContrast]) -> list[str]:
    heads = "features | early | late | late above early % | p by layer | at positions 0 to 6 % | p by position"
    lines = [f"| {heads} | largest distance | its p |", "|" + "---|" * 9]
    for name, one in found.items():
        assert one.low is not None
        assert one.high is not None
        single = " ".join(f"{100 * value:.0f}" for value in one.by_position)
        lines.append(
            f"| {POPULATIONS[name]} | {one.n_early:,} | {one.n_late:,} | {100 * one.value:.1f} "
            f"({100 * one.low:.1f} to {100 * one.high:.1f}) | {one.p_value:.4f} | {single} | "
            f"{one.p_position or 1.0:.4f} | {one.distance:.3f} | {one.p_distance:.4f} |"
        )
    return lines


def layer_rows(rows: Rows) -> Rows:
    """How effects are spread at each layer."""
    effects, out = effects_of(rows, "all"), []
    for layer in sorted({place[0] for place in effects}):
        own = [row for row in rows if Site.parse(row["site"]).layer == layer]
        sizes = np.concatenate([values for place, values in effects.items() if place[0] == layer])
        half, nine, most = np.quantile(sizes, [0.5, 0.9, 0.99]).tolist()
        out.append(
            {
                "layer": layer,
                "features": len(own),
                "median": half,
                "quantile_90": nine,
                "quantile_99": most,
                "largest": float(sizes.max()),
                "change_an_answer": sum(row["n_answer_changed"] > 0 for row in own),
                "lower_the_probability": sum(row["probability"] < 0 for row in own),
            }
        )
    return out


def layer_table(rows: Rows) -> list[str]:
    heads = "layer | features | median | 90 % | 99 % | largest | change an answer | lower the probability"
    lines = [f"| {heads} |", "|" + "---|" * 8]
    for row in rows:
        n = row["features"]
        shares = (f"{100 * row[name] / n:.1f} %" for name in ("change_an_answer", "lower_the_probability"))
        lines.append(
            f"| {row['layer']} | {n:,} | {row['median']:.4f} | {row['quantile_90']:.3f} | {row['quantile_99']:.2f} | "
            f"{row['largest']:.2f} | {' | '.join(shares)} |"
        )
    return lines


@styled
def figure(rows: Rows, n: int) -> Figure:
    """How many features have an effect of at least so much: layer by layer and in one common band of firing rates."""
    text = (
        f"codi-mini, every feature of every site ablated by itself on {n:,} problems of stories:validation; size of "
        "the mean change of the clean answer's probability. Thin: a layer, all positions together; thick: all early "
        "(0 to 7) and all late layers (8 to 15). Left: all features that fire; middle: those that fire on 1 to 10 % of "
        "problems; right: all, by problem on which they fire."
    )
    out = new_figure(PAGE, 2.9, "Effects of features at early and at late layers", text)
    axes = out.subplots(1, 3, sharey=True)
    for axis, name in zip(axes, POPULATIONS, strict=True):
        effects = effects_of(rows, name)
        for late, color, words in ((False, BLUE, "early"), (True, ORANGE, "late")):
            layers = sorted({place[0] for place in effects if (place[0] >= SPLIT) == late})
            by_layer = [np.concatenate([v for place, v in effects.items() if place[0] == layer]) for layer in layers]
            for values in by_layer:
                draw(axis, values, color, 0.35)
            draw(axis, np.concatenate(by_layer), color, 2.0, f"{words}, {sum(v.size for v in by_layer):,} features")
        axis.set_xscale("log")
        axis.set_xlim(left=FLOOR)
        axis.set_xlabel("at least so many points")
        axis.legend()
        axis.grid(color=GREY, alpha=0.2, linewidth=0.4)
        log_ticks(axis, "x")
    axes[0].set_ylabel("features (%)")
    axes[0].set_ylim(0, 118)  # room for the legend
    return out


def draw(axis: Any, values: NDArray[np.float64], color: str, width: float, label: str | None = None) -> None:
    ordered = np.sort(np.maximum(values, FLOOR))
    axis.plot(ordered, 100 * np.arange(ordered.size, 0, -1) / ordered.size, color=color, linewidth=width, label=label)


def main() -> None:
    options = common.arguments(__doc__).parse_args()
    rows = read_rows(RUN)
    sites = len({row["site"] for row in rows})
    if sites < N_SITES and not options.quick:
        raise SystemExit(f"{RUN} has {sites} of {N_SITES} sites: run benchmarks/whole_map.py --limit 1495 to its end.")
    if options.quick:
        rows = rows[::10]
    found, by_layer = measured(rows), layer_rows(rows)
    n = int(json.loads((RUN.parent / "manifest.json").read_text())["experiment"]["options"]["limit"])
    tables = {"early late": contrast_table(found), "layers": layer_table(by_layer)}
    for name, lines in tables.items():
        print("\n".join(lines), "\n")
        if not options.quick:
            common.fill_page(PAGE_FILE, f"effects {name}", "\n".join(lines), code=False)
    figures.save(figure(rows, n), "early-late", options.quick)
    screens = {site: [row for row in rows if row["site"] == site] for site in SHOWN}
    figures.save(figures.relevance_figure(screens, n), "relevance", options.quick)
    if not options.quick:
        common.write_table(by_layer, common.DOCS_RESULTS / "early-late.csv")


if __name__ == "__main__":
    main()
