"""`codi-int screen`: ablate every feature of some sites, one after the other; or pairs of features."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from codi_int.cli import _choices as c
from codi_int.cli import _complete
from codi_int.cli import _options as o
from codi_int.cli._console import Report, tell
from codi_int.cli._feature_pairs import load_feature_pairs
from codi_int.cli._job import Kept, keep_on_interrupt, run_folder, run_job
from codi_int.cli._signature import with_options
from codi_int.cli._workers import check_engine, no_folder, open_workers
from codi_int.errors import ConfigError
from codi_int.run_folder import RunFolder

if TYPE_CHECKING:
    from rich.console import RenderableType

    from codi_int.interventions.engine.engine import FeatureInterventionEngine
    from codi_int.interventions.screens.agreement import Agreement
    from codi_int.interventions.screens.attribution import Attribution
    from codi_int.interventions.screens.dictionaries import DictionaryComparison, SeedComparison
    from codi_int.interventions.screens.screen import Screen
    from codi_int.interventions.screens.screen_store import Finished, ScreenFolder
    from codi_int.runs.workers import Bench
    from codi_int.types import Problem, Site


@dataclass(frozen=True, kw_only=True)
class ScreenOptions(o.SelectionOptions, o.EngineOptions, o.RunOptions):
    """What to ablate, in which order, and how much of it to show."""

    reinitialize: o.Reinitialize = None
    features: Annotated[
        tuple[int, ...],
        o.what("--feature", metavar="N", help="Only these: 3-6,9.  [default: all]", autocompletion=_complete.features),
        o.parse_features,
    ] = ()
    layers: o.Layers
    positions: o.Positions = (3,)
    component: o.Component = "resid_post"
    pairs: Annotated[
        Path | None,
        o.what(metavar="FILE", help="Pairs of features instead, ablated together and alone: lines of 449,332."),
    ] = None
    later: o.Later = "free"
    order: Annotated[c.ScreenOrder, o.what(help="attribution: those first that a gradient points at.")] = "index"
    steps: Annotated[
        int,
        o.what(
            parser=o.whole("--steps", least=1), metavar="N", help="Of attribution: 1, or more to integrate gradients."
        ),
    ] = 1
    plan: o.Plan = False
    top: Annotated[int, o.output(parser=o.whole("--top", least=0), metavar="N", help="How many to show.")] = 20
    family: Annotated[
        Path | None,
        o.evidence(
            metavar="FOLDER",
            help="A kept screen from which --feature was picked: its features count too.  [default: none]",
        ),
    ] = None
    sae: o.Sae = None
    seeds: Annotated[
        str | None,
        o.evidence(
            metavar="N",
            help="Beside dictionaries of other seeds, 0-2 or SAEs: is an effect there too?  [default: none]",
        ),
    ] = None
    against: Annotated[
        str | None,
        o.evidence(
            metavar="NAME",
            help="Beside dictionaries that cannot find anything: frozen, random, or any SAE.  [default: none]",
        ),
    ] = None


@with_options
def screen(options: ScreenOptions) -> None:
    """Ablate every feature of one or more sites; what is found is run again on problems that selected nothing.

    P-values are corrected over all that was tried; stories are confirmed on stories:confirmation, other data in two
    folds. Several layers and positions: every combination that has an SAE. --order attribution also says, at the end,
    how good that approximation was. With --out an interrupted screen goes on where it stopped.

    Example: codi-int screen --layer 14 --out runs/screen
    """
    from codi_int.cli._screen_pages import screen_page

    _check(options)
    if options.plan:
        from codi_int.cli._plan import show_screen_plan

        show_screen_plan(options, lambda: _load(options, no_folder()))
        return
    # rows are rows, in whatever order; more features may join them
    folder = run_folder(
        options,
        free=("top", "order", "steps", "correction", "seeds", "against", "layers", "positions"),
        growing=("features",),
        own=("screen.json",),
    )
    run_job(
        lambda report: _run(options, folder, report),
        document=_Found.document,
        page=lambda found: screen_page(found.screen, found.agreements, options.top, found.sections(options.top)),
        as_json=options.as_json,
        out=folder,
        keep=_keep,
    )


@dataclass(frozen=True)
class _Stage:
    """Everything loaded."""

    engine: "FeatureInterventionEngine"
    """with an SAE at every site"""
    names: "dict[Site, str]"
    """of the SAEs"""
    problems: "Sequence[Problem]"
    """to run"""
    folder: "ScreenFolder | None"
    """where finished rows go"""


@dataclass(frozen=True)
class _Found:
    """A screen, and how good the attribution was that ordered it."""

    screen: "Screen"
    """the screen"""
    agreements: "tuple[Agreement, ...]"
    """one for each site; empty where nothing was predicted"""
    folder: "ScreenFolder | None"
    """where its rows were kept while it ran"""
    seeds: "SeedComparison | None" = None
    """its features in dictionaries of other seeds"""
    against: "DictionaryComparison | None" = None
    """whole dictionaries beside it"""

    @property
    def beside(self) -> "dict[str, SeedComparison | DictionaryComparison]":
        """What stands beside the screen, under the name of its document."""
        both = {"seeds": self.seeds, "against": self.against}
        return {name: one for name, one in both.items() if one is not None}

    def sections(self, top: int) -> "list[RenderableType]":
        """What the page says of other dictionaries."""
        from codi_int.cli._dictionary_pages import against_section, seeds_section

        seeds = [] if self.seeds is None else seeds_section(self.seeds, top)
        return [*seeds, *([] if self.against is None else against_section(self.against))]

    def document(self) -> dict[str, Any]:
        """Plain JSON types."""
        more = {name: one.to_dict() for name, one in self.beside.items()}
        return {**self.screen.to_dict(), "agreement": [asdict(one) for one in self.agreements], **more}


def open_units(options: ScreenOptions) -> "Bench":
    """Everything that a worker needs for groups of features; see `codi_int.runs.workers`."""
    from codi_int.cli._console import begin_worker
    from codi_int.interventions.screens.screen_groups import group_runner
    from codi_int.runs.workers import Bench

    begin_worker()
    folder = no_folder()
    stage = _load(options, folder)
    do = group_runner(stage.engine, stage.problems, options.seed, o.selection_plan(options))
    return Bench(do, folder.inputs)


def _check(options: ScreenOptions) -> None:
    """Slips that need no model to see."""
    o.selection_plan(options)
    check_engine(options, options.out)
    alone = {"--pairs": options.pairs, "--seeds": options.seeds, "--against": options.against}
    for name, value in alone.items():
        if options.engine != "local" and value is not None:
            raise ConfigError(
                f"{name} {value} runs in one process, and --engine is {options.engine}.",
                f"Leave out one of --engine and {name}.",
            )
    # attribution of one step is the plain gradient; more of them integrate it, and mean nothing without an order
    if options.steps < 1 or (options.steps > 1 and options.order == "index"):
        raise ConfigError(
            f"--steps {options.steps} cannot be: it counts the gradients that --order attribution averages.",
            "Add --order attribution and 1 step or more.",
        )
    if options.seeds is not None or options.against is not None:
        from codi_int.cli._dictionaries import check_options

        check_options(options)
    several = len(options.layers) * len(options.positions) > 1
    if options.later == "mean" and several:
        raise ConfigError(
            "--later mean measures every site against a baseline of its own; a screen has one.",
            "Name one --layer and one --position, or write --later clean.",
        )
    if options.pairs is None:
        return
    if options.family is not None:
        raise ConfigError(
            f"--family {options.family} is where single features were picked, and --pairs tests other things.",
            "Leave out --family, or leave out --pairs.",
        )
    if options.features or options.order != "index":
        raise ConfigError(
            "--pairs brings its own features and order.", "Leave out --feature and --order, or leave out --pairs."
        )
    if several:
        raise ConfigError("--pairs are features of one site.", "Name one --layer and one --position.")


def _run(options: ScreenOptions, folder: RunFolder, report: Report) -> _Found:
    from codi_int.interventions.edits.basic import check_features
    from codi_int.interventions.screens.interactions import check_pairs
    from codi_int.interventions.screens.screen_store import Finished

    pairs = None if options.pairs is None else check_pairs(load_feature_pairs(options.pairs))
    stage = _load(options, folder)
    # checked against every site's own size: a feature that exists at one of them may not at another
    for sae in stage.engine.saes.values():
        check_features(options.features or [f for pair in pairs or () for f in pair], sae.d_sae)
    done = stage.folder.finished() if stage.folder else Finished()
    if done.rows:
        tell(f"Going on: {done.amount} are finished in {options.out}.")
    if done.elsewhere:
        tell(f"{options.out} was begun with other sites: {done.other_sites(tuple(stage.engine.saes))}")

    def kept() -> str:
        # read back from the disk: what counts after Ctrl-C is what is there, not what was to be written
        return f"{stage.folder.finished().amount} are kept in {options.out}" if stage.folder else ""

    with keep_on_interrupt(kept):
        if pairs is None:
            return _screened(options, folder, stage, done, report)
        return _paired(options, stage, pairs, done, report)


def _keep(found: _Found, out: Path) -> Kept:
    """The finished screen; its rows lie in the folder already."""
    assert found.folder is not None
    document = found.document()
    names = found.folder.finish(document, found.screen.rows, found.screen.pairs)
    if not found.beside:
        return Kept(names, [(document, out)], [*names, *found.folder.files()])
    from codi_int.cli._dictionaries import kept_files

    drawings = [(document, out), *((one.to_dict(), out) for one in found.beside.values())]
    return Kept(names, drawings, [*names, *found.folder.files(), *kept_files(found.beside, out)])


def _load(options: ScreenOptions, folder: RunFolder) -> _Stage:
    """Load what the options name, cheapest errors first."""
    from codi_int.cli._sites import begin_warm, open_model, reaching, saes_for
    from codi_int.data.problems import load_problems
    from codi_int.interventions.engine.engine import FeatureInterventionEngine
    from codi_int.sae.store import load_sae

    sites = o.sites_of(options.layers, options.positions, options.component)
    problems = load_problems(options.data, options.limit)
    model = open_model(options.model, options.device, options.reinitialize)
    for site in sites:
        model.check_site(site)
    names = reaching(model, saes_for(options.model, options.sae, sites))
    engine = FeatureInterventionEngine(
        model,
        {site: load_sae(name, device=options.device) for site, name in names.items()},
        memory_budget=options.memory_budget,
        later=options.later,
    )
    begin_warm(engine, len(problems))
    return _Stage(engine, names, problems, _rows(options, folder, engine, problems))


def _rows(
    options: ScreenOptions, folder: RunFolder, engine: "FeatureInterventionEngine", problems: "Sequence[Problem]"
) -> "ScreenFolder | None":
    """Where finished rows are kept, once the folder is known to be this screen's."""
    from codi_int.data.problems import problems_sha256
    from codi_int.interventions.screens.screen_store import ScreenFolder

    # The folder goes on only with the same model, SAEs and data, by their hashes: a name stays when its file changes.
    # SAEs are compared site by site, where the rows lie, for a later screen may have other sites.
    hashes = {"model": engine.model.sha256, "data": problems_sha256(problems)}
    folder.claim(**hashes, **o.confirmation_hash(options, problems))
    if folder.path is None:
        return None
    kind = "ablate" if options.pairs is None else "ablate pairs"
    how: dict[str, str | int] = {"kind": kind, "later": options.later, "seed": options.seed, **hashes}
    return ScreenFolder(folder.path, how, {site: sae.sha256 for site, sae in engine.saes.items()})


def _screened(options: ScreenOptions, folder: RunFolder, stage: _Stage, done: "Finished", report: Report) -> _Found:
    """All features of all sites, in the order asked for; none is left out, whatever attribution says."""
    from codi_int.interventions.screens.agreement import agreement
    from codi_int.interventions.screens.screen import Checkpoint, run_screen

    engine, predicted = stage.engine, _predicted(options, stage, report)
    features = {site: _ordered(options, predicted.get(site), sae.d_sae) for site, sae in engine.saes.items()}
    family = None if options.family is None else _read_family(options.family, options, stage)
    if options.seeds is not None or options.against is not None:
        from codi_int.cli._dictionaries import screen_beside

        found = screen_beside(options, stage, next(iter(features.values())), family, report)
        return _Found(found.screen, (), stage.folder, found.seeds, found.against)
    with open_workers(options, folder, "codi_int.cli.screen:open_units") as runner:
        screen = run_screen(
            engine,
            stage.problems,
            features,
            seed=options.seed,
            data=options.data,
            sae_name=stage.names,
            selection=o.selection_plan(options),
            family=family,
            checkpoint=Checkpoint(
                rows=done.rows,
                keep=stage.folder.keep if stage.folder else None,
                counts=done.counts,
                count=stage.folder.count if stage.folder else None,
                runner=runner,
            ),
            progress=report,
        )
    # one feature that fires has no order, so no rank correlation either
    able = [site for site in screen.sites if site.n_living > 1]
    agreements = tuple(agreement(predicted[s.site], screen, s.site) for s in able if s.site in predicted)
    return _Found(screen, agreements, stage.folder)


def _predicted(options: ScreenOptions, stage: _Stage, report: Report) -> "dict[Site, Attribution]":
    from codi_int.interventions.screens.attribution import attribute_sites

    if options.order == "index":
        return {}
    engine = stage.engine
    return attribute_sites(
        engine, [engine.site_context(stage.problems, site, report) for site in engine.saes], options.steps
    )


def _ordered(options: ScreenOptions, predicted: "Attribution | None", d_sae: int) -> Sequence[int]:
    wanted = options.features or range(d_sae)
    # those not asked for are dropped after ranking, not before: the ranks of the others stay what they were
    return list(wanted) if predicted is None else [f for f in predicted.order() if f in set(wanted)]


def _paired(
    options: ScreenOptions, stage: _Stage, pairs: Sequence[tuple[int, int]], done: "Finished", report: Report
) -> _Found:
    from codi_int.interventions.screens.interactions import run_pairs
    from codi_int.interventions.screens.screen import Checkpoint

    (name,) = stage.names.values()
    screen = run_pairs(
        stage.engine,
        stage.problems,
        pairs,
        seed=options.seed,
        data=options.data,
        sae_name=name,
        checkpoint=Checkpoint(done.rows, done.pairs, stage.folder.keep if stage.folder else None),
        progress=report,
        selection=o.selection_plan(options),
    )
    return _Found(screen, (), stage.folder)


def _read_family(folder: Path, options: ScreenOptions, stage: _Stage) -> "Screen":
    """The screen from which features were picked; ConfigError where its tests are no family with these."""
    from codi_int.interventions.kept import load_result
    from codi_int.interventions.screens.inherited import check_family
    from codi_int.interventions.screens.screen import Screen, screen_settings
    from codi_int.interventions.screens.sides import take_sides

    found = load_result(folder)
    if not isinstance(found, Screen):
        raise ConfigError(f"--family {folder} holds no screen.", "Give the folder of a screen that was kept.")
    sides = take_sides(stage.problems, o.selection_plan(options))
    now = screen_settings(stage.engine, sides, tuple(stage.engine.saes), "ablate")
    check_family(found, now, f"--family {folder}")
    return found
