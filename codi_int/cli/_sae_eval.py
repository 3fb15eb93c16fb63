"""What `codi-int sae eval` does once its options are read. Loaded when it runs, for it is heavy."""

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from codi_int.cli._console import Report, print_json, progress, stdout
from codi_int.cli._sae_pages import evaluation_page
from codi_int.data.problems import load_problems
from codi_int.errors import OutputError, SAEError
from codi_int.interventions.engine.store import prepare_folder
from codi_int.model.hooked import CodiModel
from codi_int.model.loading import load_model
from codi_int.report.figures import save_figures
from codi_int.sae.activations import HELD_OUT, TRAIN, Activations, activations
from codi_int.sae.evaluate import EvaluationData, SAEEvaluation, check_saes, evaluate_saes, site_of
from codi_int.sae.store import CONFIG_FILE, bundled_saes, load_sae
from codi_int.sae.sweep_table import FREQUENCIES
from codi_int.types import Problem, Site


@dataclass(frozen=True)
class EvalSetting:
    """What the options say."""

    saes: tuple[str, ...]
    """names and folders"""
    layer: int | None
    """block of SAEs that do not know theirs"""
    position: int | None
    """their position"""
    splice: bool
    """whether to run the model with every SAE in place"""
    train_data: str
    """problems for the dead share on training rows, or none"""
    captures: Path | None
    """folder of captures"""
    model: str
    """name or folder"""
    data: str
    """held-out problems"""
    limit: int | None
    """how many of each"""
    device: str
    """where to run"""
    as_json: bool
    """whether to print JSON"""
    out: Path | None
    """where to keep the tables"""


def evaluate_and_print(setting: EvalSetting) -> None:
    """Measure as the options say, keep and print."""
    names = sae_names(setting.saes)
    if setting.out is not None:
        prepare_folder(setting.out)
    with progress() as report:
        found = _run(setting, names, report)
    if setting.out is not None:
        _keep(found, setting.out)
    if setting.as_json:
        print_json(found.to_dict())
    else:
        stdout().print(evaluation_page(found))


def sae_names(given: Sequence[str]) -> tuple[str, ...]:
    """Every SAE that names and folders stand for, each once; a folder of a sweep stands for all its SAEs."""
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


def _run(setting: EvalSetting, names: Sequence[str], report: Report) -> SAEEvaluation:
    problems = load_problems(setting.data, setting.limit)
    training = None if setting.train_data == "none" else load_problems(setting.train_data, setting.limit)
    saes = {name: load_sae(name, device=setting.device) for name in names}
    sites = {name: site_of(name, sae, setting.layer, setting.position) for name, sae in saes.items()}
    model = load_model(setting.model, device=setting.device)
    check_saes(model, saes, sites)

    def rows(problems: Sequence[Problem], data: str, name: str) -> Activations:
        return _rows(model, problems, list(dict.fromkeys(sites.values())), data, name, setting.captures, report)

    data = EvaluationData(
        setting.data, problems, rows(problems, setting.data, HELD_OUT), training,
        None if training is None else rows(training, setting.train_data, TRAIN),
    )  # fmt: skip
    return evaluate_saes(model, saes, sites, data, setting.splice, report)


def _rows(
    model: CodiModel, problems: Sequence[Problem], sites: Sequence[Site], data: str, name: str, captures: Path | None,
    report: Report,
) -> Activations:  # fmt: skip
    def tell(done: int, total: int) -> None:
        report(f"{name} thoughts", done, total)

    return activations(model, problems, sites, data, captures / name if captures else None, tell)


def _keep(found: SAEEvaluation, out: Path) -> None:
    """`eval.json`, `eval.csv`, how often each feature fires on held-out rows (by the SAEs' names), and the figure."""
    from codi_int.cli._figures import keep_figures

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
