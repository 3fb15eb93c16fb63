"""Tables of docs/results/features.md (what `tested` keeps and finds, the published pairs' power), and figures.

    python benchmarks/feature_results.py

The simulation's table is read from benchmarks/results/specialization_simulation.json. The published pairs of K=50 are
judged by the firing rates that their report gives: 0.4, 0.1 and 0.1% of 1,495 problems. Figures of rules, swaps,
correlations, shifted stories, transcoders and error prediction are drawn from what their scripts have left in
benchmarks/results.
"""

import json

import _common as common
import _feature_figures as figures

from codi_int.features.pairs import swap_power
from codi_int.interventions.patching.predicted import needed_problems

PAGE = common.DOCS_RESULTS / "features.md"
PUBLISHED_FIRING = {162: 0.004, 165: 0.001, 452: 0.001}
PUBLISHED_PAIRS = (
    (162, 165, "addition, subtraction"),
    (162, 452, "addition, multiplication"),
    (165, 452, "subtraction, multiplication"),
)
N = 1495


def published_pairs() -> list[str]:
    """The published pairs of K=50, by the firing rates of their report."""
    needed = needed_problems()
    lines = ["| features | operations | fire on | tells at most | needs | power at most |", "|---|---|---|---|---|---|"]
    for a, b, words in PUBLISHED_PAIRS:
        n, m = (round(N * PUBLISHED_FIRING[one]) for one in (a, b))
        lines.append(f"| {a}, {b} | {words} | {n}, {m} | {n + m} | {needed} | {100 * swap_power(n + m):.2f} % |")
    return lines


def simulation() -> list[str]:
    """What the simulation came to."""
    found = json.loads((common.RESULTS / "specialization_simulation.json").read_text())
    lines = ["| labels shuffled | units | shuffles | with any finding | pairs a shuffle |", "|---|---|---|---|---|"]
    for row in found["null"]:
        told = "as they are" if row["told"] == 1 else f"every chain told {row['told']} times"
        lines.append(
            f"| {told} | {row['unit'].removeprefix('by ')}s | {row['shuffles']} | {row['with_any']} | "
            f"{row['selected_per_shuffle']:.2f} |"
        )
    lines += ["", "| points above base rate | fires on | planted found | others called | false among selected |"]
    lines.append("|---|---|---|---|---|")
    for row in found["planted"]:
        lines.append(
            f"| {100 * row['lift']:.0f} | {100 * row['rate']:.0f} % | {row['named']} of {row['planted']} | "
            f"{row['false_called']} of {row['planted']} | {row['false_selected']} of {row['selected']} |"
        )
    return lines


def draw() -> None:
    """Every figure whose numbers are in benchmarks/results."""
    names = ("swaps", "relevance", "shifted", "transcoders", "error_prediction")
    swaps, relevance, shifted, transcoders, errors = (
        json.loads((common.RESULTS / f"{name}.json").read_text()) for name in names
    )
    figures.save(figures.rules_figure(swaps["sites"]), "rules-sites")
    figures.save(figures.swaps_figure(swaps["sites"]), "swaps")
    figures.save(figures.correlations_figure(relevance["features"], relevance["sites"]), "correlations")
    figures.save(figures.shifted_figure(shifted["rows"]), "shifted")
    figures.save(figures.transcoders_figure(transcoders["rows"]), "transcoders")
    figures.save(figures.errors_figure(errors["lines"], errors["n"]), "error-prediction")


def main() -> None:
    """Fill the page."""
    common.arguments(__doc__).parse_args()
    draw()
    common.fill_page(PAGE, "simulation", "\n".join(simulation()), code=False)
    common.fill_page(PAGE, "published pairs", "\n".join(published_pairs()), code=False)


if __name__ == "__main__":
    main()
