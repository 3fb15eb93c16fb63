"""How specialization, death and quality go with K, size, layer, position and seed: docs/results/curves.md.

    python benchmarks/specialization_curves.py                 # trains what is missing, then the page
    python benchmarks/specialization_curves.py --part grid     # one part, in about five minutes
    python benchmarks/specialization_curves.py --page          # the page again, from what has been measured

Activations are captured once into runs/curves; every SAE is a line of runs/curves/points.jsonl, so that a stopped run
goes on. The published K are those of a model of width 2,048: K = 50, 100, 200, 500 there are 2, 5, 9, 23 here.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import _common as common
import _curve_goals as goals
import _curve_pages as pages
import torch

import codi_int as ci
from codi_int.features.curves import curve_point
from codi_int.features.profiles import Profiles, profile_rows
from codi_int.features.rule_table import compare_rules
from codi_int.report.style import write_figure
from codi_int.sae import (
    SAE,
    Anneal,
    Provenance,
    SAEJob,
    SAETrainingConfig,
    Sparsity,
    save_sae,
    train_many,
    train_sae,
)
from codi_int.sae.activations import activations
from codi_int.sae.captures import Capture
from codi_int.types import Site

PAGE_FILE = common.DOCS_RESULTS / "curves.md"
RUNS = common.ROOT / "runs" / "curves"
DATA = {"train": "stories:sae", "held-out": "stories:validation", "confirm": "stories:confirmation"}
MAIN, OTHERS = Site(14, 3), (Site(3, 3), Site(10, 5))
SEEDS = (0, 1, 2)
KS, SIZES = (1, 2, 5, 9, 23, 48), (256, 512, 1024)
LARGE = {2048: KS, 4096: (2, 5, 9, 23), 8192: (2, 5, 9, 23)}
"""sizes of the published sweep and beyond, at a width of 96, and the K of each"""
PENALTIES = (5.0, 10.0, 20.0, 40.0, 80.0)
"""of L1, on rows whose squared length is about 8,000"""
BAND = (0.01, 0.1)


@dataclass(frozen=True)
class Wanted:
    """One SAE of the curves."""

    site: Site
    config: SAETrainingConfig
    called: str = "topk"

    @property
    def name(self) -> str:
        k = "" if self.config.k is None else f"_k{self.config.k}"
        return f"{self.called.replace(' ', '-')}_{self.site}_d{self.config.d_sae}{k}_s{self.config.seed}"


def parts() -> Mapping[str, list[Wanted]]:
    """What each part trains."""

    def topk(site: Site, k: int, d_sae: int, seed: int, called: str = "topk", anneal: Anneal | None = None) -> Wanted:
        return Wanted(site, SAETrainingConfig(d_sae=d_sae, k=k, seed=seed, anneal=anneal), called)

    def l1(penalty: float, seed: int) -> Wanted:
        config = SAETrainingConfig(
            d_sae=512, architecture="standard", sparsity=Sparsity(penalty, warmup_steps=100), seed=seed
        )
        return Wanted(MAIN, config, f"L1 {penalty:g}")

    return {
        "grid": [topk(MAIN, k, d, seed) for d in SIZES for k in KS for seed in SEEDS],
        "layers": [topk(site, k, 512, seed) for site in OTHERS for k in (2, 5, 9, 23) for seed in SEEDS],
        "anneal": [
            topk(MAIN, end, 512, seed, called=f"K {start} to {end}", anneal=Anneal(start, 10))
            for start, end in ((2, 5), (5, 2))
            for seed in SEEDS
        ],
        "large": [topk(MAIN, k, d, seed) for d, ks in LARGE.items() for k in ks for seed in SEEDS],
        "l1": [l1(penalty, seed) for penalty in PENALTIES for seed in SEEDS],
    }


class Rows:
    """Problems and their captured activations."""

    def __init__(self, quick: bool) -> None:
        self.model = ci.load_model("codi-mini")
        limit = 300 if quick else None
        self.problems = {name: ci.load_problems(data, limit) for name, data in DATA.items()}
        sites = [Site(layer, p) for layer in range(self.model.n_layers) for p in range(self.model.n_thoughts + 1)]
        self.captures = {
            name: activations(self.model, self.problems[name], sites, data=DATA[name], folder=root(quick) / name)
            for name in DATA
        }
        assert all(isinstance(one, Capture) for one in self.captures.values())

    def at(self, site: Site, name: str) -> torch.Tensor:
        return self.captures[name].at(site).values

    def profiles(self, sae: SAE, site: Site, name: str) -> Profiles:
        found = profile_rows(sae, self.at(site, name), self.model)
        return replace(found, problems=self.problems[name], site=site, data=DATA[name], by_feature={})

    def point(self, sae: SAE, site: Site, called: str, seconds: float | None) -> dict[str, Any]:
        started = time.process_time()
        profiles = {name: self.profiles(sae, site, name) for name in ("held-out", "confirm")}
        rules = compare_rules(profiles["held-out"], profiles["confirm"], band=BAND)
        took = time.process_time() - started
        rows = self.at(site, "train"), self.at(site, "held-out")
        return {**asdict(curve_point(sae, *rows, rules, called, seconds)), "seconds_rules": took, "site": str(site)}


def root(quick: bool) -> Path:
    return RUNS.with_name("curves-quick") if quick else RUNS


def trained(wanted: Wanted, x: torch.Tensor) -> tuple[SAE, float]:
    started = time.process_time()
    known = Provenance(site=wanted.site, model="codi-mini", training_data=DATA["train"])
    if wanted.config.stackable:
        sae = train_many([SAEJob(x, wanted.config, known)])[0].sae
    else:
        sae = train_sae(x, wanted.config, known).sae
    return sae, time.process_time() - started


def read_points(quick: bool) -> dict[str, dict[str, Any]]:
    file = root(quick) / "points.jsonl"
    lines = file.read_text().splitlines() if file.is_file() else []
    # a run that was killed while it wrote leaves half a line, which is measured again
    lines = [line for line in lines if line.endswith("}")]
    return {point["name"]: point for point in map(json.loads, lines) if point["part"] in parts()}


def measure(names: Sequence[str], quick: bool) -> None:
    """Train and measure what is missing of some parts."""
    known, rows = read_points(quick), None
    for name in names:
        for wanted in _few(parts()[name], quick):
            if f"{name}/{wanted.name}" in known:
                continue
            rows = rows or Rows(quick)
            sae, seconds = trained(wanted, rows.at(wanted.site, "train"))
            if name == "grid":
                save_sae(sae, root(quick) / "saes" / wanted.name)
            keep(rows.point(sae, wanted.site, wanted.called, seconds), f"{name}/{wanted.name}", name, quick)


def _few(listed: list[Any], quick: bool) -> list[Any]:
    return listed[:: max(1, len(listed) // 4)] if quick else listed


def keep(point: dict[str, Any], name: str, part: str, quick: bool) -> None:
    path = root(quick) / "points.jsonl"
    half = path.is_file() and not path.read_text().endswith("\n")
    with path.open("a") as file:
        file.write("\n" * half + json.dumps({"name": name, "part": part, **point}) + "\n")
    print(f"{name}: {point['explained_variance']:.3f}, {point['seconds_rules']:.1f} s of rules", flush=True)


def fill(points: Sequence[dict[str, Any]], saes: Path, quick: bool) -> None:
    """Print every table; unless quick also the page, the figures and the CSV."""
    parts = {
        "specialization": pages.specialization(points),
        "law": pages.laws(points),
        "band": pages.band(points),
        "death": pages.death(points),
        "knee": pages.knee(points),
        "schedule": pages.schedule(points),
        "l1": pages.against_l1(points),
        "sites": pages.sites(points),
        "matching": pages.matching(saes),
        "sizes": goals.sizes(points),
        "goals": goals.goals(points),
    }
    for name, lines in parts.items():
        text = "\n".join(lines)
        print(f"{name}\n{text}\n")
        if not quick:
            common.fill_page(PAGE_FILE, name, text, code=False)
    figures = {"curves": pages.figure, "curves-size": goals.size_figure, "curves-l1": goals.l1_figure}
    for name, figure in figures.items():
        write_figure(figure(points), common.QUICK if quick else common.IMAGES, name)
    if not quick:
        common.write_table([pages.flat(point) for point in points], common.DOCS_RESULTS / "curves.csv")


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--part", choices=list(parts()), help="measure this part alone; no page")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    options = parser.parse_args()
    root(options.quick).mkdir(parents=True, exist_ok=True)
    if not options.page:
        measure([options.part] if options.part else list(parts()), options.quick)
    if not options.part:
        fill(list(read_points(options.quick).values()), root(options.quick) / "saes", options.quick)


if __name__ == "__main__":
    main()
