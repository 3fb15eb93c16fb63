"""What `codi-int patch` does once its options are read. Loaded when it runs, for it is heavy."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codi_int.cli._console import Report, print_json, progress, stdout
from codi_int.cli._intervene import default_sae
from codi_int.cli._prediction_pages import contrast_page, predicted_page
from codi_int.cli.patch import PatchOptions
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
class _Trial:
    """One set of pairs, ready to run."""

    pairing: Pairing
    """the pairs"""
    people: Participants
    """their problems"""
    predictions: Predictions
    """what should become of them; nothing without a step"""


def print_patch(options: PatchOptions) -> None:
    """Run a patch, or two, as the options say, keep it where they ask for it, and print it."""
    sites = _checked_sites(options)
    problems = load_problems(options.data, options.limit)
    trials = [_trial(options, problems, kind) for kind in _kinds(options)]
    if options.out is not None:
        prepare_folder(options.out)
    with progress() as report:
        results = _run(options, sites, trials, report)
    contrast = contrast_values(results[0], results[1]) if len(results) == 2 else None
    if options.out is not None:
        _keep(options, results, options.out)
        if contrast is not None:
            save_contrast(contrast, options.out)
    if options.as_json and len(results) == 1:
        print_json(results[0].to_dict())
    elif options.as_json:
        print_json({**family_of(results).to_dict(), "contrast": contrast and contrast.to_dict()})
    elif len(results) == 1:
        stdout().print(predicted_page(results[0], trials[0].pairing))
    else:
        stdout().print(contrast_page(results, [trial.pairing for trial in trials], contrast))


def _checked_sites(options: PatchOptions) -> tuple[Site, ...]:
    """The sites, where the options agree with one another; ConfigError where they do not."""
    for name, value, known in (("--what", options.what, WHAT), ("--auto", options.auto, (None, *AUTO))):
        if value not in known:
            raise ConfigError(f"{name} {value!r} does not exist.", f"It is one of {', '.join(filter(None, known))}.")
    if (options.pairs is None) == (options.auto is None):
        got = "neither" if options.pairs is None else "both"
        raise ConfigError(f"A patch takes its pairs from --pairs FILE or --auto KIND; got {got}.", "Give one of them.")
    if options.auto is not None and options.step is None:
        raise ConfigError(
            f"--auto {options.auto} compares the results of a step, and --step is missing.", "Write --step 1."
        )
    if options.features and options.what != "features":
        raise ConfigError(f"--feature goes with --what features, not with --what {options.what}.")
    thought = options.what == "thought"
    if bool(options.layers) == thought:
        raise ConfigError(
            f"--what {options.what} {'belongs to no layer' if thought else 'needs a layer'}.",
            "Leave --layer out." if thought else "Write --layer 14, or --what thought.",
        )
    if options.what == "features" and len(options.layers) * len(options.positions) > 1:
        raise ConfigError(
            f"--what features takes one site, got layers {list(options.layers)} and positions "
            f"{list(options.positions)}.",
            "Each site has features of its own; name one layer and one position.",
        )
    if thought:
        return tuple(Site(None, position, "thought") for position in options.positions)
    return tuple(Site(layer, position) for position in options.positions for layer in options.layers)


def _kinds(options: PatchOptions) -> tuple[str | None, ...]:
    """Which sets of pairs are wanted; None for the file."""
    return KINDS if options.auto == "both" else (options.auto,)


def _trial(options: PatchOptions, problems: Sequence[Problem], kind: str | None) -> _Trial:
    """The pairs with their predictions, refused where they could show nothing."""
    if kind is not None and options.step is not None:
        pairing = find_pairs(problems, kind, options.step, options.seed)
    else:
        assert options.pairs is not None
        pairing = read_pairs(options.pairs, problems)
    people = participants(problems, pairing)
    if options.step is None:
        return _Trial(pairing, people, name_sources(people.problems, people.sources))
    predictions = predict_patch(people.problems, people.sources, options.step)
    if kind is None and not predictions.n_informative:
        raise ConfigError(
            f"No pair of {options.pairs} predicts another answer by the result of step {options.step}.",
            "Pair problems whose results differ in that step, or leave out --step.",
        )
    if kind != "same" and not options.underpowered:
        check_power(predictions.n_informative, "pairs predict another answer")
    return _Trial(pairing, people, predictions)


def _run(
    options: PatchOptions, sites: Sequence[Site], trials: Sequence[_Trial], report: Report
) -> list[PredictedResult]:
    model = load_model(options.model, device=options.device)
    for site in sites:
        model.check_site(site)
    features = options.features if options.what == "features" else None
    name = None if features is None else options.sae or default_sae(options.model, str(sites[0]))
    sae = None if name is None else load_sae(name, device=options.device)
    engine = FeatureInterventionEngine(model, dict.fromkeys(sites, sae))
    return [
        run_patch(
            engine, trial.people, sites, trial.predictions, features, options.controls, options.seed, options.data,
            name, report,
        )
        for trial in trials
    ]  # fmt: skip


def _keep(options: PatchOptions, results: Sequence[PredictedResult], out: Path) -> None:
    from codi_int.cli._figures import keep_figures

    command = ["codi-int", *sys.argv[1:]]
    folders = [out / kind for kind in KINDS] if len(results) == 2 else [out]
    for result, folder in zip(results, folders, strict=True):
        save_predicted(result, folder, command)
    print(f"Kept in {options.out}: result.json, outcomes.parquet, predictions.parquet, manifest.json", file=sys.stderr)
    for result, folder in zip(results, folders, strict=True):
        keep_figures(result.to_dict(), folder)
