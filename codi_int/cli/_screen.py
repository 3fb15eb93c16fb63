"""What `codi-int screen` does once its options are read. Loaded when it runs, for it is heavy."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from codi_int.cli._console import Report, print_json, progress, stdout
from codi_int.cli._intervene import default_sae
from codi_int.cli._tables import p_text, points, table
from codi_int.data.problems import load_problems, problems_sha256
from codi_int.errors import ConfigError
from codi_int.interventions.attribution import attribute
from codi_int.interventions.edits import check_features
from codi_int.interventions.engine import FeatureInterventionEngine
from codi_int.interventions.screen import Screen, ScreenRow, run_screen
from codi_int.interventions.screen_store import ScreenFolder
from codi_int.interventions.store import prepare_folder
from codi_int.model.loading import load_model
from codi_int.sae.store import load_sae
from codi_int.types import Problem, Site

ORDERS = ("index", "attribution")


@dataclass(frozen=True)
class ScreenSetting:
    """What the options say."""

    layer: int
    """block"""
    position: int
    """thought position"""
    features: tuple[int, ...] | None
    """which features; None for all"""
    order: str
    """in which order they run"""
    top: int
    """how many rows to print"""
    model: str
    """name or folder"""
    sae: str | None
    """name or folder; None for the one that belongs to model, layer and position"""
    data: str
    """name or file"""
    limit: int | None
    """how many problems"""
    seed: int
    """of everything random"""
    device: str
    """where to run"""
    as_json: bool
    """whether to print JSON"""
    out: Path | None
    """where to keep the screen"""


def print_screen(setting: ScreenSetting) -> None:
    """Run a screen as the options say and print it."""
    if setting.order not in ORDERS:
        raise ConfigError(f"--order {setting.order!r} does not exist.", f"It is one of {', '.join(ORDERS)}.")
    if setting.out is not None:
        prepare_folder(setting.out)
    with progress() as report:
        found = _run(setting, report)
    if setting.as_json:
        print_json(found.to_dict())
    else:
        stdout().print(screen_page(found, setting.top))


def _run(setting: ScreenSetting, report: Report) -> Screen:
    site, problems = Site(setting.layer, setting.position), load_problems(setting.data, setting.limit)
    model = load_model(setting.model, device=setting.device)
    model.check_site(site)
    name = setting.sae or default_sae(setting.model, str(site))
    engine = FeatureInterventionEngine(model, {site: load_sae(name, device=setting.device)})
    if setting.features is not None:
        check_features(setting.features, engine.saes[site].d_sae)
    folder = _folder(setting, engine, site, problems)
    done = folder.rows() if folder else {}
    if done:
        print(f"Going on: {len(done)} features are finished in {setting.out}.", file=sys.stderr)
    features = _ordered(setting, engine, problems, report)
    try:
        found = run_screen(
            engine, problems, features, seed=setting.seed, data=setting.data, sae_name=name, done=done,
            keep=folder.keep if folder else None, progress=report,
        )  # fmt: skip
    except KeyboardInterrupt:
        if folder:
            print(
                f"{len(folder.rows())} features are kept in {setting.out}; the command goes on there.", file=sys.stderr
            )
        raise
    if folder:
        folder.finish(found)
        print(f"Kept in {setting.out}: screen.json, screen.parquet", file=sys.stderr)
    return found


def _folder(
    setting: ScreenSetting, engine: FeatureInterventionEngine, site: Site, problems: Sequence[Problem]
) -> ScreenFolder | None:
    if setting.out is None:
        return None
    hashes = {"model": engine.model.sha256, "sae": engine.saes[site].sha256, "data": problems_sha256(problems)}
    return ScreenFolder(setting.out, {"kind": "ablate", "site": str(site), "seed": setting.seed, **hashes})


def _ordered(
    setting: ScreenSetting, engine: FeatureInterventionEngine, problems: Sequence[Problem], report: Report
) -> Sequence[int] | None:
    """The features in the order in which they are to run; none is left out, whatever attribution says."""
    if setting.order == "index":
        return setting.features
    ranked = attribute(engine, engine.scene(problems, progress=report)).order()
    return ranked if setting.features is None else [f for f in ranked if f in setting.features]


def screen_page(screen: Screen, top: int) -> Group:
    """The strongest effects, and how many there are."""
    living = [row for row in screen.rows if row.n_touched]
    answers = [row for row in living if row.p_adjusted is not None and row.p_adjusted < 0.05]
    logprobs = [row for row in living if row.logprob_p_adjusted is not None and row.logprob_p_adjusted < 0.05]
    head = Text(f"{screen.kind} each of {len(screen.rows)} features at {screen.site} of {screen.model}", style="bold")
    head.append(
        f"\n{screen.n_problems:,} problems of {screen.data}, {screen.n_correct:,} right · SAE {screen.sae}"
        f" · seed {screen.seed}",
        style="not bold",
    )
    dead = len(screen.rows) - len(living)
    verdict = (
        f"{dead} features never fire. Of the {len(living)} that do, {len(answers)} change accuracy and {len(logprobs)} "
        f"the clean answer's log-probability, at 5% false discoveries (Benjamini-Hochberg over all that fire)."
    )
    c, env = screen.counts, screen.environment
    work = f"{c.pairs:,} pairs: {c.skipped:,} proved unchanged, {c.suffix_rows:,} run from the site on, {c.rerun} twice"
    footer = Text(f"{work} · {env.seconds:.1f} s on {env.threads} threads", style="dim")
    return Group(head, "", _rows(screen.ranked()[: max(top, 0)]), "", Text(verdict, style="bold"), "", footer)


def _rows(rows: Sequence[ScreenRow]) -> Table:
    out = table("feature", "fires", "broken", "fixed", "accuracy", "interval", "p (BH)", "nats", "p (BH)", "rank")
    for r in rows:
        out.add_row(
            str(r.feature), f"{100 * r.firing_rate:.1f} %", str(r.n_broken), str(r.n_fixed), points(r.estimate),
            f"{points(r.low)} to {points(r.high)}", p_text(r.p_adjusted), f"{r.logprob:+.4f}",
            p_text(r.logprob_p_adjusted), "" if r.rank is None else f"{100 * r.rank:.0f} %",
        )  # fmt: skip
    return out
