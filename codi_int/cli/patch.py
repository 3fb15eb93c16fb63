"""`codi-int patch`: put a piece of one problem's thoughts into another's and see what becomes of the answers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from codi_int.cli import _choices as c
from codi_int.cli import _complete
from codi_int.cli import _options as o
from codi_int.cli._console import Report
from codi_int.cli._job import Kept, command_line, run_folder, run_job, units_of
from codi_int.cli._patched import Found, Trial
from codi_int.cli._signature import with_options
from codi_int.errors import ConfigError
from codi_int.files import write_json
from codi_int.run_folder import UNITS_NOTE, RunFolder

FOLDS, CONFIRMED = "folds", "confirmation.json"

if TYPE_CHECKING:
    from codi_int.cli._fitting import Page
    from codi_int.interventions.engine.engine import FeatureInterventionEngine
    from codi_int.interventions.patching.pairs import Pairing
    from codi_int.types import Problem, Site


@dataclass(frozen=True, kw_only=True)
class PatchOptions(o.RunOptions):
    """What moves from where, and what should come out."""

    what: Annotated[
        c.What, o.what(metavar="WHAT", help="residual, thought (the whole vector that is fed next) or features.")
    ] = "residual"
    features: Annotated[
        tuple[int, ...],
        o.what(
            "--feature",
            metavar="N",
            help="With --what features: only these, 3-6,9.  [default: all]",
            autocompletion=_complete.features,
        ),
        o.parse_features,
    ] = ()
    layers: o.Layers = ()
    positions: o.Positions = (3,)
    component: o.Component = "resid_post"
    pairs: Annotated[
        Path | None,
        o.what(metavar="FILE", help="A .jsonl or .csv file with the columns target and source (problem ids)."),
    ] = None
    auto: Annotated[
        c.PairKind | None, o.what(help="Find pairs whose results of --step are the same, different, or both in turn.")
    ] = None
    step: Annotated[
        int | None,
        o.what(
            parser=o.whole("--step", least=1), metavar="N", help="The step, from 1, whose result is thought to move."
        ),
    ] = None
    shared_operands: Annotated[
        bool, o.what("--shared-operands", help="Let pairs of the same result share operands of the step.")
    ] = False
    confirm: Annotated[
        str,
        o.evidence(
            metavar="NAME",
            help="Where what is found is tested again: default (with --auto: stories:confirmation for stories, else "
            "folds), folds, none, or other problems.",
            autocompletion=_complete.data,
        ),
    ] = "default"
    underpowered: Annotated[bool, o.evidence("--underpowered", help="Run even with too few problems.")] = False
    later: o.Later = "free"
    sae: o.Sae = None
    controls: Annotated[
        int,
        o.evidence(
            parser=o.whole("--controls", least=0),
            metavar="N",
            help="Draws of sources with a third value (without --step: random ones).",
        ),
    ] = 20


@with_options
def patch(options: PatchOptions) -> None:
    """Put a piece of one problem's thoughts into another's; with --step, say beforehand what should come out.

    Pairs that --auto finds are found and patched again in stories:confirmation, where nobody looked for a site; in
    other data they are found in two folds that confirm each other.

    Example: codi-int patch --what thought --position 1 --auto both --step 1
    """
    from codi_int.cli._prediction_pages import confirmed_page, contrast_page, predicted_page
    from codi_int.data.problems import load_problems

    sites = _checked_sites(options)
    problems = load_problems(options.data, options.limit)
    # pairs are found before the model is loaded: too few of them is the commonest error, and it needs no weights
    plan = _plan(options, problems)

    def page(found: Found) -> "Page":
        pages = [one for one in (found, found.again) if one is not None]
        return confirmed_page(
            [
                predicted_page(one.results[0], one.trials[0].pairing)
                if len(one.results) == 1
                else contrast_page(one.results, [trial.pairing for trial in one.trials], one.contrast)
                for one in pages
            ],
            found.confirmation_words(),
        )

    folder = run_folder(options, own=(UNITS_NOTE,))
    run_job(
        lambda report: _run_both(options, sites, plan, folder, report),
        document=Found.document,
        page=page,
        as_json=options.as_json,
        out=folder,
        keep=_keep,
    )


def _checked_sites(options: PatchOptions) -> "tuple[Site, ...]":
    """The sites, where the options agree with one another; ConfigError where they do not."""
    from codi_int.types import Site

    if (options.pairs is None) == (options.auto is None):
        got = "neither" if options.pairs is None else "both"
        raise ConfigError(f"A patch takes its pairs from --pairs FILE or --auto KIND; got {got}.", "Give one of them.")
    if options.auto is not None and options.step is None:
        raise ConfigError(
            f"--auto {options.auto} compares the results of a step, and --step is missing.", "Write --step 1."
        )
    if options.features and options.what != "features":
        raise ConfigError(
            f"--feature goes with --what features, not with --what {options.what}.",
            "Write --what features, or leave --feature out.",
        )
    thought = options.what == "thought"
    # a thought belongs to no layer, the other two need one: exactly one of the two may hold
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
    if thought and options.component != "resid_post":
        raise ConfigError(
            f"--what thought is a component of its own, and --component {options.component} is another.",
            "Leave one of the two out.",
        )
    if thought:
        return tuple(Site(None, position, "thought") for position in options.positions)
    component = options.component
    return tuple(Site(layer, position, component) for position in options.positions for layer in options.layers)


def _kinds(options: PatchOptions) -> tuple[str | None, ...]:
    """Which sets of pairs are wanted; None for the file."""
    from codi_int.interventions.patching.pairs import KINDS

    return KINDS if options.auto == "both" else (options.auto,)


@dataclass(frozen=True)
class _Plan:
    """What is run, and what confirms it."""

    trials: Sequence[Trial]
    """one, or one for either kind of pairs"""
    again: Sequence[Trial] = ()
    """the same on a set of its own that confirms"""
    folds: "Sequence[frozenset[str]]" = ()
    """ids of the problems of two folds that confirm each other"""
    notes: tuple[str, ...] = ()
    """why nothing confirms, where something should"""


def _plan(options: PatchOptions, problems: "Sequence[Problem]") -> _Plan:
    """Pairs of the problems, and of those that confirm."""
    from codi_int.interventions.screens.sides import DEFAULT, NONE, SelectionPlan, take_sides

    if options.auto is None:
        if options.confirm not in (DEFAULT, NONE, FOLDS):
            raise ConfigError(
                f"--confirm {options.confirm} needs pairs that can be found there, and --pairs names those of a file.",
                "Use --auto, or give --confirm folds or none.",
            )
        # a file was written by somebody who knows what is in it: folds only where they are asked for
        return _in_folds(options, problems) if options.confirm == FOLDS else _alone(options, problems)
    sides = take_sides(problems, SelectionPlan(confirm=options.confirm))
    if sides.confirming is not None:
        again = [_trial(options, sides.confirming, kind) for kind in _kinds(options)]
        return _Plan(_alone(options, problems).trials, again)
    if sides.folds is None:
        return replace(_alone(options, problems), notes=sides.notes)
    try:
        return _in_folds(options, problems)
    except ConfigError as error:
        if options.confirm == FOLDS:
            raise
        return replace(_alone(options, problems), notes=(f"Nothing is confirmed. {str(error).splitlines()[0]}",))


def _alone(options: PatchOptions, problems: "Sequence[Problem]") -> _Plan:
    return _Plan([_trial(options, problems, kind) for kind in _kinds(options)])


def _in_folds(options: PatchOptions, problems: "Sequence[Problem]") -> _Plan:
    """Pairs none of which lies in both folds."""
    from codi_int.interventions.patching.claims import file_pairs_in_folds, pairs_in_folds

    trials, ids = [], []
    for kind in _kinds(options):
        if kind is None:
            found = file_pairs_in_folds(problems, _pairing(options, problems, kind))
        else:
            found = pairs_in_folds(problems, partial(_pairing, options, kind=kind))
        trials.append(_trial(options, problems, kind, found.pairing))
        ids.append(found.ids)
    return _Plan(trials, folds=ids[0])


def _pairing(options: PatchOptions, problems: "Sequence[Problem]", kind: str | None) -> "Pairing":
    from codi_int.interventions.patching.pairs import find_pairs, read_pairs

    if kind is not None and options.step is not None:
        return find_pairs(problems, kind, options.step, options.seed, options.shared_operands)
    assert options.pairs is not None
    return read_pairs(options.pairs, problems)


def _trial(
    options: PatchOptions, problems: "Sequence[Problem]", kind: str | None, pairing: "Pairing | None" = None
) -> Trial:
    """The pairs (those given, else found) with their predictions, refused where they could show nothing."""
    from codi_int.interventions.patching.patch import participants
    from codi_int.interventions.patching.predicted import check_power
    from codi_int.interventions.patching.predictions import name_sources, predict_patch

    pairing = _pairing(options, problems, kind) if pairing is None else pairing
    found = participants(problems, pairing, options.step)
    if options.step is None:
        return Trial(pairing, found, name_sources(found.problems, found.sources))
    predictions = predict_patch(found.problems, found.sources, options.step)
    if kind is None and not predictions.n_informative:
        raise ConfigError(
            f"No pair of {options.pairs} predicts another answer by the result of step {options.step}.",
            "Pair problems whose results differ in that step, or leave out --step.",
        )
    # pairs of the same value predict no other answer, so there is nothing that they could be too few for
    if kind != "same" and not options.underpowered:
        check_power(predictions.n_informative, "pairs predict another answer")
    return Trial(pairing, found, predictions)


def _run_both(options: PatchOptions, sites: "Sequence[Site]", plan: _Plan, folder: RunFolder, report: Report) -> Found:
    """The patch, and what the problems that confirm say of it."""
    from codi_int.cli._sites import open_model, saes_for
    from codi_int.data.problems import problems_sha256
    from codi_int.interventions.kept_scores import ResumingEngine
    from codi_int.interventions.patching.claims import confirm_claims, read_claims
    from codi_int.sae.store import load_sae

    model = open_model(options.model, options.device)
    for site in sites:
        model.check_site(site)
    features = options.features if options.what == "features" else None
    name = None if features is None else saes_for(options.model, options.sae, sites)[sites[0]]
    sae = None if name is None else load_sae(name, device=options.device)
    everybody = [problem for trial in (*plan.trials, *plan.again) for problem in trial.participants.problems]
    sources = str([trial.participants.sources for trial in (*plan.trials, *plan.again)])
    folder.claim(
        model=model.sha256,
        sae="" if sae is None else sae.sha256,
        data=problems_sha256(everybody),
        pairs=sha256(sources.encode()).hexdigest(),
    )
    # one engine for both kinds of pairs, so that they differ in the pairs and in nothing else
    engine = ResumingEngine(model, dict.fromkeys(sites, sae), memory_budget=options.memory_budget)
    engine.files = units_of(folder)
    found = replace(_run(options, engine, sites, plan.trials, (name, report)), notes=plan.notes)
    if plan.folds:
        claims = [read_claims(found.parts(), fold) for fold in plan.folds]
        # each fold finds, and the other one confirms
        return replace(found, claims=confirm_claims(claims, claims[::-1]), confirmed_on=FOLDS)
    if not plan.again:
        return found
    again = _run(options, engine, sites, plan.again, (name, report))
    claims = [read_claims(one.parts()) for one in (found, again)]
    where = again.results[0].experiment.data
    return replace(found, again=again, claims=confirm_claims(claims[:1], claims[1:]), confirmed_on=where)


def _run(
    options: PatchOptions,
    engine: "FeatureInterventionEngine",
    sites: "Sequence[Site]",
    trials: Sequence[Trial],
    more: tuple[str | None, Report],
) -> Found:
    """All trials on their problems; `more` is the name of the SAE and what shows progress."""
    from codi_int.data.problems import name_of_problems
    from codi_int.interventions.engine.summary import family_of
    from codi_int.interventions.patching.patch import contrast_values, run_patch

    name, report = more
    results = [
        run_patch(
            engine,
            trial.participants,
            sites,
            predictions=trial.predictions,
            features=options.features if options.what == "features" else None,
            controls=options.controls,
            seed=options.seed,
            data=name_of_problems(trial.participants.problems),
            sae_name=name,
            progress=report,
        )
        for trial in trials
    ]
    if len(results) != 2:
        return Found(results, trials, None)
    everybody = {p.id: p for trial in trials for p in trial.participants.problems}
    contrast = contrast_values(results[0], results[1], problems=list(everybody.values()))
    # two tests of one question are a family: what is kept of each is what the page says of it
    return Found(cast(Any, family_of(results).results), trials, contrast)


def _keep(found: Found, out: Path) -> Kept:
    """Each result in a folder of its own where there are two, and beside them how they compare."""
    from codi_int.interventions.patching.pairs import KINDS
    from codi_int.interventions.patching.predicted_store import CONTRAST, save_contrast, save_predicted

    if found.confirmed_on is not None:
        write_json(out / CONFIRMED, found.document()["confirmation"], indent=1)
    also = [] if found.confirmed_on is None else [CONFIRMED]
    folders = [out / kind for kind in KINDS] if len(found.results) == 2 else [out]
    for result, folder in zip(found.results, folders, strict=True):
        save_predicted(result, folder, command_line())
    if found.contrast is not None:
        save_contrast(found.contrast, out)
    names = ("result.json", "outcomes.parquet", "predictions.parquet", "manifest.json")
    files = also + [str((folder / name).relative_to(out)) for folder in folders for name in names]
    drawings = [(result.to_dict(), folder) for result, folder in zip(found.results, folders, strict=True)]
    return Kept(names, drawings, [*files, CONTRAST] if len(found.results) == 2 else files)
