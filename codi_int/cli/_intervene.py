"""What ablate, amplify and swap share: set up, run, keep, print. Commands load it when they run, for it is heavy."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codi_int.cli._console import Report, print_json, progress, stdout
from codi_int.cli._tables import family_page, result_page
from codi_int.data.problems import load_problems
from codi_int.interventions.edits.basic import Edit
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.store import prepare_folder, save_family, save_result
from codi_int.interventions.engine.summary import family_of
from codi_int.model.loading import load_model
from codi_int.sae.store import load_sae
from codi_int.types import Problem, Result, Site


@dataclass(frozen=True)
class Setting:
    """What the options of an intervention say, besides the edit itself."""

    layer: int
    """block"""
    position: int
    """thought position"""
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
    controls: int
    """matched random features"""
    directions: int
    """random directions"""
    splice: str
    """add or replace"""
    propagate: str
    """both, cache or recurrence"""
    as_json: bool
    """whether to print JSON"""
    out: Path | None
    """where to keep the run"""
    neurons: int = 0
    """single neurons of the residual; with any, the difference of means too"""


def intervene(edit: Edit, setting: Setting) -> None:
    """Run one edit as the options say, keep it where they ask for it, and print it."""
    if setting.propagate == "split":
        from codi_int.cli._roads import print_split

        print_split(edit, setting)
        return
    if setting.out is not None:
        prepare_folder(setting.out)
    with progress() as report:
        result = run_edit(edit, setting, report)
    if setting.out is not None:
        folder = save_result(result, setting.out, ["codi-int", *sys.argv[1:]])
        print(f"Kept in {folder}: result.json, outcomes.parquet, manifest.json", file=sys.stderr)
    if setting.as_json:
        print_json(result.to_dict())
    else:
        stdout().print(result_page(result))


def intervene_many(edits: Mapping[str, Edit], setting: Setting) -> None:
    """Run several edits on one clean pass as a family of tests; each is kept in a folder of the name given to it."""
    if len(edits) == 1:
        intervene(next(iter(edits.values())), setting)
        return
    if setting.out is not None:
        for name in edits:
            prepare_folder(setting.out / name)
    with progress() as report:
        engine, problems, sae_name = prepare(setting, report)
        family = family_of(
            engine.run_many(
                list(edits.values()), problems, seed=setting.seed, controls=setting.controls, data=setting.data,
                sae_name=sae_name, progress=report, directions=setting.directions, neurons=setting.neurons,
                mean_difference=setting.neurons > 0,
            )
        )  # fmt: skip
    if setting.out is not None:
        from codi_int.cli._figures import keep_figures

        save_family(family, list(edits), setting.out, ["codi-int", *sys.argv[1:]])
        print(f"Kept in {setting.out}: results.json, and a folder each: {', '.join(edits)}", file=sys.stderr)
        keep_figures(family.to_dict(), setting.out)
    if setting.as_json:
        print_json(family.to_dict())
    else:
        stdout().print(family_page(family))


def run_edit(edit: Edit, setting: Setting, report: Report) -> Result:
    """Load what the options name and run the edit."""
    engine, problems, sae_name = prepare(setting, report)
    return engine.run(
        edit, problems, setting.seed, setting.controls, data=setting.data, sae_name=sae_name, progress=report,
        directions=setting.directions, neurons=setting.neurons, mean_difference=setting.neurons > 0,
    )  # fmt: skip


def prepare(setting: Setting, report: Report) -> tuple[FeatureInterventionEngine, tuple[Problem, ...], str]:
    """Engine, problems and the name of the SAE that the options mean, cheapest errors first."""
    site = Site(setting.layer, setting.position)
    problems = load_problems(setting.data, setting.limit)
    model = load_model(setting.model, device=setting.device)
    model.check_site(site)
    name = setting.sae or default_sae(setting.model, str(site))
    sae = load_sae(name, device=setting.device)
    engine = FeatureInterventionEngine(model, {site: sae}, splice=setting.splice, propagate=setting.propagate)
    return engine, problems, name


def default_sae(model: str, site: str) -> str:
    """The SAE that belongs to a model: bundled as `codi-mini/L14.P3`, or beside a model's own files."""
    beside = Path(model) / "sae" / site
    return str(beside) if beside.is_dir() else f"{model}/{site}"
