"""What `codi-int screen` does once its options are read. Loaded when it runs, for it is heavy."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codi_int.cli._console import Report, print_json, progress, stdout
from codi_int.cli._feature_pairs import load_feature_pairs
from codi_int.cli._screen_pages import screen_page
from codi_int.cli._sites import saes_for
from codi_int.data.problems import load_problems, problems_sha256
from codi_int.errors import ConfigError
from codi_int.interventions.edits.basic import check_features
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.store import prepare_folder
from codi_int.interventions.screens.agreement import Agreement, agreement
from codi_int.interventions.screens.attribution import Attribution, attribute_sites
from codi_int.interventions.screens.interactions import check_pairs, run_pairs
from codi_int.interventions.screens.screen import Screen, run_screen
from codi_int.interventions.screens.screen_store import Finished, ScreenFolder
from codi_int.model.loading import load_model
from codi_int.sae.store import load_sae
from codi_int.types import Problem, Site

ORDERS = ("index", "attribution")


@dataclass(frozen=True)
class ScreenSetting:
    """What the options say."""

    layers: tuple[int, ...]
    """blocks"""
    positions: tuple[int, ...]
    """thought positions"""
    features: tuple[int, ...] | None
    """which features; None for all"""
    pairs: Path | None
    """file of pairs to run instead"""
    order: str
    """in which order they run"""
    steps: int
    """of the attribution that orders them"""
    top: int
    """how many rows to print"""
    model: str
    """name or folder"""
    sae: str | None
    """name or folder; None for those that belong to model, layer and position"""
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


@dataclass(frozen=True)
class _Stage:
    """Everything loaded."""

    engine: FeatureInterventionEngine
    """with an SAE at every site"""
    names: dict[Site, str]
    """of the SAEs"""
    problems: Sequence[Problem]
    """to run"""
    folder: ScreenFolder | None
    """where finished rows go"""


@dataclass(frozen=True)
class _Found:
    """A screen, and how good the attribution was that ordered it."""

    screen: Screen
    """the screen"""
    agreements: tuple[Agreement, ...]
    """one for each site; empty where nothing was predicted"""

    def document(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**self.screen.to_dict(), "agreement": [asdict(one) for one in self.agreements]}


def print_screen(setting: ScreenSetting) -> None:
    """Run a screen as the options say and print it."""
    _check(setting)
    if setting.out is not None:
        prepare_folder(setting.out)
    with progress() as report:
        found = _run(setting, report)
    if setting.as_json:
        print_json(found.document())
    else:
        stdout().print(screen_page(found.screen, found.agreements, setting.top))


def _check(setting: ScreenSetting) -> None:
    """Slips that need no model to see."""
    if setting.order not in ORDERS:
        raise ConfigError(f"--order {setting.order!r} does not exist.", f"It is one of {', '.join(ORDERS)}.")
    if setting.steps < 1 or (setting.steps > 1 and setting.order == "index"):
        raise ConfigError(
            f"--steps {setting.steps} cannot be: it counts the gradients that --order attribution averages.",
            "Add --order attribution and 1 step or more.",
        )
    if setting.pairs is None:
        return
    if setting.features is not None or setting.order != "index":
        raise ConfigError(
            "--pairs brings its own features and order.", "Leave out --feature and --order, or leave out --pairs."
        )
    if len(setting.layers) * len(setting.positions) > 1:
        raise ConfigError("--pairs are features of one site.", "Name one --layer and one --position.")


def _run(setting: ScreenSetting, report: Report) -> _Found:
    pairs = None if setting.pairs is None else check_pairs(load_feature_pairs(setting.pairs))
    stage = _load(setting)
    for sae in stage.engine.saes.values():
        check_features(setting.features or [f for pair in pairs or () for f in pair], sae.d_sae)
    done = stage.folder.finished() if stage.folder else Finished()
    if done.rows:
        print(f"Going on: {_amount(done)} are finished in {setting.out}.", file=sys.stderr)
    try:
        found = (
            _screened(setting, stage, done, report) if pairs is None else _paired(setting, stage, pairs, done, report)
        )
    except KeyboardInterrupt:
        if stage.folder:
            kept = _amount(stage.folder.finished())
            print(f"{kept} are kept in {setting.out}; the command goes on there.", file=sys.stderr)
        raise
    if stage.folder and setting.out:
        from codi_int.cli._figures import keep_figures

        document = found.document()
        files = stage.folder.finish(document, found.screen.rows, found.screen.pairs)
        print(f"Kept in {setting.out}: {', '.join(files)}", file=sys.stderr)
        keep_figures(document, setting.out)
    return found


def _load(setting: ScreenSetting) -> _Stage:
    """Load what the options name, cheapest errors first."""
    sites = [Site(layer, position) for layer in setting.layers for position in setting.positions]
    problems = load_problems(setting.data, setting.limit)
    model = load_model(setting.model, device=setting.device)
    for site in sites:
        model.check_site(site)
    names = saes_for(setting.model, setting.sae, sites)
    engine = FeatureInterventionEngine(model, {s: load_sae(n, device=setting.device) for s, n in names.items()})
    return _Stage(engine, names, problems, _folder(setting, engine, problems))


def _folder(
    setting: ScreenSetting, engine: FeatureInterventionEngine, problems: Sequence[Problem]
) -> ScreenFolder | None:
    if setting.out is None:
        return None
    sites, saes = ", ".join(map(str, engine.saes)), ", ".join(sae.sha256 for sae in engine.saes.values())
    hashes = {"model": engine.model.sha256, "sae": saes, "data": problems_sha256(problems)}
    kind = "ablate" if setting.pairs is None else "ablate pairs"
    return ScreenFolder(setting.out, {"kind": kind, "site": sites, "seed": setting.seed, **hashes})


def _screened(setting: ScreenSetting, stage: _Stage, done: Finished, report: Report) -> _Found:
    """All features of all sites, in the order asked for; none is left out, whatever attribution says."""
    engine, predicted = stage.engine, _predicted(setting, stage, report)
    features = {site: _ordered(setting, predicted.get(site), sae.d_sae) for site, sae in engine.saes.items()}
    screen = run_screen(
        engine, stage.problems, features, seed=setting.seed, data=setting.data, sae_name=stage.names, done=done.rows,
        keep=stage.folder.keep if stage.folder else None, progress=report,
    )  # fmt: skip
    able = [site for site in screen.sites if site.n_living > 1]
    return _Found(screen, tuple(agreement(predicted[s.site], screen, s.site) for s in able if s.site in predicted))


def _predicted(setting: ScreenSetting, stage: _Stage, report: Report) -> dict[Site, Attribution]:
    if setting.order == "index":
        return {}
    engine = stage.engine
    return attribute_sites(engine, [engine.scene(stage.problems, site, report) for site in engine.saes], setting.steps)


def _ordered(setting: ScreenSetting, predicted: Attribution | None, d_sae: int) -> Sequence[int]:
    wanted = range(d_sae) if setting.features is None else setting.features
    return list(wanted) if predicted is None else [f for f in predicted.order() if f in set(wanted)]


def _paired(
    setting: ScreenSetting, stage: _Stage, pairs: Sequence[tuple[int, int]], done: Finished, report: Report
) -> _Found:
    (name,) = stage.names.values()
    screen = run_pairs(
        stage.engine, stage.problems, pairs, seed=setting.seed, data=setting.data, sae_name=name,
        done_rows=done.rows, done_pairs=done.pairs, keep=stage.folder.keep if stage.folder else None, progress=report,
    )  # fmt: skip
    return _Found(screen, ())


def _amount(done: Finished) -> str:
    pairs = f" and {len(done.pairs)} pairs" if done.pairs else ""
    return f"{len(done.rows)} features{pairs}"
