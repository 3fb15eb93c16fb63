"""`codi-int sae eval`: every measure of some SAEs."""

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codi_int.cli import _options as o
from codi_int.cli import _sae_options as s
from codi_int.cli._console import Report, print_json, progress, stdout
from codi_int.cli._signature import with_options
from codi_int.errors import OutputError, SAEError
from codi_int.progress import rename_stage

if TYPE_CHECKING:
    from codi_int.model.hooked import CodiModel
    from codi_int.sae.activations import Activations
    from codi_int.sae.evaluate import SAEEvaluation
    from codi_int.types import Problem, Site


@dataclass(frozen=True, kw_only=True)
class EvalOptions(o.ModelOptions):
    """Which SAEs, and on what they are measured."""

    saes: Annotated[
        list[str], typer.Argument(metavar="SAE...", help="Shipped SAEs, folders in SAELens' format, folders of sweeps.")
    ]
    layer: Annotated[
        int | None, typer.Option(parser=o.whole("--layer"), metavar="N", help="For SAEs that do not know theirs.")
    ] = None
    position: Annotated[int | None, typer.Option(parser=o.whole("--position"), metavar="N", help="The same.")] = None
    splice: Annotated[
        bool, typer.Option("--splice/--no-splice", help="Run the model with every SAE in place, too.")
    ] = True
    train_data: Annotated[
        str,
        typer.Option(help="For the dead share on training rows; none leaves it out."),
    ] = "stories:sae"
    captures: s.Captures = None
    out: o.Out = None


@with_options
def evaluate(options: EvalOptions) -> None:
    """Reconstruction, sparsity, dead features, decoder structure, cost to the model, and stability under another seed.

    Two or more SAEs that differ in their seed alone are matched feature by feature.
    Example: codi-int sae eval codi-mini/L14.P3 runs/sweep
    """
    from codi_int.cli._sae_pages import evaluation_page
    from codi_int.interventions.engine.store import prepare_folder

    names = sae_names(options.saes)
    if options.out is not None:
        prepare_folder(options.out)
    with progress() as report:
        found = _run(options, names, report)
    if options.out is not None:
        _keep(found, options.out)
    if options.as_json:
        print_json(found.to_dict())
    else:
        stdout().print(evaluation_page(found))


def sae_names(given: Sequence[str]) -> tuple[str, ...]:
    """Every SAE that names and folders stand for, each once; a folder of a sweep stands for all its SAEs."""
    from codi_int.sae.store import CONFIG_FILE, bundled_saes

    names: list[str] = []
    for name in given:
        if name in bundled_saes() or not Path(name).is_dir() or (Path(name) / CONFIG_FILE).exists():
            names.append(name)
            continue
        inside = sorted(path.parent for path in Path(name).rglob(CONFIG_FILE))
        if not inside:
            raise SAEError(
                f"{name} holds no SAE: no {CONFIG_FILE} in it or below.", "Give a folder of an SAE or sweep."
            )
        names += map(str, inside)
    return tuple(dict.fromkeys(names))


def _run(options: EvalOptions, names: Sequence[str], report: Report) -> "SAEEvaluation":
    from codi_int.data.problems import load_problems
    from codi_int.model.loading import load_model
    from codi_int.sae.activations import HELD_OUT, TRAIN
    from codi_int.sae.evaluate import EvaluationData, check_saes, evaluate_saes, site_of
    from codi_int.sae.store import load_sae

    problems = load_problems(options.data, options.limit)
    training = None if options.train_data == "none" else load_problems(options.train_data, options.limit)
    saes = {name: load_sae(name, device=options.device) for name in names}
    sites = {name: site_of(name, sae, options.layer, options.position) for name, sae in saes.items()}
    model = load_model(options.model, device=options.device)
    check_saes(model, saes, sites)

    def rows(problems: "Sequence[Problem]", data: str, name: str) -> "Activations":
        return _rows(model, problems, list(dict.fromkeys(sites.values())), data, name, options.captures, report)

    data = EvaluationData(
        options.data,
        problems,
        rows(problems, options.data, HELD_OUT),
        training,
        None if training is None else rows(training, options.train_data, TRAIN),
    )
    return evaluate_saes(model, saes, sites, data, options.splice, report)


def _rows(
    model: "CodiModel",
    problems: "Sequence[Problem]",
    sites: "Sequence[Site]",
    data: str,
    name: str,
    captures: Path | None,
    report: Report,
) -> "Activations":
    from codi_int.sae.activations import activations

    tell = rename_stage(report, f"{name} thoughts")
    return activations(model, problems, sites, data, captures / name if captures else None, tell)


def _keep(found: "SAEEvaluation", out: Path) -> None:
    """`eval.json`, `eval.csv`, how often each feature fires on held-out rows (by the SAEs' names), and the figure."""
    from safetensors.torch import save_file

    from codi_int.cli._figures import keep_figures
    from codi_int.report.figures import save_figures
    from codi_int.sae.sweep_table import FREQUENCIES

    document = found.to_dict()
    try:
        (out / "eval.json").write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        with (out / "eval.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(document["saes"][0]))
            writer.writeheader()
            writer.writerows(document["saes"])
        save_file({sae.name: sae.held_out.activation_frequency.contiguous() for sae in found.saes}, out / FREQUENCIES)
    except OSError as error:
        raise OutputError(f"{out} cannot be written to: {error.strerror}.", "Free some space.") from None
    drawn = [path.name for path in save_figures(document, out) if path.suffix == ".png"]
    print(f"Kept in {out}: {', '.join(('eval.json', 'eval.csv', FREQUENCIES, *drawn))}", file=sys.stderr)
    keep_figures(document, out)
