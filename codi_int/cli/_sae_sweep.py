"""What `codi-int sae sweep` does once its options are read. Loaded when it runs, for it is heavy."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codi_int.cli._console import print_json, stdout
from codi_int.cli._sae_pages import sweep_page
from codi_int.cli._sae_progress import SweepProgress, sweep_progress
from codi_int.data.problems import load_problems
from codi_int.errors import ConfigError
from codi_int.interventions.engine.store import prepare_folder
from codi_int.model.loading import load_model
from codi_int.report.figures import sweep_figures
from codi_int.sae.grid import SweepGrid, SweepRow, sae_folder
from codi_int.sae.recipe_files import read_recipe
from codi_int.sae.site_sweep import SweepNews, SweepPlan, sweep_sites
from codi_int.sae.store import CONFIG_FILE
from codi_int.sae.sweep import SCHEMA
from codi_int.sae.sweep_table import FREQUENCIES, TABLE, table_rows
from codi_int.types import Site


@dataclass(frozen=True)
class SweepSetting:
    """What the options say."""

    out: Path
    """folder of SAEs, tables and figures"""
    numbers: Mapping[str, tuple[int, ...]]
    """layer, position, k, features and seed"""
    epochs: int | None
    """passes over the rows"""
    recipe: Path | None
    """JSON file with further fields"""
    captures: Path | None
    """folder of captures; None for one in `out`"""
    splice: bool
    """whether to run the model with every SAE in place"""
    memory_gib: float
    """what one stack may hold"""
    model: str
    """name or folder"""
    data: str
    """problems to train on"""
    held_out: str
    """problems to measure on"""
    limit: int | None
    """how many of each"""
    device: str
    """where to run"""
    as_json: bool
    """whether to print JSON"""


def sweep_and_print(setting: SweepSetting) -> None:
    """Run a sweep as the options say, keep it and print its table."""
    plan = sweep_plan(setting)
    prepare_folder(setting.out)
    model = load_model(setting.model, device=setting.device)
    epochs = plan.grid.recipe.epochs * sum(not folder.exists() for folder in _folders(plan))
    try:
        with sweep_progress(epochs) as told:
            rows = sweep_sites(model, plan, _news(told))
    except KeyboardInterrupt:
        folders = _folders(plan)
        done = sum((folder / CONFIG_FILE).exists() for folder in folders)
        print(f"{done} of {len(folders)} SAEs are kept in {plan.out}; the command goes on there.", file=sys.stderr)
        raise
    _keep_figures(plan)
    if setting.as_json:
        print_json(sweep_document(setting, plan, rows))
    else:
        stdout().print(sweep_page(plan, rows, setting.model))


def sweep_plan(setting: SweepSetting) -> SweepPlan:
    """The plan, with all that can be checked without a model."""
    numbers = setting.numbers
    for name, values in numbers.items():
        if not values:
            raise ConfigError(f"--{name} is empty.", f"Give at least one --{name}.")
    given = {"d_sae": max(numbers["features"]), "k": min(numbers["k"]), "seed": 0, "epochs": setting.epochs}
    recipe = read_recipe(setting.recipe, {}, given)
    return SweepPlan(
        sites=tuple(Site(layer, position) for layer in numbers["layer"] for position in numbers["position"]),
        grid=SweepGrid(numbers["k"], numbers["features"], numbers["seed"], recipe),
        training=load_problems(setting.data, setting.limit),
        training_name=setting.data,
        held_out=load_problems(setting.held_out, setting.limit),
        held_out_name=setting.held_out,
        out=setting.out,
        captures=setting.captures or setting.out / "activations",
        memory_gib=setting.memory_gib,
        splice=setting.splice,
    )


def _folders(plan: SweepPlan) -> list[Path]:
    """Where the SAEs lie or will lie."""
    return [sae_folder(plan.out, site, config) for site in plan.sites for config in plan.grid.configs()]


def _news(told: SweepProgress) -> SweepNews:
    return SweepNews(told.stage, told.epoch, told.saved)


def _keep_figures(plan: SweepPlan) -> None:
    """Draw the figures of the table and say on stderr what lies in the folder."""
    drawn = [path.name for path in sweep_figures(plan.out, plan.out) if path.suffix == ".png"]
    files = (f"{TABLE}.json", f"{TABLE}.csv", FREQUENCIES, *drawn)
    print(f"Kept in {plan.out}: {', '.join(files)}", file=sys.stderr)


def sweep_document(setting: SweepSetting, plan: SweepPlan, rows: Sequence[SweepRow]) -> dict[str, object]:
    """The table with what a reader must know about it."""
    return {
        "schema": SCHEMA,
        "model": setting.model,
        "training_data": plan.training_name,
        "n_train": len(plan.training),
        "held_out": plan.held_out_name,
        "n_held_out": len(plan.held_out),
        "epochs": plan.grid.recipe.epochs,
        "rows": table_rows(rows, plan.out),
    }
