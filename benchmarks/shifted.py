"""What SAEs and their specialists do on stories unlike those of training: docs/results/features.md.

    python benchmarks/shifted.py

The shipped SAEs of three sites, their specialists by the tested rule on stories:validation, confirmed on
stories:confirmation, and the three splits of shifted stories. Activations of the ordinary splits are read from
runs/curves, where specialization_curves.py puts them.
"""

from dataclasses import replace
from typing import Any

import _common as common
import numpy as np
import specialization_curves as curves

import codi_int as ci
from codi_int.features.profiles import Profiles, profile_rows
from codi_int.features.rule_table import compare_rules
from codi_int.features.shift import OUTCOMES, alive_on, measure_shift
from codi_int.model.hooked import CodiModel
from codi_int.sae import SAE
from codi_int.types import Site

PAGE = common.DOCS_RESULTS / "features.md"
SITES = tuple(Site(*place) for place in ((3, 3), (10, 5), (14, 3)))
SPLITS = ("shifted-operands", "shifted-steps", "shifted-wording")


class Shifted:
    """Stories of a split, thought about once for all sites."""

    def __init__(self, rows: curves.Rows, split: str, quick: bool) -> None:
        self.name, self.problems = f"stories:{split}", ci.load_problems(f"stories:{split}", 150 if quick else None)
        self.batch = rows.model.think(self.problems, capture=list(SITES), answers=True)
        pairs = zip(self.batch.completions, self.problems, strict=True)
        self.right = float(np.mean([ci.is_right(c.answer, problem.answer) for c, problem in pairs]))
        print(f"{self.name}: {100 * self.right:.1f} % right", flush=True)

    def profiles(self, sae: SAE, site: Site, model: CodiModel) -> Profiles:
        found = profile_rows(sae, self.batch.at(site).values, model)
        return replace(found, problems=self.problems, site=site, data=self.name, by_feature={})


def rows_of(site: Site, rows: curves.Rows, splits: dict[str, Shifted]) -> list[dict[str, Any]]:
    """The ordinary problems first, then each split."""
    sae = ci.load_sae(f"codi-mini/{site}")
    profiles = {name: rows.profiles(sae, site, name) for name in ("held-out", "confirm")}
    found = compare_rules(profiles["held-out"], profiles["confirm"], band=curves.BAND).tested
    alive = alive_on(sae, rows.at(site, "train"))
    out = []
    for split in (None, *splits):
        shifted = profiles["confirm"] if split is None else splits[split].profiles(sae, site, rows.model)
        one = measure_shift(found, shifted, alive)
        right = None if split is None else splits[split].right
        ratios = [m.after.difference / m.before.difference for m in one.specialists if m.after and m.before.difference]
        out.append(
            {
                "site": str(site),
                "split": split or "confirmation, as in training",
                "n_problems": one.n_problems,
                "n_chains": one.n_chains,
                "right": right,
                "explained_variance": one.explained_variance,
                "n_alive": one.n_alive,
                "n_dead": one.n_dead,
                "n_woken": len(one.woken),
                "woken_share": one.woken_share,
                "n_specialists": len(one.specialists),
                **{f"n_{name}": one.count(name) for name in OUTCOMES},
                "median_ratio": sorted(ratios)[len(ratios) // 2] if ratios else None,
            }
        )
        print(out[-1], flush=True)
    return out


def table(rows: list[dict[str, Any]]) -> list[str]:
    heads = "site | stories | chains | right % | EV % | alive | dead in training | woken | their share of firings % | "
    lines = [f"| {heads}specialists | kept | lost | unresolved | untestable |", "|" + "---|" * 14]
    for one in rows:
        right = "" if one["right"] is None else f"{100 * one['right']:.1f}"
        explained = f"{100 * one['explained_variance']:.1f}"
        lines.append(
            f"| {one['site']} | {one['split']} | {one['n_chains']:,} | {right} | {explained} | "
            f"{one['n_alive']} | {one['n_dead']} | {one['n_woken']} | {100 * one['woken_share']:.2f} | "
            f"{one['n_specialists']} | {' | '.join(str(one[f'n_{name}']) for name in OUTCOMES)} |"
        )
    return lines


def main() -> None:
    options = common.arguments(__doc__).parse_args()
    rows = curves.Rows(options.quick)
    splits = {split: Shifted(rows, split, options.quick) for split in SPLITS}
    found = [row for site in SITES[: 1 if options.quick else None] for row in rows_of(site, rows, splits)]
    common.write("shifted", {"rows": found}, options.quick)
    lines = table(found)
    print("\n".join(lines))
    if not options.quick:
        common.fill_page(PAGE, "shifted stories", "\n".join(lines), code=False)


if __name__ == "__main__":
    main()
