"""`codi-int patch`: put a piece of one problem's thoughts into another's and see what becomes of the answers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from codi_int.cli import _choices as c
from codi_int.cli import _complete
from codi_int.cli import _options as o
from codi_int.cli._console import Report
from codi_int.cli._job import Kept, command_line, run_folder, run_job
from codi_int.cli._signature import with_options
from codi_int.errors import ConfigError
from codi_int.files import write_json
from codi_int.run_folder import RunFolder

ALPHA, FOLDS, CONFIRMED = 0.05, "folds", "confirmation.json"

if TYPE_CHECKING:
    from codi_int.cli._fitting import Page
    from codi_int.interventions.engine.engine import FeatureInterventionEngine
    from codi_int.interventions.patching.pairs import Pairing
    from codi_int.interventions.patching.patch import Participants, ValueContrast
    from codi_int.interventions.patching.predicted import PredictedResult
    from codi_int.interventions.patching.predictions import Predictions
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
            help="Where the same patch is run again: default (stories:confirmation for stories with --auto), none, or "
            "other problems.",
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

    Pairs that --auto finds are found and patched again in stories:confirmation, where nobody looked for a site.

    Example: codi-int patch --what thought --position 1 --auto both --step 1
    """
    from codi_int.cli._prediction_pages import confirmed_page, contrast_page, predicted_page
    from codi_int.data.problems import load_problems

    sites = _checked_sites(options)
    problems = load_problems(options.data, options.limit)
    # pairs are found before the model is loaded: too few of them is the commonest error, and it needs no weights
    sides = _sides(options, problems)
    trials = [_trial(options, problems, kind) for kind in _kinds(options)]
    again = [] if sides is None else [_trial(options, sides, kind) for kind in _kinds(options)]

    def page(found: _Found) -> "Page":
        pages = [one for one in (found, found.again) if one is not None]
        return confirmed_page(
            [
                predicted_page(one.results[0], one_trials[0].pairing)
                if len(one.results) == 1
                else contrast_page(one.results, [trial.pairing for trial in one_trials], one.contrast)
                for one, one_trials in zip(pages, (trials, again), strict=False)
            ],
            found.confirmation_words(),
        )

    folder = run_folder(options)
    run_job(
        lambda report: _run_both(options, sites, (trials, again), folder, report),
        document=_Found.document,
        page=page,
        as_json=options.as_json,
        out=folder,
        keep=_keep,
    )


@dataclass(frozen=True)
class _Found:
    """One patch, or one from pairs of the same value beside one from pairs of another."""

    results: "Sequence[PredictedResult]"
    """one, or two in the order of `KINDS`"""
    contrast: "ValueContrast | None"
    """how the two compare; None where there is one"""
    again: "_Found | None" = None
    """the same patch on problems that selected nothing; None where nothing is confirmed"""

    def document(self) -> dict[str, Any]:
        """Plain JSON types."""
        from codi_int.interventions.engine.summary import family_of

        if len(self.results) == 1:
            found = self.results[0].to_dict()
        else:
            found = {**family_of(self.results).to_dict(), "contrast": self.contrast and self.contrast.to_dict()}
        if self.again is None:
            return found
        return {**found, "confirmation": {**self.again.document(), "confirmed": self.claims_confirmed()}}

    def claims(self) -> "dict[str, tuple[float, float | None]]":
        """What is claimed, by name: its size and its p-value."""
        found: dict[str, tuple[float, float | None]] = {}
        for result in self.results:
            if (test := result.prediction) is not None and test.n_tested:
                found["the prediction"] = ((test.n_hits - test.n_hits_clean) / test.n_tested, test.p_value)
        if self.contrast is not None:
            found["the difference between values"] = (self.contrast.estimate, self.contrast.p_value)
        return found

    def claims_confirmed(self) -> dict[str, bool]:
        """Claims that the first problems found, and whether the others confirm them (Holm, same sign)."""
        from codi_int.interventions.evidence.confirmation import Candidate, confirm

        if self.again is None:
            return {}
        there = self.again.claims()
        (found,) = confirm(
            [
                [
                    Candidate(name, size, *there.get(name, (0.0, None)))
                    for name, (size, p) in self.claims().items()
                    if p is not None and p < ALPHA
                ]
            ]
        )
        return {str(one.key): one.confirmed for one in found}

    def confirmation_words(self) -> str | None:
        """What was confirmed, in a sentence; None where nothing is run again."""
        if self.again is None:
            return None
        where = self.again.results[0].experiment.data
        found = self.claims_confirmed()
        if not found:
            return f"Nothing was found that {where} could confirm."
        words = (f"{name} is {'confirmed' if yes else 'not confirmed'}" for name, yes in found.items())
        return f"On {where} (Holm, same sign): {', '.join(words)}."


@dataclass(frozen=True)
class _Trial:
    """One set of pairs, ready to run."""

    pairing: "Pairing"
    """the pairs"""
    participants: "Participants"
    """their problems"""
    predictions: "Predictions"
    """what should become of them; nothing without a step"""


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
    if thought:
        return tuple(Site(None, position, "thought") for position in options.positions)
    return tuple(Site(layer, position) for position in options.positions for layer in options.layers)


def _kinds(options: PatchOptions) -> tuple[str | None, ...]:
    """Which sets of pairs are wanted; None for the file."""
    from codi_int.interventions.patching.pairs import KINDS

    return KINDS if options.auto == "both" else (options.auto,)


def _sides(options: PatchOptions, problems: "Sequence[Problem]") -> "Sequence[Problem] | None":
    """The problems that confirm; None where none do. Pairs from a file are pairs of its own problems alone."""
    from codi_int.interventions.screens.sides import DEFAULT, NONE, SelectionPlan, take_sides

    if options.auto is None:
        if options.confirm not in (DEFAULT, NONE):
            raise ConfigError(
                f"--confirm {options.confirm} needs pairs that can be found there, and --pairs names those of a file.",
                "Use --auto, or leave out --confirm.",
            )
        return None
    if options.confirm == FOLDS:
        raise ConfigError("--confirm folds does not divide pairs.", "Name other problems, or none.")
    return take_sides(problems, SelectionPlan(confirm=options.confirm)).confirming


def _trial(options: PatchOptions, problems: "Sequence[Problem]", kind: str | None) -> _Trial:
    """The pairs with their predictions, refused where they could show nothing."""
    from codi_int.interventions.patching.pairs import find_pairs, read_pairs
    from codi_int.interventions.patching.patch import participants
    from codi_int.interventions.patching.predicted import check_power
    from codi_int.interventions.patching.predictions import name_sources, predict_patch

    if kind is not None and options.step is not None:
        pairing = find_pairs(problems, kind, options.step, options.seed, options.shared_operands)
    else:
        assert options.pairs is not None
        pairing = read_pairs(options.pairs, problems)
    found = participants(problems, pairing, options.step)
    if options.step is None:
        return _Trial(pairing, found, name_sources(found.problems, found.sources))
    predictions = predict_patch(found.problems, found.sources, options.step)
    if kind is None and not predictions.n_informative:
        raise ConfigError(
            f"No pair of {options.pairs} predicts another answer by the result of step {options.step}.",
            "Pair problems whose results differ in that step, or leave out --step.",
        )
    # pairs of the same value predict no other answer, so there is nothing that they could be too few for
    if kind != "same" and not options.underpowered:
        check_power(predictions.n_informative, "pairs predict another answer")
    return _Trial(pairing, found, predictions)


def _run_both(
    options: PatchOptions,
    sites: "Sequence[Site]",
    trials: tuple[Sequence[_Trial], Sequence[_Trial]],
    folder: RunFolder,
    report: Report,
) -> _Found:
    """The patch, and the same on the problems that confirm, where there are any."""
    from codi_int.cli._sites import open_model, saes_for
    from codi_int.data.problems import problems_sha256
    from codi_int.interventions.engine.engine import FeatureInterventionEngine
    from codi_int.sae.store import load_sae

    model = open_model(options.model, options.device)
    for site in sites:
        model.check_site(site)
    features = options.features if options.what == "features" else None
    name = None if features is None else saes_for(options.model, options.sae, sites)[sites[0]]
    sae = None if name is None else load_sae(name, device=options.device)
    everybody = [problem for trial in chain(*trials) for problem in trial.participants.problems]
    sources = str([trial.participants.sources for trial in chain(*trials)])
    folder.claim(
        model=model.sha256,
        sae="" if sae is None else sae.sha256,
        data=problems_sha256(everybody),
        pairs=sha256(sources.encode()).hexdigest(),
    )
    # one engine for both kinds of pairs, so that they differ in the pairs and in nothing else
    engine = FeatureInterventionEngine(
        model, dict.fromkeys(sites, sae), memory_budget=options.memory_budget, later=options.later
    )
    found, again = (_run(options, engine, sites, some, (name, report)) if some else None for some in trials)
    assert found is not None
    return replace(found, again=again)


def _run(
    options: PatchOptions,
    engine: "FeatureInterventionEngine",
    sites: "Sequence[Site]",
    trials: Sequence[_Trial],
    more: tuple[str | None, Report],
) -> _Found:
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
        return _Found(results, None)
    everybody = {p.id: p for trial in trials for p in trial.participants.problems}
    contrast = contrast_values(results[0], results[1], problems=list(everybody.values()))
    # two tests of one question are a family: what is kept of each is what the page says of it
    return _Found(cast(Any, family_of(results).results), contrast)


def _keep(found: _Found, out: Path) -> Kept:
    """Each result in a folder of its own where there are two, and beside them how they compare."""
    from codi_int.interventions.patching.pairs import KINDS
    from codi_int.interventions.patching.predicted_store import CONTRAST, save_contrast, save_predicted

    if found.again is not None:
        write_json(out / CONFIRMED, found.document()["confirmation"], indent=1)
    also = [] if found.again is None else [CONFIRMED]
    folders = [out / kind for kind in KINDS] if len(found.results) == 2 else [out]
    for result, folder in zip(found.results, folders, strict=True):
        save_predicted(result, folder, command_line())
    if found.contrast is not None:
        save_contrast(found.contrast, out)
    names = ("result.json", "outcomes.parquet", "predictions.parquet", "manifest.json")
    files = also + [str((folder / name).relative_to(out)) for folder in folders for name in names]
    drawings = [(result.to_dict(), folder) for result, folder in zip(found.results, folders, strict=True)]
    return Kept(names, drawings, [*files, CONTRAST] if len(found.results) == 2 else files)
