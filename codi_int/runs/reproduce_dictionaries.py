"""Published experiments that train dictionaries, measure them and count specialists among their features."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import comb
from pathlib import Path

import numpy as np

from codi_int.features.profiles import Profiles, profile_rows
from codi_int.features.rule_table import RuleComparison, compare_rules
from codi_int.features.specialization_records import SpecializationRow
from codi_int.model.hooked import CodiModel
from codi_int.progress import Progress, rename_stage
from codi_int.proportions import wilson_interval
from codi_int.runs.published import PublishedNumbers, published_numbers
from codi_int.runs.reproduction import Honest, Line, ReproductionPlan
from codi_int.sae.activations import HELD_OUT, activations
from codi_int.sae.base import SAE
from codi_int.sae.grid import SweepGrid, SweepRow
from codi_int.sae.recipe import SAETrainingConfig
from codi_int.sae.site_sweep import SweepCallbacks, SweepPlan, sweep_sites
from codi_int.sae.store import load_sae
from codi_int.types import Problem, Site

PUBLISHED_WIDTH, PUBLISHED_LAYERS = 2048, 16
"""of the published model"""
MEASURES = (
    ("explained variance", "%", "ev_percent"),
    ("loss", "", "loss"),
    ("dead features", "%", "dead_percent"),
)
"""measure, unit, and the quantity's name in published.csv"""
TESTED = "tested rule, confirmed on other problems, untestable features counted as none; Wilson over features"
HELD_OUT_FOLDER, CONFIRMING_FOLDER = Path("activations") / HELD_OUT, Path("activations") / "confirming"
"""where activations lie within the folder of a run"""


@dataclass(frozen=True)
class Window:
    """Ranks by firing rate that a report looked at, as shares of the alive features."""

    name: str
    """as the report names it"""
    first: float
    """share of the alive features that are more frequent"""
    last: float
    """1 for up to the rarest"""
    quantity: str
    """of the specialists in it, in published.csv"""

    def rows(self, rows: Sequence[SpecializationRow]) -> tuple[SpecializationRow, ...]:
        """What lies in it."""
        return tuple(rows[round(self.first * len(rows)) : round(self.last * len(rows))])


@dataclass(frozen=True)
class Wanted:
    """One dictionary of an experiment."""

    name: str
    """such as K=50"""
    published_layer: int
    """where it was"""
    site: Site
    """where it is here"""
    published_k: int
    """as published"""
    d_sae: int
    """as published, and here"""
    k: int
    """here"""
    windows: tuple[Window, ...]
    """what was looked at for specialists; none where only quality was"""


def read_wanted(plan: ReproductionPlan, d_model: int, n_layers: int) -> tuple[Wanted, ...]:
    """The dictionaries of an experiment on a model: layers as deep as published, in relation to all of them.

    `"k": "of-width"` keeps the published share of d_model, 1 at least.
    """
    settings = plan.experiment.settings
    scale = d_model / PUBLISHED_WIDTH if settings["k"] == "of-width" else 1.0
    return tuple(
        Wanted(
            name=one["name"],
            published_layer=Site.parse(one["site"]).layer or 0,
            site=scaled_site(Site.parse(one["site"]), n_layers),
            published_k=one["k"],
            d_sae=one["d_sae"],
            k=min(max(1, round(one["k"] * scale)), one["d_sae"]),
            windows=tuple(Window(**window) for window in one.get("windows", ())),
        )
        for one in settings["dictionaries"]
    )


def scaled_site(site: Site, n_layers: int) -> Site:
    """The site that is as deep in a model of `n_layers`; the same one in a model of as many layers as the published."""
    share = (n_layers - 1) / (PUBLISHED_LAYERS - 1)
    return replace(site, layer=round((site.layer or 0) * share))


def run_dictionaries(
    model: CodiModel, plan: ReproductionPlan, folder: Path, progress: Progress | None
) -> tuple[tuple[str, ...], tuple[Line, ...]]:
    """Train, measure and compare the dictionaries of an experiment.

    Returns:
        what was trained, and the lines of the tables.
    """
    wanted = read_wanted(plan, model.d_model, model.n_layers)
    trained = train_wanted(model, plan, wanted, folder, progress)
    numbers = published_numbers()
    lines: list[Line] = []
    tables: dict[str, RuleComparison] = {}
    for one in wanted:
        rows = trained[one.site, one.d_sae, one.k]
        lines += _quality(plan.experiment.report, one, rows, numbers)
        if one.windows:
            tables[one.name] = _rules(model, plan, one, row=rows[0], folder=folder, progress=progress)
            lines += _specialists(plan.experiment.report, one, tables[one.name], numbers)
    for first, second in plan.experiment.settings.get("compare", ()):
        lines += _compare(first, second, tables, {one.name: one for one in wanted})
    seeds = plan.experiment.settings["seeds"]
    settings = tuple(
        f"{one.name}: K = {one.k} of d_sae {one.d_sae:,} at {one.site} (published K = {one.published_k} of width "
        f"{PUBLISHED_WIDTH:,}; width here {model.d_model}), {len(seeds)} seeds"
        for one in wanted
    )
    return settings, tuple(lines)


def train_wanted(
    model: CodiModel, plan: ReproductionPlan, wanted: Sequence[Wanted], folder: Path, progress: Progress | None
) -> dict[tuple[Site, int, int], list[SweepRow]]:
    """Every dictionary with every seed, size by size; what lies in the folder is not trained again."""
    sites = tuple(dict.fromkeys(one.site for one in wanted))
    seeds = tuple(plan.experiment.settings["seeds"])
    found: dict[tuple[Site, int, int], list[SweepRow]] = {}
    for d_sae, same in groupby(sorted(wanted, key=lambda one: one.d_sae), key=lambda one: one.d_sae):
        ks = tuple(dict.fromkeys(one.k for one in same))
        recipe = SAETrainingConfig(
            d_sae=d_sae, k=ks[0], epochs=plan.epochs or 25, batch_size=min(256, len(plan.training))
        )
        total = len(ks) * len(seeds) * len(sites)
        saved: list[SweepRow] = []

        def on_saved(row: SweepRow, saved: list[SweepRow] = saved, total: int = total, d_sae: int = d_sae) -> None:
            saved.append(row)
            if progress is not None:
                progress(f"SAEs of {d_sae:,} features", len(saved), total)

        sweep = SweepPlan(
            sites=sites,
            grid=SweepGrid(ks, (d_sae,), seeds, recipe),
            training=plan.training,
            training_name=plan.training_name,
            held_out=plan.problems,
            held_out_name=plan.data,
            out=folder / f"d{d_sae}",
            captures=folder / "activations",
        )
        callbacks = SweepCallbacks(progress or _quiet, lambda site, epoch: None, on_saved)
        for row in sweep_sites(model, sweep, callbacks):
            found.setdefault((row.site, row.d_sae, row.k), []).append(row)
    return found


def _quiet(stage: str, done: int, total: int, /) -> None:
    """Where nobody looks."""


def _rules(
    model: CodiModel, plan: ReproductionPlan, one: Wanted, row: SweepRow, folder: Path, progress: Progress | None
) -> RuleComparison:
    """The three rules of specialization on the first seed's dictionary."""
    sae = load_sae(row.folder, device=str(model.device))

    def profiles(problems: Sequence[Problem], data: str, place: Path) -> Profiles:
        sites = [wanted.site for wanted in read_wanted(plan, model.d_model, model.n_layers)]
        return profile_kept(model, sae, one.site, (problems, data), folder / place, sites=sites, progress=progress)

    confirming = None
    if plan.confirming is not None:
        confirming = profiles(plan.confirming, "confirming", CONFIRMING_FOLDER)
    return compare_rules(profiles(plan.problems, plan.data, HELD_OUT_FOLDER), confirming)


def profile_kept(
    model: CodiModel,
    sae: SAE,
    site: Site,
    named: tuple[Sequence[Problem], str],
    folder: Path,
    sites: Sequence[Site] = (),
    progress: Progress | None = None,
) -> Profiles:
    """The features of an SAE on problems whose activations lie in a folder, or are to lie there.

    Args:
        model: whose thoughts.
        sae: whose features.
        site: where it reads.
        named: problems and their name.
        folder: of their activations.
        sites: all that the capture holds, where it is of more than this one.
        progress: called with (stage, done, total).
    """
    problems, data = named
    told = rename_stage(progress, f"{folder.name} thoughts")
    wanted = tuple(dict.fromkeys([*sites, site]))
    values = activations(model, problems, wanted, folder=folder, progress=told).at(site).values
    found = profile_rows(sae, values.to(model.device))
    return replace(found, problems=problems, site=site, data=data, model=model, by_feature={})


def _quality(report: str, one: Wanted, rows: Sequence[SweepRow], numbers: PublishedNumbers) -> Iterator[Line]:
    """Explained variance, loss and dead features: the first seed's, and what the seeds span."""
    per_seed = {
        "ev_percent": [100 * row.held_out.explained_variance for row in rows],
        "loss": [row.held_out.mse for row in rows],
        "dead_percent": [100 * row.dead_share_train for row in rows],
    }
    for measure, unit, quantity in MEASURES:
        values = per_seed[quantity]
        said = numbers.find(report, quantity, one.published_k, one.d_sae, one.published_layer)
        yield Line(
            subject=one.name,
            measure=measure,
            unit=unit,
            published=said[0] if said else None,
            here=values[0],
            honest=Honest(sum(values) / len(values), min(values), max(values), len(values), "mean and range of seeds"),
        )


def _specialists(report: str, one: Wanted, table: RuleComparison, numbers: PublishedNumbers) -> Iterator[Line]:
    """Specialists by the published rule in the published windows, and by the tested rule."""
    published, counted, tested = table.rules
    for window in one.windows:
        mine = window.rows(published.rows)
        hits = [row for row in mine if row.specialized]
        said = numbers.find(report, window.quantity, one.published_k, one.d_sae, one.published_layer)
        yield Line(
            subject=one.name,
            measure=f"specialized, {window.name}",
            unit="%",
            published=None if said is None or not said[1] else 100 * said[0] / said[1],
            published_n=said[1] if said else None,
            here=_percent(hits, mine),
            here_n=len(mine),
            honest=_share(window.rows(tested.rows), TESTED),
        )
        yield Line(
            subject=one.name,
            measure=f"the same with ties counted, {window.name}",
            unit="%",
            here=_percent([row for row in window.rows(counted.rows) if row.specialized], mine),
            here_n=len(mine),
        )
        yield Line(
            subject=one.name,
            measure=f"specialists that fire on one problem, {window.name}",
            unit="",
            here=float(sum(row.n_firing == 1 for row in hits)),
            here_n=len(hits),
        )
        operations = {row.label.split(" + ")[0] for row in hits if row.type == "operation-specialized"}
        said = numbers.find(report, "swap_pairs", one.published_k, one.d_sae)
        yield Line(
            subject=one.name,
            measure=f"swap pairs, {window.name}",
            unit="",
            published=said[0] if said else None,
            here=float(comb(len(operations), 2)),
        )
    everything = [row for row in published.rows if row.specialized]
    yield Line(
        subject=one.name,
        measure="specialized, all alive features",
        unit="%",
        here=_percent(everything, published.rows),
        here_n=len(published.rows),
        honest=_share(tested.rows, TESTED),
    )


def _percent(hits: Sequence[SpecializationRow], rows: Sequence[SpecializationRow]) -> float | None:
    return 100 * len(hits) / len(rows) if rows else None


def _share(rows: Sequence[SpecializationRow], method: str) -> Honest | None:
    if not rows:
        return None
    hits = sum(row.specialized for row in rows)
    low, high = wilson_interval(hits, len(rows))
    return Honest(100 * hits / len(rows), 100 * float(low), 100 * float(high), len(rows), method)


def _compare(
    first: str, second: str, tables: Mapping[str, RuleComparison], wanted: Mapping[str, Wanted]
) -> Iterator[Line]:
    """The difference of two dictionaries' shares of specialists, in points."""
    from scipy.stats import fisher_exact
    from statsmodels.stats.proportion import confint_proportions_2indep

    counts = []
    here = []
    for name in (first, second):
        published, _, tested = tables[name].rules
        mine = wanted[name].windows[0].rows(published.rows)
        here.append(_percent([row for row in mine if row.specialized], mine))
        counts.append((sum(row.specialized for row in tested.rows), len(tested.rows)))
    (hits, n), (others, m) = counts
    if not n or not m:
        return
    low, high = confint_proportions_2indep(hits, n, others, m, method="newcomb", compare="diff")
    p_value = float(fisher_exact(np.array([[hits, n - hits], [others, m - others]])).pvalue)
    method = "tested rule, all alive features; Newcombe's interval, Fisher's exact test, over features"
    yield Line(
        subject=f"{first} minus {second}",
        measure="specialized",
        unit="points",
        here=None if here[0] is None or here[1] is None else here[0] - here[1],
        honest=Honest(
            value=100 * (hits / n - others / m),
            low=100 * low,
            high=100 * high,
            n=n + m,
            method=method,
            p_value=p_value,
        ),
    )
