"""What `codi-int patch` does once its options are read. Loaded when it runs, for it is heavy."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codi_int.cli._console import Report, print_json, progress, stdout
from codi_int.cli._intervene import default_sae
from codi_int.cli._prediction_pages import contrast_page, predicted_page
from codi_int.data.problems import load_problems
from codi_int.errors import ConfigError
from codi_int.interventions.engine.engine import FeatureInterventionEngine
from codi_int.interventions.engine.store import prepare_folder
from codi_int.interventions.engine.summary import family_of
from codi_int.interventions.patching.pairs import KINDS, Pairing, find_pairs, read_pairs
from codi_int.interventions.patching.patch import Participants, contrast_values, participants, run_patch
from codi_int.interventions.patching.predicted import PredictedResult, check_power
from codi_int.interventions.patching.predicted_store import save_contrast, save_predicted
from codi_int.interventions.patching.predictions import Predictions, name_sources, predict_patch
from codi_int.model.loading import load_model
from codi_int.sae.store import load_sae
from codi_int.types import Problem, Site

WHAT = ("residual", "thought", "features")
AUTO = (*KINDS, "both")


@dataclass(frozen=True)
class PatchSetting:
    """What the options say."""

    what: str
    """residual, thought or features"""
    layers: tuple[int, ...]
    """blocks; none for a thought"""
    positions: tuple[int, ...]
    """thought positions"""
    features: tuple[int, ...]
    """which features; none for all"""
    pairs: Path | None
    """a file of pairs"""
    auto: str | None
    """or how to find them"""
    step: int | None
    """whose result is thought to move, from 1"""
    underpowered: bool
    """whether too few problems will do"""
    model: str
    """name or folder"""
    sae: str | None
    """name or folder; None for the one that belongs to model, layer and position"""
    data: str
    """name or file"""
    limit: int | None
    """how many problems"""
    seed: int
    """of pairs and controls"""
    controls: int
    """draws of random sources"""
    device: str
    """where to run"""
    as_json: bool
    """whether to print JSON"""
    out: Path | None
    """where to keep the run"""


@dataclass(frozen=True)
class _Trial:
    """One set of pairs, ready to run."""

    pairing: Pairing
    """the pairs"""
    people: Participants
    """their problems"""
    predictions: Predictions
    """what should become of them; nothing without a step"""


def print_patch(setting: PatchSetting) -> None:
    """Run a patch, or two, as the options say, keep it where they ask for it, and print it."""
    sites = _checked_sites(setting)
    problems = load_problems(setting.data, setting.limit)
    trials = [_trial(setting, problems, kind) for kind in _kinds(setting)]
    if setting.out is not None:
        prepare_folder(setting.out)
    with progress() as report:
        results = _run(setting, sites, trials, report)
    contrast = contrast_values(results[0], results[1]) if len(results) == 2 else None
    if setting.out is not None:
        _keep(setting, results, setting.out)
        if contrast is not None:
            save_contrast(contrast, setting.out)
    if setting.as_json and len(results) == 1:
        print_json(results[0].to_dict())
    elif setting.as_json:
        print_json({**family_of(results).to_dict(), "contrast": contrast and contrast.to_dict()})
    elif len(results) == 1:
        stdout().print(predicted_page(results[0], trials[0].pairing))
    else:
        stdout().print(contrast_page(results, [trial.pairing for trial in trials], contrast))


def _checked_sites(setting: PatchSetting) -> tuple[Site, ...]:
    """The sites, where the options agree with one another; ConfigError where they do not."""
    for name, value, known in (("--what", setting.what, WHAT), ("--auto", setting.auto, (None, *AUTO))):
        if value not in known:
            raise ConfigError(f"{name} {value!r} does not exist.", f"It is one of {', '.join(filter(None, known))}.")
    if (setting.pairs is None) == (setting.auto is None):
        got = "neither" if setting.pairs is None else "both"
        raise ConfigError(f"A patch takes its pairs from --pairs FILE or --auto KIND; got {got}.", "Give one of them.")
    if setting.auto is not None and setting.step is None:
        raise ConfigError(
            f"--auto {setting.auto} compares the results of a step, and --step is missing.", "Write --step 1."
        )
    if setting.features and setting.what != "features":
        raise ConfigError(f"--feature goes with --what features, not with --what {setting.what}.")
    thought = setting.what == "thought"
    if bool(setting.layers) == thought:
        raise ConfigError(
            f"--what {setting.what} {'belongs to no layer' if thought else 'needs a layer'}.",
            "Leave --layer out." if thought else "Write --layer 14, or --what thought.",
        )
    if setting.what == "features" and len(setting.layers) * len(setting.positions) > 1:
        raise ConfigError(
            f"--what features takes one site, got layers {list(setting.layers)} and positions "
            f"{list(setting.positions)}.",
            "Each site has features of its own; name one layer and one position.",
        )
    if thought:
        return tuple(Site(None, position, "thought") for position in setting.positions)
    return tuple(Site(layer, position) for position in setting.positions for layer in setting.layers)


def _kinds(setting: PatchSetting) -> tuple[str | None, ...]:
    """Which sets of pairs are wanted; None for the file."""
    return KINDS if setting.auto == "both" else (setting.auto,)


def _trial(setting: PatchSetting, problems: Sequence[Problem], kind: str | None) -> _Trial:
    """The pairs with their predictions, refused where they could show nothing."""
    if kind is not None and setting.step is not None:
        pairing = find_pairs(problems, kind, setting.step, setting.seed)
    else:
        assert setting.pairs is not None
        pairing = read_pairs(setting.pairs, problems)
    people = participants(problems, pairing)
    if setting.step is None:
        return _Trial(pairing, people, name_sources(people.problems, people.sources))
    predictions = predict_patch(people.problems, people.sources, setting.step)
    if kind is None and not predictions.n_informative:
        raise ConfigError(
            f"No pair of {setting.pairs} predicts another answer by the result of step {setting.step}.",
            "Pair problems whose results differ in that step, or leave out --step.",
        )
    if kind != "same" and not setting.underpowered:
        check_power(predictions.n_informative, "pairs predict another answer")
    return _Trial(pairing, people, predictions)


def _run(
    setting: PatchSetting, sites: Sequence[Site], trials: Sequence[_Trial], report: Report
) -> list[PredictedResult]:
    model = load_model(setting.model, device=setting.device)
    for site in sites:
        model.check_site(site)
    features = setting.features if setting.what == "features" else None
    name = None if features is None else setting.sae or default_sae(setting.model, str(sites[0]))
    sae = None if name is None else load_sae(name, device=setting.device)
    engine = FeatureInterventionEngine(model, dict.fromkeys(sites, sae))
    return [
        run_patch(
            engine, trial.people, sites, trial.predictions, features, setting.controls, setting.seed, setting.data,
            name, report,
        )
        for trial in trials
    ]  # fmt: skip


def _keep(setting: PatchSetting, results: Sequence[PredictedResult], out: Path) -> None:
    from codi_int.cli._figures import keep_figures

    command = ["codi-int", *sys.argv[1:]]
    folders = [out / kind for kind in KINDS] if len(results) == 2 else [out]
    for result, folder in zip(results, folders, strict=True):
        save_predicted(result, folder, command)
    print(f"Kept in {setting.out}: result.json, outcomes.parquet, predictions.parquet, manifest.json", file=sys.stderr)
    for result, folder in zip(results, folders, strict=True):
        keep_figures(result.to_dict(), folder)
