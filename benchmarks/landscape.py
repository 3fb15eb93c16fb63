"""Specialists of all 112 sites by three rules, the tested one as a single family: docs/results/features.md.

    python benchmarks/landscape.py           # codi-int features specialize and rank over all sites, then the page
    python benchmarks/landscape.py --page    # the page, from what was kept in runs/landscape

Also kept: docs/results/landscape.csv with a row for each site, rule and population.
"""

import csv
import json
import time
from collections.abc import Sequence
from typing import Any

import _common as common

from codi_int.features.specialization_records import RULES
from codi_int.report.feature_figures import firing_sites_figure
from codi_int.report.specialization_figures import landscape_figure
from codi_int.report.style import write_figure

PAGE = common.DOCS_RESULTS / "features.md"
RUNS = common.ROOT / "runs" / "landscape"
ALL = ("--layer", "0-15", "--position", "0-6")
QUICK = ("--layer", "3,14", "--position", "1,3", "--limit", "200")
NAMES = ("published", "ties counted", "tested")
Cells = list[dict[str, Any]]


def measure(quick: bool) -> dict[str, float]:
    """Run both commands; returns the seconds that they took."""
    took = {}
    for command in ("specialize", "rank"):
        started = time.perf_counter()
        where = (RUNS.with_name("landscape-quick") if quick else RUNS) / command
        common.run_command("features", command, *(QUICK if quick else ALL), "--out", str(where), "--force")
        took[command] = time.perf_counter() - started
    return took


def added(cells: Cells, rule: str, band: bool) -> tuple[int, int]:
    """(specialized, features) of one rule over some sites."""
    own = [one for one in cells if one["rule"] == rule and (one["population"] != "alive") == band]
    return sum(one["n_specialized"] for one in own), sum(one["n"] for one in own)


def shares(cells: Cells, band: bool) -> list[str]:
    """Features, and each rule's share of them."""
    n = added(cells, RULES[0], band)[1]
    found = [added(cells, rule, band)[0] for rule in RULES]
    return [f"{n:,}", *(f"{hits:,} ({100 * hits / n:.0f} %)" if n else "-" for hits in found)]


def table(document: dict[str, Any]) -> list[str]:
    """All sites, then layer by layer and position by position."""
    places = [(site["site"], site["cells"]) for site in document["sites"]]
    parts: list[tuple[str, Cells]] = [("all", [cell for _, cells in places for cell in cells])]
    for key in ("layer", "position"):
        for value in sorted({site[key] for site, _ in places}):
            parts.append((f"{key} {value}", [cell for site, cells in places if site[key] == value for cell in cells]))
    heads = ["sites", "alive", *NAMES, "common", *(f"{name}, common" for name in NAMES)]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---|" * (len(heads) - 1)]
    lines += [f"| {' | '.join([name, *shares(cells, False), *shares(cells, True)])} |" for name, cells in parts]
    return lines


def family(document: dict[str, Any], alone: Sequence[dict[str, Any]]) -> list[str]:
    """How large the family is, and what it costs at ten sites whose families were their own."""
    single = sum(cell["n_single"] for site in document["sites"] for cell in site["cells"][:1])
    published = added([cell for site in document["sites"] for cell in site["cells"]], RULES[0], False)[0]
    words = (
        f"{len(document['sites'])} sites, {len(document['rows']):,} alive features on {document['n_problems']:,} "
        f"problems of {document['data']} ({document['n_chains']:,} calculations): {document['n_tested']:,} pairs of "
        f"feature and property, {document['n_selected']:,} selected, {document['n_confirmed']:,} confirmed on "
        f"{document['confirmed_on']}. Of the {published:,} that the published rule calls specialized {single:,} fire "
        "on a single problem."
    )
    here = {site_name(site["site"]): site["cells"][2]["n_specialized"] for site in document["sites"]}
    known = {one["site"]: one["cells"][2]["n_specialized"] for one in alone if one["site"] in here}
    if known:
        lost = [f"{site} {known[site]} and {here[site]}" for site in known]
        words += (
            " Specialists by the tested rule where a site is a family of its own, and in this one: "
            f"{', '.join(lost)}; together {sum(known.values()):,} and {sum(here[site] for site in known):,}."
        )
    return [words]


def site_name(site: dict[str, Any]) -> str:
    return f"L{site['layer']}.P{site['position']}"


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--page", action="store_true", help="measure nothing")
    options = parser.parse_args()
    folder = RUNS.with_name("landscape-quick") if options.quick else RUNS
    if not options.page:
        took = measure(options.quick)
        (folder / "seconds.json").write_text(json.dumps({**took, "machine": common.machine()}))
    document = json.loads((folder / "specialize" / "features-specialize.json").read_text())
    ranks = json.loads((folder / "rank" / "features-rank.json").read_text())
    swaps = json.loads((common.RESULTS / "swaps.json").read_text())["sites"]
    parts = {"landscape family": family(document, swaps), "landscape": table(document)}
    for name, lines in parts.items():
        print("\n".join(lines), "\n")
        if not options.quick:
            common.fill_page(PAGE, name, "\n".join(lines), code=False)
    images = common.QUICK if options.quick else common.IMAGES
    write_figure(landscape_figure(document), images, "landscape")
    write_figure(firing_sites_figure(ranks), images, "firing-rates-sites")
    if not options.quick:
        with (folder / "specialize" / "features-specialize-cells.csv").open(encoding="utf-8") as file:
            common.write_table(list(csv.DictReader(file)), common.DOCS_RESULTS / "landscape.csv")


if __name__ == "__main__":
    main()
