"""`codi-int sae eval`: every measure of some SAEs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codi_int.catalog import SAE_CONFIG, is_sae
from codi_int.cli import _complete
from codi_int.cli import _options as o
from codi_int.cli._console import Report
from codi_int.cli._job import Kept, run_folder, run_job
from codi_int.cli._signature import with_options
from codi_int.errors import SAEError
from codi_int.files import replace_file, write_csv, write_json
from codi_int.progress import rename_stage
from codi_int.run_folder import RunFolder

if TYPE_CHECKING:
    from codi_int.sae.activations import Activations
    from codi_int.sae.evaluate import SAEEvaluation
    from codi_int.types import Problem


@dataclass(frozen=True, kw_only=True)
class EvalOptions(o.KeptOptions):
    """Which SAEs, and on what they are measured."""

    saes: Annotated[
        list[str],
        typer.Argument(
            metavar="SAE...",
            autocompletion=_complete.saes,
            help="Shipped SAEs, folders in SAELens' format, folders of sweeps.",
        ),
    ]
    layer: o.OwnLayer = None
    position: o.OwnPosition = None
    splice: Annotated[
        bool, o.evidence("--splice/--no-splice", help="Run the model with every SAE spliced in, too.")
    ] = True
    train_data: Annotated[
        str,
        o.evidence(metavar="NAME", help="For the dead share on training rows; none leaves it out."),
    ] = "stories:sae"
    captures: o.Captures = None


@with_options
def evaluate(options: EvalOptions) -> None:
    """Reconstruction, sparsity, dead features, decoder structure, cost to the model, and stability under another seed.

    Two or more SAEs that differ in their seed alone are matched feature by feature.
    Example: codi-int sae eval codi-mini/L14.P3 runs/sweep
    """
    from codi_int.cli._sae_pages import evaluation_page

    names = sae_names(options.saes)
    folder = run_folder(options)
    run_job(
        lambda report: _run(options, names, folder, report),
        document=lambda found: found.to_dict(),
        page=evaluation_page,
        as_json=options.as_json,
        out=folder,
        keep=_keep,
    )


def sae_names(given: Sequence[str]) -> tuple[str, ...]:
    """Every SAE that names and folders stand for, each once; a folder of a sweep stands for all its SAEs."""
    names: list[str] = []
    for name in given:
        if is_sae(name) or not Path(name).is_dir():
            names.append(name)
            continue
        # sorted, for the order in which a disk lists folders differs between machines, and the table's would with it
        inside = sorted(path.parent for path in Path(name).rglob(SAE_CONFIG))
        if not inside:
            raise SAEError(f"{name} holds no SAE: no {SAE_CONFIG} in it or below.", "Give a folder of an SAE or sweep.")
        names += map(str, inside)
    return tuple(dict.fromkeys(names))


def _run(options: EvalOptions, names: Sequence[str], folder: RunFolder, report: Report) -> "SAEEvaluation":
    from codi_int.data.problems import load_problems, problems_sha256
    from codi_int.model.loading import load_model
    from codi_int.sae.activations import HELD_OUT, TRAIN, activations
    from codi_int.sae.evaluate import EvaluationData, check_saes, evaluate_saes, site_of
    from codi_int.sae.store import load_sae

    problems = load_problems(options.data, options.limit)
    # one capture is not enough for the dead share: "dead" means silent on the rows that it was trained on
    training = None if options.train_data == "none" else load_problems(options.train_data, options.limit)
    saes = {name: load_sae(name, device=options.device) for name in names}
    sites = {name: site_of(name, sae, options.layer, options.position) for name, sae in saes.items()}
    model = load_model(options.model, device=options.device)
    check_saes(model, saes, sites)
    folder.claim(
        model=model.sha256,
        sae=", ".join(sae.sha256 for sae in saes.values()),
        data=problems_sha256(problems),
        train_data="" if training is None else problems_sha256(training),
    )

    # each site once: SAEs of one site share its rows; of a transcoder the site that it rebuilds as well
    targets = [sae.target for sae in saes.values() if sae.target is not None]
    places = list(dict.fromkeys([*sites.values(), *targets]))

    def rows(problems: "Sequence[Problem]", data: str, name: str) -> "Activations":
        return activations(
            model,
            problems,
            places,
            data=data,
            folder=options.captures / name if options.captures else None,
            progress=rename_stage(report, f"{name} thoughts"),
        )

    data = EvaluationData(
        name=options.data,
        problems=problems,
        held_out=rows(problems, options.data, HELD_OUT),
        train_problems=training,
        train=None if training is None else rows(training, options.train_data, TRAIN),
    )
    return evaluate_saes(model, saes, sites, data, splice=options.splice, progress=report)


def _keep(found: "SAEEvaluation", out: Path) -> Kept:
    """`eval.json`, `eval.csv`, how often each feature fires on held-out rows (by the SAEs' names), and the figure."""
    from safetensors.torch import save_file

    from codi_int.sae.sweep_table import FREQUENCIES

    document = found.to_dict()
    write_json(out / "eval.json", document, indent=2)
    # rows of transcoders have more columns than others
    columns = dict.fromkeys(name for row in document["saes"] for name in row)
    write_csv(out / "eval.csv", document["saes"], list(columns))
    # contiguous: safetensors refuses views, and a row of a stacked tensor is one
    rates = {sae.name: sae.held_out.activation_frequency.contiguous() for sae in found.saes}
    needs = sum(tensor.nbytes for tensor in rates.values())
    replace_file(out / FREQUENCIES, lambda part: save_file(rates, part), needs=needs)
    return Kept(("eval.json", "eval.csv", FREQUENCIES), [(document, out)])
